/*
 * datum.c
 *	  JSON values as Datums: exactly, or not at all.
 *
 * A value that does not fit its type is a problem for the caller to word, who
 * knows resource, row and field; so nothing here throws for what a partner
 * sent.  No setting of the session has a say.
 *
 * JSON is UTF-8.  Where the server's encoding is too, and for ASCII anyway,
 * strings are copied as they are (cs_json_scan has verified them); otherwise
 * they are converted, which looks up the conversion and so needs a
 * transaction.  SQL_ASCII knows no characters beyond ASCII, so it gets none.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "src/base/compat.h"
#include "src/wire/datum.h"
#include "src/wire/parse.h"

#define CONVERSION_PIECE 8192	/* bytes converted at once */

/* Indexed by CsType. */
static const Oid type_oids[] =
{
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, INT8OID, INT4OID, BOOLOID,
	TIMESTAMPTZOID, TEXTARRAYOID, JSONBOID
};

Oid
cs_type_oid(CsType type)
{
	StaticAssertStmt(lengthof(type_oids) == CS_TYPE_JSONB + 1, "a CsType has no type");
	return type_oids[type];
}

/* ---- encodings ---- */

static bool
is_ascii(const char *string, size_t length)
{
	uint64		high = 0;
	size_t		i = 0;

	for (; i + sizeof(uint64) <= length; i += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, string + i, sizeof(word));
		high |= word;
	}
	for (; i < length; i++)
		high |= (uint64) (string[i] & 0x80);
	return (high & UINT64CONST(0x8080808080808080)) == 0;
}

static bool
needs_conversion(const char *utf8, size_t length)
{
	return GetDatabaseEncoding() != PG_UTF8 && !is_ascii(utf8, length);
}

/*
 * Appends UTF-8 to 'out' in the server's encoding, up to the first character
 * that it does not have.  Returns how many bytes were taken.
 */
static size_t
append_converted(StringInfo out, const char *utf8, size_t length)
{
	Oid			conversion = InvalidOid;
	size_t		done = 0;

	while (done < length && (utf8[done] & 0x80) == 0)
		done++;
	appendBinaryStringInfo(out, utf8, (int) done);
	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (!OidIsValid(conversion))
		return done;
	while (done < length)
	{
		size_t		piece = Min(length - done, CONVERSION_PIECE);
		int			room = CONVERSION_PIECE * MAX_CONVERSION_GROWTH + 1;
		int			taken;

		/* Not through the middle of a character. */
		while (piece > 0 && done + piece < length && (utf8[done + piece] & 0xc0) == 0x80)
			piece--;
		enlargeStringInfo(out, room);
		taken = pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
											  (unsigned char *) utf8 + done, (int) piece,
											  (unsigned char *) out->data + out->len, room, true);
		out->len += strlen(out->data + out->len);
		done += taken;
		if (taken < (int) piece)
			break;
	}
	return done;
}

/*
 * The string in the server's encoding: itself, or a palloc'd conversion whose
 * length replaces *length.  NULL with *problem set if there is none.
 */
static const char *
to_server(const char *utf8, size_t *length, char **problem)
{
	StringInfoData out;
	size_t		taken;

	if (!needs_conversion(utf8, *length))
		return utf8;
	initStringInfo(&out);
	taken = append_converted(&out, utf8, *length);
	if (taken < *length)
	{
		*problem = psprintf("character U+%04X has no equivalent in encoding \"%s\"",
							utf8_to_unicode((const unsigned char *) utf8 + taken),
							GetDatabaseEncodingName());
		return NULL;
	}
	*length = out.len;
	return out.data;
}

bool
cs_text_from_utf8(const char *utf8, size_t length, Datum *datum, char **problem)
{
	const char *string = to_server(utf8, &length, problem);

	if (string == NULL)
		return false;
	*datum = PointerGetDatum(cstring_to_text_with_len(string, (int) length));
	return true;
}

char *
cs_server_from_utf8(const char *utf8, size_t length)
{
	StringInfoData out;
	size_t		done = 0;

	if (!needs_conversion(utf8, length))
		return pnstrdup(utf8, length);
	initStringInfo(&out);
	while (done < length)
	{
		done += append_converted(&out, utf8 + done, length - done);
		if (done < length)
		{
			appendStringInfoChar(&out, '?');
			done += pg_utf_mblen((const unsigned char *) utf8 + done);
		}
	}
	return out.data;
}

char *
cs_utf8_from_server(const char *string)
{
	char	   *utf8 = pg_server_to_any(string, (int) strlen(string), PG_UTF8);

	return utf8 == string ? pstrdup(string) : utf8;
}

char *
cs_utf8_from_jsonb(Datum jsonb)
{
	Jsonb	   *value = DatumGetJsonbP(jsonb);
	char	   *string = JsonbToCString(NULL, &value->root, (int) VARSIZE(value));

	return pg_server_to_any(string, (int) strlen(string), PG_UTF8);
}

Datum
cs_jsonb_from_utf8(const char *utf8, size_t length)
{
	char	   *string = cs_server_from_utf8(utf8, length);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(string));
}

/* ---- scalars ---- */

static bool
mismatch(const char *expected, const CsJson *value, char **problem)
{
	static const char *const articles[] = {"", "a ", "a ", "a ", "a ", "an ", "an "};
	CsJsonType	type = cs_json_type(value);

	*problem = psprintf("expected %s, got %s%s", expected, articles[type], cs_json_type_name(type));
	return false;
}

static bool
refuse_number(const char *what, const char *number, char **problem)
{
	*problem = psprintf("number %.40s%s is %s", number, strlen(number) > 40 ? "..." : "", what);
	return false;
}

static bool
text_from_string(const CsJson *value, Datum *datum, char **problem)
{
	size_t		length;
	const char *string = cs_json_string(value, &length);

	if (string == NULL)
		return mismatch("a string", value, problem);
	return cs_text_from_utf8(string, length, datum, problem);
}

static Datum
text_from_ascii(const char *ascii)
{
	return PointerGetDatum(cstring_to_text(ascii));
}

/* What is found by it is found by an index, and asked for by a URL. */
static bool
identifier_from_json(const CsJson *value, Datum *datum, char **problem)
{
	size_t		length;

	switch (cs_json_type(value))
	{
		case CS_JSON_STRING:
			(void) cs_json_string(value, &length);
			if (length > CS_IDENTIFIER_LIMIT)
				break;
			return text_from_string(value, datum, problem);
		case CS_JSON_INTEGER:
			length = strlen(cs_json_number(value));
			if (length > CS_IDENTIFIER_LIMIT)
				break;
			*datum = text_from_ascii(cs_json_number(value));
			return true;
		default:
			return mismatch("a string or an integer", value, problem);
	}
	*problem = psprintf("an identifier of %zu bytes is too long", length);
	return false;
}

static bool
stock_from_json(const CsJson *value, Datum *datum, char **problem)
{
	bool		in_stock;

	if (cs_json_boolean(value, &in_stock))
	{
		*datum = text_from_ascii(in_stock ? "in_stock" : "out_of_stock");
		return true;
	}
	if (cs_json_type(value) == CS_JSON_STRING || cs_json_type(value) == CS_JSON_INTEGER)
		return identifier_from_json(value, datum, problem);
	return mismatch("a string, an integer or a boolean", value, problem);
}

static bool
prose_from_json(const CsJson *value, Datum *datum, char **problem)
{
	char	   *text;

	if (cs_json_type(value) == CS_JSON_STRING)
		return text_from_string(value, datum, problem);
	text = cs_json_text(value);
	return cs_text_from_utf8(text, strlen(text), datum, problem);
}

/* What a string is if it is read as JSON, NULL if it cannot be; any other value is itself. */
static const CsJson *
unquoted(const CsJson *value)
{
	size_t		length;
	const char *string = cs_json_string(value, &length);
	char	   *problem;

	return string ? cs_json_parse(CurrentMemoryContext, string, length, &problem) : value;
}

/*
 * int64_div_fast_to_numeric divides by the power of ten exactly and keeps the
 * scale, so 12.50 stays 12.50; it saves most of what numeric_in costs.
 */
static bool
numeric_from_json(const CsJson *value, Numeric *numeric, char **problem)
{
	const CsJson *plain = unquoted(value);
	const char *number;
	int64		digits;
	int			scale;

	if (cs_json_int64(plain, &digits))
	{
		*numeric = int64_to_numeric(digits);
		return true;
	}
	number = cs_json_number(plain);
	if (number == NULL)
		return mismatch("a number", value, problem);
	switch (cs_parse_decimal(number, &digits, &scale))
	{
		case CS_DECIMAL_ABSURD:
			return refuse_number("out of range", number, problem);
		case CS_DECIMAL_SHORT:
			if (scale >= 0)
			{
				*numeric = int64_div_fast_to_numeric(digits, scale);
				return true;
			}
			break;
		case CS_DECIMAL_LONG:
			break;
	}
	*numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(number),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
	return true;
}

/* 3.0 and 3e2 are integral; the API's serializer may write them so. */
static bool
int64_from_json(const CsJson *value, int64 lowest, int64 highest, int64 *result, char **problem)
{
	const CsJson *plain = unquoted(value);
	const char *number;
	int64		digits;
	int			scale;

	if (!cs_json_int64(plain, result))
	{
		number = cs_json_number(plain);
		if (number == NULL)
			return mismatch("an integer", value, problem);
		if (cs_json_type(plain) == CS_JSON_INTEGER ||
			cs_parse_decimal(number, &digits, &scale) != CS_DECIMAL_SHORT)
			return refuse_number("out of range", number, problem);
		if (!cs_decimal_to_int64(digits, scale, result))
			return refuse_number("not an integer that fits", number, problem);
	}
	if (*result < lowest || *result > highest)
		return refuse_number("out of range", cs_json_number(plain), problem);
	return true;
}

static bool
timestamptz_from_json(const CsJson *value, Datum *datum, char **problem)
{
	size_t		length;
	const char *string = cs_json_string(value, &length);
	TimestampTz timestamp;

	if (string == NULL || !cs_parse_timestamp(string, length, &timestamp))
	{
		if (string == NULL)
			return mismatch("a date and time", value, problem);
		*problem = pstrdup("expected a date and time in ISO 8601");
		return false;
	}
	*datum = TimestampTzGetDatum(timestamp);
	return true;
}

/* What is never meant, as nothing of a partner's is older; and MySQL's zeros. */
bool
cs_json_is_no_time(const CsJson *value)
{
	const TimestampTz epoch = (UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	size_t		length;
	const char *string = cs_json_string(value, &length);
	TimestampTz timestamp;

	if (string == NULL)
		return false;
	if (strncmp(string, "0000-00-00", strlen("0000-00-00")) == 0)
		return true;
	return cs_parse_timestamp(string, length, &timestamp) && timestamp <= epoch;
}

/* ---- what has parts ---- */

static bool
text_array_from_json(const CsJson *value, Datum *datum, char **problem)
{
	size_t		length = cs_json_length(value);
	Datum	   *elements;
	bool	   *nulls;
	int			dimension = (int) length;
	int			lower_bound = 1;

	if (cs_json_type(value) != CS_JSON_ARRAY)
		return mismatch("an array of strings", value, problem);
	elements = palloc(sizeof(Datum) * length);
	nulls = palloc0(sizeof(bool) * length);
	for (size_t i = 0; i < length; i++)
	{
		const CsJson *element = cs_json_at(value, i);

		if (cs_json_type(element) == CS_JSON_NULL)
			nulls[i] = true;
		else if (!text_from_string(element, &elements[i], problem))
		{
			*problem = psprintf("element %zu: %s", i + 1, *problem);
			return false;
		}
	}
	*datum = PointerGetDatum(length == 0 ? construct_empty_array(TEXTOID) :
							 construct_md_array(elements, nulls, 1, &dimension, &lower_bound,
												TEXTOID, -1, false, TYPALIGN_INT));
	return true;
}

/* A jsonb value in the making, and what was found wrong on the way. */
typedef struct JsonbMaker
{
	CsJsonbBuild build;
	char	   *problem;		/* NULL: nothing so far */
} JsonbMaker;

static void push_value(JsonbMaker *maker, JsonbIteratorToken token, const CsJson *value);

/* jsonb holds lengths in 28 bits. */
static bool
jsonb_string(JsonbMaker *maker, const char *utf8, size_t length, JsonbValue *scalar)
{
	const char *string = to_server(utf8, &length, &maker->problem);

	if (string != NULL && length > JENTRY_OFFLENMASK)
		maker->problem = pstrdup("string is too long for jsonb");
	scalar->type = jbvString;
	scalar->val.string.val = (char *) string;
	scalar->val.string.len = (int) length;
	return maker->problem == NULL;
}

/* Strings are not copied: they live in the document until the Datum is made. */
static bool
jsonb_scalar(JsonbMaker *maker, const CsJson *value, JsonbValue *scalar)
{
	size_t		length;
	const char *string;

	switch (cs_json_type(value))
	{
		case CS_JSON_STRING:
			string = cs_json_string(value, &length);
			return jsonb_string(maker, string, length, scalar);
		case CS_JSON_INTEGER:
		case CS_JSON_DOUBLE:
			scalar->type = jbvNumeric;
			return numeric_from_json(value, &scalar->val.numeric, &maker->problem);
		case CS_JSON_BOOLEAN:
			scalar->type = jbvBool;
			return cs_json_boolean(value, &scalar->val.boolean);
		default:
			scalar->type = jbvNull;
			return true;
	}
}

static void
push_member(const char *key, const CsJson *value, void *arg)
{
	JsonbMaker *maker = arg;
	JsonbValue	name;

	if (maker->problem != NULL || !jsonb_string(maker, key, strlen(key), &name))
		return;
	CS_PUSH_JSONB(&maker->build, WJB_KEY, &name);
	push_value(maker, WJB_VALUE, value);
}

/* 'token' says what the value is to its container: WJB_VALUE or WJB_ELEM. */
static void
push_value(JsonbMaker *maker, JsonbIteratorToken token, const CsJson *value)
{
	JsonbValue	scalar;
	size_t		length;

	check_stack_depth();
	switch (cs_json_type(value))
	{
		case CS_JSON_OBJECT:
			CS_PUSH_JSONB(&maker->build, WJB_BEGIN_OBJECT, NULL);
			cs_json_each(value, push_member, maker);
			if (maker->problem == NULL)
				CS_PUSH_JSONB(&maker->build, WJB_END_OBJECT, NULL);
			break;
		case CS_JSON_ARRAY:
			CS_PUSH_JSONB(&maker->build, WJB_BEGIN_ARRAY, NULL);
			length = cs_json_length(value);
			for (size_t i = 0; i < length && maker->problem == NULL; i++)
				push_value(maker, WJB_ELEM, cs_json_at(value, i));
			if (maker->problem == NULL)
				CS_PUSH_JSONB(&maker->build, WJB_END_ARRAY, NULL);
			break;
		default:
			if (jsonb_scalar(maker, value, &scalar))
				CS_PUSH_JSONB(&maker->build, token, &scalar);
			break;
	}
}

/* Straight from the tree: no text in between to be written and read again. */
static bool
jsonb_from_json(const CsJson *value, Datum *datum, char **problem)
{
	JsonbMaker	maker;
	JsonbValue	scalar;
	JsonbValue *root = &scalar;

	memset(&maker, 0, sizeof(maker));
	if (cs_json_type(value) == CS_JSON_OBJECT || cs_json_type(value) == CS_JSON_ARRAY)
	{
		push_value(&maker, WJB_VALUE, value);
		root = maker.build.result;
	}
	else
		jsonb_scalar(&maker, value, &scalar);
	if (maker.problem != NULL)
	{
		*problem = maker.problem;
		return false;
	}
	*datum = JsonbPGetDatum(JsonbValueToJsonb(root));
	return true;
}

bool
cs_datum_from_json(CsType type, const CsJson *value, Datum *datum, char **problem)
{
	Numeric		numeric;
	int64		integer;
	bool		boolean;

	switch (type)
	{
		case CS_TYPE_TEXT:
			return text_from_string(value, datum, problem);
		case CS_TYPE_IDENTIFIER:
			return identifier_from_json(value, datum, problem);
		case CS_TYPE_PROSE:
			return prose_from_json(value, datum, problem);
		case CS_TYPE_STOCK:
			return stock_from_json(value, datum, problem);
		case CS_TYPE_NUMERIC:
			if (!numeric_from_json(value, &numeric, problem))
				return false;
			*datum = NumericGetDatum(numeric);
			return true;
		case CS_TYPE_BIGINT:
			if (!int64_from_json(value, PG_INT64_MIN, PG_INT64_MAX, &integer, problem))
				return false;
			*datum = Int64GetDatum(integer);
			return true;
		case CS_TYPE_INTEGER:
			if (!int64_from_json(value, PG_INT32_MIN, PG_INT32_MAX, &integer, problem))
				return false;
			*datum = Int32GetDatum((int32) integer);
			return true;
		case CS_TYPE_BOOLEAN:
			if (!cs_json_truth(value, &boolean))
				return mismatch("a boolean", value, problem);
			*datum = BoolGetDatum(boolean);
			return true;
		case CS_TYPE_TIMESTAMPTZ:
			return timestamptz_from_json(value, datum, problem);
		case CS_TYPE_TEXT_ARRAY:
			return text_array_from_json(value, datum, problem);
		case CS_TYPE_JSONB:
			return jsonb_from_json(value, datum, problem);
	}
	pg_unreachable();
}
