/* gethostbyname and its kin, and the names of services. */
#include "net.h"
#include "sys.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

enum { NO_ROOM = -1 /* NETDB_INTERNAL: errno has the reason */ };

int service_port(const char *service, const char *protocol, uint16_t *port)
{
	static const struct { char name[8]; uint16_t port; } known[] = { { "https", 443 }, { "http", 80 }, { "domain", 53 } };
	unsigned long n = 0;
	const char *c = service;
	for (; *c >= '0' && *c <= '9' && n <= 65535; c++)
		n = n * 10 + (unsigned long)(*c - '0');
	if (!*c && c != service && n <= 65535) {
		*port = (uint16_t)n;
		return 1;
	}
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (!strcmp(service, known[i].name)) {
			*port = known[i].port;
			return 1;
		}
	char room[1024];
	struct servent entry, *found = NULL;
	if (c != service || getservbyname_r(service, protocol, &entry, room, sizeof room, &found) || !found)
		return 0;
	*port = ntohs((uint16_t)found->s_port);
	return 1;
}

/* What a hostent points to, in the caller's room. */
struct entry {
	char *aliases[1];
	char *addresses[2];
	unsigned char address[16];
	char name[MAX_NAME + 1];
};

static int fill(struct hostent *host, char *room, size_t size, const char *name, const struct place *place)
{
	size_t skew = (size_t)(-(uintptr_t)room % _Alignof(struct entry));
	if (size < skew + sizeof(struct entry))
		return ERANGE;
	struct entry *entry = (struct entry *)(void *)(room + skew);
	memset(entry, 0, sizeof *entry);
	memcpy(entry->address, place->ip, 16);
	memcpy(entry->name, name, strlen(name) + 1); /* names_clean has bounded it */
	entry->addresses[0] = (char *)entry->address;
	host->h_name = entry->name;
	host->h_aliases = entry->aliases;
	host->h_addrtype = place->six ? AF_INET6 : AF_INET;
	host->h_length = place->six ? 16 : 4;
	host->h_addr_list = entry->addresses;
	return 0;
}

EXPORT int gethostbyname2_r(const char *name, int family, struct hostent *host, char *room, size_t size, struct hostent **found,
			    int *why)
{
	struct place place = { .six = family == AF_INET6 };
	char clean[MAX_NAME + 1];
	uint32_t address;
	*found = NULL;
	if (family != AF_INET && family != AF_INET6) {
		*why = NO_RECOVERY;
		return EAFNOSUPPORT;
	}
	*why = HOST_NOT_FOUND;
	if (!name || strlen(name) > MAX_NAME + 1)
		return 0;
	if (inet_pton(family, name, place.ip) == 1 || (family == AF_INET && inet_aton(name, (struct in_addr *)(void *)place.ip))) {
		memcpy(clean, name, strlen(name) < sizeof clean ? strlen(name) + 1 : 0);
	} else if (!names_clean(name, clean)) {
		return 0;
	} else if (names_is_local(clean)) {
		place = place_loopback(family == AF_INET6, 0);
	} else if (names_address(clean, &address)) {
		*why = TRY_AGAIN;
		return EAGAIN;
	} else {
		place = names_place(address, family == AF_INET6, 0);
	}
	if (fill(host, room, size, clean, &place)) {
		*why = NO_ROOM;
		return ERANGE;
	}
	*why = 0;
	*found = host;
	return 0;
}

EXPORT int gethostbyname_r(const char *name, struct hostent *host, char *room, size_t size, struct hostent **found, int *why)
{
	return gethostbyname2_r(name, AF_INET, host, room, size, found, why);
}

EXPORT int gethostbyaddr_r(const void *address, socklen_t len, int family, struct hostent *host, char *room, size_t size,
			   struct hostent **found, int *why)
{
	struct place place = { .six = family == AF_INET6 };
	*found = NULL;
	*why = HOST_NOT_FOUND;
	if ((family != AF_INET && family != AF_INET6) || len != (family == AF_INET6 ? 16u : 4u))
		return 0;
	memcpy(place.ip, address, len);
	uint32_t named = names_in(&place);
	const char *name = place_is_loopback(&place) ? "localhost" : named ? names_of(named) : NULL;
	if (!name)
		return 0;
	if (fill(host, room, size, name, &place)) {
		*why = NO_ROOM;
		return ERANGE;
	}
	*why = 0;
	*found = host;
	return 0;
}

static _Thread_local struct hostent last;
static _Thread_local char kept[sizeof(struct entry) + _Alignof(struct entry)];

EXPORT struct hostent *gethostbyname2(const char *name, int family)
{
	struct hostent *found;
	gethostbyname2_r(name, family, &last, kept, sizeof kept, &found, &h_errno);
	return found;
}

EXPORT struct hostent *gethostbyname(const char *name)
{
	return gethostbyname2(name, AF_INET);
}

EXPORT struct hostent *gethostbyaddr(const void *address, socklen_t len, int family)
{
	struct hostent *found;
	gethostbyaddr_r(address, len, family, &last, kept, sizeof kept, &found, &h_errno);
	return found;
}
