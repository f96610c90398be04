/*
 * listing.c
 *	  Following placed orders by the partner's list.
 *
 * One request answers for a hundred orders, and only those that the list shows
 * changed are asked for one by one, because only their own answer has events
 * and shipments.  A list costs nothing but requests, so it is used from two due
 * orders on, and given up when its pages become more than the orders that are
 * wanted.  What became due since a list was read has a list of its own.
 *
 * A row that cannot be read is passed over, and a list that cannot be read
 * counts as one that shows nothing: the orders are asked for one by one.  So
 * does a list that fails as all of a partner may: the first orders that are
 * asked for tell whether it is the list alone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/wire/datum.h"

#define CLOCK_MARGIN_S 60		/* the partner's clock may be behind ours */

/* A server whose list has been read, for the orders that were due by then. */
typedef struct Listed
{
	Oid			serverid;
	TimestampTz due_by;
	bool		orders_left;	/* found by the present look */
	bool		in_doubt;		/* it failed, and no order was had since */
} Listed;

static List *listed_servers = NIL;	/* of Listed */

static Listed *
listed_server(Oid serverid)
{
	ListCell   *cell;

	foreach(cell, listed_servers)
	{
		Listed	   *listed = lfirst(cell);

		if (listed->serverid == serverid)
			return listed;
	}
	return NULL;
}

static Listed *
remember_listed(Oid serverid, TimestampTz due_by)
{
	Listed	   *listed = listed_server(serverid);

	if (listed == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		listed = palloc0(sizeof(Listed));
		listed->serverid = serverid;
		listed_servers = lappend(listed_servers, listed);
		MemoryContextSwitchTo(old);
	}
	listed->due_by = due_by;
	listed->in_doubt = false;
	return listed;
}

static void
forget_listed(Listed *listed)
{
	listed_servers = list_delete_ptr(listed_servers, listed);
	pfree(listed);
}

void
cs_list_look_begins(void)
{
	ListCell   *cell;

	foreach(cell, listed_servers)
		((Listed *) lfirst(cell))->orders_left = false;
}

/* A server with nothing left begins with its list the next time. */
void
cs_list_look_ended(void)
{
	for (int i = list_length(listed_servers) - 1; i >= 0; i--)
	{
		Listed	   *listed = list_nth(listed_servers, i);

		if (listed->orders_left)
			continue;
		forget_listed(listed);
	}
}

int64
cs_list_wanted(Oid serverid, const char *server, int64 due)
{
	static CsStatement due_after = {
		"SELECT cs_internal.orders_due_after($1, $2)", 2, {TEXTOID, TIMESTAMPTZOID}
	};
	Listed	   *listed = listed_server(serverid);
	Datum		values[2];
	bool		isnull;

	if (listed == NULL)
		return due;
	listed->orders_left = true;
	if (due < 2)
		return 0;
	values[0] = CStringGetTextDatum(server);
	values[1] = TimestampTzGetDatum(listed->due_by);
	cs_state_run(&due_after, values, NULL);
	return DatumGetInt64(cs_work_column(SPI_tuptable, 0, 1, &isnull));
}

/* ---- planning ---- */

static void
plan_page(Oid serverid, Oid userid, TimestampTz since, TimestampTz due_by, int64 page, int64 wanted)
{
	CsTransfer *transfer = cs_transfer_new(CS_TRANSFER_LIST, serverid, userid, 0);
	const CsResource *orders = cs_api_resource(transfer->account->api, "orders");
	StringInfoData path;
	MemoryContext old = MemoryContextSwitchTo(transfer->cxt);

	initStringInfo(&path);
	appendStringInfo(&path, "%s?%s=%lld", orders->path, orders->page_param, (long long) page);
	if (orders->size_param)
		appendStringInfo(&path, "&%s=%d", orders->size_param, orders->page_size);
	for (const CsFilter *filter = orders->filters; filter->name; filter++)
		if (strcmp(filter->name, "since") == 0)
			appendStringInfo(&path, "&%s=%s", filter->param, cs_http_escape(cs_answer_iso_time(since)));
	transfer->path = path.data;
	transfer->since = since;
	transfer->due_by = due_by;
	transfer->page = page;
	transfer->wanted = wanted;
	MemoryContextSwitchTo(old);
	cs_transfer_plan(transfer);
}

void
cs_list_plan(Oid serverid, Oid userid, TimestampTz since, TimestampTz due_by, int64 wanted)
{
	plan_page(serverid, userid, Max(since - CLOCK_MARGIN_S * USECS_PER_SEC, CS_ISO_TIME_FIRST),
			  due_by, 1, wanted);
}

/* ---- recording ---- */

static void
ask_server_later(const char *server, int64 ms)
{
	static CsStatement poll_later = {
		"SELECT cs_internal.orders_poll_later($1, $2)", 2, {TEXTOID, INTERVALOID}
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(server);
	values[1] = cs_work_interval(ms);
	cs_state_run(&poll_later, values, NULL);
}

/* Was the list answered, and would be answered the same again? */
static bool
is_useless(const CsTransfer *transfer, const CsFailure *failure)
{
	int			status = cs_transfer_status(transfer);

	if (failure->kind == CS_FAILURE_REFUSED)
		return status == 400 || status == 404 || status == 405;
	return failure->kind == CS_FAILURE_MALFORMED || failure->kind == CS_FAILURE_TOO_LARGE;
}

/* Or did it fail as everything of a partner may fail for a while? */
static bool
is_outage(const CsFailure *failure)
{
	if (failure->kind == CS_FAILURE_REFUSED)
		return failure->status >= 500 && failure->retry_after_ms < 0;
	return failure->kind == CS_FAILURE_TIMEOUT || failure->kind == CS_FAILURE_CONNECTION_LOST;
}

static void
put_off(const CsAccount *account, const CsFailure *failure)
{
	int64		after = Max(CS_ASK_AGAIN_MS, account->poll_interval_s * INT64CONST(1000));

	ask_server_later(account->server, Max(after, failure->retry_after_ms));
}

void
cs_record_not_listed(const CsTransfer *transfer, const CsFailure *failure)
{
	const CsAccount *account = transfer->account;

	cs_count_failure();
	if (!is_useless(transfer, failure) && !is_outage(failure))
	{
		put_off(account, failure);
		return;
	}
	ereport(LOG,
			(errcode(failure->sqlstate),
			 errmsg("could not follow orders by the list of server \"%s\": %s", account->server,
					failure->message)));
	remember_listed(account->serverid, transfer->due_by)->in_doubt = is_outage(failure);
}

void
cs_list_asked_singly(const CsTransfer *transfer, const CsFailure *failure)
{
	Listed	   *listed = listed_server(transfer->account->serverid);

	if (listed == NULL || !listed->in_doubt)
		return;
	if (failure && (is_outage(failure) || failure->delivery == CS_DELIVERY_NOT_SENT))
	{
		put_off(transfer->account, failure);
		forget_listed(listed);
	}
	else
		listed->in_doubt = false;
}

/* Are there pages after this one, and are they worth it? */
static bool
list_goes_on(const CsTransfer *transfer, const CsResource *orders)
{
	const CsJson *document = cs_call_document(transfer->call);
	bool		more;

	return transfer->page < transfer->wanted && orders->has_more_paths != NULL &&
		cs_json_boolean(cs_json_find(document, orders->has_more_paths), &more) && more;
}

/* What each row says of the state of its order, by either word; text[]. */
static Datum
listed_states(const CsApi *api, const CsAnswerColumn *statuses, const CsAnswerColumn *shown)
{
	int			n;
	const char **states = cs_answer_states(api, statuses, &n);
	const char **others = cs_answer_states(api, shown, &n);
	ArrayBuildState *array = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	for (int i = 0; i < n; i++)
	{
		const char *state = cs_api_further_state(states[i], others[i]);

		array = accumArrayResult(array, state ? CStringGetTextDatum(state) : (Datum) 0,
								 state == NULL, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(array, CurrentMemoryContext);
}

void
cs_record_listed(CsTransfer *transfer)
{
	static CsStatement orders_listed = {
		"SELECT cs_internal.orders_listed($1, $2, $3, $4, $5, $6)", 6,
		{TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, INTERVALOID}
	};
	const CsAccount *account = transfer->account;
	const CsFailure *failure = cs_transfer_failure(transfer);
	CsAnswerColumn columns[] = {
		{"remote_id", TEXTOID}, {"remote_status", TEXTOID}, {"shown_status", TEXTOID},
		{"last_shipped_at", TIMESTAMPTZOID}
	};
	Datum		values[6];
	int			rows;

	if (failure->kind != CS_FAILURE_NONE)
	{
		cs_record_not_listed(transfer, failure);
		return;
	}
	rows = cs_answer_list(account->api, "listed", cs_call_document(transfer->call), account->server,
						  columns, lengthof(columns), 1);
	values[0] = CStringGetTextDatum(account->server);
	for (int i = 0; i < (int) lengthof(columns); i++)
		values[1 + i] = columns[i].array;
	values[3] = listed_states(account->api, &columns[1], &columns[2]);
	values[5] = cs_work_interval(account->poll_interval_s * INT64CONST(1000));
	cs_state_run(&orders_listed, values, NULL);

	if (rows > 0 && list_goes_on(transfer, cs_api_resource(account->api, "orders")))
		plan_page(account->serverid, account->userid, transfer->since, transfer->due_by,
				  transfer->page + 1, transfer->wanted);
	else
		(void) remember_listed(account->serverid, transfer->due_by);
}
