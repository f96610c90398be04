/*
 * datum.h
 *	  JSON values → Datums by type, exactly or not at all.
 */
#ifndef CS_WIRE_DATUM_H
#define CS_WIRE_DATUM_H

#include "postgres.h"

#include "src/wire/json.h"

/* Bytes of the longest identifier that is taken. */
#define CS_IDENTIFIER_LIMIT 1000

typedef enum CsType
{
	CS_TYPE_TEXT,				/* a string */
	CS_TYPE_IDENTIFIER,			/* text; a string, not too long, or an integer (ids) */
	CS_TYPE_PROSE,				/* text; a string, or the JSON text of anything else */
	CS_TYPE_STOCK,				/* text; a string, an integer, or a boolean: in_stock */
	CS_TYPE_NUMERIC,			/* numeric; a number, by its text */
	CS_TYPE_BIGINT,				/* int8; an integral number that fits */
	CS_TYPE_INTEGER,			/* int4; an integral number that fits */
	CS_TYPE_BOOLEAN,			/* bool; true, 1, "true", "1", or their opposites */
	CS_TYPE_TIMESTAMPTZ,		/* a string in ISO 8601; without an offset: UTC */
	CS_TYPE_TEXT_ARRAY,			/* text[]; an array of strings */
	CS_TYPE_JSONB				/* anything, as jsonb */
} CsType;

extern Oid	cs_type_oid(CsType type);

/*
 * Converts 'value' (not NULL, not JSON null).  A number may be a string that is
 * one, "12.50": many serializers write decimals so.  Returns true and sets
 * *datum, allocated in the current context; or returns false and sets *problem
 * (palloc'd: "expected a number, got a string").  Throws only on out of
 * memory.  Independent of DateStyle and TimeZone.
 */
extern bool cs_datum_from_json(CsType type, const CsJson *value, Datum *datum, char **problem);

/* Is it what frameworks write for a time that there is not: 0001-01-01, 1970-01-01, 0000-00-00? */
extern bool cs_json_is_no_time(const CsJson *value);

/* UTF-8 of known length → text of the server's encoding; false if unconvertible. */
extern bool cs_text_from_utf8(const char *utf8, size_t length, Datum *datum, char **problem);

/* jsonb Datum → UTF-8 JSON text, palloc'd. */
extern char *cs_utf8_from_jsonb(Datum jsonb);

/* Server-encoded C string → UTF-8, palloc'd. */
extern char *cs_utf8_from_server(const char *string);

/* UTF-8 → server-encoded C string, palloc'd; unconvertible characters become "?". */
extern char *cs_server_from_utf8(const char *utf8, size_t length);

/*
 * UTF-8 JSON text → jsonb Datum, for what is kept as it came: unconvertible
 * characters become "?", since losing all of it for one would be worse.  Throws
 * what jsonb_in throws.
 */
extern Datum cs_jsonb_from_utf8(const char *utf8, size_t length);

#endif							/* CS_WIRE_DATUM_H */
