/*
 * tokens.c
 *	  Access tokens per account, with a single refresher at a time.
 *
 * Whoever finds no usable token while it is nobody's turn gets the turn;
 * the others ask again until it has stored a token or given up.  A turn ends
 * by itself, on the monotonic clock, so a process that died in its turn holds
 * up nobody for longer than that.  The expiry of a token is a time of day by
 * our clock.  One that seems to have been obtained later than now outlived a
 * setting of the clock, and is used no more; what is not noticed so costs a
 * 401, after which the token is forgotten (cs_token_reject).
 *
 * The token itself is readable by whoever can read this server's memory, and
 * appears in no view, message or file.
 *
 * Locks: the account's own.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "src/shared/layout.h"
#include "src/shared/tokens.h"

/* A clock that goes back by no more is being corrected. */
#define CLOCK_STEP_US INT64CONST(2000000)

/* A token must be good for this long, or a tenth of its life if that is less. */
#define SPARE_US INT64CONST(60000000)

static bool
is_usable(const CsTokenState *state, TimestampTz now)
{
	if (state->obtained == 0 || state->obtained > now + CLOCK_STEP_US)
		return false;
	return now + Min(SPARE_US, (state->expires - state->obtained) / 10) < state->expires;
}

static void
forget(CsTokenState *state)
{
	state->obtained = 0;
	state->expires = 0;
	explicit_bzero(state->token, sizeof(state->token));
}

static void
end_turn(CsTokenState *state)
{
	if (state->turn_pid == MyProcPid)
	{
		state->turn_until = 0;
		state->turn_pid = 0;
	}
}

CsTokenTurn
cs_token_get(CsSharedAccount *account, char *token, int turn_ms)
{
	CsTokenState *state = &account->token;
	TimestampTz today = GetCurrentTimestamp();
	int64		now = cs_monotonic_us();
	CsTokenTurn turn;

	LWLockAcquire(&account->lock, LW_SHARED);
	if (is_usable(state, today))
	{
		strlcpy(token, state->token, CS_TOKEN_MAX_LENGTH + 1);
		LWLockRelease(&account->lock);
		return CS_TOKEN_HAVE;
	}
	LWLockRelease(&account->lock);

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	if (is_usable(state, today))
	{
		strlcpy(token, state->token, CS_TOKEN_MAX_LENGTH + 1);
		turn = CS_TOKEN_HAVE;
	}
	else if (state->turn_until > now)
		turn = CS_TOKEN_WAIT;
	else
	{
		state->turn_until = now + (int64) turn_ms * 1000;
		state->turn_pid = MyProcPid;
		turn = CS_TOKEN_REFRESH;
	}
	LWLockRelease(&account->lock);
	return turn;
}

void
cs_token_store(CsSharedAccount *account, const char *token, TimestampTz expires)
{
	CsTokenState *state = &account->token;
	TimestampTz today = GetCurrentTimestamp();

	if (strlen(token) > CS_TOKEN_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("access token is longer than %d bytes", CS_TOKEN_MAX_LENGTH)));

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	forget(state);
	strlcpy(state->token, token, sizeof(state->token));
	state->expires = expires;
	state->obtained = today;
	end_turn(state);
	LWLockRelease(&account->lock);
}

void
cs_token_abandon(CsSharedAccount *account)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	end_turn(&account->token);
	LWLockRelease(&account->lock);
}

void
cs_token_reject(CsSharedAccount *account, const char *token)
{
	CsTokenState *state = &account->token;

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	if (state->obtained != 0 && strcmp(state->token, token) == 0)
		forget(state);
	LWLockRelease(&account->lock);
}

bool
cs_token_times(CsSharedAccount *account, TimestampTz *obtained, TimestampTz *expires)
{
	CsTokenState *state = &account->token;
	bool		there;

	LWLockAcquire(&account->lock, LW_SHARED);
	there = state->obtained != 0;
	*obtained = state->obtained;
	*expires = state->expires;
	LWLockRelease(&account->lock);
	return there;
}
