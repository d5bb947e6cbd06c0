/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telexd's configuration file. Every key is optional but `listen` decides who can reach the agent;
 * what is not known or out of range is a problem with its file and line, and all of them are told,
 * not just the first.
 */
#ifndef TX_KEEPER_CONFIG_H
#define TX_KEEPER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ceiling.h"
#include "common/err.h"
#include "common/keeper_msg.h"
#include "common/log.h"

/* The section authority { }: this agent's machine is a certificate authority, too. */
struct config_authority {
	bool given;
	char *directory;
	char *listen[KM_LISTEN_MAX]; /* "HOST:PORT", where certificates are asked for */
	size_t n_listen;
	char *passphrase_file;        /* of its key; NULL: it has none */
	uint32_t attempts_per_minute; /* in vain, of one source, for each worker */
};

struct config {
	unsigned refs;
	char *file;
	char *listen[KM_LISTEN_MAX]; /* "HOST:PORT" */
	size_t n_listen;
	bool listen_default; /* none was given: an address family that this machine lacks is passed
	                        over */
	uint32_t workers;    /* 1..256; 0 in the file: one a CPU */
	char *certificate, *key, *ca;
	char *state_directory;
	char *cgroup;      /* "auto", "off", or a folder (cgroups_new) */
	char *worker_user; /* NULL: "telex" where there is one, else uid 65534 */
	uint32_t max_processes;
	uint32_t max_connections;              /* a worker */
	uint32_t max_file_helpers;             /* processes of telex-files; and that watch */
	uint64_t output_buffer;                /* bytes a stream */
	uint64_t max_output_buffer, max_spool; /* what a request may ask for, a stream */
	uint64_t max_watch_memory;             /* bytes an identity, of what is known */
	bool watch_fanotify;                   /* as root: file systems as a whole */
	int64_t watch_linger_ns;               /* without connections */
	int64_t shutdown_grace_ns, heartbeat_ns, hang_timeout_ns;
	int64_t drain_timeout_ns; /* how long calls may go on with a worker that is replaced */
	enum log_level log_level;
	bool log_json;
	/* Who may do what, and what is written down of it. */
	char *policy;
	char *audit_log; /* NULL: audit.log in the state directory; the keeper's own, exec.log, is
	                    beside it */
	bool audit_fsync, audit_syslog;
	uint32_t audit_full; /* enum km_audit_full */
	/* Records of a kind about who has no certificate, in an interval: audit_budget.h. */
	uint32_t audit_failures_per_source, audit_failures;
	int64_t audit_failures_interval_ns;
	char *trusted_proxy;                 /* an identity, or NULL */
	uint32_t max_connections_per_source; /* a worker; 0: as max_connections */
	int64_t first_call_ns;               /* from accept to the first call */
	/* Certificates: where they are renewed (HOST:PORT of a CA's listener), or NULL; and which
	 * are revoked. */
	char *renew_from;
	char *revocations; /* NULL: revocations.pem in the state directory */
	int64_t revocations_interval_ns, revocations_max_age_ns;
	uint32_t revocations_stale;        /* enum km_stale */
	struct ceiling ceiling;            /* the section ceiling { } */
	struct config_authority authority; /* the section authority { } */
};

/* Told once a problem: "telexd.conf:3: unknown key 'lisen'; did you mean 'listen'?" */
typedef void (*config_problem)(const char *text, void *arg);

/* Reads `file`; *out has one reference. TX_EINVAL after at least one problem() call; TX_ENOMEM,
 * TX_ESYS (not readable) likewise. */
int config_load(struct config **out, const char *file, config_problem problem, void *arg);

/* Whether certificate, key, ca and policy can be opened, and the worker's user exists. TX_EINVAL
 * after problem(). */
int config_check_files(const struct config *c, config_problem problem, void *arg);

/* It is never changed once loaded: who reads it for longer than a call holds a reference. The last
 * config_unref frees it; NULL is allowed. */
struct config *config_ref(struct config *c);
void config_unref(struct config *c);

/* "1MiB", "64KiB", "4096" -> bytes. TX_EINVAL, TX_ETOOBIG. */
int config_parse_size(const char *text, uint64_t *bytes);

/* "HOST:PORT", "[V6]:PORT": pointers into buf[KM_TEXT_SIZE], which the split is written to.
 * TX_EINVAL. */
int config_split_address(const char *text, char *buf, const char **host, const char **port);

#endif
