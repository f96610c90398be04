/*
 * page.h
 *	  The pages of a resource, one after the other, the next ones on the
 *	  wire while the current one is being used.
 */
#ifndef CS_CLIENT_PAGE_H
#define CS_CLIENT_PAGE_H

#include "postgres.h"

#include "src/client/call.h"

/* A filter's value as text, UTF-8; NULL values are not sent. */
typedef struct CsArgument
{
	const char *name;			/* CsFilter.name */
	const char *value;
} CsArgument;

typedef struct CsPager CsPager;

typedef struct CsPage
{
	const CsJson *document;		/* the whole answer; NULL: it has null for a list without rows */
	int64		number;			/* 1, 2, … in the order of reading */
	int64		rows;			/* how many are on it */
	int64		total;			/* rows in all, as the API says, or -1 */
	const char *position;		/* number or cursor it was asked with; NULL: the first by cursor */
	const char *next;			/* what to ask for next; NULL: this is the last page */
} CsPage;

/*
 * 'position' NULL: from the beginning; else goes on from there.  'page_size'
 * 0: the largest.  An argument that the resource cannot filter by throws
 * ERRCODE_FEATURE_NOT_SUPPORTED with its name.  'read_ahead' asks for the next
 * page before cs_pager_next returns the current one; for a refresh of the
 * catalogue, where pages are numbered and the budget allows, for several.
 */
extern CsPager *cs_pager_begin(MemoryContext cxt, CsAccount *account, const CsResource *resource,
							   const CsArgument *arguments, int narguments,
							   const char *position, int page_size, CsPriority priority,
							   bool read_ahead);

/*
 * The next page, or NULL after the last; waits interruptibly, throws on
 * failure.  The page is valid until the next call.  Pages that repeat a
 * position already seen, or begin as the one before, are an error, not an
 * endless loop, and so is a page that is empty although others are said to
 * follow; by cursor a hundred of them.
 */
extern const CsPage *cs_pager_next(CsPager *pager);

/*
 * The same for a resource that is asked for by an id: NULL also if the partner
 * says that there is nothing under it (404), or, unless the id is 'known' to be
 * one of the partner's own, that it is no id (400).  It has to say so as its
 * document has it: a gateway that has lost its way says 404 to everything.
 */
extern const CsPage *cs_pager_find(CsPager *pager, bool known);

/*
 * Of a pager that reads ahead: the page that cs_pager_next returned has been
 * read, before the next one is wanted.  Of it only the numbers remain valid.
 */
extern void cs_pager_release(CsPager *pager);

/* Has the next page arrived, so that cs_pager_next will not wait?  False after the last. */
extern bool cs_pager_ready(CsPager *pager);

/*
 * Would cs_pager_next not wait?  True after the last page, too.  Asks for the
 * next page if that has not been done; if it has not arrived, *wait_ms is when
 * to look again at the latest (-1: when the network says so).
 */
extern bool cs_pager_poll(CsPager *pager, long *wait_ms);

/*
 * The page size with which 'rows' rows take as few requests as possible, and
 * bring as few rows too many; 0 (the largest) if 'rows' is negative.
 */
extern int	cs_page_size(const CsResource *resource, int64 rows);

/*
 * So many rows are still wanted, -1: all.  Sizes the pages that are asked for
 * from now on; where pages are numbered they keep their size.
 */
extern void cs_pager_expect(CsPager *pager, int64 rows);

/* What the pages that were returned have cost. */
extern const CsCallCost *cs_pager_cost(const CsPager *pager);

#endif							/* CS_CLIENT_PAGE_H */
