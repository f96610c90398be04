/*
 * country.h
 *	  The countries of ISO 3166-1.
 */
#ifndef CS_API_COUNTRY_H
#define CS_API_COUNTRY_H

#include "postgres.h"

/* Is this an alpha-2 code that is officially assigned? */
extern bool cs_is_country(const char *code);

#endif							/* CS_API_COUNTRY_H */
