/* SPDX-License-Identifier: Apache-2.0 */
/* An event loop that runs until something holds, with a deadline that only a broken test meets. */
#ifndef TX_TESTS_CLI_LOOP_H
#define TX_TESTS_CLI_LOOP_H

#include <event2/event.h>
#include <stdbool.h>

static inline void cli_loop_deadline(evutil_socket_t fd, short what, void *arg)
{
	bool *late = arg;

	(void)fd;
	(void)what;
	*late = true;
}

/* Whether holds(arg) became true. */
static inline bool cli_loop_until(struct event_base *base, bool (*holds)(void *arg), void *arg)
{
	const struct timeval limit = {.tv_sec = 30};
	bool late = false;
	struct event *timer = evtimer_new(base, cli_loop_deadline, &late);

	event_add(timer, &limit);
	while (!late && !holds(arg))
		event_base_loop(base, EVLOOP_ONCE);
	event_free(timer);
	return holds(arg);
}

/* What is due now, and no more. */
static inline void cli_loop_due(struct event_base *base)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

#endif
