/* Sockets that listen before the program behind them has booted: a probe or an early client waits in the backlog and
 * never sees a refused connection. They are passed on by the convention of systemd: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES. */
#include "launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 256, FIRST = 3, NAME = 64, PARKED = 64 /* above FIRST + MAX_LISTENERS */ };

static struct { int fd; char name[NAME]; } listeners[MAX_LISTENERS];
static int count;

static void address_of(struct sockaddr_un *at, const char *path)
{
	size_t len = strlen(path);
	if (len >= sizeof at->sun_path)
		fail(EXIT_USAGE, 0, "%s: a socket's path has at most %zu bytes, got %zu", path, sizeof at->sun_path - 1, len);
	memset(at, 0, sizeof *at);
	at->sun_family = AF_UNIX;
	memcpy(at->sun_path, path, len);
}

int connect_unix(const char *path)
{
	struct sockaddr_un at;
	address_of(&at, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&at, sizeof at)) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int listen_unix(const char *path)
{
	struct sockaddr_un at;
	struct stat st;
	address_of(&at, path);
	if (!lstat(path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			fail(EXIT_CANNOT, 0, "%s: something that is not a socket stands there; remove it or choose another path", path);
		if (unlink(path))
			fail(EXIT_CANNOT, errno, "%s: cannot remove the old socket", path);
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail(EXIT_CANNOT, errno, "%s: cannot make a unix socket", path);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) || chmod(path, 0666) || listen(fd, BACKLOG))
		fail(EXIT_CANNOT, errno, "%s: cannot listen there", path);
	return fd;
}

static int listen_ip(const char *addr)
{
	struct sockaddr_storage at = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
	char host[64], *end;
	const char *colon = strrchr(addr, ':');
	if (!colon || colon == addr || (size_t)(colon - addr) >= sizeof host)
		fail(EXIT_USAGE, 0, "--listen: expected /a/path, IPv4:port or [IPv6]:port, got '%s'", addr);
	size_t len = (size_t)(colon - addr);
	int six = addr[0] == '[' && addr[len - 1] == ']';
	memcpy(host, addr + six, len - 2 * (size_t)six);
	host[len - 2 * (size_t)six] = 0;
	errno = 0;
	unsigned long port = strtoul(colon + 1, &end, 10);
	if (errno || end == colon + 1 || *end || colon[1] == '-' || port > 65535)
		fail(EXIT_USAGE, 0, "--listen: expected a port of 0 to 65535, got '%s'", colon + 1);
	int ok = six ? inet_pton(AF_INET6, host, &v6->sin6_addr) : inet_pton(AF_INET, host, &v4->sin_addr);
	if (ok != 1)
		fail(EXIT_USAGE, 0, "--listen: expected an IP address, got '%s'", host);
	at.ss_family = six ? AF_INET6 : AF_INET;
	*(six ? &v6->sin6_port : &v4->sin_port) = htons((uint16_t)port);
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)
	    || bind(fd, (struct sockaddr *)&at, six ? sizeof *v6 : sizeof *v4) || listen(fd, BACKLOG))
		fail(EXIT_CANNOT, errno, "%s: cannot listen there", addr);
	return fd;
}

void listen_on(const char *spec)
{
	const char *eq = strchr(spec, '=');
	size_t len = eq ? (size_t)(eq - spec) : 0;
	if (!len || len >= NAME || strspn(spec, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") < len)
		fail(EXIT_USAGE, 0, "--listen: expected NAME=ADDR with a name of letters, digits, _ and -, got '%s'", spec);
	int fd = eq[1] == '/' ? listen_unix(eq + 1) : listen_ip(eq + 1);
	int parked = fcntl(fd, F_DUPFD_CLOEXEC, PARKED);
	if (parked < 0)
		fail(EXIT_CANNOT, errno, "%s: cannot keep the socket", spec);
	close(fd);
	listeners[count].fd = parked;
	memcpy(listeners[count].name, spec, len);
	listeners[count++].name[len] = 0;
}

void pass_listeners(void)
{
	char names[MAX_LISTENERS * (NAME + 1)] = "", number[24];
	size_t used = 0;
	if (!count)
		return;
	for (int i = 0; i < count; i++) {
		if (dup2(listeners[i].fd, FIRST + i) < 0) /* the copy has no close-on-exec */
			fail(EXIT_CANNOT, errno, "cannot pass the socket %s", listeners[i].name);
		used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ":" : "", listeners[i].name);
	}
	int bad = setenv("LISTEN_FDNAMES", names, 1);
	snprintf(number, sizeof number, "%d", count);
	bad |= setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof number, "%ld", (long)getpid());
	if (bad | setenv("LISTEN_PID", number, 1))
		fail(EXIT_CANNOT, errno, "cannot set LISTEN_FDS");
}
