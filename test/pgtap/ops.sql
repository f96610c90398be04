-- What a DBA sees of requests and processes, and who else sees what.
BEGIN;
SELECT plan(12);

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
