/*
 * terms.sql
 *	  What a row of the catalogue can be found by (src/catalog/terms.c).
 *
 * The letters before words of attributes: m material, g category, s size or
 * capacity, h colour, c certification.  Certifications are the last of a row's
 * attributes, because the last letter is that of all that follow.
 */

CREATE FUNCTION cs_internal.search_marks(key text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_search_marks';
COMMENT ON FUNCTION cs_internal.search_marks(text) IS
'In which samples of the catalogue the row with this key is: 3 (a row of 1024), 2 (of 128), 1 (of 16), 0 (the others, and the row without a key).';
REVOKE ALL ON FUNCTION cs_internal.search_marks(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_vector(key text, server text, plain text[], tags text, tagged text[]) RETURNS tsvector
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20
AS 'MODULE_PATHNAME', 'cs_sql_search_vector';
COMMENT ON FUNCTION cs_internal.search_vector(text, text, text[], text, text[]) IS
'The words of the plain texts, those of the tagged ones with their letter of "tags" and a colon, and the account''s name with an at sign; '
'all of them again with each number of number signs up to search_marks(key).';
REVOKE ALL ON FUNCTION cs_internal.search_vector(text, text, text[], text, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_found(query tsquery, plain text[], tags text, tagged text[]) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5
AS 'MODULE_PATHNAME', 'cs_sql_search_found';
COMMENT ON FUNCTION cs_internal.search_found(tsquery, text[], text, text[]) IS
'Whether search_vector('''', server, plain, tags, tagged) @@ query, of a query that names no account; no vector is made for it.';
REVOKE ALL ON FUNCTION cs_internal.search_found(tsquery, text[], text, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_query(server text, marks integer, which text, words text, tags text,
  tagged text[]) RETURNS tsquery
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_search_query';
COMMENT ON FUNCTION cs_internal.search_query(text, integer, text, text, text, text[]) IS
'All of these words, and the account''s name if it is given, each with so many marks. The last plain word, from three letters, is the beginning of one. '
'which: all, the rest without that, the beginning alone, that as a whole word (ending), or any of them is enough; NULL if nothing is left.';
REVOKE ALL ON FUNCTION cs_internal.search_query(text, integer, text, text, text, text[]) FROM PUBLIC;
