/*
 * parse.c
 *	  Texts of numbers and times → integers, by their characters alone.
 *
 * No setting of the session, no locale and no time zone database has a say,
 * and nothing here calls the server.
 */
#include "postgres.h"

#include "common/int.h"

#include "src/wire/parse.h"

#define SHORT_DIGITS 18			/* as many nines fit into an int64 */

CsDecimal
cs_parse_decimal(const char *number, int64 *digits, int *scale)
{
	const char *p = number;
	bool		negative = *p == '-';
	bool		fraction = false;
	int64		value = 0;
	int			ndigits = 0;
	int			below_one = 0;
	int			exponent = 0;

	if (negative)
		p++;
	for (; (*p >= '0' && *p <= '9') || *p == '.'; p++)
	{
		if (p - number >= CS_DECIMAL_LIMIT)
			return CS_DECIMAL_ABSURD;
		if (*p == '.')
		{
			fraction = true;
			continue;
		}
		if (value != 0 || *p != '0')
			ndigits++;
		if (ndigits <= SHORT_DIGITS)
			value = value * 10 + (*p - '0');
		below_one += fraction;
	}
	if (*p == 'e' || *p == 'E')
	{
		bool		small = p[1] == '-';

		p += p[1] == '-' || p[1] == '+' ? 2 : 1;
		for (; *p >= '0' && *p <= '9'; p++)
		{
			exponent = exponent * 10 + (*p - '0');
			if (exponent > CS_DECIMAL_LIMIT)
				return CS_DECIMAL_ABSURD;
		}
		if (small)
			exponent = -exponent;
	}
	if (ndigits > SHORT_DIGITS)
		return CS_DECIMAL_LONG;
	*digits = negative ? -value : value;
	*scale = below_one - exponent;
	return CS_DECIMAL_SHORT;
}

bool
cs_decimal_to_int64(int64 digits, int scale, int64 *result)
{
	while (scale > 0 && digits % 10 == 0 && digits != 0)
	{
		digits /= 10;
		scale--;
	}
	while (scale < 0 && digits != 0)
	{
		if (pg_mul_s64_overflow(digits, 10, &digits))
			return false;
		scale++;
	}
	*result = digits;
	return scale <= 0 || digits == 0;
}

bool
cs_decimal_exceeds(int64 digits, int scale, int64 other_digits, int other_scale)
{
	for (; scale < other_scale; scale++)
		if (pg_mul_s64_overflow(digits, 10, &digits))
			return true;
	for (; other_scale < scale && digits != 0; other_scale++)
		if (pg_mul_s64_overflow(other_digits, 10, &other_digits))
			return false;
	return digits > other_digits;
}

/* A place in a text, and the end that nothing reads beyond. */
typedef struct Reader
{
	const char *at;
	const char *end;
} Reader;

/* Exactly 'width' digits, between the limits. */
static bool
read_number(Reader *reader, int width, int lowest, int highest, int *result)
{
	int			value = 0;

	if (reader->end - reader->at < width)
		return false;
	for (int i = 0; i < width; i++)
	{
		char		c = *reader->at++;

		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	*result = value;
	return value >= lowest && value <= highest;
}

/* The character, or one of the characters, if it stands here. */
static bool
read_any(Reader *reader, const char *characters)
{
	if (reader->at == reader->end || *reader->at == '\0' ||
		strchr(characters, *reader->at) == NULL)
		return false;
	reader->at++;
	return true;
}

/* The digits of a fraction of a second, rounded half up; at least one. */
static bool
read_fraction(Reader *reader, int64 *microseconds)
{
	int			ndigits = 0;
	int64		value = 0;

	for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++)
	{
		int			digit = *reader->at - '0';

		if (ndigits < 6)
			value = value * 10 + digit;
		else if (ndigits == 6 && digit >= 5)
			value++;
		ndigits++;
	}
	for (int i = ndigits; i < 6; i++)
		value *= 10;
	*microseconds = value;
	return ndigits > 0;
}

/* Behind the sign. */
static bool
read_offset(Reader *reader, int *minutes)
{
	int			hour;
	int			minute = 0;

	if (!read_number(reader, 2, 0, 15, &hour))
		return false;
	if (read_any(reader, ":") || reader->at < reader->end)
		if (!read_number(reader, 2, 0, 59, &minute))
			return false;
	*minutes = hour * 60 + minute;
	return true;
}

static bool
is_leap_year(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days from 2000-01-01, in the Gregorian calendar throughout. */
static int64
days_from_2000(int year, int month, int day)
{
	int64		before = year - 1;
	int64		days = before * 365 + before / 4 - before / 100 + before / 400;

	for (int m = 1; m < month; m++)
		days += days_of_month(year, m);
	return days + day - 1 - (1999 * 365 + 1999 / 4 - 1999 / 100 + 1999 / 400);
}

bool
cs_parse_timestamp(const char *text, size_t length, TimestampTz *result)
{
	Reader		reader = {text, text + length};
	int			year;
	int			month;
	int			day;
	int			hour = 0;
	int			minute = 0;
	int			second = 0;
	int64		microseconds = 0;
	int			offset = 0;

	if (!read_number(&reader, 4, 1, 9999, &year) || !read_any(&reader, "-") ||
		!read_number(&reader, 2, 1, 12, &month) || !read_any(&reader, "-") ||
		!read_number(&reader, 2, 1, days_of_month(year, month), &day))
		return false;
	if (read_any(&reader, "Tt "))
	{
		if (!read_number(&reader, 2, 0, 23, &hour) || !read_any(&reader, ":") ||
			!read_number(&reader, 2, 0, 59, &minute))
			return false;

		if (read_any(&reader, ":"))
		{
			/* 60: a leap second is the first of the next minute, as for the server. */
			if (!read_number(&reader, 2, 0, 60, &second) ||
				(read_any(&reader, ".") && !read_fraction(&reader, &microseconds)))
				return false;
		}
		if (!read_any(&reader, "Zz") && reader.at < reader.end)
		{
			bool		west = *reader.at == '-';

			if (!read_any(&reader, "+-") || !read_offset(&reader, &offset))
				return false;
			if (west)
				offset = -offset;
		}
	}
	if (reader.at != reader.end)
		return false;
	*result = days_from_2000(year, month, day) * USECS_PER_DAY +
		(int64) hour * USECS_PER_HOUR + (int64) (minute - offset) * USECS_PER_MINUTE +
		second * USECS_PER_SEC + microseconds;
	return true;
}
