/*
 * webhooks.h
 *	  What the files of this folder share.
 */
#ifndef CS_WEBHOOKS_WEBHOOKS_H
#define CS_WEBHOOKS_WEBHOOKS_H

#include "postgres.h"

#include "fmgr.h"
#include "foreign/foreign.h"
#include "nodes/pg_list.h"

#include "src/api/api.h"

/* The longest payload that is looked at: events are some hundred bytes. */
#define CS_WEBHOOK_MAX_SIZE (1024 * 1024)

/* The raw bytes of a request's body. */
typedef struct CsPayload
{
	const char *data;
	size_t		length;
} CsPayload;

/* An argument of a function; throws if it is NULL.  Text becomes UTF-8, as it came. */
extern CsPayload cs_payload_from_bytea(FunctionCallInfo fcinfo, int n);
extern CsPayload cs_payload_from_text(FunctionCallInfo fcinfo, int n);

/* The API of a server; throws 0A000 if it has no webhooks. */
extern const CsApi *cs_webhook_api(const ForeignServer *server);

/*
 * Does one of the secrets give this signature (as in the header; NULL: none)
 * for these bytes?  Takes as long for a wrong signature as for a right one.
 */
extern bool cs_webhook_verify(const CsPayload *payload, const char *signature, List *secrets);

/* What a payload says, as far as it can be read; 0 and NULL for what it does not. */
typedef struct CsEvent
{
	Datum		id;				/* text; never 0 */
	Datum		type;			/* text */
	Datum		at;				/* timestamptz */
	Datum		remote_id;		/* text, as everything below */
	Datum		order_number;
	Datum		remote_status;
	const char *state;			/* what the status means here */
	Datum		doubted;		/* a status that may be the order's: the partner is to be asked */
	Datum		rejection_reason;
	Datum		parcels;		/* jsonb: [{"tracking_number": …}], columns of shipments */
	Datum		problem;		/* fields of a wrong type, which are left out */
	Datum		payload;		/* jsonb */
} CsEvent;

/* Throws 22P02 for what is no JSON object or cannot be stored.  All in the current context. */
extern void cs_event_read(const CsApi *api, const CsPayload *payload, CsEvent *event);

#endif							/* CS_WEBHOOKS_WEBHOOKS_H */
