/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of a record's line, which audit.c writes and audit_scan.c reads for audit_verify.c;
 * and the writer. Nobody else includes it.
 *
 *   {"writer":W,"seq":N,"time":"…","event":"…", members ,"prev":"64 hex","hash":"64 hex"}\n
 *
 * Inside a text each quote has a backslash before it: what stands here with its quotes is found in
 * no text. */
#ifndef TX_COMMON_AUDIT_INTERNAL_H
#define TX_COMMON_AUDIT_INTERNAL_H

#include "common/audit.h"

#define AUDIT_HEX  (2 * AUDIT_HASH_SIZE)
#define LINE_HEAD  "{\"writer\":"
#define LINE_SEQ   ",\"seq\":"
#define LINE_TIME  ",\"time\":\""
#define LINE_EVENT "\",\"event\":\""
#define LINE_PREV  ",\"prev\":\""
#define LINE_HASH  "\",\"hash\":\""
#define LINE_END   "\"}\n"
#define LINE_CUT   ",\"cut\":true"
#define LINE_AFTER ",\"after\":\"" /* AUDIT_HEX digits and a quote follow */
/* From `prev` on. */
#define LINE_TAIL_SIZE                                                                             \
	(sizeof(LINE_PREV) - 1 + AUDIT_HEX + sizeof(LINE_HASH) - 1 + AUDIT_HEX +                   \
	    sizeof(LINE_END) - 1)

/* A line that was read; all pointers into it. */
struct audit_line {
	const char *text;
	size_t len;    /* without the newline */
	size_t hashed; /* so much of it the hash is of */
	uint64_t writer, seq;
	const char *event;
	size_t event_len;
	const char *prev, *hash; /* AUDIT_HEX digits each */
};

/* Whether the line has the layout, to the last byte but the members; then *l is filled. */
bool audit_scan(struct audit_line *l, const char *text, size_t len);
/* The head alone, of a piece of a line; false: it has less, or it is none. */
bool audit_scan_head(struct audit_line *l, const char *text, size_t len);
/* Whether its hash is that of its text. */
bool audit_scan_whole(const struct audit_line *l);
bool audit_scan_is(const struct audit_line *l, const char *event);
/* A member that is a number; false: it has none. */
bool audit_scan_number(const struct audit_line *l, const char *key, uint64_t *out);
/* A member of AUDIT_HEX digits; NULL: it has none. */
const char *audit_scan_hash(const struct audit_line *l, const char *key);

/* ---- the writer: audit.c (files and chains) and audit_put.c (a record's text) ---- */

struct audit {
	int fd;
	int syslog; /* -1: not asked for, or not there */
	int head;   /* the note of the end; -1: none */
	struct audit_options o;
	uint64_t seq;
	uint8_t hash[AUDIT_HASH_SIZE]; /* of the last record */
	uint64_t lost, untold;         /* in all; since the last record */
	bool begun;                    /* "begin" is in the file */
	bool finished;
	bool cut, refused; /* of this record: texts were cut; "begin" could not be written */
	bool in_list, first_item;
	bool hold_sync;
	bool trouble;   /* the last write failed: it is logged once */
	int64_t second; /* that `when` is of */
	char when[24];  /* "2026-01-31T12:00:00" */
	size_t used;
	char line[AUDIT_RECORD_MAX];
};

/* The next record's line, up to its event. */
void audit_put_head(struct audit *a, const char *event);
/* Returns where it ends. */
char *audit_put_hex(char *out, const uint8_t *bytes, size_t len);

#endif
