/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to run: the flat form in which a worker hands a ProcessSpec to the keeper, in a sealed
 * memfd.
 *
 * The packing is canonical: the same spec always gives the same bytes, so that "the same request
 * again" is a memcmp. The keeper checks every count, length and NUL before it uses any of it: a
 * worker may be hostile.
 */
#ifndef TX_COMMON_JOB_SPEC_H
#define TX_COMMON_JOB_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define JOB_SPEC_MAX                                                                               \
	((size_t)8 << 20) /* bytes, packed; the kernel's own limit on argv + env is 6 MiB at most  \
	                   */
#define JOB_STOP_GRACE_MAX_NS (INT64_C(3600) * 1000000000)
/* Ten years: clocks and sums of them do not overflow. */
#define JOB_RUN_TIMEOUT_MAX_NS (INT64_C(3650) * 86400 * 1000000000)
#define JOB_WAIT_MAX_NS        (INT64_C(30) * 86400 * 1000000000)
#define JOB_RLIMITS_MAX        16
#define JOB_STRINGS_MAX        ((size_t)700000) /* argv + env: more than the kernel takes in any case */

#define JOB_KEEP_MIN_NS     (INT64_C(1) * 1000000000)
#define JOB_KEEP_MAX_NS     (INT64_C(30) * 86400 * 1000000000)
#define JOB_KEEP_DEFAULT_NS (INT64_C(3600) * 1000000000)
#define JOB_TERMINAL_MAX    10000u /* rows, columns */
#define JOB_MEMORY_MIN      ((uint64_t)1 << 20)
#define JOB_CPU_MILLIS_MIN  10u

enum job_disconnect { JOB_DISCONNECT_HANGUP = 1, JOB_DISCONNECT_KEEP = 2, JOB_DISCONNECT_KILL = 3 };

/* What becomes of an output that nobody takes. */
enum job_output_policy { JOB_OUTPUT_BLOCK = 1, JOB_OUTPUT_DROP_OLDEST = 2 };

struct job_rlimit {
	uint32_t resource;   /* RLIMIT_… */
	uint32_t at_most;    /* 1: where what the agent has is lower, that stays */
	uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

struct job_spec {
	/* NULL-terminated arrays of argc and envc strings. env holds "NAME=VALUE", as the client
	 * gave it. */
	size_t argc, envc;
	char **argv;
	char **env;
	char *cwd;       /* absolute, or NULL */
	char *user;      /* "NAME" or "NAME:GROUP", or NULL: the agent's own */
	char *group;     /* of processes: as job_id_valid, or NULL */
	bool stdin_pipe; /* also with a terminal */
	bool terminal;   /* a pty of rows x columns (1..JOB_TERMINAL_MAX), else both 0 */
	bool clean_env;  /* nothing but env */
	bool no_new_privs;
	uint16_t rows, columns;
	uint16_t umask;            /* 0..0777 */
	int8_t nice;               /* -20..19, added to the agent's plain priority */
	uint64_t blocked, ignored; /* signals, bit n-1 for signal n; SIGKILL and SIGSTOP never */
	int64_t run_timeout_ns;    /* 0: none; to JOB_RUN_TIMEOUT_MAX_NS */
	int stop_signal;           /* 1..64 */
	int64_t stop_grace_ns;     /* 0..JOB_STOP_GRACE_MAX_NS */
	enum job_disconnect disconnect;
	int64_t disconnect_wait_ns; /* 0..JOB_WAIT_MAX_NS */
	uint64_t output_buffer;     /* bytes a stream; 0: the agent's default */
	enum job_output_policy output_policy;
	uint64_t spool;     /* bytes a stream beyond the buffer, in a file; 0: none */
	int64_t keep_ns;    /* after its end: JOB_KEEP_MIN_NS..JOB_KEEP_MAX_NS */
	uint32_t group_max; /* sets the group's maximum; 0: leaves it */
	/* Of a control group; 0: no limit. memory: bytes, at least JOB_MEMORY_MIN; cpu_millis: at
	 * least JOB_CPU_MILLIS_MIN. */
	uint32_t cpu_millis;
	uint64_t memory, pids;
	size_t n_rlimits; /* at most JOB_RLIMITS_MAX, each resource once */
	struct job_rlimit *rlimits;
	unsigned holds; /* of an opened one, beside its owner's: see job_spec_hold */
};

/* The worker: packs into a new sealed memfd, the caller's to close. TX_ETOOBIG above JOB_SPEC_MAX.
 */
int job_spec_seal(const struct job_spec *spec, int *memfd, struct err *e);

/*
 * The keeper: copies the memfd (which must carry the seals WRITE, GROW and SHRINK) into memory of
 * its own and checks it. TX_EPROTO: not a spec; TX_EINVAL: a value out of range, with a sentence.
 * memfd stays the caller's. *out is one allocation of the caller: job_spec_free.
 */
int job_spec_open(struct job_spec **out, int memfd, struct err *e);

/* The pure halves of both, for tests and fuzzing. *data and *out are the caller's: free and
 * job_spec_free. */
int job_spec_pack(const struct job_spec *spec, uint8_t **data, size_t *len, struct err *e);
int job_spec_parse(struct job_spec **out, const uint8_t *data, size_t len, struct err *e);

/* Whether both came from the same packed bytes. Only for specs from job_spec_open (job_spec_parse).
 */
bool job_spec_equal(const struct job_spec *a, const struct job_spec *b);

/* The packed bytes that one from job_spec_open (job_spec_parse) came from; they are the spec's. */
const uint8_t *job_spec_bytes(const struct job_spec *spec, size_t *len);

/* How much memory an opened one takes. */
size_t job_spec_memory(const struct job_spec *spec);
void job_spec_free(struct job_spec *spec);
/* One more job_spec_free is needed then. */
void job_spec_hold(struct job_spec *spec);

/* "nofile" -> RLIMIT_NOFILE, or -1; and back, or NULL. */
int job_rlimit_by_name(const char *name);
const char *job_rlimit_name(int resource);

/* 1..64 of [A-Za-z0-9._-], not beginning with '.' or '-'. */
bool job_id_valid(const char *id, size_t len);

#endif
