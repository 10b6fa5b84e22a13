/* What the parts of the check share. */
#ifndef AION_NET_CHECK_H
#define AION_NET_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MUST(what) \
	do { \
		if (!(what)) { \
			int err_ = errno; \
			printf(" FAILED: %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, err_); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)

struct test {
	const char *name;
	void (*run)(void);
};
#define TEST(function) { #function, function }

extern const struct test ready_tests[]; /* ready.c */
extern const struct test name_tests[];  /* lookup.c */
extern char **environ;

struct sockaddr_in where(const char *host, uint16_t port);
int dial(const char *host, uint16_t port, int flags);
void echoes(int fd);
int error_of(int fd);
void speaks_to(int fd, const struct sockaddr_in *to);
void on_alarm(int signal);

#endif
