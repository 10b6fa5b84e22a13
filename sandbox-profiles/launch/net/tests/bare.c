/* A static program: no library is preloaded into it. Prints what it is told when it asks for what is not for agents. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	printf("inet %s\n", socket(AF_INET, SOCK_STREAM, 0) < 0 ? strerror(errno) : "open");
	printf("inet6 %s\n", socket(AF_INET6, SOCK_DGRAM, 0) < 0 ? strerror(errno) : "open");
	printf("truncated %s\n", syscall(SYS_socket, AF_INET | 1l << 32, SOCK_STREAM, 0) < 0 ? strerror(errno) : "open");
	printf("io_uring %s\n", syscall(SYS_io_uring_setup, 1, NULL) < 0 ? strerror(errno) : "open");
	return 0;
}
