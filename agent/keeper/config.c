/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads telexd.conf with libconfuse. To libconfuse every key is a string: the values are checked by
 * us (config_value.c), by the rows of `keys`, so that each mistake is told with its line and the
 * right word, and the reading goes on. An unknown key would end libconfuse's parse; it is told,
 * added as a dummy, and the file is parsed again.
 */
#include "agent/keeper/config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/config_internal.h"
#include "common/duration.h"
#include "common/nearest.h"
#include "common/ring.h"

#define DUMMIES_MAX 32
#define SPOOL_MAX   (UINT64_C(1) << 50)

#define KEY(member, kind, min, max)                                                                \
	{                                                                                          \
#member, kind, offsetof(struct config, member), min, max                           \
	}
#define SPAN(name, member, min, max)                                                               \
	{                                                                                          \
		name, KIND_DURATION, offsetof(struct config, member), (uint64_t)(min),             \
		    (uint64_t)(max)                                                                \
	}

static const struct config_key keys[] = {
    KEY(workers, KIND_COUNT, 0, 256),
    KEY(certificate, KIND_PATH, 0, 0),
    KEY(key, KIND_PATH, 0, 0),
    KEY(ca, KIND_PATH, 0, 0),
    KEY(state_directory, KIND_PATH, 0, 0),
    KEY(worker_user, KIND_NAME, 0, 0),
    KEY(cgroup, KIND_CGROUP, 0, 0),
    KEY(max_processes, KIND_COUNT, 1, 1000000),
    KEY(max_connections, KIND_COUNT, 1, 1000000),
    KEY(output_buffer, KIND_SIZE, RING_SIZE_MIN, RING_SIZE_MAX),
    KEY(max_output_buffer, KIND_SIZE, RING_SIZE_MIN, RING_SIZE_MAX),
    KEY(max_spool, KIND_SIZE, 0, SPOOL_MAX),
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
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

struct reader {
	struct config *c;
	config_problem problem;
	void *arg;
	unsigned n_problems;
	/* Of the last "no such option" of libconfuse. */
	char unknown[64];
	int seen_line; /* problems up to this line were told by an earlier parse */
};

static void tell(struct reader *rd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct reader *rd, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rd->n_problems++;
	rd->problem(text, rd->arg);
}

static const char *nearest_key(const char *word)
{
	const char *words[N_KEYS + 1];

	words[N_KEYS] = "listen";
	for (size_t i = 0; i < N_KEYS; i++)
		words[i] = keys[i].name;
	return nearest_word(word, words, N_KEYS + 1);
}

/* ---- libconfuse's callbacks: it passes no argument, but the cfg_t can be looked up ---- */

static struct reader *reading;

static int check_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct config_key *k = NULL;
	const char *value = cfg_opt_getstr(opt);
	const char *wrong;
	char hint[96];

	if (cfg->line <= reading->seen_line)
		return 0;
	for (size_t i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i].name, opt->name) == 0)
			k = &keys[i];
	if (k == NULL || value == NULL)
		return 0;
	wrong = config_take(reading->c, k, value);
	if (wrong == NULL)
		return 0;
	config_hint(k->kind, value, hint, sizeof(hint));
	tell(reading, "%s:%d: %s: '%s' %s%s", reading->c->file, cfg->line, k->name, value, wrong,
	    hint);
	return 0;
}

static int check_listen(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned n = cfg_opt_size(opt);
	const char *value = n > 0 ? cfg_opt_getnstr(opt, n - 1) : NULL;
	char buf[KM_TEXT_SIZE];
	const char *host, *port;

	if (cfg->line <= reading->seen_line || value == NULL)
		return 0;
	if (config_split_address(value, buf, &host, &port) != 0)
		tell(reading,
		    "%s:%d: listen: '%s' is not HOST:PORT (such as 0.0.0.0:8359 or [::]:8359)",
		    reading->c->file, cfg->line, value);
	if (n == KM_LISTEN_MAX + 1)
		tell(reading, "%s:%d: listen: more than %d addresses", reading->c->file, cfg->line,
		    KM_LISTEN_MAX);
	return 0;
}

static void parse_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void parse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '";
	char text[512];
	const char *at;
	const char *near;

	vsnprintf(text, sizeof(text), fmt, ap);
	at = strstr(text, unknown);
	if (at == NULL) {
		tell(reading, "%s:%d: %s", reading->c->file, cfg->line, text);
		return;
	}
	snprintf(reading->unknown, sizeof(reading->unknown), "%s", at + sizeof(unknown) - 1);
	reading->unknown[strcspn(reading->unknown, "'")] = '\0';
	near = nearest_key(reading->unknown);
	tell(reading,
	    near != NULL ? "%s:%d: unknown key '%s'; did you mean '%s'?"
	                 : "%s:%d: unknown key '%s'",
	    reading->c->file, cfg->line, reading->unknown, near);
	reading->seen_line = cfg->line;
}

/* ---- the whole ---- */

/* One parse with `dummies` allowed besides. 0; TX_EAGAIN: rd->unknown is another unknown key;
 * TX_EINVAL. */
static int parse_once(struct reader *rd, char *const *dummies, size_t n_dummies, cfg_t **out)
{
	cfg_opt_t opts[N_KEYS + 1 + DUMMIES_MAX + 1];
	const cfg_opt_t listen_opt = CFG_STR_LIST("listen", NULL, CFGF_NODEFAULT);
	const cfg_opt_t end = CFG_END();
	size_t n = 0;
	cfg_t *cfg;
	int rc;

	opts[n++] = listen_opt;
	for (size_t i = 0; i < N_KEYS; i++)
		opts[n++] = (cfg_opt_t)CFG_STR(keys[i].name, NULL, CFGF_NODEFAULT);
	for (size_t i = 0; i < n_dummies; i++)
		opts[n++] = (cfg_opt_t)CFG_STR_LIST(dummies[i], NULL, CFGF_NODEFAULT);
	opts[n] = end;
	cfg = cfg_init(opts, CFGF_NONE);
	if (cfg == NULL)
		return TX_ENOMEM;
	cfg_set_error_function(cfg, parse_error);
	cfg_set_validate_func(cfg, "listen", check_listen);
	for (size_t i = 0; i < N_KEYS; i++)
		cfg_set_validate_func(cfg, keys[i].name, check_value);
	rd->unknown[0] = '\0';
	rc = cfg_parse(cfg, rd->c->file);
	if (rc == CFG_SUCCESS) {
		*out = cfg;
		return 0;
	}
	if (rc == CFG_FILE_ERROR)
		tell(rd, "%s: %s", rd->c->file, strerror(errno));
	cfg_free(cfg);
	return rd->unknown[0] != '\0' ? TX_EAGAIN : TX_EINVAL;
}

static int parse(struct reader *rd, cfg_t **out)
{
	char *dummies[DUMMIES_MAX];
	size_t n = 0;
	int rc;

	do {
		rc = parse_once(rd, dummies, n, out);
		if (rc != TX_EAGAIN || n == DUMMIES_MAX)
			break;
		dummies[n] = strdup(rd->unknown);
		if (dummies[n] == NULL)
			rc = TX_ENOMEM;
		else
			n++;
	} while (rc == TX_EAGAIN);
	while (n > 0)
		free(dummies[--n]);
	return rc;
}

static int take_listen(struct config *c, cfg_t *cfg)
{
	static const char *const everywhere[] = {"0.0.0.0:8359", "[::]:8359"};
	unsigned n = cfg_size(cfg, "listen");

	c->listen_default = n == 0;
	if (n == 0)
		n = 2;
	for (unsigned i = 0; i < n && i < KM_LISTEN_MAX; i++) {
		c->listen[i] =
		    strdup(c->listen_default ? everywhere[i] : cfg_getnstr(cfg, "listen", i));
		if (c->listen[i] == NULL)
			return TX_ENOMEM;
		c->n_listen = i + 1;
	}
	return 0;
}

static int set_defaults(struct config *c, const char *file)
{
	c->max_processes = 10000;
	c->max_connections = 10000;
	c->output_buffer = RING_SIZE_DEFAULT;
	c->max_output_buffer = (uint64_t)64 << 20;
	c->max_spool = (uint64_t)1 << 30;
	c->shutdown_grace_ns = 10 * NS_PER_S;
	c->heartbeat_ns = 2 * NS_PER_S;
	c->hang_timeout_ns = 10 * NS_PER_S;
	c->drain_timeout_ns = 30 * NS_PER_S;
	c->log_level = LOG_LEVEL_INFO;
	c->first_call_ns = 10 * NS_PER_S;
	c->revocations_interval_ns = 300 * NS_PER_S;
	c->revocations_stale = KM_STALE_WARN;
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

int config_load(struct config **out, const char *file, config_problem problem, void *arg)
{
	struct reader rd = {.problem = problem, .arg = arg};
	struct config *c = calloc(1, sizeof(*c));
	cfg_t *cfg = NULL;
	int rc = TX_ENOMEM;

	if (c == NULL)
		goto out;
	c->refs = 1;
	if (set_defaults(c, file) != 0)
		goto out;
	rd.c = c;
	reading = &rd;
	rc = parse(&rd, &cfg);
	reading = NULL;
	if (rc == 0)
		rc = take_listen(c, cfg);
	if (rd.n_problems > 0)
		rc = TX_EINVAL;
	if (c->max_output_buffer < c->output_buffer)
		c->max_output_buffer = c->output_buffer;
	if (c->workers == 0) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);

		c->workers = cpus < 1 ? 1 : cpus > 256 ? 256 : (uint32_t)cpus;
	}
out:
	if (cfg != NULL)
		cfg_free(cfg);
	if (rc == TX_ENOMEM)
		problem("out of memory", arg);
	if (rc == 0)
		*out = c;
	else
		config_unref(c);
	return rc;
}

int config_check_files(const struct config *c, config_problem problem, void *arg)
{
	const struct {
		const char *key, *path;
	} files[] = {{"certificate", c->certificate}, {"key", c->key}, {"ca", c->ca}};
	char text[1024];
	int rc = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = open(files[i].path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

		if (fd >= 0) {
			close(fd);
			continue;
		}
		snprintf(text, sizeof(text), "%s: %s: %s: %s", c->file, files[i].key, files[i].path,
		    strerror(errno));
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
	free(c->file);
	free(c);
}
