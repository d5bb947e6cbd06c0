/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake agent's FileService for uploads: one file in the making, of which only its length is kept,
 * as its bytes must be the pattern (fake_pattern). What befalls it is said before.
 */
#ifndef TX_TESTS_FAKE_UPLOAD_H
#define TX_TESTS_FAKE_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/digest.h"
#include "common/rpc.h"

struct fake_upload {
	/* What is to happen. */
	uint64_t cut_at;     /* the connection is lost when so much is there; 0: not */
	uint64_t lose;       /* then, so much of that is not: it was on the way */
	bool cut_before_end; /* when the end comes, and nothing is done */
	bool cut_after_end;  /* when all is done, and nothing said */
	unsigned busy;       /* so many calls are refused with `reason` at their begin */
	uint64_t fail_at;    /* a call ends with `reason` when so much is there; 0: not */
	const char *reason;
	int code;
	bool holds; /* no credit is given */
	bool denies_checksum;
	bool lies; /* about what was written */
	/* What did. */
	bool there; /* an upload is, of `length` */
	uint64_t length;
	uint64_t written; /* length of the file that took its place; 0: none */
	uint8_t sha256[DIGEST_SIZE];
	unsigned begins, asks, checks;
	bool append, never, abandoned, wrong; /* wrong: not the pattern, or not in order */
	uint32_t mode;
	int64_t seconds;
	int32_t nanos;
	struct rpc_call *held; /* that has the credit */
	size_t owed;
};

extern const struct rpc_method fake_uploads[];
extern const size_t n_fake_uploads;

/* Gives what was held, and holds no more. */
void fake_upload_release(struct fake_upload *u);

#endif
