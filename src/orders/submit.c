/*
 * submit.c
 *	  cs_submit_order(): the trigger function that makes orders of ERP rows.
 *
 * A row is read by the trigger's mapping and queued as cs_enqueue_order would;
 * nothing is sent here, and nothing waits.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "src/base/state.h"
#include "src/client/server.h"
#include "src/orders/mapping.h"
#include "src/orders/orders.h"

PG_FUNCTION_INFO_V1(cs_sql_submit_order);

/* ---- reading the row ---- */

typedef struct Row
{
	HeapTuple	tuple;
	TupleDesc	tupdesc;
	const char *trigger;
	const char *table;
	const char *external_id;	/* NULL: not known yet */
	const char *argument;		/* that is being read; NULL: none */
} Row;

/* Which of many rows, and which of its values, an error is about. */
static void
tell_row(void *arg)
{
	const Row  *row = arg;

	if (row->argument && row->external_id)
		errcontext("order \"%s\", argument \"%s\" of trigger \"%s\" on table \"%s\"",
				   row->external_id, row->argument, row->trigger, row->table);
	else if (row->argument)
		errcontext("argument \"%s\" of trigger \"%s\" on table \"%s\"",
				   row->argument, row->trigger, row->table);
	else
		errcontext("trigger \"%s\" on table \"%s\"", row->trigger, row->table);
}

static Datum
call_function(const CsSource *source, Row *row, bool *isnull)
{
	MemoryContext cxt = CurrentMemoryContext;
	Datum		argument = heap_copy_tuple_as_datum(row->tuple, row->tupdesc);
	Datum		value;
	int			result;

	SPI_connect();
	result = SPI_execute_plan(source->plan, &argument, NULL, false, 1);
	if (result < 0 || SPI_processed != 1)
		elog(ERROR, "trigger argument \"%s\" of cs_submit_order failed: %s", source->argument,
			 SPI_result_code_string(result));
	cs_mapping_retype(source, SPI_gettypeid(SPI_tuptable->tupdesc, 1));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	if (!*isnull)
	{
		int16		typlen;
		bool		typbyval;

		get_typlenbyval(source->type, &typlen, &typbyval);
		value = SPI_datumTransfer(value, typbyval, typlen);
	}
	SPI_finish();
	MemoryContextSwitchTo(cxt);
	return value;
}

static Datum
source_value(const CsSource *source, Row *row, bool *isnull)
{
	row->argument = source->argument;
	if (source->plan)
		return call_function(source, row, isnull);
	return heap_getattr(row->tuple, source->attnum, row->tupdesc, isnull);
}

/* As text, as a cast to it would give; NULL if not mapped or null. */
static const char *
text_of(const CsSource *source, Row *row)
{
	Datum		value;
	bool		isnull;
	char	   *text;

	if (source->argument == NULL || source->constant)
		return source->constant;
	value = source_value(source, row, &isnull);
	if (isnull)
		return NULL;
	text = OidOutputFunctionCall(source->output, value);
	if (source->is_padded)
		text[bpchartruelen(text, strlen(text))] = '\0';
	return text;
}

/* As jsonb: jsonb itself, text that is JSON, or any row or array. */
static Datum
json_of(const CsSource *source, Row *row)
{
	Datum		value;
	const char *json;
	bool		isnull;

	if (source->argument == NULL)
		return (Datum) 0;
	row->argument = source->argument;
	if (source->constant)
		json = source->constant;
	else
	{
		value = source_value(source, row, &isnull);
		if (isnull)
			return (Datum) 0;
		if (source->type == JSONBOID)
			return JsonbPGetDatum(DatumGetJsonbP(value));
		if (source->is_composite)
			json = TextDatumGetCString(DirectFunctionCall1(row_to_json, value));
		else if (source->is_array)
			json = TextDatumGetCString(DirectFunctionCall1(array_to_json, value));
		else
			json = OidOutputFunctionCall(source->output, value);
	}
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/* ---- options ---- */

static void
push_key(JsonbParseState **state, const char *key, int length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = length;
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_json(JsonbParseState **state, Jsonb *json)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_SCALAR(json) || !JsonbExtractScalar(&json->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.len = VARSIZE(json) - VARHDRSZ;
		value.val.binary.data = &json->root;
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* false: the row has nothing there. */
static bool
push_option(JsonbParseState **state, CsPart part, const CsSource *source, Row *row)
{
	const char *key = cs_parts[part].key;
	const char *text;
	JsonbValue	value;
	bool		flag;

	if (cs_parts[part].kind == CS_PART_JSON)
	{
		Datum		json = json_of(source, row);

		if (json == 0)
			return false;
		push_key(state, key, strlen(key));
		push_json(state, DatumGetJsonbP(json));
		return true;
	}
	text = text_of(source, row);
	if (text == NULL)
		return false;
	if (cs_parts[part].kind == CS_PART_FLAG)
	{
		if (!parse_bool(text, &flag))
			cs_mapping_error(source->argument, psprintf("\"%s\" is not a boolean", text));
		value.type = jbvBool;
		value.val.boolean = flag;
	}
	else
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = strlen(text);
	}
	push_key(state, key, strlen(key));
	pushJsonbValue(state, WJB_VALUE, &value);
	return true;
}

/* Is this member of the base object replaced by a mapping of its own? */
static bool
is_overridden(const CsSource *sources, const JsonbValue *key)
{
	for (int part = CS_PART_FIRST_OPTION; part < CS_PARTS; part++)
		if (sources[part].argument && (int) strlen(cs_parts[part].key) == key->val.string.len &&
			memcmp(cs_parts[part].key, key->val.string.val, key->val.string.len) == 0)
			return true;
	return false;
}

static void
push_base(JsonbParseState **state, const CsSource *sources, Jsonb *base)
{
	JsonbIterator *iterator = JsonbIteratorInit(&base->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		skip = false;

	if (!JB_ROOT_IS_OBJECT(base))
		cs_mapping_error(sources[CS_PART_OPTIONS].argument, "the value is not a JSON object");
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			skip = is_overridden(sources, &value);
		if ((token == WJB_KEY || token == WJB_VALUE) && !skip)
			pushJsonbValue(state, token, &value);
	}
}

/* The member "options" of the form; 0 if the row has none. */
static Datum
options_of(const CsSource *sources, Row *row)
{
	JsonbParseState *state = NULL;
	Datum		base = json_of(&sources[CS_PART_OPTIONS], row);
	bool		any = base != 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (base)
		push_base(&state, sources, DatumGetJsonbP(base));
	for (int part = CS_PART_FIRST_OPTION; part < CS_PARTS; part++)
		if (sources[part].argument)
			any |= push_option(&state, part, &sources[part], row);
	if (!any)
		return (Datum) 0;
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* ---- the trigger ---- */

static void
require_value(const CsSource *source, bool there)
{
	if (!there)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("trigger argument \"%s\" of cs_submit_order gives null", source->argument)));
}

static bool
has_option(const CsSource *sources)
{
	for (int part = CS_PART_OPTIONS; part < CS_PARTS; part++)
		if (sources[part].argument)
			return true;
	return false;
}

/*
 * A deferred trigger fires for its row although that was deleted again in the
 * meantime.  A later version keeps the order, and so does another partition,
 * whose own trigger may be for other events.
 */
static bool
is_deleted(const TriggerData *trigger, TupleTableSlot *fired)
{
	Relation	relation = trigger->tg_relation;
	ItemPointerData tid = fired->tts_tid;
	TupleTableSlot *slot;
	bool		deleted = false;

	if (!trigger->tg_trigger->tgdeferrable || relation->rd_rel->relam != HEAP_TABLE_AM_OID ||
		table_tuple_satisfies_snapshot(relation, fired, SnapshotSelf))
		return false;
	slot = table_slot_create(relation, NULL);
	while (table_tuple_fetch_row_version(relation, &tid, SnapshotAny, slot) &&
		   !table_tuple_satisfies_snapshot(relation, slot, SnapshotSelf))
	{
		HeapTupleHeader version = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;

		deleted = ItemPointerEquals(&tid, &version->t_ctid);
		if (deleted || HeapTupleHeaderIndicatesMovedPartitions(version))
			break;
		tid = version->t_ctid;
	}
	ExecDropSingleTupleTableSlot(slot);
	return deleted;
}

Datum
cs_sql_submit_order(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const CsSource *sources;
	const char *server;
	CsOrderForm form = {0};
	Row			row = {0};
	ErrorContextCallback context = {.callback = tell_row, .arg = &row};

	cs_require_preload();
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("cs_submit_order can only be called as a trigger")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!(TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("cs_submit_order must be fired AFTER INSERT OR UPDATE, FOR EACH ROW")));

	row.trigger = trigger->tg_trigger->tgname;
	row.table = RelationGetRelationName(trigger->tg_relation);
	context.previous = error_context_stack;
	error_context_stack = &context;
	sources = cs_mapping_of(trigger);
	row.tupdesc = RelationGetDescr(trigger->tg_relation);
	row.tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	if (is_deleted(trigger, TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
				   trigger->tg_newslot : trigger->tg_trigslot))
	{
		error_context_stack = context.previous;
		return PointerGetDatum(NULL);
	}

	server = sources[CS_PART_SERVER].constant;
	if (sources[CS_PART_SERVER_COLUMN].argument)
	{
		server = text_of(&sources[CS_PART_SERVER_COLUMN], &row);
		require_value(&sources[CS_PART_SERVER_COLUMN], server != NULL);
	}
	form.external_id = text_of(&sources[CS_PART_EXTERNAL_ID], &row);
	require_value(&sources[CS_PART_EXTERNAL_ID], form.external_id != NULL);
	row.external_id = form.external_id;
	form.lines = json_of(&sources[CS_PART_LINES], &row);
	require_value(&sources[CS_PART_LINES], form.lines != 0);
	form.ship_to = json_of(&sources[CS_PART_SHIP_TO], &row);
	if (has_option(sources))
		form.options = options_of(sources, &row);
	row.argument = NULL;

	(void) cs_order_enqueue(cs_server_resolve(server), &form);
	error_context_stack = context.previous;
	return PointerGetDatum(NULL);
}
