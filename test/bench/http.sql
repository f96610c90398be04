/*
 * http.sql
 *	  What one writes today, without cupsource: the catalogue of a Cup Source
 *	  v2 account by the http extension and jsonb.
 *
 * It is the quickest way that we know of.  The connection is kept (which is the
 * setting's work; http_set_curlopt('CURLOPT_TCP_KEEPALIVE', …) does not); a page is
 * one statement; a row that has not changed is not written.  Tried, and slower:
 * jsonb_array_elements and ->>, ->> for what is in "pricing", JSON_TABLE, json
 * instead of jsonb, and a COMMIT after each page, which one needs to go on where
 * it stopped.
 */
CREATE EXTENSION http;

CREATE TABLE products (
  product_id     text PRIMARY KEY,
  sku            text,
  name           text,
  material       text,
  certifications text[],
  unit_price     numeric,
  currency       text,
  min_order_qty  bigint,
  stock_status   text,
  lead_time_days integer,
  fetched_at     timestamptz NOT NULL
);

CREATE TYPE pricing AS (unit_price numeric, currency text, min_order_qty bigint);

CREATE PROCEDURE refresh_products(base_url text, api_key text) LANGUAGE plpgsql
SET http.keepalive = on
AS $$
DECLARE
  answer http_response;
  page   jsonb;
  next   text := '';
BEGIN
  WHILE next IS NOT NULL LOOP
    answer := http(('GET', base_url || '/products?limit=100' || next,
                    ARRAY[http_header('Authorization', 'Bearer ' || api_key)], NULL, NULL)::http_request);
    IF answer.status <> 200 THEN
      RAISE 'the partner answered with %', answer.status;
    END IF;
    page := answer.content;

    INSERT INTO products AS p
    SELECT r.id, r.sku, r.name, r.material, r.certifications, (r.pricing).unit_price, (r.pricing).currency,
           (r.pricing).min_order_qty, r.stock_status, r.lead_time_days, now()
      FROM jsonb_to_recordset(page -> 'data') AS r (id text, sku text, name text, material text,
             certifications text[], pricing pricing, stock_status text, lead_time_days integer)
    ON CONFLICT (product_id) DO UPDATE
       SET sku = excluded.sku, name = excluded.name, material = excluded.material,
           certifications = excluded.certifications, unit_price = excluded.unit_price, currency = excluded.currency,
           min_order_qty = excluded.min_order_qty, stock_status = excluded.stock_status,
           lead_time_days = excluded.lead_time_days, fetched_at = excluded.fetched_at
     WHERE (p.sku, p.name, p.material, p.certifications, p.unit_price, p.currency, p.min_order_qty, p.stock_status,
            p.lead_time_days)
           IS DISTINCT FROM
           (excluded.sku, excluded.name, excluded.material, excluded.certifications, excluded.unit_price,
            excluded.currency, excluded.min_order_qty, excluded.stock_status, excluded.lead_time_days);

    next := '&cursor=' || urlencode(page #>> '{pagination,next_cursor}');
  END LOOP;
END $$;
