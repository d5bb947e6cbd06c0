/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/job.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/job_internal.h"
#include "agent/keeper/pump.h"
#include "common/duration.h"
#include "common/log.h"

#define BUCKETS_MIN                                                                                \
	(1u << 14) /* the maximum may be raised later; what is not used takes no memory */
#define BUCKETS_MAX (1u << 20)

/* ---- the table ---- */

int jobs_new(struct jobs **out, struct event_base *base, uint32_t max_processes, struct err *e)
{
	struct jobs *js = calloc(1, sizeof(*js));
	uint32_t n = BUCKETS_MIN;

	if (js == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	while (n < max_processes && n < BUCKETS_MAX)
		n *= 2;
	js->base = base;
	js->max = max_processes;
	js->keep_ns = JOB_KEEP_NS;
	jobs_set_patience(js, JOB_PATIENCE_OWNER_NS, JOB_PATIENCE_OTHER_NS);
	js->mask = n - 1;
	if (getrandom(&js->seed, sizeof(js->seed), GRND_NONBLOCK) < 0)
		js->seed = (uint32_t)clock_monotonic_ns();
	TAILQ_INIT(&js->order);
	js->by_id = calloc(n, sizeof(*js->by_id));
	js->by_pid = calloc(n, sizeof(*js->by_pid));
	js->retain = retain_new(base);
	js->dead_fd = epoll_create1(EPOLL_CLOEXEC);
	if (js->by_id == NULL || js->by_pid == NULL || js->retain == NULL) {
		jobs_free(js);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = js;
	return 0;
}

void jobs_free(struct jobs *js)
{
	struct job *j, *next;

	if (js == NULL)
		return;
	for (j = TAILQ_FIRST(&js->order); j != NULL; j = next) {
		next = TAILQ_NEXT(j, in_order);
		job_free(j);
	}
	if (js->dead_fd >= 0)
		close(js->dead_fd);
	retain_free(js->retain);
	free(js->by_id);
	free(js->by_pid);
	free(js);
}

void jobs_set_ops(struct jobs *js, const struct job_ops *ops, void *arg)
{
	js->ops = ops;
	js->ops_arg = arg;
}

void jobs_set_keep(struct jobs *js, int64_t ns)
{
	js->keep_ns = ns;
}

void jobs_set_patience(struct jobs *js, int64_t owner_ns, int64_t other_ns)
{
	js->patience[true] = owner_ns;
	js->patience[false] = other_ns;
}

int64_t jobs_patience(const struct jobs *js, bool owner)
{
	return js->patience[owner];
}

void jobs_at_free(struct jobs *js, void (*fn)(const struct job *j))
{
	js->at_free = fn;
}

struct event_base *jobs_base(struct jobs *js)
{
	return js->base;
}

static struct job_bucket *id_bucket(struct jobs *js, const char *id)
{
	uint32_t h = js->seed ^ 2166136261u;

	for (; *id != '\0'; id++)
		h = (h ^ (uint8_t)*id) * 16777619u;
	return &js->by_id[(h ^ h >> 15) & js->mask];
}

static struct job_bucket *pid_bucket(struct jobs *js, pid_t pid)
{
	return &js->by_pid[(uint32_t)pid & js->mask];
}

struct job *jobs_find(struct jobs *js, const char *id)
{
	struct job *j;

	LIST_FOREACH(j, id_bucket(js, id), by_id)
	if (strcmp(j->id, id) == 0)
		return j;
	return NULL;
}

struct job *jobs_find_pid(struct jobs *js, pid_t pid)
{
	struct job *j;

	LIST_FOREACH(j, pid_bucket(js, pid), by_pid)
	if (j->pid == pid)
		return j;
	return NULL;
}

struct job *jobs_find_dead(struct jobs *js)
{
	struct epoll_event dead;

	return epoll_wait(js->dead_fd, &dead, 1, 0) == 1 ? dead.data.ptr : NULL;
}

void job_hide_dead(struct job *j)
{
	(void)epoll_ctl(j->jobs->dead_fd, EPOLL_CTL_DEL, j->pidfd, NULL);
}

struct job *jobs_first(struct jobs *js)
{
	return TAILQ_FIRST(&js->order);
}

struct job *jobs_next(struct job *j)
{
	return TAILQ_NEXT(j, in_order);
}

uint32_t jobs_running(const struct jobs *js)
{
	return js->running;
}

uint32_t jobs_queued(const struct jobs *js)
{
	return js->queued;
}

uint32_t jobs_held(const struct jobs *js)
{
	return retain_count(js->retain);
}

uint64_t jobs_dropped(const struct jobs *js)
{
	return js->dropped;
}

void jobs_set_dropped(struct jobs *js, uint64_t n)
{
	js->dropped = n;
}

uint32_t jobs_max(const struct jobs *js)
{
	return js->max;
}

void jobs_set_max(struct jobs *js, uint32_t max_processes)
{
	js->max = max_processes;
}

/* ---- one job ---- */

static void on_end_timer(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	j->jobs->ops->timer(j, j->jobs->ops_arg);
}

static void on_gone_timer(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	j->jobs->ops->gone(j, j->jobs->ops_arg);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	if (j->jobs->ops->patience != NULL)
		j->jobs->ops->patience(j, j->jobs->ops_arg);
}

struct job *job_new(struct jobs *js, const char *id, const char *owner, struct job_spec *spec)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		return NULL;
	j->jobs = js;
	j->pidfd = j->terminal = -1;
	LIST_INIT(&j->attachments);
	memcpy(j->id, id, strlen(id) + 1);
	memcpy(j->owner, owner, strlen(owner) + 1);
	/* Now, so that a later moment that needs them cannot fail. */
	j->end_timer = evtimer_new(js->base, on_end_timer, j);
	j->gone_timer = evtimer_new(js->base, on_gone_timer, j);
	j->close_timer = evtimer_new(js->base, job_on_close_timer, j);
	j->patience = evtimer_new(js->base, on_patience, j);
	if (j->end_timer == NULL || j->gone_timer == NULL || j->close_timer == NULL ||
	    j->patience == NULL) {
		job_free(j);
		return NULL;
	}
	j->spec = spec;
	return j;
}

void job_insert(struct job *j)
{
	struct jobs *js = j->jobs;

	assert(j->state == 0 && j->pid >= 0);
	LIST_INSERT_HEAD(id_bucket(js, j->id), j, by_id);
	TAILQ_INSERT_TAIL(&js->order, j, in_order);
	js->running++;
	js->queued++;
	job_set_state(j, KM_STATE_QUEUED);
	if (j->pid > 0)
		job_started(j);
}

void job_started(struct job *j)
{
	struct epoll_event dead = {.events = EPOLLIN, .data = {.ptr = j}};

	assert(j->state == KM_STATE_QUEUED && j->pid > 0);
	/* Where it fails, reap finds the job among all children. */
	if (j->pidfd >= 0)
		(void)epoll_ctl(j->jobs->dead_fd, EPOLL_CTL_ADD, j->pidfd, &dead);
	LIST_INSERT_HEAD(pid_bucket(j->jobs, j->pid), j, by_pid);
	job_set_state(j, KM_STATE_RUNNING);
}

/* Taken out by hand: a copy of it that a fork made would keep it in. */
void job_close_pidfd(struct job *j)
{
	if (j->pidfd < 0)
		return;
	(void)epoll_ctl(j->jobs->dead_fd, EPOLL_CTL_DEL, j->pidfd, NULL);
	close(j->pidfd);
	j->pidfd = -1;
}

/* Out of what others find it by. */
static void leave_table(struct job *j)
{
	struct jobs *js = j->jobs;

	if (j->forgotten)
		return;
	j->forgotten = true;
	LIST_REMOVE(j, by_id);
	TAILQ_REMOVE(&js->order, j, in_order);
	if (js->ops != NULL && js->ops->forgotten != NULL)
		js->ops->forgotten(j, js->ops_arg);
}

void job_adopt(struct job *j, enum km_state state)
{
	struct jobs *js = j->jobs;

	assert(j->state == 0 && state != 0);
	LIST_INSERT_HEAD(id_bucket(js, j->id), j, by_id);
	if (j->pid > 0 && !j->reaped)
		LIST_INSERT_HEAD(pid_bucket(js, j->pid), j, by_pid);
	TAILQ_INSERT_TAIL(&js->order, j, in_order);
	j->state = state;
	js->running += state != KM_STATE_ENDED;
	js->queued += state == KM_STATE_QUEUED;
}

void job_hold(struct job *j)
{
	retain_add(j->jobs->retain, j);
}

static void unlink_job(struct job *j)
{
	struct jobs *js = j->jobs;

	leave_table(j);
	if (j->pid > 0 && !j->reaped)
		LIST_REMOVE(j, by_pid);
	if (j->state == KM_STATE_ENDED)
		retain_remove(js->retain, j);
	else
		js->running--;
	if (j->state == KM_STATE_QUEUED)
		js->queued--;
}

void job_close_terminal(struct job *j)
{
	if (j->terminal >= 0)
		close(j->terminal);
	j->terminal = -1;
}

void job_free(struct job *j)
{
	if (j == NULL)
		return;
	assert(LIST_EMPTY(&j->attachments));
	if (j->state != 0)
		unlink_job(j);
	if (j->end_timer != NULL)
		event_free(j->end_timer);
	if (j->gone_timer != NULL)
		event_free(j->gone_timer);
	if (j->close_timer != NULL)
		event_free(j->close_timer);
	if (j->patience != NULL)
		event_free(j->patience);
	job_close_terminal(j);
	pump_in_free(j->in);
	pump_out_free(j->out[KM_STDOUT]);
	pump_out_free(j->out[KM_STDERR]);
	job_close_pidfd(j);
	while (j->sent != NULL) {
		struct job_sent *next = j->sent->next;

		free(j->sent);
		j->sent = next;
	}
	if (j->jobs->at_free != NULL)
		j->jobs->at_free(j);
	cgroup_put(j->cgroup);
	free(j->cause_by);
	job_spec_free(j->spec);
	free(j);
}

void job_forget(struct job *j)
{
	assert(j->state == KM_STATE_ENDED);
	if (LIST_EMPTY(&j->attachments)) {
		job_free(j);
		return;
	}
	leave_table(j);
	/* An upgrade takes along what is in the table, and pipes of what is not. */
	pump_out_abandon(j->out[KM_STDOUT]);
	pump_out_abandon(j->out[KM_STDERR]);
}

void job_drop(struct job *j)
{
	log_debug("job %s: forgotten", j->id);
	if (!j->delivered)
		j->jobs->dropped++;
	job_free(j);
}

static const char *state_name(enum km_state state)
{
	static const char *const names[] = {"new", "queued", "running", "ending", "ended"};

	return names[state];
}

bool job_has_stdin(const struct job *j)
{
	return j->in != NULL || (j->state == KM_STATE_QUEUED && j->spec->stdin_pipe);
}

void job_set_state(struct job *j, enum km_state state)
{
	if (j->state == state)
		return;
	assert(state > j->state);
	log_debug("job %s: %s -> %s (pid %d)", j->id, state_name(j->state), state_name(state),
	    (int)j->pid);
	if (j->state == KM_STATE_QUEUED)
		j->jobs->queued--;
	if (state == KM_STATE_ENDED)
		j->jobs->running--;
	j->state = state;
}
