/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/worker_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/empty_network.h"
#include "agent/keeper/job.h"
#include "agent/keeper/kit_files.h"
#include "agent/keeper/revocations.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/user.h"
#include "common/ceiling.h"
#include "common/keeper_msg.h"
#include "common/log.h"
#include "common/memfile.h"

struct worker_kit {
	struct config *config;
	struct listeners *listeners;
	char *path;
	int null_fd;
	int program_fd;
	int ceiling_fd; /* packed, sealed */
	struct kit_files files;
	int network_fd; /* without networks; -1: there is none */
	bool change_user;
	uid_t uid;
	gid_t gid;
	char **environment;
	char default_user[KM_USER_SIZE];
	int64_t start_ns;
	uint32_t can;
};

/* ---- making one ---- */

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

char **worker_kit_environment(const char *extra)
{
	size_t n = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (env == NULL)
		return NULL;
	n = 0;
	for (size_t i = 0; environ[i] != NULL; i++)
		if (may_see(environ[i]))
			env[n++] = environ[i];
	if (extra != NULL)
		env[n] = (char *)(uintptr_t)extra;
	return env;
}

int worker_kit_user(const struct config *c, bool *change, uid_t *uid, gid_t *gid, struct err *e)
{
	const char *name = c->worker_user;

	*change = geteuid() == 0;
	if (!*change)
		return 0;
	if (name == NULL && user_ids("telex", uid, gid, NULL) != 0)
		*uid = *gid = 65534;
	if (name != NULL && user_ids(name, uid, gid, e) != 0)
		return err_wrap(e, "worker_user");
	if (*uid == 0)
		return err_set(e, TX_EINVAL, "worker_user: workers may not run as root");
	return 0;
}

/* The user of a process when its client names none: the keeper's own. */
static int find_default_user(struct worker_kit *kit, struct err *e)
{
	struct user *own = NULL;
	int rc = user_lookup(&own, NULL, e);

	if (rc == 0)
		snprintf(kit->default_user, sizeof(kit->default_user), "%s", own->name);
	user_free(own);
	return rc;
}

static int seal_ceiling(struct worker_kit *kit, struct err *e)
{
	uint8_t *data = NULL;
	size_t len = 0;
	int rc = ceiling_pack(&kit->config->ceiling, &data, &len, e);

	if (rc == 0)
		rc = memfile_freeze("ceiling", data, len, &kit->ceiling_fd, e);
	free(data);
	return rc;
}

/* One for all kits of this process: to make one takes the kernel a while. */
static void take_network(struct worker_kit *kit)
{
	static int network = -1;
	static bool tried;
	struct err e;

	if (!kit->change_user)
		return;
	if (!tried && empty_network_new(&network, &e) != 0)
		log_info("workers keep the host's network: %s", e.message);
	tried = true;
	if (network >= 0)
		kit->network_fd = fcntl(network, F_DUPFD_CLOEXEC, 0);
	if (kit->network_fd >= 0)
		kit->can |= KM_CAN_EMPTY_NETWORK;
}

int worker_kit_new(struct worker_kit **out, const char *path, struct config *c,
    struct listeners *ls, int64_t start_ns, uint32_t can, struct err *e)
{
	struct worker_kit *kit = calloc(1, sizeof(*kit));
	int rc;

	if (kit == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	kit->config = config_ref(c);
	kit->listeners = listeners_ref(ls);
	kit->start_ns = start_ns;
	kit->can = can;
	kit->ceiling_fd = kit->network_fd = -1;
	kit->files = KIT_FILES_NONE;
	kit->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* By descriptor: the worker's user need not be able to reach the folder that it lies in. */
	kit->program_fd = open(path, O_PATH | O_CLOEXEC);
	if (kit->null_fd < 0 || kit->program_fd < 0)
		rc = err_sys(e, errno, "%s", kit->null_fd < 0 ? "/dev/null" : path);
	else
		rc = worker_kit_user(c, &kit->change_user, &kit->uid, &kit->gid, e);
	if (rc == 0)
		rc = find_default_user(kit, e);
	if (rc == 0)
		rc = seal_ceiling(kit, e);
	if (rc == 0)
		rc = kit_files_read(&kit->files, c, e);
	if (rc == 0)
		take_network(kit);
	kit->path = strdup(path);
	kit->environment = worker_kit_environment(NULL);
	if (rc == 0 && (kit->path == NULL || kit->environment == NULL))
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		*out = kit;
	else
		worker_kit_free(kit);
	return rc;
}

void worker_kit_free(struct worker_kit *kit)
{
	if (kit == NULL)
		return;
	if (kit->null_fd >= 0)
		close(kit->null_fd);
	if (kit->program_fd >= 0)
		close(kit->program_fd);
	if (kit->ceiling_fd >= 0)
		close(kit->ceiling_fd);
	if (kit->network_fd >= 0)
		close(kit->network_fd);
	kit_files_close(&kit->files);
	config_unref(kit->config);
	listeners_unref(kit->listeners);
	free(kit->path);
	free(kit->environment);
	free(kit);
}

static int duplicate(int *to, int fd, struct err *e)
{
	*to = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 && *to < 0 ? err_sys(e, errno, "cannot duplicate a descriptor") : 0;
}

int worker_kit_renewed(struct worker_kit **out, const struct worker_kit *of, struct err *e)
{
	struct worker_kit *kit = calloc(1, sizeof(*kit));
	int rc;

	if (kit == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	*kit = *of;
	kit->config = config_ref(of->config);
	kit->listeners = listeners_ref(of->listeners);
	kit->null_fd = kit->program_fd = kit->ceiling_fd = kit->network_fd = -1;
	kit->files = KIT_FILES_NONE;
	kit->path = strdup(of->path);
	kit->environment = worker_kit_environment(NULL);
	rc = kit->path == NULL || kit->environment == NULL
	         ? err_set(e, TX_ENOMEM, "out of memory")
	         : duplicate(&kit->null_fd, of->null_fd, e);
	if (rc == 0)
		rc = duplicate(&kit->program_fd, of->program_fd, e);
	if (rc == 0)
		rc = duplicate(&kit->ceiling_fd, of->ceiling_fd, e);
	if (rc == 0)
		rc = duplicate(&kit->network_fd, of->network_fd, e);
	if (rc == 0)
		rc = kit_files_renew(&kit->files, &of->files, kit->config, e);
	if (rc == 0)
		*out = kit;
	else
		worker_kit_free(kit);
	return rc;
}

int worker_kit_reread(struct worker_kit *kit, struct err *e)
{
	struct kit_files now;
	int rc = kit_files_read(&now, kit->config, e);

	if (rc != 0)
		return rc;
	kit_files_close(&kit->files);
	kit->files = now;
	return 0;
}

const struct config *worker_kit_config(const struct worker_kit *kit)
{
	return kit->config;
}

int worker_kit_certificate(const struct worker_kit *kit)
{
	return kit->files.certificate;
}

struct listeners *worker_kit_listeners(const struct worker_kit *kit)
{
	return kit->listeners;
}

/* ---- using it ---- */

int worker_kit_spawn(const struct worker_kit *kit, int fd, pid_t *pid, struct err *e)
{
	char *argv[] = {(char[]){"telex-worker"}, NULL};
	struct spawn_plan plan = {
	    .file = kit->path,
	    .file_fd = kit->program_fd,
	    .argv = argv,
	    .envp = kit->environment,
	    .fds = {kit->null_fd, STDERR_FILENO, STDERR_FILENO, fd},
	    .n_fds = 4,
	    .cwd = "/",
	    .umask = 022,
	    .no_capabilities = true,
	    .network = kit->network_fd >= 0,
	    .network_fd = kit->network_fd,
	    .change_user = kit->change_user,
	    .uid = kit->uid,
	    .gid = kit->gid,
	};
	struct spawn_result got;
	struct spawn_failure why;

	if (spawn_run(&plan, &got, &why) != 0)
		return err_set(e, TX_ESYS, "%s", why.text);
	if (got.pidfd >= 0)
		close(got.pidfd);
	*pid = got.pid;
	return 0;
}

static int send_config(
    const struct worker_kit *kit, struct km_chan *chan, const struct worker_own *own)
{
	const struct config *c = kit->config;
	struct km_config m = {
	    .keeper_start_ns = kit->start_ns,
	    .can = kit->can,
	    .output_buffer = c->output_buffer,
	    .max_output_buffer = c->max_output_buffer,
	    .max_spool = c->max_spool,
	    .workers = c->workers,
	    .index = own->index,
	    .max_processes = c->max_processes,
	    .max_ended = JOB_KEEP_COUNT,
	    .max_connections = c->max_connections,
	    .uid = kit->uid,
	    .gid = kit->gid,
	    .drop = kit->change_user,
	    .log_level = (uint8_t)c->log_level,
	    .log_json = c->log_json,
	    .listeners = (uint8_t)kit->listeners->n,
	    .max_connections_per_source = c->max_connections_per_source,
	    .first_call_ns = c->first_call_ns,
	    .revocations_max_age_ns = c->revocations_max_age_ns,
	    .audit_writer = own->audit_writer,
	    .audit_fsync = c->audit_fsync,
	    .audit_syslog = c->audit_syslog,
	    .audit_full = (uint8_t)c->audit_full,
	    .revocations_stale = (uint8_t)c->revocations_stale,
	    .audit_interval_ns = c->audit_failures_interval_ns,
	    .audit_per_source = c->audit_failures_per_source,
	    .audit_total = c->audit_failures,
	    .enroll_attempts = c->authority.attempts_per_minute,
	};
	const int fds[3] = {kit->files.certificate, kit->files.key, kit->files.ca};

	memcpy(m.audit_begun, own->audit_begun, sizeof(m.audit_begun));
	memcpy(m.default_user, kit->default_user, sizeof(m.default_user));
	if (c->trusted_proxy != NULL)
		snprintf(m.trusted_proxy, sizeof(m.trusted_proxy), "%s", c->trusted_proxy);
	return km_send(chan, KM_CONFIG, 0, &m, fds, 3);
}

static int send_policy(const struct worker_kit *kit, struct km_chan *chan)
{
	const char *path = kit->config->policy;
	const size_t len = strlen(path);
	struct km_file m = {.kind = KM_FILE_POLICY};

	/* Of one that is too long the end says most. */
	snprintf(m.name, sizeof(m.name), "%s",
	    len < sizeof(m.name) ? path : path + len - (sizeof(m.name) - 1));
	return kit->files.policy < 0 ? 0 : km_send(chan, KM_FILE, 0, &m, &kit->files.policy, 1);
}

/* As it is now: who starts later than the others must not know of fewer. */
static int send_revocations(const struct worker_kit *kit, struct km_chan *chan, struct err *e)
{
	struct km_file m = {.kind = KM_FILE_REVOCATIONS};
	int fd = -1;
	int rc = revocations_open(&fd, kit->config, e);

	if (rc == 0 && fd >= 0)
		rc = km_send(chan, KM_FILE, 0, &m, &fd, 1);
	if (fd >= 0)
		close(fd);
	return rc;
}

int worker_kit_send(
    const struct worker_kit *kit, struct km_chan *chan, const struct worker_own *own, struct err *e)
{
	struct km_file audit = {.kind = KM_FILE_AUDIT};
	struct km_go go = {0};
	int rc;

	*e = (struct err){0};
	rc = send_config(kit, chan, own);
	if (rc == 0) {
		struct km_file m = {.kind = KM_FILE_CEILING};

		rc = km_send(chan, KM_FILE, 0, &m, &kit->ceiling_fd, 1);
	}
	if (rc == 0)
		rc = send_policy(kit, chan);
	if (rc == 0)
		rc = send_revocations(kit, chan, e);
	if (rc == 0)
		rc = km_send(chan, KM_FILE, 0, &audit, &own->audit_fd, 1);
	for (size_t i = 0; i < kit->listeners->n && rc == 0; i++) {
		const struct listener *l = &kit->listeners->list[i];
		struct km_listen m = {0};

		m.kind = (uint32_t)l->kind;
		memcpy(m.address, l->address, sizeof(m.address));
		rc = km_send(chan, KM_LISTEN, 0, &m, &l->fd, 1);
	}
	if (rc == 0)
		rc = km_send(chan, KM_GO, 0, &go, NULL, 0);
	/* One that is dead already is told of when it is reaped: how it died says more. */
	if (rc == TX_ECLOSED)
		rc = 0;
	if (rc == 0)
		km_chan_set_state(chan, KM_LINK_CONFIGURED);
	else if (e->code == 0)
		err_set(e, rc, "cannot send the configuration");
	return rc;
}
