/*
 * auth.c
 *	  The Authorization header of an account: its key, or a token exchanged
 *	  for it.  The only place that puts a secret into a request.
 *
 * Tokens are in shared memory (tokens.h): one process exchanges, the others
 * wait for its token.  The turn is given back when this object's context is
 * reset, whatever the reason, and lost by itself if the process is killed.
 * The identity host is not the API's host and no document says that its
 * requests count, so they take nothing from the account's budget.
 */
#include "postgres.h"

#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/client/attempt.h"
#include "src/client/auth.h"
#include "src/shared/tokens.h"
#include "src/wire/datum.h"
#include "src/wire/writer.h"

#define HEADER_PREFIX "Authorization: Bearer "
#define HEADER_PREFIX_LENGTH (sizeof(HEADER_PREFIX) - 1)

/* How often to look whether another process has its token. */
#define ASK_AGAIN_MS 10

/* A turn outlasts the request that it is for. */
#define TURN_MARGIN_MS 1000

/* The life of a token whose end is not said, or cannot be read. */
#define SHORT_LIFE_S 300

/*
 *	  ASKING → EXCHANGING → READY or FAILED → (cs_auth_again) ASKING
 */
typedef enum AuthState
{
	AUTH_ASKING,				/* for the shared token, or whose turn it is to get one */
	AUTH_EXCHANGING,			/* our turn: the request is on its way */
	AUTH_READY,
	AUTH_FAILED
} AuthState;

struct CsAuth
{
	MemoryContext cxt;
	CsAccount  *account;
	CsSharedAccount *shared;	/* outlives the account */
	AuthState	state;
	int			timeout_ms;
	char	   *header;			/* room for the longest token; set in READY */
	bool		rejected;		/* once already */
	instr_time	asking_since;
	CsFailure	failure;		/* set in FAILED */
	CsAttempt	attempt;		/* in EXCHANGING */
	MemoryContextCallback callback;
};

static char *
token_of(const CsAuth *auth)
{
	return auth->header + HEADER_PREFIX_LENGTH;
}

/* Must not throw. */
static void
give_turn_back(void *arg)
{
	CsAuth	   *auth = arg;

	if (auth->state == AUTH_EXCHANGING)
		cs_token_abandon(auth->shared);
	auth->state = AUTH_FAILED;
}

CsAuth *
cs_auth_begin(MemoryContext cxt, CsAccount *account, int timeout_ms)
{
	CsAuth	   *auth = MemoryContextAllocZero(cxt, sizeof(CsAuth));
	bool		exchange = account->api->auth == CS_AUTH_TOKEN_EXCHANGE;
	size_t		room = exchange ? CS_TOKEN_MAX_LENGTH : strlen(account->api_key);

	auth->cxt = cxt;
	auth->account = account;
	auth->shared = account->shared;
	auth->timeout_ms = timeout_ms;
	auth->header = MemoryContextAlloc(cxt, HEADER_PREFIX_LENGTH + room + 1);
	memcpy(auth->header, HEADER_PREFIX, HEADER_PREFIX_LENGTH);
	*token_of(auth) = '\0';
	if (exchange)
	{
		auth->state = AUTH_ASKING;
		INSTR_TIME_SET_CURRENT(auth->asking_since);
		auth->callback.func = give_turn_back;
		auth->callback.arg = auth;
		MemoryContextRegisterResetCallback(cxt, &auth->callback);
	}
	else
	{
		auth->state = AUTH_READY;
		strcpy(token_of(auth), account->api_key);
	}
	return auth;
}

/* {"apiKey": …, "secretKey": …} to the identity host. */
static void
start_exchange(CsAuth *auth)
{
	CsAccount  *account = auth->account;
	MemoryContext cxt = AllocSetContextCreate(auth->cxt, "cupsource token exchange",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsAttempt  *attempt = &auth->attempt;
	CsWriter	writer;

	cs_writer_init(&writer);
	cs_write_open(&writer, NULL, '{');
	cs_write_string(&writer, "apiKey", account->api_key);
	cs_write_string(&writer, "secretKey", account->secret_key);
	cs_write_close(&writer, '}');

	memset(attempt, 0, sizeof(*attempt));
	attempt->account = account;
	attempt->endpoint = psprintf("POST %s", account->api->auth_path);
	attempt->method = "POST";
	attempt->base_url = account->auth_url;
	attempt->path = account->api->auth_path;
	attempt->body = writer.out.data;
	attempt->body_length = writer.out.len;
	attempt->repeatable = true;
	attempt->confidential = true;
	attempt->timeout_ms = auth->timeout_ms;
	attempt->nsecrets = cs_account_secrets(account, attempt->secrets);
	cs_attempt_start(attempt, cxt);
	MemoryContextSwitchTo(old);
}

/*
 * When the token ends by our clock.  The partner's clock is not ours: if the
 * answer has a date, the token's life is counted from there.  That date is cut
 * to the second, so the life is taken to be one second less.  An end that is
 * over, such as year 1, is none.
 */
static TimestampTz
token_end(const CsAuth *auth)
{
	const CsJson *expired = cs_json_find(auth->attempt.document, "expired|data.expired");
	int64		issued = auth->attempt.answer->server_time;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz then = issued >= 0 ? time_t_to_timestamptz((pg_time_t) issued + 1) : now;
	Datum		datum;
	char	   *problem;

	if (expired && cs_datum_from_json(CS_TYPE_TIMESTAMPTZ, expired, &datum, &problem) &&
		!TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(datum)))
	{
		TimestampTz life = DatumGetTimestampTz(datum) - then;

		if (life > 0)
			return now + life;
	}
	return now + SHORT_LIFE_S * USECS_PER_SEC;
}

/* Can it stand in a header?  Sets *problem if not. */
static bool
usable_token(const char *token, size_t length, char **problem)
{
	if (token == NULL || length == 0)
		*problem = "no \"accessToken\"";
	else if (length > CS_TOKEN_MAX_LENGTH)
		*problem = psprintf("the \"accessToken\" is longer than %d bytes", CS_TOKEN_MAX_LENGTH);
	else
	{
		for (size_t i = 0; i < length; i++)
			if (token[i] <= ' ' || token[i] >= 0x7f)
			{
				*problem = "the \"accessToken\" has characters that no token has";
				return false;
			}
		return true;
	}
	return false;
}

/* The answer is there, and it is a success: in an envelope, as all others are, or not. */
static void
take_token(CsAuth *auth)
{
	size_t		length = 0;
	const CsJson *document = auth->attempt.document;
	const char *token = cs_json_string(cs_json_find(document, "accessToken|data.accessToken"),
									   &length);
	char	   *problem;

	if (!usable_token(token, length, &problem))
	{
		cs_failure_malformed(&auth->attempt.failure, auth->account, auth->attempt.endpoint,
							 problem, NULL);
		return;
	}
	memcpy(token_of(auth), token, length + 1);
	cs_token_store(auth->shared, token, token_end(auth));
	auth->state = AUTH_READY;
}

static bool
credentials_refused(const CsFailure *failure)
{
	return failure->kind == CS_FAILURE_REFUSED && failure->status < 500 &&
		failure->status != 429 && !cs_status_gave_up(failure->status);
}

static void
fail(CsAuth *auth, const CsFailure *why)
{
	MemoryContext old = MemoryContextSwitchTo(auth->cxt);
	const char *server = auth->account->server;

	auth->failure = *why;
	auth->failure.message = psprintf("could not get an access token for server \"%s\": %s",
									 server, why->message);
	if (credentials_refused(why))
	{
		/*
		 * What the identity host says is about who asks.  Its 404 is not that of
		 * a model, nor its 400 that of an order.
		 */
		auth->failure.delivery = CS_DELIVERY_ANSWERED;
		auth->failure.status = 401;
		auth->failure.sqlstate = cs_failure_sqlstate(CS_FAILURE_REFUSED, 401);
		auth->failure.hint = psprintf("Check the options \"api_key\" and \"secret_key\" "
									  "of the user mapping on server \"%s\".", server);
		cs_account_forget(auth->account);
	}
	else
		auth->failure.delivery = CS_DELIVERY_NOT_SENT;
	auth->state = AUTH_FAILED;
	MemoryContextSwitchTo(old);
}

/* Returns false if another process is getting the token. */
static bool
ask(CsAuth *auth)
{
	instr_time	now;
	CsFailure	failure = {.kind = CS_FAILURE_TIMEOUT, .sqlstate = CS_ERRCODE_TIMEOUT,
	.retry_after_ms = -1};

	switch (cs_token_get(auth->shared, token_of(auth), auth->timeout_ms + TURN_MARGIN_MS))
	{
		case CS_TOKEN_HAVE:
			auth->state = AUTH_READY;
			return true;
		case CS_TOKEN_REFRESH:
			auth->state = AUTH_EXCHANGING;
			start_exchange(auth);
			return true;
		case CS_TOKEN_WAIT:
			break;
	}

	/* If the others fail one after the other, we do not wait for all of them. */
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, auth->asking_since);
	if (INSTR_TIME_GET_MILLISEC(now) <= auth->timeout_ms)
		return false;
	failure.message = psprintf("no other session got one within %d ms", auth->timeout_ms);
	fail(auth, &failure);
	return true;
}

/* The exchange is over: one transition out of EXCHANGING, with which the turn ends. */
static void
end_exchange(CsAuth *auth)
{
	MemoryContext old = MemoryContextSwitchTo(auth->attempt.cxt);

	if (auth->attempt.failure.kind == CS_FAILURE_NONE)
		take_token(auth);
	if (auth->state == AUTH_EXCHANGING)
	{
		cs_token_abandon(auth->shared);
		fail(auth, &auth->attempt.failure);
	}
	MemoryContextSwitchTo(old);
}

bool
cs_auth_advance(CsAuth *auth, long *wait_ms)
{
	if (auth->state == AUTH_ASKING && !ask(auth))
	{
		*wait_ms = ASK_AGAIN_MS;
		return false;
	}
	if (auth->state == AUTH_EXCHANGING)
	{
		if (!cs_attempt_done(&auth->attempt))
		{
			*wait_ms = -1;
			return false;
		}
		end_exchange(auth);
	}
	return true;
}

const char *
cs_auth_header(const CsAuth *auth)
{
	return auth->state == AUTH_READY ? auth->header : NULL;
}

const CsFailure *
cs_auth_failure(const CsAuth *auth)
{
	Assert(auth->state == AUTH_FAILED);
	return &auth->failure;
}

bool
cs_auth_exchanging(const CsAuth *auth)
{
	return auth->state == AUTH_EXCHANGING;
}

/* READY, FAILED → ASKING; a key is always READY */
void
cs_auth_again(CsAuth *auth)
{
	Assert(auth->state == AUTH_READY || auth->state == AUTH_FAILED);
	if (auth->account->api->auth != CS_AUTH_TOKEN_EXCHANGE)
		return;
	auth->state = AUTH_ASKING;
	INSTR_TIME_SET_CURRENT(auth->asking_since);
}

bool
cs_auth_rejected(CsAuth *auth)
{
	Assert(auth->state == AUTH_READY);
	if (auth->account->api->auth != CS_AUTH_TOKEN_EXCHANGE)
	{
		cs_account_forget(auth->account);
		return false;
	}
	cs_token_reject(auth->shared, token_of(auth));
	if (auth->rejected)
	{
		cs_account_forget(auth->account);
		return false;
	}
	auth->rejected = true;
	cs_auth_again(auth);
	return true;
}

int
cs_auth_secrets(const CsAuth *auth, const char **secrets)
{
	int			n = cs_account_secrets(auth->account, secrets);

	if (auth->account->api->auth == CS_AUTH_TOKEN_EXCHANGE && auth->state == AUTH_READY)
		secrets[n++] = token_of(auth);
	return n;
}
