/* epoll: a socket whose connect is under way is entered as waiting for the gateway's answer, under a mark of ours; when that
 * comes it is entered again as the program wanted it, and the kernel reports the rest. The events that reach a program are
 * always the kernel's own; ours are taken out. */
#include "net.h"
#include "sys.h"

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

enum { SIGSET = 8 };

EXPORT int epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
	struct waiter *w = waiting_find(fd);
	if (w && op == EPOLL_CTL_DEL)
		waiting_strike(w, set);
	if (w && op != EPOLL_CTL_DEL && event && waiting_look(w, fd) == STILL_WAITING) {
		int entered = waiting_enrol(w, fd, set, event, op);
		if (entered)
			return entered < 0 ? -1 : 0;
		waiting_settle(w, fd); /* it is in another set already, or its entry is in use */
	}
	return (int)syscall(SYS_epoll_ctl, set, op, fd, event);
}

/* Takes our own events out; how many are left. */
static int sift(struct epoll_event *events, int n)
{
	int kept = 0;
	for (int i = 0; i < n; i++) {
		struct waiter *w;
		int fd;
		if (waiting_by_mark(events[i].data.u64, &w, &fd)) {
			if (w)
				waiting_look(w, fd);
		} else {
			events[kept++] = events[i];
		}
	}
	return kept;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

EXPORT int epoll_pwait(int set, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	int64_t end = timeout > 0 && waiting_any() ? now_ms() + timeout : 0;
	for (;;) {
		int n = (int)waiting_call(SYS_epoll_pwait, set, ARG(events), most, timeout, ARG(mask), SIGSET);
		int kept = n > 0 ? sift(events, n) : n;
		if (n <= 0 || kept)
			return kept;
		if (timeout > 0) {
			int64_t left = end ? end - now_ms() : timeout;
			timeout = left > 0 ? (int)left : 0;
		}
	}
}

EXPORT int epoll_wait(int set, struct epoll_event *events, int most, int timeout)
{
	return epoll_pwait(set, events, most, timeout, NULL);
}

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask);

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask)
{
#ifdef SYS_epoll_pwait2
	if (!waiting_any())
		return (int)waiting_call(SYS_epoll_pwait2, set, ARG(events), most, ARG(timeout), ARG(mask), SIGSET);
#endif
	int64_t ms = timeout ? timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
	return epoll_pwait(set, events, most, ms > INT32_MAX ? INT32_MAX : (int)ms, mask);
}
