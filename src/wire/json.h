/*
 * json.h
 *	  Reading JSON answers: json-c behind an opaque type.
 *
 * A document is parsed whole and belongs to the memory context given to
 * cs_json_parse: resetting it frees the tree.  Every other CsJson pointer is
 * borrowed from its document.
 *
 * Numbers keep the text they were sent with.  Strings are UTF-8 and free of
 * NUL; conversion to the server's encoding is datum.c's.
 */
#ifndef CS_WIRE_JSON_H
#define CS_WIRE_JSON_H

#include "postgres.h"

typedef struct CsJson CsJson;

typedef enum CsJsonType
{
	CS_JSON_NULL,
	CS_JSON_BOOLEAN,
	CS_JSON_INTEGER,
	CS_JSON_DOUBLE,
	CS_JSON_STRING,
	CS_JSON_ARRAY,
	CS_JSON_OBJECT
} CsJsonType;

#define CS_JSON_MAX_DEPTH 32

/*
 * Lexical check, before a tree is made (src/wire/json_scan.c): valid
 * UTF-8 without NUL, strings without raw control characters, \u0000 or lone
 * surrogates, RFC 8259 numbers and literals, depth within CS_JSON_MAX_DEPTH.
 * Returns NULL if sound, else what is wrong, with *offset at the place.
 */
extern const char *cs_json_scan(const char *text, size_t length, size_t *offset);

/*
 * Parses one complete document.  Returns NULL and sets *problem (palloc'd in
 * 'cxt': what is wrong and at which byte) if it is not sound JSON; a number
 * that json-c could only saturate is refused so.  Throws only on out of memory.
 */
extern const CsJson *cs_json_parse(MemoryContext cxt, const char *text, size_t length,
								   char **problem);

extern CsJsonType cs_json_type(const CsJson *value);	/* NULL pointer: CS_JSON_NULL */
extern const char *cs_json_type_name(CsJsonType type);	/* "string", "number", … */

/* Member of an object; NULL if absent, JSON null, or 'object' is not an object. */
extern const CsJson *cs_json_get(const CsJson *object, const char *key);

/* The same along a dotted path: "pricing.unit_price". */
extern const CsJson *cs_json_path(const CsJson *object, const char *path);

/* Is there a member at the end of the dotted path, and is it JSON null? */
extern bool cs_json_is_null(const CsJson *object, const char *path);

extern size_t cs_json_length(const CsJson *array);	/* 0 unless an array */
extern const CsJson *cs_json_at(const CsJson *array, size_t index);

/* Members in document order: fn(key, value, arg) for each. */
typedef void (*CsJsonMemberCallback) (const char *key, const CsJson *value, void *arg);
extern void cs_json_each(const CsJson *object, CsJsonMemberCallback callback, void *arg);
extern size_t cs_json_members(const CsJson *object);

/* The string and its length; NULL unless a string.  NUL-terminated. */
extern const char *cs_json_string(const CsJson *value, size_t *length);

/* The number as text, exactly as sent for doubles; NULL unless a number. */
extern const char *cs_json_number(const CsJson *value);

/* Integers that fit; false otherwise. */
extern bool cs_json_int64(const CsJson *value, int64 *result);
extern bool cs_json_boolean(const CsJson *value, bool *result);

/* A truth as frameworks write it: true, 1, "true", "1"; false if it is none of those. */
extern bool cs_json_truth(const CsJson *value, bool *truth);

/* Compact JSON text of a value (UTF-8), palloc'd. */
extern char *cs_json_text(const CsJson *value);

/* json-c's version, as it runs. */
extern const char *cs_json_library(void);

#endif							/* CS_WIRE_JSON_H */
