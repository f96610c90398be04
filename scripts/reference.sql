/*
 * reference.sql
 *	  Writes docs/reference.md: every public object of the extension with its
 *	  signature, its columns and its COMMENT, and every setting.
 *
 * "make docs" runs it; a test sees to it that what it wrote is what is there.
 * A new object finds its place by its name: give it a section in the table
 * below if none fits, or the script fails and says so.
 */
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET search_path = public, pg_catalog;

CREATE TEMP TABLE sections (place integer, title text, intro text, names text);
INSERT INTO sections VALUES
  (1, 'Browse the catalogue',
   'With parentheses a name asks the partner now; without, it is a view of what the last refresh stored. Both have the same columns.',
   '^cs_(products?|models?|variations|placements|print_methods|prices|price_history|price_at|price_changes|search|offers|item_cost|balance|refresh_catalog|catalog_status)$'),
  (2, 'Place orders',
   'The order form, what a line, an address and the options hold, is described in the [README](../README.md#the-order-form).',
   '^cs_(create_order|enqueue_order|submit_order|check_order|quote_order|add_designs|resubmit_order|cancel_order|upload_asset|assets?)$'),
  (3, 'Follow orders', NULL,
   '^cs_(orders?|order_(status|tracking|lines|events|attempts)|shipments|queue|resolve_order|adopt_queue|resume)$'),
  (4, 'Webhooks', NULL, 'webhook|signature'),
  (5, 'Operate', NULL, '^cs_(stat_|health|progress|prune|version|error)');

-- One row for each heading; a view and functions may share a name.
CREATE TEMP TABLE objects AS
  SELECT o.*, s.place
    FROM (SELECT c.relname::text AS name, 'r' AS kind, c.oid, obj_description(c.oid, 'pg_class') AS comment
            FROM pg_class AS c WHERE c.relkind IN ('r', 'v', 'm') AND c.relnamespace = 'public'::regnamespace
           UNION ALL
          SELECT p.proname, p.prokind, p.oid, obj_description(p.oid, 'pg_proc')
            FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace) AS o
    JOIN pg_depend AS d ON d.objid = o.oid AND d.deptype = 'e'
     AND d.refobjid = (SELECT e.oid FROM pg_extension AS e WHERE e.extname = 'cupsource')
     AND d.classid = CASE o.kind WHEN 'r' THEN 'pg_class'::regclass ELSE 'pg_proc'::regclass END
    LEFT JOIN sections AS s ON o.name ~ s.names;

DO $$
DECLARE
  lost text := (SELECT string_agg(name, ', ') FROM objects WHERE place IS NULL);
  twice text := (SELECT string_agg(name, ', ') FROM (SELECT name FROM objects GROUP BY name, oid HAVING count(*) > 1) AS o);
BEGIN
  IF lost IS NOT NULL OR twice IS NOT NULL THEN
    RAISE 'no section, or more than one, of scripts/reference.sql takes: %', concat_ws(', ', lost, twice);
  END IF;
END $$;

-- Prose: names of ours become links, what is code is set as code, errors begin a paragraph.
CREATE FUNCTION pg_temp.prose(comment text, heading text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text := regexp_replace(comment, '\. (Errors?:? )', E'.\n\n\\1', 'g');
  name text;
  shape text;
BEGIN
  result := regexp_replace(result, '([*<\\])', '\\\1', 'g');
  -- The shape of a JSON document is one piece of code: its underscores wait.
  FOR shape IN SELECT DISTINCT m[1] FROM regexp_matches(result, '(\[?\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}\]?)(?![\w/])', 'g') AS m LOOP
    CONTINUE WHEN result ~ ('/' || regexp_replace(shape, '([][{}|.?*+()\\])', '\\\1', 'g'));
    result := replace(result, shape, '`' || replace(shape, '_', chr(1)) || '`');
  END LOOP;
  result := regexp_replace(result, '(?<![\w.`/])((?:cupsource|cs_internal)\.[a-z_]+(?:\(\))?|PA[0-9n][0-9nx]{2}|0A000|(?:2[1-58]|39|4[02]|5[3-5])[0-9A-Z]{3}|HV[0-9A-Z]{3}|[a-z]+(?:_[a-z]+)*_[a-z]*(?:\(\))?|/[a-z]+/[\w/{}]+)(?![\w`])', '`\1`', 'g');
  FOR name IN SELECT DISTINCT o.name FROM objects AS o WHERE o.name <> heading LOOP
    result := regexp_replace(result, '`(' || name || '(?:\(\))?)`', '[`\1`](#' || name || ')', 'g');
  END LOOP;
  RETURN replace(result, chr(1), '_');
END $$;

CREATE FUNCTION pg_temp.type_name(type text) RETURNS text LANGUAGE sql AS $$
  SELECT replace(replace(type, 'timestamp with time zone', 'timestamptz'), 'character varying', 'varchar')
$$;

-- A signature as one would type it, on several lines if it is long.
CREATE FUNCTION pg_temp.signature(o objects) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  arguments text := regexp_replace(pg_temp.type_name(pg_get_function_arguments(o.oid)),
    '(DEFAULT (?:NULL|''[^'']*''))::[a-z ]+(\[\])?', '\1', 'g');
  returned text := pg_temp.type_name(pg_get_function_result(o.oid));
  line text;
BEGIN
  IF o.kind = 'p' THEN
    RETURN format('CALL %s(%s)', o.name, replace(arguments, 'IN ', ''));
  END IF;
  IF returned LIKE '%record' THEN
    returned := replace(returned, 'record', 'a row of the OUT columns');
  END IF;
  returned := regexp_replace(returned, '^TABLE\(', 'SETOF (');
  line := format('%s(%s) → %s', o.name, arguments, returned);
  IF length(line) > 100 THEN
    line := format(E'%s(\n    %s\n) → %s', o.name, regexp_replace(arguments, ', ', E',\n    ', 'g'),
                   CASE WHEN length(returned) > 90
                        THEN regexp_replace(regexp_replace(returned, '(\(|, )', E'\\1\n    ', 'g'), ' *\n', E'\n', 'g')
                        ELSE returned END);
  END IF;
  RETURN line;
END $$;

CREATE FUNCTION pg_temp.columns(relation oid, heading text) RETURNS text LANGUAGE sql AS $$
  SELECT E'| column | type | |\n|---|---|---|\n'
      || string_agg(format('| `%s` | `%s` | %s |', a.attname, pg_temp.type_name(format_type(a.atttypid, a.atttypmod)),
                           coalesce(replace(pg_temp.prose(col_description(relation, a.attnum), heading), '|', '\|'), '')),
                    E'\n' ORDER BY a.attnum)
    FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Rows that are no view's are shown with the first function that returns them.
CREATE FUNCTION pg_temp.entry(o objects) RETURNS text LANGUAGE sql AS $$
  SELECT CASE o.kind
    WHEN 'r' THEN format(E'*View.* %s\n\n%s\n', pg_temp.prose(o.comment, o.name), pg_temp.columns(o.oid, o.name))
    ELSE format(E'```\n%s\n```\n\n%s\n', pg_temp.signature(o), pg_temp.prose(o.comment, o.name))
      || coalesce((SELECT E'\n' || pg_temp.columns(t.typrelid, o.name) || E'\n'
                     FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype AND t.typnamespace = 'cs_internal'::regnamespace
                    WHERE p.oid = o.oid AND p.oid = (SELECT min(f.oid) FROM objects AS f WHERE f.name = o.name AND f.kind <> 'r')), '')
    END
$$;

-- A setting's value with its unit.
CREATE FUNCTION pg_temp.amount(value text, unit text) RETURNS text LANGUAGE sql AS $$
  SELECT CASE WHEN unit IS NULL THEN value
              WHEN unit = 'ms' AND value::bigint % 1000 = 0 THEN value::bigint / 1000 || ' s'
              WHEN unit = 'kB' AND value::bigint % 1024 = 0 THEN value::bigint / 1024 || ' MB'
              ELSE value || ' ' || unit END
$$;

\qecho '# Reference'
\qecho ''
\qecho '<!-- Written by "make docs" from the objects'' COMMENTs; do not edit. -->'
\qecho ''
\qecho 'Every function, view and setting of cupsource. The [README](../README.md) shows how they are used together, and has'
\qecho '[the errors](../README.md#errors) that several of them have, as of a server that is not there.'
\qecho ''
SELECT format(E'**%s**\n%s\n', s.title,
              (SELECT string_agg(format('[`%s`](#%s)', o.name, o.name), E' ·\n' ORDER BY o.name)
                 FROM (SELECT DISTINCT name FROM objects WHERE place = s.place) AS o))
  FROM sections AS s WHERE EXISTS (SELECT FROM objects AS o WHERE o.place = s.place)
 ORDER BY s.place;
\qecho '**Accounts and settings**'
\qecho '[foreign-data wrapper](#foreign-data-wrapper-cupsource) ·'
\qecho '[errors of the partners](#errors-of-the-partners) ·'
\qecho '[settings](#settings)'
\qecho ''
SELECT CASE WHEN o.first_of_section THEN format(E'## %s\n\n', s.title) || coalesce(s.intro || E'\n\n', '') ELSE '' END
    || CASE WHEN o.first_of_name THEN format(E'### %s\n\n', o.name) ELSE '' END
    || o.text
  FROM (SELECT pg_temp.entry(b) AS text, b.place, b.name, b.kind, b.oid,
               row_number() OVER (PARTITION BY b.place ORDER BY b.name, b.kind = 'r' DESC, b.oid) = 1 AS first_of_section,
               row_number() OVER (PARTITION BY b.name ORDER BY b.kind = 'r' DESC, b.oid) = 1 AS first_of_name
          FROM objects AS b) AS o
  JOIN sections AS s USING (place)
 ORDER BY o.place, o.name, o.kind = 'r' DESC, o.oid;
\qecho '## Foreign-data wrapper cupsource'
\qecho ''
SELECT pg_temp.prose(obj_description(w.oid, 'pg_foreign_data_wrapper'), '') || E'\n'
  FROM pg_foreign_data_wrapper AS w WHERE w.fdwname = 'cupsource';
\qecho 'The README has the meanings and defaults of [their options](../README.md#server-options), and what'
\qecho '[foreign tables](../README.md#as-tables) send to the partner.'
\qecho ''
\qecho '## Errors of the partners'
\qecho ''
\qecho 'What `cs_error_codes()` gives: a refusal has SQLSTATE `PA` and the HTTP status; a code in the partner''s answer'
\qecho 'chooses the hint. The [README](../README.md#errors) has the codes of what never was an answer.'
\qecho ''
\qecho '| API | code | SQLSTATE | meaning | hint |'
\qecho '|---|---|---|---|---|'
SELECT format('| %s | %s | `%s` | %s | %s |', string_agg(e.api, ', ' ORDER BY e.api), coalesce('`' || e.code || '`', 'any other'),
              e.sqlstate, replace(e.meaning, '|', '\|'), replace(coalesce(e.hint, ''), '|', '\|'))
  FROM cs_error_codes() WITH ORDINALITY AS e (api, code, status, sqlstate, meaning, hint, n)
 GROUP BY e.code, e.status, e.sqlstate, e.meaning, e.hint
 ORDER BY min(e.n);
\qecho ''
\qecho '## Settings'
\qecho ''
\qecho '| setting | default | set by | |'
\qecho '|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s |', s.name, pg_temp.amount(s.boot_val, s.unit),
              CASE s.context WHEN 'user' THEN 'everybody' WHEN 'superuser' THEN 'superusers'
                             WHEN 'sighup' THEN 'the configuration' WHEN 'postmaster' THEN 'the configuration, at start' END,
              replace(pg_temp.prose(concat_ws(' ', s.short_desc, s.extra_desc), ''), '|', '\|'))
  FROM pg_settings AS s
 WHERE s.name LIKE 'cupsource.%' AND s.name <> 'cupsource.crash'
 ORDER BY s.name;
