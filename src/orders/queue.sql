/*
 * queue.sql
 *	  What the worker asks the tables: what to send, whom to ask, who has
 *	  left; and how an order comes in by the call path.
 */

-- Servers with something to send, and when.
CREATE FUNCTION cs_internal.servers_waiting() RETURNS TABLE (serverid oid, server text, due_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT s.oid, s.srvname::pg_catalog.text, d.at
    FROM pg_catalog.pg_foreign_server AS s
    JOIN pg_catalog.pg_foreign_data_wrapper AS w
      ON w.oid OPERATOR(pg_catalog.=) s.srvfdw AND w.fdwname OPERATOR(pg_catalog.=) 'cupsource'
   CROSS JOIN LATERAL (
     SELECT least(
       (SELECT o.next_attempt_at FROM cs_internal.orders AS o
         WHERE o.server OPERATOR(pg_catalog.=) s.srvname::pg_catalog.text
           AND o.state OPERATOR(pg_catalog.=) 'queued' AND o.path OPERATOR(pg_catalog.=) 'call'
           AND o.origin OPERATOR(pg_catalog.=) cs_internal.origin()
           AND o.next_attempt_at IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1),
       (SELECT o.next_attempt_at FROM cs_internal.orders AS o
         WHERE o.server OPERATOR(pg_catalog.=) s.srvname::pg_catalog.text
           AND o.state OPERATOR(pg_catalog.=) 'queued' AND o.path OPERATOR(pg_catalog.=) 'queue'
           AND o.origin OPERATOR(pg_catalog.=) cs_internal.origin()
           AND o.next_attempt_at IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1)) AS at) AS d
   WHERE d.at IS NOT NULL;
END;
COMMENT ON FUNCTION cs_internal.servers_waiting() IS
'The servers with queued orders, each with the time at which the first of them may be sent.';
REVOKE ALL ON FUNCTION cs_internal.servers_waiting() FROM PUBLIC;

-- What waits for its time is due, except what somebody is just sending or changing.
CREATE FUNCTION cs_internal.orders_resume(server text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  resumed bigint;
BEGIN
  WITH waiting AS (
    SELECT o.id FROM cs_internal.orders AS o
     WHERE o.server = orders_resume.server AND o.state IN ('queued', 'cancelling')
       AND o.next_attempt_at > moment
       FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE cs_internal.orders AS o SET next_attempt_at = moment FROM waiting AS w WHERE o.id = w.id;
  GET DIAGNOSTICS resumed = ROW_COUNT;
  RETURN resumed;
END $$;
COMMENT ON FUNCTION cs_internal.orders_resume(text) IS
'Orders and cancellations of a server that wait for their next try are tried now; returns how many.';
REVOKE ALL ON FUNCTION cs_internal.orders_resume(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.roles_waiting(server text) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT DISTINCT o.created_by FROM cs_internal.orders AS o
   WHERE o.server = roles_waiting.server AND (o.next_attempt_at IS NOT NULL OR o.poll_at IS NOT NULL);
END $$;
COMMENT ON FUNCTION cs_internal.roles_waiting(text) IS
'Whose orders wait for something at a server: theirs are the accounts that a pause keeps waiting.';
REVOKE ALL ON FUNCTION cs_internal.roles_waiting(text) FROM PUBLIC;

-- The next orders of a server; they stay locked until the transaction ends.
CREATE FUNCTION cs_internal.orders_claim(server text, most integer, awaited bigint[], recognised boolean DEFAULT true)
RETURNS TABLE (id bigint, external_id text, created_by text, lines jsonb, ship_to jsonb, options jsonb,
  body bytea, attempts integer, first_sent_at timestamptz, only_called_for boolean)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.external_id, o.created_by, o.lines, o.ship_to, o.options, o.body, o.attempts, o.sent_at,
         o.caller_xids IS NOT NULL AND cs_internal.never_arrived(o.id)
    FROM cs_internal.orders AS o
   WHERE o.server = orders_claim.server AND o.state = 'queued'
     AND o.next_attempt_at <= moment AND o.origin = cs_internal.origin()
     -- A caller that has left: first see whether it committed, unless the order may be there and asking again tells.
     AND (o.path = 'queue' OR o.caller_xids IS NULL OR o.id = ANY (awaited)
          OR recognised AND o.attempts > 0 AND NOT cs_internal.never_arrived(o.id))
   ORDER BY o.path, o.next_attempt_at, o.id
   LIMIT most
     FOR NO KEY UPDATE SKIP LOCKED;
END $$;
COMMENT ON FUNCTION cs_internal.orders_claim(text, integer, bigint[], boolean) IS
'Locks the next queued orders of a server that are due, callers first; a locked one is skipped. awaited: orders whose callers wait. '
'recognised: the partner knows an order that it has already for the same. '
'only_called_for: it is not at the partner, and only callers want it, who may yet roll back.';
REVOKE ALL ON FUNCTION cs_internal.orders_claim(text, integer, bigint[], boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_attempts_made(order_id bigint) RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT o.attempts FROM cs_internal.orders AS o WHERE o.id = order_id);
END $$;
COMMENT ON FUNCTION cs_internal.order_attempts_made(bigint) IS 'How often an order was sent, or was about to be.';
REVOKE ALL ON FUNCTION cs_internal.order_attempts_made(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_interrupted() RETURNS TABLE (id bigint, server text, created_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  SELECT o.id, o.server, o.created_by
    FROM pg_foreign_server AS s
    JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'sending'
   WHERE o.next_attempt_at IS NOT NULL AND o.origin = cs_internal.origin()
   ORDER BY o.id;
END $$;
COMMENT ON FUNCTION cs_internal.orders_interrupted() IS
'Orders that were on the wire when the last worker ended: a new worker begins with them.';
REVOKE ALL ON FUNCTION cs_internal.orders_interrupted() FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_cancelling()
RETURNS TABLE (id bigint, server text, created_by text, remote_id text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.server, o.created_by, o.remote_id
    FROM pg_foreign_server AS s
    JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'cancelling'
   WHERE o.next_attempt_at <= moment AND o.origin = cs_internal.origin()
   ORDER BY o.next_attempt_at;
END $$;
COMMENT ON FUNCTION cs_internal.orders_cancelling() IS 'Cancellations that are due.';
REVOKE ALL ON FUNCTION cs_internal.orders_cancelling() FROM PUBLIC;

CREATE FUNCTION cs_internal.servers_to_ask()
RETURNS TABLE (serverid oid, server text, open_since timestamptz, due bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT s.oid, s.srvname::text, d.since, d.due
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
   CROSS JOIN LATERAL (
     SELECT min(coalesce((o.remote).remote_created_at, o.placed_at, o.created_at)) AS since, count(*) AS due
       FROM cs_internal.orders AS o
      WHERE o.server = s.srvname::text AND o.poll_at <= moment
        AND o.origin = cs_internal.origin()) AS d
   WHERE d.due > 0;
END $$;
COMMENT ON FUNCTION cs_internal.servers_to_ask() IS
'Servers with orders to look at: how many, and since when the oldest of them exists at the partner.';
REVOKE ALL ON FUNCTION cs_internal.servers_to_ask() FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_due_after(server text, moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  present timestamptz := clock_timestamp();
BEGIN
  RETURN (SELECT count(*) FROM cs_internal.orders AS o
           WHERE o.server = orders_due_after.server AND o.poll_at > moment AND o.poll_at <= present
             AND o.origin = cs_internal.origin());
END $$;
COMMENT ON FUNCTION cs_internal.orders_due_after(text, timestamptz) IS
'Orders of a server to look at now that were not yet to be looked at at that moment.';
REVOKE ALL ON FUNCTION cs_internal.orders_due_after(text, timestamptz) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_to_ask(server text, most integer)
RETURNS TABLE (id bigint, remote_id text, created_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.remote_id, o.created_by
    FROM cs_internal.orders AS o
   WHERE o.server = orders_to_ask.server AND o.poll_at <= moment
     AND o.remote_id IS NOT NULL AND o.origin = cs_internal.origin()
   ORDER BY o.fetched_at NULLS FIRST, o.id
   LIMIT most;
END $$;
COMMENT ON FUNCTION cs_internal.orders_to_ask(text, integer) IS
'Orders of a server to look at now, the oldest knowledge first.';
REVOKE ALL ON FUNCTION cs_internal.orders_to_ask(text, integer) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_poll_later(server text, after interval, role text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  delayed bigint;
BEGIN
  WITH free AS (
    SELECT o.id FROM cs_internal.orders AS o
     WHERE o.server = orders_poll_later.server AND o.poll_at <= moment AND (role IS NULL OR o.created_by = role)
       FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE cs_internal.orders AS o SET poll_at = clock_timestamp() + after FROM free AS f WHERE o.id = f.id;
  GET DIAGNOSTICS delayed = ROW_COUNT;
  RETURN delayed;
END $$;
COMMENT ON FUNCTION cs_internal.orders_poll_later(text, interval, text) IS
'The partner''s list could not be had, or the role that placed the orders cannot ask for them: try again later, but for '
'orders that somebody has locked. Returns how many are due no more.';
REVOKE ALL ON FUNCTION cs_internal.orders_poll_later(text, interval, text) FROM PUBLIC;

-- When there is something to do next, if nobody wakes the worker.
CREATE FUNCTION cs_internal.next_due(grace interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  due timestamptz;
BEGIN
  SELECT least(
    (SELECT min(w.due_at) FROM cs_internal.servers_waiting() AS w),
    (SELECT min(o.next_attempt_at)
       FROM pg_foreign_server AS s
       JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'cancelling'
      WHERE o.next_attempt_at IS NOT NULL AND o.origin = cs_internal.origin()),
    (SELECT min(d.poll_at) FROM pg_foreign_server AS s
       CROSS JOIN LATERAL (SELECT o.poll_at FROM cs_internal.orders AS o
                            WHERE o.server = s.srvname::text AND o.poll_at IS NOT NULL
                              AND o.origin = cs_internal.origin()
                            ORDER BY o.poll_at LIMIT 1) AS d),
    (SELECT min(CASE WHEN o.lost_at IS NULL
                     THEN clock_timestamp()
                          + least(greatest((clock_timestamp() - o.changed_at) / 2, '200 ms'), '30 s')
                     -- Due already, but it had to be put off: not in a busy loop.
                     ELSE greatest(o.lost_at + grace, clock_timestamp() + '1 s') END)
       FROM cs_internal.orders AS o
      WHERE o.caller_xids IS NOT NULL AND o.origin = cs_internal.origin()),
    (SELECT clock_timestamp() + '1 s' FROM cs_internal.webhook_events AS e WHERE e.unseen LIMIT 1))
    INTO due;
  RETURN due;
END $$;
COMMENT ON FUNCTION cs_internal.next_due(interval) IS
'The next time at which an order has to be sent, cancelled, looked at, its caller''s end to be found out, or a webhook to be seen to.';
REVOKE ALL ON FUNCTION cs_internal.next_due(interval) FROM PUBLIC;

/* ---- the call path ---- */

CREATE FUNCTION cs_internal.order_difference(o cs_internal.orders, lines jsonb, ship_to jsonb, options jsonb)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN nullif(concat_ws(', ',
    CASE WHEN jsonb_strip_nulls(o.lines) <> jsonb_strip_nulls(lines) THEN 'lines' END,
    CASE WHEN jsonb_strip_nulls(o.ship_to) IS DISTINCT FROM jsonb_strip_nulls(ship_to) THEN 'ship_to' END,
    CASE WHEN coalesce(jsonb_strip_nulls(o.options - 'extra'), '{}') <> coalesce(jsonb_strip_nulls(options - 'extra'), '{}')
           OR coalesce(nullif(o.options -> 'extra', 'null'), '{}') <> coalesce(nullif(options -> 'extra', 'null'), '{}')
         THEN 'options' END), '');
END $$;
COMMENT ON FUNCTION cs_internal.order_difference(cs_internal.orders, jsonb, jsonb, jsonb) IS
'In which parts this is another order, whatever its spelling; NULL: it is the same. A field that is null is one that is not there.';
REVOKE ALL ON FUNCTION cs_internal.order_difference(cs_internal.orders, jsonb, jsonb, jsonb) FROM PUBLIC;

-- The order that has this external id already: its id if it is the same order.
CREATE FUNCTION cs_internal.order_existing(server text, external_id text, lines jsonb, ship_to jsonb,
  options jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
  difference text;
BEGIN
  SELECT * INTO STRICT old FROM cs_internal.orders AS o
   WHERE o.server = order_existing.server AND o.external_id = order_existing.external_id;
  difference := cs_internal.order_difference(old, lines, ship_to, options);
  IF difference IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'unique_violation',
      MESSAGE = format('order "%s" exists on server "%s" with a different content', external_id, server),
      DETAIL = format('Order %s of %s is %s; it has other %s.', old.id, old.created_at, old.state, difference),
      HINT = 'An external id names one order for ever. Use a new external id for a different order.';
  END IF;
  RETURN old.id;
END $$;
COMMENT ON FUNCTION cs_internal.order_existing(text, text, jsonb, jsonb, jsonb) IS
'The id of the order with this external id, if its content is the same; otherwise error 23505.';
REVOKE ALL ON FUNCTION cs_internal.order_existing(text, text, jsonb, jsonb, jsonb) FROM PUBLIC;

-- Queued, in the transaction of whoever queues it, after it was called for in vain.
CREATE FUNCTION cs_internal.order_wanted(order_id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t
   WHERE t.id = order_id
     AND (t.caller_xids IS NOT NULL OR t.state = 'orphaned'
          OR t.path = 'call' AND (t.state = 'failed' AND NOT t.is_final
                                  OR t.state IN ('cancelling', 'cancelled') AND t.lost_at IS NOT NULL))
     FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_not_wanted(order_id);
    RETURN false;
  END IF;
  IF old.state = 'failed' AND NOT old.is_final
     OR old.state = 'cancelled' AND NOT old.is_final AND cs_internal.never_arrived(old.id) THEN
    UPDATE cs_internal.orders AS t
       SET state = 'queued', path = 'queue', next_attempt_at = clock_timestamp(),
           changed_at = clock_timestamp(), caller_xids = NULL, lost_at = NULL, remote = NULL,
           cancel_requested_at = NULL, error = NULL
     WHERE t.id = order_id;
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'queued', old.created_by);
    RETURN true;
  END IF;
  IF old.state IN ('cancelling', 'cancelled') AND old.lost_at IS NULL THEN
    -- By a person, who may not have waited for the end of that transaction.
    PERFORM cs_internal.order_not_wanted(order_id);
    RETURN false;
  ELSIF old.state IN ('cancelling', 'cancelled') THEN
    RAISE EXCEPTION USING ERRCODE = 'PA012', MESSAGE = format('the order with this external id %s cancelled',
        CASE old.state WHEN 'cancelled' THEN 'was' ELSE 'is being' END),
      DETAIL = format('It is order %s in cs_orders; the transaction that placed it rolled back.', old.id),
      HINT = CASE WHEN old.state = 'cancelled' THEN
          coalesce(cs_internal.order_advice(order_id), 'Place it under a new external id.')
        ELSE 'Once it is cancelled, place it under a new external id; if it cannot be, ask for it again.' END;
  END IF;
  UPDATE cs_internal.orders AS t
     SET caller_xids = NULL, lost_at = NULL,
         cancel_requested_at = CASE WHEN t.lost_at IS NULL THEN t.cancel_requested_at END,
         state = CASE t.state WHEN 'orphaned' THEN cs_internal.order_lives_as(t) ELSE t.state END,
         poll_at = CASE WHEN t.state <> 'orphaned' THEN t.poll_at WHEN cs_internal.order_lives_as(t) <> 'delivered' THEN clock_timestamp() END,
         changed_at = CASE t.state WHEN 'orphaned' THEN clock_timestamp() ELSE t.changed_at END
   WHERE t.id = order_id;
  IF old.state = 'orphaned' THEN
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, cs_internal.order_lives_as(old), old.created_by);
  END IF;
  PERFORM cs_internal.order_not_wanted(order_id);
  RETURN true;
END $$;
COMMENT ON FUNCTION cs_internal.order_wanted(bigint) IS
'An order of the call path is queued as well: if this transaction commits it stays, whatever becomes of its callers, '
'and is sent again if it was certainly not placed. PA012 if it was cancelled because they rolled back. True if the worker has to see it.';
REVOKE ALL ON FUNCTION cs_internal.order_wanted(bigint) FROM PUBLIC;

-- Whoever waits for it is not to wait for its next try as well, which may be hours away.
CREATE FUNCTION cs_internal.order_now(order_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE cs_internal.orders AS t SET next_attempt_at = clock_timestamp()
   WHERE t.id = order_id AND t.state = 'queued' AND t.next_attempt_at > clock_timestamp();
END $$;
COMMENT ON FUNCTION cs_internal.order_now(bigint) IS 'A queued order that waits for its next try is tried now.';
REVOKE ALL ON FUNCTION cs_internal.order_now(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_take(request jsonb) RETURNS TABLE (id bigint, disposition text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  caller xid8 := (request->>'xid')::xid8;
  old cs_internal.orders;
BEGIN
  INSERT INTO cs_internal.orders AS o (server, external_id, path, lines, ship_to, options, created_by,
    origin, caller_xids)
  VALUES (request->>'server', request->>'external_id', 'call', request->'lines',
    nullif(request->'ship_to', 'null'), nullif(request->'options', 'null'), request->>'created_by',
    cs_internal.origin(), ARRAY[caller])
  ON CONFLICT ON CONSTRAINT orders_server_external_id_key DO NOTHING
  RETURNING o.id INTO order_take.id;
  IF FOUND THEN
    disposition := 'new';
    RETURN NEXT;
    RETURN;
  END IF;

  order_take.id := cs_internal.order_existing(request->>'server', request->>'external_id',
    request->'lines', nullif(request->'ship_to', 'null'), nullif(request->'options', 'null'));
  SELECT * INTO STRICT old FROM cs_internal.orders AS o WHERE o.id = order_take.id FOR NO KEY UPDATE;

  disposition := CASE
    -- Not by the loss of its callers: then somebody has come back.
    WHEN old.state = 'cancelling' OR old.state IN ('queued', 'sending') AND old.cancel_requested_at IS NOT NULL
         AND old.lost_at IS NULL THEN 'cancelling'
    WHEN old.state IN ('queued', 'sending') THEN 'wait'
    WHEN old.state = 'failed' AND NOT old.is_final THEN 'new'
    WHEN old.state = 'cancelled' AND NOT old.is_final AND cs_internal.never_arrived(old.id) THEN 'new'
    WHEN old.state IN ('failed', 'uncertain') THEN 'error'
    WHEN old.state = 'cancelled' THEN 'cancelled'
    ELSE 'done' END;

  IF disposition = 'new' THEN
    UPDATE cs_internal.orders AS o
       SET state = 'queued', path = 'call', next_attempt_at = clock_timestamp(),
           changed_at = clock_timestamp(), caller_xids = ARRAY[caller], lost_at = NULL,
           remote = NULL, cancel_requested_at = NULL, error = NULL
     WHERE o.id = order_take.id;
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'queued', old.created_by);
  ELSIF disposition = 'wait' THEN
    PERFORM cs_internal.order_now(order_take.id);
  END IF;
  IF disposition IN ('wait', 'done') AND (old.caller_xids IS NOT NULL OR old.state = 'orphaned') THEN
    -- Somebody came back for it: a retry of the transaction, or another one.
    UPDATE cs_internal.orders AS o
       SET caller_xids = array_append(o.caller_xids, caller), lost_at = NULL,
           -- It was to be cancelled because nobody had come back so far.
           cancel_requested_at = CASE WHEN o.lost_at IS NULL THEN o.cancel_requested_at END,
           state = CASE o.state WHEN 'orphaned' THEN cs_internal.order_lives_as(o) ELSE o.state END,
           poll_at = CASE WHEN o.state <> 'orphaned' THEN o.poll_at WHEN cs_internal.order_lives_as(o) <> 'delivered' THEN clock_timestamp() END,
           changed_at = CASE o.state WHEN 'orphaned' THEN clock_timestamp() ELSE o.changed_at END
     WHERE o.id = order_take.id;
    IF old.state = 'orphaned' THEN
      PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, cs_internal.order_lives_as(old), old.created_by);
    END IF;
  END IF;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION cs_internal.order_take(jsonb) IS
'Journals an order of the call path: {server, external_id, lines, ship_to, options, created_by, xid}. disposition: new '
'(to be sent), wait (on its way already), done (it is there), error (its stored failure is the answer), cancelled, cancelling.';
REVOKE ALL ON FUNCTION cs_internal.order_take(jsonb) FROM PUBLIC;

-- A new order of the call path, queued and claimed in one go: its caller waits.
CREATE FUNCTION cs_internal.order_take_sending(server text, external_id text, lines jsonb, ship_to jsonb,
  options jsonb, created_by text, caller xid8, body bytea) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
  new_id bigint;
  event bigint;
BEGIN
  INSERT INTO cs_internal.orders AS o (server, external_id, path, state, lines, ship_to, options,
    created_by, origin, body, attempts, sent_at, caller_xids)
  SELECT order_take_sending.server, order_take_sending.external_id, 'call', 'sending',
         order_take_sending.lines, order_take_sending.ship_to, order_take_sending.options,
         order_take_sending.created_by, me, order_take_sending.body, 1, clock_timestamp(), ARRAY[caller]
    FROM cs_internal.queue_is_ours()
  ON CONFLICT ON CONSTRAINT orders_server_external_id_key DO NOTHING
  RETURNING o.id INTO new_id;
  IF FOUND THEN
    event := cs_internal.order_entered(new_id, server, external_id, 'sending', 'cupsource',
      jsonb_build_object('attempt', 1));
  END IF;
  RETURN new_id;
END $$;
COMMENT ON FUNCTION cs_internal.order_take_sending(text, text, jsonb, jsonb, jsonb, text, xid8, bytea) IS
'Journals a new order of the call path as sending, with the exact request body, and returns its id. NULL: there is an '
'order with this external id, or the queue is not this cluster''s; then order_take decides.';
REVOKE ALL ON FUNCTION cs_internal.order_take_sending(text, text, jsonb, jsonb, jsonb, text, xid8, bytea)
  FROM PUBLIC;

CREATE FUNCTION cs_internal.callers_settle(grace interval)
RETURNS TABLE (id bigint, server text, created_by text, state text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  o cs_internal.orders;
  verdict text;
BEGIN
  FOR o IN SELECT * FROM cs_internal.orders AS t
            WHERE t.caller_xids IS NOT NULL AND t.origin = cs_internal.origin()
            ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    -- An id so old that its status is gone tells nothing: then the order is kept.
    SELECT CASE WHEN bool_or(coalesce(pg_xact_status(x), 'committed') = 'committed') THEN 'kept'
                WHEN bool_or(pg_xact_status(x) = 'in progress') THEN 'open'
                ELSE 'lost' END
      INTO verdict FROM unnest(o.caller_xids) AS x;
    IF verdict = 'kept' THEN
      UPDATE cs_internal.orders AS t SET caller_xids = NULL, lost_at = NULL WHERE t.id = o.id;
    ELSIF verdict = 'lost' AND o.lost_at IS NULL THEN
      UPDATE cs_internal.orders AS t SET lost_at = clock_timestamp() WHERE t.id = o.id;
      PERFORM cs_internal.order_entered(o.id, o.server, o.external_id, 'rolled_back', o.created_by);
    ELSIF verdict = 'lost' AND o.lost_at + grace <= clock_timestamp() THEN
      IF o.state IN ('placed', 'approved', 'in_production', 'shipped', 'delivered')
         OR o.state = 'queued' THEN
        id := o.id;
        server := o.server;
        created_by := o.created_by;
        state := o.state;
        RETURN NEXT;
      ELSIF o.state NOT IN ('sending', 'cancelling') THEN
        -- failed, rejected, cancelled; uncertain waits for a person anyway.
        UPDATE cs_internal.orders AS t SET caller_xids = NULL WHERE t.id = o.id;
      END IF;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.callers_settle(interval) IS
'Looks at the transactions that asked for orders. Returns the orders that are to be cancelled or orphaned, because all '
'of their callers rolled back longer than grace ago and nobody came back.';
REVOKE ALL ON FUNCTION cs_internal.callers_settle(interval) FROM PUBLIC;

/* ---- finding ---- */

CREATE FUNCTION cs_internal.order_find(wanted text, local_id bigint, server text, user_id oid)
RETURNS TABLE (id bigint, serverid oid)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
  hits integer;
  ids text;
BEGIN
  -- Each by its index; OFFSET 0 keeps the planner from beginning with the orders.
  SELECT count(*), min(f.id), min(f.serverid::text)::oid, string_agg(f.id::text, ', ' ORDER BY f.id)
    INTO hits, order_find.id, order_find.serverid, ids
    FROM (SELECT o.id, s.oid AS serverid
            FROM (SELECT l.id, l.server FROM cs_internal.orders AS l
                   WHERE l.id = local_id AND order_find.server IS NULL
                   UNION
                  SELECT e.id, e.server FROM pg_foreign_server AS v
                   CROSS JOIN LATERAL (SELECT t.id, t.server FROM cs_internal.orders AS t
                                        WHERE t.server = v.srvname::text AND t.external_id = wanted OFFSET 0) AS e
                   WHERE order_find.server IS NULL OR v.srvname::text = order_find.server
                   UNION
                  SELECT r.id, r.server FROM pg_foreign_server AS v
                   CROSS JOIN LATERAL (SELECT t.id, t.server FROM cs_internal.orders AS t
                                        WHERE t.server = v.srvname::text AND t.remote_id = wanted OFFSET 0) AS r
                   WHERE order_find.server IS NULL OR v.srvname::text = order_find.server) AS o
            JOIN pg_foreign_server AS s ON s.srvname = o.server::name
            JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
           WHERE has_server_privilege(user_id, s.oid, 'USAGE')) AS f;
  IF hits = 0 THEN
    RAISE EXCEPTION USING ERRCODE = 'PA404',
      MESSAGE = format('order "%s" does not exist', coalesce(wanted, local_id::text))
                || CASE WHEN server IS NULL THEN '' ELSE format(' on server "%s"', server) END,
      HINT = 'An order is found by its external or remote id in cs_orders, or by its local id as bigint.';
  ELSIF hits > 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'cardinality_violation',
      MESSAGE = format('"%s" means more than one order', wanted),
      DETAIL = format('Their local ids are %s.', ids),
      HINT = 'Pass the local id as bigint' || CASE WHEN server IS NULL THEN ', or name the server.' ELSE '.' END;
  END IF;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION cs_internal.order_find(text, bigint, text, oid) IS
'The one order that a text (local, external or remote id; at a server external or remote) or a bigint (local id) means for a user; PA404 if there is none that he may see.';
REVOKE ALL ON FUNCTION cs_internal.order_find(text, bigint, text, oid) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_knowledge(order_id bigint)
RETURNS TABLE (server text, state text, remote_id text, created_by text, fetched_at timestamptz, askable boolean)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT o.server, o.state, o.remote_id, o.created_by, o.fetched_at,
         o.remote_id IS NOT NULL AND o.state IN ('placed', 'approved', 'in_production', 'shipped',
           'delivered', 'rejected', 'cancelled', 'cancelling', 'orphaned')
    FROM cs_internal.orders AS o WHERE o.id = order_id;
END $$;
COMMENT ON FUNCTION cs_internal.order_knowledge(bigint) IS
'What is known of an order, since when, and whether the partner can be asked about it.';
REVOKE ALL ON FUNCTION cs_internal.order_knowledge(bigint) FROM PUBLIC;

-- Once more, under another external id; from then on not under its own, nor under those of earlier tries.
CREATE FUNCTION cs_internal.order_to_resubmit(order_id bigint, new_external_id text)
RETURNS TABLE (lines jsonb, ship_to jsonb, options jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  kin bigint[];
  old cs_internal.orders;
BEGIN
  kin := ARRAY(SELECT t.id FROM cs_internal.order_kin(order_id) AS k (id) JOIN cs_internal.orders AS t ON t.id = k.id
                WHERE t.external_id IS DISTINCT FROM new_external_id);
  PERFORM FROM cs_internal.orders AS t WHERE t.id = ANY (kin) ORDER BY t.id FOR NO KEY UPDATE;
  SELECT * INTO old FROM cs_internal.orders AS t
   WHERE t.id = order_id AND t.state IN ('failed', 'rejected', 'cancelled');
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'submitted again',
      'An order is submitted again after it has failed, or was rejected or cancelled.');
  END IF;
  IF EXISTS (SELECT FROM cs_internal.orders AS t
              WHERE t.server = old.server AND t.external_id = new_external_id AND t.replaces IS DISTINCT FROM order_id) THEN
    RAISE EXCEPTION USING ERRCODE = 'unique_violation',
      MESSAGE = format('order "%s" exists on server "%s" already', new_external_id, old.server),
      HINT = format('Use a new external id for order "%s".', old.external_id);
  END IF;
  PERFORM cs_internal.order_not_replaced(order_id, new_external_id);
  -- Also if they are already: of two that do this from older snapshots, one has to see the other.
  UPDATE cs_internal.orders AS t SET is_final = true WHERE t.id = ANY (kin);
  lines := old.lines;
  ship_to := old.ship_to;
  options := old.options;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION cs_internal.order_to_resubmit(bigint, text) IS
'What a failed, rejected or cancelled order was to be, which is not sent any more under its own external id or one that it had before; '
'PA012 for an order that may still be made, or was submitted again already, 23505 if there is another one with that external id.';
REVOKE ALL ON FUNCTION cs_internal.order_to_resubmit(bigint, text) FROM PUBLIC;
