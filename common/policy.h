/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: roles, and grants of roles to identities. Default deny.
 *
 * One file, read by the worker before its sandbox closes, and by `telex policy`. What is not known
 * in it, or out of range, is a problem told with file, line and the nearest right word; with any
 * problem nothing of it is loaded.
 *
 *     role deploy {
 *             methods = {"telex.v1.ProcessService/*", "telex.v1.SystemService/*"}
 *             command "/usr/bin/systemctl" { arguments = {"restart", "app-*"} }
 *             command "/opt/app/bin/**" {}
 *             users = {"deploy"}
 *             environment = {"LANG", "APP_*"}
 *             directories = {"/srv/app/**"}
 *             terminal = false
 *             any_process = false
 *             signals = {"TERM", "HUP", "KILL"}
 *             max_memory = 1GiB
 *             read = {"/var/log/**"}   write = {"/srv/app/**"}   watch = {"/srv/app/**"}
 *             max_running = 20
 *             calls_per_second = 100
 *     }
 *     grant deployers { identities = {"spiffe://lab.example/user/ci-*"}   roles = {"deploy"} }
 *
 * An identity has the roles of every grant that matches it. A request is allowed when one of them
 * allows all of it: rights of several roles are never put together for one request.
 */
#ifndef TX_COMMON_POLICY_H
#define TX_COMMON_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define POLICY_MAX_BYTES ((size_t)1 << 20)
#define POLICY_RULE_SIZE 160

struct policy;

/* Told once a problem: "policy.conf:3: unknown key 'comand'; did you mean 'command'?" */
typedef void (*policy_problem)(const char *text, void *arg);

/* TX_EINVAL after at least one problem(); TX_ENOMEM. `name` is what problems call the file. */
int policy_parse(struct policy **out, const char *text, size_t len, const char *name,
    policy_problem problem, void *arg);
void policy_free(struct policy *p);

/* What a request asks for, by what it is about; members of others are left 0. */
enum policy_act {
	POLICY_CALL = 0,  /* nothing but the method itself */
	POLICY_RUN,       /* Run, Start: a new process */
	POLICY_PROCESS,   /* something with a process or group that is there: any, signal, limits */
	POLICY_FILE_READ, /* path */
	POLICY_FILE_WRITE, /* path */
	POLICY_WATCH,      /* path */
};

struct job_spec;

struct policy_request {
	const char *identity;
	const char *method; /* "telex.v1.ProcessService/Run" */
	enum policy_act act;
	/* POLICY_RUN. Its user is filled in: the default user's name where the client gave none.
	 * Its output_buffer, spool, limits and rlimits are held against the role's maxima. */
	const struct job_spec *spec;
	const char *user;
	/* POLICY_PROCESS */
	bool any;   /* the process is another identity's */
	int signal; /* 0: none */
	uint64_t memory, pids;
	uint32_t cpu_millis; /* new limits; 0: not changed */
	/* POLICY_FILE_…, POLICY_WATCH: absolute and plain (glob.h) */
	const char *path;
};

struct policy_decision {
	bool allowed;
	/* Which rule: "grant deployers, role deploy, command /usr/bin/systemctl"; or what came
	 * nearest to allowing it, or "no grant matches". */
	char rule[POLICY_RULE_SIZE];
	char why[256];        /* refused: a sentence a person can act on, that names the thing */
	uint32_t max_running; /* of the identity; 0: no limit (POLICY_RUN) */
	const char *forced; /* POLICY_RUN: the command line to run instead, or NULL; the policy's */
	char *const *forced_argv;
};

/* Pure: no file, no clock. */
void policy_decide(
    const struct policy *p, const struct policy_request *r, struct policy_decision *out);

/* Whether any process at all may be acted upon by this identity with this method. */
bool policy_any_process(const struct policy *p, const char *identity, const char *method);

/* Calls a second and calls at once that the identity may make, the largest of its roles; 0: no
 * limit. */
struct policy_rates {
	uint32_t calls_per_second, concurrent_calls;
};
struct policy_rates policy_rates(const struct policy *p, const char *identity);

/* A commented file to begin with (operator, read-only, deploy, sandbox); `operator_identity` (NULL:
 * a pattern for the first user of the domain) is granted "operator". malloc'd. */
char *policy_example(const char *operator_identity);

#endif
