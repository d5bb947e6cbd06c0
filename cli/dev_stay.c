/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dev_stay.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "cli/cli.h"
#include "cli/forward.h"
#include "cli/say.h"

struct foreground {
	struct dev_agent *agent;
	struct event_base *base;
};

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct foreground *f = arg;

	(void)fd;
	(void)what;
	event_base_loopbreak(f->base);
}

/* All that ends a program ends the agent; a closed terminal (HUP) too, which the agent would take
 * for "reload". */
static void on_signal(struct forward *forward, int signo, void *arg)
{
	struct foreground *f = arg;
	bool ends = signo != SIGUSR1 && signo != SIGUSR2;
	struct err e;

	(void)forward;
	if (ends)
		say_note("ending the agent and its processes");
	if (dev_agent_signal(f->agent, ends ? SIGTERM : signo, &e) < 0)
		say_error("dev: %s", e.message);
}

static const struct forward_ops forward_ops = {.signal = on_signal, .leave = on_signal};

int dev_stay(struct dev_agent *agent, void (*hears)(void *arg), void *arg)
{
	struct foreground f = {.agent = agent, .base = event_base_new()};
	struct event *end;
	struct forward *forward;
	int how = 0;

	end = f.base ? event_new(f.base, agent->pidfd, EV_READ, on_end, &f) : NULL;
	if (!end || event_add(end, NULL) < 0)
		abort();
	forward = forward_new(f.base, FORWARD_DEFAULT, 0, &forward_ops, &f);
	hears(arg);
	event_base_dispatch(f.base);
	forward_free(forward);
	event_free(end);
	event_base_free(f.base);
	while (waitpid(agent->pid, &how, 0) < 0 && errno == EINTR)
		;
	dev_agent_forget(agent);
	if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
		return CLI_OK;
	say_error("dev: the agent ended with %s %d", WIFSIGNALED(how) ? "signal" : "status",
	    WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
	return CLI_TELEX;
}
