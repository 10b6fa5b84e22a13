/* poll and select, and what fortified programs call instead. While a connect is under way its socket waits for the gateway's
 * answer instead of for room to write; once that is here, the kernel's own view of it is the right one. */
#include "net.h"
#include "sys.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

enum { MOST = 64 /* connects in one call; a further one is waited for by itself */, SIGSET = 8 };

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);

/* Relative to now, from a deadline; NULL where there is none. */
static struct timespec *left_of(const struct timespec *end, struct timespec *left)
{
	if (!end)
		return NULL;
	clock_gettime(CLOCK_MONOTONIC, left);
	left->tv_sec = end->tv_sec - left->tv_sec;
	left->tv_nsec = end->tv_nsec - left->tv_nsec;
	if (left->tv_nsec < 0) {
		left->tv_nsec += 1000000000;
		left->tv_sec--;
	}
	if (left->tv_sec < 0)
		*left = (struct timespec){ 0 };
	return left;
}

static const struct timespec *deadline(const struct timespec *timeout, struct timespec *end)
{
	if (!timeout)
		return NULL;
	clock_gettime(CLOCK_MONOTONIC, end);
	end->tv_nsec += timeout->tv_nsec;
	end->tv_sec += timeout->tv_sec + end->tv_nsec / 1000000000;
	end->tv_nsec %= 1000000000;
	return end;
}

static int polled(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct { nfds_t at; short events; struct waiter *w; } held[MOST];
	struct timespec last, left, copy;
	if (!waiting_any()) {
		copy = timeout ? *timeout : (struct timespec){ 0 }; /* the kernel writes into it */
		return (int)waiting_call(SYS_ppoll, ARG(fds), ARG(n), timeout ? ARG(&copy) : 0, ARG(mask), SIGSET, 0);
	}
	const struct timespec *end = deadline(timeout, &last);
	for (;;) {
		int count = 0, answered = 0;
		for (nfds_t i = 0; i < n; i++) {
			struct waiter *w = fds[i].fd >= 0 ? waiting_find(fds[i].fd) : NULL;
			if (!w || waiting_look(w, fds[i].fd) != STILL_WAITING)
				continue;
			if (count == MOST) {
				waiting_settle(w, fds[i].fd);
				continue;
			}
			held[count].at = i;
			held[count].events = fds[i].events;
			held[count++].w = w;
			fds[i].events = POLLIN;
		}
		struct timespec *wait = left_of(end, &left);
		int ready = (int)waiting_call(SYS_ppoll, ARG(fds), ARG(n), ARG(wait), ARG(mask), SIGSET, 0);
		for (int i = 0; i < count; i++) {
			struct pollfd *p = &fds[held[i].at];
			p->events = held[i].events;
			if (ready <= 0 || !p->revents)
				continue;
			p->revents = 0;
			ready--;
			answered++;
			waiting_look(held[i].w, p->fd);
		}
		if (ready || !answered)
			return ready;
	}
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec wait = { .tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L };
	return polled(fds, n, timeout < 0 ? NULL : &wait, NULL);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	return polled(fds, n, timeout, mask);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof *fds < n)
		__builtin_trap(); /* the caller's array is smaller than it says: what glibc ends it for, too */
	return poll(fds, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
	if (size / sizeof *fds < n)
		__builtin_trap();
	return ppoll(fds, n, timeout, mask);
}

/* By hand, because the macros of one libc do not pass for clean with the warnings we build with. */
static unsigned long *word_of(const fd_set *set, int fd, unsigned long *bit)
{
	const unsigned bits = 8 * sizeof *bit, at = (unsigned)fd;
	*bit = 1ul << at % bits;
	return (unsigned long *)(uintptr_t)set + at / bits;
}

static int has(const fd_set *set, int fd)
{
	unsigned long bit;
	return set && (*word_of(set, fd, &bit) & bit) != 0;
}

static void move(fd_set *set, int fd, int in)
{
	unsigned long bit, *word = word_of(set, fd, &bit);
	*word = in ? *word | bit : *word & ~bit;
}

static long select_call(int n, fd_set *r, fd_set *w, fd_set *e, struct timespec *wait, const sigset_t *mask)
{
	struct { const sigset_t *mask; size_t size; } blocked = { mask, SIGSET };
	return waiting_call(SYS_pselect6, n, ARG(r), ARG(w), ARG(e), ARG(wait), ARG(&blocked));
}

/* The sets are those of the program until the last moment: select() overwrites them, and is called again. */
static int selected(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *end, struct timespec *left, const sigset_t *mask)
{
	fd_set none, read0, write0, except0;
	struct { int fd; struct waiter *w; } held[MOST];
	FD_ZERO(&none);
	read0 = r ? *r : none;
	write0 = w ? *w : none;
	except0 = e ? *e : none;
	for (;;) {
		fd_set reads = read0, writes = write0, excepts = except0;
		int count = 0, answered = 0;
		for (int fd = 0; fd < n; fd++) {
			struct waiter *one = has(&write0, fd) || has(&read0, fd) ? waiting_find(fd) : NULL;
			if (!one || waiting_look(one, fd) != STILL_WAITING)
				continue;
			if (count == MOST) {
				waiting_settle(one, fd);
				continue;
			}
			held[count].fd = fd;
			held[count++].w = one;
			move(&reads, fd, 1);
			move(&writes, fd, 0);
		}
		long ready = select_call(n, &reads, &writes, &excepts, left_of(end, left), mask);
		for (int i = 0; ready > 0 && i < count; i++) {
			if (!has(&reads, held[i].fd))
				continue;
			move(&reads, held[i].fd, 0);
			ready--;
			answered++;
			waiting_look(held[i].w, held[i].fd);
		}
		if (!ready && answered)
			continue;
		if (ready >= 0) {
			if (r)
				*r = reads;
			if (w)
				*w = writes;
			if (e)
				*e = excepts;
		}
		left_of(end, left);
		return (int)ready;
	}
}

static void settle_all(int n)
{
	for (int fd = 0; fd < n; fd++) {
		struct waiter *w = waiting_find(fd);
		if (w)
			waiting_settle(w, fd);
	}
}

static int choose(int n, fd_set *r, fd_set *w, fd_set *e, struct timespec *wait, const sigset_t *mask)
{
	struct timespec last;
	int big = n > FD_SETSIZE; /* a larger set than the type has: legal to the kernel, and its size is unknown here */
	if (waiting_any() && big)
		settle_all(n);
	if (!waiting_any() || big)
		return (int)select_call(n, r, w, e, wait, mask);
	struct timespec left = { 0 };
	const struct timespec *end = deadline(wait, &last);
	int ready = selected(n, r, w, e, end, &left, mask);
	if (wait)
		*wait = left;
	return ready;
}

EXPORT int select(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, struct timeval *restrict timeout)
{
	struct timespec wait = { 0 };
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0))
		return failed(EINVAL);
	if (timeout)
		wait = (struct timespec){ timeout->tv_sec + timeout->tv_usec / 1000000, timeout->tv_usec % 1000000 * 1000 };
	int ready = choose(n, r, w, e, timeout ? &wait : NULL, NULL);
	if (timeout)
		*timeout = (struct timeval){ wait.tv_sec, wait.tv_nsec / 1000 }; /* what is left, as Linux has it */
	return ready;
}

EXPORT int pselect(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, const struct timespec *restrict timeout,
		   const sigset_t *restrict mask)
{
	struct timespec wait = timeout ? *timeout : (struct timespec){ 0 };
	return choose(n, r, w, e, timeout ? &wait : NULL, mask);
}
