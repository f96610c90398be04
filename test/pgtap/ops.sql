-- What a DBA sees of requests and processes, and who else sees what.
BEGIN;
SELECT plan(25);

-- ---- Requests ----
SELECT columns_are('cs_stat_requests', ARRAY['server', 'endpoint', 'calls', 'errors', 'refused_4xx',
  'rate_limited_429', 'refused_5xx', 'not_sent', 'timeouts', 'malformed', 'other_failures', 'retries', 'connections',
  'bytes_sent', 'bytes_received', 'total_ms', 'min_ms', 'max_ms', 'mean_ms', 'limiter_ms', 'first_at', 'last_at'],
  'cs_stat_requests has these columns');
SELECT is_empty('SELECT FROM cs_stat_requests', 'no request was made in this database');
SELECT lives_ok('SELECT cs_stat_reset()', 'the owner may begin the statistics anew');

-- ---- Processes ----
SELECT columns_are('cs_stat_workers', ARRAY['process', 'database', 'pid', 'started_at', 'due_at', 'in_flight',
  'orders_sent', 'failures', 'activity'], 'cs_stat_workers has these columns');
SELECT results_eq(
  $$ SELECT w.process, w.database, w.pid IS NOT NULL, w.started_at < now(), w.due_at, w.in_flight, w.orders_sent,
            w.failures, w.activity
       FROM cs_stat_workers AS w WHERE w.process = 'launcher' $$,
  $$ VALUES ('launcher', NULL::text, true, true, NULL::timestamptz, 0, 0::bigint, 0::bigint, NULL::text) $$,
  'there is one launcher, and it runs');
SELECT is_empty(
  $$ SELECT FROM cs_stat_workers AS w WHERE w.process = 'worker' AND w.database IS NULL $$,
  'a worker''s database has a name');

-- ---- Failed orders ----
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
SELECT columns_are('cs_stat_orders', ARRAY['server', 'waiting', 'oldest_at', 'held', 'uncertain', 'uncertain_since', 'due_at',
  'failed', 'failed_since', 'first_failed', 'not_followed', 'not_followed_since', 'first_not_followed'], 'cs_stat_orders has these columns');
SELECT cs_enqueue_order('[{"sku": "A", "quantity": 1}]', '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}',
  e, NULL, 'hub') FROM unnest('{called,refused,again,settled,old}'::text[]) AS e;
UPDATE cs_internal.orders SET path = 'call' WHERE external_id = 'called';
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql AS $$ SELECT o.id FROM cs_internal.orders AS o WHERE o.external_id = which $$;
CREATE FUNCTION pg_temp.fail(which text) RETURNS void LANGUAGE sql AS
$$ SELECT cs_internal.order_failed(pg_temp.id(which), ROW('PA400', 'NO', 'no', NULL, NULL), false) $$;
CREATE FUNCTION pg_temp.failed() RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', s.failed, o.external_id, o.changed_at = s.failed_since)
     FROM cs_stat_orders AS s LEFT JOIN cs_internal.orders AS o ON o.id = s.first_failed $$;
SELECT is(pg_temp.failed(), '0', 'none has failed');
SELECT pg_temp.fail('called');
SELECT is(pg_temp.failed(), '0', 'whose caller was told is none');
SELECT pg_temp.fail('old');
UPDATE cs_internal.orders SET changed_at = now() - interval '25 hours' WHERE external_id = 'old';
SELECT is(pg_temp.failed(), '0', 'nor is what failed before yesterday');
SELECT pg_temp.fail('refused'), pg_temp.fail('again');
SELECT is(pg_temp.failed(), '2 refused t', 'two have, since the first did');
SELECT cs_resolve_order('again', 'retry');
SELECT is(pg_temp.failed(), '1 refused t', 'one is tried again');
SELECT pg_temp.fail('again');
SELECT is(pg_temp.failed(), '2 refused t', 'in vain');
SELECT cs_resubmit_order('refused', 'refused-2');
SELECT is(pg_temp.failed(), '1 again t', 'one is submitted again');
SELECT pg_temp.fail('refused-2');
SELECT is(pg_temp.failed(), '2 again t', 'in vain');
SELECT cs_resubmit_order('refused', 'refused-3');
SELECT is(pg_temp.failed(), '1 again t', 'and once more by another name');
UPDATE cs_internal.orders SET state = 'uncertain' WHERE external_id = 'settled';
SELECT cs_resolve_order('settled', 'failed');
SELECT is(pg_temp.failed(), '1 again t', 'one has failed by the word of a person');
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
  FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
    plan := plan || line || E'\n';
  END LOOP;
  RETURN plan;
END $$;
INSERT INTO cs_internal.orders (server, external_id, state, lines, created_by, origin, next_attempt_at, poll_at)
  SELECT 'hub', 'n-' || n, 'placed', '[]', 'me', 'here', NULL, now() FROM generate_series(1, 3000) AS n;
ANALYZE cs_internal.orders, cs_internal.order_events;
SELECT matches(pg_temp.plan_of('SELECT failed FROM cs_stat_orders'), 'orders_failed.*orders_replaces', 'they are found by indexes');
SELECT matches(pg_temp.plan_of('SELECT not_followed FROM cs_stat_orders'), 'orders_failing', 'as those are that cannot be followed');

-- ---- Rights ----
CREATE ROLE ops_user;
SELECT function_privs_are('cs_stat_reset', '{}'::name[], 'ops_user', '{}'::name[], 'not everybody may reset');
-- What that role gets: the first column of all rows, or the error's SQLSTATE.
CREATE FUNCTION as_user(query text) RETURNS text LANGUAGE plpgsql AS
$$ DECLARE answer text; BEGIN
  SET LOCAL ROLE ops_user;
  EXECUTE format('SELECT string_agg(x::text, '' '') FROM (%s) AS t(x)', query) INTO answer;
  RESET ROLE;
  RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN RETURN sqlstate; END $$;

SELECT is(as_user('SELECT cs_stat_reset()::text'), '42501', 'and is told so');
SELECT is(as_user('SELECT endpoint FROM cs_stat_requests'), 'nothing', 'everybody may look at cs_stat_requests');
SELECT is(as_user($$ SELECT process FROM cs_stat_workers WHERE process = 'launcher' $$), 'launcher',
  'everybody sees the launcher');
SELECT is(as_user('SELECT database FROM cs_stat_workers WHERE database <> current_database()'), 'nothing',
  'but no other database');
SELECT is(as_user('SELECT pid FROM cs_internal.stat_workers()'), '42501', 'nor the function behind the view');

SELECT * FROM finish();
ROLLBACK;
