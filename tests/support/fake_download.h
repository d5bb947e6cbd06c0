/* SPDX-License-Identifier: Apache-2.0 */
/* A fake agent's Read: of a file whose bytes are the pattern (fake_pattern). */
#ifndef TX_TESTS_FAKE_DOWNLOAD_H
#define TX_TESTS_FAKE_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc.h"

struct fake_download {
	uint64_t size;
	int64_t modified; /* its state */
	bool no_begin;    /* as an agent of another day */
	bool wrong_sum;
	bool ignores_length; /* all of the file comes */
	bool holds_end;      /* all bytes, and no more for now */
	uint64_t fail_at;    /* HELPER_DIED when so much was sent, once; 0: not */
	unsigned reads;      /* calls */
	uint64_t resumed_at; /* of the last */
};

extern const struct rpc_method fake_downloads[];
extern const size_t n_fake_downloads;

#endif
