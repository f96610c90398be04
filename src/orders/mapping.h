/*
 * mapping.h
 *	  What the arguments of cs_submit_order() say: which part of the order
 *	  form comes from where in the row.
 */
#ifndef CS_ORDERS_MAPPING_H
#define CS_ORDERS_MAPPING_H

#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"

#include "src/base/compat.h"

/* Parts of the form, as what they are read. */
typedef enum CsPartKind
{
	CS_PART_NAME,					/* a server's name, not a column */
	CS_PART_TEXT,
	CS_PART_FLAG,					/* boolean */
	CS_PART_JSON
} CsPartKind;

typedef enum CsPart
{
	CS_PART_SERVER,
	CS_PART_SERVER_COLUMN,
	CS_PART_EXTERNAL_ID,
	CS_PART_LINES,
	CS_PART_SHIP_TO,
	CS_PART_OPTIONS,
	CS_PART_FIRST_OPTION,			/* from here on: members of options */
	CS_PART_BILL_TO = CS_PART_FIRST_OPTION,
	CS_PART_CUSTOMER,
	CS_PART_BRANDING,
	CS_PART_SHIPPING_METHOD,
	CS_PART_CURRENCY,
	CS_PART_PO_NUMBER,
	CS_PART_NET_TERMS,
	CS_PART_IS_GIFT,
	CS_PART_IS_RUSH,
	CS_PART_NOTES,
	CS_PART_EXTRA,
	CS_PARTS
} CsPart;

typedef struct CsPartName
{
	const char *key;
	CsPartKind	kind;
} CsPartName;

extern const CsPartName cs_parts[CS_PARTS];

/* Where a part comes from: a constant, a column, or a function of the row. */
typedef struct CsSource
{
	const char *argument;		/* as written; NULL: not mapped */
	const char *constant;		/* or NULL */
	int			attnum;			/* or 0 */
	SPIPlanPtr	plan;			/* or NULL */
	Oid			type;
	Oid			output;			/* of the type */
	bool		is_padded;		/* char(n): its trailing blanks mean nothing */
	bool		is_composite;
	bool		is_array;
} CsSource;

/*
 * The sources of all parts, CS_PARTS of them, for the trigger that is being
 * fired; they stay as they are until the current memory context is reset.
 * Throws 22023 naming an argument that makes no sense.
 */
extern const CsSource *cs_mapping_of(const TriggerData *trigger);

/*
 * The source's function has just returned this type.  It may have been dropped
 * and created anew since the mapping was read, which nothing tells us, and the
 * plan follows it by name.
 */
extern void cs_mapping_retype(const CsSource *source, Oid type);

pg_noreturn extern void cs_mapping_error(const char *argument, const char *why);

#endif							/* CS_ORDERS_MAPPING_H */
