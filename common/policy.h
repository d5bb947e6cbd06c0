/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: roles, and grants of roles to identities. Default deny.
 *
 * One file, read by the worker before its sandbox closes, and by `telex policy`. What is not known
 * in it, or out of range, or can never match, is a problem told with file, line and the nearest
 * right word; with any problem nothing of it is loaded. The manual of its keys is
 * telex-policy(5), an example is policy_example; how its words look, policy_text.h says.
 *
 * An identity has the roles of every grant that matches it, in the order of the file. A request is
 * allowed by the first one that allows all of it: rights of several roles are never put together
 * for one request.
 *
 * What is compared is text: argv[0], the user's name, paths. Where a role lists them they must be
 * absolute and plain, so that none has a second spelling.
 */
#ifndef TX_COMMON_POLICY_H
#define TX_COMMON_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job_spec.h"

#define POLICY_MAX_BYTES ((size_t)1 << 20)
#define POLICY_RULE_SIZE 160

struct policy;

/* Told once a problem: "policy.conf:3: unknown key 'comand'; did you mean 'command'?" */
typedef void (*policy_problem)(const char *text, void *arg);

/* TX_EINVAL after at least one problem(); TX_ENOMEM. `name` is what problems call the file. */
int policy_parse(struct policy **out, const char *text, size_t len, const char *name,
    policy_problem problem, void *arg);
/* The same for a descriptor, which stays the caller's: read by pread(2), TX_EINVAL also for what
 * cannot be read, is no regular file or too large. */
int policy_read(struct policy **out, int fd, const char *name, policy_problem problem, void *arg);
void policy_free(struct policy *p);
size_t policy_role_count(const struct policy *p);
size_t policy_grant_count(const struct policy *p);

/* What a request asks for, by what it is about; members of others are left 0. */
enum policy_act {
	POLICY_CALL = 0,  /* nothing but the method itself */
	POLICY_RUN,       /* Run, Start: a new process */
	POLICY_PROCESS,   /* something with a process or group that is there: any, signal, limits */
	POLICY_FILE_READ, /* path */
	POLICY_FILE_WRITE, /* path */
	POLICY_FILES,      /* a call about files: user, reads, writes, watches, carries */
};

struct policy_request {
	const char *identity;
	const char *method; /* "telex.v1.ProcessService/Run" */
	bool any_method;    /* whatever the method: to explain a path */
	enum policy_act act;
	/* POLICY_RUN. Its output_buffer, spool, limits and rlimits are held against the role's
	 * maxima. */
	const struct job_spec *spec;
	/* POLICY_RUN, POLICY_FILES: the default user's name where the client gave none. */
	const char *user;
	/* POLICY_PROCESS */
	bool any;   /* the process is another identity's */
	int signal; /* 0: none */
	bool kill;  /* and SIGKILL may follow it */
	bool renice;
	int nice;
	uint64_t memory, pids;
	uint32_t cpu_millis; /* new limits; 0: not changed */
	const struct job_rlimit *rlimits;
	size_t n_rlimits;
	/* POLICY_FILE_…: absolute and plain (glob.h) */
	const char *path;
	/* POLICY_FILES: absolute and plain. */
	bool default_user; /* the client named no user */
	const char *const *reads, *const *writes, *const *watches;
	size_t n_reads, n_writes, n_watches;
	/* What is at writes[0] comes to be at writes[1], too: where that may be read, it must have
	 * been allowed to be. With `exchanges` also the other way round. */
	bool carries, exchanges;
};

struct policy_decision {
	bool allowed;
	/* Which rule: "grant deployers, role deploy, command /usr/bin/systemctl"; or what came
	 * nearest to allowing it, or "no grant matches". */
	char rule[POLICY_RULE_SIZE];
	char why[256]; /* refused: a sentence a person can act on, that names the thing */
	/* POLICY_RUN, allowed: */
	uint32_t max_running; /* of the identity; 0: no limit */
	/* The command line to run instead, NULL-terminated, and as a text; NULL: the one asked for.
	 * The policy's. */
	char *const *forced_argv;
	const char *forced;
	/* What the process gets where the request asks for none; 0: none. */
	uint64_t memory, pids;
	uint32_t cpu_millis;
	int64_t run_timeout_ns;
	/* The most that an output buffer may have where the request leaves its size to the agent,
	 * in bytes; 0: no limit. */
	uint64_t max_output_buffer;
	/* The role's maxima of what the request does not set: each is to be the process's hard
	 * limit, where what it would inherit is not lower. */
	struct job_rlimit rlimits[JOB_RLIMITS_MAX];
	size_t n_rlimits;
	/* POLICY_FILES, allowed: which of policy_file_roles'. */
	uint32_t role;
};

/* Pure: no file, no clock. */
void policy_decide(
    const struct policy *p, const struct policy_request *r, struct policy_decision *out);

/* What a role lets be done with files: NULL-terminated patterns of paths, or NULL. The policy's. */
struct policy_file_role {
	const char *const *read, *const *write, *const *watch;
	uint64_t max_upload, max_upload_files; /* bytes, files; 0: no limit */
	uint64_t max_unfinished;               /* in one folder; 0: not said */
};
/* Those of an identity's roles that allow this user, in their order. How many; out[max] may be
 * fewer.
 */
size_t policy_file_roles(const struct policy *p, const char *identity, const char *user,
    struct policy_file_role *out, size_t max);

/* Whether any process at all may be acted upon by this identity with this method. */
bool policy_any_process(const struct policy *p, const char *identity, const char *method);

/* Calls a second and calls at once that the identity may make, the largest of its roles; 0: no
 * limit. */
struct policy_rates {
	uint32_t calls_per_second, concurrent_calls;
};
struct policy_rates policy_rates(const struct policy *p, const char *identity);

/* A commented file to begin with: the roles operator, read-only, deploy and sandbox, of which
 * `identity` is granted "operator". malloc'd, or NULL. */
char *policy_example(const char *identity);

#endif
