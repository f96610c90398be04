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
extern const char *cs_auth_header(const CsAuth *auth);	/* "Authorization: Bearer …"; NULL on failure */
extern const CsFailure *cs_auth_failure(const CsAuth *auth);

/* The API answered 401 to this header: true if another try makes sense. */
extern bool cs_auth_rejected(CsAuth *auth);

#endif							/* CS_CLIENT_AUTH_H */
