/*
 * errors.c
 *	  Failures as values, their SQLSTATEs, and texts from outside made fit to
 *	  be shown.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "src/base/errors.h"

/* Indexed by CsFailureKind. */
static const struct
{
	const char *name;
	int			sqlstate;
}			failure_kinds[] =
{
	{"none", ERRCODE_SUCCESSFUL_COMPLETION},
	{"resolve", CS_ERRCODE_RESOLVE},
	{"connect", CS_ERRCODE_CONNECT},
	{"tls", CS_ERRCODE_TLS},
	{"timeout", CS_ERRCODE_TIMEOUT},
	{"connection_lost", CS_ERRCODE_CONNECTION_LOST},
	{"malformed", CS_ERRCODE_MALFORMED},
	{"too_large", CS_ERRCODE_TOO_LARGE},
	{"redirect", CS_ERRCODE_REDIRECT},
	{"refused", 0},				/* by its status */
	{"rate_limit_wait", CS_ERRCODE_RATE_LIMIT_WAIT},
	{"out_of_memory", ERRCODE_OUT_OF_MEMORY},
};

int
cs_errcode_status(int status)
{
	Assert(status >= 100 && status <= 999);
	return MAKE_SQLSTATE('P', 'A', '0' + status / 100, '0' + status / 10 % 10, '0' + status % 10);
}

int
cs_failure_sqlstate(CsFailureKind kind, int status)
{
	StaticAssertStmt(lengthof(failure_kinds) == CS_FAILURE_OUT_OF_MEMORY + 1,
					 "a kind of failure has no SQLSTATE");
	if (kind == CS_FAILURE_REFUSED)
		return status >= 100 && status <= 999 ? cs_errcode_status(status) : CS_ERRCODE_MALFORMED;
	return failure_kinds[kind].sqlstate;
}

const char *
cs_failure_kind_name(CsFailureKind kind)
{
	return failure_kinds[kind].name;
}

void
cs_failure_throw(const CsFailure *failure)
{
	Assert(failure->kind != CS_FAILURE_NONE && failure->message != NULL);
	ereport(ERROR,
			(errcode(failure->sqlstate),
			 errmsg_internal("%s", failure->message),
			 failure->detail ? errdetail_internal("%s", failure->detail) : 0,
			 failure->hint ? errhint("%s", failure->hint) : 0));
	pg_unreachable();
}

/* The length of the sound UTF-8 character at 'p', or 0. */
static int
sound_character(const unsigned char *p, size_t left)
{
	int			length = pg_utf_mblen(p);

	return (size_t) length <= left && pg_utf8_islegal(p, length) ? length : 0;
}

char *
cs_printable(const char *text, size_t length, size_t limit)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + length;
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	StringInfoData out;

	initStringInfo(&out);
	while (p < end)
	{
		int			char_length = 1;

		if (*p >= 0x80 && utf8)
			char_length = sound_character(p, end - p);
		if ((size_t) out.len + Max(char_length, 1) > limit)
		{
			appendStringInfoString(&out, "...");
			break;
		}
		if (*p < 0x20 || *p == 0x7f)
			appendStringInfoChar(&out, ' ');
		else if (*p < 0x80 || (utf8 && char_length > 0))
			appendBinaryStringInfo(&out, (const char *) p, char_length);
		else
			appendStringInfoChar(&out, '?');
		p += Max(char_length, 1);
	}
	return out.data;
}

char *
cs_redact(const char *text, const char *const *secrets, int nsecrets)
{
	StringInfoData out;

	initStringInfo(&out);
	while (*text)
	{
		size_t		skip = 0;

		for (int i = 0; i < nsecrets; i++)
		{
			size_t		length = secrets[i] ? strlen(secrets[i]) : 0;

			if (length >= 4 && length > skip && strncmp(text, secrets[i], length) == 0)
				skip = length;
		}
		if (skip > 0)
		{
			appendStringInfoString(&out, "<redacted>");
			text += skip;
		}
		else
			appendStringInfoChar(&out, *text++);
	}
	return out.data;
}
