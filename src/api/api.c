/*
 * api.c
 *	  The registry of partner APIs, and what their descriptors have in common:
 *	  finding values by alternative paths, and reading refusals.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "src/api/api.h"

#define MESSAGE_LIMIT 500		/* bytes of a partner's text that a message shows */

const CsApi *const cs_apis[] =
{
	&cs_api_cupsource_v1,
	&cs_api_cupsource_v2,
	&cs_api_customhub_v1,
	NULL
};

static const char *const no_fields[] = {NULL};
static const CsOrderStatus no_statuses[] = {{0}};

const CsOrderApi cs_no_orders =
{
	.fields = no_fields,
	.required = no_fields,
	.rule_codes = {[CS_RULE_FORM] = "INVALID_REQUEST"},
	.statuses = no_statuses,
};

const CsApi *
cs_api_find(const char *name)
{
	for (int i = 0; cs_apis[i]; i++)
		if (strcmp(cs_apis[i]->name, name) == 0)
			return cs_apis[i];
	return NULL;
}

const CsResource *
cs_api_resource(const CsApi *api, const char *name)
{
	for (const CsResource *resource = api->resources; resource->name; resource++)
		if (strcmp(resource->name, name) == 0)
			return resource;
	return NULL;
}

/* Equal but for case, blanks, hyphens and underscores: InProduction, in_production. */
static bool
is_same_word(const char *one, const char *other)
{
	for (;; one++, other++)
	{
		one += strspn(one, " -_");
		other += strspn(other, " -_");
		if (pg_tolower((unsigned char) *one) != pg_tolower((unsigned char) *other))
			return false;
		if (*one == '\0')
			return true;
	}
}

const char *
cs_api_order_state(const CsApi *api, const char *remote_status)
{
	for (const CsOrderStatus *status = api->orders->statuses; status->remote; status++)
		if (is_same_word(status->remote, remote_status))
			return status->state;
	return NULL;
}

/* As cs_internal.order_progress(); NULL comes before all. */
static int
progress(const char *state)
{
	static const char *const states[] = {
		"placed", "approved", "in_production", "shipped", "delivered", "rejected", "cancelled"
	};
	int			i = lengthof(states) - 1;

	while (i >= 0 && (state == NULL || strcmp(states[i], state) != 0))
		i--;
	return i;
}

const char *
cs_api_further_state(const char *one, const char *other)
{
	return progress(other) > progress(one) ? other : one;
}

const char *
cs_api_rule_code(const CsApi *api, CsRule rule)
{
	const char *const *codes = api->orders->rule_codes;

	return codes[rule] ? codes[rule] : codes[CS_RULE_FORM];
}

const CsJson *
cs_json_find(const CsJson *from, const char *paths)
{
	const char *path = paths;

	for (;;)
	{
		size_t		length = strcspn(path, "|");
		const CsJson *found;

		if (length == 0)
			found = from;
		else
		{
			char		one[128];

			Assert(length < sizeof(one));
			memcpy(one, path, length);
			one[length] = '\0';
			found = cs_json_path(from, one);
		}
		if (found != NULL || path[length] == '\0')
			return found;
		path += length + 1;
	}
}

/* The text of a string or number fit for a message, or NULL. */
static char *
shown(const CsJson *value)
{
	size_t		length;
	const char *text = cs_json_string(value, &length);

	if (text == NULL)
	{
		text = cs_json_number(value);
		if (text == NULL)
			return NULL;
		length = strlen(text);
	}
	if (length == 0)
		return NULL;
	text = cs_server_from_utf8(text, length);
	return cs_printable(text, strlen(text), MESSAGE_LIMIT);
}

/*
 * One entry of error.details: {"field": …, "message": …}, or a bare text, or
 * something that no document describes, which is shown as it came.
 */
static void
append_detail(StringInfo out, const CsJson *entry)
{
	char	   *field = shown(cs_json_find(entry, "field|path|parameter"));
	char	   *message = shown(cs_json_find(entry, "message|reason|issue|error"));
	char	   *text = shown(entry);

	if (field && message)
		appendStringInfo(out, "; %s: %s", field, message);
	else if (field || message || text)
		appendStringInfo(out, "; %s", field ? field : message ? message : text);
	else if (cs_json_type(entry) != CS_JSON_NULL)
	{
		char	   *json = cs_json_text(entry);

		appendStringInfo(out, "; %s", cs_printable(json, strlen(json), MESSAGE_LIMIT));
	}
}

/* A text is a message already. */
static const CsJson *
listed(const CsJson *detail)
{
	CsJsonType	type = cs_json_type(detail);

	return type == CS_JSON_ARRAY || type == CS_JSON_OBJECT ? detail : NULL;
}

/* "HTTP status 400, error code SKU_NOT_FOUND; items[0].sku" */
static char *
refusal_detail(int status, const char *code, const CsJson *details)
{
	StringInfoData out;
	size_t		n = cs_json_length(details);

	initStringInfo(&out);
	appendStringInfo(&out, "HTTP status %d", status);
	if (code)
		appendStringInfo(&out, ", error code %s", code);
	if (cs_json_type(details) != CS_JSON_ARRAY)
		append_detail(&out, details);
	for (size_t i = 0; i < n && out.len < MESSAGE_LIMIT * 4; i++)
		append_detail(&out, cs_json_at(details, i));
	appendStringInfoChar(&out, '.');
	return out.data;
}

/* The row of the document's table: by code, else by status alone. */
static const CsApiError *
documented_error(const CsApi *api, int status, const char *code)
{
	const CsApiError *by_status = NULL;

	for (const CsApiError *row = api->errors; row->status; row++)
	{
		if (row->code && code && strcmp(row->code, code) == 0)
			return row;
		if (row->code == NULL && row->status == status)
			by_status = row;
	}
	return by_status;
}

/*
 * A refusal that came with a status of success counts as what the document
 * says of its error code; the text tells what came.
 */
static int
meant_status(const CsApi *api, int status, const char *code)
{
	const CsApiError *known;

	if (status >= 400 || code == NULL)
		return status;
	known = documented_error(api, status, code);
	return known && known->code ? known->status : status;
}

/*
 * The envelopes that are read: {"error": {"code", "message", "details"}},
 * {"error": "…"}, {"message": "…"}, what a web framework or a gateway says of
 * its own accord (RFC 9457: {"title", "detail", "errors"}; others have all of
 * it in "detail", or in {"errors": [{"message"}]}), or nothing but the status.
 */
void
cs_api_failure(const CsApi *api, int status, const CsJson *document, CsFailure *failure)
{
	const CsJson *error = cs_json_get(document, "error");
	const CsJson *details = cs_json_find(document, "error.details|details|errors");
	const CsApiError *known;
	char	   *message;

	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_REFUSED;
	failure->delivery = CS_DELIVERY_ANSWERED;
	failure->retry_after_ms = -1;
	failure->code = shown(cs_json_find(document, "error.code|code|error_code"));
	failure->status = meant_status(api, status, failure->code);
	failure->sqlstate = cs_failure_sqlstate(CS_FAILURE_REFUSED, failure->status);

	known = documented_error(api, failure->status, failure->code);
	failure->documented = known && document;
	message = shown(cs_json_find(document, "error.message|message"));
	if (message == NULL)
		message = shown(error);
	if (message == NULL)
		message = shown(cs_json_get(document, "detail"));
	if (message == NULL)
		message = shown(cs_json_get(document, "title"));
	if (message == NULL && cs_json_type(details) == CS_JSON_ARRAY && cs_json_length(details) > 0)
		message = shown(cs_json_get(cs_json_at(details, 0), "message"));
	if (message == NULL && known)
		message = pstrdup(known->meaning);
	if (message == NULL)
		message = psprintf("%s answered with HTTP status %d", api->title, status);
	failure->message = message;
	if (details == NULL)
		details = listed(cs_json_get(document, "detail"));
	failure->detail = refusal_detail(status, failure->code, details);
	failure->hint = known && known->hint ? pstrdup(known->hint) : NULL;
}
