/* System calls by their number: what libc's own functions of the names we take would do. Without dlsym, because glibc
 * before 2.34 keeps that in a library which the program may not have loaded, and another library's constructor may ask for
 * a socket before ours ran. The calls that can wait stay cancellation points. */
#ifndef AION_NET_SYS_H
#define AION_NET_SYS_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARG(x) ((long)(x))

/* Not in libc.so.6 of an old glibc whose program has no threads: then there is nothing to cancel. */
extern int pthread_setcanceltype(int type, int *old) __attribute__((weak));

static inline long waiting_call(long nr, long a, long b, long c, long d, long e, long f)
{
	int before = PTHREAD_CANCEL_DEFERRED;
	if (!pthread_setcanceltype)
		return syscall(nr, a, b, c, d, e, f);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	long result = syscall(nr, a, b, c, d, e, f);
	pthread_setcanceltype(before, NULL);
	return result;
}

static inline int failed(int err)
{
	errno = err;
	return -1;
}

#endif
