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

#endif							/* CS_API_CUPSOURCE_H */
