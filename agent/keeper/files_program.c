/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/files_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/user_bounds.h"
#include "agent/keeper/worker_kit.h"
#include "common/ceiling.h"
#include "common/log.h"
#include "common/signame.h"

struct files_program {
	const char *path;
	const struct rlimit *nofile;
	struct exec_log *exec_log;
	struct config *config; /* NULL: nothing is started */
	int program_fd;        /* -1: it cannot be opened */
	int program_errno;
	int null_fd;
	char **environment;
};

/* ---- life ---- */

int files_program_new(struct files_program **out, const char *path, const struct rlimit *nofile,
    struct exec_log *x, struct err *e)
{
	struct files_program *fp = calloc(1, sizeof(*fp));

	if (fp == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	fp->path = path;
	fp->nofile = nofile;
	fp->exec_log = x;
	fp->program_fd = -1;
	fp->program_errno = ENOENT;
	fp->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	fp->environment = worker_kit_environment(NULL);
	if (fp->null_fd >= 0 && fp->environment != NULL) {
		*out = fp;
		return 0;
	}
	files_program_free(fp);
	return err_set(e, TX_ESYS, "/dev/null cannot be opened, or out of memory");
}

void files_program_free(struct files_program *fp)
{
	if (fp == NULL)
		return;
	if (fp->program_fd >= 0)
		close(fp->program_fd);
	if (fp->null_fd >= 0)
		close(fp->null_fd);
	free(fp->environment);
	config_unref(fp->config);
	free(fp);
}

void files_program_set(struct files_program *fp, struct config *c)
{
	struct config *old = fp->config;

	fp->config = config_ref(c);
	config_unref(old);
	if (fp->program_fd >= 0)
		close(fp->program_fd);
	fp->program_fd = open(fp->path, O_PATH | O_CLOEXEC);
	fp->program_errno = errno;
	if (fp->program_fd < 0 && c->ceiling.files)
		log_warn("files cannot be served: %s: %s", fp->path, strerror(errno));
}

struct config *files_program_config(const struct files_program *fp)
{
	return fp->config;
}

/* ---- refusals ---- */

int files_program_refuse(
    struct km_refused *why, enum km_why reason, int sys_errno, const char *text)
{
	*why = (struct km_refused){.why = reason, .sys_errno = sys_errno};
	snprintf(why->text, sizeof(why->text), "%s", text);
	return TX_ESYS;
}

static int refuse_start(struct km_refused *why, int stage, int sys_errno, const char *text)
{
	(void)files_program_refuse(why, KM_WHY_START, sys_errno, text);
	why->stage = (uint32_t)stage;
	return TX_ESYS;
}

int files_program_ready(const struct files_program *fp, struct km_refused *why)
{
	if (fp != NULL && fp->config != NULL && fp->program_fd >= 0)
		return 0;
	return files_program_refuse(why, KM_WHY_SYSTEM, fp != NULL ? fp->program_errno : ENOENT,
	    "telex-files cannot be started on this agent");
}

int files_program_room(
    const struct files_program *fp, uint32_t n, uint32_t mine, struct km_refused *why)
{
	uint32_t most = fp->config->max_file_helpers;
	uint32_t share = most > 1 ? (most + 1) / 2 : 1;
	char text[KM_TEXT_SIZE];

	if (n < most && mine < share)
		return 0;
	snprintf(text, sizeof(text),
	    "%u processes for files are running, %u of them for this identity, "
	    "and no more than %u and %u may",
	    n, mine, most, share);
	(void)files_program_refuse(why, KM_WHY_HELPERS, EAGAIN, text);
	why->newest = most;
	return TX_ELIMIT;
}

/* ---- as whom ---- */

static int check_user(struct files_program *fp, const struct user *u, struct km_refused *why)
{
	struct err e;

	if (user_bounds(&fp->config->ceiling, u, &e) != 0) {
		log_error("%s (uid %u): %s", u->name, (unsigned)u->uid, e.message);
		exec_log_refused(fp->exec_log, "files", "", "", e.message, false);
		return files_program_refuse(why, KM_WHY_CEILING, EPERM, e.message);
	}
	if (strlen(u->home) >= KM_HOME_SIZE)
		return refuse_start(
		    why, KM_STAGE_USER, ENAMETOOLONG, "the home folder's name is too long");
	return 0;
}

int files_program_user(
    struct files_program *fp, const char *spec, struct user **out, struct km_refused *why)
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
	rc = check_user(fp, u, why);
	if (rc == 0)
		*out = u;
	else
		user_free(u);
	return rc;
}

/* ---- starting ---- */

static char **arguments(const struct files_start *s, const struct ceiling *c)
{
	char **argv = calloc(c->n_folders + 4, sizeof(*argv));
	size_t n = 0;

	if (argv == NULL)
		return NULL;
	argv[n++] = (char *)(uintptr_t) "telex-files";
	if (s->option != NULL) {
		argv[n++] = (char *)(uintptr_t)s->option;
		argv[n++] = (char *)(uintptr_t)s->value;
	}
	for (size_t i = 0; i < c->n_folders; i++)
		argv[n++] = c->folders[i];
	return argv;
}

static int spawn(struct files_program *fp, const struct files_start *s, struct spawn_result *got,
    struct km_refused *why)
{
	const struct spawn_rlimit nofile = {RLIMIT_NOFILE, *fp->nofile, false};
	const struct user *u = s->user;
	char **argv = arguments(s, &fp->config->ceiling);
	struct spawn_plan plan = {.file = fp->path,
	    .file_fd = fp->program_fd,
	    .argv = argv,
	    .envp = fp->environment,
	    .fds = {fp->null_fd, STDERR_FILENO, STDERR_FILENO},
	    .n_fds = 3,
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
		return files_program_refuse(why, KM_WHY_SYSTEM, ENOMEM, "out of memory");
	for (size_t i = 0; i < s->n_fds; i++)
		plan.fds[plan.n_fds++] = s->fds[i];
	rc = spawn_run(&plan, got, &failure);
	free(argv);
	if (rc != 0)
		log_error("telex-files cannot be started: %s", failure.text);
	return rc == 0 ? 0 : refuse_start(why, failure.stage, failure.sys_errno, failure.text);
}

pid_t files_program_start(
    struct files_program *fp, const struct files_start *s, struct km_refused *why)
{
	struct spawn_result got;
	int rc = exec_log_files(fp->exec_log, s->owner, s->user, s->option != NULL, why);

	if (rc != 0)
		return rc;
	rc = spawn(fp, s, &got, why);
	if (rc != 0) {
		exec_log_files_ended(fp->exec_log, s->owner, 0, why->text);
		return rc;
	}
	if (got.pidfd >= 0)
		close(got.pidfd);
	exec_log_files_started(fp->exec_log, s->owner, got.pid);
	log_debug("telex-files: pid %d as %s for %s%s", (int)got.pid, s->user->name, s->owner,
	    s->option != NULL ? ", to watch" : "");
	return got.pid;
}

void files_program_ended(struct files_program *fp, const char *owner, pid_t pid, int status)
{
	char how[64], name[24];

	if (WIFEXITED(status))
		snprintf(how, sizeof(how), "exited with %d", WEXITSTATUS(status));
	else
		snprintf(how, sizeof(how), "died of %s",
		    signame_format(name, sizeof(name), WTERMSIG(status)));
	log_at(status == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, "telex-files, pid %d, for %s, %s",
	    (int)pid, owner, how);
	exec_log_files_ended(fp->exec_log, owner, pid, how);
}
