/*
 * list.h
 *	  A list as partners write it.
 */
#ifndef CS_CLIENT_LIST_H
#define CS_CLIENT_LIST_H

#include "postgres.h"

#include "src/wire/json.h"

typedef struct CsList
{
	const CsJson *value;		/* the array, or the only element */
	const CsJson **members;		/* of an object that is a list; else NULL */
	int64		length;
} CsList;

/*
 * An array is a list, and so is an object whose members are objects called by
 * numbers: what PHP writes if members were taken out of a list.  Any other
 * value is a list of one.  Lives in the current context.
 */
extern CsList cs_list_of(const CsJson *value);

extern const CsJson *cs_list_at(const CsList *list, int64 i);

#endif							/* CS_CLIENT_LIST_H */
