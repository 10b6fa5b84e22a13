/* libaion-net.so: lets programs that know nothing of AION-OS speak TCP where no IP socket exists.
 * Loaded by LD_PRELOAD into every program of an agent. A TCP socket is a unix socket here; connect() asks the gateway, by
 * HTTP CONNECT on its egress socket, for a way to a host and port, and policy decides there. After that the library is out
 * of the way: the descriptor is a socket of the kernel, and its bytes are never touched.
 *
 * Files, in the order a connection meets them: names (hosts without DNS) -> resolve, hostent, datagram (who asks for them)
 * -> socket -> connect -> ask (the CONNECT and its answer) -> waiting (connects under way) -> ready_poll, ready_epoll (who
 * waits for them) -> transfer, options (what is asked of a socket later) ; badge and family (what a socket is), place
 * (addresses), sys.h (system calls).
 *
 * It grants nothing: the seccomp profile confines with or without it, and what goes round libc gets EPERM. Three rules keep it
 * small. What a socket is, the kernel remembers (badge.c), so close, dup, fork and exec need no tracking. No lock is held
 * over a system call that waits, and none is ever waited for by a signal handler. Where a case is rare, it may be slow, by
 * waiting for the gateway's answer on the spot; what it stands in for may never hand a program bytes that are not its own.
 * read() is left to the kernel, so whoever calls it before the connect is done reads that answer. */
#ifndef AION_NET_H
#define AION_NET_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#define EXPORT __attribute__((visibility("default")))

/* Ports of loopback that are the gateway's own sockets, without a CONNECT of ours: syscalls, and the proxy for what asks it. */
enum { GATEWAY_PORT = 8010, PROXY_PORT = 3128, MAX_NAME = 253 };

/* place.c: an endpoint of IP, an IPv4 address in the first four bytes; what is mapped into IPv6 is IPv4 here. */
struct place {
	unsigned char ip[16];
	uint16_t port;
	uint8_t six;
};
int place_of(const struct sockaddr *at, socklen_t len, struct place *place);
/* Writes at most *room bytes, as the system calls do, and sets *room to the whole size. `six` makes IPv4 mapped. */
void place_give(const struct place *place, int six, struct sockaddr *at, socklen_t *room);
int place_is_loopback(const struct place *place); /* also 0.0.0.0 and :: */
struct place place_loopback(int six, uint16_t port);

/* names.c: each host's name has an address of a reserved range, the same in every process. */
int names_clean(const char *name, char clean[MAX_NAME + 1]); /* lower case, no dot at the end; 0 where it is no host's name */
int names_is_local(const char *clean);                       /* localhost, or this machine's own name */
int names_address(const char *clean, uint32_t *address);     /* 0, or -1 where the table is full */
const char *names_of(uint32_t address);
int names_is_ours(uint32_t address);
uint32_t names_in(const struct place *place); /* the address in it, of either family; 0 where it is none of ours */
struct place names_place(uint32_t address, int six, uint16_t port);

/* badge.c: what a socket is, kept by the kernel as its abstract name. */
enum badge_kind { BADGE_NONE = 0, BADGE_CLIENT = 'C', BADGE_LISTENER = 'L', BADGE_DATAGRAM = 'D' };
struct badge {
	struct place place; /* whom it speaks to, or where it listens */
	uint16_t local;
	uint8_t kind;
};
int badge_wear(int fd, enum badge_kind kind, const struct place *place); /* 0, or -1 with errno */
int badge_own(int fd, struct badge *badge);  /* true where it wears one */
int badge_peer(int fd, struct badge *badge); /* of the other end */
int badge_read(const struct sockaddr_un *at, socklen_t len, struct badge *badge);
socklen_t badge_listener(uint16_t port, struct sockaddr_un *at);

/* family.c: which sockets were asked for as IP, and as which. */
uint64_t socket_cookie(int fd); /* 0 where it is no socket */
void family_note(int fd, int family);
int family_of(int fd); /* AF_INET, AF_INET6, or 0 where it is not known as ours */
int socket_int(int fd, int option);
int is_nonblocking(int fd);

/* connect.c */
int reach(int fd, const struct sockaddr *to, socklen_t len);

/* ask.c: one CONNECT and the head of its answer. */
struct answer {
	uint16_t status;
	uint16_t seen;
	uint8_t ends; /* how much of the blank line was seen */
};
int ask_gateway(int fd, const struct place *to); /* 0, or an errno */
/* Takes what has come of the answer and nothing after it. -1: more to come; 0: opened; else an errno. */
int ask_hear(int fd, struct answer *answer);

/* waiting.c: connects under way, and those that failed until somebody is told. */
struct waiter;
enum { STILL_WAITING = -1, OPENED = 0 };
struct waiter *waiting_claim(int fd); /* NULL where the table is full */
struct waiter *waiting_find(int fd);
int waiting_any(void);
int waiting_look(struct waiter *w, int fd);   /* STILL_WAITING, OPENED (w is gone), or an errno that stays */
int waiting_settle(struct waiter *w, int fd); /* the same, but waits for the answer */
void waiting_let_go(struct waiter *w, int fd);
/* Its place in an epoll set, which is put back when the answer is there. False where it cannot be taken. */
struct epoll_event;
int waiting_enrol(struct waiter *w, int fd, int set, const struct epoll_event *wanted, int op);
int waiting_is_enrolled(struct waiter *w);
void waiting_strike(struct waiter *w, int set);
int waiting_by_mark(uint64_t mark, struct waiter **w, int *fd); /* true where the mark is of ours; *w NULL where it is old */

/* datagram.c: UDP, of which only questions to a name server are answered. */
int datagram_aim(int fd, const struct place *to);
ssize_t datagram_ask(int fd, const struct place *to, const void *question, size_t size);

/* hostent.c */
int service_port(const char *service, const char *protocol, uint16_t *port); /* true where it is known */

#endif
