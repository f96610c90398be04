/*
 * http.h
 *	  HTTP on libcurl's multi interface, waiting with PostgreSQL's latch.
 *
 * One multi handle per process, made at first use and kept for its life, so
 * that connections, TLS sessions and the parsed CA bundle are reused.  Any
 * number of requests may be under way; a request belongs to the memory
 * context that it was started in and is abandoned when that is reset.
 *
 * Nothing here knows SQL, accounts or JSON.
 */
#ifndef CS_WIRE_HTTP_H
#define CS_WIRE_HTTP_H

#include "postgres.h"

#include "src/base/errors.h"

typedef struct CsHttpRequest CsHttpRequest;

typedef struct CsHttpPart
{
	const char *name;
	const char *filename;		/* or NULL */
	const char *content_type;	/* or NULL */
	const char *data;
	size_t		length;
} CsHttpPart;

/* What to send.  The strings must outlive the request (same context). */
typedef struct CsHttpSpec
{
	const char *method;			/* "GET", "POST", "DELETE", … */
	const char *url;			/* https://…, or http:// to a loopback address */
	const char *const *headers; /* NULL-terminated "Name: value" */
	const char *body;			/* UTF-8 bytes, or NULL */
	size_t		body_length;
	const CsHttpPart *parts;	/* multipart/form-data instead of a body, or NULL */
	int			nparts;
	const char *ca_file;		/* NULL: the system's bundle */
	bool		repeatable;		/* may libcurl send it again on a dead kept connection? */
	int			connect_timeout_ms;
	int			timeout_ms;
	int64		max_response_size;	/* bytes after decompression */
} CsHttpSpec;

typedef struct CsHttpAnswer
{
	CsFailure	failure;		/* kind NONE: 'status' and 'body' are a complete answer */
	int			status;			/* 0 if none arrived */
	const char *body;			/* 'length' bytes and a NUL; owned by the request */
	size_t		length;
	const char *content_type;	/* or NULL */
	int			retry_after_ms; /* -1 if the header is absent or unreadable */
	int64		server_time;	/* Date header, seconds since 1970, or -1 */
	int			http_version;	/* 10, 11, 20 */
	bool		new_connection;
	int64		bytes_sent;
	int64		bytes_received; /* on the wire, headers included */
	double		lookup_ms,		/* phases, from the start */
				connect_ms,
				first_byte_ms,
				total_ms;
} CsHttpAnswer;

/*
 * Starts a request and returns at once.  Throws for a URL or a header that
 * must not be sent (plain http to another host, CR or LF in a header) and for
 * exhausted memory or file descriptors.
 */
extern CsHttpRequest *cs_http_start(MemoryContext cxt, const CsHttpSpec *spec);

/* Drives all transfers without waiting. */
extern void cs_http_advance(void);

extern bool cs_http_done(const CsHttpRequest *request);

/* Only when done.  Strings of the failure are in the request's context. */
extern const CsHttpAnswer *cs_http_answer(CsHttpRequest *request);

/* Ends it now, whatever its state; the same as resetting its context. */
extern void cs_http_release(CsHttpRequest *request);

/* How many transfers are under way in this process. */
extern int	cs_http_active(void);

/* What is waited for, as pg_stat_activity shows it (from PostgreSQL 17 on). */
typedef enum CsWaitFor
{
	CS_WAIT_FOR_ANSWER,			/* CupsourceHttp */
	CS_WAIT_FOR_BUDGET,			/* CupsourceRateLimit */
	CS_WAIT_FOR_RETRY,			/* CupsourceRetry: the pause before another try */
	CS_WAIT_FOR_TOKEN,			/* CupsourceToken: another process gets it */
	CS_WAIT_FOR_WORK			/* CupsourceWorker: nothing is under way */
} CsWaitFor;

/*
 * Waits until a transfer of this process ends, the latch is set or 'timeout_ms'
 * (-1: none) has passed; resets the latch and checks for interrupts, so it
 * throws on cancel and leaves with the postmaster.  The one place of the
 * project that waits for the network.
 */
extern void cs_http_wait(long timeout_ms, CsWaitFor reason);

/* 'text' (UTF-8 bytes) percent-encoded for a path segment or a query value. */
extern char *cs_http_escape(const char *text);

/*
 * Closes all connections, which are reopened on demand; while transfers are
 * under way, none.
 */
extern void cs_http_close_idle(void);

/* "libcurl/7.88.1 OpenSSL/3.0.15 …" */
extern const char *cs_http_library(void);

#endif							/* CS_WIRE_HTTP_H */
