/*
 * sign.c
 *	  Digests by the server's own cryptographic library.
 *
 * The server's hash contexts belong to the current resource owner, so these
 * functions are called inside a transaction.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "utils/resowner.h"

#include "src/wire/sign.h"

static void
throw_failure(const char *what, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYSTEM_ERROR),
			 errmsg("could not compute %s", what),
			 errdetail("The server's cryptographic library reports: %s.", reason)));
}

void
cs_sha256(const void *data, size_t length, uint8 digest[CS_SHA256_LENGTH])
{
	pg_cryptohash_ctx *hash;

	Assert(CurrentResourceOwner != NULL);
	hash = pg_cryptohash_create(PG_SHA256);
	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, data, length) < 0 ||
		pg_cryptohash_final(hash, digest, CS_SHA256_LENGTH) < 0)
		throw_failure("SHA-256", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);
}

void
cs_hmac_sha256(const void *key, size_t key_length, const void *data, size_t length,
			   uint8 mac[CS_SHA256_LENGTH])
{
	pg_hmac_ctx *hmac;

	Assert(CurrentResourceOwner != NULL);
	hmac = pg_hmac_create(PG_SHA256);
	if (pg_hmac_init(hmac, key, key_length) < 0 ||
		pg_hmac_update(hmac, data, length) < 0 ||
		pg_hmac_final(hmac, mac, CS_SHA256_LENGTH) < 0)
		throw_failure("HMAC-SHA256", pg_hmac_error(hmac));
	pg_hmac_free(hmac);
}

/* 'difference' is volatile lest the compiler find out that it may leave early. */
bool
cs_equal_constant_time(const uint8 *a, const uint8 *b, size_t length)
{
	volatile uint8 difference = 0;

	for (size_t i = 0; i < length; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

char *
cs_hex(const uint8 *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char	   *hex = palloc(length * 2 + 1);

	for (size_t i = 0; i < length; i++)
	{
		hex[i * 2] = digits[bytes[i] >> 4];
		hex[i * 2 + 1] = digits[bytes[i] & 0x0f];
	}
	hex[length * 2] = '\0';
	return hex;
}
