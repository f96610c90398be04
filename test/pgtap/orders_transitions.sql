-- Every transition from every state: the legal ones arrive, leave an event and
-- tell listeners; the others are refused with PA012 and change nothing.
BEGIN;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');

-- An order in a state.
CREATE FUNCTION pg_temp.order_in(state text) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO cs_internal.orders (server, external_id, state, lines, body, created_by, origin, attempts, remote_id,
                                  remote.remote_status, poll_at, lost_at, next_attempt_at, fetched_at)
  VALUES ('hub', 'o' || nextval('cs_internal.order_event_id'), state, '[{"sku": "A", "quantity": 1}]', '{}', 'erp',
          cs_internal.origin(), CASE WHEN state = 'queued' THEN 0 ELSE 1 END,
          CASE WHEN state NOT IN ('queued', 'sending', 'failed', 'uncertain') THEN 'r' || currval('cs_internal.order_event_id') END,
          'old', now(), CASE WHEN state <> 'queued' THEN now() END, now(), now())
  RETURNING id $$;

CREATE TEMP TABLE states (state text);
INSERT INTO states VALUES ('queued'), ('sending'), ('placed'), ('approved'), ('in_production'), ('shipped'), ('delivered'),
  ('rejected'), ('failed'), ('uncertain'), ('cancelling'), ('cancelled'), ('orphaned');

CREATE TEMP TABLE transitions (name text, call text, legal text[], arrives text);
INSERT INTO transitions VALUES
  ('orders_sending', $$cs_internal.orders_sending(ARRAY[%s::bigint], ARRAY['{"a": 1}'::bytea])$$, '{queued}', 'sending'),
  ('order_placed', $$cs_internal.order_placed(%s, 'placed', NULL, '{}', '1 min')$$, '{sending}', 'placed'),
  ('order_placed as rejected', $$cs_internal.order_placed(%s, 'rejected', NULL, '{}', '1 min')$$, '{sending}', 'rejected'),
  ('order_placed as queued', $$cs_internal.order_placed(%s, 'queued', NULL, '{}', '1 min')$$, '{}', NULL),
  ('order_again', $$cs_internal.order_again(%s, '1 s', NULL)$$, '{sending}', 'queued'),
  ('order_uncertain', $$cs_internal.order_uncertain(%s, NULL)$$, '{sending}', 'uncertain'),
  ('order_failed', $$cs_internal.order_failed(%s, NULL, true)$$, '{queued,sending}', 'failed'),
  ('order_delayed', $$cs_internal.order_delayed(%s, '1 s', NULL)$$, '{queued,cancelling}', NULL),
  ('order_followed', $$cs_internal.order_followed(%s, 'in_production', NULL, NULL, '1 min')$$,
   '{placed,approved,in_production,shipped,delivered,rejected,cancelled,cancelling,orphaned}', NULL),
  ('order_followed to cancelled', $$cs_internal.order_followed(%s, 'cancelled', NULL, NULL, '1 min')$$,
   '{placed,approved,in_production,shipped,delivered,rejected,cancelled,cancelling,orphaned}', NULL),
  ('order_followed to queued', $$cs_internal.order_followed(%s, 'queued', NULL, NULL, '1 min')$$, '{}', NULL),
  ('order_cancel', $$cs_internal.order_cancel(%s, 'erp')$$,
   '{queued,sending,placed,approved,in_production,orphaned,cancelling,cancelled}', NULL),
  ('order_cancelled', $$cs_internal.order_cancelled(%s, NULL)$$, '{cancelling}', 'cancelled'),
  ('order_not_cancelled', $$cs_internal.order_not_cancelled(%s, NULL)$$, '{cancelling}', 'orphaned'),
  ('order_orphaned', $$cs_internal.order_orphaned(%s)$$, '{placed,approved,in_production,shipped,delivered}', 'orphaned'),
  ('order_resolve placed', $$cs_internal.order_resolve(%s, 'placed', 'x', 'erp')$$, '{uncertain,failed}', 'placed'),
  ('order_resolve retry', $$cs_internal.order_resolve(%s, 'retry', NULL, 'erp')$$, '{uncertain,failed}', 'queued'),
  ('order_resolve failed', $$cs_internal.order_resolve(%s, 'failed', NULL, 'erp')$$, '{uncertain}', 'failed'),
  ('order_to_resubmit', $$cs_internal.order_to_resubmit(%s, 'new')$$, '{failed,rejected,cancelled}', NULL);

SELECT plan(3 * 13 * 19 + 149);

-- The state and the number of events, before and after.
CREATE TEMP TABLE tried AS
  SELECT t.name, s.state, s.state = ANY (t.legal) AS legal, t.arrives, pg_temp.order_in(s.state) AS id, t.call
    FROM transitions AS t, states AS s;

SELECT CASE WHEN legal THEN lives_ok(format('SELECT ' || call, id), name || ' from ' || state)
            ELSE throws_ok(format('SELECT ' || call, id), 'PA012', NULL, name || ' from ' || state || ' is refused') END
  FROM tried;
SELECT is(o.state, CASE WHEN t.legal AND t.arrives IS NOT NULL THEN t.arrives
                        WHEN t.legal AND t.name LIKE 'order_followed%' THEN o.state
                        WHEN t.legal AND t.name = 'order_cancel' THEN o.state
                        ELSE t.state END, t.name || ' from ' || t.state || ' leads to ' || o.state)
  FROM tried AS t JOIN cs_internal.orders AS o USING (id);
SELECT is((SELECT count(*) FROM cs_internal.order_events AS e WHERE e.order_id = t.id AND e.source = 'local'),
          CASE WHEN o.state <> t.state OR t.name LIKE 'order_resolve%' AND t.legal
                 OR t.name = 'order_not_cancelled' AND t.legal THEN 1 ELSE 0 END::bigint,
          t.name || ' from ' || t.state || ': an event for a change, none without')
  FROM tried AS t JOIN cs_internal.orders AS o USING (id);

-- Following: what each state becomes.
SELECT is((SELECT o.state FROM cs_internal.orders AS o WHERE o.id = t.id), w.state, 'followed to in_production from ' || w.from_state)
  FROM tried AS t JOIN (VALUES ('placed', 'in_production'), ('shipped', 'shipped'), ('delivered', 'delivered'),
    ('rejected', 'rejected'), ('cancelled', 'cancelled'), ('cancelling', 'cancelling'), ('orphaned', 'orphaned'))
    AS w (from_state, state) ON w.from_state = t.state
 WHERE t.name = 'order_followed' ORDER BY w.from_state;
SELECT is((SELECT o.state FROM cs_internal.orders AS o WHERE o.id = t.id), w.state, 'followed to cancelled from ' || w.from_state)
  FROM tried AS t JOIN (VALUES ('placed', 'cancelled'), ('cancelling', 'cancelled'), ('orphaned', 'cancelled'),
    ('delivered', 'delivered')) AS w (from_state, state) ON w.from_state = t.state
 WHERE t.name = 'order_followed to cancelled' ORDER BY w.from_state;
SELECT is((SELECT o.state FROM cs_internal.orders AS o WHERE o.id = t.id), w.state, 'cancelled from ' || w.from_state)
  FROM tried AS t JOIN (VALUES ('queued', 'cancelled'), ('sending', 'sending'), ('placed', 'cancelling'),
    ('cancelled', 'cancelled')) AS w (from_state, state) ON w.from_state = t.state
 WHERE t.name = 'order_cancel' ORDER BY w.from_state;

SELECT throws_ok('SELECT cs_internal.order_again(0, ''1 s'', NULL)', 'PA404', 'order 0 does not exist', 'an order that is not there');

-- What was asked to be cancelled while it was on the wire.
CREATE TEMP TABLE wire AS SELECT pg_temp.order_in('sending') AS id;
SELECT is(cs_internal.order_cancel(id, 'erp'), 'wait', 'on the wire it waits') FROM wire;
SELECT is(cs_internal.order_placed(id, 'placed', NULL, '{}', '1 min'), false, 'then it is placed, and is not to stay') FROM wire;
SELECT is(o.state, 'cancelling', 'and goes on to be cancelled') FROM cs_internal.orders AS o JOIN wire USING (id);

-- Sent, and unknown: cancelling it here would be a lie.
CREATE TEMP TABLE doubt AS SELECT pg_temp.order_in('sending') AS id;
SELECT lives_ok(format($$SELECT cs_internal.attempt_ended(%s, now(), 1, NULL, 'unknown', 'timeout', 'PA004', 'no answer')$$, id), 'an attempt of unknown outcome') FROM doubt;
SELECT lives_ok(format($$SELECT cs_internal.order_again(%s, '0 s', NULL)$$, id), 'is tried again') FROM doubt;
SELECT is(cs_internal.never_arrived(id), false, 'it may have arrived') FROM doubt;
SELECT is(cs_internal.order_cancel(id, 'erp'), 'wait', 'so cancelling waits until it is known') FROM doubt;
SELECT is(cs_internal.order_cancel_queued(id, 'erp'), false, 'and is not the user''s to do') FROM doubt;

-- Not sent, and not wanted any more.
CREATE TEMP TABLE unwanted AS SELECT pg_temp.order_in('sending') AS id;
SELECT is(cs_internal.order_cancel(id, 'erp'), 'wait', 'on the wire it waits') FROM unwanted;
SELECT lives_ok(format($$SELECT cs_internal.attempt_ended(%s, now(), 1, 429, 'answered', 'refused', 'PA429', 'slower')$$, id), 'it is turned away') FROM unwanted;
SELECT is(cs_internal.order_again(id, '1 s', NULL), false, 'and not tried again') FROM unwanted;
SELECT is(o.state, 'cancelled', 'but cancelled') FROM cs_internal.orders AS o JOIN unwanted USING (id);
CREATE TEMP TABLE wanted AS SELECT pg_temp.order_in('sending') AS id;
SELECT is(cs_internal.order_again(id, '1 s', NULL), true, 'one that is wanted waits') FROM wanted;

-- Refused, and not wanted any more: nothing is sent to find out what is known.
CREATE FUNCTION pg_temp.cancelled_after(status integer, delivery text, resolved text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  order_id bigint := pg_temp.order_in('sending');
BEGIN
  PERFORM cs_internal.attempt_ended(order_id, clock_timestamp(), 1, status, delivery, 'refused', 'PA' || coalesce(status::text, '002'), 'no');
  IF status < 500 THEN
    PERFORM cs_internal.order_failed(order_id, NULL, false);
  ELSE
    PERFORM cs_internal.order_uncertain(order_id, NULL);
  END IF;
  IF resolved = 'failed' THEN
    PERFORM cs_internal.order_resolve(order_id, 'failed', NULL, 'erp');
  END IF;
  PERFORM cs_internal.order_resolve(order_id, 'retry', NULL, 'erp');
  RETURN cs_internal.order_cancel(order_id, 'erp');
END $$;
SELECT is(pg_temp.cancelled_after(s, d, r), w, format('cancelled when it is to be sent again after %s %s: %s', d, s, w))
  FROM (VALUES (400, 'answered', NULL, 'done'), (401, 'answered', NULL, 'done'), (NULL, 'unknown', NULL, 'done'), (500, 'answered', 'failed', 'done')) AS v (s, d, r, w);
CREATE FUNCTION pg_temp.never_arrived_after(status integer, delivery text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  order_id bigint := pg_temp.order_in('sending');
BEGIN
  PERFORM cs_internal.attempt_ended(order_id, clock_timestamp(), 1, status, delivery, 'refused', 'PA' || coalesce(status::text, '002'), 'no');
  RETURN cs_internal.never_arrived(order_id);
END $$;
SELECT is(pg_temp.never_arrived_after(s, d), w, format('%s %s: %s', d, s, CASE WHEN w THEN 'is not there' ELSE 'may be there' END))
  FROM (VALUES (NULL, 'not_sent', true), (401, 'answered', true), (404, 'answered', true), (422, 'answered', true), (429, 'answered', true),
               (303, 'answered', false), (408, 'answered', false), (409, 'answered', false), (499, 'answered', false), (503, 'answered', false),
               (NULL, 'unknown', false)) AS v (s, d, w);
CREATE TEMP TABLE progress AS SELECT pg_temp.order_in('sending') AS id;
SELECT cs_internal.attempt_ended(id, now(), 1, 409, 'answered', 'refused', 'PA409', 'in progress'), cs_internal.order_again(id, '0 s', NULL) FROM progress;
SELECT is(cs_internal.order_cancel(id, 'erp'), 'wait', 'one that is being made may be there') FROM progress;

CREATE TEMP TABLE by_hand AS SELECT pg_temp.order_in('queued') AS id;
SELECT lives_ok(format($$SELECT cs_internal.order_failed(%1$s, NULL, false), cs_internal.order_resolve(%1$s, 'placed', 'phoned', 'erp'),
  cs_internal.order_cancel(%1$s, 'erp'), cs_internal.order_cancelled(%1$s, NULL)$$, id), 'one that a person placed is cancelled there') FROM by_hand;
SELECT is(cs_internal.never_arrived(id), false, 'and was there') FROM by_hand;

-- A cancellation that is refused leaves to its callers what is theirs.
CREATE TEMP TABLE called AS SELECT pg_temp.order_in('cancelling') AS id;
UPDATE cs_internal.orders AS o SET lost_at = NULL, caller_xids = '{3}' FROM called WHERE o.id = called.id;
SELECT is(cs_internal.order_not_cancelled(id, NULL), 'placed', 'not cancelled while its caller is undecided') FROM called;
SELECT is(caller_xids, '{3}', 'it is his still') FROM cs_internal.orders JOIN called USING (id);
UPDATE cs_internal.orders AS o SET state = 'cancelling', lost_at = now() FROM called WHERE o.id = called.id;
SELECT is(cs_internal.order_not_cancelled(id, NULL), 'orphaned', 'not cancelled after he rolled back') FROM called;
SELECT is(caller_xids, NULL, 'it is nobody''s') FROM cs_internal.orders JOIN called USING (id);

-- Looks in vain are over with it; what is wrong is the cancellation, also after the next look.
CREATE TEMP TABLE unseen AS SELECT pg_temp.order_in('cancelling') AS id, pg_temp.order_in('cancelling') AS other;
SELECT cs_internal.order_not_followed(id, '1 s', NULL), cs_internal.order_not_followed(other, '1 s', NULL) FROM unseen;
SELECT lives_ok(format($$SELECT cs_internal.order_not_cancelled(%1$s, ROW('PA400', 'ORDER_NOT_CANCELLABLE', 'no', NULL, NULL)),
  cs_internal.order_followed(%1$s, 'approved', NULL, NULL, '1 min'), cs_internal.order_cancelled(%2$s, NULL)$$, id, other), 'one is not cancelled, one is') FROM unseen;
SELECT is((o.error).code, 'ORDER_NOT_CANCELLABLE', 'it tells why') FROM cs_internal.orders AS o JOIN unseen USING (id);
SELECT is(o.failing_since, NULL, 'nobody asks about the other one') FROM cs_internal.orders AS o JOIN unseen ON o.id = other;

-- Found by hand, and not quite.
CREATE TEMP TABLE found AS SELECT pg_temp.order_in('uncertain') AS id;
UPDATE cs_internal.orders AS o SET fetched_at = NULL FROM found WHERE o.id = found.id;
SELECT throws_ok(format($$SELECT cs_internal.order_resolve(%s, 'placed', E' \t', 'erp')$$, id), '22004', NULL, 'a blank id is none') FROM found;
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'placed', 'wrong', 'erp')$$, id), 'a wrong one is believed') FROM found;
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'placed', 'right', 'erp')$$, id), 'and corrected') FROM found;
SELECT is(remote_id, 'right', 'the order has the right one') FROM cs_internal.orders JOIN found USING (id);
UPDATE cs_internal.orders AS o SET fetched_at = now() FROM found WHERE o.id = found.id;
SELECT throws_ok(format($$SELECT cs_internal.order_resolve(%s, 'placed', 'another', 'erp')$$, id), 'PA012', NULL, 'until it is seen at the partner') FROM found;

-- Whoever has it sent again wants it, whatever was wanted before.
CREATE TEMP TABLE again AS SELECT pg_temp.order_in('uncertain') AS id;
UPDATE cs_internal.orders AS o SET path = 'call', cancel_requested_at = now(), lost_at = now() FROM again WHERE o.id = again.id;
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'retry', NULL, 'erp')$$, id), 'an order whose cancellation waited is sent again') FROM again;
SELECT is((path, cancel_requested_at, lost_at)::text, '(queue,,)', 'as one that is queued now and that somebody wants') FROM cs_internal.orders JOIN again USING (id);
SELECT lives_ok(format($$SELECT cs_internal.orders_sending(ARRAY[%s::bigint], ARRAY['{}'::bytea]),
  cs_internal.order_placed(%1$s, 'placed', NULL, '{}', '1 min')$$, id), 'it is placed') FROM again;
SELECT is(o.state, 'placed', 'and not cancelled') FROM cs_internal.orders AS o JOIN again USING (id);

-- Who says retry or failed has looked for it: only what is sent after that may be there.
CREATE TEMP TABLE looked AS SELECT pg_temp.order_in('uncertain') AS id;
INSERT INTO cs_internal.order_attempts (order_id, attempt, started_at, delivery) SELECT id, 1, now(), 'unknown' FROM looked;
UPDATE cs_internal.orders SET error.message = 'late', error.hint = 'Look.' WHERE id = (SELECT id FROM looked);
SELECT is((cs_internal.never_arrived(id), cs_internal.is_doubtful(id))::text, '(f,t)', 'an attempt without an answer leaves it in doubt') FROM looked;
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'failed', NULL, 'erp')$$, id), 'a person has not found it') FROM looked;
SELECT is((cs_internal.never_arrived(id), cs_internal.is_doubtful(id))::text, '(t,f)', 'which settles it') FROM looked;
SELECT is((error).message || ': ' || (error).detail || ': ' || (error).hint,
  format('the order is not at the partner: erp has looked for it. The last attempt: late: Use cs_resolve_order(%s, ''retry'') to have it sent again.', id),
  'and is said instead of what was not known') FROM cs_internal.orders JOIN looked USING (id);
SELECT lives_ok(format($$SELECT cs_internal.order_resolve(%s, 'retry', NULL, 'erp'), cs_internal.orders_sending(ARRAY[%1$s::bigint], ARRAY['{}'::bytea]),
  cs_internal.attempt_ended(%1$s, now(), 1, NULL, 'unknown', 'timeout', 'PA009', 'late'), cs_internal.order_again(%1$s, '1 s', NULL)$$, id), 'it is sent again, and the answer lost again') FROM looked;
SELECT is((cs_internal.never_arrived(id), cs_internal.is_doubtful(id))::text, '(f,t)', 'that is in doubt') FROM looked;
SELECT lives_ok(format($$SELECT cs_internal.order_uncertain(%s, NULL)$$, id), 'so it may wait for a person instead of being sent again') FROM looked;
SELECT throws_ok(format($$SELECT cs_internal.order_uncertain(%s, NULL)$$, pg_temp.order_in('queued')), 'PA012', NULL, 'unlike one that was never sent');

-- What to do instead.
CREATE FUNCTION pg_temp.advice(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  advice text;
BEGIN
  EXECUTE 'SELECT ' || call;
  RETURN NULL;
EXCEPTION WHEN SQLSTATE 'PA012' THEN
  GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
  RETURN advice;
END $$;
SELECT is(pg_temp.advice(format(call, pg_temp.order_in(state))), advice, format('%s: an order that is %s', call, state))
  FROM (VALUES ($$cs_internal.order_cancel(%s, 'erp')$$, 'shipped', 'Ask the partner''s support.'),
               ($$cs_internal.order_cancel(%s, 'erp')$$, 'failed', 'It was not placed, so there is nothing to cancel.'),
               ($$cs_internal.order_cancel(%s, 'erp')$$, 'rejected', 'It was not placed, so there is nothing to cancel.'),
               ($$cs_internal.order_resolve(%s, 'retry', NULL, 'erp')$$, 'placed', 'An order is resolved while it is uncertain or has failed.'),
               ($$cs_internal.order_resolve(%s, 'failed', NULL, 'erp')$$, 'failed', 'It is failed already. Use placed or retry if it is not to stay so.'),
               ($$cs_internal.order_to_resubmit(%s, 'anew')$$, 'placed', 'An order is submitted again after it has failed, or was rejected or cancelled.'),
               ($$cs_internal.order_orphaned(%s)$$, 'queued', 'Somebody else has changed it meanwhile; cs_order_events tells.')) AS o (call, state, advice);
SELECT matches(pg_temp.advice(format($$cs_internal.order_cancel(%s, 'erp')$$, pg_temp.order_in('uncertain'))),
  '^Look for it at the partner, then use cs_resolve_order\(\d+, ''placed'', \.\.\.\), ''retry'' or ''failed''\.$', 'an uncertain one is looked for first');

-- Of another cluster, without its claim: nothing of it is ours to wait for.
SELECT is((SELECT count(*) FROM cs_internal.servers_waiting()), 1::bigint, 'a server has something to send');
UPDATE cs_internal.orders SET origin = 'another/1/';
SELECT is((SELECT count(*) FROM cs_internal.servers_waiting()), 0::bigint, 'a copy''s orders are not');
SELECT is(cs_internal.next_due('30 s'), NULL, 'and nothing is due');
UPDATE cs_internal.orders SET origin = cs_internal.origin();

-- A batch is all or nothing.
CREATE TEMP TABLE batch AS SELECT pg_temp.order_in('queued') AS good, pg_temp.order_in('placed') AS bad;
SELECT throws_ok(format($$SELECT cs_internal.orders_sending(ARRAY[%s, %s]::bigint[], ARRAY['a', 'b']::bytea[])$$, good, bad),
  'PA012', NULL, 'one order in a wrong state stops the batch') FROM batch;
SELECT is(o.state, 'queued', 'of which nothing stays') FROM cs_internal.orders AS o JOIN batch ON good = id;
SELECT lives_ok(format($$SELECT cs_internal.orders_sending(ARRAY[%s]::bigint[], ARRAY['{"a": 1}']::bytea[])$$, good), 'alone it is sent') FROM batch;
SELECT is(convert_from(o.body, 'UTF8') || o.attempts, '{"a": 1}1', 'the bytes are stored, the attempt counted') FROM cs_internal.orders AS o JOIN batch ON good = id;

-- Whose answer it is.
SELECT is(cs_internal.is_order_of(ROW(shown, NULL, number, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::cs_internal.remote_order, asked),
  same, concat_ws(' ', 'asked for', asked, 'and shown', shown, number)) FROM (VALUES
  ('a', 'a', NULL, true), ('a', NULL, NULL, true), ('a', 'b', NULL, false), ('a', 'A', NULL, false), ('N1', 'b', 'N1', true), ('N1', 'b', 'N2', false),
  ('9b4f7e2a-0000-4000-8000-00000000000c', '9B4F7E2A-0000-4000-8000-00000000000C', NULL, true),
  ('9b4f7e2a-0000-4000-8000-00000000000c', '9b4f7e2a-0000-4000-8000-00000000000d', NULL, false)) AS t (asked, shown, number, same);

-- Whatever name of an order the partner answers with.
CREATE TEMP TABLE named AS SELECT pg_temp.order_in('placed') AS id;
UPDATE cs_internal.orders AS o SET remote_id = '4711', remote.remote_id = '4711', remote.order_number = 'CS-1' FROM named AS n WHERE o.id = n.id;
CREATE FUNCTION pg_temp.shown_as(shown text, number text DEFAULT NULL, other text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  a cs_internal.remote_order;
BEGIN
  a.remote_id := shown;
  a.order_number := number;
  PERFORM cs_internal.order_followed(n.id, NULL, a, NULL, '1 min', other_id => other) FROM named AS n;
  RETURN (SELECT concat_ws(' ', o.remote_id, (o.remote).remote_id, (o.remote).order_number) FROM cs_internal.orders AS o JOIN named USING (id));
EXCEPTION WHEN SQLSTATE 'PA006' THEN
  RETURN SQLERRM;
END $$;
SELECT is(pg_temp.shown_as('CS-1'), '4711 4711 CS-1', 'its number in the place of its id');
SELECT is(pg_temp.shown_as('77', NULL, '4711'), '4711 4711 CS-1', 'of two ids the one that it was asked for by');
SELECT is(pg_temp.shown_as('4711', NULL, '77'), '4711 4711 CS-1', 'whichever that is');
SELECT is(pg_temp.shown_as('77', NULL, '78'), 'the answer about order "4711" of the partner shows order "77"', 'of two other ids neither');
SELECT is(pg_temp.shown_as('CS-2', 'CS-1'), 'the answer about order "4711" of the partner shows order "CS-2"', 'nor another one with its number');

-- The partner's history, once and in its order.
CREATE TEMP TABLE story AS SELECT pg_temp.order_in('placed') AS id;
SELECT is(cs_internal.order_remote_events(id, ARRAY['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z']::timestamptz[],
  '{created,approved}', '{partner,admin}', '{NULL,NULL}', '{NULL,NULL}'), 2, 'two events in one second') FROM story;
SELECT is(cs_internal.order_remote_events(id, ARRAY['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', '2026-01-02T00:00:00Z']::timestamptz[],
  '{created,approved,shipped,shipped}', '{partner,admin,system,system}', '{NULL,NULL,s1,s1}', '{NULL,NULL,NULL,NULL}'), 2,
  'the list again, with two equal ones more') FROM story;
SELECT is(string_agg(type, ' ' ORDER BY at, e.id), 'created approved shipped shipped', 'in the order of the list')
  FROM cs_internal.order_events AS e JOIN story ON order_id = story.id;

SELECT is(cs_internal.order_remote_events(id, '{NULL}', '{held}', '{NULL}', '{NULL}', '{NULL}'), 1, 'one without a time') FROM story;
SELECT is(cs_internal.order_remote_events(id, '{NULL}', '{held}', '{NULL}', '{NULL}', '{NULL}'), 0, 'once') FROM story;

-- Parcels.
SELECT lives_ok(format($$SELECT cs_internal.order_shipments(%s, '{NULL,NULL}', '{N1,NULL}', '{UPS,DHL}', '{NULL,NULL}', '{a,b}',
  '{NULL,NULL}', '{t,f}', '{2026-01-01 00:00Z,2026-01-03 00:00Z}', '{NULL,NULL}')$$, id), 'parcels without an id') FROM story;
SELECT is(string_agg(shipment_id, ' ' ORDER BY shipment_id), '2 N1', 'are known by number or place')
  FROM cs_internal.shipments JOIN story ON order_id = id;
SELECT is((o.remote).last_shipped_at, '2026-01-03 00:00Z', 'and the last one is the order''s') FROM cs_internal.orders AS o JOIN story USING (id);

CREATE FUNCTION pg_temp.shown(id bigint, ids text[], numbers text[], carriers text[]) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
  PERFORM cs_internal.order_shipments(id, ids, numbers, carriers, array_fill(NULL::text, n), array_fill(NULL::text, n), array_fill(NULL::timestamptz, n),
    array_fill(NULL::boolean, n), array_fill(NULL::timestamptz, n), array_fill(NULL::jsonb, n)) FROM (SELECT ARRAY[cardinality(numbers)]) AS x (n);
  RETURN (SELECT string_agg(concat_ws('/', shipment_id, tracking_number, carrier), ' ' ORDER BY shipment_id) FROM cs_internal.shipments AS s WHERE s.order_id = shown.id);
END $$;
SELECT is(pg_temp.shown(id, '{NULL}', '{NULL}', '{UPS}'), '1/UPS', 'a list replaces what was known') FROM story;
SELECT is(pg_temp.shown(id, '{NULL}', '{BAD}', '{UPS}'), 'BAD/BAD/UPS', 'a parcel that gets its number is the same') FROM story;
SELECT is(pg_temp.shown(id, '{NULL}', '{1Z9}', '{UPS}'), '1Z9/1Z9/UPS', 'a number that is corrected leaves no other') FROM story;
UPDATE cs_internal.orders AS o SET remote_id = 'r-story' FROM story WHERE o.id = story.id;
SELECT is(pg_temp.shown(id, '{s1,r-story}', '{1Z9,1Z8}', '{UPS,UPS}'), '1Z8/1Z8/UPS s1/1Z9/UPS', 'an id that is the order''s is no parcel''s') FROM story;
SELECT is(pg_temp.shown(id, '{}', '{}', '{}'), NULL, 'an empty list says that there are none') FROM story;
SELECT is((o.remote).last_shipped_at, '2026-01-03 00:00Z', 'when the last one left is known all the same') FROM cs_internal.orders AS o JOIN story USING (id);

-- When to look again.
SELECT is(cs_internal.poll_next('delivered', now(), '1 min'), NULL, 'an end is not followed');
SELECT is(cs_internal.poll_next('shipped', now() - interval '31 days', '1 min'), NULL, 'nor what was shipped long ago');
SELECT ok(cs_internal.poll_next('placed', clock_timestamp(), '1 min') - clock_timestamp() BETWEEN '59 s' AND '61 s', 'what is new, after the interval');
SELECT ok(cs_internal.poll_next('placed', clock_timestamp() - interval '2 days', '1 min') - clock_timestamp() BETWEEN '59 min' AND '61 min', 'what is old, each hour');

-- What cannot be followed is asked for ever more rarely, and tells why.
CREATE TEMP TABLE vain AS SELECT pg_temp.order_in('placed') AS id;
UPDATE cs_internal.orders AS o SET poll_at = now() FROM vain AS v WHERE o.id = v.id;
CREATE FUNCTION pg_temp.fails(since interval DEFAULT NULL) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE
  next_look timestamptz;
BEGIN
  UPDATE cs_internal.orders AS o SET failing_since = clock_timestamp() - since FROM vain AS v WHERE o.id = v.id AND since IS NOT NULL;
  PERFORM cs_internal.order_not_followed(v.id, '30 s', ROW('PA404', 'NOT_FOUND', 'no such order', NULL, NULL)) FROM vain AS v;
  SELECT o.poll_at INTO next_look FROM cs_internal.orders AS o JOIN vain AS v ON o.id = v.id;
  RETURN next_look - clock_timestamp();
END $$;
SELECT ok(pg_temp.fails() BETWEEN '29 s' AND '38 s', 'the first time after the least pause');
SELECT is(((o.error).code, o.state, o.failing_since IS NOT NULL)::text, '(NOT_FOUND,placed,t)', 'the order tells why, and stays what it was')
  FROM cs_internal.orders AS o JOIN vain USING (id);
SELECT ok(pg_temp.fails('10 min') BETWEEN '599 s' AND '751 s', 'then after twice the time since the first');
SELECT ok(pg_temp.fails('3 days') BETWEEN '359 min' AND '451 min', 'six hours at most');
SELECT lives_ok(format($$SELECT cs_internal.order_followed(%s, 'placed', NULL, NULL, '1 min')$$, id), 'it is answered') FROM vain;
SELECT is((o.error, o.failing_since)::text, '(,)', 'and nothing is wrong any more') FROM cs_internal.orders AS o JOIN vain USING (id);
SELECT ok(pg_temp.fails() BETWEEN '29 s' AND '38 s', 'the next time begins anew');
UPDATE cs_internal.orders AS o SET server = 'listing', remote_id = 'r', remote.remote_status = 'Approved' FROM vain AS v WHERE o.id = v.id;
SELECT is((SELECT count(*) FROM cs_internal.orders_listed('listing', '{r}', '{Approved}', '{placed}', '{NULL}', '1 min')), 0::bigint, 'a list that shows it');
SELECT is((o.error, o.failing_since)::text, '(,)', 'ends it, too') FROM cs_internal.orders AS o JOIN vain USING (id);
UPDATE cs_internal.orders AS o SET error = ROW('PA400', 'ORDER_NOT_CANCELLABLE', 'no', NULL, NULL) FROM vain AS v WHERE o.id = v.id;
SELECT lives_ok(format($$SELECT cs_internal.order_followed(%s, 'placed', NULL, NULL, '1 min')$$, id), 'an answer') FROM vain;
SELECT is((o.error).code, 'ORDER_NOT_CANCELLABLE', 'leaves what else was wrong') FROM cs_internal.orders AS o JOIN vain USING (id);

-- An order that nobody wants is followed to its end there, and no further.
CREATE FUNCTION pg_temp.orphan(remote_state text, age interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  order_id bigint := pg_temp.order_in('orphaned');
  result text;
BEGIN
  UPDATE cs_internal.orders AS o SET changed_at = now() - age WHERE o.id = order_id;
  PERFORM cs_internal.order_followed(order_id, remote_state, NULL, NULL, '1 min');
  SELECT concat_ws(' ', o.state, CASE WHEN o.poll_at IS NOT NULL THEN 'followed' END) INTO result FROM cs_internal.orders AS o WHERE o.id = order_id;
  RETURN result;
END $$;
SELECT is(pg_temp.orphan(s, a::interval), r, format('orphaned and %s for %s: %s', coalesce(s, 'unknown'), a, r))
  FROM (VALUES ('in_production', '1 year', 'orphaned followed'), (NULL, '1 year', 'orphaned followed'), ('shipped', '29 days', 'orphaned followed'),
    ('shipped', '31 days', 'orphaned'), ('delivered', '1 day', 'orphaned')) AS v (s, a, r);
CREATE TEMP TABLE orphan AS SELECT pg_temp.order_in('orphaned') AS id;
UPDATE cs_internal.orders AS o SET server = 'listing', remote_id = 'r2', changed_at = now() - interval '31 days' FROM orphan AS n WHERE o.id = n.id;
SELECT is((SELECT count(*) FROM cs_internal.orders_listed('listing', '{r2}', '{old}', '{approved}', '{NULL}', '1 min')), 0::bigint, 'listed as before');
SELECT is(o.poll_at > now(), true, 'it is followed on') FROM cs_internal.orders AS o JOIN orphan USING (id);
SELECT is((SELECT count(*) FROM cs_internal.orders_listed('listing', '{r2}', '{old}', '{shipped}', '{NULL}', '1 min')), 0::bigint, 'listed as shipped long ago');
SELECT is(o.poll_at, NULL, 'it is not') FROM cs_internal.orders AS o JOIN orphan USING (id);

-- Who comes back for it has it as it is there, also where the partner cannot be asked.
CREATE FUNCTION pg_temp.comes_back(status text, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  order_id bigint := pg_temp.order_in('orphaned');
  o cs_internal.orders;
BEGIN
  UPDATE cs_internal.orders AS t SET server = 'shop', remote.remote_status = status WHERE t.id = order_id RETURNING * INTO o;
  IF how = 'called' THEN
    PERFORM cs_internal.order_take(jsonb_build_object('server', 'shop', 'external_id', o.external_id, 'lines', o.lines, 'created_by', 'erp', 'xid', '3'));
  ELSE
    PERFORM cs_internal.order_wanted(order_id);
  END IF;
  PERFORM cs_internal.order_poll_later(order_id, NULL);
  RETURN (SELECT concat_ws(' ', t.state, (SELECT v.type FROM cs_internal.order_events AS v WHERE v.order_id = t.id ORDER BY v.id DESC LIMIT 1))
            FROM cs_internal.orders AS t WHERE t.id = order_id);
END $$;
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
SELECT is(pg_temp.comes_back(s, h), concat_ws(' ', w, w), format('%s there, and %s for again', s, h))
  FROM (VALUES ('submitted', 'placed'), ('shipped', 'shipped'), ('delivered', 'delivered'), ('in limbo', 'placed')) AS v (s, w), (VALUES ('called'), ('queued')) AS c (h);

-- A cancellation that fails is tried ever more rarely.
CREATE FUNCTION pg_temp.delayed(in_state text, age interval) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE
  order_id bigint := pg_temp.order_in(in_state);
BEGIN
  UPDATE cs_internal.orders AS o SET changed_at = clock_timestamp() - age WHERE o.id = order_id;
  PERFORM cs_internal.order_delayed(order_id, '2 s', NULL);
  RETURN (SELECT date_trunc('second', o.next_attempt_at - clock_timestamp() + interval '0.5 s') FROM cs_internal.orders AS o WHERE o.id = order_id);
END $$;
SELECT is(pg_temp.delayed(s, a::interval), d::interval, format('%s for %s: again after %s', s, a, d))
  FROM (VALUES ('cancelling', '4 s', '2 s'), ('cancelling', '4 min', '1 min'), ('cancelling', '1 day', '5 min'), ('queued', '1 day', '2 s')) AS v (s, a, d);

SELECT * FROM finish();
ROLLBACK;
