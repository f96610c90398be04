/*
 * facts.c
 *	  What a page of a list says of the whole of it.
 */
#include "postgres.h"

#include "src/client/facts.h"

static char *
unexpected(const char *paths, const char *expected, const CsJson *value)
{
	return psprintf("field \"%s\": expected %s, got %s", paths, expected,
					cs_json_type_name(cs_json_type(value)));
}

static bool
count_from_json(const CsJson *value, int64 *count)
{
	char	   *problem;
	Datum		datum;

	if (!cs_datum_from_json(CS_TYPE_BIGINT, value, &datum, &problem))
		return false;
	*count = DatumGetInt64(datum);
	return *count >= 0;
}

static char *
read_count(const char *paths, const CsJson *document, int64 *count)
{
	const CsJson *value = paths ? cs_json_find(document, paths) : NULL;

	*count = -1;
	return value == NULL || count_from_json(value, count) ? NULL :
		unexpected(paths, "a count", value);
}

static char *
read_more(const char *paths, const CsJson *document, CsFacts *facts)
{
	const CsJson *value = paths ? cs_json_find(document, paths) : NULL;

	facts->says_more = value != NULL;
	return value == NULL || cs_json_truth(value, &facts->more) ? NULL :
		unexpected(paths, "true or false", value);
}

/* After the last page it is not needed, and may be anything. */
static char *
read_cursor(const char *paths, const CsJson *document, CsFacts *facts)
{
	const CsJson *value = paths ? cs_json_find(document, paths) : NULL;
	size_t		length;
	bool		truth;

	facts->cursor = NULL;
	if (value == NULL || (facts->says_more && !facts->more) ||
		(cs_json_boolean(value, &truth) && !truth))
		return NULL;
	facts->cursor = cs_json_string(value, &length);
	if (facts->cursor != NULL)
	{
		if (length == 0)
			facts->cursor = NULL;
		return NULL;
	}
	if (cs_json_type(value) != CS_JSON_INTEGER)
		return unexpected(paths, "a string", value);
	facts->cursor = cs_json_number(value);
	return NULL;
}

/* Is null where the list would be, and the list nowhere else? */
static bool
is_null_list(const CsResource *resource, const CsJson *document)
{
	const CsJson *root = cs_json_find(document, resource->root ? resource->root : "");
	const char *path = resource->lists[0];
	bool		found = false;

	while (path != NULL)
	{
		size_t		length = strcspn(path, "|");
		char	   *name = pnstrdup(path, length);

		if (cs_json_type(length > 0 ? cs_json_path(root, name) : root) == CS_JSON_ARRAY)
			return false;
		found |= length > 0 && cs_json_is_null(root, name);
		path = path[length] == '|' ? path + length + 1 : NULL;
	}
	return found;
}

char *
cs_facts_read(const CsResource *resource, const CsJson *document, CsFacts *facts)
{
	char	   *problem = read_count(resource->total_paths, document, &facts->total);

	facts->null_list = is_null_list(resource, document);

	/* A list can do without that. */
	if (read_count(resource->page_size_paths, document, &facts->page_size) != NULL)
		facts->page_size = -1;
	if (problem == NULL)
		problem = read_more(resource->has_more_paths, document, facts);
	if (problem == NULL)
		problem = read_cursor(resource->cursor_paths, document, facts);
	return problem;
}
