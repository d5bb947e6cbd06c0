/* SPDX-License-Identifier: Apache-2.0 */
/* Signals come as libevent events: no handler of ours runs in signal context. */
#include "cli/forward.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>

#include "common/duration.h"
#include "common/mem.h"

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
#define FORWARDED (sizeof(forwarded) / sizeof(forwarded[0]))

struct forward {
	struct event *events[FORWARDED]; /* NULL: was ignored */
	const struct forward_ops *ops;
	void *arg;
	int64_t interrupted_ns; /* when the last SIGINT came; 0: none did */
};

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct forward *f = arg;
	int64_t now = clock_monotonic_ns();
	int64_t within = f->ops->leave_within_ns ? f->ops->leave_within_ns : NS_PER_S;

	(void)what;
	if (signo == SIGINT && f->interrupted_ns && now - f->interrupted_ns <= within) {
		f->ops->leave(f, f->arg);
		return;
	}
	if (signo == SIGINT)
		f->interrupted_ns = now;
	f->ops->signal(f, (int)signo, f->arg);
}

static int is_ignored(int signo)
{
	struct sigaction now;

	return sigaction(signo, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

struct forward *forward_new(struct event_base *base, const struct forward_ops *ops, void *arg)
{
	struct forward *f = xcalloc(1, sizeof(*f));

	f->ops = ops;
	f->arg = arg;
	for (size_t i = 0; i < FORWARDED; i++) {
		if (is_ignored(forwarded[i]))
			continue;
		f->events[i] = evsignal_new(base, forwarded[i], on_signal, f);
		if (!f->events[i] || event_add(f->events[i], NULL) < 0)
			abort();
	}
	return f;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < FORWARDED; i++)
		if (f->events[i])
			event_free(f->events[i]);
	free(f);
}
