/*
 * claim.sql
 *	  Whose the queue and the schedule of this database are: a copy must not
 *	  order again.
 *
 * A claim is made for what a user has done here, never for work by schedule:
 * into a database in which nobody has done anything a dump may just be
 * restored.  Its own claim comes late, beside whatever is there, and counts.
 */

CREATE FUNCTION cs_internal.origin() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_origin';
COMMENT ON FUNCTION cs_internal.origin() IS
'This database as the owner of a queue: system identifier, OIDs of the database and of the schema cs_internal, and '
'cupsource.instance, with slashes between.';

CREATE FUNCTION cs_internal.claim_first() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
BEGIN
  IF NOT EXISTS (SELECT FROM cs_internal.queue_claim)
     AND NOT EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.origin <> me) THEN
    INSERT INTO cs_internal.queue_claim (origin) VALUES (me);
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.claim_first() IS
'Somebody has said here what is to be ordered or refreshed: it is this cluster that does it, unless the database is a copy.';
REVOKE ALL ON FUNCTION cs_internal.claim_first() FROM PUBLIC;

CREATE FUNCTION cs_internal.claim_queue() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
BEGIN
  -- Orders of another cluster without its claim: a copy all the same.
  IF EXISTS (SELECT FROM cs_internal.queue_claim AS q WHERE q.origin <> me)
     OR EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.origin <> me) THEN
    RETURN false;
  END IF;
  -- Where nobody has ordered a dump may just be restored, with a claim in it.
  IF EXISTS (SELECT FROM cs_internal.orders) THEN
    PERFORM cs_internal.claim_first();
  END IF;
  RETURN true;
END $$;
COMMENT ON FUNCTION cs_internal.claim_queue() IS
'Does this cluster send the orders of this database? The first one to order does; a copy has to adopt the queue.';
REVOKE ALL ON FUNCTION cs_internal.claim_queue() FROM PUBLIC;

-- A row, or none: as part of its statement's plan it costs less than a call.
CREATE FUNCTION cs_internal.queue_is_ours() RETURNS SETOF boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT true FROM cs_internal.queue_claim AS q
  HAVING pg_catalog.bool_and(q.origin OPERATOR(pg_catalog.=) cs_internal.origin());
END;
COMMENT ON FUNCTION cs_internal.queue_is_ours() IS
'True if this cluster holds the queue of this database; no row if another one does, or none yet.';
REVOKE ALL ON FUNCTION cs_internal.queue_is_ours() FROM PUBLIC;

CREATE FUNCTION cs_internal.adopt_queue(by text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
  adopted bigint;
BEGIN
  -- Logical replication brings rows, but not where the sequences of their ids stand.
  PERFORM setval('cs_internal.order_id', max(o.id)) FROM cs_internal.orders AS o
   HAVING max(o.id) >= (SELECT s.last_value + s.is_called::integer FROM cs_internal.order_id AS s);
  PERFORM setval('cs_internal.order_event_id', max(e.id)) FROM cs_internal.order_events AS e
   HAVING max(e.id) >= (SELECT s.last_value + s.is_called::integer FROM cs_internal.order_event_id AS s);
  DELETE FROM cs_internal.queue_claim;
  INSERT INTO cs_internal.queue_claim (origin) VALUES (me);
  WITH taken AS (
    UPDATE cs_internal.orders AS o
       SET origin = me,
           -- Those who are known to have rolled back have; of others nothing is known, and the order stays.
           caller_xids = CASE WHEN o.lost_at IS NOT NULL AND o.caller_xids IS NOT NULL THEN '{}'::xid8[] END
     WHERE o.origin <> me
    RETURNING o.id, o.state
  ), journal AS (
    INSERT INTO cs_internal.order_events (order_id, at, source, type, by)
    SELECT t.id, clock_timestamp(), 'local', 'adopted', adopt_queue.by
      FROM taken AS t
     WHERE t.state NOT IN ('delivered', 'rejected', 'cancelled', 'failed')
    RETURNING 1
  )
  SELECT count(*) INTO adopted FROM journal;
  RETURN adopted;
END $$;
COMMENT ON FUNCTION cs_internal.adopt_queue(text) IS
'Makes this cluster the one that sends; returns how many open orders came with it. Transaction ids of the other cluster mean nothing here and are dropped; an order whose callers were seen to have rolled back stays lost.';
REVOKE ALL ON FUNCTION cs_internal.adopt_queue(text) FROM PUBLIC;
