/* One call: the client's document goes to the command's stdin, its output comes back in frames, its end is the last
 * frame. Whatever the command started ends with it, or with the client: this process is the subreaper of all of it.
 *
 *   client: u32 n, n bytes        server: kind 'o' | 'e' | 'x', u32 length, payload     (little-endian)
 *
 * A client that says ENDLESS for n talks for as long as it likes: what it sends goes to stdin until it hangs up. So a
 * command that speaks a protocol of its own over stdin and stdout is one long call.
 *
 * At most one chunk per direction is held here: who does not read is not written for. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENDLESS UINT32_MAX

enum { HEAD = 5, STALL_MS = 30000 /* a client that stops in the middle of its document */ };

static volatile sig_atomic_t stopping;
static unsigned char in[CHUNK], out[HEAD + CHUNK];
static size_t in_at, in_end, out_at, out_end;

static void on_signal(int sig)
{
	if (sig != SIGCHLD)
		stopping = 1;
}

static void put_u32(unsigned char *at, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(n >> 8 * i);
}

static void frame(unsigned char kind, size_t len)
{
	out[0] = kind;
	put_u32(out + 1, (uint32_t)len);
	out_at = 0;
	out_end = HEAD + len;
}

/* Kills every descendant, also those that left the process group: orphans become ours, so our children are all there is. */
static void kill_all(pid_t leader)
{
	char list[64];
	if (leader > 0)
		kill(-leader, SIGKILL);
	snprintf(list, sizeof list, "/proc/self/task/%ld/children", (long)getpid());
	for (int64_t end = now_ms() + 1000; now_ms() < end;) {
		FILE *file = fopen(list, "re");
		long pid;
		while (file && fscanf(file, "%ld", &pid) == 1)
			if (pid > 1)
				kill((pid_t)pid, SIGKILL);
		if (file)
			fclose(file);
		pid_t done;
		while ((done = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (done < 0 && errno == ECHILD)
			return;
		sleep_ms(1);
	}
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The document's length, or -1 where the client did not say one in time. */
static int64_t read_length(int conn)
{
	unsigned char n[4];
	size_t have = 0;
	for (int64_t end = now_ms() + STALL_MS; have < sizeof n;) {
		struct pollfd p = { .fd = conn, .events = POLLIN };
		sigset_t none;
		sigemptyset(&none);
		struct timespec left = { .tv_sec = (end - now_ms()) / 1000 + 1 };
		int ready = now_ms() < end ? ppoll(&p, 1, &left, &none) : 0;
		if (stopping || ready == 0)
			return -1;
		ssize_t got = ready > 0 ? recv(conn, n + have, sizeof n - have, MSG_DONTWAIT) : -1;
		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
			return -1;
		have += got > 0 ? (size_t)got : 0;
	}
	return (int64_t)((uint32_t)n[0] | (uint32_t)n[1] << 8 | (uint32_t)n[2] << 16 | (uint32_t)n[3] << 24);
}

static pid_t start(char **argv, int ends[3])
{
	int pipes[3][2];
	for (int i = 0; i < 3; i++)
		if (pipe2(pipes[i], O_CLOEXEC))
			return -1;
	pid_t self = getpid(), pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		setsid();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self || dup2(pipes[0][0], 0) < 0 || dup2(pipes[1][1], 1) < 0 || dup2(pipes[2][1], 2) < 0)
			_exit(EXIT_CANNOT);
		signal(SIGCHLD, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		sigprocmask(SIG_SETMASK, &none, NULL);
		become(argv);
	}
	for (int i = 0; i < 3; i++) {
		close(pipes[i][i ? 1 : 0]);
		ends[i] = pipes[i][i ? 0 : 1];
		if (fcntl(ends[i], F_SETFL, O_NONBLOCK))
			return -1;
	}
	return pid;
}

/* True while there is more to come on this pipe; fills the one outgoing frame. */
static int read_output(int *fd, unsigned char kind)
{
	ssize_t n = read(*fd, out + HEAD, CHUNK);
	if (n > 0) {
		frame(kind, (size_t)n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	close_end(fd);
	return 0;
}

static void refuse(int conn, int64_t length)
{
	int n = snprintf((char *)out + HEAD, CHUNK, "aion-launch: the document has %lld bytes, at most %d are taken\n",
			 (long long)length, MAX_STDIN);
	frame('e', (size_t)n);
	unsigned char *end = out + out_end;
	end[0] = 'x';
	put_u32(end + 1, 4);
	put_u32(end + HEAD, EXIT_USAGE);
	send(conn, out, out_end + HEAD + 4, MSG_NOSIGNAL);
}

/* One non-blocking step of sending; false when the client is gone. */
static int flush(int conn)
{
	ssize_t n = send(conn, out + out_at, out_end - out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	out_at += (size_t)n;
	return 1;
}

void run_call(int conn, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t none;
	int ends[3] = { -1, -1, -1 }, status = 0, ended = 0, said = 0;
	sigemptyset(&none);
	sigaction(SIGCHLD, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	int64_t left = read_length(conn);
	if (left < 0)
		return;
	int endless = left == ENDLESS;
	if (endless) {
		left = INT64_MAX;
	} else if (left > MAX_STDIN) {
		refuse(conn, left);
		return;
	}
	pid_t child = start(argv, ends);
	if (child < 0) {
		left = 0;
		ended = 1;
		status = EXIT_CANNOT;
		int n = snprintf((char *)out + HEAD, CHUNK, "aion-launch: no process for this call: %s\n", strerror(errno));
		frame('e', (size_t)n);
		for (int i = 0; i < 3; i++)
			close_end(&ends[i]);
	}
	for (int64_t heard = now_ms(); !stopping;) {
		pid_t got;
		int wait_status;
		while ((got = waitpid(-1, &wait_status, WNOHANG)) > 0)
			if (got == child) {
				ended = 1;
				status = WIFSIGNALED(wait_status) ? -WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
				kill_all(child); /* the call is over when its command is */
			}
		if (!left && in_at == in_end)
			close_end(&ends[0]);
		int idle = out_at == out_end;
		if (idle && said)
			break;
		if (idle && ended) { /* all writers are dead: what the pipes hold is all there will ever be */
			if (!(ends[1] >= 0 && read_output(&ends[1], 'o')) && !(ends[2] >= 0 && read_output(&ends[2], 'e'))) {
				put_u32(out + HEAD, (uint32_t)status);
				frame('x', 4);
				said = 1;
			}
			idle = 0;
		}
		int hungry = left > 0 && in_at == in_end;
		short wanted = (short)((hungry ? POLLIN : 0) | (idle ? 0 : POLLOUT));
		struct pollfd p[4] = {
			{ .fd = conn, .events = wanted },
			{ .fd = in_at < in_end ? ends[0] : -1, .events = POLLOUT },
			{ .fd = idle ? ends[1] : -1, .events = POLLIN },
			{ .fd = idle ? ends[2] : -1, .events = POLLIN },
		};
		struct timespec second = { .tv_sec = 1 };
		int ready = ppoll(p, 4, left > 0 && !endless ? &second : NULL, &none);
		if (!endless && left > 0 && in_at == in_end && now_ms() - heard > STALL_MS)
			break;
		if (ready <= 0)
			continue;
		if (p[0].revents & (POLLHUP | POLLERR))
			break;
		if (p[0].revents & POLLIN) {
			size_t room = left < CHUNK ? (size_t)left : CHUNK;
			ssize_t n = recv(conn, in, room, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				break;
			if (n > 0) {
				heard = now_ms();
				left -= n;
				in_at = 0;
				in_end = ends[0] >= 0 ? (size_t)n : 0; /* a command that closed its stdin wants no more */
			}
		}
		if (p[1].revents) {
			ssize_t n = write(ends[0], in + in_at, in_end - in_at);
			if (n > 0) {
				in_at += (size_t)n;
			} else if (errno != EAGAIN && errno != EINTR) {
				close_end(&ends[0]);
				in_at = in_end = 0;
			}
			heard = now_ms();
		}
		if (p[0].revents & POLLOUT && !flush(conn))
			break;
		if (p[2].revents && out_at == out_end)
			read_output(&ends[1], 'o');
		if (p[3].revents && out_at == out_end)
			read_output(&ends[2], 'e');
	}
	if (child > 0)
		kill_all(ended ? 0 : child);
}
