/* SPDX-License-Identifier: Apache-2.0 */
/* Signals come as libevent events: no handler of ours runs in signal context. */
#include "cli/forward.h"

#include <stdlib.h>

#include "common/duration.h"
#include "common/mem.h"
#include "common/signals.h"

#define SIGNALS 64

struct forward {
	struct signal_watch *watches[SIGNALS + 1]; /* by signal; NULL: none, or it was ignored */
	uint64_t leaving;
	const struct forward_ops *ops;
	void *arg;
	int64_t interrupted_ns; /* when the last SIGINT came; 0: none did */
};

static void on_signal(int signo, void *arg)
{
	struct forward *f = arg;
	int64_t now = clock_monotonic_ns();
	int64_t within = f->ops->leave_within_ns ? f->ops->leave_within_ns : NS_PER_S;

	if ((f->leaving & FORWARD_BIT(signo)) ||
	    (signo == SIGINT && f->interrupted_ns && now - f->interrupted_ns <= within)) {
		f->ops->leave(f, signo, f->arg);
		return;
	}
	if (signo == SIGINT)
		f->interrupted_ns = now;
	f->ops->signal(f, signo, f->arg);
}

struct forward *forward_new(struct event_base *base, uint64_t forwarded, uint64_t leaving,
    const struct forward_ops *ops, void *arg)
{
	struct forward *f = xcalloc(1, sizeof(*f));
	struct err e;

	f->ops = ops;
	f->arg = arg;
	f->leaving = leaving;
	for (int signo = 1; signo <= SIGNALS; signo++) {
		if (!((forwarded | leaving) & FORWARD_POSSIBLE & FORWARD_BIT(signo)) ||
		    signals_were_ignored(signo))
			continue;
		if (signals_watch(&f->watches[signo], base, signo, on_signal, f, &e) < 0)
			abort();
	}
	return f;
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	for (int signo = 1; signo <= SIGNALS; signo++)
		signals_unwatch(f->watches[signo]);
	free(f);
}
