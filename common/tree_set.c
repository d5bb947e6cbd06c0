/* SPDX-License-Identifier: Apache-2.0 */
/* A set of paths as an open-addressed table of 64-bit SipHash-like values: eight bytes a path. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/err.h"
#include "common/tree.h"

#define FIRST_SLOTS 256u

struct tree_set {
	uint64_t key[2];
	uint64_t *slots; /* 0: free */
	size_t n_slots, used;
};

static inline uint64_t rotate(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static void round_of(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012): nobody who does not know the key finds collisions. */
static uint64_t hash_of(const struct tree_set *s, const char *path)
{
	uint64_t v[4] = {s->key[0] ^ UINT64_C(0x736f6d6570736575),
	    s->key[1] ^ UINT64_C(0x646f72616e646f6d), s->key[0] ^ UINT64_C(0x6c7967656e657261),
	    s->key[1] ^ UINT64_C(0x7465646279746573)};
	size_t len = strlen(path);
	uint64_t word, left = len;

	for (; left >= 8; left -= 8, path += 8) {
		memcpy(&word, path, 8);
		v[3] ^= word;
		round_of(v);
		round_of(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (uint64_t i = 0; i < left; i++)
		word |= (uint64_t)(uint8_t)path[i] << (8 * i);
	v[3] ^= word;
	round_of(v);
	round_of(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		round_of(v);
	word = v[0] ^ v[1] ^ v[2] ^ v[3];
	return word != 0 ? word : 1;
}

int tree_set_new(struct tree_set **out)
{
	struct tree_set *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TX_ENOMEM;
	s->n_slots = FIRST_SLOTS;
	s->slots = calloc(s->n_slots, sizeof(*s->slots));
	if (s->slots == NULL) {
		free(s);
		return TX_ENOMEM;
	}
	while (getrandom(s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key) && errno == EINTR)
		;
	*out = s;
	return 0;
}

void tree_set_free(struct tree_set *s)
{
	if (s == NULL)
		return;
	free(s->slots);
	free(s);
}

/* Where it is, or where it would be. */
static uint64_t *slot_of(const struct tree_set *s, uint64_t hash)
{
	size_t at = (size_t)hash & (s->n_slots - 1);

	while (s->slots[at] != 0 && s->slots[at] != hash)
		at = (at + 1) & (s->n_slots - 1);
	return &s->slots[at];
}

static int grow(struct tree_set *s)
{
	struct tree_set larger = *s;

	larger.n_slots *= 2;
	larger.slots = calloc(larger.n_slots, sizeof(*larger.slots));
	if (larger.slots == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i] != 0)
			*slot_of(&larger, s->slots[i]) = s->slots[i];
	free(s->slots);
	*s = larger;
	return 0;
}

int tree_set_add(struct tree_set *s, const char *path)
{
	uint64_t hash = hash_of(s, path), *slot;
	int rc;

	if (s->used * 4 >= s->n_slots * 3) {
		rc = grow(s);
		if (rc < 0)
			return rc;
	}
	slot = slot_of(s, hash);
	if (*slot == hash)
		return 0;
	*slot = hash;
	s->used++;
	return 1;
}

bool tree_set_has(const struct tree_set *s, const char *path)
{
	return *slot_of(s, hash_of(s, path)) != 0;
}

size_t tree_set_count(const struct tree_set *s)
{
	return s->used;
}
