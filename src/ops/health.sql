/*
 * health.sql
 *	  cs_health(): what a DBA asks first, each question with its answer and
 *	  what to do.
 *
 * It reads, from tables and shared memory, waits for nobody and works on a
 * standby.  The views here give figures only, of the servers that the user
 * may see figures of, so a monitoring role needs no right on any order.
 */

CREATE VIEW @extschema@.cs_stat_orders WITH (security_barrier) AS
  SELECT m.server, q.waiting, q.oldest_at, q.held + p.held AS held, u.uncertain, u.uncertain_since, q.due_at,
         f.failed, f.failed_since, f.first_failed, n.not_followed, n.not_followed_since, n.first_not_followed
    FROM cs_internal.monitored_servers AS m
   CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE NOT w.is_held) AS waiting,
            min(CASE WHEN w.state = 'cancelling' THEN w.changed_at ELSE w.created_at END)
              FILTER (WHERE NOT w.is_held) AS oldest_at,
            count(*) FILTER (WHERE w.is_held) AS held,
            min(w.next_attempt_at) FILTER (WHERE NOT w.is_held) AS due_at
       FROM (SELECT o.state, o.created_at, o.changed_at, o.next_attempt_at,
                    o.origin <> cs_internal.origin()
                    OR EXISTS (SELECT FROM cs_internal.queue_claim AS c WHERE c.origin <> cs_internal.origin()) AS is_held
               FROM cs_internal.orders AS o
              WHERE o.server = m.server AND o.next_attempt_at IS NOT NULL) AS w) AS q
   CROSS JOIN LATERAL (
     -- Placed ones, which only the original follows: looked at in a copy only.
     SELECT count(*) AS held
       FROM cs_internal.orders AS o
      WHERE EXISTS (SELECT FROM cs_internal.queue_claim AS c WHERE c.origin <> cs_internal.origin())
        AND o.server = m.server AND o.poll_at IS NOT NULL AND o.next_attempt_at IS NULL) AS p
   CROSS JOIN LATERAL (
     SELECT count(*) AS uncertain, min(o.changed_at) AS uncertain_since
       FROM cs_internal.orders AS o
      WHERE o.server = m.server AND o.state = 'uncertain') AS u
   CROSS JOIN LATERAL (
     SELECT count(*) AS failed, min(o.changed_at) AS failed_since,
            (array_agg(o.id ORDER BY o.changed_at, o.id))[1] AS first_failed
       FROM cs_internal.orders AS o
      WHERE o.server = m.server AND o.state = 'failed' AND o.path = 'queue' AND o.changed_at > now() - interval '1 day'
        AND NOT EXISTS (SELECT FROM cs_internal.orders AS r WHERE r.replaces = o.id)
        AND NOT EXISTS (SELECT FROM cs_internal.orders AS r WHERE r.replaces = o.replaces AND r.id > o.id)
        -- Not by the word of a person.
        AND NOT EXISTS (SELECT FROM cs_internal.order_events AS e
                         WHERE e.order_id = o.id AND e.at >= o.changed_at AND e.source = 'local' AND e.type = 'failed'
                           AND e.detail ? 'resolved')) AS f
   CROSS JOIN LATERAL (
     SELECT count(*) AS not_followed, min(o.failing_since) AS not_followed_since,
            (array_agg(o.id ORDER BY o.failing_since, o.id))[1] AS first_not_followed
       FROM cs_internal.orders AS o
      WHERE o.server = m.server AND o.failing_since < now() - interval '1 hour' AND o.poll_at IS NOT NULL) AS n;
COMMENT ON VIEW @extschema@.cs_stat_orders IS
'How the orders of each server stand, in figures; visible as cs_stat_requests is.';
GRANT SELECT ON @extschema@.cs_stat_orders TO PUBLIC;

CREATE VIEW @extschema@.cs_stat_catalogs WITH (security_barrier) AS
  SELECT m.server, i.every, r.last_complete_at,
         CASE WHEN r.last_error_at > r.last_complete_at OR r.last_complete_at IS NULL THEN r.last_error END AS error
    FROM cs_internal.monitored_servers AS m
    LEFT JOIN cs_internal.catalog_runs AS r ON r.server = m.server
   CROSS JOIN LATERAL (
     SELECT nullif(max(x.option_value)::interval, interval '0') AS every
       FROM pg_options_to_table(m.options) AS x WHERE x.option_name = 'refresh_interval') AS i
   WHERE r.server IS NOT NULL OR i.every IS NOT NULL;
COMMENT ON VIEW @extschema@.cs_stat_catalogs IS
'Servers whose catalogue is, or is to be, cached, and how fresh it is. Visible as cs_stat_requests is.';
GRANT SELECT ON @extschema@.cs_stat_catalogs TO PUBLIC;

CREATE VIEW cs_internal.health_processes WITH (security_barrier) AS
  SELECT max(w.pid) FILTER (WHERE w.database_id IS NULL) AS launcher,
         max(w.pid) FILTER (WHERE w.database_id = (SELECT d.oid FROM pg_database AS d
                                                    WHERE d.datname = current_database())) AS worker
    FROM cs_internal.stat_workers() AS w;
COMMENT ON VIEW cs_internal.health_processes IS
'The pids of the launcher and of this database''s worker, or NULL.';
GRANT SELECT ON cs_internal.health_processes TO PUBLIC;

CREATE FUNCTION @extschema@.cs_health(max_queue_age interval DEFAULT '5 minutes',
  max_catalog_age interval DEFAULT '2 days')
RETURNS TABLE (check_name text, status text, detail text, advice text)
LANGUAGE sql VOLATILE PARALLEL SAFE COST 10000 ROWS 11
BEGIN ATOMIC
  WITH
  orders AS (
    SELECT coalesce(sum(h.waiting), 0) AS waiting, min(h.oldest_at) AS oldest_at, coalesce(sum(h.held), 0) AS held,
           min(h.due_at) AS due_at, coalesce(sum(h.uncertain), 0) AS uncertain, min(h.uncertain_since) AS uncertain_since,
           string_agg(quote_ident(h.server), ', ' ORDER BY h.server) FILTER (WHERE h.uncertain > 0) AS uncertain_at,
           (array_agg(h.server ORDER BY h.oldest_at))[1] AS oldest_server,
           coalesce(sum(h.failed), 0) AS failed, min(h.failed_since) AS failed_since,
           (array_agg(format('order %s on server "%s"', h.first_failed, h.server) ORDER BY h.failed_since))[1] AS first_failed,
           coalesce(sum(h.not_followed), 0) AS not_followed, min(h.not_followed_since) AS not_followed_since,
           (array_agg(format('order %s on server "%s"', h.first_not_followed, h.server)
              ORDER BY h.not_followed_since))[1] AS first_not_followed
      FROM @extschema@.cs_stat_orders AS h),
  catalogs AS (
    SELECT count(*) AS known,
           string_agg(format('server "%s": %s%s', h.server,
                             coalesce('complete ' || date_trunc('second', now() - h.last_complete_at) || ' ago',
                                      'never complete'),
                             coalesce(', then: ' || h.error, '')), '; ' ORDER BY h.last_complete_at NULLS FIRST)
             FILTER (WHERE b.badness > 0) AS detail,
           coalesce(max(b.badness), 0) AS badness, min(h.last_complete_at) AS oldest_at
      FROM @extschema@.cs_stat_catalogs AS h
     CROSS JOIN LATERAL (SELECT coalesce(2 * h.every, max_catalog_age) AS most) AS l
     CROSS JOIN LATERAL (
       SELECT CASE WHEN now() - h.last_complete_at > 4 * l.most THEN 2
                   WHEN now() - h.last_complete_at > l.most OR h.error IS NOT NULL
                     OR h.last_complete_at IS NULL THEN 1
                   ELSE 0 END AS badness) AS b),
  accounts AS (
    SELECT count(*) AS known,
           max(abs(a.clock_skew_ms)) AS skew_ms,
           (array_agg(a.server ORDER BY abs(a.clock_skew_ms) DESC NULLS LAST))[1] AS skew_server,
           string_agg(DISTINCT quote_ident(a.server), ', ') FILTER (WHERE a.unauthorized_at IS NOT NULL) AS unauthorized,
           count(a.token_obtained_at) AS tokens, min(a.token_obtained_at) AS token_obtained_at,
           min(a.token_expires_at) AS token_expires_at,
           max(a.failures_in_a_row) AS failures
      FROM @extschema@.cs_stat_accounts AS a),
  failing AS (
    SELECT string_agg(CASE WHEN f.place > 5 THEN format('and %s more', f.number - 5)
                           ELSE format('server "%s": %s requests in a row without a usable answer, %s', f.server, f.failures,
                                       coalesce('the last one was at ' || date_trunc('second', f.answered_at),
                                                'and none before')) END, '; ' ORDER BY f.place) AS detail
      FROM (SELECT a.server, a.failures_in_a_row AS failures, a.answered_at, count(*) OVER () AS number,
                   row_number() OVER (ORDER BY a.failures_in_a_row DESC, a.server) AS place
              FROM @extschema@.cs_stat_accounts AS a WHERE a.failures_in_a_row >= 3) AS f
     WHERE f.place <= 6),
  busiest AS (
    SELECT a.server, a.used, a.rate_limit, a.waiting, a.paused_ms,
           CASE WHEN a.paused_ms > 60000 THEN 2
                WHEN a.paused_ms > 0 OR (a.waiting > 1 AND a.used >= 0.9 * a.rate_limit) THEN 1 ELSE 0 END AS badness
      FROM @extschema@.cs_stat_accounts AS a
     ORDER BY 6 DESC, a.paused_ms DESC, a.used::numeric / nullif(a.rate_limit, 0) DESC NULLS LAST
     LIMIT 1),
  findings (n, check_name, badness, detail, advice) AS (
    SELECT 1, 'worker',
           CASE WHEN pg_is_in_recovery() THEN 0
                WHEN p.launcher IS NULL THEN 2
                WHEN p.worker IS NULL AND o.due_at < now() - interval '15 s' THEN 2
                ELSE 0 END,
           CASE WHEN pg_is_in_recovery() THEN 'this is a standby, which sends nothing'
                WHEN p.launcher IS NULL THEN 'the launcher does not run'
                WHEN p.worker IS NOT NULL THEN 'launcher and worker run'
                WHEN o.due_at < now() - interval '15 s' THEN 'orders wait and no worker runs in this database'
                ELSE 'the launcher runs, and nothing is to be sent' END,
           'Look for "cupsource" and "background worker" in the server log; most often max_worker_processes is too small.'
      FROM cs_internal.health_processes AS p, orders AS o
    UNION ALL
    SELECT 2, 'queue',
           CASE WHEN o.oldest_at < now() - 4 * max_queue_age THEN 2
                WHEN o.oldest_at < now() - max_queue_age THEN 1 ELSE 0 END,
           CASE WHEN o.waiting = 0 THEN 'no order waits'
                ELSE format('orders that wait: %s; the oldest for %s, on server "%s"', o.waiting,
                            date_trunc('second', now() - o.oldest_at), o.oldest_server) END,
           'The view cs_queue says what each of them waits for.'
      FROM orders AS o
    UNION ALL
    SELECT 3, 'hold', CASE WHEN o.held > 0 THEN 1 ELSE 0 END,
           CASE WHEN o.held > 0 THEN format('orders that belong to another cluster: %s', o.held)
                ELSE 'no order is held' END,
           'This database is a copy. If it is to send and follow them, let a superuser call cs_adopt_queue().'
      FROM orders AS o
    UNION ALL
    SELECT 4, 'uncertain',
           CASE WHEN o.uncertain_since < now() - interval '1 day' THEN 2 WHEN o.uncertain > 0 THEN 1 ELSE 0 END,
           CASE WHEN o.uncertain = 0 THEN 'the outcome of every order is known'
                ELSE format('orders whose outcome is unknown: %s, on %s, since %s', o.uncertain, o.uncertain_at,
                            date_trunc('second', o.uncertain_since)) END,
           'Look at the partner whether they are there, then call cs_resolve_order().'
      FROM orders AS o
    UNION ALL
    SELECT 5, 'failed', CASE WHEN o.failed > 0 THEN 1 ELSE 0 END,
           CASE WHEN o.failed = 0 THEN 'no order of the queue failed within a day that nobody has seen to'
                ELSE format('orders of the queue that failed within a day: %s; the first is %s, at %s', o.failed,
                            o.first_failed, date_trunc('second', o.failed_since)) END,
           'cs_orders.error_message says why. When that is mended, cs_resolve_order(id, ''retry'') sends an order again; one that was refused for good needs a new external id: cs_resubmit_order().'
      FROM orders AS o
    UNION ALL
    SELECT 6, 'following', CASE WHEN o.not_followed > 0 THEN 1 ELSE 0 END,
           CASE WHEN o.not_followed = 0 THEN 'the partners tell how orders stand'
                ELSE format('orders that the partner has told nothing of for an hour: %s; the first is %s, since %s', o.not_followed,
                            o.first_not_followed, date_trunc('second', o.not_followed_since)) END,
           'cs_orders.error_message says why. They are asked for ever more rarely; cs_order_status(id, ''0'') asks now. If a person gave the partner''s id, cs_resolve_order() corrects it.'
      FROM orders AS o
    UNION ALL
    SELECT 7, 'token', CASE WHEN a.unauthorized IS NOT NULL THEN 2 ELSE 0 END,
           CASE WHEN a.unauthorized IS NOT NULL THEN format('the partner refuses the credentials of %s', a.unauthorized)
                WHEN a.tokens = 0 THEN 'no partner refuses our credentials, and no token is in use'
                WHEN a.token_expires_at <= now() THEN 'a token has ended, and the next request gets another'
                ELSE format('oldest token: %s old, ends in %s', date_trunc('second', now() - a.token_obtained_at),
                            date_trunc('second', a.token_expires_at - now())) END,
           'Check the options of the user mapping, and at the partner whether the key is active and has the permissions.'
      FROM accounts AS a
    UNION ALL
    SELECT 8, 'catalog', c.badness,
           CASE WHEN c.badness > 0 THEN c.detail
                WHEN c.known = 0 THEN 'no catalogue is cached'
                ELSE format('catalogues: %s, the oldest complete %s ago', c.known,
                            date_trunc('second', now() - c.oldest_at)) END,
           'See cs_catalog_status; CALL cs_refresh_catalog() refreshes by hand, the server option refresh_interval by itself.'
      FROM catalogs AS c
    UNION ALL
    SELECT 9, 'limiter', coalesce(b.badness, 0),
           CASE WHEN b.server IS NULL THEN 'no request since the server started'
                WHEN b.paused_ms > 0 THEN format('server "%s": the partner has asked for a pause, %s s are left',
                                                 b.server, b.paused_ms / 1000)
                WHEN b.rate_limit = 0 THEN 'no account has a limit'
                ELSE format('server "%s": %s of %s requests a minute are used, waiting: %s', b.server, b.used,
                            b.rate_limit, b.waiting) END,
           'Others may use the same key (give this cluster its share by the server option rate_limit), or reads and refreshes are too many.'
      FROM (SELECT) AS one LEFT JOIN busiest AS b ON true
    UNION ALL
    SELECT 10, 'clock',
           CASE WHEN a.skew_ms > 300000 THEN 2 WHEN a.skew_ms > 10000 THEN 1 ELSE 0 END,
           CASE WHEN a.skew_ms IS NULL THEN 'no partner has told its time since the server started'
                ELSE format('the clock of server "%s" and ours differ by %s s', a.skew_server,
                            round(a.skew_ms::numeric / 1000, 1)) END,
           'Synchronise the clock of this machine; if it is right, tell the partner.'
      FROM accounts AS a
    UNION ALL
    SELECT 11, 'partner', CASE WHEN a.failures >= 10 THEN 2 WHEN a.failures >= 3 THEN 1 ELSE 0 END,
           CASE WHEN a.known = 0 THEN 'no request since the server started'
                WHEN a.failures >= 3 THEN f.detail
                ELSE 'the partners answer' END,
           'The partner, or the way to it, is down: cs_queue has the errors of orders that wait, which go out by themselves; cs_stat_requests tells the kinds of failures, and cupsource.log_requests = on logs each.'
      FROM accounts AS a, failing AS f)
  SELECT f.check_name, (ARRAY['ok', 'warn', 'fail'])[f.badness + 1], f.detail,
         CASE WHEN f.badness > 0 THEN f.advice END
    FROM findings AS f
   ORDER BY f.n;
END;
COMMENT ON FUNCTION @extschema@.cs_health(interval, interval) IS
'One row per check with its status (ok, warn, fail), what was seen, and what to do unless all is well: worker (launcher and '
'worker run where orders wait), queue (age of the oldest waiting order; warns beyond max_queue_age, fails beyond four '
'times that), hold (orders of another cluster), uncertain (unknown outcomes; fails after a day), failed (of the '
'queue, within a day, and nobody has seen to them), following (the partner has told nothing of an order for an hour), '
'token (credentials are taken), catalog (age of the cached ones: warns beyond twice the refresh_interval, or max_catalog_age if it has none, and '
'fails beyond four times that), limiter (requests wait for an exhausted budget, or the partner asked for a pause), clock '
'(ours against the partners'' Date headers; warns beyond 10 s, fails beyond 300 s), partner (requests in a row without '
'a usable answer; warns from 3, fails from 10). Of the servers that the user may use; of all for members of '
'pg_read_all_stats. Works on a standby.';
