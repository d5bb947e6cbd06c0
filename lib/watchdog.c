/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/watchdog.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "lib/client.h"
#include "lib/error.h"

struct watchdog {
	struct event *timer;
	struct call *call;
	int64_t due_ns;  /* the timer's */
	int64_t back_ns; /* when this process was last found to have stood still */
};

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct watchdog *w = arg;
	struct conn *conn = w->call->conn;
	const struct telex_client *client = w->call->client;
	const int64_t now = clock_monotonic_ns();
	/* It was this process that stood still: what the agent has said is not read yet. */
	const bool late = now - w->due_ns > client->heartbeat_ms * NS_PER_MS / 2;
	struct telex_error error;
	int64_t since;

	(void)fd;
	(void)what;
	if (call_rpc(w->call) == NULL)
		return;
	since = conn_ping(conn);
	watchdog_start(w);
	if (late)
		w->back_ns = now;
	/* An answer has as long from then on. */
	if (since != 0 && since < w->back_ns)
		since = w->back_ns;
	if (since == 0 || now - since <= client->heartbeat_ms * NS_PER_MS * 5 / 2)
		return;
	error_set(&error, TELEX_ERROR_LOST, "the agent at %s has been silent for %.3g s",
	    client->address.authority, (double)(now - since) / (double)NS_PER_S);
	call_fail(w->call, &error);
	conn_abandon(conn);
}

struct watchdog *watchdog_new(struct event_base *base, struct call *c)
{
	struct watchdog *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->call = c;
	w->timer = evtimer_new(base, on_timer, w);
	if (w->timer != NULL)
		return w;
	free(w);
	return NULL;
}

void watchdog_free(struct watchdog *w)
{
	if (w == NULL)
		return;
	event_free(w->timer);
	free(w);
}

void watchdog_start(struct watchdog *w)
{
	const int64_t beat_ns = w->call->client->heartbeat_ms * NS_PER_MS;
	const struct timeval tv = duration_timeval(beat_ns);

	w->due_ns = clock_monotonic_ns() + beat_ns;
	evtimer_add(w->timer, &tv);
}
