/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/watchers.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/keeper/files_program.h"
#include "agent/keeper/user_bounds.h"
#include "agent/keeper/watcher_proc.h"
#include "common/ceiling.h"
#include "common/duration.h"
#include "common/log.h"

/* So long all of them together may take to die. */
#define GIVE_UP_NS (3 * NS_PER_S)
/* Between two looks at what the stores take. */
#define LOOK_NS (1 * NS_PER_S)
#define NEAR    16 /* a part of the limit: as soon as no more is left, others make way */

struct watchers {
	struct event_base *base;
	struct files_program *program;
	struct event *look;                          /* while some of them have connections */
	TAILQ_HEAD(watcher_list, watcher_proc) list; /* who was last connected to is last */
};

static void on_look(evutil_socket_t fd, short what, void *arg);

/* ---- life ---- */

int watchers_new(
    struct watchers **out, struct event_base *base, struct files_program *program, struct err *e)
{
	struct watchers *ws = calloc(1, sizeof(*ws));

	if (ws == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	ws->base = base;
	ws->program = program;
	TAILQ_INIT(&ws->list);
	ws->look = event_new(base, -1, EV_PERSIST, on_look, ws);
	if (ws->look == NULL) {
		free(ws);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = ws;
	return 0;
}

static void forget(struct watcher_proc *w, void *arg)
{
	struct watchers *ws = arg;

	TAILQ_REMOVE(&ws->list, w, entry);
	watcher_proc_free(w);
}

void watchers_end(struct watchers *ws)
{
	struct watcher_proc *w, *next;

	if (ws == NULL)
		return;
	for (w = TAILQ_FIRST(&ws->list); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->state == WATCHER_RUNNING)
			watcher_proc_let_go(w, false);
		else if (w->state == WATCHER_KEPT)
			forget(w, ws);
	}
}

/* One that stands in a call to a file system whose server is away, dies when that answers. */
static bool wait_for_end(pid_t pid, int64_t end)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	int status;

	for (;;) {
		pid_t rc = waitpid(pid, &status, WNOHANG);

		if (rc == pid || (rc < 0 && errno != EINTR))
			return true;
		if (clock_monotonic_ns() >= end)
			return false;
		nanosleep(&pause, NULL);
	}
}

void watchers_free(struct watchers *ws)
{
	const int64_t end = clock_monotonic_ns() + GIVE_UP_NS;
	struct watcher_proc *w;

	if (ws == NULL)
		return;
	/* There is nothing that they could lose. */
	TAILQ_FOREACH(w, &ws->list, entry)
	if (w->pid > 0)
		(void)kill(w->pid, SIGKILL);
	while ((w = TAILQ_FIRST(&ws->list)) != NULL) {
		if (w->pid > 0 && !wait_for_end(w->pid, end))
			log_warn(
			    "telex-files, pid %d, was killed and does not die; it is left behind",
			    (int)w->pid);
		forget(w, ws);
	}
	event_free(ws->look);
	free(ws);
}

bool watchers_reaped(struct watchers *ws, pid_t pid, int status)
{
	struct watcher_proc *w;

	if (ws == NULL)
		return false;
	TAILQ_FOREACH(w, &ws->list, entry)
	if (w->pid == pid)
		break;
	if (w == NULL)
		return false;
	files_program_ended(ws->program, w->owner, pid, status);
	watcher_proc_reaped(w);
	return true;
}

/* ---- finding ---- */

static bool same_user(const struct user *a, const struct user *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->change == b->change &&
	       a->n_groups == b->n_groups &&
	       (a->n_groups == 0 ||
	           memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)) == 0);
}

static bool same_folders(const struct ceiling *a, const struct ceiling *b)
{
	if (a->n_folders != b->n_folders)
		return false;
	for (size_t i = 0; i < a->n_folders; i++)
		if (strcmp(a->folders[i], b->folders[i]) != 0)
			return false;
	return true;
}

/* The ceiling is, for it, as when it was started; and so is how it may watch. */
static bool is_within(const struct watchers *ws, const struct watcher_proc *w)
{
	const struct ceiling *now = &files_program_config(ws->program)->ceiling;
	struct err e;

	return now->files && same_folders(&w->config->ceiling, now) &&
	       w->config->watch_fanotify == files_program_config(ws->program)->watch_fanotify &&
	       user_bounds(now, w->user, &e) == 0;
}

static void make_stale(struct watchers *ws, struct watcher_proc *w)
{
	w->stale = true;
	if (w->state == WATCHER_KEPT)
		forget(w, ws);
	else if (w->idle)
		watcher_proc_let_go(w, false);
}

void watchers_renewed(struct watchers *ws)
{
	struct watcher_proc *w, *next;

	for (w = TAILQ_FIRST(&ws->list); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->state != WATCHER_GOING && !is_within(ws, w))
			make_stale(ws, w);
	}
}

/* RUNNING or KEPT; NULL: there is none. */
static struct watcher_proc *find(struct watchers *ws, const char *owner, const char *spec,
    const uint8_t *key, const struct user *u)
{
	struct watcher_proc *w;

	TAILQ_FOREACH(w, &ws->list, entry)
	if (w->state != WATCHER_GOING && !w->stale && strcmp(w->owner, owner) == 0 &&
	    strcmp(w->spec, spec) == 0 && memcmp(w->key, key, sizeof(w->key)) == 0)
		break;
	if (w == NULL || (same_user(w->user, u) && is_within(ws, w)))
		return w;
	make_stale(ws, w);
	return NULL;
}

/* ---- room for one more ---- */

static int has_room(struct watchers *ws, const char *owner, struct km_refused *why)
{
	const struct watcher_proc *w;
	uint32_t n = 0, mine = 0;

	TAILQ_FOREACH(w, &ws->list, entry)
	{
		if (w->state != WATCHER_RUNNING)
			continue;
		n++;
		mine += strcmp(w->owner, owner) == 0;
	}
	return files_program_room(ws->program, n, mine, why);
}

/* The oldest that nobody needs; of this owner before others. */
static struct watcher_proc *find_idle(struct watchers *ws, const char *owner)
{
	struct watcher_proc *w, *others = NULL;

	TAILQ_FOREACH(w, &ws->list, entry)
	{
		if (w->state != WATCHER_RUNNING || !w->idle)
			continue;
		if (strcmp(w->owner, owner) == 0)
			return w;
		if (others == NULL)
			others = w;
	}
	return others;
}

static int make_room(struct watchers *ws, const char *owner, struct km_refused *why)
{
	int rc;

	while ((rc = has_room(ws, owner, why)) != 0) {
		struct watcher_proc *w = find_idle(ws, owner);

		if (w == NULL)
			return rc;
		watcher_proc_let_go(w, true);
	}
	return 0;
}

/* Bytes that the other stores of its owner take. */
static uint64_t memory_of_others(const struct watchers *ws, const struct watcher_proc *than)
{
	const struct watcher_proc *w;
	uint64_t all = 0;

	TAILQ_FOREACH(w, &ws->list, entry)
	if (w != than && strcmp(w->owner, than->owner) == 0)
		all += watcher_proc_memory(w);
	return all;
}

/* The oldest that is kept without a process, of the same owner. */
static struct watcher_proc *find_kept(struct watchers *ws, const struct watcher_proc *than)
{
	struct watcher_proc *w;

	TAILQ_FOREACH(w, &ws->list, entry)
	if (w != than && w->state == WATCHER_KEPT && strcmp(w->owner, than->owner) == 0)
		break;
	return w;
}

static int refuse_memory(uint64_t has, uint64_t most, struct km_refused *why)
{
	char text[KM_TEXT_SIZE];

	snprintf(text, sizeof(text),
	    "what this identity watches takes %llu MiB of memory already, and no more of it begins "
	    "above %llu MiB (max_watch_memory); end another watch, or exclude some of it",
	    (unsigned long long)(has >> 20), (unsigned long long)(most >> 20));
	(void)files_program_refuse(why, KM_WHY_HELPERS, ENOMEM, text);
	why->newest = most;
	return TX_ELIMIT;
}

/* For one more that knows something, beside those of its owner that do. */
static int make_memory(struct watchers *ws, const struct watcher_proc *than, struct km_refused *why)
{
	const uint64_t most = files_program_config(ws->program)->max_watch_memory;
	struct watcher_proc *w;
	uint64_t has;

	while ((has = memory_of_others(ws, than)) >= most) {
		w = find_kept(ws, than);
		if (w != NULL) {
			forget(w, ws);
			continue;
		}
		w = find_idle(ws, than->owner);
		if (w == NULL || strcmp(w->owner, than->owner) != 0)
			return refuse_memory(has, most, why);
		watcher_proc_let_go(w, true);
	}
	return 0;
}

/* ---- memory, as it grows ---- */

static struct watch_allow allowance(const struct watchers *ws, const struct watcher_proc *w)
{
	const uint64_t most = files_program_config(ws->program)->max_watch_memory;
	const uint64_t others = memory_of_others(ws, w);

	return (struct watch_allow){most > others ? most - others : 0, most};
}

/* For one that takes nearly all that it may: what nobody needs of its owner's. */
static void make_way(struct watchers *ws, const struct watcher_proc *w)
{
	for (;;) {
		const struct watch_allow may = allowance(ws, w);
		struct watcher_proc *other = find_kept(ws, w);

		if (watcher_proc_memory(w) + may.limit / NEAR < may.memory)
			return;
		if (other != NULL) {
			forget(other, ws);
			continue;
		}
		other = find_idle(ws, w->owner);
		if (other == NULL || strcmp(other->owner, w->owner) != 0)
			return;
		watcher_proc_let_go(other, true);
	}
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct watchers *ws = arg;
	struct watcher_proc *w;
	bool any = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(w, &ws->list, entry)
	{
		struct watch_allow may;

		if (w->state != WATCHER_RUNNING || w->idle || w->deaf)
			continue;
		any = true;
		make_way(ws, w);
		may = allowance(ws, w);
		watcher_proc_allow(w, &may);
	}
	if (!any)
		event_del(ws->look);
}

static void look_from_now_on(struct watchers *ws)
{
	const struct timeval tv = duration_timeval(LOOK_NS);

	/* Without memory for it, they are told when they get a connection. */
	if (!event_pending(ws->look, EV_TIMEOUT, NULL))
		(void)event_add(ws->look, &tv);
}

/* Stores cost memory: of those that are kept without a process, no more than may run. */
static void drop_oldest(struct watchers *ws)
{
	uint32_t n = 0, most = files_program_config(ws->program)->max_file_helpers;
	struct watcher_proc *w, *oldest = NULL;

	TAILQ_FOREACH(w, &ws->list, entry)
	{
		if (w->state != WATCHER_KEPT)
			continue;
		n++;
		if (oldest == NULL)
			oldest = w;
	}
	if (n >= most && oldest != NULL)
		forget(oldest, ws);
}

/* ---- connecting ---- */

/* KEPT; NULL with *why filled. */
static struct watcher_proc *add(struct watchers *ws, const char *owner, const char *spec,
    const uint8_t *key, struct user **u, struct km_refused *why)
{
	struct watcher_proc *w = watcher_proc_new(ws->base, owner, spec, key, u);

	if (w == NULL) {
		(void)files_program_refuse(why, KM_WHY_SYSTEM, ENOMEM,
		    "no memory or no descriptors for one more process that watches");
		return NULL;
	}
	w->over = forget;
	w->arg = ws;
	drop_oldest(ws);
	TAILQ_INSERT_TAIL(&ws->list, w, entry);
	return w;
}

static int start(struct watchers *ws, struct watcher_proc *w, struct km_refused *why)
{
	int rc = make_room(ws, w->owner, why);

	if (rc == 0)
		rc = make_memory(ws, w, why);
	if (rc == 0)
		rc = watcher_proc_start(w, ws->program, why);
	/* One that never ran has no timer, and nothing that is worth keeping. */
	if (rc != 0 && w->config == NULL)
		forget(w, ws);
	return rc;
}

/* TX_ECLOSED: it has just died. */
static int hand(struct watchers *ws, struct watcher_proc *w, int *fd, struct km_refused *why)
{
	const struct watch_allow may = allowance(ws, w);
	int error = watcher_proc_hand(w, &may, fd);

	if (error == 0) {
		look_from_now_on(ws);
		TAILQ_REMOVE(&ws->list, w, entry);
		TAILQ_INSERT_TAIL(&ws->list, w, entry);
		return 0;
	}
	if (!watcher_proc_is_dying(w))
		return files_program_refuse(why, KM_WHY_SYSTEM, error,
		    "the process that watches takes no connection; try again");
	(void)files_program_refuse(
	    why, KM_WHY_DIED, 0, "the process that watches has ended; try again");
	return TX_ECLOSED;
}

/* Where there is none that runs, or it is dying, another goes on in its place. */
static struct watcher_proc *provide(struct watchers *ws, struct watcher_proc *found,
    const char *owner, const char *spec, const uint8_t *key, struct user **u,
    struct km_refused *why)
{
	struct watcher_proc *w = found;

	if (found == NULL || found->state == WATCHER_RUNNING)
		w = add(ws, owner, spec, key, u, why);
	if (w != NULL && w != found && found != NULL)
		watcher_proc_inherit(w, found);
	return w != NULL && start(ws, w, why) == 0 ? w : NULL;
}

static void fill(struct km_files_reply *reply, const struct watcher_proc *w)
{
	*reply = (struct km_files_reply){.pid = (uint32_t)w->pid, .uid = (uint32_t)w->user->uid};
	snprintf(reply->home, sizeof(reply->home), "%s", w->user->home);
}

/* The one to connect to, by whom *fd and *why are filled; NULL: refused. */
static struct watcher_proc *connect_to(struct watchers *ws, const char *owner, const char *spec,
    const uint8_t *key, struct user **u, int *fd, struct km_refused *why)
{
	struct watcher_proc *w = find(ws, owner, spec, key, *u);

	if (w != NULL && w->state == WATCHER_RUNNING) {
		int rc = hand(ws, w, fd, why);

		if (rc != TX_ECLOSED)
			return rc == 0 ? w : NULL;
	}
	w = provide(ws, w, owner, spec, key, u, why);
	return w != NULL && hand(ws, w, fd, why) == 0 ? w : NULL;
}

int watchers_connect(struct watchers *ws, const char *owner, const char *user,
    const uint8_t key[KM_HASH_SIZE], struct km_files_reply *reply, int *fd, struct km_refused *why)
{
	const struct watcher_proc *w;
	struct user *u = NULL;
	int rc;

	if (ws == NULL)
		return files_program_ready(NULL, why);
	rc = files_program_ready(ws->program, why);
	if (rc == 0)
		rc = files_program_user(ws->program, user, &u, why);
	if (rc != 0)
		return rc;
	w = connect_to(ws, owner, user != NULL ? user : "", key, &u, fd, why);
	user_free(u);
	if (w == NULL)
		return TX_ESYS;
	fill(reply, w);
	return 0;
}
