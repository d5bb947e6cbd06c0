/* SPDX-License-Identifier: Apache-2.0 */
/* Signals come as libevent events: no handler of ours runs in signal context. */
#include "cli/forward.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "common/mem.h"

#define SIGNALS 64

struct forward {
	struct event *events[SIGNALS + 1]; /* by signal; NULL: none, or it was ignored */
	uint64_t leaving;
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
	if ((f->leaving & FORWARD_BIT(signo)) ||
	    (signo == SIGINT && f->interrupted_ns && now - f->interrupted_ns <= within)) {
		f->ops->leave(f, (int)signo, f->arg);
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

struct forward *forward_new(struct event_base *base, uint64_t forwarded, uint64_t leaving,
    const struct forward_ops *ops, void *arg)
{
	struct forward *f = xcalloc(1, sizeof(*f));

	f->ops = ops;
	f->arg = arg;
	f->leaving = leaving;
	for (int signo = 1; signo <= SIGNALS; signo++) {
		if (!((forwarded | leaving) & FORWARD_POSSIBLE & FORWARD_BIT(signo)) ||
		    is_ignored(signo))
			continue;
		f->events[signo] = evsignal_new(base, signo, on_signal, f);
		if (!f->events[signo] || event_add(f->events[signo], NULL) < 0)
			abort();
	}
	return f;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	for (int signo = 1; signo <= SIGNALS; signo++)
		if (f->events[signo])
			event_free(f->events[signo]);
	free(f);
}
