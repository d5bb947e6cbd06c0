/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/budget.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"

struct budget {
	struct event *turned; /* runs behind all that is active in this turn */
	int64_t ns, until;    /* until: 0 in a turn that has not asked yet */
};

static void on_turned(evutil_socket_t fd, short what, void *arg)
{
	struct budget *b = arg;

	(void)fd;
	(void)what;
	b->until = 0;
}

struct budget *budget_new(struct event_base *base, int64_t ns)
{
	struct budget *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return NULL;
	b->ns = ns;
	b->turned = event_new(base, -1, 0, on_turned, b);
	if (b->turned == NULL) {
		free(b);
		return NULL;
	}
	return b;
}

void budget_free(struct budget *b)
{
	if (b == NULL)
		return;
	event_free(b->turned);
	free(b);
}

bool budget_left(struct budget *b)
{
	int64_t now = clock_monotonic_ns();

	if (b->until != 0)
		return now < b->until;
	b->until = now + b->ns;
	event_active(b->turned, EV_TIMEOUT, 0);
	return true;
}
