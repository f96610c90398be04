/*
 * http_wait.c
 *	  libcurl's multi handle and PostgreSQL's latch: the one place that waits
 *	  for the network.
 *
 * libcurl tells by callbacks which sockets it watches and when it wants to be
 * called at the latest.  The callbacks only edit 'watches' and the timer
 * below: they run inside libcurl and must not throw.  Before each wait the
 * wait event set is brought in line with them, outside libcurl.
 *
 * The wait event set lives as long as the process.  A socket cannot be taken
 * out of one, so a kept connection stays in it between requests, and the next
 * request over it finds everything in place.  The set is built anew only when
 * a socket in it was closed, when one that nobody watches has something to
 * say, or when it is full.
 *
 * All signals are blocked while libcurl may start its resolver thread, which
 * inherits the mask: PostgreSQL's handlers must not run there.  A lookup that
 * was given up keeps its thread, and one descriptor, until the name service
 * answers or gives up itself.
 *
 * No locks.  Nothing here is touched before the process's first request.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "src/base/compat.h"
#include "src/wire/http_private.h"

/* A socket that libcurl watches, or has opened. */
typedef struct Watch
{
	curl_socket_t fd;
	bool		opened;			/* by cs_http_open_socket, so its end will be told */
	uint32		wanted;			/* WL_SOCKET_*; 0: a kept connection at rest */
	uint32		armed;			/* the same in the wait event set; 0: not in it */
	int			position;		/* in the wait event set */
} Watch;

/* Beyond these, libcurl closes the connection that rested longest. */
#define MAX_KEPT_CONNECTIONS 64

#define MULTI_DESCRIPTORS 2		/* its own sockets, with which it could be woken */

static CURLM *multi = NULL;

static Watch *watches = NULL;	/* malloc'd */
static int	nwatches = 0;
static int	max_watches = 0;

static long timer_ms = -1;		/* libcurl wants to be called this long after 'timer_set' */
static instr_time timer_set;

static WaitEventSet *wait_set = NULL;
static int	wait_set_capacity = 0;	/* sockets that it can take */
static int	wait_set_used = 0;
static bool wait_set_stale = true;	/* build it anew before the next wait */

/* By CsWaitFor; allocated when first waited for. */
static const char *const wait_names[] =
{
	"CupsourceHttp", "CupsourceRateLimit", "CupsourceRetry", "CupsourceToken", "CupsourceWorker"
};
static uint32 wait_events[lengthof(wait_names)];

static dlist_head waiting = DLIST_STATIC_INIT(waiting);
static int	nwaiting = 0;
static dlist_head running = DLIST_STATIC_INIT(running);
static int	nrunning = 0;		/* in the multi handle */
static bool some_ended = false; /* since cs_http_wait last returned */

static int	open_sockets = 0;	/* connections of libcurl, kept ones included */
static int	held_descriptors = 0;	/* of those, reported to fd.c */

static sigset_t all_signals;
static sigset_t saved_signals;

/*
 * The callbacks of libcurl.
 */

static Watch *
watch_find(curl_socket_t fd)
{
	for (int i = 0; i < nwatches; i++)
	{
		if (watches[i].fd == fd)
			return &watches[i];
	}
	return NULL;
}

/* NULL: out of memory. */
static Watch *
watch_new(curl_socket_t fd, bool opened)
{
	Watch	   *watch;

	if (nwatches == max_watches)
	{
		int			newmax = Max(8, max_watches * 2);
		Watch	   *grown = realloc(watches, newmax * sizeof(Watch));

		if (grown == NULL)
			return NULL;
		watches = grown;
		max_watches = newmax;
	}
	watch = &watches[nwatches++];
	*watch = (Watch) {.fd = fd, .opened = opened};
	return watch;
}

/* The number may come back as another socket's: the set must not know it then. */
static void
watch_drop(Watch *watch)
{
	if (watch->armed != 0)
		wait_set_stale = true;
	*watch = watches[--nwatches];
}

/* CURLMOPT_SOCKETFUNCTION */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	Watch	   *watch = watch_find(fd);

	if (what == CURL_POLL_REMOVE)
	{
		if (watch == NULL)
			return 0;
		watch->wanted = 0;
		if (!watch->opened)
			watch_drop(watch);
		return 0;
	}
	if (watch == NULL)
		watch = watch_new(fd, false);
	if (watch == NULL)
		return -1;
	watch->wanted = (what & CURL_POLL_IN ? WL_SOCKET_READABLE : 0) |
		(what & CURL_POLL_OUT ? WL_SOCKET_WRITEABLE : 0);
	return 0;
}

/* CURLMOPT_TIMERFUNCTION */
static int
set_timer(CURLM *handle, long timeout_ms, void *arg)
{
	timer_ms = timeout_ms;
	if (timeout_ms > 0)
		INSTR_TIME_SET_CURRENT(timer_set);
	return 0;
}

curl_socket_t
cs_http_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (watch_new(fd, true) == NULL)
	{
		close(fd);
		return CURL_SOCKET_BAD;
	}
	open_sockets++;
	return fd;
}

int
cs_http_close_socket(void *arg, curl_socket_t fd)
{
	Watch	   *watch = watch_find(fd);

	if (watch != NULL)
		watch_drop(watch);
	open_sockets--;
	return close(fd);
}

/*
 * The multi handle.
 */

void
cs_http_multi_open(void)
{
	static const int own_signals[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
	CURLM	   *handle;

	if (multi != NULL)
		return;
	cs_http_check_library();

	/*
	 * Whoever set SSLKEYLOGFILE for the server did not mean that partners'
	 * session keys be written to a file.
	 */
	unsetenv("SSLKEYLOGFILE");
	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK || (handle = curl_multi_init()) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not initialize libcurl")));
	if (curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, watch_socket) != CURLM_OK ||
		curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
		curl_multi_setopt(handle, CURLMOPT_MAXCONNECTS, (long) MAX_KEPT_CONNECTIONS) != CURLM_OK)
	{
		curl_multi_cleanup(handle);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not set up libcurl")));
	}

	/* Errors that are about the code itself must still reach the thread that made them. */
	sigfillset(&all_signals);
	for (size_t i = 0; i < lengthof(own_signals); i++)
		sigdelset(&all_signals, own_signals[i]);

	multi = handle;
	for (int i = 0; i < MULTI_DESCRIPTORS; i++)
		ReserveExternalFD();
}

/*
 * Reports to fd.c what libcurl has open, at least one per transfer.  Sockets
 * that are open already are facts, so this reserves and never refuses; it is
 * cs_http_multi_add that keeps within the budget.
 */
static void
settle_descriptors(void)
{
	int			wanted = Max(open_sockets, nrunning);

	for (; held_descriptors < wanted; held_descriptors++)
		ReserveExternalFD();
	for (; held_descriptors > wanted; held_descriptors--)
		ReleaseExternalFD();
}

static void
request_ended(CsHttpRequest *request, CURLcode result)
{
	request->result = result;
	request->state = CS_REQUEST_DONE;
	some_ended = true;
}

static void
take_out(CsTransfer *transfer)
{
	curl_multi_remove_handle(multi, transfer->easy);
	dlist_delete(&transfer->request->node);
	nrunning--;
}

/* Takes what has ended out of the multi handle. */
static void
collect_ended(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		CURLcode	result = message->data.result;
		CsTransfer *transfer = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
		take_out(transfer);		/* ends 'message' */
		request_ended(transfer->request, result);
	}
}

/*
 * Without memory libcurl leaves its transfers where they are, without a socket
 * or a timer that would lead back to them; nobody would wake up for them.  It
 * does not always say so, but as each has a time limit, there is to be a timer.
 */
static void
end_all(void)
{
	while (!dlist_is_empty(&running))
	{
		CsHttpRequest *request = dlist_head_element(CsHttpRequest, node, &running);

		take_out(request->transfer);
		request_ended(request, CURLE_OUT_OF_MEMORY);
	}
}

/* Starts those that wait for a descriptor; true if libcurl has got any. */
static bool
admit_waiting(void)
{
	bool		added = false;

	while (!dlist_is_empty(&waiting))
	{
		CsHttpRequest *request = dlist_head_element(CsHttpRequest, node, &waiting);

		/* One at a time is always allowed. */
		if (nrunning > 0 && nrunning >= held_descriptors)
		{
			if (!AcquireExternalFD())
				break;
			held_descriptors++;
		}
		dlist_delete(&request->node);
		nwaiting--;
		if (curl_multi_add_handle(multi, request->transfer->easy) != CURLM_OK)
		{
			request_ended(request, CURLE_OUT_OF_MEMORY);
			continue;
		}
		request->state = CS_REQUEST_RUNNING;
		dlist_push_tail(&running, &request->node);
		nrunning++;
		added = true;
	}
	return added;
}

/* Does libcurl's timer want it called now?  Else *delay_ms is when (-1: never). */
static bool
timer_is_due(long *delay_ms)
{
	instr_time	elapsed;
	uint64		elapsed_us;

	*delay_ms = timer_ms;
	if (timer_ms <= 0)
		return timer_ms == 0;
	INSTR_TIME_SET_CURRENT(elapsed);
	INSTR_TIME_SUBTRACT(elapsed, timer_set);
	elapsed_us = INSTR_TIME_GET_MICROSEC(elapsed);
	if (elapsed_us >= (uint64) timer_ms * 1000)
		return true;
	*delay_ms = (long) (((uint64) timer_ms * 1000 - elapsed_us + 999) / 1000);
	return false;
}

/* Once: after an error it must not be called again, and Max() would evaluate it twice. */
static CURLMcode
act(curl_socket_t fd, int ready, CURLMcode worst)
{
	int			unused;
	CURLMcode	code = curl_multi_socket_action(multi, fd, ready, &unused);

	return Max(worst, code);
}

/*
 * Lets libcurl work: on the sockets of 'events', on all that it watches if
 * 'all', and on what its timer is due for.  Never throws.
 */
static void
drive(const WaitEvent *events, int nevents, bool all)
{
	CURLMcode	worst = CURLM_OK;

	do
	{
		sigprocmask(SIG_BLOCK, &all_signals, &saved_signals);
		for (int i = 0; i < nevents; i++)
		{
			int			ready = (events[i].events & WL_SOCKET_READABLE ? CURL_CSELECT_IN : 0) |
				(events[i].events & WL_SOCKET_WRITEABLE ? CURL_CSELECT_OUT : 0);

			worst = act(events[i].fd, ready, worst);
		}

		/*
		 * With no event given, libcurl looks for itself.  Its callbacks may
		 * shorten the array meanwhile; one that is missed has the next turn.
		 */
		for (int i = nwatches - 1; all && i >= 0; i--)
		{
			if (i < nwatches && watches[i].wanted != 0)
				worst = act(watches[i].fd, 0, worst);
		}
		if (nevents == 0)
		{
			/* It fires once; libcurl sets it again if it wants more. */
			timer_ms = -1;
			worst = act(CURL_SOCKET_TIMEOUT, 0, worst);
		}
		collect_ended();
		if (worst != CURLM_OK || (nrunning > 0 && timer_ms < 0))
			end_all();
		sigprocmask(SIG_SETMASK, &saved_signals, NULL);
		settle_descriptors();
		nevents = 0;
		all = false;
	} while (admit_waiting());
}

void
cs_http_multi_add(CsHttpRequest *request)
{
	request->state = CS_REQUEST_WAITING;
	dlist_push_tail(&waiting, &request->node);
	nwaiting++;
	if (admit_waiting())
		drive(NULL, 0, false);
}

void
cs_http_multi_remove(CsHttpRequest *request, CsTransfer *transfer)
{
	if (request->state == CS_REQUEST_WAITING)
	{
		dlist_delete(&request->node);
		nwaiting--;
	}
	else if (request->state == CS_REQUEST_RUNNING)
	{
		take_out(transfer);
		settle_descriptors();
	}
}

/*
 * Waiting.
 */

/* Brings the wait event set in line with what libcurl watches.  Throws. */
static void
arm_watches(void)
{
	int			missing = 0;

	for (int i = 0; i < nwatches; i++)
	{
		if (watches[i].wanted != 0 && watches[i].armed == 0)
			missing++;
	}

	if (wait_set_stale || wait_set_used + missing > wait_set_capacity)
	{
		WaitEventSet *old = wait_set;

		/* Until the end of this function, an ERROR leaves a set to be built anew. */
		wait_set_stale = true;
		wait_set = NULL;
		if (old != NULL)
			FreeWaitEventSet(old);
		wait_set_used = 0;
		wait_set_capacity = Max(4, nwatches + nwatches / 2);
		for (int i = 0; i < nwatches; i++)
			watches[i].armed = 0;

		/* It is refused when the budget is out; lend it one of ours. */
		if (held_descriptors > 0)
		{
			ReleaseExternalFD();
			held_descriptors--;
		}
		wait_set = CS_CREATE_WAIT_EVENT_SET(wait_set_capacity + 2);
		settle_descriptors();
		AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		if (IsUnderPostmaster)
			AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	}

	wait_set_stale = true;
	for (int i = 0; i < nwatches; i++)
	{
		Watch	   *watch = &watches[i];

		if (watch->wanted == 0 || watch->wanted == watch->armed)
			continue;
		if (watch->armed == 0)
		{
			watch->position = AddWaitEventToSet(wait_set, watch->wanted, watch->fd, NULL, NULL);
			wait_set_used++;
		}
		else
			ModifyWaitEvent(wait_set, watch->position, watch->wanted, NULL);
		watch->armed = watch->wanted;
	}
	wait_set_stale = false;
}

/*
 * Waits once, for at most 'timeout_ms', and serves what happened.  Returns
 * true if the latch was set.  Throws.
 */
static bool
wait_once(long timeout_ms, CsWaitFor reason)
{
	WaitEvent	events[64];
	int			nevents;
	int			nsockets = 0;
	bool		latch_set = false;

	arm_watches();
	nevents = WaitEventSetWait(wait_set, timeout_ms, events, lengthof(events),
							   CS_WAIT_EVENT(wait_events[reason], wait_names[reason]));
	for (int i = 0; i < nevents; i++)
	{
		Watch	   *watch = watch_find(events[i].fd);

		if (events[i].events & WL_LATCH_SET)
			latch_set = true;
		else if (watch != NULL && watch->wanted != 0)
			events[nsockets++] = events[i];
		else
			wait_set_stale = true;	/* a connection at rest was closed by the other side */
	}
	if (latch_set)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}

	/* A latch that is set again and again must not starve the sockets. */
	if (nsockets > 0 || (latch_set && nrunning > 0))
		drive(events, nsockets, latch_set);
	return latch_set;
}

void
cs_http_wait(long timeout_ms, CsWaitFor reason)
{
	instr_time	start;
	long		left = timeout_ms;

	INSTR_TIME_SET_ZERO(start);
	CHECK_FOR_INTERRUPTS();
	if (timeout_ms > 0)
		INSTR_TIME_SET_CURRENT(start);

	for (;;)
	{
		long		delay;

		if (timer_is_due(&delay) || admit_waiting())
			drive(NULL, 0, false);
		if (some_ended)
			break;
		(void) timer_is_due(&delay);	/* -1, the longest, is so as unsigned */
		delay = (long) Min((unsigned long) left, (unsigned long) delay);
		if (wait_once(delay, reason) || some_ended)
			break;
		if (timeout_ms == 0)
			break;
		if (timeout_ms > 0)
		{
			instr_time	elapsed;

			INSTR_TIME_SET_CURRENT(elapsed);
			INSTR_TIME_SUBTRACT(elapsed, start);
			left = timeout_ms - (long) (INSTR_TIME_GET_MICROSEC(elapsed) / 1000);
			if (left <= 0)
				break;
		}
	}
	some_ended = false;
}

void
cs_http_advance(void)
{
	if (nrunning + nwaiting > 0)
		drive(NULL, 0, true);
}

int
cs_http_active(void)
{
	return nrunning + nwaiting;
}

void
cs_http_close_idle(void)
{
	if (multi == NULL || nrunning + nwaiting > 0)
		return;
	curl_multi_cleanup(multi);
	multi = NULL;
	timer_ms = -1;
	settle_descriptors();
	for (int i = 0; i < MULTI_DESCRIPTORS; i++)
		ReleaseExternalFD();
}
