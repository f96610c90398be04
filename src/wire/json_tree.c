/*
 * json_tree.c
 *	  The other half of reading JSON: the arrangement of sound tokens, and
 *	  json-c's tree of them.
 *
 * json-c's own parser does not look whether it got memory for the name of a
 * member, and crashes; its objects do, and say so.  So they are made here, one
 * by one.  Each belongs to its parent, and the first to the caller, before
 * anything else is asked for, so that whatever is thrown in between loses
 * nothing.
 *
 * The tokens are sound (json_scan.c): a string ends, its escapes are known, a
 * number fits.  Neither utils/builtins.h nor utils/fmgrprotos.h may be
 * included here, as in json.c.
 */
#include "postgres.h"

#include <json-c/json.h>

#include "mb/pg_wchar.h"

#include "src/wire/json.h"
#include "src/wire/json_tree.h"

/* Bytes that are used again and again; in the current context. */
typedef struct Buffer
{
	char	   *data;
	size_t		allocated;
} Buffer;

typedef enum Expected
{
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END,		/* of an array that has just begun */
	EXPECT_NAME,
	EXPECT_NAME_OR_END,			/* of an object that has just begun */
	EXPECT_COLON,
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING				/* the document is complete */
} Expected;

/* A name of members; a copy with a NUL, in the document's context. */
typedef struct MemberName
{
	char	   *text;
	size_t		length;
} MemberName;

/* Names that are remembered; two of one place drive each other out. */
#define NAMES 64

typedef struct Builder
{
	const char *at;
	const char *end;
	MemoryContext cxt;			/* of the document */
	json_object **root;
	json_object *open[CS_JSON_MAX_DEPTH];	/* containers, the innermost last */
	int			depth;
	Expected	expected;
	const char *name;			/* of the member whose value comes next */
	Buffer		text;
	MemberName	names[NAMES];
} Builder;

void
cs_json_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("A JSON document could not be held.")));
}

/* Room for a string of that length and a NUL.  Throws. */
static char *
buffer_for(Buffer *buffer, size_t length)
{
	if (buffer->allocated <= length)
	{
		size_t		wanted = Max(length + 1, 256);

		if (buffer->data != NULL)
			pfree(buffer->data);
		buffer->data = NULL;
		buffer->allocated = 0;
		buffer->data = palloc_extended(wanted, MCXT_ALLOC_HUGE);
		buffer->allocated = wanted;
	}
	return buffer->data;
}

/* ---- tokens ---- */

static int
hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Of \uXXXX, whose digits begin at 'digits'. */
static pg_wchar
code_unit(const char *digits)
{
	return (pg_wchar) (hex_digit(digits[0]) << 12 | hex_digit(digits[1]) << 8 |
					   hex_digit(digits[2]) << 4 | hex_digit(digits[3]));
}

/* Writes what the escape at 'from' stands for; returns what is behind it. */
static const char *
unescape(const char *from, char **to)
{
	pg_wchar	character;

	from++;
	switch (*from)
	{
		case 'b':
			*(*to)++ = '\b';
			return from + 1;
		case 'f':
			*(*to)++ = '\f';
			return from + 1;
		case 'n':
			*(*to)++ = '\n';
			return from + 1;
		case 'r':
			*(*to)++ = '\r';
			return from + 1;
		case 't':
			*(*to)++ = '\t';
			return from + 1;
		case 'u':
			break;
		default:
			*(*to)++ = *from;
			return from + 1;
	}
	character = code_unit(from + 1);
	from += 5;
	if (is_utf16_surrogate_first(character))
	{
		character = surrogate_pair_to_codepoint(character, code_unit(from + 2));
		from += 6;
	}
	unicode_to_utf8(character, (unsigned char *) *to);
	*to += pg_utf_mblen((unsigned char *) *to);
	return from;
}

/*
 * Moves behind the string at b->at.  Returns it as it stands in the document,
 * or unescaped in b->text.
 */
static const char *
take_string(Builder *b, size_t *length)
{
	const char *from = b->at + 1;
	const char *quote = memchr(from, '"', b->end - from);
	char	   *to;

	Assert(quote != NULL);
	if (memchr(from, '\\', quote - from) == NULL)
	{
		b->at = quote + 1;
		*length = quote - from;
		return from;
	}

	/* It ends at the first quote that is not escaped. */
	quote = from;
	while (*quote != '"')
		quote += *quote == '\\' ? 2 : 1;
	to = buffer_for(&b->text, quote - from);
	while (from < quote)
	{
		if (*from == '\\')
			from = unescape(from, &to);
		else
			*to++ = *from++;
	}
	b->at = quote + 1;
	*length = to - b->text.data;
	return b->text.data;
}

/*
 * Moves behind the name of a member.  Rows have the same few names again and
 * again, so json-c is given one copy for all of them, which it does not own.
 */
static const char *
take_name(Builder *b)
{
	size_t		length;
	const char *text = take_string(b, &length);
	size_t		place = length;
	MemberName *name;

	if (length > 0)
		place += (unsigned char) text[0] * 5 + (unsigned char) text[length - 1] * 17;
	name = &b->names[place % NAMES];
	if (name->text == NULL || name->length != length || memcmp(name->text, text, length) != 0)
	{
		name->text = MemoryContextAllocHuge(b->cxt, length + 1);
		memcpy(name->text, text, length);
		name->text[length] = '\0';
		name->length = length;
	}
	return name->text;
}

static json_object *
new_string(Builder *b)
{
	size_t		length;
	const char *string = take_string(b, &length);

	return json_object_new_string_len(string, (int) length);
}

static bool
in_number(char c)
{
	return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* Moves behind the number; numbers that are not integers keep their text, and only that. */
static json_object *
new_number(Builder *b)
{
	const char *start = b->at;
	bool		negative = *start == '-';
	bool		integral = true;
	uint64		value = 0;
	size_t		length;
	char	   *text;

	for (b->at += negative; b->at < b->end && in_number(*b->at); b->at++)
	{
		if (*b->at >= '0' && *b->at <= '9')
			value = value * 10 + (uint64) (*b->at - '0');
		else
			integral = false;
	}
	if (integral && !negative && value > (uint64) PG_INT64_MAX)
		return json_object_new_uint64(value);
	if (integral)
		return json_object_new_int64(negative ? (int64) (0 - value) : (int64) value);

	length = b->at - start;
	text = buffer_for(&b->text, length);
	memcpy(text, start, length);
	text[length] = '\0';
	return json_object_new_double_s(0, text);
}

/* ---- the tree ---- */

static bool
in_array(const Builder *b)
{
	return json_object_get_type(b->open[b->depth - 1]) == json_type_array;
}

/* Puts the value into its place.  It is the tree's from now on, whatever happens. */
static void
add(Builder *b, json_object *value)
{
	int			failed;

	if (b->depth == 0)
	{
		*b->root = value;
		return;
	}
	if (in_array(b))
		failed = json_object_array_add(b->open[b->depth - 1], value);
	else
		failed = json_object_object_add_ex(b->open[b->depth - 1], b->name, value,
										   JSON_C_OBJECT_ADD_CONSTANT_KEY);
	if (failed)
	{
		json_object_put(value);
		cs_json_out_of_memory();
	}
}

static void
ended(Builder *b)
{
	b->expected = b->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
}

static void
add_scalar(Builder *b, json_object *value)
{
	if (value == NULL)
		cs_json_out_of_memory();
	add(b, value);
	ended(b);
}

static const char *
open_container(Builder *b, json_object *container, Expected expected)
{
	if (b->depth == CS_JSON_MAX_DEPTH)
	{
		json_object_put(container);
		return "nesting is too deep";
	}
	if (container == NULL)
		cs_json_out_of_memory();
	add(b, container);
	b->open[b->depth++] = container;
	b->expected = expected;
	b->at++;
	return NULL;
}

static void
close_container(Builder *b)
{
	b->depth--;
	b->at++;
	ended(b);
}

static const char *
build_value(Builder *b)
{
	switch (*b->at)
	{
		case '{':
			return open_container(b, json_object_new_object(), EXPECT_NAME_OR_END);
		case '[':
			return open_container(b, json_object_new_array(), EXPECT_VALUE_OR_END);
		case '"':
			add_scalar(b, new_string(b));
			return NULL;
		case 't':
			b->at += strlen("true");
			add_scalar(b, json_object_new_boolean(true));
			return NULL;
		case 'f':
			b->at += strlen("false");
			add_scalar(b, json_object_new_boolean(false));
			return NULL;
		case 'n':
			b->at += strlen("null");
			add(b, NULL);
			ended(b);
			return NULL;
		case '}':
		case ']':
		case ',':
		case ':':
			return "a value is missing";
		default:
			add_scalar(b, new_number(b));
			return NULL;
	}
}

/* One token.  What is wrong with its place, or NULL. */
static const char *
build_token(Builder *b)
{
	switch (b->expected)
	{
		case EXPECT_VALUE_OR_END:
			if (*b->at == ']')
			{
				close_container(b);
				return NULL;
			}
			return build_value(b);
		case EXPECT_VALUE:
			return build_value(b);
		case EXPECT_NAME_OR_END:
		case EXPECT_NAME:
			if (*b->at == '}' && b->expected == EXPECT_NAME_OR_END)
			{
				close_container(b);
				return NULL;
			}
			if (*b->at != '"')
				return "the name of a member is missing";
			b->name = take_name(b);
			b->expected = EXPECT_COLON;
			return NULL;
		case EXPECT_COLON:
			if (*b->at != ':')
				return "a colon is missing";
			b->at++;
			b->expected = EXPECT_VALUE;
			return NULL;
		case EXPECT_COMMA_OR_END:
			if (*b->at == (in_array(b) ? ']' : '}'))
				close_container(b);
			else if (*b->at == ',')
			{
				b->at++;
				b->expected = in_array(b) ? EXPECT_VALUE : EXPECT_NAME;
			}
			else
				return "a comma is missing";
			return NULL;
		case EXPECT_NOTHING:
			break;
	}
	return "something follows the document";
}

const char *
cs_json_build(MemoryContext cxt, const char *text, size_t length, json_object **root,
			  size_t *offset)
{
	Builder		builder = {.at = text, .end = text + length, .cxt = cxt, .root = root};
	const char *problem = NULL;

	for (;;)
	{
		while (builder.at < builder.end && (*builder.at == ' ' || *builder.at == '\t' ||
											*builder.at == '\n' || *builder.at == '\r'))
			builder.at++;
		if (builder.at == builder.end)
		{
			if (builder.expected != EXPECT_NOTHING)
				problem = "unexpected end";
			break;
		}
		problem = build_token(&builder);
		if (problem != NULL)
			break;
	}
	*offset = builder.at - text;
	if (builder.text.data != NULL)
		pfree(builder.text.data);
	return problem;
}
