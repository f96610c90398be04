/*
 * parse.c
 *	  Numbers and times by their characters, and tokens at the end of the text.
 *
 * Each text is looked at in a block of exactly its length, so that a check of
 * the memory sees who reads beyond.
 */
#include "src/wire/json_scan.c"
#include "src/wire/parse.c"

static int	tests = 0;
static int	failed = 0;

static void
ok(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failed += !good;
}

static void
decimal(const char *number, CsDecimal kind, int64 digits, int scale)
{
	int64		got_digits = 0;
	int			got_scale = 0;
	CsDecimal	got = cs_parse_decimal(number, &got_digits, &got_scale);

	ok(got == kind && got_digits == digits && got_scale == scale, number);
	if (got != kind || got_digits != digits || got_scale != scale)
		printf("# got kind %d, " INT64_FORMAT " and scale %d\n", got, got_digits, got_scale);
}

static void
test_decimals(void)
{
	int64		integer;

	decimal("0", CS_DECIMAL_SHORT, 0, 0);
	decimal("-0.00", CS_DECIMAL_SHORT, 0, 2);
	decimal("0.14", CS_DECIMAL_SHORT, 14, 2);
	decimal("-12.50", CS_DECIMAL_SHORT, -1250, 2);
	decimal("1e-7", CS_DECIMAL_SHORT, 1, 7);
	decimal("1.5E+3", CS_DECIMAL_SHORT, 15, -2);
	decimal("999999999999999999", CS_DECIMAL_SHORT, INT64CONST(999999999999999999), 0);
	decimal("1000000000000000000", CS_DECIMAL_LONG, 0, 0);
	decimal("0.0000000000000000000012", CS_DECIMAL_SHORT, 12, 22);
	decimal("1e1000", CS_DECIMAL_SHORT, 1, -1000);
	decimal("1e1001", CS_DECIMAL_ABSURD, 0, 0);
	decimal("1e-99999999999999999999999", CS_DECIMAL_ABSURD, 0, 0);

	ok(cs_decimal_to_int64(1200, 2, &integer) && integer == 12, "12.00 is 12");
	ok(!cs_decimal_to_int64(1250, 2, &integer), "12.50 is no integer");
	ok(cs_decimal_to_int64(-9, -18, &integer) && integer == INT64CONST(-9000000000000000000),
	   "-9e18 fits");
	ok(!cs_decimal_to_int64(1, -19, &integer), "1e19 does not");
	ok(cs_decimal_to_int64(0, 5, &integer) && integer == 0, "0.00000 is 0");
	ok(cs_decimal_to_int64(0, -1000, &integer) && integer == 0, "0e1000 is 0");

	ok(!cs_decimal_exceeds(12, 0, 12, 0), "12 is not above 12");
	ok(!cs_decimal_exceeds(1200, 2, 12, 0), "nor is 12.00");
	ok(!cs_decimal_exceeds(12, 0, 1200, 2), "nor 12 above 12.00");
	ok(cs_decimal_exceeds(1201, 2, 12, 0), "12.01 is above 12");
	ok(cs_decimal_exceeds(12, -1, 119999, 3), "120 is above 119.999");
	ok(cs_decimal_exceeds(1, -1000, 999, 0), "1e1000 is above 999");
	ok(!cs_decimal_exceeds(999, 0, 1, -1000), "and not the other way round");
	ok(!cs_decimal_exceeds(1, 1000, 1, 0), "1e-1000 is not above 1");
	ok(!cs_decimal_exceeds(0, -1000, 0, 1000), "nothing is not above nothing");
	ok(cs_decimal_exceeds(1, 0, 0, 30), "1 is above it");
}

static void
timestamp(const char *text, bool sound, int64 expected)
{
	size_t		length = strlen(text);
	char	   *block = malloc(length);
	TimestampTz got = 0;
	bool		taken;

	memcpy(block, text, length);
	taken = cs_parse_timestamp(block, length, &got);
	free(block);
	ok(taken == sound && got == expected, text);
	if (taken != sound || got != expected)
		printf("# got %d and " INT64_FORMAT "\n", taken, got);
}

static void
test_timestamps(void)
{
	timestamp("2000-01-01", true, 0);
	timestamp("2000-01-01T00:00:00Z", true, 0);
	timestamp("2000-03-01", true, INT64CONST(60) * USECS_PER_DAY);
	timestamp("1999-12-31T23:59:59.9999995", true, 0);
	timestamp("2000-01-01 02:00+02", true, 0);
	timestamp("2000-01-01T00:00-01:30", true, INT64CONST(90) * USECS_PER_MINUTE);
	timestamp("1970-01-01", true, INT64CONST(-10957) * USECS_PER_DAY);
	timestamp("0001-01-01", true, INT64CONST(-730119) * USECS_PER_DAY);
	timestamp("9999-12-31", true, INT64CONST(2921939) * USECS_PER_DAY);
	timestamp("2100-02-29", false, 0);
	timestamp("2000-00-10", false, 0);
	timestamp("2000-01-01T", false, 0);
	timestamp("2000-01-01T1", false, 0);
	timestamp("2000-01-01T12:", false, 0);
	timestamp("2000-01-01T12:00:0", false, 0);
	timestamp("2000-01-01T12:00+", false, 0);
	timestamp("2000-01-01T12:00+1", false, 0);
	timestamp("2000-01-01T12:00+01:0", false, 0);
	timestamp("2000-01-01T12:00+0160", false, 0);
	timestamp("20", false, 0);
	timestamp("", false, 0);
}

/* Every beginning of a document with every kind of token, in a block of its own size. */
static void
test_truncation(void)
{
	static const char document[] =
		"{\"k\\u00e9\":[1.5e-7,-0,\"\\ud83d\\ude00 \xc3\xa9 12345678\",true,false,null,123456789]}";
	size_t		length = sizeof(document) - 1;
	int			unsound = 0;
	size_t		offset;

	for (size_t n = 0; n <= length; n++)
	{
		char	   *block = malloc(n);
		const char *problem;

		memcpy(block, document, n);
		problem = cs_json_scan(block, n, &offset);
		unsound += problem != NULL;
		if (problem != NULL && offset >= n)
			unsound = -1000;
		free(block);
	}
	ok(unsound == 47, "each cut through a token is seen, and only those");
	if (unsound != 47)
		printf("# got %d\n", unsound);
	ok(cs_json_scan(document, length, &offset) == NULL, "the whole document is sound");
}

int
main(void)
{
	test_decimals();
	test_timestamps();
	test_truncation();
	printf("1..%d\n", tests);
	return failed != 0;
}
