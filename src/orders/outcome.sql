/*
 * outcome.sql
 *	  What became of an order, for those who want to know: its callers who wait,
 *	  and whoever asks for it again.
 */

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

-- Not an error: a trigger for updates may fire for its row at any time.
CREATE FUNCTION cs_internal.order_not_wanted(order_id bigint) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t
   WHERE t.id = order_id AND t.state IN ('failed', 'rejected', 'cancelled', 'uncertain');
  IF FOUND THEN
    RAISE WARNING USING
      MESSAGE = format('order "%s" on server "%s" is %s and is not queued again', old.external_id, old.server, old.state),
      DETAIL = coalesce((old.error).message, format('It is order %s in cs_orders.', old.id)),
      HINT = CASE
        WHEN old.state = 'uncertain' THEN format('Look for it at the partner, then use cs_resolve_order(%s, ...).', old.id)
        WHEN old.state = 'failed' AND NOT old.is_final
          THEN format('Use cs_resolve_order(%s, ''retry'') to have it sent again.', old.id)
        ELSE format('Use cs_resubmit_order(%s, ...) to have it sent under a new external id.', old.id) END;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_wanted(bigint) IS
'Warns whoever queues an order that is there already, and will not be sent unless somebody decides so.';
REVOKE ALL ON FUNCTION cs_internal.order_not_wanted(bigint) FROM PUBLIC;
