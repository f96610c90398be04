/*
 * rows.h
 *	  Answers → tuples, by a resource's columns.
 *
 * Attributes are matched by name.  Besides the descriptor's columns a row
 * type may have "server" (the account's name), "fetched_at" (now) and "raw":
 * the element as the partner sent it, if it has a field that no column of the
 * descriptor holds, else NULL.  A column that the row type lacks still counts
 * as holding its field.
 */
#ifndef CS_CLIENT_ROWS_H
#define CS_CLIENT_ROWS_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

#include "src/api/api.h"

typedef struct CsRowReader CsRowReader;

/*
 * Taken once per scan; it is given back when the current context is reset or
 * deleted.  'tupdesc' is copied.
 */
extern CsRowReader *cs_rows_reader(const CsResource *resource, TupleDesc tupdesc,
								   const char *server);

/*
 * A row, deconstructed.  The arrays are the reader's; what 'values' point to
 * lives until the reader reads its next document.
 */
typedef void (*CsRowCallback) (Datum *values, bool *nulls, void *arg);

/*
 * Calls back for each row of the answer, at most 'max_rows' (-1: all), and
 * returns their number.  A wrong type (unless the resource is forgiving), a
 * missing required field or an empty identifier throws PA006 naming resource,
 * row and field; nothing is kept then.  What is no object at all in the list of
 * a forgiving resource is no row.  A NULL document has no rows.
 */
extern int64 cs_rows_each(CsRowReader *reader, const CsJson *document, int64 max_rows,
						  CsRowCallback callback, void *arg);

/* The same into a tuplestore. */
extern int64 cs_rows_store(CsRowReader *reader, const CsJson *document, int64 max_rows,
						   Tuplestorestate *store);

/*
 * How many rows the document has; -1 if the list that holds them is not there,
 * and no total says that it would be empty.
 */
extern int64 cs_rows_count(const CsResource *resource, const CsJson *document);

/* Is the (outermost) list there, if only an empty one? */
extern bool cs_rows_has_list(const CsResource *resource, const CsJson *document);

/* The first element of the document's (outermost) list; NULL if there is none. */
extern const CsJson *cs_rows_first(const CsResource *resource, const CsJson *document);

#endif							/* CS_CLIENT_ROWS_H */
