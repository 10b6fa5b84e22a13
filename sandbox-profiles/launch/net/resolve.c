/* getaddrinfo and getnameinfo without a name server: a name becomes its stand-in (names.c). One address a family is given,
 * and IPv4 alone where the program does not care: two ways to one gateway would only be tried twice. */
#include "net.h"
#include "sys.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a node is; 0 or an EAI code. `clean` is its name, as it goes into ai_canonname. */
static int find_place(const char *node, int family, int flags, struct place *place, char clean[MAX_NAME + 1])
{
	uint32_t address;
	int six = family == AF_INET6;
	memset(place, 0, sizeof *place);
	clean[0] = 0;
	if (!node) {
		place->six = six != 0;
		if (!(flags & AI_PASSIVE))
			*place = place_loopback(six, 0);
		return 0;
	}
	if (strlen(node) > MAX_NAME + 1)
		return EAI_NONAME;
	if (inet_aton(node, (struct in_addr *)(void *)place->ip)) {
		if (six && !(flags & AI_V4MAPPED))
			return EAI_NONAME;
	} else if (inet_pton(AF_INET6, node, place->ip) == 1) {
		if (family == AF_INET)
			return EAI_NONAME;
		place->six = 1;
	} else if (flags & AI_NUMERICHOST || !names_clean(node, clean)) {
		return EAI_NONAME;
	} else if (names_is_local(clean)) {
		*place = place_loopback(six, 0);
	} else if (names_address(clean, &address)) {
		return EAI_MEMORY;
	} else {
		*place = names_place(address, six, 0);
	}
	if (!clean[0])
		memcpy(clean, node, strlen(node) < MAX_NAME ? strlen(node) + 1 : 0);
	return 0;
}

struct found {
	struct addrinfo info; /* first, so that freeing it frees all */
	struct sockaddr_in6 at;
	char name[MAX_NAME + 1];
};

static struct addrinfo *one_more(struct addrinfo *rest, int type, const struct place *place, int six, const char *name)
{
	struct found *found = calloc(1, sizeof *found);
	if (!found)
		return NULL;
	socklen_t len = sizeof found->at;
	place_give(place, six, (struct sockaddr *)&found->at, &len);
	found->info.ai_family = found->at.sin6_family;
	found->info.ai_socktype = type;
	found->info.ai_protocol = type == SOCK_DGRAM ? IPPROTO_UDP : type == SOCK_STREAM ? IPPROTO_TCP : 0;
	found->info.ai_addrlen = len;
	found->info.ai_addr = (struct sockaddr *)&found->at;
	found->info.ai_next = rest;
	if (name) {
		memcpy(found->name, name, strlen(name) + 1);
		found->info.ai_canonname = found->name;
	}
	return &found->info;
}

EXPORT void freeaddrinfo(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;
		free(list);
		list = next;
	}
}

EXPORT int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
		       struct addrinfo **restrict result)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW };
	int family = hints ? hints->ai_family : AF_UNSPEC, flags = hints ? hints->ai_flags : 0, type = hints ? hints->ai_socktype : 0;
	int protocol = hints ? hints->ai_protocol : 0;
	struct place place;
	char clean[MAX_NAME + 1];
	uint16_t port = 0;
	if (!node && !service)
		return EAI_NONAME;
	if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
		return EAI_FAMILY;
	if (type && type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_RAW)
		return EAI_SOCKTYPE;
	if (service && *service) {
		int numeric = service[strspn(service, "0123456789")] == 0;
		if (flags & AI_NUMERICSERV && !numeric)
			return EAI_NONAME;
		if (!service_port(service, type == SOCK_DGRAM ? "udp" : "tcp", &port))
			return EAI_SERVICE;
	}
	int err = find_place(node, family, flags, &place, clean);
	if (err)
		return err;
	place.port = port;
	struct addrinfo *list = NULL;
	for (int i = (int)(sizeof types / sizeof *types) - 1; i >= 0; i--) { /* from the last, so that TCP comes first */
		if ((type && types[i] != type) || (protocol == IPPROTO_TCP && types[i] == SOCK_DGRAM)
		    || (protocol == IPPROTO_UDP && types[i] == SOCK_STREAM) || (!type && types[i] == SOCK_RAW && (protocol || service)))
			continue;
		const char *name = flags & AI_CANONNAME && node ? clean : NULL;
		struct addrinfo *more = one_more(list, types[i], &place, family == AF_INET6, name);
		if (!more) {
			freeaddrinfo(list);
			return EAI_MEMORY;
		}
		list = more;
	}
	if (!list)
		return EAI_SOCKTYPE;
	*result = list;
	return 0;
}

EXPORT int getnameinfo(const struct sockaddr *restrict at, socklen_t len, char *restrict host, socklen_t host_room,
		       char *restrict service, socklen_t service_room, int flags)
{
	struct place place;
	char text[MAX_NAME + 1];
	int n;
	if (!place_of(at, len, &place))
		return EAI_FAMILY;
	if (host && host_room) {
		uint32_t named = names_in(&place);
		const char *name = flags & NI_NUMERICHOST ? NULL : named ? names_of(named) : place_is_loopback(&place) ? "localhost" : NULL;
		if (!name && flags & NI_NAMEREQD)
			return EAI_NONAME;
		if (!name && !(name = inet_ntop(place.six ? AF_INET6 : AF_INET, place.ip, text, sizeof text)))
			return EAI_FAIL;
		n = snprintf(host, host_room, "%s", name);
		if (n < 0 || (socklen_t)n >= host_room)
			return EAI_OVERFLOW;
	}
	if (service && service_room) {
		n = snprintf(service, service_room, "%u", (unsigned)place.port);
		if (n < 0 || (socklen_t)n >= service_room)
			return EAI_OVERFLOW;
	}
	return 0;
}
