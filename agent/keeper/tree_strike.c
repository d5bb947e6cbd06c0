/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal to a job's whole tree. Looks who there is, opens a pidfd for each, makes sure that what
 * was opened belongs to the job, signals; and looks again until nobody new is found. A tree of
 * thousands takes longer than others can wait: what is not done in a turn's time goes on in the
 * next ones, and the tree is frozen until then, where it can be.
 *
 * With a control group, those that were opened are looked for again among its members: who is there
 * still, and lives, is the same. Without one that look would take as long as all else: there each
 * one's start is noted while it is seen to belong to the job, and compared when it is open.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "agent/keeper/budget.h"
#include "agent/keeper/cgroup.h"
#include "agent/keeper/job.h"
#include "agent/keeper/reserve.h"
#include "agent/keeper/tree.h"
#include "agent/keeper/tree_walk.h"
#include "common/duration.h"
#include "common/log.h"

#define ROUNDS_MAX 64
#define BATCH      1024
#define LEAST      10 /* of a slice, 1/10 for a new one whatever others took: most need less */

enum phase { LOOK, WALK, NOTE, STRIKE };

struct blow {
	TAILQ_ENTRY(blow) link;
	const struct job *j;
	int signo;
	enum phase phase;
	bool in_cgroup;
	bool again;             /* the same signal was asked for meanwhile */
	struct tree_pids all;   /* as of the last look */
	struct tree_pids fresh; /* of them, those that were not dealt with */
	struct tree_pids done;
	uint64_t *starts; /* of the fresh ones, without a control group */
	size_t at;
	size_t batch; /* so many at once */
	int rounds;
	bool reached;
	int sys_errno;
	int shortage; /* an errno: not all could be dealt with */
};

static struct {
	TAILQ_HEAD(blows, blow) blows; /* those that go on, oldest first */
	struct event *next;
	struct budget *turn;
	uint64_t looks;
	int64_t slice;
} the = {.blows = TAILQ_HEAD_INITIALIZER(the.blows), .slice = 20 * NS_PER_MS};

uint64_t tree_strike_looks(void)
{
	return the.looks;
}

void tree_strike_set_slice(int64_t ns)
{
	tree_strike_forget();
	the.slice = ns;
}

static void freeze(const struct blow *b, bool frozen)
{
	if (b->in_cgroup && b->j->cgroup != NULL)
		cgroup_freeze(b->j->cgroup, frozen);
}

/* ---- one round ---- */

static void look(struct blow *b)
{
	the.looks++;
	tree_members(b->j, &b->all);
	free(b->starts);
	b->starts = NULL;
	b->at = 0;
	b->phase = b->in_cgroup ? NOTE : WALK;
}

/* One more's children. */
static void walk(struct blow *b)
{
	if (b->at < b->all.n)
		tree_add_children(&b->all, b->all.list[b->at++]);
	else
		b->phase = NOTE;
}

/* Whether there is anybody new. */
static bool find_fresh(struct blow *b)
{
	if (b->all.shortage != 0)
		b->shortage = b->all.shortage;
	tree_pids_sort(&b->all);
	b->fresh.n = 0;
	for (size_t i = 0; i < b->all.n; i++)
		if (!tree_pids_has(&b->done, b->all.list[i]))
			tree_pids_add(&b->fresh, b->all.list[i]);
	return b->fresh.n > 0;
}

static bool belongs(const struct blow *b, pid_t pid, const struct tree_stat *st)
{
	if (pid == b->j->pid && !b->j->reaped)
		return true;
	return tree_pids_has(&b->all, st->parent) ||
	       (st->parent == getpid() && tree_owner(b->j->jobs, pid) == b->j);
}

/* One more's start; 0: it is none of the job's. */
static void note(struct blow *b)
{
	pid_t pid = b->fresh.list[b->at];
	struct tree_stat st;

	errno = 0;
	if (tree_stat_read(pid, &st))
		b->starts[b->at] = belongs(b, pid, &st) ? st.start : 0;
	else if (reserve_is_shortage(errno))
		b->shortage = errno;
	b->at++;
}

/* Opens up to b->batch from `at` on; returns an errno when there are no descriptors for so many. */
static int open_batch(struct blow *b, int fds[BATCH], size_t *n)
{
	for (*n = 0; *n < b->batch && b->at + *n < b->fresh.n; ++*n) {
		int error = tree_pidfd_open(b->fresh.list[b->at + *n], &fds[*n]);

		if (reserve_is_shortage(error))
			return error;
		if (error == 0)
			continue;
		if (error != ESRCH)
			b->sys_errno = error;
		fds[*n] = -1;
	}
	return 0;
}

/* What we hold lives, and is here still: so it is the same. 0, ESRCH, or a shortage. */
static int check_same(const struct blow *b, const struct tree_pids *now, size_t i)
{
	struct tree_stat st;

	if (b->in_cgroup)
		return tree_pids_has(now, b->fresh.list[i]) ? 0 : ESRCH;
	if (b->starts[i] == 0)
		return ESRCH;
	errno = 0;
	if (tree_stat_read(b->fresh.list[i], &st))
		return st.start == b->starts[i] ? 0 : ESRCH;
	return reserve_is_shortage(errno) ? errno : ESRCH;
}

static void strike_one(struct blow *b, const struct tree_pids *now, size_t i, int pidfd)
{
	int error = check_same(b, now, i);

	if (error == 0)
		error = tree_pidfd_signal(pidfd, b->signo);
	if (error == 0)
		b->reached = true;
	else if (reserve_is_shortage(error))
		b->shortage = error;
	else if (error != ESRCH)
		b->sys_errno = error;
}

/* A smaller batch; one that not even one can be had for is passed over. */
static void give_way(struct blow *b, int error)
{
	if (b->batch > 1) {
		b->batch /= 2;
		return;
	}
	b->shortage = error;
	b->at++;
}

static void strike(struct blow *b)
{
	static int fds[BATCH];
	struct tree_pids now = {0};
	size_t n;
	int error = open_batch(b, fds, &n);

	if (error == 0 && b->in_cgroup) {
		the.looks++;
		tree_members(b->j, &now);
		tree_pids_sort(&now);
		error = now.shortage;
	}
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < 0)
			continue;
		if (error == 0)
			strike_one(b, &now, b->at + i, fds[i]);
		close(fds[i]);
	}
	if (error == 0)
		b->at += n;
	else
		give_way(b, error);
	tree_pids_free(&now);
}

static void end_round(struct blow *b)
{
	for (size_t i = 0; i < b->fresh.n; i++)
		tree_pids_add(&b->done, b->fresh.list[i]);
	tree_pids_sort(&b->done);
	/* More than the leader: their children come to us as they die. */
	if (b->done.n > 1)
		tree_orphans_moved();
	b->rounds++;
	b->phase = LOOK;
}

/* ---- steps ---- */

static void begin_anew(struct blow *b)
{
	b->again = false;
	b->rounds = 0;
	b->shortage = b->sys_errno = 0;
	b->done.n = 0;
	b->phase = LOOK;
}

/* Whether it begins anew. */
static bool end_blow(struct blow *b)
{
	if (b->rounds == ROUNDS_MAX)
		log_warn(
		    "job %s: its descendants multiply faster than they can be signalled", b->j->id);
	if (!b->again)
		return false;
	begin_anew(b);
	return true;
}

/* After the walk; whether it goes on. */
static bool step_note(struct blow *b)
{
	if (b->starts == NULL) {
		if (!find_fresh(b))
			return end_blow(b);
		b->starts = calloc(b->fresh.n, sizeof(*b->starts));
		if (b->starts == NULL) {
			b->shortage = ENOMEM;
			return false;
		}
		b->at = b->in_cgroup ? b->fresh.n : 0;
	}
	if (b->at < b->fresh.n) {
		note(b);
		return true;
	}
	b->at = 0;
	b->batch = BATCH;
	b->phase = STRIKE;
	return true;
}

/* A little more; whether it goes on. */
static bool step(struct blow *b)
{
	/* Nothing runs in it any more. */
	if (b->in_cgroup && b->j->cgroup == NULL)
		return false;
	switch (b->phase) {
	case LOOK:
		if (b->rounds == ROUNDS_MAX)
			return end_blow(b);
		look(b);
		return true;
	case WALK:
		walk(b);
		return true;
	case NOTE:
		return step_note(b);
	default:
		strike(b);
		if (b->at >= b->fresh.n)
			end_round(b);
		return true;
	}
}

/* Until it is done or the time is over; whether it is done. */
static bool run(struct blow *b, int64_t least)
{
	do
		if (!step(b))
			return true;
	while (budget_left(the.turn) || clock_monotonic_ns() < least);
	return false;
}

/* ---- those that go on ---- */

static void free_blow(struct blow *b)
{
	tree_pids_free(&b->all);
	tree_pids_free(&b->fresh);
	tree_pids_free(&b->done);
	free(b->starts);
	free(b);
}

/* The next of the same job, after that one; NULL: the first. */
static struct blow *find(const struct job *j, const struct blow *after)
{
	struct blow *b = after != NULL ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&the.blows);

	while (b != NULL && b->j != j)
		b = TAILQ_NEXT(b, link);
	return b;
}

bool tree_strike_pending(const struct job *j)
{
	return find(j, NULL) != NULL;
}

static void drop(struct blow *b)
{
	TAILQ_REMOVE(&the.blows, b, link);
	if (!tree_strike_pending(b->j))
		freeze(b, false);
	free_blow(b);
}

/* By a timer, so that the loop looks at all else in between. */
static void go_on(bool later)
{
	static const struct timeval waits[] = {{0, 0}, {0, 100000}};

	if (event_add(the.next, &waits[later ? 1 : 0]) != 0)
		log_error("no memory for a timer");
}

/* One of those that go on has come to its end. What is to be killed, and was passed over for want
 * of something, is tried again: nobody else does. Whether that is so. */
static bool retry(struct blow *b)
{
	if (b->shortage == 0 || b->signo != SIGKILL)
		return false;
	begin_anew(b);
	TAILQ_REMOVE(&the.blows, b, link);
	TAILQ_INSERT_TAIL(&the.blows, b, link);
	return true;
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
	struct blow *b;
	bool later = false;

	(void)fd;
	(void)what;
	(void)arg;
	reserve_give_up();
	while (!later && (b = TAILQ_FIRST(&the.blows)) != NULL && run(b, 0)) {
		later = retry(b);
		if (!later)
			drop(b);
		if (!budget_left(the.turn))
			break;
	}
	reserve_take_back();
	if (!TAILQ_EMPTY(&the.blows))
		go_on(later);
}

/* Whether it can be put off at all. */
static bool prepare(struct event_base *base)
{
	if (the.next == NULL)
		the.next = evtimer_new(base, on_next, NULL);
	if (the.turn == NULL)
		the.turn = budget_new(base, the.slice);
	return the.next != NULL && the.turn != NULL;
}

void tree_strike_finish(const struct job *j)
{
	struct blow *b;

	while ((b = find(j, NULL)) != NULL) {
		while (step(b))
			;
		drop(b);
	}
}

void tree_strike_stop(const struct job *j)
{
	struct blow *b;

	while ((b = find(j, NULL)) != NULL)
		drop(b);
}

void tree_strike_forget(void)
{
	struct blow *b;

	while ((b = TAILQ_FIRST(&the.blows)) != NULL)
		drop(b);
	if (the.next != NULL)
		event_free(the.next);
	the.next = NULL;
	budget_free(the.turn);
	the.turn = NULL;
}

/* ---- a new one ---- */

/* One more of the same signal is one more round for all, but not one more in the queue. */
static bool join(const struct job *j, int signo)
{
	for (struct blow *b = find(j, NULL); b != NULL; b = find(j, b))
		if (b->signo == signo) {
			b->again = true;
			return true;
		}
	return false;
}

static int result_of(const struct blow *b, int *sys_errno)
{
	if (b->shortage == 0 && b->reached)
		return 0;
	if (b->shortage == 0 && b->sys_errno == 0)
		return TX_ESTATE;
	*sys_errno = b->shortage != 0 ? b->shortage : b->sys_errno;
	return TX_ESYS;
}

int tree_strike(const struct job *j, int signo, int *sys_errno)
{
	bool first = !tree_strike_pending(j);
	struct blow *b;
	int rc;

	if (join(j, signo))
		return 0;
	b = calloc(1, sizeof(*b));
	if (b == NULL || !prepare(jobs_base(j->jobs))) {
		free(b);
		*sys_errno = ENOMEM;
		return TX_ESYS;
	}
	jobs_at_free(j->jobs, tree_strike_stop);
	b->j = j;
	b->signo = signo;
	b->in_cgroup = j->cgroup != NULL;
	TAILQ_INSERT_TAIL(&the.blows, b, link);
	freeze(b, true);
	if (!first || !run(b, clock_monotonic_ns() + the.slice / LEAST)) {
		go_on(false);
		return 0;
	}
	rc = result_of(b, sys_errno);
	drop(b);
	return rc;
}
