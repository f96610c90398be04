/*
 * writer.h
 *	  Writing JSON bodies: text in, UTF-8 bytes out, numbers by their text.
 */
#ifndef CS_WIRE_WRITER_H
#define CS_WIRE_WRITER_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "src/wire/json.h"

/* Keys are written in the order of the calls; commas are the writer's business. */
typedef struct CsWriter
{
	StringInfoData out;			/* UTF-8 */
	bool		need_comma;
} CsWriter;

extern void cs_writer_init(CsWriter *writer);
/* The key is NULL in arrays; the bracket that opens, the bracket that closes. */
extern void cs_write_open(CsWriter *writer, const char *key, char bracket);
extern void cs_write_close(CsWriter *writer, char bracket);

/* 'utf8' NULL: nothing is written, not even the key. */
extern void cs_write_string(CsWriter *writer, const char *key, const char *utf8);
extern void cs_write_number(CsWriter *writer, const char *key, const char *number);
extern void cs_write_boolean(CsWriter *writer, const char *key, bool value);

/* A value read from elsewhere, as it is. */
extern void cs_write_json(CsWriter *writer, const char *key, const CsJson *value);

#endif							/* CS_WIRE_WRITER_H */
