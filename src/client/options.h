/*
 * options.h
 *	  The options of servers, user mappings and foreign tables: one table,
 *	  one validator, one reader.
 */
#ifndef CS_CLIENT_OPTIONS_H
#define CS_CLIENT_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* String value of an option in a list of DefElem, or NULL. */
extern const char *cs_option_text(List *options, const char *name);

/* Its value, or 'otherwise'; the validator has seen to the form. */
extern int	cs_option_integer(List *options, const char *name, int otherwise);
extern bool cs_option_boolean(List *options, const char *name, bool otherwise);

/* "5 min", "30s", "0" → seconds. */
extern int	cs_option_seconds(List *options, const char *name, int otherwise);

#endif							/* CS_CLIENT_OPTIONS_H */
