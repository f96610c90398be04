/*
 * answer.h
 *	  Answers about orders → arguments of the transitions.
 */
#ifndef CS_ORDERS_ANSWER_H
#define CS_ORDERS_ANSWER_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "src/api/api.h"

#define CS_ANSWER_COLUMNS 17

/* The types of cs_internal.remote_order, for a CsStatement. */
#define CS_ANSWER_TYPES \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, \
	NUMERICOID, NUMERICOID, JSONBOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, \
	TEXTOID

/* One order as a partner shows it: a cs_internal.remote_order in pieces. */
typedef struct CsOrderAnswer
{
	Datum		values[CS_ANSWER_COLUMNS];
	char		nulls[CS_ANSWER_COLUMNS];
	char	   *remote_status;	/* also as a C string; or NULL */
	const char *state;			/* what that means here; NULL: no document knows it */
} CsOrderAnswer;

/*
 * The one order in 'document' by that resource ("created", "order", …), in the
 * current context.  False if there is none, with an id or a status; throws
 * PA006 for what cannot be read.
 */
extern bool cs_answer_order(const CsApi *api, const char *resource, const CsJson *document,
							const char *server, CsOrderAnswer *answer);

/* The same of a list: the order with that external id, else the first of it. */
extern bool cs_answer_order_of(const CsApi *api, const char *resource, const CsJson *document,
							   const char *server, const char *external_id,
							   CsOrderAnswer *answer);

/* When the partner made it; false if the answer does not say. */
extern bool cs_answer_created_at(const CsOrderAnswer *answer, TimestampTz *at);

/* Sets the status, a text Datum, and what it means. */
extern void cs_answer_set_status(const CsApi *api, CsOrderAnswer *answer, Datum status);

/* Rows of a list as arrays, one per wanted column. */
typedef struct CsAnswerColumn
{
	const char *name;
	Oid			type;
	Datum		array;			/* result */
} CsAnswerColumn;

/*
 * Fills the arrays of the columns from all rows of the resource, and returns
 * how many there are.  Of the first 'nkeep' columns at least one must not be NULL
 * for a row to count (0: all do).  -1, and no arrays, if the API has no such
 * resource or the answer may be and is empty.
 */
extern int	cs_answer_list(const CsApi *api, const char *resource, const CsJson *document,
						   const char *server, CsAnswerColumn *columns, int ncolumns, int nkeep);

/* What each word of a filled text column means here: an array of *n, NULL where nothing. */
extern const char **cs_answer_states(const CsApi *api, const CsAnswerColumn *words, int *n);

/* The answer as jsonb, for "raw"; *null is 'n' if there is none, else ' '. */
extern Datum cs_answer_raw(const CsJson *document, char *null);

/* A time as partners read it, in whole seconds: "2025-04-15T00:00:00Z". */
extern char *cs_answer_iso_time(TimestampTz at);

/* Which any API can read: from 2000 on, up to and without the year 10000. */
#define CS_ISO_TIME_FIRST ((TimestampTz) 0)
#define CS_ISO_TIME_END (INT64CONST(2921940) * USECS_PER_DAY)

#endif							/* CS_ORDERS_ANSWER_H */
