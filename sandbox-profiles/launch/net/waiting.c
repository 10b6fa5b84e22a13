/* Connects under way. A program that does not wait in connect() waits for its socket to be writable, but a unix socket is
 * that at once; so whoever waits for one in this table is made to wait for the gateway's answer, which makes it readable.
 * By cookie, not by descriptor: duplicates and forks share an entry, and a number that was closed and given out again does
 * not find one. Nothing blocks under an entry's lock; who does not get it is told "not yet". A lock that a fork left held is
 * known by its holder's process id. Entries whose socket was closed are swept once they are a minute old. */
#include "net.h"
#include "sys.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { ENTRIES = 1024, REACH = 32 /* how far from its place an entry may lie */, OLD_S = 60, SWEEP_EVERY = 4096 };

struct waiter {
	_Atomic uint64_t cookie; /* 0: free */
	atomic_int holder;       /* process id, or 0 */
	atomic_int err;          /* of a connect that failed: told once, then the entry is free */
	atomic_int set;          /* the epoll set it is in, or -1 */
	atomic_int asleep;       /* a thread waits for the answer in recv(): nobody else takes it, or that thread would not wake */
	atomic_int fd;           /* by which it got there */
	_Atomic int64_t since;
	struct answer answer;
	struct epoll_event wanted;
};

static struct waiter table[ENTRIES];
static atomic_int live;
static atomic_uint finds;

#define MARK 0xa10eu /* above any address of a user's space, and no descriptor */

static int64_t now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static int take(struct waiter *w)
{
	int self = getpid(), holder = 0;
	return atomic_compare_exchange_strong(&w->holder, &holder, self)
	       || (holder != self && atomic_compare_exchange_strong(&w->holder, &holder, self));
}

static void give(struct waiter *w)
{
	atomic_store(&w->holder, 0);
}

static void release(struct waiter *w)
{
	atomic_store(&w->set, -1);
	atomic_store(&w->err, 0);
	atomic_store(&w->asleep, 0);
	if (atomic_exchange(&w->cookie, 0))
		atomic_fetch_sub(&live, 1);
}

static void sweep(void)
{
	int64_t now = now_s();
	for (struct waiter *w = table; w < table + ENTRIES; w++) {
		uint64_t cookie = atomic_load(&w->cookie);
		if (cookie && now - w->since > OLD_S && socket_cookie(w->fd) != cookie && take(w)) {
			if (atomic_load(&w->cookie) == cookie)
				release(w);
			give(w);
		}
	}
}

int waiting_any(void)
{
	return atomic_load_explicit(&live, memory_order_relaxed) > 0;
}

struct waiter *waiting_claim(int fd)
{
	uint64_t cookie = socket_cookie(fd);
	for (int turn = 0; cookie && turn < 2; turn++) {
		for (unsigned i = 0; i < REACH; i++) {
			struct waiter *w = &table[(cookie + i) % ENTRIES];
			if (atomic_load(&w->cookie) || !take(w))
				continue;
			if (atomic_load(&w->cookie)) {
				give(w);
				continue;
			}
			memset(&w->answer, 0, sizeof w->answer);
			w->fd = fd;
			w->since = now_s();
			atomic_store(&w->err, 0);
			atomic_store(&w->set, -1);
			atomic_fetch_add(&live, 1);
			atomic_store(&w->cookie, cookie);
			give(w);
			return w;
		}
		sweep();
	}
	return NULL;
}

struct waiter *waiting_find(int fd)
{
	if (!waiting_any())
		return NULL;
	if (atomic_fetch_add_explicit(&finds, 1, memory_order_relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1)
		sweep();
	uint64_t cookie = socket_cookie(fd);
	for (unsigned i = 0; cookie && i < REACH; i++)
		if (atomic_load_explicit(&table[(cookie + i) % ENTRIES].cookie, memory_order_acquire) == cookie)
			return &table[(cookie + i) % ENTRIES];
	return NULL;
}

/* Back into the epoll set as the program wanted it: the kernel looks at the socket anew and reports what it is. */
static void put_back(struct waiter *w, uint64_t cookie)
{
	int set = atomic_exchange(&w->set, -1);
	if (set >= 0 && socket_cookie(w->fd) == cookie)
		syscall(SYS_epoll_ctl, set, EPOLL_CTL_MOD, w->fd, &w->wanted);
}

static int look(struct waiter *w, int fd, int sleeper)
{
	char rest[512];
	uint64_t cookie = socket_cookie(fd);
	int err = STILL_WAITING, before = errno;
	if (!take(w))
		return STILL_WAITING;
	if (atomic_load(&w->cookie) != cookie) {
		err = OPENED; /* another thread saw the answer */
	} else if (atomic_load(&w->err)) {
		err = atomic_load(&w->err);
	} else if (sleeper || !atomic_load(&w->asleep)) {
		err = ask_hear(fd, &w->answer);
		if (err > 0) {
			/* The rest of a refusal is the gateway's words to us, not to the program. */
			syscall(SYS_shutdown, fd, SHUT_RDWR);
			while (syscall(SYS_recvfrom, fd, rest, sizeof rest, MSG_DONTWAIT, NULL, NULL) > 0)
				;
			atomic_store(&w->err, err);
		}
		if (err != STILL_WAITING)
			put_back(w, cookie);
		if (err == OPENED)
			release(w);
	}
	give(w);
	errno = before;
	return err;
}

int waiting_look(struct waiter *w, int fd)
{
	return look(w, fd, 0);
}

/* recv and not poll: the kernel goes on by itself after a signal whose handler says SA_RESTART. */
static int sleep_for(struct waiter *w, int fd)
{
	char byte;
	int err;
	while ((err = look(w, fd, 1)) == STILL_WAITING)
		if (waiting_call(SYS_recvfrom, fd, ARG(&byte), 1, MSG_PEEK, 0, 0) < 0) {
			if (errno == EINTR || errno == EINVAL || errno == ENOTCONN)
				return STILL_WAITING; /* a signal; or another thread is only about to connect it */
			return errno == EAGAIN ? ETIMEDOUT /* the program's own SO_RCVTIMEO */ : ECONNREFUSED;
		}
	return err;
}

int waiting_settle(struct waiter *w, int fd)
{
	int none = 0, err;
	if (!is_nonblocking(fd) && atomic_compare_exchange_strong(&w->asleep, &none, 1)) {
		err = sleep_for(w, fd);
		atomic_store(&w->asleep, 0);
		return err;
	}
	while ((err = look(w, fd, 0)) == STILL_WAITING) {
		/* In slices, because another thread may take the answer, and then nothing would wake this one. */
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct timespec slice = { .tv_nsec = 50000000 };
		if (waiting_call(SYS_ppoll, ARG(&p), 1, ARG(&slice), 0, 8, 0) < 0 && errno != EINTR)
			return ECONNREFUSED;
	}
	return err;
}

void waiting_let_go(struct waiter *w, int fd)
{
	uint64_t cookie = socket_cookie(fd);
	while (!take(w))
		if (atomic_load(&w->cookie) != cookie)
			return;
	if (atomic_load(&w->cookie) == cookie)
		release(w);
	give(w);
}

int waiting_enrol(struct waiter *w, int fd, int set, const struct epoll_event *wanted, int op)
{
	uint64_t cookie = socket_cookie(fd);
	uint64_t mark = (uint64_t)MARK << 48 | (uint64_t)(w - table) << 32 | (cookie & 0xffffffffu);
	struct epoll_event until = { .events = EPOLLIN, .data.u64 = mark };
	int none = -1, before = errno;
	if (!take(w))
		return 0;
	int held = atomic_load(&w->set);
	int mine = atomic_load(&w->cookie) == cookie && !atomic_load(&w->err) && (held == none || held == set);
	if (mine) {
		struct epoll_event old = w->wanted;
		w->wanted = *wanted;
		w->wanted.events &= ~(uint32_t)EPOLLEXCLUSIVE; /* it cannot be changed once it is in a set */
		w->fd = fd;
		atomic_store(&w->set, set);
		if (syscall(SYS_epoll_ctl, set, op, fd, &until)) {
			before = errno;
			w->wanted = old;
			atomic_store(&w->set, held);
			mine = -1;
		}
	}
	give(w);
	errno = before;
	return mine;
}

int waiting_is_enrolled(struct waiter *w)
{
	return atomic_load(&w->set) >= 0;
}

void waiting_strike(struct waiter *w, int set)
{
	atomic_compare_exchange_strong(&w->set, &set, -1);
}

int waiting_by_mark(uint64_t mark, struct waiter **w, int *fd)
{
	unsigned at = (unsigned)(mark >> 32) & 0xffffu;
	if (mark >> 48 != MARK || at >= ENTRIES)
		return 0;
	*w = &table[at];
	*fd = table[at].fd;
	uint64_t cookie = atomic_load(&table[at].cookie);
	if (!cookie || (cookie & 0xffffffffu) != (mark & 0xffffffffu) || socket_cookie(*fd) != cookie)
		*w = NULL;
	return 1;
}
