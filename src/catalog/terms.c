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
 *
 * A GIN index names all rows that have a word before it gives the first one.
 * So that some of those with a frequent word are found at once, the index
 * holds samples of the catalogue, too: a sixteenth of the rows once more, each
 * of their words with a mark before it; an eighth of these with two marks, and
 * an eighth of those with three.  By its key a row is always in the same ones.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "tsearch/ts_type.h"
#include "tsearch/ts_utils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#define WORD_MAX 64				/* bytes; what is longer is found by its beginning */
#define WORDS_MAX 1000			/* of a row */
#define PREFIX_MIN 3			/* a shorter last word has to be the whole word */
#define MARK '#'
#define MARKS_MAX 3

PG_FUNCTION_INFO_V1(cs_sql_search_marks);
PG_FUNCTION_INFO_V1(cs_sql_search_vector);
PG_FUNCTION_INFO_V1(cs_sql_search_found);
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

/*
 * The words of all texts of an array.  'tags' has a letter for each, the last
 * one for all that follow; none for plain texts.
 */
static void
each_word_of(ArrayType *texts, const char *tags, TakeWord take, void *arg)
{
	int			n_tags = (int) strlen(tags);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(texts, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *words;

		if (nulls[i])
			continue;
		words = DatumGetTextPP(elements[i]);
		each_word(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words),
				  n_tags ? tags[Min(i, n_tags - 1)] : '\0', take, arg);
	}
}

/* ---- What a row can be found by ---- */

/* How many marks the words of a row have at most: in which samples it is. */
static int
marks_of(const text *key)
{
	uint64		hash;

	if (VARSIZE_ANY_EXHDR(key) == 0)
		return 0;
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(key),
							   VARSIZE_ANY_EXHDR(key), 0);
	return hash % 16 != 0 ? 0 : hash % 128 != 0 ? 1 : hash % 1024 != 0 ? 2 : MARKS_MAX;
}

Datum
cs_sql_search_marks(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(marks_of(PG_GETARG_TEXT_PP(0)));
}

typedef struct Vector
{
	Datum		lexemes[WORDS_MAX * (MARKS_MAX + 1)];
	int			n;
	int			marks;
} Vector;

/* A word, and the same with each number of marks. */
static void
add_lexeme(Vector *vector, const char *prefix, const char *word, int length)
{
	int			prefix_length = (int) strlen(prefix);

	if (vector->n >= WORDS_MAX * (vector->marks + 1))
		return;
	for (int marks = 0; marks <= vector->marks; marks++)
	{
		text	   *lexeme = palloc(VARHDRSZ + marks + prefix_length + length);

		SET_VARSIZE(lexeme, VARHDRSZ + marks + prefix_length + length);
		memset(VARDATA(lexeme), MARK, marks);
		memcpy(VARDATA(lexeme) + marks, prefix, prefix_length);
		memcpy(VARDATA(lexeme) + marks + prefix_length, word, length);
		vector->lexemes[vector->n++] = PointerGetDatum(lexeme);
	}
}

/* TakeWord */
static void
add_word(const char *word, int length, char tag, void *arg)
{
	char		prefix[3] = {tag, tag ? ':' : '\0', '\0'};

	add_lexeme(arg, prefix, word, length);
}

/*
 * cs_internal.search_vector(key, server, plain text[], tags text, tagged text[]):
 * tags has a letter for each element of tagged.
 */
Datum
cs_sql_search_vector(PG_FUNCTION_ARGS)
{
	text	   *server = PG_GETARG_TEXT_PP(1);
	Vector	   *vector = palloc(sizeof(Vector));

	vector->n = 0;
	vector->marks = marks_of(PG_GETARG_TEXT_PP(0));
	add_lexeme(vector, "@", VARDATA_ANY(server), VARSIZE_ANY_EXHDR(server));
	each_word_of(PG_GETARG_ARRAYTYPE_P(2), "", add_word, vector);
	each_word_of(PG_GETARG_ARRAYTYPE_P(4), text_to_cstring(PG_GETARG_TEXT_PP(3)), add_word,
				 vector);
	PG_RETURN_DATUM(DirectFunctionCall1(array_to_tsvector,
										PointerGetDatum(construct_array(vector->lexemes, vector->n,
																		TEXTOID, -1, false,
																		TYPALIGN_INT))));
}

/* ---- Whether a row has what is looked for, without its vector ---- */

typedef struct Found
{
	TSQuery		query;
	bool	   *has;			/* of each item of the query: the row has this word */
} Found;

/* TakeWord */
static void
find_word(const char *word, int length, char tag, void *arg)
{
	Found	   *found = arg;

	for (int i = 0; i < found->query->size; i++)
	{
		QueryItem  *item = GETQUERY(found->query) + i;
		const char *operand;
		int			rest;

		if (item->type != QI_VAL || found->has[i])
			continue;
		operand = GETOPERAND(found->query) + item->qoperand.distance;
		rest = item->qoperand.length;
		if (tag)
		{
			if (rest < 2 || operand[0] != tag || operand[1] != ':')
				continue;
			operand += 2;
			rest -= 2;
		}
		found->has[i] = (item->qoperand.prefix ? rest <= length : rest == length) &&
			memcmp(operand, word, rest) == 0;
	}
}

/* TSExecuteCallback */
static TSTernaryValue
is_found(void *arg, QueryOperand *operand, ExecPhraseData *data)
{
	Found	   *found = arg;

	return found->has[(QueryItem *) operand - GETQUERY(found->query)] ? TS_YES : TS_NO;
}

/* cs_internal.search_found(query, plain text[], tags text, tagged text[]) */
Datum
cs_sql_search_found(PG_FUNCTION_ARGS)
{
	Found		found = {.query = PG_GETARG_TSQUERY(0)};

	if (found.query->size == 0)
		PG_RETURN_BOOL(false);
	found.has = palloc0(found.query->size * sizeof(bool));
	each_word_of(PG_GETARG_ARRAYTYPE_P(1), "", find_word, &found);
	each_word_of(PG_GETARG_ARRAYTYPE_P(3), text_to_cstring(PG_GETARG_TEXT_PP(2)), find_word,
				 &found);
	PG_RETURN_BOOL(TS_execute(GETQUERY(found.query), &found, TS_EXEC_EMPTY, is_found));
}

/* ---- What is looked for ---- */

typedef struct Wanted
{
	StringInfoData text;
	const char *operator;		/* between two lexemes */
	int			marks;
	int			last_word;		/* where the last plain word begins, with its operator */
	int			last_length;
} Wanted;

/* A lexeme, quoted. */
static void
require_lexeme(Wanted *query, const char *prefix, const char *word, int length)
{
	if (query->text.len > 0)
		appendStringInfoString(&query->text, query->operator);
	appendStringInfoChar(&query->text, '\'');
	for (int i = 0; i < query->marks; i++)
		appendStringInfoChar(&query->text, MARK);
	appendStringInfoString(&query->text, prefix);
	for (int i = 0; i < length; i++)
	{
		if (word[i] == '\'' || word[i] == '\\')
			appendStringInfoChar(&query->text, word[i]);
		appendStringInfoChar(&query->text, word[i]);
	}
	appendStringInfoChar(&query->text, '\'');
}

/* TakeWord */
static void
require_word(const char *word, int length, char tag, void *arg)
{
	Wanted	   *query = arg;
	char		prefix[3] = {tag, tag ? ':' : '\0', '\0'};

	if (!tag)
	{
		query->last_word = query->text.len;
		query->last_length = length;
	}
	require_lexeme(query, prefix, word, length);
}

/* Whether only the last plain word is asked for. */
static bool
is_alone(const char *which)
{
	return strcmp(which, "beginning") == 0 || strcmp(which, "ending") == 0;
}

/*
 * The plain words.  The last one, if it may be the beginning of one, is left
 * out of the rest, and is alone what "beginning" and "ending" ask for.
 */
static void
require_words(Wanted *query, text *words, const char *which)
{
	bool		is_beginning;

	each_word(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words), '\0', require_word, query);
	is_beginning = query->last_length >= PREFIX_MIN;
	if (strcmp(which, "rest") == 0 && is_beginning)
	{
		query->text.len = query->last_word;
		query->text.data[query->last_word] = '\0';
		return;
	}
	if (is_alone(which))
	{
		char	   *last = query->text.data + query->last_word;

		last += query->last_word > 0 ? strlen(query->operator) : 0;
		query->text.len -= is_beginning ? (int) (last - query->text.data) : query->text.len;
		memmove(query->text.data, last, query->text.len);
		query->text.data[query->text.len] = '\0';
	}
	if (is_beginning && strcmp(which, "ending") != 0)
		appendStringInfoString(&query->text, ":*");
}

/*
 * cs_internal.search_query(server, marks, which, words, tags, tagged): all
 * words and all words of each tagged text, with so many marks, and the
 * account's name if it is given.  The last plain word may be the beginning of
 * one; which: "all", the "rest" without it, perhaps only the account's name, the
 * "beginning" alone, or that as a whole word, the "ending" of them; or "any" of
 * them is enough.  NULL if nothing is left.
 */
Datum
cs_sql_search_query(PG_FUNCTION_ARGS)
{
	Wanted		query = {.last_length = 0};
	char	   *which;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4) || PG_ARGISNULL(5))
		PG_RETURN_NULL();
	query.marks = Min(PG_GETARG_INT32(1), MARKS_MAX);
	which = text_to_cstring(PG_GETARG_TEXT_PP(2));
	query.operator = strcmp(which, "any") == 0 ? " | " : " & ";
	initStringInfo(&query.text);
	if (!PG_ARGISNULL(3))
		require_words(&query, PG_GETARG_TEXT_PP(3), which);
	if (!is_alone(which))
		each_word_of(PG_GETARG_ARRAYTYPE_P(5), text_to_cstring(PG_GETARG_TEXT_PP(4)),
					 require_word, &query);
	if (query.text.len == 0 && (PG_ARGISNULL(0) || strcmp(which, "rest") != 0))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(0))
	{
		text	   *server = PG_GETARG_TEXT_PP(0);
		char	   *words = query.text.data;

		initStringInfo(&query.text);
		if (*words)
			appendStringInfo(&query.text, "(%s)", words);
		query.operator = " & ";
		require_lexeme(&query, "@", VARDATA_ANY(server), VARSIZE_ANY_EXHDR(server));
	}
	PG_RETURN_DATUM(DirectFunctionCall1(tsqueryin, CStringGetDatum(query.text.data)));
}
