/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/escape.h"

typedef size_t escape_fn(char *out, size_t size, const void *in, size_t len);

static void assert_escapes(escape_fn *f, const char *in, size_t len, const char *want)
{
	char out[512];

	assert_int_equal(f(out, sizeof(out), in, len), strlen(want));
	assert_string_equal(out, want);
}
#define TEXT(in, want) assert_escapes(escape_text, (in), sizeof(in) - 1, (want))
#define JSON(in, want) assert_escapes(escape_json, (in), sizeof(in) - 1, (want))

static void plain_text_is_kept(void **state)
{
	(void)state;
	TEXT("", "");
	TEXT("plain ~ \"text\"", "plain ~ \"text\"");
	TEXT("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	TEXT("\xc2\xa0", "\xc2\xa0");
	JSON("\xc3\xa9 /", "\xc3\xa9 /");
}

static void controls_are_escaped(void **state)
{
	(void)state;
	TEXT("a\nb\tc\rd\\e", "a\\nb\\tc\\rd\\\\e");
	TEXT("\0\x1b[31m\x7f", "\\x00\\x1b[31m\\x7f");
	TEXT("\xc2\x85\xc2\x9b", "\\xc2\\x85\\xc2\\x9b");
	JSON("a\nb\tc\rd\\e\"f", "a\\nb\\tc\\rd\\\\e\\\"f");
	JSON("\0\x1b\x7f\xc2\x9b", "\\u0000\\u001b\\u007f\\u009b");
}

static void layout_controls_are_escaped(void **state)
{
	(void)state;
	TEXT("\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}");
	TEXT("\xe2\x80\xaa\xe2\x80\xae", "\\u{202a}\\u{202e}");
	TEXT("\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}");
	TEXT("\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf");
	JSON("\xe2\x80\xae\xe2\x80\xa8", "\\u202e\\u2028");
}

static void what_is_not_utf8_is_escaped_byte_by_byte(void **state)
{
	(void)state;
	TEXT("a\xff"
	     "b",
	    "a\\xffb");
	TEXT("\x80", "\\x80");
	TEXT("\xc0\xaf", "\\xc0\\xaf");                   /* overlong */
	TEXT("\xe0\x80\xaf", "\\xe0\\x80\\xaf");          /* overlong */
	TEXT("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf"); /* overlong */
	TEXT("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
	TEXT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
	TEXT("\xc3", "\\xc3");
	TEXT("\xe2\x82", "\\xe2\\x82");
	TEXT("\xc3\n", "\\xc3\\n");
	JSON("a\xff\xfe", "a\xef\xbf\xbd\xef\xbf\xbd");
}

static void all_bytes_come_out_printable(void **state)
{
	char in[256], out[2048];

	(void)state;
	for (int i = 0; i < 256; i++)
		in[i] = (char)i;
	assert_true(escape_text(out, sizeof(out), in, sizeof(in)) < sizeof(out));
	for (const char *p = out; *p != '\0'; p++)
		assert_true(*p >= 0x20 && *p < 0x7f);
	assert_true(escape_json(out, sizeof(out), in, sizeof(in)) < sizeof(out));
	for (const char *p = out; *p != '\0'; p++)
		assert_false((unsigned char)*p < 0x20 || *p == 0x7f);
}

static void nothing_is_cut_in_the_middle(void **state)
{
	static const char in[] = "a\x1b\xe2\x82\xac\xe2\x80\xaez\n";
	static const char whole[] = "a\\x1b\xe2\x82\xac\\u{202e}z\\n";
	char out[64];

	(void)state;
	for (size_t size = 1; size <= sizeof(whole); size++) {
		size_t n;

		memset(out, '#', sizeof(out));
		assert_int_equal(escape_text(out, size, in, sizeof(in) - 1), sizeof(whole) - 1);
		n = strlen(out);
		assert_true(n < size);
		assert_memory_equal(out, whole, n);
		assert_true(n == 0 || n == 1 || n == 5 || n == 8 || n == 16 || n == 17 || n == 19);
		for (size_t i = size; i < sizeof(out); i++)
			assert_int_equal(out[i], '#');
	}
}

static void no_room_only_measures(void **state)
{
	(void)state;
	assert_int_equal(escape_text(NULL, 0, "a\n", 2), 3);
	assert_int_equal(escape_json(NULL, 0, "\"", 1), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_text_is_kept),
	    cmocka_unit_test(controls_are_escaped),
	    cmocka_unit_test(layout_controls_are_escaped),
	    cmocka_unit_test(what_is_not_utf8_is_escaped_byte_by_byte),
	    cmocka_unit_test(all_bytes_come_out_printable),
	    cmocka_unit_test(nothing_is_cut_in_the_middle),
	    cmocka_unit_test(no_room_only_measures),
	};

	return cmocka_run_group_tests_name("escape", tests, NULL, NULL);
}
