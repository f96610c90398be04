/*
 * lookup.c
 *	  Finding orders, and what a person says about them.
 *
 * Who may see an order is decided by USAGE on its server, for the current
 * user, before the extension's owner reads the tables.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/shared/wake.h"

PG_FUNCTION_INFO_V1(cs_sql_origin);
PG_FUNCTION_INFO_V1(cs_sql_order);
PG_FUNCTION_INFO_V1(cs_sql_order_local);
PG_FUNCTION_INFO_V1(cs_sql_resolve_order);
PG_FUNCTION_INFO_V1(cs_sql_adopt_queue);

/*
 * System identifier, database, schema and instance: a dump restored elsewhere
 * has another identifier, one restored in this cluster and a copy made by
 * CREATE DATABASE have another database, one restored over this database makes
 * the schema anew, and a copied data directory has all these but not the
 * setting.
 */
Datum
cs_order_origin(void)
{
	return CStringGetTextDatum(psprintf(UINT64_FORMAT "/%u/%u/%s", GetSystemIdentifier(),
										MyDatabaseId, get_namespace_oid("cs_internal", true),
										cs_guc_instance ? cs_guc_instance : ""));
}

Datum
cs_sql_origin(PG_FUNCTION_ARGS)
{
	return cs_order_origin();
}

/*
 * 'wanted' and 'local_id' may be NULL: what the order may be known by.  An
 * order that the worker has just placed for a caller is found by that caller
 * also where its transaction's snapshot is older.
 */
static int64
find(const char *wanted, const int64 *local_id, const char *server, Oid *serverid)
{
	static CsStatement order_find = {
		"SELECT * FROM cs_internal.order_find($1, $2, $3, $4)", 4,
		{TEXTOID, INT8OID, TEXTOID, OIDOID}
	};
	CsStateScope scope;
	Datum		values[4];
	char		nulls[] = "    ";
	bool		isnull;
	int64		id;

	values[0] = wanted ? CStringGetTextDatum(wanted) : (Datum) 0;
	nulls[0] = wanted ? ' ' : 'n';
	values[1] = Int64GetDatum(local_id ? *local_id : 0);
	nulls[1] = local_id ? ' ' : 'n';
	values[2] = server ? CStringGetTextDatum(server) : (Datum) 0;
	nulls[2] = server ? ' ' : 'n';
	values[3] = ObjectIdGetDatum(GetUserId());
	cs_state_enter(&scope);
	cs_state_read_latest(&order_find, values, nulls);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	*serverid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2,
											   &isnull));
	cs_state_leave(&scope);
	return id;
}

int64
cs_order_find(const char *id, const char *server, Oid *serverid)
{
	size_t		length = strlen(id);
	bool		digits = length > 0 && length <= 18 && strspn(id, "0123456789") == length;

	int64		local_id = digits ? pg_strtoint64(id) : 0;

	if (server)
		cs_server_resolve(server);
	return find(id, digits ? &local_id : NULL, server, serverid);
}

int64
cs_order_find_local(int64 id, Oid *serverid)
{
	return find(NULL, &id, NULL, serverid);
}

Datum
cs_order_row(int64 id, bool latest)
{
	static CsStatement order_row = {
		"SELECT r FROM cs_internal.order_row($1) AS r", 1, {INT8OID}
	};
	CsStateScope scope;
	Datum		value = Int64GetDatum(id);
	uint64		nrows;
	Datum		row;
	bool		isnull;

	cs_state_enter(&scope);
	nrows = latest ? cs_state_read_latest(&order_row, &value, NULL) :
		cs_state_run(&order_row, &value, NULL);
	if (nrows == 0)
		ereport(ERROR,
				(errcode(cs_errcode_status(404)),
				 errmsg("order %lld does not exist", (long long) id)));
	row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	row = SPI_datumTransfer(row, false, -1);
	cs_state_leave(&scope);
	return row;
}

static const char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

int64
cs_order_argument(FunctionCallInfo fcinfo, int id, int server, Oid *serverid)
{
	if (PG_ARGISNULL(id))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the order's id must not be null")));
	if (PG_NARGS() <= server)
		return cs_order_find_local(PG_GETARG_INT64(id), serverid);
	return cs_order_find(text_argument(fcinfo, id), text_argument(fcinfo, server), serverid);
}

Datum
cs_sql_order(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfParallelMode("cs_order()");
	return cs_order_row(cs_order_argument(fcinfo, 0, 1, &serverid), true);
}

Datum
cs_sql_order_local(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfParallelMode("cs_order()");
	return cs_order_row(cs_order_find_local(PG_GETARG_INT64(0), &serverid), true);
}

/* cs_resolve_order(id, action, remote_id, server) */
Datum
cs_sql_resolve_order(PG_FUNCTION_ARGS)
{
	static CsStatement order_resolve = {
		"SELECT cs_internal.order_resolve($1, $2, $3, $4)", 4, {INT8OID, TEXTOID, TEXTOID, TEXTOID}
	};
	CsStateScope scope;
	Oid			serverid;
	int64		id;
	Datum		values[4];
	char		nulls[] = "    ";

	cs_require_preload();
	PreventCommandIfReadOnly("cs_resolve_order()");
	id = cs_order_argument(fcinfo, 0, 3, &serverid);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("action must not be null"),
				 errhint("Use placed, retry or failed.")));
	values[0] = Int64GetDatum(id);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	nulls[2] = PG_ARGISNULL(2) ? 'n' : ' ';
	values[3] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	cs_state_enter(&scope);
	cs_state_run(&order_resolve, values, nulls);
	cs_state_leave(&scope);
	cs_wake_at_commit();
	return cs_order_row(id, false);
}

Datum
cs_sql_adopt_queue(PG_FUNCTION_ARGS)
{
	static CsStatement adopt_queue = {"SELECT cs_internal.adopt_queue($1)", 1, {TEXTOID}};
	CsStateScope scope;
	Datum		value;
	bool		isnull;
	int64		adopted;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_adopt_queue()");
	value = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	cs_state_enter(&scope);
	cs_state_run(&adopt_queue, &value, NULL);
	adopted = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										  &isnull));
	cs_state_leave(&scope);
	cs_wake_at_commit();
	PG_RETURN_INT64(adopted);
}
