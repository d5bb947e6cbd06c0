/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's state of an upgrade, as the new image checks it. Behind a first byte 1 it is the
 * memory's bytes as they are; else a version, a number of descriptors and each of them, all of one
 * byte, and records, each of a tag of one byte and a part: the rest is made right.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/listener.h"
#include "agent/keeper/state.h"
#include "agent/keeper/state_io.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "tests/fuzz/fuzz.h"

#define HEAD_SIZE   40
#define AT_CHECKSUM 24
#define AT_FDS      32

struct buffer {
	uint8_t *data;
	size_t len;
};

static void put(struct buffer *b, const void *data, size_t len)
{
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void put_number(struct buffer *b, uint64_t v, size_t size)
{
	put(b, &v, size);
}

static void seal(struct buffer *b, uint32_t version, uint32_t n_fds)
{
	uint64_t h = UINT64_C(14695981039346656037), length = b->len;
	struct buffer head = {b->data, 0};

	put_number(&head, UINT64_C(0x657461747365746c), 8);
	put_number(&head, version, 4);
	put_number(&head, HEAD_SIZE, 4);
	put_number(&head, length, 8);
	put_number(&head, 0, 8);
	put_number(&head, n_fds, 4);
	put_number(&head, 0, 4);
	for (size_t i = AT_FDS; i < b->len; i++)
		h = (h ^ b->data[i]) * UINT64_C(1099511628211);
	memcpy(b->data + AT_CHECKSUM, &h, sizeof(h));
}

static void build(struct buffer *b, struct fuzz_input *in)
{
	uint32_t version = fuzz_byte(in), n_fds = fuzz_byte(in);

	b->len = HEAD_SIZE;
	for (uint32_t i = 0; i < n_fds; i++)
		put_number(b, (uint64_t)(int8_t)fuzz_byte(in), 4);
	while (in->left > 0) {
		uint32_t tag = fuzz_byte(in);
		size_t len;
		const uint8_t *fields = fuzz_part(in, &len);

		put_number(b, tag, 4);
		put_number(b, 0, 4);
		put_number(b, len, 8);
		put(b, fields, len);
	}
	seal(b, version, n_fds);
}

static void check(struct state_in *in)
{
	struct listeners found;
	struct state_keeper k;
	struct err e = {0};

	if (state_check(in, &found, &e) == 0)
		fuzz_require(found.n <= KM_LISTEN_MAX && state_fds_done(in));
	else
		fuzz_require(e.code < 0 && e.message[0] != '\0');
	if (state_read_keeper(in, &k, &e) == 0)
		fuzz_require(k.state_dir >= 0 && k.lock >= 0);
	(void)state_claim_fds(in, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	/* A record takes at least 3 bytes of the input, and 16 here. */
	struct buffer b = {xcalloc(1, HEAD_SIZE + 255 * 4 + size * 6 + 1), 0};
	struct state_in *state = NULL;
	struct err e = {0};
	int fd;

	fuzz_log_nowhere();
	if (fuzz_byte(&in) == 1)
		put(&b, in.at, in.left);
	else
		build(&b, &in);
	if (b.len > 0) {
		fuzz_require(memfile_freeze("fuzz", b.data, b.len, &fd, &e) == 0);
		if (state_open(&state, fd, &e) == 0)
			check(state);
		else
			fuzz_require(e.message[0] != '\0');
		state_close(state);
		close(fd);
	}
	free(b.data);
	return 0;
}
