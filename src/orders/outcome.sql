/*
 * outcome.sql
 *	  What became of an order: whether it may be at the partner, as far as its
 *	  attempts tell; and what its callers are told, and whoever asks for it again.
 */

-- Whoever resolves an order with 'retry' or 'failed' has looked for it.
CREATE FUNCTION cs_internal.attempts_settled(order_id bigint) RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT coalesce(max((e.detail->>'attempts')::integer), 0)
            FROM cs_internal.order_events AS e
           WHERE e.order_id = attempts_settled.order_id AND e.source = 'local'
             AND e.detail->>'resolved' IN ('retry', 'failed'));
END $$;
COMMENT ON FUNCTION cs_internal.attempts_settled(bigint) IS
'Up to which attempt a person has said that the order is not at the partner.';
REVOKE ALL ON FUNCTION cs_internal.attempts_settled(bigint) FROM PUBLIC;

-- Has no request of this order ever made it at the partner, for certain?
CREATE FUNCTION cs_internal.never_arrived(order_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  settled CONSTANT integer := cs_internal.attempts_settled(order_id);
BEGIN
  RETURN NOT EXISTS (
    SELECT FROM cs_internal.orders AS o
     WHERE o.id = never_arrived.order_id
       AND (o.remote_id IS NOT NULL  -- by a person's word
            OR o.attempts > settled + (SELECT count(*) FROM cs_internal.order_attempts AS a
                                        WHERE a.order_id = never_arrived.order_id AND a.attempt > settled
                                          AND (a.delivery = 'not_sent'
                                               OR a.error_sqlstate LIKE 'PA4__' AND a.error_sqlstate NOT IN ('PA408', 'PA409', 'PA499')))));
END $$;
COMMENT ON FUNCTION cs_internal.never_arrived(bigint) IS
'True if every attempt so far was not sent or was refused, or a person has said since that the order is not there. '
'A 409 or 503 may hide one that was made.';
REVOKE ALL ON FUNCTION cs_internal.never_arrived(bigint) FROM PUBLIC;

-- May an attempt have placed it, although nobody knows?
CREATE FUNCTION cs_internal.is_doubtful(order_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM cs_internal.order_attempts AS a
                  WHERE a.order_id = is_doubtful.order_id
                    AND a.attempt > cs_internal.attempts_settled(is_doubtful.order_id)
                    AND (a.delivery = 'unknown' OR a.status >= 500 OR a.status IN (302, 303, 408, 499)
                         OR a.error_sqlstate LIKE 'PA2__'));
END $$;
COMMENT ON FUNCTION cs_internal.is_doubtful(bigint) IS
'True if an attempt had no answer, or one that does not say whether the order was made, and nobody has looked for it since.';
REVOKE ALL ON FUNCTION cs_internal.is_doubtful(bigint) FROM PUBLIC;

-- Of orders that callers wait for, those that are not on their way any more.
CREATE FUNCTION cs_internal.orders_decided(ids bigint[], to_cancelled boolean) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT o.id FROM cs_internal.orders AS o
   WHERE o.id = ANY (ids)
     AND NOT (o.state IN ('queued', 'sending') AND (o.cancel_requested_at IS NOT NULL OR NOT to_cancelled)
              OR o.state = 'cancelling' AND to_cancelled);
END $$;
COMMENT ON FUNCTION cs_internal.orders_decided(bigint[], boolean) IS
'Which of these orders are neither queued nor being sent; or, to_cancelled, which are not going to be cancelled any more.';
REVOKE ALL ON FUNCTION cs_internal.orders_decided(bigint[], boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_locked(ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  overdue bigint[] := ARRAY(SELECT o.id FROM cs_internal.orders AS o
                             WHERE o.id = ANY (ids) AND o.state = 'queued'
                               AND o.next_attempt_at < clock_timestamp() - interval '2 s');
BEGIN
  RETURN QUERY
  WITH free AS (
    SELECT o.id FROM cs_internal.orders AS o WHERE o.id = ANY (overdue) FOR NO KEY UPDATE SKIP LOCKED
  )
  SELECT u.id FROM unnest(overdue) AS u (id) WHERE NOT EXISTS (SELECT FROM free AS f WHERE f.id = u.id);
END $$;
COMMENT ON FUNCTION cs_internal.orders_locked(bigint[]) IS
'Which of these orders were to be sent two seconds ago, and are locked by a transaction that has not ended.';
REVOKE ALL ON FUNCTION cs_internal.orders_locked(bigint[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_stored_error(order_id bigint)
RETURNS TABLE (state text, sqlstate text, code text, message text, detail text, hint text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT o.state, (o.error).sqlstate, (o.error).code, (o.error).message, (o.error).detail,
         (o.error).hint
    FROM cs_internal.orders AS o WHERE o.id = order_id;
END $$;
COMMENT ON FUNCTION cs_internal.order_stored_error(bigint) IS 'The failure that an order ended with.';
REVOKE ALL ON FUNCTION cs_internal.order_stored_error(bigint) FROM PUBLIC;

-- What is to be done about an order that was submitted again, whatever became of it before.
CREATE FUNCTION cs_internal.order_advice(order_id bigint) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN coalesce(
    (SELECT format('It was submitted again as "%s".', m.external_id) FROM cs_internal.order_made_as(order_id) AS m),
    (SELECT format('Use cs_resubmit_order(%s, ...) to have it sent under a new external id.', order_id)
       FROM cs_internal.order_kin(order_id) AS k (id) WHERE k.id > order_id LIMIT 1));
END $$;
COMMENT ON FUNCTION cs_internal.order_advice(bigint) IS
'The hint for whoever wants an order that was submitted again: as what, or, if that came to nothing, that it can be once more. NULL: it was not.';
REVOKE ALL ON FUNCTION cs_internal.order_advice(bigint) FROM PUBLIC;

-- Not an error: a trigger for updates may fire for its row at any time.
CREATE FUNCTION cs_internal.order_not_wanted(order_id bigint) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
  is_cancelling boolean;
  advice text;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t
   WHERE t.id = order_id AND (t.state IN ('failed', 'rejected', 'cancelling', 'cancelled', 'uncertain')
                              OR t.state IN ('queued', 'sending') AND t.cancel_requested_at IS NOT NULL);
  IF FOUND THEN
    is_cancelling := old.state IN ('queued', 'sending', 'cancelling');
    advice := cs_internal.order_advice(order_id);
    RAISE WARNING USING
      MESSAGE = format('order "%s" on server "%s" is %s and is not queued again', old.external_id, old.server,
        CASE WHEN is_cancelling THEN 'being cancelled' ELSE old.state END),
      DETAIL = coalesce((old.error).message, format('It is order %s in cs_orders.', old.id)),
      HINT = CASE
        WHEN advice IS NOT NULL THEN advice
        WHEN is_cancelling
          THEN format('Once it is cancelled, use cs_resubmit_order(%s, ...) to have it sent under a new external id.', old.id)
        WHEN old.state = 'uncertain' THEN format('Look for it at the partner, then use cs_resolve_order(%s, ...).', old.id)
        WHEN old.state = 'failed' AND NOT old.is_final
          THEN format('Use cs_resolve_order(%s, ''retry'') to have it sent again.', old.id)
        ELSE format('Use cs_resubmit_order(%s, ...) to have it sent under a new external id.', old.id) END;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_wanted(bigint) IS
'Warns whoever queues an order that is there already, and will not be sent unless somebody decides so.';
REVOKE ALL ON FUNCTION cs_internal.order_not_wanted(bigint) FROM PUBLIC;
