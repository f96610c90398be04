/*
 * apply.sql
 *	  What webhooks do to orders.
 *
 * Deliveries come late, twice and in any order.  The state of an order is
 * therefore never "what the last delivery said": the events of an order are
 * ranked, and a delivery counts only if it ranks first among all that are
 * there.  The ranking, highest first:
 *
 *	  an end (delivered, rejected, cancelled) before anything else;
 *	  what happened after the partner was last asked before what happened earlier;
 *	  of the former the latest, in the same instant the one that is further on;
 *	  of the latter the one that is furthest on, because an answer that is newer
 *	  than the event knew of it, unless the partner's clock is behind: so it may
 *	  move the order forwards and never backwards.
 *
 * An event whose status may be that of a part of the order (event.c) moves
 * nothing: the partner is asked.  Where nobody asks (poll_at is NULL), such
 * events and the parcels that they have are all there is, and together they
 * move the order forwards (webhook_inferred).
 *
 * Whoever applies an event holds its order's row locked, and locks that before
 * any event that somebody else may lock.  An event whose order is not known yet
 * waits; placing an order takes up what waits for it, and since neither sees the
 * other before its commit, the worker looks once more after the event's commit
 * (webhooks_settle).  Orders are placed by the worker, so its look is before that
 * or after it, never in between.
 */

CREATE FUNCTION cs_internal.order_progress(state text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE state WHEN 'placed' THEN 0 WHEN 'approved' THEN 1 WHEN 'in_production' THEN 2 WHEN 'shipped' THEN 3
                    WHEN 'delivered' THEN 4 WHEN 'rejected' THEN 5 WHEN 'cancelled' THEN 6 ELSE -1 END;
END $$;
COMMENT ON FUNCTION cs_internal.order_progress(text) IS
'How far on an order is in a state; from 4 on it is an end, -1 is no state of the partner''s.';
REVOKE ALL ON FUNCTION cs_internal.order_progress(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.is_told(server text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  yesterday timestamptz := clock_timestamp() - interval '1 day';  -- in the query no index could be searched for it
BEGIN
  RETURN EXISTS (SELECT FROM cs_internal.webhook_events AS e
                  WHERE e.server = is_told.server AND e.received_at > yesterday);
END $$;
COMMENT ON FUNCTION cs_internal.is_told(text) IS
'Do webhooks of this server arrive (one did within the last day), so that its orders need not be asked for often?';
REVOKE ALL ON FUNCTION cs_internal.is_told(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.webhook_asks(order_id bigint, asked_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  -- What came in the future came by a clock that has been set back, and would have it asked without end.
  RETURN EXISTS (SELECT FROM cs_internal.webhook_events AS e
                  WHERE e.order_id = webhook_asks.order_id AND e.doubted IS NOT NULL AND e.received_at > asked_at
                    AND e.received_at <= clock_timestamp());
END $$;
COMMENT ON FUNCTION cs_internal.webhook_asks(bigint, timestamptz) IS
'Has an event come for which the partner is to be asked, since it was asked last?';
REVOKE ALL ON FUNCTION cs_internal.webhook_asks(bigint, timestamptz) FROM PUBLIC;

-- The event that ranks first among those of an order; 'known': of those with a state.
CREATE FUNCTION cs_internal.webhook_first(order_id bigint, asked_at timestamptz, known boolean) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN (SELECT e.event_id
            FROM cs_internal.webhook_events AS e
           WHERE e.order_id = webhook_first.order_id AND e.remote_status IS NOT NULL
             AND (e.state IS NOT NULL OR NOT known)
           ORDER BY cs_internal.order_progress(e.state) >= 4 DESC, e.at > asked_at DESC,
                    CASE WHEN e.at > asked_at THEN e.at END DESC NULLS LAST,
                    cs_internal.order_progress(e.state) DESC, e.at DESC, e.event_id DESC
           LIMIT 1);
END $$;
COMMENT ON FUNCTION cs_internal.webhook_first(bigint, timestamptz, boolean) IS
'The event that decides what state an order is in (known), or what the partner calls it; asked_at: when it was last asked.';
REVOKE ALL ON FUNCTION cs_internal.webhook_first(bigint, timestamptz, boolean) FROM PUBLIC;

-- The parcels in one event; each is what all events of the order say about it, the latest last.
CREATE FUNCTION cs_internal.webhook_parcels(order_id bigint, parcels jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  parcel jsonb;
  number text;
  key text;
  whole jsonb;
  said record;
  said_at timestamptz;
  known record;
BEGIN
  FOR parcel IN SELECT * FROM jsonb_array_elements(parcels) LOOP
    number := parcel->>'tracking_number';
    -- By its id, also where only another event, or the partner's answer, has that.
    key := coalesce(parcel->>'shipment_id',
      (SELECT max(p.value->>'shipment_id') FROM cs_internal.webhook_events AS e, jsonb_array_elements(e.parcels) AS p
        WHERE e.order_id = webhook_parcels.order_id AND p.value->>'tracking_number' = number),
      (SELECT max(k.shipment_id) FROM cs_internal.shipments AS k
        WHERE k.order_id = webhook_parcels.order_id AND k.tracking_number = number),
      number);
    whole := '{}';
    FOR said IN SELECT e.at, p.value AS part
                  FROM cs_internal.webhook_events AS e, jsonb_array_elements(e.parcels) AS p
                 WHERE e.order_id = webhook_parcels.order_id
                   AND (p.value->>'shipment_id' = key OR p.value->>'tracking_number' = number)
                 ORDER BY e.at, cs_internal.order_progress(e.state), e.event_id LOOP
      whole := whole || said.part;
      said_at := said.at;
    END LOOP;

    -- What the partner was asked for later than that is only added to.
    SELECT k.fetched_at, jsonb_strip_nulls(to_jsonb(k) - 'raw') AS fields INTO known FROM cs_internal.shipments AS k
     WHERE k.order_id = webhook_parcels.order_id AND k.shipment_id = key;
    IF known.fetched_at > said_at THEN
      whole := whole || known.fields;
    ELSE
      whole := coalesce(known.fields, '{}') || whole;
    END IF;
    INSERT INTO cs_internal.shipments AS t (order_id, shipment_id, tracking_number, carrier, tracking_url, status,
      estimated_delivery, signature_required, shipped_at, fetched_at)
    VALUES (order_id, key, whole->>'tracking_number', whole->>'carrier', whole->>'tracking_url', whole->>'status',
      (whole->>'estimated_delivery')::timestamptz, (whole->>'signature_required')::boolean,
      (whole->>'shipped_at')::timestamptz, greatest(known.fetched_at, said_at))
    ON CONFLICT ON CONSTRAINT shipments_pkey DO UPDATE
       SET tracking_number = excluded.tracking_number, carrier = excluded.carrier,
           tracking_url = excluded.tracking_url, status = excluded.status,
           estimated_delivery = excluded.estimated_delivery, signature_required = excluded.signature_required,
           shipped_at = excluded.shipped_at, fetched_at = excluded.fetched_at;
    IF number <> key THEN
      DELETE FROM cs_internal.shipments AS k
       WHERE k.order_id = webhook_parcels.order_id AND k.shipment_id = number;
    END IF;
  END LOOP;
  UPDATE cs_internal.orders AS o
     SET remote.last_shipped_at = latest.at
    FROM (SELECT max(k.shipped_at) AS at FROM cs_internal.shipments AS k
           WHERE k.order_id = webhook_parcels.order_id) AS latest
   WHERE o.id = webhook_parcels.order_id AND latest.at > coalesce((o.remote).last_shipped_at, '-infinity');
END $$;
COMMENT ON FUNCTION cs_internal.webhook_parcels(bigint, jsonb) IS
'Stores the parcels that an event of the order has, each with all that the events say about it.';
REVOKE ALL ON FUNCTION cs_internal.webhook_parcels(bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION cs_internal.remote_state(server text, status text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_remote_state';
COMMENT ON FUNCTION cs_internal.remote_state(text, text) IS
'What a partner''s word for an order means here; NULL if no document says.';
REVOKE ALL ON FUNCTION cs_internal.remote_state(text, text) FROM PUBLIC;

-- Where nobody asks: a part that is made or shipped says so of the order, only all its parcels that it is delivered, and
-- no part that it is stopped.
CREATE FUNCTION cs_internal.webhook_inferred(o cs_internal.orders, INOUT state text, INOUT status text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  all_delivered boolean;
  said record;
BEGIN
  IF o.poll_at IS NOT NULL OR cs_internal.order_progress(state) NOT BETWEEN 0 AND 3 THEN
    RETURN;
  END IF;
  -- As at Cup Source v1, where only parcels can be asked for (parcels.c).
  SELECT bool_or(k.means = 'delivered') AND bool_and(coalesce(k.means IN ('delivered', 'cancelled', 'rejected'), false))
    INTO all_delivered
    FROM (SELECT cs_internal.remote_state(o.server, p.status) AS means
            FROM cs_internal.shipments AS p WHERE p.order_id = o.id) AS k;

  WITH words AS (
    SELECT w.word, e.at, m.means,
           CASE WHEN m.means = 'delivered' AND all_delivered IS NOT TRUE THEN 'shipped' ELSE m.means END AS becomes
      FROM cs_internal.webhook_events AS e
     CROSS JOIN LATERAL (SELECT e.doubted AS word UNION ALL
                         SELECT p.value->>'status' FROM jsonb_array_elements(e.parcels) AS p) AS w
     CROSS JOIN LATERAL (SELECT cs_internal.remote_state(e.server, w.word) AS means) AS m
     WHERE e.order_id = o.id AND e.remote_status IS NULL AND m.means IN ('in_production', 'shipped', 'delivered')
  )
  SELECT s.becomes, l.word, l.means, l.at INTO said
    FROM (SELECT w.becomes FROM words AS w ORDER BY cs_internal.order_progress(w.becomes) DESC LIMIT 1) AS s
    LEFT JOIN (SELECT w.* FROM words AS w WHERE w.becomes = w.means
                ORDER BY cs_internal.order_progress(w.means) DESC, w.at DESC, w.word DESC LIMIT 1) AS l ON true;
  IF NOT FOUND OR cs_internal.order_progress(said.becomes) < cs_internal.order_progress(state) THEN
    RETURN;
  END IF;
  state := said.becomes;
  IF (said.at > o.fetched_at OR cs_internal.order_progress(state) > cs_internal.order_progress(o.state))
     AND NOT EXISTS (SELECT FROM cs_internal.webhook_events AS e
                      WHERE e.order_id = o.id AND e.remote_status IS NOT NULL
                        AND (e.at > said.at OR cs_internal.order_progress(e.state) >= cs_internal.order_progress(said.means))) THEN
    status := coalesce(said.word, status);
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.webhook_inferred(cs_internal.orders, text, text) IS
'What an order of this state and remote status is by the events that leave open whose their status is, if nobody asks about it '
'(poll_at is NULL): never less, and never stopped.';
REVOKE ALL ON FUNCTION cs_internal.webhook_inferred(cs_internal.orders, text, text) FROM PUBLIC;

-- From now on nobody asks about an order: what was in doubt counts.
CREATE FUNCTION cs_internal.webhooks_infer(order_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
  inferred record;
BEGIN
  SELECT * INTO STRICT old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  SELECT * INTO inferred FROM cs_internal.webhook_inferred(old, old.state, (old.remote).remote_status);
  IF (inferred.state, inferred.status) IS DISTINCT FROM (old.state, (old.remote).remote_status) THEN
    UPDATE cs_internal.orders AS t
       SET state = inferred.state, remote.remote_status = inferred.status, changed_at = clock_timestamp()
     WHERE t.id = order_id;
  END IF;
  IF inferred.state <> old.state THEN
    PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, inferred.state, 'cupsource',
      jsonb_build_object('remote_status', inferred.status));
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.webhooks_infer(bigint) IS
'Takes the order to be what its events say that were in doubt, because it cannot be asked for any more.';
REVOKE ALL ON FUNCTION cs_internal.webhooks_infer(bigint) FROM PUBLIC;

-- An event that knows its order: into the order's history, its parcels, and its state.
CREATE FUNCTION cs_internal.webhook_apply(event cs_internal.webhook_events, poll_interval interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  old cs_internal.orders;
  asked_at timestamptz;
  state_now text;
  lives_as text;
  status_now text;
  is_late boolean;
  news boolean;
BEGIN
  -- Whoever waits here sees the events of whoever was before.
  SELECT * INTO STRICT old FROM cs_internal.orders AS t WHERE t.id = event.order_id FOR NO KEY UPDATE;
  asked_at := coalesce(old.fetched_at, '-infinity');
  state_now := old.state;
  status_now := (old.remote).remote_status;

  -- Late is what happened before the partner was last asked: only forwards then.
  is_late := event.at <= asked_at;
  IF event.state IS NOT NULL AND cs_internal.webhook_first(old.id, asked_at, true) = event.event_id THEN
    state_now := CASE
      WHEN old.state IN ('cancelling', 'orphaned') AND event.state NOT IN ('cancelled', 'rejected') THEN old.state
      WHEN is_late AND cs_internal.order_progress(event.state) < cs_internal.order_progress(old.state) THEN old.state
      WHEN cs_internal.order_progress(old.state) >= 4 AND cs_internal.order_progress(event.state) < 4 THEN old.state
      ELSE event.state END;
  END IF;
  IF event.remote_status IS NOT NULL
     AND cs_internal.webhook_first(old.id, asked_at, false) = event.event_id
     AND (NOT is_late
          OR cs_internal.order_progress(event.state) >= greatest(cs_internal.order_progress(old.state), 0)) THEN
    status_now := event.remote_status;
  END IF;

  PERFORM cs_internal.webhook_parcels(old.id, event.parcels);
  IF old.poll_at IS NULL THEN
    SELECT i.state, i.status INTO state_now, status_now FROM cs_internal.webhook_inferred(old, state_now, status_now) AS i;
  END IF;

  lives_as := CASE state_now WHEN 'orphaned' THEN coalesce(event.state, state_now) ELSE state_now END;
  news := state_now <> old.state OR status_now IS DISTINCT FROM (old.remote).remote_status;
  UPDATE cs_internal.orders AS t
     SET state = state_now,
         remote.remote_status = status_now,
         remote.order_number = coalesce((t.remote).order_number, event.order_number),
         remote.rejection_reason = CASE
           WHEN state_now = 'rejected' THEN coalesce((
             SELECT e.rejection_reason FROM cs_internal.webhook_events AS e
              WHERE e.order_id = old.id AND e.state = 'rejected' AND e.rejection_reason IS NOT NULL
              ORDER BY e.at DESC, e.event_id DESC LIMIT 1), (t.remote).rejection_reason)
           WHEN old.state <> 'rejected' THEN (t.remote).rejection_reason END,
         remote.cancelled_at = CASE
           WHEN state_now = 'cancelled' THEN coalesce((
             SELECT max(e.at) FROM cs_internal.webhook_events AS e
              WHERE e.order_id = old.id AND e.state = 'cancelled'), (t.remote).cancelled_at)
           WHEN old.state <> 'cancelled' THEN (t.remote).cancelled_at END,
         -- Why the partner could not be asked matters as long as it is asked.
         error = CASE WHEN t.failing_since IS NULL OR cs_internal.is_followed(lives_as) THEN t.error END,
         failing_since = CASE WHEN cs_internal.is_followed(lives_as) THEN t.failing_since END,
         changed_at = CASE WHEN news THEN clock_timestamp() ELSE t.changed_at END,
         next_attempt_at = CASE WHEN state_now = 'cancelling' THEN t.next_attempt_at END,
         -- NULL stays so: the partner cannot be asked.  What is asked for, or never was, is not put off by other events.
         poll_at = CASE
           WHEN t.poll_at IS NULL OR NOT cs_internal.is_followed(lives_as) THEN NULL
           WHEN event.doubted IS NOT NULL THEN clock_timestamp()
           WHEN old.fetched_at IS NULL OR cs_internal.webhook_asks(old.id, asked_at) THEN t.poll_at
           ELSE cs_internal.poll_next(lives_as, clock_timestamp(), poll_interval, true) END
   WHERE t.id = old.id;
  IF state_now <> old.state THEN
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, state_now, 'cupsource',
      jsonb_strip_nulls(jsonb_build_object('remote_status', coalesce(event.remote_status, event.doubted), 'webhook', event.event_id,
        'reason', CASE WHEN state_now = 'rejected' THEN event.rejection_reason END)));
  END IF;
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail, fingerprint)
  VALUES (old.id, event.at, 'remote', coalesce(event.type, 'webhook'), 'webhook',
    CASE WHEN jsonb_typeof(event.payload->'data') = 'object' THEN event.payload->'data' ELSE event.payload END,
    'webhook#' || md5(event.event_id));
  UPDATE cs_internal.webhook_events AS e SET applied_at = clock_timestamp()
   WHERE e.server = event.server AND e.event_id = event.event_id;
END $$;
COMMENT ON FUNCTION cs_internal.webhook_apply(cs_internal.webhook_events, interval) IS
'Applies a stored event to its order, whose row it locks. What the order becomes depends on the events that are there, not on the order of their deliveries.';
REVOKE ALL ON FUNCTION cs_internal.webhook_apply(cs_internal.webhook_events, interval) FROM PUBLIC;

CREATE FUNCTION cs_internal.webhook_received(server text, event_id text, type text, at timestamptz, remote_id text,
  order_number text, remote_status text, state text, rejection_reason text, parcels jsonb, problem text,
  payload jsonb, poll_interval interval, doubted text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  order_id bigint;
  event cs_internal.webhook_events;
BEGIN
  order_id := cs_internal.webhook_order(server, remote_id, order_number);
  INSERT INTO cs_internal.webhook_events AS e
  VALUES (server, event_id, type, coalesce(at, moment), remote_id, order_number, remote_status, state,
    rejection_reason, coalesce(parcels, '[]'), problem, payload, moment, order_id, NULL,
    order_id IS NULL AND coalesce(remote_id, order_number) IS NOT NULL, doubted)
  ON CONFLICT ON CONSTRAINT webhook_events_pkey DO NOTHING
  RETURNING * INTO event;
  IF NOT FOUND THEN
    RETURN 'duplicate';
  END IF;
  IF order_id IS NULL THEN
    RETURN CASE WHEN event.unseen THEN 'waiting' ELSE 'kept' END;
  END IF;
  PERFORM cs_internal.webhook_apply(event, poll_interval);
  -- It may have told the order's number, by which others wait.
  IF EXISTS (SELECT FROM cs_internal.webhook_events AS e
              WHERE e.server = event.server AND e.order_number = event.order_number AND e.order_id IS NULL) THEN
    PERFORM cs_internal.webhooks_waiting(event.order_id, poll_interval);
  END IF;
  RETURN 'applied';
END $$;
COMMENT ON FUNCTION cs_internal.webhook_received(text, text, text, timestamptz, text, text, text, text, text, jsonb, text, jsonb, interval, text) IS
'Stores an event that was verified: applied (to its order), waiting (for an order of that name), kept (it names none), or duplicate (it is there already, and nothing changes).';
REVOKE ALL ON FUNCTION cs_internal.webhook_received(text, text, text, timestamptz, text, text, text, text, text, jsonb, text, jsonb, interval, text)
  FROM PUBLIC;

CREATE FUNCTION cs_internal.webhook_order(server text, remote_id text, order_number text) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  there text[] := '{placed,approved,in_production,shipped,delivered,rejected,cancelled,cancelling,orphaned}';
  found_id bigint;
BEGIN
  SELECT max(o.id) INTO found_id
    FROM cs_internal.orders AS o
   WHERE o.server = webhook_order.server AND o.remote_id = webhook_order.remote_id AND o.state = ANY (there);
  IF found_id IS NULL AND order_number IS NOT NULL THEN
    -- A person may have given it for the id.
    SELECT max(n.id) INTO found_id
      FROM (SELECT o.id FROM cs_internal.orders AS o
             WHERE o.server = webhook_order.server AND (o.remote).order_number = webhook_order.order_number
               AND o.remote_id IS NOT NULL AND o.state = ANY (there)
             UNION
            SELECT o.id FROM cs_internal.orders AS o
             WHERE o.server = webhook_order.server AND o.remote_id = webhook_order.order_number
               AND o.state = ANY (there)) AS n
    HAVING count(*) = 1;
  END IF;
  RETURN found_id;
END $$;
COMMENT ON FUNCTION cs_internal.webhook_order(text, text, text) IS
'The order that the partner calls so, if it is known to be there: by its id, else the only one of that number.';
REVOKE ALL ON FUNCTION cs_internal.webhook_order(text, text, text) FROM PUBLIC;

-- An order has become known at the partner, or by another name: what waits for it is applied, in the order of its happening.
CREATE FUNCTION cs_internal.webhooks_waiting(order_id bigint, poll_interval interval) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  o cs_internal.orders;
  event cs_internal.webhook_events;
  applied integer := 0;
BEGIN
  -- The order before its events, as everywhere.
  SELECT * INTO o FROM cs_internal.orders AS t WHERE t.id = webhooks_waiting.order_id FOR NO KEY UPDATE;
  UPDATE cs_internal.webhook_events AS e SET order_id = o.id, unseen = false
   WHERE e.server = o.server AND e.remote_id = o.remote_id AND e.order_id IS NULL;
  UPDATE cs_internal.webhook_events AS e SET order_id = o.id, unseen = false
   WHERE e.server = o.server AND e.order_number IN (o.remote_id, (o.remote).order_number) AND e.order_id IS NULL
     AND cs_internal.webhook_order(e.server, e.remote_id, e.order_number) = o.id;
  FOR event IN SELECT * FROM cs_internal.webhook_events AS e
                WHERE e.order_id = webhooks_waiting.order_id AND e.applied_at IS NULL
                ORDER BY e.at, e.event_id LOOP
    PERFORM cs_internal.webhook_apply(event, poll_interval);
    applied := applied + 1;
  END LOOP;
  RETURN applied;
END $$;
COMMENT ON FUNCTION cs_internal.webhooks_waiting(bigint, interval) IS
'Applies the events that came before their order was known here by the name that they have for it; returns how many.';
REVOKE ALL ON FUNCTION cs_internal.webhooks_waiting(bigint, interval) FROM PUBLIC;

CREATE FUNCTION cs_internal.webhooks_settle() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  event record;
  found_id bigint;
  settled integer := 0;
BEGIN
  FOR event IN SELECT e.server, e.event_id, e.remote_id, e.order_number FROM cs_internal.webhook_events AS e
                WHERE e.unseen ORDER BY e.received_at LIMIT 1000 LOOP
    found_id := cs_internal.webhook_order(event.server, event.remote_id, event.order_number);
    IF found_id IS NOT NULL THEN
      PERFORM cs_internal.webhooks_waiting(found_id, '1 hour');
    ELSE
      UPDATE cs_internal.webhook_events AS e SET unseen = false
       WHERE e.server = event.server AND e.event_id = event.event_id;
    END IF;
    settled := settled + 1;
  END LOOP;
  RETURN settled;
END $$;
COMMENT ON FUNCTION cs_internal.webhooks_settle() IS
'The worker''s look at events whose orders were not known when they came: an order may have been recorded at the same time.';
REVOKE ALL ON FUNCTION cs_internal.webhooks_settle() FROM PUBLIC;
