/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/loss.h"

#include <event2/event.h>
#include <stdlib.h>

#include "cli/follow_words.h"
#include "cli/say.h"
#include "common/mem.h"

static const struct timeval patience = {.tv_sec = 1};

struct loss {
	const struct session *session;
	const char *meanwhile;
	struct event *timer;
	struct telex_error why;
	bool now, said;
};

static void say_lost(struct loss *l)
{
	l->said = true;
	follow_words_interrupted(l->session, &l->why, l->meanwhile);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	say_lost(arg);
}

struct loss *loss_new(const struct session *session, const char *meanwhile)
{
	struct loss *l = xcalloc(1, sizeof(*l));

	l->session = session;
	l->meanwhile = meanwhile;
	l->timer = evtimer_new(session->base, on_timer, l);
	if (!l->timer)
		abort();
	return l;
}

void loss_free(struct loss *l)
{
	if (!l)
		return;
	event_free(l->timer);
	free(l);
}

void loss_begins(struct loss *l, const struct telex_error *why)
{
	l->why = *why;
	l->now = true;
	if (say_details())
		say_lost(l);
	else
		event_add(l->timer, &patience);
}

bool loss_ends(struct loss *l)
{
	const bool said = l->said;

	event_del(l->timer);
	l->now = l->said = false;
	if (said)
		say_note("the connection to %s is back", l->session->address);
	return said;
}

bool loss_now(const struct loss *l)
{
	return l->now;
}
