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
 * The conditions of the other indexes are true for every search that is meant
 * by them and unproven for one by key.  Without them, a plan that was
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
CREATE INDEX products_sku ON cs_internal.products (server, sku) WHERE sku IS NOT NULL;
CREATE INDEX products_price ON cs_internal.products (server, unit_price) WHERE discontinued_at IS NULL;
CREATE INDEX products_terms ON cs_internal.products USING gin (cs_internal.search_vector(product_id, server,
  ARRAY[name, brand, code], 'mgsc', ARRAY[material, category, capacity] || certifications));
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
  detail_failed_at       timestamptz,
  PRIMARY KEY (server, model_id)
) WITH (fillfactor = 90);
CREATE INDEX models_terms ON cs_internal.models USING gin (cs_internal.search_vector('', server,
  ARRAY[name, brand, code], 'm', ARRAY[material]));
CREATE INDEX models_detail_due ON cs_internal.models (server, model_id) WHERE detail_due;
COMMENT ON TABLE cs_internal.models IS
'Models of the CustomHub accounts ("List models", "Get a model"). The list''s row is the fingerprint of the detail: when it changes, the detail is due.';
COMMENT ON COLUMN cs_internal.models.detail_due IS 'The detail is older than the list''s row, or the model was missing from the list: it is to be asked for.';
COMMENT ON COLUMN cs_internal.models.detail_failed_at IS 'When the detail was asked for last, if it could not be had or read then.';
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
CREATE INDEX variations_sku ON cs_internal.variations (server, sku) WHERE sku IS NOT NULL;
CREATE INDEX variations_price ON cs_internal.variations (server, unit_price) WHERE discontinued_at IS NULL;
CREATE INDEX variations_terms ON cs_internal.variations USING gin (cs_internal.search_vector(variation_id, server,
  ARRAY[variation_description, variation2_description], 'sh', ARRAY[variation_description, variation2_description]));
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
  ended_at     timestamptz NOT NULL,
  unit_price   numeric,
  list_price   numeric,
  blank_cost   numeric,
  handling_fee numeric,
  currency     text,
  PRIMARY KEY (server, item_id, valid_from),
  CHECK (valid_from < ended_at),
  -- One price at a time.  GiST has ranges built in, but no equality of texts, so the item is two
  -- ranges of one number each, a hash of 126 bits in all: no two items are ever taken for one.
  CONSTRAINT price_history_no_overlap EXCLUDE USING gist (
    int8range(hashtextextended(item_id, hashtextextended(server, 0)) >> 1,
              hashtextextended(item_id, hashtextextended(server, 0)) >> 1, '[]') WITH &&,
    int8range(hashtextextended(item_id, hashtextextended(server, 1)) >> 1,
              hashtextextended(item_id, hashtextextended(server, 1)) >> 1, '[]') WITH &&,
    tstzrange(valid_from, ended_at) WITH &&)
);
CREATE INDEX price_history_ended ON cs_internal.price_history (server, ended_at);
COMMENT ON TABLE cs_internal.price_history IS
'Prices that a product or variation (item_id) had before the present ones, which stand in its own row since price_since. '
'Append-only. A price ends where the item''s next one begins, and no two of an item overlap (23P01); all NULL: the item was not to be had.';
COMMENT ON COLUMN cs_internal.price_history.ended_at IS 'When the next one began: where changes since a time are looked for.';

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
  since_at          timestamptz,
  since_rows        bigint NOT NULL DEFAULT 0,
  waited_ms         bigint NOT NULL DEFAULT 0,
  ring_position     text COLLATE "C" NOT NULL DEFAULT '',
  ring_left         bigint NOT NULL DEFAULT 0,
  products          bigint NOT NULL DEFAULT 0,
  skus              bigint NOT NULL DEFAULT 0,
  pages_sound       boolean NOT NULL DEFAULT false,
  attempts          integer NOT NULL DEFAULT 0,
  last_complete_at  timestamptz,
  last_error        text,
  last_error_at     timestamptz,
  identity          bigint
) WITH (fillfactor = 50);
COMMENT ON TABLE cs_internal.catalog_runs IS
'The last, or running, refresh of each account: its counters and the checkpoint from which an interrupted one goes on. '
'A run that says "running" while nobody holds its lock was interrupted.';
COMMENT ON COLUMN cs_internal.catalog_runs."position" IS 'The page of the list to ask for next; NULL: the first.';
COMMENT ON COLUMN cs_internal.catalog_runs.entire IS 'Every detail is read, not only those that seem to have changed.';
COMMENT ON COLUMN cs_internal.catalog_runs.since_at IS
'When the present session began this phase, with since_rows done: what the rate is reckoned from.';
COMMENT ON COLUMN cs_internal.catalog_runs.waited_ms IS 'How long the run has waited for the account''s budget.';
COMMENT ON COLUMN cs_internal.catalog_runs.ring_position IS
'The model whose unchanged-looking detail was re-read last. The next ones in the order of model_id are the longest unseen: that needs no write per model.';
COMMENT ON COLUMN cs_internal.catalog_runs.ring_left IS 'How many of those this run may still read.';
COMMENT ON COLUMN cs_internal.catalog_runs.pages_sound IS
'The run was complete and no row came twice in it: the cached products are what list_pages stands for.';
COMMENT ON COLUMN cs_internal.catalog_runs.attempts IS
'How often a refresh was begun, or could not be, since the last one that was completed: the schedule waits the longer.';
COMMENT ON COLUMN cs_internal.catalog_runs.products IS 'Products or models on offer; kept with the rows, in the same transactions.';
COMMENT ON COLUMN cs_internal.catalog_runs.skus IS 'Orderable SKUs on offer.';
COMMENT ON COLUMN cs_internal.catalog_runs.identity IS
'A digest of what the run reads: partner, addresses, environment and key. A run of another one does not go on with it.';

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
