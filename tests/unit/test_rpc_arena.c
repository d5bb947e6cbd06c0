/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/rpc_arena.h"
#include "telex/v1/process.pb-c.h"

#define START telex__v1__start_request__descriptor
#define SPEC  telex__v1__process_spec__descriptor

static void a_small_message_needs_no_malloc(void **state)
{
	Telex__V1__GetRequest in = TELEX__V1__GET_REQUEST__INIT, *out;
	char id[] = "some-process";
	struct rpc_arena a = {0};
	uint8_t packed[100];
	size_t n;

	(void)state;
	in.process_id = id;
	n = telex__v1__get_request__pack(&in, packed);
	out = (Telex__V1__GetRequest *)rpc_arena_unpack(
	    &a, &telex__v1__get_request__descriptor, packed, n);
	assert_non_null(out);
	assert_string_equal(out->process_id, "some-process");
	assert_true((uint8_t *)out >= a.first && (uint8_t *)out < a.first + sizeof(a.first));
	assert_null(a.chunks);
	rpc_arena_clear(&a);
}

/* A spec of n arguments of `len` bytes; returns its packed form. */
static uint8_t *pack_args(size_t n, size_t len, size_t *size)
{
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData *argv = calloc(n + 1, sizeof(*argv));
	uint8_t *bytes = calloc(1, len + 1), *packed;

	assert_non_null(argv);
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		argv[i] = (ProtobufCBinaryData){len, bytes};
	spec.n_argv = n;
	spec.argv = argv;
	*size = telex__v1__process_spec__get_packed_size(&spec);
	packed = malloc(*size + 1);
	assert_non_null(packed);
	telex__v1__process_spec__pack(&spec, packed);
	free(argv);
	free(bytes);
	return packed;
}

static void honest_messages_of_every_size_fit(void **state)
{
	static const size_t shapes[][2] = {
	    {1, 1 << 20}, {10, 100}, {1000, 1}, {1000, 10}, {100000, 4}, {100000, 30}};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct rpc_arena a = {0};
		size_t n = 0;
		uint8_t *packed = pack_args(shapes[i][0], shapes[i][1], &n);
		Telex__V1__ProcessSpec *spec =
		    (Telex__V1__ProcessSpec *)rpc_arena_unpack(&a, &SPEC, packed, n);

		assert_non_null(spec);
		assert_int_equal(spec->n_argv, shapes[i][0]);
		assert_int_equal(spec->argv[shapes[i][0] - 1].len, shapes[i][1]);
		assert_true(a.total <= rpc_arena_limit(n));
		rpc_arena_clear(&a);
		free(packed);
	}
}

static void empty_submessages_do_not_take_a_hundred_times_their_size(void **state)
{
	/* field 3, an empty EnvironmentVariable, again and again */
	size_t n = 2 << 20;
	uint8_t *packed = malloc(n);
	struct rpc_arena a = {0};

	(void)state;
	assert_non_null(packed);
	for (size_t i = 0; i < n; i += 2) {
		packed[i] = 0x1a;
		packed[i + 1] = 0;
	}
	assert_null(rpc_arena_unpack(&a, &SPEC, packed, n));
	assert_true(a.exhausted);
	assert_null(a.chunks);
	/* A few of them are fine. */
	assert_non_null(rpc_arena_unpack(&a, &SPEC, packed, 200));
	assert_false(a.exhausted);
	rpc_arena_clear(&a);
	free(packed);
}

static void what_is_no_message_is_not_exhausted(void **state)
{
	static const uint8_t bad[] = {0x0a, 0x7f, 'x'};
	struct rpc_arena a = {0};

	(void)state;
	assert_null(rpc_arena_unpack(&a, &START, bad, sizeof(bad)));
	assert_false(a.exhausted);
	/* and the arena can be used again */
	assert_non_null(rpc_arena_unpack(&a, &START, bad, 0));
	rpc_arena_clear(&a);
	rpc_arena_clear(&a);
}

static void the_limit_does_not_overflow(void **state)
{
	(void)state;
	assert_true(rpc_arena_limit(0) >= 4096);
	assert_int_equal(rpc_arena_limit(SIZE_MAX), SIZE_MAX);
	assert_true(rpc_arena_limit(4 << 20) <= (size_t)68 << 20);
}

static void mutated_messages_do_no_harm(void **state)
{
	unsigned int seed = 31;
	size_t n = 0, good = 0;
	uint8_t *packed = pack_args(20, 7, &n);

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct rpc_arena a = {0};
		size_t cut = (size_t)rand_r(&seed) % (n + 1);
		uint8_t *m = malloc(cut + 1);

		assert_non_null(m);
		memcpy(m, packed, cut);
		for (int i = rand_r(&seed) % 4; i > 0 && cut > 0; i--)
			m[(size_t)rand_r(&seed) % cut] = (uint8_t)rand_r(&seed);
		good += rpc_arena_unpack(&a, &SPEC, m, cut) != NULL;
		rpc_arena_clear(&a);
		free(m);
	}
	assert_true(good > 100);
	free(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_message_needs_no_malloc),
	    cmocka_unit_test(honest_messages_of_every_size_fit),
	    cmocka_unit_test(empty_submessages_do_not_take_a_hundred_times_their_size),
	    cmocka_unit_test(what_is_no_message_is_not_exhausted),
	    cmocka_unit_test(the_limit_does_not_overflow),
	    cmocka_unit_test(mutated_messages_do_no_harm),
	};

	return cmocka_run_group_tests_name("rpc_arena", tests, NULL, NULL);
}
