/*
 * clock.sql
 *	  What becomes of orders when the clock of the server is set back.
 *
 * What it said before is then in the future, and nothing is to wait for that
 * time to come again.
 */

CREATE FUNCTION cs_internal.orders_clock(watched boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  wrong bigint[];
  settled bigint;
BEGIN
  -- If nobody saw it, it shows by a past that has not come yet, or a wait longer than any.
  SELECT array_agg(DISTINCT w.id)
    INTO wrong
    FROM pg_foreign_server AS s
   CROSS JOIN LATERAL (
     SELECT o.id, o.next_attempt_at > moment + '25 hours' AS is_endless, o.changed_at, o.fetched_at, o.sent_at, o.origin
       FROM cs_internal.orders AS o
      WHERE o.server = s.srvname::text AND o.state IN ('queued', 'cancelling') AND o.next_attempt_at > moment
      UNION
     SELECT o.id, false, o.changed_at, o.fetched_at, o.sent_at, o.origin
       FROM cs_internal.orders AS o
      WHERE o.server = s.srvname::text AND o.poll_at > moment
      UNION
     SELECT o.id, false, o.lost_at, o.fetched_at, o.sent_at, o.origin
       FROM cs_internal.orders AS o
      WHERE o.server = s.srvname::text AND o.caller_xids IS NOT NULL AND o.lost_at > moment) AS w
   WHERE w.origin = cs_internal.origin()
     AND (watched OR w.is_endless OR greatest(w.changed_at, w.fetched_at, w.sent_at) > moment);
  IF wrong IS NULL THEN
    RETURN true;
  END IF;
  WITH free AS (
    SELECT o.id FROM cs_internal.orders AS o WHERE o.id = ANY (wrong) FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE cs_internal.orders AS o
     SET next_attempt_at = CASE WHEN o.next_attempt_at > moment THEN moment ELSE o.next_attempt_at END,
         poll_at = CASE WHEN o.poll_at > moment THEN moment ELSE o.poll_at END,
         lost_at = CASE WHEN o.lost_at > moment THEN moment ELSE o.lost_at END,
         fetched_at = CASE WHEN o.fetched_at > moment THEN moment ELSE o.fetched_at END,
         changed_at = least(o.changed_at, moment)
    FROM free AS f
   WHERE o.id = f.id;
  GET DIAGNOSTICS settled = ROW_COUNT;
  RETURN settled = cardinality(wrong);
END $$;
COMMENT ON FUNCTION cs_internal.orders_clock(boolean) IS
'After the clock was set back: orders that wait for a time of day are due now; all of them if that was seen (watched), '
'else those that show it. False: some are locked by somebody, and are to be seen to again.';
REVOKE ALL ON FUNCTION cs_internal.orders_clock(boolean) FROM PUBLIC;
