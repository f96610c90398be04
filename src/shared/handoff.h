/*
 * handoff.h
 *	  Orders handed to the worker by a caller who waits for the outcome.
 *
 * Each backend has one slot.  A caller writes its request into a dynamic
 * shared memory segment, announces it in its slot and waits; the worker of
 * the database takes it, journals it, sends it, and replies.  A caller that
 * leaves (cancel, death) gives the slot up; the worker goes on with what it
 * has already journalled.  A generation number keeps late replies from the
 * slot's next use.
 */
#ifndef CS_SHARED_HANDOFF_H
#define CS_SHARED_HANDOFF_H

#include "postgres.h"

#include "src/shared/wake.h"

typedef enum CsHandoffKind
{
	CS_HANDOFF_CREATE,			/* place an order now */
	CS_HANDOFF_CANCEL,			/* cancel an order */
	CS_HANDOFF_FOLLOW			/* ask the API for an order's status now */
} CsHandoffKind;

/* What the worker says; texts are cut to fit. */
typedef struct CsHandoffReply
{
	int64		order_id;		/* 0 if nothing was journalled */
	int			sqlstate;		/* 0: done */
	char		message[512];
	char		detail[1024];
	char		hint[512];
} CsHandoffReply;

/*
 * Caller: hands 'payload' to the worker of this database and waits for its
 * reply, interruptibly.  Throws PA011 when no worker can be had: then nothing
 * was done.  Throws PA009 when the worker ended after it had taken the
 * request: then cs_orders tells what became of it.
 */
extern void cs_handoff_call(CsHandoffKind kind, const char *payload, size_t length,
							CsHandoffReply *reply);

/* Worker: a request taken out of its slot. */
typedef struct CsHandoffRequest
{
	int			slot;
	uint64		generation;
	CsHandoffKind kind;
	char	   *payload;		/* palloc'd copy */
	size_t		length;
} CsHandoffRequest;

/* The longest announced request of this worker's database; false if there is none. */
extern bool cs_handoff_take(CsHandoffRequest *request);

/* Is the caller still waiting for it? */
extern bool cs_handoff_wanted(const CsHandoffRequest *request);

/* Does nothing if the caller has left. */
extern void cs_handoff_reply(const CsHandoffRequest *request, const CsHandoffReply *reply);

#endif							/* CS_SHARED_HANDOFF_H */
