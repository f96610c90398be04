# update.awk: the update script from an earlier version.
#
#   awk -f scripts/update.awk OLD CHANGES NEW
#
# OLD and NEW are install scripts.  What NEW has and OLD has not, or has
# otherwise, is written in NEW's order, so that functions, views, indexes and
# comments need no second copy by hand.  What cannot be told from the scripts,
# above all what becomes of tables with rows in them and of functions that are
# gone, stands in CHANGES; its part behind the line "-- AFTERWARDS" comes last.
# What CHANGES drops is made anew with its comments and rights, while the
# rights of what stays are left as a DBA has set them.

# A whole statement, in lines as in its file.
function statement(text)
{
	key = text
	gsub(/\/\*[^*]*(\*[^\/][^*]*)*\*\//, " ", key)
	gsub(/(^|\n)[ \t]*--[^\n]*/, "\n", key)
	gsub(/[ \t\n]+/, " ", key)
	sub(/^ /, "", key)
	if (key == "")
		return
	if (file == 1)
	{
		old[key] = 1
		old_object[object(key)] = 1
	}
	else
		emit(key)
}

# "FUNCTION s.f" of a CREATE; "" of anything else.
function object(key,    words, n)
{
	n = split(key, words, /[ (]/)
	if (words[1] != "CREATE")
		return ""
	if (words[2] == "UNIQUE")
		return words[3] " " words[4]
	if (words[2] == "FOREIGN")
		return words[2] " " words[5]
	return words[2] " " words[3]
}

# Is the statement about an object that CHANGES drops?
function is_dropped(key,    about, name, words)
{
	if (key ~ /^CREATE /)
	{
		about = object(key)
		sub(/^[A-Z]+ /, "", about)
	}
	else if (match(key, / ON (FUNCTION |PROCEDURE |VIEW |COLUMN )?[^ (;]+/))
	{
		split(substr(key, RSTART + 4, RLENGTH - 4), words, " ")
		about = words[2] == "" ? words[1] : words[2]
		if (words[1] == "COLUMN")
			sub(/\.[^.]*$/, "", about)
	}
	return about in dropped
}

function emit(key,    made)
{
	made = object(key)
	if (key in old && !(key ~ /^(CREATE|COMMENT|REVOKE|GRANT|ALTER VIEW)/ && is_dropped(key)))
		return
	if (made in old_object && !is_dropped(key))
	{
		# These are for CHANGES.
		if (made ~ /^(TABLE|TYPE|FOREIGN|SEQUENCE|SCHEMA) /)
			return
		if (made ~ /^INDEX /)
			print "DROP INDEX cs_internal." substr(made, 7) ";"
	}
	if (made in old_object && !is_dropped(key) && made ~ /^(FUNCTION|PROCEDURE|VIEW) /)
		sub(/^CREATE /, "CREATE OR REPLACE ", text)
	if (key !~ /^SET LOCAL search_path/)
		print text "\n"
}

BEGIN { text = "" }

FNR == 1 { file++ }
file == 3 && FNR == 1 {
	print "\\echo Use \"ALTER EXTENSION cupsource UPDATE\" to load this file. \\quit\n"
	print "SET LOCAL search_path TO pg_catalog, pg_temp;\n"
	print first
}

/^\\/ { next }

file == 2 {
	if ($0 == "-- AFTERWARDS")
		afterwards = 1
	else if (afterwards)
		last = last $0 "\n"
	else
		first = first $0 "\n"
	if (match($0, /^DROP (FUNCTION|PROCEDURE|VIEW|TABLE|TYPE) [^ (;]+/))
	{
		split(substr($0, RSTART, RLENGTH), words, " ")
		dropped[words[3]] = 1
	}
	next
}

# Between statements: comments are left out.
text == "" && /^[ \t]*$/ { next }
text == "" && /^\/\*/ { comment = 1 }
comment {
	if (/\*\//)
		comment = 0
	next
}
text == "" && /^--/ { next }

{
	text = text (text == "" ? "" : "\n") $0
	quotes += gsub(/\$\$/, "&")
	if (/^BEGIN ATOMIC/ && quotes % 2 == 0)
		atomic = 1
	if (quotes % 2 == 0 && atomic && /END;$/ && $0 !~ /^[ \t]/)
		atomic = 0
	if (quotes % 2 == 0 && !atomic && /;([ \t]*--.*)?$/)
	{
		statement(text)
		text = ""
		quotes = 0
	}
}

END { print last }
