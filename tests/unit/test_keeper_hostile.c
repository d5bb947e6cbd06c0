/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that is not ours any more asks for what the ceiling forbids: it is refused, the log
 * tells it, it is ended, and nothing of anybody else's is touched. And what an honest one may be
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/keeper_rig.h"

#define OTHER "spiffe://test/user/two"

struct scene {
	struct rig r;
	struct peer bad, good;
	struct peer_job job; /* the good one's, running */
	struct job_spec spec;
	char *argv[4];
	char script[32];
};

/* As whom the honest one's job runs: anybody but root. */
static const char *own_user(void)
{
	struct passwd *own = getpwuid(getuid() == 0 ? 65534 : getuid());

	assert_non_null(own);
	return own->pw_name;
}

/* `more`: inside ceiling { }. */
static void scene_open(struct scene *s, const char *more)
{
	char config[512];

	memset(s, 0, sizeof(*s));
	snprintf(config, sizeof(config), "workers = 2\nceiling {\n%s\n}\n", more);
	snprintf(s->script, sizeof(s->script), "read x; echo \"got $x\"");
	rig_start(&s->r, config);
	rig_accept(&s->r, &s->bad);
	rig_accept(&s->r, &s->good);
	peer_spec(&s->spec, s->argv, s->script);
	s->spec.user = (char *)(uintptr_t)own_user();
	s->spec.stdin_pipe = true;
	peer_run(&s->good, &s->job, 1, "honest", &s->spec);
}

/* The honest worker's job goes on to its end as if nothing had been. */
static void scene_close(struct scene *s)
{
	peer_input(&s->good, &s->job, "on\n", 3, true);
	peer_finish(&s->good, &s->job);
	peer_assert_output(&s->job, KM_STDOUT, "got on\n");
	assert_int_equal(s->job.exit.value, 0);
	peer_detach(&s->good, &s->job, KM_DELIVERED_ACKNOWLEDGED);
	peer_job_free(&s->job);
	peer_close(&s->good);
	rig_stop(&s->r);
}

/* The keeper's own record tells it, too. */
static void assert_recorded(const struct rig *r)
{
	static char text[1 << 16];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/state/exec.log", r->dir);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "\"event\":\"refused\""));
	assert_non_null(strstr(text, OTHER));
}

/* Refused with the ceiling's reason, told in the log, ended, and another is in its place. */
static void assert_ended(struct scene *s, const char *logged)
{
	union km_any m;
	struct peer next;

	peer_expect(&s->bad, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_CEILING);
	assert_true(m.refused.text[0] != '\0');
	peer_expect_death(&s->bad);
	assert_true(rig_logged(&s->r, "a worker asks for what the ceiling forbids"));
	assert_true(rig_logged(&s->r, logged));
	assert_recorded(&s->r);
	rig_accept(&s->r, &next);
	assert_true(peer_answers_between(&next));
	peer_close(&next);
}

static void ask_start(struct scene *s, const struct job_spec *spec)
{
	struct km_start m = {.id = "evil", .owner = OTHER};
	struct err e;
	int fd;

	assert_int_equal(job_spec_seal(spec, &fd, &e), 0);
	peer_send(&s->bad, KM_START, 7, &m, fd);
	close(fd);
}

static void start_is_ended(const char *ceiling, char *user, const char *program, const char *logged)
{
	struct job_spec spec;
	struct scene s;
	char path[128];

	scene_open(&s, ceiling);
	spec = s.spec;
	if (user != NULL)
		spec.user = user;
	snprintf(path, sizeof(path), "%s", program);
	spec.argv = (char *[]){path, NULL};
	spec.argc = 1;
	ask_start(&s, &spec);
	assert_ended(&s, logged);
	scene_close(&s);
}

static void root_is_beyond_its_reach(void **state)
{
	(void)state;
	start_is_ended("root = false", (char[]){"root"}, "/bin/true", "nothing may run as root");
	start_is_ended("root = false", (char[]){"0"}, "/bin/true", "nothing may run as root");
	start_is_ended("root = false", (char[]){"root:0"}, "/bin/true", "nothing may run as root");
	start_is_ended("root = false", (char[]){"1500:0"}, "/bin/true", "the group 0");
	start_is_ended("root = false", (char[]){"nobody:root"}, "/bin/true", "the group root");
}

static void other_users_are_beyond_its_reach(void **state)
{
	char ceiling[128];

	(void)state;
	snprintf(ceiling, sizeof(ceiling), "users = {\"%s\"}", own_user());
	start_is_ended(ceiling, (char[]){"mallory"}, "/bin/true", "the user mallory");
	start_is_ended(ceiling, (char[]){"4711"}, "/bin/true", "the user 4711");
}

static void other_programs_are_beyond_its_reach(void **state)
{
	static const char *const ceiling = "programs = {\"/bin/sh\"}";

	(void)state;
	start_is_ended(ceiling, NULL, "/bin/true", "/bin/true may not run");
	start_is_ended(ceiling, NULL, "/bin/../bin/sh", "absolute path");
	start_is_ended(ceiling, NULL, "sh", "absolute path");
}

static void variable_is_ended(const char *ceiling, char *variable, const char *logged)
{
	struct job_spec spec;
	struct scene s;

	scene_open(&s, ceiling);
	spec = s.spec;
	spec.env = (char *[]){(char[]){"A=1"}, variable, NULL};
	spec.envc = 2;
	ask_start(&s, &spec);
	assert_ended(&s, logged);
	scene_close(&s);
}

/* Else a permitted program would run whatever they say. */
static void loaders_variables_are_beyond_its_reach(void **state)
{
	(void)state;
	variable_is_ended("programs = {\"/bin/sh\"}", (char[]){"LD_PRELOAD=/tmp/mine.so"},
	    "LD_PRELOAD may not be set");
	variable_is_ended("programs = {\"/bin/sh\"}\nenvironment = {\"A\", \"LD_PRELOAD\"}",
	    (char[]){"LD_PRELOAD=/tmp/mine.so"}, "LD_PRELOAD may not be set");
}

static void other_variables_are_beyond_its_reach(void **state)
{
	(void)state;
	variable_is_ended("environment = {\"A\", \"LC_*\"}", (char[]){"AB=1"},
	    "AB may not be set on this agent: its ceiling names other variables");
}

/* Refused, and nothing more; what a reload sends beside it is let be. */
static void await_refusal(struct peer *p)
{
	union km_any m;
	int fd;

	do {
		peer_recv(p, &m, &fd);
		if (fd >= 0)
			close(fd);
	} while (m.hdr.type == KM_DRAIN);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_CEILING);
}

/* Each request that can reach for another identity's process, with `any`. */
static void ask_any(struct scene *s, int which)
{
	struct km_attach attach = {
	    .att = 9, .from = KM_FROM_OLDEST, .any = 1, .id = "honest", .owner = OTHER};
	struct km_signal signal = {.signo = 9,
	    .target = KM_TARGET_TREE,
	    .any = 1,
	    .kill_after_ns = -1,
	    .id = "honest",
	    .by = OTHER};
	struct km_list list = {.any = 1, .owner = OTHER};
	struct km_list one = {.any = 1, .one = 1, .id = "honest", .owner = OTHER};
	struct km_remove remove = {.any = 1, .id = "honest", .by = OTHER};
	struct km_resize resize = {.any = 1, .rows = 1, .columns = 1, .id = "honest", .by = OTHER};
	struct km_update update = {
	    .any = 1, .set_nice = 1, .nice = 19, .id = "honest", .by = OTHER};

	switch (which) {
	case 0:
		peer_send(&s->bad, KM_ATTACH, 7, &attach, -1);
		break;
	case 1:
		peer_send(&s->bad, KM_SIGNAL, 7, &signal, -1);
		break;
	case 2:
		peer_send(&s->bad, KM_LIST, 7, &list, -1);
		break;
	case 3:
		peer_send(&s->bad, KM_LIST, 7, &one, -1);
		break;
	case 4:
		peer_send(&s->bad, KM_REMOVE, 7, &remove, -1);
		break;
	case 5:
		peer_send(&s->bad, KM_RESIZE, 7, &resize, -1);
		break;
	default:
		peer_send(&s->bad, KM_UPDATE, 7, &update, -1);
	}
}
#define ANY_REQUESTS 7

static void others_rings_are_beyond_its_reach(void **state)
{
	(void)state;
	for (int i = 0; i < ANY_REQUESTS; i++) {
		struct scene s;

		scene_open(&s, "any_process = false");
		ask_any(&s, i);
		assert_ended(&s, "another identity's processes");
		scene_close(&s);
	}
}

/* Without a word about `any` it is as if there were no such process, and nobody is hostile. */
static void without_any_others_are_as_unknown_as_ever(void **state)
{
	struct km_attach attach = {
	    .att = 9, .from = KM_FROM_OLDEST, .id = "honest", .owner = OTHER};
	struct km_release release = {.att = 1, .stream = KM_STDOUT, .acked = 1, .seen = 1};
	struct km_input input = {.att = 1, .head = 100};
	struct scene s;
	union km_any m;

	(void)state;
	scene_open(&s, "any_process = false");
	peer_send(&s.bad, KM_ATTACH, 7, &attach, -1);
	peer_expect(&s.bad, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
	/* The numbers of another link's attachments mean nothing here. */
	peer_send(&s.bad, KM_RELEASE, 0, &release, -1);
	peer_send(&s.bad, KM_INPUT, 0, &input, -1);
	assert_true(peer_answers(&s.bad));
	peer_close(&s.bad);
	scene_close(&s);
}

static void with_any_and_leave_it_is_served(void **state)
{
	struct scene s;
	union km_any m;
	int fd;

	(void)state;
	scene_open(&s, "any_process = true");
	ask_any(&s, 3);
	peer_recv(&s.bad, &m, &fd);
	assert_int_equal(m.hdr.type, KM_TABLE);
	assert_int_equal(m.table.count, 1);
	close(fd);
	ask_any(&s, 0);
	peer_recv(&s.bad, &m, &fd);
	assert_int_equal(m.hdr.type, KM_JOB);
	assert_string_equal(m.job.owner, PEER_OWNER);
	peer_close(&s.bad);
	scene_close(&s);
}

/* The worker was given the ceiling of before and is to blame for nothing. */
static void a_ceiling_that_a_reload_lowers_makes_nobody_hostile(void **state)
{
	struct scene s;
	struct peer next;
	struct job_spec spec;

	(void)state;
	scene_open(&s, "any_process = true");
	rig_configure(
	    &s.r, "workers = 1\nceiling {\nany_process = false\nprograms = {\"/bin/sh\"}\n}\n");
	assert_int_equal(kill(s.r.pid, SIGHUP), 0);
	rig_accept(&s.r, &next);
	assert_true(peer_answers_between(&next));
	spec = s.spec;
	spec.argv = (char *[]){(char[]){"/bin/true"}, NULL};
	spec.argc = 1;
	ask_start(&s, &spec);
	await_refusal(&s.bad);
	ask_any(&s, 3);
	await_refusal(&s.bad);
	assert_true(peer_answers_between(&s.bad));
	peer_close(&next);
	peer_close(&s.bad);
	peer_job_free(&s.job);
	peer_close(&s.good);
	rig_stop(&s.r);
}

/* Not a matter of text: an honest worker cannot know what uid a name has. */
static void a_name_that_turns_out_to_be_root_is_refused(void **state)
{
	struct scene s;
	struct job_spec spec;
	union km_any m;
	char ceiling[128];

	(void)state;
	if (getuid() != 0) {
		print_message("needs root\n");
		skip();
	}
	snprintf(ceiling, sizeof(ceiling), "users = {\"%s\", \"5000-6000\"}", own_user());
	scene_open(&s, ceiling);
	spec = s.spec;
	spec.user = (char[]){"daemon"};
	ask_start(&s, &spec);
	peer_expect(&s.bad, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_CEILING);
	assert_int_equal(m.refused.stage, KM_STAGE_USER);
	assert_true(peer_answers(&s.bad));
	peer_close(&s.bad);
	scene_close(&s);
}

static void refused_for_its_group(struct scene *s, char *user, bool refused)
{
	struct job_spec spec = s->spec;
	union km_any m;
	int fd;

	spec.user = user;
	ask_start(s, &spec);
	peer_recv(&s->bad, &m, &fd);
	if (refused) {
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_CEILING);
		assert_int_equal(m.refused.stage, KM_STAGE_USER);
		assert_non_null(strstr(m.refused.text, "the group"));
	} else if (m.hdr.type != KM_JOB) {
		fail_msg("%s: %s", user, m.hdr.type == KM_REFUSED ? m.refused.text : "no answer");
	}
	assert_true(peer_answers_between(&s->bad));
}

static void a_group_is_the_users_own_or_named(void **state)
{
	struct scene s;
	char ceiling[128], user[64];

	(void)state;
	if (getuid() != 0) {
		print_message("needs root\n");
		skip();
	}
	snprintf(ceiling, sizeof(ceiling), "users = {\"%s\", \"1500\"}\ngroups = {\"1400-1500\"}",
	    own_user());
	scene_open(&s, ceiling);
	snprintf(user, sizeof(user), "%s:disk", own_user());
	refused_for_its_group(&s, user, true);
	snprintf(user, sizeof(user), "%s:0", own_user());
	refused_for_its_group(&s, user, true);
	refused_for_its_group(&s, (char[]){"1500:6"}, true);
	refused_for_its_group(&s, (char[]){"1500:0"}, true);
	refused_for_its_group(&s, (char[]){"1500:1450"}, false);
	peer_close(&s.bad);
	scene_close(&s);
}

static void a_quota_counts_what_runs_and_waits(void **state)
{
	struct km_start m = {.max_running = 2, .owner = PEER_OWNER};
	struct peer_job two;
	struct scene s;
	union km_any answer;
	struct err e;
	int fd;

	(void)state;
	scene_open(&s, "");
	assert_int_equal(job_spec_seal(&s.spec, &fd, &e), 0);
	snprintf(m.id, sizeof(m.id), "two");
	peer_send(&s.bad, KM_START, 7, &m, fd);
	peer_expect(&s.bad, KM_JOB, &answer);
	snprintf(m.id, sizeof(m.id), "three");
	peer_send(&s.bad, KM_START, 8, &m, fd);
	peer_expect(&s.bad, KM_REFUSED, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_QUOTA);
	assert_int_equal(answer.refused.newest, 2);
	/* Another identity's count for nothing, and an ended one neither. */
	snprintf(m.owner, sizeof(m.owner), OTHER);
	peer_send(&s.bad, KM_START, 9, &m, fd);
	peer_expect(&s.bad, KM_JOB, &answer);
	peer_attach(&s.bad, &two, 2, "two", 0, 0, true);
	peer_input(&s.bad, &two, "x\n", 2, true);
	peer_finish(&s.bad, &two);
	peer_job_free(&two);
	snprintf(m.owner, sizeof(m.owner), PEER_OWNER);
	snprintf(m.id, sizeof(m.id), "four");
	peer_send(&s.bad, KM_START, 10, &m, fd);
	peer_expect(&s.bad, KM_JOB, &answer);
	close(fd);
	peer_close(&s.bad);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(root_is_beyond_its_reach),
	    cmocka_unit_test(other_users_are_beyond_its_reach),
	    cmocka_unit_test(other_programs_are_beyond_its_reach),
	    cmocka_unit_test(loaders_variables_are_beyond_its_reach),
	    cmocka_unit_test(other_variables_are_beyond_its_reach),
	    cmocka_unit_test(a_ceiling_that_a_reload_lowers_makes_nobody_hostile),
	    cmocka_unit_test(others_rings_are_beyond_its_reach),
	    cmocka_unit_test(without_any_others_are_as_unknown_as_ever),
	    cmocka_unit_test(with_any_and_leave_it_is_served),
	    cmocka_unit_test(a_name_that_turns_out_to_be_root_is_refused),
	    cmocka_unit_test(a_group_is_the_users_own_or_named),
	    cmocka_unit_test(a_quota_counts_what_runs_and_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
