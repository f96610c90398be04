/*
 * insert.h
 *	  A new order's row, without planning a statement for it.
 */
#ifndef CS_ORDERS_INSERT_H
#define CS_ORDERS_INSERT_H

#include "postgres.h"

/* The columns that a new order gives; the table's defaults fill the others. */
typedef enum CsOrderColumn
{
	CS_ORDER_ID,				/* by default always, and read back */
	CS_ORDER_SERVER,
	CS_ORDER_EXTERNAL_ID,
	CS_ORDER_LINES,
	CS_ORDER_SHIP_TO,
	CS_ORDER_OPTIONS,
	CS_ORDER_REPLACES,
	CS_ORDER_CREATED_BY,
	CS_ORDER_ORIGIN,
	CS_ORDER_COLUMNS
} CsOrderColumn;

/*
 * Inserts the row, as the owner of the table, and makes it visible to the
 * commands that follow; *id is then the order's.  'nulls' as for SPI; the
 * values at CS_ORDER_ID are not looked at.
 *
 * Returns false, with nothing done, if an INSERT ... ON CONFLICT has to see to
 * it: there is, or may soon be, an order with this external id, or somebody
 * has put upon the table what only the executor knows how to serve.
 */
extern bool cs_order_insert(const Datum *values, const char *nulls, int64 *id);

#endif							/* CS_ORDERS_INSERT_H */
