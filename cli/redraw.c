/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/redraw.h"

#include <event2/event.h>
#include <stdlib.h>

#include "cli/term.h"
#include "common/mem.h"

/* Both sizes must get there, and not be taken for one change. */
static const struct timeval moment = {.tv_usec = 100000};

struct redraw {
	struct event *timer;
	struct telex_run *run;
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	const struct redraw *r = arg;
	uint16_t rows, columns;

	(void)fd;
	(void)what;
	if (term_size(&rows, &columns))
		telex_run_resize(r->run, rows, columns);
}

struct redraw *redraw_new(struct event_base *base)
{
	struct redraw *r = xcalloc(1, sizeof(*r));

	r->timer = evtimer_new(base, on_timer, r);
	if (!r->timer)
		abort();
	return r;
}

void redraw(struct redraw *r, struct telex_run *run)
{
	uint16_t rows, columns;

	if (!term_size(&rows, &columns))
		return;
	r->run = run;
	telex_run_resize(run, rows, (uint16_t)(columns > 1 ? columns - 1 : 2));
	event_add(r->timer, &moment);
}

void redraw_free(struct redraw *r)
{
	if (!r)
		return;
	event_free(r->timer);
	free(r);
}
