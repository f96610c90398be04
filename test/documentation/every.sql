-- What every document's examples find, before they begin.

-- An order whose answer was lost.
CREATE FUNCTION uncertain_order(wanted text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM cs_enqueue_order('[{"product_id": "prod_8x92k4m", "quantity": 5000}]',
    '{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
    wanted, NULL, 'shop');
  UPDATE cs_internal.orders SET state = 'uncertain' WHERE external_id = wanted;
END
$$;
