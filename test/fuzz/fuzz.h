/*
 * fuzz.h
 *	  What the targets of the fuzzer share.
 *
 * A target is a function of an input.  It asks the project's own code and
 * judges what it says; a false judgement ends the run and keeps the input.
 */
#ifndef CS_TEST_FUZZ_H
#define CS_TEST_FUZZ_H

#include "postgres.h"

/* Allocates in the current context, which is reset after it. */
typedef void (*FuzzTarget) (const char *input, size_t length);

extern void fuzz_json(const char *input, size_t length);
extern void fuzz_rows(const char *input, size_t length);
extern void fuzz_headers(const char *input, size_t length);
extern void fuzz_form(const char *input, size_t length);
extern void fuzz_webhook(const char *input, size_t length);

/* Ends the run unless the promise holds. */
extern void fuzz_check(bool holds, const char *promise);

/*
 * Calls the function; returns what it threw as an SQLSTATE, or 0.  Only for
 * functions that hold nothing when they throw: there is no transaction to end.
 */
extern int	fuzz_try(void (*function) (void *arg), void *arg);

/* Does json_in take the input?  It looks at no number's size.  Throws nothing. */
extern bool fuzz_is_json(const char *input, size_t length);

/*
 * jsonb_in of the input, or 0 if the server refuses it.  Throws nothing.
 */
extern Datum fuzz_jsonb(const char *input, size_t length);

#endif							/* CS_TEST_FUZZ_H */
