/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/loss.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "cli/follow_words.h"
#include "cli/say.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/signame.h"

static const struct timeval patience = {.tv_sec = 1};

/* A connection that is silent is given up after two and a half heartbeats, of 15 s; what was sent
 * since then was for nobody. */
#define SILENCE_NS (40 * NS_PER_S)

struct loss {
	const struct session *session;
	struct event *timer;
	struct telex_error why;
	bool now, said;
	int signo; /* 0: none was sent, or it arrived */
	int64_t signal_ns;
};

static void say_lost(struct loss *l)
{
	l->said = true;
	follow_words_interrupted(l->session, &l->why);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	say_lost(arg);
}

struct loss *loss_new(const struct session *session)
{
	struct loss *l = xcalloc(1, sizeof(*l));

	l->session = session;
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
	/* An agent that says that it will be back has dealt with what it was sent; and what is sent
	 * from now on waits. */
	if (l->now || strcmp(why->reason, "SHUTTING_DOWN") == 0 ||
	    clock_monotonic_ns() - l->signal_ns > SILENCE_NS)
		l->signo = 0;
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
	char name[24];

	event_del(l->timer);
	l->now = l->said = false;
	if (said)
		say_note("the connection to %s is back", l->session->address);
	if (l->signo)
		say_note("%s may not have arrived; send it again",
		    signame_format(name, sizeof(name), l->signo));
	l->signo = 0;
	return said;
}

void loss_signal(struct loss *l, int signo)
{
	if (l->now)
		return;
	l->signo = signo;
	l->signal_ns = clock_monotonic_ns();
}

bool loss_now(const struct loss *l)
{
	return l->now;
}
