/* Holds the agent back until the gateway admits its container. One request per attempt, read to its status line.
 * The connection that was admitted stays open through exec: by its end the gateway knows that the agent is gone. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ATTEMPT_MS = 10000 /* one answer may take this long, then it is asked again */, PAUSE_MS = 50, ABSENT_MS = 5 };

static const char ASK[] = "GET /v1/admit HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";

/* The HTTP status, or 0 with a reason when there was no answer that can be read. */
static int ask(int fd, int64_t end, const char **why)
{
	char head[64];
	size_t have = 0;
	for (size_t sent = 0; sent < sizeof ASK - 1;) {
		ssize_t n = send(fd, ASK + sent, sizeof ASK - 1 - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*why = "it dropped the connection";
			return 0;
		}
		sent += (size_t)n;
	}
	while (have < 12) { /* "HTTP/1.1 200" */
		int64_t left = end - now_ms();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (ready < 0 && errno == EINTR)
			continue;
		ssize_t n = ready > 0 ? recv(fd, head + have, sizeof head - have, 0) : -1;
		if (n <= 0) {
			*why = ready ? "it dropped the connection" : "it accepted the connection but did not answer";
			return 0;
		}
		have += (size_t)n;
	}
	if (memcmp(head, "HTTP/1.", 7) || head[8] != ' ') {
		*why = "it does not speak HTTP";
		return 0;
	}
	int status = 0;
	for (int i = 9; i < 12; i++) {
		if (head[i] < '0' || head[i] > '9') {
			*why = "it does not speak HTTP";
			return 0;
		}
		status = status * 10 + head[i] - '0';
	}
	return status;
}

void await_gateway(const char *path, int64_t within_ms)
{
	const char *why = "there is no socket";
	char last[128];
	for (int64_t end = now_ms() + within_ms; now_ms() < end;) {
		int64_t pause = PAUSE_MS, attempt = now_ms() + ATTEMPT_MS;
		int fd = connect_unix(path);
		if (fd < 0) {
			if (errno == ENOENT || errno == ECONNREFUSED)
				pause = ABSENT_MS;
			snprintf(last, sizeof last, "cannot connect: %s", strerror(errno));
			why = last;
		} else {
			int status = ask(fd, attempt < end ? attempt : end, &why);
			if (status == 200) {
				if (fcntl(fd, F_SETFD, 0))
					fail(EXIT_CANNOT, errno, "cannot keep the connection to the gateway");
				return;
			}
			close(fd);
			if (status == 503)
				why = "it is not ready (HTTP 503)";
			else if (status)
				fail(EXIT_CANNOT, 0, "the gateway at %s refused this container: HTTP %d on /v1/admit; see the gateway's log",
				     path, status);
		}
		sleep_ms(pause);
	}
	fail(EXIT_TIMED_OUT, 0, "no admission by the gateway at %s within %lld s: %s; see the log of container `gateway`",
	     path, (long long)(within_ms / 1000), why);
}
