/* Runs a program under what the sealed profile says of sockets: AF_UNIX by an exact comparison, no io_uring; else EPERM. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)

enum { NR = offsetof(struct seccomp_data, nr), FAMILY = offsetof(struct seccomp_data, args), UNIX = 1 };

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		AT(NR), IS(SYS_socket, 4, 0), IS(SYS_socketpair, 3, 0), IS(SYS_io_uring_setup, 1, 0), ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(SECCOMP_RET_ERRNO | EPERM), AT(FAMILY), IS(UNIX, 0, 3), AT(FAMILY + 4), IS(0, 0, 1), ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog filter = { sizeof code / sizeof *code, code };
	if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("seal");
		return 125;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 126;
}
