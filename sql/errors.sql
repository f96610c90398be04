-- The partners' error tables, as their documents have them.
\pset format unaligned
SELECT api, code, status, sqlstate, meaning, hint FROM cs_error_codes();
