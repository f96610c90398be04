/*
 * rowset.h
 *	  The rows of a page as an array of a composite type of cs_internal, each
 *	  with its fingerprint: what the merging functions take.
 */
#ifndef CS_CATALOG_ROWSET_H
#define CS_CATALOG_ROWSET_H

#include "postgres.h"

#include "src/base/state.h"
#include "src/client/rows.h"

#define CS_ROWSET_MAX_KEYS 2

typedef struct CsRowset CsRowset;

/*
 * For the rows of 'resource' as "cs_internal.'type'"; 'keys' are the columns
 * that identify a row within its page (ended by NULL; none: a single row).
 * Lives in the current context.
 */
extern CsRowset *cs_rowset_begin(const CsResource *resource, const char *type, const char *server,
								 const char *const *keys);

/*
 * Reads a page; of rows with the same key the first one counts.  Throws what
 * cs_rows_each throws.
 */
extern void cs_rowset_read(CsRowset *rowset, const CsJson *document);

/* Of the page that was read: number of rows, and their keys as hashes. */
extern int	cs_rowset_length(const CsRowset *rowset);
extern uint64 cs_rowset_key(const CsRowset *rowset, int row);

/* A column's number, from 0, or -1; and the values of a row, valid until the next page. */
extern int	cs_rowset_attribute(const CsRowset *rowset, const char *column);
extern void cs_rowset_row(const CsRowset *rowset, int row, const Datum **values,
						  const bool **nulls);

/* The hash of a text as a key of one column. */
extern uint64 cs_rowset_hash_text(Datum value);

/* A hash over all rows, whatever their order. */
extern int64 cs_rowset_fingerprint(const CsRowset *rowset);

/* The rows as an array, and the first one by itself; made in the current context. */
extern Datum cs_rowset_array(const CsRowset *rowset);
extern Datum cs_rowset_first(const CsRowset *rowset);

/*
 * Makes an argument of the statement take such an array (or one row).  Types
 * have other OIDs after DROP and CREATE EXTENSION; the plan is then made anew.
 */
extern void cs_rowset_bind_array(const CsRowset *rowset, CsStatement *statement, int argument);
extern void cs_rowset_bind_row(const CsRowset *rowset, CsStatement *statement, int argument);

#endif							/* CS_CATALOG_ROWSET_H */
