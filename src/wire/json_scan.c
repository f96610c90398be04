/*
 * json_scan.c
 *	  The lexical half of reading JSON: every token, exactly as RFC 8259 has it.
 *
 * json-c's strict mode is strict about structure, not about tokens: it takes
 * single quotes, NaN, raw control characters, vertical tabs as blanks, lone
 * surrogates (as U+FFFD) and integers of any length (saturated), and a \u0000
 * cuts the key or string that it stands in; and that of version 0.18 takes
 * nothing beyond ASCII.  So the tokens are looked at here, in one pass before
 * anything is made of them; their arrangement is json_tree.c's.
 *
 * The text need not end in NUL; nothing is allocated, nothing is thrown.
 * Plain C that does not call the server, so the unit tests and the fuzzer can
 * include it.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "src/wire/json.h"

typedef const unsigned char *Cursor;

/* Digits of the largest integers that json-c can hold: uint64, and int64 below zero. */
#define LARGEST_DIGITS "18446744073709551615"
#define SMALLEST_DIGITS "9223372036854775808"

#define BYTES_OF(byte) (UINT64CONST(0x0101010101010101) * (byte))

/* Eight bytes of a string that mean nothing but themselves: the usual case. */
static inline bool
eight_plain_bytes(Cursor p)
{
	uint64		word;
	uint64		quote;
	uint64		backslash;

	memcpy(&word, p, sizeof(word));
	quote = word ^ BYTES_OF('"');
	backslash = word ^ BYTES_OF('\\');

	/* A borrow into the top bit of a byte marks what is below the subtrahend. */
	return ((word | (word - BYTES_OF(0x20)) | (quote - BYTES_OF(1)) |
			 (backslash - BYTES_OF(1))) & BYTES_OF(0x80)) == 0;
}

static inline bool
is_digit(Cursor p, Cursor end)
{
	return p < end && *p >= '0' && *p <= '9';
}

/* What may stand right behind a number or a literal. */
static inline bool
ends_token(Cursor p, Cursor end)
{
	if (p == end)
		return true;
	switch (*p)
	{
		case ' ':
		case '\t':
		case '\n':
		case '\r':
		case ',':
		case ']':
		case '}':
			return true;
		default:
			return false;
	}
}

/* The four digits of \uXXXX as a number, or -1. */
static int
four_hex_digits(Cursor p, Cursor end)
{
	int			value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		unsigned char c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/* Moves behind the escape whose backslash is at *at; on a problem *at stays. */
static const char *
scan_escape(Cursor *at, Cursor end)
{
	Cursor		p = *at + 1;
	int			unit;

	if (p == end)
		return "unterminated string";
	if (*p != 'u')
	{
		if (*p == '\0' || strchr("\"\\/bfnrt", *p) == NULL)
			return "invalid escape in a string";
		*at = p + 1;
		return NULL;
	}
	unit = four_hex_digits(p + 1, end);
	if (unit < 0)
		return "invalid \\u escape in a string";
	if (unit == 0)
		return "\\u0000 in a string, which cannot be stored as text";
	p += 5;
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return "lone surrogate in a string";
	if (unit >= 0xd800 && unit <= 0xdbff)
	{
		if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
			return "lone surrogate in a string";
		unit = four_hex_digits(p + 2, end);
		if (unit < 0xdc00 || unit > 0xdfff)
			return "lone surrogate in a string";
		p += 6;
	}
	*at = p;
	return NULL;
}

/* Moves behind the string whose opening quote is at *at. */
static const char *
scan_string(Cursor *at, Cursor end)
{
	Cursor		p = *at + 1;

	for (;;)
	{
		const char *problem;

		while (end - p >= 8 && eight_plain_bytes(p))
			p += 8;
		while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
			p++;
		if (p == end)
			return "unterminated string";
		if (*p == '"')
		{
			*at = p + 1;
			return NULL;
		}
		if (*p == '\\')
		{
			problem = scan_escape(&p, end);
			if (problem)
			{
				*at = p;
				return problem;
			}
		}
		else if (*p < 0x20)
		{
			*at = p;
			return "control character in a string";
		}
		else
		{
			int			length = pg_utf_mblen(p);

			if (end - p < length || !pg_utf8_islegal(p, length))
			{
				*at = p;
				return "invalid UTF-8";
			}
			p += length;
		}
	}
}

/* Moves behind the number whose first character is at *at; on a problem *at stays. */
static const char *
scan_number(Cursor *at, Cursor end)
{
	Cursor		p = *at;
	bool		negative = *p == '-';
	bool		integral = true;
	Cursor		digits = p + negative;
	size_t		ndigits;

	p = digits;
	if (!is_digit(p, end))
		return "invalid number";
	if (*p == '0')
		p++;
	else
		while (is_digit(p, end))
			p++;
	ndigits = p - digits;
	if (p < end && *p == '.')
	{
		integral = false;
		p++;
		if (!is_digit(p, end))
			return "invalid number";
		while (is_digit(p, end))
			p++;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		integral = false;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (!is_digit(p, end))
			return "invalid number";
		while (is_digit(p, end))
			p++;
	}
	if (!ends_token(p, end))
		return "invalid number";
	if (integral && ndigits >= sizeof(SMALLEST_DIGITS) - 1)
	{
		const char *limit = negative ? SMALLEST_DIGITS : LARGEST_DIGITS;
		size_t		limit_digits = strlen(limit);

		if (ndigits > limit_digits ||
			(ndigits == limit_digits && memcmp(digits, limit, ndigits) > 0))
			return "integer out of range";
	}
	*at = p;
	return NULL;
}

/* Moves behind the literal; on a problem *at stays. */
static const char *
scan_literal(Cursor *at, Cursor end)
{
	const char *literal = **at == 't' ? "true" : **at == 'f' ? "false" : "null";
	ptrdiff_t	length = strlen(literal);

	if (end - *at < length || memcmp(*at, literal, length) != 0 || !ends_token(*at + length, end))
		return "unexpected word";
	*at += length;
	return NULL;
}

/* Moves behind the comma at *at; on a problem *at stays. */
static const char *
scan_comma(Cursor *at, Cursor end)
{
	Cursor		p = *at + 1;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	if (p < end && (*p == ']' || *p == '}'))
		return "comma before the end of an array or object";
	*at = p;
	return NULL;
}

const char *
cs_json_scan(const char *text, size_t length, size_t *offset)
{
	Cursor		p = (Cursor) text;
	Cursor		end = p + length;
	int			depth = 0;
	const char *problem = NULL;

	while (p < end && problem == NULL)
	{
		switch (*p)
		{
			case ' ':
			case '\t':
			case '\n':
			case '\r':
			case ':':
				p++;
				break;
			case ',':
				problem = scan_comma(&p, end);
				break;
			case '"':
				problem = scan_string(&p, end);
				break;
			case '{':
			case '[':
				if (depth == CS_JSON_MAX_DEPTH)
					problem = "nesting is too deep";
				else
				{
					depth++;
					p++;
				}
				break;
			case '}':
			case ']':
				/* Whether it closes anything is json_tree.c's to say. */
				if (depth > 0)
					depth--;
				p++;
				break;
			case '-':
			case '0':
			case '1':
			case '2':
			case '3':
			case '4':
			case '5':
			case '6':
			case '7':
			case '8':
			case '9':
				problem = scan_number(&p, end);
				break;
			case 't':
			case 'f':
			case 'n':
				problem = scan_literal(&p, end);
				break;
			default:
				problem = "unexpected character";
				break;
		}
	}
	if (problem)
		*offset = p - (Cursor) text;
	return problem;
}
