/*
 * auth.h
 *	  The Authorization header of an account: its key, or a token exchanged
 *	  for it.  The only place that puts a secret into a request.
 */
#ifndef CS_CLIENT_AUTH_H
#define CS_CLIENT_AUTH_H

#include "postgres.h"

#include "src/client/account.h"
#include "src/wire/http.h"

typedef struct CsAuth CsAuth;

extern CsAuth *cs_auth_begin(MemoryContext cxt, CsAccount *account, int timeout_ms);

/*
 * True when there is an outcome: cs_auth_header or cs_auth_failure.  Else
 * *wait_ms as in cs_call_advance.
 */
extern bool cs_auth_advance(CsAuth *auth, long *wait_ms);

/* "Authorization: Bearer …"; NULL on failure.  Valid until the next cs_auth_rejected. */
extern const char *cs_auth_header(const CsAuth *auth);

/*
 * Delivery is that of the request which the header was for: NOT_SENT if
 * another try may do, ANSWERED if the credentials were refused.
 */
extern const CsFailure *cs_auth_failure(const CsAuth *auth);

/* Is it this process that gets a token now? */
extern bool cs_auth_exchanging(const CsAuth *auth);

/* Time has passed since there was an outcome: forget it and advance again. */
extern void cs_auth_again(CsAuth *auth);

/* The API answered 401 to this header: true if another try makes sense. */
extern bool cs_auth_rejected(CsAuth *auth);

/* The secrets of the account and the token: at most CS_ACCOUNT_SECRETS + 1; how many. */
extern int	cs_auth_secrets(const CsAuth *auth, const char **secrets);

#endif							/* CS_CLIENT_AUTH_H */
