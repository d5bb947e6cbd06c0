/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: JSON lines, appended only, each written before what it tells of is answered.
 *
 * Several processes write to one file, each its own chain: a record says who wrote it (`writer`),
 * its number in that chain (`seq`, from 1), the hash of the writer's record before it (`prev`; 64
 * zeros in the first one) and its own (`hash`: SHA-256 of the line up to it, prev included). A line
 * is one write(2) to a descriptor opened O_APPEND, so lines never mix. A writer's first record is
 * "begin", its last one, when it ends in order, "end". The keeper keeps a file of its own
 * (exec.log: each exec, each worker's begin and end, and, by KM_PONG, how far each worker's chain
 * was), so what is cut off the end of the workers' file is missed there.
 *
 * Chains are tied to each other, so that none can be left out as a whole: the keeper's begin has
 * the hash of the record before it in its file, or of the file before (`after`; 64 zeros in the
 * very first), a worker's that of the keeper's worker-begin for it (`begun`). Where writers do not
 * know of each other (`shared`), every record has the hash of the line before it.
 *
 * Names and texts from peers are in escape.h's printable form, as JSON strings: no line can be
 * forged, and none harms a terminal. Payloads, environment values and secrets are never here.
 * doc/AUDIT has the line's layout and every event.
 *
 * In libtxaudit, which needs libmd: libtelex holds nothing of it.
 */
#ifndef TX_COMMON_AUDIT_H
#define TX_COMMON_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define AUDIT_HASH_SIZE 32
/* After a log's name: that of the note of its end (audit_head_open). */
#define AUDIT_HEAD_SUFFIX ".head"
/* A record with more is cut, text by text, and says so ("cut":true). */
#define AUDIT_RECORD_MAX ((size_t)64 << 10)
#define AUDIT_TEXT_MAX   ((size_t)4 << 10) /* of one text */

struct audit;

enum audit_link {
	AUDIT_LINK_NONE,
	AUDIT_LINK_AFTER, /* the record before it in the file; zeros: there is none */
	AUDIT_LINK_BEGUN, /* the keeper's record of this worker's begin */
};

struct audit_options {
	uint64_t writer;     /* less than 2^53 */
	const char *program; /* "worker", "keeper", "ca"; outlives it */
	bool fsync;          /* before audit_end returns */
	bool syslog;         /* each line there, too (LOG_AUTHPRIV) */
	bool drop;           /* a full disk: count what is dropped and go on, instead of TX_ESYS */
	const char *syslog_path; /* its socket; NULL: /dev/log */
	/* A chain that an earlier image of this process began goes on: the end of it. 0: a new one.
	 */
	uint64_t seq;
	uint8_t hash[AUDIT_HASH_SIZE];
	/* What "begin" names as before it. Without one the chain is of the older format. */
	enum audit_link link;
	uint8_t linked[AUDIT_HASH_SIZE];
	/* Several processes write whole chains to the file, one perhaps while another's is open.
	 * fd is O_RDWR. */
	bool shared;
	const char *head_path; /* the note of the file's end (audit_head_open); NULL: none */
};

/*
 * Takes fd (O_WRONLY|O_APPEND), on success. Writes "begin"; where that cannot be written it is
 * tried again before each record. Opens the syslog's socket; that it is not there is logged. From
 * then on only write(2), fdatasync(2), sendto(2) and clock_gettime(2) are used; with a note
 * pwrite(2), and where it is shared fcntl(2), fstat(2) and pread(2). A note that cannot be opened
 * is logged, and none is made. TX_ENOMEM.
 */
int audit_new(struct audit **out, int fd, const struct audit_options *o, struct err *e);
/* Writes "end", unless it is written. Nothing may be written afterwards, but the end of the chain
 * is still known. NULL is allowed. */
void audit_finish(struct audit *a);
/* The same, and closes. NULL is allowed. */
void audit_free(struct audit *a);
/* Closes without an "end": the chain goes on in another image (audit_options.seq), or another
 * process. NULL is allowed. */
void audit_leave(struct audit *a);

/*
 * One record: audit_begin, then members, then audit_end, which writes it. Nothing fails before
 * audit_end. `event`: "handshake", "call", "start", "signal", "exit", "file", "certificate", … as
 * in doc/AUDIT; events and keys are plain words of ours. Time, writer, seq, prev and hash are
 * added. `a` may be NULL everywhere: nothing is written then.
 */
void audit_begin(struct audit *a, const char *event);
void audit_text(struct audit *a, const char *key, const char *text); /* NULL: left out */
void audit_bytes(
    struct audit *a, const char *key, const void *bytes, size_t len); /* need not be UTF-8 */
void audit_number(struct audit *a, const char *key, int64_t number);
/* A time since the epoch, as "2026-01-31T12:00:00Z". */
void audit_time(struct audit *a, const char *key, int64_t ns);
void audit_flag(struct audit *a, const char *key, bool flag);
void audit_list(struct audit *a, const char *key, char *const *texts, size_t n);
/* In hexadecimal. */
void audit_hex(struct audit *a, const char *key, const void *bytes, size_t len);
/* A list's parts one by one, for those that are no array: open, any number of items, close. */
void audit_list_open(struct audit *a, const char *key);
void audit_list_item(struct audit *a, const void *bytes, size_t len);
void audit_list_close(struct audit *a);
/* 0, or TX_ESYS when it could not be written: then what it tells of must not happen. With `drop` it
 * is counted instead. The next record that can be written says how many could not ("lost"). */
int audit_end(struct audit *a, struct err *e);

/* Between true and false no record is flushed, and then all of them at once. */
void audit_hold_sync(struct audit *a, bool hold);

/* The end of the chain: for KM_PONG. */
uint64_t audit_seq(const struct audit *a);
void audit_hash(const struct audit *a, uint8_t out[AUDIT_HASH_SIZE]);
/* How many records could not be written since audit_new. */
uint64_t audit_lost(const struct audit *a);
bool audit_drops(const struct audit *a);

/* ---- the end of a file ---- */

/*
 * Which record is the last, who may append the next, and the note of it in a file of its own
 * ("exec.log.head": the hash of the last record, 64 hexadecimal digits and a newline). By the note
 * a log of which whole chains were cut off the end is told from a whole one, and a log that was
 * moved away while nobody ran is gone on from.
 *
 * Locks are of open files (fcntl(2), F_OFD_SETLK): they end with the last descriptor, however its
 * process ends.
 */

/* The hash of the last whole record in fd, which is open for reading. 1; 0: it has none, or is no
 * file; TX_ESYS, TX_ENOMEM. */
int audit_tail(int fd, uint8_t hash[AUDIT_HASH_SIZE], struct err *e);

/*
 * What the next record in fd follows: 1: its last one. But where the noted one (`head` of
 * audit_head_open; -1: none) is not in the file any more, *cut is set, and it is that one: so a
 * reader finds that something is missing behind the last one here. 0: it has none; *hash is the
 * noted one's, or as it was where nothing is noted. TX_ESYS, TX_ENOMEM.
 */
int audit_tail_noted(int fd, int head, uint8_t hash[AUDIT_HASH_SIZE], bool *cut, struct err *e);

/* A chain that has no end yet among a file's last records: its last one there. */
struct audit_open {
	uint64_t writer, seq;
	uint8_t hash[AUDIT_HASH_SIZE];
};

/* Of the last MiB of fd those chains, `max` at most. How many; TX_ESYS, TX_ENOMEM. */
int audit_tail_open(int fd, struct audit_open *out, size_t max, struct err *e);

/* The last whole record of one writer, looked for in the last 4 MiB of fd. 1: *out is filled;
 * *torn: a piece of another of its records is behind it. 0: it has none there, or that is no file;
 * TX_ESYS, TX_ENOMEM. */
int audit_tail_of(int fd, uint64_t writer, struct audit_open *out, bool *torn, struct err *e);

/* The note beside a log, made where there is none. A descriptor, or TX_ESYS. */
int audit_head_open(const char *path, struct err *e);
/* 1: *hash is filled; 0: nothing is noted. */
int audit_head_get(int fd, uint8_t hash[AUDIT_HASH_SIZE]);
/* One that cannot be written stays as it was: older, and as true. */
void audit_head_put(int fd, const uint8_t hash[AUDIT_HASH_SIZE]);

/* Waits until nobody else has it (fd is open for writing). TX_ESYS. */
int audit_lock(int fd, struct err *e);
void audit_unlock(int fd);
/* The same, without waiting. */
bool audit_lock_try(int fd);
/* Whether somebody else has it; fd may be open for reading. */
bool audit_locked(int fd);

/* ---- reading ---- */

struct audit_finding {
	const char *file; /* as audit_source.name */
	uint64_t line;    /* in it, from 1; 0: of the file as a whole */
	uint64_t writer, seq;
	/* "a record is missing", "a record was changed", "the end is cut off", … */
	const char *what;
	char text[256]; /* the sentence, printable */
};

struct audit_result {
	uint64_t records, writers, findings;
	uint64_t open_writers; /* whose chain has no "end": running, or killed */
	uint64_t older; /* chains of the format that did not tie them to others; of all files */
	bool earlier;   /* the first record here follows one in an older file */
	uint64_t lost;  /* as the records of all files say */
	uint64_t torn;  /* pieces of records that were being written when the disk was full or the
	                   writer died */
	/* Of the last whole record: to be noted elsewhere. */
	uint64_t head_writer, head_seq;
	char head[2 * AUDIT_HASH_SIZE + 1]; /* "": no record */
	bool expected;                      /* `expect` was found in it */
};

struct audit_source {
	const char *name;
	FILE *file;
	/* The note of its end, and whether its writer has it locked (audit_locked), as both were
	 * before the file was read. */
	char head[2 * AUDIT_HASH_SIZE + 1]; /* "": there is none */
	bool running;
};

struct audit_check {
	const struct audit_source *logs; /* oldest first; a chain may go on in the next */
	size_t n_logs;
	const struct audit_source *exec_logs; /* the keeper's; oldest first */
	size_t n_exec_logs;
	const char *expect; /* a hash noted before, 64 hexadecimal digits; NULL: none */
};

/*
 * Checks the logs, each exec log by itself, and the logs against the exec logs. `found` may be
 * NULL. 0: read through, see result->findings (result is of the logs; findings of all); TX_ESYS,
 * TX_ENOMEM.
 */
int audit_verify(const struct audit_check *c, struct audit_result *result,
    void (*found)(const struct audit_finding *f, void *arg), void *arg, struct err *e);

#endif
