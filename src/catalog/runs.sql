/*
 * runs.sql
 *	  The states of a refresh: begun (anew, or where the last one stopped),
 *	  checkpoints, complete or failed.
 *
 *	      (none) -- begin --> running -- complete --> complete
 *	                          |  ^                        |
 *	                       fail  begin (goes on)        begin
 *	                          v  |                        v
 *	                         failed                    running
 *
 * A run is a walk through the list, then, where the partner has details, one
 * through those that are due and a share of those unseen for longest.  Its
 * counters are kept by the process that runs it; here they are stored, in the
 * transactions of the pages that they count.
 *
 * Plans outlive the time when a table was empty and a sequential scan looked
 * cheap; so that is not offered where a table grows while it is used.
 */

CREATE FUNCTION cs_internal.refresh_begin(account text, want_entire boolean, reads bigint, OUT resumed boolean,
  OUT sound boolean, OUT empty boolean, OUT begun cs_internal.catalog_runs)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM cs_internal.claim_first();
  SELECT r.* INTO begun FROM cs_internal.catalog_runs AS r WHERE r.server = account FOR UPDATE;
  resumed := FOUND AND begun.state <> 'complete' AND begun.identity IS NOT DISTINCT FROM reads
             AND (begun."position" IS NOT NULL OR begun.phase = 'details') AND begun.checkpoint_at > now() - interval '1 day'
             AND (begun.entire OR begun.phase = 'list' OR NOT want_entire);

  sound := coalesce(begun.state = 'complete' AND begun.pages_sound AND NOT want_entire, false);
  empty := NOT EXISTS (SELECT FROM cs_internal.products AS p WHERE p.server = account);

  IF begun.server IS NULL THEN
    INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at, since_at, attempts, identity)
    VALUES (account, 1, 'running', 'list', want_entire, now(), now(), now(), 1, reads)
    RETURNING * INTO begun;
  ELSIF resumed THEN
    UPDATE cs_internal.catalog_runs AS r
       SET state = 'running', checkpoint_at = now(), entire = r.entire OR want_entire, attempts = r.attempts + 1,
           since_at = now(), since_rows = r.rows_done
     WHERE r.server = account
    RETURNING * INTO begun;
  ELSE
    UPDATE cs_internal.catalog_runs AS r
       SET run = r.run + 1, state = 'running', phase = 'list', "position" = NULL, entire = want_entire,
           started_at = now(), checkpoint_at = now(), pages_done = 0, rows_done = 0, rows_total = NULL,
           rows_new = 0, rows_changed = 0, rows_discontinued = 0, ring_left = 0, attempts = r.attempts + 1,
           since_at = now(), since_rows = 0, waited_ms = 0, identity = reads
     WHERE r.server = account
    RETURNING * INTO begun;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_begin(text, boolean, bigint) IS
'Begins a refresh of the account, or goes on with one that was interrupted less than a day ago while it read the same. The caller holds the refresh lock. '
'sound: the cached products are what list_pages stands for; empty: there are none.';
REVOKE ALL ON FUNCTION cs_internal.refresh_begin(text, boolean, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_checkpoint(account text, next_position text, pages bigint, rows_read bigint,
  total bigint, added bigint, changed bigint, discontinued bigint, ring text, ring_rest bigint,
  product_count bigint, sku_count bigint, waited bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET "position" = next_position, pages_done = pages, rows_done = rows_read, rows_total = total,
         rows_new = added, rows_changed = changed, rows_discontinued = discontinued, ring_position = ring,
         ring_left = ring_rest, products = product_count, skus = sku_count, waited_ms = waited, checkpoint_at = now()
   WHERE r.server = account AND r.state = 'running';
END $$;
COMMENT ON FUNCTION cs_internal.refresh_checkpoint(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text,
  bigint, bigint, bigint, bigint) IS
'The running refresh came so far, with the page that is stored in the same transaction.';
REVOKE ALL ON FUNCTION cs_internal.refresh_checkpoint(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text,
  bigint, bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_details(account text, budget bigint, done bigint, OUT due bigint, OUT ring_rest bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen bigint;
BEGIN
  SELECT count(*) FILTER (WHERE m.detail_due), count(*) FILTER (WHERE NOT m.detail_due) INTO due, seen
    FROM cs_internal.models AS m
   WHERE m.server = account AND (m.discontinued_at IS NULL OR m.absent_run IS NULL);
  UPDATE cs_internal.catalog_runs AS r
     SET phase = 'details', "position" = NULL, checkpoint_at = now(),
         ring_left = w.again, rows_done = done, rows_total = done + due + w.again, since_at = now(), since_rows = done
    FROM (SELECT CASE WHEN o.entire THEN seen ELSE least(seen, coalesce(budget, (seen + 19) / 20)) END AS again
            FROM cs_internal.catalog_runs AS o WHERE o.server = account) AS w
   WHERE r.server = account AND r.state = 'running'
  RETURNING r.ring_left INTO ring_rest;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_details(text, bigint, bigint) IS
'The list is complete, and so many rows are done; the details follow: those that are due, and as many of the others as the budget says (NULL: a twentieth; an entire run: all of them), those unseen for longest.';
REVOKE ALL ON FUNCTION cs_internal.refresh_details(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.details_due(account text, after text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT m.model_id FROM cs_internal.models AS m
   WHERE m.server = account AND m.detail_due AND m.model_id > after AND m.detail_failed_at IS NULL
   ORDER BY m.model_id LIMIT at_most;
END $$;
COMMENT ON FUNCTION cs_internal.details_due(text, text, bigint) IS
'Models whose detail is to be asked for, in the order of their ids, at most so many after one; without those whose last try failed.';
REVOKE ALL ON FUNCTION cs_internal.details_due(text, text, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.details_failed(account text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT m.model_id FROM cs_internal.models AS m
   WHERE m.server = account AND m.detail_due AND (m.discontinued_at IS NULL OR m.absent_run IS NULL)
     AND m.detail_failed_at < (SELECT r.started_at FROM cs_internal.catalog_runs AS r WHERE r.server = account)
   ORDER BY m.detail_failed_at, m.model_id LIMIT at_most;
END $$;
COMMENT ON FUNCTION cs_internal.details_failed(text, bigint) IS
'Models whose detail is to be asked for and whose last try, in an earlier run, failed: at most so many, those that were tried longest ago.';
REVOKE ALL ON FUNCTION cs_internal.details_failed(text, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.details_unseen(account text, after text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT m.model_id
    FROM cs_internal.models AS m
    JOIN cs_internal.catalog_runs AS r ON r.server = m.server
   WHERE m.server = account AND m.model_id > after AND NOT m.detail_due
     AND (m.discontinued_at IS NULL OR m.absent_run IS NULL)
     AND (m.detail_at IS NULL OR m.detail_at < r.started_at)
   ORDER BY m.model_id LIMIT at_most;
END $$;
COMMENT ON FUNCTION cs_internal.details_unseen(text, text, bigint) IS
'Models whose detail this run has not read, nor tried to, in the order of the ring, after a model. Those that are listed while their detail is gone are among them.';
REVOKE ALL ON FUNCTION cs_internal.details_unseen(text, text, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.items_on_offer(account text, after text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
BEGIN
  -- In the order of the index: a table that was just filled has no statistics, and
  -- without them all that follows would be sorted for each thousand.
  -- An account has products or models, never both.
  RETURN QUERY
  (SELECT p.product_id AS id FROM cs_internal.products AS p
    WHERE p.server = account AND p.product_id > after AND p.discontinued_at IS NULL
    ORDER BY p.product_id LIMIT at_most)
  UNION ALL
  (SELECT m.model_id FROM cs_internal.models AS m
    WHERE m.server = account AND m.model_id > after AND m.discontinued_at IS NULL
    ORDER BY m.model_id LIMIT at_most)
  ORDER BY id;
END $$;
COMMENT ON FUNCTION cs_internal.items_on_offer(text, text, bigint) IS
'Products or models on offer, in the order of their ids, at most so many after one.';
REVOKE ALL ON FUNCTION cs_internal.items_on_offer(text, text, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.page_digests(account text, OUT page bigint, OUT digest bigint) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN QUERY SELECT l.page, l.digest FROM cs_internal.list_pages AS l WHERE l.server = account;
END $$;
COMMENT ON FUNCTION cs_internal.page_digests(text) IS 'What the last run read on each page of the list.';
REVOKE ALL ON FUNCTION cs_internal.page_digests(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.note_pages(account text, numbers bigint[], digests bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  INSERT INTO cs_internal.list_pages AS l (server, page, digest)
  SELECT account, n.number, n.digest FROM unnest(numbers, digests) AS n (number, digest)
  ON CONFLICT (server, page) DO UPDATE SET digest = excluded.digest;
END $$;
COMMENT ON FUNCTION cs_internal.note_pages(text, bigint[], bigint[]) IS
'The pages of the list that are stored in the same transaction have these digests, which differ from those that are known.';
REVOKE ALL ON FUNCTION cs_internal.note_pages(text, bigint[], bigint[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_complete(account text, pages bigint, sound boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wrote boolean;
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET state = 'complete', phase = 'list', "position" = NULL, ring_left = 0, checkpoint_at = now(),
         last_complete_at = now(), pages_sound = sound, attempts = 0
   WHERE r.server = account AND r.state = 'running'
  RETURNING r.rows_new + r.rows_changed > 0 INTO wrote;
  IF wrote THEN
    -- A search walks through what these lists hold.
    PERFORM gin_clean_pending_list(i::regclass)
       FROM unnest('{cs_internal.products_terms,cs_internal.models_terms,cs_internal.variations_terms}'::text[]) AS i;
  END IF;
  DELETE FROM cs_internal.list_pages AS l WHERE l.server = account AND l.page > pages;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_complete(text, bigint, boolean) IS
'Every page (so many) and every detail of the run was read; sound: no row came twice.';
REVOKE ALL ON FUNCTION cs_internal.refresh_complete(text, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_anew(account text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r SET phase = 'list', "position" = NULL
   WHERE r.server = account AND r.state = 'running';
END $$;
COMMENT ON FUNCTION cs_internal.refresh_anew(text) IS
'The running refresh is not to be gone on with: the next one begins with the list.';
REVOKE ALL ON FUNCTION cs_internal.refresh_anew(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_failed(account text, message text, anew boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET state = 'failed', last_error = message, last_error_at = now(),
         "position" = CASE WHEN NOT anew THEN r."position" END
   WHERE r.server = account AND r.state = 'running';
  IF NOT FOUND THEN
    INSERT INTO cs_internal.catalog_runs AS r (server, run, state, phase, entire, started_at, checkpoint_at, attempts,
           last_error, last_error_at)
    VALUES (account, 0, 'failed', 'list', false, now(), now(), 1, message, now())
    ON CONFLICT (server) DO UPDATE
       SET attempts = r.attempts + 1, last_error = excluded.last_error, last_error_at = excluded.last_error_at;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_failed(text, text, boolean) IS
'The run stopped. The rows stay as its pages left them, each as the partner had it; the next run goes on from its checkpoint, or, if the partner refused the position, begins anew. '
'A run that could not even begin is remembered too.';
REVOKE ALL ON FUNCTION cs_internal.refresh_failed(text, text, boolean) FROM PUBLIC;
