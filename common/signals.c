/* SPDX-License-Identifier: Apache-2.0 */
/* On libevent's signal events: its handler writes a byte that its loop reads. */
#include "common/signals.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>

#define SIGNALS_MAX 64

struct signal_watch {
	struct event *event;
	signals_fn fn;
	void *arg;
};

static uint64_t were_ignored; /* bit n-1 for n */
static bool noted;

static void note_ignored(void)
{
	struct sigaction now;

	if (noted)
		return;
	noted = true;
	/* The numbers that libc keeps for itself answer EINVAL. */
	for (int s = 1; s <= SIGNALS_MAX; s++)
		if (sigaction(s, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			were_ignored |= UINT64_C(1) << (s - 1);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;

	(void)what;
	w->fn((int)signo, w->arg);
}

int signals_watch(struct signal_watch **out, struct event_base *base, int signo, signals_fn fn,
    void *arg, struct err *e)
{
	struct sigaction now;
	struct signal_watch *w;

	note_ignored();
	if (signo == SIGKILL || signo == SIGSTOP || sigaction(signo, NULL, &now) != 0)
		return err_set(e, TX_EINVAL, "signal %d cannot be caught", signo);
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	w->fn = fn;
	w->arg = arg;
	w->event = evsignal_new(base, signo, on_signal, w);
	if (w->event == NULL || event_add(w->event, NULL) != 0) {
		signals_unwatch(w);
		return err_set(e, TX_ENOMEM, "cannot listen for signal %d", signo);
	}
	*out = w;
	return 0;
}

void signals_unwatch(struct signal_watch *w)
{
	if (w == NULL)
		return;
	if (w->event != NULL)
		event_free(w->event);
	free(w);
}

static void set_effect(int signo, void (*effect)(int))
{
	struct sigaction act = {.sa_handler = effect};

	note_ignored();
	sigemptyset(&act.sa_mask);
	(void)sigaction(signo, &act, NULL);
}

void signals_ignore(int signo)
{
	set_effect(signo, SIG_IGN);
}

void signals_default(int signo)
{
	set_effect(signo, SIG_DFL);
}

bool signals_were_ignored(int signo)
{
	note_ignored();
	return signo >= 1 && signo <= SIGNALS_MAX && (were_ignored >> (signo - 1) & 1) != 0;
}

void signals_block(struct signals_held *held)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &held->before);
}

void signals_restore(const struct signals_held *held)
{
	pthread_sigmask(SIG_SETMASK, &held->before, NULL);
}

void signals_unblock_all(void)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

void signals_reset(void)
{
	for (int s = 1; s <= SIGNALS_MAX; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signals_default(s);
	signals_unblock_all();
}
