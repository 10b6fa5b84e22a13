/* What libaion-net.so promises, asked through libc's own names. The same program runs with the library preloaded, by glibc
 * and by musl, and with its sources linked in under the address and undefined-behaviour sanitizers. The gateway at
 * AION_EGRESS_SOCKET answers by the name of the host; operator/tests/sandbox/tunnel_gateway.py is one. */
#include "check.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

const char *self;

struct sockaddr_in where(const char *host, uint16_t port)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	struct sockaddr_in at;
	MUST(getaddrinfo(host, NULL, &hints, &found) == 0);
	memcpy(&at, found->ai_addr, sizeof at);
	freeaddrinfo(found);
	at.sin_port = htons(port);
	return at;
}

int dial(const char *host, uint16_t port, int flags)
{
	struct sockaddr_in at = where(host, port);
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
	MUST(fd >= 0);
	int done = connect(fd, (struct sockaddr *)&at, sizeof at), err = errno;
	if (flags & SOCK_NONBLOCK)
		MUST(done == -1 && err == EINPROGRESS);
	else
		MUST(done == 0);
	return fd;
}

/* Every host here but a refused one echoes. */
void echoes(int fd)
{
	char heard[4];
	MUST(send(fd, "ping", 4, MSG_NOSIGNAL) == 4);
	for (ssize_t have = 0, n; have < 4; have += n) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		MUST(poll(&p, 1, 10000) == 1);
		n = recv(fd, heard + have, sizeof heard - (size_t)have, 0);
		MUST(n > 0);
	}
	MUST(!memcmp(heard, "ping", 4));
}

int error_of(int fd)
{
	int err = -1;
	socklen_t len = sizeof err;
	MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && len == sizeof err);
	return err;
}

void speaks_to(int fd, const struct sockaddr_in *to)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof peer;
	MUST(getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == sizeof peer);
	MUST(peer.sin_family == AF_INET && peer.sin_port == to->sin_port && peer.sin_addr.s_addr == to->sin_addr.s_addr);
}

static void a_blocking_connect_comes_back_connected(void)
{
	struct sockaddr_in at = where("echo.test", 7);
	int fd = dial("echo.test", 7, 0);
	echoes(fd);
	speaks_to(fd, &at);
	close(fd);
}

static void a_socket_answers_as_one_of_tcp(void)
{
	int fd = dial("echo.test", 7, SOCK_CLOEXEC), value = 1;
	socklen_t len = sizeof value;
	struct sockaddr_storage local;
	socklen_t room = sizeof local;
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == 0);
	MUST(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value) == 0);
	MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value) == 0);
	MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof value) == 0);
	value = 0;
	MUST(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len) == 0 && len == sizeof value && value == 1); /* gRPC looks */
	MUST(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len) == 0 && value == 0);
	MUST(getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, &len) == 0 && value == 1);
	MUST(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len) == 0 && value == AF_INET);
	MUST(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len) == 0 && value == IPPROTO_TCP);
	MUST(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) == 0 && value == SOCK_STREAM);
	MUST(getsockname(fd, (struct sockaddr *)&local, &room) == 0 && local.ss_family == AF_INET && room == sizeof(struct sockaddr_in));
	MUST(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	MUST(error_of(fd) == 0);
	MUST(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value) == -1);
	MUST(setsockopt(-1, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == -1 && errno == EBADF);
	close(fd);
}

static void a_unix_socket_of_the_programs_own_stays_one(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int pair[2], fd = socket(AF_UNIX, SOCK_STREAM, 0), value;
	struct sockaddr_storage seen;
	socklen_t len = sizeof value, room = sizeof seen;
	memcpy(at.sun_path + 1, "aion-check", 10);
	MUST(bind(fd, (struct sockaddr *)&at, offsetof(struct sockaddr_un, sun_path) + 11) == 0 && listen(fd, 1) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&seen, &room) == 0 && seen.ss_family == AF_UNIX);
	MUST(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len) == 0 && value == AF_UNIX);
	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == -1);
	int near = socket(AF_UNIX, SOCK_STREAM, 0);
	MUST(connect(near, (struct sockaddr *)&at, offsetof(struct sockaddr_un, sun_path) + 11) == 0);
	int far = accept(fd, NULL, NULL);
	MUST(far >= 0 && send(near, "x", 1, 0) == 1);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	close(pair[0]), close(pair[1]), close(near), close(far), close(fd);
}

static void refusals_are_errors_of_the_network(void)
{
	static const struct { const char *host; int err; } refused[] = {
		{ "deny.test", EACCES }, { "dead.test", ECONNREFUSED }, { "late.test", ETIMEDOUT }, { "closed.test", ENETUNREACH },
		{ "mute.test", ECONNREFUSED }, { "noise.test", EPROTO }, { "endless.test", EPROTO },
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct sockaddr_in at = where(refused[i].host, 80);
		char byte;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1);
		MUST(errno == refused[i].err);
		MUST(recv(fd, &byte, 1, 0) <= 0); /* not a byte of the gateway's own answer */
		at = where("echo.test", 7);
		MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == 0); /* the same socket tries again */
		echoes(fd);
		close(fd);
	}
}

static void what_comes_behind_the_answer_is_the_programs(void)
{
	static const char *const hosts[] = { "talks.test", "bytewise.test" };
	for (int i = 0; i < 2; i++) {
		char heard[16];
		size_t have = 0;
		int fd = dial(hosts[i], 25, 0);
		while (have < 8) {
			ssize_t n = recv(fd, heard + have, 8 - have, 0);
			MUST(n > 0);
			have += (size_t)n;
		}
		MUST(!memcmp(heard, "220 hi\r\n", 8));
		close(fd);
	}
}

static void an_answer_survives_a_signal(void)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval soon = { .it_value.tv_usec = 50000 };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	int fd = dial("slow.test", 7, 0);
	echoes(fd);
	close(fd);
	action.sa_flags = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	struct sockaddr_in at = where("slow.test", 7);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == EINTR);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	MUST(poll(&p, 1, 10000) == 1 && p.revents == POLLOUT && error_of(fd) == 0);
	echoes(fd);
	close(fd);
}

static void sendto_connects_where_it_is_told_to(void)
{
	struct sockaddr_in at = where("echo.test", 7);
	char heard[4];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(sendto(fd, "ping", 4, MSG_FASTOPEN, (struct sockaddr *)&at, sizeof at) == 4);
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	MUST(recvfrom(fd, heard, 4, MSG_WAITALL, (struct sockaddr *)&from, &len) == 4 && !memcmp(heard, "ping", 4) && len == 0);
	MUST(sendto(fd, "ping", 4, 0, (struct sockaddr *)&at, sizeof at) == 4); /* TCP ignores the address */
	struct iovec part = { heard, 4 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	MUST(recvmsg(fd, &message, MSG_WAITALL) == 4 && !memcmp(heard, "ping", 4));
	close(fd);
}

static void a_child_and_a_duplicate_share_the_socket(void)
{
	int fd = dial("echo.test", 7, 0), status;
	struct sockaddr_in at = where("echo.test", 7);
	pid_t child = fork();
	if (!child) {
		int other = dup(fd);
		close(fd);
		speaks_to(other, &at);
		echoes(other);
		_exit(0);
	}
	MUST(waitpid(child, &status, 0) == child && status == 0);
	MUST(dup2(fd, 200) == 200);
	close(fd);
	speaks_to(200, &at);
	echoes(200);
	close(200);
}

static void a_program_that_is_executed_knows_its_peer(void)
{
	int fd = dial("echo.test", 7, 0), status;
	char number[16];
	snprintf(number, sizeof number, "%d", fd);
	pid_t child = fork();
	if (!child) {
		execl(self, self, "--inherits", number, (char *)NULL);
		_exit(99);
	}
	MUST(waitpid(child, &status, 0) == child && status == 0);
	close(fd);
}

/* posix_spawn borrows our memory: what it closes there must not be forgotten here. */
static void a_spawned_program_disturbs_nothing(void)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = { (char *)self, "--nothing", NULL };
	int fd = dial("slow.test", 7, SOCK_NONBLOCK), status;
	pid_t child;
	MUST(posix_spawn_file_actions_init(&actions) == 0 && posix_spawn_file_actions_addclose(&actions, fd) == 0);
	MUST(posix_spawn(&child, self, &actions, NULL, argv, environ) == 0);
	MUST(waitpid(child, &status, 0) == child && status == 0);
	posix_spawn_file_actions_destroy(&actions);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	MUST(poll(&p, 1, 10000) == 1 && error_of(fd) == 0);
	echoes(fd);
	close(fd);
}

static void *dials(void *which)
{
	char host[64];
	for (int i = 0; i < 12; i++) {
		snprintf(host, sizeof host, "h%d-%d.echo.test", (int)(intptr_t)which, i % 3);
		int fd = dial(host, 7, i % 2 ? SOCK_NONBLOCK : 0);
		if (i % 2) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };
			MUST(poll(&p, 1, 10000) == 1 && error_of(fd) == 0);
		}
		echoes(fd);
		close(fd);
	}
	return NULL;
}

static void threads_dial_at_once(void)
{
	pthread_t threads[12];
	for (intptr_t i = 0; i < 12; i++)
		MUST(pthread_create(&threads[i], NULL, dials, (void *)i) == 0);
	for (int i = 0; i < 12; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
}

static void *watches(void *where)
{
	struct pollfd p = { .fd = *(volatile int *)where, .events = POLLOUT };
	for (int i = 0; i < 40; i++) {
		poll(&p, 1, 10);
		error_of(p.fd);
	}
	return NULL;
}

static void a_connect_that_waits_wakes_though_others_watch_its_socket(void)
{
	pthread_t threads[2];
	struct sockaddr_in at = where("slow.test", 7);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	for (int i = 0; i < 2; i++)
		MUST(pthread_create(&threads[i], NULL, watches, &fd) == 0);
	usleep(20000);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
	for (int i = 0; i < 2; i++)
		MUST(pthread_join(threads[i], NULL) == 0);
	echoes(fd);
	close(fd);
}

static void *waits_for_ever(void *fd)
{
	char byte;
	recv((int)(intptr_t)fd, &byte, 1, 0);
	return NULL;
}

static void a_thread_that_waits_can_be_cancelled(void)
{
	pthread_t thread;
	void *result;
	int fd = dial("echo.test", 7, 0);
	MUST(pthread_create(&thread, NULL, waits_for_ever, (void *)(intptr_t)fd) == 0);
	usleep(20000);
	MUST(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	close(fd);
}

static void a_server_on_loopback_is_found_by_its_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from, to = at;
	socklen_t len = sizeof at, room = sizeof from;
	int door = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
	MUST(bind(door, (struct sockaddr *)&at, sizeof at) == 0 && listen(door, 5) == 0);
	MUST(getsockname(door, (struct sockaddr *)&at, &len) == 0 && at.sin_port && at.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	MUST(bind(other, (struct sockaddr *)&at, sizeof at) == -1 && errno == EADDRINUSE);
	to.sin_port = htons(8010);
	MUST(bind(other, (struct sockaddr *)&to, sizeof to) == -1 && errno == EADDRINUSE);
	to.sin_addr.s_addr = htonl(0x0a000001);
	MUST(bind(other, (struct sockaddr *)&to, sizeof to) == -1 && errno == EADDRNOTAVAIL);
	MUST(connect(near, (struct sockaddr *)&at, sizeof at) == 0);
	speaks_to(near, &at);
	int far = accept4(door, (struct sockaddr *)&from, &room, SOCK_CLOEXEC);
	MUST(far >= 0 && room == sizeof from && from.sin_family == AF_INET && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	speaks_to(far, &from);
	MUST(getsockname(near, (struct sockaddr *)&to, &len) == 0 && to.sin_port == from.sin_port);
	MUST(getsockname(far, (struct sockaddr *)&to, &len) == 0 && to.sin_port == at.sin_port);
	MUST(send(near, "ping", 4, 0) == 4);
	char heard[4];
	MUST(recv(far, heard, 4, MSG_WAITALL) == 4);
	close(door), close(far), close(near);
	near = socket(AF_INET, SOCK_STREAM, 0);
	MUST(connect(near, (struct sockaddr *)&at, sizeof at) == -1 && errno == ECONNREFUSED);
	close(near), close(other);
}

static void a_source_port_does_not_hinder_a_connect(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET }, at = where("echo.test", 7);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
	speaks_to(fd, &at);
	echoes(fd);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == EISCONN);
	close(fd);
}

void on_alarm(int signal)
{
	(void)signal;
}

static const struct test all[] = {
	TEST(a_blocking_connect_comes_back_connected),
	TEST(a_socket_answers_as_one_of_tcp),
	TEST(a_unix_socket_of_the_programs_own_stays_one),
	TEST(refusals_are_errors_of_the_network),
	TEST(what_comes_behind_the_answer_is_the_programs),
	TEST(an_answer_survives_a_signal),
	TEST(sendto_connects_where_it_is_told_to),
	TEST(a_child_and_a_duplicate_share_the_socket),
	TEST(a_program_that_is_executed_knows_its_peer),
	TEST(a_spawned_program_disturbs_nothing),
	TEST(threads_dial_at_once),
	TEST(a_connect_that_waits_wakes_though_others_watch_its_socket),
	TEST(a_thread_that_waits_can_be_cancelled),
	TEST(a_server_on_loopback_is_found_by_its_port),
	TEST(a_source_port_does_not_hinder_a_connect),
	{ NULL, NULL },
};

static void run(const struct test *tests, const char *only)
{
	for (; tests->name; tests++)
		if (!only || !strcmp(only, tests->name)) {
			printf("%s", tests->name);
			fflush(stdout);
			alarm(20);
			tests->run();
			alarm(0);
			printf(" ok\n");
		}
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 3 && !strcmp(argv[1], "--inherits")) {
		struct sockaddr_in at = where("echo.test", 7);
		speaks_to(atoi(argv[2]), &at);
		echoes(atoi(argv[2]));
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	signal(SIGPIPE, SIG_IGN);
	run(all, argv[1]);
	run(ready_tests, argv[1]);
	run(name_tests, argv[1]);
	return 0;
}
