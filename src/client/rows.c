/*
 * rows.c
 *	  Answers → tuples, by a resource's columns.
 *
 * The columns' paths are compiled once per reader, into a shape for each
 * level of the answer: the root, an element of the first list, …  Values of
 * an outer level are converted once for all the rows below it.
 *
 * Compiling costs more than reading an answer of a few rows, so readers
 * outlive their scans: they wait for the next one that wants the same columns
 * in an equal row type.  Nothing has to be invalidated, since the row types
 * themselves are compared.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/client/list.h"
#include "src/client/rows.h"
#include "src/client/shape.h"

#define MAX_LEVELS (lengthof(((CsResource *) NULL)->lists) + 1)
#define MAX_IDLE_READERS 16

/* A column that the row type has. */
typedef struct Target
{
	int			attribute;		/* from 0 */
	CsType		type;
	bool		required;
	CsPlace    *places;			/* alternatives, the first that has a value counts */
	int			nplaces;
	int			taken;			/* of 'places', in the element read last */
} Target;

/*
 * An alternative that is no column's first choice.  If it has a value and
 * another was taken, only "raw" can hold it.
 */
typedef struct Spare
{
	int			target;
	int			place;
} Spare;

typedef struct Level
{
	CsShape    *shape;
	Target	   *targets;
	int			ntargets;
	Bitmapset  *first_choices;	/* slots */
	Spare	   *spares;
	int			nspares;
} Level;

struct CsRowReader
{
	MemoryContext cxt;			/* of the reader; the struct is in it */
	const CsResource *resource;
	TupleDesc	tupdesc;
	int			depth;			/* of the level that rows are made of */
	Level		levels[MAX_LEVELS];
	int			raw_attribute;	/* or -1 */
	int			fetched_attribute;	/* or -1 */
	int			server_attribute;	/* or -1 */
	Datum	   *values;
	bool	   *nulls;
	CsRowReader *next;			/* while idle */

	/* In a scan; they belong to its context. */
	const char *server;
	MemoryContext document_cxt; /* of the values */

	/* While a document is read. */
	int64		rows;
	int64		max_rows;
	bool		passed_over;	/* a value of the element read last: only "raw" has it */
	CsRowCallback callback;
	void	   *callback_arg;
};

/* ---- Compiling the columns ---- */

static int
attribute_named(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return i;
	}
	return -1;
}

/* The attribute of that name, which must be of that type; -1 without one. */
static int
attribute_of_type(TupleDesc tupdesc, const char *name, Oid type)
{
	int			attribute = attribute_named(tupdesc, name);

	if (attribute >= 0 && TupleDescAttr(tupdesc, attribute)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" must have type %s", name, format_type_be(type))));
	return attribute;
}

static void
compile_column(CsRowReader *reader, const CsColumn *column)
{
	Level	   *level = &reader->levels[column->level];
	Target		target = {
		.attribute = attribute_of_type(reader->tupdesc, column->name, cs_type_oid(column->type)),
		.type = column->type,
		.required = (column->flags & CS_COLUMN_REQUIRED) != 0,
	};
	const char *path = column->paths;

	Assert(column->level <= reader->depth);
	for (;;)
	{
		const char *end = strchrnul(path, '|');

		target.places = target.places ?
			repalloc(target.places, (target.nplaces + 1) * sizeof(CsPlace)) :
			palloc(sizeof(CsPlace));
		target.places[target.nplaces++] = cs_shape_add(level->shape, pnstrdup(path, end - path));
		if (*end == '\0')
			break;
		path = end + 1;
	}
	level->first_choices = bms_add_member(level->first_choices, target.places[0].slot);
	if (target.attribute < 0)
		return;					/* known, and not wanted */
	level->targets = level->targets ?
		repalloc(level->targets, (level->ntargets + 1) * sizeof(Target)) : palloc(sizeof(Target));
	level->targets[level->ntargets++] = target;
}

static void
find_spares(Level *level)
{
	for (int i = 0; i < level->ntargets; i++)
		for (int j = 1; j < level->targets[i].nplaces; j++)
		{
			Spare		spare = {i, j};

			if (bms_is_member(level->targets[i].places[j].slot, level->first_choices))
				continue;
			level->spares = level->spares ?
				repalloc(level->spares, (level->nspares + 1) * sizeof(Spare)) :
				palloc(sizeof(Spare));
			level->spares[level->nspares++] = spare;
		}
}

/* In the current context, as everything that it consists of. */
static CsRowReader *
compile_reader(const CsResource *resource, TupleDesc tupdesc)
{
	CsRowReader *reader = palloc0(sizeof(CsRowReader));

	reader->cxt = CurrentMemoryContext;
	reader->resource = resource;
	reader->tupdesc = CreateTupleDescCopy(tupdesc);
	while (reader->depth < (int) lengthof(resource->lists) && resource->lists[reader->depth])
		reader->depth++;

	for (int i = 0; i <= reader->depth; i++)
		reader->levels[i].shape = cs_shape_new();
	for (const CsColumn *column = resource->columns; column->name; column++)
		compile_column(reader, column);
	find_spares(&reader->levels[reader->depth]);

	reader->values = palloc0(Max(tupdesc->natts, 1) * sizeof(Datum));
	reader->nulls = palloc(Max(tupdesc->natts, 1) * sizeof(bool));
	memset(reader->nulls, true, tupdesc->natts * sizeof(bool));
	reader->raw_attribute = attribute_of_type(tupdesc, "raw", JSONBOID);
	reader->fetched_attribute = attribute_of_type(tupdesc, "fetched_at", TIMESTAMPTZOID);
	reader->server_attribute = attribute_of_type(tupdesc, "server", TEXTOID);
	return reader;
}

/* ---- Readers between scans ---- */

/* The last used comes first. */
static CsRowReader *idle_readers = NULL;

static CsRowReader *
take_idle(const CsResource *resource, TupleDesc tupdesc)
{
	for (CsRowReader **link = &idle_readers; *link; link = &(*link)->next)
	{
		CsRowReader *reader = *link;

		if (reader->resource == resource && equalTupleDescs(reader->tupdesc, tupdesc))
		{
			*link = reader->next;
			return reader;
		}
	}
	return NULL;
}

/* MemoryContextCallbackFunction: the scan is over.  The longest idle makes room. */
static void
put_idle(void *arg)
{
	CsRowReader *reader = arg;
	int			n = 0;

	reader->next = idle_readers;
	idle_readers = reader;
	for (CsRowReader **link = &idle_readers; *link; link = &(*link)->next)
		if (n++ == MAX_IDLE_READERS)
		{
			MemoryContextDelete((*link)->cxt);
			*link = NULL;
			break;
		}
}

static CsRowReader *
make_reader(const CsResource *resource, TupleDesc tupdesc)
{
	/* A child of the current context until it is complete. */
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource row reader",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsRowReader *reader = compile_reader(resource, tupdesc);

	MemoryContextSwitchTo(old);
	MemoryContextSetParent(cxt, CacheMemoryContext);
	return reader;
}

CsRowReader *
cs_rows_reader(const CsResource *resource, TupleDesc tupdesc, const char *server)
{
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	CsRowReader *reader = take_idle(resource, tupdesc);

	if (reader == NULL)
		reader = make_reader(resource, tupdesc);
	callback->func = put_idle;
	callback->arg = reader;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);

	reader->server = pstrdup(server);
	reader->document_cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource rows",
												 ALLOCSET_DEFAULT_SIZES);
	if (reader->server_attribute >= 0)
	{
		reader->values[reader->server_attribute] = CStringGetTextDatum(server);
		reader->nulls[reader->server_attribute] = false;
	}
	return reader;
}

/* ---- Reading an element ---- */

/* 'field' is a path, or NULL for the whole row. */
static void
refuse_row(const CsRowReader *reader, const char *field, const char *problem)
{
	char	   *row = psprintf("row " INT64_FORMAT, reader->rows + 1);

	ereport(ERROR,
			(errcode(CS_ERRCODE_MALFORMED),
			 errmsg("malformed answer from server \"%s\": resource \"%s\", %s%s%s%s: %s",
					reader->server, reader->resource->name, row,
					field ? ", field \"" : "", field ? field : "", field ? "\"" : "",
					problem)));
}

static void
refuse_type(const CsRowReader *reader, const char *field, const char *expected,
			const CsJson *value)
{
	CsJsonType	type = cs_json_type(value);
	const char *article = "a ";

	if (type == CS_JSON_NULL)
		article = "";
	else if (type == CS_JSON_ARRAY || type == CS_JSON_OBJECT)
		article = "an ";
	refuse_row(reader, field, psprintf("expected %s, got %s%s", expected, article,
									   cs_json_type_name(type)));
}

/* Is a value that cannot be read as good as none? */
static bool
may_pass_over(const CsRowReader *reader, const Target *target)
{
	return reader->resource->forgiving && !target->required;
}

/* No alternative has a value: is that all right? */
static void
check_absent(CsRowReader *reader, const Level *level, const Target *target)
{
	for (int i = 0; i < target->nplaces; i++)
	{
		const char *path;
		const CsJson *obstacle = cs_shape_obstacle(level->shape, &target->places[i], &path);

		if (obstacle)
			refuse_type(reader, path, "an object", obstacle);
	}
	if (target->required)
		refuse_row(reader, target->places[0].path, "required, but missing");
}

/* An empty identifier names nothing: put into a path, it would ask for the list instead. */
static bool
is_empty_identifier(const Target *target, Datum value)
{
	return target->type == CS_TYPE_IDENTIFIER &&
		VARSIZE_ANY_EXHDR(DatumGetPointer(value)) == 0;
}

/* Sets the attribute from the level's slots. */
static void
read_target(CsRowReader *reader, const Level *level, Target *target)
{
	int			attribute = target->attribute;
	char	   *problem;

	for (int i = 0; i < target->nplaces; i++)
	{
		const CsJson *value = level->shape->slots[target->places[i].slot];

		if (value == NULL)
			continue;
		if (target->type == CS_TYPE_TIMESTAMPTZ && cs_json_is_no_time(value))
		{
			reader->passed_over = true;
			continue;
		}
		if (!cs_datum_from_json(target->type, value, &reader->values[attribute], &problem))
		{
			if (may_pass_over(reader, target))
			{
				reader->passed_over = true;
				continue;
			}
			refuse_row(reader, target->places[i].path, problem);
		}
		if (target->required && is_empty_identifier(target, reader->values[attribute]))
			refuse_row(reader, target->places[i].path, "required, but empty");
		reader->nulls[attribute] = false;
		target->taken = i;
		return;
	}
	if (!may_pass_over(reader, target))
		check_absent(reader, level, target);
	reader->nulls[attribute] = true;
}

/* Has the element a value that no column took? */
static bool
is_more_than_columns(const CsRowReader *reader, const Level *level)
{
	if (level->shape->unknown || reader->passed_over)
		return true;
	for (int i = 0; i < level->nspares; i++)
	{
		const Target *target = &level->targets[level->spares[i].target];
		int			place = level->spares[i].place;

		if (target->taken != place && level->shape->slots[target->places[place].slot] != NULL)
			return true;
	}
	return false;
}

static void
read_raw(CsRowReader *reader, const Level *level, const CsJson *element)
{
	int			attribute = reader->raw_attribute;
	char	   *problem;

	reader->nulls[attribute] = level->shape->whole || !is_more_than_columns(reader, level);
	if (!reader->nulls[attribute] &&
		!cs_datum_from_json(CS_TYPE_JSONB, element, &reader->values[attribute], &problem))
		refuse_row(reader, NULL, problem);
}

/* ---- Walking the document ---- */

/*
 * The list of the level below 'element', or an object in its place (list.h);
 * NULL if it is not there.
 */
static const CsJson *
list_below(const CsResource *resource, int level, const CsJson *element)
{
	const CsJson *list = cs_json_find(element, resource->lists[level]);

	return cs_json_type(list) == CS_JSON_NULL ? NULL : list;
}

static bool
walk_element(CsRowReader *reader, int depth, const CsJson *element)
{
	Level	   *level = &reader->levels[depth];
	bool		is_row = depth == reader->depth;
	const CsJson *below;
	CsList		list;

	if (is_row || level->ntargets > 0)
	{
		if (!cs_shape_read(level->shape, element))
		{
			if (is_row && depth > 0 && reader->resource->forgiving)
				return true;
			refuse_type(reader, NULL, "an object", element);
		}
		reader->passed_over = false;
		for (int i = 0; i < level->ntargets; i++)
			read_target(reader, level, &level->targets[i]);
	}
	if (is_row)
	{
		if (reader->raw_attribute >= 0)
			read_raw(reader, level, element);
		reader->callback(reader->values, reader->nulls, reader->callback_arg);
		reader->rows++;
		return reader->rows != reader->max_rows;
	}

	below = list_below(reader->resource, depth, element);
	if (below == NULL)
		return true;
	list = cs_list_of(below);
	for (int64 i = 0; i < list.length; i++)
		if (!walk_element(reader, depth + 1, cs_list_at(&list, i)))
			return false;
	return true;
}

/* Is there no list because there is nothing to list?  So Go writes an empty one. */
static bool
is_said_empty(const CsResource *resource, const CsJson *document)
{
	int64		total;

	return resource->total_paths != NULL &&
		cs_json_int64(cs_json_find(document, resource->total_paths), &total) && total == 0;
}

/* The root of the answer; throws if it is not there, or the outermost list is not. */
static const CsJson *
find_root(const CsRowReader *reader, const CsJson *document)
{
	const CsResource *resource = reader->resource;
	const CsJson *root = cs_json_find(document, resource->root ? resource->root : "");

	if (cs_json_type(root) == CS_JSON_NULL)
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("malformed answer from server \"%s\": resource \"%s\": the answer is empty",
						reader->server, resource->name)));
	if (reader->depth > 0 && !resource->may_lack_list &&
		list_below(resource, 0, root) == NULL && !is_said_empty(resource, document))
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("malformed answer from server \"%s\": resource \"%s\": "
						"there is no list of rows", reader->server, resource->name),
				 errdetail("It was looked for at \"%s\".", resource->lists[0])));
	return root;
}

int64
cs_rows_each(CsRowReader *reader, const CsJson *document, int64 max_rows,
			 CsRowCallback callback, void *arg)
{
	MemoryContext old;

	if (max_rows == 0 || document == NULL)
		return 0;
	MemoryContextReset(reader->document_cxt);
	old = MemoryContextSwitchTo(reader->document_cxt);
	if (reader->fetched_attribute >= 0)
	{
		reader->values[reader->fetched_attribute] = TimestampTzGetDatum(GetCurrentTimestamp());
		reader->nulls[reader->fetched_attribute] = false;
	}
	reader->rows = 0;
	reader->max_rows = max_rows;
	reader->callback = callback;
	reader->callback_arg = arg;
	(void) walk_element(reader, 0, find_root(reader, document));
	MemoryContextSwitchTo(old);
	return reader->rows;
}

typedef struct Storing
{
	Tuplestorestate *store;
	TupleDesc	tupdesc;
} Storing;

/* CsRowCallback */
static void
store_row(Datum *values, bool *nulls, void *arg)
{
	Storing    *storing = arg;

	tuplestore_putvalues(storing->store, storing->tupdesc, values, nulls);
}

int64
cs_rows_store(CsRowReader *reader, const CsJson *document, int64 max_rows,
			  Tuplestorestate *store)
{
	Storing		storing = {store, reader->tupdesc};

	return cs_rows_each(reader, document, max_rows, store_row, &storing);
}

static int64
count_below(const CsResource *resource, int depth, const CsJson *element)
{
	const CsJson *below;
	CsList		list;
	int64		count = 0;

	if (depth == (int) lengthof(resource->lists) || resource->lists[depth] == NULL)
		return 1;
	below = list_below(resource, depth, element);
	if (below == NULL)
		return depth == 0 && !resource->may_lack_list ? -1 : 0;
	list = cs_list_of(below);
	if (depth + 1 == (int) lengthof(resource->lists) || resource->lists[depth + 1] == NULL)
		return list.length;
	for (int64 i = 0; i < list.length; i++)
		count += count_below(resource, depth + 1, cs_list_at(&list, i));
	return count;
}

int64
cs_rows_count(const CsResource *resource, const CsJson *document)
{
	const CsJson *root = cs_json_find(document, resource->root ? resource->root : "");
	int64		count = cs_json_type(root) == CS_JSON_NULL ? -1 : count_below(resource, 0, root);

	return count < 0 && is_said_empty(resource, document) ? 0 : count;
}

static const CsJson *
outermost_list(const CsResource *resource, const CsJson *document)
{
	const CsJson *root = cs_json_find(document, resource->root ? resource->root : "");

	return resource->lists[0] && cs_json_type(root) != CS_JSON_NULL ?
		list_below(resource, 0, root) : NULL;
}

bool
cs_rows_has_list(const CsResource *resource, const CsJson *document)
{
	return outermost_list(resource, document) != NULL;
}

const CsJson *
cs_rows_first(const CsResource *resource, const CsJson *document)
{
	const CsJson *outermost = outermost_list(resource, document);
	CsList		list;

	if (outermost == NULL)
		return NULL;
	list = cs_list_of(outermost);
	return list.length > 0 ? cs_list_at(&list, 0) : NULL;
}
