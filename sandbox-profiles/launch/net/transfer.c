/* send and recv. The kernel's, but for four cases: a connect under way, TCP's sendto with an address (which it ignores, or
 * connects by where MSG_FASTOPEN says so), a question to a name server, and the sender's address of its answer. */
#include "net.h"
#include "sys.h"

#include <string.h>
#include <sys/uio.h>

#ifdef __GLIBC__
typedef int mmsg_flags;
#else
typedef unsigned mmsg_flags;
#endif

EXPORT ssize_t __recv_chk(int fd, void *to, size_t size, size_t room, int flags);
EXPORT ssize_t __recvfrom_chk(int fd, void *restrict to, size_t size, size_t room, int flags, struct sockaddr *restrict from,
			      socklen_t *restrict len);

/* 0 where the call may go on, -1 with errno where not. */
static int settled(int fd, int flags)
{
	struct waiter *w = waiting_find(fd);
	if (!w)
		return 0;
	int err = waiting_look(w, fd);
	if (err == STILL_WAITING && waiting_is_enrolled(w) && (is_nonblocking(fd) || flags & MSG_DONTWAIT))
		return failed(EAGAIN); /* epoll will tell */
	if (err == STILL_WAITING)
		err = waiting_settle(w, fd);
	if (err == STILL_WAITING)
		return failed(EINTR);
	if (err > 0)
		waiting_let_go(w, fd);
	return err > 0 ? failed(err) : 0;
}

/* After the kernel refused: is this a datagram socket of ours, and whom does it speak to? */
static int is_question(int fd, const struct sockaddr *to, socklen_t len, struct place *place)
{
	struct badge badge;
	int err = errno, ours = socket_int(fd, SO_TYPE) == SOCK_DGRAM && family_of(fd);
	if (ours && to)
		ours = place_of(to, len, place);
	else if (ours && (ours = badge_own(fd, &badge)))
		*place = badge.place;
	errno = err;
	return ours;
}

static ssize_t ask_in_parts(int fd, const struct place *place, const struct iovec *parts, size_t count)
{
	unsigned char question[512];
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].iov_len > sizeof question - n)
			return failed(EMSGSIZE);
		memcpy(question + n, parts[i].iov_base, parts[i].iov_len);
		n += parts[i].iov_len;
	}
	return datagram_ask(fd, place, question, n);
}

EXPORT ssize_t sendto(int fd, const void *bytes, size_t n, int flags, const struct sockaddr *to, socklen_t len)
{
	struct place place;
	if (settled(fd, flags))
		return -1;
	int inet = to && (to->sa_family == AF_INET || to->sa_family == AF_INET6) && socket_int(fd, SO_DOMAIN) == AF_UNIX;
	if (inet && socket_int(fd, SO_TYPE) == SOCK_STREAM) {
		if (flags & MSG_FASTOPEN && reach(fd, to, len) && errno != EISCONN)
			return -1;
		return sendto(fd, bytes, n, flags & ~MSG_FASTOPEN, NULL, 0);
	}
	long sent = inet ? failed(EINVAL) : waiting_call(SYS_sendto, fd, ARG(bytes), ARG(n), flags, ARG(to), len);
	if (sent < 0 && (errno == ENOTCONN || errno == EINVAL || errno == EDESTADDRREQ) && is_question(fd, to, len, &place))
		return datagram_ask(fd, &place, bytes, n);
	return sent;
}

EXPORT ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
	return sendto(fd, bytes, n, flags, NULL, 0);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct place place;
	struct msghdr plain = *message;
	if (settled(fd, flags))
		return -1;
	const struct sockaddr *to = message->msg_name;
	socklen_t len = message->msg_namelen;
	int inet = to && len >= sizeof to->sa_family && (to->sa_family == AF_INET || to->sa_family == AF_INET6)
		   && socket_int(fd, SO_DOMAIN) == AF_UNIX;
	if (inet && socket_int(fd, SO_TYPE) == SOCK_STREAM) {
		if (flags & MSG_FASTOPEN && reach(fd, to, len) && errno != EISCONN)
			return -1;
		plain.msg_name = NULL;
		plain.msg_namelen = 0;
		return sendmsg(fd, &plain, flags & ~MSG_FASTOPEN);
	}
	long sent = inet ? failed(EINVAL) : waiting_call(SYS_sendmsg, fd, ARG(message), flags, 0, 0, 0);
	if (sent >= 0 || (errno != ENOTCONN && errno != EINVAL && errno != EDESTADDRREQ) || !is_question(fd, to, len, &place))
		return sent;
	return ask_in_parts(fd, &place, message->msg_iov, (size_t)message->msg_iovlen);
}

/* gRPC's resolver asks by it. */
EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct place place;
	long sent = waiting_call(SYS_writev, fd, ARG(parts), count, 0, 0, 0);
	if (sent < 0 && (errno == ENOTCONN || errno == EDESTADDRREQ) && is_question(fd, NULL, 0, &place))
		return ask_in_parts(fd, &place, parts, (size_t)count);
	return sent;
}

EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, mmsg_flags flags)
{
	for (unsigned i = 0; i < n; i++) {
		ssize_t sent = sendmsg(fd, &messages[i].msg_hdr, (int)flags);
		if (sent < 0)
			return i ? (int)i : -1;
		messages[i].msg_len = (unsigned)sent;
	}
	return (int)n;
}

/* A sender of ours is shown as the place it stands for. */
static void show_sender(int fd, const struct sockaddr_un *from, socklen_t got, struct sockaddr *to, socklen_t *room)
{
	struct badge badge;
	if (got && from->sun_family == AF_UNIX && socket_int(fd, SO_TYPE) == SOCK_STREAM && family_of(fd)) {
		*room = 0; /* TCP has no sender to tell of */
	} else if (badge_read(from, got, &badge)) {
		place_give(&badge.place, family_of(fd) == AF_INET6, to, room);
	} else {
		memcpy(to, from, *room < got ? *room : got);
		*room = got;
	}
}

EXPORT ssize_t recvfrom(int fd, void *restrict to, size_t n, int flags, struct sockaddr *restrict from, socklen_t *restrict len)
{
	struct sockaddr_storage sender;
	socklen_t got = sizeof sender;
	if (settled(fd, flags))
		return -1;
	if (!from || !len)
		return waiting_call(SYS_recvfrom, fd, ARG(to), ARG(n), flags, ARG(from), ARG(len));
	long done = waiting_call(SYS_recvfrom, fd, ARG(to), ARG(n), flags, ARG(&sender), ARG(&got));
	if (done >= 0)
		show_sender(fd, (struct sockaddr_un *)&sender, got, from, len);
	return done;
}

EXPORT ssize_t recv(int fd, void *to, size_t n, int flags)
{
	return recvfrom(fd, to, n, flags, NULL, NULL);
}

EXPORT ssize_t __recv_chk(int fd, void *to, size_t size, size_t room, int flags)
{
	if (size > room)
		__builtin_trap(); /* the caller's buffer is smaller than it says: what glibc ends it for, too */
	return recv(fd, to, size, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *restrict to, size_t size, size_t room, int flags, struct sockaddr *restrict from,
			      socklen_t *restrict len)
{
	if (size > room)
		__builtin_trap();
	return recvfrom(fd, to, size, flags, from, len);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct sockaddr_storage sender;
	void *name = message->msg_name;
	socklen_t room = message->msg_namelen;
	if (settled(fd, flags))
		return -1;
	if (name) {
		message->msg_name = &sender;
		message->msg_namelen = sizeof sender;
	}
	long done = waiting_call(SYS_recvmsg, fd, ARG(message), flags, 0, 0, 0);
	if (name) {
		socklen_t got = message->msg_namelen;
		message->msg_name = name;
		message->msg_namelen = room;
		if (done >= 0)
			show_sender(fd, (struct sockaddr_un *)&sender, got, name, &message->msg_namelen);
	}
	return done;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, mmsg_flags flags, struct timespec *timeout)
{
	if (socket_int(fd, SO_DOMAIN) != AF_UNIX)
		return (int)waiting_call(SYS_recvmmsg, fd, ARG(messages), n, ARG(flags), ARG(timeout), 0);
	for (unsigned i = 0; i < n; i++) {
		int one = (int)flags & ~MSG_WAITFORONE;
		if (i && (int)flags & MSG_WAITFORONE)
			one |= MSG_DONTWAIT;
		ssize_t got = recvmsg(fd, &messages[i].msg_hdr, one);
		if (got < 0)
			return i ? (int)i : -1;
		messages[i].msg_len = (unsigned)got;
	}
	return (int)n;
}
