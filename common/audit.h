/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: JSON lines, appended only, each written before what it tells of is answered.
 *
 * Several processes write to one file, each its own chain: a record says who wrote it (`writer`),
 * its number in that chain (`seq`, from 1) and the SHA-256 of the writer's line before it (`prev`;
 * 64 zeros in the first one). A line is one write(2) to a descriptor opened O_APPEND, so lines
 * never mix. A writer's first record is "begin", its last one, when it ends in order, "end". The
 * keeper keeps a file of its own (exec.log: each exec, each worker's begin and end, and, by
 * KM_PONG, how far each worker's chain was), so what is cut off the end of the workers' file is
 * missed there.
 *
 * Names and texts from peers are JSON strings with every control character escaped; payloads,
 * environment values and secrets are never here.
 */
#ifndef TX_COMMON_AUDIT_H
#define TX_COMMON_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define AUDIT_HASH_SIZE 32
#define AUDIT_RECORD_MAX                                                                           \
	((size_t)64 << 10) /* a longer one has its longest texts cut, and says so */

struct audit;

struct audit_options {
	uint64_t writer;
	const char *program; /* "worker", "keeper", "ca" */
	bool fsync;          /* before audit_end returns */
	bool syslog;         /* each line there, too (LOG_AUTHPRIV) */
	bool drop;           /* a full disk: count what is dropped and go on, instead of TX_ESYS */
};

/* Takes fd (O_WRONLY|O_APPEND). Writes "begin". TX_ENOMEM, TX_ESYS. */
int audit_new(struct audit **out, int fd, const struct audit_options *o, struct err *e);
/* Writes "end" and closes. NULL is allowed. */
void audit_free(struct audit *a);

/*
 * One record: audit_begin, then members, then audit_end, which writes it. Nothing fails before
 * audit_end. `event`: "handshake", "call", "start", "signal", "exit", "file", "certificate", … as
 * in doc/AUDIT. Time, writer, seq and prev are added.
 */
void audit_begin(struct audit *a, const char *event);
void audit_text(struct audit *a, const char *key, const char *text); /* NULL: left out */
void audit_bytes(
    struct audit *a, const char *key, const void *bytes, size_t len); /* need not be UTF-8 */
void audit_number(struct audit *a, const char *key, int64_t number);
void audit_flag(struct audit *a, const char *key, bool flag);
void audit_list(struct audit *a, const char *key, char *const *texts, size_t n);
/* 0, or TX_ESYS when it could not be written: then what it tells of must not happen. With `drop` it
 * is counted instead, and the next record that can be written says how many were dropped. */
int audit_end(struct audit *a, struct err *e);

/* The end of the chain: for KM_PONG. */
uint64_t audit_seq(const struct audit *a);
void audit_hash(const struct audit *a, uint8_t out[AUDIT_HASH_SIZE]);

/* ---- reading ---- */

struct audit_finding {
	uint64_t line; /* in the file, from 1; 0: of the file as a whole */
	uint64_t writer, seq;
	const char
	    *what; /* "a record is missing", "a record was changed", "the end is cut off", … */
	char text[256]; /* the sentence */
};

struct audit_result {
	uint64_t records, writers, findings;
	uint64_t open_writers; /* whose chain has no "end": running, or killed */
	uint64_t dropped;      /* as the records say */
};

/*
 * Checks `log` and, when given, the keeper's `exec_log` against it. `found` may be NULL. 0: read
 * through, see result->findings; TX_ESYS, TX_ENOMEM.
 */
int audit_verify(FILE *log, FILE *exec_log, struct audit_result *result,
    void (*found)(const struct audit_finding *f, void *arg), void *arg, struct err *e);

#endif
