/*
 * cupsource.h
 *	  What Cup Source v1 and v2 share: the vendor's error table and the order
 *	  states that its documents leave unnamed.
 */
#ifndef CS_API_CUPSOURCE_H
#define CS_API_CUPSOURCE_H

#include "src/api/api.h"

extern const CsApiError cs_cupsource_errors[];
extern const CsOrderStatus cs_cupsource_statuses[];
extern const CsColumn cs_cupsource_created_columns[];
extern const char *const cs_cupsource_quote_required[];

/* An order.  'flags' of its id: who asked for it by that knows it. */
#define CS_CUPSOURCE_ORDER_COLUMNS(flags) \
	{"remote_id", CS_TYPE_IDENTIFIER, 0, "id|order_id|orderId", flags}, \
	{"order_number", CS_TYPE_IDENTIFIER, 0, "order_number|orderNumber|number"}, \
	{"remote_status", CS_TYPE_TEXT, 0, "status"}, \
	{"currency", CS_TYPE_TEXT, 0, "currency|totals.currency"}, \
	{"items_subtotal", CS_TYPE_NUMERIC, 0, "subtotal|totals.subtotal"}, \
	{"shipping_cost", CS_TYPE_NUMERIC, 0, "shipping_cost|totals.shipping"}, \
	{"total", CS_TYPE_NUMERIC, 0, "total|totals.total|grand_total|total_amount"}, \
	{"remote_created_at", CS_TYPE_TIMESTAMPTZ, 0, "created_at|createdAt"}

#endif							/* CS_API_CUPSOURCE_H */
