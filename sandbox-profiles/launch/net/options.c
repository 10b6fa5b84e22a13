/* What programs ask of a TCP socket, answered by a unix socket: names of both ends, and options that mean nothing here, but are
 * read back as they were set, because gRPC for one looks. */
#include "net.h"
#include "sys.h"

#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>

enum { SLOTS = 4096 };

/* A hash of socket, level and option << 32 | the value. A cache: what is pushed out reads as 0, as if never set. */
static _Atomic uint64_t options[SLOTS];

static uint64_t key_of(int fd, int level, int option)
{
	uint64_t key = socket_cookie(fd) * 0x9e3779b97f4a7c15u + (uint64_t)(unsigned)level * 0xff51afd7ed558ccdu + (uint64_t)(unsigned)option;
	key = (key ^ key >> 31) * 0xc4ceb9fe1a85ec53u;
	return key ^ key >> 29;
}

static void keep(int fd, int level, int option, const void *value, socklen_t len)
{
	uint32_t kept = 0;
	uint64_t key = key_of(fd, level, option);
	memcpy(&kept, value, len < sizeof kept ? len : sizeof kept);
	atomic_store_explicit(&options[key % SLOTS], key >> 32 << 32 | kept, memory_order_relaxed);
}

static int kept_of(int fd, int level, int option)
{
	uint64_t key = key_of(fd, level, option), slot = atomic_load_explicit(&options[key % SLOTS], memory_order_relaxed);
	return slot >> 32 == key >> 32 ? (int)(uint32_t)slot : 0;
}

EXPORT int getpeername(int fd, struct sockaddr *restrict at, socklen_t *restrict room)
{
	struct badge badge;
	struct waiter *w = waiting_find(fd);
	if (w && waiting_look(w, fd) != OPENED)
		return failed(ENOTCONN);
	struct sockaddr_un real;
	socklen_t len = sizeof real;
	if (syscall(SYS_getpeername, fd, &real, &len)) {
		if (!badge_own(fd, &badge) || badge.kind != BADGE_DATAGRAM)
			return -1;
	} else if (!badge_own(fd, &badge)) {
		return (int)syscall(SYS_getpeername, fd, at, room);
	}
	int six = family_of(fd) == AF_INET6;
	if (badge.kind == BADGE_LISTENER) { /* accepted: the other end says where it came from */
		struct badge peer;
		badge.place = place_loopback(six, badge_read(&real, len, &peer) ? peer.local : 0);
	}
	place_give(&badge.place, six, at, room);
	return 0;
}

EXPORT int getsockname(int fd, struct sockaddr *restrict at, socklen_t *restrict room)
{
	struct badge badge;
	int worn = badge_own(fd, &badge), family = worn ? 0 : family_of(fd);
	if (!worn && !family)
		return (int)syscall(SYS_getsockname, fd, at, room);
	int six = family == AF_INET6 || (worn && family_of(fd) == AF_INET6);
	struct place place = place_loopback(six, badge.local);
	if (!worn)
		place = (struct place){ .six = six != 0 };
	place_give(&place, six, at, room);
	return 0;
}

static int answer_with(int value, void *to, socklen_t *room)
{
	if (*room > sizeof value)
		*room = sizeof value;
	memcpy(to, &value, *room);
	return 0;
}

static int socket_error(struct waiter *w, int fd, void *to, socklen_t *room)
{
	int err = waiting_settle(w, fd);
	if (err > 0)
		waiting_let_go(w, fd);
	return answer_with(err > 0 ? err : 0, to, room);
}

EXPORT int getsockopt(int fd, int level, int option, void *restrict to, socklen_t *restrict room)
{
	struct waiter *w;
	int family;
	if (level == SOL_SOCKET && option == SO_ERROR && (w = waiting_find(fd)))
		return socket_error(w, fd, to, room);
	if (level == SOL_SOCKET && option == SO_DOMAIN && (family = family_of(fd)))
		return answer_with(family, to, room);
	if (level == SOL_SOCKET && option == SO_PROTOCOL && family_of(fd))
		return answer_with(socket_int(fd, SO_TYPE) == SOCK_DGRAM ? IPPROTO_UDP : IPPROTO_TCP, to, room);
	if (level == SOL_SOCKET && option == SO_REUSEPORT && family_of(fd))
		return answer_with(kept_of(fd, level, option), to, room);
	int done = (int)syscall(SYS_getsockopt, fd, level, option, to, room);
	if (!done || level == SOL_SOCKET || !to || !room || !family_of(fd))
		return done;
	if (level != IPPROTO_TCP || option != TCP_INFO)
		return answer_with(kept_of(fd, level, option), to, room);
	memset(to, 0, *room);
	if (*room)
		*(unsigned char *)to = TCP_ESTABLISHED;
	return 0;
}

EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	int done = (int)syscall(SYS_setsockopt, fd, level, option, value, len), err = errno;
	if (!done || err == EBADF || err == ENOTSOCK || !family_of(fd))
		return done;
	/* TCP_NODELAY, keep-alive times, hop limits, SO_REUSEPORT: true of a unix socket, or without meaning. */
	if ((level != SOL_SOCKET && option >= 0) || option == SO_REUSEPORT) {
		keep(fd, level, option, value, value ? len : 0);
		return 0;
	}
	return failed(err);
}
