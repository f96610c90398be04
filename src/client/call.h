/*
 * call.h
 *	  One call of a partner API: budget, token, request, retries, errors,
 *	  statistics.
 *
 * A call is a small state machine, so that a worker can drive many at once
 * and a backend one:
 *
 *	  budget → token → sending → (again, after a pause) → done
 *
 * A call belongs to the memory context it was begun in.
 */
#ifndef CS_CLIENT_CALL_H
#define CS_CLIENT_CALL_H

#include "postgres.h"

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
	const char *idempotency_key;	/* sent with every POST */
	bool		repeatable;		/* a read, or idempotent by document: an unknown outcome may be sent again */
	CsPriority	priority;
	int			max_retries;	/* 0: the caller retries itself */
	int			timeout_ms;
} CsCallSpec;

/* Copies what it needs of 'spec' except body and parts, which must outlive it. */
extern CsCall *cs_call_begin(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec);

/*
 * Does what can be done without waiting; true when the call is done.
 * Otherwise *wait_ms is when to look again at the latest (-1: when the
 * network says so).
 */
extern bool cs_call_advance(CsCall *call, long *wait_ms);

/* Until done, interruptibly.  Throws PA010 when the budget's wait is too long. */
extern void cs_call_finish(CsCall *call);

/* After the end: the failure (kind NONE if none) and the answer's document. */
extern const CsFailure *cs_call_failure(const CsCall *call);
extern const CsJson *cs_call_document(const CsCall *call);	/* NULL: empty body */
extern const CsHttpAnswer *cs_call_answer(const CsCall *call);	/* of the last attempt; NULL if never sent */
extern int	cs_call_attempts(const CsCall *call);

/* Was the last attempt ever started on the wire?  For the worker's journal. */
extern bool cs_call_sending(const CsCall *call);

extern void cs_call_release(CsCall *call);

/* begin + finish + throw on failure: what a live function needs. */
extern const CsJson *cs_call_read(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec);

/* "/orders/{id}/tracking" with values percent-encoded; NULL-terminated name, value pairs. */
extern char *cs_path_expand(const char *path,...);

#endif							/* CS_CLIENT_CALL_H */
