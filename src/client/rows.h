/*
 * rows.h
 *	  Answers → tuples, by a resource's columns.
 *
 * Attributes are matched by name.  Besides the descriptor's columns a row
 * type may have "server" (the account's name), "fetched_at" (now) and "raw":
 * the element as the partner sent it, if it has a field that no column
 * holds, else NULL.
 */
#ifndef CS_CLIENT_ROWS_H
#define CS_CLIENT_ROWS_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "utils/tuplestore.h"

#include "src/api/api.h"

typedef struct CsRowReader CsRowReader;

/* Made once per scan, in the current context. */
extern CsRowReader *cs_rows_reader(const CsResource *resource, TupleDesc tupdesc, const char *server);

/* Rows of a document.  Deconstructed: 'values' and 'nulls' live until the callback returns. */
typedef void (*CsRowCallback) (Datum *values, bool *nulls, void *arg);

/*
 * Calls back for each row of the answer, at most 'max_rows' (-1: all), and
 * returns their number.  A wrong type or a missing required field throws
 * PA006 naming resource, row and field; nothing is kept then.
 */
extern int64 cs_rows_each(CsRowReader *reader, const CsJson *document, int64 max_rows,
						  CsRowCallback callback, void *arg);

/* The same into a tuplestore. */
extern int64 cs_rows_store(CsRowReader *reader, const CsJson *document, int64 max_rows,
						   Tuplestorestate *store);

/* How many rows the document has. */
extern int64 cs_rows_count(const CsResource *resource, const CsJson *document);

#endif							/* CS_CLIENT_ROWS_H */
