/* Which unix sockets were asked for as IP, and as which family. By the kernel's cookie of a socket, which is never used
 * twice, and not by descriptor: so a closed and reopened number cannot lie. A cache: what is pushed out by 8192 later sockets
 * is known by its badge alone, and taken for IPv4 before it has one. */
#include "net.h"
#include "sys.h"

#include <fcntl.h>
#include <stdatomic.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

enum { SLOTS = 8192 };

static _Atomic uint64_t born[SLOTS]; /* cookie << 1 | asked for as IPv6 */

uint64_t socket_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof cookie;
	int err = errno;
	if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		cookie = 0;
	errno = err;
	return cookie;
}

void family_note(int fd, int family)
{
	uint64_t cookie = socket_cookie(fd);
	atomic_store_explicit(&born[cookie % SLOTS], cookie << 1 | (family == AF_INET6), memory_order_relaxed);
}

int family_of(int fd)
{
	uint64_t cookie = socket_cookie(fd);
	uint64_t slot = cookie ? atomic_load_explicit(&born[cookie % SLOTS], memory_order_relaxed) : 0;
	struct badge badge;
	if (cookie && slot >> 1 == cookie)
		return slot & 1 ? AF_INET6 : AF_INET;
	if (cookie && badge_own(fd, &badge))
		return badge.place.six ? AF_INET6 : AF_INET;
	return 0;
}

int socket_int(int fd, int option)
{
	int value = -1, err = errno;
	socklen_t len = sizeof value;
	if (syscall(SYS_getsockopt, fd, SOL_SOCKET, option, &value, &len))
		value = -1;
	errno = err;
	return value;
}

int is_nonblocking(int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);
	return flags > 0 && flags & O_NONBLOCK;
}
