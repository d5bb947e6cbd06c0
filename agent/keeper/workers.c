/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's life: spawned -> configured (KM_GO is sent) -> ready -> draining -> dead. Dead ones
 * are started again at once when they had served for a while, else after a growing pause.
 */
#include "agent/keeper/workers.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/spawn.h"
#include "agent/keeper/user.h"
#include "common/duration.h"
#include "common/keeper_msg.h"
#include "common/log.h"
#include "common/signame.h"

#define PAUSE_FIRST_NS  (10 * NS_PER_MS)
#define PAUSE_SERVED_NS (200 * NS_PER_MS)
#define PAUSE_MAX_NS    (10 * NS_PER_S)
#define PROVEN_NS       (1 * NS_PER_S)  /* who served this long is restarted at once */
#define START_LIMIT_NS  (30 * NS_PER_S) /* to become ready */

struct worker {
	struct workers *ws;
	uint32_t index;
	pid_t pid; /* 0: none */
	struct link *link;
	struct event *beat;  /* heartbeat, and the limit of the start */
	struct event *again; /* the pause before the next start; or, dead, how long the link's last
	                        words are waited for */
	bool dead;           /* reaped, but the link is not at its end */
	int status;          /* then: as of waitpid */
	int64_t started_at, ready_at, pong_at, pause_ns;
	bool was_ready;
	char failure[KM_TEXT_SIZE];
};

struct workers {
	struct link_env *env;
	const struct config *config;
	const struct listeners *listeners;
	const char *path;
	const struct workers_ops *ops;
	void *arg;
	struct rlimit nofile;
	int null_fd;
	int program_fd;
	bool change_user;
	uid_t uid;
	gid_t gid;
	char **environment;
	char default_user[KM_USER_SIZE];
	int64_t keeper_start_ns;
	bool started; /* all of the first start are ready */
	bool failed, draining;
	uint32_t n;
	struct worker list[];
};

static void start_worker(struct worker *w);

/* ---- what a worker is given ---- */

/* Of the keeper's environment, what a worker may see: nothing that is secret to the keeper. */
static bool may_see(const char *variable)
{
	static const char *const names[] = {"PATH=", "LANG=", "LC_", "TZ=", "TELEX_",
	    "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=", "LD_LIBRARY_PATH=",
	    "MALLOC_"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static char **worker_environment(void)
{
	size_t n = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	env = calloc(n + 1, sizeof(*env));
	if (env == NULL)
		return NULL;
	n = 0;
	for (size_t i = 0; environ[i] != NULL; i++)
		if (may_see(environ[i]))
			env[n++] = environ[i];
	return env;
}

static int find_worker_user(struct workers *ws, struct err *e)
{
	const char *name = ws->config->worker_user;

	if (geteuid() != 0)
		return 0;
	ws->change_user = true;
	if (name == NULL && user_ids("telex", &ws->uid, &ws->gid, NULL) != 0)
		ws->uid = ws->gid = 65534;
	if (name != NULL && user_ids(name, &ws->uid, &ws->gid, e) != 0)
		return err_wrap(e, "worker_user");
	if (ws->uid == 0)
		return err_set(e, TX_EINVAL, "worker_user: workers may not run as root");
	return 0;
}

/* The user of a process when its client names none: the keeper's own. */
static int find_default_user(struct workers *ws, struct err *e)
{
	struct user *own = NULL;
	int rc = user_lookup(&own, NULL, e);

	if (rc == 0)
		snprintf(ws->default_user, sizeof(ws->default_user), "%s", own->name);
	user_free(own);
	return rc;
}

static int send_config(struct worker *w, struct err *e)
{
	const struct config *c = w->ws->config;
	const char *const paths[3] = {c->certificate, c->key, c->ca};
	struct km_config m = {
	    .keeper_start_ns = w->ws->keeper_start_ns,
	    .output_buffer = c->output_buffer,
	    .workers = c->workers,
	    .index = w->index,
	    .max_processes = c->max_processes,
	    .max_connections = c->max_connections,
	    .uid = w->ws->uid,
	    .gid = w->ws->gid,
	    .drop = w->ws->change_user,
	    .log_level = (uint8_t)c->log_level,
	    .log_json = c->log_json,
	    .listeners = (uint8_t)w->ws->listeners->n,
	};
	int fds[3] = {-1, -1, -1};
	int rc = 0;

	memcpy(m.default_user, w->ws->default_user, sizeof(m.default_user));
	for (int i = 0; i < 3 && rc == 0; i++) {
		/* A FIFO without a writer must not hold the keeper up. */
		fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fds[i] < 0)
			rc = err_sys(e, errno, "%s", paths[i]);
	}
	if (rc == 0)
		rc = km_send(link_chan(w->link), KM_CONFIG, 0, &m, fds, 3);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return rc;
}

static int configure(struct worker *w, struct err *e)
{
	struct km_go go = {0};
	struct km_chan *chan = link_chan(w->link);
	int rc = send_config(w, e);

	for (size_t i = 0; i < w->ws->listeners->n && rc == 0; i++) {
		const struct listener *l = &w->ws->listeners->list[i];
		struct km_listen m = {0};

		memcpy(m.address, l->address, sizeof(m.address));
		rc = km_send(chan, KM_LISTEN, 0, &m, &l->fd, 1);
	}
	if (rc == 0)
		rc = km_send(chan, KM_GO, 0, &go, NULL, 0);
	/* One that is dead already is told of when it is reaped: how it died says more. */
	if (rc == 0 || rc == TX_ECLOSED)
		km_chan_set_state(chan, KM_LINK_CONFIGURED);
	else if (e->code == 0)
		err_set(e, rc, "cannot send the configuration");
	return rc == TX_ECLOSED ? 0 : rc;
}

/* ---- the link's callbacks ---- */

static void kill_worker(struct worker *w)
{
	/* Ours until it is reaped: the number cannot be another's. */
	if (w->pid > 0)
		(void)kill(w->pid, SIGKILL);
}

static void drop_link(struct worker *w)
{
	link_free(w->link);
	w->link = NULL;
}

static void on_ready(void *arg)
{
	struct worker *w = arg;
	struct workers *ws = w->ws;
	struct timeval beat = duration_timeval(ws->config->heartbeat_ns);

	if (w->ready_at != 0)
		return;
	w->ready_at = w->pong_at = clock_monotonic_ns();
	w->was_ready = true;
	event_add(w->beat, &beat);
	log_info("worker %u: pid %d is ready", w->index, (int)w->pid);
	for (uint32_t i = 0; i < ws->n; i++)
		if (!ws->list[i].was_ready)
			return;
	if (!ws->started && !ws->failed) {
		ws->started = true;
		ws->ops->all_ready(ws->arg);
	}
}

static void on_failed(const char *text, void *arg)
{
	struct worker *w = arg;

	memcpy(w->failure, text, strnlen(text, sizeof(w->failure) - 1) + 1);
	log_error("worker %u: cannot serve: %s (certificate %s, key %s, ca %s)", w->index,
	    w->failure, w->ws->config->certificate, w->ws->config->key, w->ws->config->ca);
}

static void on_pong(void *arg)
{
	struct worker *w = arg;

	w->pong_at = clock_monotonic_ns();
}

static void finish(struct worker *w);

static void on_closed(const struct err *why, void *arg)
{
	static const struct timeval orderly = {
	    1, 0}; /* it is on its way out: so long it may take */
	struct worker *w = arg;

	if (why->code != TX_ECLOSED && !w->dead)
		log_error("worker %u: pid %d is ended: %s", w->index, (int)w->pid, why->message);
	drop_link(w);
	if (w->dead)
		finish(w);
	else if (why->code != TX_ECLOSED || event_add(w->beat, &orderly) != 0)
		kill_worker(w);
}

static const struct link_ops link_ops = {on_ready, on_failed, on_pong, on_closed};

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct timeval beat = duration_timeval(w->ws->config->heartbeat_ns);
	int64_t now = clock_monotonic_ns();
	struct km_ping ping = {0};

	(void)fd;
	(void)what;
	if (w->link == NULL) {
		kill_worker(w);
		return;
	}
	if (w->ready_at == 0 ? now - w->started_at > START_LIMIT_NS
	                     : now - w->pong_at > w->ws->config->hang_timeout_ns) {
		log_error("worker %u: pid %d hangs and is killed", w->index, (int)w->pid);
		kill_worker(w);
		return;
	}
	if (w->ready_at != 0 && !km_chan_busy(link_chan(w->link)))
		(void)km_send(link_chan(w->link), KM_PING, 0, &ping, NULL, 0);
	event_add(w->beat, &beat);
}

/* ---- processes ---- */

static int spawn_worker(struct worker *w, int fd, struct err *e)
{
	struct workers *ws = w->ws;
	char *argv[] = {(char[]){"telex-worker"}, NULL};
	struct spawn_plan plan = {
	    .file = ws->path,
	    .file_fd = ws->program_fd,
	    .argv = argv,
	    .envp = ws->environment,
	    .fds = {ws->null_fd, STDERR_FILENO, STDERR_FILENO, fd},
	    .n_fds = 4,
	    .cwd = "/",
	    .change_user = ws->change_user,
	    .uid = ws->uid,
	    .gid = ws->gid,
	};
	struct spawn_result got;
	struct spawn_failure why;

	if (spawn_run(&plan, &got, &why) != 0)
		return err_set(e, TX_ESYS, "%s", why.text);
	if (got.pidfd >= 0)
		close(got.pidfd);
	w->pid = got.pid;
	return 0;
}

static int try_start(struct worker *w, struct err *e)
{
	struct timeval beat = duration_timeval(w->ws->config->heartbeat_ns);
	int pair[2];
	int rc;

	w->started_at = clock_monotonic_ns();
	w->ready_at = 0;
	w->failure[0] = '\0';
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(e, errno, "cannot make a socket pair");
	rc = link_new(&w->link, w->ws->env, pair[0], &link_ops, w, e);
	if (rc == 0)
		rc = spawn_worker(w, pair[1], e);
	close(pair[1]);
	if (rc == 0)
		rc = configure(w, e);
	if (rc == 0 && event_add(w->beat, &beat) != 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc != 0) {
		drop_link(w);
		kill_worker(w);
	}
	return rc;
}

static void plan_start(struct worker *w, int64_t pause_ns)
{
	struct timeval tv = duration_timeval(pause_ns);

	if (event_add(w->again, &tv) != 0)
		log_error("worker %u: no memory for a timer: it is not started again", w->index);
}

/*
 * The pause grows while workers die young; little where they do come to serve: somebody may be
 * killing them, and the others are to be served.
 */
static void plan_again(struct worker *w)
{
	bool served = w->ready_at != 0;
	int64_t most = served ? PAUSE_SERVED_NS : PAUSE_MAX_NS;

	if (served && clock_monotonic_ns() - w->ready_at >= PROVEN_NS)
		w->pause_ns = 0;
	else
		w->pause_ns = w->pause_ns == 0 ? PAUSE_FIRST_NS : w->pause_ns * 2;
	if (w->pause_ns > most)
		w->pause_ns = most;
	plan_start(w, w->pause_ns);
}

static void first_start_failed(struct workers *ws, const char *why)
{
	if (ws->failed)
		return;
	ws->failed = true;
	ws->ops->cannot_start(why, ws->arg);
}

static void start_worker(struct worker *w)
{
	struct err e = {0};

	if (try_start(w, &e) == 0)
		return;
	log_error("worker %u: cannot be started: %s", w->index, e.message);
	if (!w->ws->started)
		first_start_failed(w->ws, e.message);
	else if (w->pid == 0)
		plan_again(w); /* else when it is reaped */
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (w->dead)
		finish(w);
	else if (!w->ws->draining && w->pid == 0)
		start_worker(w);
}

static void describe_status(int status, char *out, size_t size)
{
	char name[24];

	if (WIFEXITED(status))
		snprintf(out, size, "exited with %d", WEXITSTATUS(status));
	else
		snprintf(
		    out, size, "died of %s", signame_format(name, sizeof(name), WTERMSIG(status)));
}

/* The process is reaped and all that it had said was heard. */
static void finish(struct worker *w)
{
	struct workers *ws = w->ws;
	char how[64], why[128];

	w->dead = false;
	event_del(w->again);
	drop_link(w);
	if (ws->draining || ws->failed)
		return;
	if (ws->started) {
		plan_again(w);
		return;
	}
	describe_status(w->status, how, sizeof(how));
	snprintf(why, sizeof(why), "the worker %s", how);
	first_start_failed(ws, w->failure[0] != '\0' ? w->failure : why);
}

static void worker_died(struct worker *w, int status)
{
	static const struct timeval last_words = {0, 200000};
	char how[64];

	describe_status(status, how, sizeof(how));
	log_at(w->ws->draining ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "worker %u: pid %d %s", w->index,
	    (int)w->pid, how);
	w->pid = 0;
	w->status = status;
	w->dead = true;
	event_del(w->beat);
	/* As a rule the link's end is seen in this very turn. */
	if (w->link == NULL || event_add(w->again, &last_words) != 0)
		finish(w);
}

/* ---- the whole ---- */

int workers_new(struct workers **out, struct link_env *env, const struct config *c,
    const struct listeners *ls, const char *path, const struct workers_ops *ops, void *arg,
    struct err *e)
{
	struct workers *ws = calloc(1, sizeof(*ws) + c->workers * sizeof(ws->list[0]));
	int rc;

	if (ws == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	ws->env = env;
	ws->config = c;
	ws->listeners = ls;
	ws->path = path;
	ws->ops = ops;
	ws->arg = arg;
	ws->n = c->workers;
	ws->keeper_start_ns = clock_realtime_ns();
	ws->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ws->environment = worker_environment();
	/* By descriptor: the worker's user need not be able to reach the folder that it lies in. */
	ws->program_fd = open(path, O_PATH | O_CLOEXEC);
	if (ws->null_fd < 0 || ws->program_fd < 0)
		rc = err_sys(e, errno, "%s", ws->null_fd < 0 ? "/dev/null" : path);
	else
		rc = find_worker_user(ws, e);
	if (rc == 0)
		rc = find_default_user(ws, e);
	if (rc == 0 && ws->environment == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < ws->n && rc == 0; i++) {
		struct worker *w = &ws->list[i];

		w->ws = ws;
		w->index = i;
		w->beat = evtimer_new(env->base, on_beat, w);
		w->again = evtimer_new(env->base, on_again, w);
		if (w->beat == NULL || w->again == NULL)
			rc = err_set(e, TX_ENOMEM, "out of memory");
	}
	if (rc == 0)
		*out = ws;
	else
		workers_free(ws);
	return rc;
}

int workers_start(struct workers *ws, struct err *e)
{
	for (uint32_t i = 0; i < ws->n; i++) {
		int rc = try_start(&ws->list[i], e);

		if (rc != 0)
			return err_wrap(e, "cannot start a worker");
	}
	return 0;
}

void workers_free(struct workers *ws)
{
	if (ws == NULL)
		return;
	for (uint32_t i = 0; i < ws->n; i++) {
		struct worker *w = &ws->list[i];

		drop_link(w);
		kill_worker(w);
		while (w->pid > 0 && waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
		if (w->beat != NULL)
			event_free(w->beat);
		if (w->again != NULL)
			event_free(w->again);
	}
	if (ws->null_fd >= 0)
		close(ws->null_fd);
	if (ws->program_fd >= 0)
		close(ws->program_fd);
	free(ws->environment);
	free(ws);
}

bool workers_has(const struct workers *ws, pid_t pid)
{
	for (uint32_t i = 0; i < ws->n; i++)
		if (ws->list[i].pid == pid)
			return true;
	return false;
}

bool workers_reaped(struct workers *ws, pid_t pid, int status)
{
	for (uint32_t i = 0; i < ws->n; i++) {
		if (ws->list[i].pid != pid)
			continue;
		worker_died(&ws->list[i], status);
		return true;
	}
	return false;
}

unsigned workers_alive(const struct workers *ws)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < ws->n; i++)
		n += ws->list[i].pid > 0;
	return n;
}

void workers_drain(struct workers *ws)
{
	struct km_drain m = {0};

	ws->draining = true;
	for (uint32_t i = 0; i < ws->n; i++) {
		struct worker *w = &ws->list[i];

		event_del(w->again);
		if (w->link == NULL)
			continue;
		if (km_chan_state(link_chan(w->link)) != KM_LINK_READY) {
			kill_worker(w);
			continue;
		}
		(void)km_send(link_chan(w->link), KM_DRAIN, 0, &m, NULL, 0);
		km_chan_set_state(link_chan(w->link), KM_LINK_DRAINING);
	}
}

void workers_kill(struct workers *ws)
{
	for (uint32_t i = 0; i < ws->n; i++)
		kill_worker(&ws->list[i]);
}
