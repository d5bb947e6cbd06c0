/* SPDX-License-Identifier: Apache-2.0 */
/* Processes for files, as the keeper starts and ends them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/peer_files.h"

#define OWNER "spiffe://test/user/one"
#define OTHER "spiffe://test/user/two"

static const char *own_user(void)
{
	const struct passwd *own = getpwuid(getuid());

	assert_non_null(own);
	return own->pw_name;
}

static void start(struct peer *p, struct peer_files *h, const char *owner, const char *user)
{
	peer_files_start(p, h, owner, user, -1);
}

static void it_runs_as_its_user_with_nothing_else(void **state)
{
	struct peer_files h;
	struct rig r;
	struct peer p;
	char line[128];

	(void)state;
	rig_start(&r, "workers = 1\nceiling { folders = {\"/srv\", \"/home\"} }\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, own_user());
	snprintf(
	    line, sizeof(line), "uid %u %u\ngid %u %u\n", getuid(), getuid(), getgid(), getgid());
	peer_files_assert_says(&h, line);
	peer_files_assert_says(
	    &h, "session 1\numask 022\ncwd /\nprivs 1\nargs /srv /home\nfds 0 1 2 3\n");
	assert_string_equal(h.home, getpwuid(getuid())->pw_dir);
	assert_true(peer_files_recorded(&r, "\"event\":\"files-exec\",\"owner\":\"" OWNER "\""));
	close(h.fd);
	rig_until(peer_files_is_gone, &h, "telex-files does not end");
	assert_true(peer_answers(&p));
	assert_true(peer_files_recorded(&r, "\"event\":\"files-ended\""));
	peer_close(&p);
	rig_stop(&r);
}

static void it_runs_as_another_user(void **state)
{
	const struct passwd *other = getpwuid(65534);
	struct peer_files h;
	struct rig r;
	struct peer p;
	char line[128];

	(void)state;
	if (getuid() != 0 || other == NULL) {
		print_message("only root can run as another user\n");
		skip();
	}
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, other->pw_name);
	snprintf(line, sizeof(line), "uid 65534 65534\ngid %u %u\n", other->pw_gid, other->pw_gid);
	peer_files_assert_says(&h, line);
	close(h.fd);
	rig_until(peer_files_is_gone, &h, "telex-files does not end");
	peer_close(&p);
	rig_stop(&r);
}

static void its_death_ends_its_socket(void **state)
{
	struct peer_files h;
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, "");
	kill(h.pid, SIGKILL);
	rig_until(peer_files_is_closed, &h, "the socket does not end");
	close(h.fd);
	peer_close(&p);
	rig_stop(&r);
}

static void its_workers_death_ends_it(void **state)
{
	struct peer_files h;
	struct rig r;
	struct peer p, next;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, "");
	/* As its process would: with all its descriptors. */
	peer_kill(&p);
	close(h.fd);
	rig_until(peer_files_is_gone, &h, "telex-files outlives its worker");
	rig_accept(&r, &next);
	assert_true(peer_answers(&next));
	peer_close(&next);
	rig_stop(&r);
}

static void one_that_hangs_is_killed(void **state)
{
	struct peer_files h;
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, "");
	assert_int_equal(send(h.fd, "h", 1, 0), 1);
	close(h.fd);
	rig_until(peer_files_is_gone, &h, "telex-files is not killed");
	assert_true(rig_logged(&r, "does not end and is killed"));
	peer_close(&p);
	rig_stop(&r);
}

static void the_agents_end_is_theirs(void **state)
{
	struct peer_files h, hangs;
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	start(&p, &h, OWNER, "");
	start(&p, &hangs, OWNER, "");
	assert_int_equal(send(hangs.fd, "h", 1, 0), 1);
	peer_close(&p);
	close(h.fd);
	close(hangs.fd);
	rig_stop(&r);
	assert_true(peer_files_is_gone(&h));
	assert_true(peer_files_is_gone(&hangs));
}

static void there_is_a_maximum_and_a_share(void **state)
{
	struct peer_files h[4];
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\nmax_file_helpers = 4\n");
	rig_accept(&r, &p);
	start(&p, &h[0], OWNER, "");
	start(&p, &h[1], OWNER, "");
	peer_files_ask(&p, 6, OWNER, "", -1);
	peer_files_assert_refused(&p, KM_WHY_HELPERS);
	start(&p, &h[2], OTHER, "");
	start(&p, &h[3], OTHER, "");
	peer_files_ask(&p, 7, "spiffe://test/user/three", "", -1);
	peer_files_assert_refused(&p, KM_WHY_HELPERS);
	close(h[0].fd);
	rig_until(peer_files_is_gone, &h[0], "telex-files does not end");
	start(&p, &h[0], OWNER, "");
	for (int i = 0; i < 4; i++) {
		close(h[i].fd);
		rig_until(peer_files_is_gone, &h[i], "telex-files does not end");
	}
	peer_close(&p);
	rig_stop(&r);
}

static void who_is_not_there_is_refused(void **state)
{
	union km_any m;
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	peer_files_ask(&p, 9, OWNER, "nobody-by-this-name", -1);
	peer_expect(&p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_START);
	assert_int_equal(m.refused.stage, KM_STAGE_USER);
	assert_int_equal(m.refused.sys_errno, ENOENT);
	assert_true(peer_answers(&p));
	peer_close(&p);
	rig_stop(&r);
}

static void hostile(const char *ceiling, const char *owner, const char *user, uint32_t why)
{
	union km_any m;
	struct rig r;
	struct peer p, next;

	rig_start(&r, ceiling);
	rig_accept(&r, &p);
	peer_files_ask(&p, 9, owner, user, -1);
	if (why != 0) {
		peer_expect(&p, KM_REFUSED, &m);
		assert_int_equal(m.refused.why, why);
	}
	peer_expect_death(&p);
	rig_accept(&r, &next);
	assert_true(peer_answers_between(&next));
	assert_false(peer_files_recorded(&r, "files-started"));
	peer_close(&next);
	rig_stop(&r);
}

static void beyond_the_ceiling_is_hostile(void **state)
{
	(void)state;
	hostile("workers = 1\nceiling { files = false }\n", OWNER, "", KM_WHY_CEILING);
	hostile("workers = 1\nceiling { root = false }\n", OWNER, "root", KM_WHY_CEILING);
	hostile("workers = 1\nceiling { users = {\"no-such-user\"} }\n", OWNER, own_user(),
	    KM_WHY_CEILING);
}

static void for_nobody_is_hostile(void **state)
{
	(void)state;
	hostile("workers = 1\n", "", "", 0);
}

/* By another name, or a number of it. */
static void root_by_another_name_is_refused(void **state)
{
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1\nceiling {\nroot = false\nusers = {\"1-70000\"}\n}\n");
	rig_accept(&r, &p);
	peer_files_ask(&p, 9, OWNER, "no-such-user", -1);
	peer_files_assert_refused(&p, KM_WHY_START);
	assert_true(peer_answers(&p));
	peer_files_ask(&p, 10, OWNER, "0:0", -1);
	peer_files_assert_refused(&p, KM_WHY_CEILING);
	peer_expect_death(&p);
	rig_accept(&r, &p);
	peer_close(&p);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_runs_as_its_user_with_nothing_else),
	    cmocka_unit_test(it_runs_as_another_user),
	    cmocka_unit_test(its_death_ends_its_socket),
	    cmocka_unit_test(its_workers_death_ends_it),
	    cmocka_unit_test(one_that_hangs_is_killed),
	    cmocka_unit_test(the_agents_end_is_theirs),
	    cmocka_unit_test(there_is_a_maximum_and_a_share),
	    cmocka_unit_test(who_is_not_there_is_refused),
	    cmocka_unit_test(beyond_the_ceiling_is_hostile),
	    cmocka_unit_test(for_nobody_is_hostile),
	    cmocka_unit_test(root_by_another_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
