/*
 * parse.h
 *	  Texts of numbers and times → integers, by their characters alone.
 */
#ifndef CS_WIRE_PARSE_H
#define CS_WIRE_PARSE_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef enum CsDecimal
{
	CS_DECIMAL_SHORT,			/* digits / 10^scale, exactly */
	CS_DECIMAL_LONG,			/* more than 18 digits: for numeric_in */
	CS_DECIMAL_ABSURD			/* no price and no measure: beyond CS_DECIMAL_LIMIT */
} CsDecimal;

/* The longest text, and the largest exponent either way, of a number that is taken. */
#define CS_DECIMAL_LIMIT 1000

/*
 * Reads an RFC 8259 number, which it must be.  'digits' and 'scale' are set
 * if it is short; the scale is negative if an exponent makes it so.
 */
extern CsDecimal cs_parse_decimal(const char *number, int64 *digits, int *scale);

/* The short decimal as an integer; false if it has a fraction or does not fit. */
extern bool cs_decimal_to_int64(int64 digits, int scale, int64 *result);

/* Is the first of two short decimals, neither below zero, the greater one? */
extern bool cs_decimal_exceeds(int64 digits, int scale, int64 other_digits, int other_scale);

/*
 * ISO 8601, the extended format: a date (years 0001 to 9999), then, after T
 * or a blank, hours and minutes, seconds, a fraction (rounded to
 * microseconds), then Z, +hh, +hhmm or +hh:mm.  What is missing is zero, a
 * missing offset UTC.  False for anything else.
 */
extern bool cs_parse_timestamp(const char *text, size_t length, TimestampTz *result);

#endif							/* CS_WIRE_PARSE_H */
