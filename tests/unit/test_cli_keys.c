/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/keys.h"

#define ROOM 64

struct typed {
	struct keys keys;
	unsigned char out[ROOM];
	size_t out_len, taken;
	enum keys_event event;
};

static void type(struct typed *t, const char *text)
{
	t->taken = keys_feed(
	    &t->keys, (const unsigned char *)text, strlen(text), t->out, &t->out_len, &t->event);
	t->out[t->out_len] = '\0';
}

/* All of it goes through, as `wanted`. */
static void passes(const char *text, const char *wanted)
{
	struct typed t = {0};

	type(&t, text);
	assert_int_equal(t.event, KEYS_NONE);
	assert_int_equal(t.taken, strlen(text));
	assert_string_equal((char *)t.out, wanted);
}

static void what_is_no_escape_goes_through(void **state)
{
	(void)state;
	passes("ls ~/x\r", "ls ~/x\r");
	passes("a~.b", "a~.b");
	passes("~x", "~x");
	passes("~B", "~B");
	passes("~~", "~");
	passes("~~.", "~.");
	passes("~\r", "~\r");
	passes("a\r~~\r", "a\r~\r");
	passes("\x03\x1a\x04", "\x03\x1a\x04");
}

static void escapes_begin_a_line(void **state)
{
	static const struct {
		const char *text, *out;
		enum keys_event event;
	} rows[] = {
	    {"~.", "", KEYS_DISCONNECT},
	    {"exit\r~.", "exit\r", KEYS_DISCONNECT},
	    {"exit\n~.", "exit\n", KEYS_DISCONNECT},
	    {"~?", "", KEYS_HELP},
	    {"~\x1a", "", KEYS_SUSPEND},
	    {"x~.\r~?", "x~.\r", KEYS_HELP},
	    {"~~\r~.", "~\r", KEYS_DISCONNECT},
	    {"~x\r~.", "~x\r", KEYS_DISCONNECT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct typed t = {0};

		type(&t, rows[i].text);
		assert_int_equal(t.event, rows[i].event);
		assert_int_equal(t.taken, strlen(rows[i].text));
		assert_string_equal((char *)t.out, rows[i].out);
	}
}

static void keys_that_come_one_by_one_are_the_same(void **state)
{
	struct typed t = {0};

	(void)state;
	type(&t, "a");
	type(&t, "\r");
	type(&t, "~");
	assert_int_equal(t.out_len, 0);
	type(&t, ".");
	assert_int_equal(t.event, KEYS_DISCONNECT);
}

static void it_stops_at_an_escape_and_goes_on_after_it(void **state)
{
	static const char text[] = "~?~.rest";
	struct typed t = {0};

	(void)state;
	type(&t, text);
	assert_int_equal(t.event, KEYS_HELP);
	assert_int_equal(t.taken, 2);
	type(&t, text + t.taken);
	assert_int_equal(t.event, KEYS_DISCONNECT);
	assert_int_equal(t.taken, 2);
}

/* A tilde that was held back needs one byte more than came. */
static void a_held_tilde_fits(void **state)
{
	struct typed t = {0};

	(void)state;
	type(&t, "~");
	type(&t, "abc");
	assert_string_equal((char *)t.out, "~abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_no_escape_goes_through),
	    cmocka_unit_test(escapes_begin_a_line),
	    cmocka_unit_test(keys_that_come_one_by_one_are_the_same),
	    cmocka_unit_test(it_stops_at_an_escape_and_goes_on_after_it),
	    cmocka_unit_test(a_held_tilde_fits),
	};

	return cmocka_run_group_tests_name("cli_keys", tests, NULL, NULL);
}
