/*
 * tokens.h
 *	  Access tokens (JWT) per account, shared by all processes, with a single
 *	  refresher at a time.
 */
#ifndef CS_SHARED_TOKENS_H
#define CS_SHARED_TOKENS_H

#include "src/shared/shmem.h"
#include "utils/timestamp.h"

#define CS_TOKEN_MAX_LENGTH 4096	/* a longer token is an error that says so */

typedef enum CsTokenTurn
{
	CS_TOKEN_HAVE,				/* a valid token was copied out */
	CS_TOKEN_REFRESH,			/* the caller must fetch one, and then store or abandon */
	CS_TOKEN_WAIT				/* another process is fetching: ask again */
} CsTokenTurn;

/*
 * A valid token (expiring no sooner than a minute from now, or than a tenth of
 * its life if that is less) is copied to 'token', of CS_TOKEN_MAX_LENGTH + 1
 * bytes.  With REFRESH the turn is the caller's until it stores or abandons;
 * a turn is lost after 'turn_ms', so that a killed process blocks nobody.
 */
extern CsTokenTurn cs_token_get(CsSharedAccount *account, char *token, int turn_ms);
extern void cs_token_store(CsSharedAccount *account, const char *token, TimestampTz expires);
extern void cs_token_abandon(CsSharedAccount *account);

/* The API refused this token with 401: forget it, if it is still the stored one. */
extern void cs_token_reject(CsSharedAccount *account, const char *token);

/* When the stored token was obtained and expires; false without one. */
extern bool cs_token_times(CsSharedAccount *account, TimestampTz *obtained, TimestampTz *expires);

#endif							/* CS_SHARED_TOKENS_H */
