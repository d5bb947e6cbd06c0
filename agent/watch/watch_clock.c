/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "common/err.h"

#define FORM "w1-%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64

void watch_clock_write(char out[WATCH_CLOCK_SIZE], const struct watch_clock *c)
{
	snprintf(out, WATCH_CLOCK_SIZE, FORM, c->instance, c->tick, c->asked);
}

int watch_clock_read(struct watch_clock *out, const char *text)
{
	struct watch_clock c;
	char again[WATCH_CLOCK_SIZE];

	if (sscanf(text, "w1-%16" SCNx64 "-%16" SCNx64 "-%16" SCNx64, &c.instance, &c.tick,
	        &c.asked) != 3)
		return TX_EINVAL;
	/* Nothing else is one. */
	watch_clock_write(again, &c);
	if (strcmp(again, text) != 0)
		return TX_EINVAL;
	*out = c;
	return 0;
}

static uint64_t mix(uint64_t seed, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, seed + len);
}

static uint64_t mix_texts(uint64_t seed, char *const *list, size_t n)
{
	seed = mix(seed, &n, sizeof(n));
	for (size_t i = 0; i < n; i++)
		seed = mix(seed, list[i], strlen(list[i]));
	return seed;
}

uint64_t watch_clock_asked(const Telex__V1__WatchBegin *b)
{
	const uint32_t flags[] = {(uint32_t)b->recursive, b->recursive ? b->depth : 0,
	    (uint32_t)b->across_mounts, (uint32_t)b->allow_remote};
	uint64_t h = mix(0, flags, sizeof(flags));
	uint32_t kinds = 0;

	for (size_t i = 0; i < b->n_paths; i++)
		h = mix(h, b->paths[i].data, b->paths[i].len);
	h = mix_texts(h, b->include, b->n_include);
	h = mix_texts(h, b->exclude, b->n_exclude);
	for (size_t i = 0; i < b->n_kinds; i++)
		kinds |= 1u << b->kinds[i];
	return mix(h, &kinds, sizeof(kinds));
}
