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

CREATE FUNCTION cs_internal.cs_fdw_handler() RETURNS fdw_handler
LANGUAGE c VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_fdw_handler';
COMMENT ON FUNCTION cs_internal.cs_fdw_handler() IS
'Foreign tables of the foreign-data wrapper cupsource: the partners'' APIs as relations.';
REVOKE ALL ON FUNCTION cs_internal.cs_fdw_handler() FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER cupsource
HANDLER cs_internal.cs_fdw_handler
VALIDATOR cs_internal.cs_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER cupsource IS
'Accounts at wholesale partners. Server options: api (required: cupsource-v1, cupsource-v2 or customhub-v1), environment, rate_limit, '
'refresh_interval, detail_budget, poll_interval, concurrency, retry_uncertain; for superusers base_url, auth_url, ca_file. '
'User mapping options: api_key, secret_key, webhook_secret; for superusers api_key_file, secret_key_file, webhook_secret_file. '
'Foreign tables: IMPORT FOREIGN SCHEMA api; option resource, and pushdown, and the filters that the resource has.';
