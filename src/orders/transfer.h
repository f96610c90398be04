/*
 * transfer.h
 *	  The worker's memory: requests on the wire and callers that wait.
 *
 * Nothing here survives the process, and nothing has to: an order that is on
 * the wire stands as "sending" or "cancelling" in its table.  A transfer owns
 * its memory context; it is begun after the transaction that recorded the
 * intent has committed, and released after the one that recorded its outcome.
 */
#ifndef CS_ORDERS_TRANSFER_H
#define CS_ORDERS_TRANSFER_H

#include "postgres.h"

#include "lib/ilist.h"

#include "src/base/state.h"
#include "src/client/call.h"
#include "src/orders/answer.h"
#include "src/shared/handoff.h"

typedef enum CsTransferKind
{
	CS_TRANSFER_CREATE,			/* POST an order */
	CS_TRANSFER_LOOKUP,			/* is an order there? */
	CS_TRANSFER_CANCEL,			/* DELETE it */
	CS_TRANSFER_GET,			/* GET it */
	CS_TRANSFER_TRACKING,		/* GET its parcels, where the order itself cannot be asked for */
	CS_TRANSFER_LIST			/* a page of all orders */
} CsTransferKind;

typedef struct CsTransfer
{
	dlist_node	node;
	MemoryContext cxt;
	CsTransferKind kind;
	int64		order_id;		/* 0 for LIST */
	char	   *external_id;	/* CREATE, LOOKUP: server encoding */
	CsAccount  *account;
	char	   *path;
	char	   *body;			/* or NULL */
	size_t		body_length;
	char	   *idempotency_key;	/* or NULL */
	int64		page;			/* LIST: 1, 2, … */
	int64		wanted;			/* LIST: orders that it is asked for */
	TimestampTz since;			/* LIST: orders from then on */
	TimestampTz due_by;			/* LIST: it is for those that were due then */
	TimestampTz first_sent_at;	/* CREATE, LOOKUP: of an earlier attempt; 0: there was none */
	bool		only_called_for;	/* CREATE: it is sent only while a caller waits for it */
	CsFailure  *doubted;		/* LOOKUP: what the order was answered; NULL: it is not sent yet */
	bool		refused;		/* … and that says that it was not placed */
	int			looks;			/* LOOKUP: how often it was looked for in vain */
	int64		begin_after;	/* LOOKUP: monotonic; 0: at once */
	bool		has_place;		/* CREATE: in the budget, until the call has it */
	int64		waited_ms;		/* CREATE: its callers, for that place */
	TimestampTz started_at;
	TimestampTz ended_at;		/* if done */
	CsCall	   *call;			/* NULL until begun, or if it could not be begun */
	CsFailure	failure;		/* if it could not be begun */
	bool		done;
	int			record_tries;	/* how often recording it failed */
	int64		record_after;	/* monotonic */
} CsTransfer;

/* A caller in another process. */
typedef struct CsWaiter
{
	dlist_node	node;
	CsHandoffRequest request;
	int64		order_id;
	int			tries;			/* how often its order was put back */
	int64		rests_since;	/* monotonic; 0: it had a place in the budget */
	bool		ready;			/* reply is to be sent when the transaction has committed */
	CsHandoffReply reply;
} CsWaiter;

/* A transfer in a context of its own; not yet on the wire and in no list. */
extern CsTransfer *cs_transfer_new(CsTransferKind kind, Oid serverid, Oid userid, int64 order_id);

/* An order that is to be sent, as prepare.c needs it; Datums are 0 for NULL. */
typedef struct CsOutgoing
{
	Oid			serverid;
	int64		order_id;
	const char *external_id;	/* server encoding */
	const char *created_by;
	Datum		lines;
	Datum		ship_to;
	Datum		options;
	Datum		body;			/* bytea: what was sent before; set by prepare.c if it is not */
	TimestampTz first_sent_at;	/* 0: it was not */
	bool		only_called_for;	/* it is not at the partner, and callers may yet roll back */
	bool		has_account;	/* set by prepare.c: how far it came */
} CsOutgoing;

/* The transfer that places it.  Throws, and leaves nothing then. */
extern CsTransfer *cs_transfer_prepare(CsOutgoing *order);

/* The other way of the two: its account, order and body in a transfer of its own. */
extern CsTransfer *cs_transfer_to_create(const CsTransfer *lookup);

/*
 * After an answer to 'create' that leaves in doubt whether it is there.  NULL
 * if the API cannot look it up.
 */
extern CsTransfer *cs_transfer_to_look_up(const CsTransfer *create, const CsFailure *doubted,
										  bool refused);

/* Enlists transfers to be begun when the transaction has committed. */
extern void cs_transfer_plan(CsTransfer *transfer);

/* After commit: planned transfers go out.  After abort: they are forgotten. */
extern void cs_transfers_begin(void);

/* Drives them; true if some are done, else *wait_ms is when to look again (-1: none). */
extern bool cs_transfers_advance(long *wait_ms);

extern void cs_transfers_forget_planned(void);

extern void cs_transfer_release(CsTransfer *transfer);

/* The one of that kind for that order, or NULL. */
extern CsTransfer *cs_transfer_of(CsTransferKind kind, int64 order_id);

/* How many of a server are under way or planned: those that place orders, or the others. */
extern int	cs_transfers_of_server(Oid serverid, bool placing);
extern CsTransfer *cs_transfer_list_of(Oid serverid);	/* its LIST, or NULL */

/* All that are under way; the list's owner is transfer.c. */
extern dlist_head *cs_transfers(void);

/* What became of it: of the call, or why it could not be begun. */
extern const CsFailure *cs_transfer_failure(const CsTransfer *transfer);
extern int	cs_transfer_status(const CsTransfer *transfer); /* of HTTP, or 0 */

/* The same; of a refusal in an answer of success, what the document gives its error code. */
extern int	cs_transfer_meant_status(const CsTransfer *transfer, const CsFailure *failure);
extern int	cs_transfer_duration_ms(const CsTransfer *transfer);

/* When the answer was asked for: it knows what happened before, and not what came later. */
extern TimestampTz cs_transfer_asked_at(const CsTransfer *transfer);

/* Callers. */
extern void cs_waiter_add(const CsHandoffRequest *request, int64 order_id);

/* Those of that order and kind get this reply at commit; 'failure' NULL: all is well. */
extern void cs_waiters_answer(CsHandoffKind kind, int64 order_id, const CsFailure *failure);

/* Does any of them still wait? */
extern bool cs_waiters_want(CsHandoffKind kind, int64 order_id);

/* How often the order was put back while they waited, this time included; 0: nobody waits. */
extern int	cs_waiters_try(CsHandoffKind kind, int64 order_id);

/* The order has no place in the budget: milliseconds since that is so; 0: nobody waits. */
extern int64 cs_waiters_rest(int64 order_id);

/* The orders for which such requests wait, as bigint[]. */
extern Datum cs_waiters_orders(CsHandoffKind kind);

/* The request that could not be journalled: its waiter is dropped and answered. */
extern void cs_waiter_drop(const CsHandoffRequest *request, const CsFailure *failure);
extern bool cs_waiters_any(void);
extern void cs_waiters_committed(void);
extern void cs_waiters_aborted(void);

/* Answers a request that never became a waiter, at once. */
extern void cs_request_answer(const CsHandoffRequest *request, int64 order_id,
							  const CsFailure *failure);

/* ---- transactions of the worker (work.c) ---- */

typedef void (*CsStep) (void *arg);

/*
 * Runs 'step' in a transaction of its own, as the extension's owner, with SPI
 * connected; afterwards callers get their replies and planned transfers go
 * out.  An error is logged and rolled back, and *ok (may be NULL) is false.
 * Returns false if the extension is gone.
 */
extern bool cs_work_step(const char *activity, CsStep step, void *arg, bool *ok);

/* The same in a subtransaction of a step: false and 'failure' (in the current context) on error. */
extern bool cs_work_part(CsStep step, void *arg, CsFailure *failure);

/* Would the same work, after such an error? */
extern bool cs_work_is_transient(int sqlstate);

/* How long an order that met it before it was sent waits: for a moment, or for somebody. */
extern int64 cs_work_delay_ms(int sqlstate);

/* The API of a server by its name; NULL, and no *serverid, if it is gone. */
extern const CsApi *cs_work_api(const char *server, Oid *serverid);

/* Datums for transitions. */
extern Datum cs_work_interval(int64 ms);
extern Datum cs_work_text(const char *text, char *null);	/* NULL: *null = 'n' */
extern void cs_work_error(const CsFailure *failure, Datum *values, char *nulls);	/* 5 of them */

/* A column of a row: as text or NULL, palloc'd; or as it is. */
extern char *cs_work_column_text(SPITupleTable *rows, uint64 row, int column);
extern Datum cs_work_column(SPITupleTable *rows, uint64 row, int column, bool *isnull);

#define CS_ERROR_ARGS 5
#define CS_ERROR_TYPES TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID

/* ---- the parts of the worker's steps, each in its own file ---- */

/*
 * places.c: false if an order has to wait for a place in its account's budget.
 * True also if it may not wait that long, which its call says.
 */
extern bool cs_place_take(CsTransfer *transfer);
extern bool cs_places_awaited(Oid serverid);	/* by orders of that server, or of any */
extern long cs_places_wait_ms(void);	/* until the first should ask again; -1: none waits */
extern bool cs_places_due(void);	/* it is time for that; says so once */

/* claim.c: inside a step, or a scope. */
extern bool cs_queue_is_ours(void);
extern void cs_queue_refuse(void);	/* throws: it is not */
extern void cs_claim_orders(void);
extern void cs_claim_more_orders(void); /* what the last claim had no room for */

/* claim.c: in transactions of their own; false if the extension is gone. */
extern bool cs_claim_freed(void);	/* what the last claim had no room for */
extern bool cs_claim_rest(void);	/* and what was too much for one transaction */

/* claim.c: no room was left for some of what is queued; from now on nothing is claimed. */
extern bool cs_claims_crowded(void);
extern void cs_claims_end(void);
extern bool cs_claims_ended(void);

/* Has a server room for another order, and is none waiting before it? */
extern bool cs_may_send_now(Oid serverid);

/* claim.c: what the worker tells of itself. */
extern void cs_count_failure(void);
extern void cs_count_sent(void);

/* record.c: inside a part; sending → placed, queued, failed, uncertain. */
extern void cs_order_placed(CsTransfer *transfer, const CsOrderAnswer *answer);
extern bool cs_order_put_back(const CsTransfer *transfer, const CsFailure *failure, int tries);
extern void cs_order_try_again(const CsTransfer *transfer, const CsFailure *failure);
extern void cs_order_failed(const CsTransfer *transfer, const CsFailure *failure, bool final);
extern void cs_order_doubted(const CsTransfer *transfer, const CsFailure *cause);

/* record.c: → uncertain, also of an order that is not on the wire; gives the failure its hint. */
extern void cs_order_uncertain(int64 order_id, CsFailure *failure);

/* record.c: may any request of this order have arrived, the last one included? */
extern bool cs_order_may_have_arrived(int64 order_id);

/* The attempt that a transfer was, into the journal; how many the order has had. */
extern void cs_order_attempted(const CsTransfer *transfer, const CsFailure *failure);
extern int	cs_order_attempts(int64 order_id);

/* doubt.c: inside a part; false if the order cannot be looked up, or was. */
extern bool cs_doubt_look_up(const CsTransfer *transfer, const CsFailure *failure, bool refused);

/* doubt.c, record.c, cancel.c, follow.c, listing.c: inside a part; what became of a transfer. */
extern void cs_record_created(CsTransfer *transfer);
extern void cs_record_looked_up(CsTransfer *transfer);
extern void cs_record_unreadable(CsTransfer *transfer, const CsFailure *failure);
extern void cs_record_cancelled(CsTransfer *transfer);
extern void cs_record_not_cancelled(CsTransfer *transfer, const CsFailure *failure);
extern void cs_record_followed(CsTransfer *transfer);
extern void cs_record_listed(CsTransfer *transfer);
extern void cs_record_not_followed(CsTransfer *transfer, const CsFailure *failure);
extern void cs_record_not_listed(const CsTransfer *transfer, const CsFailure *failure);

/* parcels.c: inside a part; the parcels of an answer, and the order's status in tracking. */
extern void cs_record_parcels(const CsTransfer *transfer);
extern void cs_answer_tracking(const CsTransfer *transfer, CsOrderAnswer *answer);

/* The answer; NULL where "data" is null, since what is round it tells how the request went. */
extern const CsJson *cs_answer_shown(const CsTransfer *transfer);

/* cancel.c, follow.c: inside a step; plan what is due. */
extern void cs_cancel_orders(void);
extern void cs_follow_orders(void);

/* After a look at an order, or a list, that failed; at the earliest. */
#define CS_ASK_AGAIN_MS 30000

/*
 * listing.c: the first page of the list for 'wanted' orders that are due by
 * then, the oldest of which exists since 'since'.
 */
extern void cs_list_plan(Oid serverid, Oid userid, TimestampTz since, TimestampTz due_by,
						 int64 wanted);

/* How many of a server's due orders no list has been read for; a look asks each server. */
extern int64 cs_list_wanted(Oid serverid, const char *server, int64 due);
extern void cs_list_look_begins(void);
extern void cs_list_look_ended(void);

/*
 * An order was asked for by itself, and answered unless there is a failure:
 * where the list failed, that tells more.
 */
extern void cs_list_asked_singly(const CsTransfer *transfer, const CsFailure *failure);

/*
 * outcome.c: inside a part; what became of an order that is not on its way, or
 * only on its way to be cancelled: false, and *failure is what its callers are told.
 */
extern bool cs_outcome_of_order(int64 order_id, CsFailure *failure);

/* The same to those who wait for what will not come any more. */
extern void cs_outcomes_tell(void);

/*
 * To all who wait for an order that a transaction which has not ended keeps
 * locked.  That may be the one that waits here, or one that waits for it, and
 * nobody would see that.
 */
extern void cs_outcome_locked(int64 order_id, CsFailure *failure);

/* take.c: a lock that did not come is told in the terms of the caller. */
extern void cs_lock_explain(CsFailure *failure);

/* cancel.c, follow.c: inside a part; a caller's request. */
extern void cs_take_cancel(const CsHandoffRequest *request);
extern void cs_take_follow(const CsHandoffRequest *request);

#endif							/* CS_ORDERS_TRANSFER_H */
