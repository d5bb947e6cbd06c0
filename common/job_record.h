/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's table as a worker sees it: records in the sealed memfd of KM_TABLE, oldest job
 * first. */
#ifndef TX_COMMON_JOB_RECORD_H
#define TX_COMMON_JOB_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/keeper_msg.h"

enum job_usage { JOB_USAGE_NONE = 0, JOB_USAGE_PROCESS = 1, JOB_USAGE_TREE = 2 };

struct job_record {
	uint8_t state; /* enum km_state */
	uint32_t pid;
	uint32_t attached;
	int64_t start_ns;
	struct km_exit exit;           /* when ENDED */
	uint8_t disconnect;            /* enum job_disconnect */
	int64_t disconnect_wait_ns;    /* of HANGUP */
	uint8_t terminal;              /* 1: on a pty */
	uint8_t argv_cut;              /* 1: argv is not whole; its last string may be cut */
	uint64_t oldest[3], newest[3]; /* of each output, by enum km_stream; [0] unused */
	uint8_t usage;                 /* enum job_usage: what the next two count */
	uint64_t cpu_us, memory;       /* memory: bytes */
	int64_t expire_ns;             /* epoch, when ENDED; 0: not known */
	const char *id, *owner, *user; /* user: "" for the agent's own */
	const char *group;             /* "" for none */
	size_t argc;
	const char *const *argv; /* NUL-terminated strings, argc of them */
};

#define JOB_RECORDS_MAX ((size_t)64 << 20) /* bytes of a table */
#define JOB_RECORD_ARGV ((size_t)4096)     /* bytes of argv in a list of many */

/*
 * The keeper: appends records to a growing buffer, then seals it into a memfd (the caller's to
 * close). TX_ENOMEM, or TX_ETOOBIG above JOB_RECORDS_MAX: that record was not added, the others are
 * kept.
 */
struct job_records;
struct job_records *job_records_new(void); /* NULL: no memory */
int job_records_add(struct job_records *rs, const struct job_record *r);
int job_records_seal(
    struct job_records *rs, int *memfd, uint32_t *count, uint64_t *bytes, struct err *e);
void job_records_free(struct job_records *rs);

/*
 * The worker: calls each() for every record in order; its strings live during the call. TX_EPROTO:
 * not records; each() was not called, or for those before the broken one.
 */
int job_records_read(int memfd, uint64_t bytes, uint32_t count,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct err *e);

/* The pure part of job_records_read, for tests and fuzzing. */
int job_records_parse(const uint8_t *data, size_t len, uint32_t count,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct err *e);

#endif
