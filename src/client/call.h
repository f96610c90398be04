/*
 * call.h
 *	  One call of a partner API: token, budget, request, retries, errors,
 *	  statistics.
 *
 * A call is a small state machine, so that a worker can drive many at once
 * and a backend one:
 *
 *	  token → budget → sending → (again, after a pause) → done
 *
 * What is tried again: what certainly was not sent, 429, and 503 with
 * Retry-After; if the call is repeatable also any other 5xx and an answer that
 * did not come.  An answer that cannot be read, is too large or leads
 * elsewhere would be the same the next time.  A 429 pauses the whole account.
 * A Retry-After beyond cupsource.rate_limit_wait is not waited for.  A 401
 * gets one new token, if tokens are what the API wants.
 *
 * A call belongs to the memory context it was begun in, and needs no
 * transaction.
 */
#ifndef CS_CLIENT_CALL_H
#define CS_CLIENT_CALL_H

#include "postgres.h"

#include "src/base/compat.h"
#include "src/client/account.h"
#include "src/shared/limiter.h"
#include "src/wire/http.h"

typedef struct CsCall CsCall;

typedef struct CsCallSpec
{
	const char *endpoint;		/* for statistics and messages: "POST /orders" */
	const char *method;
	const char *path;			/* below base_url, expanded and escaped, with its query */
	const char *body;			/* JSON, UTF-8, or NULL */
	size_t		body_length;
	const CsHttpPart *parts;	/* multipart instead of a body, or NULL */
	int			nparts;
	const char *idempotency_key;	/* of a POST; NULL: one is made, the same for each try */
	bool		repeatable;		/* a read, or idempotent by document: may arrive twice */
	bool		confidential;	/* its answer may hold a secret: no message shows any of it */
	bool		may_be_empty;	/* a success without a body is one; else it is malformed */
	bool		one_by_one;		/* its caller repeats it, and records and tells what came of it */
	bool		(*may_start) (void *arg);	/* asked before each attempt, when the budget has
											 * a place; must not throw; NULL: yes */
	void	   *may_start_arg;
	CsPriority	priority;
	bool		has_place;		/* the budget has granted the first attempt: the call's to use or give back */
	int64		waited_ms;		/* for the budget, before it was begun */
	int			max_retries;	/* 0: the caller retries itself */
	int			timeout_ms;		/* 0: cupsource.timeout */
} CsCallSpec;

/* Copies what it needs of 'spec' except body and parts, which must outlive it. */
extern CsCall *cs_call_begin(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec);

/*
 * Does what can be done without waiting; true when the call is done.
 * Otherwise *wait_ms is when to look again at the latest (-1: when the
 * network says so).
 */
extern bool cs_call_advance(CsCall *call, long *wait_ms);

/* Is it the partner's turn, so that cs_call_advance has nothing to do? */
extern bool cs_call_on_wire(const CsCall *call);

/* Until done, interruptibly. */
extern void cs_call_finish(CsCall *call);

/* Until the first of them is done; the others are driven meanwhile, those before others first. */
extern void cs_call_finish_first(CsCall *const *calls, int ncalls);

/*
 * After the end: the failure (kind NONE if none) and the answer's document.
 * A budget that is too far away, or has a place when may_start says no, is a
 * failure of kind RATE_LIMIT_WAIT (PA010);
 * a call that is not repeatable and whose outcome is unknown has PA009.
 */
extern const CsFailure *cs_call_failure(const CsCall *call);
extern const CsJson *cs_call_document(const CsCall *call);	/* NULL: empty, and may be */

/* Of the last attempt; NULL if nothing was sent. */
extern const CsHttpAnswer *cs_call_answer(const CsCall *call);
extern int	cs_call_attempts(const CsCall *call);

/* Was any attempt started on the wire?  For the worker's journal. */
extern bool cs_call_sending(const CsCall *call);

/* What calls have cost, over all their attempts. */
typedef struct CsCallCost
{
	int64		requests;
	int64		bytes_received; /* on the wire, headers included */
	double		limiter_ms;		/* waited for the budget */
} CsCallCost;

/* Adds what the call has cost so far. */
extern void cs_call_cost(const CsCall *call, CsCallCost *cost);

extern void cs_call_release(CsCall *call);

/* begin + finish + throw on failure: what a live function needs. */
extern const CsJson *cs_call_read(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec);

/*
 * "/orders/{id}/tracking" with the values (UTF-8) percent-encoded; pairs of
 * name and value, ended by NULL.  Throws for a value that would lead to
 * another path (empty, "." or "..").
 */
extern char *cs_path_expand(const char *path,...) CS_SENTINEL;

#endif							/* CS_CLIENT_CALL_H */
