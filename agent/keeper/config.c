/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is in telexd.conf: the tables of keys, the defaults, and what belongs together. The
 * file itself is read by config_read.c, a value by config_value.c.
 */
#include "agent/keeper/config.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keeper/config_internal.h"
#include "common/audit_budget.h"
#include "common/duration.h"
#include "common/nearest.h"
#include "common/ring.h"

#define SPOOL_MAX (UINT64_C(1) << 50)

/* The same number on every architecture; and the flag that asks for the version. */
#define LANDLOCK_CREATE  444
#define LANDLOCK_VERSION 1u

#define KEY(member, kind, min, max)                                                                \
	{                                                                                          \
#member, kind, offsetof(struct config, member), min, max                           \
	}
#define SPAN(name, member, min, max)                                                               \
	{                                                                                          \
		name, KIND_DURATION, offsetof(struct config, member), (uint64_t)(min),             \
		    (uint64_t)(max)                                                                \
	}

static const struct config_key top_keys[] = {
    KEY(listen, KIND_ADDRESSES, 0, KM_LISTEN_MAX),
    KEY(workers, KIND_COUNT, 0, 256),
    KEY(certificate, KIND_PATH, 0, 0),
    KEY(key, KIND_PATH, 0, 0),
    KEY(ca, KIND_PATH, 0, 0),
    KEY(state_directory, KIND_PATH, 0, 0),
    KEY(worker_user, KIND_NAME, 0, 0),
    KEY(cgroup, KIND_CGROUP, 0, 0),
    KEY(max_processes, KIND_COUNT, 1, 1000000),
    KEY(max_connections, KIND_COUNT, 1, 1000000),
    KEY(max_file_helpers, KIND_COUNT, 1, 10000),
    KEY(output_buffer, KIND_SIZE, RING_SIZE_MIN, RING_SIZE_MAX),
    KEY(max_output_buffer, KIND_SIZE, RING_SIZE_MIN, RING_SIZE_MAX),
    KEY(max_spool, KIND_SIZE, 0, SPOOL_MAX),
    KEY(max_watch_memory, KIND_SIZE, 1 << 20, (uint64_t)1 << 40),
    KEY(watch_fanotify, KIND_BOOL, 0, 0),
    SPAN("watch_linger", watch_linger_ns, 0, 24 * 3600 * NS_PER_S),
    SPAN("shutdown_grace", shutdown_grace_ns, 0, 3600 * NS_PER_S),
    SPAN("heartbeat_interval", heartbeat_ns, 10 * NS_PER_MS, 3600 * NS_PER_S),
    SPAN("hang_timeout", hang_timeout_ns, 10 * NS_PER_MS, 3600 * NS_PER_S),
    SPAN("drain_timeout", drain_timeout_ns, 0, 24 * 3600 * NS_PER_S),
    KEY(log_level, KIND_LEVEL, 0, 0),
    KEY(policy, KIND_PATH, 0, 0),
    KEY(audit_log, KIND_PATH, 0, 0),
    KEY(audit_fsync, KIND_BOOL, 0, 0),
    KEY(audit_syslog, KIND_BOOL, 0, 0),
    KEY(audit_full, KIND_FULL, 0, 0),
    KEY(audit_failures_per_source, KIND_COUNT, 1, 1000000),
    KEY(audit_failures, KIND_COUNT, 1, 1000000),
    SPAN("audit_failures_interval", audit_failures_interval_ns, NS_PER_S, 24 * 3600 * NS_PER_S),
    KEY(trusted_proxy, KIND_NAME, 0, 0),
    KEY(max_connections_per_source, KIND_COUNT, 1, 1000000),
    SPAN("first_call_timeout", first_call_ns, 100 * NS_PER_MS, 600 * NS_PER_S),
    KEY(renew_from, KIND_NAME, 0, 0),
    KEY(revocations, KIND_PATH, 0, 0),
    SPAN("revocations_interval", revocations_interval_ns, NS_PER_S, 24 * 3600 * NS_PER_S),
    SPAN("revocations_max_age", revocations_max_age_ns, 0, 365 * 24 * 3600 * NS_PER_S),
    KEY(revocations_stale, KIND_STALE, 0, 0),
    {"log_format", KIND_FORMAT, offsetof(struct config, log_json), 0, 0},
};

static const struct config_key ceiling_keys[] = {
    {"users", KIND_USERS, offsetof(struct config, ceiling.users), 0, CEILING_ENTRIES_MAX},
    {"programs", KIND_PROGRAMS, offsetof(struct config, ceiling.programs), 0, CEILING_ENTRIES_MAX},
    {"environment", KIND_VARIABLES, offsetof(struct config, ceiling.environment), 0,
        CEILING_ENTRIES_MAX},
    {"groups", KIND_USERS, offsetof(struct config, ceiling.groups), 0, CEILING_ENTRIES_MAX},
    {"root", KIND_BOOL, offsetof(struct config, ceiling.root), 0, 0},
    {"files", KIND_BOOL, offsetof(struct config, ceiling.files), 0, 0},
    {"folders", KIND_FOLDERS, offsetof(struct config, ceiling.folders), 0, CEILING_ENTRIES_MAX},
    {"any_process", KIND_BOOL, offsetof(struct config, ceiling.any_process), 0, 0},
};

static const struct config_key authority_keys[] = {
    {"listen", KIND_ADDRESSES, offsetof(struct config, authority.listen), 1, KM_LISTEN_MAX},
    {"directory", KIND_PATH, offsetof(struct config, authority.directory), 0, 0},
    {"passphrase_file", KIND_PATH, offsetof(struct config, authority.passphrase_file), 0, 0},
    {"attempts_per_minute", KIND_COUNT, offsetof(struct config, authority.attempts_per_minute), 1,
        1000000},
};

#define SECTION(name, keys)                                                                        \
	{                                                                                          \
		name, keys, sizeof(keys) / sizeof((keys)[0])                                       \
	}

const struct config_section config_sections[CONFIG_SECTIONS] = {
    SECTION("", top_keys), SECTION("ceiling", ceiling_keys), SECTION("authority", authority_keys)};

static int set_defaults(struct config *c, const char *file)
{
	c->max_processes = 10000;
	c->max_connections = 10000;
	c->max_file_helpers = 64;
	c->output_buffer = RING_SIZE_DEFAULT;
	c->max_output_buffer = (uint64_t)64 << 20;
	c->max_spool = (uint64_t)1 << 30;
	c->max_watch_memory = (uint64_t)1 << 30;
	c->watch_fanotify = true;
	c->watch_linger_ns = 600 * NS_PER_S;
	c->shutdown_grace_ns = 10 * NS_PER_S;
	c->heartbeat_ns = 2 * NS_PER_S;
	c->hang_timeout_ns = 10 * NS_PER_S;
	c->drain_timeout_ns = 30 * NS_PER_S;
	c->log_level = LOG_LEVEL_INFO;
	c->audit_failures_per_source = AUDIT_BUDGET_PER_SOURCE;
	c->audit_failures = AUDIT_BUDGET_TOTAL;
	c->audit_failures_interval_ns = AUDIT_BUDGET_INTERVAL_S * NS_PER_S;
	c->authority.attempts_per_minute = 60;
	c->first_call_ns = 10 * NS_PER_S;
	c->revocations_interval_ns = 300 * NS_PER_S;
	c->revocations_stale = KM_STALE_WARN;
	ceiling_init(&c->ceiling);
	if (config_set_string(&c->file, file) != 0 ||
	    config_set_string(&c->certificate, SYSCONFDIR "/telex/agent.pem") != 0 ||
	    config_set_string(&c->key, SYSCONFDIR "/telex/agent.key") != 0 ||
	    config_set_string(&c->ca, SYSCONFDIR "/telex/ca.pem") != 0 ||
	    config_set_string(&c->policy, SYSCONFDIR "/telex/policy.conf") != 0 ||
	    config_set_string(&c->cgroup, "auto") != 0 ||
	    config_set_string(&c->state_directory, LOCALSTATEDIR "/lib/telexd") != 0)
		return TX_ENOMEM;
	return 0;
}

static int add_everywhere(struct config *c)
{
	static const char *const everywhere[] = {"0.0.0.0:8359", "[::]:8359"};

	c->listen_default = c->n_listen == 0;
	for (size_t i = 0; i < 2 && c->listen_default; i++)
		if (config_set_string(&c->listen[i], everywhere[i]) != 0)
			return TX_ENOMEM;
	if (c->listen_default)
		c->n_listen = 2;
	return 0;
}

static void settle(struct config *c)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	/* To be closed to what is too old there must be a "too old". */
	if (c->revocations_stale == KM_STALE_FAIL_CLOSED && c->revocations_max_age_ns == 0)
		c->revocations_max_age_ns = 24 * 3600 * NS_PER_S;
	if (c->max_output_buffer < c->output_buffer)
		c->max_output_buffer = c->output_buffer;
	if (c->workers == 0)
		c->workers = cpus < 1 ? 1 : cpus > 256 ? 256 : (uint32_t)cpus;
}

/* What one key alone cannot tell. */
static int check_whole(const struct config *c, config_problem problem, void *arg)
{
	char text[512];

	if (!c->authority.given || (c->authority.directory != NULL && c->authority.n_listen > 0))
		return 0;
	snprintf(text, sizeof(text), "%s: authority: %s is missing", c->file,
	    c->authority.directory == NULL
	        ? "directory (the authority's folder, as `telex cert init --dir` made it)"
	        : "listen (where certificates are asked for, such as {\"0.0.0.0:8360\"})");
	problem(text, arg);
	return TX_EINVAL;
}

int config_load(struct config **out, const char *file, config_problem problem, void *arg)
{
	struct config *c = calloc(1, sizeof(*c));
	int rc = TX_ENOMEM;

	if (c != NULL) {
		c->refs = 1;
		rc = set_defaults(c, file);
	}
	if (rc == 0)
		rc = config_read(c, problem, arg);
	if (rc == 0)
		rc = add_everywhere(c);
	if (rc == 0)
		rc = check_whole(c, problem, arg);
	if (rc == TX_ENOMEM)
		problem("out of memory", arg);
	if (rc != 0) {
		config_unref(c);
		return rc;
	}
	settle(c);
	*out = c;
	return 0;
}

/* telex-files is held to the ceiling's folders by it, and does not serve without. */
static bool has_landlock(void)
{
	return syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION) >= 1;
}

/* What others could change, or a key that they can read. The sentence, or NULL. */
static const char *exposed(const char *key, int fd, char *out, size_t size)
{
	const bool secret = strcmp(key, "key") == 0;
	const mode_t bad = secret ? 077 : 022;
	struct stat st;

	if (strcmp(key, "certificate") == 0 || strcmp(key, "ca") == 0 || fstat(fd, &st) != 0 ||
	    !S_ISREG(st.st_mode))
		return NULL;
	if (!secret && st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(out, size,
		    "is neither root's nor the agent's own user's, who could change it (uid %u); "
		    "type: chown root",
		    (unsigned)st.st_uid);
		return out;
	}
	if ((st.st_mode & bad) == 0)
		return NULL;
	snprintf(out, size, "others may %s it (mode %04o); type: chmod %s",
	    secret ? "read or write" : "write", (unsigned)st.st_mode & 07777,
	    secret ? "600" : "go-w");
	return out;
}

static const char *unusable(const char *key, const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[200];
	const char *why;

	/* That one has been read. */
	if (fd < 0 && strcmp(key, "the file itself") == 0)
		return NULL;
	if (fd < 0) {
		snprintf(out, size, "%s: %s%s", path, strerror(errno),
		    strcmp(key, "policy") == 0 && errno == ENOENT
		        ? "; `telex policy init` writes one"
		        : "");
		return out;
	}
	why = exposed(key, fd, text, sizeof(text));
	close(fd);
	if (why == NULL)
		return NULL;
	snprintf(out, size, "%s: %s %s", path, why, path);
	return out;
}

int config_check_files(const struct config *c, config_problem problem, void *arg)
{
	const struct {
		const char *key, *path;
	} files[] = {{"the file itself", c->file}, {"certificate", c->certificate}, {"key", c->key},
	    {"ca", c->ca}, {"policy", c->policy}};
	char text[1024], problem_text[800];
	int rc = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (unusable(files[i].key, files[i].path, problem_text, sizeof(problem_text)) ==
		    NULL)
			continue;
		snprintf(text, sizeof(text), "%s: %s: %s", c->file, files[i].key, problem_text);
		problem(text, arg);
		rc = TX_EINVAL;
	}
	if (c->ceiling.files && c->ceiling.n_folders > 0 && !has_landlock()) {
		snprintf(text, sizeof(text),
		    "%s: ceiling.folders: this kernel has no Landlock, so files could not be "
		    "served; "
		    "leave it out, or say files = false",
		    c->file);
		problem(text, arg);
		rc = TX_EINVAL;
	}
	if (c->worker_user != NULL && getpwnam(c->worker_user) == NULL) {
		snprintf(text, sizeof(text), "%s: worker_user: no such user: %s", c->file,
		    c->worker_user);
		problem(text, arg);
		rc = TX_EINVAL;
	}
	return rc;
}

struct config *config_ref(struct config *c)
{
	c->refs++;
	return c;
}

void config_unref(struct config *c)
{
	if (c == NULL || --c->refs > 0)
		return;
	for (size_t i = 0; i < c->n_listen; i++)
		free(c->listen[i]);
	free(c->certificate);
	free(c->key);
	free(c->ca);
	free(c->state_directory);
	free(c->cgroup);
	free(c->worker_user);
	free(c->policy);
	free(c->audit_log);
	free(c->trusted_proxy);
	free(c->renew_from);
	free(c->revocations);
	ceiling_clear(&c->ceiling);
	for (size_t i = 0; i < c->authority.n_listen; i++)
		free(c->authority.listen[i]);
	free(c->authority.directory);
	free(c->authority.passphrase_file);
	free(c->file);
	free(c);
}
