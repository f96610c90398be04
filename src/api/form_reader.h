/*
 * form_reader.h
 *	  Objects of the order form → structs, by tables of fields.
 */
#ifndef CS_API_FORM_READER_H
#define CS_API_FORM_READER_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "src/api/finding.h"
#include "src/api/form.h"
#include "src/api/form_value.h"

typedef enum CsFieldKind
{
	CS_FIELD_STRING,			/* const char * */
	CS_FIELD_IDENTIFIER,		/* const char *: a string or an integer */
	CS_FIELD_UUID,				/* const char * */
	CS_FIELD_COUNTRY,			/* const char *: ISO 3166-1 alpha-2 */
	CS_FIELD_DAYS,				/* const char *: a number of days, as a string or a number */
	CS_FIELD_CURRENCY,			/* const char *: three letters */
	CS_FIELD_URL,				/* const char *: https, of a PNG or JPEG file */
	CS_FIELD_TIME,				/* const char *: ISO 8601 with offset */
	CS_FIELD_QUANTITY,			/* const char *: the text of an integer */
	CS_FIELD_MEASURE,			/* const char *: the text of a number */
	CS_FIELD_FLAG,				/* const char *: "true" or "false" */
	CS_FIELD_OBJECT,			/* const CsValue * */
	CS_FIELD_LIST				/* const CsValue * */
} CsFieldKind;

/* A field of a part of the form; a table of them is ended by a NULL name. */
typedef struct CsField
{
	const char *name;
	CsFieldKind kind;
	size_t		offset;			/* in the part's struct */
} CsField;

/* One reading: where it is, and everything that was found wrong so far. */
typedef struct CsFormReader
{
	const CsApi *api;			/* NULL: of no API, without its limits */
	const char *const *fields;	/* what it can express; NULL: every field */
	const char *const *required;	/* or NULL */
	bool		url_required;	/* false in a quote */
	StringInfoData place;		/* "lines[0].designs", in the server's encoding */
	CsFindings *findings;
} CsFormReader;

extern void cs_form_reader_init(CsFormReader *reader, const CsApi *api,
								const char *const *fields, const char *const *required,
								CsFindings *findings);

/* Goes to a member, or to an element if 'name' is NULL; returns the way back for cs_form_leave. */
extern int	cs_form_enter(CsFormReader *reader, const char *name, int index);
extern void cs_form_leave(CsFormReader *reader, int mark);

/* Notes what is wrong at the present place. */
extern void cs_form_complain(CsFormReader *reader, const char *format,...)
			pg_attribute_printf(2, 3);
extern void cs_form_complain_by(CsFormReader *reader, CsRule rule, const char *format,...)
			pg_attribute_printf(3, 4);

/* The same of what is only doubtful. */
extern void cs_form_warn(CsFormReader *reader, CsRule rule, const char *format,...)
			pg_attribute_printf(3, 4);

/* Of a member of the place, whose name is UTF-8 and may be anything. */
extern void cs_form_complain_of(CsFormReader *reader, const char *name, const char *format,...)
			pg_attribute_printf(3, 4);

/*
 * Reads 'object', which stands at the present place, as the part whose fields
 * the descriptors name 'part' + name ("lines." + "sku").  'target' is the
 * part's struct, zeroed.  False if it is no object at all.
 */
extern bool cs_form_read_part(CsFormReader *reader, const char *part, const CsField *fields,
							  const CsValue *object, void *target);

/* Does the API demand this field? */
extern bool cs_form_requires(const CsFormReader *reader, const char *part, const char *name);

/* Can the API express this field, or a field of this part? */
extern bool cs_form_expresses(const CsFormReader *reader, const char *part, const char *name);

#endif							/* CS_API_FORM_READER_H */
