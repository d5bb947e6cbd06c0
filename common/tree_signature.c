/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's side of a difference: the sums of the blocks of what it has (common/tree_sums.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/tree_delta.h"
#include "common/tree_sums.h"

#define PIECE       ((size_t)262144) /* that is read at once */
#define GATHERED    ((size_t)16384)  /* that is given out at once */
#define BLOCK_STEP  UINT64_C(128)
#define BLOCK_MIN   UINT64_C(256)
#define WEAK_BITS   32u
#define ASTRAY_BITS 16u

static unsigned bits_of(uint64_t n)
{
	return n == 0 ? 0 : 64 - (unsigned)__builtin_clzll(n);
}

/* Rounded down. */
static uint64_t root_of(uint64_t n)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1)
		if ((root | bit) * (root | bit) <= n)
			root |= bit;
	return root;
}

/* What is sent is the signature, and about a block for each place that changed. The root of the
 * size is best for some 8 such places; three quarters of that cost as much as rsync's for one of
 * them, and less for more.
 *
 * Of the strong sum there are as many bytes as make at most one difference of 2^16 lead astray,
 * together with the 32 bits of the weak one: each place of the new file is held against each block.
 * Then the whole is sent. */
static bool choose(uint64_t size, size_t *block, size_t *strong)
{
	uint64_t length = root_of(size) * 3 / 4 / BLOCK_STEP * BLOCK_STEP;
	unsigned bits;

	if (size > INT64_MAX)
		return false;
	if (length < BLOCK_MIN)
		length = BLOCK_MIN;
	if (length > SUMS_BLOCK_MAX)
		length = SUMS_BLOCK_MAX;
	bits = bits_of(size) + bits_of(size / length) + ASTRAY_BITS;
	bits = bits > WEAK_BITS ? bits - WEAK_BITS : 0;
	*block = (size_t)length;
	*strong = (bits + 7) / 8;
	if (*strong < SUMS_STRONG_MIN)
		*strong = SUMS_STRONG_MIN;
	return true;
}

uint64_t tree_signature_size(uint64_t size)
{
	size_t block, strong;

	if (!choose(size, &block, &strong))
		return UINT64_MAX;
	return SUMS_HEAD + (size / block + 1) * (SUMS_WEAK + strong);
}

/* ---- making one ---- */

struct signing {
	size_t block, strong;
	uint64_t weak;
	XXH3_state_t *state;
	size_t have; /* bytes of the block that is summed */
	tree_delta_out *out;
	void *arg;
	size_t gathered;
	uint8_t gather[GATHERED];
	uint8_t in[PIECE];
};

static int give(struct signing *s)
{
	const size_t len = s->gathered;

	s->gathered = 0;
	return len > 0 ? s->out(s->gather, len, s->arg) : 0;
}

/* Room for some bytes more: they go many at a time. NULL: out failed. */
static uint8_t *room_for(struct signing *s, size_t len)
{
	uint8_t *at;

	if (len > GATHERED - s->gathered && give(s) < 0)
		return NULL;
	at = s->gather + s->gathered;
	s->gathered += len;
	return at;
}

static int begin(struct signing *s)
{
	uint8_t *at = room_for(s, SUMS_HEAD);

	if (at == NULL)
		return -1;
	sums_put32(at, SUMS_MAGIC);
	sums_put32(at + 4, (uint32_t)s->block);
	sums_put32(at + 8, (uint32_t)s->strong);
	return 0;
}

static int end_block(struct signing *s)
{
	uint8_t *at = room_for(s, SUMS_WEAK + s->strong), strong[SUMS_STRONG_MAX];

	if (at == NULL)
		return -1;
	sums_put32(at, sums_weak32(s->weak));
	sums_strong(strong, XXH3_128bits_digest(s->state));
	memcpy(at + SUMS_WEAK, strong, s->strong);
	s->weak = 0;
	s->have = 0;
	(void)XXH3_128bits_reset(s->state);
	return 0;
}

static int add(struct signing *s, const uint8_t *data, size_t len)
{
	while (len > 0) {
		const size_t missing = s->block - s->have, n = len < missing ? len : missing;

		s->weak = sums_weak(s->weak, data, n);
		(void)XXH3_128bits_update(s->state, data, n);
		s->have += n;
		data += n;
		len -= n;
		if (s->have == s->block && end_block(s) < 0)
			return -1;
	}
	return 0;
}

/* The whole file, which may be shorter by now. errno on -1. */
static int sign(struct signing *s, int fd, uint64_t size)
{
	for (uint64_t at = 0; at < size;) {
		const size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		const ssize_t n = pread(fd, s->in, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		at += (uint64_t)n;
		if (add(s, s->in, (size_t)n) < 0)
			return -1;
	}
	return s->have > 0 ? end_block(s) : 0;
}

int tree_signature(int fd, uint64_t size, tree_delta_out *out, void *arg)
{
	struct signing *s = malloc(sizeof(*s));
	int rc = -1;

	if (s == NULL)
		return -1;
	s->out = out;
	s->arg = arg;
	s->gathered = s->have = 0;
	s->weak = 0;
	s->state = XXH3_createState();
	if (!choose(size, &s->block, &s->strong)) {
		errno = EINVAL;
	} else if (s->state != NULL) {
		(void)XXH3_128bits_reset(s->state);
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		if (begin(s) == 0 && sign(s, fd, size) == 0 && give(s) >= 0)
			rc = 0;
	} else {
		errno = ENOMEM;
	}
	XXH3_freeState(s->state);
	free(s);
	return rc;
}
