-- Calls in this session and orders in one worker, and what memory they take.
-- psql -v calls=200000 -v port=… -f soak.sql; see scripts/soak.sh.

SET client_min_messages = warning;
CREATE EXTENSION cupsource;
ALTER SYSTEM SET cupsource.worker_linger = '1h';
ALTER SYSTEM SET cupsource.max_retries = 0;
SELECT pg_reload_conf() \g /dev/null
SELECT format('http://127.0.0.1:%s/0', :'port') AS url \gset
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource
	OPTIONS (api 'cupsource-v1', base_url :'url', rate_limit '0', poll_interval '1d');
CREATE SERVER nobody FOREIGN DATA WRAPPER cupsource
	OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:1', rate_limit '0');
CREATE USER MAPPING FOR PUBLIC SERVER shop OPTIONS (api_key 'cs_live_v1_demo');
CREATE USER MAPPING FOR PUBLIC SERVER nobody OPTIONS (api_key 'cs_live_v1_demo');

CREATE TABLE memory (process text, at serial, contexts bigint, pages bigint, pid int);

-- Bytes of a process's own pages.
CREATE FUNCTION pages(pid text) RETURNS bigint LANGUAGE sql AS $$
	SELECT substring(pg_read_file('/proc/' || pid || '/status') FROM 'RssAnon:\s*(\d+)')::bigint * 1024
$$;

CREATE FUNCTION order_of(external_id text, OUT lines jsonb, OUT ship_to jsonb, OUT options jsonb) LANGUAGE sql AS $$
	SELECT '[{"sku": "CS-8OZ-ECO", "quantity": 1000}]'::jsonb,
		'{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}'::jsonb,
		'{"currency": "USD"}'::jsonb
$$;

-- Each call is a transaction.  One in ten finds nobody, one in fifty orders.
CREATE PROCEDURE call(first int, calls int) LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	FOR i IN first .. first + calls - 1 LOOP
		IF i % 10 = 0 THEN
			BEGIN
				SELECT count(*) INTO n FROM cs_products(server => 'nobody');
				RAISE 'a call to nobody was answered';
			EXCEPTION WHEN SQLSTATE 'PA002' THEN
				NULL;
			END;
		ELSIF i % 50 = 1 THEN
			PERFORM cs_create_order(o.lines, o.ship_to, 'call-' || i, o.options, 'shop') FROM order_of('') AS o;
		ELSE
			SELECT count(*) INTO STRICT n FROM cs_products(server => 'shop');
			ASSERT n = 1;
		END IF;
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE order_all(first int, orders int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cs_enqueue_order(o.lines, o.ship_to, 'order-' || i, o.options, 'shop')
	   FROM generate_series(first, first + orders - 1) AS i, order_of('') AS o;
	COMMIT;
	WHILE EXISTS (SELECT FROM cs_queue) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

\echo calls in one session
SELECT format('CALL call(%s, %s)', :calls * i / 10, :calls / 10),
	'INSERT INTO memory (process, contexts, pages, pid)
	 SELECT ''session'', (SELECT sum(total_bytes) FROM pg_backend_memory_contexts), pages(''self''), pg_backend_pid()'
  FROM generate_series(0, 9) AS i \gexec

\echo orders in one worker
SELECT format('CALL order_all(%s, %s)', :calls * i / 100, :calls / 100),
	CASE WHEN i % 10 = 9 THEN 'INSERT INTO memory (process, pages, pid)
	 SELECT ''worker'', pages(pid::text), pid FROM cs_stat_workers WHERE process = ''worker''' ELSE 'SELECT' END
  FROM generate_series(0, 99) AS i \gexec

SELECT process, count(DISTINCT pid) AS processes,
	string_agg(coalesce((contexts / 1024)::text, '-'), ' ' ORDER BY at) AS "contexts in kB",
	string_agg((pages / 1024)::text, ' ' ORDER BY at) AS "pages in kB"
  FROM memory GROUP BY process ORDER BY process \g (format=aligned tuples_only=off)

SELECT count(*) FILTER (WHERE state = 'placed') || ' of ' || count(*) || ' orders placed' FROM cs_orders;

DO $$
DECLARE
	grown record;
BEGIN
	IF EXISTS (SELECT FROM cs_orders WHERE state <> 'placed') THEN
		RAISE 'not every order was placed';
	END IF;
	FOR grown IN
		SELECT process, max(contexts) - min(contexts) FILTER (WHERE warm) AS contexts,
			max(pages) - min(pages) FILTER (WHERE warm) AS pages, count(DISTINCT pid) AS processes
		  FROM (SELECT *, row_number() OVER (PARTITION BY process ORDER BY at) = 1 AS warm FROM memory) AS m
		 GROUP BY process
	LOOP
		IF grown.processes <> 1 THEN
			RAISE 'it was not one %', grown.process;
		ELSIF grown.contexts > 1048576 OR grown.pages > 1048576 THEN
			RAISE 'the % has grown by % bytes of contexts and % of pages', grown.process, grown.contexts, grown.pages;
		END IF;
	END LOOP;
END $$;
\echo memory is flat
