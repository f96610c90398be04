/*
 * transitions.sql
 *	  Every change of an order's state, one small function each.
 *
 *	  queued      -> sending (claimed), cancelled, failed
 *	  sending     -> placed and beyond (answered), queued (again), failed, uncertain
 *	  placed, approved, in_production, shipped, delivered, rejected, cancelled:
 *	                as the partner says
 *	  placed ...  -> cancelling -> cancelled, or back; orphaned
 *	  uncertain, failed -> queued, placed, failed, cancelled (by hand); placed by
 *	                hand under a wrong id -> placed
 *
 * A function refuses every other old state with PA012 and changes nothing.
 * Each change leaves an event and a NOTIFY, which listeners get at COMMIT.
 */

-- Why an order cannot go where it was sent: throws.
CREATE FUNCTION cs_internal.order_refuse(order_id bigint, wanted text, advice text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  SELECT id, external_id, state INTO o FROM cs_internal.orders WHERE id = order_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'PA404', MESSAGE = format('order %s does not exist', order_id);
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'PA012',
    MESSAGE = format('order "%s" is %s and cannot become %s', o.external_id, o.state, wanted),
    HINT = CASE WHEN o.state = 'uncertain' THEN
             format('Look for it at the partner, then use cs_resolve_order(%s, ''placed'', ...), ''retry'' or ''failed''.', o.id)
           ELSE coalesce(advice, 'Somebody else has changed it meanwhile; cs_order_events tells.') END;
END $$;
COMMENT ON FUNCTION cs_internal.order_refuse(bigint, text, text) IS
'Throws PA012 (wrong state), with what to do instead, or PA404 if there is no such order.';
REVOKE ALL ON FUNCTION cs_internal.order_refuse(bigint, text, text) FROM PUBLIC;

-- What every transition ends with.  It is called, and notifies, by assignments: an
-- expression costs a fraction of the statement that PERFORM is.
CREATE FUNCTION cs_internal.order_entered(order_id bigint, server text, external_id text, state text,
  by text DEFAULT 'cupsource', detail jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  event bigint;
  told boolean;
BEGIN
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail)
  VALUES (order_id, clock_timestamp(), 'local', state, by, detail)
  RETURNING id INTO event;
  told := pg_notify('cupsource', json_build_object('id', order_id, 'server', server,
    'external_id', external_id, 'state', state)::text) IS NOT NULL;
  RETURN event;
END $$;
COMMENT ON FUNCTION cs_internal.order_entered(bigint, text, text, text, text, jsonb) IS
'Records the state that an order has entered, tells the listeners of channel cupsource, and returns the event''s id.';
REVOKE ALL ON FUNCTION cs_internal.order_entered(bigint, text, text, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION cs_internal.error_detail(error cs_internal.order_error) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN jsonb_strip_nulls(jsonb_build_object('sqlstate', error.sqlstate, 'code', error.code,
    'message', error.message));
END $$;
COMMENT ON FUNCTION cs_internal.error_detail(cs_internal.order_error) IS 'A failure as an event''s detail.';
REVOKE ALL ON FUNCTION cs_internal.error_detail(cs_internal.order_error) FROM PUBLIC;

-- The answer to a request about one order shows another.
CREATE FUNCTION cs_internal.order_mistaken(external_id text, a cs_internal.remote_order) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'PA006',
    MESSAGE = format('the answer about order "%s" shows order "%s"', external_id, left(a.external_id, 100));
END $$;
COMMENT ON FUNCTION cs_internal.order_mistaken(text, cs_internal.remote_order) IS
'Throws PA006: what the partner says of another order must not be taken for this one''s.';
REVOKE ALL ON FUNCTION cs_internal.order_mistaken(text, cs_internal.remote_order) FROM PUBLIC;

/* ---- sending ---- */

-- queued -> sending, a batch; the bodies are the bytes that will be sent.
CREATE FUNCTION cs_internal.orders_sending(ids bigint[], bodies bytea[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  changed bigint[];
  unchanged bigint;
BEGIN
  WITH claimed AS (
    UPDATE cs_internal.orders AS o
       SET state = 'sending', body = c.body, attempts = o.attempts + 1,
           sent_at = coalesce(o.sent_at, clock_timestamp()), changed_at = clock_timestamp()
      FROM unnest(ids, bodies) AS c (id, body)
     WHERE o.id = c.id AND o.state = 'queued'
    RETURNING o.id, o.server, o.external_id, o.attempts
  ), journal AS (
    INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail)
    SELECT id, clock_timestamp(), 'local', 'sending', 'cupsource',
           jsonb_build_object('attempt', attempts)
      FROM claimed
  )
  SELECT array_agg(n.id)
    INTO changed
    FROM (SELECT c.id, pg_notify('cupsource', json_build_object('id', c.id, 'server', c.server,
                   'external_id', c.external_id, 'state', 'sending')::text)
            FROM claimed AS c) AS n;
  IF cardinality(changed) IS DISTINCT FROM cardinality(ids) THEN
    SELECT u.id INTO unchanged FROM unnest(ids) AS u (id)
     WHERE u.id <> ALL (coalesce(changed, '{}')) LIMIT 1;
    PERFORM cs_internal.order_refuse(unchanged, 'sending');
  END IF;
  RETURN cardinality(changed);
END $$;
COMMENT ON FUNCTION cs_internal.orders_sending(bigint[], bytea[]) IS
'queued -> sending, all or none: stores the exact request bodies and counts the attempt, before a byte is sent.';
REVOKE ALL ON FUNCTION cs_internal.orders_sending(bigint[], bytea[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.attempt_ended(order_id bigint, started_at timestamptz, duration_ms integer,
  status integer, delivery text, failure text, error_sqlstate text, error_message text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO cs_internal.order_attempts
  SELECT o.id, o.attempts, coalesce(attempt_ended.started_at, o.changed_at),
         attempt_ended.duration_ms, attempt_ended.status, attempt_ended.delivery,
         attempt_ended.failure, attempt_ended.error_sqlstate, attempt_ended.error_message
    FROM cs_internal.orders AS o
   WHERE o.id = attempt_ended.order_id
  ON CONFLICT ON CONSTRAINT order_attempts_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION cs_internal.attempt_ended(bigint, timestamptz, integer, integer, text, text, text, text) IS
'Keeps what came of the current attempt to place an order; a start that is not known is that of the claim. An answer that '
'left it in doubt stays when the worker ends while it looks the order up.';
REVOKE ALL ON FUNCTION cs_internal.attempt_ended(bigint, timestamptz, integer, integer, text, text, text, text)
  FROM PUBLIC;

-- sending -> placed, or as far as the answer says.
CREATE FUNCTION cs_internal.order_placed(order_id bigint, new_state text, a cs_internal.remote_order,
  answer jsonb, poll_after interval, started_at timestamptz DEFAULT NULL,
  duration_ms integer DEFAULT NULL, status integer DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
  event bigint;
  stays boolean := new_state <> 'cancelled';
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = new_state, remote_id = a.remote_id, remote = a, raw = answer,
         placed_at = clock_timestamp(), fetched_at = clock_timestamp(),
         changed_at = clock_timestamp(), next_attempt_at = NULL, error = NULL, is_final = false,
         poll_at = CASE WHEN cs_internal.is_followed(new_state) THEN now() + poll_after END
   WHERE t.id = order_id AND t.state = 'sending'
     AND new_state IN ('placed', 'approved', 'in_production', 'shipped', 'delivered', 'rejected',
                       'cancelled')
  RETURNING t.server, t.external_id, t.attempts, t.sent_at, t.cancel_requested_at INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, new_state);
  END IF;
  IF a.external_id <> o.external_id THEN
    PERFORM cs_internal.order_mistaken(o.external_id, a);
  END IF;
  INSERT INTO cs_internal.order_attempts (order_id, attempt, started_at, duration_ms, status, delivery, failure)
  VALUES (order_id, o.attempts, coalesce(started_at, o.sent_at, clock_timestamp()), duration_ms, status,
          'answered', 'none')
  ON CONFLICT ON CONSTRAINT order_attempts_pkey DO NOTHING;  -- looked up after the attempt had its answer
  event := cs_internal.order_entered(order_id, o.server, o.external_id, new_state, 'cupsource',
    jsonb_strip_nulls(jsonb_build_object('remote_id', a.remote_id, 'order_number', a.order_number)));
  IF o.cancel_requested_at IS NOT NULL AND new_state IN ('placed', 'approved', 'in_production') THEN
    PERFORM cs_internal.order_cancel(order_id, 'cupsource');
    stays := false;
  END IF;
  IF EXISTS (SELECT FROM cs_internal.webhook_events AS e
              WHERE e.server = o.server AND e.remote_id = a.remote_id AND e.order_id IS NULL
              UNION ALL
             SELECT FROM cs_internal.webhook_events AS e
              WHERE e.server = o.server AND e.order_number = a.order_number AND e.order_id IS NULL) THEN
    PERFORM cs_internal.webhooks_waiting(order_id, poll_after);
  END IF;
  RETURN stays;
END $$;
COMMENT ON FUNCTION cs_internal.order_placed(bigint, text, cs_internal.remote_order, jsonb, interval, timestamptz, integer, integer) IS
'sending -> placed (or a later state that the answer names): the partner has accepted the order. False: it is, or is '
'now to be, cancelled. Keeps the attempt, too: when it began, how long it took, its HTTP status.';
REVOKE ALL ON FUNCTION cs_internal.order_placed(bigint, text, cs_internal.remote_order, jsonb, interval, timestamptz, integer, integer)
  FROM PUBLIC;

-- sending -> queued: certainly not sent, or the same bytes may be sent again.
CREATE FUNCTION cs_internal.order_again(order_id bigint, after interval, e cs_internal.order_error)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'queued', next_attempt_at = clock_timestamp() + after,
         changed_at = clock_timestamp(), error = e
   WHERE t.id = order_id AND t.state = 'sending'
  RETURNING t.server, t.external_id, t.cancel_requested_at INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'queued');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'queued', 'cupsource',
    cs_internal.error_detail(e));
  RETURN o.cancel_requested_at IS NULL OR cs_internal.order_cancel(order_id, 'cupsource') <> 'done';
END $$;
COMMENT ON FUNCTION cs_internal.order_again(bigint, interval, cs_internal.order_error) IS
'sending -> queued: the request certainly did not arrive, or the partner promises to know the same bytes again. False: it did '
'not arrive and was to be cancelled meanwhile, and is.';
REVOKE ALL ON FUNCTION cs_internal.order_again(bigint, interval, cs_internal.order_error) FROM PUBLIC;

-- sending -> uncertain; queued, too, if an earlier request may have arrived.
CREATE FUNCTION cs_internal.order_uncertain(order_id bigint, e cs_internal.order_error) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'uncertain', next_attempt_at = NULL, changed_at = clock_timestamp(), error = e
   WHERE t.id = order_id
     AND (t.state = 'sending' OR t.state = 'queued' AND NOT cs_internal.never_arrived(order_id))
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'uncertain');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'uncertain', 'cupsource',
    cs_internal.error_detail(e));
END $$;
COMMENT ON FUNCTION cs_internal.order_uncertain(bigint, cs_internal.order_error) IS
'sending -> uncertain: the request may have arrived, and sending it again could order twice; queued -> uncertain: one that '
'may have arrived is not wanted any more, and the partner cannot cancel. Waits for cs_resolve_order.';
REVOKE ALL ON FUNCTION cs_internal.order_uncertain(bigint, cs_internal.order_error) FROM PUBLIC;

-- queued, sending -> failed.
CREATE FUNCTION cs_internal.order_failed(order_id bigint, e cs_internal.order_error, final boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'failed', next_attempt_at = NULL, changed_at = clock_timestamp(), error = e,
         is_final = final
   WHERE t.id = order_id AND t.state IN ('queued', 'sending')
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'failed');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'failed', 'cupsource',
    cs_internal.error_detail(e));
END $$;
COMMENT ON FUNCTION cs_internal.order_failed(bigint, cs_internal.order_error, boolean) IS
'queued or sending -> failed: the partner refused the order, or it cannot be sent. final: the same external id will be refused for ever.';
REVOKE ALL ON FUNCTION cs_internal.order_failed(bigint, cs_internal.order_error, boolean) FROM PUBLIC;

-- queued stays queued: something of ours is missing (a user mapping, a secret file).
CREATE FUNCTION cs_internal.order_delayed(order_id bigint, after interval, e cs_internal.order_error)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Cancelling may go on for long: a quarter of the time that it took so far, up to five minutes.
  UPDATE cs_internal.orders AS t
     SET next_attempt_at = clock_timestamp() + CASE t.state WHEN 'cancelling'
           THEN greatest(after, least((clock_timestamp() - t.changed_at) / 4, interval '5 minutes')) ELSE after END,
         error = e
   WHERE t.id = order_id AND t.state IN ('queued', 'cancelling');
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'delayed');
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_delayed(bigint, interval, cs_internal.order_error) IS
'queued or cancelling, and stays so: it could not be tried; why and until when is kept. No event: nothing happened to the order.';
REVOKE ALL ON FUNCTION cs_internal.order_delayed(bigint, interval, cs_internal.order_error) FROM PUBLIC;

/* ---- cancelling ---- */

-- queued -> cancelled, placed ... -> cancelling; returns what has to be done now.
CREATE FUNCTION cs_internal.order_cancel(order_id bigint, by text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old record;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'cancelled');
  END IF;
  CASE
    WHEN old.state = 'cancelled' THEN
      RETURN 'done';
    WHEN old.state = 'queued' AND cs_internal.never_arrived(old.id) THEN
      UPDATE cs_internal.orders AS t
         SET state = 'cancelled', next_attempt_at = NULL, remote.cancelled_at = clock_timestamp(),
             changed_at = clock_timestamp(), caller_xids = NULL
       WHERE t.id = order_id;
      PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, 'cancelled', by);
      RETURN 'done';
    WHEN old.state IN ('queued', 'sending') THEN
      -- It may be at the partner: cancelled as soon as its outcome is known.
      UPDATE cs_internal.orders AS t
         SET cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp())
       WHERE t.id = order_id;
      RETURN 'wait';
    WHEN old.state IN ('placed', 'approved', 'in_production', 'orphaned') THEN
      UPDATE cs_internal.orders AS t
         SET state = 'cancelling', next_attempt_at = clock_timestamp(),
             cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp()),
             changed_at = clock_timestamp()
       WHERE t.id = order_id;
      PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, 'cancelling', by);
      RETURN 'send';
    WHEN old.state = 'cancelling' THEN
      UPDATE cs_internal.orders AS t SET next_attempt_at = clock_timestamp() WHERE t.id = order_id;
      RETURN 'send';
    ELSE
      PERFORM cs_internal.order_refuse(order_id, 'cancelled', CASE WHEN old.state IN ('shipped', 'delivered')
        THEN 'Ask the partner''s support.' ELSE 'It was not placed, so there is nothing to cancel.' END);
  END CASE;
END $$;
COMMENT ON FUNCTION cs_internal.order_cancel(bigint, text) IS
'Cancels: done (it was not sent, or is cancelled already), send (the partner has to be asked), wait (its outcome is not known yet).';
REVOKE ALL ON FUNCTION cs_internal.order_cancel(bigint, text) FROM PUBLIC;

-- queued -> cancelled in the user's own transaction; false if the worker has to do it.
CREATE FUNCTION cs_internal.order_cancel_queued(order_id bigint, by text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT cs_internal.never_arrived(order_id) THEN
    RETURN false;
  END IF;
  -- One that the worker is just claiming is as good as sent.
  PERFORM FROM cs_internal.orders AS t
    WHERE t.id = order_id AND t.state = 'queued' FOR NO KEY UPDATE SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM cs_internal.order_cancel(order_id, by);
  RETURN true;
END $$;
COMMENT ON FUNCTION cs_internal.order_cancel_queued(bigint, text) IS
'queued -> cancelled, if it never reached the partner and nobody is sending it: true. Otherwise nothing is changed, and nothing stays locked.';
REVOKE ALL ON FUNCTION cs_internal.order_cancel_queued(bigint, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.is_only_called_for(order_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM cs_internal.orders AS o
                  WHERE o.id = is_only_called_for.order_id AND o.caller_xids IS NOT NULL);
END $$;
COMMENT ON FUNCTION cs_internal.is_only_called_for(bigint) IS
'True if only callers want the order, and none of their transactions is known to have committed.';
REVOKE ALL ON FUNCTION cs_internal.is_only_called_for(bigint) FROM PUBLIC;

-- Is the answer about this order?
CREATE FUNCTION cs_internal.order_recognised(order_id bigint, a cs_internal.remote_order) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o cs_internal.orders;
BEGIN
  SELECT * INTO o FROM cs_internal.orders AS t WHERE t.id = order_id;
  IF a.external_id <> o.external_id THEN
    PERFORM cs_internal.order_mistaken(o.external_id, a);
  END IF;
  IF NOT cs_internal.is_order_of(a, o.remote_id, o.remote) THEN
    RAISE EXCEPTION USING ERRCODE = 'PA006',
      MESSAGE = format('the answer about order "%s" of the partner shows order "%s"', left(o.remote_id, 100),
        left(a.remote_id, 100));
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_recognised(bigint, cs_internal.remote_order) IS
'Throws PA006 if the partner''s answer names another order than this one.';
REVOKE ALL ON FUNCTION cs_internal.order_recognised(bigint, cs_internal.remote_order) FROM PUBLIC;

-- cancelling -> cancelled.
CREATE FUNCTION cs_internal.order_cancelled(order_id bigint, a cs_internal.remote_order) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  PERFORM cs_internal.order_recognised(order_id, a);
  UPDATE cs_internal.orders AS t
     SET state = 'cancelled', remote.remote_status = coalesce(a.remote_status, (t.remote).remote_status),
         remote.cancelled_at = coalesce(a.cancelled_at, clock_timestamp()), next_attempt_at = NULL,
         poll_at = NULL, fetched_at = clock_timestamp(), changed_at = clock_timestamp(), error = NULL,
         failing_since = NULL
   WHERE t.id = order_id AND t.state = 'cancelling'
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'cancelled');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'cancelled');
END $$;
COMMENT ON FUNCTION cs_internal.order_cancelled(bigint, cs_internal.remote_order) IS
'cancelling -> cancelled: the partner has confirmed it.';
REVOKE ALL ON FUNCTION cs_internal.order_cancelled(bigint, cs_internal.remote_order) FROM PUBLIC;

-- cancelling -> what it was before, or orphaned if nobody wants it.
CREATE FUNCTION cs_internal.order_not_cancelled(order_id bigint, e cs_internal.order_error) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old record;
  back text;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  IF NOT FOUND OR old.state <> 'cancelling' THEN
    PERFORM cs_internal.order_refuse(order_id, 'not cancelled');
  END IF;
  back := CASE WHEN old.lost_at IS NOT NULL THEN 'orphaned' ELSE coalesce((
    SELECT v.type FROM cs_internal.order_events AS v
     WHERE v.order_id = order_not_cancelled.order_id AND v.source = 'local'
       AND v.type IN ('placed', 'approved', 'in_production', 'shipped', 'orphaned')
     ORDER BY v.id DESC LIMIT 1), 'placed') END;
  UPDATE cs_internal.orders AS t
     SET state = back, next_attempt_at = NULL, cancel_requested_at = NULL,
         caller_xids = CASE WHEN t.lost_at IS NULL THEN t.caller_xids END, poll_at = now(),
         changed_at = clock_timestamp(), error = e, failing_since = NULL
   WHERE t.id = order_id;
  PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, back, 'cupsource',
    cs_internal.error_detail(e));
  RETURN back;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_cancelled(bigint, cs_internal.order_error) IS
'cancelling -> the state before, because the partner refuses; orphaned if the transaction that asked for the order rolled back.';
REVOKE ALL ON FUNCTION cs_internal.order_not_cancelled(bigint, cs_internal.order_error) FROM PUBLIC;

-- placed ... -> orphaned.
CREATE FUNCTION cs_internal.order_orphaned(order_id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'orphaned', caller_xids = NULL, changed_at = clock_timestamp()
   WHERE t.id = order_id AND t.lost_at IS NOT NULL
     AND t.state IN ('placed', 'approved', 'in_production', 'shipped', 'delivered')
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'orphaned');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'orphaned');
END $$;
COMMENT ON FUNCTION cs_internal.order_orphaned(bigint) IS
'placed ... -> orphaned: the partner makes an order whose transaction rolled back, and cannot be stopped.';
REVOKE ALL ON FUNCTION cs_internal.order_orphaned(bigint) FROM PUBLIC;

/* ---- by hand ---- */

-- The orders that are one for who wants it: this one, what it was submitted again for and as, and so on.
CREATE FUNCTION cs_internal.order_kin(order_id bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  RETURN QUERY
  WITH RECURSIVE kin AS (
    SELECT order_id AS id
     UNION
    SELECT n.id
      FROM kin AS k
     CROSS JOIN LATERAL (SELECT t.replaces AS id FROM cs_internal.orders AS t WHERE t.id = k.id AND t.replaces IS NOT NULL
                          UNION ALL
                         SELECT r.id FROM cs_internal.orders AS r WHERE r.replaces = k.id) AS n
  ) SELECT k.id FROM kin AS k;
END $$;
COMMENT ON FUNCTION cs_internal.order_kin(bigint) IS
'The order, and all that were submitted again for it, that it was submitted again for, and so on: one of them is to be made.';
REVOKE ALL ON FUNCTION cs_internal.order_kin(bigint) FROM PUBLIC;

-- Which other of its kin may be made?
CREATE FUNCTION cs_internal.order_made_as(order_id bigint, new_external_id text DEFAULT NULL)
RETURNS TABLE (id bigint, external_id text, state text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT r.id, r.external_id, r.state
    FROM cs_internal.order_kin(order_id) AS k (id)
    JOIN cs_internal.orders AS r ON r.id = k.id
   WHERE r.id <> order_id AND r.state NOT IN ('failed', 'rejected', 'cancelled')
     AND r.external_id IS DISTINCT FROM new_external_id
   LIMIT 1;
END $$;
COMMENT ON FUNCTION cs_internal.order_made_as(bigint, text) IS
'The one of its kin, other than the one with the new external id, that has not failed, been rejected or cancelled.';
REVOKE ALL ON FUNCTION cs_internal.order_made_as(bigint, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_not_replaced(order_id bigint, new_external_id text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  SELECT t.external_id, m.external_id AS other, m.state, m.id < t.id AS is_older INTO o
    FROM cs_internal.order_made_as(order_id, new_external_id) AS m, cs_internal.orders AS t
   WHERE t.id = order_id;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'PA012',
      MESSAGE = CASE WHEN o.is_older THEN format('order "%s" was submitted again as "%s"', o.other, o.external_id)
                     ELSE format('order "%s" was submitted again as "%s"', o.external_id, o.other) END,
      DETAIL = format('Order "%s" is %s.', o.other, o.state),
      HINT = 'Sending it once more would order twice.';
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_replaced(bigint, text) IS
'Throws PA012 if another of its kin than the one with the new external id has not failed, been rejected or cancelled.';
REVOKE ALL ON FUNCTION cs_internal.order_not_replaced(bigint, text) FROM PUBLIC;

-- uncertain, failed -> what a person found out.
CREATE FUNCTION cs_internal.order_resolve(order_id bigint, action text, found_id text, by text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old record;
  new_state text;
  said cs_internal.order_error;
  advice text;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'resolved');
  END IF;
  new_state := CASE action WHEN 'placed' THEN 'placed' WHEN 'retry' THEN 'queued'
                           WHEN 'failed' THEN 'failed' END;
  IF new_state IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('action "%s" is not known', action),
      HINT = 'Use placed, retry or failed.';
  END IF;
  IF NOT (old.state = 'uncertain' OR old.state = 'failed' AND action <> 'failed'
          OR old.state = 'placed' AND action = 'placed' AND old.fetched_at IS NULL) THEN
    PERFORM cs_internal.order_refuse(order_id, new_state,
      CASE WHEN old.state = 'failed' THEN 'It is failed already. Use placed or retry if it is not to stay so.'
           ELSE 'An order is resolved while it is uncertain or has failed.' END);
  END IF;
  -- No backslash: what that means is up to the session's standard_conforming_strings.
  IF action = 'placed' AND coalesce(found_id, '') !~ '[^[:space:]]' THEN
    RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'remote_id must be given with action "placed"',
      HINT = 'It is the partner''s id of the order, by which it is followed.';
  END IF;
  IF octet_length(found_id) > 1000 THEN
    RAISE EXCEPTION USING ERRCODE = '22001', MESSAGE = 'remote_id is too long',
      DETAIL = format('It has %s bytes; 1000 are allowed.', octet_length(found_id));
  END IF;
  IF action = 'retry' AND old.is_final THEN
    PERFORM cs_internal.order_not_replaced(order_id);
    advice := cs_internal.order_advice(order_id);
    RAISE EXCEPTION USING ERRCODE = 'PA012',
      MESSAGE = format(CASE WHEN advice IS NULL THEN 'order "%s" was refused for good' ELSE 'order "%s" was submitted again' END,
                       old.external_id),
      DETAIL = coalesce((old.error).message, 'There is no message.'),
      HINT = coalesce(advice, 'The partner answers the same to this external id for ever. Use cs_resubmit_order with a new one.');
  END IF;
  IF action = 'failed' THEN
    -- What the last attempt left open is known now.
    said := old.error;
    said.message := 'the order is not at the partner';
    said.detail := format('%s has looked for it. The last attempt: %s', by, coalesce((old.error).message, 'no error'));
    said.hint := CASE WHEN NOT old.is_final THEN format('Use cs_resolve_order(%s, ''retry'') to have it sent again.', order_id) END;
  END IF;
  UPDATE cs_internal.orders AS t
     SET state = new_state, changed_at = clock_timestamp(), caller_xids = NULL,
         -- Who wants it now decides for those who did not want it any more.
         lost_at = CASE WHEN action = 'failed' THEN t.lost_at END,
         cancel_requested_at = CASE WHEN action = 'failed' THEN t.cancel_requested_at END,
         path = CASE WHEN action = 'retry' THEN 'queue' ELSE t.path END,
         remote_id = CASE WHEN action = 'placed' THEN found_id ELSE t.remote_id END,
         placed_at = CASE WHEN action = 'placed' THEN clock_timestamp() ELSE t.placed_at END,
         poll_at = CASE WHEN action = 'placed' THEN clock_timestamp() END,
         next_attempt_at = CASE WHEN action = 'retry' THEN clock_timestamp() END,
         error = said
   WHERE t.id = order_id;
  PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, new_state, by,
    jsonb_strip_nulls(jsonb_build_object('resolved', action, 'remote_id', found_id,
      'attempts', CASE WHEN action <> 'placed' THEN old.attempts END)));
  IF action = 'placed' THEN
    PERFORM cs_internal.webhooks_waiting(order_id, '1 hour');
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_resolve(bigint, text, text, text) IS
'uncertain or failed -> placed (it is there, under this id), queued (send it again), or failed (it is not there). '
'placed -> placed under another id, as long as the partner has not been seen to know it.';
REVOKE ALL ON FUNCTION cs_internal.order_resolve(bigint, text, text, text) FROM PUBLIC;
