/* connect(): to the gateway for what is outside, by CONNECT; to its own sockets for 127.0.0.1:8010 and :3128; to a listener of
 * this container for another port of loopback. Every other address family is the kernel's, as it was. */
#include "net.h"
#include "sys.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BACKLOG_MS = 5000 /* a full queue at the gateway, which a socket that does not wait is told at once */ };

static int to_path(int fd, const struct sockaddr_un *at, socklen_t len)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	for (int tries = 0;; tries++) {
		if (!waiting_call(SYS_connect, fd, ARG(at), len, 0, 0, 0))
			return 0;
		if (errno != EAGAIN || tries == BACKLOG_MS)
			return errno;
		nanosleep(&pause, NULL);
	}
}

static struct sockaddr_un socket_named_by(const char *variable, const char *otherwise)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *path = getenv(variable);
	if (!path || !*path || strlen(path) >= sizeof at.sun_path)
		path = otherwise;
	memcpy(at.sun_path, path, strlen(path) + 1);
	return at;
}

static struct sockaddr_un egress_socket(void)
{
	return socket_named_by("AION_EGRESS_SOCKET", "/run/aion/egress.sock");
}

/* A new socket under the same number: a unix socket can neither be bound nor connected twice. */
static int renew(int fd)
{
	long inherited = syscall(SYS_fcntl, fd, F_GETFD);
	int cloexec = inherited > 0 && inherited & FD_CLOEXEC, family = family_of(fd);
	int fresh = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (is_nonblocking(fd) ? SOCK_NONBLOCK : 0), 0);
	if (fresh < 0)
		return -1;
	int done = (int)syscall(SYS_dup3, fresh, fd, cloexec ? O_CLOEXEC : 0);
	syscall(SYS_close, fresh);
	if (done < 0)
		return -1;
	family_note(fd, family == AF_INET6 ? AF_INET6 : AF_INET);
	return 0;
}

static int is_alive(int fd)
{
	struct pollfd p = { .fd = fd };
	struct timespec now = { 0 };
	return syscall(SYS_ppoll, &p, 1, &now, NULL, 8) >= 0 && !(p.revents & POLLHUP);
}

static int through_the_gateway(int fd, const struct place *to)
{
	struct sockaddr_un egress = egress_socket();
	struct answer answer = { 0 };
	/* Before the question, so that no other thread ever sees the socket as connected when it is not. */
	struct waiter *w = waiting_claim(fd);
	int err = to_path(fd, &egress, sizeof egress);
	if (err)
		err = err == ENOENT || err == ECONNREFUSED || err == EACCES ? ENETUNREACH : err;
	else
		err = ask_gateway(fd, to);
	if (!err && w && is_nonblocking(fd))
		return failed(EINPROGRESS);
	if (!err && w && !is_nonblocking(fd)) {
		err = waiting_settle(w, fd);
		if (err == STILL_WAITING)
			return failed(EINTR); /* it goes on, and poll tells when */
	} else if (!err) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		while ((err = ask_hear(fd, &answer)) < 0)
			waiting_call(SYS_ppoll, ARG(&p), 1, 0, 0, 8, 0);
	}
	if (!err)
		return 0;
	syscall(SYS_shutdown, fd, SHUT_RDWR);
	if (w)
		waiting_let_go(w, fd);
	return failed(err);
}

int reach(int fd, const struct sockaddr *to, socklen_t len)
{
	struct place place;
	struct badge badge;
	struct waiter *w;
	if (!place_of(to, len, &place) || socket_int(fd, SO_DOMAIN) != AF_UNIX)
		return (int)waiting_call(SYS_connect, fd, ARG(to), len, 0, 0, 0);
	if (socket_int(fd, SO_TYPE) == SOCK_DGRAM)
		return datagram_aim(fd, &place);
	if ((w = waiting_find(fd))) {
		int err = waiting_look(w, fd);
		if (err == STILL_WAITING && is_nonblocking(fd))
			return failed(EALREADY);
		if (err == STILL_WAITING)
			err = waiting_settle(w, fd);
		if (err == STILL_WAITING)
			return failed(EINTR);
		if (err)
			waiting_let_go(w, fd);
		return err ? failed(err) : 0;
	}
	if (badge_own(fd, &badge)) {
		if (badge.kind == BADGE_CLIENT && is_alive(fd))
			return failed(EISCONN);
		if (renew(fd))
			return -1;
	}
	if (!place.port)
		return failed(ECONNREFUSED);
	badge_wear(fd, BADGE_CLIENT, &place); /* without it all works but getpeername */
	if (!place_is_loopback(&place))
		return through_the_gateway(fd, &place);
	struct sockaddr_un at;
	socklen_t size = sizeof at;
	if (place.port == GATEWAY_PORT)
		at = socket_named_by("AION_GATEWAY_SOCKET", "/run/aion/gw.sock");
	else if (place.port == PROXY_PORT)
		at = egress_socket();
	else
		size = badge_listener(place.port, &at);
	int err = to_path(fd, &at, size);
	return err ? failed(err == ENOENT || err == EACCES ? ECONNREFUSED : err) : 0;
}

EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	return reach(fd, to, len);
}
