/*
 * functions.sql
 *	  Webhooks for users: registering, receiving, and what came.
 */

CREATE VIEW @extschema@.cs_webhook_events WITH (security_barrier) AS
  SELECT e.server, e.event_id, e.type, e.at,
         CASE WHEN e.applied_at IS NOT NULL THEN 'applied'
              WHEN coalesce(e.remote_id, e.order_number) IS NOT NULL THEN 'waiting' ELSE 'kept' END AS outcome,
         e.order_id, o.external_id, e.remote_id, e.remote_status, e.problem, e.received_at, e.applied_at, e.payload
    FROM cs_internal.webhook_events AS e
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) e.server
    LEFT JOIN cs_internal.orders AS o ON o.id OPERATOR(pg_catalog.=) e.order_id;
COMMENT ON VIEW @extschema@.cs_webhook_events IS
'Every event that a partner''s webhook brought, once however often it was delivered.';
GRANT SELECT ON @extschema@.cs_webhook_events TO PUBLIC;

CREATE FUNCTION @extschema@.cs_register_webhook(url text, events text[] DEFAULT NULL, server text DEFAULT NULL,
  OUT webhook_id text, OUT answer jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'cs_sql_register_webhook';
COMMENT ON FUNCTION @extschema@.cs_register_webhook(text, text[], text) IS
'Has the partner send events to a URL from now on (Cup Source v2: POST /webhooks; 0A000 elsewhere). events: types, '
'all if left out. answer: what the partner answered, with the signing secret if it tells one: it is stored nowhere, '
'so put it into the user mapping''s webhook_secret. It does not roll back, and is not sent a second time if the first '
'may have arrived (PA009). Errors: 22023, PA4xx (the partner refuses), PA001 to PA010.';

CREATE FUNCTION @extschema@.cs_verify_signature(payload bytea, signature text, server text DEFAULT NULL) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'cs_sql_verify_signature';
COMMENT ON FUNCTION @extschema@.cs_verify_signature(bytea, text, text) IS
'Is this the signature (X-CupSource-Signature) of these bytes, by the webhook_secret of the current user''s mapping? '
'HMAC-SHA256 in hexadecimal or base64, with or without sha256= before it, compared in constant time. '
'Errors: 0A000 the API has no webhooks; HV00J no webhook_secret.';

CREATE FUNCTION @extschema@.cs_verify_signature(payload text, signature text, server text DEFAULT NULL) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'cs_sql_verify_signature_text';
COMMENT ON FUNCTION @extschema@.cs_verify_signature(text, text, text) IS
'The same for a body as text, of which the bytes in UTF-8 are signed. A jsonb has lost them; a json has not: payload::text.';

CREATE FUNCTION @extschema@.cs_receive_webhook(payload bytea, signature text, server text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_receive_webhook';
COMMENT ON FUNCTION @extschema@.cs_receive_webhook(bytea, text, text) IS
'Takes a webhook in: the body''s bytes and the header X-CupSource-Signature. Returns applied (to its order), waiting '
'(the order that it names is not known here yet, or its number is that of several), kept (it names none) or duplicate. '
'Each event is stored once, whatever its type, and applied whenever it comes: an older one moves no order back. A status '
'that may be that of a proof, a parcel or a line moves the order nowhere; the partner is asked at once instead. Where it '
'cannot be asked, one part that is made or shipped counts for the order, and the delivery of all its known parcels. The '
'signature is the authorization, by the '
'webhook_secret of any mapping of the server, so the caller needs EXECUTE on this function alone, which is not granted to PUBLIC, '
'and no USAGE on the server. server: the one whose API has webhooks, if left out. Errors, which change nothing: 28000 (forged, '
'truncated, unsigned), 54000 (more than 1 MB), 22P02 (signed, but no JSON object), HV00J (no webhook_secret).';
REVOKE ALL ON FUNCTION @extschema@.cs_receive_webhook(bytea, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_receive_webhook(payload text, signature text, server text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_receive_webhook_text';
COMMENT ON FUNCTION @extschema@.cs_receive_webhook(text, text, text) IS
'The same for a body as text, of which the bytes in UTF-8 are signed. A jsonb has lost them; a json has not: payload::text.';
REVOKE ALL ON FUNCTION @extschema@.cs_receive_webhook(text, text, text) FROM PUBLIC;
