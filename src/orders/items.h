/*
 * items.h
 *	  What the cached catalogue knows of the items that are ordered.
 */
#ifndef CS_ORDERS_ITEMS_H
#define CS_ORDERS_ITEMS_H

#include "postgres.h"

#include "foreign/foreign.h"

/* What an order calls an item by. */
typedef enum CsItemName
{
	CS_ITEM_SKU,
	CS_ITEM_PRODUCT_ID,
	CS_ITEM_VARIATION_ID,
	CS_ITEM_NAMES
} CsItemName;

/* As cs_parse_decimal reads it. */
typedef struct CsItemLimit
{
	const char *text;			/* NULL: not stated */
	int64		digits;
	int			scale;
} CsItemLimit;

typedef struct CsItemPlacement
{
	const char *placement;
	CsItemLimit max_width;		/* in inches */
	CsItemLimit max_height;
	int			nmethods;
	const char **methods;
} CsItemPlacement;

/* Strings are in the server's encoding. */
typedef struct CsItem
{
	Oid			serverid;
	CsItemName	name;
	const char *value;			/* the SKU or id */
	bool		known;
	bool		on_offer;
	int64		minimum;		/* order quantity; 0: not stated */
	int			nplacements;
	CsItemPlacement *placements;
	struct CsItem *next;		/* with the same hash */
} CsItem;

/* An item that is looked for: 'name' and 'value' in, 'item' out. */
typedef struct CsItemRequest
{
	CsItemName	name;
	const char *value;
	const CsItem *item;
} CsItemRequest;

/*
 * Finds them all; what is found is valid until the next call.  What this
 * process knows may be as old as the last page of a refresh, and where the
 * catalogue was written without one, some seconds older; 'fresh' asks anew.
 */
extern void cs_items_find(const ForeignServer *server, CsItemRequest *requests, int n,
						  bool fresh);

#endif							/* CS_ORDERS_ITEMS_H */
