/*
 * form_value.h
 *	  A jsonb document as the order form is read from it.
 *
 * A jsonb is sound JSON already: it is walked once into a tree, and neither
 * printed nor parsed.  Everything in the tree is in the memory context that
 * was the current one; strings are UTF-8, numbers the text that jsonb prints.
 */
#ifndef CS_API_FORM_VALUE_H
#define CS_API_FORM_VALUE_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "src/wire/json.h"

typedef struct CsValue
{
	CsJsonType	type;
	const char *name;			/* of a member of an object; else NULL */
	const char *text;			/* of a string or a number, NUL-terminated; else NULL */
	size_t		length;			/* of the text */
	bool		is_true;		/* of a boolean */
	int			n;				/* members or elements */
	struct CsValue *first;		/* of them, in jsonb's order */
	struct CsValue *next;		/* beside this one; NULL: it is the last */
} CsValue;

/*
 * The root, or NULL with *problem, in the words of cs_json_parse: a jsonb may
 * hold integers and a depth that no partner would read.
 */
extern const CsValue *cs_value_from_jsonb(Datum jsonb, char **problem);

/* A member; NULL if absent, JSON null, or 'object' is not an object. */
extern const CsValue *cs_value_get(const CsValue *object, const char *name);

/* Of an array; otherwise 0. */
extern int	cs_value_length(const CsValue *array);

/* The member of an object, again as a document of its own to be sent verbatim. */
extern const CsJson *cs_json_from_member(Datum jsonb, const char *name);

#endif							/* CS_API_FORM_VALUE_H */
