/*
 * servers.sql
 *	  What is stored carries its server's name, as a dump and a copy need it;
 *	  ALTER SERVER ... RENAME and DROP SERVER see to it here.
 */

CREATE FUNCTION cs_internal.server_renamed(old_name text, new_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cached text;
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE feature_not_supported USING
      MESSAGE = format('server "%s" cannot be renamed in a transaction of this isolation level', old_name),
      HINT = 'It would not see all of its orders. Use READ COMMITTED.';
  END IF;

  -- Nobody queues an order under the old name meanwhile: it would never be sent.
  LOCK TABLE cs_internal.orders IN SHARE ROW EXCLUSIVE MODE;
  IF EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.server = new_name) THEN
    RAISE duplicate_object USING
      MESSAGE = format('there are orders of an earlier server "%s"', new_name),
      DETAIL = 'They would become those of this one.',
      HINT = 'Use another name.';
  END IF;
  UPDATE cs_internal.orders AS o SET server = new_name WHERE o.server = old_name;
  FOREACH cached IN ARRAY ARRAY['products', 'models', 'variations', 'placements', 'print_methods',
    'price_history', 'balances', 'catalog_runs', 'list_pages', 'webhook_events'] LOOP
    EXECUTE format('DELETE FROM cs_internal.%I WHERE server = $1', cached) USING new_name;
    EXECUTE format('UPDATE cs_internal.%I SET server = $2 WHERE server = $1', cached)
      USING old_name, new_name;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.server_renamed(text, text) IS
'Takes orders and catalogue along to the new name of their server: otherwise nobody would see or send the orders, and '
'the same external id would be ordered again.';
REVOKE ALL ON FUNCTION cs_internal.server_renamed(text, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.catalog_forget(account text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cached text;
BEGIN
  FOREACH cached IN ARRAY ARRAY['products', 'models', 'variations', 'placements', 'print_methods',
    'price_history', 'balances', 'catalog_runs', 'list_pages'] LOOP
    EXECUTE format('DELETE FROM cs_internal.%I WHERE server = $1', cached) USING account;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.catalog_forget(text) IS
'The catalogue of a server goes with it, prices of the past included: whatever gets its name later may be another partner.';
REVOKE ALL ON FUNCTION cs_internal.catalog_forget(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.server_created(new_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.server = new_name) THEN
    RAISE duplicate_object USING
      MESSAGE = format('there are orders of an earlier server "%s"', new_name),
      DETAIL = 'They would be seen by whoever may use the new one, and sent to its account.',
      HINT = 'Use another name, or let a superuser create it.';
  END IF;
  PERFORM cs_internal.catalog_forget(new_name);
  DELETE FROM cs_internal.webhook_events AS e WHERE e.server = new_name;
END $$;
COMMENT ON FUNCTION cs_internal.server_created(text) IS
'A user has created a server: it must not inherit the orders (42710) or the catalogue of an earlier one of its name.';
REVOKE ALL ON FUNCTION cs_internal.server_created(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.server_dropped(old_name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unsettled bigint;
BEGIN
  SELECT count(*) INTO unsettled FROM cs_internal.orders AS o
   WHERE o.server = old_name AND o.state IN ('queued', 'sending', 'cancelling', 'uncertain');
  IF unsettled > 0 THEN
    RAISE object_in_use USING
      MESSAGE = format('cannot drop server "%s" because its orders are not settled', old_name),
      DETAIL = format('Number of orders that wait, are on the wire, or whose outcome is unknown: %s.', unsettled),
      HINT = 'The view cs_queue has them. Use cs_cancel_order or cs_resolve_order first.';
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.server_dropped(text) IS
'Refuses (55006) to lose orders with their server that wait, or of which nobody knows whether they were placed.';
REVOKE ALL ON FUNCTION cs_internal.server_dropped(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.server_api_changed(account text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unsettled bigint;
BEGIN
  SELECT count(*) INTO unsettled FROM cs_internal.orders AS o
   WHERE o.server = account AND o.state NOT IN ('delivered', 'rejected', 'cancelled', 'failed');
  IF unsettled > 0 THEN
    RAISE object_in_use USING
      MESSAGE = format('cannot change the API of server "%s" because its orders are not settled', account),
      DETAIL = format('Number of orders that have not come to their end: %s.', unsettled),
      HINT = 'Another partner does not know them. Create a server for it.';
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.server_api_changed(text) IS
'Refuses (55006) to have orders sent to, or asked for at, a partner that they were not made for.';
REVOKE ALL ON FUNCTION cs_internal.server_api_changed(text) FROM PUBLIC;
