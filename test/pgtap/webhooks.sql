-- What webhooks do to orders: the same whatever the order of their deliveries.
BEGIN;
SELECT plan(108);
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');

-- An order in a state, asked about at noon.
CREATE FUNCTION pg_temp.order_in(state text, remote_id text DEFAULT 'r' || nextval('cs_internal.order_event_id')) RETURNS bigint
LANGUAGE sql AS $$
  INSERT INTO cs_internal.orders (server, external_id, state, lines, created_by, origin, remote_id, remote.remote_status, fetched_at,
                                  poll_at, next_attempt_at)
  VALUES ('shop', 'o' || nextval('cs_internal.order_event_id'), state, '[]', 'erp', cs_internal.origin(), remote_id, 'old',
          '2036-01-01 12:00Z', now(), NULL)
  RETURNING id $$;

-- A delivery: 'id at state [status]', at hours of that day.
CREATE FUNCTION pg_temp.deliver(order_id bigint, event text, parcels jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT cs_internal.webhook_received('shop', order_id || p[1], 'x', '2036-01-01'::timestamp AT TIME ZONE 'UTC' + p[2]::interval,
    (SELECT remote_id FROM cs_internal.orders WHERE id = order_id), NULL, coalesce(p[4], p[3]), nullif(p[3], '-'), 'why', parcels, NULL,
    '{}', '1 min')
    FROM string_to_array(event, ' ') AS p $$;

CREATE FUNCTION pg_temp.now_in(order_id bigint) RETURNS text LANGUAGE sql AS $$
  SELECT state || ' ' || (remote).remote_status FROM cs_internal.orders WHERE id = order_id $$;

-- Every permutation of an array.
CREATE FUNCTION pg_temp.permutations(a text[]) RETURNS SETOF text[] LANGUAGE plpgsql AS $$ BEGIN
  IF cardinality(a) < 2 THEN
    RETURN NEXT a;
  ELSE
    RETURN QUERY SELECT a[i] || p FROM generate_subscripts(a, 1) AS i, pg_temp.permutations(a[:i - 1] || a[i + 1:]) AS p;
  END IF;
END $$;

-- What comes of events, in every order of delivery.
CREATE FUNCTION pg_temp.outcomes(state text, events text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text[] := '{}';
  events_now text[];
  event text;
  id bigint;
BEGIN
  FOR events_now IN SELECT * FROM pg_temp.permutations(events) LOOP
    id := pg_temp.order_in(state);
    FOREACH event IN ARRAY events_now LOOP
      PERFORM pg_temp.deliver(id, event);
    END LOOP;
    result := result || pg_temp.now_in(id);
  END LOOP;
  RETURN (SELECT string_agg(DISTINCT r, ' / ') FROM unnest(result) AS r);
END $$;

SELECT is(pg_temp.outcomes(state, events), outcome, what) FROM (VALUES
  ('placed', '{a 13:00 approved,b 14:00 in_production,c 15:00 shipped,d 16:00 delivered}'::text[], 'delivered delivered', 'the usual way'),
  ('placed', '{a 13:00 approved,b 14:00 in_production}', 'in_production in_production', 'to its middle'),
  ('placed', '{a 13:00 shipped,b 14:00 in_production}', 'in_production in_production', 'the latest word, also backwards'),
  ('placed', '{a 13:00 in_production,b 13:00 shipped,c 13:00 approved}', 'shipped shipped', 'in one instant, what is further on'),
  ('placed', '{a 13:00 shipped Shipped,b 13:00 shipped SHIPPED}', 'shipped SHIPPED', 'and of two words the one of the higher id'),
  ('placed', '{a 13:00 delivered,b 14:00 in_production}', 'delivered delivered', 'an end stays one'),
  ('placed', '{a 13:00 rejected,b 14:00 delivered,c 15:00 approved}', 'delivered delivered', 'of two ends the later one'),
  ('placed', '{a 13:00 shipped,b 14:00 - hold,c 12:30 in_production}', 'shipped hold', 'a word that no document knows changes no state'),
  ('placed', '{a 13:00 - hold,b 14:00 shipped}', 'shipped shipped', 'and is replaced by a later one'),
  ('placed', '{a 13:00 delivered,b 14:00 - archived}', 'delivered delivered', 'but not after the end'),
  ('placed', '{a 10:00 approved,b 11:00 in_production}', 'in_production in_production', 'before the last answer: forwards, the clock may be behind'),
  ('shipped', '{a 10:00 approved,b 11:00 in_production}', 'shipped old', 'and never backwards'),
  ('placed', '{a 10:00 shipped,b 11:00 in_production}', 'shipped shipped', 'not even by their own order'),
  ('placed', '{a 10:00 shipped,b 13:00 in_production}', 'in_production in_production', 'what came after the answer outweighs it'),
  ('placed', '{a 10:00 delivered,b 13:00 in_production}', 'delivered delivered', 'unless it was an end'),
  ('placed', '{a 10:00 delivered,b 11:00 cancelled,c 10:30 rejected}', 'cancelled cancelled', 'of ends before the answer the one that is further on'),
  ('placed', '{a 10:00 - hold}', 'placed old', 'an old word that says nothing is not taken'),
  ('shipped', '{a 10:00 shipped SHIPPED}', 'shipped SHIPPED', 'one that says the same is'),
  ('delivered', '{a 13:00 in_production,b 14:00 shipped}', 'delivered shipped', 'an end by the partner''s answer stays one, too'),
  ('delivered', '{a 13:00 cancelled}', 'cancelled cancelled', 'until it says another'),
  ('orphaned', '{a 13:00 in_production,b 14:00 shipped}', 'orphaned shipped', 'what nobody wants stays so'),
  ('orphaned', '{a 13:00 in_production,b 14:00 rejected}', 'rejected rejected', 'until its end'),
  ('cancelling', '{a 13:00 shipped,b 14:00 delivered}', 'cancelling delivered', 'what is being cancelled, too')
) AS t (state, events, outcome, what);

-- Once each.
CREATE TEMP TABLE once AS SELECT pg_temp.order_in('placed') AS id;
SELECT is(pg_temp.deliver(id, 'a 13:00 approved'), 'applied', 'an event') FROM once;
SELECT is(pg_temp.deliver(id, 'a 13:00 approved'), 'duplicate', 'and again') FROM once;
SELECT is(pg_temp.deliver(id, 'a 14:00 shipped'), 'duplicate', 'by its id alone') FROM once;
SELECT is(pg_temp.now_in(id), 'approved approved', 'changes nothing') FROM once;
SELECT is((SELECT string_agg(source || ' ' || type, ', ' ORDER BY e.id) FROM cs_internal.order_events AS e WHERE order_id = once.id),
  'local approved, remote x', 'the history has the state and the event') FROM once;
SELECT is((SELECT count(*) FROM cs_internal.webhook_events AS e WHERE e.order_id = once.id AND e.applied_at IS NOT NULL), 1::bigint, 'the event is applied') FROM once;
SELECT is(pg_temp.deliver(id, 'b 12:30 shipped'), 'applied', 'a late one is applied, too') FROM once;
SELECT is(pg_temp.now_in(id), 'approved approved', 'which moves nothing back') FROM once;
SELECT is((SELECT string_agg(source || ' ' || type, ', ' ORDER BY e.id) FROM cs_internal.order_events AS e WHERE order_id = once.id),
  'local approved, remote x, remote x', 'but is in the history') FROM once;
SELECT ok(poll_at - clock_timestamp() BETWEEN '59 min' AND '61 min', 'the partner is asked in an hour') FROM cs_internal.orders JOIN once USING (id);
SELECT is(pg_temp.deliver(id, 'c 15:00 rejected'), 'applied', 'its end') FROM once;
SELECT is(poll_at, NULL, 'it is asked no more') FROM cs_internal.orders JOIN once USING (id);
SELECT is((remote).rejection_reason, 'why', 'and why') FROM cs_internal.orders JOIN once USING (id);
SELECT is(pg_temp.deliver(id, 'd 16:00 cancelled'), 'applied', 'another end') FROM once;
SELECT is((remote).cancelled_at, '2036-01-01 16:00Z', 'since then') FROM cs_internal.orders JOIN once USING (id);

-- Where the partner cannot be asked, it is not.
CREATE TEMP TABLE deaf AS SELECT pg_temp.order_in('placed') AS id;
UPDATE cs_internal.orders AS o SET poll_at = NULL FROM deaf WHERE o.id = deaf.id;
SELECT is(pg_temp.deliver(id, 'a 13:00 shipped'), 'applied', 'an order that cannot be asked for') FROM deaf;
SELECT is(state || coalesce(poll_at::text, ''), 'shipped', 'is told of all the same') FROM cs_internal.orders JOIN deaf USING (id);

-- There what is in doubt counts, too: 'id at ?word [parcel]', in every order of delivery.
CREATE FUNCTION pg_temp.unasked(events text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text[] := '{}';
  events_now text[];
  p text[];
  word text;
  new_id bigint;
BEGIN
  FOR events_now IN SELECT * FROM pg_temp.permutations(events) LOOP
    new_id := pg_temp.order_in('placed');
    UPDATE cs_internal.orders AS o SET poll_at = NULL WHERE o.id = new_id;
    FOR i IN 1 .. cardinality(events_now) LOOP
      p := string_to_array(events_now[i], ' ');
      word := substr(p[3], 2);
      IF p[3] LIKE '?%' THEN
        PERFORM cs_internal.webhook_received('shop', new_id || p[1], 'x', '2036-01-01'::timestamp AT TIME ZONE 'UTC' + p[2]::interval, o.remote_id, NULL, NULL, NULL,
          NULL, CASE WHEN p[4] IS NOT NULL THEN jsonb_build_array(jsonb_build_object('tracking_number', p[4], 'status', word)) END, NULL, '{}', '1 min', word)
           FROM cs_internal.orders AS o WHERE o.id = new_id;
      ELSE
        PERFORM pg_temp.deliver(new_id, events_now[i]);
      END IF;
    END LOOP;
    result := result || pg_temp.now_in(new_id);
  END LOOP;
  RETURN (SELECT string_agg(DISTINCT r, ' / ') FROM unnest(result) AS r);
END $$;
SELECT is(pg_temp.unasked(events), outcome, what) FROM (VALUES
  ('{a 13:00 ?in_transit N1}'::text[], 'shipped in_transit', 'where nobody is asked, a shipped parcel makes the order shipped'),
  ('{a 13:00 ?in_transit N1,b 14:00 ?Delivered N1,c 12:30 ?in_production}', 'delivered Delivered', 'and delivered when it is there'),
  ('{a 13:00 ?cancelled N1,b 14:00 ?delivered N2}', 'delivered delivered', 'a label that nobody used is no parcel'),
  ('{a 13:00 ?delivered}', 'shipped old', 'without a parcel something of it was'),
  ('{a 13:00 ?delivered,b 12:30 ?in_production}', 'shipped in_production', 'whatever else is said'),
  ('{a 13:00 ?rejected,b 14:00 ?cancelled N1,c 15:00 ?approved}', 'placed old', 'no part of it stops it, nor approves it'),
  ('{a 13:00 approved,b 14:00 ?shipped N1}', 'shipped shipped', 'beside what is clear it counts if it is further on'),
  ('{a 13:00 ?shipped N1,b 14:00 in_production}', 'shipped in_production', 'and moves nothing back'),
  ('{a 13:00 ?shipped N1,b 14:00 - hold}', 'shipped hold', 'a later word that is clear stays'),
  ('{a 13:00 ?shipped N1,b 14:00 cancelled}', 'cancelled cancelled', 'and so does an end'),
  ('{a 13:00 ?delivered N1,b 14:00 shipped}', 'delivered shipped', 'that all parcels are there is one')
) AS t (events, outcome, what);
CREATE TEMP TABLE late_deaf AS SELECT pg_temp.order_in('placed') AS id;
SELECT is(cs_internal.webhook_received('shop', 'before', 'x', '2036-01-01 13:00Z', remote_id, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '1 min', 'shipped'),
  'applied', 'an event in doubt') FROM cs_internal.orders JOIN late_deaf USING (id);
SELECT is(pg_temp.now_in(id), 'placed old', 'because of which the partner is asked') FROM late_deaf;
SELECT lives_ok(format('SELECT cs_internal.order_poll_later(%s, NULL)', id), 'which it cannot be') FROM late_deaf;
SELECT is(pg_temp.now_in(id), 'shipped shipped', 'counts from then on') FROM late_deaf;
SELECT is((SELECT string_agg(type, ' ' ORDER BY e.id) FROM cs_internal.order_events AS e WHERE order_id = late_deaf.id AND source = 'local'), 'shipped', 'with an event') FROM late_deaf;

-- A status that may be the order's: it is asked for, and other events do not put that off.
CREATE TEMP TABLE doubt AS SELECT pg_temp.order_in('placed') AS id;
UPDATE cs_internal.orders AS o SET poll_at = now() + interval '1 hour', fetched_at = now() - interval '1 hour' FROM doubt WHERE o.id = doubt.id;
SELECT is(cs_internal.webhook_received('shop', 'doubt', 'proof.rejected', '2036-01-01 13:00Z', remote_id, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '1 min', 'rejected'),
  'applied', 'an event in doubt') FROM cs_internal.orders JOIN doubt USING (id);
SELECT is(pg_temp.now_in(id), 'placed old', 'moves nothing') FROM doubt;
SELECT ok(poll_at <= clock_timestamp(), 'but the partner is asked at once') FROM cs_internal.orders JOIN doubt USING (id);
SELECT is(pg_temp.deliver(id, 'a 14:00 in_production'), 'applied', 'another event') FROM doubt;
SELECT ok(poll_at <= clock_timestamp(), 'does not put that off') FROM cs_internal.orders JOIN doubt USING (id);
UPDATE cs_internal.orders AS o SET fetched_at = clock_timestamp() FROM doubt WHERE o.id = doubt.id;
SELECT is(pg_temp.deliver(id, 'b 14:00 shipped'), 'applied', 'after it was asked') FROM doubt;
SELECT ok(poll_at > clock_timestamp() + interval '59 min', 'it is asked in an hour') FROM cs_internal.orders JOIN doubt USING (id);

-- It came while the answer to an earlier look was under way.
SELECT is(cs_internal.webhook_received('shop', 'meanwhile', 'proof.rejected', '2036-01-01 13:00Z', remote_id, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '1 min', 'rejected'),
  'applied', 'an event in doubt after the partner was asked') FROM cs_internal.orders JOIN doubt USING (id);
SELECT lives_ok(format($$SELECT cs_internal.order_followed(%s, NULL, NULL, NULL, '1 min', asked_at => clock_timestamp() - interval '1 min')$$, id), 'which answers then') FROM doubt;
SELECT ok(poll_at <= clock_timestamp(), 'and is asked again at once') FROM cs_internal.orders JOIN doubt USING (id);
SELECT is(pg_temp.deliver(id, 'c 14:00 shipped'), 'applied', 'another event') FROM doubt;
SELECT ok(poll_at <= clock_timestamp(), 'does not put that off') FROM cs_internal.orders JOIN doubt USING (id);
SELECT lives_ok(format($$SELECT cs_internal.order_followed(%s, NULL, NULL, NULL, '1 min', asked_at => clock_timestamp())$$, id), 'when it has answered that') FROM doubt;
SELECT ok(poll_at > clock_timestamp() + interval '59 min', 'it is asked in an hour') FROM cs_internal.orders JOIN doubt USING (id);

-- An order that nobody wants is asked for until its end.
CREATE TEMP TABLE orphan AS SELECT pg_temp.order_in('orphaned') AS id;
SELECT is(pg_temp.deliver(id, 'a 13:00 shipped'), 'applied', 'an orphaned order is shipped') FROM orphan;
SELECT is(state || ' ' || (poll_at > now())::text, 'orphaned true', 'and followed') FROM cs_internal.orders JOIN orphan USING (id);
SELECT is(pg_temp.deliver(id, 'b 14:00 delivered'), 'applied', 'then delivered') FROM orphan;
SELECT is(state || coalesce(poll_at::text, ''), 'orphaned', 'and not followed any more') FROM cs_internal.orders JOIN orphan USING (id);

-- How often to ask.
SELECT is(cs_internal.is_told('shop'), true, 'webhooks of this server arrive');
SELECT is(cs_internal.is_told('hub'), false, 'of that they do not');
UPDATE cs_internal.webhook_events SET received_at = now() - interval '25 hours';
SELECT is(cs_internal.is_told('shop'), false, 'nor when none came for a day');
CREATE FUNCTION pg_temp.events_read() RETURNS numeric LANGUAGE sql AS $$
  SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) + pg_stat_get_xact_tuples_returned('cs_internal.webhook_events'::regclass)
    FROM pg_index WHERE indrelid = 'cs_internal.webhook_events'::regclass $$;
INSERT INTO cs_internal.webhook_events (server, event_id, at, payload, received_at)
SELECT 'quiet', n, now(), '{}', now() - interval '2 days' FROM generate_series(1, 1000) AS n;
CREATE TEMP TABLE read AS SELECT pg_temp.events_read() AS before;
SELECT is(cs_internal.is_told('quiet'), false, 'where a thousand came before');
SELECT is(pg_temp.events_read() - before, 0::numeric, 'none of them is read for that') FROM read;
SELECT is(cs_internal.poll_next('delivered', now(), '1 min', true), NULL, 'an end is not asked for');
SELECT ok(cs_internal.poll_next('placed', clock_timestamp(), '1 min', true) - clock_timestamp() BETWEEN '59 min' AND '61 min', 'what is told of, after an hour');
SELECT ok(cs_internal.poll_next('placed', clock_timestamp() - interval '2 days', '1 min', true) - clock_timestamp() BETWEEN '359 min' AND '361 min', 'or six');
SELECT ok(cs_internal.poll_next('placed', clock_timestamp(), '1 day', true) - clock_timestamp() BETWEEN '23 h' AND '25 h', 'and never before its interval');

-- Before the order.
SELECT is(cs_internal.webhook_received('shop', 'e1', 'x', '2036-01-01 13:00Z', 'r-early', NULL, 'shipped', 'shipped', NULL, NULL, NULL, '{}', '1 min'),
  'waiting', 'an event of an order that is not known');
SELECT is(cs_internal.webhook_received('shop', 'e2', 'x', '2036-01-01 12:00Z', 'r-early', NULL, 'approved', 'approved', NULL, NULL, NULL, '{}', '1 min'),
  'waiting', 'and another');
SELECT is(cs_internal.webhook_received('shop', 'e3', 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '1 min'), 'kept', 'one of no order is kept');
SELECT is(cs_internal.webhook_received('hub', 'e1', 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{}', '1 min'), 'kept', 'of another server it is another');
SELECT ok(cs_internal.next_due('30 s') <= clock_timestamp() + interval '1 s', 'the worker has to look');
SELECT is(cs_internal.webhooks_settle(), 2, 'it looks at both');
SELECT is(cs_internal.webhooks_settle(), 0, 'once');
SELECT is(cs_internal.next_due('30 s') > clock_timestamp() + interval '1 s', true, 'and then not for these');
CREATE TEMP TABLE early AS SELECT pg_temp.order_in('sending', NULL) AS id;
SELECT lives_ok(format($$SELECT cs_internal.order_placed(%s, 'placed', ROW('r-early', %s)::cs_internal.remote_order, '{}', '1 min')$$, id,
  (SELECT string_agg('NULL', ', ') FROM generate_series(1, 16))), 'it is placed') FROM early;
SELECT is(pg_temp.now_in(id), 'shipped shipped', 'and as far as the events say') FROM early;
SELECT is((SELECT string_agg(type, ' ' ORDER BY e.id) FROM cs_internal.order_events AS e WHERE e.order_id = early.id), 'placed x shipped x',
  'at once, with both in its history') FROM early;
SELECT is((SELECT count(*) FROM cs_internal.webhook_events WHERE order_id = early.id AND applied_at IS NOT NULL), 2::bigint, 'each once') FROM early;

-- Placed and received at the same time: neither saw the other.
CREATE TEMP TABLE race AS SELECT pg_temp.order_in('placed', 'r-race') AS id;
INSERT INTO cs_internal.webhook_events (server, event_id, at, remote_id, remote_status, state, parcels, payload, received_at, unseen)
VALUES ('shop', 'race', '2036-01-01 13:00Z', 'r-race', 'shipped', 'shipped', '[]', '{}', now(), true);
SELECT is(cs_internal.webhooks_settle(), 1, 'the worker looks');
SELECT is(pg_temp.now_in(id), 'shipped shipped', 'and applies it') FROM race;

-- An order that a person has found.
CREATE TEMP TABLE lost AS SELECT pg_temp.order_in('uncertain', NULL) AS id;
SELECT is(cs_internal.webhook_received('shop', 'l1', 'x', '2036-01-01 13:00Z', 'r-lost', NULL, 'approved', 'approved', NULL, NULL, NULL, '{}', '1 min'), 'waiting', 'its event waits');
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'placed', 'r-lost', 'erp')$$, id), 'until it is resolved') FROM lost;
SELECT is(pg_temp.now_in(id), 'approved approved', 'then it is applied') FROM lost;

-- Parcels: what the partner was asked for later than the event is only added to.
CREATE TEMP TABLE parcel AS SELECT pg_temp.order_in('placed') AS id;
SELECT lives_ok(format($$SELECT cs_internal.order_shipments(%s, '{NULL}', '{N1}', '{UPS}', '{NULL}', '{asked}', '{NULL}', '{t}', '{NULL}', '{NULL}')$$, id), 'a parcel by asking') FROM parcel;
UPDATE cs_internal.shipments AS s SET fetched_at = '2036-01-01 12:00Z' FROM parcel WHERE order_id = id;
CREATE FUNCTION pg_temp.parcels(order_id bigint) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(concat_ws(' ', shipment_id, tracking_number, carrier, status, tracking_url), ', ' ORDER BY shipment_id)
    FROM cs_internal.shipments AS s WHERE s.order_id = parcels.order_id $$;
SELECT pg_temp.deliver(id, 'a 10:00 shipped', '[{"tracking_number": "N1", "carrier": "DHL", "status": "older", "tracking_url": "u"}]') FROM parcel \g /dev/null
SELECT is(pg_temp.parcels(id), 'N1 N1 UPS asked u', 'an older event adds to it') FROM parcel;
SELECT pg_temp.deliver(id, 'b 13:00 shipped', '[{"tracking_number": "N1", "shipment_id": "s1", "status": "newer"}]') FROM parcel \g /dev/null
SELECT is(pg_temp.parcels(id), 's1 N1 DHL newer u', 'a newer one replaces, and may give it its id') FROM parcel;

CREATE FUNCTION pg_temp.shown(order_id bigint, number text, whole boolean) RETURNS text LANGUAGE sql AS $$
  SELECT cs_internal.order_shipments(order_id, '{NULL}', ARRAY[number], '{UPS}', '{NULL}', '{shown}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', whole);
  SELECT pg_temp.parcels(order_id) $$;
SELECT is(pg_temp.shown(id, 'N2', false), 'N2 N2 UPS shown, s1 N1 DHL newer u', 'one parcel without a list leaves those that events told of') FROM parcel;
SELECT is(pg_temp.shown(id, 'N1', false), 's1 N1 UPS shown', 'and replaces its own; by its number it is the one with the id') FROM parcel;
SELECT is(pg_temp.shown(id, 'N3', true), 'N3 N3 UPS shown', 'a list replaces all') FROM parcel;

-- The server's name.
SELECT lives_ok($$SELECT cs_internal.server_renamed('shop', 'store')$$, 'a server is renamed');
SELECT is((SELECT count(*) FROM cs_internal.webhook_events WHERE server = 'shop'), 0::bigint, 'its events go along');
SELECT * FROM finish();
ROLLBACK;
