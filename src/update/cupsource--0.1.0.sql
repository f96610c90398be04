\echo Use "CREATE EXTENSION cupsource" to load this file. \quit

/*
 * schema.sql
 *	  The schema of the tables and state transitions, and what every view
 *	  shares.  Public objects (cs_…) live in the schema that the user chose.
 */

-- The script stops here unless the library was preloaded.
CREATE FUNCTION @extschema@.cs_version() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_version';
COMMENT ON FUNCTION @extschema@.cs_version() IS
'Version of the loaded library, and of libcurl and json-c as they run. '
'Error 55000 unless cupsource is in shared_preload_libraries.';

DO $$ BEGIN PERFORM @extschema@.cs_version(); END $$;

CREATE SCHEMA cs_internal;
COMMENT ON SCHEMA cs_internal IS
'Tables and state transitions of cupsource. Use the public functions and views cs_…; nothing here is granted to PUBLIC.';
REVOKE ALL ON SCHEMA cs_internal FROM PUBLIC;

CREATE VIEW cs_internal.visible_servers WITH (security_barrier) AS
  SELECT s.srvname::pg_catalog.text AS server
    FROM pg_catalog.pg_foreign_server AS s
    JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
   WHERE w.fdwname OPERATOR(pg_catalog.=) 'cupsource'
     AND pg_catalog.has_server_privilege(s.oid, 'USAGE');
COMMENT ON VIEW cs_internal.visible_servers IS
'The partner accounts that the current user may use; every public view shows only their rows.';
REVOKE ALL ON cs_internal.visible_servers FROM PUBLIC;

/*
 * fdw.sql
 *	  The foreign-data wrapper: a server is one partner account, a user mapping
 *	  holds its credentials, USAGE on the server is the right to use it.
 */

CREATE FUNCTION cs_internal.cs_fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_fdw_validator';
COMMENT ON FUNCTION cs_internal.cs_fdw_validator(text[], oid) IS
'Checks the options of servers and user mappings of the foreign-data wrapper cupsource. '
'Errors: HV00D unknown option, HV00J missing option, 22023 wrong value, 42501 option for superusers.';
REVOKE ALL ON FUNCTION cs_internal.cs_fdw_validator(text[], oid) FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER cupsource
VALIDATOR cs_internal.cs_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER cupsource IS
'Accounts at wholesale partners. Server options: api (required: cupsource-v1, cupsource-v2 or customhub-v1), environment, rate_limit, '
'refresh_interval, poll_interval, concurrency, retry_uncertain; for superusers base_url, auth_url, ca_file. '
'User mapping options: api_key, secret_key, webhook_secret; for superusers api_key_file, secret_key_file, webhook_secret_file.';

/*
 * tables.sql
 *	  The cached catalogue: what the partners offer, at which price since when,
 *	  and how far each account's refresh has come.
 *
 * A row stands as it was read; it is written again only when the partner's
 * row differs.  That is told by its fingerprint, a hash over all that was
 * read.  So "fetched_at" is when the row was first read as it stands, and
 * whether it still stands is the refresh's knowledge (catalog_runs), not the
 * row's.
 *
 * Keys are the partner's identifiers, compared byte by byte (COLLATE "C"),
 * the account's name first: an account's rows lie together, and everything
 * can be distributed by "server".
 *
 * The conditions of the other indexes are true for every search by their
 * first column and unproven for one by key.  Without them, a plan that was
 * made while the table was empty may look a key up by walking all of such an
 * index: to the planner it costs the same then.
 */

CREATE TABLE cs_internal.products (
  server          text COLLATE "C" NOT NULL,
  product_id      text COLLATE "C" NOT NULL,
  sku             text COLLATE "C",
  code            text,
  name            text,
  brand           text,
  category        text,
  material        text,
  capacity        text,
  certifications  text[],
  unit_price      numeric,
  list_price      numeric,
  blank_cost      numeric,
  currency        text,
  min_order_qty   bigint,
  stock_status    text,
  lead_time_days  integer,
  image_url       text,
  raw             jsonb,
  fetched_at      timestamptz NOT NULL,
  price_since     timestamptz NOT NULL,
  discontinued_at timestamptz,
  absent_run      bigint,
  fingerprint     bigint NOT NULL,
  PRIMARY KEY (server, product_id)
) WITH (fillfactor = 90);
CREATE INDEX products_sku ON cs_internal.products (sku, server) WHERE sku IS NOT NULL;
COMMENT ON TABLE cs_internal.products IS
'Products of the Cup Source accounts (v1: GET /products; v2: "Products & Catalog"); a product is its own single SKU. Money in major units of currency.';
COMMENT ON COLUMN cs_internal.products.price_since IS 'Since when the present prices hold; while discontinued, since when there is none.';
COMMENT ON COLUMN cs_internal.products.absent_run IS 'The complete run in which the product was first missing from the list; NULL: it was there.';
COMMENT ON COLUMN cs_internal.products.fingerprint IS 'Hash over all columns that were read; a row with the same fingerprint is not written.';

CREATE TABLE cs_internal.models (
  server                 text COLLATE "C" NOT NULL,
  model_id               text COLLATE "C" NOT NULL,
  -- from the list of models
  code                   text,
  name                   text,
  brand                  text,
  primary_image_url      text,
  default_list_price     numeric,
  default_price          numeric,
  currency               text,
  from_unit_price        numeric,
  from_list_price        numeric,
  from_blank_cost        numeric,
  priced_variation_count integer,
  variation_count        integer,
  is_featured            boolean,
  raw                    jsonb,
  -- from the model's detail
  material               text,
  fit_type               text,
  description            text,
  care                   text,
  sizing                 text,
  categories             jsonb,
  images                 text[],
  detail_raw             jsonb,
  fetched_at             timestamptz NOT NULL,
  discontinued_at        timestamptz,
  absent_run             bigint,
  fingerprint            bigint NOT NULL,
  detail_fingerprint     bigint,
  detail_at              timestamptz,
  detail_due             boolean NOT NULL,
  PRIMARY KEY (server, model_id)
) WITH (fillfactor = 90);
CREATE INDEX models_detail_due ON cs_internal.models (server, model_id) WHERE detail_due;
COMMENT ON TABLE cs_internal.models IS
'Models of the CustomHub accounts ("List models", "Get a model"). The list''s row is the fingerprint of the detail: when it changes, the detail is due.';
COMMENT ON COLUMN cs_internal.models.detail_due IS 'The detail is older than the list''s row, or the model was missing from the list: it is to be asked for.';
COMMENT ON COLUMN cs_internal.models.detail_fingerprint IS 'Hash over the whole detail: the model, its variations, placements and print methods.';

CREATE TABLE cs_internal.variations (
  server                 text COLLATE "C" NOT NULL,
  variation_id           text COLLATE "C" NOT NULL,
  model_id               text COLLATE "C" NOT NULL,
  sku                    text COLLATE "C",
  variation_description  text,
  variation2_description text,
  variation2_hex         text,
  is_active              boolean,
  images                 text[],
  unit_price             numeric,
  list_price             numeric,
  blank_cost             numeric,
  handling_fee           numeric,
  currency               text,
  raw                    jsonb,
  fetched_at             timestamptz NOT NULL,
  price_since            timestamptz NOT NULL,
  discontinued_at        timestamptz,
  fingerprint            bigint NOT NULL,
  PRIMARY KEY (server, variation_id)
) WITH (fillfactor = 90);
CREATE INDEX variations_model ON cs_internal.variations (model_id, server) WHERE model_id IS NOT NULL;
CREATE INDEX variations_sku ON cs_internal.variations (sku, server) WHERE sku IS NOT NULL;
COMMENT ON TABLE cs_internal.variations IS
'Orderable SKUs of the CustomHub models ("Get a model", variations[]), with this dealer''s own prices.';
COMMENT ON COLUMN cs_internal.variations.price_since IS 'Since when the present prices hold; while discontinued, since when there is none.';

CREATE TABLE cs_internal.placements (
  server            text COLLATE "C" NOT NULL,
  model_id          text COLLATE "C" NOT NULL,
  placement         text COLLATE "C" NOT NULL,
  label             text,
  max_width_inches  numeric,
  max_height_inches numeric,
  raw               jsonb,
  fetched_at        timestamptz NOT NULL,
  fingerprint       bigint NOT NULL,
  PRIMARY KEY (server, model_id, placement)
);
COMMENT ON TABLE cs_internal.placements IS
'Where a CustomHub model can be printed ("Get a model", placements[]). What the model no longer has is deleted: it is a property, not an item.';

CREATE TABLE cs_internal.print_methods (
  server       text COLLATE "C" NOT NULL,
  model_id     text COLLATE "C" NOT NULL,
  placement    text COLLATE "C" NOT NULL,
  print_method text COLLATE "C" NOT NULL,
  label        text,
  price        numeric,
  price_source text,
  raw          jsonb,
  fetched_at   timestamptz NOT NULL,
  fingerprint  bigint NOT NULL,
  PRIMARY KEY (server, model_id, placement, print_method)
);
COMMENT ON TABLE cs_internal.print_methods IS
'How and at which charge a placement can be printed ("Get a model", placements[].printMethods[]). Deleted like placements.';

CREATE TABLE cs_internal.price_history (
  server       text COLLATE "C" NOT NULL,
  item_id      text COLLATE "C" NOT NULL,
  valid_from   timestamptz NOT NULL,
  unit_price   numeric,
  list_price   numeric,
  blank_cost   numeric,
  handling_fee numeric,
  currency     text,
  PRIMARY KEY (server, item_id, valid_from)
);
COMMENT ON TABLE cs_internal.price_history IS
'Prices that a product or variation (item_id) had before the present ones, which stand in its own row since price_since. '
'Append-only. A price ends where the item''s next one begins, so that validity ranges cannot overlap; all NULL: the item was not to be had.';

CREATE TABLE cs_internal.balances (
  server       text COLLATE "C" PRIMARY KEY,
  dealer_id    text,
  currency     text,
  balance      numeric,
  credit_limit numeric,
  headroom     numeric,
  raw          jsonb,
  fetched_at   timestamptz NOT NULL,
  fingerprint  bigint NOT NULL
);
COMMENT ON TABLE cs_internal.balances IS
'The wallet of each CustomHub account ("Wallet balance"), as the last refresh read it.';

CREATE TABLE cs_internal.catalog_runs (
  server            text COLLATE "C" PRIMARY KEY,
  run               bigint NOT NULL,
  state             text NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
  phase             text NOT NULL CHECK (phase IN ('list', 'details')),
  "position"        text,
  entire            boolean NOT NULL,
  started_at        timestamptz NOT NULL,
  checkpoint_at     timestamptz NOT NULL,
  pages_done        bigint NOT NULL DEFAULT 0,
  rows_done         bigint NOT NULL DEFAULT 0,
  rows_total        bigint,
  rows_new          bigint NOT NULL DEFAULT 0,
  rows_changed      bigint NOT NULL DEFAULT 0,
  rows_discontinued bigint NOT NULL DEFAULT 0,
  ring_position     text COLLATE "C" NOT NULL DEFAULT '',
  ring_left         bigint NOT NULL DEFAULT 0,
  products          bigint NOT NULL DEFAULT 0,
  skus              bigint NOT NULL DEFAULT 0,
  pages_sound       boolean NOT NULL DEFAULT false,
  last_complete_at  timestamptz,
  last_error        text,
  last_error_at     timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE cs_internal.catalog_runs IS
'The last, or running, refresh of each account: its counters and the checkpoint from which an interrupted one goes on. '
'A run that says "running" while nobody holds its lock was interrupted.';
COMMENT ON COLUMN cs_internal.catalog_runs."position" IS 'The page of the list to ask for next; NULL: the first.';
COMMENT ON COLUMN cs_internal.catalog_runs.entire IS 'Every detail is read, not only those that seem to have changed.';
COMMENT ON COLUMN cs_internal.catalog_runs.ring_position IS
'The model whose unchanged-looking detail was re-read last. The next ones in the order of model_id are the longest unseen: that needs no write per model.';
COMMENT ON COLUMN cs_internal.catalog_runs.ring_left IS 'How many of those this run may still read.';
COMMENT ON COLUMN cs_internal.catalog_runs.pages_sound IS
'The run was complete and no row came twice in it: the cached products are what list_pages stands for.';
COMMENT ON COLUMN cs_internal.catalog_runs.products IS 'Products or models on offer; kept with the rows, in the same transactions.';
COMMENT ON COLUMN cs_internal.catalog_runs.skus IS 'Orderable SKUs on offer.';

CREATE TABLE cs_internal.list_pages (
  server text COLLATE "C" NOT NULL,
  page   bigint NOT NULL,
  digest bigint NOT NULL,
  PRIMARY KEY (server, page)
);
COMMENT ON TABLE cs_internal.list_pages IS
'A hash over the fingerprints of all products on each page of the list, as the last run stored them: a page with the same digest in its place needs no look at its rows.';

REVOKE ALL ON cs_internal.products, cs_internal.models, cs_internal.variations, cs_internal.placements,
  cs_internal.print_methods, cs_internal.price_history, cs_internal.balances, cs_internal.catalog_runs,
  cs_internal.list_pages FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('cs_internal.products', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.models', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.variations', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.placements', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.print_methods', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.price_history', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.balances', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.catalog_runs', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.list_pages', '');

/*
 * A page's rows as C hands them over: the columns of the descriptor by name,
 * and the fingerprint over them.
 */
CREATE TYPE cs_internal.product_row AS (
  fingerprint bigint, product_id text, sku text, code text, name text, brand text, category text, material text,
  capacity text, certifications text[], unit_price numeric, list_price numeric, blank_cost numeric, currency text,
  min_order_qty bigint, stock_status text, lead_time_days integer, image_url text, raw jsonb);
COMMENT ON TYPE cs_internal.product_row IS 'A product as read from a page.';

CREATE TYPE cs_internal.model_row AS (
  fingerprint bigint, model_id text, code text, name text, brand text, primary_image_url text,
  default_list_price numeric, default_price numeric, currency text, from_unit_price numeric, from_list_price numeric,
  from_blank_cost numeric, priced_variation_count integer, variation_count integer, is_featured boolean, raw jsonb);
COMMENT ON TYPE cs_internal.model_row IS 'A model as read from a page of the list.';

CREATE TYPE cs_internal.detail_row AS (
  fingerprint bigint, material text, fit_type text, description text, care text, sizing text,
  categories jsonb, images text[], raw jsonb);
COMMENT ON TYPE cs_internal.detail_row IS 'What only a model''s detail says.';

CREATE TYPE cs_internal.variation_row AS (
  fingerprint bigint, variation_id text, sku text, variation_description text, variation2_description text,
  variation2_hex text, is_active boolean, images text[], unit_price numeric, list_price numeric, blank_cost numeric,
  handling_fee numeric, currency text, raw jsonb);
COMMENT ON TYPE cs_internal.variation_row IS 'A variation as read from a model''s detail.';

CREATE TYPE cs_internal.placement_row AS (
  fingerprint bigint, placement text, label text, max_width_inches numeric, max_height_inches numeric, raw jsonb);
COMMENT ON TYPE cs_internal.placement_row IS 'A placement as read from a model''s detail.';

CREATE TYPE cs_internal.print_method_row AS (
  fingerprint bigint, placement text, print_method text, label text, price numeric, price_source text, raw jsonb);
COMMENT ON TYPE cs_internal.print_method_row IS 'A print method as read from a model''s detail.';

CREATE TYPE cs_internal.balance_row AS (
  fingerprint bigint, dealer_id text, currency text, balance numeric, credit_limit numeric, headroom numeric, raw jsonb);
COMMENT ON TYPE cs_internal.balance_row IS 'A wallet as read.';

/*
 * merge.sql
 *	  What was read from a partner into the cached catalogue, writing only
 *	  what differs.
 *
 * Each function takes what one answer said, reads the stored rows by their
 * key, compares fingerprints, and returns how many rows it wrote.  One
 * refresh per account at a time (refresh.c holds its lock), so a row that is
 * not there now is not inserted by someone else meanwhile.
 *
 * The plans are made once per session, perhaps while the tables are empty,
 * and must not follow what the planner believes of an empty table: a page
 * joined by scanning the account's rows costs minutes for 100,000 of them.
 * So they are generic, a row is looked up in a lateral subquery with OFFSET 0
 * (the planner cannot pull it up, and both columns of the key are in its
 * index condition), a row to be changed is reached by its ctid, and where
 * another index than the key's is meant, server || '' keeps the key out.
 */

CREATE FUNCTION cs_internal.insert_products(account text, page cs_internal.product_row[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO cs_internal.products (server, product_id, sku, code, name, brand, category, material, capacity,
         certifications, unit_price, list_price, blank_cost, currency, min_order_qty, stock_status, lead_time_days,
         image_url, raw, fetched_at, price_since, fingerprint)
  SELECT account, r.product_id, r.sku, r.code, r.name, r.brand, r.category, r.material, r.capacity,
         r.certifications, r.unit_price, r.list_price, r.blank_cost, r.currency, r.min_order_qty, r.stock_status,
         r.lead_time_days, r.image_url, r.raw, now(), now(), r.fingerprint
    FROM unnest(page) AS r;
  RETURN cardinality(page);
END $$;
COMMENT ON FUNCTION cs_internal.insert_products(text, cs_internal.product_row[]) IS
'Stores products that are certainly not stored yet. Returns their number.';
REVOKE ALL ON FUNCTION cs_internal.insert_products(text, cs_internal.product_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_products(account text, page cs_internal.product_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.product_row[];
  changed_rows cs_internal.product_row[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE p.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE p.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE p.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.absent_run, s.discontinued_at
        FROM cs_internal.products AS s
       WHERE s.server = account AND s.product_id = r.product_id OFFSET 0) AS p ON true
   WHERE p.fingerprint IS DISTINCT FROM r.fingerprint
      OR p.absent_run IS NOT NULL OR p.discontinued_at IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    PERFORM cs_internal.insert_products(account, added_rows);
  END IF;

  IF changed > 0 THEN
    -- What the item cost until now: nothing while it was discontinued.
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, unit_price, list_price, blank_cost, currency)
    SELECT account, p.product_id, p.price_since,
           CASE WHEN p.discontinued_at IS NULL THEN p.unit_price END,
           CASE WHEN p.discontinued_at IS NULL THEN p.list_price END,
           CASE WHEN p.discontinued_at IS NULL THEN p.blank_cost END,
           CASE WHEN p.discontinued_at IS NULL THEN p.currency END
      FROM unnest(changed_rows) AS r
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.products AS s
         WHERE s.server = account AND s.product_id = r.product_id OFFSET 0) AS p
     WHERE p.discontinued_at IS NOT NULL
        OR (p.unit_price, p.list_price, p.blank_cost, p.currency)
           IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.currency);

    UPDATE cs_internal.products AS p
       SET sku = r.sku, code = r.code, name = r.name, brand = r.brand, category = r.category,
           material = r.material, capacity = r.capacity, certifications = r.certifications,
           unit_price = r.unit_price, list_price = r.list_price, blank_cost = r.blank_cost, currency = r.currency,
           min_order_qty = r.min_order_qty, stock_status = r.stock_status, lead_time_days = r.lead_time_days,
           image_url = r.image_url, raw = r.raw, fetched_at = now(), fingerprint = r.fingerprint,
           absent_run = NULL, discontinued_at = NULL,
           price_since = CASE
             WHEN p.discontinued_at IS NOT NULL
               OR (p.unit_price, p.list_price, p.blank_cost, p.currency)
                  IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.currency)
             THEN greatest(now(), p.price_since + interval '1 microsecond')
             ELSE p.price_since END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.products AS s
                 WHERE s.server = account AND s.product_id = n.product_id OFFSET 0) AS o) AS r
     WHERE p.ctid = r.tid;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.merge_products(text, cs_internal.product_row[]) IS
'Stores a page of products (no product_id twice in it). Returns how many rows were added, changed, and of the changed ones how many had been discontinued. '
'A changed price, and a return, begins a new validity range.';
REVOKE ALL ON FUNCTION cs_internal.merge_products(text, cs_internal.product_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.mark_products_absent(account text, this_run bigint, ids text[], confirmed boolean,
  OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  gone text[];
BEGIN
  SELECT array_agg(p.product_id) INTO gone
    FROM unnest(ids) AS i (id)
    CROSS JOIN LATERAL (
      SELECT s.product_id FROM cs_internal.products AS s
       WHERE s.server = account AND s.product_id = i.id AND s.discontinued_at IS NULL
         AND (confirmed OR s.absent_run < this_run) OFFSET 0) AS p;
  discontinued := coalesce(cardinality(gone), 0);

  IF discontinued > 0 THEN
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, unit_price, list_price, blank_cost, currency)
    SELECT account, p.product_id, p.price_since, p.unit_price, p.list_price, p.blank_cost, p.currency
      FROM unnest(gone) AS i (id)
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.products AS s
         WHERE s.server = account AND s.product_id = i.id OFFSET 0) AS p;
  END IF;

  UPDATE cs_internal.products AS p
     SET absent_run = coalesce(p.absent_run, this_run),
         discontinued_at = CASE WHEN o.is_gone THEN now() END,
         price_since = CASE WHEN o.is_gone THEN greatest(now(), p.price_since + interval '1 microsecond')
                            ELSE p.price_since END
    FROM (SELECT s.tid, s.is_gone
            FROM unnest(ids) AS i (id)
            CROSS JOIN LATERAL (
              SELECT t.ctid AS tid, coalesce(t.product_id = ANY (gone), false) AS is_gone
                FROM cs_internal.products AS t
               WHERE t.server = account AND t.product_id = i.id AND t.discontinued_at IS NULL
                 AND (t.absent_run IS NULL OR t.product_id = ANY (gone)) OFFSET 0) AS s) AS o
   WHERE p.ctid = o.tid;
END $$;
COMMENT ON FUNCTION cs_internal.mark_products_absent(text, bigint, text[], boolean) IS
'These products were missing from the complete list of run this_run. Pages shift while rows come and go, so one absence proves nothing: '
'they are discontinued if "confirmed" (the partner''s total agrees) or if they were missing from an earlier complete run too. Returns how many were.';
REVOKE ALL ON FUNCTION cs_internal.mark_products_absent(text, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_models(account text, page cs_internal.model_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.model_row[];
  changed_rows cs_internal.model_row[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE m.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE m.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE m.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.absent_run, s.discontinued_at
        FROM cs_internal.models AS s
       WHERE s.server = account AND s.model_id = r.model_id OFFSET 0) AS m ON true
   WHERE m.fingerprint IS DISTINCT FROM r.fingerprint
      OR m.absent_run IS NOT NULL OR m.discontinued_at IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    INSERT INTO cs_internal.models (server, model_id, code, name, brand, primary_image_url, default_list_price,
           default_price, currency, from_unit_price, from_list_price, from_blank_cost, priced_variation_count,
           variation_count, is_featured, raw, fetched_at, fingerprint, detail_due)
    SELECT account, r.model_id, r.code, r.name, r.brand, r.primary_image_url, r.default_list_price,
           r.default_price, r.currency, r.from_unit_price, r.from_list_price, r.from_blank_cost,
           r.priced_variation_count, r.variation_count, r.is_featured, r.raw, now(), r.fingerprint, true
      FROM unnest(added_rows) AS r;
  END IF;

  IF changed > 0 THEN
    UPDATE cs_internal.models AS m
       SET code = r.code, name = r.name, brand = r.brand, primary_image_url = r.primary_image_url,
           default_list_price = r.default_list_price, default_price = r.default_price, currency = r.currency,
           from_unit_price = r.from_unit_price, from_list_price = r.from_list_price,
           from_blank_cost = r.from_blank_cost, priced_variation_count = r.priced_variation_count,
           variation_count = r.variation_count, is_featured = r.is_featured, raw = r.raw, fetched_at = now(),
           fingerprint = r.fingerprint, absent_run = NULL, discontinued_at = NULL,
           detail_due = m.detail_due OR m.discontinued_at IS NOT NULL OR m.fingerprint <> r.fingerprint,
           -- While it was away its variations were discontinued, whatever the detail says.
           detail_fingerprint = CASE WHEN m.discontinued_at IS NULL THEN m.detail_fingerprint END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.models AS s
                 WHERE s.server = account AND s.model_id = n.model_id OFFSET 0) AS o) AS r
     WHERE m.ctid = r.tid;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.merge_models(text, cs_internal.model_row[]) IS
'Stores a page of the list of models (no model_id twice in it). Returns how many rows were added, changed, and of the changed ones how many had been discontinued. '
'The detail of what is new, has changed or came back is due.';
REVOKE ALL ON FUNCTION cs_internal.merge_models(text, cs_internal.model_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.discontinue_variations(account text, ids text[], OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  discontinued := 0;
  IF ids = '{}' THEN
    RETURN;
  END IF;
  INSERT INTO cs_internal.price_history (server, item_id, valid_from, unit_price, list_price, blank_cost,
         handling_fee, currency)
  SELECT v.server, v.variation_id, v.price_since, v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency
    FROM cs_internal.variations AS v
   WHERE v.server = account AND v.variation_id = ANY (ids) AND v.discontinued_at IS NULL;

  UPDATE cs_internal.variations AS v
     SET discontinued_at = now(), price_since = greatest(now(), v.price_since + interval '1 microsecond')
   WHERE v.server = account AND v.variation_id = ANY (ids) AND v.discontinued_at IS NULL;
  GET DIAGNOSTICS discontinued = ROW_COUNT;
END $$;
COMMENT ON FUNCTION cs_internal.discontinue_variations(text, text[]) IS
'These variations are no longer on offer; their prices end now. Returns how many still were.';
REVOKE ALL ON FUNCTION cs_internal.discontinue_variations(text, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.discontinue_model(account text, model text, OUT discontinued bigint, OUT skus bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  UPDATE cs_internal.models AS m
     SET discontinued_at = now(), detail_due = false
   WHERE m.server = account AND m.model_id = model AND m.discontinued_at IS NULL;
  GET DIAGNOSTICS discontinued = ROW_COUNT;

  skus := cs_internal.discontinue_variations(account, ARRAY(
    SELECT v.variation_id FROM cs_internal.variations AS v
     WHERE v.server || '' = account AND v.model_id = model AND v.discontinued_at IS NULL));
END $$;
COMMENT ON FUNCTION cs_internal.discontinue_model(text, text) IS
'The model is no longer on offer, nor are its variations. Returns how many models (0 or 1) and variations still were.';
REVOKE ALL ON FUNCTION cs_internal.discontinue_model(text, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.mark_models_absent(account text, this_run bigint, ids text[],
  OUT discontinued bigint, OUT skus bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  model record;
BEGIN
  discontinued := 0;
  skus := 0;
  FOR model IN
    SELECT d.*
      FROM cs_internal.models AS m
      CROSS JOIN LATERAL cs_internal.discontinue_model(account, m.model_id) AS d
     WHERE m.server = account AND m.model_id = ANY (ids) AND m.discontinued_at IS NULL AND m.absent_run < this_run
  LOOP
    discontinued := discontinued + model.discontinued;
    skus := skus + model.skus;
  END LOOP;

  UPDATE cs_internal.models AS m
     SET absent_run = this_run, detail_due = true
   WHERE m.server = account AND m.model_id = ANY (ids) AND m.discontinued_at IS NULL AND m.absent_run IS NULL;
END $$;
COMMENT ON FUNCTION cs_internal.mark_models_absent(text, bigint, text[]) IS
'These models were missing from the complete list of run this_run: discontinued if they were missing from an earlier one too, else their detail is due, '
'whose 404 is proof. Returns how many models and variations were discontinued.';
REVOKE ALL ON FUNCTION cs_internal.mark_models_absent(text, bigint, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_variations(account text, model text, page cs_internal.variation_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint, OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.variation_row[];
  changed_rows cs_internal.variation_row[];
  ids text[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE v.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE v.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE v.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.model_id, s.discontinued_at
        FROM cs_internal.variations AS s
       WHERE s.server = account AND s.variation_id = r.variation_id OFFSET 0) AS v ON true
   WHERE v.fingerprint IS DISTINCT FROM r.fingerprint OR v.model_id <> model OR v.discontinued_at IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    INSERT INTO cs_internal.variations (server, variation_id, model_id, sku, variation_description,
           variation2_description, variation2_hex, is_active, images, unit_price, list_price, blank_cost,
           handling_fee, currency, raw, fetched_at, price_since, fingerprint)
    SELECT account, r.variation_id, model, r.sku, r.variation_description,
           r.variation2_description, r.variation2_hex, r.is_active, r.images, r.unit_price, r.list_price, r.blank_cost,
           r.handling_fee, r.currency, r.raw, now(), now(), r.fingerprint
      FROM unnest(added_rows) AS r;
  END IF;

  IF changed > 0 THEN
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, unit_price, list_price, blank_cost,
           handling_fee, currency)
    SELECT account, v.variation_id, v.price_since,
           CASE WHEN v.discontinued_at IS NULL THEN v.unit_price END,
           CASE WHEN v.discontinued_at IS NULL THEN v.list_price END,
           CASE WHEN v.discontinued_at IS NULL THEN v.blank_cost END,
           CASE WHEN v.discontinued_at IS NULL THEN v.handling_fee END,
           CASE WHEN v.discontinued_at IS NULL THEN v.currency END
      FROM unnest(changed_rows) AS r
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.variations AS s
         WHERE s.server = account AND s.variation_id = r.variation_id OFFSET 0) AS v
     WHERE v.discontinued_at IS NOT NULL
        OR (v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency)
           IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.handling_fee, r.currency);

    UPDATE cs_internal.variations AS v
       SET model_id = model, sku = r.sku, variation_description = r.variation_description,
           variation2_description = r.variation2_description, variation2_hex = r.variation2_hex,
           is_active = r.is_active, images = r.images, unit_price = r.unit_price, list_price = r.list_price,
           blank_cost = r.blank_cost, handling_fee = r.handling_fee, currency = r.currency, raw = r.raw,
           fetched_at = now(), fingerprint = r.fingerprint, discontinued_at = NULL,
           price_since = CASE
             WHEN v.discontinued_at IS NOT NULL
               OR (v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency)
                  IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.handling_fee, r.currency)
             THEN greatest(now(), v.price_since + interval '1 microsecond')
             ELSE v.price_since END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.variations AS s
                 WHERE s.server = account AND s.variation_id = n.variation_id OFFSET 0) AS o) AS r
     WHERE v.ctid = r.tid;
  END IF;

  -- The detail lists them all: what it does not name is no longer on offer.
  ids := ARRAY(SELECT r.variation_id FROM unnest(page) AS r);
  discontinued := cs_internal.discontinue_variations(account, ARRAY(
    SELECT v.variation_id FROM cs_internal.variations AS v
     WHERE v.server || '' = account AND v.model_id = model AND v.discontinued_at IS NULL
       AND v.variation_id <> ALL (ids)));
END $$;
COMMENT ON FUNCTION cs_internal.merge_variations(text, text, cs_internal.variation_row[]) IS
'Stores all variations of a model''s detail (no variation_id twice). Returns how many were added, changed, of the changed ones how many had been discontinued, '
'and how many are no longer there.';
REVOKE ALL ON FUNCTION cs_internal.merge_variations(text, text, cs_internal.variation_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_model_detail(account text, model text, detail cs_internal.detail_row,
  variations cs_internal.variation_row[], placements cs_internal.placement_row[],
  print_methods cs_internal.print_method_row[], whole_fingerprint bigint,
  OUT added bigint, OUT changed bigint, OUT revived bigint, OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  known record;
BEGIN
  added := 0;
  changed := 0;
  revived := 0;
  discontinued := 0;
  SELECT m.detail_fingerprint, m.detail_due, m.discontinued_at INTO known
    FROM cs_internal.models AS m
   WHERE m.server = account AND m.model_id = model;
  IF NOT FOUND OR known.discontinued_at IS NOT NULL THEN
    RETURN;
  END IF;
  IF known.detail_fingerprint = whole_fingerprint THEN
    IF known.detail_due THEN
      UPDATE cs_internal.models AS m SET detail_due = false, detail_at = now()
       WHERE m.server = account AND m.model_id = model;
    END IF;
    RETURN;
  END IF;

  UPDATE cs_internal.models AS m
     SET material = detail.material, fit_type = detail.fit_type, description = detail.description,
         care = detail.care, sizing = detail.sizing, categories = detail.categories, images = detail.images,
         detail_raw = detail.raw, fetched_at = now(), detail_fingerprint = whole_fingerprint,
         detail_at = now(), detail_due = false
   WHERE m.server = account AND m.model_id = model;

  SELECT v.added, v.changed, v.revived, v.discontinued INTO added, changed, revived, discontinued
    FROM cs_internal.merge_variations(account, model, variations) AS v;

  DELETE FROM cs_internal.placements AS p
   WHERE p.server = account AND p.model_id = model
     AND NOT EXISTS (SELECT FROM unnest(placements) AS r
                      WHERE r.placement = p.placement AND r.fingerprint = p.fingerprint);
  INSERT INTO cs_internal.placements (server, model_id, placement, label, max_width_inches, max_height_inches,
         raw, fetched_at, fingerprint)
  SELECT account, model, r.placement, r.label, r.max_width_inches, r.max_height_inches,
         r.raw, now(), r.fingerprint
    FROM unnest(placements) AS r
   WHERE NOT EXISTS (SELECT FROM cs_internal.placements AS p
                      WHERE p.server = account AND p.model_id = model AND p.placement = r.placement);

  DELETE FROM cs_internal.print_methods AS p
   WHERE p.server = account AND p.model_id = model
     AND NOT EXISTS (SELECT FROM unnest(print_methods) AS r
                      WHERE r.placement = p.placement AND r.print_method = p.print_method
                        AND r.fingerprint = p.fingerprint);
  INSERT INTO cs_internal.print_methods (server, model_id, placement, print_method, label, price, price_source,
         raw, fetched_at, fingerprint)
  SELECT account, model, r.placement, r.print_method, r.label, r.price, r.price_source,
         r.raw, now(), r.fingerprint
    FROM unnest(print_methods) AS r
   WHERE NOT EXISTS (SELECT FROM cs_internal.print_methods AS p
                      WHERE p.server = account AND p.model_id = model
                        AND p.placement = r.placement AND p.print_method = r.print_method);
END $$;
COMMENT ON FUNCTION cs_internal.merge_model_detail(text, text, cs_internal.detail_row, cs_internal.variation_row[],
  cs_internal.placement_row[], cs_internal.print_method_row[], bigint) IS
'Stores a model''s detail with all its variations, placements and print methods; nothing is read further if whole_fingerprint, the hash over all of them, is the stored one. '
'Returns the numbers of variations, as merge_variations does. A model that is not stored, or discontinued, is left alone: only the list brings models in.';
REVOKE ALL ON FUNCTION cs_internal.merge_model_detail(text, text, cs_internal.detail_row, cs_internal.variation_row[],
  cs_internal.placement_row[], cs_internal.print_method_row[], bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_balance(account text, wallet cs_internal.balance_row, OUT changed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  changed := 0;
  IF EXISTS (SELECT FROM cs_internal.balances AS b
              WHERE b.server = account AND b.fingerprint = wallet.fingerprint) THEN
    RETURN;
  END IF;
  DELETE FROM cs_internal.balances AS b WHERE b.server = account;
  INSERT INTO cs_internal.balances (server, dealer_id, currency, balance, credit_limit, headroom, raw,
         fetched_at, fingerprint)
  VALUES (account, wallet.dealer_id, wallet.currency, wallet.balance, wallet.credit_limit, wallet.headroom, wallet.raw,
         now(), wallet.fingerprint);
  changed := 1;
END $$;
COMMENT ON FUNCTION cs_internal.merge_balance(text, cs_internal.balance_row) IS
'Stores an account''s wallet if it differs from the stored one; returns 1 then.';
REVOKE ALL ON FUNCTION cs_internal.merge_balance(text, cs_internal.balance_row) FROM PUBLIC;

/*
 * runs.sql
 *	  The states of a refresh: begun (anew, or where the last one stopped),
 *	  checkpoints, complete or failed.
 *
 *	      (none) ── begin ──> running ── complete ──> complete
 *	                          │  ^                        │
 *	                       fail  begin (goes on)        begin
 *	                          v  │                        v
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

CREATE FUNCTION cs_internal.refresh_begin(account text, want_entire boolean, OUT resumed boolean,
  OUT sound boolean, OUT empty boolean, OUT begun cs_internal.catalog_runs)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT r.* INTO begun FROM cs_internal.catalog_runs AS r WHERE r.server = account FOR UPDATE;
  resumed := FOUND AND begun.state <> 'complete' AND (begun."position" IS NOT NULL OR begun.phase = 'details')
             AND begun.checkpoint_at > now() - interval '1 day'
             AND (begun.entire OR begun.phase = 'list' OR NOT want_entire);

  sound := coalesce(begun.state = 'complete' AND begun.pages_sound AND NOT want_entire, false);
  empty := NOT EXISTS (SELECT FROM cs_internal.products AS p WHERE p.server = account);

  IF begun.server IS NULL THEN
    INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at)
    VALUES (account, 1, 'running', 'list', want_entire, now(), now())
    RETURNING * INTO begun;
  ELSIF resumed THEN
    UPDATE cs_internal.catalog_runs AS r
       SET state = 'running', checkpoint_at = now(), entire = r.entire OR want_entire
     WHERE r.server = account
    RETURNING * INTO begun;
  ELSE
    UPDATE cs_internal.catalog_runs AS r
       SET run = r.run + 1, state = 'running', phase = 'list', "position" = NULL, entire = want_entire,
           started_at = now(), checkpoint_at = now(), pages_done = 0, rows_done = 0, rows_total = NULL,
           rows_new = 0, rows_changed = 0, rows_discontinued = 0, ring_left = 0
     WHERE r.server = account
    RETURNING * INTO begun;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_begin(text, boolean) IS
'Begins a refresh of the account, or goes on with one that was interrupted less than a day ago. The caller holds the refresh lock. '
'sound: the cached products are what list_pages stands for; empty: there are none.';
REVOKE ALL ON FUNCTION cs_internal.refresh_begin(text, boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_checkpoint(account text, next_position text, pages bigint, rows_read bigint,
  total bigint, added bigint, changed bigint, discontinued bigint, ring text, ring_rest bigint,
  product_count bigint, sku_count bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET "position" = next_position, pages_done = pages, rows_done = rows_read, rows_total = total,
         rows_new = added, rows_changed = changed, rows_discontinued = discontinued, ring_position = ring,
         ring_left = ring_rest, products = product_count, skus = sku_count, checkpoint_at = now()
   WHERE r.server = account AND r.state = 'running';
END $$;
COMMENT ON FUNCTION cs_internal.refresh_checkpoint(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text,
  bigint, bigint, bigint) IS
'The running refresh came so far, with the page that is stored in the same transaction.';
REVOKE ALL ON FUNCTION cs_internal.refresh_checkpoint(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text,
  bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_details(account text, OUT due bigint, OUT ring_rest bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  seen bigint;
BEGIN
  SELECT count(*) FILTER (WHERE m.detail_due), count(*) FILTER (WHERE NOT m.detail_due) INTO due, seen
    FROM cs_internal.models AS m
   WHERE m.server = account AND m.discontinued_at IS NULL;
  UPDATE cs_internal.catalog_runs AS r
     SET phase = 'details', "position" = NULL, checkpoint_at = now(),
         ring_left = CASE WHEN r.entire THEN seen ELSE (seen + 19) / 20 END
   WHERE r.server = account AND r.state = 'running'
  RETURNING r.ring_left INTO ring_rest;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_details(text) IS
'The list is complete; the details follow: those that are due, and a twentieth of the others (all of them in an entire run), those unseen for longest.';
REVOKE ALL ON FUNCTION cs_internal.refresh_details(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.details_due(account text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT m.model_id FROM cs_internal.models AS m
   WHERE m.server = account AND m.detail_due
   ORDER BY m.model_id LIMIT at_most;
END $$;
COMMENT ON FUNCTION cs_internal.details_due(text, bigint) IS 'Models whose detail is to be asked for, at most so many.';
REVOKE ALL ON FUNCTION cs_internal.details_due(text, bigint) FROM PUBLIC;

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
   WHERE m.server = account AND m.model_id > after AND m.discontinued_at IS NULL
     AND (m.detail_at IS NULL OR m.detail_at < r.started_at)
   ORDER BY m.model_id LIMIT at_most;
END $$;
COMMENT ON FUNCTION cs_internal.details_unseen(text, text, bigint) IS
'Models whose detail this run has not read, in the order of the ring, after a model.';
REVOKE ALL ON FUNCTION cs_internal.details_unseen(text, text, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.items_on_offer(account text, after text, at_most bigint) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
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
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET state = 'complete', phase = 'list', "position" = NULL, ring_left = 0, checkpoint_at = now(),
         last_complete_at = now(), pages_sound = sound
   WHERE r.server = account AND r.state = 'running';
  DELETE FROM cs_internal.list_pages AS l WHERE l.server = account AND l.page > pages;
END $$;
COMMENT ON FUNCTION cs_internal.refresh_complete(text, bigint, boolean) IS
'Every page (so many) and every detail of the run was read; sound: no row came twice.';
REVOKE ALL ON FUNCTION cs_internal.refresh_complete(text, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.refresh_failed(account text, message text, anew boolean) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r
     SET state = 'failed', last_error = message, last_error_at = now(),
         "position" = CASE WHEN NOT anew THEN r."position" END
   WHERE r.server = account AND r.state = 'running';
END $$;
COMMENT ON FUNCTION cs_internal.refresh_failed(text, text, boolean) IS
'The run stopped. The rows stay as its pages left them, each as the partner had it; the next run goes on from its checkpoint, or, if the partner refused the position, begins anew.';
REVOKE ALL ON FUNCTION cs_internal.refresh_failed(text, text, boolean) FROM PUBLIC;

/*
 * views.sql
 *	  The cached catalogue as everybody sees it: the rows of the accounts that
 *	  the current user may use.  None of these asks a partner.
 */

CREATE VIEW @extschema@.cs_products WITH (security_barrier) AS
  SELECT p.server, p.product_id, p.sku, p.code, p.name, p.brand, p.category, p.material, p.capacity,
         p.certifications, p.unit_price, p.list_price, p.blank_cost, p.currency, p.min_order_qty, p.stock_status,
         p.lead_time_days, NULL::integer AS variation_count, NULL::integer AS priced_variation_count,
         NULL::boolean AS is_featured, p.image_url, p.raw, p.fetched_at, p.discontinued_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server
  UNION ALL
  SELECT m.server, m.model_id, NULL, m.code, m.name, m.brand, NULL, m.material, NULL,
         NULL, m.from_unit_price, m.from_list_price, m.from_blank_cost, m.currency, NULL, NULL,
         NULL, m.variation_count, m.priced_variation_count,
         m.is_featured, m.primary_image_url, coalesce(m.raw || m.detail_raw, m.detail_raw, m.raw),
         m.fetched_at, m.discontinued_at
    FROM cs_internal.models AS m
    JOIN cs_internal.visible_servers AS v ON v.server = m.server;
COMMENT ON VIEW @extschema@.cs_products IS
'Products of all accounts, cached. A CustomHub row is a model: sku is NULL and the prices are the lowest among its variations. '
'Money in major units of currency. fetched_at is when the row was first read as it stands; cs_catalog_status says how fresh the catalogue is. '
'discontinued_at: no longer on offer. raw: the partner''s object, where it has fields beyond these.';

CREATE VIEW @extschema@.cs_models WITH (security_barrier) AS
  SELECT m.server, m.model_id, m.code, m.name, m.brand, m.material, m.fit_type, m.description, m.care, m.sizing,
         m.categories, m.images, m.primary_image_url, m.default_list_price, m.default_price, m.currency,
         m.from_unit_price, m.from_list_price, m.from_blank_cost, m.priced_variation_count, m.variation_count,
         m.is_featured, coalesce(m.raw || m.detail_raw, m.detail_raw, m.raw) AS raw, m.fetched_at, m.discontinued_at
    FROM cs_internal.models AS m
    JOIN cs_internal.visible_servers AS v ON v.server = m.server;
COMMENT ON VIEW @extschema@.cs_models IS
'CustomHub models, cached ("List models", "Get a model"). The from_ prices are the lowest on this dealer''s price list; default_list_price and default_price are '
'tenant-wide and often 0.';

CREATE VIEW @extschema@.cs_variations WITH (security_barrier) AS
  SELECT a.server, a.variation_id, a.model_id AS product_id, a.sku, a.variation_description,
         a.variation2_description, a.variation2_hex, a.is_active, a.images, a.unit_price, a.list_price,
         a.blank_cost, a.handling_fee, a.currency, a.raw, a.fetched_at, a.discontinued_at
    FROM cs_internal.variations AS a
    JOIN cs_internal.visible_servers AS v ON v.server = a.server
  UNION ALL
  SELECT p.server, p.product_id, p.product_id, p.sku, p.name,
         NULL, NULL, p.discontinued_at IS NULL, NULL, p.unit_price, p.list_price,
         p.blank_cost, NULL, p.currency, p.raw, p.fetched_at, p.discontinued_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_variations IS
'Orderable SKUs, cached. A Cup Source product is its own single variation. blank_cost, handling_fee: what a CustomHub item costs before printing (see cs_item_cost).';

CREATE VIEW @extschema@.cs_placements WITH (security_barrier) AS
  SELECT p.server, p.model_id AS product_id, p.placement, p.label, p.max_width_inches, p.max_height_inches, p.raw,
         p.fetched_at
    FROM cs_internal.placements AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_placements IS
'Where CustomHub models can be printed, cached ("Get a model", placements[]); dimensions in inches.';

CREATE VIEW @extschema@.cs_print_methods WITH (security_barrier) AS
  SELECT p.server, p.model_id AS product_id, p.placement, p.print_method, p.label, p.price, p.price_source, p.raw,
         p.fetched_at
    FROM cs_internal.print_methods AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_print_methods IS
'How CustomHub placements can be printed and the charge for each, cached. price_source says how firm the price is: dealer, dealer_default, dealer_location_fallback or global.';

CREATE VIEW @extschema@.cs_balance WITH (security_barrier) AS
  SELECT b.server, b.dealer_id, b.currency, b.balance, b.credit_limit, b.headroom, b.raw, b.fetched_at
    FROM cs_internal.balances AS b
    JOIN cs_internal.visible_servers AS v ON v.server = b.server;
COMMENT ON VIEW @extschema@.cs_balance IS
'CustomHub wallets as the last refresh read them; cs_balance() asks now. balance > 0: the dealer owes it; headroom = credit_limit - balance.';

CREATE VIEW @extschema@.cs_prices WITH (security_barrier) AS
  SELECT p.server, p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.currency, p.min_order_qty,
         p.stock_status, p.lead_time_days, p.fetched_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server
   WHERE p.discontinued_at IS NULL
  UNION ALL
  SELECT a.server, a.sku, a.model_id, concat_ws(' / ', m.name, a.variation_description, a.variation2_description),
         a.unit_price, a.list_price, a.currency, NULL,
         NULL, NULL, a.fetched_at
    FROM cs_internal.variations AS a
    JOIN cs_internal.visible_servers AS v ON v.server = a.server
    LEFT JOIN cs_internal.models AS m ON m.server = a.server AND m.model_id = a.model_id
   WHERE a.discontinued_at IS NULL AND a.is_active IS NOT FALSE;
COMMENT ON VIEW @extschema@.cs_prices IS
'One row per SKU that can be ordered, over all accounts, cached: price per unit in currency, minimum order quantity and lead time in days where the partner states them.';

CREATE VIEW @extschema@.cs_price_history WITH (security_barrier) AS
  WITH items AS NOT MATERIALIZED (
    SELECT p.server, p.product_id AS item_id, p.sku, p.unit_price, p.list_price, p.blank_cost,
           NULL::numeric AS handling_fee, p.currency, p.price_since, p.discontinued_at
      FROM cs_internal.products AS p
    UNION ALL
    SELECT a.server, a.variation_id, a.sku, a.unit_price, a.list_price, a.blank_cost,
           a.handling_fee, a.currency, a.price_since, a.discontinued_at
      FROM cs_internal.variations AS a)
  SELECT i.server, i.sku, h.unit_price, h.list_price, h.blank_cost, h.handling_fee, h.currency,
         tstzrange(h.valid_from, coalesce(
           (SELECT min(n.valid_from) FROM cs_internal.price_history AS n
             WHERE n.server = h.server AND n.item_id = h.item_id AND n.valid_from > h.valid_from),
           i.price_since)) AS valid
    FROM items AS i
    JOIN cs_internal.visible_servers AS v ON v.server = i.server
    JOIN cs_internal.price_history AS h ON h.server = i.server AND h.item_id = i.item_id
   WHERE num_nonnulls(h.unit_price, h.list_price, h.blank_cost, h.handling_fee) > 0
  UNION ALL
  SELECT i.server, i.sku, i.unit_price, i.list_price, i.blank_cost, i.handling_fee, i.currency,
         tstzrange(i.price_since, NULL)
    FROM items AS i
    JOIN cs_internal.visible_servers AS v ON v.server = i.server
   WHERE i.discontinued_at IS NULL
     AND num_nonnulls(i.unit_price, i.list_price, i.blank_cost, i.handling_fee) > 0;
COMMENT ON VIEW @extschema@.cs_price_history IS
'What each SKU cost and when, as far as refreshes saw it. The range of the present price has no end; the time in which an item was discontinued, or had no price, has no row.';

CREATE VIEW @extschema@.cs_catalog_status WITH (security_barrier) AS
  SELECT v.server,
         o.api,
         coalesce(r.products, 0) AS products,
         coalesce(r.skus, 0) AS skus,
         CASE WHEN r.server IS NULL THEN 'never'
              WHEN r.state = 'running' AND NOT l.held THEN 'failed'
              ELSE r.state END AS state,
         r.last_complete_at,
         now() - r.last_complete_at AS age,
         r.last_complete_at + o.refresh_interval AS next_refresh_at,
         CASE WHEN r.state = 'running' AND l.held THEN r.started_at END AS running_since,
         coalesce(r.pages_done, 0) AS pages_done,
         coalesce(r.rows_done, 0) AS rows_done,
         r.rows_total,
         CASE WHEN r.state = 'running' AND NOT l.held THEN 'the session that refreshed the catalogue ended'
              ELSE r.last_error END AS last_error,
         CASE WHEN r.state = 'running' AND NOT l.held THEN r.checkpoint_at
              ELSE r.last_error_at END AS last_error_at
    FROM cs_internal.visible_servers AS v
    JOIN pg_foreign_server AS s ON s.srvname::text = v.server
    CROSS JOIN LATERAL (
      SELECT max(x.option_value) FILTER (WHERE x.option_name = 'api') AS api,
             nullif((max(x.option_value) FILTER (WHERE x.option_name = 'refresh_interval'))::interval,
                    interval '0') AS refresh_interval
        FROM pg_options_to_table(s.srvoptions) AS x) AS o
    LEFT JOIN cs_internal.catalog_runs AS r ON r.server = v.server
    CROSS JOIN LATERAL (
      SELECT r.state = 'running' AND EXISTS (
        SELECT FROM pg_locks AS k
         WHERE k.locktype = 'advisory' AND k.classid = 'pg_foreign_server'::regclass::oid AND k.objid = s.oid
           AND k.objsubid = 417 AND k.granted
           AND k.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())) AS held) AS l;
COMMENT ON VIEW @extschema@.cs_catalog_status IS
'Each account''s cached catalogue: what is on offer, when the last complete refresh ended (age), when the next one is due (server option refresh_interval; NULL: by hand), '
'how far a running or failed one came, and the last error. state: never, running, complete, failed.';

GRANT SELECT ON @extschema@.cs_products, @extschema@.cs_models, @extschema@.cs_variations, @extschema@.cs_placements,
  @extschema@.cs_print_methods, @extschema@.cs_balance, @extschema@.cs_prices, @extschema@.cs_price_history,
  @extschema@.cs_catalog_status TO PUBLIC;

/*
 * The account that is meant when a SKU is looked up: the argument, else
 * cupsource.server, else any that the SKU is found at, if it is only one.
 */
CREATE FUNCTION @extschema@.cs_item_cost(sku text, placements text[] DEFAULT '{}', print_method text DEFAULT NULL,
  server text DEFAULT NULL) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := coalesce($4, nullif(current_setting('cupsource.server', true), ''));
  item record;
  answer numeric;
  place text;
  charge record;
BEGIN
  IF $1 IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT v.server, v.product_id, v.unit_price, v.blank_cost, v.handling_fee, count(*) OVER () AS found,
         string_agg(v.server, ', ') OVER () AS servers
    INTO item
    FROM @extschema@.cs_variations AS v
   WHERE v.sku = $1 AND (wanted IS NULL OR v.server = wanted) AND v.discontinued_at IS NULL
   LIMIT 1;
  IF NOT FOUND THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('SKU "%s" is not in the cached catalogue%s', $1, ' of server "' || wanted || '"'),
      HINT = 'Use CALL cs_refresh_catalog() if it is new.';
  ELSIF item.found > 1 THEN
    RAISE ambiguous_parameter USING
      MESSAGE = format('SKU "%s" is in more than one catalogue', $1),
      DETAIL = format('It is offered on: %s.', item.servers),
      HINT = 'Name the server.';
  END IF;

  -- A Cup Source product has one price; nothing is printed at a charge.
  answer := coalesce(item.blank_cost + coalesce(item.handling_fee, 0), item.unit_price);

  FOREACH place IN ARRAY coalesce($2, '{}') LOOP
    SELECT min(p.price) AS price, count(DISTINCT p.price) AS prices, count(*) AS methods,
           count(*) - count(p.price) AS unpriced, string_agg(p.print_method, ', ' ORDER BY p.print_method) AS names
      INTO charge
      FROM @extschema@.cs_print_methods AS p
     WHERE p.server = item.server AND p.product_id = item.product_id AND p.placement = place
       AND ($3 IS NULL OR p.print_method = $3);
    IF charge.methods = 0 THEN
      RAISE invalid_parameter_value USING
        MESSAGE = format('SKU "%s" cannot be printed at placement "%s"%s', $1, place, ' with method "' || $3 || '"'),
        HINT = 'The placements and methods of its model are in cs_print_methods.';
    ELSIF charge.prices > 1 THEN
      RAISE ambiguous_parameter USING
        MESSAGE = format('the charge at placement "%s" depends on the print method', place),
        HINT = format('Name one of: %s.', charge.names);
    ELSIF charge.unpriced > 0 THEN
      RETURN NULL;
    END IF;
    answer := answer + charge.price;
  END LOOP;
  RETURN answer;
END $$;
COMMENT ON FUNCTION @extschema@.cs_item_cost(text, text[], text, text) IS
'What one item costs in production, without shipping, from the cached catalogue: blank cost + print charge of each placement + handling fee '
'(CustomHub, "Computing your cost"); for Cup Source the unit price. In the currency of the SKU. NULL if the partner states no price. '
'Errors: 22023 unknown SKU, placement or method; 42P08 several accounts offer the SKU, or print_method is needed.';

CREATE FUNCTION @extschema@.cs_price_at(sku text, at timestamptz, server text DEFAULT NULL) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := coalesce($3, nullif(current_setting('cupsource.server', true), ''));
  price record;
BEGIN
  SELECT h.unit_price, min(h.server) OVER () AS one, max(h.server) OVER () AS other
    INTO price
    FROM @extschema@.cs_price_history AS h
   WHERE h.sku = $1 AND (wanted IS NULL OR h.server = wanted) AND h.valid @> $2
   ORDER BY lower(h.valid) DESC
   LIMIT 1;
  IF price.one <> price.other THEN
    RAISE ambiguous_parameter USING
      MESSAGE = format('SKU "%s" has prices on more than one server', $1),
      DETAIL = format('Two of them are "%s" and "%s".', price.one, price.other),
      HINT = 'Name the server.';
  END IF;
  RETURN price.unit_price;
END $$;
COMMENT ON FUNCTION @extschema@.cs_price_at(text, timestamptz, text) IS
'The unit price that a SKU had at a time, as far as refreshes saw it; NULL if it had none, was not on offer, or was not known yet. '
'Error 42P08 when several accounts have prices for the SKU and none is named.';

/*
 * live.sql
 *	  The catalogue as the partner has it now.  Same names and row types as
 *	  the cached views: with parentheses it asks, without it remembers.
 *
 * Every one of them waits for the network, interruptibly, for at most
 * cupsource.timeout per request and cupsource.rate_limit_wait for the
 * account's budget.  COST says that one call is worth a great deal of local
 * work; nothing is stored.
 */

CREATE FUNCTION @extschema@.cs_products(category text DEFAULT NULL, material text DEFAULT NULL,
  capacity text DEFAULT NULL, eco_certified boolean DEFAULT NULL, min_moq bigint DEFAULT NULL,
  search text DEFAULT NULL, max_rows bigint DEFAULT NULL, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_products
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1000
AS 'MODULE_PATHNAME', 'cs_sql_products';
COMMENT ON FUNCTION @extschema@.cs_products(text, text, text, boolean, bigint, text, bigint, text) IS
'Asks the partner for its products now; every argument that is not NULL is sent as a filter. max_rows bounds the rows and the pages asked for. '
'Filters: Cup Source v1 category, material, capacity; v2 category, eco_certified, min_moq; CustomHub search. '
'Errors: 0A000 a filter that the API does not have; PAnnn the partner''s refusal.';

CREATE FUNCTION @extschema@.cs_product(id text, server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_products
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1
AS 'MODULE_PATHNAME', 'cs_sql_product';
COMMENT ON FUNCTION @extschema@.cs_product(text, text) IS
'Asks the partner for one product now. CustomHub: by model id ("Get a model"), prices being the lowest of its variations. '
'Cup Source documents no such request, so its list is read page by page until the id or SKU is found. Error PA404 if there is none.';

CREATE FUNCTION @extschema@.cs_models(search text DEFAULT NULL, max_rows bigint DEFAULT NULL,
  server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_models
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1000
AS 'MODULE_PATHNAME', 'cs_sql_models';
COMMENT ON FUNCTION @extschema@.cs_models(text, bigint, text) IS
'Asks CustomHub for its list of models now ("List models"); search matches description and code. What only a model''s detail says is NULL.';

CREATE FUNCTION @extschema@.cs_model(model_id text, server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_models
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1
AS 'MODULE_PATHNAME', 'cs_sql_model';
COMMENT ON FUNCTION @extschema@.cs_model(text, text) IS
'Asks CustomHub for one model now ("Get a model"). Error PA404 if there is none.';

CREATE FUNCTION @extschema@.cs_variations(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_variations
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_variations';
COMMENT ON FUNCTION @extschema@.cs_variations(text, text) IS
'Asks CustomHub for the variations of one model now, with this dealer''s prices. Error PA404 if there is no such model.';

CREATE FUNCTION @extschema@.cs_placements(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_placements
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 5
AS 'MODULE_PATHNAME', 'cs_sql_placements';
COMMENT ON FUNCTION @extschema@.cs_placements(text, text) IS
'Asks CustomHub for the placements of one model now. Error PA404 if there is no such model.';

CREATE FUNCTION @extschema@.cs_print_methods(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_print_methods
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 10
AS 'MODULE_PATHNAME', 'cs_sql_print_methods';
COMMENT ON FUNCTION @extschema@.cs_print_methods(text, text) IS
'Asks CustomHub for the print methods of one model''s placements now, with their charges. Error PA404 if there is no such model.';

CREATE FUNCTION @extschema@.cs_balance(server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_balance
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1
AS 'MODULE_PATHNAME', 'cs_sql_balance';
COMMENT ON FUNCTION @extschema@.cs_balance(text) IS
'Asks CustomHub for the wallet now ("Wallet balance"). balance > 0: the dealer owes it; headroom = credit_limit - balance.';

CREATE PROCEDURE @extschema@.cs_refresh_catalog(server text DEFAULT NULL, "full" boolean DEFAULT false)
LANGUAGE c
AS 'MODULE_PATHNAME', 'cs_sql_refresh_catalog';
COMMENT ON PROCEDURE @extschema@.cs_refresh_catalog(text, boolean) IS
'Reads the account''s whole catalogue into the cache, page by page, each page its own transaction (one for all inside a transaction block), writing only what changed. '
'Goes on where an interrupted refresh stopped. CustomHub: details are read of models that seem changed and of a twentieth of the others, with full => true of all. '
'NOTICEs tell the progress; cs_catalog_status too. Errors: 55P03 another refresh of the account is running; PAnnn the partner''s refusal.';

/*
 * tables.sql
 *	  Orders and what happened to them.
 *
 * An order is one row from its first day to its last.  Queueing it writes that
 * row and nothing else, because it happens in somebody else's transaction;
 * events, attempts and shipments are written by the worker.
 *
 * No table here has a trigger: a restore would fire it, and would order again.
 */

CREATE SEQUENCE cs_internal.order_id AS bigint;
COMMENT ON SEQUENCE cs_internal.order_id IS 'Local order ids.';
REVOKE ALL ON SEQUENCE cs_internal.order_id FROM PUBLIC;

-- The one shape in which the answers of all partners are stored.
CREATE TYPE cs_internal.remote_order AS (
  remote_id text,
  external_id text,
  order_number text,
  remote_status text,
  currency text,
  items_subtotal numeric,
  shipping_cost numeric,
  shipping_category_fee numeric,
  discount_amount numeric,
  rush_fee numeric,
  total numeric,
  cost jsonb,
  item_count integer,
  remote_created_at timestamptz,
  last_shipped_at timestamptz,
  cancelled_at timestamptz,
  rejection_reason text
);
COMMENT ON TYPE cs_internal.remote_order IS
'An order as a partner shows it: what its answers to creating, reading and cancelling have in common.';

-- What went wrong, as it is stored with the order.
CREATE TYPE cs_internal.order_error AS (
  sqlstate text,
  code text,
  message text,
  detail text,
  hint text
);
COMMENT ON TYPE cs_internal.order_error IS
'A failure: SQLSTATE PA…, the partner''s error code, message, detail and hint.';

CREATE TABLE cs_internal.orders (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('cs_internal.order_id'),
  server text COLLATE "C" NOT NULL,
  external_id text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL DEFAULT 'queue',
  state text COLLATE "C" NOT NULL DEFAULT 'queued',

  -- what is wanted
  lines jsonb NOT NULL,
  ship_to jsonb,
  options jsonb,
  replaces bigint,
  created_by text NOT NULL,
  origin text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),

  -- what was sent
  body bytea,
  attempts integer NOT NULL DEFAULT 0,
  sent_at timestamptz,
  next_attempt_at timestamptz DEFAULT pg_catalog.now(),

  -- what the partner says
  remote_id text COLLATE "C",
  remote cs_internal.remote_order,
  raw jsonb,
  placed_at timestamptz,
  fetched_at timestamptz,
  poll_at timestamptz,

  -- what went wrong last
  error cs_internal.order_error,
  is_final boolean NOT NULL DEFAULT false,

  -- who asked by the call path, and whether they stood by it
  caller_xids xid8[],
  lost_at timestamptz,
  cancel_requested_at timestamptz,
  changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),

  PRIMARY KEY (id),
  UNIQUE (server, external_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE cs_internal.orders IS
'Every order, one row each; the view cs_orders shows it. It has few columns and no CHECK, because each costs at every '
'INSERT of a user: that state and path are among the known ones is the transitions'' business, which alone write here. '
'path: queue or call. body: the exact bytes of the request, stored before they are first sent and sent again unchanged. '
'origin: the cluster that may send it (cs_internal.origin()). caller_xids: call path only; the (sub)transactions that '
'asked for the order, NULL once one of them has committed. is_final: the partner refused this external id for good. '
'cancel_requested_at: wanted while it was on the wire. Names compare in collation C, as those of the catalogs do: an '
'index on server could not be used for a server''s name otherwise.';
COMMENT ON COLUMN cs_internal.orders.next_attempt_at IS
'queued: when it may be sent; cancelling: when the cancellation may be sent; sending: not NULL; otherwise NULL.';
COMMENT ON COLUMN cs_internal.orders.lost_at IS
'When all callers were first seen to have rolled back.';
REVOKE ALL ON cs_internal.orders FROM PUBLIC;

-- What waits, or is on the wire; calls ('call') before the queue ('queue'), then by due time.
CREATE INDEX orders_due ON cs_internal.orders (server, state, path, next_attempt_at, id)
  WITH (deduplicate_items = off)
  WHERE next_attempt_at IS NOT NULL;
CREATE INDEX orders_poll ON cs_internal.orders (server, poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX orders_remote ON cs_internal.orders (server, remote_id) WHERE remote_id IS NOT NULL;
CREATE INDEX orders_callers ON cs_internal.orders (id) WHERE caller_xids IS NOT NULL;

CREATE SEQUENCE cs_internal.order_event_id AS bigint;
COMMENT ON SEQUENCE cs_internal.order_event_id IS 'Ids of order events, in the order of their storing.';
REVOKE ALL ON SEQUENCE cs_internal.order_event_id FROM PUBLIC;

CREATE TABLE cs_internal.order_events (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('cs_internal.order_event_id'),
  order_id bigint NOT NULL,
  at timestamptz NOT NULL,
  source text NOT NULL CHECK (source IN ('local', 'remote')),
  type text NOT NULL,
  by text,
  detail jsonb,
  fingerprint text,
  PRIMARY KEY (id)
);
COMMENT ON TABLE cs_internal.order_events IS
'What happened to an order: here (local: the state that it entered) and at the partner (remote: CustomHub''s events[]). '
'fingerprint: tells remote events of an order apart, so that each is stored once.';
REVOKE ALL ON cs_internal.order_events FROM PUBLIC;
CREATE INDEX order_events_order ON cs_internal.order_events (order_id, id);
CREATE UNIQUE INDEX order_events_remote ON cs_internal.order_events (order_id, fingerprint)
  WHERE fingerprint IS NOT NULL;

CREATE TABLE cs_internal.order_attempts (
  order_id bigint NOT NULL,
  attempt integer NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms integer,
  status integer,
  delivery text NOT NULL CHECK (delivery IN ('not_sent', 'answered', 'unknown')),
  failure text,
  error_sqlstate text,
  error_message text,
  PRIMARY KEY (order_id, attempt)
);
COMMENT ON TABLE cs_internal.order_attempts IS
'Each request that was to place an order. delivery: not_sent (for certain), answered, unknown (it may have arrived).';
REVOKE ALL ON cs_internal.order_attempts FROM PUBLIC;

CREATE TABLE cs_internal.shipments (
  order_id bigint NOT NULL,
  shipment_id text NOT NULL,
  carrier text,
  tracking_number text,
  tracking_url text,
  status text,
  estimated_delivery timestamptz,
  signature_required boolean,
  shipped_at timestamptz,
  raw jsonb,
  fetched_at timestamptz NOT NULL,
  PRIMARY KEY (order_id, shipment_id)
);
COMMENT ON TABLE cs_internal.shipments IS
'Parcels of an order. shipment_id: the partner''s, else the tracking number, else the parcel''s place in the list.';
REVOKE ALL ON cs_internal.shipments FROM PUBLIC;

CREATE TABLE cs_internal.queue_claim (
  one boolean NOT NULL DEFAULT true CHECK (one),
  origin text NOT NULL,
  claimed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (one)
);
COMMENT ON TABLE cs_internal.queue_claim IS
'The database (system identifier, OID and cupsource.instance) whose worker sends these orders; at most one row. '
'A restored or copied database finds another cluster''s name here and holds its queue until cs_adopt_queue().';
REVOKE ALL ON cs_internal.queue_claim FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('cs_internal.orders', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_id', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_events', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_event_id', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_attempts', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.shipments', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.queue_claim', '');

/*
 * transitions.sql
 *	  Every change of an order's state, one small function each.
 *
 *	  queued      → sending (claimed), cancelled, failed
 *	  sending     → placed and beyond (answered), queued (again), failed, uncertain
 *	  placed, approved, in_production, shipped, delivered, rejected, cancelled:
 *	                as the partner says
 *	  placed …    → cancelling → cancelled, or back; orphaned
 *	  uncertain, failed → queued, placed, failed, cancelled (by hand)
 *
 * A function refuses every other old state with PA012 and changes nothing.
 * Each change leaves an event and a NOTIFY, which listeners get at COMMIT.
 */

-- Why an order cannot go where it was sent: throws.
CREATE FUNCTION cs_internal.order_refuse(order_id bigint, wanted text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  SELECT id, external_id, state INTO o FROM cs_internal.orders WHERE id = order_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'PA404', MESSAGE = format('order %s does not exist', order_id);
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'PA012',
    MESSAGE = format('order "%s" is %s and cannot become %s', o.external_id, o.state, wanted);
END $$;
COMMENT ON FUNCTION cs_internal.order_refuse(bigint, text) IS
'Throws PA012 (wrong state), or PA404 if there is no such order.';
REVOKE ALL ON FUNCTION cs_internal.order_refuse(bigint, text) FROM PUBLIC;

-- What every transition ends with.
CREATE FUNCTION cs_internal.order_entered(order_id bigint, server text, external_id text, state text,
  by text DEFAULT 'cupsource', detail jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail)
  VALUES (order_id, clock_timestamp(), 'local', state, by, detail);
  PERFORM pg_notify('cupsource', json_build_object('id', order_id, 'server', server,
    'external_id', external_id, 'state', state)::text);
END $$;
COMMENT ON FUNCTION cs_internal.order_entered(bigint, text, text, text, text, jsonb) IS
'Records the state that an order has entered and tells the listeners of channel cupsource.';
REVOKE ALL ON FUNCTION cs_internal.order_entered(bigint, text, text, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION cs_internal.error_detail(error cs_internal.order_error) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN jsonb_strip_nulls(jsonb_build_object('sqlstate', error.sqlstate, 'code', error.code,
    'message', error.message));
END $$;
COMMENT ON FUNCTION cs_internal.error_detail(cs_internal.order_error) IS 'A failure as an event''s detail.';
REVOKE ALL ON FUNCTION cs_internal.error_detail(cs_internal.order_error) FROM PUBLIC;

/* ---- sending ---- */

-- queued → sending, a batch; the bodies are the bytes that will be sent.
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
'queued → sending, all or none: stores the exact request bodies and counts the attempt, before a byte is sent.';
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
   WHERE o.id = attempt_ended.order_id;
END $$;
COMMENT ON FUNCTION cs_internal.attempt_ended(bigint, timestamptz, integer, integer, text, text, text, text) IS
'Keeps what came of the current attempt to place an order; a start that is not known is that of the claim.';
REVOKE ALL ON FUNCTION cs_internal.attempt_ended(bigint, timestamptz, integer, integer, text, text, text, text)
  FROM PUBLIC;

-- sending → placed, or as far as the answer says.
CREATE FUNCTION cs_internal.order_placed(order_id bigint, new_state text, a cs_internal.remote_order,
  answer jsonb, poll_after interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = new_state, remote_id = a.remote_id, remote = a, raw = answer,
         placed_at = clock_timestamp(), fetched_at = clock_timestamp(),
         changed_at = clock_timestamp(), next_attempt_at = NULL, error = NULL, is_final = false,
         poll_at = CASE WHEN cs_internal.is_followed(new_state) THEN now() + poll_after END
   WHERE t.id = order_id AND t.state = 'sending'
     AND new_state IN ('placed', 'approved', 'in_production', 'shipped', 'delivered', 'rejected',
                       'cancelled')
  RETURNING t.server, t.external_id, t.cancel_requested_at INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, new_state);
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, new_state, 'cupsource',
    jsonb_strip_nulls(jsonb_build_object('remote_id', a.remote_id, 'order_number', a.order_number)));
  IF o.cancel_requested_at IS NOT NULL AND new_state IN ('placed', 'approved', 'in_production') THEN
    PERFORM cs_internal.order_cancel(order_id, 'cupsource');
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_placed(bigint, text, cs_internal.remote_order, jsonb, interval) IS
'sending → placed (or a later state that the answer names): the partner has accepted the order.';
REVOKE ALL ON FUNCTION cs_internal.order_placed(bigint, text, cs_internal.remote_order, jsonb, interval)
  FROM PUBLIC;

-- sending → queued: certainly not sent, or the same bytes may be sent again.
CREATE FUNCTION cs_internal.order_again(order_id bigint, after interval, e cs_internal.order_error)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'queued', next_attempt_at = clock_timestamp() + after,
         changed_at = clock_timestamp(), error = e
   WHERE t.id = order_id AND t.state = 'sending'
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'queued');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'queued', 'cupsource',
    cs_internal.error_detail(e));
END $$;
COMMENT ON FUNCTION cs_internal.order_again(bigint, interval, cs_internal.order_error) IS
'sending → queued: the request certainly did not arrive, or the partner promises to know the same bytes again.';
REVOKE ALL ON FUNCTION cs_internal.order_again(bigint, interval, cs_internal.order_error) FROM PUBLIC;

-- sending → uncertain.
CREATE FUNCTION cs_internal.order_uncertain(order_id bigint, e cs_internal.order_error) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'uncertain', next_attempt_at = NULL, changed_at = clock_timestamp(), error = e
   WHERE t.id = order_id AND t.state = 'sending'
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'uncertain');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'uncertain', 'cupsource',
    cs_internal.error_detail(e));
END $$;
COMMENT ON FUNCTION cs_internal.order_uncertain(bigint, cs_internal.order_error) IS
'sending → uncertain: the request may have arrived, and sending it again could order twice. Waits for cs_resolve_order.';
REVOKE ALL ON FUNCTION cs_internal.order_uncertain(bigint, cs_internal.order_error) FROM PUBLIC;

-- queued, sending → failed.
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
'queued or sending → failed: the partner refused the order, or it cannot be sent. final: the same external id will be refused for ever.';
REVOKE ALL ON FUNCTION cs_internal.order_failed(bigint, cs_internal.order_error, boolean) FROM PUBLIC;

-- queued stays queued: something of ours is missing (a user mapping, a secret file).
CREATE FUNCTION cs_internal.order_delayed(order_id bigint, after interval, e cs_internal.order_error)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE cs_internal.orders AS t
     SET next_attempt_at = clock_timestamp() + after, error = e
   WHERE t.id = order_id AND t.state IN ('queued', 'cancelling');
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'delayed');
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_delayed(bigint, interval, cs_internal.order_error) IS
'queued or cancelling, and stays so: it could not be tried; why and until when is kept. No event: nothing happened to the order.';
REVOKE ALL ON FUNCTION cs_internal.order_delayed(bigint, interval, cs_internal.order_error) FROM PUBLIC;

/* ---- cancelling ---- */

-- queued → cancelled, placed … → cancelling; returns what has to be done now.
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
      PERFORM cs_internal.order_refuse(order_id, 'cancelled');
  END CASE;
END $$;
COMMENT ON FUNCTION cs_internal.order_cancel(bigint, text) IS
'Cancels: done (it was not sent, or is cancelled already), send (the partner has to be asked), wait (its outcome is not known yet).';
REVOKE ALL ON FUNCTION cs_internal.order_cancel(bigint, text) FROM PUBLIC;

-- queued → cancelled in the user's own transaction; false if the worker has to do it.
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
'queued → cancelled, if it never reached the partner and nobody is sending it: true. Otherwise nothing is changed, and nothing stays locked.';
REVOKE ALL ON FUNCTION cs_internal.order_cancel_queued(bigint, text) FROM PUBLIC;

-- Has no request of this order ever reached the partner, for certain?
CREATE FUNCTION cs_internal.never_arrived(order_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN NOT EXISTS (
    SELECT FROM cs_internal.orders AS o
     WHERE o.id = never_arrived.order_id
       AND o.attempts > (SELECT count(*) FROM cs_internal.order_attempts AS a
                          WHERE a.order_id = never_arrived.order_id
                            AND (a.delivery = 'not_sent' OR a.status = 429)));
END $$;
COMMENT ON FUNCTION cs_internal.never_arrived(bigint) IS
'True if every attempt so far was not sent or was turned away unprocessed (429). A 503 may hide an order that was made.';
REVOKE ALL ON FUNCTION cs_internal.never_arrived(bigint) FROM PUBLIC;

-- May an attempt have placed it, although nobody knows?
CREATE FUNCTION cs_internal.is_doubtful(order_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM cs_internal.order_attempts AS a
                  WHERE a.order_id = is_doubtful.order_id
                    AND (a.delivery = 'unknown' OR a.status >= 500));
END $$;
COMMENT ON FUNCTION cs_internal.is_doubtful(bigint) IS
'True if an attempt had no answer, or one that does not say whether the order was made.';
REVOKE ALL ON FUNCTION cs_internal.is_doubtful(bigint) FROM PUBLIC;

-- cancelling → cancelled.
CREATE FUNCTION cs_internal.order_cancelled(order_id bigint, a cs_internal.remote_order) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o record;
BEGIN
  UPDATE cs_internal.orders AS t
     SET state = 'cancelled', remote.remote_status = coalesce(a.remote_status, (t.remote).remote_status),
         remote.cancelled_at = coalesce(a.cancelled_at, clock_timestamp()), next_attempt_at = NULL,
         poll_at = NULL, fetched_at = clock_timestamp(), changed_at = clock_timestamp(), error = NULL
   WHERE t.id = order_id AND t.state = 'cancelling'
  RETURNING t.server, t.external_id INTO o;
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'cancelled');
  END IF;
  PERFORM cs_internal.order_entered(order_id, o.server, o.external_id, 'cancelled');
END $$;
COMMENT ON FUNCTION cs_internal.order_cancelled(bigint, cs_internal.remote_order) IS
'cancelling → cancelled: the partner has confirmed it.';
REVOKE ALL ON FUNCTION cs_internal.order_cancelled(bigint, cs_internal.remote_order) FROM PUBLIC;

-- cancelling → what it was before, or orphaned if nobody wants it.
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
         caller_xids = NULL, poll_at = now(),
         changed_at = clock_timestamp(), error = e
   WHERE t.id = order_id;
  PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, back, 'cupsource',
    cs_internal.error_detail(e));
  RETURN back;
END $$;
COMMENT ON FUNCTION cs_internal.order_not_cancelled(bigint, cs_internal.order_error) IS
'cancelling → the state before, because the partner refuses; orphaned if the transaction that asked for the order rolled back.';
REVOKE ALL ON FUNCTION cs_internal.order_not_cancelled(bigint, cs_internal.order_error) FROM PUBLIC;

-- placed … → orphaned.
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
'placed … → orphaned: the partner makes an order whose transaction rolled back, and cannot be stopped.';
REVOKE ALL ON FUNCTION cs_internal.order_orphaned(bigint) FROM PUBLIC;

/* ---- by hand ---- */

-- uncertain, failed → what a person found out.
CREATE FUNCTION cs_internal.order_resolve(order_id bigint, action text, found_id text, by text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old record;
  new_state text;
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
  IF NOT (old.state = 'uncertain' OR old.state = 'failed' AND action <> 'failed') THEN
    PERFORM cs_internal.order_refuse(order_id, new_state);
  END IF;
  IF action = 'placed' AND coalesce(found_id, '') = '' THEN
    RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'remote_id must be given with action "placed"',
      HINT = 'It is the partner''s id of the order, by which it is followed.';
  END IF;
  IF action = 'retry' AND old.is_final THEN
    RAISE EXCEPTION USING ERRCODE = 'PA012',
      MESSAGE = format('order "%s" was refused for good', old.external_id),
      DETAIL = coalesce((old.error).message, 'There is no message.'),
      HINT = 'The partner answers the same to this external id for ever. Use cs_resubmit_order with a new one.';
  END IF;
  UPDATE cs_internal.orders AS t
     SET state = new_state, changed_at = clock_timestamp(), caller_xids = NULL,
         remote_id = CASE WHEN action = 'placed' THEN found_id ELSE t.remote_id END,
         placed_at = CASE WHEN action = 'placed' THEN clock_timestamp() ELSE t.placed_at END,
         poll_at = CASE WHEN action = 'placed' THEN clock_timestamp() END,
         next_attempt_at = CASE WHEN action = 'retry' THEN clock_timestamp() END,
         error = CASE WHEN action = 'failed' THEN t.error END
   WHERE t.id = order_id;
  PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, new_state, by,
    jsonb_strip_nulls(jsonb_build_object('resolved', action, 'remote_id', found_id)));
END $$;
COMMENT ON FUNCTION cs_internal.order_resolve(bigint, text, text, text) IS
'uncertain or failed → placed (it is there, under this id), queued (send it again), or failed (it is not there and shall not be).';
REVOKE ALL ON FUNCTION cs_internal.order_resolve(bigint, text, text, text) FROM PUBLIC;

/*
 * following.sql
 *	  What partners say about placed orders: their state, their history, their
 *	  parcels; and when to ask again.
 */

CREATE FUNCTION cs_internal.is_followed(state text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN state IN ('placed', 'approved', 'in_production', 'shipped', 'orphaned');
END $$;
COMMENT ON FUNCTION cs_internal.is_followed(text) IS
'Is the partner asked about an order in this state? shipped: yes, for tracking updates and further parcels.';
REVOKE ALL ON FUNCTION cs_internal.is_followed(text) FROM PUBLIC;

-- When to ask next: often after a change, ever more rarely while nothing happens.
CREATE FUNCTION cs_internal.poll_next(state text, changed_at timestamptz, poll_interval interval)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  age interval := clock_timestamp() - changed_at;
BEGIN
  IF NOT cs_internal.is_followed(state) OR (state = 'shipped' AND age > '30 days') THEN
    RETURN NULL;
  END IF;
  RETURN clock_timestamp() + greatest(poll_interval, least(age / 8, greatest(poll_interval, '1 hour')));
END $$;
COMMENT ON FUNCTION cs_internal.poll_next(text, timestamptz, interval) IS
'The next look at an order: after poll_interval at the earliest, an eighth of the time since its last change, an hour '
'at most. NULL: no more; a shipped order is left after 30 days without change.';
REVOKE ALL ON FUNCTION cs_internal.poll_next(text, timestamptz, interval) FROM PUBLIC;

-- What an answer leaves out stays as it was.
CREATE FUNCTION cs_internal.order_merged(o cs_internal.remote_order, a cs_internal.remote_order)
RETURNS cs_internal.remote_order
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN ROW(coalesce(a.remote_id, o.remote_id), coalesce(a.external_id, o.external_id),
    coalesce(a.order_number, o.order_number), coalesce(a.remote_status, o.remote_status),
    coalesce(a.currency, o.currency), coalesce(a.items_subtotal, o.items_subtotal),
    coalesce(a.shipping_cost, o.shipping_cost), coalesce(a.shipping_category_fee, o.shipping_category_fee),
    coalesce(a.discount_amount, o.discount_amount), coalesce(a.rush_fee, o.rush_fee),
    coalesce(a.total, o.total), coalesce(a.cost, o.cost), coalesce(a.item_count, o.item_count),
    coalesce(a.remote_created_at, o.remote_created_at), coalesce(a.last_shipped_at, o.last_shipped_at),
    coalesce(a.cancelled_at, o.cancelled_at),
    coalesce(a.rejection_reason, o.rejection_reason))::cs_internal.remote_order;
END $$;
COMMENT ON FUNCTION cs_internal.order_merged(cs_internal.remote_order, cs_internal.remote_order) IS
'What was known of an order, with what a new answer says.';
REVOKE ALL ON FUNCTION cs_internal.order_merged(cs_internal.remote_order, cs_internal.remote_order) FROM PUBLIC;

-- What GET said about one order; remote states only, never backwards out of an end.
CREATE FUNCTION cs_internal.order_followed(order_id bigint, new_state text, a cs_internal.remote_order,
  answer jsonb, poll_interval interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old record;
  state_now text;
  news boolean;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t WHERE t.id = order_id FOR NO KEY UPDATE;
  IF NOT FOUND OR old.state NOT IN ('placed', 'approved', 'in_production', 'shipped', 'delivered',
                                    'rejected', 'cancelled', 'cancelling', 'orphaned')
     OR new_state NOT IN ('placed', 'approved', 'in_production', 'shipped', 'delivered',
                          'rejected', 'cancelled') THEN
    PERFORM cs_internal.order_refuse(order_id, coalesce(new_state, 'followed'));
  END IF;
  state_now := CASE
    -- An unknown remote status says nothing; an end stays one.
    WHEN new_state IS NULL OR old.state IN ('delivered', 'rejected', 'cancelled') THEN old.state
    WHEN old.state IN ('cancelling', 'orphaned') AND new_state NOT IN ('cancelled', 'rejected') THEN old.state
    ELSE new_state END;
  news := state_now <> old.state
    OR coalesce(a.remote_status, (old.remote).remote_status) IS DISTINCT FROM (old.remote).remote_status;
  UPDATE cs_internal.orders AS t
     SET state = state_now,
         remote_id = coalesce(t.remote_id, a.remote_id),
         remote = cs_internal.order_merged(t.remote, a),
         raw = coalesce(answer, t.raw),
         fetched_at = clock_timestamp(),
         changed_at = CASE WHEN news THEN clock_timestamp() ELSE t.changed_at END,
         next_attempt_at = CASE WHEN state_now = 'cancelling' THEN t.next_attempt_at END,
         poll_at = cs_internal.poll_next(state_now,
           CASE WHEN news THEN clock_timestamp() ELSE t.changed_at END, poll_interval)
   WHERE t.id = order_id;
  IF state_now <> old.state THEN
    PERFORM cs_internal.order_entered(order_id, old.server, old.external_id, state_now, 'cupsource',
      jsonb_strip_nulls(jsonb_build_object('remote_status', a.remote_status,
        'reason', a.rejection_reason)));
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_followed(bigint, text, cs_internal.remote_order, jsonb, interval) IS
'Applies what the partner says about a placed order. new_state NULL: a status that no document knows, stored and followed on.';
REVOKE ALL ON FUNCTION cs_internal.order_followed(bigint, text, cs_internal.remote_order, jsonb, interval)
  FROM PUBLIC;

-- A page of the list: which of our orders does it show changed?
CREATE FUNCTION cs_internal.orders_listed(server text, remote_ids text[], statuses text[],
  shipped timestamptz[], poll_interval interval) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  UPDATE cs_internal.orders AS o
     SET fetched_at = clock_timestamp(),
         poll_at = cs_internal.poll_next(o.state, o.changed_at, poll_interval)
    FROM unnest(remote_ids, statuses, shipped) AS l (remote_id, status, shipped_at)
   WHERE o.server = orders_listed.server AND o.remote_id = l.remote_id AND o.poll_at IS NOT NULL
     AND (o.remote).remote_status IS NOT DISTINCT FROM l.status
     AND (l.shipped_at IS NULL OR l.shipped_at IS NOT DISTINCT FROM (o.remote).last_shipped_at);
  RETURN QUERY
  SELECT o.id
    FROM unnest(remote_ids, statuses, shipped) AS l (remote_id, status, shipped_at)
    JOIN cs_internal.orders AS o ON o.server = orders_listed.server AND o.remote_id = l.remote_id
   WHERE o.poll_at IS NOT NULL
     AND ((o.remote).remote_status IS DISTINCT FROM l.status
          OR (l.shipped_at IS NOT NULL AND l.shipped_at IS DISTINCT FROM (o.remote).last_shipped_at))
   ORDER BY o.fetched_at;
END $$;
COMMENT ON FUNCTION cs_internal.orders_listed(text, text[], text[], timestamptz[], interval) IS
'Applies a page of the partner''s list: what is as we know it is put off, the ids of the rest are returned, to be asked for one by one.';
REVOKE ALL ON FUNCTION cs_internal.orders_listed(text, text[], text[], timestamptz[], interval) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_poll_later(order_id bigint, after interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE cs_internal.orders AS t
     SET poll_at = clock_timestamp() + after
   WHERE t.id = order_id AND t.poll_at IS NOT NULL;
END $$;
COMMENT ON FUNCTION cs_internal.order_poll_later(bigint, interval) IS
'The partner could not be asked about an order: try again later; NULL: it cannot be asked at all.';
REVOKE ALL ON FUNCTION cs_internal.order_poll_later(bigint, interval) FROM PUBLIC;

-- The partner's own history; each event once, in the order of its list.
CREATE FUNCTION cs_internal.order_remote_events(order_id bigint, ats timestamptz[], types text[],
  bys text[], shipment_ids text[], details jsonb[]) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  added integer;
BEGIN
  WITH listed AS (
    SELECT e.at, e.type, e.by, e.n, d.detail,
           md5(jsonb_build_array(e.at AT TIME ZONE 'UTC', e.type, e.by, d.detail)::text) AS digest
      FROM unnest(ats, types, bys, shipment_ids, details)
           WITH ORDINALITY AS e (at, type, by, shipment_id, detail, n)
     CROSS JOIN LATERAL (SELECT CASE WHEN e.shipment_id IS NULL THEN e.detail
       ELSE coalesce(e.detail, '{}') || jsonb_build_object('shipment_id', e.shipment_id) END AS detail) AS d
  ), numbered AS (
    -- Two events that are equal in everything are two events.
    SELECT l.*, l.digest || '#' || row_number() OVER (PARTITION BY l.digest ORDER BY l.n) AS mark
      FROM listed AS l
  )
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail, fingerprint)
  SELECT order_remote_events.order_id, n.at, 'remote', n.type, n.by, n.detail, n.mark
    FROM numbered AS n
   WHERE NOT EXISTS (SELECT FROM cs_internal.order_events AS k
                      WHERE k.order_id = order_remote_events.order_id AND k.fingerprint = n.mark)
   ORDER BY n.n;
  GET DIAGNOSTICS added = ROW_COUNT;
  RETURN added;
END $$;
COMMENT ON FUNCTION cs_internal.order_remote_events(bigint, timestamptz[], text[], text[], text[], jsonb[]) IS
'Stores the events of the partner''s list that are not stored yet; returns how many.';
REVOKE ALL ON FUNCTION cs_internal.order_remote_events(bigint, timestamptz[], text[], text[], text[], jsonb[])
  FROM PUBLIC;

CREATE FUNCTION cs_internal.order_shipments(order_id bigint, shipment_ids text[], numbers text[],
  carriers text[], urls text[], statuses text[], estimates timestamptz[], signatures boolean[],
  shipped timestamptz[], raws jsonb[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO cs_internal.shipments AS t (order_id, shipment_id, tracking_number, carrier, tracking_url,
    status, estimated_delivery, signature_required, shipped_at, raw, fetched_at)
  SELECT DISTINCT ON (p.key) order_shipments.order_id, p.key, p.number, p.carrier, p.url, p.status,
         p.estimate, p.signature, p.shipped_at, p.raw, now()
    FROM (SELECT coalesce(l.id, l.number, l.n::text) AS key, l.*
            FROM unnest(shipment_ids, numbers, carriers, urls, statuses, estimates, signatures,
                        shipped, raws) WITH ORDINALITY
              AS l (id, number, carrier, url, status, estimate, signature, shipped_at, raw, n)) AS p
   WHERE NOT EXISTS (
     SELECT FROM cs_internal.shipments AS k
      WHERE k.order_id = order_shipments.order_id AND k.shipment_id = p.key
        AND (k.tracking_number, k.carrier, k.tracking_url, k.status, k.estimated_delivery,
             k.signature_required, k.shipped_at, k.raw)
            IS NOT DISTINCT FROM
            (p.number, p.carrier, p.url, p.status, p.estimate, p.signature, p.shipped_at, p.raw))
   ORDER BY p.key, p.n DESC
  ON CONFLICT ON CONSTRAINT shipments_pkey DO UPDATE
     SET tracking_number = excluded.tracking_number, carrier = excluded.carrier,
         tracking_url = excluded.tracking_url, status = excluded.status,
         estimated_delivery = excluded.estimated_delivery,
         signature_required = excluded.signature_required, shipped_at = excluded.shipped_at,
         raw = excluded.raw, fetched_at = excluded.fetched_at;
  UPDATE cs_internal.orders AS o
     SET remote.last_shipped_at = latest.at
    FROM (SELECT max(k.shipped_at) AS at FROM cs_internal.shipments AS k
           WHERE k.order_id = order_shipments.order_id) AS latest
   WHERE o.id = order_shipments.order_id AND latest.at > coalesce((o.remote).last_shipped_at, '-infinity');
END $$;
COMMENT ON FUNCTION cs_internal.order_shipments(bigint, text[], text[], text[], text[], text[], timestamptz[],
  boolean[], timestamptz[], jsonb[]) IS
'Stores the parcels of an order: new ones, and what changed of the known ones.';
REVOKE ALL ON FUNCTION cs_internal.order_shipments(bigint, text[], text[], text[], text[], text[], timestamptz[], boolean[], timestamptz[], jsonb[])
  FROM PUBLIC;

CREATE FUNCTION cs_internal.order_designs_added(order_id bigint, line integer, by text, answer jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO cs_internal.order_events (order_id, at, source, type, by, detail)
  VALUES (order_id, clock_timestamp(), 'local', 'designs_added', by,
          coalesce(answer -> 'data', '{}') || jsonb_build_object('line', line));
END $$;
COMMENT ON FUNCTION cs_internal.order_designs_added(bigint, integer, text, jsonb) IS
'Keeps in the history what the partner answered to more designs for a line: all designs of the item and the new cost.';
REVOKE ALL ON FUNCTION cs_internal.order_designs_added(bigint, integer, text, jsonb) FROM PUBLIC;

/*
 * queue.sql
 *	  What the worker asks the tables: what to send, whom to ask, who has
 *	  left; and how an order comes in by the call path.
 */

CREATE FUNCTION cs_internal.origin() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_origin';
COMMENT ON FUNCTION cs_internal.origin() IS
'This database as the owner of a queue: system identifier, OID of the database and cupsource.instance, with slashes between.';

CREATE FUNCTION cs_internal.claim_queue() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
  holder text;
BEGIN
  SELECT origin INTO holder FROM cs_internal.queue_claim;
  IF NOT FOUND THEN
    -- Orders of another cluster without its claim: a copy all the same.
    IF EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.origin <> me) THEN
      RETURN false;
    END IF;
    INSERT INTO cs_internal.queue_claim (origin) VALUES (me);
    RETURN true;
  END IF;
  RETURN holder = me;
END $$;
COMMENT ON FUNCTION cs_internal.claim_queue() IS
'Does this cluster send the orders of this database? The first one to ask does; a copy has to adopt the queue.';
REVOKE ALL ON FUNCTION cs_internal.claim_queue() FROM PUBLIC;

CREATE FUNCTION cs_internal.adopt_queue(by text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  me text := cs_internal.origin();
  adopted bigint;
BEGIN
  INSERT INTO cs_internal.queue_claim (origin) VALUES (me)
  ON CONFLICT ON CONSTRAINT queue_claim_pkey DO UPDATE
     SET origin = excluded.origin, claimed_at = excluded.claimed_at;
  WITH taken AS (
    UPDATE cs_internal.orders AS o
       SET origin = me, caller_xids = NULL
     WHERE o.origin <> me
    RETURNING o.id, o.state
  ), journal AS (
    INSERT INTO cs_internal.order_events (order_id, at, source, type, by)
    SELECT t.id, clock_timestamp(), 'local', 'adopted', adopt_queue.by
      FROM taken AS t
     WHERE t.state NOT IN ('delivered', 'rejected', 'cancelled', 'failed')
    RETURNING 1
  )
  SELECT count(*) INTO adopted FROM journal;
  RETURN adopted;
END $$;
COMMENT ON FUNCTION cs_internal.adopt_queue(text) IS
'Makes this cluster the one that sends; returns how many open orders came with it. Transaction ids of the other cluster mean nothing here and are dropped.';
REVOKE ALL ON FUNCTION cs_internal.adopt_queue(text) FROM PUBLIC;

-- Servers with something to send, and when.
CREATE FUNCTION cs_internal.servers_waiting() RETURNS TABLE (serverid oid, server text, due_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  SELECT s.oid, s.srvname::text, d.at
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
   CROSS JOIN LATERAL (
     SELECT least(
       (SELECT o.next_attempt_at FROM cs_internal.orders AS o
         WHERE o.server = s.srvname::text AND o.state = 'queued' AND o.path = 'call'
           AND o.next_attempt_at IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1),
       (SELECT o.next_attempt_at FROM cs_internal.orders AS o
         WHERE o.server = s.srvname::text AND o.state = 'queued' AND o.path = 'queue'
           AND o.next_attempt_at IS NOT NULL ORDER BY o.next_attempt_at LIMIT 1)) AS at) AS d
   WHERE d.at IS NOT NULL;
END $$;
COMMENT ON FUNCTION cs_internal.servers_waiting() IS
'The servers with queued orders, each with the time at which the first of them may be sent.';
REVOKE ALL ON FUNCTION cs_internal.servers_waiting() FROM PUBLIC;

-- The next orders of a server; they stay locked until the transaction ends.
CREATE FUNCTION cs_internal.orders_claim(server text, most integer, awaited bigint[])
RETURNS TABLE (id bigint, external_id text, created_by text, lines jsonb, ship_to jsonb, options jsonb,
  body bytea, attempts integer, first_sent_at timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.external_id, o.created_by, o.lines, o.ship_to, o.options, o.body, o.attempts, o.sent_at
    FROM cs_internal.orders AS o
   WHERE o.server = orders_claim.server AND o.state = 'queued'
     AND o.next_attempt_at <= moment AND o.origin = cs_internal.origin()
     -- A caller that has left before anything was sent: first see whether it committed.
     AND (o.path = 'queue' OR o.caller_xids IS NULL OR o.attempts > 0 OR o.id = ANY (awaited))
   ORDER BY o.path, o.next_attempt_at, o.id
   LIMIT most
     FOR NO KEY UPDATE SKIP LOCKED;
END $$;
COMMENT ON FUNCTION cs_internal.orders_claim(text, integer, bigint[]) IS
'Locks the next queued orders of a server that are due, callers first; a locked one is skipped. awaited: orders whose callers wait.';
REVOKE ALL ON FUNCTION cs_internal.orders_claim(text, integer, bigint[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_attempts_made(order_id bigint) RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT o.attempts FROM cs_internal.orders AS o WHERE o.id = order_id);
END $$;
COMMENT ON FUNCTION cs_internal.order_attempts_made(bigint) IS 'How often an order was sent, or was about to be.';
REVOKE ALL ON FUNCTION cs_internal.order_attempts_made(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_interrupted() RETURNS TABLE (id bigint, server text, created_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  SELECT o.id, o.server, o.created_by
    FROM pg_foreign_server AS s
    JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'sending'
   WHERE o.next_attempt_at IS NOT NULL AND o.origin = cs_internal.origin()
   ORDER BY o.id;
END $$;
COMMENT ON FUNCTION cs_internal.orders_interrupted() IS
'Orders that were on the wire when the last worker ended: a new worker begins with them.';
REVOKE ALL ON FUNCTION cs_internal.orders_interrupted() FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_cancelling()
RETURNS TABLE (id bigint, server text, created_by text, remote_id text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.server, o.created_by, o.remote_id
    FROM pg_foreign_server AS s
    JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'cancelling'
   WHERE o.next_attempt_at <= moment AND o.origin = cs_internal.origin()
   ORDER BY o.next_attempt_at;
END $$;
COMMENT ON FUNCTION cs_internal.orders_cancelling() IS 'Cancellations that are due.';
REVOKE ALL ON FUNCTION cs_internal.orders_cancelling() FROM PUBLIC;

CREATE FUNCTION cs_internal.servers_to_ask()
RETURNS TABLE (serverid oid, server text, open_since timestamptz, due bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT s.oid, s.srvname::text, d.since, d.due
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
   CROSS JOIN LATERAL (
     SELECT min(coalesce((o.remote).remote_created_at, o.placed_at, o.created_at)) AS since, count(*) AS due
       FROM cs_internal.orders AS o
      WHERE o.server = s.srvname::text AND o.poll_at <= moment
        AND o.origin = cs_internal.origin()) AS d
   WHERE d.due > 0;
END $$;
COMMENT ON FUNCTION cs_internal.servers_to_ask() IS
'Servers with orders to look at: how many, and since when the oldest of them exists at the partner.';
REVOKE ALL ON FUNCTION cs_internal.servers_to_ask() FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_to_ask(server text, most integer)
RETURNS TABLE (id bigint, remote_id text, created_by text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT o.id, o.remote_id, o.created_by
    FROM cs_internal.orders AS o
   WHERE o.server = orders_to_ask.server AND o.poll_at <= moment
     AND o.remote_id IS NOT NULL AND o.origin = cs_internal.origin()
   ORDER BY o.fetched_at NULLS FIRST, o.id
   LIMIT most;
END $$;
COMMENT ON FUNCTION cs_internal.orders_to_ask(text, integer) IS
'Orders of a server to look at now, the oldest knowledge first.';
REVOKE ALL ON FUNCTION cs_internal.orders_to_ask(text, integer) FROM PUBLIC;

CREATE FUNCTION cs_internal.orders_poll_later(server text, after interval) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz := clock_timestamp();
BEGIN
  UPDATE cs_internal.orders AS o
     SET poll_at = clock_timestamp() + after
   WHERE o.server = orders_poll_later.server AND o.poll_at <= moment;
END $$;
COMMENT ON FUNCTION cs_internal.orders_poll_later(text, interval) IS
'The partner''s list could not be had: try again later.';
REVOKE ALL ON FUNCTION cs_internal.orders_poll_later(text, interval) FROM PUBLIC;

-- When there is something to do next, if nobody wakes the worker.
CREATE FUNCTION cs_internal.next_due(grace interval) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  due timestamptz;
BEGIN
  SELECT least(
    (SELECT min(w.due_at) FROM cs_internal.servers_waiting() AS w),
    (SELECT min(o.next_attempt_at)
       FROM pg_foreign_server AS s
       JOIN cs_internal.orders AS o ON o.server = s.srvname::text AND o.state = 'cancelling'
      WHERE o.next_attempt_at IS NOT NULL),
    (SELECT min(d.poll_at) FROM pg_foreign_server AS s
       CROSS JOIN LATERAL (SELECT o.poll_at FROM cs_internal.orders AS o
                            WHERE o.server = s.srvname::text AND o.poll_at IS NOT NULL
                            ORDER BY o.poll_at LIMIT 1) AS d),
    (SELECT min(CASE WHEN o.lost_at IS NULL
                     THEN clock_timestamp()
                          + least(greatest((clock_timestamp() - o.changed_at) / 2, '200 ms'), '30 s')
                     -- Due already, but it had to be put off: not in a busy loop.
                     ELSE greatest(o.lost_at + grace, clock_timestamp() + '1 s') END)
       FROM cs_internal.orders AS o WHERE o.caller_xids IS NOT NULL))
    INTO due;
  RETURN due;
END $$;
COMMENT ON FUNCTION cs_internal.next_due(interval) IS
'The next time at which an order has to be sent, cancelled, looked at, or its caller''s end to be found out.';
REVOKE ALL ON FUNCTION cs_internal.next_due(interval) FROM PUBLIC;

/* ---- the call path ---- */

CREATE FUNCTION cs_internal.order_same(o cs_internal.orders, lines jsonb, ship_to jsonb, options jsonb)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN o.lines = lines AND o.ship_to IS NOT DISTINCT FROM ship_to
    AND coalesce(o.options, '{}') = coalesce(options, '{}');
END $$;
COMMENT ON FUNCTION cs_internal.order_same(cs_internal.orders, jsonb, jsonb, jsonb) IS
'Is this the same order, whatever its spelling?';
REVOKE ALL ON FUNCTION cs_internal.order_same(cs_internal.orders, jsonb, jsonb, jsonb) FROM PUBLIC;

-- The order that has this external id already: its id if it is the same order.
CREATE FUNCTION cs_internal.order_existing(server text, external_id text, lines jsonb, ship_to jsonb,
  options jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
BEGIN
  SELECT * INTO STRICT old FROM cs_internal.orders AS o
   WHERE o.server = order_existing.server AND o.external_id = order_existing.external_id;
  IF NOT cs_internal.order_same(old, lines, ship_to, options) THEN
    RAISE EXCEPTION USING ERRCODE = 'unique_violation',
      MESSAGE = format('order "%s" exists on server "%s" with a different content', external_id, server),
      DETAIL = format('Order %s of %s is %s.', old.id, old.created_at, old.state),
      HINT = 'An external id names one order for ever. Use a new external id for a different order.';
  END IF;
  RETURN old.id;
END $$;
COMMENT ON FUNCTION cs_internal.order_existing(text, text, jsonb, jsonb, jsonb) IS
'The id of the order with this external id, if its content is the same; otherwise error 23505.';
REVOKE ALL ON FUNCTION cs_internal.order_existing(text, text, jsonb, jsonb, jsonb) FROM PUBLIC;

-- Queued, in the transaction of whoever queues it, after it was called for in vain.
CREATE FUNCTION cs_internal.order_wanted(order_id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  old cs_internal.orders;
BEGIN
  SELECT * INTO old FROM cs_internal.orders AS t
   WHERE t.id = order_id
     AND (t.caller_xids IS NOT NULL OR t.state = 'orphaned'
          OR t.path = 'call' AND (t.state = 'failed' AND NOT t.is_final
                                  OR t.state IN ('cancelling', 'cancelled') AND t.lost_at IS NOT NULL))
     FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF old.state = 'failed' AND NOT old.is_final
     OR old.state = 'cancelled' AND cs_internal.never_arrived(old.id) THEN
    UPDATE cs_internal.orders AS t
       SET state = 'queued', path = 'queue', next_attempt_at = clock_timestamp(),
           changed_at = clock_timestamp(), caller_xids = NULL, lost_at = NULL, remote = NULL,
           cancel_requested_at = NULL, error = NULL
     WHERE t.id = order_id;
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'queued', old.created_by);
    RETURN true;
  END IF;
  IF old.state IN ('cancelling', 'cancelled') THEN
    RAISE EXCEPTION USING ERRCODE = 'PA012', MESSAGE = 'the order with this external id was cancelled',
      DETAIL = format('It is order %s in cs_orders; the transaction that placed it rolled back.', old.id),
      HINT = 'Place it under a new external id.';
  END IF;
  UPDATE cs_internal.orders AS t
     SET caller_xids = NULL, lost_at = NULL,
         cancel_requested_at = CASE WHEN t.lost_at IS NULL THEN t.cancel_requested_at END,
         state = CASE t.state WHEN 'orphaned' THEN 'placed' ELSE t.state END,
         poll_at = CASE t.state WHEN 'orphaned' THEN clock_timestamp() ELSE t.poll_at END,
         changed_at = CASE t.state WHEN 'orphaned' THEN clock_timestamp() ELSE t.changed_at END
   WHERE t.id = order_id;
  IF old.state = 'orphaned' THEN
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'placed', old.created_by);
  END IF;
  RETURN true;
END $$;
COMMENT ON FUNCTION cs_internal.order_wanted(bigint) IS
'An order of the call path is queued as well: if this transaction commits it stays, whatever becomes of its callers, '
'and is sent again if it was certainly not placed. PA012 if it was cancelled because they rolled back. True if the worker has to see it.';
REVOKE ALL ON FUNCTION cs_internal.order_wanted(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_take(request jsonb) RETURNS TABLE (id bigint, disposition text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  caller xid8 := (request->>'xid')::xid8;
  old cs_internal.orders;
BEGIN
  INSERT INTO cs_internal.orders AS o (server, external_id, path, lines, ship_to, options, created_by,
    origin, caller_xids)
  VALUES (request->>'server', request->>'external_id', 'call', request->'lines',
    nullif(request->'ship_to', 'null'), nullif(request->'options', 'null'), request->>'created_by',
    cs_internal.origin(), ARRAY[caller])
  ON CONFLICT ON CONSTRAINT orders_server_external_id_key DO NOTHING
  RETURNING o.id INTO order_take.id;
  IF FOUND THEN
    disposition := 'new';
    RETURN NEXT;
    RETURN;
  END IF;

  order_take.id := cs_internal.order_existing(request->>'server', request->>'external_id',
    request->'lines', nullif(request->'ship_to', 'null'), nullif(request->'options', 'null'));
  SELECT * INTO STRICT old FROM cs_internal.orders AS o WHERE o.id = order_take.id FOR NO KEY UPDATE;

  disposition := CASE
    WHEN old.state IN ('queued', 'sending') THEN 'wait'
    WHEN old.state = 'failed' AND NOT old.is_final THEN 'new'
    WHEN old.state = 'cancelled' AND cs_internal.never_arrived(old.id) THEN 'new'
    WHEN old.state IN ('failed', 'uncertain') THEN 'error'
    WHEN old.state IN ('cancelled', 'cancelling') THEN 'cancelled'
    ELSE 'done' END;

  IF disposition = 'new' THEN
    UPDATE cs_internal.orders AS o
       SET state = 'queued', path = 'call', next_attempt_at = clock_timestamp(),
           changed_at = clock_timestamp(), caller_xids = ARRAY[caller], lost_at = NULL,
           remote = NULL, cancel_requested_at = NULL, error = NULL
     WHERE o.id = order_take.id;
    PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'queued', old.created_by);
  ELSIF disposition IN ('wait', 'done') AND (old.caller_xids IS NOT NULL OR old.state = 'orphaned') THEN
    -- Somebody came back for it: a retry of the transaction, or another one.
    UPDATE cs_internal.orders AS o
       SET caller_xids = array_append(o.caller_xids, caller), lost_at = NULL,
           -- It was to be cancelled because nobody had come back so far.
           cancel_requested_at = CASE WHEN o.lost_at IS NULL THEN o.cancel_requested_at END,
           state = CASE o.state WHEN 'orphaned' THEN 'placed' ELSE o.state END,
           poll_at = CASE o.state WHEN 'orphaned' THEN clock_timestamp() ELSE o.poll_at END,
           changed_at = CASE o.state WHEN 'orphaned' THEN clock_timestamp() ELSE o.changed_at END
     WHERE o.id = order_take.id;
    IF old.state = 'orphaned' THEN
      PERFORM cs_internal.order_entered(old.id, old.server, old.external_id, 'placed', old.created_by);
    END IF;
  END IF;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION cs_internal.order_take(jsonb) IS
'Journals an order of the call path: {server, external_id, lines, ship_to, options, created_by, xid}. disposition: new '
'(to be sent), wait (on its way already), done (it is there), error (its stored failure is the answer), cancelled.';
REVOKE ALL ON FUNCTION cs_internal.order_take(jsonb) FROM PUBLIC;

CREATE FUNCTION cs_internal.callers_settle(grace interval)
RETURNS TABLE (id bigint, server text, created_by text, state text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  o cs_internal.orders;
  verdict text;
BEGIN
  FOR o IN SELECT * FROM cs_internal.orders AS t
            WHERE t.caller_xids IS NOT NULL AND t.origin = cs_internal.origin()
            ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    -- An id so old that its status is gone tells nothing: then the order is kept.
    SELECT CASE WHEN bool_or(coalesce(pg_xact_status(x), 'committed') = 'committed') THEN 'kept'
                WHEN bool_or(pg_xact_status(x) = 'in progress') THEN 'open'
                ELSE 'lost' END
      INTO verdict FROM unnest(o.caller_xids) AS x;
    IF verdict = 'kept' THEN
      UPDATE cs_internal.orders AS t SET caller_xids = NULL, lost_at = NULL WHERE t.id = o.id;
    ELSIF verdict = 'lost' AND o.lost_at IS NULL THEN
      UPDATE cs_internal.orders AS t SET lost_at = clock_timestamp() WHERE t.id = o.id;
      PERFORM cs_internal.order_entered(o.id, o.server, o.external_id, 'rolled_back', o.created_by);
    ELSIF verdict = 'lost' AND o.lost_at + grace <= clock_timestamp() THEN
      IF o.state IN ('placed', 'approved', 'in_production', 'shipped', 'delivered')
         OR o.state = 'queued' THEN
        id := o.id;
        server := o.server;
        created_by := o.created_by;
        state := o.state;
        RETURN NEXT;
      ELSIF o.state NOT IN ('sending', 'cancelling') THEN
        -- failed, rejected, cancelled; uncertain waits for a person anyway.
        UPDATE cs_internal.orders AS t SET caller_xids = NULL WHERE t.id = o.id;
      END IF;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.callers_settle(interval) IS
'Looks at the transactions that asked for orders. Returns the orders that are to be cancelled or orphaned, because all '
'of their callers rolled back longer than grace ago and nobody came back.';
REVOKE ALL ON FUNCTION cs_internal.callers_settle(interval) FROM PUBLIC;

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

/* ---- finding ---- */

CREATE FUNCTION cs_internal.order_find(wanted text, local_id bigint, server text, user_id oid)
RETURNS TABLE (id bigint, serverid oid)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hits integer;
BEGIN
  SELECT count(*), min(f.id), min(f.serverid::text)::oid
    INTO hits, order_find.id, order_find.serverid
    FROM (SELECT o.id, s.oid AS serverid
            FROM cs_internal.orders AS o
            JOIN pg_foreign_server AS s ON s.srvname = o.server::name
            JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
           WHERE (o.id = local_id
                  OR o.id IN (SELECT e.id FROM cs_internal.orders AS e, cs_internal.visible_servers AS v
                               WHERE e.server = v.server AND e.external_id = wanted)
                  OR o.id IN (SELECT r.id FROM cs_internal.orders AS r, cs_internal.visible_servers AS v
                               WHERE r.server = v.server AND r.remote_id = wanted))
             AND (order_find.server IS NULL OR o.server = order_find.server)
             AND has_server_privilege(user_id, s.oid, 'USAGE')) AS f;
  IF hits = 0 THEN
    RAISE EXCEPTION USING ERRCODE = 'PA404',
      MESSAGE = format('order "%s" does not exist', coalesce(wanted, local_id::text))
                || CASE WHEN server IS NULL THEN '' ELSE format(' on server "%s"', server) END,
      HINT = 'An order is found by its local id, external id or remote id in cs_orders.';
  ELSIF hits > 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'cardinality_violation',
      MESSAGE = format('"%s" means more than one order', wanted),
      HINT = 'Pass the local id as bigint, or name the server.';
  END IF;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION cs_internal.order_find(text, bigint, text, oid) IS
'The one order that a text (local, external or remote id) or a bigint (local id) means for a user; PA404 if there is none that he may see.';
REVOKE ALL ON FUNCTION cs_internal.order_find(text, bigint, text, oid) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_knowledge(order_id bigint)
RETURNS TABLE (server text, state text, remote_id text, created_by text, fetched_at timestamptz, askable boolean)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT o.server, o.state, o.remote_id, o.created_by, o.fetched_at,
         o.remote_id IS NOT NULL AND o.state IN ('placed', 'approved', 'in_production', 'shipped',
           'delivered', 'rejected', 'cancelled', 'cancelling', 'orphaned')
    FROM cs_internal.orders AS o WHERE o.id = order_id;
END $$;
COMMENT ON FUNCTION cs_internal.order_knowledge(bigint) IS
'What is known of an order, since when, and whether the partner can be asked about it.';
REVOKE ALL ON FUNCTION cs_internal.order_knowledge(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.order_to_resubmit(order_id bigint)
RETURNS TABLE (lines jsonb, ship_to jsonb, options jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT o.lines, o.ship_to, o.options FROM cs_internal.orders AS o
   WHERE o.id = order_id AND o.state IN ('failed', 'rejected', 'cancelled');
  IF NOT FOUND THEN
    PERFORM cs_internal.order_refuse(order_id, 'submitted again');
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.order_to_resubmit(bigint) IS
'What a failed, rejected or cancelled order was to be; PA012 for an order that may still be made.';
REVOKE ALL ON FUNCTION cs_internal.order_to_resubmit(bigint) FROM PUBLIC;

/*
 * views.sql
 *	  Orders as users see them: of the accounts that they may use.
 */

CREATE VIEW @extschema@.cs_orders WITH (security_barrier) AS
  SELECT o.id, o.server, o.external_id, o.path, o.state, o.remote_id, (o.remote).order_number,
         (o.remote).remote_status, (o.remote).currency, (o.remote).items_subtotal,
         (o.remote).shipping_cost, (o.remote).shipping_category_fee, (o.remote).discount_amount,
         (o.remote).rush_fee, (o.remote).total, (o.remote).cost, (o.remote).item_count, o.lines,
         o.ship_to, o.options, (o.error).sqlstate AS error_sqlstate, (o.error).code AS error_code,
         (o.error).message AS error_message, (o.error).detail AS error_detail,
         (o.error).hint AS error_hint, (o.remote).rejection_reason, o.attempts, o.next_attempt_at,
         o.poll_at, o.replaces, o.created_by, o.created_at, o.sent_at, o.placed_at, o.changed_at,
         o.fetched_at, (o.remote).remote_created_at, (o.remote).last_shipped_at,
         (o.remote).cancelled_at, o.raw
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_orders IS
'Every order that was queued or placed from this database. state: queued, sending, placed, approved, in_production, '
'shipped, delivered, rejected, failed, uncertain, cancelling, cancelled, orphaned; remote_status: the partner''s own '
'word. Money in major units of currency. error_…: the last failure; raw: the partner''s last answer. INSERT of '
'(server, external_id, lines, ship_to, options) queues an order in the current transaction. cs_orders() asks the partner.';
COMMENT ON COLUMN @extschema@.cs_orders.path IS 'queue: sent after COMMIT; call: cs_create_order, sent at once.';
COMMENT ON COLUMN @extschema@.cs_orders.replaces IS 'The order that this one was submitted again for (cs_resubmit_order).';
COMMENT ON COLUMN @extschema@.cs_orders.fetched_at IS 'When the partner was last asked about it.';
GRANT SELECT, INSERT ON @extschema@.cs_orders TO PUBLIC;

CREATE VIEW @extschema@.cs_order_lines WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, l.n::pg_catalog.int4 AS line,
         l.item OPERATOR(pg_catalog.->>) 'sku' AS sku,
         l.item OPERATOR(pg_catalog.->>) 'product_id' AS product_id,
         l.item OPERATOR(pg_catalog.->>) 'variation_id' AS variation_id,
         (l.item OPERATOR(pg_catalog.->>) 'quantity')::pg_catalog.numeric AS quantity,
         l.item OPERATOR(pg_catalog.->) 'designs' AS designs
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server
   CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(o.lines) WITH ORDINALITY AS l (item, n);
COMMENT ON VIEW @extschema@.cs_order_lines IS
'The lines of each order as they were ordered, numbered from 1.';
GRANT SELECT ON @extschema@.cs_order_lines TO PUBLIC;

CREATE VIEW @extschema@.cs_order_events WITH (security_barrier) AS
  SELECT e.id, o.id AS order_id, o.server, o.external_id, e.at, e.source, e.type, e.by, e.detail
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server
   CROSS JOIN LATERAL (
     SELECT 0::pg_catalog.int8 AS id, o.created_at AS at, 'local' AS source, 'queued' AS type,
            o.created_by AS by, NULL::pg_catalog.jsonb AS detail
      UNION ALL
     SELECT h.id, h.at, h.source, h.type, h.by, h.detail
       FROM cs_internal.order_events AS h
      WHERE h.order_id OPERATOR(pg_catalog.=) o.id) AS e;
COMMENT ON VIEW @extschema@.cs_order_events IS
'The history of each order. source local: a state entered here, or designs_added, by whom; remote: the partner''s own events[], each '
'once. Order by at, id.';
GRANT SELECT ON @extschema@.cs_order_events TO PUBLIC;

CREATE VIEW @extschema@.cs_order_attempts WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, a.attempt, a.started_at, a.duration_ms, a.status,
         a.delivery, a.failure, a.error_sqlstate, a.error_message
    FROM cs_internal.order_attempts AS a
    JOIN cs_internal.orders AS o ON o.id OPERATOR(pg_catalog.=) a.order_id
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_order_attempts IS
'Each request that was to place an order. status: HTTP status, NULL if none came; delivery: not_sent (for certain), '
'answered, unknown (it may have arrived); failure: what kind of failure, none for success.';
GRANT SELECT ON @extschema@.cs_order_attempts TO PUBLIC;

CREATE VIEW @extschema@.cs_shipments WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, s.shipment_id, s.carrier, s.tracking_number,
         s.tracking_url, s.status, s.estimated_delivery, s.signature_required, s.shipped_at, s.raw,
         s.fetched_at
    FROM cs_internal.shipments AS s
    JOIN cs_internal.orders AS o ON o.id OPERATOR(pg_catalog.=) s.order_id
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_shipments IS
'The parcels of each order, as the partner last showed them. cs_order_tracking(id) asks now.';
GRANT SELECT ON @extschema@.cs_shipments TO PUBLIC;

CREATE VIEW @extschema@.cs_queue WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, o.state,
         CASE WHEN o.state OPERATOR(pg_catalog.=) 'uncertain'
              THEN 'outcome unknown, look at the partner and use cs_resolve_order'
              WHEN o.state OPERATOR(pg_catalog.=) 'sending' THEN 'on the wire'
              WHEN o.origin OPERATOR(pg_catalog.<>) cs_internal.origin()
                   OR c.origin OPERATOR(pg_catalog.<>) cs_internal.origin()
              THEN 'held: this database is a copy, see cs_adopt_queue'
              WHEN o.lost_at IS NOT NULL THEN 'its transaction rolled back'
              WHEN (o.error).message IS NOT NULL
              THEN pg_catalog.concat('tried again: ', (o.error).message)
              ELSE 'waits for its turn' END AS reason,
         CASE WHEN o.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'cancelling'])
              THEN o.next_attempt_at END AS until
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server
    LEFT JOIN cs_internal.queue_claim AS c ON true
   WHERE o.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'sending', 'cancelling', 'uncertain']);
COMMENT ON VIEW @extschema@.cs_queue IS
'Orders that wait: for their turn, for an answer, for another try, or for a person; why, and until when at the earliest.';
GRANT SELECT ON @extschema@.cs_queue TO PUBLIC;

-- One order as a value, for the C functions that return it.
CREATE FUNCTION cs_internal.order_row(order_id bigint) RETURNS @extschema@.cs_orders
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  o @extschema@.cs_orders;
BEGIN
  SELECT * INTO o FROM @extschema@.cs_orders AS v WHERE v.id = order_id;
  RETURN o;
END $$;
COMMENT ON FUNCTION cs_internal.order_row(bigint) IS 'The row of cs_orders.';
REVOKE ALL ON FUNCTION cs_internal.order_row(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.shipment_rows(order_id bigint) RETURNS SETOF @extschema@.cs_shipments
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT * FROM @extschema@.cs_shipments AS v
                WHERE v.order_id = shipment_rows.order_id ORDER BY v.shipped_at, v.shipment_id;
END $$;
COMMENT ON FUNCTION cs_internal.shipment_rows(bigint) IS 'The rows of cs_shipments of an order.';
REVOKE ALL ON FUNCTION cs_internal.shipment_rows(bigint) FROM PUBLIC;

/*
 * functions.sql
 *	  Placing, queueing, asking and cancelling, for users.
 *
 * Everybody may call these; USAGE on the server decides inside.
 */

CREATE FUNCTION @extschema@.cs_create_order(lines jsonb, ship_to jsonb, external_id text,
  options jsonb DEFAULT NULL, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_create_order';
COMMENT ON FUNCTION @extschema@.cs_create_order(jsonb, jsonb, text, jsonb, text) IS
'Places an order now and returns its row of cs_orders. lines: [{sku | product_id | variation_id, quantity, designs}]; '
'ship_to: {name, line1, line2, city, state, postal_code, country, phone, email}; external_id: 1 to 100 characters, '
'unique per server, the same order for ever: asked again with the same content, the order that is there is returned. '
'The order does not roll back; if the transaction does, it is cancelled where the partner allows it, else orphaned. '
'Errors: 22023 and 23502 (the form), 23505 (other content under this id), PA4xx (the partner refuses), PA001 to PA010 '
'(no usable answer), PA009 (outcome unknown), PA011 (no worker), PA012 (the order was cancelled).';

CREATE FUNCTION @extschema@.cs_enqueue_order(lines jsonb, ship_to jsonb, external_id text,
  options jsonb DEFAULT NULL, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_enqueue_order';
COMMENT ON FUNCTION @extschema@.cs_enqueue_order(jsonb, jsonb, text, jsonb, text) IS
'Queues an order in this transaction and returns its row of cs_orders; it is sent after COMMIT, once. Arguments and '
'form as for cs_create_order. Errors: 22023 and 23502 (the form), 23505 (other content under this id), PA012 (it was '
'cancelled because the transaction that had called cs_create_order rolled back).';

CREATE FUNCTION @extschema@.cs_submit_order() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_submit_order';
COMMENT ON FUNCTION @extschema@.cs_submit_order() IS
'Trigger function: queues an order for the row, as cs_enqueue_order does. AFTER INSERT OR UPDATE, FOR EACH ROW; as a '
'deferred constraint trigger it sees lines that are inserted after their header. Arguments ''key=value'', keys: server '
'(a name), server_column, external_id, lines, ship_to, bill_to, customer, branding, shipping_method, currency, '
'po_number, net_terms, is_gift, is_rush, notes, extra, options. A value names a column; in single quotes it is a '
'constant; ending in () it is a function that takes the row: ''lines=erp.order_lines()''.';

CREATE FUNCTION cs_internal.orders_insert() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_orders_insert';
COMMENT ON FUNCTION cs_internal.orders_insert() IS 'INSERT INTO cs_orders: the same as cs_enqueue_order.';
REVOKE ALL ON FUNCTION cs_internal.orders_insert() FROM PUBLIC;

CREATE TRIGGER cs_orders_insert INSTEAD OF INSERT ON @extschema@.cs_orders
  FOR EACH ROW EXECUTE FUNCTION cs_internal.orders_insert();
COMMENT ON TRIGGER cs_orders_insert ON @extschema@.cs_orders IS 'Queues the order.';

CREATE FUNCTION @extschema@.cs_resubmit_order(id text, external_id text, server text DEFAULT NULL)
RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resubmit_order';
COMMENT ON FUNCTION @extschema@.cs_resubmit_order(text, text, text) IS
'Queues a failed, rejected or cancelled order again under a new external id, linked to the old one by replaces. '
'CustomHub answers the same refusal (402 INSUFFICIENT_BALANCE) to the same id, also after a top-up. PA012 for an order in another state.';

CREATE FUNCTION @extschema@.cs_order(id text, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order';
COMMENT ON FUNCTION @extschema@.cs_order(text, text) IS
'The stored order with this local, external or remote id. PA404 if there is none, 21000 if it means several.';

CREATE FUNCTION @extschema@.cs_order(id bigint) RETURNS @extschema@.cs_orders
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_local';
COMMENT ON FUNCTION @extschema@.cs_order(bigint) IS 'The stored order with this local id. PA404 if there is none.';

CREATE FUNCTION @extschema@.cs_orders(status text DEFAULT NULL, since timestamptz DEFAULT NULL,
  external_id text DEFAULT NULL, max_rows bigint DEFAULT NULL, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_orders';
COMMENT ON FUNCTION @extschema@.cs_orders(text, timestamptz, text, bigint, text) IS
'Asks the partner for its orders now (CustomHub: GET /api/v1/orders; 0A000 where the API has no list), rows as in '
'cs_orders, id where the order is ours. status: the partner''s word; since: created at the partner then or later.';

CREATE FUNCTION @extschema@.cs_order_status(id text, max_age interval DEFAULT NULL, server text DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_status';
COMMENT ON FUNCTION @extschema@.cs_order_status(text, interval, text) IS
'State of the order with this local, external or remote id. If what is known is older than max_age (default '
'cupsource.max_age) and the order is open at the partner, it is asked first, and the errors of that are thrown.';

CREATE FUNCTION @extschema@.cs_order_status(id bigint, max_age interval DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_status_local';
COMMENT ON FUNCTION @extschema@.cs_order_status(bigint, interval) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_order_tracking(id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_shipments
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 2
AS 'MODULE_PATHNAME', 'cs_sql_order_tracking';
COMMENT ON FUNCTION @extschema@.cs_order_tracking(text, text) IS
'Asks the partner for the parcels of an order now and stores them; rows as in cs_shipments. Source: Cup Source v1 GET '
'/orders/{id}/tracking, CustomHub GET /api/v1/orders/{orderId}.';

CREATE FUNCTION @extschema@.cs_cancel_order(id text, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_cancel_order';
COMMENT ON FUNCTION @extschema@.cs_cancel_order(text, text) IS
'Cancels an order and returns its row: in this transaction while it is only queued, at the partner otherwise '
'(CustomHub, while ApprovalPending), where it does not roll back. A cancelled order is returned as it is. Errors: '
'PA012 (its state forbids it), PA400 ORDER_NOT_CANCELLABLE, 0A000 (the API cannot cancel).';

CREATE FUNCTION @extschema@.cs_cancel_order(id bigint) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_cancel_order_local';
COMMENT ON FUNCTION @extschema@.cs_cancel_order(bigint) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_resolve_order(id text, action text, remote_id text DEFAULT NULL,
  server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resolve_order';
COMMENT ON FUNCTION @extschema@.cs_resolve_order(text, text, text, text) IS
'Says what became of an uncertain or failed order: placed (with the partner''s remote_id; it is followed from now on), '
'retry (it is not there: send it again), failed (it is not there and shall not be). PA012 in another state.';

CREATE FUNCTION @extschema@.cs_quote_order(lines jsonb, ship_to jsonb, options jsonb DEFAULT NULL,
  server text DEFAULT NULL,
  OUT currency text, OUT items_subtotal numeric, OUT shipping_cost numeric,
  OUT shipping_category_fee numeric, OUT discount_amount numeric, OUT rush_fee numeric,
  OUT total numeric, OUT per_item jsonb, OUT raw jsonb)
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000
AS 'MODULE_PATHNAME', 'cs_sql_quote_order';
COMMENT ON FUNCTION @extschema@.cs_quote_order(jsonb, jsonb, jsonb, text) IS
'What an order would cost, without placing it (CustomHub: POST /api/v1/orders/quote; 0A000 where the API has no quote). Form as for cs_create_order; designs need no url.';

CREATE FUNCTION @extschema@.cs_add_designs(order_id text, line integer, designs jsonb, server text DEFAULT NULL)
RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_add_designs';
COMMENT ON FUNCTION @extschema@.cs_add_designs(text, integer, jsonb, text) IS
'Adds designs [{url, placement, width_inches, height_inches, print_method}] to a line (from 1) of an order that is '
'still ApprovalPending, replacing those of the same placement; returns the order with its new cost (CustomHub; 0A000 '
'elsewhere). The partner''s answer is an event designs_added of cs_order_events. It does not roll back at the partner. Errors: PA409 ORDER_NOT_MUTABLE, PA400 as for cs_create_order.';

CREATE FUNCTION @extschema@.cs_adopt_queue() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_adopt_queue';
COMMENT ON FUNCTION @extschema@.cs_adopt_queue() IS
'Makes this cluster the one that sends the queued orders of this database, after a restore or on a copy that takes '
'over; returns how many open orders came with it. Whoever still runs the original then orders twice. Not granted to PUBLIC.';
REVOKE ALL ON FUNCTION @extschema@.cs_adopt_queue() FROM PUBLIC;

/*
 * ops.sql
 *	  What a DBA looks at: requests and processes, from shared memory.
 *
 * Nothing here writes or waits, and all of it works on a standby.  The
 * functions in cs_internal give every row; the views say who sees which.
 * They keep EXECUTE for PUBLIC, because a view's functions are called with the
 * rights of its user; nobody can name them without USAGE on the schema.
 */

CREATE FUNCTION cs_internal.stat_requests(
  OUT server pg_catalog.text,
  OUT endpoint pg_catalog.text,
  OUT calls pg_catalog.int8,
  OUT retries pg_catalog.int8,
  OUT connections pg_catalog.int8,
  OUT refused_4xx pg_catalog.int8,
  OUT rate_limited_429 pg_catalog.int8,
  OUT refused_5xx pg_catalog.int8,
  OUT not_sent pg_catalog.int8,
  OUT timeouts pg_catalog.int8,
  OUT malformed pg_catalog.int8,
  OUT other_failures pg_catalog.int8,
  OUT bytes_sent pg_catalog.int8,
  OUT bytes_received pg_catalog.int8,
  OUT total_ms pg_catalog.float8,
  OUT min_ms pg_catalog.float8,
  OUT max_ms pg_catalog.float8,
  OUT limiter_ms pg_catalog.float8,
  OUT first_at pg_catalog.timestamptz,
  OUT last_at pg_catalog.timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 50
AS 'MODULE_PATHNAME', 'cs_sql_stat_requests';
COMMENT ON FUNCTION cs_internal.stat_requests() IS
'The counters behind the view cs_stat_requests, for all servers of this database.';

CREATE VIEW @extschema@.cs_stat_requests WITH (security_barrier) AS
  SELECT s.server, s.endpoint, s.calls,
         s.refused_4xx OPERATOR(pg_catalog.+) s.rate_limited_429
           OPERATOR(pg_catalog.+) s.refused_5xx OPERATOR(pg_catalog.+) s.not_sent
           OPERATOR(pg_catalog.+) s.timeouts OPERATOR(pg_catalog.+) s.malformed
           OPERATOR(pg_catalog.+) s.other_failures AS errors,
         s.refused_4xx, s.rate_limited_429, s.refused_5xx, s.not_sent, s.timeouts, s.malformed,
         s.other_failures, s.retries, s.connections, s.bytes_sent, s.bytes_received,
         s.total_ms, s.min_ms, s.max_ms,
         s.total_ms OPERATOR(pg_catalog./) s.calls::pg_catalog.float8 AS mean_ms,
         s.limiter_ms, s.first_at, s.last_at
    FROM cs_internal.stat_requests() AS s
   WHERE pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
      OR EXISTS (SELECT FROM cs_internal.visible_servers AS v
                  WHERE v.server OPERATOR(pg_catalog.=) s.server);
COMMENT ON VIEW @extschema@.cs_stat_requests IS
'Requests since the start of the server or cs_stat_reset(), one row per server and endpoint of this database; every attempt counts. '
'errors is the sum of: refused_4xx (without 429), rate_limited_429, refused_5xx, not_sent (no address, no connection, no TLS, or the own limiter), timeouts, malformed (answers that could not be used) and other_failures. '
'Times in milliseconds, bytes as on the wire; limiter_ms is the time waited for the account''s budget, which total_ms does not contain. '
'Shows the servers on which the user has USAGE, and all to members of pg_read_all_stats.';
GRANT SELECT ON @extschema@.cs_stat_requests TO PUBLIC;

CREATE FUNCTION @extschema@.cs_stat_reset() RETURNS pg_catalog.void
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_stat_reset';
COMMENT ON FUNCTION @extschema@.cs_stat_reset() IS
'Sets the statistics of this database''s requests (cs_stat_requests) back to nothing. Not granted to PUBLIC.';
REVOKE ALL ON FUNCTION @extschema@.cs_stat_reset() FROM PUBLIC;

CREATE FUNCTION cs_internal.stat_workers(
  OUT database_id pg_catalog.oid,
  OUT pid pg_catalog.int4,
  OUT started_at pg_catalog.timestamptz,
  OUT due_at pg_catalog.timestamptz,
  OUT in_flight pg_catalog.int4,
  OUT orders_sent pg_catalog.int8,
  OUT failures pg_catalog.int8,
  OUT activity pg_catalog.text)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cs_sql_stat_workers';
COMMENT ON FUNCTION cs_internal.stat_workers() IS
'The processes behind the view cs_stat_workers, for all databases.';

CREATE VIEW @extschema@.cs_stat_workers WITH (security_barrier) AS
  SELECT CASE WHEN w.database_id IS NULL THEN 'launcher' ELSE 'worker' END AS process,
         d.datname::pg_catalog.text AS database,
         w.pid, w.started_at, w.due_at, w.in_flight, w.orders_sent, w.failures, w.activity
    FROM cs_internal.stat_workers() AS w
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) w.database_id
   WHERE w.database_id IS NULL
      OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');
COMMENT ON VIEW @extschema@.cs_stat_workers IS
'The processes of cupsource: the launcher, and the worker of each database that has, or may come to have, something to send. '
'pid and started_at are NULL while none runs: for the launcher that means a standby, or a server that had no room for it (max_worker_processes); for a worker that there is nothing to do before due_at. '
'in_flight are requests on the wire, orders_sent and failures count since the worker''s start. '
'Shows the launcher and this database, and all databases to members of pg_read_all_stats.';
GRANT SELECT ON @extschema@.cs_stat_workers TO PUBLIC;

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
    'price_history', 'balances', 'catalog_runs', 'list_pages'] LOOP
    EXECUTE format('DELETE FROM cs_internal.%I WHERE server = $1', cached) USING new_name;
    EXECUTE format('UPDATE cs_internal.%I SET server = $2 WHERE server = $1', cached)
      USING old_name, new_name;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.server_renamed(text, text) IS
'Takes orders and catalogue along to the new name of their server: otherwise nobody would see or send the orders, and '
'the same external id would be ordered again.';
REVOKE ALL ON FUNCTION cs_internal.server_renamed(text, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.server_created(new_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cached text;
BEGIN
  IF EXISTS (SELECT FROM cs_internal.orders AS o WHERE o.server = new_name) THEN
    RAISE duplicate_object USING
      MESSAGE = format('there are orders of an earlier server "%s"', new_name),
      DETAIL = 'They would be seen by whoever may use the new one, and sent to its account.',
      HINT = 'Use another name, or let a superuser create it.';
  END IF;
  FOREACH cached IN ARRAY ARRAY['products', 'models', 'variations', 'placements', 'print_methods',
    'price_history', 'balances', 'catalog_runs', 'list_pages'] LOOP
    EXECUTE format('DELETE FROM cs_internal.%I WHERE server = $1', cached) USING new_name;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.server_created(text) IS
'A user has created a server: it must not inherit the orders (42710) or the catalogue of an earlier one of its name.';
REVOKE ALL ON FUNCTION cs_internal.server_created(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.server_dropped(old_name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unsettled bigint;
BEGIN
  LOCK TABLE cs_internal.orders IN SHARE ROW EXCLUSIVE MODE;
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
