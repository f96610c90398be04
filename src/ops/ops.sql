/*
 * ops.sql
 *	  What a DBA looks at: requests and processes, from shared memory.
 *
 * Nothing here writes or waits, and all of it works on a standby.  The
 * functions in cs_internal give every row; the views say who sees which.
 * They keep EXECUTE for PUBLIC, because a view's functions are called with the
 * rights of its user; nobody can name them without USAGE on the schema.
 */

CREATE FUNCTION cs_internal.stat_requests(
  OUT server pg_catalog.text,
  OUT endpoint pg_catalog.text,
  OUT calls pg_catalog.int8,
  OUT retries pg_catalog.int8,
  OUT connections pg_catalog.int8,
  OUT refused_4xx pg_catalog.int8,
  OUT rate_limited_429 pg_catalog.int8,
  OUT refused_5xx pg_catalog.int8,
  OUT not_sent pg_catalog.int8,
  OUT timeouts pg_catalog.int8,
  OUT malformed pg_catalog.int8,
  OUT other_failures pg_catalog.int8,
  OUT bytes_sent pg_catalog.int8,
  OUT bytes_received pg_catalog.int8,
  OUT total_ms pg_catalog.float8,
  OUT min_ms pg_catalog.float8,
  OUT max_ms pg_catalog.float8,
  OUT limiter_ms pg_catalog.float8,
  OUT first_at pg_catalog.timestamptz,
  OUT last_at pg_catalog.timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 50
AS 'MODULE_PATHNAME', 'cs_sql_stat_requests';
COMMENT ON FUNCTION cs_internal.stat_requests() IS
'The counters behind the view cs_stat_requests, for all servers of this database.';

CREATE VIEW @extschema@.cs_stat_requests WITH (security_barrier) AS
  SELECT s.server, s.endpoint, s.calls,
         s.refused_4xx OPERATOR(pg_catalog.+) s.rate_limited_429
           OPERATOR(pg_catalog.+) s.refused_5xx OPERATOR(pg_catalog.+) s.not_sent
           OPERATOR(pg_catalog.+) s.timeouts OPERATOR(pg_catalog.+) s.malformed
           OPERATOR(pg_catalog.+) s.other_failures AS errors,
         s.refused_4xx, s.rate_limited_429, s.refused_5xx, s.not_sent, s.timeouts, s.malformed,
         s.other_failures, s.retries, s.connections, s.bytes_sent, s.bytes_received,
         s.total_ms, s.min_ms, s.max_ms,
         s.total_ms OPERATOR(pg_catalog./) s.calls::pg_catalog.float8 AS mean_ms,
         s.limiter_ms, s.first_at, s.last_at
    FROM cs_internal.stat_requests() AS s
   WHERE pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
      OR EXISTS (SELECT FROM cs_internal.visible_servers AS v
                  WHERE v.server OPERATOR(pg_catalog.=) s.server);
COMMENT ON VIEW @extschema@.cs_stat_requests IS
'Requests since the first start of the server, its last crash or cs_stat_reset(), one row per server and endpoint of this database. '
'Shows the servers on which the user has USAGE, and all to members of pg_read_all_stats.';
GRANT SELECT ON @extschema@.cs_stat_requests TO PUBLIC;

-- Whose figures a role may see: of servers that it may use, or of all.
CREATE VIEW cs_internal.monitored_servers WITH (security_barrier) AS
  SELECT s.oid AS serverid, s.srvname::pg_catalog.text AS server, s.srvoptions AS options
    FROM pg_catalog.pg_foreign_server AS s
    JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
   WHERE w.fdwname OPERATOR(pg_catalog.=) 'cupsource'
     AND (pg_catalog.has_server_privilege(s.oid, 'USAGE')
          OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'));
COMMENT ON VIEW cs_internal.monitored_servers IS
'The partner accounts whose figures the current user may see: those with USAGE, and all for members of pg_read_all_stats.';
REVOKE ALL ON cs_internal.monitored_servers FROM PUBLIC;

CREATE FUNCTION cs_internal.stat_accounts(
  OUT server pg_catalog.text,
  OUT account pg_catalog.text,
  OUT rate_limit pg_catalog.int4,
  OUT used pg_catalog.int4,
  OUT waiting pg_catalog.int4,
  OUT paused_ms pg_catalog.int4,
  OUT token_obtained_at pg_catalog.timestamptz,
  OUT token_expires_at pg_catalog.timestamptz,
  OUT clock_skew_ms pg_catalog.float8,
  OUT last_at pg_catalog.timestamptz,
  OUT answered_at pg_catalog.timestamptz,
  OUT failed_at pg_catalog.timestamptz,
  OUT failures_in_a_row pg_catalog.int4,
  OUT unauthorized_at pg_catalog.timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cs_sql_stat_accounts';
COMMENT ON FUNCTION cs_internal.stat_accounts() IS
'The accounts behind the view cs_stat_accounts, for all servers of this database.';

CREATE VIEW @extschema@.cs_stat_accounts WITH (security_barrier) AS
  SELECT a.server, a.account, a.rate_limit, a.used, a.waiting, a.paused_ms, a.token_obtained_at,
         a.token_expires_at, a.clock_skew_ms, a.last_at, a.answered_at, a.failed_at,
         a.failures_in_a_row, a.unauthorized_at
    FROM cs_internal.stat_accounts() AS a
    JOIN cs_internal.monitored_servers AS m ON m.server OPERATOR(pg_catalog.=) a.server;
COMMENT ON VIEW @extschema@.cs_stat_accounts IS
'Accounts that this database has used since the start of the server: one row per server and key. '
'What went wrong with other options than the server and the mapping have now is forgotten. Visible as cs_stat_requests is.';
GRANT SELECT ON @extschema@.cs_stat_accounts TO PUBLIC;

CREATE FUNCTION @extschema@.cs_stat_reset() RETURNS pg_catalog.void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_stat_reset';
COMMENT ON FUNCTION @extschema@.cs_stat_reset() IS
'Sets the statistics of this database''s requests (cs_stat_requests) back to nothing. Not granted to PUBLIC.';
REVOKE ALL ON FUNCTION @extschema@.cs_stat_reset() FROM PUBLIC;

CREATE FUNCTION cs_internal.stat_workers(
  OUT database_id pg_catalog.oid,
  OUT pid pg_catalog.int4,
  OUT started_at pg_catalog.timestamptz,
  OUT due_at pg_catalog.timestamptz,
  OUT in_flight pg_catalog.int4,
  OUT orders_sent pg_catalog.int8,
  OUT failures pg_catalog.int8,
  OUT activity pg_catalog.text,
  OUT drain_since pg_catalog.timestamptz,
  OUT drain_sent pg_catalog.int8)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cs_sql_stat_workers';
COMMENT ON FUNCTION cs_internal.stat_workers() IS
'The processes behind the view cs_stat_workers, for all databases.';

CREATE VIEW @extschema@.cs_stat_workers WITH (security_barrier) AS
  SELECT CASE WHEN w.database_id IS NULL THEN 'launcher' ELSE 'worker' END AS process,
         d.datname::pg_catalog.text AS database,
         w.pid, w.started_at, w.due_at, w.in_flight, w.orders_sent, w.failures, w.activity
    FROM cs_internal.stat_workers() AS w
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) w.database_id
   WHERE w.database_id IS NULL
      OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');
COMMENT ON VIEW @extschema@.cs_stat_workers IS
'The processes of cupsource: the launcher, and the worker of each database that has, or may come to have, something to send. '
'Shows the launcher and this database, and all databases to members of pg_read_all_stats.';
GRANT SELECT ON @extschema@.cs_stat_workers TO PUBLIC;
