/*
 * rows.c
 *	  Answers → rows, for every resource of every API.
 *
 * The first line of an input names one: "customhub-v1 models".  Any other
 * line stands for one of them all the same.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "utils/datum.h"

#include "src/client/rows.h"
#include "test/fuzz/fuzz.h"

typedef struct Reading
{
	const CsResource *resource;
	TupleDesc	tupdesc;
	const CsJson *document;
	int64		seen;
	int64		returned;
} Reading;

/* A row type with all of the resource's columns, and those that every row may have. */
static TupleDesc
row_type(const CsResource *resource)
{
	int			natts = 3;
	TupleDesc	tupdesc;

	for (const CsColumn *column = resource->columns; column->name; column++)
		natts++;
	tupdesc = CreateTemplateTupleDesc(natts);
	natts = 0;
	for (const CsColumn *column = resource->columns; column->name; column++)
		TupleDescInitEntry(tupdesc, ++natts, column->name, cs_type_oid(column->type), -1, 0);
	TupleDescInitEntry(tupdesc, ++natts, "server", TEXTOID, -1, 0);
	TupleDescInitEntry(tupdesc, ++natts, "fetched_at", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(tupdesc, ++natts, "raw", JSONBOID, -1, 0);
	return tupdesc;
}

/* All bytes of every value are read. */
static void
take_row(Datum *values, bool *nulls, void *arg)
{
	Reading    *reading = arg;

	reading->seen++;
	for (int i = 0; i < reading->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(reading->tupdesc, i);

		if (!nulls[i])
			datumCopy(values[i], attribute->attbyval, attribute->attlen);
	}
}

static void
read_rows(void *arg)
{
	Reading    *reading = arg;
	CsRowReader *reader = cs_rows_reader(reading->resource, reading->tupdesc, "fuzz");

	reading->returned = cs_rows_each(reader, reading->document, -1, take_row, reading);
}

static void
check_rows(const CsResource *resource, const CsJson *document)
{
	Reading		reading = {.resource = resource, .document = document};
	int			sqlstate;

	reading.tupdesc = row_type(resource);
	sqlstate = fuzz_try(read_rows, &reading);
	fuzz_check(sqlstate == 0 || sqlstate == CS_ERRCODE_MALFORMED,
			   "an answer is read, or is malformed");
	if (sqlstate == 0)
	{
		int64		count = Max(cs_rows_count(resource, document), 0);

		fuzz_check(reading.seen == reading.returned, "each row is counted");
		fuzz_check(resource->forgiving ? reading.seen <= count : reading.seen == count,
				   "there are as many rows as the document has, or as can be read");
	}
	cs_rows_first(resource, document);
}

static void
check_failure(const CsApi *api, const CsJson *document)
{
	CsFailure	failure = {0};

	cs_api_failure(api, 422, document, &failure);
	fuzz_check(failure.message != NULL && failure.sqlstate != 0, "a refusal has words and a code");
}

void
fuzz_rows(const char *input, size_t length)
{
	const char *line_end = memchr(input, '\n', length);
	size_t		line_length;
	char	   *line;
	char	   *problem;
	const CsJson *document;
	const CsResource *chosen = NULL;
	const CsApi *chosen_api = NULL;
	unsigned	number = 0;
	unsigned	count = 0;

	if (line_end == NULL)
		return;
	line_length = line_end - input;
	document = cs_json_parse(CurrentMemoryContext, line_end + 1, length - line_length - 1,
							 &problem);
	if (document == NULL)
		return;
	line = pnstrdup(input, line_length);
	for (const CsApi *const *api = cs_apis; *api; api++)
		for (const CsResource *resource = (*api)->resources; resource->name; resource++)
			count++;
	for (size_t i = 0; i < line_length; i++)
		number = number * 31 + (unsigned char) line[i];
	number %= count;
	for (const CsApi *const *api = cs_apis; *api; api++)
		for (const CsResource *resource = (*api)->resources; resource->name; resource++)
		{
			bool		named = strcmp(line, psprintf("%s %s", (*api)->name, resource->name)) == 0;

			if (number-- == 0 || named)
			{
				chosen = resource;
				chosen_api = *api;
			}
			if (named)
				goto found;
		}
found:
	check_rows(chosen, document);
	check_failure(chosen_api, document);
}
