/*
 * tokens.c
 *	  Whose turn it is to fetch a token, and when one is good, with clocks and
 *	  processes of our own.
 */
#include "postgres.h"

#include "src/shared/tokens.c"

#define SECOND INT64CONST(1000000)

int			MyProcPid = 1;

static TimestampTz time_of_day = 800000000 * SECOND;
static int64 monotonic = 5 * SECOND;
static int	locks = 0;
static int	thrown = 0;
static int	tests = 0;
static int	failed = 0;

/* What the server would give. */
TimestampTz
GetCurrentTimestamp(void)
{
	return time_of_day;
}

int64
cs_monotonic_us(void)
{
	return monotonic;
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	locks++;
	return true;
}

void
LWLockRelease(LWLock *lock)
{
	locks--;
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errcode(int sqlstate)
{
	thrown = sqlstate;
	return 0;
}

int
errmsg(const char *fmt,...)
{
	return 0;
}

static sigjmp_buf thrown_to;

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	siglongjmp(thrown_to, 1);
}

static void
is(int64 got, int64 expected, const char *what)
{
	bool		good = got == expected;

	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	if (!good)
	{
		failed++;
		printf("# got " INT64_FORMAT ", expected " INT64_FORMAT "\n", got, expected);
	}
}

static char token[CS_TOKEN_MAX_LENGTH + 1];

static CsTokenTurn
turn_of(CsSharedAccount *account, int pid)
{
	MyProcPid = pid;
	memset(token, 0, sizeof(token));
	return cs_token_get(account, token, 10000);
}

static void
test_turns(CsSharedAccount *account)
{
	is(turn_of(account, 1), CS_TOKEN_REFRESH, "the first fetches it");
	is(turn_of(account, 2), CS_TOKEN_WAIT, "the second waits");
	is(turn_of(account, 1), CS_TOKEN_WAIT, "and so does another call of the first");
	MyProcPid = 2;
	cs_token_abandon(account);
	is(turn_of(account, 3), CS_TOKEN_WAIT, "nobody gives up another's turn");
	MyProcPid = 1;
	cs_token_abandon(account);
	is(turn_of(account, 2), CS_TOKEN_REFRESH, "one that gave up makes room for the next");
	monotonic += 10 * SECOND - 1;
	is(turn_of(account, 3), CS_TOKEN_WAIT, "a turn lasts as long as it was asked for");
	monotonic += 1;
	is(turn_of(account, 3), CS_TOKEN_REFRESH, "and not longer, whatever became of its owner");
	time_of_day -= 3600 * SECOND;
	is(turn_of(account, 4), CS_TOKEN_WAIT, "setting the time of day does not change that");
	time_of_day += 3600 * SECOND;
}

static void
test_token(CsSharedAccount *account)
{
	TimestampTz obtained;
	TimestampTz expires;

	is(cs_token_times(account, &obtained, &expires), false, "no token, no times");
	MyProcPid = 3;
	cs_token_store(account, "header.payload.signature", time_of_day + 3600 * SECOND);
	is(turn_of(account, 4), CS_TOKEN_HAVE, "a stored token is for all");
	is(strcmp(token, "header.payload.signature"), 0, "as it was stored");
	is(cs_token_times(account, &obtained, &expires), true, "now there are times");
	is(expires - obtained, 3600 * SECOND, "of an hour");

	time_of_day -= 3 * 3600 * SECOND;
	is(turn_of(account, 4), CS_TOKEN_REFRESH, "not by a clock that was set back: it would be good for too long");
	cs_token_abandon(account);
	time_of_day += 3 * 3600 * SECOND;
	time_of_day -= SECOND;
	is(turn_of(account, 4), CS_TOKEN_HAVE, "one that is corrected by a second does not matter");
	time_of_day += SECOND;

	time_of_day += 3540 * SECOND - 1;
	is(turn_of(account, 4), CS_TOKEN_HAVE, "it is good until a minute before its end");
	time_of_day += 1;
	is(turn_of(account, 4), CS_TOKEN_REFRESH, "then one fetches the next");
	is(turn_of(account, 5), CS_TOKEN_WAIT, "and only one");
	cs_token_store(account, "brief", time_of_day + 10 * SECOND);
	time_of_day += 9 * SECOND - 1;
	is(turn_of(account, 5), CS_TOKEN_HAVE, "one that lives for less than that is used for nine tenths");
	time_of_day += 1;
	MyProcPid = 4;
	cs_token_abandon(account);
	is(turn_of(account, 5), CS_TOKEN_REFRESH, "of its life");
}

static void
test_reject(CsSharedAccount *account)
{
	static char too_long[CS_TOKEN_MAX_LENGTH + 2];

	cs_token_store(account, "second", time_of_day + 3600 * SECOND);
	cs_token_reject(account, "first");
	is(turn_of(account, 6), CS_TOKEN_HAVE, "a refusal of an older token does not harm the present one");
	cs_token_reject(account, "second");
	is(turn_of(account, 6), CS_TOKEN_REFRESH, "a refused one is forgotten");
	is(account->token.token[0], '\0', "and wiped");

	memset(too_long, 'x', CS_TOKEN_MAX_LENGTH + 1);
	if (sigsetjmp(thrown_to, 0) == 0)
		cs_token_store(account, too_long, time_of_day + 3600 * SECOND);
	is(thrown, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "one that is too long is an error");
	too_long[CS_TOKEN_MAX_LENGTH] = '\0';
	cs_token_store(account, too_long, time_of_day + 3600 * SECOND);
	is(turn_of(account, 7), CS_TOKEN_HAVE, "the longest is not");
	is(strlen(token), CS_TOKEN_MAX_LENGTH, "and comes out whole");
}

int
main(void)
{
	static CsSharedAccount account;

	test_turns(&account);
	test_token(&account);
	test_reject(&account);
	is(locks, 0, "every lock was released");
	printf("1..%d\n", tests);
	return failed > 0;
}
