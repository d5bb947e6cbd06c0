/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/sources.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/duration.h"
#include "common/mem.h"

#define BUCKETS 1024u

struct source {
	uint64_t key;
	uint32_t count;
	LIST_ENTRY(source) link;
};

LIST_HEAD(bucket, source);

struct sources {
	uint32_t max;
	int64_t told_ns; /* 0: not yet */
	uint64_t untold;
	struct bucket buckets[BUCKETS];
};

struct sources *sources_new(uint32_t max)
{
	struct sources *ss = xcalloc(1, sizeof(*ss));

	ss->max = max;
	return ss;
}

void sources_free(struct sources *ss)
{
	free(ss);
}

/* The highest 64 bits of an IPv6 address; an IPv4 one, also as ::ffff:a.b.c.d, is below 2^32.
 * Others are one source. */
static uint64_t key_of(const struct sockaddr *from)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)from;
	uint64_t key = 0;
	uint32_t v4;

	if (from->sa_family == AF_INET)
		return four->sin_addr.s_addr;
	if (from->sa_family != AF_INET6)
		return UINT64_MAX;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		memcpy(&v4, six->sin6_addr.s6_addr + 12, sizeof(v4));
		return v4;
	}
	memcpy(&key, six->sin6_addr.s6_addr, sizeof(key));
	return key | UINT64_C(1) << 63;
}

bool sources_enter(struct sources *ss, const struct sockaddr *from, struct source **out)
{
	uint64_t key = key_of(from);
	struct bucket *b = &ss->buckets[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
	struct source *s;

	*out = NULL;
	if (ss->max == 0)
		return true;
	LIST_FOREACH(s, b, link)
	if (s->key == key)
		break;
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		s->key = key;
		LIST_INSERT_HEAD(b, s, link);
	}
	if (s->count == ss->max)
		return false;
	s->count++;
	*out = s;
	return true;
}

void sources_leave(struct sources *ss, struct source *s)
{
	(void)ss;
	if (s == NULL || --s->count > 0)
		return;
	LIST_REMOVE(s, link);
	free(s);
}

bool sources_tell(struct sources *ss, int64_t now_ns, uint64_t *untold)
{
	if (ss->told_ns != 0 && now_ns - ss->told_ns < NS_PER_S) {
		ss->untold++;
		return false;
	}
	ss->told_ns = now_ns;
	*untold = ss->untold;
	ss->untold = 0;
	return true;
}
