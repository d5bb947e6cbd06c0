/* SPDX-License-Identifier: Apache-2.0 */
/* Sending costs a clock's reading only: the timer looks when it fires how long ago the last was. */
#include "agent/worker/heartbeat.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "common/mem.h"

struct heartbeat {
	struct rpc_call *call;
	struct event *timer;
	int64_t interval_ns, sent_ns;
	void (*beat)(void *arg);
	void *arg;
};

static void wait_for(struct heartbeat *h, int64_t ns)
{
	struct timeval tv = duration_timeval(ns);

	if (event_add(h->timer, &tv) != 0)
		abort();
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct heartbeat *h = arg;
	int64_t left = h->sent_ns + h->interval_ns - clock_monotonic_ns();

	(void)fd;
	(void)what;
	if (left <= 0) {
		if (rpc_pending(h->call) == 0)
			h->beat(h->arg);
		heartbeat_sent(h);
		left = h->interval_ns;
	}
	wait_for(h, left);
}

struct heartbeat *heartbeat_new(
    struct rpc_call *c, int64_t interval_ns, void (*beat)(void *arg), void *arg)
{
	struct heartbeat *h;

	if (interval_ns <= 0)
		return NULL;
	h = xcalloc(1, sizeof(*h));
	h->call = c;
	h->interval_ns = interval_ns;
	h->beat = beat;
	h->arg = arg;
	h->timer = evtimer_new(rpc_call_base(c), on_timer, h);
	if (h->timer == NULL)
		abort();
	heartbeat_sent(h);
	wait_for(h, interval_ns);
	return h;
}

void heartbeat_sent(struct heartbeat *h)
{
	if (h != NULL)
		h->sent_ns = clock_monotonic_ns();
}

void heartbeat_free(struct heartbeat *h)
{
	if (h == NULL)
		return;
	event_free(h->timer);
	free(h);
}
