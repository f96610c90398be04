/*
 * writer.c
 *	  JSON bodies, piece by piece: compact, in the order of the calls.
 *
 * Input is UTF-8 that was checked where it came in; numbers are written by
 * their text.  The slash is not escaped: partners sign and compare bytes.
 */
#include "postgres.h"

#include "src/wire/writer.h"

static void
write_quoted(StringInfo out, const char *utf8)
{
	const char *run = utf8;
	const char *p = utf8;

	appendStringInfoChar(out, '"');
	for (; *p; p++)
	{
		unsigned char c = *p;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		appendBinaryStringInfo(out, run, p - run);
		run = p + 1;
		switch (c)
		{
			case '"':
				appendStringInfoString(out, "\\\"");
				break;
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\b':
				appendStringInfoString(out, "\\b");
				break;
			case '\f':
				appendStringInfoString(out, "\\f");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
				break;
		}
	}
	appendBinaryStringInfo(out, run, p - run);
	appendStringInfoChar(out, '"');
}

/* The comma that is due, and the key; then the value may follow. */
static void
begin_value(CsWriter *writer, const char *key)
{
	if (writer->need_comma)
		appendStringInfoChar(&writer->out, ',');
	if (key)
	{
		write_quoted(&writer->out, key);
		appendStringInfoChar(&writer->out, ':');
	}
	writer->need_comma = true;
}

void
cs_writer_init(CsWriter *writer)
{
	initStringInfo(&writer->out);
	writer->need_comma = false;
}

void
cs_write_open(CsWriter *writer, const char *key, char bracket)
{
	Assert(bracket == '{' || bracket == '[');
	begin_value(writer, key);
	appendStringInfoChar(&writer->out, bracket);
	writer->need_comma = false;
}

void
cs_write_close(CsWriter *writer, char bracket)
{
	Assert(bracket == '}' || bracket == ']');
	appendStringInfoChar(&writer->out, bracket);
	writer->need_comma = true;
}

void
cs_write_string(CsWriter *writer, const char *key, const char *utf8)
{
	if (utf8 == NULL)
		return;
	begin_value(writer, key);
	write_quoted(&writer->out, utf8);
}

void
cs_write_number(CsWriter *writer, const char *key, const char *number)
{
	if (number == NULL)
		return;
	begin_value(writer, key);
	appendStringInfoString(&writer->out, number);
}

void
cs_write_boolean(CsWriter *writer, const char *key, bool value)
{
	begin_value(writer, key);
	appendStringInfoString(&writer->out, value ? "true" : "false");
}

void
cs_write_json(CsWriter *writer, const char *key, const CsJson *value)
{
	char	   *text = cs_json_text(value);

	begin_value(writer, key);
	appendStringInfoString(&writer->out, text);
	pfree(text);
}
