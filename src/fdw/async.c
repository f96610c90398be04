/*
 * async.c
 *	  Several accounts at once: asynchronous execution below an Append.
 *
 * The first request of each scan goes out when the Append asks for its first
 * row, and whoever is answered first goes on.  libcurl needs more than the one
 * socket per scan that an Append can wait for: timers for pauses and the
 * account's budget, sockets that change.  So the waiting is not left to the
 * Append but done in ForeignAsyncConfigureWait, by the one place that waits
 * for the network, until one of our scans has something.  An Append that has
 * tables of other wrappers as well looks after those in between; they are
 * being answered meanwhile.
 */
#include "postgres.h"

#include "executor/execAsync.h"
#include "executor/instrument.h"

#include "src/fdw/fdw.h"
#include "src/wire/http.h"

/* Gives the row that is there, says that there are no more, or that it will take a while. */
static void
produce(AsyncRequest *request)
{
	ForeignScanState *node = (ForeignScanState *) request->requestee;
	CsScan	   *scan = node->fdw_state;
	TupleTableSlot *result = request->requestee->ExecProcNodeReal(request->requestee);

	/* The conditions of the query may have left nothing of what was there. */
	if (TupIsNull(result) && !scan->answer->complete)
		ExecAsyncRequestPending(request);
	else
		ExecAsyncRequestDone(request, TupIsNull(result) ? NULL : result);
}

void
cs_async_request(AsyncRequest *request)
{
	produce(request);
}

/* Is it a scan of ours that waits for its partner? */
static bool
is_ours_pending(const AsyncRequest *request)
{
	return request->callback_pending && IsA(request->requestee, ForeignScanState) &&
		((ForeignScanState *) request->requestee)->fdwroutine->ForeignAsyncRequest ==
		cs_async_request;
}

static bool
is_answered(const AsyncRequest *request, long *wait_ms)
{
	return cs_fetch_poll(((ForeignScanState *) request->requestee)->fdw_state, wait_ms);
}

/* Is one of the Append's scans answered?  Else *wait_ms is when to look again. */
static bool
any_answered(const AppendState *append, long *wait_ms)
{
	int			i = -1;

	*wait_ms = -1;
	while ((i = bms_next_member(append->as_asyncplans, i)) >= 0)
	{
		long		ms = -1;

		if (!is_ours_pending(append->as_asyncrequests[i]))
			continue;
		if (is_answered(append->as_asyncrequests[i], &ms))
			return true;
		if (ms >= 0 && (*wait_ms < 0 || ms < *wait_ms))
			*wait_ms = ms;
	}
	return false;
}

/* The request is answered outside of the callbacks that the Append makes. */
static void
complete(AsyncRequest *request)
{
	request->callback_pending = false;
	produce(request);
	ExecAsyncResponse(request);
	if (request->requestee->instrument)
		InstrUpdateTupleCount(request->requestee->instrument,
							  TupIsNull(request->result) ? 0.0 : 1.0);
}

/* Adds no event: what happens is looked after here. */
void
cs_async_configure_wait(AsyncRequest *request)
{
	AppendState *append = (AppendState *) request->requestor;
	long		wait_ms;

	cs_http_advance();
	while (append->as_syncdone && !any_answered(append, &wait_ms))
		cs_http_wait(wait_ms, CS_WAIT_FOR_ANSWER);
	if (is_answered(request, &wait_ms))
		complete(request);
}

/* There was no event that it could be called for. */
void
cs_async_notify(AsyncRequest *request)
{
	produce(request);
}
