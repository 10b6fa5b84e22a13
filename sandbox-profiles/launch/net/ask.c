/* One CONNECT and the head of its answer. The head is taken byte for byte: where the other side speaks first, its words may
 * lie right behind it, and those are the program's. No more of it is kept than its status. */
#include "net.h"
#include "sys.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_AT = 9, STATUS_END = 12 /* "HTTP/1.1 200" */, MAX_HEAD = 16384 };

int ask_gateway(int fd, const struct place *to)
{
	char address[INET6_ADDRSTRLEN], ask[2 * (MAX_NAME + 16) + 64];
	const char *host = address;
	uint32_t named = names_in(to);
	if (named) {
		host = names_of(named);
		if (!host)
			return EHOSTUNREACH; /* an address that another program was given */
	} else if (!inet_ntop(to->six ? AF_INET6 : AF_INET, to->ip, address, sizeof address)) {
		return EINVAL;
	}
	const char *open = to->six && !named ? "[" : "", *shut = *open ? "]" : "";
	int n = snprintf(ask, sizeof ask, "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n\r\n", open, host, shut, to->port,
			 open, host, shut, to->port);
	if (n < 0 || (size_t)n >= sizeof ask)
		return ENAMETOOLONG;
	/* A fresh socket has room for some 100 times as much. */
	return syscall(SYS_sendto, fd, ask, n, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) == n ? 0 : ECONNREFUSED;
}

/* What a program would have heard from its network; the gateway's audit has the reason in words. */
static int errno_of(unsigned status)
{
	switch (status) {
	case 200:
		return 0;
	case 401: /* not known */
	case 402: /* the budget is spent */
	case 403: /* capability or policy */
	case 407:
	case 429: /* a quota */
		return EACCES;
	case 502:
		return ECONNREFUSED;
	case 503: /* fail closed: no policy */
		return ENETUNREACH;
	case 504:
		return ETIMEDOUT;
	default:
		return EHOSTUNREACH;
	}
}

/* How many of these bytes belong to the head; *verdict is -1 where it goes on. */
static size_t read_head(struct answer *answer, const char *bytes, size_t n, int *verdict)
{
	static const char FORM[] = "HTTP/1.x ddd";
	*verdict = -1;
	for (size_t i = 0; i < n; i++) {
		char c = bytes[i];
		unsigned at = answer->seen++;
		int digit = c >= '0' && c <= '9';
		if (at < STATUS_END && (FORM[at] == 'd' || FORM[at] == 'x' ? !digit : c != FORM[at])) {
			*verdict = EPROTO;
			return n;
		}
		if (at >= STATUS_AT && at < STATUS_END)
			answer->status = (uint16_t)(answer->status * 10 + (c - '0'));
		if (c == (answer->ends % 2 ? '\n' : '\r'))
			answer->ends++;
		else
			answer->ends = c == '\r';
		if (answer->ends == 4) {
			*verdict = errno_of(answer->status);
			return i + 1;
		}
		if (at >= MAX_HEAD) {
			*verdict = EPROTO;
			return n;
		}
	}
	return n;
}

int ask_hear(int fd, struct answer *answer)
{
	char bytes[512];
	for (;;) {
		long n = syscall(SYS_recvfrom, fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
		if (n < 0)
			return errno == ECONNRESET ? ECONNREFUSED : -1; /* not even connected: another thread is about to */
		if (n == 0)
			return ECONNREFUSED; /* it hung up without a word */
		int verdict;
		size_t taken = read_head(answer, bytes, (size_t)n, &verdict);
		syscall(SYS_recvfrom, fd, bytes, taken, MSG_DONTWAIT, NULL, NULL);
		if (verdict >= 0)
			return verdict;
	}
}
