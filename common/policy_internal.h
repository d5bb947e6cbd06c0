/* SPDX-License-Identifier: Apache-2.0 */
/* A policy in memory: what policy_parse.c makes, policy_decide.c reads. Plain data, never changed
 * once it is loaded. */
#ifndef TX_COMMON_POLICY_INTERNAL_H
#define TX_COMMON_POLICY_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/policy.h"

#define POLICY_RESOURCES 32 /* more than RLIMIT_ numbers there are */

/* NULL-terminated. */
struct policy_list {
	char **items; /* NULL: none */
	size_t n;
	bool set; /* it was given, be it empty */
};

struct policy_command {
	char *path;
	struct policy_list arguments; /* not set: any */
};

struct policy_role {
	char *name;
	unsigned line;
	struct policy_list methods, users, environment, directories, read, write, watch;
	struct policy_list forced; /* the command line to run instead */
	char *forced_text;
	struct policy_command *commands;
	size_t n_commands;
	bool terminal, any_process, run_timeout_required;
	uint64_t signals;    /* bit n-1 for signal n */
	uint64_t max_memory; /* bytes; 0: no limit, and so all that begin with max_ */
	uint64_t max_pids;
	uint64_t max_cpu; /* thousandths of a processor */
	uint64_t max_output_buffer, max_spool;
	int64_t max_run_timeout_ns;
	int64_t min_nice;
	uint64_t rlimits[POLICY_RESOURCES]; /* the highest hard limit; 0: may not be set */
	uint64_t max_running, calls_per_second, concurrent_calls; /* 0: no limit */
	uint64_t max_upload, max_upload_files;                    /* bytes, files; 0: no limit */
	uint64_t max_unfinished;                                  /* in one folder; 0: not said */
};

struct policy_grant {
	char *name;
	unsigned line;
	struct policy_list identities, roles;
	size_t *role_at; /* of roles: where in the policy */
};

struct policy {
	struct policy_role *roles;
	size_t n_roles;
	struct policy_grant *grants;
	size_t n_grants;
};

/* The signals of a role that names none. */
uint64_t policy_default_signals(void);
/* The environment of a role that names none. */
extern const char *const policy_default_environment[];
/* The methods of the API, "SERVICE/METHOD", NULL-terminated: patterns that match none of them are
 * mistakes. */
extern const char *const policy_methods[];

/* Whether a path that is plain is under one of the roots: a pattern that ends with a slash and two
 * stars also takes the folder itself. */
bool policy_path_allowed(const struct policy_list *roots, const char *path);
bool policy_user_allowed(const struct policy_list *users, const char *user);
/* names of NULL-terminated patterns. A name that makes programs run other code must be there
 * literally. */
bool policy_variable_allowed(const char *const *names, const char *name);
bool policy_arguments_allowed(const struct policy_list *patterns, size_t argc, char *const *argv);
bool policy_program_allowed(const char *pattern, const char *program);

#endif
