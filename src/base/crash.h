/*
 * crash.h
 *	  Points at which a test has a process killed, or held.
 *
 * In a build with CUPSOURCE_CRASH_POINTS, which only the stage for the tests
 * is (scripts/stage.sh), a process that comes by a point of that name while
 * the data directory has a file "cupsource.crash.NAME" removes the file and
 * kills itself with SIGKILL: no exit callback runs, as after a crash at that
 * very instruction.  Removing is atomic, so each file kills one process, once.
 * While there is a file "cupsource.hold.NAME" all stay at the point of that name.
 * In any other build there is nothing.
 */
#ifndef CS_BASE_CRASH_H
#define CS_BASE_CRASH_H

#ifdef CUPSOURCE_CRASH_POINTS

#include <signal.h>
#include <unistd.h>

/* 'name' is a literal; the current directory of a server process is the data directory. */
#define CS_CRASH_POINT(name) \
	do { \
		if (unlink("cupsource.crash." name) == 0) \
			(void) kill(getpid(), SIGKILL); \
	} while (0)

#define CS_HOLD_POINT(name) \
	do { \
		while (access("cupsource.hold." name, F_OK) == 0) \
			pg_usleep(1000); \
	} while (0)

#else

#define CS_CRASH_POINT(name) ((void) 0)
#define CS_HOLD_POINT(name) ((void) 0)

#endif

#endif							/* CS_BASE_CRASH_H */
