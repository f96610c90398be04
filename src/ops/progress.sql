/*
 * progress.sql
 *	  What runs now, how far it is, and how long it will take.
 */

CREATE VIEW @extschema@.cs_progress WITH (security_barrier) AS
  WITH refreshes AS (
    SELECT v.server, r.phase, k.pid, r.since_at, r.rows_done, r.rows_total, r.waited_ms,
           pg_catalog.date_part('epoch', pg_catalog.now() OPERATOR(pg_catalog.-) r.since_at) AS seconds,
           r.rows_done OPERATOR(pg_catalog.-) r.since_rows AS rows_since
      FROM cs_internal.visible_servers AS v
      JOIN pg_catalog.pg_foreign_server AS s ON s.srvname::pg_catalog.text OPERATOR(pg_catalog.=) v.server
      JOIN cs_internal.refresh_locks AS k ON k.serverid OPERATOR(pg_catalog.=) s.oid
      JOIN cs_internal.catalog_runs AS r ON r.server OPERATOR(pg_catalog.=) v.server
     WHERE r.state OPERATOR(pg_catalog.=) 'running'
  ), waiting AS (
    SELECT pg_catalog.sum(q.due)::pg_catalog.int8 AS due, pg_catalog.sum(q.sending)::pg_catalog.int8 AS sending
      FROM cs_internal.visible_servers AS v
     CROSS JOIN LATERAL (
       SELECT pg_catalog.count(*) FILTER (WHERE o.state OPERATOR(pg_catalog.=) 'queued'
                AND o.next_attempt_at OPERATOR(pg_catalog.<=) pg_catalog.now()) AS due,
              pg_catalog.count(*) FILTER (WHERE o.state OPERATOR(pg_catalog.=) 'sending') AS sending
         FROM cs_internal.orders AS o
        WHERE o.server OPERATOR(pg_catalog.=) v.server AND o.next_attempt_at IS NOT NULL
          AND o.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'sending'])) AS q
  ), drain AS (
    SELECT w.pid, w.drain_since, q.due OPERATOR(pg_catalog.+) q.sending AS rest,
           GREATEST(w.drain_sent OPERATOR(pg_catalog.-) q.sending, 0) AS done,
           pg_catalog.date_part('epoch', pg_catalog.now() OPERATOR(pg_catalog.-) w.drain_since) AS seconds
      FROM waiting AS q
      LEFT JOIN cs_internal.stat_workers() AS w ON w.database_id OPERATOR(pg_catalog.=) (
             SELECT d.oid FROM pg_catalog.pg_database AS d
              WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
     WHERE q.due OPERATOR(pg_catalog.+) q.sending OPERATOR(pg_catalog.>) 0
  )
  SELECT 'refresh' AS activity, p.server, p.phase, p.pid, p.since_at AS since, p.rows_done AS done, p.rows_total AS total,
         n.rate,
         (p.waited_ms OPERATOR(pg_catalog.*) interval '1 millisecond') AS waited,
         (GREATEST(p.rows_total OPERATOR(pg_catalog.-) p.rows_done, 0)::pg_catalog.float8
           OPERATOR(pg_catalog./) NULLIF(n.rate, 0)::pg_catalog.float8) OPERATOR(pg_catalog.*) interval '1 second' AS time_left
    FROM refreshes AS p
   CROSS JOIN LATERAL (
     SELECT pg_catalog.round((p.rows_since::pg_catalog.float8
              OPERATOR(pg_catalog./) NULLIF(p.seconds, 0))::pg_catalog.numeric, 2) AS rate) AS n
   UNION ALL
  SELECT 'orders', NULL, NULL, p.pid, p.drain_since, p.done, p.done OPERATOR(pg_catalog.+) p.rest, n.rate, NULL,
         (p.rest::pg_catalog.float8 OPERATOR(pg_catalog./) NULLIF(n.rate, 0)::pg_catalog.float8)
           OPERATOR(pg_catalog.*) interval '1 second'
    FROM drain AS p
   CROSS JOIN LATERAL (
     SELECT pg_catalog.round((p.done::pg_catalog.float8
              OPERATOR(pg_catalog./) NULLIF(p.seconds, 0))::pg_catalog.numeric, 2) AS rate) AS n;
COMMENT ON VIEW @extschema@.cs_progress IS
'What is going on: a row per running refresh, and one for orders while some wait to be sent that one may see. NULL: not known (yet).';
GRANT SELECT ON @extschema@.cs_progress TO PUBLIC;
