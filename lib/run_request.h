/* SPDX-License-Identifier: Apache-2.0 */
/* The first message of a run, packed, so that it can be sent again: the start, or an attachment. */
#ifndef TX_LIB_RUN_REQUEST_H
#define TX_LIB_RUN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/request.h"
#include "lib/telex.h"

#define RUN_ID_SIZE REQUEST_ID_SIZE

/* A valid process_id from the command, or random bits. 0, or -1 and *error. */
int run_request_id(char out[RUN_ID_SIZE], const char *wanted, struct telex_error *error);
/* Random bits, not 0. 0, or -1 and *error. */
int run_request_key(uint64_t *out, struct telex_error *error);

/* What both have. */
struct run_request {
	const char *process_id;
	uint64_t key;         /* attachment_key */
	int64_t heartbeat_ms; /* 0: none */
};

struct run_request_attach {
	struct run_request common;
	bool stdin_pipe, lossy;
	enum telex_from from;
	uint64_t stdout_offset, stderr_offset; /* FROM_OFFSET */
};

/* *out is the caller's to free. 0, or -1 and *error. */
int run_request_start(uint8_t **out, size_t *len, const struct telex_command *command,
    const struct run_request *common, struct telex_error *error);
int run_request_attach(
    uint8_t **out, size_t *len, const struct run_request_attach *attach, struct telex_error *error);

#endif
