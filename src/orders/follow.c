/*
 * follow.c
 *	  Following placed orders: asking the partner, and recording its word.
 *
 * Where the API lists, the list is asked first (listing.c); what it leaves
 * open is asked for one by one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/base/guc.h"
#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/wire/datum.h"

#define ASK_CONCURRENCY 4		/* looks at one server's orders at once */
#define ROLE_AGAIN_MS 300000	/* whoever placed them is gone, or may not ask any more */

/* The order at the partner. */
typedef struct Look
{
	int64		order_id;
	Oid			serverid;
	const CsApi *api;
	char	   *role;
	char	   *remote_id;
} Look;

static bool
can_ask(const CsApi *api)
{
	return api->orders->get_path != NULL || api->orders->tracking_path != NULL;
}

static CsTransfer *
look_under_way(int64 order_id)
{
	CsTransfer *transfer = cs_transfer_of(CS_TRANSFER_GET, order_id);

	return transfer ? transfer : cs_transfer_of(CS_TRANSFER_TRACKING, order_id);
}

static void
plan_look(void *arg)
{
	Look	   *look = arg;
	bool		get = look->api->orders->get_path != NULL;
	CsTransfer *transfer;
	MemoryContext old;

	transfer = cs_transfer_new(get ? CS_TRANSFER_GET : CS_TRANSFER_TRACKING, look->serverid,
							   get_role_oid(look->role, false), look->order_id);
	old = MemoryContextSwitchTo(transfer->cxt);
	transfer->path = cs_path_expand(get ? look->api->orders->get_path :
									look->api->orders->tracking_path,
									"id", cs_utf8_from_server(look->remote_id), NULL);
	MemoryContextSwitchTo(old);
	cs_transfer_plan(transfer);
}

/* ms < 0: not again. */
static void
ask_later(int64 order_id, int64 ms)
{
	static CsStatement poll_later = {
		"SELECT cs_internal.order_poll_later($1, $2)", 2, {INT8OID, INTERVALOID}
	};
	Datum		values[2];

	values[0] = Int64GetDatum(order_id);
	values[1] = cs_work_interval(Max(ms, 0));
	cs_state_run(&poll_later, values, ms < 0 ? " n" : NULL);
}

/* Not yet, or never. */
static void
not_seen(int64 order_id)
{
	static CsStatement order_not_seen = {
		"SELECT cs_internal.order_not_seen($1)", 1, {INT8OID}
	};
	Datum		value = Int64GetDatum(order_id);

	cs_state_run(&order_not_seen, &value, NULL);
}

/* The payload is the local id. */
void
cs_take_follow(const CsHandoffRequest *request)
{
	static CsStatement knowledge = {
		"SELECT * FROM cs_internal.order_knowledge($1)", 1, {INT8OID}
	};
	Look		look = {pg_strtoint64(request->payload)};
	Datum		value = Int64GetDatum(look.order_id);
	bool		askable = false;
	bool		isnull;

	if (cs_state_run(&knowledge, &value, NULL) == 1)
	{
		look.api = cs_work_api(cs_work_column_text(SPI_tuptable, 0, 1), &look.serverid);
		look.remote_id = cs_work_column_text(SPI_tuptable, 0, 3);
		look.role = cs_work_column_text(SPI_tuptable, 0, 4);
		askable = DatumGetBool(cs_work_column(SPI_tuptable, 0, 6, &isnull)) &&
			look.api != NULL && can_ask(look.api);
	}
	if (askable && look_under_way(look.order_id) == NULL)
		plan_look(&look);
	cs_waiter_add(request, look.order_id);
	if (!askable)
		cs_waiters_answer(CS_HANDOFF_FOLLOW, look.order_id, NULL);
}

/* ---- planning what is due ---- */

/* One by one, the oldest knowledge first. */
static void
ask_singly(const CsApi *api, Oid serverid, const char *server)
{
	static CsStatement orders_to_ask = {
		"SELECT * FROM cs_internal.orders_to_ask($1, $2)", 2, {TEXTOID, INT4OID}
	};
	int			under_way = cs_transfers_of_server(serverid, false);
	Datum		values[2];
	uint64		nrows;
	SPITupleTable *rows;

	values[0] = CStringGetTextDatum(server);
	values[1] = Int32GetDatum(ASK_CONCURRENCY + under_way);
	nrows = cs_state_run(&orders_to_ask, values, NULL);
	rows = SPI_tuptable;
	for (uint64 row = 0; row < nrows && under_way < ASK_CONCURRENCY; row++)
	{
		Look		look = {0};
		CsFailure	failure;
		bool		isnull;

		look.order_id = DatumGetInt64(cs_work_column(rows, row, 1, &isnull));
		if (look_under_way(look.order_id))
			continue;
		look.serverid = serverid;
		look.api = api;
		look.remote_id = cs_work_column_text(rows, row, 2);
		look.role = cs_work_column_text(rows, row, 3);
		if (cs_work_part(plan_look, &look, &failure))
			under_way++;
		else
			ask_later(look.order_id, CS_ASK_AGAIN_MS);
	}
}

/* Whoever placed an order is to ask for it. */
typedef struct Asker
{
	Oid			serverid;
	const char *role;
	Oid			userid;
} Asker;

/* A part: throws if the role, its mapping or its right to use the server is gone. */
static void
try_asker(void *arg)
{
	Asker	   *asker = arg;

	asker->userid = get_role_oid(asker->role, false);
	(void) cs_account_get(CurrentMemoryContext, asker->serverid, asker->userid);
}

/* Nobody can ask for the role's orders; false if none was due. */
static bool
ask_role_later(const char *server, const char *role, const CsFailure *failure)
{
	static CsStatement poll_later = {
		"SELECT cs_internal.orders_poll_later($1, $2, $3)", 3, {TEXTOID, INTERVALOID, TEXTOID}
	};
	Datum		values[3];
	bool		isnull;

	ereport(LOG,
			(errcode(failure->sqlstate),
			 errmsg("could not follow the orders of role \"%s\" on server \"%s\": %s", role, server,
					failure->message)));
	cs_count_failure();
	values[0] = CStringGetTextDatum(server);
	values[1] = cs_work_interval(ROLE_AGAIN_MS);
	values[2] = CStringGetTextDatum(role);
	cs_state_run(&poll_later, values, NULL);
	return DatumGetInt64(cs_work_column(SPI_tuptable, 0, 1, &isnull)) > 0;
}

/*
 * Whoever placed the order that has waited longest asks for the list.  Who
 * cannot ask keeps nobody else's orders waiting.  InvalidOid: none is due.
 */
static Oid
find_asker(Oid serverid, const char *server)
{
	static CsStatement orders_to_ask = {
		"SELECT * FROM cs_internal.orders_to_ask($1, $2)", 2, {TEXTOID, INT4OID}
	};
	Asker		asker = {serverid};
	CsFailure	failure;

	do
	{
		Datum		values[2];

		values[0] = CStringGetTextDatum(server);
		values[1] = Int32GetDatum(1);
		if (cs_state_run(&orders_to_ask, values, NULL) == 0)
			return InvalidOid;
		asker.role = cs_work_column_text(SPI_tuptable, 0, 3);
		if (cs_work_part(try_asker, &asker, &failure))
			return asker.userid;
	} while (ask_role_later(server, asker.role, &failure));
	return InvalidOid;
}

void
cs_follow_orders(void)
{
	static CsStatement servers_to_ask = {"SELECT * FROM cs_internal.servers_to_ask()", 0};
	TimestampTz now = GetCurrentTimestamp();
	uint64		nservers = cs_state_run(&servers_to_ask, NULL, NULL);
	SPITupleTable *servers = SPI_tuptable;

	cs_list_look_begins();
	for (uint64 row = 0; row < nservers; row++)
	{
		bool		isnull;
		Oid			serverid = DatumGetObjectId(cs_work_column(servers, row, 1, &isnull));
		char	   *server = cs_work_column_text(servers, row, 2);
		TimestampTz since = DatumGetTimestampTz(cs_work_column(servers, row, 3, &isnull));
		int64		due = DatumGetInt64(cs_work_column(servers, row, 4, &isnull));
		const CsApi *api = cs_work_api(server, &serverid);
		int64		unlisted = cs_list_wanted(serverid, server, due);
		Oid			userid;

		if (api == NULL || !can_ask(api) || cs_transfer_list_of(serverid))
			continue;
		userid = find_asker(serverid, server);
		if (!OidIsValid(userid))
			continue;
		if (unlisted >= 2 && cs_api_resource(api, "listed"))
			cs_list_plan(serverid, userid, since, now, due);
		else
			ask_singly(api, serverid, server);
	}
	cs_list_look_ended();
}

/* ---- recording ---- */

static bool
is_stopped(const char *state)
{
	return state && (strcmp(state, "rejected") == 0 || strcmp(state, "cancelled") == 0);
}

/*
 * How far the order has come by the types of its events, first to last; after
 * a rejection or cancellation it may have gone on.  Of a parcel's events only
 * its shipment is one of the order's.  By the document nothing stops an order
 * that was approved, so if 'state', the partner's word for it, is beyond that,
 * no event says so.
 */
static const char *
state_by_history(const CsApi *api, const CsAnswerColumn *types, const CsAnswerColumn *shipment_ids,
				 const char *state)
{
	bool		may_stop = state == NULL || strcmp(state, "placed") == 0;
	const char *reached = NULL;
	int			n;
	const char **states = cs_answer_states(api, types, &n);
	Datum	   *ids;
	bool	   *of_order;

	deconstruct_array(DatumGetArrayTypeP(shipment_ids->array), TEXTOID, -1, false, TYPALIGN_INT,
					  &ids, &of_order, &n);
	for (int i = 0; i < n; i++)
	{
		if (states[i] == NULL || (is_stopped(states[i]) && !may_stop) ||
			(!of_order[i] && strcmp(states[i], "shipped") != 0))
			continue;
		reached = is_stopped(reached) ? states[i] : cs_api_further_state(reached, states[i]);
	}
	return reached;
}

/*
 * Returns the state by them, or NULL; 'state' is what the partner calls the
 * order.  An event without a type tells nothing.
 */
static const char *
record_events(const CsTransfer *transfer, const char *state)
{
	static CsStatement remote_events = {
		"SELECT cs_internal.order_remote_events($1, $3, $2, $4, $5, $6)", 6,
		{INT8OID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID}
	};
	const CsApi *api = transfer->account->api;
	CsAnswerColumn columns[] = {
		{"type", TEXTOID}, {"at", TIMESTAMPTZOID}, {"by", TEXTOID}, {"shipment_id", TEXTOID},
		{"raw", JSONBOID}
	};
	Datum		values[1 + lengthof(columns)];

	if (cs_answer_list(api, "events", cs_call_document(transfer->call),
					   transfer->account->server, columns, lengthof(columns), 1) <= 0)
		return NULL;
	values[0] = Int64GetDatum(transfer->order_id);
	for (int i = 0; i < (int) lengthof(columns); i++)
		values[1 + i] = columns[i].array;
	cs_state_run(&remote_events, values, NULL);
	return state_by_history(api, &columns[0], &columns[3], state);
}

/* What the answer has beside what all answers about orders have. */
typedef struct Beside
{
	const char *state;			/* by the partner's other word for the order, and its parcels */
	Datum		id;				/* what else it calls it: text, or 0 */
} Beside;

static Beside
read_beside(const CsTransfer *transfer)
{
	const CsApi *api = transfer->account->api;
	const CsJson *document = cs_call_document(transfer->call);
	const char *server = transfer->account->server;
	CsAnswerColumn columns[] = {{"other_id", TEXTOID}};
	Beside		beside = {NULL, 0};
	const char **states;
	Datum	   *ids;
	bool	   *nulls;
	int			n;

	states = cs_order_shown_states(api, "order", document, server, &n);
	if (states == NULL ||
		cs_answer_list(api, "order", document, server, columns, lengthof(columns), 0) <= 0)
		return beside;
	beside.state = states[0];
	deconstruct_array(DatumGetArrayTypeP(columns[0].array), TEXTOID, -1, false, TYPALIGN_INT,
					  &ids, &nulls, &n);
	if (!nulls[0])
		beside.id = ids[0];
	return beside;
}

void
cs_record_followed(CsTransfer *transfer)
{
	static CsStatement order_followed = {
		"SELECT cs_internal.order_followed($1, $2, ROW($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
		"$14, $15, $16, $17, $18, $19)::cs_internal.remote_order, $20, $21, $22, $23)",
		6 + CS_ANSWER_COLUMNS,
		{INT8OID, TEXTOID, CS_ANSWER_TYPES, JSONBOID, INTERVALOID, TEXTOID, TIMESTAMPTZOID}
	};
	const CsAccount *account = transfer->account;
	const CsFailure *failure = cs_transfer_failure(transfer);
	CsOrderAnswer answer;
	Beside		beside = {NULL, 0};
	Datum		values[6 + CS_ANSWER_COLUMNS];
	char		nulls[6 + CS_ANSWER_COLUMNS + 1];

	if (failure->kind != CS_FAILURE_NONE)
	{
		cs_record_not_followed(transfer, failure);
		return;
	}
	if (transfer->kind == CS_TRANSFER_TRACKING)
		cs_answer_tracking(transfer, &answer);
	else if (!cs_answer_order(account->api, "order", cs_answer_shown(transfer),
							  account->server, &answer))
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer of server \"%s\" does not show the order", account->server)));
	cs_record_parcels(transfer);
	if (transfer->kind == CS_TRANSFER_GET)
	{
		const char *by_history = record_events(transfer, answer.state);

		beside = read_beside(transfer);
		answer.state = cs_api_further_state(answer.state, beside.state);
		answer.state = cs_api_further_state(answer.state, by_history);
	}

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(transfer->order_id);
	values[1] = cs_work_text(answer.state, &nulls[1]);
	memcpy(values + 2, answer.values, sizeof(answer.values));
	memcpy(nulls + 2, answer.nulls, sizeof(answer.nulls));
	values[2 + CS_ANSWER_COLUMNS] = cs_answer_raw(cs_call_document(transfer->call),
												  &nulls[2 + CS_ANSWER_COLUMNS]);
	values[3 + CS_ANSWER_COLUMNS] = cs_work_interval(account->poll_interval_s * INT64CONST(1000));
	values[4 + CS_ANSWER_COLUMNS] = beside.id;
	nulls[4 + CS_ANSWER_COLUMNS] = beside.id ? ' ' : 'n';
	values[5 + CS_ANSWER_COLUMNS] = TimestampTzGetDatum(cs_transfer_asked_at(transfer));
	cs_state_run(&order_followed, values, nulls);
	cs_list_asked_singly(transfer, NULL);
	cs_waiters_answer(CS_HANDOFF_FOLLOW, transfer->order_id, NULL);
}

/* Asked in vain: again, ever more rarely, and the order tells why. */
static void
record_in_vain(const CsTransfer *transfer, const CsFailure *failure)
{
	static CsStatement order_not_followed = {
		"SELECT cs_internal.order_not_followed($1, $2, ROW($3, $4, $5, $6, $7)::cs_internal.order_error)",
		2 + CS_ERROR_ARGS, {INT8OID, INTERVALOID, CS_ERROR_TYPES}
	};
	const CsAccount *account = transfer->account;
	int64		after = Max(CS_ASK_AGAIN_MS, account->poll_interval_s * INT64CONST(1000));
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "  ";

	ereport(LOG,
			(errcode(failure->sqlstate),
			 errmsg("could not follow order %lld on server \"%s\": %s",
					(long long) transfer->order_id, account->server, failure->message)));
	values[0] = Int64GetDatum(transfer->order_id);
	values[1] = cs_work_interval(Max(after, failure->retry_after_ms));
	cs_work_error(failure, values + 2, nulls + 2);
	cs_state_run(&order_not_followed, values, nulls);
}

void
cs_record_not_followed(CsTransfer *transfer, const CsFailure *failure)
{
	const CsAccount *account = transfer->account;
	int			status = cs_transfer_status(transfer);

	/* An endpoint that no document promises: what is known stands. */
	if (transfer->kind == CS_TRANSFER_GET && !account->api->orders->get_documented &&
		(status == 404 || status == 405))
	{
		if (status == 404)
			not_seen(transfer->order_id);
		else
			ask_later(transfer->order_id, -1);
		cs_waiters_answer(CS_HANDOFF_FOLLOW, transfer->order_id, NULL);
		return;
	}
	cs_count_failure();
	cs_list_asked_singly(transfer, failure);
	record_in_vain(transfer, failure);
	cs_waiters_answer(CS_HANDOFF_FOLLOW, transfer->order_id, failure);
}
