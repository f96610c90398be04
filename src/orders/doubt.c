/*
 * doubt.c
 *	  Is an order at the partner?  Looked up by its external id.
 *
 * Two ask: an order that is to be sent again long after its first request,
 * when the partner may have forgotten it, and one whose last answer leaves in
 * doubt what became of an earlier request.  Partners are found that do not
 * give the first answer again to the same bytes, as they promise, but refuse
 * them because the order is there; and some that say that they have taken an
 * order and do not show it.
 *
 * A list may be read from a copy that is seconds behind, and a request whose
 * answer was lost may still be worked on.  So an order that is not to be seen
 * is looked for a few times before that counts.
 *
 * The order stands as sending all the while; after a crash it is sent again.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/timestamp.h"

#include "src/client/rows.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/shared/shmem.h"

/* Pauses double: 1 s, 2 s, …, all in all 15 s. */
#define LOOKS 5
#define FIRST_PAUSE_US USECS_PER_SEC

/*
 * So much earlier than our first request the partner may say that it made the
 * order, by the clock that dates its answers: ours may be hours away from it.
 */
#define CLOCKS_DIFFER_US (5 * INT64CONST(60) * USECS_PER_SEC)

bool
cs_doubt_look_up(const CsTransfer *transfer, const CsFailure *failure, bool refused)
{
	CsTransfer *lookup = transfer->kind == CS_TRANSFER_CREATE ?
		cs_transfer_to_look_up(transfer, failure, refused) : NULL;

	if (lookup == NULL)
		return false;
	cs_transfer_plan(lookup);
	return true;
}

/* An order from before our first request is somebody else's, under the same external id. */
static bool
may_be_ours(const CsTransfer *transfer, const CsOrderAnswer *answer)
{
	int64		today = cs_call_answer(transfer->call)->server_time;
	TimestampTz sent_at = transfer->first_sent_at;
	TimestampTz created_at;

	if (today >= 0)
		sent_at += time_t_to_timestamptz((pg_time_t) today) - transfer->ended_at;
	return cs_answer_created_at(answer, &created_at) && created_at >= sent_at - CLOCKS_DIFFER_US;
}

/* An answer to who asks, or where; it changes with the key, and not with the order. */
static bool
is_about_asking(const CsFailure *failure)
{
	return failure->kind == CS_FAILURE_REFUSED &&
		(failure->status == 401 || failure->status == 403 || failure->status == 404);
}

static void
look_again(const CsTransfer *transfer)
{
	CsTransfer *lookup = cs_transfer_to_look_up(transfer, transfer->doubted, transfer->refused);

	lookup->looks = transfer->looks + 1;
	lookup->begin_after = cs_monotonic_us() + (FIRST_PAUSE_US << transfer->looks);
	cs_transfer_plan(lookup);
}

/* After an answer that left it in doubt. */
static void
settle(CsTransfer *transfer, const CsFailure *failure, const CsOrderAnswer *answer)
{
	if (answer && may_be_ours(transfer, answer))
		cs_order_placed(transfer, answer);
	else if (failure->kind == CS_FAILURE_NONE && answer == NULL &&
			 transfer->looks < LOOKS - 1 && !is_about_asking(transfer->doubted))
		look_again(transfer);
	else if (failure->kind == CS_FAILURE_NONE && answer == NULL && transfer->refused)
		cs_order_failed(transfer, transfer->doubted, true);
	else if (is_about_asking(transfer->doubted))
		cs_order_try_again(transfer, transfer->doubted);
	else
		cs_order_doubted(transfer, transfer->doubted);
}

void
cs_record_looked_up(CsTransfer *transfer)
{
	const CsFailure *failure = cs_transfer_failure(transfer);
	const CsAccount *account = transfer->account;
	CsOrderAnswer answer;
	bool		found;

	found = failure->kind == CS_FAILURE_NONE &&
		cs_answer_order_of(account->api, "orders", cs_call_document(transfer->call),
						   account->server, transfer->external_id, &answer);
	if (transfer->doubted)
		settle(transfer, failure, found ? &answer : NULL);
	else if (found)
		cs_order_placed(transfer, &answer);
	else if (failure->kind == CS_FAILURE_NONE)
		cs_transfer_plan(cs_transfer_to_create(transfer));
	else
	{
		cs_order_attempted(transfer, failure);
		cs_count_failure();
		cs_order_try_again(transfer, failure);
	}
}
