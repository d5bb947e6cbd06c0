/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/helpers.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/user.h"
#include "agent/keeper/user_bounds.h"
#include "agent/keeper/worker_kit.h"
#include "common/ceiling.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signame.h"

/* So long one may take that its worker has let go of; and at the agent's end. */
#define LET_GO_NS (10 * NS_PER_S)
#define END_NS    NS_PER_S

struct helper {
	TAILQ_ENTRY(helper) entry;
	struct helpers *all;
	pid_t pid;
	/* Its own end of the socket: to see the worker's close; closed when it is reaped, and only
	 * then the worker sees its end. */
	int fd;
	struct event *let_go; /* the worker has closed; then the limit of its end */
	bool ending;
	char owner[KM_IDENTITY_SIZE];
};

struct helpers {
	struct event_base *base;
	const char *path;
	const struct rlimit *nofile;
	struct exec_log *exec_log;
	struct config *config; /* NULL: nothing is started */
	int program_fd;        /* -1: it cannot be opened */
	int program_errno;
	int null_fd;
	char **environment;
	TAILQ_HEAD(helper_list, helper) list;
	uint32_t n;
};

/* ---- their end ---- */

static void forget(struct helper *h)
{
	TAILQ_REMOVE(&h->all->list, h, entry);
	h->all->n--;
	event_free(h->let_go);
	close(h->fd);
	free(h);
}

/* Ours until it is reaped: the number cannot be another's. */
static void on_let_go(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval limit = duration_timeval(LET_GO_NS);
	struct helper *h = arg;

	(void)fd;
	(void)what;
	if (h->ending) {
		log_warn("telex-files, pid %d, does not end and is killed", (int)h->pid);
		(void)kill(h->pid, SIGKILL);
		return;
	}
	h->ending = true;
	event_del(h->let_go);
	(void)event_assign(h->let_go, h->all->base, -1, 0, on_let_go, h);
	if (event_add(h->let_go, &limit) != 0)
		(void)kill(h->pid, SIGKILL);
}

bool helpers_reaped(struct helpers *hs, pid_t pid, int status)
{
	char how[64], name[24];
	struct helper *h;

	if (hs == NULL)
		return false;
	TAILQ_FOREACH(h, &hs->list, entry)
	if (h->pid == pid)
		break;
	if (h == NULL)
		return false;
	if (WIFEXITED(status))
		snprintf(how, sizeof(how), "exited with %d", WEXITSTATUS(status));
	else
		snprintf(how, sizeof(how), "died of %s",
		    signame_format(name, sizeof(name), WTERMSIG(status)));
	log_at(status == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "telex-files, pid %d, for %s, %s",
	    (int)pid, h->owner, how);
	exec_log_files_ended(hs->exec_log, h->owner, pid, how);
	forget(h);
	return true;
}

/* ---- life ---- */

int helpers_new(struct helpers **out, struct event_base *base, const char *path,
    const struct rlimit *nofile, struct exec_log *x, struct err *e)
{
	struct helpers *hs = calloc(1, sizeof(*hs));

	if (hs == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	hs->base = base;
	hs->path = path;
	hs->nofile = nofile;
	hs->exec_log = x;
	hs->program_fd = -1;
	TAILQ_INIT(&hs->list);
	hs->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	hs->environment = worker_kit_environment(NULL);
	if (hs->null_fd >= 0 && hs->environment != NULL) {
		*out = hs;
		return 0;
	}
	helpers_free(hs);
	return err_set(e, TX_ESYS, "/dev/null cannot be opened, or out of memory");
}

static void end_all(struct helpers *hs)
{
	const struct timespec pause = {0, 10 * NS_PER_MS};
	int64_t until = clock_monotonic_ns() + END_NS;
	struct helper *h, *next;
	bool forced = false;

	/* Their workers are gone by now. */
	while ((h = TAILQ_FIRST(&hs->list)) != NULL) {
		bool over = clock_monotonic_ns() > until;

		for (; h != NULL; h = next) {
			int status, flags = forced ? 0 : WNOHANG;
			pid_t got;

			next = TAILQ_NEXT(h, entry);
			if (over && !forced)
				(void)kill(h->pid, SIGKILL);
			got = waitpid(h->pid, &status, flags);
			if (got == h->pid)
				(void)helpers_reaped(hs, h->pid, status);
			else if (got < 0 && errno != EINTR)
				forget(h);
		}
		forced = over;
		if (!forced)
			(void)nanosleep(&pause, NULL);
	}
}

void helpers_free(struct helpers *hs)
{
	if (hs == NULL)
		return;
	end_all(hs);
	if (hs->program_fd >= 0)
		close(hs->program_fd);
	if (hs->null_fd >= 0)
		close(hs->null_fd);
	free(hs->environment);
	config_unref(hs->config);
	free(hs);
}

void helpers_set(struct helpers *hs, struct config *c)
{
	struct config *old = hs->config;

	hs->config = config_ref(c);
	config_unref(old);
	if (hs->program_fd >= 0)
		close(hs->program_fd);
	hs->program_fd = open(hs->path, O_PATH | O_CLOEXEC);
	hs->program_errno = errno;
	if (hs->program_fd < 0 && c->ceiling.files)
		log_warn("files cannot be served: %s: %s", hs->path, strerror(errno));
}

/* ---- starting ---- */

static int refuse(struct km_refused *why, enum km_why reason, int sys_errno, const char *text)
{
	*why = (struct km_refused){.why = reason, .sys_errno = sys_errno};
	snprintf(why->text, sizeof(why->text), "%s", text);
	return TX_ESYS;
}

static int refuse_start(struct km_refused *why, int stage, int sys_errno, const char *text)
{
	(void)refuse(why, KM_WHY_START, sys_errno, text);
	why->stage = (uint32_t)stage;
	return TX_ESYS;
}

/* One identity may not have them all: half of them is its share. */
static int check_number(const struct helpers *hs, const char *owner, struct km_refused *why)
{
	uint32_t most = hs->config->max_file_helpers, mine = 0;
	uint32_t share = most > 1 ? (most + 1) / 2 : 1;
	const struct helper *h;
	char text[KM_TEXT_SIZE];

	TAILQ_FOREACH(h, &hs->list, entry)
	mine += strcmp(h->owner, owner) == 0;
	if (hs->n < most && mine < share)
		return 0;
	snprintf(text, sizeof(text),
	    "%u processes for files are running, %u of them for this identity, "
	    "and no more than %u and %u may",
	    hs->n, mine, most, share);
	(void)refuse(why, KM_WHY_HELPERS, EAGAIN, text);
	why->newest = most;
	return TX_ELIMIT;
}

static int find_user(
    struct helpers *hs, const char *spec, struct user **out, struct km_refused *why)
{
	struct user *u = NULL;
	struct err e;
	int rc = user_lookup(&u, spec, &e);

	if (rc != 0)
		return refuse_start(why, KM_STAGE_USER,
		    rc == TX_ENOENT  ? ENOENT
		    : rc == TX_EPERM ? EPERM
		    : rc == TX_ESYS  ? e.sys_errno
		                     : ENOMEM,
		    e.message);
	if (user_bounds(&hs->config->ceiling, u, &e) != 0) {
		log_error("%s (uid %u): %s", u->name, (unsigned)u->uid, e.message);
		exec_log_refused(hs->exec_log, "files", "", "", e.message, false);
		rc = refuse(why, KM_WHY_CEILING, EPERM, e.message);
	} else if (strlen(u->home) >= KM_HOME_SIZE) {
		rc = refuse_start(
		    why, KM_STAGE_USER, ENAMETOOLONG, "the home folder's name is too long");
	}
	if (rc == 0)
		*out = u;
	else
		user_free(u);
	return rc;
}

static int spawn(struct helpers *hs, const struct user *u, int fd, struct spawn_result *got,
    struct km_refused *why)
{
	const struct ceiling *c = &hs->config->ceiling;
	const struct spawn_rlimit nofile = {RLIMIT_NOFILE, *hs->nofile};
	char **argv = calloc(c->n_folders + 2, sizeof(*argv));
	struct spawn_plan plan = {.file = hs->path,
	    .file_fd = hs->program_fd,
	    .argv = argv,
	    .envp = hs->environment,
	    .fds = {hs->null_fd, STDERR_FILENO, STDERR_FILENO, fd},
	    .n_fds = 4,
	    .cwd = "/",
	    .change_user = u->change,
	    .uid = u->uid,
	    .gid = u->gid,
	    .groups = u->groups,
	    .n_groups = u->n_groups,
	    .rlimits = &nofile,
	    .n_rlimits = 1,
	    .umask = 022,
	    .no_new_privs = true,
	    .plain_priority = true};
	struct spawn_failure failure;
	int rc;

	if (argv == NULL)
		return refuse(why, KM_WHY_SYSTEM, ENOMEM, "out of memory");
	argv[0] = (char[]){"telex-files"};
	for (size_t i = 0; i < c->n_folders; i++)
		argv[i + 1] = c->folders[i];
	rc = spawn_run(&plan, got, &failure);
	free(argv);
	if (rc != 0)
		log_error("telex-files cannot be started: %s", failure.text);
	return rc == 0 ? 0 : refuse_start(why, failure.stage, failure.sys_errno, failure.text);
}

/* Takes `own`, its end of the socket. NULL: no memory; nothing is taken then. */
static struct helper *add(struct helpers *hs, const char *owner, int own)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->all = hs;
	h->fd = own;
	snprintf(h->owner, sizeof(h->owner), "%s", owner);
	h->let_go = event_new(hs->base, own, EV_CLOSED, on_let_go, h);
	if (h->let_go == NULL) {
		free(h);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&hs->list, h, entry);
	hs->n++;
	return h;
}

static int start_as(struct helpers *hs, const char *owner, const struct user *u, int pair[2],
    struct km_refused *why)
{
	struct helper *h = add(hs, owner, pair[1]);
	struct spawn_result got;
	int rc;

	if (h == NULL) {
		close(pair[1]);
		return refuse(why, KM_WHY_SYSTEM, ENOMEM, "out of memory");
	}
	rc = exec_log_files(hs->exec_log, owner, u, why);
	if (rc == 0) {
		rc = spawn(hs, u, pair[1], &got, why);
		if (rc != 0)
			exec_log_files_ended(hs->exec_log, owner, 0, why->text);
	}
	if (rc != 0) {
		forget(h);
		return rc;
	}
	h->pid = got.pid;
	if (got.pidfd >= 0)
		close(got.pidfd);
	if (event_add(h->let_go, NULL) != 0)
		log_debug("telex-files, pid %d: its worker's end is not seen", (int)h->pid);
	exec_log_files_started(hs->exec_log, owner, h->pid);
	log_debug("telex-files: pid %d as %s for %s", (int)h->pid, u->name, owner);
	return h->pid;
}

int helpers_start(struct helpers *hs, const char *owner, const char *user,
    struct km_files_reply *reply, int *fd, struct km_refused *why)
{
	struct user *u = NULL;
	int pair[2];
	int rc;

	if (hs == NULL || hs->config == NULL || hs->program_fd < 0)
		return refuse(why, KM_WHY_SYSTEM, hs != NULL ? hs->program_errno : ENOENT,
		    "telex-files cannot be started on this agent");
	rc = check_number(hs, owner, why);
	if (rc == 0)
		rc = find_user(hs, user, &u, why);
	if (rc != 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		user_free(u);
		return refuse(why, KM_WHY_SYSTEM, errno, "cannot make a socket pair");
	}
	rc = start_as(hs, owner, u, pair, why);
	if (rc > 0) {
		*reply = (struct km_files_reply){.pid = (uint32_t)rc, .uid = (uint32_t)u->uid};
		snprintf(reply->home, sizeof(reply->home), "%s", u->home);
		*fd = pair[0];
	} else {
		close(pair[0]);
	}
	user_free(u);
	return rc > 0 ? 0 : rc;
}
