/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pace.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "common/mem.h"

#define AHEAD (NS_PER_S / 20) /* what was not used is not saved up for longer */

struct pace {
	uint64_t rate;
	int64_t paid_ns; /* what went is paid for until then */
	struct event *timer;
	void (*turn)(void *arg);
	void *arg;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct pace *p = arg;

	(void)fd;
	(void)what;
	p->turn(p->arg);
}

struct pace *pace_new(struct event_base *base, uint64_t rate, void (*turn)(void *arg), void *arg)
{
	struct pace *p = xcalloc(1, sizeof(*p));

	p->rate = rate;
	p->turn = turn;
	p->arg = arg;
	p->timer = evtimer_new(base, on_timer, p);
	if (!p->timer)
		abort();
	return p;
}

void pace_free(struct pace *p)
{
	if (!p)
		return;
	event_free(p->timer);
	free(p);
}

void pace_went(struct pace *p, size_t n)
{
	if (p->rate > 0)
		p->paid_ns += (int64_t)((double)n / (double)p->rate * (double)NS_PER_S);
}

bool pace_may(struct pace *p)
{
	const int64_t now = clock_monotonic_ns();
	struct timeval tv;

	if (p->rate == 0)
		return true;
	if (p->paid_ns < now - AHEAD)
		p->paid_ns = now - AHEAD;
	if (p->paid_ns <= now)
		return true;
	tv = duration_timeval(p->paid_ns - now);
	event_add(p->timer, &tv);
	return false;
}
