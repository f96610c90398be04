/*
 * attempt.h
 *	  One HTTP request of an account, and what its answer means.
 *
 * Sends, counts and logs; decides nothing about budgets, tokens or retries.
 * Needs no transaction.
 */
#ifndef CS_CLIENT_ATTEMPT_H
#define CS_CLIENT_ATTEMPT_H

#include "postgres.h"

#include "src/client/account.h"
#include "src/wire/http.h"

typedef struct CsAttempt
{
	/* Set before the start; everything must live as long as the attempt. */
	const CsAccount *account;
	const char *endpoint;		/* for statistics and messages: "POST /orders" */
	const char *method;
	const char *base_url;
	const char *path;			/* below base_url, escaped, with its query */
	const char *authorization;	/* the whole header, or NULL */
	const char *idempotency_key;	/* for a POST; NULL: one is made */
	const char *body;			/* JSON, UTF-8, or NULL */
	size_t		body_length;
	const CsHttpPart *parts;	/* multipart instead of a body, or NULL */
	int			nparts;
	bool		repeatable;		/* may libcurl send it again on a dead kept connection? */
	bool		confidential;	/* the answer itself is a secret: no message shows any of it */
	bool		may_be_empty;	/* is a success without a body one? */
	bool		retry;			/* not the first attempt of its call */
	int			timeout_ms;
	double		limiter_ms;		/* waited for the budget before it */
	const char *secrets[CS_ACCOUNT_SECRETS + 1];	/* that no text may show */
	int			nsecrets;

	/* Set when it is done. */
	const CsHttpAnswer *answer;
	const CsJson *document;		/* of a success; NULL: empty, and may be */
	CsFailure	failure;		/* kind NONE for a success */

	/* Private. */
	MemoryContext cxt;
	CsHttpRequest *request;
} CsAttempt;

/* Sends it; everything that comes of it lives in 'cxt'.  Throws what cs_http_start throws. */
extern void cs_attempt_start(CsAttempt *attempt, MemoryContext cxt);

/* Has the network had its say, so that cs_attempt_done will find something? */
extern bool cs_attempt_ended(const CsAttempt *attempt);

/* True when it is done: answer, document and failure are set, it is counted and logged. */
extern bool cs_attempt_done(CsAttempt *attempt);

/*
 * Makes 'failure' a malformed answer of the account to 'subject' (an
 * endpoint, or "resource …"); 'detail' may be NULL.
 */
extern void cs_failure_malformed(CsFailure *failure, const CsAccount *account, const char *subject,
								 const char *problem, const char *detail);

/* A random (version 4) UUID, palloc'd. */
extern char *cs_uuid(void);

#endif							/* CS_CLIENT_ATTEMPT_H */
