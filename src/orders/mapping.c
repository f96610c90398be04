/*
 * mapping.c
 *	  The arguments of cs_submit_order(): read once per trigger and relation.
 *
 * They are kept until the relation's cache entry is invalidated, which any
 * ALTER or DROP of the table or its triggers does.  Only a mapping that is
 * complete and right is kept.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "src/base/compat.h"
#include "src/orders/mapping.h"

const CsPartName cs_parts[CS_PARTS] =
{
	[CS_PART_SERVER] = {"server", CS_PART_NAME},
	[CS_PART_SERVER_COLUMN] = {"server_column", CS_PART_TEXT},
	[CS_PART_EXTERNAL_ID] = {"external_id", CS_PART_TEXT},
	[CS_PART_LINES] = {"lines", CS_PART_JSON},
	[CS_PART_SHIP_TO] = {"ship_to", CS_PART_JSON},
	[CS_PART_OPTIONS] = {"options", CS_PART_JSON},
	[CS_PART_BILL_TO] = {"bill_to", CS_PART_JSON},
	[CS_PART_CUSTOMER] = {"customer", CS_PART_JSON},
	[CS_PART_BRANDING] = {"branding", CS_PART_JSON},
	[CS_PART_SHIPPING_METHOD] = {"shipping_method", CS_PART_TEXT},
	[CS_PART_CURRENCY] = {"currency", CS_PART_TEXT},
	[CS_PART_PO_NUMBER] = {"po_number", CS_PART_TEXT},
	[CS_PART_NET_TERMS] = {"net_terms", CS_PART_TEXT},
	[CS_PART_IS_GIFT] = {"is_gift", CS_PART_FLAG},
	[CS_PART_IS_RUSH] = {"is_rush", CS_PART_FLAG},
	[CS_PART_NOTES] = {"notes", CS_PART_TEXT},
	[CS_PART_EXTRA] = {"extra", CS_PART_JSON},
};

typedef struct MappingKey
{
	Oid			trigger;
	Oid			relation;
} MappingKey;

/* The sources, in a context of their own. */
typedef struct Sources
{
	MemoryContext cxt;
	int			users;			/* calls under way that may run a user's function */
	bool		calls_functions;
	CsSource	of[CS_PARTS];
} Sources;

typedef struct Mapping
{
	MappingKey	key;			/* must be first */
	Sources    *sources;		/* or NULL */
	bool		valid;
} Mapping;

static HTAB *mappings = NULL;

/* ---- the cache ---- */

/*
 * Only marks: the mapping may be in use.  What it points to is freed when it
 * is read anew.
 */
static void
forget_mappings(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Mapping    *mapping;

	hash_seq_init(&status, mappings);
	while ((mapping = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || mapping->key.relation == relid)
			mapping->valid = false;
}

static void
init_mappings(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(MappingKey);
	control.entrysize = sizeof(Mapping);
	control.hcxt = CacheMemoryContext;
	mappings = hash_create("cupsource trigger mappings", 16, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_mappings, (Datum) 0);
}

/*
 * A user's function that fires the same trigger may find the mapping invalid
 * while an outer call still uses it; then the old one is left to that call and
 * to the end of the session.
 */
static void
drop_sources(Mapping *mapping)
{
	if (mapping->sources && mapping->sources->users == 0)
		MemoryContextDelete(mapping->sources->cxt);
	mapping->sources = NULL;
	mapping->valid = false;
}

static void
end_use(void *arg)
{
	((Sources *) arg)->users--;
}

/* Until the current context, the row's, is reset, also by an error. */
static const CsSource *
use_sources(Sources *sources)
{
	if (sources->calls_functions)
	{
		MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

		callback->func = end_use;
		callback->arg = sources;
		MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
		sources->users++;
	}
	return sources->of;
}

/* ---- reading the arguments ---- */

void
cs_mapping_error(const char *argument, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("trigger argument \"%s\" of cs_submit_order: %s", argument, why),
			 errhint("Arguments are 'key=column', 'key=function()' or 'key=''constant'''; server is a name.")));
}

static void
set_type(CsSource *source, Oid type)
{
	bool		is_varlena;

	getTypeOutputInfo(type, &source->output, &is_varlena);
	source->is_padded = getBaseType(type) == BPCHAROID;
	source->is_composite = type_is_rowtype(type);
	source->is_array = OidIsValid(get_element_type(getBaseType(type)));
	source->type = type;
}

void
cs_mapping_retype(const CsSource *source, Oid type)
{
	if (type != source->type)
		set_type(unconstify(CsSource *, source), type);
}

/*
 * The function of a row of the table.  To one of a table that it is a partition
 * of, whose trigger this is, the row is converted.
 */
static Oid
find_function(List *names, Relation rel)
{
	Oid			rowtype = get_rel_type_id(RelationGetRelid(rel));
	Oid			function = LookupFuncName(names, 1, &rowtype, true);
	ListCell   *cell;

	if (OidIsValid(function) || !rel->rd_rel->relispartition)
		return function;
	foreach(cell, get_partition_ancestors(RelationGetRelid(rel)))
	{
		rowtype = get_rel_type_id(lfirst_oid(cell));
		function = LookupFuncName(names, 1, &rowtype, true);
		if (OidIsValid(function))
			break;
	}
	return function;
}

/* A plan of "SELECT function(row)"; the names are resolved now, as in any trigger's body. */
static void
source_from_function(CsSource *source, const char *value, Relation rel)
{
	char	   *name = pnstrdup(value, strlen(value) - 2);
	Oid			rowtype = get_rel_type_id(RelationGetRelid(rel));
	List	   *names = CS_QUALIFIED_NAME_LIST(name);
	Oid			function = find_function(names, rel);
	char	   *quoted;
	SPIPlanPtr	plan;

	if (!OidIsValid(function))
		cs_mapping_error(source->argument,
					   psprintf("function %s(%s) does not exist", name,
								RelationGetRelationName(rel)));
	quoted = quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
										get_func_name(function));
	SPI_connect();
	plan = SPI_prepare(psprintf("SELECT %s($1)", quoted), 1, &rowtype);
	if (plan == NULL)
		elog(ERROR, "could not prepare %s: %s", quoted, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	SPI_finish();
	source->plan = plan;
	set_type(source, get_func_rettype(function));
}

static void
source_from_column(CsSource *source, const char *value, Relation rel)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);
	Form_pg_attribute column;

	source->attnum = SPI_fnumber(tupdesc, value);
	if (source->attnum <= 0)
		cs_mapping_error(source->argument,
					   psprintf("table \"%s\" has no column \"%s\"",
								RelationGetRelationName(rel), value));
	column = TupleDescAttr(tupdesc, source->attnum - 1);
	if (CS_IS_VIRTUAL(column))
		cs_mapping_error(source->argument,
					   psprintf("column \"%s\" of table \"%s\" is not STORED and has no value when triggers fire",
								value, RelationGetRelationName(rel)));
	set_type(source, column->atttypid);
}

/* A constant in single quotes; a doubled quote is one. */
static char *
unquoted(const char *value, const char *argument)
{
	size_t		length = strlen(value);
	char	   *result = palloc(length);
	char	   *out = result;

	if (length < 2 || value[length - 1] != '\'')
		cs_mapping_error(argument, "the quote is not closed");
	for (size_t i = 1; i < length - 1; i++)
	{
		if (value[i] == '\'' && value[++i] != '\'')
			cs_mapping_error(argument, "a quote in a constant is written twice");
		*out++ = value[i];
	}
	*out = '\0';
	return result;
}

static void
read_source(CsSource *source, CsPart part, const char *value, Relation rel)
{
	size_t		length = strlen(value);

	if (length == 0)
		cs_mapping_error(source->argument, "there is nothing after \"=\"");
	if (cs_parts[part].kind == CS_PART_NAME)
		source->constant = pstrdup(value);
	else if (value[0] == '\'')
		source->constant = unquoted(value, source->argument);
	else
	{
		if (length > 2 && strcmp(value + length - 2, "()") == 0)
			source_from_function(source, value, rel);
		else
			source_from_column(source, value, rel);
	}
}

static void
read_argument(CsSource *sources, const char *argument, Relation rel)
{
	const char *equals = strchr(argument, '=');

	if (equals == NULL)
		cs_mapping_error(argument, "there is no \"=\"");
	for (int part = 0; part < CS_PARTS; part++)
	{
		size_t		length = strlen(cs_parts[part].key);

		if ((size_t) (equals - argument) != length ||
			strncmp(argument, cs_parts[part].key, length) != 0)
			continue;
		if (sources[part].argument)
			cs_mapping_error(argument, "the key is given twice");
		sources[part].argument = pstrdup(argument);
		read_source(&sources[part], part, equals + 1, rel);
		return;
	}
	cs_mapping_error(argument, "the key is not known");
}

static void
check_mapping(const CsSource *sources)
{
	static const CsPart required[] = {CS_PART_EXTERNAL_ID, CS_PART_LINES};

	for (size_t i = 0; i < lengthof(required); i++)
		if (sources[required[i]].argument == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cs_submit_order needs the trigger argument \"%s\"",
							cs_parts[required[i]].key),
					 errhint("For example '%s=%s'.", cs_parts[required[i]].key,
							 i == 0 ? "po_number" : "lines")));
	if (sources[CS_PART_SERVER].argument && sources[CS_PART_SERVER_COLUMN].argument)
		cs_mapping_error(sources[CS_PART_SERVER_COLUMN].argument, "server is given as well");
}

/* The plans that the sources keep. */
static void
free_plans(void *arg)
{
	Sources    *sources = arg;

	for (int part = 0; part < CS_PARTS; part++)
		if (sources->of[part].plan)
			SPI_freeplan(sources->of[part].plan);
}

/* Reads the arguments into a context of its own, which an error leaves to no one. */
static Sources *
read_sources(const TriggerData *trigger)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource trigger mapping",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Sources    *sources = palloc0(sizeof(Sources));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = free_plans;
	callback->arg = sources;
	MemoryContextRegisterResetCallback(cxt, callback);
	sources->cxt = cxt;
	for (int i = 0; i < trigger->tg_trigger->tgnargs; i++)
		read_argument(sources->of, trigger->tg_trigger->tgargs[i], trigger->tg_relation);
	check_mapping(sources->of);
	for (int part = 0; part < CS_PARTS; part++)
		sources->calls_functions |= sources->of[part].plan != NULL;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(cxt, CacheMemoryContext);
	return sources;
}

const CsSource *
cs_mapping_of(const TriggerData *trigger)
{
	MappingKey	key = {trigger->tg_trigger->tgoid, RelationGetRelid(trigger->tg_relation)};
	Mapping    *mapping;
	bool		found;

	if (mappings == NULL)
		init_mappings();
	mapping = hash_search(mappings, &key, HASH_ENTER, &found);
	if (!found)
	{
		mapping->sources = NULL;
		mapping->valid = false;
	}
	if (!mapping->valid)
	{
		Sources    *sources;

		drop_sources(mapping);

		/* Look-ups may invalidate again: what is read from here on counts. */
		mapping->valid = true;
		PG_TRY();
		{
			sources = read_sources(trigger);
		}
		PG_CATCH();
		{
			mapping->valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
		mapping->sources = sources;
	}
	return use_sources(mapping->sources);
}
