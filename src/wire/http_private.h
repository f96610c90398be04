/*
 * http_private.h
 *	  What the files http*.c share; nobody else includes this.
 *
 * A request is palloc'd in its caller's context and goes with it.  A transfer
 * is what libcurl's callbacks write to; it is malloc'd, so that it outlives
 * contexts and no callback can throw, and is used again by later requests.
 */
#ifndef CS_WIRE_HTTP_PRIVATE_H
#define CS_WIRE_HTTP_PRIVATE_H

#include "postgres.h"

#include "lib/ilist.h"

#include <curl/curl.h>

#include "src/wire/http.h"

/*
 * From 7.87 on, libcurl can leave a hanging name lookup behind
 * (CURLOPT_QUICK_EXIT); older ones would make cancel wait for it.
 */
#if LIBCURL_VERSION_NUM < 0x075700
#error "cupsource needs libcurl 7.87 or newer"
#endif

/* All header lines of an answer together. */
#define CS_HTTP_MAX_HEADER_BYTES (256 * 1024)

typedef enum CsRequestState
{
	CS_REQUEST_WAITING,			/* for a file descriptor; not known to libcurl yet */
	CS_REQUEST_RUNNING,			/* in the multi handle */
	CS_REQUEST_DONE,			/* 'result' is valid, the easy handle is still its own */
	CS_REQUEST_RELEASED			/* 'transfer' is NULL */
} CsRequestState;

/* How the body travels.  An easy handle that changes it is reset before. */
typedef enum CsTransferShape
{
	CS_SHAPE_NEW,				/* nothing set yet */
	CS_SHAPE_BARE,				/* no body */
	CS_SHAPE_BUFFER,			/* CURLOPT_POSTFIELDS: libcurl may send it again */
	CS_SHAPE_ONCE,				/* CURLOPT_READFUNCTION without seek: libcurl cannot */
	CS_SHAPE_MULTIPART
} CsTransferShape;

/* A stretch of the request's body and how much of it libcurl has taken. */
typedef struct CsUpload
{
	const char *data;
	size_t		length;
	size_t		offset;
} CsUpload;

typedef struct CsTransfer
{
	CURL	   *easy;
	CsTransferShape shape;
	CsHttpRequest *request;		/* NULL while idle */
	struct CsTransfer *next;	/* while idle */

	/* What the easy handle is set to, so that equal settings are not made again. */
	char	   *method;
	char	   *url;			/* NULL: none yet */
	CURLU	   *parsed_url;		/* the same */
	char	   *ca_file;		/* NULL: the system's bundle */
	int			connect_timeout_ms;
	int			timeout_ms;
	bool		fresh;			/* CURLOPT_FRESH_CONNECT and CURLOPT_FORBID_REUSE */

	/* The request. */
	int			attempts;		/* on how many connections libcurl began to send it */
	CsUpload	upload;
	curl_mime  *mime;

	/* The answer. */
	char	   *data;			/* kept from request to request */
	size_t		allocated;
	size_t		length;
	size_t		limit;
	size_t		header_bytes;
	bool		headers_complete;	/* the empty line after the last status line came */
	bool		too_large;
	bool		headers_too_large;
	bool		out_of_memory;
	char		date[48];		/* values of the headers, "" if absent */
	char		retry_after[48];
	char		error[CURL_ERROR_SIZE];
} CsTransfer;

struct CsHttpRequest
{
	MemoryContext cxt;
	MemoryContextCallback callback;
	CsHttpSpec	spec;
	CsRequestState state;
	CsTransfer *transfer;
	CURLcode	result;
	dlist_node	node;			/* while WAITING or RUNNING */
	bool		answered;		/* 'answer' is filled */
	CsHttpAnswer answer;
};

/* in http_transfer.c */

/* Gives the request a transfer that is set to send it.  Throws. */
extern void cs_http_transfer_take(CsHttpRequest *request);

/*
 * The ends of a transfer, in no multi handle: kept for a later request if it
 * is of use, or freed.  NULL-safe and never throwing.
 */
extern void cs_http_transfer_retire(CsTransfer *transfer);
extern void cs_http_transfer_free(CsTransfer *transfer);

/* in http_wait.c */

/* Makes the process's multi handle if there is none yet.  Throws. */
extern void cs_http_multi_open(void);

/* Starts the request, or queues it while file descriptors are short. */
extern void cs_http_multi_add(CsHttpRequest *request);

/* Takes a WAITING or RUNNING request out.  Never throws. */
extern void cs_http_multi_remove(CsHttpRequest *request, CsTransfer *transfer);

/* CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION. */
extern curl_socket_t cs_http_open_socket(void *arg, curlsocktype purpose,
										 struct curl_sockaddr *address);
extern int	cs_http_close_socket(void *arg, curl_socket_t fd);

/* in http_answer.c: fills request->answer.  Throws only on out of memory. */
extern void cs_http_answer_fill(CsHttpRequest *request);

/* in http.c: throws if this libcurl will not do. */
extern void cs_http_check_library(void);

/* The part of a URL between "://" and its path; *length is its length. */
extern const char *cs_http_authority(const char *url, size_t *length);

#endif							/* CS_WIRE_HTTP_PRIVATE_H */
