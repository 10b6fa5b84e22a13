/* UDP is not spoken, but for what a resolver of a program's own asks its name server (c-ares in Node and aiodns, dnspython):
 * the socket sends the answer to itself, where the program reads it like any other. A question for an address is answered
 * as getaddrinfo answers it here; whether the host exists, and may be reached, is the gateway's word on connect. */
#include "net.h"
#include "sys.h"

#include <string.h>

enum { DNS_PORT = 53, HEAD = 12, MAX_QUESTION = HEAD + MAX_NAME + 2 + 4, TTL_S = 30, TYPE_A = 1, CLASS_IN = 1, NXDOMAIN = 3 };

int datagram_aim(int fd, const struct place *to)
{
	/* Any address will do: programs also connect UDP to learn which address they would speak from. */
	if (badge_wear(fd, BADGE_DATAGRAM, to) && errno != EINVAL)
		return -1;
	return 0;
}

/* The name of the first question, as text; where it ends, or 0. */
static size_t read_name(const unsigned char *question, size_t size, char name[MAX_NAME + 2])
{
	size_t at = HEAD, n = 0;
	while (at < size && question[at]) {
		size_t label = question[at++];
		if (label > 63 || label > size - at || n + label + 1 > MAX_NAME + 1)
			return 0;
		memcpy(name + n, question + at, label);
		if (memchr(name + n, 0, label) || memchr(name + n, '.', label))
			return 0;
		n += label;
		name[n++] = '.';
		at += label;
	}
	name[n] = 0;
	return at < size ? at + 1 : 0;
}

static size_t answer_to(const unsigned char *question, size_t size, unsigned char answer[MAX_QUESTION + 16])
{
	char name[MAX_NAME + 2], clean[MAX_NAME + 1];
	uint32_t address = 0;
	if (size < HEAD || question[2] & 0xf8 || question[4] || question[5] != 1) /* one standard query */
		return 0;
	size_t end = read_name(question, size, name);
	if (!end || size - end < 4 || end + 4 > MAX_QUESTION)
		return 0;
	unsigned type = (unsigned)(question[end] << 8 | question[end + 1]), class = (unsigned)(question[end + 2] << 8 | question[end + 3]);
	end += 4;
	memcpy(answer, question, end);
	memset(answer + 6, 0, HEAD - 6);
	answer[2] = (unsigned char)(0x80 | (question[2] & 1)); /* an answer; recursion as it was desired */
	answer[3] = 0x80;
	if (!names_clean(name, clean))
		answer[3] |= NXDOMAIN;
	else if (type == TYPE_A && class == CLASS_IN) {
		if (names_is_local(clean))
			address = 0x7f000001;
		else if (names_address(clean, &address))
			answer[3] |= 2; /* SERVFAIL: no room for another name */
	}
	if (address) {
		const unsigned char record[] = { 0xc0, HEAD, 0, TYPE_A, 0, CLASS_IN, 0, 0, 0, TTL_S, 0, 4, (unsigned char)(address >> 24),
						 (unsigned char)(address >> 16), (unsigned char)(address >> 8), (unsigned char)address };
		memcpy(answer + end, record, sizeof record);
		answer[7] = 1;
		end += sizeof record;
	}
	return end;
}

ssize_t datagram_ask(int fd, const struct place *to, const void *question, size_t size)
{
	unsigned char answer[MAX_QUESTION + 16];
	struct sockaddr_un self;
	socklen_t len = sizeof self;
	struct badge badge;
	if (to->port != DNS_PORT)
		return failed(ENETUNREACH);
	if (!badge_own(fd, &badge) && badge_wear(fd, BADGE_DATAGRAM, to))
		return -1;
	size_t n = answer_to(question, size, answer);
	if (n && (syscall(SYS_getsockname, fd, &self, &len) || syscall(SYS_sendto, fd, answer, n, MSG_DONTWAIT, &self, len) < 0))
		return -1;
	return (ssize_t)size;
}
