/*
 * orders.h
 *	  Orders, for the layers above: queueing and placing, finding, and the
 *	  steps of the worker's loop.
 */
#ifndef CS_ORDERS_ORDERS_H
#define CS_ORDERS_ORDERS_H

#include "postgres.h"

#include "fmgr.h"

#include "src/client/account.h"
#include "utils/timestamp.h"

/* An order as a user gives it; jsonb Datums, 0 for NULL. */
typedef struct CsOrderForm
{
	const char *external_id;	/* server encoding */
	Datum		lines;
	Datum		ship_to;
	Datum		options;
	int64		replaces;		/* or 0 */
} CsOrderForm;

/*
 * Queues the order in the current transaction, for the current user, and has
 * the worker woken at its commit.  Returns the local id: of the order that has
 * this external id already if its content is the same.  Throws 23505 if it is
 * not, and what cs_form_read throws.  The caller has checked USAGE.
 */
extern int64 cs_order_enqueue(Oid serverid, const CsOrderForm *form);

/* This database as the owner of a queue, as cs_internal.origin() gives it: text. */
extern Datum cs_order_origin(void);

/* The API of the server; throws if it has none. */
extern const CsApi *cs_order_api(const ForeignServer *server);

/* Throws 22023 with all that is wrong with the order, by its form and by the cached catalogue. */
extern void cs_order_check(const ForeignServer *server, const CsOrderForm *form);

/* A function's arguments (lines, ship_to, external_id, options, server); returns the server. */
extern Oid	cs_order_form_arguments(FunctionCallInfo fcinfo, CsOrderForm *form);

/*
 * The order that 'id' (server encoding) means for the current user: local,
 * external or remote if 'server' is NULL, else external or remote, since those
 * may be numbers, too.  Throws PA404 and 21000, and as cs_server_resolve.
 */
extern int64 cs_order_find(const char *id, const char *server, Oid *serverid);
extern int64 cs_order_find_local(int64 id, Oid *serverid);

/*
 * The same for a text argument of a function and its argument "server"; of one
 * that has no such argument, for its bigint, the local id.
 */
extern int64 cs_order_argument(FunctionCallInfo fcinfo, int id, int server, Oid *serverid);

/*
 * Its row of cs_orders, a composite Datum in the current context.  'latest':
 * also what was committed since the transaction's snapshot.
 */
extern Datum cs_order_row(int64 id, bool latest);

/*
 * What the rows of an answer about orders, read by that resource ("listed",
 * "order"), say of their states beside the status: by the partner's other
 * word, and by a parcel that has left.  An array of *n, NULL where nothing.
 */
extern const char **cs_order_shown_states(const CsApi *api, const char *resource,
										  const CsJson *document, const char *server, int *n);

/*
 * parcels.c: does the answer about an order show one that has left?  Only where
 * the partner's list tells of it, too; of a label that was given up it says
 * nothing.
 */
extern bool cs_parcels_left(const CsApi *api, const CsJson *document, const char *server);

/*
 * What the partner calls the state of an order, in a row of its answer, as we
 * call it: the furthest of its status and what is 'shown' beside that.  Columns
 * count from 0.
 */
extern void cs_order_row_state(const CsApi *api, Datum *values, bool *nulls, int status_column,
							   int state_column, const char *shown);

/*
 * Places the order now, by the worker, and returns its local id; the order does
 * not roll back.  For the current user, who may use the server.  Throws what
 * is wrong with the form, and what the partner or the worker say.
 */
extern int64 cs_order_place(Oid serverid, const CsOrderForm *form);

/* Cancels the order for the current user, at the partner if it is there, and waits. */
extern void cs_order_cancel(int64 id);

/*
 * Has the worker ask the partner about the order, and waits until its word is
 * stored.  Throws what went wrong.  Does nothing on a standby: nobody asks there.
 */
extern void cs_order_ask(int64 id);

/* ---- the worker's steps; each is called outside of transactions ---- */

/*
 * Each step that touches the database returns false if the extension is gone
 * from it: then the worker leaves.
 */
extern bool cs_orders_begin(bool *ok);	/* until ok: sees to interrupted orders, once the queue is ours */

/*
 * Until ok, after the clock was set back, or might have been while the server
 * was down ('watched' false): no order waits for a time that a wrong clock gave.
 */
extern bool cs_orders_clock(bool watched, bool *ok);

/*
 * Requests of waiting callers.  '*look' is set if an order may be left to wait:
 * when it is due, or that its caller has left, only a look finds out.
 */
extern bool cs_orders_take(bool *look);
extern bool cs_orders_record(void); /* what was answered since */

/* Drives the transfers without waiting; true if some are done, else *wait_ms (-1: none). */
extern bool cs_orders_advance(long *wait_ms);

/*
 * Puts queued orders on the wire.  With 'all' also what else is due:
 * cancellations, looks at open orders; and settles callers that rolled back.
 * *due is then when there is something to do next, 0 if never; unchanged on
 * error.
 */
extern bool cs_orders_look(bool all, TimestampTz *due);

/* Puts those on the wire that have waited for a place in a budget, if there should be one now. */
extern bool cs_orders_claim(void);

/*
 * The last look found that nothing queued can be sent: the servers that have
 * orders have no room, or the queue is on hold.
 */
extern bool cs_orders_blocked(void);

/*
 * The process is about to end: puts back what is not on the wire yet, and
 * claims nothing any more.
 */
extern bool cs_orders_retreat(void);

/* Milliseconds for which no step should be tried, because the last ones failed; 0: none. */
extern int	cs_orders_pause_ms(void);

/* Something failed outside of a step: the same as if one had. */
extern void cs_orders_hold_back(void);

/* Does anybody wait: for an answer of a partner, or for one of ours? */
extern bool cs_orders_busy(void);

extern int	cs_orders_in_flight(void);
extern int64 cs_orders_sent(void);
extern int64 cs_orders_failures(void);

#endif							/* CS_ORDERS_ORDERS_H */
