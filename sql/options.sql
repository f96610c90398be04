--
-- options: what servers and user mappings may say, and who may say it
--
\set VERBOSITY default
CREATE ROLE options_owner;
CREATE ROLE options_user;
GRANT USAGE ON FOREIGN DATA WRAPPER cupsource TO options_owner;

--
-- Servers
--
CREATE SERVER all_options FOREIGN DATA WRAPPER cupsource OPTIONS (
    api 'customhub-v1', base_url 'https://api.example/hub/', auth_url 'http://127.0.0.1:8080',
    environment 'live', rate_limit '0', ca_file '/etc/ssl/own.pem', refresh_interval '0',
    poll_interval '90 s', concurrency '64', retry_uncertain 'true');
CREATE SERVER sandboxed FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'cupsource-v2', environment 'sandbox');

-- an API is required, and must be known
CREATE SERVER s FOREIGN DATA WRAPPER cupsource;
CREATE SERVER s FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub');
ALTER SERVER sandboxed OPTIONS (DROP api);

-- unknown options: the closest one is listed first
CREATE SERVER s FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', bas_url 'https://x');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', ratelimit '1');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', "API" 'x');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'cupsource-v1', api_key 'a secret in the wrong place');

-- wrong values
CREATE FUNCTION refused(options text) RETURNS TABLE (option text, state text, message text, detail text)
LANGUAGE plpgsql AS $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY string_to_array(options, ';') LOOP
        BEGIN
            EXECUTE 'CREATE SERVER s FOREIGN DATA WRAPPER cupsource OPTIONS (api ''cupsource-v1'', '
                || one || ')';
            DROP SERVER s;
            option := one;
            state := 'accepted';
            message := NULL;
            detail := NULL;
        EXCEPTION WHEN OTHERS THEN
            option := one;
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                detail = PG_EXCEPTION_DETAIL;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
\pset format unaligned
\pset tuples_only
SELECT * FROM refused($$rate_limit '-1';rate_limit '1.5';rate_limit '';rate_limit ' 1';rate_limit '99999999999';rate_limit '120'$$);
SELECT * FROM refused($$concurrency '0';concurrency '65';concurrency '1'$$);
SELECT * FROM refused($$poll_interval '0';poll_interval '-5 min';poll_interval 'soon';poll_interval '1 month';poll_interval '0.5 s';poll_interval '5 min';poll_interval '30';poll_interval '01:30:00';poll_interval 'PT5M'$$);
SELECT * FROM refused($$refresh_interval '1000 years';refresh_interval '1 day'$$);
SELECT * FROM refused($$retry_uncertain 'maybe';retry_uncertain 'off'$$);
SELECT * FROM refused($$environment 'test';environment 'sandbox';environment 'live'$$);
SELECT * FROM refused($$ca_file 'own.pem';ca_file '/own.pem'$$);
SELECT * FROM refused($$auth_url 'https://id.example'$$);

-- where credentials may go
SELECT * FROM refused($$base_url 'http://api.example';base_url 'ftp://api.example';base_url 'api.example';base_url '';base_url 'https://';base_url 'https:///v1'$$);
SELECT * FROM refused($$base_url 'https://key:hidden@api.example';base_url 'https://api.example?key=hidden';base_url 'https://api.example/v1#hidden'$$);
SELECT * FROM refused($$base_url 'https://api.example:0';base_url 'https://api.example:65536';base_url 'https://api.example:';base_url 'https://api.example:443x'$$);
SELECT * FROM refused($$base_url 'https://api .example';base_url 'https://api.example/a b';base_url E'https://api.example/\n';base_url 'https://bücher.example';base_url 'https://api.example\@evil.example'$$);
SELECT * FROM refused($$base_url 'http://127.0.0.1.evil.example';base_url 'http://127.0.0.1:8080/v1';base_url 'http://127.1';base_url 'http://127.0.0.256';base_url 'http://127.0.0.1.';base_url 'http://localhost.evil.example'$$);
SELECT * FROM refused($$base_url 'HTTPS://API.Example:8443/V1//';base_url 'http://LOCALHOST:1';base_url 'http://[::1]:1/x';base_url 'http://[::2]:1/x';base_url 'https://[2001:db8::1]'$$);
\pset format aligned
\pset tuples_only

--
-- User mappings
--
CREATE USER MAPPING FOR options_user SERVER all_options
    OPTIONS (api_key 'ek_live_x', secret_key 'esk_live_x', webhook_secret 'whsec_x');
DROP USER MAPPING FOR options_user SERVER all_options;
CREATE USER MAPPING FOR options_user SERVER all_options
    OPTIONS (api_key_file '/run/secrets/api_key', secret_key_file '/run/secrets/secret_key',
             webhook_secret_file '/run/secrets/webhook_secret');
ALTER USER MAPPING FOR options_user SERVER all_options OPTIONS (ADD api_key 'hidden-1');
ALTER USER MAPPING FOR options_user SERVER all_options OPTIONS (SET api_key_file 'relative');
DROP USER MAPPING FOR options_user SERVER all_options;
CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (apikey 'hidden-2');
CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (api_key '');
CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (api_key 'hidden 3');
CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (secret_key E'hidden\r\nX-Other: 4');
CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (api_key 'hïdden-5');
DO $$
BEGIN
    EXECUTE format('CREATE USER MAPPING FOR options_user SERVER all_options OPTIONS (api_key %L)',
                   repeat('x', 4097));
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE '% %', SQLSTATE, SQLERRM;
END $$;

--
-- Foreign tables name their resource; their columns and the wrapper have no options
--
CREATE FOREIGN TABLE t (sku text) SERVER all_options;
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resurce 'products');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource '');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource 'goods');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource 'products', api 'cupsource-v1');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource 'products', pushdown 'perhaps');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource 'products', material 'paper');
CREATE FOREIGN TABLE t (wallet text) SERVER all_options OPTIONS (resource 'balance');
CREATE FOREIGN TABLE t (currency text, balance float8) SERVER all_options OPTIONS (resource 'balance');
CREATE FOREIGN TABLE t (code text) SERVER all_options OPTIONS (resource 'models');
CREATE FOREIGN TABLE t (sku text OPTIONS (path 'id')) SERVER all_options OPTIONS (resource 'products');
CREATE FOREIGN TABLE t (sku text) SERVER all_options OPTIONS (resource 'products', search 'bella');
ALTER FOREIGN TABLE t OPTIONS (ADD category 'cups');
DROP FOREIGN TABLE t;
CREATE FOREIGN TABLE t (currency text) SERVER all_options OPTIONS (resource 'balance');
ALTER FOREIGN TABLE t ADD COLUMN wallet text;
ALTER FOREIGN TABLE t ALTER COLUMN currency TYPE varchar;
ALTER FOREIGN TABLE t RENAME COLUMN currency TO money;
-- and what reaches it by the table whose columns it inherits
CREATE TABLE parent (currency text, balance numeric);
ALTER FOREIGN TABLE t ADD COLUMN balance numeric;
ALTER FOREIGN TABLE t INHERIT parent;
ALTER TABLE parent ADD COLUMN wallet text;
ALTER TABLE parent ALTER COLUMN balance TYPE float8;
ALTER TABLE parent RENAME COLUMN balance TO money;
ALTER TABLE parent DROP COLUMN balance;
DROP TABLE parent CASCADE;
ALTER FOREIGN DATA WRAPPER cupsource OPTIONS (ADD api 'cupsource-v1');

--
-- Who may set what
--
SET ROLE options_owner;
CREATE SERVER owned FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'cupsource-v1', rate_limit '60', concurrency '2');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'cupsource-v1', base_url 'https://evil.example');
ALTER SERVER owned OPTIONS (ADD base_url 'https://evil.example');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'customhub-v1', auth_url 'https://evil.example');
CREATE SERVER s FOREIGN DATA WRAPPER cupsource
    OPTIONS (api 'cupsource-v1', ca_file '/etc/passwd');
CREATE USER MAPPING FOR options_owner SERVER owned OPTIONS (api_key_file '/etc/passwd');
CREATE USER MAPPING FOR options_owner SERVER owned OPTIONS (api_key 'cs_live_own');
RESET ROLE;
-- once a superuser has steered the server, its owner cannot change the rest alone
ALTER SERVER owned OPTIONS (ADD base_url 'https://other.example');
SET ROLE options_owner;
ALTER SERVER owned OPTIONS (SET rate_limit '1');
ALTER SERVER owned OPTIONS (DROP base_url);
RESET ROLE;

DROP FUNCTION refused(text);
DROP SERVER all_options, sandboxed, owned CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER cupsource FROM options_owner;
DROP ROLE options_owner, options_user;
