/*
 * form.c
 *	  The order form: its fields, the rules that need no catalogue, and the
 *	  bodies that it becomes.
 *
 * What an API can express, demands and limits is in its descriptor; here is
 * what holds for all of them.  The form's strings point into the tree that it
 * was read from, which lives in the same context.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "src/api/form.h"
#include "src/api/form_reader.h"

#define EXTERNAL_ID_LIMIT 100	/* characters */

/* A line, and the list that its designs are read from. */
typedef struct LineReading
{
	CsLine		line;
	const CsValue *designs;
} LineReading;

/* The form, and the parts that are read by tables of their own. */
typedef struct FormReading
{
	CsForm		form;
	const CsValue *bill_to;
	const CsValue *customer;
	const CsValue *branding;
	const CsValue *extra;
} FormReading;

static const CsField design_fields[] =
{
	{"url", CS_FIELD_URL, offsetof(CsDesign, url)},
	{"placement", CS_FIELD_STRING, offsetof(CsDesign, placement)},
	{"width_inches", CS_FIELD_MEASURE, offsetof(CsDesign, width_inches)},
	{"height_inches", CS_FIELD_MEASURE, offsetof(CsDesign, height_inches)},
	{"print_method", CS_FIELD_STRING, offsetof(CsDesign, print_method)},
	{0}
};

static const CsField line_fields[] =
{
	{"sku", CS_FIELD_IDENTIFIER, offsetof(LineReading, line.sku)},
	{"product_id", CS_FIELD_IDENTIFIER, offsetof(LineReading, line.product_id)},
	{"variation_id", CS_FIELD_UUID, offsetof(LineReading, line.variation_id)},
	{"quantity", CS_FIELD_QUANTITY, offsetof(LineReading, line.quantity)},
	{"designs", CS_FIELD_LIST, offsetof(LineReading, designs)},
	{0}
};

static const CsField address_fields[] =
{
	{"name", CS_FIELD_STRING, offsetof(CsAddress, name)},
	{"line1", CS_FIELD_STRING, offsetof(CsAddress, line1)},
	{"line2", CS_FIELD_STRING, offsetof(CsAddress, line2)},
	{"city", CS_FIELD_STRING, offsetof(CsAddress, city)},
	{"state", CS_FIELD_STRING, offsetof(CsAddress, state)},
	{"postal_code", CS_FIELD_STRING, offsetof(CsAddress, postal_code)},
	{"country", CS_FIELD_COUNTRY, offsetof(CsAddress, country)},
	{"phone", CS_FIELD_STRING, offsetof(CsAddress, phone)},
	{"email", CS_FIELD_STRING, offsetof(CsAddress, email)},
	{0}
};

static const CsField customer_fields[] =
{
	{"name", CS_FIELD_STRING, offsetof(CsCustomer, name)},
	{"email", CS_FIELD_STRING, offsetof(CsCustomer, email)},
	{"phone", CS_FIELD_STRING, offsetof(CsCustomer, phone)},
	{0}
};

static const CsField branding_fields[] =
{
	{"asset_id", CS_FIELD_STRING, offsetof(CsBranding, asset_id)},
	{"print_method", CS_FIELD_STRING, offsetof(CsBranding, print_method)},
	{"proof_approval_deadline", CS_FIELD_TIME, offsetof(CsBranding, proof_approval_deadline)},
	{0}
};

static const CsField option_fields[] =
{
	{"bill_to", CS_FIELD_OBJECT, offsetof(FormReading, bill_to)},
	{"customer", CS_FIELD_OBJECT, offsetof(FormReading, customer)},
	{"branding", CS_FIELD_OBJECT, offsetof(FormReading, branding)},
	{"shipping_method", CS_FIELD_STRING, offsetof(FormReading, form.shipping_method)},
	{"currency", CS_FIELD_CURRENCY, offsetof(FormReading, form.currency)},
	{"po_number", CS_FIELD_IDENTIFIER, offsetof(FormReading, form.po_number)},
	{"net_terms", CS_FIELD_DAYS, offsetof(FormReading, form.net_terms)},
	{"is_gift", CS_FIELD_FLAG, offsetof(FormReading, form.is_gift)},
	{"is_rush", CS_FIELD_FLAG, offsetof(FormReading, form.is_rush)},
	{"notes", CS_FIELD_STRING, offsetof(FormReading, form.notes)},
	{"extra", CS_FIELD_OBJECT, offsetof(FormReading, extra)},
	{0}
};

/* ---- reading ---- */

/* The tree of a jsonb Datum in the current context; NULL, complained of, if it has none. */
static const CsValue *
tree_of(CsFormReader *reader, Datum jsonb)
{
	char	   *problem;
	const CsValue *root = cs_value_from_jsonb(jsonb, &problem);

	if (root == NULL)
		cs_form_complain(reader, "%s", problem);
	return root;
}

/* Neither the argument nor JSON's null. */
static bool
is_given(Datum jsonb, const CsValue *tree)
{
	return jsonb != 0 && (tree == NULL || tree->type != CS_JSON_NULL);
}

/* Reads the list into an array of designs; returns how many. */
static int
read_designs(CsFormReader *reader, const CsValue *list, CsDesign **designs)
{
	int			i = 0;

	*designs = palloc0(sizeof(CsDesign) * Max(list->n, 1));
	for (const CsValue *design = list->first; design; design = design->next, i++)
	{
		int			mark = cs_form_enter(reader, NULL, i);

		cs_form_read_part(reader, "lines.designs.", design_fields, design, *designs + i);
		cs_form_leave(reader, mark);
	}
	return list->n;
}

/* What the line is of: one of the names that the API knows it by. */
static void
check_identified(CsFormReader *reader, const CsValue *line)
{
	static const char *const names[] = {"sku", "product_id", "variation_id"};
	StringInfoData known;

	for (size_t i = 0; i < lengthof(names); i++)
		if (cs_value_get(line, names[i]) != NULL && cs_form_expresses(reader, "lines.", names[i]))
			return;
	initStringInfo(&known);
	for (size_t i = 0; i < lengthof(names); i++)
		if (cs_form_expresses(reader, "lines.", names[i]))
			appendStringInfo(&known, "%s%s", known.len ? " or " : "", names[i]);
	cs_form_complain(reader, "%s is required", known.data);
}

static void
read_line(CsFormReader *reader, const CsValue *json, CsLine *line)
{
	LineReading reading;
	int			mark;

	memset(&reading, 0, sizeof(reading));
	if (!cs_form_read_part(reader, "lines.", line_fields, json, &reading))
		return;
	check_identified(reader, json);
	*line = reading.line;
	if (reading.designs)
	{
		mark = cs_form_enter(reader, "designs", 0);
		line->ndesigns = read_designs(reader, reading.designs, &line->designs);
		cs_form_leave(reader, mark);
	}
}

static void
read_lines(CsFormReader *reader, const CsValue *lines, CsForm *form)
{
	const CsOrderApi *orders = reader->api->orders;
	int			ndesigns = 0;
	int			i = 0;

	if (lines->type != CS_JSON_ARRAY)
	{
		cs_form_complain(reader, "must be an array, not %s", cs_json_type_name(lines->type));
		return;
	}
	form->nlines = lines->n;
	if (form->nlines == 0)
		cs_form_complain(reader, "must have at least one line");
	if (orders->max_lines > 0 && form->nlines > orders->max_lines)
		cs_form_complain(reader, "must be at most %d lines, not %d", orders->max_lines,
						 form->nlines);
	form->lines = palloc0(sizeof(CsLine) * Max(form->nlines, 1));
	for (const CsValue *line = lines->first; line; line = line->next, i++)
	{
		int			mark = cs_form_enter(reader, NULL, i);

		read_line(reader, line, &form->lines[i]);
		cs_form_leave(reader, mark);
		ndesigns += form->lines[i].ndesigns;
	}
	if (orders->max_designs > 0 && ndesigns > orders->max_designs)
		cs_form_complain(reader, "must have at most %d designs in all, not %d",
						 orders->max_designs, ndesigns);
}

/* An address in the United States has a state; others need none. */
static CsAddress *
read_address(CsFormReader *reader, const char *part, const CsValue *json)
{
	CsAddress  *address = palloc0(sizeof(CsAddress));

	if (cs_form_read_part(reader, part, address_fields, json, address) &&
		address->country && strcmp(address->country, "US") == 0 &&
		(address->state == NULL || address->state[0] == '\0'))
		cs_form_complain_of(reader, "state", "is required for an address in the United States");
	return address;
}

/* The parts of the options that are objects with fields of their own. */
static void
read_parts(CsFormReader *reader, const FormReading *reading, CsForm *form)
{
	int			mark;

	if (reading->bill_to)
	{
		mark = cs_form_enter(reader, "bill_to", 0);
		form->bill_to = read_address(reader, "bill_to.", reading->bill_to);
		cs_form_leave(reader, mark);
	}
	if (reading->customer)
	{
		mark = cs_form_enter(reader, "customer", 0);
		form->customer = palloc0(sizeof(CsCustomer));
		cs_form_read_part(reader, "customer.", customer_fields, reading->customer,
						  form->customer);
		cs_form_leave(reader, mark);
	}
	if (reading->branding)
	{
		mark = cs_form_enter(reader, "branding", 0);
		form->branding = palloc0(sizeof(CsBranding));
		cs_form_read_part(reader, "branding.", branding_fields, reading->branding,
						  form->branding);
		cs_form_leave(reader, mark);
	}
}

static void
read_options(CsFormReader *reader, Datum jsonb, const CsValue *json, CsForm *form)
{
	FormReading reading;

	memset(&reading, 0, sizeof(reading));
	reading.form = *form;
	if (!cs_form_read_part(reader, "", option_fields, json, &reading))
		return;
	*form = reading.form;
	if (reading.extra)
		form->extra = cs_json_from_member(jsonb, "extra");
	read_parts(reader, &reading, form);
}

static void
read_external_id(CsFormReader *reader, const char *external_id, CsForm *form)
{
	int			length;

	if (external_id == NULL)
	{
		cs_form_complain_of(reader, "external_id", "is required");
		return;
	}
	length = pg_mbstrlen(external_id);
	if (length < 1 || length > EXTERNAL_ID_LIMIT)
		cs_form_complain_of(reader, "external_id", "must have 1 to %d characters, not %d",
							EXTERNAL_ID_LIMIT, length);
	form->external_id = cs_utf8_from_server(external_id);
}

/* The three documents that a form comes in. */
static void
read_documents(CsFormReader *reader, Datum lines, Datum ship_to, Datum options, CsForm *form)
{
	const CsValue *tree;
	int			mark;

	mark = cs_form_enter(reader, "lines", 0);
	tree = lines ? tree_of(reader, lines) : NULL;
	if (!is_given(lines, tree))
		cs_form_complain(reader, "is required");
	else if (tree)
		read_lines(reader, tree, form);
	cs_form_leave(reader, mark);

	mark = cs_form_enter(reader, "ship_to", 0);
	tree = ship_to ? tree_of(reader, ship_to) : NULL;
	if (!is_given(ship_to, tree) && cs_form_requires(reader, "", "ship_to"))
		cs_form_complain(reader, "is required");
	else if (is_given(ship_to, tree) && tree)
		form->ship_to = read_address(reader, "ship_to.", tree);
	cs_form_leave(reader, mark);

	mark = cs_form_enter(reader, "options", 0);
	tree = options ? tree_of(reader, options) : NULL;
	if (is_given(options, tree) && tree)
		read_options(reader, options, tree, form);
	cs_form_leave(reader, mark);
}

/* ---- bodies ---- */

/* The body without 'extra'. */
static void
write_body(CsWriter *writer, const CsApi *api, CsFormPurpose purpose, const CsForm *form)
{
	cs_writer_init(writer);
	if (purpose == CS_FORM_QUOTE)
		api->orders->write_quote(writer, form);
	else
		api->orders->write_order(writer, form);
}

static void
write_extra_member(const char *key, const CsJson *value, void *writer)
{
	cs_write_json(writer, key, value);
}

static char *
body_of(const CsApi *api, CsFormPurpose purpose, const CsForm *form, size_t *length)
{
	CsWriter	writer;

	write_body(&writer, api, purpose, form);
	if (form->extra && cs_json_members(form->extra) > 0)
	{
		/* Open the object again; it is never empty, since there are lines. */
		Assert(writer.out.data[writer.out.len - 1] == '}');
		writer.out.data[--writer.out.len] = '\0';
		cs_json_each(form->extra, write_extra_member, &writer);
		cs_write_close(&writer, '}');
	}
	*length = writer.out.len;
	return writer.out.data;
}

char *
cs_form_order_body(const CsApi *api, const CsForm *form, size_t *length)
{
	return body_of(api, CS_FORM_ORDER, form, length);
}

char *
cs_form_quote_body(const CsApi *api, const CsForm *form, size_t *length)
{
	return body_of(api, CS_FORM_QUOTE, form, length);
}

typedef struct ExtraCheck
{
	CsFormReader *reader;
	const CsJson *body;
} ExtraCheck;

static void
check_extra_member(const char *key, const CsJson *value, void *arg)
{
	ExtraCheck *check = arg;

	if (cs_json_get(check->body, key) != NULL)
		cs_form_complain_of(check->reader, key,
							"is in the body already, from another field of the form");
}

/* 'extra' adds to the body and replaces nothing in it. */
static void
check_extra(CsFormReader *reader, CsFormPurpose purpose, const CsForm *form)
{
	ExtraCheck	check = {reader, NULL};
	CsWriter	writer;
	char	   *problem;
	int			mark;

	write_body(&writer, reader->api, purpose, form);
	check.body = cs_json_parse(CurrentMemoryContext, writer.out.data, writer.out.len, &problem);
	if (check.body == NULL)
		elog(ERROR, "body for API \"%s\" is not sound: %s", reader->api->name, problem);
	mark = cs_form_enter(reader, "options.extra", 0);
	cs_json_each(form->extra, check_extra_member, &check);
	cs_form_leave(reader, mark);
}

/* ---- the way in ---- */

CsForm *
cs_form_check(MemoryContext cxt, const CsApi *api, CsFormPurpose purpose, const char *external_id,
			  Datum lines, Datum ship_to, Datum options, CsFindings *findings)
{
	const CsOrderApi *orders = api->orders;
	MemoryContext previous = MemoryContextSwitchTo(cxt);
	CsForm	   *form = palloc0(sizeof(CsForm));
	CsFormReader reader;

	if (purpose == CS_FORM_QUOTE && orders->quote_fields == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("API \"%s\" does not quote orders", api->name)));
	if (purpose == CS_FORM_ORDER && orders->create_path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("API \"%s\" does not take orders", api->name)));
	cs_form_reader_init(&reader, api,
						purpose == CS_FORM_QUOTE ? orders->quote_fields : orders->fields,
						purpose == CS_FORM_QUOTE ? orders->quote_required : orders->required,
						findings);
	reader.url_required = purpose == CS_FORM_ORDER;
	if (purpose == CS_FORM_ORDER)
		read_external_id(&reader, external_id, form);
	read_documents(&reader, lines, ship_to, options, form);
	if (findings->errors == 0 && form->extra && (purpose == CS_FORM_ORDER || orders->write_quote))
		check_extra(&reader, purpose, form);
	MemoryContextSwitchTo(previous);
	return form;
}

void
cs_form_throw(const CsApi *api, CsFormPurpose purpose, const CsFindings *findings)
{
	cs_findings_throw(findings, api, purpose == CS_FORM_QUOTE ? "quote form" : "order form");
}

CsForm *
cs_form_read(MemoryContext cxt, const CsApi *api, CsFormPurpose purpose, const char *external_id,
			 Datum lines, Datum ship_to, Datum options)
{
	CsFindings	findings = {0};
	CsForm	   *form = cs_form_check(cxt, api, purpose, external_id, lines, ship_to, options,
									 &findings);

	cs_form_throw(api, purpose, &findings);
	return form;
}

/* The document of the one API that takes designs later allows one per placement. */
static void
check_placements(CsFormReader *reader, int n, const CsDesign *designs)
{
	for (int i = 1; i < n; i++)
		for (int j = 0; designs[i].placement && j < i; j++)
			if (designs[j].placement && strcmp(designs[i].placement, designs[j].placement) == 0)
			{
				int			mark = cs_form_enter(reader, NULL, i);

				cs_form_complain_of(reader, "placement",
									"is that of designs[%d]: at most one design per placement",
									j);
				cs_form_leave(reader, mark);
				break;
			}
}

CsDesign *
cs_form_read_designs(MemoryContext cxt, Datum designs, int *ndesigns)
{
	static const char *const required[] = {
		"lines.designs.url", "lines.designs.placement", "lines.designs.width_inches",
		"lines.designs.height_inches", NULL
	};
	MemoryContext previous = MemoryContextSwitchTo(cxt);
	CsDesign   *result = NULL;
	CsFindings	findings = {0};
	CsFormReader reader;
	const CsValue *list;

	cs_form_reader_init(&reader, NULL, NULL, required, &findings);
	cs_form_enter(&reader, "designs", 0);
	list = designs ? tree_of(&reader, designs) : NULL;
	*ndesigns = 0;
	if (findings.errors == 0 && (list == NULL || cs_value_length(list) == 0))
		cs_form_complain(&reader, "must be an array with at least one design");
	else if (list != NULL)
		*ndesigns = read_designs(&reader, list, &result);
	check_placements(&reader, *ndesigns, result);
	cs_findings_throw(&findings, NULL, "list of designs");
	MemoryContextSwitchTo(previous);
	return result;
}
