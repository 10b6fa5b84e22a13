/* What a socket is, remembered by the kernel: a socket of ours is bound to an abstract name that says it. So close, dup,
 * fork, vfork, exec and passing a descriptor on need no hook, and a thread can ask at any time. Nobody can connect to such a
 * name but to a listener's, which is what a server on loopback becomes: found by its port, gone with its last descriptor.
 * A name is data of the program's own sandbox: it decides nothing. */
#include "net.h"
#include "sys.h"

#include <string.h>

static const char MAGIC[] = "aion-net"; /* `ss -xp` shows it */

/* As it lies in sun_path, after the zero byte. */
struct worn {
	char magic[sizeof MAGIC];
	uint8_t kind, six;
	uint8_t port[2], local[2];
	unsigned char ip[16];
	uint8_t cookie[8]; /* makes it unique; of a listener it is zero, as all but the port is */
};

enum { SIZE = offsetof(struct sockaddr_un, sun_path) + 1 + sizeof(struct worn), EPHEMERAL = 32768, PORTS = 28232 };

static void put(uint8_t *to, uint64_t value, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static socklen_t write_down(struct sockaddr_un *at, enum badge_kind kind, const struct place *place, uint64_t cookie)
{
	struct worn worn = { .kind = (uint8_t)kind, .six = place->six };
	memcpy(worn.magic, MAGIC, sizeof MAGIC);
	memcpy(worn.ip, place->ip, sizeof worn.ip);
	put(worn.port, place->port, 2);
	put(worn.local, cookie ? EPHEMERAL + cookie % PORTS : place->port, 2);
	put(worn.cookie, cookie, 8);
	memset(at, 0, sizeof *at);
	at->sun_family = AF_UNIX;
	memcpy(at->sun_path + 1, &worn, sizeof worn);
	return SIZE;
}

socklen_t badge_listener(uint16_t port, struct sockaddr_un *at)
{
	struct place where = { .port = port };
	return write_down(at, BADGE_LISTENER, &where, 0);
}

int badge_wear(int fd, enum badge_kind kind, const struct place *place)
{
	struct sockaddr_un at;
	socklen_t len = kind == BADGE_LISTENER ? badge_listener(place->port, &at)
					       : write_down(&at, kind, place, socket_cookie(fd));
	return (int)syscall(SYS_bind, fd, &at, len);
}

int badge_read(const struct sockaddr_un *at, socklen_t len, struct badge *badge)
{
	struct worn worn;
	memset(badge, 0, sizeof *badge);
	if (len != SIZE || at->sun_family != AF_UNIX || at->sun_path[0])
		return 0;
	memcpy(&worn, at->sun_path + 1, sizeof worn);
	if (memcmp(worn.magic, MAGIC, sizeof MAGIC))
		return 0;
	badge->kind = worn.kind;
	badge->place.six = worn.six;
	badge->place.port = (uint16_t)(worn.port[0] | worn.port[1] << 8);
	badge->local = (uint16_t)(worn.local[0] | worn.local[1] << 8);
	memcpy(badge->place.ip, worn.ip, sizeof worn.ip);
	return 1;
}

static int asked(long nr, int fd, struct badge *badge)
{
	struct sockaddr_un at;
	socklen_t len = sizeof at;
	int err = errno;
	badge->kind = BADGE_NONE;
	int worn = !syscall(nr, fd, &at, &len) && badge_read(&at, len, badge);
	errno = err;
	return worn;
}

int badge_own(int fd, struct badge *badge)
{
	return asked(SYS_getsockname, fd, badge);
}

int badge_peer(int fd, struct badge *badge)
{
	return asked(SYS_getpeername, fd, badge);
}
