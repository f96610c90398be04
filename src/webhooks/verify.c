/*
 * verify.c
 *	  Is this payload signed with the webhook secret?
 *
 * The signature is HMAC-SHA256 over the raw bytes of the request's body.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "src/base/state.h"
#include "src/client/options.h"
#include "src/client/secret.h"
#include "src/client/server.h"
#include "src/webhooks/webhooks.h"
#include "src/wire/sign.h"

PG_FUNCTION_INFO_V1(cs_sql_verify_signature);
PG_FUNCTION_INFO_V1(cs_sql_verify_signature_text);

static void
require_payload(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("payload must not be null")));
}

CsPayload
cs_payload_from_bytea(FunctionCallInfo fcinfo, int n)
{
	CsPayload	payload;
	bytea	   *bytes;

	require_payload(fcinfo, n);
	bytes = PG_GETARG_BYTEA_PP(n);
	payload.data = VARDATA_ANY(bytes);
	payload.length = VARSIZE_ANY_EXHDR(bytes);
	return payload;
}

CsPayload
cs_payload_from_text(FunctionCallInfo fcinfo, int n)
{
	CsPayload	payload;
	text	   *body;
	char	   *utf8;

	require_payload(fcinfo, n);
	body = PG_GETARG_TEXT_PP(n);
	payload.data = VARDATA_ANY(body);
	payload.length = VARSIZE_ANY_EXHDR(body);
	utf8 = pg_server_to_any(payload.data, (int) payload.length, PG_UTF8);
	if (utf8 != payload.data)
	{
		payload.data = utf8;
		payload.length = strlen(utf8);
	}
	return payload;
}

const CsApi *
cs_webhook_api(const ForeignServer *server)
{
	const char *name = cs_option_text(server->options, "api");
	const CsApi *api = name ? cs_api_find(name) : NULL;

	if (api == NULL || api->orders->webhooks_path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s, the API of server \"%s\", has no webhooks",
						api ? api->title : "an unknown API", server->servername)));
	return api;
}

bool
cs_webhook_verify(const CsPayload *payload, const char *signature, List *secrets)
{
	uint8		given[CS_SHA256_LENGTH];
	bool		valid = false;
	ListCell   *cell;

	if (signature == NULL || !cs_signature_read(signature, strlen(signature), given))
		return false;
	foreach(cell, secrets)
	{
		const char *secret = lfirst(cell);
		uint8		mac[CS_SHA256_LENGTH];

		cs_hmac_sha256(secret, strlen(secret), payload->data, payload->length, mac);
		valid |= cs_equal_constant_time(mac, given, CS_SHA256_LENGTH);
	}
	return valid;
}

static void
refuse_no_secret(const ForeignServer *server)
{
	const char *role = GetUserNameFromId(GetUserId(), false);

	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("the user mapping for role \"%s\" on server \"%s\" lacks the option \"%s\"",
					role, server->servername, "webhook_secret"),
			 errhint("ALTER USER MAPPING FOR %s SERVER %s OPTIONS (ADD webhook_secret '...'); "
					 "if the mapping is that of PUBLIC, alter it FOR PUBLIC.",
					 quote_identifier(role), quote_identifier(server->servername))));
}

/* The arguments after the payload: signature, server. */
static Datum
verify(FunctionCallInfo fcinfo, const CsPayload *payload)
{
	const char *signature = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *name = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	const ForeignServer *server = GetForeignServer(cs_server_resolve(name));
	List	   *secrets;

	(void) cs_webhook_api(server);
	secrets = cs_webhook_secrets(server, GetUserId());
	if (secrets == NIL)
		refuse_no_secret(server);
	PG_RETURN_BOOL(cs_webhook_verify(payload, signature, secrets));
}

/* cs_verify_signature(payload bytea, signature, server) */
Datum
cs_sql_verify_signature(PG_FUNCTION_ARGS)
{
	CsPayload	payload;

	cs_require_preload();
	payload = cs_payload_from_bytea(fcinfo, 0);
	return verify(fcinfo, &payload);
}

/* cs_verify_signature(payload text, signature, server) */
Datum
cs_sql_verify_signature_text(PG_FUNCTION_ARGS)
{
	CsPayload	payload;

	cs_require_preload();
	payload = cs_payload_from_text(fcinfo, 0);
	return verify(fcinfo, &payload);
}
