/*
 * resume.c
 *	  cs_resume(): the owner of a server knows that its partner is there again.
 *
 * What waits for a time, waits for it because of what the partner said, or
 * because it did not answer: orders and cancellations for their next try, and
 * the whole account after a 429.  Neither ends early by itself.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/base/compat.h"
#include "src/base/state.h"
#include "src/client/account.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/shared/limiter.h"
#include "src/shared/wake.h"

PG_FUNCTION_INFO_V1(cs_sql_resume);

/* An account: a server, and whose mapping is used. */
typedef struct Mapped
{
	Oid			serverid;
	Oid			userid;
} Mapped;

/* A part: whose mapping is missing has no pause either. */
static void
end_pause(void *arg)
{
	const Mapped *mapped = arg;

	cs_limiter_resume(cs_account_get(CurrentMemoryContext, mapped->serverid,
									 mapped->userid)->shared);
}

static void
end_pause_of(Oid serverid, Oid userid)
{
	Mapped		mapped = {serverid, userid};
	CsFailure	failure;

	if (OidIsValid(userid))
		(void) cs_work_part(end_pause, &mapped, &failure);
}

/* The orders are due at commit; returns how many. */
static int64
make_due(const char *server)
{
	static CsStatement orders_resume = {
		"SELECT cs_internal.orders_resume($1)", 1, {TEXTOID}
	};
	Datum		value = CStringGetTextDatum(server);
	bool		isnull;

	cs_state_run(&orders_resume, &value, NULL);
	return DatumGetInt64(cs_work_column(SPI_tuptable, 0, 1, &isnull));
}

/* The accounts of those who wait, and the caller's. */
static void
end_pauses(Oid serverid, const char *server, Oid caller)
{
	static CsStatement roles_waiting = {
		"SELECT * FROM cs_internal.roles_waiting($1)", 1, {TEXTOID}
	};
	Datum		value = CStringGetTextDatum(server);
	uint64		nrows = cs_state_run(&roles_waiting, &value, NULL);
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 row = 0; row < nrows; row++)
		end_pause_of(serverid, get_role_oid(cs_work_column_text(rows, row, 1), true));
	end_pause_of(serverid, caller);
}

/* cs_resume(server) */
Datum
cs_sql_resume(PG_FUNCTION_ARGS)
{
	CsStateScope scope;
	Oid			caller = GetUserId();
	Oid			serverid;
	char	   *server;
	int64		count;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_resume()");
	PreventCommandIfParallelMode("cs_resume()");
	serverid = cs_server_resolve(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	server = GetForeignServer(serverid)->servername;
	if (!CS_OWNS_SERVER(serverid, caller))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FOREIGN_SERVER, server);
	cs_state_enter(&scope);
	count = make_due(server);
	end_pauses(serverid, server, caller);
	cs_state_leave(&scope);
	cs_wake_at_commit();
	PG_RETURN_INT64(count);
}
