/* Connects that do not wait, seen by poll, select and epoll. */
#include "check.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

static void poll_tells_when_a_connect_is_done(void)
{
	int fd = dial("slow.test", 7, SOCK_NONBLOCK);
	struct sockaddr_in at = where("slow.test", 7);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char byte;
	MUST(poll(&p, 1, 0) == 0 && p.events == POLLOUT);
	MUST(poll(&p, 1, 20) == 0);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == EALREADY);
	socklen_t len = sizeof at;
	MUST(getpeername(fd, (struct sockaddr *)&at, &len) == -1 && errno == ENOTCONN);
	MUST(poll(&p, 1, 10000) == 1 && p.revents == POLLOUT);
	MUST(error_of(fd) == 0);
	MUST(recv(fd, &byte, 1, 0) == -1 && errno == EAGAIN); /* not a byte of the gateway's own answer */
	speaks_to(fd, &(struct sockaddr_in){ .sin_port = htons(7), .sin_addr = where("slow.test", 7).sin_addr });
	echoes(fd);
	close(fd);
}

static void poll_tells_when_a_connect_failed(void)
{
	int fd = dial("deny.test", 7, SOCK_NONBLOCK);
	struct pollfd p = { .fd = fd, .events = POLLOUT | POLLIN };
	char byte;
	MUST(poll(&p, 1, 10000) == 1 && p.revents & POLLOUT);
	MUST(error_of(fd) == EACCES);
	MUST(error_of(fd) == 0); /* told once */
	MUST(recv(fd, &byte, 1, 0) == 0);
	close(fd);
}

static void poll_looks_at_its_other_sockets_meanwhile(void)
{
	int pair[2], fd = dial("slow.test", 7, SOCK_NONBLOCK);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && send(pair[0], "x", 1, 0) == 1);
	struct pollfd p[2] = { { .fd = fd, .events = POLLOUT }, { .fd = pair[1], .events = POLLIN } };
	MUST(poll(p, 2, 5000) == 1 && !p[0].revents && p[1].revents == POLLIN);
	MUST(ppoll(p, 1, &(struct timespec){ 10, 0 }, NULL) == 1 && p[0].revents == POLLOUT);
	close(pair[0]), close(pair[1]), close(fd);
}

static void select_tells_too(void)
{
	int fd = dial("slow.test", 7, SOCK_NONBLOCK);
	fd_set reads, writes;
	struct timeval wait = { 0, 10000 };
	FD_ZERO(&reads);
	FD_ZERO(&writes);
	FD_SET(fd, &reads);
	FD_SET(fd, &writes);
	MUST(select(fd + 1, &reads, &writes, NULL, &wait) == 0 && !FD_ISSET(fd, &writes) && !FD_ISSET(fd, &reads));
	FD_SET(fd, &writes);
	wait.tv_sec = 10;
	MUST(select(fd + 1, NULL, &writes, NULL, &wait) == 1 && FD_ISSET(fd, &writes) && wait.tv_sec > 0);
	MUST(error_of(fd) == 0);
	echoes(fd);
	close(fd);
	fd = dial("dead.test", 7, SOCK_NONBLOCK);
	FD_ZERO(&writes);
	FD_SET(fd, &writes);
	MUST(pselect(fd + 1, NULL, &writes, NULL, &(struct timespec){ 10, 0 }, NULL) == 1 && error_of(fd) == ECONNREFUSED);
	close(fd);
}

static void wait_for(const char *host, uint32_t events, int fails)
{
	int set = epoll_create1(0), fd = dial(host, 7, SOCK_NONBLOCK);
	struct epoll_event wanted = { .events = events, .data.u64 = 42 }, seen[4];
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted) == 0);
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted) == -1 && errno == EEXIST);
	MUST(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wanted) == 0);
	if (!fails)
		MUST(epoll_wait(set, seen, 4, 0) == 0 && epoll_wait(set, seen, 4, 10) == 0);
	MUST(epoll_wait(set, seen, 4, 10000) == 1 && seen[0].data.u64 == 42 && seen[0].events & EPOLLOUT);
	MUST(error_of(fd) == fails);
	if (!fails) {
		char heard[4];
		wanted.events = EPOLLIN;
		MUST(epoll_ctl(set, EPOLL_CTL_MOD, fd, &wanted) == 0 && send(fd, "ping", 4, 0) == 4);
		MUST(epoll_wait(set, seen, 4, 10000) == 1 && seen[0].data.u64 == 42 && seen[0].events == EPOLLIN);
		MUST(recv(fd, heard, 4, 0) == 4);
	}
	MUST(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL) == 0);
	close(fd), close(set);
}

static void epoll_tells_by_level_edge_and_once(void)
{
	wait_for("slow.test", EPOLLOUT, 0);
	wait_for("slow.test", EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 0);
	wait_for("slow.test", EPOLLOUT | EPOLLONESHOT, 0);
	wait_for("deny.test", EPOLLOUT, EACCES);
	wait_for("deny.test", EPOLLIN | EPOLLOUT | EPOLLET, EACCES);
}

static void two_epoll_sets_and_none(void)
{
	int one = epoll_create1(0), two = epoll_create1(0), fd = dial("slow.test", 7, SOCK_NONBLOCK);
	struct epoll_event wanted = { .events = EPOLLOUT, .data.fd = fd }, seen;
	MUST(epoll_ctl(one, EPOLL_CTL_ADD, fd, &wanted) == 0 && epoll_ctl(two, EPOLL_CTL_ADD, fd, &wanted) == 0);
	MUST(epoll_wait(one, &seen, 1, 10000) == 1 && seen.data.fd == fd && epoll_wait(two, &seen, 1, 10000) == 1);
	close(fd);
	fd = dial("slow.test", 7, SOCK_NONBLOCK); /* a set that is left before the answer is there */
	wanted.data.fd = fd;
	MUST(epoll_ctl(one, EPOLL_CTL_ADD, fd, &wanted) == 0 && epoll_ctl(one, EPOLL_CTL_DEL, fd, &wanted) == 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	MUST(poll(&p, 1, 10000) == 1 && epoll_wait(one, &seen, 1, 0) == 0);
	echoes(fd);
	close(fd), close(one), close(two);
}

static void a_socket_in_the_set_before_its_connect_is_never_taken_for_connected(void)
{
	int set = epoll_create1(0), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in at = where("slow.test", 7);
	struct epoll_event wanted = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd }, seen;
	MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted) == 0);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == EINPROGRESS);
	MUST(epoll_wait(set, &seen, 1, 10000) == 1);
	MUST(error_of(fd) == 0);
	echoes(fd);
	close(fd), close(set);
}

static void what_is_sent_early_waits_for_the_answer(void)
{
	int fd = dial("slow.test", 7, SOCK_NONBLOCK);
	echoes(fd); /* nobody looked whether it is connected */
	close(fd);
	fd = dial("deny.test", 7, SOCK_NONBLOCK);
	usleep(50000);
	MUST(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EACCES);
	close(fd);
}

static void a_duplicate_of_a_connect_under_way_is_one_too(void)
{
	int fd = dial("slow.test", 7, SOCK_NONBLOCK), twin = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	close(fd);
	int other = open("/dev/null", O_RDONLY); /* the same number again */
	struct pollfd p = { .fd = twin, .events = POLLOUT };
	MUST(poll(&p, 1, 0) == 0);
	MUST(poll(&p, 1, 10000) == 1 && error_of(twin) == 0);
	echoes(twin);
	close(twin), close(other);
}

static void hundreds_of_connects_are_under_way_at_once(void)
{
	enum { MANY = 200 };
	int fds[MANY], set = epoll_create1(0), done = 0;
	for (int i = 0; i < MANY; i++) {
		fds[i] = dial(i % 2 ? "slow.test" : "deny.test", 7, SOCK_NONBLOCK);
		struct epoll_event wanted = { .events = EPOLLOUT | EPOLLONESHOT, .data.fd = fds[i] };
		MUST(epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &wanted) == 0);
	}
	while (done < MANY) {
		struct epoll_event seen[16];
		int n = epoll_wait(set, seen, 16, 10000);
		MUST(n > 0);
		for (int i = 0; i < n; i++) {
			int err = error_of(seen[i].data.fd);
			MUST(err == 0 || err == EACCES);
			done++;
		}
	}
	for (int i = 1; i < MANY; i += 2) {
		echoes(fds[i]);
		MUST(close(fds[i]) == 0 && close(fds[i - 1]) == 0);
	}
	close(set);
}

const struct test ready_tests[] = {
	TEST(poll_tells_when_a_connect_is_done),
	TEST(poll_tells_when_a_connect_failed),
	TEST(poll_looks_at_its_other_sockets_meanwhile),
	TEST(select_tells_too),
	TEST(epoll_tells_by_level_edge_and_once),
	TEST(two_epoll_sets_and_none),
	TEST(a_socket_in_the_set_before_its_connect_is_never_taken_for_connected),
	TEST(what_is_sent_early_waits_for_the_answer),
	TEST(a_duplicate_of_a_connect_under_way_is_one_too),
	TEST(hundreds_of_connects_are_under_way_at_once),
	{ NULL, NULL },
};
