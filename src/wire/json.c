/*
 * json.c
 *	  json-c's trees: with json_tree.c the only place that knows json-c.
 *
 * A CsJson is a json_object, never defined as a type of its own.  Tokens are
 * looked at by cs_json_scan, then their arrangement by cs_json_build, which
 * makes the tree.
 *
 * The tree lives in malloc; a reset callback of the memory context given to
 * cs_json_parse puts its root back, and it is armed before the tree exists.
 *
 * Neither utils/builtins.h nor utils/fmgrprotos.h may be included here: the
 * server has a function json_object, json-c a type of that name.
 */
#include "postgres.h"

#include <limits.h>
#include <json-c/json.h>
#include <json-c/linkhash.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "src/wire/json.h"
#include "src/wire/json_tree.h"

/* What belongs to the context: the tree, and the way to give it back. */
typedef struct Document
{
	MemoryContextCallback callback;
	json_object *root;
} Document;

/* json-c's null is the NULL pointer, which is not a document to its users. */
static const char null_document;

#define NULL_DOCUMENT ((const CsJson *) &null_document)

static inline json_object *
node(const CsJson *value)
{
	return value == NULL_DOCUMENT ? NULL : (json_object *) value;
}

static inline json_object *
node_of_type(const CsJson *value, json_type type)
{
	json_object *object = node(value);

	return object != NULL && json_object_get_type(object) == type ? object : NULL;
}

static void
release_document(void *arg)
{
	Document   *document = arg;
	json_object *root = document->root;

	document->root = NULL;
	json_object_put(root);
}

static char *
problem_at(MemoryContext cxt, const char *what, size_t offset)
{
	MemoryContext previous = MemoryContextSwitchTo(cxt);
	char	   *problem = psprintf("%s at byte %zu", what, offset + 1);

	MemoryContextSwitchTo(previous);
	return problem;
}

/* How many blanks the text begins with. */
static size_t
leading_blanks(const char *text, size_t length)
{
	size_t		i = 0;

	while (i < length && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
		i++;
	return i;
}

const CsJson *
cs_json_parse(MemoryContext cxt, const char *text, size_t length, char **problem)
{
	Document   *document;
	const char *unsound;
	size_t		first = leading_blanks(text, length);
	size_t		offset = first;

	*problem = NULL;
	if (length >= INT_MAX)
		unsound = "document is too long";
	else if (first == length)
		unsound = "document is empty";
	else
		unsound = cs_json_scan(text, length, &offset);
	if (unsound)
	{
		*problem = problem_at(cxt, unsound, offset);
		return NULL;
	}

	document = MemoryContextAllocZero(cxt, sizeof(Document));
	document->callback.func = release_document;
	document->callback.arg = document;
	MemoryContextRegisterResetCallback(cxt, &document->callback);

	unsound = cs_json_build(cxt, text, length, &document->root, &offset);
	if (unsound)
	{
		*problem = problem_at(cxt, unsound, offset);
		return NULL;
	}
	return document->root ? (const CsJson *) document->root : NULL_DOCUMENT;
}

CsJsonType
cs_json_type(const CsJson *value)
{
	switch (json_object_get_type(node(value)))
	{
		case json_type_boolean:
			return CS_JSON_BOOLEAN;
		case json_type_int:
			return CS_JSON_INTEGER;
		case json_type_double:
			return CS_JSON_DOUBLE;
		case json_type_string:
			return CS_JSON_STRING;
		case json_type_array:
			return CS_JSON_ARRAY;
		case json_type_object:
			return CS_JSON_OBJECT;
		case json_type_null:
			break;
	}
	return CS_JSON_NULL;
}

const char *
cs_json_type_name(CsJsonType type)
{
	switch (type)
	{
		case CS_JSON_BOOLEAN:
			return "boolean";
		case CS_JSON_INTEGER:
		case CS_JSON_DOUBLE:
			return "number";
		case CS_JSON_STRING:
			return "string";
		case CS_JSON_ARRAY:
			return "array";
		case CS_JSON_OBJECT:
			return "object";
		case CS_JSON_NULL:
			break;
	}
	return "null";
}

const CsJson *
cs_json_get(const CsJson *object, const char *key)
{
	json_object *parent = node_of_type(object, json_type_object);
	json_object *member;

	if (parent == NULL || !json_object_object_get_ex(parent, key, &member))
		return NULL;
	return (const CsJson *) member;
}

const CsJson *
cs_json_path(const CsJson *object, const char *path)
{
	for (;;)
	{
		size_t		length = strcspn(path, ".");
		char		key[NAMEDATALEN * 2];

		if (path[length] == '\0')
			return cs_json_get(object, path);
		if (length >= sizeof(key))
			return NULL;
		memcpy(key, path, length);
		key[length] = '\0';
		object = cs_json_get(object, key);
		if (object == NULL)
			return NULL;
		path += length + 1;
	}
}

bool
cs_json_is_null(const CsJson *object, const char *path)
{
	const char *last = strrchr(path, '.');
	json_object *parent;
	json_object *member;

	if (last != NULL)
		object = cs_json_path(object, pnstrdup(path, last - path));
	parent = node_of_type(object, json_type_object);
	return parent != NULL &&
		json_object_object_get_ex(parent, last ? last + 1 : path, &member) && member == NULL;
}

size_t
cs_json_length(const CsJson *array)
{
	json_object *list = node_of_type(array, json_type_array);

	return list ? json_object_array_length(list) : 0;
}

const CsJson *
cs_json_at(const CsJson *array, size_t index)
{
	json_object *list = node_of_type(array, json_type_array);

	return list ? (const CsJson *) json_object_array_get_idx(list, index) : NULL;
}

void
cs_json_each(const CsJson *object, CsJsonMemberCallback callback, void *arg)
{
	json_object *parent = node_of_type(object, json_type_object);
	struct lh_entry *member;

	if (parent == NULL)
		return;

	/* Inlined, unlike json-c's iterators: this is where rows are read from. */
	lh_foreach(json_object_get_object(parent), member)
		callback(lh_entry_k(member), lh_entry_v(member), arg);
}

size_t
cs_json_members(const CsJson *object)
{
	json_object *parent = node_of_type(object, json_type_object);

	return parent ? json_object_object_length(parent) : 0;
}

const char *
cs_json_string(const CsJson *value, size_t *length)
{
	json_object *string = node_of_type(value, json_type_string);

	if (string == NULL)
		return NULL;
	*length = json_object_get_string_len(string);
	return json_object_get_string(string);
}

/*
 * json-c makes a number with fraction or exponent by json_object_new_double_s,
 * whose userdata is, by its documentation, the text: no need to print it.
 */
const char *
cs_json_number(const CsJson *value)
{
	json_object *number = node(value);
	const char *text;

	switch (json_object_get_type(number))
	{
		case json_type_double:
			text = json_object_get_userdata(number);
			if (text == NULL)
				text = json_object_get_string(number);
			break;
		case json_type_int:
			text = json_object_get_string(number);
			break;
		default:
			return NULL;
	}
	if (text == NULL)
		cs_json_out_of_memory();
	return text;
}

bool
cs_json_int64(const CsJson *value, int64 *result)
{
	json_object *number = node_of_type(value, json_type_int);

	if (number == NULL)
		return false;
	*result = json_object_get_int64(number);

	/* What is beyond is clamped to this. */
	return *result != PG_INT64_MAX || json_object_get_uint64(number) == (uint64) PG_INT64_MAX;
}

bool
cs_json_boolean(const CsJson *value, bool *result)
{
	json_object *boolean = node_of_type(value, json_type_boolean);

	if (boolean == NULL)
		return false;
	*result = json_object_get_boolean(boolean) != 0;
	return true;
}

bool
cs_json_truth(const CsJson *value, bool *truth)
{
	size_t		length;
	const char *text;

	if (cs_json_boolean(value, truth))
		return true;
	text = cs_json_string(value, &length);
	if (text == NULL)
		text = cs_json_number(value);
	if (text == NULL)
		return false;
	*truth = strcmp(text, "1") == 0 || pg_strcasecmp(text, "true") == 0;
	return *truth || strcmp(text, "0") == 0 || pg_strcasecmp(text, "false") == 0;
}

/*
 * Writing.  json-c's own serializer goes on when it gets no memory for a part,
 * and leaves that out; StringInfo does not.
 */

static void
write_string(StringInfo out, const char *string, size_t length)
{
	const char *end = string + length;
	const char *plain = string;

	appendStringInfoCharMacro(out, '"');
	for (const char *p = string; p < end; p++)
	{
		unsigned char c = (unsigned char) *p;

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, plain, (int) (p - plain));
		plain = p + 1;
		if (c >= ' ')
			appendStringInfo(out, "\\%c", c);
		else if (c >= '\b' && c <= '\r' && c != '\v')
			appendStringInfo(out, "\\%c", "btn-fr"[c - '\b']);
		else
			appendStringInfo(out, "\\u%04x", c);
	}
	appendBinaryStringInfo(out, plain, (int) (end - plain));
	appendStringInfoCharMacro(out, '"');
}

static void
write_value(StringInfo out, json_object *value)
{
	bool		first = true;
	struct lh_entry *member;

	check_stack_depth();
	switch (json_object_get_type(value))
	{
		case json_type_null:
			appendStringInfoString(out, "null");
			break;
		case json_type_boolean:
			appendStringInfoString(out, json_object_get_boolean(value) ? "true" : "false");
			break;
		case json_type_int:
			if (json_object_get_int64(value) == PG_INT64_MAX)	/* or beyond */
				appendStringInfo(out, UINT64_FORMAT, json_object_get_uint64(value));
			else
				appendStringInfo(out, INT64_FORMAT, json_object_get_int64(value));
			break;
		case json_type_double:
			appendStringInfoString(out, cs_json_number((const CsJson *) value));
			break;
		case json_type_string:
			write_string(out, json_object_get_string(value), json_object_get_string_len(value));
			break;
		case json_type_array:
			appendStringInfoCharMacro(out, '[');
			for (size_t i = 0; i < json_object_array_length(value); i++)
			{
				if (i > 0)
					appendStringInfoCharMacro(out, ',');
				write_value(out, json_object_array_get_idx(value, i));
			}
			appendStringInfoCharMacro(out, ']');
			break;
		case json_type_object:
			appendStringInfoCharMacro(out, '{');
			lh_foreach(json_object_get_object(value), member)
			{
				const char *name = lh_entry_k(member);

				if (!first)
					appendStringInfoCharMacro(out, ',');
				first = false;
				write_string(out, name, strlen(name));
				appendStringInfoCharMacro(out, ':');
				write_value(out, lh_entry_v(member));
			}
			appendStringInfoCharMacro(out, '}');
			break;
	}
}

char *
cs_json_text(const CsJson *value)
{
	StringInfoData out;

	initStringInfo(&out);
	write_value(&out, node(value));
	return out.data;
}

const char *
cs_json_library(void)
{
	return json_c_version();
}
