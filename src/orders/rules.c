/*
 * rules.c
 *	  The rules for orders that the cached catalogue can tell of: minimum
 *	  quantities, placements, their dimensions and print methods.
 *
 * What the catalogue does not know is no reason to refuse an order, nor is
 * that an item seems to be no longer on offer: the catalogue may be old.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "src/orders/items.h"
#include "src/orders/rules.h"
#include "src/wire/datum.h"
#include "src/wire/parse.h"

/* One check: the lines that are looked at, and where findings go. */
typedef struct RuleCheck
{
	const CsApi *api;
	const CsForm *form;
	CsFindings *findings;
	CsItemRequest *requests;	/* of the lines in 'lines' */
	int		   *lines;
	int			n;
} RuleCheck;

/* A text of the form in the server's encoding. */
static const char *
server_text(const char *utf8)
{
	return GetDatabaseEncoding() == PG_UTF8 ? utf8 : cs_server_from_utf8(utf8, strlen(utf8));
}

static void add(RuleCheck *check, CsRule rule, bool is_warning, const char *field,
				const char *format,...) pg_attribute_printf(5, 6);

static void
add(RuleCheck *check, CsRule rule, bool is_warning, const char *field, const char *format,...)
{
	StringInfoData message;
	va_list		args;
	int			needed;

	initStringInfo(&message);
	do
	{
		va_start(args, format);
		needed = appendStringInfoVA(&message, format, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&message, needed);
	} while (needed > 0);
	cs_finding_add(check->findings, rule, is_warning, field, message.data);
}

/* ---- which lines ---- */

/* The name that the partner goes by: a variation's id wins over its SKU. */
static bool
name_of(const CsLine *line, CsItemRequest *request)
{
	request->item = NULL;
	if (line->variation_id)
	{
		request->name = CS_ITEM_VARIATION_ID;
		request->value = server_text(line->variation_id);
	}
	else if (line->product_id)
	{
		request->name = CS_ITEM_PRODUCT_ID;
		request->value = server_text(line->product_id);
	}
	else if (line->sku)
	{
		request->name = CS_ITEM_SKU;
		request->value = server_text(line->sku);
	}
	else
		return false;
	return true;
}

static void
choose_lines(RuleCheck *check)
{
	bool		all = check->findings->wants_warnings || check->api->orders->demands_minimum;

	check->requests = palloc(sizeof(CsItemRequest) * Max(check->form->nlines, 1));
	check->lines = palloc(sizeof(int) * Max(check->form->nlines, 1));
	for (int i = 0; i < check->form->nlines; i++)
	{
		const CsLine *line = &check->form->lines[i];

		if ((all || line->ndesigns > 0) && name_of(line, &check->requests[check->n]))
			check->lines[check->n++] = i;
	}
}

/* ---- what the catalogue says ---- */

static const char *
field_of_item(int line, CsItemName name)
{
	return psprintf("lines[%d].%s", line, name == CS_ITEM_VARIATION_ID ? "variation_id" :
					name == CS_ITEM_PRODUCT_ID ? "product_id" : "sku");
}

/* A design by its line and its place in it. */
typedef struct DesignPlace
{
	int			line;
	int			number;
} DesignPlace;

static const char *
field_of_design(const DesignPlace *place, const char *name)
{
	return psprintf("lines[%d].designs[%d].%s", place->line, place->number, name);
}

static void
check_offer(RuleCheck *check, int line, const CsItem *item)
{
	if (!check->findings->wants_warnings || (item->known && item->on_offer))
		return;
	add(check, CS_RULE_ITEM, true, field_of_item(line, item->name),
		item->known ? "is no longer on offer, as far as the cached catalogue knows" :
		"is not known to the cached catalogue");
}

static void
check_minimum(RuleCheck *check, int line, const CsItem *item)
{
	const char *quantity = check->form->lines[line].quantity;
	bool		demanded = check->api->orders->demands_minimum;

	if (quantity == NULL || item->minimum <= 0 ||
		(!demanded && !check->findings->wants_warnings) ||
		DatumGetInt64(DirectFunctionCall1(int8in, CStringGetDatum(quantity))) >= item->minimum)
		return;
	add(check, CS_RULE_MINIMUM, !demanded, psprintf("lines[%d].quantity", line),
		"must be at least %lld, the minimum order quantity of \"%s\"",
		(long long) item->minimum, item->value);
}

static const char *
placement_names(const CsItem *item)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < item->nplacements; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", item->placements[i].placement);
	return names.data;
}

static const char *
method_names(const CsItemPlacement *placement)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < placement->nmethods; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", placement->methods[i]);
	return names.data;
}

/* Of more digits than cs_parse_decimal reads, or beyond any measure. */
static bool
exceeds_by_numeric(const char *measure, const char *most)
{
	Datum		wanted = DirectFunctionCall3(numeric_in, CStringGetDatum(measure),
											 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	Datum		limit = DirectFunctionCall3(numeric_in, CStringGetDatum(most),
											ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

	return DatumGetBool(DirectFunctionCall2(numeric_gt, wanted, limit));
}

static void
check_dimension(RuleCheck *check, const DesignPlace *place, const char *name,
				const char *measure, const CsItemLimit *most)
{
	int64		digits;
	int			scale;
	bool		exceeds;

	if (measure == NULL || most->text == NULL)
		return;
	if (cs_parse_decimal(measure, &digits, &scale) == CS_DECIMAL_SHORT)
		exceeds = cs_decimal_exceeds(digits, scale, most->digits, most->scale);
	else
		exceeds = exceeds_by_numeric(measure, most->text);
	if (exceeds)
		add(check, CS_RULE_DIMENSIONS, false, field_of_design(place, name),
			"must be at most %s, the maximum of its placement", most->text);
}

static void
check_method(RuleCheck *check, const DesignPlace *place, const char *method,
			 const CsItemPlacement *placement)
{
	if (method == NULL || placement->nmethods == 0)
		return;
	for (int i = 0; i < placement->nmethods; i++)
		if (strcmp(method, placement->methods[i]) == 0)
			return;
	add(check, CS_RULE_PRINT_METHOD, false, field_of_design(place, "print_method"),
		"is not available at placement \"%s\"; there are %s", placement->placement,
		method_names(placement));
}

static const CsItemPlacement *
find_placement(const CsItem *item, const char *name)
{
	for (int i = 0; i < item->nplacements; i++)
		if (strcmp(item->placements[i].placement, name) == 0)
			return &item->placements[i];
	return NULL;
}

static void
check_design(RuleCheck *check, int line, int number, const CsItem *item)
{
	const CsDesign *design = &check->form->lines[line].designs[number];
	const DesignPlace place = {line, number};
	const CsItemPlacement *placement;

	if (design->placement == NULL)
		return;
	placement = find_placement(item, server_text(design->placement));
	if (placement == NULL)
	{
		add(check, CS_RULE_PLACEMENT, false, field_of_design(&place, "placement"),
			"is not a placement of \"%s\"; there are %s", item->value,
			item->nplacements > 0 ? placement_names(item) : "none");
		return;
	}
	check_dimension(check, &place, "width_inches", design->width_inches, &placement->max_width);
	check_dimension(check, &place, "height_inches", design->height_inches, &placement->max_height);
	check_method(check, &place, design->print_method ? server_text(design->print_method) : NULL,
				 placement);
}

/* The document speaks of it for designs that are added; the partner may refuse it here too. */
static void
check_double_placement(RuleCheck *check, int line)
{
	const CsDesign *designs = check->form->lines[line].designs;

	for (int i = 1; i < check->form->lines[line].ndesigns; i++)
		for (int j = 0; designs[i].placement && j < i; j++)
			if (designs[j].placement && strcmp(designs[i].placement, designs[j].placement) == 0)
			{
				add(check, CS_RULE_FORM, true,
					field_of_design(&(DesignPlace) {line, i}, "placement"),
					"is that of designs[%d]: at most one design per placement", j);
				break;
			}
}

void
cs_rules_check(const ForeignServer *server, const CsApi *api, const CsForm *form,
			   CsFindings *findings)
{
	RuleCheck	check = {api, form, findings};

	if (form->lines == NULL)
		return;
	choose_lines(&check);
	if (check.n == 0)
		return;
	cs_items_find(server, check.requests, check.n, findings->wants_warnings);
	for (int i = 0; i < check.n; i++)
	{
		const CsItem *item = check.requests[i].item;
		int			line = check.lines[i];

		check_offer(&check, line, item);
		if (findings->wants_warnings)
			check_double_placement(&check, line);
		if (!item->known)
			continue;
		check_minimum(&check, line, item);
		for (int j = 0; j < form->lines[line].ndesigns; j++)
			check_design(&check, line, j, item);
	}
}
