/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's life: spawned -> configured (KM_GO is sent) -> ready -> draining -> dead.
 *
 * Hanging is a matter of answers: who has not answered a ping for hang_timeout is killed. A keeper
 * that was stopped itself (SIGSTOP, a debugger) has sent none and heard none; its beat comes late
 * then, and the count begins anew.
 */
#include "agent/keeper/worker_proc.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/link.h"
#include "agent/keeper/revocations.h"
#include "agent/keeper/worker_kit.h"
#include "common/duration.h"
#include "common/keeper_msg.h"
#include "common/log.h"
#include "common/signame.h"

#define START_LIMIT_NS (30 * NS_PER_S) /* to become ready */
/* Beyond the drain's timeout: its last words, and the way out. */
#define DRAIN_SLACK_NS (5 * NS_PER_S)
/* A link that ended in order: so long the process may take. */
#define ORDERLY_NS (3 * NS_PER_S)
/* The end of its chain of audit records is written down no more often. */
#define ANCHOR_NS (5 * NS_PER_S)

struct worker_proc {
	struct link_env *env;
	const struct worker_kit *kit;
	const struct worker_proc_ops *ops;
	void *arg;
	uint32_t index;
	pid_t pid;    /* 0: none */
	pid_t reaped; /* the last that was */
	struct link *link;
	struct event *beat; /* heartbeat, and the limit of the start */
	struct event *end;  /* reaped: how long the link's last words are waited for; or draining:
	                       the limit */
	bool dead;          /* reaped, but the link is not at its end */
	bool draining;
	bool list_due; /* it is to get the revocation list */
	int status;    /* then: as of waitpid */
	int64_t started_at, ready_at, pong_at, beat_at;
	uint64_t audit_writer;             /* of the process that there is */
	int audit_fd;                      /* what it writes to, to be read; -1 */
	uint8_t audit_begun[KM_HASH_SIZE]; /* the record of its begin */
	struct km_pong chain;              /* the last that it said of its audit records */
	uint64_t anchored;                 /* how much of it is written down */
	int64_t anchored_at;
	char failure[KM_TEXT_SIZE];
};

/* ---- the end ---- */

static void describe_status(int status, char *out, size_t size)
{
	char name[24];

	if (WIFEXITED(status))
		snprintf(out, size, "exited with %d", WEXITSTATUS(status));
	else
		snprintf(
		    out, size, "died of %s", signame_format(name, sizeof(name), WTERMSIG(status)));
}

static void drop_link(struct worker_proc *w)
{
	link_free(w->link);
	w->link = NULL;
}

/* It is reaped: it writes no more. */
static void note_end(struct worker_proc *w, pid_t pid, const char *how)
{
	exec_log_worker_ended(w->env->exec_log, w->audit_writer, pid, w->audit_fd, &w->chain, how);
	if (w->audit_fd >= 0)
		close(w->audit_fd);
	w->audit_fd = -1;
}

/* The process is reaped and all that it had said was heard. */
static void finish(struct worker_proc *w)
{
	char how[64], why[KM_TEXT_SIZE];

	w->dead = w->draining = false;
	event_del(w->end);
	drop_link(w);
	describe_status(w->status, how, sizeof(how));
	note_end(w, w->reaped, how);
	snprintf(why, sizeof(why), "the worker %s", how);
	if (w->failure[0] != '\0')
		memcpy(why, w->failure, sizeof(why));
	w->ops->gone(why, w->arg);
}

void worker_proc_kill(struct worker_proc *w)
{
	/* Ours until it is reaped: the number cannot be another's. */
	if (w->pid > 0)
		(void)kill(w->pid, SIGKILL);
}

bool worker_proc_reaped(struct worker_proc *w, pid_t pid, int status)
{
	static const struct timeval last_words = {0, 200000};
	char how[64];

	if (w->pid != pid)
		return false;
	describe_status(status, how, sizeof(how));
	w->reaped = pid;
	log_at(w->draining ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "worker %u: pid %d %s", w->index,
	    (int)w->pid, how);
	w->pid = 0;
	w->status = status;
	w->dead = true;
	event_del(w->beat);
	/* As a rule the link's end is seen in this very turn. */
	if (w->link == NULL || event_add(w->end, &last_words) != 0)
		finish(w);
	return true;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct worker_proc *w = arg;

	(void)fd;
	(void)what;
	if (w->dead) {
		finish(w);
	} else if (w->draining) {
		log_warn("worker %u: pid %d does not end and is killed", w->index, (int)w->pid);
		worker_proc_kill(w);
	}
}

/* ---- the link's callbacks ---- */

static void on_ready(void *arg)
{
	struct worker_proc *w = arg;
	struct timeval beat = duration_timeval(worker_kit_config(w->kit)->heartbeat_ns);

	if (w->ready_at != 0)
		return;
	w->ready_at = w->pong_at = w->beat_at = clock_monotonic_ns();
	event_add(w->beat, &beat);
	log_info("worker %u: pid %d is ready", w->index, (int)w->pid);
	w->ops->ready(w->arg);
}

static void on_failed(const char *text, void *arg)
{
	struct worker_proc *w = arg;
	const struct config *c = worker_kit_config(w->kit);

	memcpy(w->failure, text, strnlen(text, sizeof(w->failure) - 1) + 1);
	log_error("worker %u: cannot serve: %s (certificate %s, key %s, ca %s)", w->index,
	    w->failure, c->certificate, c->key, c->ca);
}

static void on_pong(const struct km_pong *m, void *arg)
{
	struct worker_proc *w = arg;

	w->pong_at = clock_monotonic_ns();
	w->chain = *m;
	if (m->audit_seq == w->anchored || w->pong_at - w->anchored_at < ANCHOR_NS)
		return;
	exec_log_anchor(w->env->exec_log, w->audit_writer, m);
	w->anchored = m->audit_seq;
	w->anchored_at = w->pong_at;
}

static void on_closed(const struct err *why, void *arg)
{
	struct timeval orderly = duration_timeval(ORDERLY_NS);
	struct worker_proc *w = arg;

	if (why->code != TX_ECLOSED && !w->dead)
		log_error("worker %u: pid %d is ended: %s", w->index, (int)w->pid, why->message);
	drop_link(w);
	if (w->dead)
		finish(w);
	else if (why->code != TX_ECLOSED || event_add(w->beat, &orderly) != 0)
		worker_proc_kill(w);
}

static const struct link_ops link_ops = {on_ready, on_failed, on_pong, on_closed};

static bool hangs(struct worker_proc *w, const struct config *c, int64_t now)
{
	/* Late by more than a beat: it was the keeper that stood still. */
	if (now - w->beat_at > 2 * c->heartbeat_ns + NS_PER_S) {
		w->pong_at = now;
		w->started_at = now;
	}
	w->beat_at = now;
	return w->ready_at == 0 ? now - w->started_at > START_LIMIT_NS
	                        : now - w->pong_at > c->hang_timeout_ns;
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct worker_proc *w = arg;
	const struct config *c = worker_kit_config(w->kit);
	struct timeval beat = duration_timeval(c->heartbeat_ns);
	struct km_ping ping = {0};

	(void)fd;
	(void)what;
	if (w->link == NULL) {
		worker_proc_kill(w);
		return;
	}
	if (hangs(w, c, clock_monotonic_ns())) {
		log_error("worker %u: pid %d hangs and is killed", w->index, (int)w->pid);
		worker_proc_kill(w);
		return;
	}
	if (w->list_due)
		worker_proc_revoke(w);
	if (w->ready_at != 0 && !km_chan_busy(link_chan(w->link)))
		(void)km_send(link_chan(w->link), KM_PING, 0, &ping, NULL, 0);
	event_add(w->beat, &beat);
}

/* ---- its life ---- */

int worker_proc_new(struct worker_proc **out, struct link_env *env, const struct worker_kit *kit,
    uint32_t index, const struct worker_proc_ops *ops, void *arg, struct err *e)
{
	struct worker_proc *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	w->env = env;
	w->kit = kit;
	w->index = index;
	w->audit_fd = -1;
	w->ops = ops;
	w->arg = arg;
	w->beat = evtimer_new(env->base, on_beat, w);
	w->end = evtimer_new(env->base, on_end, w);
	if (w->beat == NULL || w->end == NULL) {
		worker_proc_free(w);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = w;
	return 0;
}

void worker_proc_free(struct worker_proc *w)
{
	if (w == NULL)
		return;
	drop_link(w);
	worker_proc_kill(w);
	while (w->pid > 0 && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (w->pid > 0 || w->dead)
		note_end(w, w->pid > 0 ? w->pid : w->reaped, "is no longer waited for");
	if (w->beat != NULL)
		event_free(w->beat);
	if (w->end != NULL)
		event_free(w->end);
	free(w);
}

static int introduce(struct worker_proc *w, struct err *e)
{
	struct worker_own own = {.index = w->index, .audit_writer = w->audit_writer};
	int rc = exec_log_open_for_worker(w->env->exec_log, &own.audit_fd, e);

	memcpy(own.audit_begun, w->audit_begun, sizeof(own.audit_begun));
	if (rc < 0)
		return rc;
	rc = worker_kit_send(w->kit, link_chan(w->link), &own, e);
	close(own.audit_fd);
	return rc;
}

int worker_proc_start(struct worker_proc *w, struct err *e)
{
	struct timeval beat = duration_timeval(worker_kit_config(w->kit)->heartbeat_ns);
	int pair[2];
	int rc;

	w->started_at = w->beat_at = clock_monotonic_ns();
	w->ready_at = 0;
	w->list_due = false;
	w->failure[0] = '\0';
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(e, errno, "cannot make a socket pair");
	rc = link_new(&w->link, w->env, pair[0], &link_ops, w, e);
	if (rc == 0)
		link_set_ceiling(w->link, &worker_kit_config(w->kit)->ceiling);
	if (rc == 0)
		rc = worker_kit_spawn(w->kit, pair[1], &w->pid, e);
	close(pair[1]);
	if (rc == 0) {
		w->audit_writer = exec_log_writer(w->env->exec_log);
		w->audit_fd = exec_log_open_to_read(w->env->exec_log);
		w->chain = (struct km_pong){.audit_seq = 0};
		w->anchored = 0;
		w->anchored_at = 0;
		exec_log_worker_begins(
		    w->env->exec_log, w->audit_writer, w->index, w->pid, w->audit_begun);
		rc = introduce(w, e);
	}
	if (rc == 0 && event_add(w->beat, &beat) != 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc != 0) {
		drop_link(w);
		worker_proc_kill(w);
		snprintf(w->failure, sizeof(w->failure), "%.*s", (int)sizeof(w->failure) - 1,
		    e->message);
	}
	return rc;
}

void worker_proc_drain(struct worker_proc *w, int64_t timeout_ns, bool move)
{
	struct timeval limit = duration_timeval(timeout_ns + DRAIN_SLACK_NS);
	struct km_drain m = {.timeout_ns = timeout_ns, .move = move};

	w->draining = true;
	if (w->link == NULL)
		return;
	if (w->ready_at == 0) {
		worker_proc_kill(w);
		return;
	}
	(void)km_send(link_chan(w->link), KM_DRAIN, 0, &m, NULL, 0);
	km_chan_set_state(link_chan(w->link), KM_LINK_DRAINING);
	if (move && !w->dead && event_add(w->end, &limit) != 0)
		worker_proc_kill(w);
}

void worker_proc_hand(struct worker_proc *w, enum km_file_kind kind, int fd)
{
	struct km_file m = {.kind = (uint32_t)kind};

	if (w->link != NULL && km_send(link_chan(w->link), KM_FILE, 0, &m, &fd, 1) != 0)
		log_warn("worker %u: a file of kind %d could not be sent", w->index, (int)kind);
}

uint64_t worker_proc_writer(const struct worker_proc *w)
{
	return w->audit_writer;
}

pid_t worker_proc_pid(const struct worker_proc *w)
{
	return w->pid;
}

bool worker_proc_ready(const struct worker_proc *w)
{
	return w->pid > 0 && w->ready_at != 0;
}

bool worker_proc_gone(const struct worker_proc *w)
{
	return w->pid == 0 && !w->dead;
}

int64_t worker_proc_ready_at(const struct worker_proc *w)
{
	return w->ready_at;
}

void worker_proc_revoke(struct worker_proc *w)
{
	struct km_file m = {.kind = KM_FILE_REVOCATIONS};
	int fd = -1;

	if (w->link == NULL)
		return;
	(void)revocations_open(&fd, worker_kit_config(w->kit), NULL);
	w->list_due = fd < 0 || km_send(link_chan(w->link), KM_FILE, 0, &m, &fd, 1) != 0;
	if (fd >= 0)
		close(fd);
}
