/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket an identity: it holds one second's calls and fills at that rate. A bucket that is full
 * and has no call under way is as good as none, and goes when there are many.
 */
#include "agent/worker/rates.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/duration.h"
#include "common/err.h"
#include "common/mem.h"

#define CHAINS  256u
#define MANY    1024u
#define IDLE_NS (2 * NS_PER_S) /* a bucket that was let alone for so long is full */

struct bucket {
	LIST_ENTRY(bucket) link;
	int64_t at_ns;  /* when it was looked at last */
	int64_t tokens; /* in billionths of a call */
	uint32_t calls; /* under way */
	char identity[];
};

struct rates {
	LIST_HEAD(chain, bucket) chains[CHAINS];
	size_t n;
};

struct rates *rates_new(void)
{
	return xcalloc(1, sizeof(struct rates));
}

static void drop(struct rates *r, struct bucket *b)
{
	LIST_REMOVE(b, link);
	free(b);
	r->n--;
}

void rates_free(struct rates *r)
{
	if (r == NULL)
		return;
	for (unsigned i = 0; i < CHAINS; i++)
		while (!LIST_EMPTY(&r->chains[i]))
			drop(r, LIST_FIRST(&r->chains[i]));
	free(r);
}

static struct chain *chain_of(struct rates *r, const char *identity)
{
	uint32_t hash = 2166136261u;

	for (; *identity != '\0'; identity++)
		hash = (hash ^ (unsigned char)*identity) * 16777619u;
	return &r->chains[hash % CHAINS];
}

static struct bucket *find(struct rates *r, const char *identity)
{
	struct bucket *b;

	LIST_FOREACH(b, chain_of(r, identity), link)
	if (strcmp(b->identity, identity) == 0)
		return b;
	return NULL;
}

static void drop_idle(struct rates *r, int64_t now)
{
	struct bucket *next;

	for (unsigned i = 0; i < CHAINS; i++)
		for (struct bucket *b = LIST_FIRST(&r->chains[i]); b != NULL; b = next) {
			next = LIST_NEXT(b, link);
			if (b->calls == 0 && now - b->at_ns > IDLE_NS)
				drop(r, b);
		}
}

static struct bucket *get(struct rates *r, const char *identity, uint32_t per_second, int64_t now)
{
	struct bucket *b = find(r, identity);
	size_t len = strlen(identity) + 1;

	if (b != NULL)
		return b;
	if (r->n >= MANY)
		drop_idle(r, now);
	b = xcalloc(1, sizeof(*b) + len);
	memcpy(b->identity, identity, len);
	b->at_ns = now;
	b->tokens = per_second * NS_PER_S;
	LIST_INSERT_HEAD(chain_of(r, identity), b, link);
	r->n++;
	return b;
}

static void fill(struct bucket *b, uint32_t per_second, int64_t now)
{
	int64_t full = per_second * NS_PER_S, passed = now - b->at_ns;

	b->at_ns = now;
	if (passed >= NS_PER_S || b->tokens + passed * per_second > full)
		b->tokens = full;
	else
		b->tokens += passed * per_second;
}

int rates_begin(
    struct rates *r, const char *identity, struct policy_rates limits, struct rpc_status *refuse)
{
	int64_t now = clock_monotonic_ns();
	struct bucket *b;

	if (limits.calls_per_second == 0 && limits.concurrent_calls == 0)
		return 0;
	b = get(r, identity, limits.calls_per_second, now);
	if (limits.concurrent_calls != 0 && b->calls >= limits.concurrent_calls) {
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "CALLS",
		    "%u calls at once are allowed, and so many are under way",
		    limits.concurrent_calls);
		rpc_status_meta(refuse, "maximum", "%u", limits.concurrent_calls);
		return TX_ELIMIT;
	}
	fill(b, limits.calls_per_second, now);
	if (limits.calls_per_second != 0 && b->tokens < NS_PER_S) {
		double wait =
		    (double)(NS_PER_S - b->tokens) / limits.calls_per_second / (double)NS_PER_S;

		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "RATE",
		    "%u calls a second are allowed; try again in %.3f s", limits.calls_per_second,
		    wait);
		rpc_status_meta(refuse, "retry_after", "%.3f", wait);
		return TX_ELIMIT;
	}
	if (limits.calls_per_second != 0)
		b->tokens -= NS_PER_S;
	b->calls++;
	return 0;
}

void rates_end(struct rates *r, const char *identity)
{
	struct bucket *b = find(r, identity);

	if (b != NULL && b->calls > 0)
		b->calls--;
}
