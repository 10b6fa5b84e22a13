/* Hosts without DNS: a name stands for an address of 240.0.0.0/5, which no network uses, until the gateway is asked for it.
 * The address is made from a hash of the name, so that processes which never spoke agree on it; where two names meet on one,
 * the later takes the next. What was given out is never taken back, for a stale address would lead to another host.
 * Lock-free: an entry is whole before it is published and never changes, so forks, threads and signal handlers may read. */
#include "net.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/utsname.h>

enum { SLOTS = 1 << 17, MOST = 1 << 16, TEXT = 4 << 20 /* 64 bytes a name */, MOVES = 64 };

#define FIRST 0xf0000000u /* 240.0.0.0 */
#define SPAN 0x08000000u  /* to 247.255.255.255 */

/* address << 32 | offset of its name in `text`; 0 is free. Only the pages that are used cost memory. */
static _Atomic uint64_t slots[SLOTS];
static char text[TEXT];
static atomic_uint used = 1, count;

static const unsigned char SIX[12] = { 0x01, 0, 0, 0, 0, 0, 0, 0, 'a', 'i', 'o', 'n' }; /* of 100::/64, which discards */

int names_clean(const char *name, char clean[MAX_NAME + 1])
{
	size_t n = 0, label = 0;
	for (; *name; name++) {
		char c = *name;
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + ('a' - 'A'));
		if (c == '.') {
			if (!label || n == MAX_NAME)
				return 0;
			label = 0;
			if (!name[1])
				break;
		} else if (((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c == '-' && label)) && label < 63) {
			label++;
		} else {
			return 0;
		}
		if (n == MAX_NAME)
			return 0;
		clean[n++] = c;
	}
	clean[n] = 0;
	return n > 0 && clean[n - 1] != '-';
}

int names_is_local(const char *clean)
{
	struct utsname here;
	char own[MAX_NAME + 1];
	size_t n = strlen(clean);
	if (!strcmp(clean, "localhost") || (n > 10 && !strcmp(clean + n - 10, ".localhost")) || !strcmp(clean, "ip6-localhost"))
		return 1;
	return !uname(&here) && names_clean(here.nodename, own) && !strcmp(clean, own); /* programs ask where to listen */
}

int names_is_ours(uint32_t address)
{
	return address - FIRST < SPAN;
}

/* The slot that holds this address, or the free one where it would be. */
static uint32_t slot_of(uint32_t address)
{
	uint32_t at = (address * 2654435761u) % SLOTS;
	for (;; at = (at + 1) % SLOTS) {
		uint64_t slot = atomic_load_explicit(&slots[at], memory_order_acquire);
		if (!slot || (uint32_t)(slot >> 32) == address)
			return at;
	}
}

const char *names_of(uint32_t address)
{
	uint64_t slot = atomic_load_explicit(&slots[slot_of(address)], memory_order_acquire);
	return slot ? text + (uint32_t)slot : NULL;
}

int names_address(const char *clean, uint32_t *address)
{
	uint32_t hash = 2166136261u, offset = 0; /* FNV-1a */
	size_t size = strlen(clean) + 1;
	for (const char *c = clean; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	for (int moves = 0; moves < MOVES;) {
		uint32_t candidate = FIRST + (hash + (uint32_t)moves) % SPAN, at = slot_of(candidate);
		uint64_t slot = atomic_load_explicit(&slots[at], memory_order_acquire);
		if (slot && !strcmp(text + (uint32_t)slot, clean)) {
			*address = candidate;
			return 0;
		}
		if (slot) {
			moves++;
			continue;
		}
		if (!offset) {
			if (atomic_load(&used) > TEXT - size || atomic_fetch_add(&count, 1) >= MOST)
				return -1;
			offset = atomic_fetch_add(&used, (unsigned)size);
			if (offset > TEXT - size)
				return -1;
			memcpy(text + offset, clean, size);
		}
		uint64_t mine = (uint64_t)candidate << 32 | offset;
		atomic_compare_exchange_strong(&slots[at], &slot, mine); /* lost or won: the next turn reads what stands there */
	}
	return -1;
}

uint32_t names_in(const struct place *place)
{
	const unsigned char *at = place->ip;
	if (place->six) {
		if (memcmp(at, SIX, sizeof SIX))
			return 0;
		at += sizeof SIX;
	}
	uint32_t address = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	return names_is_ours(address) ? address : 0;
}

struct place names_place(uint32_t address, int six, uint16_t port)
{
	struct place place = { .port = port, .six = six != 0 };
	unsigned char *at = place.ip;
	if (six) {
		memcpy(at, SIX, sizeof SIX);
		at += sizeof SIX;
	}
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(address >> (24 - 8 * i));
	return place;
}
