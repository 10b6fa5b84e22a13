/* The server in a Tool's container: it accepts the runner's connections and gives each a process of its own, so that
 * no client and no tool can disturb another call. As process 1 it also reaps what nobody else waits for. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAREWELL_MS = 2000 /* for calls to kill what they started, then they are killed */ };

static pid_t calls[MAX_CALLS];
static int running;
static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	if (sig != SIGCHLD)
		stopping = 1;
}

static void reap(void)
{
	for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
		for (int i = 0; i < running; i++)
			if (calls[i] == pid) {
				calls[i] = calls[--running];
				break;
			}
}

static void farewell(const char *path)
{
	unlink(path);
	for (int i = 0; i < running; i++)
		kill(calls[i], SIGTERM);
	for (int64_t end = now_ms() + FAREWELL_MS; running && now_ms() < end; sleep_ms(2))
		reap();
	for (int i = 0; i < running; i++)
		kill(calls[i], SIGKILL);
	_exit(0);
}

static void send_file(int conn, int file)
{
	static char block[CHUNK];
	struct timeval stall = { .tv_sec = 30 };
	setsockopt(conn, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall);
	for (off_t at = 0;;) {
		ssize_t got = pread(file, block, sizeof block, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return;
		at += got;
		for (ssize_t done = 0; done < got;) {
			ssize_t n = send(conn, block + done, (size_t)(got - done), MSG_NOSIGNAL);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return;
			done += n;
		}
	}
}

__attribute__((noreturn)) static void serve(const char *path, int file, char **argv)
{
	sigset_t blocked, none;
	struct sigaction action = { .sa_handler = on_signal };
	int door = listen_unix(path);
	if (fcntl(door, F_SETFL, O_NONBLOCK))
		fail(EXIT_CANNOT, errno, "%s: cannot listen there", path);
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGCHLD, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	pid_t self = getpid();
	for (;;) {
		reap();
		if (stopping)
			farewell(path);
		/* Signals are taken only inside ppoll, so none is lost between the tests above and the sleep. */
		struct pollfd p = { .fd = running < MAX_CALLS ? door : -1, .events = POLLIN };
		if (ppoll(&p, 1, NULL, &none) <= 0)
			continue;
		int conn = accept4(door, NULL, NULL, SOCK_CLOEXEC);
		if (conn < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
				sleep_ms(50);
			continue;
		}
		pid_t pid = fork();
		if (pid == 0) {
			close(door);
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			if (getppid() != self)
				_exit(1);
			if (argv) {
				run_call(conn, argv);
			} else {
				signal(SIGTERM, SIG_DFL);
				sigprocmask(SIG_SETMASK, &none, NULL);
				send_file(conn, file);
			}
			_exit(0);
		}
		close(conn);
		if (pid > 0)
			calls[running++] = pid;
		else
			sleep_ms(50); /* no process to be had: the client sees its connection close and may ask again */
	}
}

void serve_file(const char *path, const char *name)
{
	struct stat st;
	int file = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file < 0)
		fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT, errno, "--file %s: cannot read it; does the image hold it?", name);
	if (fstat(file, &st) || !S_ISREG(st.st_mode))
		fail(EXIT_CANNOT, 0, "--file %s: not a regular file", name);
	serve(path, file, NULL);
}

void serve_argv(const char *path, char **argv)
{
	serve(path, -1, argv);
}
