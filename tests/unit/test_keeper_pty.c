/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on a terminal: what they see, what they write, how they are typed to, and how they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/duration.h"
#include "tests/support/keeper_rig.h"

struct scene {
	struct rig rig;
	struct peer peer, other; /* other: asks only, so that answers are all it gets */
	struct peer_job job;
	struct job_spec spec;
	char *argv[4];
	int started;
};

static void scene_open(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	rig_start(&s->rig, "workers = 2");
	rig_accept(&s->rig, &s->peer);
	rig_accept(&s->rig, &s->other);
}

static void scene_close(struct scene *s)
{
	rig_stop(&s->rig);
	peer_close(&s->peer);
	peer_close(&s->other);
}

static void plan(struct scene *s, char *script)
{
	peer_spec(&s->spec, s->argv, script);
	s->spec.terminal = s->spec.stdin_pipe = true;
	s->spec.rows = 37;
	s->spec.columns = 111;
}

static void start(struct scene *s)
{
	char id[32];

	snprintf(id, sizeof(id), "job-%d", ++s->started);
	peer_run(&s->peer, &s->job, (uint32_t)s->started, id, &s->spec);
}

/* Its output as text, until it has ended. */
static const char *finish(struct scene *s)
{
	struct peer_output *o = &s->job.out[KM_STDOUT];

	peer_finish(&s->peer, &s->job);
	assert_int_equal(s->job.exit.stderr_length, 0);
	o->data = realloc(o->data, o->len + 1);
	assert_non_null(o->data);
	o->data[o->len] = '\0';
	return (const char *)o->data;
}

static void done(struct scene *s)
{
	peer_detach(&s->peer, &s->job, true);
}

static void expect(struct scene *s, char *script, const char *output)
{
	plan(s, script);
	start(s);
	assert_string_equal(finish(s), output);
	assert_int_equal(s->job.exit.kind, KM_END_CODE);
	assert_int_equal(s->job.exit.streams_open, 0);
	done(s);
}

/* Until its output holds the words. */
static void await_words(struct scene *s, const char *words)
{
	struct peer_output *o = &s->job.out[KM_STDOUT];

	while (o->data == NULL || memmem(o->data, o->len, words, strlen(words)) == NULL)
		peer_step(&s->peer, &s->job, true);
}

static void type(struct scene *s, const char *text, bool eof)
{
	peer_input(&s->peer, &s->job, text, strlen(text), eof);
}

/* The answer's type; `why` of a refusal. */
static uint16_t resize(
    struct scene *s, const char *id, uint16_t rows, uint16_t columns, uint32_t *why)
{
	struct km_resize m = {.rows = rows, .columns = columns};
	union km_any answer;
	int fd;

	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(m.by, sizeof(m.by), "%s",
	    s->job.job.owner[0] != '\0' ? s->job.job.owner : "spiffe://test/user/one");
	peer_send(&s->other, KM_RESIZE, 99, &m, -1);
	peer_recv(&s->other, &answer, &fd);
	assert_int_equal(answer.hdr.seq, 99);
	*why = answer.hdr.type == KM_REFUSED ? answer.refused.why : 0;
	if (*why != 0)
		print_message("refused: %s\n", answer.refused.text);
	return answer.hdr.type;
}

/* ---- what it sees ---- */

static void the_size_is_there_before_the_program_is(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	expect(&s, (char[]){"stty size"}, "37 111\r\n");
	scene_close(&s);
}

static void it_has_a_controlling_terminal_and_three_descriptors(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	expect(&s,
	    (char[]){"i=0; while [ $i -lt 200 ]; do [ -e /proc/$$/fd/$i ] && printf $i.; "
	             "i=$((i+1)); done"},
	    "0.1.2.");
	expect(&s,
	    (char[]){"read pid comm st ppid pgid sid tty tpgid rest </proc/$$/stat; "
	             "[ $pid = $pgid ] && [ $pid = $sid ] && [ $pid = $tpgid ] && "
	             "echo own >/dev/tty"},
	    "own\r\n");
	expect(&s,
	    (char[]){"tty | grep -c ^/dev/pts/; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all"},
	    "1\r\nall\r\n");
	scene_close(&s);
}

static void both_outputs_come_as_one_in_order(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	expect(&s, (char[]){"printf a; printf b >&2; printf c; printf d >&2"}, "abcd");
	scene_close(&s);
}

static void the_terminal_belongs_to_the_user(void **state)
{
	struct scene s;

	(void)state;
	if (geteuid() != 0)
		skip();
	scene_open(&s);
	plan(&s,
	    (char[]){"[ -O $(tty) ] && echo mine; : <$(tty) && echo opened; stat -c %a $(tty)"});
	s.spec.user = (char *)(uintptr_t) "nobody";
	start(&s);
	finish(&s);
	assert_non_null(strstr((char *)s.job.out[KM_STDOUT].data, "mine\r\nopened\r\n6"));
	done(&s);
	scene_close(&s);
}

/* ---- what it writes ---- */

/* On a terminal the end is an error, and what was written before it may still be on its way. */
static void the_last_line_is_never_lost(void **state)
{
	char *const load[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
	    (char *)(uintptr_t) "while :; do :; done", NULL};
	struct scene s;
	union km_any m;

	(void)state;
	scene_open(&s);
	plan(&s, NULL);
	s.spec.terminal = s.spec.stdin_pipe = false;
	s.spec.rows = s.spec.columns = 0;
	memcpy(s.argv, load, sizeof(s.argv));
	for (int i = 0; i < 3; i++) {
		char id[16];

		snprintf(id, sizeof(id), "load-%d", i);
		s.spec.disconnect = JOB_DISCONNECT_KEEP;
		peer_start(&s.peer, 0, id, &s.spec, &m);
		assert_int_equal(m.hdr.type, KM_JOB);
	}
	for (int i = 0; i < 100; i++) {
		expect(&s, (char[]){"printf 'first\\nlast'"}, "first\r\nlast");
		expect(&s, (char[]){"exec printf last"}, "last");
	}
	scene_close(&s);
}

static void a_long_output_comes_whole(void **state)
{
	struct scene s;
	char line[16];
	size_t at = 0;

	(void)state;
	scene_open(&s);
	plan(&s, (char[]){"seq 1 30000; printf end"});
	s.spec.output_buffer = 16384;
	start(&s);
	finish(&s);
	for (int i = 1; i <= 30000; i++) {
		int n = snprintf(line, sizeof(line), "%d\r\n", i);

		assert_memory_equal(s.job.out[KM_STDOUT].data + at, line, (size_t)n);
		at += (size_t)n;
	}
	assert_string_equal((char *)s.job.out[KM_STDOUT].data + at, "end");
	done(&s);
	scene_close(&s);
}

static void a_program_that_closes_it_and_comes_back_is_heard(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	expect(&s,
	    (char[]){"echo one; exec 0<&- 1>&- 2>&-; sleep 0.1; echo two >/dev/tty; sleep 0.1; "
	             "echo three >/dev/tty"},
	    "one\r\ntwo\r\nthree\r\n");
	scene_close(&s);
}

static void a_grandchild_that_holds_it_does_not_hold_the_exit(void **state)
{
	struct scene s;
	int pid;

	(void)state;
	scene_open(&s);
	plan(&s, (char[]){"trap '' HUP; sleep 300 & echo $!; seq 1 2000; printf last; exit 3"});
	start(&s);
	finish(&s);
	assert_int_equal(s.job.exit.kind, KM_END_CODE);
	assert_int_equal(s.job.exit.value, 3);
	assert_int_equal(s.job.exit.streams_open, KM_BIT(KM_STDOUT));
	assert_int_equal(sscanf((char *)s.job.out[KM_STDOUT].data, "%d", &pid), 1);
	assert_non_null(strstr((char *)s.job.out[KM_STDOUT].data, "2000\r\nlast"));
	/* The agent still has the terminal: it is no orphan's end. */
	assert_int_equal(kill(pid, 0), 0);
	done(&s);
	assert_int_equal(kill(pid, SIGKILL), 0);
	scene_close(&s);
}

/* ---- what is typed ---- */

static void the_end_of_input_is_a_character(void **state)
{
	static const struct {
		const char *typed, *output;
	} cases[] = {
	    {"", "over\r\n"},
	    {"line\n", "line\r\nline\r\nover\r\n"},
	    {"no line", "no lineno lineover\r\n"},
	};
	struct scene s;

	(void)state;
	scene_open(&s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		plan(&s, (char[]){"cat; echo over"});
		start(&s);
		type(&s, cases[i].typed, true);
		assert_string_equal(finish(&s), cases[i].output);
		done(&s);
	}
	/* It is the end for one reader, and no hang-up. */
	plan(&s, (char[]){"trap 'echo hup; exit 1' HUP; cat >/dev/null; sleep 0.2; stty size"});
	start(&s);
	type(&s, "", true);
	assert_string_equal(finish(&s), "37 111\r\n");
	done(&s);
	scene_close(&s);
}

static void another_character_may_be_the_end(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	plan(&s, (char[]){"stty -echo eof z; echo set; cat; echo over"});
	start(&s);
	await_words(&s, "set");
	type(&s, "half", true);
	assert_string_equal(finish(&s), "set\r\nhalfover\r\n");
	done(&s);
	scene_close(&s);
}

static void control_c_is_an_interrupt(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s);
	plan(&s, (char[]){"echo ready; exec sleep 100"});
	start(&s);
	await_words(&s, "ready");
	type(&s, "\003", false);
	assert_string_equal(finish(&s), "ready\r\n^C");
	assert_int_equal(s.job.exit.kind, KM_END_SIGNAL);
	assert_int_equal(s.job.exit.value, SIGINT);
	done(&s);
	scene_close(&s);
}

/* A terminal holds a few KiB: the rest waits, and nothing of it is lost. */
static void more_than_it_holds_waits(void **state)
{
	static char text[100000];
	struct scene s;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	scene_open(&s);
	plan(&s, (char[]){"stty raw -echo; printf set; sleep 0.1; head -c 100000; printf end"});
	start(&s);
	await_words(&s, "set");
	peer_input(&s.peer, &s.job, text, sizeof(text), false);
	finish(&s);
	assert_int_equal(s.job.exit.stdout_length, 3 + sizeof(text) + 3);
	assert_memory_equal(s.job.out[KM_STDOUT].data + 3, text, sizeof(text));
	done(&s);
	scene_close(&s);
}

/* A line that is too long is cut by the terminal. But the end comes, whoever is slow. */
static void a_line_that_is_too_long_does_not_stop_the_end(void **state)
{
	static char text[60000];
	struct scene s;

	(void)state;
	memset(text, 'x', sizeof(text));
	scene_open(&s);
	plan(&s, (char[]){"stty -echo; echo set; sleep 0.1; cat >/dev/null; echo over"});
	start(&s);
	await_words(&s, "set");
	peer_input(&s.peer, &s.job, text, sizeof(text), true);
	assert_string_equal(finish(&s), "set\r\nover\r\n");
	done(&s);
	scene_close(&s);
}

/* ---- its size ---- */

static void a_storm_of_sizes_ends_with_the_last(void **state)
{
	char id[KM_ID_SIZE];
	uint32_t why;
	struct scene s;

	(void)state;
	scene_open(&s);
	plan(&s,
	    (char[]){"stty -echo; trap 'n=$(stty size); [ \"$n\" = \"24 80\" ] && exit 5' WINCH; "
	             "echo ready; while :; do sleep 0.01; done"});
	start(&s);
	memcpy(id, s.job.job.id, sizeof(id));
	await_words(&s, "ready");
	for (uint16_t i = 1; i <= 400; i++)
		assert_int_equal(resize(&s, id, i, (uint16_t)(2 * i), &why), KM_DONE);
	assert_int_equal(resize(&s, id, 24, 80, &why), KM_DONE);
	finish(&s);
	assert_int_equal(s.job.exit.kind, KM_END_CODE);
	assert_int_equal(s.job.exit.value, 5);
	done(&s);
	scene_close(&s);
}

static void what_cannot_be_resized_is_refused(void **state)
{
	uint32_t why;
	struct scene s;

	(void)state;
	scene_open(&s);
	plan(&s, (char[]){"read x"});
	start(&s);
	assert_int_equal(resize(&s, "job-1", 0, 80, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_BAD_FIELD);
	assert_int_equal(resize(&s, "job-1", 24, 0, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_BAD_FIELD);
	assert_int_equal(resize(&s, "job-1", 24, JOB_TERMINAL_MAX + 1, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_BAD_FIELD);
	assert_int_equal(resize(&s, "job-1", JOB_TERMINAL_MAX, 1, &why), KM_DONE);
	assert_int_equal(resize(&s, "none", 24, 80, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_NO_SUCH);
	snprintf(s.job.job.owner, sizeof(s.job.job.owner), "spiffe://test/user/two");
	assert_int_equal(resize(&s, "job-1", 24, 80, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_NO_SUCH);
	s.job.job.owner[0] = '\0';
	type(&s, "x\n", false);
	finish(&s);
	assert_int_equal(resize(&s, "job-1", 24, 80, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_ENDED);
	done(&s);
	plan(&s, (char[]){"read x"});
	s.spec.terminal = false;
	s.spec.rows = s.spec.columns = 0;
	start(&s);
	assert_int_equal(resize(&s, "job-2", 24, 80, &why), KM_REFUSED);
	assert_int_equal(why, KM_WHY_NO_TERMINAL);
	type(&s, "", true);
	finish(&s);
	done(&s);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_size_is_there_before_the_program_is),
	    cmocka_unit_test(it_has_a_controlling_terminal_and_three_descriptors),
	    cmocka_unit_test(both_outputs_come_as_one_in_order),
	    cmocka_unit_test(the_terminal_belongs_to_the_user),
	    cmocka_unit_test(the_last_line_is_never_lost),
	    cmocka_unit_test(a_long_output_comes_whole),
	    cmocka_unit_test(a_program_that_closes_it_and_comes_back_is_heard),
	    cmocka_unit_test(a_grandchild_that_holds_it_does_not_hold_the_exit),
	    cmocka_unit_test(the_end_of_input_is_a_character),
	    cmocka_unit_test(another_character_may_be_the_end),
	    cmocka_unit_test(control_c_is_an_interrupt),
	    cmocka_unit_test(more_than_it_holds_waits),
	    cmocka_unit_test(a_line_that_is_too_long_does_not_stop_the_end),
	    cmocka_unit_test(a_storm_of_sizes_ends_with_the_last),
	    cmocka_unit_test(what_cannot_be_resized_is_refused),
	};

	return cmocka_run_group_tests_name("keeper_pty", tests, NULL, NULL);
}
