/*
 * wire_test.c
 *	  SQL functions for tests alone: what the wire layer makes of given bytes.
 *
 * Built from the project's own objects and never installed by "make install".
 * A SQL function is declared by the test that uses it; wire_datum under the
 * return type that belongs to the CsType it is called for.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "src/api/form.h"
#include "src/wire/datum.h"
#include "src/wire/json.h"
#include "src/wire/sign.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(wire_parse);
PG_FUNCTION_INFO_V1(wire_text);
PG_FUNCTION_INFO_V1(wire_datum);
PG_FUNCTION_INFO_V1(wire_server_from_utf8);
PG_FUNCTION_INFO_V1(wire_utf8_from_server);
PG_FUNCTION_INFO_V1(wire_utf8_from_jsonb);
PG_FUNCTION_INFO_V1(wire_jsonb_from_utf8);
PG_FUNCTION_INFO_V1(wire_sha256);
PG_FUNCTION_INFO_V1(wire_hmac_sha256);
PG_FUNCTION_INFO_V1(wire_body);
PG_FUNCTION_INFO_V1(wire_designs_body);

static bytea *
bytes_of(const char *data, size_t length)
{
	return (bytea *) cstring_to_text_with_len(data, (int) length);
}

/* wire_parse(bytea) → text: NULL if it is sound JSON, else what is wrong with it. */
Datum
wire_parse(PG_FUNCTION_ARGS)
{
	bytea	   *document = PG_GETARG_BYTEA_PP(0);
	char	   *problem;

	if (cs_json_parse(CurrentMemoryContext, VARDATA_ANY(document), VARSIZE_ANY_EXHDR(document),
					  &problem) != NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

static const CsJson *
parsed(bytea *document)
{
	char	   *problem;
	const CsJson *root = cs_json_parse(CurrentMemoryContext, VARDATA_ANY(document),
									   VARSIZE_ANY_EXHDR(document), &problem);

	if (root == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("%s", problem)));
	return root;
}

/* wire_text(bytea) → bytea: the document written again. */
Datum
wire_text(PG_FUNCTION_ARGS)
{
	char	   *text = cs_json_text(parsed(PG_GETARG_BYTEA_PP(0)));

	PG_RETURN_BYTEA_P(bytes_of(text, strlen(text)));
}

/* Indexed by CsType. */
static const char *const type_names[] =
{
	"text", "identifier", "prose", "stock", "numeric", "bigint", "integer", "boolean",
	"timestamptz", "text_array", "jsonb"
};

/* wire_datum(type text, bytea) → that type; a problem is an error 22000. */
Datum
wire_datum(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const CsJson *value = parsed(PG_GETARG_BYTEA_PP(1));

	for (size_t type = 0; type < lengthof(type_names); type++)
	{
		Datum		datum;
		char	   *problem;

		if (strcmp(type_names[type], name) != 0)
			continue;
		if (!cs_datum_from_json((CsType) type, value, &datum, &problem))
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("%s", problem)));
		PG_RETURN_DATUM(datum);
	}
	elog(ERROR, "there is no type \"%s\"", name);
}

/* wire_server_from_utf8(bytea) → text */
Datum
wire_server_from_utf8(PG_FUNCTION_ARGS)
{
	bytea	   *utf8 = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_TEXT_P(cstring_to_text(cs_server_from_utf8(VARDATA_ANY(utf8),
														 VARSIZE_ANY_EXHDR(utf8))));
}

/* wire_utf8_from_server(text) → bytea */
Datum
wire_utf8_from_server(PG_FUNCTION_ARGS)
{
	char	   *utf8 = cs_utf8_from_server(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_BYTEA_P(bytes_of(utf8, strlen(utf8)));
}

/* wire_utf8_from_jsonb(jsonb) → bytea */
Datum
wire_utf8_from_jsonb(PG_FUNCTION_ARGS)
{
	char	   *utf8 = cs_utf8_from_jsonb(PG_GETARG_DATUM(0));

	PG_RETURN_BYTEA_P(bytes_of(utf8, strlen(utf8)));
}

/* wire_jsonb_from_utf8(bytea) → jsonb */
Datum
wire_jsonb_from_utf8(PG_FUNCTION_ARGS)
{
	bytea	   *utf8 = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_DATUM(cs_jsonb_from_utf8(VARDATA_ANY(utf8), VARSIZE_ANY_EXHDR(utf8)));
}

/* wire_sha256(bytea) → text, hexadecimal */
Datum
wire_sha256(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(0);
	uint8		digest[CS_SHA256_LENGTH];

	cs_sha256(VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), digest);
	PG_RETURN_TEXT_P(cstring_to_text(cs_hex(digest, sizeof(digest))));
}

/* wire_hmac_sha256(key bytea, data bytea, expected bytea) → text, with what the comparison says */
Datum
wire_hmac_sha256(PG_FUNCTION_ARGS)
{
	bytea	   *key = PG_GETARG_BYTEA_PP(0);
	bytea	   *data = PG_GETARG_BYTEA_PP(1);
	bytea	   *expected = PG_GETARG_BYTEA_PP(2);
	uint8		mac[CS_SHA256_LENGTH];
	bool		equal;

	cs_hmac_sha256(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), VARDATA_ANY(data),
				   VARSIZE_ANY_EXHDR(data), mac);
	equal = VARSIZE_ANY_EXHDR(expected) == sizeof(mac) &&
		cs_equal_constant_time((uint8 *) VARDATA_ANY(expected), mac, sizeof(mac));
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s %s", cs_hex(mac, sizeof(mac)),
											  equal ? "equal" : "different")));
}

static const CsApi *
api_named(text *name)
{
	const CsApi *api = cs_api_find(text_to_cstring(name));

	if (api == NULL)
		elog(ERROR, "there is no such API");
	return api;
}

static Datum
argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? (Datum) 0 : PG_GETARG_DATUM(number);
}

/*
 * wire_body(api text, quote boolean, external_id text, lines jsonb, ship_to jsonb,
 * options jsonb) → bytea: the body that the form becomes.
 */
Datum
wire_body(PG_FUNCTION_ARGS)
{
	const CsApi *api = api_named(PG_GETARG_TEXT_PP(0));
	bool		quote = PG_GETARG_BOOL(1);
	char	   *external_id = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	CsForm	   *form = cs_form_read(CurrentMemoryContext, api,
									  quote ? CS_FORM_QUOTE : CS_FORM_ORDER,
									external_id, argument(fcinfo, 3), argument(fcinfo, 4),
									argument(fcinfo, 5));
	size_t		length;
	char	   *body = quote ? cs_form_quote_body(api, form, &length) :
		cs_form_order_body(api, form, &length);

	PG_RETURN_BYTEA_P(bytes_of(body, length));
}

/* wire_designs_body(designs jsonb) → bytea, of the one API that takes designs later */
Datum
wire_designs_body(PG_FUNCTION_ARGS)
{
	int			ndesigns;
	CsDesign   *designs = cs_form_read_designs(CurrentMemoryContext, argument(fcinfo, 0),
											   &ndesigns);
	CsWriter	writer;

	cs_writer_init(&writer);
	cs_api_customhub_v1.orders->write_designs(&writer, designs, ndesigns);
	PG_RETURN_BYTEA_P(bytes_of(writer.out.data, writer.out.len));
}
