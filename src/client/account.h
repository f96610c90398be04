/*
 * account.h
 *	  A foreign server and a role's user mapping, resolved: one partner account.
 */
#ifndef CS_CLIENT_ACCOUNT_H
#define CS_CLIENT_ACCOUNT_H

#include "postgres.h"

#include "src/api/api.h"
#include "src/client/server.h"
#include "src/shared/shmem.h"

#define CS_ACCOUNT_SECRETS 3

/* The default of the server option "poll_interval". */
#define CS_ACCOUNT_POLL_INTERVAL_S 60

typedef struct CsAccount
{
	Oid			serverid;
	Oid			userid;			/* whose mapping it is */
	Oid			mappingid;		/* his, or that of PUBLIC */
	uint64		fingerprint;	/* of the options of both, see secret.h */
	int64		identity;		/* of partner, addresses, environment and key: what it reads is one catalogue */
	char	   *server;			/* name, server encoding */
	const CsApi *api;
	char	   *base_url;		/* without a trailing slash */
	char	   *auth_url;		/* likewise; or NULL */
	char	   *environment;	/* or NULL: live */
	char	   *ca_file;		/* or NULL: the system's */
	int			rate_limit;		/* per minute; 0: none */
	int			concurrency;	/* transfers of the worker at once */
	int			poll_interval_s;	/* between two looks at an open order */
	int			refresh_interval_s; /* of the catalogue; 0: by hand only */
	int			detail_budget;	/* details of unchanged models that a refresh reads; -1: a share */
	bool		retry_uncertain;	/* send again although it may have been placed */
	CsSharedAccount *shared;	/* budget and token */

	/* Secrets.  Only auth.c and webhooks read them; NULL if not given. */
	char	   *api_key;
	char	   *secret_key;
	char	   *webhook_secret;

	bool		valid;			/* false: options changed; finish, but start nothing new with it */
	int			holders;
	MemoryContext cxt;
} CsAccount;

/*
 * The account of 'userid' on that server, from the process's cache.  Throws
 * when 'userid' has no USAGE on the server any more, or the mapping or a
 * secret is missing, naming server, role and option.  It is held until 'cxt'
 * is reset or deleted.  Needs a transaction.
 */
extern CsAccount *cs_account_get(MemoryContext cxt, Oid serverid, Oid userid);

/* The cached account must be read anew (the API refuses its credentials). */
extern void cs_account_forget(CsAccount *account);

/* Secrets of the account, for cs_redact: fills at most CS_ACCOUNT_SECRETS, returns how many. */
extern int	cs_account_secrets(const CsAccount *account, const char **secrets);

#endif							/* CS_CLIENT_ACCOUNT_H */
