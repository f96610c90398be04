/*
 * following.sql
 *	  What partners say about placed orders: their state, their history, their
 *	  parcels; and when to ask again.
 */

CREATE FUNCTION cs_internal.is_followed(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT state OPERATOR(pg_catalog.=) ANY (ARRAY['placed', 'approved', 'in_production', 'shipped', 'orphaned']);
END;
COMMENT ON FUNCTION cs_internal.is_followed(text) IS
'Is the partner asked about an order in this state? shipped: yes, for tracking updates and further parcels.';
REVOKE ALL ON FUNCTION cs_internal.is_followed(text) FROM PUBLIC;

-- What an orphan is for who wants it after all: as far as its partner was last seen to have come with it.
CREATE FUNCTION cs_internal.order_lives_as(o cs_internal.orders) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state text := cs_internal.remote_state(o.server, (o.remote).remote_status);
BEGIN
  RETURN CASE WHEN cs_internal.order_progress(state) BETWEEN 0 AND 4 THEN state ELSE 'placed' END;
END $$;
COMMENT ON FUNCTION cs_internal.order_lives_as(cs_internal.orders) IS
'The state of an order by the partner''s last word for it; placed, if that says nothing, or that it has been stopped.';
REVOKE ALL ON FUNCTION cs_internal.order_lives_as(cs_internal.orders) FROM PUBLIC;

-- When to ask next: often after a change, ever more rarely while nothing happens.
CREATE FUNCTION cs_internal.poll_next(state text, changed_at timestamptz, poll_interval interval,
  told boolean DEFAULT false) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  age interval := clock_timestamp() - changed_at;
BEGIN
  IF NOT cs_internal.is_followed(state) OR (state = 'shipped' AND age > '30 days') THEN
    RETURN NULL;
  END IF;
  IF told THEN
    RETURN clock_timestamp() + greatest(poll_interval, '1 hour', least(age / 2, '6 hours'));
  END IF;
  RETURN clock_timestamp() + greatest(poll_interval, least(age / 8, greatest(poll_interval, '1 hour')));
END $$;
COMMENT ON FUNCTION cs_internal.poll_next(text, timestamptz, interval, boolean) IS
'The next look at an order: after poll_interval at the earliest, an eighth of the time since its last change, an hour '
'at most. told: webhooks tell of it, so only what they miss is looked for, every hour to six. NULL: no more; a shipped '
'order is left after 30 days without change.';
REVOKE ALL ON FUNCTION cs_internal.poll_next(text, timestamptz, interval, boolean) FROM PUBLIC;

-- What an answer leaves out stays as it was.
CREATE FUNCTION cs_internal.order_merged(o cs_internal.remote_order, a cs_internal.remote_order)
RETURNS cs_internal.remote_order
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ROW(coalesce(a.remote_id, o.remote_id), coalesce(a.external_id, o.external_id),
    coalesce(a.order_number, o.order_number), coalesce(a.remote_status, o.remote_status),
    coalesce(a.currency, o.currency), coalesce(a.items_subtotal, o.items_subtotal),
    coalesce(a.shipping_cost, o.shipping_cost), coalesce(a.shipping_category_fee, o.shipping_category_fee),
    coalesce(a.discount_amount, o.discount_amount), coalesce(a.rush_fee, o.rush_fee),
    coalesce(a.total, o.total), coalesce(a.cost, o.cost), coalesce(a.item_count, o.item_count),
    coalesce(a.remote_created_at, o.remote_created_at), coalesce(a.last_shipped_at, o.last_shipped_at),
    coalesce(a.cancelled_at, o.cancelled_at),
    coalesce(a.rejection_reason, o.rejection_reason))::cs_internal.remote_order;
END $$;
COMMENT ON FUNCTION cs_internal.order_merged(cs_internal.remote_order, cs_internal.remote_order) IS
'What was known of an order, with what a new answer says.';
REVOKE ALL ON FUNCTION cs_internal.order_merged(cs_internal.remote_order, cs_internal.remote_order) FROM PUBLIC;

-- An answer without an id is about what it was asked for; a person may know an order by its number, and so may the partner.
CREATE FUNCTION cs_internal.is_order_of(a cs_internal.remote_order, remote_id text,
  known cs_internal.remote_order DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN a.remote_id IS NULL OR remote_id IS NULL OR coalesce(remote_id = a.order_number, false)
    OR EXISTS (SELECT FROM unnest(ARRAY[remote_id, known.remote_id, known.order_number]) AS n (name)
                WHERE n.name = a.remote_id
                   OR (lower(n.name) = lower(a.remote_id) AND n.name ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'));
END $$;
COMMENT ON FUNCTION cs_internal.is_order_of(cs_internal.remote_order, text, cs_internal.remote_order) IS
'Does the answer to a request by this id show that order, of which this is known? A UUID may be written in capitals or not.';
REVOKE ALL ON FUNCTION cs_internal.is_order_of(cs_internal.remote_order, text, cs_internal.remote_order) FROM PUBLIC;

-- What GET said about one order; remote states only, never backwards out of an end.
CREATE FUNCTION cs_internal.order_followed(order_id bigint, new_state text, a cs_internal.remote_order,
  answer jsonb, poll_interval interval, other_id text DEFAULT NULL, asked_at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
  state_now text;
  lives_as text;
  news boolean;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  IF NOT FOUND OR old.state NOT IN ('placed', 'approved', 'in_production', 'shipped', 'delivered',
                                    'rejected', 'cancelled', 'cancelling', 'orphaned')
     OR new_state NOT IN ('placed', 'approved', 'in_production', 'shipped', 'delivered',
                          'rejected', 'cancelled') THEN
    PERFORM cs_internal.order_refuse(order_id, coalesce(new_state, 'followed'));
  END IF;
  -- Of the two ids that an answer may have, the order's is the one that it is known by.
  IF other_id IN (old.remote_id, (old.remote).remote_id) THEN
    a.remote_id := other_id;
  END IF;
  PERFORM cs_internal.order_recognised(order_id, a);
  IF a.remote_id = (old.remote).order_number THEN
    a.remote_id := NULL;  -- its number in the id's place
  END IF;
  state_now := CASE
    -- An unknown remote status says nothing; an end stays one, and nothing goes back.
    WHEN new_state IS NULL OR old.state IN ('delivered', 'rejected', 'cancelled') THEN old.state
    WHEN old.state IN ('cancelling', 'orphaned') AND new_state NOT IN ('cancelled', 'rejected') THEN old.state
    WHEN cs_internal.order_progress(new_state) < cs_internal.order_progress(old.state) THEN old.state
    ELSE new_state END;
  news := state_now <> old.state
    OR coalesce(a.remote_status, (old.remote).remote_status) IS DISTINCT FROM (old.remote).remote_status;
  -- Where nobody wants it, it is followed by what it is at the partner.
  lives_as := CASE state_now WHEN 'orphaned' THEN coalesce(new_state, state_now) ELSE state_now END;
  UPDATE cs_internal.orders AS t
     SET state = state_now,
         -- Who resolved it may have given its number for that.
         remote_id = CASE WHEN t.remote_id = a.order_number THEN coalesce(a.remote_id, t.remote_id)
                          ELSE coalesce(t.remote_id, a.remote_id) END,
         remote = cs_internal.order_merged(t.remote, a),
         raw = coalesce(answer, t.raw),
         fetched_at = coalesce(asked_at, clock_timestamp()),
         error = CASE WHEN t.failing_since IS NULL THEN t.error END,
         failing_since = NULL,
         changed_at = CASE WHEN news THEN clock_timestamp() ELSE t.changed_at END,
         next_attempt_at = CASE WHEN state_now = 'cancelling' THEN t.next_attempt_at END,
         -- An event that came after the answer was asked for has the partner asked once more.
         poll_at = CASE
           WHEN cs_internal.is_followed(lives_as) AND cs_internal.webhook_asks(old.id, asked_at) THEN clock_timestamp()
           ELSE cs_internal.poll_next(lives_as, CASE WHEN news THEN clock_timestamp() ELSE t.changed_at END, poll_interval,
             cs_internal.is_told(old.server)) END
   WHERE t.id = order_id;
  IF state_now <> old.state THEN
    PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, state_now, 'cupsource',
      jsonb_strip_nulls(jsonb_build_object('remote_status', a.remote_status,
        'reason', a.rejection_reason)));
  END IF;
  PERFORM cs_internal.webhooks_waiting(old.id, poll_interval);
END $$;
COMMENT ON FUNCTION cs_internal.order_followed(bigint, text, cs_internal.remote_order, jsonb, interval, text, timestamptz) IS
'Applies what the partner says about a placed order. new_state NULL: a status that no document knows, stored and followed on. '
'other_id: what the answer calls it beside its remote_id. asked_at: when it was asked for; without that, now.';
REVOKE ALL ON FUNCTION cs_internal.order_followed(bigint, text, cs_internal.remote_order, jsonb, interval, text, timestamptz)
  FROM PUBLIC;

-- Does a row of the list show what is not known yet?  No row shows parcels: how those of a
-- shipped order are is asked after half the time since its last change, each six hours at last.
CREATE FUNCTION cs_internal.is_listed_news(o cs_internal.orders, status text, state text, shipped_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (o.remote).remote_status IS DISTINCT FROM status
    OR shipped_at IS NOT NULL AND shipped_at IS DISTINCT FROM (o.remote).last_shipped_at
    OR cs_internal.order_progress(state) > CASE WHEN o.state IN ('cancelling', 'orphaned') THEN 4
                                                ELSE cs_internal.order_progress(o.state) END
    OR o.state = 'shipped' AND coalesce(
         o.fetched_at <= clock_timestamp() - least((clock_timestamp() - o.changed_at) / 2, '6 hours'), true);
END $$;
COMMENT ON FUNCTION cs_internal.is_listed_news(cs_internal.orders, text, text, timestamptz) IS
'Is an order to be asked for by itself, because the partner''s list shows it otherwise than we know it, or does not show '
'the parcels of a shipped one, which nobody has asked for lately?';
REVOKE ALL ON FUNCTION cs_internal.is_listed_news(cs_internal.orders, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_listed(server text, remote_ids text[], statuses text[], states text[],
  shipped timestamptz[], poll_interval interval) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  WITH free AS (
    SELECT o.id, l.state
      FROM unnest(remote_ids, statuses, states, shipped) AS l (remote_id, status, state, shipped_at)
      JOIN cs_internal.orders AS o ON o.server = orders_listed.server AND o.remote_id = l.remote_id
     WHERE o.poll_at IS NOT NULL AND NOT cs_internal.is_listed_news(o, l.status, l.state, l.shipped_at)
       FOR NO KEY UPDATE OF o SKIP LOCKED
  )
  UPDATE cs_internal.orders AS o
     SET error = CASE WHEN o.failing_since IS NULL THEN o.error END,
         failing_since = NULL,
         poll_at = cs_internal.poll_next(
           CASE WHEN o.state <> 'orphaned' THEN o.state
                WHEN (o.remote).last_shipped_at IS NOT NULL THEN 'shipped'
                ELSE coalesce(f.state, o.state) END, o.changed_at, poll_interval)
    FROM free AS f
   WHERE o.id = f.id;
  RETURN QUERY
  SELECT o.id
    FROM unnest(remote_ids, statuses, states, shipped) AS l (remote_id, status, state, shipped_at)
    JOIN cs_internal.orders AS o ON o.server = orders_listed.server AND o.remote_id = l.remote_id
   WHERE o.poll_at IS NOT NULL
     AND cs_internal.is_listed_news(o, l.status, l.state, l.shipped_at)
   ORDER BY o.fetched_at;
END $$;
COMMENT ON FUNCTION cs_internal.orders_listed(text, text[], text[], text[], timestamptz[], interval) IS
'Applies a page of the partner''s list (states: what each row''s words mean here): what is as we know it is put off, and '
'as old as it was, because a list does not tell all; the ids of the rest are returned, to be asked for one by one. What '
'somebody has locked keeps no other waiting, and stays due.';
REVOKE ALL ON FUNCTION cs_internal.orders_listed(text, text[], text[], text[], timestamptz[], interval) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_poll_later(order_id bigint, after interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE cs_internal.orders AS t
     SET poll_at = clock_timestamp() + after,
         error = CASE WHEN t.failing_since IS NULL OR after IS NOT NULL THEN t.error END,
         failing_since = CASE WHEN after IS NOT NULL THEN t.failing_since END
   WHERE t.id = order_id AND t.poll_at IS NOT NULL;
  IF FOUND AND after IS NULL THEN
    PERFORM cs_internal.webhooks_waiting(order_id, '1 hour');
    PERFORM cs_internal.webhooks_infer(order_id);
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_poll_later(bigint, interval) IS
'The partner could not be asked about an order: try again later; NULL: it cannot be asked at all.';
REVOKE ALL ON FUNCTION cs_internal.order_poll_later(bigint, interval) FROM PUBLIC;

-- Ever more rarely: what cannot be followed is not to use up what the others need.
CREATE FUNCTION cs_internal.order_not_followed(order_id bigint, after interval, e cs_internal.order_error) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE cs_internal.orders AS t
     SET failing_since = coalesce(t.failing_since, clock_timestamp()),
         error = CASE WHEN t.state = 'cancelling' THEN t.error ELSE e END,
         poll_at = clock_timestamp()
           + greatest(after, least(clock_timestamp() - coalesce(t.failing_since, clock_timestamp()), '6 hours')) * (1 + random() / 4)
   WHERE t.id = order_id AND t.poll_at IS NOT NULL;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_followed(bigint, interval, cs_internal.order_error) IS
'The partner did not say what became of an order, or nothing that can be read: why is kept, and it is asked again, after '
'twice the time since the first such look, six hours at most, never sooner than after. No event: nothing happened to the order.';
REVOKE ALL ON FUNCTION cs_internal.order_not_followed(bigint, interval, cs_internal.order_error) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_not_seen(order_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  age interval := (SELECT clock_timestamp() - t.placed_at FROM cs_internal.orders AS t WHERE t.id = order_id);
BEGIN
  PERFORM cs_internal.order_poll_later(order_id, CASE WHEN age < '10 min' THEN greatest('30 s', 3 * age) END);
END $$;
COMMENT ON FUNCTION cs_internal.order_not_seen(bigint) IS
'The partner shows no such order where no document promises that it would: a new one may not be to be seen yet and is asked for '
'a few times more, an older one never again.';
REVOKE ALL ON FUNCTION cs_internal.order_not_seen(bigint) FROM PUBLIC;

-- The partner's own history; each event once, in the order of its list.
CREATE FUNCTION cs_internal.order_remote_events(order_id bigint, ats timestamptz[], types text[],
  bys text[], shipment_ids text[], details jsonb[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  added integer;
BEGIN
  WITH listed AS (
    SELECT e.at, e.type, e.by, e.n, d.detail,
           md5(jsonb_build_array(e.at AT TIME ZONE 'UTC', e.type, e.by, d.detail)::text) AS digest
      FROM unnest(ats, types, bys, shipment_ids, details)
           WITH ORDINALITY AS e (at, type, by, shipment_id, detail, n)
     CROSS JOIN LATERAL (SELECT CASE WHEN e.shipment_id IS NULL THEN e.detail
       ELSE coalesce(e.detail, '{}') || jsonb_build_object('shipment_id', e.shipment_id) END AS detail) AS d
  ), numbered AS (
    -- Two events that are equal in everything are two events.
    SELECT l.*, l.digest || '#' || row_number() OVER (PARTITION BY l.digest ORDER BY l.n) AS mark
      FROM listed AS l
  )
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail, fingerprint)
  SELECT order_remote_events.order_id, coalesce(n.at, clock_timestamp()), 'remote', n.type, n.by, n.detail, n.mark
    FROM numbered AS n
   WHERE NOT EXISTS (SELECT FROM cs_internal.order_events AS k
                      WHERE k.order_id = order_remote_events.order_id AND k.fingerprint = n.mark)
   ORDER BY n.n;
  GET DIAGNOSTICS added = ROW_COUNT;
  RETURN added;
END $$;
COMMENT ON FUNCTION cs_internal.order_remote_events(bigint, timestamptz[], text[], text[], text[], jsonb[]) IS
'Stores the events of the partner''s list that are not stored yet; returns how many. One without a time has that of its storing.';
REVOKE ALL ON FUNCTION cs_internal.order_remote_events(bigint, timestamptz[], text[], text[], text[], jsonb[])
  FROM PUBLIC;

CREATE FUNCTION cs_internal.order_shipments(order_id bigint, shipment_ids text[], numbers text[],
  carriers text[], urls text[], statuses text[], estimates timestamptz[], signatures boolean[],
  shipped timestamptz[], raws jsonb[], whole boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- An id that is the order's is not the parcel's, which may have one by its number.
  keys text[] := ARRAY(SELECT coalesce(nullif(l.id, o.remote_id),
                         (SELECT max(k.shipment_id) FROM cs_internal.shipments AS k
                           WHERE k.order_id = o.id AND k.tracking_number = l.number), l.number, l.n::text)
                         FROM cs_internal.orders AS o, unnest(shipment_ids, numbers) WITH ORDINALITY AS l (id, number, n)
                        WHERE o.id = order_id ORDER BY l.n);
BEGIN
  DELETE FROM cs_internal.shipments AS k
   WHERE k.order_id = order_shipments.order_id AND k.shipment_id <> ALL (keys)
     AND (whole OR NOT EXISTS (
       SELECT FROM cs_internal.webhook_events AS e, jsonb_array_elements(e.parcels) AS p
        WHERE e.order_id = order_shipments.order_id
          AND k.shipment_id IN (p.value->>'shipment_id', p.value->>'tracking_number')));
  INSERT INTO cs_internal.shipments AS t (order_id, shipment_id, tracking_number, carrier, tracking_url,
    status, estimated_delivery, signature_required, shipped_at, raw, fetched_at)
  SELECT DISTINCT ON (p.key) order_shipments.order_id, p.key, p.number, p.carrier, p.url, p.status,
         p.estimate, p.signature, p.shipped_at, p.raw, now()
    FROM unnest(keys, numbers, carriers, urls, statuses, estimates, signatures, shipped, raws) WITH ORDINALITY
           AS p (key, number, carrier, url, status, estimate, signature, shipped_at, raw, n)
   WHERE NOT EXISTS (
     SELECT FROM cs_internal.shipments AS k
      WHERE k.order_id = order_shipments.order_id AND k.shipment_id = p.key
        AND (k.tracking_number, k.carrier, k.tracking_url, k.status, k.estimated_delivery,
             k.signature_required, k.shipped_at, k.raw)
            IS NOT DISTINCT FROM
            (p.number, p.carrier, p.url, p.status, p.estimate, p.signature, p.shipped_at, p.raw))
   ORDER BY p.key, p.n DESC
  ON CONFLICT ON CONSTRAINT shipments_pkey DO UPDATE
     SET tracking_number = excluded.tracking_number, carrier = excluded.carrier,
         tracking_url = excluded.tracking_url, status = excluded.status,
         estimated_delivery = excluded.estimated_delivery,
         signature_required = excluded.signature_required, shipped_at = excluded.shipped_at,
         raw = excluded.raw, fetched_at = excluded.fetched_at;
  UPDATE cs_internal.orders AS o
     SET remote.last_shipped_at = latest.at
    FROM (SELECT max(k.shipped_at) AS at FROM cs_internal.shipments AS k
           WHERE k.order_id = order_shipments.order_id) AS latest
   WHERE o.id = order_shipments.order_id AND latest.at > coalesce((o.remote).last_shipped_at, '-infinity');
END $$;
COMMENT ON FUNCTION cs_internal.order_shipments(bigint, text[], text[], text[], text[], text[], timestamptz[],
  boolean[], timestamptz[], jsonb[], boolean) IS
'Stores the parcels of an order as an answer shows them: new ones, and what changed of the known ones. Others are gone; unless it '
'is not the whole list, of those that webhooks told of.';
REVOKE ALL ON FUNCTION cs_internal.order_shipments(bigint, text[], text[], text[], text[], text[], timestamptz[], boolean[], timestamptz[], jsonb[], boolean)
  FROM PUBLIC;

-- Which of the partner's items a line of ours has become; they need not be in its order.
CREATE FUNCTION cs_internal.order_item(order_id bigint, line integer, ids text[], skus text[],
  variation_ids text[], quantities bigint[]) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
  wanted jsonb;
  twins integer[];
  candidates integer[];
BEGIN
  SELECT t.external_id, t.lines INTO STRICT o FROM cs_internal.orders AS t WHERE t.id = order_id;
  wanted := o.lines -> (line - 1);
  IF line < 1 OR wanted IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the order has no line %s', line),
      DETAIL = format('Its lines are 1 to %s.', jsonb_array_length(o.lines));
  END IF;
  SELECT array_agg(l.place ORDER BY l.place) INTO twins
    FROM jsonb_array_elements(o.lines) WITH ORDINALITY AS l (item, place)
   WHERE (l.item ->> 'sku', l.item ->> 'variation_id', l.item -> 'quantity')
         IS NOT DISTINCT FROM (wanted ->> 'sku', wanted ->> 'variation_id', wanted -> 'quantity');
  SELECT array_agg(i.place ORDER BY i.place) INTO candidates
    FROM unnest(skus, variation_ids, quantities) WITH ORDINALITY AS i (sku, variation_id, quantity, place)
   WHERE coalesce(i.quantity = (wanted ->> 'quantity')::numeric, true)
     AND coalesce(lower(i.variation_id) = lower(wanted ->> 'variation_id'), i.sku = wanted ->> 'sku', true);
  IF cardinality(candidates) = cardinality(twins) THEN
    RETURN ids[candidates[array_position(twins, line)]];
  ELSIF cardinality(ids) = jsonb_array_length(o.lines) AND line = ANY (candidates) THEN
    RETURN ids[line];
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'PA006',
    MESSAGE = format('the partner does not show which item of order "%s" is line %s', o.external_id, line),
    DETAIL = format('Items that it shows: %s; of these, such as may be the line: %s; lines of the order: %s.',
                    cardinality(ids), coalesce(cardinality(candidates), 0), jsonb_array_length(o.lines));
END $$;
COMMENT ON FUNCTION cs_internal.order_item(bigint, integer, text[], text[], text[], bigint[]) IS
'The id of the item that a line has become: the one with its SKU or variation and quantity, among equal ones that in the same '
'place. 22023 if there is no such line, PA006 if the items do not show which one it is.';
REVOKE ALL ON FUNCTION cs_internal.order_item(bigint, integer, text[], text[], text[], bigint[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_designs_added(order_id bigint, line integer, by text, answer jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail)
  VALUES (order_id, clock_timestamp(), 'local', 'designs_added', by,
          coalesce(answer -> 'data', '{}') || jsonb_build_object('line', line));
END $$;
COMMENT ON FUNCTION cs_internal.order_designs_added(bigint, integer, text, jsonb) IS
'Keeps in the history what the partner answered to more designs for a line: all designs of the item and the new cost.';
REVOKE ALL ON FUNCTION cs_internal.order_designs_added(bigint, integer, text, jsonb) FROM PUBLIC;
