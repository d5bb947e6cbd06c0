/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/grpc.h"

static void timeouts_of_every_unit_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} good[] = {
	    {"1n", 1}, {"0S", 0}, {"250u", 250 * NS_PER_US}, {"100m", 100 * NS_PER_MS},
	    {"30S", 30 * NS_PER_S}, {"2M", 120 * NS_PER_S}, {"1H", 3600 * NS_PER_S},
	    {"99999999n", 99999999}, {"00000001S", NS_PER_S},
	    {"99999999H", INT64_MAX}, /* more than fits */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ns = -1;

		assert_int_equal(grpc_timeout_parse(good[i].text, strlen(good[i].text), &ns), 0);
		assert_true(ns == good[i].ns);
	}
}

static void bad_timeouts_are_refused(void **state)
{
	static const char *const bad[] = {"", "S", "1", "100", "1s", "1x", "-1S", "+1S", " 1S",
	    "1 S", "1.5S", "100000000S", "1S ", "0x1S", "1SS"};
	int64_t ns = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(grpc_timeout_parse(bad[i], strlen(bad[i]), &ns), TX_EINVAL);
	assert_int_equal(grpc_timeout_parse("1\0S", 3, &ns), TX_EINVAL);
	assert_true(ns == 77);
}

static void timeouts_are_written_rounded_up(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} table[] = {
	    {0, "0n"},
	    {-5, "0n"},
	    {1, "1n"},
	    {99999999, "99999999n"},
	    {100000000, "100000u"},
	    {100000001, "100001u"},
	    {30 * NS_PER_S, "30000000u"},
	    {100 * NS_PER_S, "100000m"},
	    {INT64_MAX, "2562048H"},
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_string_equal(grpc_timeout_format(out, table[i].ns), table[i].text);
	for (int64_t ns = 1; ns < INT64_MAX / 3; ns = ns * 2 + 1) {
		int64_t back;

		grpc_timeout_format(out, ns);
		assert_int_equal(grpc_timeout_parse(out, strlen(out), &back), 0);
		assert_true(back >= ns);
	}
}

static void percent_encoding_goes_there_and_back(void **state)
{
	char in[256], out[1024], back[1024];
	size_t len;

	(void)state;
	len = grpc_percent_encode(out, sizeof(out), "50% \xc3\xa9\n~", 8);
	assert_string_equal(out, "50%25 %C3%A9%0A~");
	assert_int_equal(len, strlen(out));
	for (int i = 0; i < 256; i++)
		in[i] = (char)i;
	len = grpc_percent_encode(out, sizeof(out), in, sizeof(in));
	assert_int_equal(len, strlen(out));
	for (size_t i = 0; i < len; i++)
		assert_in_range(out[i], 0x20, 0x7e);
	assert_int_equal(grpc_percent_decode(back, sizeof(back), out, len), 256);
	assert_memory_equal(back, in, 256);
}

static void percent_encoding_is_cut_at_an_escape(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(grpc_percent_encode(out, 8, "abcde\n", 6), 8);
	assert_string_equal(out, "abcde");
	assert_int_equal(grpc_percent_encode(out, 8, "abcd\n", 5), 7);
	assert_string_equal(out, "abcd%0A");
	/* What follows a cut escape does not slip in behind it. */
	assert_int_equal(grpc_percent_encode(out, 8, "abcde\nxyz", 9), 11);
	assert_string_equal(out, "abcde");
	assert_int_equal(grpc_percent_encode(out, 3, "abcdef", 6), 6);
	assert_string_equal(out, "ab");
	assert_int_equal(grpc_percent_encode(out, 1, "\n", 1), 3);
	assert_string_equal(out, "");
	assert_int_equal(grpc_percent_encode(NULL, 0, "a\n", 2), 4);
}

static void percent_decoding_keeps_what_is_no_escape(void **state)
{
	char out[64];

	(void)state;
	grpc_percent_decode(out, sizeof(out), "%", 1);
	assert_string_equal(out, "%");
	grpc_percent_decode(out, sizeof(out), "a%4", 3);
	assert_string_equal(out, "a%4");
	grpc_percent_decode(out, sizeof(out), "%zz%41%4g%2f%2F%", 16);
	assert_string_equal(out, "%zzA%4g//%");
	assert_int_equal(grpc_percent_decode(out, 3, "abcdef", 6), 6);
	assert_string_equal(out, "ab");
	assert_int_equal(grpc_percent_decode(out, sizeof(out), "", 0), 0);
	assert_string_equal(out, "");
}

static void base64_has_the_vectors_of_rfc_4648(void **state)
{
	static const char *const vectors[][3] = {
	    {"", "", ""},
	    {"f", "Zg", "Zg=="},
	    {"fo", "Zm8", "Zm8="},
	    {"foo", "Zm9v", "Zm9v"},
	    {"foob", "Zm9vYg", "Zm9vYg=="},
	    {"fooba", "Zm9vYmE", "Zm9vYmE="},
	    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
	};
	char text[32];
	uint8_t bytes[32];

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const char *const *v = vectors[i];
		int n = grpc_base64_encode(text, (const uint8_t *)v[0], strlen(v[0]));

		assert_int_equal(n, strlen(v[1]));
		assert_memory_equal(text, v[1], (size_t)n);
		for (int form = 1; form <= 2; form++) {
			n = grpc_base64_decode(bytes, v[form], strlen(v[form]));
			assert_int_equal(n, strlen(v[0]));
			assert_memory_equal(bytes, v[0], (size_t)n);
		}
	}
}

static void base64_goes_there_and_back(void **state)
{
	uint8_t in[256];

	(void)state;
	for (int i = 0; i < 256; i++)
		in[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(in); len++) {
		/* Exactly the sizes that the header promises to be enough. */
		char *text = malloc(len * 4 / 3 + 4);
		int n;
		uint8_t *back;

		assert_non_null(text);
		n = grpc_base64_encode(text, in, len);
		assert_true(n >= 0);
		back = malloc((size_t)n + 1);
		assert_non_null(back);
		assert_int_equal(grpc_base64_decode(back, text, (size_t)n), len);
		assert_memory_equal(back, in, len);
		free(back);
		free(text);
	}
}

static void bad_base64_is_refused(void **state)
{
	static const char *const bad[] = {"A", "AAAAA", "A===", "====", "=", "AA=", "AAA==", "AA=A",
	    "AA A", "AA-_", "AA\n=", "AAAA=", "AAAA=="};
	uint8_t out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(grpc_base64_decode(out, bad[i], strlen(bad[i])), TX_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(timeouts_of_every_unit_are_read),
	    cmocka_unit_test(bad_timeouts_are_refused),
	    cmocka_unit_test(timeouts_are_written_rounded_up),
	    cmocka_unit_test(percent_encoding_goes_there_and_back),
	    cmocka_unit_test(percent_encoding_is_cut_at_an_escape),
	    cmocka_unit_test(percent_decoding_keeps_what_is_no_escape),
	    cmocka_unit_test(base64_has_the_vectors_of_rfc_4648),
	    cmocka_unit_test(base64_goes_there_and_back),
	    cmocka_unit_test(bad_base64_is_refused),
	};

	return cmocka_run_group_tests_name("grpc_text", tests, NULL, NULL);
}
