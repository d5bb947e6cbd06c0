/* SPDX-License-Identifier: Apache-2.0 */
/* Differences: from a signature to a delta to the file, in one process. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/tree_delta.h"

#define LARGE ((size_t)3 << 20)

/* Bytes that come out, all of them. */
struct bytes {
	uint8_t *data;
	size_t len, room;
	unsigned pieces;
	int fail_at; /* the piece that cannot be taken; -1: none */
};

static int collect(const uint8_t *data, size_t len, void *arg)
{
	struct bytes *b = arg;

	assert_true(len > 0 && len <= 131072);
	if (b->fail_at >= 0 && b->pieces == (unsigned)b->fail_at)
		return -1;
	b->pieces++;
	if (len > b->room - b->len) {
		b->room = (b->len + len) * 2;
		b->data = realloc(b->data, b->room);
		assert_non_null(b->data);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static struct bytes none(void)
{
	return (struct bytes){.fail_at = -1};
}

static void fill(uint8_t *data, size_t len, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (uint8_t)x;
	}
}

static int in_memory(const uint8_t *data, size_t len)
{
	int fd = memfd_create("basis", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	return fd;
}

static struct tree_delta *load(const struct bytes *signature, size_t step)
{
	struct tree_delta *d;

	assert_int_equal(tree_delta_new(&d), 0);
	for (size_t at = 0; at < signature->len; at += step) {
		const size_t n = signature->len - at < step ? signature->len - at : step;

		assert_int_equal(
		    tree_delta_load(d, signature->data + at, n, at + n == signature->len), 0);
	}
	return d;
}

/* What a receiver that has `old` is told to make `new`, fed in such steps; its length. */
static size_t difference(
    const uint8_t *old, size_t old_len, const uint8_t *new, size_t new_len, size_t step)
{
	struct bytes signature = none(), delta = none(), made = none();
	struct tree_patch *p;
	struct tree_delta *d;
	int fd = in_memory(old, old_len);
	size_t len;

	assert_int_equal(tree_signature(fd, old_len, collect, &signature), 0);
	assert_true(signature.len <= tree_signature_size(old_len));
	d = load(&signature, step);
	for (size_t at = 0; at < new_len; at += step) {
		const size_t n = new_len - at < step ? new_len - at : step;

		assert_int_equal(
		    tree_delta_run(d, new + at, n, at + n == new_len, collect, &delta), 0);
	}
	tree_delta_free(d);
	assert_int_equal(tree_patch_new(&p, fd), 0);
	for (size_t at = 0; at < delta.len; at += step) {
		const size_t n = delta.len - at < step ? delta.len - at : step;

		assert_int_equal(tree_patch_run(p, delta.data + at, n, collect, &made), 0);
	}
	assert_true(tree_patch_done(p));
	tree_patch_free(p);
	assert_int_equal(made.len, new_len);
	assert_memory_equal(made.data, new, new_len);
	close(fd);
	len = delta.len;
	free(signature.data);
	free(delta.data);
	free(made.data);
	return len;
}

static uint8_t *old, *new;

static int set_up(void **state)
{
	(void)state;
	old = malloc(2 * LARGE);
	new = malloc(2 * LARGE);
	fill(old, 2 * LARGE, 1);
	memcpy(new, old, 2 * LARGE);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(old);
	free(new);
	return 0;
}

static const size_t steps[] = {262144, 1000, 131072 + 7};

static void what_is_alike_is_not_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_true(difference(old, LARGE, new, LARGE, steps[i]) < 100);
		/* A last block that is no whole one. */
		assert_true(difference(old, LARGE + 123, new, LARGE + 123, steps[i]) < 100);
	}
}

static void bytes_that_changed_cost_their_blocks(void **state)
{
	(void)state;
	for (size_t i = 0; i < 10; i++)
		new[LARGE / 10 * i + 77] ^= 1;
	for (size_t i = 0; i < 3; i++)
		assert_true(difference(old, LARGE, new, LARGE, steps[i]) < 10 * 1400);
}

static void what_moved_is_found(void **state)
{
	(void)state;
	/* Some bytes more before it, and a part left out behind them. */
	fill(new, 1001, 5);
	memcpy(new + 1001, old, LARGE / 2);
	memcpy(new + 1001 + LARGE / 2, old + LARGE / 2 + 333333, LARGE / 2 - 333333);
	for (size_t i = 0; i < 3; i++)
		assert_true(
		    difference(old, LARGE, new, LARGE + 1001 - 333333, steps[i]) < 1001 + 3 * 1400);
	/* And in another order. */
	memcpy(new, old + LARGE / 2, LARGE / 2);
	memcpy(new + LARGE / 2, old, LARGE / 2);
	assert_true(difference(old, LARGE, new, LARGE, steps[0]) < 3 * 1400);
}

static void a_short_last_block_is_found_where_it_is(void **state)
{
	(void)state;
	/* The end of the old one, which is no whole block (of 1280 bytes), alone behind what is
	 * new. */
	fill(new, 5000, 9);
	memcpy(new + 5000, old + LARGE / 1280 * 1280, LARGE % 1280);
	assert_true(difference(old, LARGE, new, 5000 + LARGE % 1280, 262144) < 5000 + 100);
}

static void what_is_new_is_sent(void **state)
{
	(void)state;
	fill(new, 2 * LARGE, 99);
	for (size_t i = 0; i < 3; i++) {
		size_t len = difference(old, LARGE, new, LARGE, steps[i]);

		assert_true(len > LARGE && len < LARGE + 300);
	}
	/* Longer and shorter than the old one, than a block, and than a step. */
	for (size_t len = 1; len < 2 * LARGE; len = len * 3 + 1)
		assert_true(difference(old, LARGE, new, len, 4096) < len + 500);
}

static void zeros_are_all_alike(void **state)
{
	(void)state;
	memset(old, 0, LARGE);
	memset(new, 0, 2 * LARGE);
	assert_true(difference(old, LARGE, new, 2 * LARGE, 262144) < 60000);
	new[LARGE / 3] = 1;
	assert_true(difference(old, LARGE, new, LARGE + 1, 262144) < 60000);
}

/* Edits at random, of some sizes. */
static void any_difference_makes_the_new_one(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);
		const size_t old_len = (size_t)(x >> 44) + 1;
		size_t len = 0, from = 0;

		while (from < old_len) {
			const size_t rest = old_len - from;
			size_t n;

			x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			n = (size_t)(x >> 47) % rest + 1;
			if ((x >> 40 & 3) == 0) {
				fill(new + len, n % 3000, x);
				len += n % 3000;
			}
			if ((x >> 42 & 7) != 0) {
				memcpy(new + len, old + from, n);
				len += n;
			}
			from += n;
		}
		if (len > 0)
			(void)difference(old, old_len, new, len, (size_t)(x >> 50) + 1);
	}
}

/* A copy of all goes out while the rest is looked at, so that both sides are at work. */
static void a_long_copy_is_said_in_parts(void **state)
{
	const size_t len = (size_t)40 << 20;
	uint8_t *data = calloc(1, len);
	struct bytes signature = none(), delta = none();
	struct tree_delta *d;
	int fd;

	(void)state;
	assert_non_null(data);
	fill(data, len, 3);
	fd = in_memory(data, len);
	assert_int_equal(tree_signature(fd, len, collect, &signature), 0);
	d = load(&signature, signature.len);
	assert_int_equal(tree_delta_run(d, data, len / 2, false, collect, &delta), 0);
	assert_true(delta.pieces >= 2);
	assert_int_equal(tree_delta_run(d, data + len / 2, len / 2, true, collect, &delta), 0);
	assert_true(delta.len < 200);
	tree_delta_free(d);
	close(fd);
	free(signature.data);
	free(delta.data);
	free(data);
}

/* ---- hostile ---- */

static void put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> 8 * (3 - i));
}

static int load_head(uint32_t magic, uint32_t block, uint32_t strong, size_t len)
{
	uint8_t signature[100] = {0};
	struct tree_delta *d;
	int rc;

	put32(signature, magic);
	put32(signature + 4, block);
	put32(signature + 8, strong);
	assert_int_equal(tree_delta_new(&d), 0);
	rc = tree_delta_load(d, signature, len, true);
	/* What is complete is not gone on with. */
	if (rc == 0)
		assert_int_equal(tree_delta_load(d, signature, 1, false), TX_EPROTO);
	tree_delta_free(d);
	return rc;
}

static void a_signature_is_looked_at(void **state)
{
	const uint32_t magic = 0x74785301;

	(void)state;
	assert_int_equal(load_head(magic, 2048, 8, 12), 0);
	assert_int_equal(load_head(magic, 2048, 8, 12 + 12), 0);
	assert_int_equal(load_head(magic, 2048, 8, 12 + 13), TX_EPROTO);
	assert_int_equal(load_head(magic, 2048, 8, 11), TX_EPROTO);
	assert_int_equal(load_head(magic, 2048, 8, 0), TX_EPROTO);
	assert_int_equal(load_head(magic, 0, 8, 12), TX_EPROTO);
	assert_int_equal(load_head(magic, ((uint32_t)16 << 20) + 1, 8, 12), TX_EPROTO);
	assert_int_equal(load_head(magic, 2048, 17, 12), TX_EPROTO);
	assert_int_equal(load_head(magic, 2048, 1, 12), TX_EPROTO);
	assert_int_equal(load_head(magic + 1, 2048, 8, 12), TX_EPROTO);
}

static void without_a_signature_there_is_no_difference(void **state)
{
	struct bytes delta = none();
	struct tree_delta *d;

	(void)state;
	assert_int_equal(tree_delta_new(&d), 0);
	assert_int_equal(tree_delta_run(d, old, 100, true, collect, &delta), TX_EPROTO);
	tree_delta_free(d);
	assert_int_equal(delta.len, 0);
}

/* Sums that all fall into one place, and what is looked for falls there, too. */
static void sums_that_are_all_alike_cost_no_time(void **state)
{
	enum { SUMS = 1000000 };
	struct bytes signature = none(), delta = none();
	uint8_t head[12], sum[6] = {0};
	struct tree_delta *d;

	(void)state;
	put32(head, 0x74785301);
	put32(head + 4, 256);
	put32(head + 8, 2);
	assert_int_equal(collect(head, 12, &signature), 0);
	for (uint32_t i = 0; i < SUMS; i++) {
		sum[4] = (uint8_t)(i >> 8);
		sum[5] = (uint8_t)i;
		assert_int_equal(collect(sum, 6, &signature), 0);
	}
	memset(new, 0, LARGE);
	d = load(&signature, 65536);
	assert_int_equal(tree_delta_run(d, new, LARGE, true, collect, &delta), 0);
	assert_true(delta.len > 0);
	tree_delta_free(d);
	free(signature.data);
	free(delta.data);
}

static void what_cannot_be_given_on_ends_it(void **state)
{
	struct bytes signature = none(), delta = none();
	struct tree_delta *d;
	int fd = in_memory(old, LARGE);

	(void)state;
	assert_int_equal(tree_signature(fd, LARGE, collect, &signature), 0);
	fill(new, LARGE, 7);
	for (int at = 0; at < 4; at++) {
		delta.fail_at = at;
		delta.pieces = 0;
		d = load(&signature, signature.len);
		assert_int_equal(tree_delta_run(d, new, LARGE, true, collect, &delta), TX_ESYS);
		tree_delta_free(d);
	}
	signature.fail_at = 0;
	signature.pieces = 0;
	assert_int_equal(tree_signature(fd, LARGE, collect, &signature), -1);
	close(fd);
	free(signature.data);
	free(delta.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_is_alike_is_not_sent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        bytes_that_changed_cost_their_blocks, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_moved_is_found, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_short_last_block_is_found_where_it_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_new_is_sent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(zeros_are_all_alike, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(any_difference_makes_the_new_one, set_up, tear_down),
	    cmocka_unit_test(a_long_copy_is_said_in_parts),
	    cmocka_unit_test(a_signature_is_looked_at),
	    cmocka_unit_test_setup_teardown(
	        without_a_signature_there_is_no_difference, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        sums_that_are_all_alike_cost_no_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_cannot_be_given_on_ends_it, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
