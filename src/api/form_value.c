/*
 * form_value.c
 *	  A jsonb document as the order form is read from it.
 *
 * An order's form is checked in the transaction of whoever inserts it; walking
 * the jsonb costs a fifth of what printing and parsing it does.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "src/api/form_value.h"
#include "src/wire/datum.h"

#define VALUES_AT_ONCE 16
#define SAFE_DIGITS 18			/* no integer of so many characters is out of range */

/* The containers that are being read, outermost first. */
typedef struct Walk
{
	CsValue    *open[CS_JSON_MAX_DEPTH];
	CsValue    *last[CS_JSON_MAX_DEPTH];	/* what was read last in each */
	int			depth;
	const char *name;			/* of the member that comes next, or NULL */
	CsValue    *root;
	CsValue    *unused;			/* values that are allocated already, zeroed */
	int			nunused;
	char	   *text;			/* room for the strings still to come */
} Walk;

/*
 * An order has some fifty values and strings: they are not allocated one by
 * one.  The strings, each with its end, fit into the size of the document, in
 * which each has a header of more than a byte.
 */
static CsValue *
new_value(Walk *walk)
{
	if (walk->nunused == 0)
	{
		walk->unused = palloc0(VALUES_AT_ONCE * sizeof(CsValue));
		walk->nunused = VALUES_AT_ONCE;
	}
	walk->nunused--;
	return walk->unused++;
}

static const char *
utf8_copy(Walk *walk, const char *string, int length)
{
	char	   *copy = walk->text;

	memcpy(copy, string, length);
	copy[length] = '\0';
	walk->text += length + 1;
	return GetDatabaseEncoding() == PG_UTF8 ? copy : pg_server_to_any(copy, length, PG_UTF8);
}

/* Hangs a value into the innermost container. */
static CsValue *
add_value(Walk *walk, CsJsonType type)
{
	CsValue    *value = new_value(walk);

	value->type = type;
	value->name = walk->name;
	walk->name = NULL;
	if (walk->depth == 0)
		walk->root = value;
	else
	{
		CsValue   **last = &walk->last[walk->depth - 1];

		if (*last)
			(*last)->next = value;
		else
			walk->open[walk->depth - 1]->first = value;
		*last = value;
		walk->open[walk->depth - 1]->n++;
	}
	return value;
}

/* False: an integer that is out of range. */
static bool
add_number(Walk *walk, Numeric number)
{
	const char *text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(number)));
	size_t		length = strlen(text);
	bool		is_integer = strspn(text, "-0123456789") == length;
	CsValue    *value = add_value(walk, is_integer ? CS_JSON_INTEGER : CS_JSON_DOUBLE);
	size_t		offset;

	value->text = text;
	value->length = length;
	return !is_integer || length <= SAFE_DIGITS || cs_json_scan(text, length, &offset) == NULL;
}

static bool
add_scalar(Walk *walk, const JsonbValue *scalar)
{
	CsValue    *value;

	switch (scalar->type)
	{
		case jbvNumeric:
			return add_number(walk, scalar->val.numeric);
		case jbvString:
			value = add_value(walk, CS_JSON_STRING);
			value->text = utf8_copy(walk, scalar->val.string.val, scalar->val.string.len);
			value->length = strlen(value->text);
			break;
		case jbvBool:
			value = add_value(walk, CS_JSON_BOOLEAN);
			value->is_true = scalar->val.boolean;
			break;
		default:
			Assert(scalar->type == jbvNull);
			add_value(walk, CS_JSON_NULL);
			break;
	}
	return true;
}

/* False: too deep. */
static bool
open_container(Walk *walk, CsJsonType type)
{
	CsValue    *value;

	if (walk->depth == CS_JSON_MAX_DEPTH)
		return false;
	value = add_value(walk, type);
	walk->open[walk->depth] = value;
	walk->last[walk->depth] = NULL;
	walk->depth++;
	return true;
}

/* False at what a partner could not read. */
static bool
walk_container(Walk *walk, JsonbContainer *container)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		sound = true;

	while (sound && (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				/* A scalar comes as the one element of an array that is none. */
				if (!value.val.array.rawScalar)
					sound = open_container(walk, CS_JSON_ARRAY);
				break;
			case WJB_BEGIN_OBJECT:
				sound = open_container(walk, CS_JSON_OBJECT);
				break;
			case WJB_END_ARRAY:
			case WJB_END_OBJECT:
				if (walk->depth > 0)
					walk->depth--;
				break;
			case WJB_KEY:
				walk->name = utf8_copy(walk, value.val.string.val, value.val.string.len);
				break;
			default:
				sound = add_scalar(walk, &value);
				break;
		}
	}
	return sound;
}

/* The document as its text is parsed; NULL and *problem if that cannot be. */
static const CsJson *
parse_text(Datum jsonb, char **problem)
{
	char	   *utf8 = cs_utf8_from_jsonb(jsonb);

	return cs_json_parse(CurrentMemoryContext, utf8, strlen(utf8), problem);
}

const CsValue *
cs_value_from_jsonb(Datum jsonb, char **problem)
{
	Jsonb	   *document = DatumGetJsonbP(jsonb);
	Walk		walk = {0};

	*problem = NULL;
	walk.text = palloc(VARSIZE(document));
	if (walk_container(&walk, &document->root))
		return walk.root;
	if (parse_text(jsonb, problem) != NULL)
		elog(ERROR, "jsonb document is sound as a text only");
	return NULL;
}

const CsValue *
cs_value_get(const CsValue *object, const char *name)
{
	if (object->type != CS_JSON_OBJECT)
		return NULL;
	for (const CsValue *member = object->first; member; member = member->next)
		if (strcmp(member->name, name) == 0)
			return member->type == CS_JSON_NULL ? NULL : member;
	return NULL;
}

int
cs_value_length(const CsValue *array)
{
	return array->type == CS_JSON_ARRAY ? array->n : 0;
}

const CsJson *
cs_json_from_member(Datum jsonb, const char *name)
{
	Jsonb	   *document = DatumGetJsonbP(jsonb);
	JsonbValue	member;
	const CsJson *json;
	char	   *problem;

	if (getKeyJsonValueFromContainer(&document->root, name, (int) strlen(name), &member) == NULL)
		return NULL;
	json = parse_text(JsonbPGetDatum(JsonbValueToJsonb(&member)), &problem);
	if (json == NULL)
		elog(ERROR, "member \"%s\" of a jsonb document is not sound: %s", name, problem);
	return json;
}
