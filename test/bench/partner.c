/*
 * partner.c
 *	  A partner that takes every order, as late as it is asked to.
 *
 * Prints the port that it listens on (127.0.0.1), and serves until its
 * standard input ends.  HTTP/1.1, connections kept.  A path that begins with
 * /N/ is answered N milliseconds after its request came in; a request whose
 * body contains "never-answer" is not answered at all.  The answer shows when
 * the first byte of the request was there: received_us, since 1970.
 *
 * One thread and no allocation per request: it must not be what is measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define MAX_REQUEST 65536
#define MAX_EVENTS 256

typedef struct Connection
{
	int			fd;				/* 0: free */
	size_t		used;			/* bytes of the request so far */
	int64_t		received_us;	/* its first byte, wall clock */
	int64_t		answer_at;		/* monotonic; 0: nothing is owed */
	char		request[MAX_REQUEST + 1];
} Connection;

static Connection connections[MAX_CONNECTIONS];
static int	nconnections = 0;	/* used slots are below it */
static long orders = 0;

static int64_t
clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
drop(Connection *connection)
{
	close(connection->fd);
	memset(connection, 0, offsetof(Connection, request));
}

static void
answer(Connection *connection)
{
	char		body[256];
	char		text[512];
	int			body_length;
	int			length;

	orders++;
	body_length = snprintf(body, sizeof(body),
						   "{\"data\":{\"id\":\"P-%ld\",\"order_number\":\"PO-%ld\",\"status\":\"submitted\","
						   "\"received_us\":%lld}}",
						   orders, orders, (long long) connection->received_us);
	length = snprintf(text, sizeof(text),
					  "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					  body_length, body);
	connection->used = 0;
	connection->answer_at = 0;
	if (send(connection->fd, text, length, MSG_NOSIGNAL) != length)
		drop(connection);
}

/* Length of the whole request, or 0 while its head is incomplete. */
static size_t
request_length(const Connection *connection)
{
	const char *end = strstr(connection->request, "\r\n\r\n");
	const char *header = strcasestr(connection->request, "\r\nContent-Length:");
	size_t		body = 0;

	if (end == NULL)
		return 0;
	if (header != NULL && header < end)
		body = strtoul(header + strlen("\r\nContent-Length:"), NULL, 10);
	return end + 4 - connection->request + body;
}

static void
receive(Connection *connection)
{
	ssize_t		n = read(connection->fd, connection->request + connection->used,
						 MAX_REQUEST - connection->used);
	const char *path;
	size_t		length;
	long		delay;

	if (n <= 0)
	{
		drop(connection);
		return;
	}
	if (connection->used == 0)
		connection->received_us = clock_us(CLOCK_REALTIME);
	connection->used += n;
	connection->request[connection->used] = '\0';
	length = request_length(connection);
	if (length == 0 || connection->used < length)
		return;
	path = strchr(connection->request, '/');
	delay = strtol(path + 1, NULL, 10);
	if (strstr(connection->request, "never-answer") != NULL)
		connection->answer_at = INT64_MAX;
	else if (delay == 0)
		answer(connection);
	else
		connection->answer_at = clock_us(CLOCK_MONOTONIC) + delay * 1000;
}

static void
take_connections(int listener, int poll)
{
	int			fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
	{
		struct epoll_event event = {.events = EPOLLIN};
		Connection *connection = connections;
		int			one = 1;

		while (connection < connections + MAX_CONNECTIONS && connection->fd != 0)
			connection++;
		if (connection == connections + MAX_CONNECTIONS)
		{
			close(fd);
			continue;
		}
		if (connection - connections >= nconnections)
			nconnections = connection - connections + 1;
		connection->fd = fd;
		event.data.ptr = connection;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0)
			die("epoll_ctl");
	}
}

/* Answers what is due, and has the timer ring for the next. */
static void
keep_time(int timer)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);
	int64_t		next = INT64_MAX;
	struct itimerspec when = {0};

	for (Connection *c = connections; c < connections + nconnections; c++)
	{
		if (c->answer_at != 0 && c->answer_at <= now)
			answer(c);
		else if (c->answer_at != 0 && c->answer_at < next)
			next = c->answer_at;
	}
	if (next != INT64_MAX)
	{
		when.it_value.tv_sec = next / 1000000;
		when.it_value.tv_nsec = next % 1000000 * 1000;
	}
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int
main(void)
{
	static int	listener_mark,
				timer_mark,
				input_mark;
	struct epoll_event event = {.events = EPOLLIN};
	struct epoll_event events[MAX_EVENTS];
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	length = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int			timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	int			poll = epoll_create1(0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *) &address, length) != 0 || listen(listener, 1024) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &length) != 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);

	event.data.ptr = &listener_mark;
	epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
	event.data.ptr = &timer_mark;
	epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event);
	event.data.ptr = &input_mark;
	if (epoll_ctl(poll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
		die("standard input");
	for (;;)
	{
		int			n = epoll_wait(poll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++)
		{
			void	   *who = events[i].data.ptr;
			uint64_t	rung;

			if (who == &input_mark)
				return 0;
			else if (who == &listener_mark)
				take_connections(listener, poll);
			else if (who == &timer_mark)
				(void) !read(timer, &rung, sizeof(rung));
			else if (((Connection *) who)->fd != 0)
				receive(who);
		}
		keep_time(timer);
	}
}
