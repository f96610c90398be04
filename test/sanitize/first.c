/*
 * first.c
 *	  Preloaded beside AddressSanitizer's library, so that it is initialized
 *	  before anything else.
 *
 * It is at the first malloc, and in doing so takes a lock of the C library's
 * that is not for one who has it: newlocale, in the constructor of a library
 * that PostgreSQL is linked with, calls malloc with it held, and the process
 * hangs at its end.  Linked with -z initfirst, this one is called before.
 */
#include <stdlib.h>

static void *volatile block;

__attribute__((constructor)) static void
allocate(void)
{
	block = malloc(1);
	free(block);
}
