CREATE ROLE erp;
CREATE ROLE authenticator;
CREATE TABLE purchase_orders (po_number text, lines jsonb, address jsonb);
CREATE TABLE brands (brand text, logo bytea);
INSERT INTO brands VALUES ('acme', decode('89504e470d0a1a0a', 'hex'));
