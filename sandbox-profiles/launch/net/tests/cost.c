/* What the library costs, beside the same work by system calls in the same run: `LD_PRELOAD=libaion-net.so net-cost`.
 * The gateway is a thread that says 200 to everybody, so that what is seen is the library and the kernel. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 40, CONNECTS = 50, TURNS = 300, BLOCK = 65536, BLOCKS = 100 };

static struct sockaddr_un gateway = { .sun_family = AF_UNIX };
static struct sockaddr_in target = { .sin_family = AF_INET }, tcp = { .sin_family = AF_INET };
static char block[BLOCK];

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

__attribute__((noreturn)) static void *answer(void *door)
{
	static const char ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	static char in[BLOCK];
	for (;;) {
		int conn = (int)syscall(SYS_accept4, (int)(intptr_t)door, NULL, NULL, 0);
		long n = read(conn, in, sizeof in);
		if (n > 0 && write(conn, ok, sizeof ok - 1) > 0)
			while ((n = read(conn, in, sizeof in)) > 0) /* short messages are echoed, blocks swallowed */
				if (n <= 64 && write(conn, in, (size_t)n) < 0)
					break;
		close(conn);
	}
}

__attribute__((noreturn)) static void *swallow(void *door)
{
	for (;;)
		close((int)syscall(SYS_accept4, (int)(intptr_t)door, NULL, NULL, 0));
}

static int by_library(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return connect(fd, (struct sockaddr *)&target, sizeof target) ? -1 : fd;
}

static int by_hand(void)
{
	static const char ask[] = "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n";
	char heard[64];
	int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
	if (syscall(SYS_connect, fd, &gateway, sizeof gateway) || write(fd, ask, sizeof ask - 1) < 0 || read(fd, heard, sizeof heard) <= 0)
		return -1;
	return fd;
}

static int by_tcp(void)
{
	int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	return syscall(SYS_connect, fd, &tcp, sizeof tcp) ? -1 : fd;
}

/* The best of many short rounds, one way after the other: a busy machine disturbs all alike. */
static void keep(double *best, double seen)
{
	*best = *best == 0 || seen < *best ? seen : *best;
}

static double connecting(int (*way)(void))
{
	double began = now_us();
	for (int i = 0; i < CONNECTS; i++) {
		int fd = way();
		if (fd < 0) {
			perror("cannot connect");
			exit(1);
		}
		close(fd);
	}
	return (now_us() - began) / CONNECTS;
}

static double turning(int fd, int plain)
{
	double began = now_us();
	for (int i = 0; i < TURNS; i++)
		if (plain) {
			syscall(SYS_sendto, fd, block, 64, 0, NULL, 0);
			syscall(SYS_recvfrom, fd, block, 64, 0, NULL, NULL);
		} else {
			send(fd, block, 64, 0);
			recv(fd, block, 64, 0);
		}
	return (now_us() - began) / TURNS;
}

static double streaming(int fd, int plain)
{
	double began = now_us();
	for (int i = 0; i < BLOCKS; i++)
		if ((plain ? syscall(SYS_sendto, fd, block, BLOCK, 0, NULL, 0) : send(fd, block, BLOCK, 0)) != BLOCK)
			exit(1);
	return (now_us() - began) / BLOCKS;
}

int main(void)
{
	pthread_t thread;
	socklen_t len = sizeof tcp;
	snprintf(gateway.sun_path, sizeof gateway.sun_path, "/tmp/aion-net-cost.%d", (int)getpid());
	int door = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0), other = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	inet_pton(AF_INET, "192.0.2.1", &target.sin_addr);
	target.sin_port = htons(80);
	setenv("AION_EGRESS_SOCKET", gateway.sun_path, 1);
	if (syscall(SYS_bind, door, &gateway, sizeof gateway) || syscall(SYS_listen, door, 64) || syscall(SYS_bind, other, &tcp, sizeof tcp)
	    || syscall(SYS_listen, other, 64) || syscall(SYS_getsockname, other, &tcp, &len)
	    || pthread_create(&thread, NULL, answer, (void *)(intptr_t)door) || pthread_create(&thread, NULL, swallow, (void *)(intptr_t)other)) {
		perror("cannot listen");
		return 1;
	}
	double connects[3] = { 0 }, turns[2] = { 0 }, blocks[2] = { 0 };
	for (int round = 0; round < ROUNDS; round++) {
		keep(&connects[0], connecting(by_library));
		keep(&connects[1], connecting(by_hand));
		keep(&connects[2], connecting(by_tcp));
	}
	int fd = by_library(); /* the gateway serves one at a time */
	for (int round = 0; round < 2 * ROUNDS; round++)
		keep(&turns[round % 2], turning(fd, round % 2));
	for (int round = 0; round < 2 * ROUNDS; round++)
		keep(&blocks[round % 2], streaming(fd, round % 2));
	printf("connect:            library %6.1f us   CONNECT by hand %6.1f us   TCP on loopback %6.1f us\n", connects[0], connects[1], connects[2]);
	printf("64 bytes and back:  library %6.2f us   system calls    %6.2f us\n", turns[0], turns[1]);
	printf("a block of 64 KiB:  library %6.2f us   system calls    %6.2f us\n", blocks[0], blocks[1]);
	unlink(gateway.sun_path);
	return 0;
}
