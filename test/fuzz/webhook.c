/*
 * webhook.c
 *	  A webhook's signature and payload: anybody can send them.
 *
 * The first line of an input is the signature, the rest the payload.
 */
#include "postgres.h"

#include "src/webhooks/webhooks.h"
#include "src/wire/sign.h"
#include "test/fuzz/fuzz.h"

typedef struct EventCall
{
	const CsApi *api;
	CsPayload	payload;
	CsEvent		event;
} EventCall;

static void
read_event(void *arg)
{
	EventCall  *call = arg;

	cs_event_read(call->api, &call->payload, &call->event);
}

/* In a block of its own size, so that who reads beyond it is seen. */
static void
check_signature(const char *input, size_t length)
{
	char	   *signature = malloc(length);
	uint8		given[CS_SHA256_LENGTH];
	uint8		again[CS_SHA256_LENGTH];

	memcpy(signature, input, length);
	if (cs_signature_read(signature, length, given))
	{
		char	   *hex = cs_hex(given, sizeof(given));

		fuzz_check(cs_signature_read(hex, strlen(hex), again) &&
				   cs_equal_constant_time(given, again, sizeof(given)),
				   "a signature is the bytes that it was read as");
	}
	free(signature);
}

void
fuzz_webhook(const char *input, size_t length)
{
	const char *line_end = memchr(input, '\n', length);
	EventCall	call = {.api = &cs_api_cupsource_v2};
	int			sqlstate;

	if (line_end == NULL)
		return;
	check_signature(input, line_end - input);
	call.payload.data = line_end + 1;
	call.payload.length = length - (line_end + 1 - input);
	sqlstate = fuzz_try(read_event, &call);
	fuzz_check(sqlstate == 0 || sqlstate == ERRCODE_INVALID_TEXT_REPRESENTATION,
			   "a payload is an event, or is refused as none");
	if (sqlstate == 0)
		fuzz_check(call.event.id != 0 && call.event.payload != 0,
				   "an event has an id and its payload");
}
