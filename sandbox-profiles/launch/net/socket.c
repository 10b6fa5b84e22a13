/* socket() and what makes a server of one. A TCP server can be reached from its own container alone, as a listener on
 * loopback is: its port is an abstract name (badge.c). Nothing outside of the Pod can ever reach an agent. */
#include "net.h"
#include "sys.h"

#include <stdatomic.h>
#include <string.h>

EXPORT int socket(int domain, int type, int protocol)
{
	enum { FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC };
	int kind = type & ~FLAGS;
	if ((domain != AF_INET && domain != AF_INET6) || (kind != SOCK_STREAM && kind != SOCK_DGRAM))
		return (int)syscall(SYS_socket, domain, type, protocol);
	if (protocol && protocol != (kind == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP))
		return failed(EPROTONOSUPPORT);
	int fd = (int)syscall(SYS_socket, AF_UNIX, type, 0);
	if (fd >= 0)
		family_note(fd, domain);
	return fd;
}

/* A free port, as bind() to port 0 gives one. */
static int wear_any_port(int fd)
{
	enum { LOWEST = 32768, PORTS = 28232, TRIES = 512 };
	static atomic_uint turn;
	unsigned start = (unsigned)getpid() * 7919u;
	for (int i = 0; i < TRIES; i++) {
		struct place place = { .port = (uint16_t)(LOWEST + (start + atomic_fetch_add(&turn, 1)) % PORTS) };
		if (!badge_wear(fd, BADGE_LISTENER, &place))
			return 0;
		if (errno != EADDRINUSE)
			return -1;
	}
	return failed(EADDRINUSE);
}

EXPORT int bind(int fd, const struct sockaddr *at, socklen_t len)
{
	struct place place;
	if (!place_of(at, len, &place) || socket_int(fd, SO_DOMAIN) != AF_UNIX)
		return (int)syscall(SYS_bind, fd, at, len);
	if (socket_int(fd, SO_TYPE) == SOCK_DGRAM)
		return 0; /* an own port means nothing where only a name server's answers arrive */
	if (!place_is_loopback(&place))
		return failed(EADDRNOTAVAIL);
	if (place.port == GATEWAY_PORT || place.port == PROXY_PORT)
		return failed(EADDRINUSE);
	return place.port ? badge_wear(fd, BADGE_LISTENER, &place) : wear_any_port(fd);
}

EXPORT int listen(int fd, int backlog)
{
	struct badge badge;
	if (family_of(fd) && !badge_own(fd, &badge) && wear_any_port(fd))
		return -1;
	return (int)syscall(SYS_listen, fd, backlog);
}

EXPORT int accept4(int fd, struct sockaddr *at, socklen_t *room, int flags)
{
	struct sockaddr_un from;
	socklen_t len = sizeof from;
	struct badge own, peer;
	if (!badge_own(fd, &own))
		return (int)waiting_call(SYS_accept4, fd, ARG(at), ARG(room), flags, 0, 0);
	int conn = (int)waiting_call(SYS_accept4, fd, ARG(&from), ARG(&len), flags, 0, 0);
	if (conn < 0)
		return conn;
	int six = family_of(fd) == AF_INET6;
	family_note(conn, six ? AF_INET6 : AF_INET);
	struct place place = place_loopback(six, badge_read(&from, len, &peer) ? peer.local : 0);
	place_give(&place, six, at, room);
	return conn;
}

EXPORT int accept(int fd, struct sockaddr *at, socklen_t *room)
{
	return accept4(fd, at, room, 0);
}
