/*
 * prepare.c
 *	  From an order as it stands in its table, or comes from a caller, to the
 *	  request that will place it.
 *
 * The bytes that are sent are those that are stored, at every attempt.  They
 * are made at the first one, and stored before they are sent.
 */
#include "postgres.h"

#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "src/api/form.h"
#include "src/orders/transfer.h"
#include "src/wire/datum.h"
#include "src/wire/sign.h"

/*
 * The partner forgets idempotency keys after 90 days.  An order that was first
 * sent before that is looked up before it is sent again.
 */
#define REMEMBERED_US (INT64CONST(80) * USECS_PER_DAY)

static Datum
bytea_from(const char *bytes, size_t length)
{
	bytea	   *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return PointerGetDatum(result);
}

/* The exact bytes of the request: as they were stored, or made now. */
static void
prepare_body(CsTransfer *transfer, CsOutgoing *order)
{
	bytea	   *bytes;

	if (order->body == (Datum) 0)
	{
		const CsApi *api = transfer->account->api;
		CsForm	   *form = cs_form_read(CurrentMemoryContext, api, CS_FORM_ORDER,
										transfer->external_id, order->lines, order->ship_to,
										order->options);
		size_t		length;
		char	   *body = cs_form_order_body(api, form, &length);

		order->body = bytea_from(body, length);
	}
	bytes = DatumGetByteaPP(order->body);
	transfer->body_length = VARSIZE_ANY_EXHDR(bytes);
	transfer->body = MemoryContextAlloc(transfer->cxt, transfer->body_length + 1);
	memcpy(transfer->body, VARDATA_ANY(bytes), transfer->body_length);
	transfer->body[transfer->body_length] = '\0';
}

/* The same for every attempt of an order, and only for them. */
static char *
idempotency_key(const CsTransfer *transfer)
{
	uint8		digest[CS_SHA256_LENGTH];
	char	   *utf8 = cs_utf8_from_server(transfer->external_id);

	cs_sha256(utf8, strlen(utf8), digest);
	return MemoryContextStrdup(transfer->cxt, cs_hex(digest, 16));
}

/*
 * Must an order that was first sent so long ago, or by a clock that was wrong,
 * be looked up?  From PostgreSQL 16 on TimestampDifferenceMilliseconds() knows
 * no more than 24 days.
 */
static bool
is_forgotten(const CsOutgoing *order, const CsApi *api)
{
	TimestampTz now = GetCurrentTimestamp();

	return order->first_sent_at != 0 && api->orders->create_idempotent &&
		cs_api_resource(api, "orders") != NULL &&
		(order->first_sent_at > now || now - order->first_sent_at > REMEMBERED_US);
}

static void
prepare_lookup(CsTransfer *transfer)
{
	const CsResource *orders = cs_api_resource(transfer->account->api, "orders");
	char	   *escaped = cs_http_escape(cs_utf8_from_server(transfer->external_id));
	MemoryContext old = MemoryContextSwitchTo(transfer->cxt);

	transfer->kind = CS_TRANSFER_LOOKUP;
	for (const CsFilter *filter = orders->filters; filter->name; filter++)
		if (strcmp(filter->name, "external_id") == 0)
			transfer->path = psprintf("%s?%s=%s", orders->path, filter->param, escaped);
	MemoryContextSwitchTo(old);
}

/* The same order in a new transfer. */
static CsTransfer *
copy_of(const CsTransfer *transfer)
{
	CsTransfer *copy = cs_transfer_new(CS_TRANSFER_CREATE, transfer->account->serverid,
									   transfer->account->userid, transfer->order_id);

	copy->external_id = MemoryContextStrdup(copy->cxt, transfer->external_id);
	copy->idempotency_key = MemoryContextStrdup(copy->cxt, transfer->idempotency_key);
	copy->path = unconstify(char *, transfer->account->api->orders->create_path);
	copy->body_length = transfer->body_length;
	copy->body = MemoryContextAlloc(copy->cxt, transfer->body_length + 1);
	memcpy(copy->body, transfer->body, transfer->body_length + 1);
	copy->first_sent_at = transfer->first_sent_at;
	return copy;
}

CsTransfer *
cs_transfer_to_create(const CsTransfer *lookup)
{
	return copy_of(lookup);
}

static char *
copied(const CsTransfer *transfer, const char *text)
{
	return text ? MemoryContextStrdup(transfer->cxt, text) : NULL;
}

CsTransfer *
cs_transfer_to_look_up(const CsTransfer *create, const CsFailure *doubted, bool refused)
{
	const CsApi *api = create->account->api;
	CsTransfer *lookup;

	if (!api->orders->create_idempotent || cs_api_resource(api, "orders") == NULL)
		return NULL;
	lookup = copy_of(create);
	prepare_lookup(lookup);
	lookup->refused = refused;
	lookup->doubted = MemoryContextAlloc(lookup->cxt, sizeof(CsFailure));
	*lookup->doubted = *doubted;
	lookup->doubted->code = copied(lookup, doubted->code);
	lookup->doubted->message = copied(lookup, doubted->message);
	lookup->doubted->detail = copied(lookup, doubted->detail);
	lookup->doubted->hint = copied(lookup, doubted->hint);
	return lookup;
}

CsTransfer *
cs_transfer_prepare(CsOutgoing *order)
{
	CsTransfer *transfer;

	order->has_account = false;
	transfer = cs_transfer_new(CS_TRANSFER_CREATE, order->serverid,
							   get_role_oid(order->created_by, false), order->order_id);
	order->has_account = true;
	PG_TRY();
	{
		transfer->external_id = MemoryContextStrdup(transfer->cxt, order->external_id);
		transfer->idempotency_key = idempotency_key(transfer);
		transfer->path = unconstify(char *, transfer->account->api->orders->create_path);
		transfer->first_sent_at = order->first_sent_at;
		transfer->only_called_for = order->only_called_for;
		prepare_body(transfer, order);
		if (is_forgotten(order, transfer->account->api))
			prepare_lookup(transfer);
	}
	PG_CATCH();
	{
		MemoryContextDelete(transfer->cxt);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return transfer;
}
