/*
 * options.h
 *	  The options of servers and user mappings: one table, one validator, one
 *	  reader.
 */
#ifndef CS_CLIENT_OPTIONS_H
#define CS_CLIENT_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* The longest secret, in an option or in a file. */
#define CS_SECRET_MAX_LENGTH 4096

/* String value of an option in a list of DefElem, or NULL. */
extern const char *cs_option_text(List *options, const char *name);

/* Its value, or 'otherwise'; the validator has seen to the form. */
extern int	cs_option_integer(List *options, const char *name, int otherwise);
extern bool cs_option_boolean(List *options, const char *name, bool otherwise);

/* "5 min", "30s", "0" → seconds. */
extern int	cs_option_seconds(List *options, const char *name, int otherwise);

/*
 * A base URL in its one form: scheme and host in lower case, no slash at the
 * end; palloc'd.  NULL if credentials must not be sent there, with *problem
 * saying why, as a sentence.
 */
extern char *cs_url_normalise(const char *url, const char **problem);

/* What is wrong with a secret, as a sentence that does not show it; or NULL. */
extern const char *cs_secret_problem(const char *secret, size_t length);

#endif							/* CS_CLIENT_OPTIONS_H */
