/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/pb_splice.h"
#include "telex/v1/process.pb-c.h"

#define OUTPUT      2 /* RunResponse.output */
#define OUTPUT_DATA 4 /* Output.data */

/* Head and data in one piece; the caller frees it. */
static uint8_t *spliced(
    const Telex__V1__Output *sub, const void *data, size_t data_len, size_t *len)
{
	uint8_t head[PB_SPLICE_HEAD_MAX], *whole;
	int n = pb_splice_head(head, OUTPUT, &sub->base, OUTPUT_DATA, data_len);

	assert_in_range(n, 1, PB_SPLICE_HEAD_MAX);
	whole = malloc((size_t)n + data_len);
	assert_non_null(whole);
	memcpy(whole, head, (size_t)n);
	if (data_len > 0)
		memcpy(whole + n, data, data_len);
	*len = (size_t)n + data_len;
	return whole;
}

static void a_spliced_message_is_what_protobuf_packs(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 127, 128, 16383, 16384, 262144};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		Telex__V1__Output sub = TELEX__V1__OUTPUT__INIT;
		Telex__V1__RunResponse all = TELEX__V1__RUN_RESPONSE__INIT;
		uint8_t *data = malloc(sizes[i] + 1), *got, *want;
		size_t len;

		assert_non_null(data);
		memset(data, 'd', sizes[i]);
		sub.stream = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
		sub.offset = UINT64_MAX;
		got = spliced(&sub, data, sizes[i], &len);
		sub.data.data = data;
		sub.data.len = sizes[i];
		all.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_OUTPUT;
		all.output = &sub;
		assert_int_equal(telex__v1__run_response__get_packed_size(&all), len);
		want = malloc(len);
		assert_non_null(want);
		telex__v1__run_response__pack(&all, want);
		assert_memory_equal(got, want, len);
		free(want);
		free(got);
		free(data);
	}
}

static void what_is_too_big_is_refused(void **state)
{
	uint8_t head[PB_SPLICE_HEAD_MAX];
	Telex__V1__Output sub = TELEX__V1__OUTPUT__INIT;
	Telex__V1__Exit big = TELEX__V1__EXIT__INIT;
	char text[65];

	(void)state;
	assert_int_equal(pb_splice_head(head, 2, &sub.base, 4, SIZE_MAX), TX_ETOOBIG);
	assert_int_equal(pb_splice_head(head, 2, &sub.base, 4, INT32_MAX), TX_ETOOBIG);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	big.ended_by = text;
	assert_int_equal(pb_splice_head(head, 2, &big.base, 4, 1), TX_ETOOBIG);
	text[62] = '\0'; /* with its tag and length: 64 */
	assert_int_equal(pb_splice_head(head, 0x1fffffff, &big.base, 0x1fffffff, 1 << 20), 80);
}

static void find_gives_data_and_numbers(void **state)
{
	Telex__V1__Output sub = TELEX__V1__OUTPUT__INIT;
	uint64_t v[3] = {9, 9, 9};
	struct pb_span span;
	uint8_t *msg;
	size_t len;

	(void)state;
	sub.stream = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT;
	sub.offset = UINT64_C(1) << 40;
	msg = spliced(&sub, "hello", 5, &len);
	assert_int_equal(pb_splice_find(msg, len, OUTPUT, OUTPUT_DATA, &span, v, 3), 1);
	assert_int_equal(span.data_len, 5);
	assert_memory_equal(span.data, "hello", 5);
	assert_true(span.data == msg + len - 5);
	assert_true(span.sub + span.sub_len == msg + len);
	assert_true(v[0] == 1 && v[1] == UINT64_C(1) << 40 && v[2] == 0);
	/* Numbers are not asked for. */
	assert_int_equal(pb_splice_find(msg, len, OUTPUT, OUTPUT_DATA, &span, NULL, 0), 1);
	free(msg);
}

static void find_knows_a_message_without_data(void **state)
{
	Telex__V1__Output sub = TELEX__V1__OUTPUT__INIT;
	uint64_t v[3];
	struct pb_span span;
	uint8_t *msg;
	size_t len;

	(void)state;
	sub.eof = true;
	msg = spliced(&sub, NULL, 0, &len);
	assert_int_equal(pb_splice_find(msg, len, OUTPUT, OUTPUT_DATA, &span, v, 3), 1);
	assert_null(span.data);
	assert_int_equal(span.data_len, 0);
	assert_true(v[2] == 1);
	free(msg);
}

static void find_leaves_other_messages_to_protobuf(void **state)
{
	static const uint8_t other[] = {0x22, 0x00};             /* field 4 */
	static const uint8_t number[] = {0x10, 0x05};            /* field 2 as a number */
	static const uint8_t two[] = {0x12, 0x00, 0x12, 0x00};   /* twice: to be merged */
	static const uint8_t after[] = {0x12, 0x00, 0x50, 0x01}; /* an unknown field behind */
	struct pb_span span = {.data_len = 77};

	(void)state;
	assert_int_equal(pb_splice_find(NULL, 0, 2, 4, &span, NULL, 0), 0);
	assert_int_equal(pb_splice_find(other, sizeof(other), 2, 4, &span, NULL, 0), 0);
	assert_int_equal(pb_splice_find(number, sizeof(number), 2, 4, &span, NULL, 0), 0);
	assert_int_equal(pb_splice_find(two, sizeof(two), 2, 4, &span, NULL, 0), 0);
	assert_int_equal(pb_splice_find(after, sizeof(after), 2, 4, &span, NULL, 0), 0);
	assert_int_equal(span.data_len, 77);
}

static void find_passes_over_unknown_fields(void **state)
{
	/* output { 9: 1 (i64), 10: (i32), 11: "x", 1: 2, 4: "ab", 4: "cde" } */
	static const uint8_t msg[] = {0x12, 28, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x55, 1, 2, 3, 4,
	    0x5a, 1, 'x', 0x08, 2, 0x22, 2, 'a', 'b', 0x22, 3, 'c', 'd', 'e'};
	struct pb_span span;
	uint64_t v[1];

	(void)state;
	assert_int_equal(pb_splice_find(msg, sizeof(msg), 2, 4, &span, v, 1), 1);
	assert_int_equal(span.data_len, 3); /* the last one counts */
	assert_memory_equal(span.data, "cde", 3);
	assert_true(v[0] == 2);
}

static void what_is_not_protobuf_is_said_to_be(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
	} bad[] = {
	    {{0x12}, 1},                   /* no length */
	    {{0x12, 0x05, 0x00}, 3},       /* longer than there is */
	    {{0x80}, 1},                   /* a cut tag */
	    {{0x02, 0x00}, 2},             /* field 0 */
	    {{0x13}, 1},                   /* a group */
	    {{0x17, 0x00}, 2},             /* type 7 */
	    {{0x12, 0x01, 0x08}, 3},       /* a number cut off */
	    {{0x12, 0x02, 0x22, 0x01}, 4}, /* data cut off */
	    {{0x12, 0x02, 0x49, 0x01}, 4}, /* i64 cut off */
	    {{0x12, 0x02, 0x55, 0x01}, 4}, /* i32 cut off */
	    {{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11}, /* 2^64 - 1 */
	    {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11}, /* too long */
	    {{0x12, 0x02, 0x22, 0xff}, 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pb_span span = {.data_len = 77};
		uint8_t *exact = malloc(bad[i].len);

		assert_non_null(exact);
		memcpy(exact, bad[i].bytes, bad[i].len);
		assert_int_equal(
		    pb_splice_find(exact, bad[i].len, 2, 4, &span, NULL, 0), TX_EPROTO);
		assert_int_equal(span.data_len, 77);
		free(exact);
	}
}

/* Whatever the bytes, what is found lies inside them, and protobuf-c agrees that it is a message.
 */
static void mutations_never_lead_outside(void **state)
{
	Telex__V1__Output sub = TELEX__V1__OUTPUT__INIT;
	unsigned int seed = 20240131;
	size_t found = 0, len;
	uint8_t *msg;

	(void)state;
	sub.stream = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
	sub.offset = 123456789;
	msg = spliced(&sub, "some bytes of output", 20, &len);
	for (int round = 0; round < 20000; round++) {
		size_t cut = (size_t)rand_r(&seed) % (len + 1);
		uint8_t *m = malloc(cut + 1);
		struct pb_span span;
		uint64_t v[3];

		assert_non_null(m);
		memcpy(m, msg, cut);
		for (int i = rand_r(&seed) % 4; i > 0 && cut > 0; i--)
			m[(size_t)rand_r(&seed) % cut] = (uint8_t)rand_r(&seed);
		if (cut > 2 && rand_r(&seed) % 2 == 0)
			m[1] = (uint8_t)(cut - 2);
		if (pb_splice_find(m, cut, OUTPUT, OUTPUT_DATA, &span, v, 3) == 1) {
			found++;
			assert_true(span.sub >= m && span.sub + span.sub_len == m + cut);
			assert_true(span.data == NULL || (span.data >= span.sub &&
			                                     span.data + span.data_len <= m + cut));
		}
		free(m);
	}
	assert_true(found > 100);
	free(msg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_spliced_message_is_what_protobuf_packs),
	    cmocka_unit_test(what_is_too_big_is_refused),
	    cmocka_unit_test(find_gives_data_and_numbers),
	    cmocka_unit_test(find_knows_a_message_without_data),
	    cmocka_unit_test(find_leaves_other_messages_to_protobuf),
	    cmocka_unit_test(find_passes_over_unknown_fields),
	    cmocka_unit_test(what_is_not_protobuf_is_said_to_be),
	    cmocka_unit_test(mutations_never_lead_outside),
	};

	return cmocka_run_group_tests_name("pb_splice", tests, NULL, NULL);
}
