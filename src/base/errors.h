/*
 * errors.h
 *	  What can go wrong between us and a partner, and how SQL sees it.
 *
 * An answer that is a refusal has SQLSTATE PA followed by the HTTP status
 * (PA404); what never was a usable answer has one of the codes PA001 to PA012.
 * PA000 is never raised: PL/pgSQL takes a code that ends in three zeros for
 * the category and would catch every PAnnn with it.
 */
#ifndef CS_BASE_ERRORS_H
#define CS_BASE_ERRORS_H

#include "postgres.h"

#include "src/base/compat.h"

#define CS_ERRCODE_RESOLVE		MAKE_SQLSTATE('P', 'A', '0', '0', '1')	/* no address for the host */
#define CS_ERRCODE_CONNECT		MAKE_SQLSTATE('P', 'A', '0', '0', '2')	/* no connection */
#define CS_ERRCODE_TLS			MAKE_SQLSTATE('P', 'A', '0', '0', '3')	/* no trustworthy connection */
#define CS_ERRCODE_TIMEOUT		MAKE_SQLSTATE('P', 'A', '0', '0', '4')	/* no answer in time */
#define CS_ERRCODE_CONNECTION_LOST MAKE_SQLSTATE('P', 'A', '0', '0', '5')	/* no complete answer */
#define CS_ERRCODE_MALFORMED	MAKE_SQLSTATE('P', 'A', '0', '0', '6')	/* an answer that cannot be read */
#define CS_ERRCODE_TOO_LARGE	MAKE_SQLSTATE('P', 'A', '0', '0', '7')	/* cupsource.max_response_size */
#define CS_ERRCODE_REDIRECT		MAKE_SQLSTATE('P', 'A', '0', '0', '8')	/* a redirect, which is not followed */
#define CS_ERRCODE_OUTCOME_UNKNOWN MAKE_SQLSTATE('P', 'A', '0', '0', '9')	/* a write that may have arrived */
#define CS_ERRCODE_RATE_LIMIT_WAIT MAKE_SQLSTATE('P', 'A', '0', '1', '0')	/* cupsource.rate_limit_wait */
#define CS_ERRCODE_NO_WORKER	MAKE_SQLSTATE('P', 'A', '0', '1', '1')	/* nobody to hand the order to */
#define CS_ERRCODE_WRONG_STATE	MAKE_SQLSTATE('P', 'A', '0', '1', '2')	/* the order's state forbids it */

/* The SQLSTATE of an HTTP status from 100 to 999. */
extern int	cs_errcode_status(int status);

typedef enum CsFailureKind
{
	CS_FAILURE_NONE = 0,
	CS_FAILURE_RESOLVE,
	CS_FAILURE_CONNECT,
	CS_FAILURE_TLS,
	CS_FAILURE_TIMEOUT,
	CS_FAILURE_CONNECTION_LOST,
	CS_FAILURE_MALFORMED,
	CS_FAILURE_TOO_LARGE,
	CS_FAILURE_REDIRECT,
	CS_FAILURE_REFUSED,			/* the API answered with an error status */
	CS_FAILURE_RATE_LIMIT_WAIT, /* our own limiter: nothing was sent */
	CS_FAILURE_OUT_OF_MEMORY
} CsFailureKind;

/* How far the request came.  Retrying is decided by this, never by the kind alone. */
typedef enum CsDelivery
{
	CS_DELIVERY_NOT_SENT,		/* certain: no byte of the request left this host */
	CS_DELIVERY_ANSWERED,		/* the partner answered with a status */
	CS_DELIVERY_UNKNOWN			/* sent in part or whole, and no usable answer */
} CsDelivery;

/*
 * A failure as a value: made where it happens, stored with the order, or
 * thrown.  Strings live in the context that the maker was given; in the
 * server's encoding; free of secrets.
 */
typedef struct CsFailure
{
	CsFailureKind kind;
	CsDelivery	delivery;
	int			status;			/* HTTP status, or 0 */
	int			sqlstate;
	char	   *code;			/* error.code of the API's envelope, or NULL */
	char	   *message;		/* primary message */
	char	   *detail;			/* or NULL */
	char	   *hint;			/* or NULL */
	int			retry_after_ms; /* what Retry-After asked for, or -1 */
	bool		documented;		/* refused in the API's own words, not by a gateway */
} CsFailure;

/* The SQLSTATE that belongs to a kind; CS_FAILURE_REFUSED takes the status. */
extern int	cs_failure_sqlstate(CsFailureKind kind, int status);

/*
 * A refusal that only says that somebody on the way gave up the request, which
 * may be done nevertheless.  499 is nginx's, and what gateways make of a call
 * to their backend that was cancelled.
 */
static inline bool
cs_status_gave_up(int status)
{
	return status == 408 || status == 499;
}

/* A closed set of words for views and statistics: "resolve", "connect", … "refused". */
extern const char *cs_failure_kind_name(CsFailureKind kind);

/* Throws the failure as an ERROR. */
pg_noreturn extern void cs_failure_throw(const CsFailure *failure);

/*
 * 'text' fit for a message: at most 'limit' bytes, cut at a character's
 * border, control characters replaced, in the server's encoding whatever the
 * bytes were.  Never throws for bad bytes.  palloc'd.
 */
extern char *cs_printable(const char *text, size_t length, size_t limit);

/*
 * A copy of 'text' in which every occurrence of a secret is replaced by
 * "<redacted>".  Secrets of fewer than 4 bytes are left: they would mangle
 * ordinary words.  palloc'd.
 */
extern char *cs_redact(const char *text, const char *const *secrets, int nsecrets);

#endif							/* CS_BASE_ERRORS_H */
