/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/ca_proc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/spawn.h"
#include "agent/keeper/worker_kit.h"
#include "common/ca_control.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signame.h"

/* Before it is started again: doubled each time, and small again once it has answered so long. */
#define PAUSE_FIRST_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS   (10 * NS_PER_S)
#define STEADY_NS      (10 * NS_PER_S)

struct ca_proc {
	struct event_base *base;
	const char *path;
	const struct ca_proc_ops *ops;
	void *arg;
	char **environment;
	struct config *config; /* NULL: none, or for good */
	pid_t pid;             /* 0: none */
	int link;              /* -1: none */
	struct event *readable, *again;
	bool ready;
	int64_t ready_at, pause_ns;
};

static bool wanted(const struct ca_proc *ca)
{
	return ca->config != NULL && ca->config->authority.given;
}

static void drop_link(struct ca_proc *ca)
{
	ca->ready = false;
	if (ca->readable != NULL)
		event_free(ca->readable);
	ca->readable = NULL;
	if (ca->link >= 0)
		close(ca->link);
	ca->link = -1;
}

static void plan_start(struct ca_proc *ca)
{
	struct timeval tv;

	if (ca->ready_at != 0 && clock_monotonic_ns() - ca->ready_at > STEADY_NS)
		ca->pause_ns = 0;
	ca->ready_at = 0;
	ca->pause_ns = ca->pause_ns == 0 ? PAUSE_FIRST_NS : ca->pause_ns * 2;
	if (ca->pause_ns > PAUSE_MAX_NS)
		ca->pause_ns = PAUSE_MAX_NS;
	tv = duration_timeval(ca->pause_ns);
	if (event_add(ca->again, &tv) != 0)
		log_error("no memory for a timer: the authority's process is not started again");
}

/* ---- the link ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ca_proc *ca = arg;
	struct ca_control m;
	int got = -1;
	int rc = ca_control_receive(fd, &m, &got);

	(void)what;
	if (rc == TX_EAGAIN)
		return;
	if (got >= 0)
		close(got);
	if (rc == 0 && m.type == CA_READY && !ca->ready) {
		ca->ready = true;
		ca->ready_at = clock_monotonic_ns();
		log_info("the authority in %s answers: pid %d", ca->config->authority.directory,
		    (int)ca->pid);
		ca->ops->up(ca->arg);
	} else if (rc == 0 && m.type == CA_FAILED) {
		log_error("the authority in %s cannot be used: %s", ca->config->authority.directory,
		    m.text);
	} else {
		/* Its end, as a rule; else it is at its end by this. */
		if (rc != TX_ECLOSED) {
			log_error("the authority's process says what it may not");
			if (ca->pid > 0)
				(void)kill(ca->pid, SIGKILL);
		}
		drop_link(ca);
	}
}

static int send_setup(struct ca_proc *ca, struct err *e)
{
	const struct config *c = ca->config;
	const char *file = c->authority.passphrase_file;
	struct ca_control m = {
	    .type = CA_SETUP,
	    .log_level = (uint8_t)c->log_level,
	    .log_json = c->log_json,
	    .audit_fsync = c->audit_fsync,
	    .audit_syslog = c->audit_syslog,
	    .audit_drop = c->audit_full == KM_AUDIT_DROP,
	    .audit_per_source = c->audit_failures_per_source,
	    .audit_total = c->audit_failures,
	    .audit_interval_ns = c->audit_failures_interval_ns,
	};
	int fd = -1, rc;

	if (file != NULL) {
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd < 0)
			return err_sys(e, errno, "passphrase_file %s", file);
	}
	rc = ca_control_send(ca->link, &m, fd);
	if (fd >= 0)
		close(fd);
	/* One that is dead already is told of when it is reaped. */
	return rc == 0 || rc == TX_ECLOSED ? 0 : err_set(e, rc, "cannot set it up");
}

/* ---- the process ---- */

static int spawn(struct ca_proc *ca, int fd, struct err *e)
{
	const char *directory = ca->config->authority.directory;
	char *argv[] = {(char[]){"telex-ca"}, NULL};
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int file_fd = open(ca->path, O_PATH | O_CLOEXEC);
	struct spawn_plan plan = {.file = ca->path,
	    .file_fd = file_fd,
	    .argv = argv,
	    .envp = ca->environment,
	    .fds = {null_fd, STDERR_FILENO, STDERR_FILENO, fd},
	    .n_fds = 4,
	    .cwd = directory,
	    .umask = 077};
	struct spawn_result got;
	struct spawn_failure why;
	struct stat st;
	int rc = 0;

	if (null_fd < 0 || file_fd < 0)
		rc = err_sys(e, errno, "%s", null_fd < 0 ? "/dev/null" : ca->path);
	else if (stat(directory, &st) != 0)
		rc = err_sys(e, errno, "%s", directory);
	if (rc == 0) {
		plan.change_user = geteuid() == 0 && st.st_uid != 0;
		plan.uid = st.st_uid;
		plan.gid = st.st_gid;
		if (spawn_run(&plan, &got, &why) != 0)
			rc = err_set(e, TX_ESYS, "%s", why.text);
	}
	if (rc == 0) {
		ca->pid = got.pid;
		if (got.pidfd >= 0)
			close(got.pidfd);
	}
	if (null_fd >= 0)
		close(null_fd);
	if (file_fd >= 0)
		close(file_fd);
	return rc;
}

static int start(struct ca_proc *ca, struct err *e)
{
	int pair[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(e, errno, "cannot make a socket pair");
	ca->link = pair[0];
	ca->readable = event_new(ca->base, ca->link, EV_READ | EV_PERSIST, on_readable, ca);
	if (ca->readable == NULL || event_add(ca->readable, NULL) != 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	else
		rc = spawn(ca, pair[1], e);
	close(pair[1]);
	if (rc == 0)
		rc = send_setup(ca, e);
	if (rc != 0)
		drop_link(ca);
	return rc;
}

static void start_or_plan(struct ca_proc *ca)
{
	struct err e = {0};

	if (start(ca, &e) == 0)
		return;
	log_error("the authority's process cannot be started: %s", e.message);
	if (ca->pid == 0)
		plan_start(ca); /* else when it is reaped */
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct ca_proc *ca = arg;

	(void)fd;
	(void)what;
	if (wanted(ca) && ca->pid == 0)
		start_or_plan(ca);
}

bool ca_proc_reaped(struct ca_proc *ca, pid_t pid, int status)
{
	char name[24];

	if (ca->pid != pid)
		return false;
	if (WIFEXITED(status))
		log_at(wanted(ca) ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
		    "the authority's process, pid %d, exited with %d", (int)pid,
		    WEXITSTATUS(status));
	else
		log_warn("the authority's process, pid %d, died of %s", (int)pid,
		    signame_format(name, sizeof(name), WTERMSIG(status)));
	ca->pid = 0;
	/* What it had to say, before its end. */
	if (ca->link >= 0)
		on_readable(ca->link, EV_READ, ca);
	drop_link(ca);
	if (wanted(ca))
		plan_start(ca);
	return true;
}

/* ---- its life ---- */

int ca_proc_new(struct ca_proc **out, struct event_base *base, const char *path,
    const struct ca_proc_ops *ops, void *arg, struct err *e)
{
	struct ca_proc *ca = calloc(1, sizeof(*ca));

	if (ca == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	ca->base = base;
	ca->path = path;
	ca->ops = ops;
	ca->arg = arg;
	ca->link = -1;
	ca->environment = worker_kit_environment(NULL);
	ca->again = evtimer_new(base, on_again, ca);
	if (ca->environment == NULL || ca->again == NULL) {
		ca_proc_free(ca);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = ca;
	return 0;
}

static void reap_now(struct ca_proc *ca)
{
	/* Ours until it is reaped: the number cannot be another's. */
	if (ca->pid > 0)
		(void)kill(ca->pid, SIGKILL);
	while (ca->pid > 0 && waitpid(ca->pid, NULL, 0) < 0 && errno == EINTR)
		;
	ca->pid = 0;
}

void ca_proc_free(struct ca_proc *ca)
{
	if (ca == NULL)
		return;
	drop_link(ca);
	reap_now(ca);
	if (ca->again != NULL)
		event_free(ca->again);
	free(ca->environment);
	config_unref(ca->config);
	free(ca);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_settings(const struct config *a, const struct config *b)
{
	return a != NULL && a->authority.given == b->authority.given &&
	       same_text(a->authority.directory, b->authority.directory) &&
	       same_text(a->authority.passphrase_file, b->authority.passphrase_file) &&
	       a->log_level == b->log_level && a->log_json == b->log_json &&
	       a->audit_fsync == b->audit_fsync && a->audit_syslog == b->audit_syslog &&
	       a->audit_full == b->audit_full &&
	       a->audit_failures_per_source == b->audit_failures_per_source &&
	       a->audit_failures == b->audit_failures &&
	       a->audit_failures_interval_ns == b->audit_failures_interval_ns;
}

void ca_proc_set(struct ca_proc *ca, struct config *c)
{
	bool same = same_settings(ca->config, c);
	struct config *old = ca->config;

	ca->config = config_ref(c);
	config_unref(old);
	if (same && ca->ready)
		return;
	/* One that is being started again and again may come to answer now: at once. */
	event_del(ca->again);
	ca->pause_ns = 0;
	drop_link(ca);
	/* It holds nothing that anybody would miss. */
	reap_now(ca);
	if (wanted(ca))
		start_or_plan(ca);
}

void ca_proc_end(struct ca_proc *ca)
{
	event_del(ca->again);
	drop_link(ca);
	config_unref(ca->config);
	ca->config = NULL;
}

int ca_proc_client(struct ca_proc *ca)
{
	struct ca_control m = {.type = CA_CLIENT};
	int pair[2];

	if (!ca->ready ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return -1;
	if (ca_control_send(ca->link, &m, pair[1]) != 0) {
		close(pair[0]);
		pair[0] = -1;
	}
	close(pair[1]);
	return pair[0];
}

pid_t ca_proc_pid(const struct ca_proc *ca)
{
	return ca->pid;
}
