/*
 * live.c
 *	  cs_products(…) and kin: what the partner says now, as rows.
 *
 * Nothing is stored and nothing looked up in tables: server and account come
 * from the process's caches, the answer goes into a tuplestore.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "src/base/state.h"
#include "src/client/account.h"
#include "src/client/page.h"
#include "src/client/rows.h"
#include "src/client/server.h"

#define MAX_ARGUMENTS 8
#define NO_ARGUMENT (-1)

PG_FUNCTION_INFO_V1(cs_sql_products);
PG_FUNCTION_INFO_V1(cs_sql_product);
PG_FUNCTION_INFO_V1(cs_sql_models);
PG_FUNCTION_INFO_V1(cs_sql_model);
PG_FUNCTION_INFO_V1(cs_sql_variations);
PG_FUNCTION_INFO_V1(cs_sql_placements);
PG_FUNCTION_INFO_V1(cs_sql_print_methods);
PG_FUNCTION_INFO_V1(cs_sql_balance);

/* A function's SQL arguments, by position. */
typedef struct LiveFunction
{
	const char *resource;
	struct
	{
		const char *name;		/* CsFilter.name */
		CsType		type;
	}			filters[MAX_ARGUMENTS];	/* the first arguments; ended by a NULL name */
	int			max_rows;		/* or NO_ARGUMENT */
	int			server;
} LiveFunction;

static const LiveFunction products_function = {
	"products",
	{
		{"category", CS_TYPE_TEXT},
		{"material", CS_TYPE_TEXT},
		{"capacity", CS_TYPE_TEXT},
		{"eco_certified", CS_TYPE_BOOLEAN},
		{"min_moq", CS_TYPE_BIGINT},
		{"search", CS_TYPE_TEXT},
	}, 6, 7
};
static const LiveFunction models_function = {"models", {{"search", CS_TYPE_TEXT}}, 1, 2};
static const LiveFunction model_function = {"model", {{"model_id", CS_TYPE_TEXT}}, NO_ARGUMENT, 1};
static const LiveFunction variations_function = {
	"variations", {{"model_id", CS_TYPE_TEXT}}, NO_ARGUMENT, 1
};
static const LiveFunction placements_function = {
	"placements", {{"model_id", CS_TYPE_TEXT}}, NO_ARGUMENT, 1
};
static const LiveFunction print_methods_function = {
	"print_methods", {{"model_id", CS_TYPE_TEXT}}, NO_ARGUMENT, 1
};
static const LiveFunction balance_function = {"balance", {{NULL}}, NO_ARGUMENT, 0};

/* ---- Arguments ---- */

/* The account that argument 'argument' means, held until 'cxt' is deleted. */
static CsAccount *
argument_account(FunctionCallInfo fcinfo, int argument, MemoryContext cxt)
{
	const char *name = PG_ARGISNULL(argument) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(argument));

	return cs_account_get(cxt, cs_server_resolve(name), GetUserId());
}

/* -1: as many as there are. */
static int64
argument_max_rows(FunctionCallInfo fcinfo, int argument)
{
	int64		max_rows;

	if (argument == NO_ARGUMENT || PG_ARGISNULL(argument))
		return -1;
	max_rows = PG_GETARG_INT64(argument);
	if (max_rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	return max_rows;
}

static const char *
argument_text(FunctionCallInfo fcinfo, int argument, CsType type)
{
	if (type == CS_TYPE_BOOLEAN)
		return PG_GETARG_BOOL(argument) ? "true" : "false";
	if (type == CS_TYPE_BIGINT)
		return psprintf(INT64_FORMAT, PG_GETARG_INT64(argument));
	return cs_utf8_from_server(text_to_cstring(PG_GETARG_TEXT_PP(argument)));
}

/* What is not NULL goes to the partner. */
static int
argument_filters(FunctionCallInfo fcinfo, const LiveFunction *function, CsArgument *arguments)
{
	int			n = 0;

	for (int i = 0; i < MAX_ARGUMENTS && function->filters[i].name; i++)
	{
		if (PG_ARGISNULL(i))
			continue;
		arguments[n].name = function->filters[i].name;
		arguments[n++].value = argument_text(fcinfo, i, function->filters[i].type);
	}
	return n;
}

/* The titles of the APIs that have a resource, separated by commas. */
static char *
list_apis_with(const char *name)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; cs_apis[i]; i++)
		if (cs_api_resource(cs_apis[i], name))
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", cs_apis[i]->title);
	return list.data;
}

static const CsResource *
find_resource(const CsAccount *account, const LiveFunction *function)
{
	const CsResource *resource = cs_api_resource(account->api, function->resource);

	if (resource == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s, the API of server \"%s\", has no resource \"%s\"",
						account->api->title, account->server, function->resource),
				 errhint("%s has it.%s", list_apis_with(function->resource),
						 function == &balance_function ? "" :
						 " The cached views cs_products and cs_variations have the catalogues of all accounts.")));
	return resource;
}

/* ---- Reading ---- */

static void
read_rows(const LiveFunction *function, FunctionCallInfo fcinfo, MemoryContext cxt)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CsAccount  *account = argument_account(fcinfo, function->server, cxt);
	const CsResource *resource = find_resource(account, function);
	int64		left = argument_max_rows(fcinfo, function->max_rows);
	CsArgument	arguments[MAX_ARGUMENTS];
	int			narguments = argument_filters(fcinfo, function, arguments);
	int			page_size = left > 0 && left < resource->page_size ? (int) left : 0;
	CsRowReader *reader;
	CsPager    *pager;
	const CsPage *page;

	if (left == 0)
		return;
	pager = cs_pager_begin(cxt, account, resource, arguments, narguments, NULL, page_size,
						   CS_PRIORITY_LIVE, left < 0);
	reader = cs_rows_reader(resource, rsinfo->setDesc, account->server);
	while (left != 0 && (page = cs_pager_next(pager)) != NULL)
	{
		int64		stored = cs_rows_store(reader, page->document, left, rsinfo->setResult);

		if (left > 0)
			left -= stored;
	}
}

typedef void (*LiveReader) (const LiveFunction *function, FunctionCallInfo fcinfo,
							MemoryContext cxt);

/* Everything but the tuplestore goes when the call is over. */
static Datum
live_call(FunctionCallInfo fcinfo, const LiveFunction *function, LiveReader reader)
{
	MemoryContext cxt;
	MemoryContext old;

	cs_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource live call", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	reader(function, fcinfo, cxt);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return (Datum) 0;
}

Datum
cs_sql_products(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &products_function, read_rows);
}

Datum
cs_sql_models(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &models_function, read_rows);
}

Datum
cs_sql_model(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &model_function, read_rows);
}

Datum
cs_sql_variations(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &variations_function, read_rows);
}

Datum
cs_sql_placements(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &placements_function, read_rows);
}

Datum
cs_sql_print_methods(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &print_methods_function, read_rows);
}

Datum
cs_sql_balance(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, &balance_function, read_rows);
}

/* ---- One product ---- */

/* Attributes of cs_products that the search for one product looks at. */
typedef struct ProductSearch
{
	ReturnSetInfo *rsinfo;
	const char *id;				/* server encoding */
	int			product_id;		/* attribute numbers from 0 */
	int			sku;
	int			prices[3];
	int			currency;
	int			variation_count;
	int			priced_variation_count;
	bool		found;

	/* Of a model's variations. */
	MemoryContext cxt;
	Datum		lowest[3];
	bool		priced[3];
	Datum		product;
	Datum		money;
	int32		variations;
	int32		priced_variations;
} ProductSearch;

static int
attribute_named(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(tupdesc, i)->attname), name) == 0)
			return i;
	elog(ERROR, "row type cs_products lacks column \"%s\"", name);
	return -1;					/* keep compiler quiet */
}

static bool
text_is(Datum value, bool isnull, const char *wanted)
{
	text	   *bytes = isnull ? NULL : DatumGetTextPP(value);

	return bytes && VARSIZE_ANY_EXHDR(bytes) == strlen(wanted) &&
		memcmp(VARDATA_ANY(bytes), wanted, strlen(wanted)) == 0;
}

/* CsRowCallback: a row of a list */
static void
match_product(Datum *values, bool *nulls, void *arg)
{
	ProductSearch *search = arg;

	if (search->found ||
		(!text_is(values[search->product_id], nulls[search->product_id], search->id) &&
		 !text_is(values[search->sku], nulls[search->sku], search->id)))
		return;
	tuplestore_putvalues(search->rsinfo->setResult, search->rsinfo->setDesc, values, nulls);
	search->found = true;
}

/* CsRowCallback: a variation of the model */
static void
add_variation(Datum *values, bool *nulls, void *arg)
{
	ProductSearch *search = arg;
	MemoryContext old = MemoryContextSwitchTo(search->cxt);

	search->variations++;
	if (!nulls[search->prices[0]])
		search->priced_variations++;
	for (int i = 0; i < 3; i++)
	{
		int			attribute = search->prices[i];

		if (nulls[attribute])
			continue;
		if (!search->priced[i] ||
			DatumGetInt32(DirectFunctionCall2(numeric_cmp, values[attribute],
											  search->lowest[i])) < 0)
			search->lowest[i] = datumCopy(values[attribute], false, -1);
		search->priced[i] = true;
	}
	if (search->money == (Datum) 0 && !nulls[search->currency])
		search->money = datumCopy(values[search->currency], false, -1);
	MemoryContextSwitchTo(old);
}

/* What the detail does not say itself, its variations do. */
static void
fill(Datum *values, bool *nulls, int attribute, Datum value, bool known)
{
	if (!nulls[attribute] || !known)
		return;
	values[attribute] = value;
	nulls[attribute] = false;
}

/* CsRowCallback: the model itself */
static void
store_model(Datum *values, bool *nulls, void *arg)
{
	ProductSearch *search = arg;

	values[search->product_id] = search->product;
	nulls[search->product_id] = false;
	for (int i = 0; i < 3; i++)
		fill(values, nulls, search->prices[i], search->lowest[i], search->priced[i]);
	fill(values, nulls, search->currency, search->money, search->money != (Datum) 0);
	fill(values, nulls, search->variation_count, Int32GetDatum(search->variations), true);
	fill(values, nulls, search->priced_variation_count,
		 Int32GetDatum(search->priced_variations), true);
	tuplestore_putvalues(search->rsinfo->setResult, search->rsinfo->setDesc, values, nulls);
	search->found = true;
}

static void
read_model(ProductSearch *search, CsAccount *account, const CsResource *resource, MemoryContext cxt)
{
	TupleDesc	tupdesc = search->rsinfo->setDesc;
	CsArgument	argument = {"model_id", cs_utf8_from_server(search->id)};
	CsPager    *pager = cs_pager_begin(cxt, account, resource, &argument, 1, NULL, 0,
									   CS_PRIORITY_LIVE, false);
	const CsPage *page = cs_pager_next(pager);
	CsRowReader *variations = cs_rows_reader(find_resource(account, &variations_function), tupdesc,
											 account->server);

	cs_rows_each(variations, page->document, -1, add_variation, search);
	cs_rows_each(cs_rows_reader(resource, tupdesc, account->server), page->document, 1,
				 store_model, search);
}

static void
find_in_list(ProductSearch *search, CsAccount *account, const CsResource *resource,
			 MemoryContext cxt)
{
	CsPager    *pager = cs_pager_begin(cxt, account, resource, NULL, 0, NULL, 0,
									   CS_PRIORITY_LIVE, false);
	CsRowReader *reader = cs_rows_reader(resource, search->rsinfo->setDesc, account->server);
	const CsPage *page;

	while (!search->found && (page = cs_pager_next(pager)) != NULL)
		cs_rows_each(reader, page->document, -1, match_product, search);
}

static void
read_product(const LiveFunction *function, FunctionCallInfo fcinfo, MemoryContext cxt)
{
	static const char *const price_names[3] = {"unit_price", "list_price", "blank_cost"};
	CsAccount  *account = argument_account(fcinfo, 1, cxt);
	const CsResource *resource = cs_api_resource(account->api, "model");
	ProductSearch search = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo, .cxt = cxt};
	TupleDesc	tupdesc = search.rsinfo->setDesc;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"id\" must not be null")));
	search.product = PG_GETARG_DATUM(0);
	search.id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	search.product_id = attribute_named(tupdesc, "product_id");
	search.sku = attribute_named(tupdesc, "sku");
	search.currency = attribute_named(tupdesc, "currency");
	search.variation_count = attribute_named(tupdesc, "variation_count");
	search.priced_variation_count = attribute_named(tupdesc, "priced_variation_count");
	for (int i = 0; i < 3; i++)
		search.prices[i] = attribute_named(tupdesc, price_names[i]);

	if (resource)
		read_model(&search, account, resource, cxt);
	else
		find_in_list(&search, account, find_resource(account, &products_function), cxt);
	if (!search.found)
		ereport(ERROR,
				(errcode(cs_errcode_status(404)),
				 errmsg("product \"%s\" does not exist on server \"%s\"", search.id, account->server),
				 errdetail("No product in the list has this id or SKU.")));
}

Datum
cs_sql_product(PG_FUNCTION_ARGS)
{
	return live_call(fcinfo, NULL, read_product);
}
