/*
 * terms.sql
 *	  What a row of the catalogue can be found by (src/catalog/terms.c).
 *
 * The letters before words of attributes: m material, g category, s size or
 * capacity, h colour, c certification.  Certifications are the last of a row's
 * attributes, because the last letter is that of all that follow.
 */

CREATE FUNCTION cs_internal.search_vector(server text, plain text[], tags text, tagged text[]) RETURNS tsvector
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'cs_sql_search_vector';
COMMENT ON FUNCTION cs_internal.search_vector(text, text[], text, text[]) IS
'The words of the plain texts, those of the tagged ones with their letter of "tags" and a colon, and the account''s name with an at sign.';
REVOKE ALL ON FUNCTION cs_internal.search_vector(text, text[], text, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_query(words text, tags text, tagged text[]) RETURNS tsquery
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_search_query';
COMMENT ON FUNCTION cs_internal.search_query(text, text, text[]) IS
'All of these words, the last plain one being the beginning of one; NULL if there are none.';
REVOKE ALL ON FUNCTION cs_internal.search_query(text, text, text[]) FROM PUBLIC;
