/*
 * form.c
 *	  The order form: whatever it is, it is refused in words, or its body is
 *	  sound JSON.
 *
 * An input is {"external_id", "lines", "ship_to", "options"}.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "src/api/form.h"
#include "test/fuzz/fuzz.h"

typedef struct FormCall
{
	const CsApi *api;
	CsFormPurpose purpose;
	const char *external_id;
	Datum		lines;
	Datum		ship_to;
	Datum		options;
	CsForm	   *form;
} FormCall;

static void
read_form(void *arg)
{
	FormCall   *call = arg;

	call->form = cs_form_read(CurrentMemoryContext, call->api, call->purpose, call->external_id,
							  call->lines, call->ship_to, call->options);
}

/* A member as jsonb; 0 without it. */
static Datum
member(Datum object, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root, name,
													 (int) strlen(name), &buffer);

	return value ? JsonbPGetDatum(JsonbValueToJsonb(value)) : (Datum) 0;
}

static void
check_form(FormCall *call)
{
	int			sqlstate = fuzz_try(read_form, call);
	size_t		length;
	char	   *body;
	char	   *problem;

	if (sqlstate != 0)
	{
		fuzz_check(sqlstate == ERRCODE_INVALID_PARAMETER_VALUE ||
				   (sqlstate == ERRCODE_FEATURE_NOT_SUPPORTED && call->purpose == CS_FORM_QUOTE),
				   "a form is read, or is refused as a wrong value");
		return;
	}

	/* Without a path for quotes it is an estimate, which has no body. */
	if (call->purpose == CS_FORM_QUOTE && call->api->orders->write_quote == NULL)
		return;
	body = call->purpose == CS_FORM_QUOTE ?
		cs_form_quote_body(call->api, call->form, &length) :
		cs_form_order_body(call->api, call->form, &length);
	fuzz_check(cs_json_parse(CurrentMemoryContext, body, length, &problem) != NULL,
			   "the body is sound JSON");
}

void
fuzz_form(const char *input, size_t length)
{
	Datum		form = fuzz_jsonb(input, length);
	FormCall	call = {0};
	Datum		id;

	if (form == 0 || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(form)))
		return;
	id = member(form, "external_id");
	if (id != 0)
		call.external_id = JsonbToCString(NULL, &DatumGetJsonbP(id)->root, -1);
	call.lines = member(form, "lines");
	call.ship_to = member(form, "ship_to");
	call.options = member(form, "options");
	for (const CsApi *const *api = cs_apis; *api; api++)
	{
		call.api = *api;
		call.purpose = CS_FORM_ORDER;
		check_form(&call);
		call.purpose = CS_FORM_QUOTE;
		check_form(&call);
	}
}
