/*
 * faults.c
 *	  Faults below the server, for tests: preloaded into all its processes.
 *
 * The file that CUPSOURCE_FAULTS names is mapped by every process; a test
 * writes to it, and what it says holds from then on:
 *
 *	  disk_full		writes to files of tables and indexes fail with ENOSPC
 *	  from, to		connections to the port "from" go to the port "to"
 *	  address		"wrong.example" is 127.0.0.(address), else 127.0.0.1
 *	  clock			seconds that the time of day is ahead; not the monotonic clock
 *	  process, countdown	in this process the allocation fails that libcurl, json-c,
 *					libcrypto or cupsource ask for when this has been counted
 *					down to 0; it is -1 afterwards
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct Faults
{
	int32_t		disk_full;
	int32_t		from;
	int32_t		to;
	int32_t		address;
	int32_t		clock;
	int32_t		process;
	int32_t		countdown;
} Faults;

static const Faults nothing = {.countdown = -1};
static volatile Faults *faults = (volatile Faults *) &nothing;

__attribute__((constructor)) static void
map_faults(void)
{
	const char *path = getenv("CUPSOURCE_FAULTS");
	int			fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void	   *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(Faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		faults = map;
	close(fd);
}

/* ---- the disk ---- */

static int
is_full(int fd)
{
	char		link[64];
	char		path[1024];
	ssize_t		length;

	if (!faults->disk_full)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	if (strstr(path, "/base/") == NULL)
		return 0;
	errno = ENOSPC;
	return 1;
}

ssize_t
pwrite(int fd, const void *data, size_t length, off_t offset)
{
	ssize_t		(*next) (int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");

	return is_full(fd) ? -1 : next(fd, data, length, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
	ssize_t		(*next) (int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");

	return is_full(fd) ? -1 : next(fd, data, length, offset);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	ssize_t		(*next) (int, const struct iovec *, int, off_t) = dlsym(RTLD_NEXT, "pwritev");

	return is_full(fd) ? -1 : next(fd, parts, count, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
	int			(*next) (int, off_t, off_t) = dlsym(RTLD_NEXT, "posix_fallocate");

	return is_full(fd) ? ENOSPC : next(fd, offset, length);
}

/* ---- the network ---- */

int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int			(*next) (int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
	struct sockaddr_in elsewhere;

	if (address->sa_family == AF_INET && length == sizeof(elsewhere))
	{
		memcpy(&elsewhere, address, sizeof(elsewhere));
		if (faults->from != 0 && elsewhere.sin_port == htons(faults->from))
		{
			elsewhere.sin_port = htons(faults->to);
			return next(fd, (struct sockaddr *) &elsewhere, length);
		}
	}
	return next(fd, address, length);
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	int			(*next) (const char *, const char *, const struct addrinfo *,
						 struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
	char		address[16];

	if (name == NULL || strcmp(name, "wrong.example") != 0)
		return next(name, service, hints, result);
	snprintf(address, sizeof(address), "127.0.0.%d", faults->address ? (uint8_t) faults->address : 1);
	return next(address, service, hints, result);
}

/* ---- the clock ---- */

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int			(*next) (struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
	int			result = next(now, zone);

	now->tv_sec += faults->clock;
	return result;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int			(*next) (clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
	int			result = next(clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += faults->clock;
	return result;
}

time_t
time(time_t *result)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

/* ---- memory ---- */

static int
is_ours(const void *caller)
{
	Dl_info		info;

	return dladdr(caller, &info) != 0 && info.dli_fname != NULL &&
		(strstr(info.dli_fname, "/libcurl") != NULL || strstr(info.dli_fname, "/libjson-c") != NULL ||
		 strstr(info.dli_fname, "/libcrypto") != NULL || strstr(info.dli_fname, "/cupsource.so") != NULL);
}

static int
is_exhausted(const void *caller)
{
	if (faults->countdown < 0 || faults->process != getpid() || !is_ours(caller))
		return 0;
	if (__sync_fetch_and_sub(&faults->countdown, 1) != 0)
		return 0;
	errno = ENOMEM;
	return 1;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

void *
malloc(size_t size)
{
	return is_exhausted(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return is_exhausted(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *block, size_t size)
{
	return is_exhausted(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}

char *
strdup(const char *string)
{
	size_t		size = strlen(string) + 1;
	char	   *copy = is_exhausted(__builtin_return_address(0)) ? NULL : __libc_malloc(size);

	return copy ? memcpy(copy, string, size) : NULL;
}
