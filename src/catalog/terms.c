/*
 * terms.c
 *	  What a row of the catalogue can be found by, as a tsvector, and what is
 *	  looked for, as a tsquery.
 *
 * A text is its words: runs of letters and digits, in lower case; every byte
 * beyond ASCII is part of a word.  There is no dictionary: "cups" is not
 * "cup", and nothing depends on a configuration that may change while an index
 * stays.  Words of an attribute carry a letter and a colon before them, the
 * account's name an at sign: none of these can be in a word.  So one index
 * serves all of them, and is as quick for one account of many.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "tsearch/ts_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#define WORD_MAX 64				/* bytes; what is longer is found by its beginning */
#define WORDS_MAX 1000			/* of a row */
#define PREFIX_MIN 3			/* a shorter last word has to be the whole word */

PG_FUNCTION_INFO_V1(cs_sql_search_vector);
PG_FUNCTION_INFO_V1(cs_sql_search_query);

/* Is called for each word, which is not terminated. */
typedef void (*TakeWord) (const char *word, int length, char tag, void *arg);

static inline bool
is_word_byte(unsigned char c)
{
	return IS_HIGHBIT_SET(c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z');
}

/* In lower case; the text itself may be used if it is ASCII, as most are. */
static char *
lower_case(char *text, int length)
{
	for (int i = 0; i < length; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return str_tolower(text, length, DEFAULT_COLLATION_OID);
	return asc_tolower(text, length);
}

static void
each_word(char *text, int length, char tag, TakeWord take, void *arg)
{
	char	   *lower = lower_case(text, length);
	char	   *p = lower;

	while (*p)
	{
		char	   *word;

		while (*p && !is_word_byte((unsigned char) *p))
			p++;
		word = p;
		while (is_word_byte((unsigned char) *p))
			p++;
		if (p > word)
			take(word, pg_mbcliplen(word, (int) (p - word), WORD_MAX), tag, arg);
	}
	pfree(lower);
}

/* ---- What a row can be found by ---- */

typedef struct Vector
{
	Datum		lexemes[WORDS_MAX];
	int			n;
} Vector;

static void
add_lexeme(Vector *vector, const char *prefix, const char *word, int length)
{
	int			prefix_length = (int) strlen(prefix);
	text	   *lexeme;

	if (vector->n == WORDS_MAX)
		return;
	lexeme = palloc(VARHDRSZ + prefix_length + length);
	SET_VARSIZE(lexeme, VARHDRSZ + prefix_length + length);
	memcpy(VARDATA(lexeme), prefix, prefix_length);
	memcpy(VARDATA(lexeme) + prefix_length, word, length);
	vector->lexemes[vector->n++] = PointerGetDatum(lexeme);
}

/* TakeWord */
static void
add_word(const char *word, int length, char tag, void *arg)
{
	char		prefix[3] = {tag, tag ? ':' : '\0', '\0'};

	add_lexeme(arg, prefix, word, length);
}

static void
add_text(Vector *vector, Datum value, char tag)
{
	text	   *words = DatumGetTextPP(value);

	each_word(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words), tag, add_word, vector);
}

/*
 * cs_internal.search_vector(server, plain text[], tags text, tagged text[]):
 * tags has a letter for each element of tagged.
 */
Datum
cs_sql_search_vector(PG_FUNCTION_ARGS)
{
	text	   *server = PG_GETARG_TEXT_PP(0);
	Vector	   *vector = palloc(sizeof(Vector));
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	char	   *tags = text_to_cstring(PG_GETARG_TEXT_PP(2));

	vector->n = 0;
	add_lexeme(vector, "@", VARDATA_ANY(server), VARSIZE_ANY_EXHDR(server));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			add_text(vector, elements[i], '\0');
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			add_text(vector, elements[i], tags[Min(i, (int) strlen(tags) - 1)]);
	PG_RETURN_DATUM(DirectFunctionCall1(array_to_tsvector,
										PointerGetDatum(construct_array(vector->lexemes, vector->n,
																		TEXTOID, -1, false,
																		TYPALIGN_INT))));
}

/* ---- What is looked for ---- */

typedef struct Wanted
{
	StringInfoData text;
	int			last_word;		/* where the last plain word begins, or -1 */
	int			last_length;
} Wanted;

/* TakeWord */
static void
require_word(const char *word, int length, char tag, void *arg)
{
	Wanted	   *query = arg;

	if (query->text.len > 0)
		appendStringInfoString(&query->text, " & ");
	if (tag)
		appendStringInfo(&query->text, "'%c:%.*s'", tag, length, word);
	else
		appendStringInfo(&query->text, "'%.*s'", length, word);
	query->last_length = tag ? 0 : length;
}

/*
 * cs_internal.search_query(words, tags, VARIADIC tagged): all words and all
 * words of each tagged text; the last plain word may be the beginning of one.
 * NULL if nothing is looked for.
 */
Datum
cs_sql_search_query(PG_FUNCTION_ARGS)
{
	Wanted		query = {.last_length = 0};
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	char	   *tags = text_to_cstring(PG_GETARG_TEXT_PP(1));

	initStringInfo(&query.text);
	if (!PG_ARGISNULL(0))
	{
		text	   *words = PG_GETARG_TEXT_PP(0);

		each_word(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words), '\0', require_word, &query);
		if (query.last_length >= PREFIX_MIN)
			appendStringInfoString(&query.text, ":*");
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *words;

		if (nulls[i])
			continue;
		words = DatumGetTextPP(elements[i]);
		each_word(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words),
				  tags[Min(i, (int) strlen(tags) - 1)], require_word, &query);
	}
	if (query.text.len == 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(tsqueryin, CStringGetDatum(query.text.data)));
}
