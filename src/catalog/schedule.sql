/*
 * schedule.sql
 *	  When a catalogue is refreshed by itself: the server option
 *	  refresh_interval, counted from one beginning to the next.
 *
 * A run that failed or was interrupted goes on after a rest of half a minute,
 * doubled by each further failure up to an hour, and never longer than the
 * interval.  A run of the future is one whose clock was wrong, and does not
 * count.
 */

CREATE VIEW cs_internal.refresh_locks WITH (security_barrier) AS
  SELECT k.objid AS serverid, k.pid
    FROM pg_catalog.pg_locks AS k
   WHERE k.locktype OPERATOR(pg_catalog.=) 'advisory'
     AND k.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_foreign_server'::pg_catalog.regclass::pg_catalog.oid
     AND k.objsubid OPERATOR(pg_catalog.=) 417
     AND k.granted
     AND k.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d
                                             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
COMMENT ON VIEW cs_internal.refresh_locks IS
'The servers whose catalogue is being refreshed, and by which process (the advisory lock of src/catalog/refresh.c).';
REVOKE ALL ON cs_internal.refresh_locks FROM PUBLIC;

CREATE FUNCTION cs_internal.next_refresh(run cs_internal.catalog_runs, every interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF every IS NULL OR every = interval '0' THEN
    RETURN NULL;
  ELSIF run.server IS NULL
        OR greatest(CASE run.attempts WHEN 0 THEN run.started_at ELSE run.last_error_at END, run.checkpoint_at) > now() THEN
    RETURN now();
  ELSIF run.attempts = 0 THEN
    -- One that takes longer than the interval is followed at once.
    RETURN greatest(run.started_at + every, run.last_complete_at);
  END IF;
  RETURN greatest(run.checkpoint_at, run.last_error_at)
         + least(every, interval '30 s' * 2 ^ least(run.attempts - 1, 7), interval '1 hour');
END $$;
COMMENT ON FUNCTION cs_internal.next_refresh(cs_internal.catalog_runs, interval) IS
'When an account whose last run is this one (NULL: there was none) is to be refreshed; NULL: by hand only.';

CREATE FUNCTION cs_internal.refreshes_due(OUT serverid oid, OUT userid oid, OUT due_at timestamptz,
  OUT attempted_at timestamptz) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- A copy leaves the partner's budget to its original, and until its claim is restored
  -- it has none: what a refresh stores would be in the way of what else is restored.
  IF NOT EXISTS (SELECT FROM cs_internal.queue_is_ours()) THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT s.oid, m.umuser,
         CASE WHEN NOT EXISTS (SELECT FROM cs_internal.refresh_locks AS k WHERE k.serverid = s.oid)
              THEN cs_internal.next_refresh(r, i.every) END AS due,
         greatest(r.checkpoint_at, r.last_error_at)
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
    CROSS JOIN LATERAL (
      SELECT max(x.option_value)::interval AS every
        FROM pg_options_to_table(s.srvoptions) AS x WHERE x.option_name = 'refresh_interval') AS i
    CROSS JOIN LATERAL (
      SELECT CASE u.umuser WHEN 0 THEN s.srvowner ELSE u.umuser END AS umuser
        FROM pg_user_mappings AS u
       WHERE u.srvid = s.oid AND (u.umuser = 0 OR has_server_privilege(u.umuser, s.oid, 'USAGE'))
       ORDER BY u.umuser NOT IN (0, s.srvowner), u.umid
       LIMIT 1) AS m
    LEFT JOIN cs_internal.catalog_runs AS r ON r.server = s.srvname::text
   WHERE i.every > interval '0'
   ORDER BY due;
END $$;
COMMENT ON FUNCTION cs_internal.refreshes_due() IS
'The servers with a refresh_interval and a user mapping: when each is due (NULL: it is being refreshed), the last attempt, and the role whose mapping is used: '
'the owner of the server (his own mapping or that of PUBLIC), else the first one that was made. None in a copy of the database, and none before somebody has ordered, refreshed or configured a server here.';
REVOKE ALL ON FUNCTION cs_internal.refreshes_due() FROM PUBLIC;
