/*
 * account.c
 *	  A foreign server and a role's user mapping, resolved: one partner account.
 *
 * Accounts are cached per process by server and role.  A change of any
 * server, user mapping or wrapper marks all of them: such changes are rare,
 * and an account that uses the mapping of PUBLIC would not notice by its hash
 * that its role got one of its own.  A marked account lives on until its last
 * holder's memory context is gone; the next cs_account_get builds a new one.
 * Secrets in files are read when an account is built; a changed file, as seen
 * by stat at each cs_account_get, marks it too.
 */
#include "postgres.h"

#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "src/client/account.h"
#include "src/client/options.h"
#include "src/client/secret.h"
#include "src/wire/sign.h"

#define DEFAULT_CONCURRENCY 8

/* An account as it is cached; CsAccount is what others see of it. */
typedef struct CachedAccount
{
	CsAccount	public;
	bool		cached;			/* the table leads to it */
	CsSecretFile files[CS_ACCOUNT_SECRETS];
} CachedAccount;

/* No padding: it is hashed as bytes. */
typedef struct AccountId
{
	Oid			serverid;
	Oid			userid;
} AccountId;

typedef struct AccountEntry
{
	AccountId	id;				/* must be first */
	CachedAccount *account;		/* or NULL */
} AccountEntry;

typedef struct AccountHold
{
	MemoryContextCallback callback;
	CachedAccount *account;
} AccountHold;

/* The secrets of a user mapping, in the order of CachedAccount.files. */
static const struct
{
	const char *option;
	size_t		offset;			/* in CsAccount */
}			secret_options[CS_ACCOUNT_SECRETS] =
{
	{"api_key", offsetof(CsAccount, api_key)},
	{"secret_key", offsetof(CsAccount, secret_key)},
	{"webhook_secret", offsetof(CsAccount, webhook_secret)},
};

static HTAB *account_table = NULL;
static uint64 invalidations = 0;	/* how often mark_accounts was called */

static char **
secret_place(CsAccount *account, int i)
{
	return (char **) ((char *) account + secret_options[i].offset);
}

/* Does every secret file still look as it did when it was read? */
static bool
files_unchanged(const CachedAccount *account)
{
	for (int i = 0; i < CS_ACCOUNT_SECRETS; i++)
		if (account->files[i].path && !cs_secret_file_unchanged(&account->files[i]))
			return false;
	return true;
}

/* ---- Building an account ---- */

/* The options that the account needs, as one writes them: "api_key '...', secret_key '...'". */
static const char *
needed_secrets(const CsApi *api)
{
	return api->auth == CS_AUTH_TOKEN_EXCHANGE ? "api_key '...', secret_key '...'" :
		"api_key '...'";
}

static void
refuse_no_mapping(const CsAccount *account)
{
	const char *role = GetUserNameFromId(account->userid, false);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no user mapping for role \"%s\" on server \"%s\"",
					role, account->server),
			 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS (%s);",
					 quote_identifier(role), quote_identifier(account->server),
					 needed_secrets(account->api))));
}

static void
refuse_no_secret(const CsAccount *account, const char *option)
{
	const char *role = GetUserNameFromId(account->userid, false);

	ereport(ERROR,
			(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
			 errmsg("the user mapping for role \"%s\" on server \"%s\" lacks the option \"%s\"",
					role, account->server, option),
			 errhint("ALTER USER MAPPING FOR %s SERVER %s OPTIONS (ADD %s '...'); "
					 "if the mapping is that of PUBLIC, alter it FOR PUBLIC.",
					 quote_identifier(role), quote_identifier(account->server), option)));
}

/*
 * A URL is checked again: the validator has seen it, but this is where
 * credentials go.
 */
static char *
checked_url(const CsAccount *account, const char *option, const char *url)
{
	const char *problem = NULL;
	char	   *result;

	if (url == NULL)
		return NULL;
	result = cs_url_normalise(url, &problem);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" of server \"%s\" is not usable", option, account->server),
				 errdetail_internal("%s", problem)));
	return result;
}

static char *
copy_or_null(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static void
set_server_options(CsAccount *account, List *options)
{
	const char *api = cs_option_text(options, "api");
	const char *base_url = cs_option_text(options, "base_url");
	const char *auth_url = cs_option_text(options, "auth_url");
	const char *environment = cs_option_text(options, "environment");

	account->api = api ? cs_api_find(api) : NULL;
	if (account->api == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("server \"%s\" lacks a valid option \"%s\"", account->server, "api")));
	account->base_url = checked_url(account, "base_url",
									base_url ? base_url : account->api->base_url);
	account->auth_url = checked_url(account, "auth_url",
									auth_url ? auth_url : account->api->auth_url);
	if (environment && strcmp(environment, "live") != 0)
		account->environment = pstrdup(environment);
	account->ca_file = copy_or_null(cs_option_text(options, "ca_file"));
	account->rate_limit = cs_option_integer(options, "rate_limit", account->api->rate_limit);
	account->concurrency = cs_option_integer(options, "concurrency", DEFAULT_CONCURRENCY);
	account->poll_interval_s = cs_option_seconds(options, "poll_interval",
												 CS_ACCOUNT_POLL_INTERVAL_S);
	account->refresh_interval_s = cs_option_seconds(options, "refresh_interval", 0);
	account->detail_budget = cs_option_integer(options, "detail_budget", -1);
	account->retry_uncertain = cs_option_boolean(options, "retry_uncertain", false);
}

static void
set_secrets(CachedAccount *account, List *options)
{
	CsAccount  *public = &account->public;

	for (int i = 0; i < CS_ACCOUNT_SECRETS; i++)
	{
		const char *option = secret_options[i].option;
		const char *secret = cs_option_text(options, option);
		const char *path = cs_option_text(options, psprintf("%s_file", option));

		if (path)
		{
			account->files[i].path = pstrdup(path);
			*secret_place(public, i) = cs_secret_file_read(&account->files[i], option,
														   public->server);
		}
		else
			*secret_place(public, i) = copy_or_null(secret);
	}
	if (public->api_key == NULL)
		refuse_no_secret(public, "api_key");
	if (public->secret_key == NULL && public->api->auth == CS_AUTH_TOKEN_EXCHANGE)
		refuse_no_secret(public, "secret_key");
}

/* A digest, which is stored: nothing of the key can be told from it. */
static int64
account_identity(const CsAccount *account, const CsAccountKey *key)
{
	uint8		digest[CS_SHA256_LENGTH];
	int64		identity;
	StringInfoData text;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, (const char *) key->bytes, sizeof(key->bytes));
	appendStringInfo(&text, "%s %s %s", account->api->name,
					 account->auth_url ? account->auth_url : "",
					 account->environment ? account->environment : "");
	cs_sha256(text.data, text.len, digest);
	memcpy(&identity, digest, sizeof(identity));
	pfree(text.data);
	return identity;
}

/*
 * See CsAccountKey.  Where a token is exchanged for key and secret, the secret
 * is part of it: who knows no more than another's key gets no token of his.
 */
static void
set_shared(CsAccount *account)
{
	CsAccountKey key;
	uint8		digest[CS_SHA256_LENGTH];
	StringInfoData text;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, account->base_url, (int) strlen(account->base_url) + 1);
	appendStringInfoString(&text, account->api_key);
	if (account->api->auth == CS_AUTH_TOKEN_EXCHANGE)
	{
		appendStringInfoChar(&text, '\0');
		appendStringInfoString(&text, account->secret_key);
	}
	cs_sha256(text.data, text.len, digest);
	memcpy(key.bytes, digest, sizeof(key.bytes));
	pfree(text.data);
	account->identity = account_identity(account, &key);
	account->shared = cs_shared_account(&key);
}

/*
 * A new account in a context of its own, which is the current context's child
 * until it is complete: an ERROR on the way leaves nothing behind.
 */
static CachedAccount *
build_account(const ForeignServer *server, Oid userid)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource account",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CachedAccount *account = palloc0(sizeof(CachedAccount));
	CsAccount  *public = &account->public;
	List	   *options;

	public->cxt = cxt;
	public->valid = true;
	public->serverid = server->serverid;
	public->userid = userid;
	public->server = pstrdup(server->servername);
	set_server_options(public, server->options);

	options = cs_mapping_options(server->serverid, userid, &public->mappingid);
	if (!OidIsValid(public->mappingid))
		refuse_no_mapping(public);
	public->fingerprint = cs_options_fingerprint(server->serverid, public->mappingid);
	set_secrets(account, options);
	set_shared(public);

	MemoryContextSwitchTo(old);
	return account;
}

/* ---- The cache ---- */

static void
free_if_unused(CachedAccount *account)
{
	if (!account->cached && account->public.holders == 0)
		MemoryContextDelete(account->public.cxt);
}

/* The holder's context is going.  Must not throw. */
static void
release_hold(void *arg)
{
	CachedAccount *account = ((AccountHold *) arg)->account;

	account->public.holders--;
	free_if_unused(account);
}

/* Something about some account has changed; which one is not worth finding out. */
static void
mark_accounts(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	AccountEntry *entry;

	invalidations++;
	hash_seq_init(&status, account_table);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->account)
			entry->account->public.valid = false;
}

static void
make_account_table(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(AccountId),
		.entrysize = sizeof(AccountEntry),
	};

	account_table = hash_create("cupsource accounts", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, mark_accounts, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, mark_accounts, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, mark_accounts, (Datum) 0);
}

/* Takes a marked account out of the cache. */
static void
drop_if_stale(AccountEntry *entry)
{
	CachedAccount *account = entry->account;

	if (account == NULL)
		return;
	if (account->public.valid && !files_unchanged(account))
		account->public.valid = false;
	if (!account->public.valid)
	{
		entry->account = NULL;
		account->cached = false;
		free_if_unused(account);
	}
}

CsAccount *
cs_account_get(MemoryContext cxt, Oid serverid, Oid userid)
{
	AccountId	id = {serverid, userid};
	AccountEntry *entry;
	AccountHold *hold;
	bool		found;

	if (account_table == NULL)
		make_account_table();
	cs_server_check_usage(serverid, userid);

	hold = MemoryContextAllocZero(cxt, sizeof(AccountHold));
	entry = hash_search(account_table, &id, HASH_ENTER, &found);
	if (!found)
		entry->account = NULL;
	drop_if_stale(entry);
	if (entry->account == NULL)
	{
		uint64		before = invalidations;
		CachedAccount *account = build_account(cs_server_check(serverid, userid), userid);

		/* A change that came while the catalogs were read: good for this caller only. */
		if (invalidations != before)
			account->public.valid = false;
		MemoryContextSetParent(account->public.cxt, CacheMemoryContext);
		account->cached = true;
		entry->account = account;
	}

	hold->account = entry->account;
	hold->account->public.holders++;
	hold->callback.func = release_hold;
	hold->callback.arg = hold;
	MemoryContextRegisterResetCallback(cxt, &hold->callback);
	return &hold->account->public;
}

void
cs_account_forget(CsAccount *account)
{
	account->valid = false;
}

int
cs_account_secrets(const CsAccount *account, const char **secrets)
{
	int			n = 0;

	for (int i = 0; i < CS_ACCOUNT_SECRETS; i++)
	{
		const char *secret = *secret_place(unconstify(CsAccount *, account), i);

		if (secret)
			secrets[n++] = secret;
	}
	return n;
}
