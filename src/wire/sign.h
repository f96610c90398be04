/*
 * sign.h
 *	  HMAC-SHA256, SHA-256 and comparison in constant time, by the server's
 *	  own cryptographic library (common/hmac.h, common/cryptohash.h).  The
 *	  digests need a resource owner: call them inside a transaction.
 */
#ifndef CS_WIRE_SIGN_H
#define CS_WIRE_SIGN_H

#include "postgres.h"

#define CS_SHA256_LENGTH 32

extern void cs_sha256(const void *data, size_t length, uint8 digest[CS_SHA256_LENGTH]);
extern void cs_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
						   uint8 mac[CS_SHA256_LENGTH]);
extern bool cs_equal_constant_time(const uint8 *a, const uint8 *b, size_t length);

/*
 * The signature in a header's value: hexadecimal or base64, with or without
 * "sha256=".  False if it is none.  Does not throw.
 */
extern bool cs_signature_read(const char *text, size_t length, uint8 mac[CS_SHA256_LENGTH]);

extern char *cs_hex(const uint8 *bytes, size_t length);

#endif							/* CS_WIRE_SIGN_H */
