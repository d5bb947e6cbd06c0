/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/ending.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/job.h"
#include "agent/keeper/tree.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signame.h"

/* A client whose worker died is not gone: it has this long to come back before a policy that says
 * "at once" applies. */
#define WORKER_DIED_WAIT_NS (10 * NS_PER_S)
/* Not all could be killed, for want of descriptors or memory. */
#define KILL_AGAIN_NS (100 * NS_PER_MS)

/* The earlier of what is to come. */
static void arm(struct job *j)
{
	int64_t at = j->kill_at != 0 ? j->kill_at : j->timeout_at;
	int64_t wait;
	struct timeval tv;

	if (j->timeout_at != 0 && j->timeout_at < at)
		at = j->timeout_at;
	if (at == 0) {
		event_del(j->end_timer);
		return;
	}
	wait = at - clock_monotonic_ns();
	tv = duration_timeval(wait > 0 ? wait : 0);
	if (event_add(j->end_timer, &tv) != 0)
		log_error("job %s: no memory for a timer", j->id);
}

static bool has_leader(const struct job *j)
{
	return j->pid > 0 && !j->reaped;
}

/* A zombie has ended by itself, whatever comes too late for it. */
bool ending_is_alive(const struct job *j)
{
	siginfo_t si = {.si_pid = 0};

	return has_leader(j) &&
	       waitid(P_PID, (id_t)j->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == 0;
}

static int send_group(const struct job *j, int signo)
{
	if (!has_leader(j))
		return ESRCH;
	return kill(-j->pid, signo) == 0 ? 0 : errno;
}

static int send_leader(const struct job *j, const struct ending_signal *s, int signo)
{
	union sigval value = {.sival_int = s->value};
	int error = ENOSYS;

	if (!has_leader(j))
		return ESRCH;
	if (j->pidfd >= 0)
		error = s->has_value ? tree_pidfd_queue(j->pidfd, signo, s->value)
		                     : tree_pidfd_signal(j->pidfd, signo);
	if (error != ENOSYS)
		return error;
	/* A kernel without pidfds. Not reaped: the number is still its own. */
	if (s->has_value)
		return sigqueue(j->pid, signo, value) == 0 ? 0 : errno;
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

/* No later than then. */
static void kill_by(struct job *j, int64_t at)
{
	if (j->kill_at == 0 || at < j->kill_at)
		j->kill_at = at;
	arm(j);
}

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

/* 0 or an errno. */
static int deliver(struct job *j, const struct ending_signal *s, int signo)
{
	int sys_errno = 0;
	int rc;

	if (s->target == KM_TARGET_TREE) {
		rc = tree_signal(j, signo, &sys_errno);
		return rc == TX_ESTATE ? ESRCH : sys_errno;
	}
	if (!ending_is_alive(j))
		return ESRCH;
	return s->target == KM_TARGET_PROCESS ? send_leader(j, s, signo) : send_group(j, signo);
}

static void take_cause(struct job *j, enum km_reason why, const char *by);

/* What ended by itself, and is not reaped yet, is not ended by us; what it left lives on. */
static bool is_endable(const struct job *j)
{
	return has_leader(j) && (j->cause != 0 || j->kill_at != 0 || ending_is_alive(j));
}

int ending_signal(struct job *j, const struct ending_signal *s, int *sys_errno)
{
	int signo = s->signo != 0 ? s->signo : j->spec->stop_signal;
	/* As of before the signal: what dies of it at once was ended all the same. */
	bool endable = is_endable(j);
	char name[24];
	int error;

	signame_format(name, sizeof(name), signo);
	if (end_queued(j, KM_REASON_SIGNALLED, s->by, name))
		return 0;
	error = deliver(j, s, signo);
	if (error == ESRCH)
		return TX_ESTATE;
	if (error != 0) {
		*sys_errno = error;
		return TX_ESYS;
	}
	log_info("job %s: %s from %s", j->id, name, s->by);
	if (!endable)
		return 0;
	remember(j, signo, s->by);
	if (s->kill_after_ns < 0)
		return 0;
	take_cause(j, KM_REASON_SIGNALLED, s->by);
	if (s->kill_after_ns == 0)
		ending_kill(j, KM_REASON_SIGNALLED);
	else
		kill_by(j, clock_monotonic_ns() + s->kill_after_ns);
	return 0;
}

/* ---- by the agent ---- */

static const char *cause_name(enum km_reason cause)
{
	static const char *const names[] = {
	    "", "exited", "signalled", "run timeout", "disconnect policy", "shutdown"};

	return names[cause];
}

/* What made it end first is the reason. It was endable a moment ago: whether it still lives is not
 * asked again, for without a cause nothing would be killed later. */
static void take_cause(struct job *j, enum km_reason why, const char *by)
{
	if (j->cause == 0) {
		j->cause = why;
		j->cause_by = by[0] != '\0' ? strdup(by) : NULL;
		log_info("job %s: is ended: %s", j->id, cause_name(why));
	}
	if (j->state == KM_STATE_RUNNING)
		job_set_state(j, KM_STATE_ENDING);
}

/* A timeout and a policy are the owner's wish; the agent's shutdown is not. */
static const char *whose(const struct job *j, enum km_reason why)
{
	return why == KM_REASON_RUN_TIMEOUT || why == KM_REASON_DISCONNECT ? j->owner : "";
}

void ending_kill(struct job *j, enum km_reason why)
{
	if (end_queued(j, why, whose(j, why), cause_name(why)) || !is_endable(j))
		return;
	take_cause(j, why, whose(j, why));
	event_del(j->gone_timer);
	j->kill_at = j->timeout_at = 0;
	(void)send_group(j, SIGKILL);
	/* Until then its leader stays a zombie: the exit is not told before all are gone. */
	if (!tree_kill(j))
		j->kill_at = clock_monotonic_ns() + KILL_AGAIN_NS;
	arm(j);
}

void ending_begin(struct job *j, enum km_reason why, int signo, int64_t grace_ns)
{
	if (end_queued(j, why, whose(j, why), cause_name(why)) || !is_endable(j))
		return;
	if (grace_ns == 0 || signo == SIGKILL) {
		ending_kill(j, why);
		return;
	}
	/* It may be being ended already; then only an earlier end counts. */
	if (j->kill_at == 0) {
		take_cause(j, why, whose(j, why));
		event_del(j->gone_timer);
		(void)send_group(j, signo);
		/* What is stopped takes the signal only when it goes on. */
		(void)send_group(j, SIGCONT);
	}
	kill_by(j, clock_monotonic_ns() + grace_ns);
}

void ending_started(struct job *j)
{
	if (j->spec->run_timeout_ns == 0)
		return;
	j->timeout_at = clock_monotonic_ns() + j->spec->run_timeout_ns;
	arm(j);
}

void ending_timer(struct job *j)
{
	int64_t now = clock_monotonic_ns();

	if (j->kill_at != 0 && now >= j->kill_at) {
		ending_kill(j, j->cause);
	} else if (j->timeout_at != 0 && now >= j->timeout_at) {
		j->timeout_at = 0;
		ending_begin(
		    j, KM_REASON_RUN_TIMEOUT, j->spec->stop_signal, j->spec->stop_grace_ns);
	}
	if (has_leader(j))
		arm(j);
}

void ending_left(struct job *j, bool worker_died)
{
	struct timeval tv;
	int64_t wait = 0;

	if (j->reaped || j->state == KM_STATE_ENDED || j->cause != 0 ||
	    j->spec->disconnect == JOB_DISCONNECT_KEEP)
		return;
	if (j->spec->disconnect == JOB_DISCONNECT_HANGUP)
		wait = j->spec->disconnect_wait_ns;
	if (worker_died && wait < WORKER_DIED_WAIT_NS)
		wait = WORKER_DIED_WAIT_NS;
	if (wait == 0) {
		ending_gone(j);
		return;
	}
	tv = duration_timeval(wait);
	if (event_add(j->gone_timer, &tv) != 0)
		log_error("job %s: no memory for a timer", j->id);
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

/* The kernel killed it; or another of its group, and it did not get over that. */
static bool is_out_of_memory(const struct job *j)
{
	const struct km_exit *x = &j->exit;
	bool fits = x->kind == KM_END_CODE ? x->value != 0
	                                   : x->kind == KM_END_SIGNAL && x->value == SIGKILL;

	return fits && j->cgroup != NULL && cgroup_oom_kills(j->cgroup) > 0;
}

void ending_explain(struct job *j)
{
	struct km_exit *x = &j->exit;

	x->reason = KM_REASON_EXITED;
	if (j->cause != 0) {
		x->reason = (uint8_t)j->cause;
		snprintf(x->by, sizeof(x->by), "%s", j->cause_by != NULL ? j->cause_by : "");
		return;
	}
	for (struct job_sent *s = j->sent; x->kind == KM_END_SIGNAL && s != NULL; s = s->next) {
		if (s->signo != x->value)
			continue;
		x->reason = KM_REASON_SIGNALLED;
		memcpy(x->by, s->by, sizeof(x->by));
		return;
	}
	if (is_out_of_memory(j))
		x->reason = KM_REASON_OUT_OF_MEMORY;
}

void ending_describe(const struct job *j, char *out, size_t size)
{
	char name[24];

	if (j->exit.kind == KM_END_NOT_STARTED)
		snprintf(out, size, "did not run: %.150s", j->exit.text);
	else if (j->state == KM_STATE_QUEUED)
		snprintf(out, size, "is queued");
	else if (!j->reaped && ending_is_alive(j))
		snprintf(out, size, "is running");
	else if (!j->reaped)
		snprintf(out, size, "has ended; what it started is being ended");
	else if (j->exit.kind == KM_END_CODE)
		snprintf(out, size, "exited with %d", (int)j->exit.value);
	else if (j->exit.kind == KM_END_SIGNAL)
		snprintf(out, size, "died of %s",
		    signame_format(name, sizeof(name), (int)j->exit.value));
	else
		snprintf(out, size, "ended, nobody saw how");
}
