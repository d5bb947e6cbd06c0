/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"

#define MIB ((uint64_t)1 << 20)

static const char *line(const struct progress_state *s, unsigned columns)
{
	static char out[512];

	progress_line(out, sizeof(out), s, columns);
	assert_true(strlen(out) < columns);
	return out;
}

static void one_file_has_one_bar(void **state)
{
	const struct progress_state s = {.path = "a/file",
	    .done = 25 * MIB,
	    .size = 100 * MIB,
	    .all_files = 1,
	    .bytes = 25 * MIB,
	    .all_bytes = 100 * MIB,
	    .rate = 5 * MIB};

	(void)state;
	assert_string_equal(
	    line(&s, 120), "a/file  [#####               ]  25%  25.0 MiB  5.0 MiB/s  0:15 left");
}

static void several_have_two(void **state)
{
	const struct progress_state s = {.path = "file",
	    .done = 50,
	    .size = 100,
	    .files = 12,
	    .all_files = 340,
	    .bytes = 10 * MIB,
	    .all_bytes = 100 * MIB,
	    .rate = MIB};

	(void)state;
	assert_string_equal(line(&s, 200),
	    "file  [##########          ]  50%  12/340 files  [##                  ]  10%  10.0 MiB"
	    "  1.0 MiB/s  1:30 left");
	assert_string_equal(line(&s, 100),
	    "file  [#####     ]  50%  12/340 files  [#         ]  10%  10.0 MiB  1.0 MiB/s  "
	    "1:30 left");
	assert_string_equal(line(&s, 90),
	    "file  [###   ]  50%  12/340 files  [      ]  10%  10.0 MiB  1.0 MiB/s  1:30 left");
	/* The one in all stays. */
	assert_string_equal(
	    line(&s, 80), "file  12/340 files  [#         ]  10%  10.0 MiB  1.0 MiB/s  1:30 left");
}

static void what_is_not_known_yet_is_not_made_up(void **state)
{
	struct progress_state s = {
	    .path = "file", .files = 12, .bytes = 10 * MIB, .rate = MIB, .counting = true};

	(void)state;
	assert_string_equal(line(&s, 100), "file  12 files  10.0 MiB  1.0 MiB/s");
	s.all_files = 4096;
	s.all_bytes = 100 * MIB;
	assert_string_equal(line(&s, 100), "file  12/4096+ files  10.0 MiB  1.0 MiB/s");
}

static void long_paths_are_cut_from_their_left(void **state)
{
	struct progress_state s = {.path = "a/very/long/path/to/a/\xc3\xa9t\xc3\xa9", .files = 1};

	(void)state;
	assert_string_equal(line(&s, 36), "...ng/path/to/a/\xc3\xa9t\xc3\xa9  1 files  0 B");
	for (unsigned columns = 1; columns < 80; columns++)
		(void)line(&s, columns);
	s.path = "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9";
	for (unsigned columns = 1; columns < 80; columns++)
		assert_true((line(&s, columns)[0] & 0xc0) != 0x80);
}

static void bars_end_at_their_end(void **state)
{
	const struct progress_state s = {
	    .path = "f", .done = 300, .size = 100, .all_files = 1, .bytes = 300, .all_bytes = 100};

	(void)state;
	assert_string_equal(line(&s, 100), "f  [####################] 100%  300 B");
}

/* ---- what is written ---- */

static int saved = -1;

/* Standard error goes into a pipe. */
static int catch_begin(void)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	saved = dup(STDERR_FILENO);
	dup2(p[1], STDERR_FILENO);
	close(p[1]);
	return p[0];
}

static const char *catch_end(int fd)
{
	static char text[8192];
	ssize_t n;

	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	return text;
}

/* A file of which half was sent, one that was there, and the totals. */
static void feed(struct progress *p)
{
	progress_note(
	    p, &(struct telex_transfer_note){
	           .event = TELEX_TRANSFER_TOTALS, .files = 3, .bytes = 1000, .complete = true});
	progress_note(p, &(struct telex_transfer_note){
	                     .event = TELEX_TRANSFER_FILE, .path = "x\033y", .size = 400});
	progress_note(
	    p, &(struct telex_transfer_note){.event = TELEX_TRANSFER_BYTES, .bytes = 200});
	progress_note(p, &(struct telex_transfer_note){
	                     .event = TELEX_TRANSFER_UNCHANGED, .path = "there", .size = 500});
}

static const char *shown(enum progress_kind kind, bool done)
{
	struct event_base *base = event_base_new();
	int fd = catch_begin();
	struct progress *p = progress_new(base, kind, 0, 0);

	feed(p);
	if (done)
		progress_note(p, &(struct telex_transfer_note){
		                     .event = TELEX_TRANSFER_DONE, .path = "x", .size = 400});
	/* One turn, with one line where there is any. */
	(void)event_base_loop(base, EVLOOP_ONCE);
	progress_free(p);
	event_base_free(base);
	return catch_end(fd);
}

static void nothing_is_shown_where_there_is_no_terminal(void **state)
{
	(void)state;
	assert_string_equal(shown(PROGRESS_AUTO, false), "");
	assert_string_equal(shown(PROGRESS_NONE, false), "");
	assert_false(progress_shows(PROGRESS_AUTO));
	assert_true(progress_shows(PROGRESS_JSON));
}

static void json_is_a_line_with_all_of_it(void **state)
{
	const char *text;

	(void)state;
	text = shown(PROGRESS_JSON, false);
	assert_non_null(strstr(text, "\"path\":\"x\\\\x1by\""));
	assert_non_null(
	    strstr(text, "\"file_bytes\":200,\"file_size\":400,\"files\":1,\"bytes\":700,"));
	assert_non_null(strstr(text, "\"total_bytes\":1000,\"total_files\":3,\"counting\":false"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	/* What was done by a difference counts whole. */
	assert_non_null(strstr(shown(PROGRESS_JSON, true), "\"files\":2,\"bytes\":900,"));
}

static void a_bar_is_drawn_and_taken_away(void **state)
{
	const char *text;

	(void)state;
	text = shown(PROGRESS_BAR, false);
	assert_true(strncmp(text, "\rx\\x1by  ", 9) == 0);
	assert_non_null(strstr(text, "1/3 files"));
	assert_non_null(strstr(text, " 70%"));
	assert_string_equal(text + strlen(text) - 4, "\r\033[K");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_file_has_one_bar),
	    cmocka_unit_test(several_have_two),
	    cmocka_unit_test(what_is_not_known_yet_is_not_made_up),
	    cmocka_unit_test(long_paths_are_cut_from_their_left),
	    cmocka_unit_test(bars_end_at_their_end),
	    cmocka_unit_test(nothing_is_shown_where_there_is_no_terminal),
	    cmocka_unit_test(json_is_a_line_with_all_of_it),
	    cmocka_unit_test(a_bar_is_drawn_and_taken_away),
	};

	return cmocka_run_group_tests_name("cli_progress", tests, NULL, NULL);
}
