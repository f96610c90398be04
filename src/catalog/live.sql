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
'Asks CustomHub for its list of models now ("List models"); search matches description and code. What only a model''s detail says is NULL. Error 0A000 at Cup Source.';

CREATE FUNCTION @extschema@.cs_model(model_id text, server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_models
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1
AS 'MODULE_PATHNAME', 'cs_sql_model';
COMMENT ON FUNCTION @extschema@.cs_model(text, text) IS
'Asks CustomHub for one model now ("Get a model"). Errors: PA404 if there is none; 0A000 at Cup Source.';

CREATE FUNCTION @extschema@.cs_variations(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_variations
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_variations';
COMMENT ON FUNCTION @extschema@.cs_variations(text, text) IS
'Asks CustomHub for the variations of one model now, with this dealer''s prices. Errors: PA404 if there is no such model; 0A000 at Cup Source.';

CREATE FUNCTION @extschema@.cs_placements(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_placements
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 5
AS 'MODULE_PATHNAME', 'cs_sql_placements';
COMMENT ON FUNCTION @extschema@.cs_placements(text, text) IS
'Asks CustomHub for the placements of one model now. Errors: PA404 if there is no such model; 0A000 at Cup Source.';

CREATE FUNCTION @extschema@.cs_print_methods(model_id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_print_methods
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 10
AS 'MODULE_PATHNAME', 'cs_sql_print_methods';
COMMENT ON FUNCTION @extschema@.cs_print_methods(text, text) IS
'Asks CustomHub for the print methods of one model''s placements now, with their charges. Errors: PA404 if there is no such model; 0A000 at Cup Source.';

CREATE FUNCTION @extschema@.cs_balance(server text DEFAULT NULL) RETURNS SETOF @extschema@.cs_balance
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 10000000 ROWS 1
AS 'MODULE_PATHNAME', 'cs_sql_balance';
COMMENT ON FUNCTION @extschema@.cs_balance(text) IS
'Asks CustomHub for the wallet now ("Wallet balance"). balance > 0: the dealer owes it; headroom = credit_limit - balance. Error 0A000 at Cup Source.';

CREATE PROCEDURE @extschema@.cs_refresh_catalog(server text DEFAULT NULL, "full" boolean DEFAULT false)
LANGUAGE c
AS 'MODULE_PATHNAME', 'cs_sql_refresh_catalog';
COMMENT ON PROCEDURE @extschema@.cs_refresh_catalog(text, boolean) IS
'Reads the account''s whole catalogue into the cache, page by page, each page its own transaction (one for all inside a transaction block), writing only what changed. '
'Goes on where an interrupted refresh stopped. CustomHub: details are read of models that seem changed and of a twentieth of the others, with full => true of all. '
'A model whose own detail cannot be had or read keeps what is known of it: a WARNING and last_error of cs_catalog_status tell, and the next refresh asks again. '
'NOTICEs tell the progress; cs_catalog_status too. Errors: 55P03 another refresh of the account is running; PAnnn the partner''s refusal.';
