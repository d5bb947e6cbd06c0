/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/ending.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/job.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signame.h"

/* A client whose worker died is not gone: it has this long to come back before a policy that says
 * "at once" applies. */
#define WORKER_DIED_WAIT_NS (10 * NS_PER_S)

#if !defined(SYS_pidfd_send_signal)
#define SYS_pidfd_send_signal 424
#endif

static void set_timer(struct job *j, struct event *timer, int64_t ns)
{
	struct timeval tv = duration_timeval(ns);

	if (event_add(timer, &tv) != 0)
		log_error("job %s: no memory for a timer", j->id);
}

/* Whether the leader still runs: a zombie has ended by itself, whatever comes too late for it. */
static bool is_alive(const struct job *j)
{
	siginfo_t si = {.si_pid = 0};

	return j->pid > 0 && !j->reaped &&
	       waitid(P_PID, (id_t)j->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == 0;
}

static int send_group(const struct job *j, int signo)
{
	if (j->pid <= 0 || j->reaped)
		return ESRCH;
	return kill(-j->pid, signo) == 0 ? 0 : errno;
}

static int send_leader(const struct job *j, int signo)
{
	if (j->pid <= 0 || j->reaped)
		return ESRCH;
	if (j->pidfd >= 0 && syscall(SYS_pidfd_send_signal, j->pidfd, signo, NULL, 0) == 0)
		return 0;
	if (j->pidfd >= 0 && errno != ENOSYS)
		return errno;
	/* Not reaped: the number is still its own. */
	return kill(j->pid, signo) == 0 ? 0 : errno;
}

/* ---- what is still queued: it ends without having run ---- */

static bool end_queued(struct job *j, enum km_reason why, const char *by, const char *how)
{
	if (j->state != KM_STATE_QUEUED)
		return false;
	j->exit.reason = (uint8_t)why;
	snprintf(j->exit.by, sizeof(j->exit.by), "%s", by);
	snprintf(j->exit.text, sizeof(j->exit.text), "it was ended while it was queued: %s", how);
	job_never_ran(j);
	return true;
}

/* ---- by request ---- */

static void remember(struct job *j, int signo, const char *by)
{
	struct job_sent *s;

	for (s = j->sent; s != NULL && s->signo != signo; s = s->next)
		;
	if (s == NULL) {
		s = calloc(1, sizeof(*s));
		if (s == NULL)
			return;
		s->signo = signo;
		s->next = j->sent;
		j->sent = s;
	}
	snprintf(s->by, sizeof(s->by), "%s", by);
}

int ending_signal(struct job *j, int signo, enum km_target target, const char *by, int *sys_errno)
{
	char name[24];
	int error;

	signame_format(name, sizeof(name), signo);
	if (end_queued(j, KM_REASON_SIGNALLED, by, name))
		return 0;
	if (!is_alive(j))
		return TX_ESTATE;
	error = target == KM_TARGET_PROCESS ? send_leader(j, signo) : send_group(j, signo);
	if (error == ESRCH)
		return TX_ESTATE;
	if (error != 0) {
		*sys_errno = error;
		return TX_ESYS;
	}
	remember(j, signo, by);
	log_info("job %s: %s from %s", j->id, name, by);
	return 0;
}

/* ---- by the agent ---- */

static const char *cause_name(enum km_reason cause)
{
	static const char *const names[] = {
	    "", "exited", "signalled", "run timeout", "disconnect policy", "shutdown"};

	return names[cause];
}

static void take_cause(struct job *j, enum km_reason why)
{
	if (j->cause == 0 && is_alive(j)) {
		j->cause = why;
		log_info("job %s: is ended: %s", j->id, cause_name(why));
	}
	if (j->state == KM_STATE_RUNNING)
		job_set_state(j, KM_STATE_ENDING);
}

/* Whose request a cause was: the policy and the timeout are the owner's. */
static const char *cause_by(const struct job *j, enum km_reason why)
{
	return why == KM_REASON_DISCONNECT || why == KM_REASON_RUN_TIMEOUT ? j->owner : "";
}

void ending_kill(struct job *j, enum km_reason why)
{
	if (end_queued(j, why, cause_by(j, why), cause_name(why)) || j->pid == 0 || j->reaped)
		return;
	take_cause(j, why);
	event_del(j->end_timer);
	event_del(j->gone_timer);
	j->kill_at = 0;
	(void)send_group(j, SIGKILL);
	(void)send_leader(j, SIGKILL);
}

void ending_begin(struct job *j, enum km_reason why, int signo, int64_t grace_ns)
{
	int64_t kill_at = clock_monotonic_ns() + grace_ns;

	if (end_queued(j, why, cause_by(j, why), cause_name(why)) || j->pid == 0 || j->reaped)
		return;
	if (grace_ns == 0 || signo == SIGKILL) {
		ending_kill(j, why);
		return;
	}
	if (j->kill_at != 0) {
		/* It is being ended already; only an earlier end counts. */
		if (kill_at < j->kill_at)
			set_timer(j, j->end_timer, grace_ns);
		return;
	}
	take_cause(j, why);
	event_del(j->gone_timer);
	(void)send_group(j, signo);
	/* What is stopped takes the signal only when it goes on. */
	(void)send_group(j, SIGCONT);
	j->kill_at = kill_at;
	set_timer(j, j->end_timer, grace_ns);
}

void ending_started(struct job *j)
{
	if (j->spec->run_timeout_ns > 0)
		set_timer(j, j->end_timer, j->spec->run_timeout_ns);
}

void ending_timer(struct job *j)
{
	if (j->kill_at != 0)
		ending_kill(j, j->cause);
	else
		ending_begin(
		    j, KM_REASON_RUN_TIMEOUT, j->spec->stop_signal, j->spec->stop_grace_ns);
}

void ending_left(struct job *j, bool worker_died)
{
	int64_t wait = 0;

	if (j->reaped || j->state == KM_STATE_ENDED || j->cause != 0 ||
	    j->spec->disconnect == JOB_DISCONNECT_KEEP)
		return;
	if (j->spec->disconnect == JOB_DISCONNECT_HANGUP)
		wait = j->spec->disconnect_wait_ns;
	if (worker_died && wait < WORKER_DIED_WAIT_NS)
		wait = WORKER_DIED_WAIT_NS;
	if (wait == 0)
		ending_gone(j);
	else
		set_timer(j, j->gone_timer, wait);
}

void ending_returned(struct job *j)
{
	event_del(j->gone_timer);
}

void ending_gone(struct job *j)
{
	if (j->spec->disconnect == JOB_DISCONNECT_KILL)
		ending_kill(j, KM_REASON_DISCONNECT);
	else
		ending_begin(j, KM_REASON_DISCONNECT, SIGHUP, j->spec->stop_grace_ns);
}

/* ---- the words for it ---- */

void ending_explain(struct job *j)
{
	struct km_exit *x = &j->exit;

	x->reason = KM_REASON_EXITED;
	if (j->cause != 0) {
		x->reason = (uint8_t)j->cause;
		return;
	}
	if (x->kind != KM_END_SIGNAL)
		return;
	for (struct job_sent *s = j->sent; s != NULL; s = s->next) {
		if (s->signo != x->value)
			continue;
		x->reason = KM_REASON_SIGNALLED;
		memcpy(x->by, s->by, sizeof(x->by));
		return;
	}
}

void ending_describe(const struct job *j, char *out, size_t size)
{
	char name[24];

	if (j->exit.kind == KM_END_NOT_STARTED)
		snprintf(out, size, "did not run: %.150s", j->exit.text);
	else if (!j->reaped)
		snprintf(out, size, j->state == KM_STATE_QUEUED ? "is queued" : "is running");
	else if (j->exit.kind == KM_END_CODE)
		snprintf(out, size, "exited with %d", (int)j->exit.value);
	else if (j->exit.kind == KM_END_SIGNAL)
		snprintf(out, size, "died of %s",
		    signame_format(name, sizeof(name), (int)j->exit.value));
	else
		snprintf(out, size, "ended, nobody saw how");
}
