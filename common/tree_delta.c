/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender's side of a difference: the file's bytes are held against the sums of the receiver's
 * blocks (common/tree_sums.h), and what comes of it is said in librsync's commands: copy so much
 * from there, or take these bytes.
 *
 * Mostly the next block of the receiver's is the next one of ours, too: that one's strong sum is
 * looked at first, and the weak one, byte by byte, where it is another. So what did not change goes
 * through at the speed of memory.
 */
#include "common/tree_delta.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/tree_sums.h"

#define PIECE      ((size_t)131072) /* that goes out at once, and of new bytes before it does */
#define COMMANDS   ((size_t)16384)  /* that are gathered */
#define AHEAD      ((size_t)524288) /* room for what comes, over a block and new bytes */
#define COPY_MAX   ((uint64_t)8 << 20)
#define CHAIN_MAX  32u /* a peer that makes all sums fall into one place wins nothing by it */
#define TABLE_MIN  8u  /* bits */
#define TABLE_MAX  28u
#define FILTER_OF  3u /* bits more than of the table */
#define NO_BLOCK   UINT32_MAX
#define MAGIC      UINT32_C(0x72730236) /* of librsync's deltas */
#define OP_END     0x00u
#define OP_LITERAL 0x40u /* of up to so many bytes; behind it those with a length */
#define OP_COPY    0x45u /* with the lengths of both its numbers: 4 by 4 of them */

struct tree_delta {
	/* What was loaded: the head, and the sums as they came. */
	uint8_t head[SUMS_HEAD];
	size_t head_len;
	size_t block, strong, each;
	uint8_t *sums;
	size_t sums_len, sums_room;
	bool ready;
	/* Where a weak sum is: chains of blocks, as their numbers and 1; and before that, one bit
	 * for what may be there. */
	uint32_t n, *heads, *next;
	uint64_t *filter;
	unsigned bits;
	/* What was read and is not said: new bytes from `start`, the block that is looked at from
	 * `at`. */
	uint8_t *window;
	size_t room, start, at, len;
	uint64_t weak, leaving; /* the sum at `at`; and the factor of the byte that leaves it */
	bool has_weak, tried;
	uint32_t expected; /* block, or NO_BLOCK */
	uint64_t copy_from, copy_len;
	/* What goes out. */
	bool begun;
	tree_delta_out *out;
	void *arg;
	size_t gathered;
	uint8_t commands[COMMANDS];
};

int tree_delta_new(struct tree_delta **out)
{
	*out = calloc(1, sizeof(**out));
	return *out != NULL ? 0 : TX_ENOMEM;
}

void tree_delta_free(struct tree_delta *d)
{
	if (d == NULL)
		return;
	free(d->sums);
	free(d->heads);
	free(d->next);
	free(d->filter);
	free(d->window);
	free(d);
}

/* ---- the signature ---- */

static const uint8_t *sums_of(const struct tree_delta *d, uint32_t block)
{
	return d->sums + block * d->each;
}

/* A block is held in memory: its length is looked at before. */
static bool take_head(struct tree_delta *d)
{
	d->block = sums_get32(d->head + 4);
	d->strong = sums_get32(d->head + 8);
	d->each = SUMS_WEAK + d->strong;
	return sums_get32(d->head) == SUMS_MAGIC && d->block > 0 && d->block <= SUMS_BLOCK_MAX &&
	       d->strong >= SUMS_STRONG_MIN && d->strong <= SUMS_STRONG_MAX;
}

static int keep_sums(struct tree_delta *d, const uint8_t *data, size_t len)
{
	if (len > d->sums_room - d->sums_len) {
		size_t room = (d->sums_len + len) * 2;
		uint8_t *grown = realloc(d->sums, room);

		if (grown == NULL)
			return TX_ENOMEM;
		d->sums = grown;
		d->sums_room = room;
	}
	if (len > 0)
		memcpy(d->sums + d->sums_len, data, len);
	d->sums_len += len;
	return 0;
}

static uint64_t *filter_word(const struct tree_delta *d, uint32_t weak, uint64_t *bit)
{
	const uint32_t at = weak >> (32 - d->bits - FILTER_OF);

	*bit = UINT64_C(1) << (at & 63);
	return &d->filter[at >> 6];
}

/* Alike ones are taken once: the first of them. */
static void add_to_table(struct tree_delta *d, uint32_t block)
{
	const uint8_t *own = sums_of(d, block);
	const uint32_t weak = sums_get32(own);
	uint32_t *head = &d->heads[weak >> (32 - d->bits)];
	unsigned chain = 0;
	uint64_t bit, *word;

	for (uint32_t i = *head; i != 0; i = d->next[i - 1])
		if (++chain == CHAIN_MAX || memcmp(sums_of(d, i - 1), own, d->each) == 0)
			return;
	d->next[block] = *head;
	*head = block + 1;
	word = filter_word(d, weak, &bit);
	*word |= bit;
}

static int make_table(struct tree_delta *d)
{
	d->n = (uint32_t)(d->sums_len / d->each);
	d->bits = TABLE_MIN;
	while (d->bits < TABLE_MAX && UINT64_C(1) << d->bits < UINT64_C(2) * d->n)
		d->bits++;
	d->heads = calloc((size_t)1 << d->bits, sizeof(*d->heads));
	d->next = calloc(d->n + 1, sizeof(*d->next));
	d->filter = calloc((size_t)1 << (d->bits + FILTER_OF - 6), sizeof(*d->filter));
	d->room = 2 * (d->block + PIECE) + AHEAD;
	d->window = malloc(d->room);
	if (d->heads == NULL || d->next == NULL || d->filter == NULL || d->window == NULL)
		return TX_ENOMEM;
	for (uint32_t i = 0; i < d->n; i++)
		add_to_table(d, i);
	d->leaving = sums_power(d->block);
	d->expected = d->n > 0 ? 0 : NO_BLOCK;
	d->ready = true;
	return 0;
}

int tree_delta_load(struct tree_delta *d, const uint8_t *data, size_t len, bool last)
{
	const size_t missing = SUMS_HEAD - d->head_len, n = len < missing ? len : missing;
	int rc;

	if (d->ready)
		return TX_EPROTO;
	if (n > 0) {
		memcpy(d->head + d->head_len, data, n);
		d->head_len += n;
		if (d->head_len == SUMS_HEAD && !take_head(d))
			return TX_EPROTO;
	}
	rc = keep_sums(d, data + n, len - n);
	if (rc < 0 || !last)
		return rc;
	if (d->head_len < SUMS_HEAD || d->sums_len % d->each != 0 ||
	    d->sums_len / d->each >= NO_BLOCK)
		return TX_EPROTO;
	return make_table(d);
}

/* ---- commands ---- */

static int give(struct tree_delta *d, const uint8_t *data, size_t len)
{
	while (len > 0) {
		const size_t n = len < PIECE ? len : PIECE;

		if (d->out(data, n, d->arg) < 0)
			return TX_ESYS;
		data += n;
		len -= n;
	}
	return 0;
}

static int give_commands(struct tree_delta *d)
{
	const size_t len = d->gathered;

	d->gathered = 0;
	return give(d, d->commands, len);
}

static int put(struct tree_delta *d, const uint8_t *data, size_t len)
{
	int rc = len > COMMANDS - d->gathered ? give_commands(d) : 0;

	if (rc < 0 || len > COMMANDS)
		return rc < 0 ? rc : give(d, data, len);
	memcpy(d->commands + d->gathered, data, len);
	d->gathered += len;
	return 0;
}

/* How many bytes a command's number takes: 1, 2, 4 or 8, as the power of 2. */
static unsigned width_of(uint64_t number)
{
	return number <= UINT8_MAX ? 0 : number <= UINT16_MAX ? 1 : number <= UINT32_MAX ? 2 : 3;
}

static size_t put_number(uint8_t *to, uint64_t number, unsigned width)
{
	const size_t len = (size_t)1 << width;

	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(number >> 8 * (len - 1 - i));
	return len;
}

static int put_copy(struct tree_delta *d)
{
	const unsigned from = width_of(d->copy_from), len = width_of(d->copy_len);
	uint8_t command[1 + 8 + 8];
	size_t n = 1;

	if (d->copy_len == 0)
		return 0;
	command[0] = (uint8_t)(OP_COPY + 4 * from + len);
	n += put_number(command + n, d->copy_from, from);
	n += put_number(command + n, d->copy_len, len);
	d->copy_len = 0;
	return put(d, command, n);
}

/* New bytes, up to `at`; what was to be copied before them goes first. */
static int put_new(struct tree_delta *d)
{
	const size_t len = d->at - d->start;
	const uint8_t *data = d->window + d->start;
	uint8_t command[1 + 8];
	size_t n = 1;
	int rc;

	if (len == 0)
		return 0;
	rc = put_copy(d);
	d->start = d->at;
	command[0] = (uint8_t)len;
	if (len > OP_LITERAL) {
		command[0] = (uint8_t)(OP_LITERAL + 1 + width_of(len));
		n += put_number(command + n, len, width_of(len));
	}
	if (rc == 0)
		rc = put(d, command, n);
	return rc == 0 ? put(d, data, len) : rc;
}

/* ---- looking ---- */

static bool is_block(const struct tree_delta *d, uint32_t block, XXH128_hash_t hash)
{
	uint8_t strong[SUMS_STRONG_MAX];

	sums_strong(strong, hash);
	return memcmp(sums_of(d, block) + SUMS_WEAK, strong, d->strong) == 0;
}

static bool may_be_there(const struct tree_delta *d, uint32_t weak)
{
	uint64_t bit, *word = filter_word(d, weak, &bit);

	return (*word & bit) != 0;
}

/* The block that the window is; NO_BLOCK: none. */
static uint32_t find(const struct tree_delta *d, const uint8_t *data)
{
	const uint32_t weak = sums_weak32(d->weak);
	XXH128_hash_t hash = {0, 0};
	bool hashed = false;

	if (!may_be_there(d, weak))
		return NO_BLOCK;
	for (uint32_t i = d->heads[weak >> (32 - d->bits)]; i != 0; i = d->next[i - 1]) {
		if (sums_get32(sums_of(d, i - 1)) != weak)
			continue;
		if (!hashed)
			hash = XXH3_128bits(data, d->block);
		hashed = true;
		if (is_block(d, i - 1, hash))
			return i - 1;
	}
	return NO_BLOCK;
}

/* The window is this block, of so many bytes. Long copies are said in parts: whoever applies them
 * need not wait for their end. */
static int found(struct tree_delta *d, uint32_t block, size_t len)
{
	const uint64_t from = (uint64_t)block * d->block;
	int rc = put_new(d);

	if (rc == 0 && d->copy_len > 0 &&
	    (d->copy_from + d->copy_len != from || d->copy_len >= COPY_MAX)) {
		const bool full = d->copy_len >= COPY_MAX;

		rc = put_copy(d);
		if (rc == 0 && full)
			rc = give_commands(d);
	}
	if (d->copy_len == 0)
		d->copy_from = from;
	d->copy_len += len;
	d->at += len;
	d->start = d->at;
	d->has_weak = d->tried = false;
	d->expected = block + 1 < d->n ? block + 1 : NO_BLOCK;
	return rc;
}

/* Moves the window on, up to where it may be a block or where so much is new that it goes out. What
 * leaves it is behind `at`. False: there is no next byte yet. */
static bool roll(struct tree_delta *d)
{
	const size_t most = d->start + PIECE;
	const size_t end = d->len - d->block < most ? d->len - d->block : most;
	const uint8_t *window = d->window;
	uint64_t weak = d->weak;
	size_t at = d->at;

	if (at >= d->len - d->block)
		return false;
	do {
		weak = weak * SUMS_FACTOR + window[at + d->block] - window[at] * d->leaving;
		at++;
	} while (at < end && !may_be_there(d, sums_weak32(weak)));
	d->weak = weak;
	d->at = at;
	return true;
}

/* As far as there are whole blocks. */
static int look(struct tree_delta *d)
{
	int rc = 0;

	while (rc == 0 && d->len - d->at >= d->block) {
		const uint8_t *data = d->window + d->at;
		uint32_t block = d->expected;

		d->expected = NO_BLOCK;
		if (block != NO_BLOCK && is_block(d, block, XXH3_128bits(data, d->block))) {
			rc = found(d, block, d->block);
			continue;
		}
		if (!d->has_weak)
			d->weak = sums_weak(0, data, d->block);
		d->has_weak = true;
		block = d->tried ? NO_BLOCK : find(d, data);
		if (block != NO_BLOCK) {
			rc = found(d, block, d->block);
			continue;
		}
		d->tried = !roll(d);
		if (d->tried)
			break;
		if (d->at - d->start >= PIECE)
			rc = put_new(d);
	}
	return rc;
}

/* What is left is shorter than a block, as the receiver's last one may be. */
static int look_at_tail(struct tree_delta *d)
{
	const uint32_t last = d->n - 1, wanted = d->n > 0 ? sums_get32(sums_of(d, last)) : 0;
	const uint64_t inverse = sums_inverse();
	size_t left = d->len - d->at;
	uint64_t weak = sums_weak(0, d->window + d->at, left);
	uint64_t leaving = left > 0 ? sums_power(left - 1) : 0;

	for (; d->n > 0 && left > 0; left--) {
		const uint8_t *data = d->window + d->at;

		if (sums_weak32(weak) == wanted && is_block(d, last, XXH3_128bits(data, left)))
			return found(d, last, left);
		weak -= *data * leaving;
		leaving *= inverse;
		d->at++;
	}
	d->at = d->len;
	return 0;
}

static int finish(struct tree_delta *d)
{
	const uint8_t command = OP_END;
	int rc = look_at_tail(d);

	if (rc == 0)
		rc = put_new(d);
	if (rc == 0)
		rc = put_copy(d);
	if (rc == 0)
		rc = put(d, &command, 1);
	return rc == 0 ? give_commands(d) : rc;
}

/* Room in the window for what comes. */
static size_t make_room(struct tree_delta *d)
{
	if (d->len < d->room)
		return d->room - d->len;
	memmove(d->window, d->window + d->start, d->len - d->start);
	d->len -= d->start;
	d->at -= d->start;
	d->start = 0;
	return d->room - d->len;
}

static int begin(struct tree_delta *d)
{
	uint8_t magic[4];

	d->begun = true;
	sums_put32(magic, MAGIC);
	return put(d, magic, sizeof(magic));
}

int tree_delta_run(
    struct tree_delta *d, const uint8_t *data, size_t len, bool end, tree_delta_out *out, void *arg)
{
	int rc = 0;

	if (!d->ready)
		return TX_EPROTO;
	d->out = out;
	d->arg = arg;
	if (!d->begun)
		rc = begin(d);
	while (rc == 0 && len > 0) {
		const size_t room = make_room(d), n = len < room ? len : room;

		memcpy(d->window + d->len, data, n);
		d->len += n;
		data += n;
		len -= n;
		rc = look(d);
	}
	return rc == 0 && end ? finish(d) : rc;
}
