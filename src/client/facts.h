/*
 * facts.h
 *	  What a page of a list says of the whole of it.
 */
#ifndef CS_CLIENT_FACTS_H
#define CS_CLIENT_FACTS_H

#include "postgres.h"

#include "src/api/api.h"

typedef struct CsFacts
{
	int64		total;			/* rows in all; -1: it does not say */
	int64		page_size;		/* rows of a page that is full; -1: it does not say */
	bool		says_more;		/* it tells whether more pages follow, */
	bool		more;			/* and they do */
	const char *cursor;			/* of the next page; NULL: none */
	bool		null_list;		/* null stands where its list would be */
} CsFacts;

/* Returns NULL, or what is wrong with one of them (palloc'd). */
extern char *cs_facts_read(const CsResource *resource, const CsJson *document, CsFacts *facts);

#endif							/* CS_CLIENT_FACTS_H */
