/* Addresses: from the many forms that programs give, into one, and back. Pure. */
#include "net.h"

#include <string.h>

static const unsigned char MAPPED[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int place_of(const struct sockaddr *at, socklen_t len, struct place *place)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	memset(place, 0, sizeof *place);
	if (!at || len < sizeof at->sa_family)
		return 0;
	if (at->sa_family == AF_INET && len >= sizeof v4) {
		memcpy(&v4, at, sizeof v4);
		memcpy(place->ip, &v4.sin_addr, 4);
		place->port = ntohs(v4.sin_port);
		return 1;
	}
	if (at->sa_family != AF_INET6 || len < sizeof v6 - sizeof v6.sin6_scope_id)
		return 0;
	memcpy(&v6, at, sizeof v6 - sizeof v6.sin6_scope_id);
	place->port = ntohs(v6.sin6_port);
	if (!memcmp(&v6.sin6_addr, MAPPED, sizeof MAPPED)) {
		memcpy(place->ip, v6.sin6_addr.s6_addr + sizeof MAPPED, 4);
		return 1;
	}
	memcpy(place->ip, &v6.sin6_addr, 16);
	place->six = 1;
	return 1;
}

void place_give(const struct place *place, int six, struct sockaddr *at, socklen_t *room)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(place->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(place->port) };
	int as_six = six || place->six;
	socklen_t size = as_six ? sizeof v6 : sizeof v4;
	if (place->six) {
		memcpy(&v6.sin6_addr, place->ip, 16);
	} else {
		memcpy(&v4.sin_addr, place->ip, 4);
		memcpy(v6.sin6_addr.s6_addr, MAPPED, sizeof MAPPED);
		memcpy(v6.sin6_addr.s6_addr + sizeof MAPPED, place->ip, 4);
	}
	if (!at || !room)
		return;
	memcpy(at, as_six ? (void *)&v6 : (void *)&v4, *room < size ? *room : size);
	*room = size;
}

int place_is_loopback(const struct place *place)
{
	static const unsigned char one[16] = { [15] = 1 }, any[16] = { 0 };
	if (place->six)
		return !memcmp(place->ip, one, 16) || !memcmp(place->ip, any, 16);
	return place->ip[0] == 127 || !memcmp(place->ip, any, 4);
}

struct place place_loopback(int six, uint16_t port)
{
	struct place place = { .port = port, .six = six != 0 };
	if (six)
		place.ip[15] = 1;
	else
		memcpy(place.ip, (const unsigned char[]){ 127, 0, 0, 1 }, 4);
	return place;
}
