/* Names without a name server, by libc's functions and by a resolver's own questions. */
#include "check.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/uio.h>

static int look(const char *node, const char *service, int family, int flags, char text[64])
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *found = NULL;
	int err = getaddrinfo(node, service, &hints, &found);
	if (!err) {
		char host[64], port[16];
		MUST(getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0);
		snprintf(text, 64, "%.40s %.10s", host, port);
		freeaddrinfo(found);
	}
	return err;
}

static void addresses_are_given_and_read_back(void)
{
	char text[64], twice[64], host[300];
	MUST(look("Echo.Test.", "https", AF_UNSPEC, 0, text) == 0 && look("echo.test", "443", AF_INET, 0, twice) == 0);
	MUST(!strcmp(text, twice) && !strncmp(text, "24", 2) && strstr(text, " 443"));
	MUST(look("echo.test", "80", AF_INET6, 0, text) == 0 && !strncmp(text, "100::6169:6f6e:f", 16));
	MUST(look("localhost", "80", AF_UNSPEC, 0, text) == 0 && !strcmp(text, "127.0.0.1 80"));
	MUST(look("localhost", "80", AF_INET6, 0, text) == 0 && !strcmp(text, "::1 80"));
	MUST(look(NULL, "80", AF_UNSPEC, AI_PASSIVE, text) == 0 && !strcmp(text, "0.0.0.0 80"));
	MUST(look("10.1.2.3", NULL, AF_UNSPEC, 0, text) == 0 && !strcmp(text, "10.1.2.3 0"));
	MUST(look("2001:db8::1", NULL, AF_UNSPEC, AI_NUMERICHOST, text) == 0 && !strcmp(text, "2001:db8::1 0"));
	MUST(look("echo.test", NULL, AF_UNSPEC, AI_NUMERICHOST, text) == EAI_NONAME);
	MUST(look("2001:db8::1", NULL, AF_INET, 0, text) == EAI_NONAME);
	MUST(look("echo.test", "no-such-service", AF_INET, 0, text) == EAI_SERVICE);
	MUST(look("echo.test", "99999", AF_INET, 0, text) == EAI_SERVICE);
	MUST(look(NULL, NULL, AF_INET, 0, text) == EAI_NONAME && look("echo.test", NULL, AF_UNIX, 0, text) == EAI_FAMILY);
	struct sockaddr_in at = where("echo.test", 443);
	MUST(getnameinfo((struct sockaddr *)&at, sizeof at, host, sizeof host, NULL, 0, NI_NAMEREQD) == 0 && !strcmp(host, "echo.test"));
	MUST(getnameinfo((struct sockaddr *)&at, sizeof at, host, 4, NULL, 0, 0) == EAI_OVERFLOW);
	struct addrinfo hints = { .ai_flags = AI_CANONNAME }, *found;
	MUST(getaddrinfo("Echo.Test", "http", &hints, &found) == 0 && !strcmp(found->ai_canonname, "echo.test"));
	MUST(found->ai_socktype == SOCK_STREAM && found->ai_next && found->ai_next->ai_socktype == SOCK_DGRAM);
	freeaddrinfo(found);
}

static void this_machines_own_name_is_loopback(void)
{
	char own[256], text[64];
	MUST(gethostname(own, sizeof own) == 0);
	MUST(look(own, "80", AF_INET, 0, text) == 0 && !strcmp(text, "127.0.0.1 80"));
}

static void what_is_no_name_is_refused(void)
{
	static const char *const bad[] = { "", ".", "a..b", "-a.test", "a b.test", "a\r\nHost: x.test", "a.test:80", "a/b", "user@a.test", "\xc3\xa9.test" };
	char text[64], long_one[300];
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		MUST(look(bad[i], "80", AF_INET, 0, text) == EAI_NONAME);
	memset(long_one, 'a', sizeof long_one);
	long_one[64] = 0;
	MUST(look(long_one, "80", AF_INET, 0, text) == EAI_NONAME); /* a label of 64 */
	memset(long_one, 'a', sizeof long_one);
	for (int i = 50; i < 299; i += 50)
		long_one[i] = '.';
	long_one[254] = 0;
	MUST(look(long_one, "80", AF_INET, 0, text) == EAI_NONAME); /* a name of 254 */
	long_one[253] = 0;
	MUST(look(long_one, "80", AF_INET, 0, text) == 0);
}

static void the_old_functions_answer_too(void)
{
	struct sockaddr_in at = where("echo.test", 0);
	struct hostent *host = gethostbyname("echo.test"), mine, *found;
	char room[512];
	int why;
	MUST(host && host->h_length == 4 && !memcmp(host->h_addr_list[0], &at.sin_addr, 4) && !host->h_addr_list[1]);
	MUST((host = gethostbyaddr(&at.sin_addr, 4, AF_INET)) && !strcmp(host->h_name, "echo.test"));
	MUST(gethostbyname_r("echo.test", &mine, room, sizeof room, &found, &why) == 0 && found == &mine);
	MUST(gethostbyname_r("echo.test", &mine, room, 16, &found, &why) == ERANGE && !found);
	MUST(!gethostbyname("no name") && h_errno == HOST_NOT_FOUND);
	MUST((host = gethostbyname("127.0.0.1")) && !strcmp(host->h_name, "127.0.0.1"));
}

static ssize_t ask(int fd, const struct sockaddr_in *server, uint8_t type, unsigned char answer[512], struct sockaddr_in *from)
{
	unsigned char question[] = { 0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'e', 'c', 'h', 'o', 4, 't', 'e', 's', 't', 0, 0, type, 0, 1 };
	socklen_t len = sizeof *from;
	MUST(sendto(fd, question, sizeof question, 0, (const struct sockaddr *)server, server ? sizeof *server : 0) == sizeof question);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	MUST(poll(&p, 1, 1000) == 1);
	return recvfrom(fd, answer, 512, 0, (struct sockaddr *)from, &len);
}

static void a_name_server_answers_over_udp(void)
{
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x0a600001) }, from, at = where("echo.test", 0);
	unsigned char answer[512];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ssize_t n = ask(fd, &server, 1, answer, &from);
	MUST(n == 27 + 16 && answer[0] == 0xab && (answer[3] & 15) == 0 && answer[7] == 1 && !memcmp(answer + n - 4, &at.sin_addr, 4));
	MUST(from.sin_family == AF_INET && from.sin_port == server.sin_port && from.sin_addr.s_addr == server.sin_addr.s_addr);
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
	MUST(connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
	speaks_to(fd, &server);
	MUST(ask(fd, NULL, 28, answer, &from) == 27 && (answer[3] & 15) == 0 && answer[7] == 0); /* AAAA: there is none */
	unsigned char rest[] = { 0, 0, 1, 0, 1 };
	struct iovec parts[] = { { "\xab\xcd\1\0\0\1\0\0\0\0\0\0\4echo\4test", 22 }, { rest, sizeof rest } };
	MUST(writev(fd, parts, 2) == 27 && recv(fd, answer, 512, 0) == 43);
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	MUST(sendmsg(fd, &message, 0) == 27 && recv(fd, answer, 512, 0) == 43);
	unsigned char garbage[] = { 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 'a' };
	MUST(send(fd, garbage, sizeof garbage, 0) == sizeof garbage && recv(fd, answer, 512, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	close(fd);
}

static void rubbish_for_a_name_server_does_no_harm(void)
{
	static const unsigned char good[] = { 0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'e', 'c', 'h', 'o', 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1 };
	struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x0a600001) };
	unsigned char bytes[600] = { 0 }, answer[1024];
	uint32_t random = 1;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0; i < 20000; i++) {
		size_t n = sizeof good;
		memcpy(bytes, good, n);
		for (int change = 0; change < 4; change++) {
			random = random * 1664525u + 1013904223u;
			bytes[(random >> 8) % n] = (unsigned char)(random >> 24);
			if (random >> 20 & 1)
				n = (random >> 12) % (sizeof bytes - 1) + 1;
		}
		MUST(sendto(fd, bytes, n, 0, (struct sockaddr *)&server, sizeof server) == (ssize_t)n);
		ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
		MUST(got < 0 || (got >= 12 && answer[2] & 0x80));
	}
	close(fd);
}

static void other_udp_goes_nowhere_but_has_an_address(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x08080808) }, local;
	socklen_t len = sizeof local;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	MUST(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == -1 && errno == ENETUNREACH);
	MUST(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&local, &len) == 0 && local.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	MUST(send(fd, "x", 1, 0) == -1 && errno == ENETUNREACH);
	close(fd);
}

static void ipv6_reaches_names_addresses_and_what_is_mapped(void)
{
	static const char *const places[] = { "2001:db8::1", "::ffff:192.0.2.1" };
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(7) }, peer;
		socklen_t len = sizeof peer;
		if (i < 2)
			MUST(inet_pton(AF_INET6, places[i], &at.sin6_addr) == 1);
		struct addrinfo hints = { .ai_family = AF_INET6, .ai_socktype = SOCK_STREAM }, *found;
		if (i == 2) {
			MUST(getaddrinfo("echo.test", "7", &hints, &found) == 0);
			memcpy(&at, found->ai_addr, sizeof at);
			freeaddrinfo(found);
		}
		int fd = socket(AF_INET6, SOCK_STREAM, 0);
		MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
		MUST(getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && len == sizeof peer && !memcmp(&peer.sin6_addr, &at.sin6_addr, 16));
		echoes(fd);
		close(fd);
	}
}

static void a_stale_address_leads_nowhere(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7), .sin_addr.s_addr = htonl(0xf0000001) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	MUST(connect(fd, (struct sockaddr *)&at, sizeof at) == -1 && errno == EHOSTUNREACH);
	close(fd);
}

static void many_names_have_an_end(void)
{
	char name[32], text[64];
	struct sockaddr_in first = where("echo.test", 7);
	int err = 0, n = 0;
	for (; !err && n < 70000; n++) {
		snprintf(name, sizeof name, "n%d.test", n);
		err = look(name, "80", AF_INET, 0, text);
	}
	MUST(err == EAI_MEMORY && n > 65000);
	struct sockaddr_in again = where("echo.test", 7); /* what was given out stands */
	MUST(first.sin_addr.s_addr == again.sin_addr.s_addr);
}

const struct test name_tests[] = {
	TEST(addresses_are_given_and_read_back),
	TEST(this_machines_own_name_is_loopback),
	TEST(what_is_no_name_is_refused),
	TEST(the_old_functions_answer_too),
	TEST(a_name_server_answers_over_udp),
	TEST(rubbish_for_a_name_server_does_no_harm),
	TEST(other_udp_goes_nowhere_but_has_an_address),
	TEST(ipv6_reaches_names_addresses_and_what_is_mapped),
	TEST(a_stale_address_leads_nowhere),
	TEST(many_names_have_an_end), /* the last: there is no room for another name after it */
	{ NULL, NULL },
};
