/* SPDX-License-Identifier: Apache-2.0 */
/* telex_watch against a fake agent (tests/support/fake_watch.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc.h"
#include "lib/client.h"
#include "lib/watch_message.h"
#include "tests/support/client_fixture.h"
#include "tests/support/fake_watch.h"

struct watching {
	struct fixture *f;
	struct fake_watch *agent;
	struct telex_watch *watch; /* NULL once it is done */
	size_t armed, changes, clocks, rescans, syncs, warnings, over, interrupted;
	bool fresh, keeps; /* the last armed; does not say that it has dealt with them */
	size_t held;
	char clock[32], armed_clock[32], path[64], moved_from[32], reason[32];
	struct telex_change last;
	struct telex_rescan rescan;
	uint64_t sync;
	size_t warned_root;
	char cancel_in; /* "acrswi": in that callback */
	bool cancelled, wrong, done, failed;
	struct telex_error why, error;
};

static void leave(struct watching *w, char which)
{
	w->wrong = w->wrong || w->done || w->cancelled;
	if (w->cancel_in != which)
		return;
	w->cancelled = true;
	telex_watch_cancel(w->watch);
	w->watch = NULL;
}

static void on_armed(struct telex_watch *watch, const struct telex_watch_armed *a, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->armed++;
	w->fresh = a->fresh_instance;
	snprintf(w->armed_clock, sizeof(w->armed_clock), "%s", a->clock);
	w->wrong =
	    w->wrong || a->folders != 3 || a->entries != 5 || strcmp(a->backend, "inotify") != 0;
	leave(w, 'a');
}

static void on_changes(struct telex_watch *watch, const struct telex_change *changes, size_t n,
    const char *clock, void *arg)
{
	struct watching *w = arg;

	w->changes += n;
	w->clocks += clock != NULL;
	if (clock != NULL)
		snprintf(w->clock, sizeof(w->clock), "%s", clock);
	if (n > 0) {
		const struct telex_change *c = &changes[n - 1];

		w->last = *c;
		snprintf(w->path, sizeof(w->path), "%s", c->path);
		snprintf(w->moved_from, sizeof(w->moved_from), "%s",
		    c->moved_from != NULL ? c->moved_from : "(none)");
	}
	if (w->keeps)
		w->held += n;
	else
		telex_watch_consumed(watch, n);
	leave(w, 'c');
}

static void on_rescan(struct telex_watch *watch, const struct telex_rescan *rescan, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->rescans++;
	w->rescan = *rescan;
	leave(w, 'r');
}

static void on_synced(struct telex_watch *watch, uint64_t id, const char *clock, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->syncs++;
	w->sync = id;
	snprintf(w->clock, sizeof(w->clock), "%s", clock);
	leave(w, 's');
}

static void on_warning(struct telex_watch *watch, size_t root, const char *path,
    const struct telex_file_failure *failure, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->warnings++;
	w->warned_root = root;
	snprintf(w->path, sizeof(w->path), "%s", path);
	snprintf(w->reason, sizeof(w->reason), "%s", failure->reason);
	w->wrong =
	    w->wrong || failure->sys_errno != 13 || strcmp(failure->message, "it is so") != 0;
	leave(w, 'w');
}

static void on_warning_over(struct telex_watch *watch, size_t root, const char *path,
    const struct telex_file_failure *failure, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->over++;
	w->wrong = w->wrong || root != w->warned_root || strcmp(path, w->path) != 0 ||
	           strcmp(failure->reason, w->reason) != 0;
}

static void on_interrupted(struct telex_watch *watch, const struct telex_error *why, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	w->interrupted++;
	w->why = *why;
	leave(w, 'i');
}

static void on_done(struct telex_watch *watch, const struct telex_error *error, void *arg)
{
	struct watching *w = arg;

	w->wrong = w->wrong || w->done || w->cancelled;
	w->done = true;
	w->failed = error != NULL;
	if (error != NULL)
		w->error = *error;
	telex_watch_cancel(watch); /* it is ending already */
	w->watch = NULL;
}

static const struct telex_watch_ops ops = {.armed = on_armed,
    .changes = on_changes,
    .rescan = on_rescan,
    .synced = on_synced,
    .warning = on_warning,
    .warning_over = on_warning_over,
    .interrupted = on_interrupted,
    .done = on_done};

static const char *const one_path[] = {"/srv", NULL};
static const struct telex_watch_options usual = {.paths = one_path, .recursive = true};

/* Until the agent has been asked. */
static void begin(struct watching *w, const struct telex_watch_options *o)
{
	unsigned before;

	w->agent = fake_agent_watch(w->f->agent);
	before = w->agent->begins;
	if (telex_watch(w->f->client, &w->watch, o, &ops, w, &w->error) != 0)
		fail_msg("%s", w->error.message);
	FIXTURE_UNTIL(w->f, w->agent->begins > before);
}

/* And until it is armed, at the clock "c1". */
static void begin_armed(struct watching *w)
{
	begin(w, &usual);
	fake_watch_armed(w->agent, "c1", false);
	FIXTURE_UNTIL(w->f, w->armed == 1);
}

/* The connection is cut, and it has come back. */
static void cut(struct watching *w)
{
	const unsigned before = w->agent->begins;

	fake_agent_cut(w->f->agent);
	FIXTURE_UNTIL(w->f, w->agent->begins > before);
}

static void end(struct watching *w)
{
	telex_watch_cancel(w->watch);
	fixture_settle(w->f);
	assert_false(w->wrong || w->done);
}

static void expect_error(struct watching *w, const char *words)
{
	fixture_until(w->f, &w->done);
	assert_true(w->failed);
	assert_false(w->wrong);
	if (strstr(w->error.message, words) == NULL)
		fail_msg("%s", w->error.message);
}

/* ---- what is asked for ---- */

static void what_is_asked_for_gets_there(void **state)
{
	static const char *const paths[] = {"a", "/b", NULL}, *const include[] = {"*.c", NULL},
	                         *const exclude[] = {".git/", NULL};
	const struct telex_watch_options o = {.user = "alice",
	    .paths = paths,
	    .recursive = true,
	    .depth = 4,
	    .include = include,
	    .exclude = exclude,
	    .kinds = TELEX_CHANGE_CREATED | TELEX_CHANGE_ROOT_BACK,
	    .across_mounts = true,
	    .allow_remote = true,
	    .wait = true,
	    .since = "c9",
	    .settle_ms = 1250,
	    .max_delay_ms = 5000};
	struct watching w = {.f = *state};

	begin(&w, &o);
	assert_string_equal(w.agent->user, "alice");
	assert_int_equal(w.agent->n_paths, 2);
	assert_string_equal(w.agent->path, "/b");
	assert_int_equal(w.agent->n_include, 1);
	assert_string_equal(w.agent->include, "*.c");
	assert_int_equal(w.agent->n_exclude, 1);
	assert_string_equal(w.agent->exclude, ".git/");
	assert_int_equal(w.agent->depth, 4);
	assert_int_equal(w.agent->kinds, o.kinds);
	assert_true(w.agent->recursive && w.agent->across_mounts && w.agent->allow_remote);
	assert_true(w.agent->wait);
	assert_false(w.agent->state);
	assert_string_equal(w.agent->since, "c9");
	assert_int_equal(w.agent->settle_ms, 1250);
	assert_int_equal(w.agent->max_delay_ms, 5000);
	assert_int_equal(w.agent->heartbeat_ms, 15000);
	end(&w);
}

static void what_is_not_said_has_its_default(void **state)
{
	const struct telex_watch_options o = {.paths = one_path};
	struct watching w = {.f = *state};

	begin(&w, &o);
	assert_string_equal(w.agent->user, "");
	assert_string_equal(w.agent->since, "");
	assert_int_equal(w.agent->n_include + w.agent->n_exclude, 0);
	assert_int_equal(w.agent->kinds, 0);
	assert_false(w.agent->recursive || w.agent->wait || w.agent->state ||
	             w.agent->across_mounts || w.agent->allow_remote);
	end(&w);
}

static void expect_usage(struct fixture *f, const struct telex_watch_options *o, const char *words)
{
	struct telex_watch *watch;
	struct telex_error error;

	assert_int_equal(telex_watch(f->client, &watch, o, &ops, NULL, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	if (strstr(error.message, words) == NULL)
		fail_msg("%s", error.message);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const struct telex_watch_ops half = {.armed = on_armed, .changes = on_changes};
	static const char *const none[] = {NULL}, *const empty[] = {"a", "", NULL};
	const char *many[66] = {NULL};
	struct telex_watch *watch;
	struct telex_error error;

	for (size_t i = 0; i < 65; i++)
		many[i] = "/a";
	expect_usage(*state, &(struct telex_watch_options){.paths = NULL}, "no path");
	expect_usage(*state, &(struct telex_watch_options){.paths = none}, "no path");
	expect_usage(*state, &(struct telex_watch_options){.paths = empty}, "no path");
	expect_usage(*state, &(struct telex_watch_options){.paths = many}, "at most 64 paths");
	expect_usage(
	    *state, &(struct telex_watch_options){.paths = one_path, .kinds = 1}, "kind of change");
	expect_usage(*state, &(struct telex_watch_options){.paths = one_path, .settle_ms = 3600001},
	    "1 hour");
	expect_usage(
	    *state, &(struct telex_watch_options){.paths = one_path, .max_delay_ms = -1}, "1 hour");
	assert_int_equal(
	    telex_watch(((struct fixture *)*state)->client, &watch, &usual, &half, NULL, &error),
	    -1);
}

/* ---- what is told ---- */

static void changes_come_as_they_are(void **state)
{
	const struct fake_change c = {.root = 0,
	    .path = "d/e",
	    .moved_from = "x",
	    .kinds = TELEX_CHANGE_MOVED | TELEX_CHANGE_CREATED | 1u << 9,
	    .exists = true};
	struct watching w = {.f = *state};

	begin_armed(&w);
	assert_string_equal(w.armed_clock, "c1");
	assert_false(w.fresh);
	fake_watch_change(w.agent, &c, "c2");
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	assert_string_equal(w.clock, "c2");
	assert_string_equal(w.path, "d/e");
	assert_string_equal(w.moved_from, "x");
	assert_null(w.last.moved_to);
	assert_int_equal(w.last.kinds, TELEX_CHANGE_MOVED | TELEX_CHANGE_CREATED);
	assert_true(w.last.exists);
	assert_int_equal(w.last.type, TELEX_FILE_DIRECTORY);
	assert_int_equal(w.last.mode, 02755);
	assert_int_equal(w.last.size, 11);
	assert_int_equal(w.last.inode, 12);
	assert_int_equal(w.last.modified_ns, -13);
	assert_int_equal(w.last.count, 4);
	assert_int_equal(w.last.time_ns, INT64_C(1000000000005));
	assert_int_equal(w.last.order, 14);
	end(&w);
}

static void a_batch_may_come_in_pieces(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_changes(w.agent, 3, "");
	fake_watch_changes(w.agent, 2, "");
	FIXTURE_UNTIL(w.f, w.changes == 5);
	assert_int_equal(w.clocks, 0);
	fake_watch_changes(w.agent, 0, "c2");
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	assert_int_equal(w.changes, 5);
	end(&w);
}

static void the_rest_is_told_too(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_heartbeat(w.agent);
	fake_watch_rescan(w.agent, TELEX_RESCAN_OVERFLOW, false);
	FIXTURE_UNTIL(w.f, w.rescans == 1);
	assert_int_equal(w.rescan.reason, TELEX_RESCAN_OVERFLOW);
	assert_false(w.rescan.done);
	assert_int_equal(w.rescan.waited_ms, 1500);
	fake_watch_rescan(w.agent, 99, true);
	FIXTURE_UNTIL(w.f, w.rescans == 2);
	assert_int_equal(w.rescan.reason, TELEX_RESCAN_UNKNOWN);
	assert_true(w.rescan.done);
	fake_watch_warning(w.agent, 0, "a/b", "FILE_DENIED");
	FIXTURE_UNTIL(w.f, w.warnings == 1);
	assert_string_equal(w.path, "a/b");
	assert_string_equal(w.reason, "FILE_DENIED");
	fake_watch_warning(w.agent, 0, NULL, "WATCH_LIMIT");
	FIXTURE_UNTIL(w.f, w.warnings == 2);
	assert_string_equal(w.path, "");
	fake_watch_warning_over(w.agent, 0, NULL, "WATCH_LIMIT");
	FIXTURE_UNTIL(w.f, w.over == 1);
	assert_int_equal(w.warnings, 2);
	end(&w);
}

/* ---- coming back ---- */

static void it_goes_on_from_its_last_clock(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_changes(w.agent, 1, "c2");
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	/* A batch that is not whole does not count. */
	fake_watch_changes(w.agent, 4, "");
	FIXTURE_UNTIL(w.f, w.changes == 5);
	cut(&w);
	assert_string_equal(w.agent->since, "c2");
	assert_false(w.agent->state);
	assert_int_equal(w.interrupted, 1);
	assert_int_equal(w.why.kind, TELEX_ERROR_LOST);
	cut(&w);
	assert_int_equal(w.interrupted, 1); /* it was not back */
	fake_watch_armed(w.agent, "c2", false);
	FIXTURE_UNTIL(w.f, w.armed == 2);
	cut(&w);
	assert_int_equal(w.interrupted, 2);
	assert_string_equal(w.agent->since, "c2");
	end(&w);
}

static void from_the_clock_of_its_beginning(void **state)
{
	struct watching w = {.f = *state};

	begin(&w, &usual);
	cut(&w);
	assert_string_equal(w.agent->since, ""); /* nothing was promised yet */
	assert_false(w.agent->wait);
	fake_watch_armed(w.agent, "c1", false);
	FIXTURE_UNTIL(w.f, w.armed == 1);
	cut(&w);
	assert_string_equal(w.agent->since, "c1");
	/* A root that went meanwhile is one that is gone, and not one that never was. */
	assert_true(w.agent->wait);
	end(&w);
}

static void a_state_is_asked_for_until_it_is_whole(void **state)
{
	const struct telex_watch_options o = {.paths = one_path, .state = true};
	struct watching w = {.f = *state};

	begin(&w, &o);
	assert_true(w.agent->state);
	fake_watch_armed(w.agent, "c1", true);
	fake_watch_changes(w.agent, 7, "");
	FIXTURE_UNTIL(w.f, w.changes == 7);
	assert_true(w.fresh);
	cut(&w);
	assert_true(w.agent->state);
	assert_string_equal(w.agent->since, "");
	fake_watch_armed(w.agent, "c1", true);
	fake_watch_changes(w.agent, 8, "c2");
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	cut(&w);
	assert_false(w.agent->state);
	assert_string_equal(w.agent->since, "c2");
	end(&w);
}

static void a_fresh_instance_is_whole_or_comes_again(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	cut(&w);
	fake_watch_armed(w.agent, "n1", true);
	FIXTURE_UNTIL(w.f, w.armed == 2);
	assert_true(w.fresh);
	cut(&w);
	assert_true(w.agent->state);
	assert_string_equal(w.agent->since, "");
	end(&w);
}

static void a_clock_that_is_not_taken_any_more_is_begun_anew(void **state)
{
	struct watching w = {.f = *state};
	unsigned before;

	begin_armed(&w);
	cut(&w);
	before = w.agent->begins;
	fake_watch_end(w.agent, RPC_INVALID_ARGUMENT, "OTHER_CLOCK");
	FIXTURE_UNTIL(w.f, w.agent->begins > before);
	assert_true(w.agent->state);
	assert_string_equal(w.agent->since, "");
	/* Once. */
	fake_watch_end(w.agent, RPC_INVALID_ARGUMENT, "OTHER_CLOCK");
	expect_error(&w, "it was ended");
}

static void a_clock_of_the_callers_must_be_right(void **state)
{
	const struct telex_watch_options o = {.paths = one_path, .since = "nonsense"};
	struct watching w = {.f = *state};

	begin(&w, &o);
	fake_watch_end(w.agent, RPC_INVALID_ARGUMENT, "BAD_CLOCK");
	expect_error(&w, "it was ended");
	assert_string_equal(w.error.reason, "BAD_CLOCK");
	assert_int_equal(w.interrupted, 0);
}

static void a_helper_that_dies_is_no_end(void **state)
{
	struct watching w = {.f = *state};
	unsigned before;

	begin_armed(&w);
	before = w.agent->begins;
	fake_watch_end(w.agent, RPC_ABORTED, "HELPER_DIED");
	FIXTURE_UNTIL(w.f, w.agent->begins > before);
	assert_string_equal(w.agent->since, "c1");
	assert_string_equal(w.why.reason, "HELPER_DIED");
	end(&w);
}

static void what_it_always_dies_of_is_not_asked_for_ever(void **state)
{
	struct watching w = {.f = *state};
	unsigned n = 0;

	begin_armed(&w);
	for (; !w.done; n++) {
		const unsigned before = w.agent->begins;

		fake_watch_end(w.agent, RPC_ABORTED, "HELPER_DIED");
		FIXTURE_UNTIL(w.f, w.done || w.agent->begins > before);
		if (!w.done)
			fake_watch_armed(w.agent, "c1", false);
	}
	assert_int_equal(n, 21);
	expect_error(&w, "it was ended");
}

static void die(struct watching *w)
{
	const unsigned before = w->agent->begins;

	fake_watch_end(w->agent, RPC_ABORTED, "HELPER_DIED");
	FIXTURE_UNTIL(w->f, w->done || w->agent->begins > before);
}

/* Others may end it before it is armed, and that is no reason; nor is a heartbeat a sign then. */
static void what_is_not_armed_has_longer(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	for (unsigned n = 0; n < 19; n++) {
		die(&w);
		fake_watch_armed(w.agent, "c1", false);
	}
	for (unsigned n = 0; n < 4; n++) {
		die(&w);
		assert_false(w.done);
		fake_watch_heartbeat(w.agent);
	}
	fake_watch_armed(w.agent, "c1", false);
	die(&w);
	expect_error(&w, "it was ended");
}

static void an_answer_is_an_end(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_end(w.agent, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	expect_error(&w, "it was ended");
	assert_int_equal(w.interrupted, 0);
}

static void an_agent_does_not_end_it_well(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_end(w.agent, RPC_OK, NULL);
	expect_error(&w, "ended the watch");
}

static void it_does_not_come_back_where_that_is_not_wanted(void **state)
{
	const struct telex_options o = {.reconnect_ms = -1};
	struct watching w = {.f = *state};

	fixture_again(w.f, &o);
	begin_armed(&w);
	fake_agent_cut(w.f->agent);
	expect_error(&w, "lost");
	assert_int_equal(w.interrupted, 0);
}

static void an_agent_that_is_silent_is_lost(void **state)
{
	struct watching w = {.f = *state};

	w.f->client->heartbeat_ms = 20;
	begin_armed(&w);
	fake_agent_stop(w.f->agent);
	FIXTURE_UNTIL(w.f, w.agent->begins == 2);
	assert_int_equal(w.why.kind, TELEX_ERROR_LOST);
	end(&w);
}

/* ---- a barrier, and the end ---- */

static void a_barrier_comes_back(void **state)
{
	struct watching w = {.f = *state};

	w.agent = fake_agent_watch(w.f->agent);
	assert_int_equal(telex_watch(w.f->client, &w.watch, &usual, &ops, &w, &w.error), 0);
	assert_int_equal(telex_watch_sync(w.watch, 7), 0); /* before there is a connection */
	FIXTURE_UNTIL(w.f, w.agent->syncs == 1);
	assert_int_equal(w.agent->sync, 7);
	assert_int_equal(telex_watch_sync(w.watch, 8), 0);
	FIXTURE_UNTIL(w.f, w.agent->syncs == 2);
	fake_watch_armed(w.agent, "c1", false);
	fake_watch_synced(w.agent, 7, "c5");
	FIXTURE_UNTIL(w.f, w.syncs == 1);
	assert_int_equal(w.sync, 7);
	assert_string_equal(w.clock, "c5");
	fake_watch_synced(w.agent, 99, "c6"); /* nobody asked */
	cut(&w);
	/* What is not answered is asked again, from where we are. */
	FIXTURE_UNTIL(w.f, w.agent->syncs == 3);
	assert_int_equal(w.agent->sync, 8);
	assert_int_equal(w.syncs, 1);
	end(&w);
}

static void barriers_have_an_end(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(telex_watch_sync(w.watch, i), 0);
	assert_int_equal(telex_watch_sync(w.watch, 64), -1);
	FIXTURE_UNTIL(w.f, w.agent->syncs == 64);
	fake_watch_synced(w.agent, 0, "c2");
	FIXTURE_UNTIL(w.f, w.syncs == 1);
	assert_int_equal(telex_watch_sync(w.watch, 64), 0);
	end(&w);
}

static void it_ends_with_what_has_happened(void **state)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	telex_watch_end(w.watch);
	assert_int_equal(telex_watch_sync(w.watch, 1), -1);
	FIXTURE_UNTIL(w.f, w.agent->half_closed);
	/* The connection goes before the rest has come. */
	cut(&w);
	FIXTURE_UNTIL(w.f, w.agent->half_closed);
	assert_string_equal(w.agent->since, "c1");
	fake_watch_armed(w.agent, "c1", false);
	fake_watch_changes(w.agent, 2, "c2");
	fake_watch_end(w.agent, RPC_OK, NULL);
	fixture_until(w.f, &w.done);
	assert_false(w.failed || w.wrong);
	assert_int_equal(w.changes, 2);
}

/* ---- credit ---- */

#define PIECE  ((size_t)2000)
#define PIECES ((size_t)300)

/* More than the window takes. */
static void flood(struct watching *w)
{
	for (size_t i = 0; i < PIECES; i++)
		fake_watch_changes(w->agent, PIECE, i + 1 == PIECES ? "c2" : "");
}

static void who_keeps_changes_keeps_the_agent_waiting(void **state)
{
	struct watching w = {.f = *state, .keeps = true};
	size_t before;

	begin_armed(&w);
	flood(&w);
	do {
		before = w.changes;
		fixture_settle(w.f);
	} while (w.changes > before);
	assert_true(w.changes > 0 && w.clocks == 0);
	assert_true(rpc_pending(w.agent->call) > 0);
	/* Most of them. */
	telex_watch_consumed(w.watch, w.held - w.held / 4);
	w.held = w.held / 4;
	FIXTURE_UNTIL(w.f, w.changes > before);
	w.keeps = false;
	telex_watch_consumed(w.watch, w.held);
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	assert_int_equal(w.changes, PIECE * PIECES);
	end(&w);
}

static void what_is_kept_over_a_loss_gives_no_credit(void **state)
{
	struct watching w = {.f = *state, .keeps = true};

	begin_armed(&w);
	fake_watch_changes(w.agent, PIECE, "");
	FIXTURE_UNTIL(w.f, w.changes == PIECE);
	cut(&w);
	fake_watch_armed(w.agent, "c1", false);
	flood(&w);
	FIXTURE_UNTIL(w.f, w.changes > PIECE);
	w.keeps = false;
	telex_watch_consumed(w.watch, SIZE_MAX);
	FIXTURE_UNTIL(w.f, w.clocks == 1);
	assert_int_equal(w.changes, PIECE * (PIECES + 1));
	end(&w);
}

/* ---- who lies ---- */

static void paths_stay_below_their_root(void **state)
{
	static const char *const plain[] = {"", "a", "a/b", "...", "a..", ".a/..b"},
	                         *const bad[] = {"/", "/a", "a/", "a//b", ".", "..", "a/.", "../a",
	                             "a/../b", "a/.."};

	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		assert_true(watch_path_plain((const uint8_t *)plain[i], strlen(plain[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(watch_path_plain((const uint8_t *)bad[i], strlen(bad[i])));
	assert_false(watch_path_plain((const uint8_t *)"a\0b", 3));
}

static void expect_broken(void **state, const struct fake_change *c)
{
	struct watching w = {.f = *state};

	begin_armed(&w);
	fake_watch_change(w.agent, c, "c2");
	expect_error(&w, "broke the protocol");
	assert_int_equal(w.changes, 0);
}

static void a_change_elsewhere_is_not_believed(void **state)
{
	expect_broken(state, &(struct fake_change){.path = "../etc", .kinds = 2});
	expect_broken(state, &(struct fake_change){.path = "a", .moved_from = "/b", .kinds = 2});
	expect_broken(state, &(struct fake_change){.path = "a", .moved_to = "b/..", .kinds = 2});
	expect_broken(state, &(struct fake_change){.path = "a", .root = 1, .kinds = 2});
	expect_broken(state, &(struct fake_change){.path = "a", .moved_root = 1, .kinds = 2});
}

static void a_warning_elsewhere_is_not_believed(void **state)
{
	struct watching w = {.f = *state}, v = {.f = *state};

	begin_armed(&w);
	fake_watch_warning(w.agent, 1, "a", "FILE_DENIED");
	expect_error(&w, "broke the protocol");
	begin_armed(&v);
	fake_watch_warning(v.agent, 0, "/a", "FILE_DENIED");
	expect_error(&v, "broke the protocol");
}

/* ---- leaving ---- */

static void it_may_be_left_in_any_callback(void **state)
{
	for (const char *in = "acrswi"; *in != '\0'; in++) {
		struct watching w = {.f = *state, .cancel_in = *in};

		begin(&w, &usual);
		assert_int_equal(telex_watch_sync(w.watch, 1), 0);
		FIXTURE_UNTIL(w.f, w.agent->sync == 1);
		fake_watch_armed(w.agent, "c1", false);
		fake_watch_changes(w.agent, 2, "c2");
		fake_watch_rescan(w.agent, 1, false);
		fake_watch_synced(w.agent, 1, "c3");
		fake_watch_warning(w.agent, 0, "a", "FILE_DENIED");
		if (*in == 'i') {
			FIXTURE_UNTIL(w.f, w.warnings == 1);
			fake_agent_cut(w.f->agent);
		}
		fixture_until(w.f, &w.cancelled);
		fixture_settle(w.f);
		assert_false(w.wrong || w.done);
		w.agent->sync = 0;
	}
}

static void freeing_the_client_frees_watches(void **state)
{
	struct watching w = {.f = *state, .keeps = true};

	begin_armed(&w);
	fake_watch_changes(w.agent, 3, "c2");
	FIXTURE_UNTIL(w.f, w.changes == 3);
	fixture_again(w.f, NULL);
	fixture_settle(w.f);
	assert_false(w.done);
}

#define WATCH_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WATCH_TEST(what_is_asked_for_gets_there),
	    WATCH_TEST(what_is_not_said_has_its_default),
	    WATCH_TEST(what_makes_no_sense_is_refused),
	    WATCH_TEST(changes_come_as_they_are),
	    WATCH_TEST(a_batch_may_come_in_pieces),
	    WATCH_TEST(the_rest_is_told_too),
	    WATCH_TEST(it_goes_on_from_its_last_clock),
	    WATCH_TEST(from_the_clock_of_its_beginning),
	    WATCH_TEST(a_state_is_asked_for_until_it_is_whole),
	    WATCH_TEST(a_fresh_instance_is_whole_or_comes_again),
	    WATCH_TEST(a_clock_that_is_not_taken_any_more_is_begun_anew),
	    WATCH_TEST(a_clock_of_the_callers_must_be_right),
	    WATCH_TEST(a_helper_that_dies_is_no_end),
	    WATCH_TEST(what_it_always_dies_of_is_not_asked_for_ever),
	    WATCH_TEST(what_is_not_armed_has_longer),
	    WATCH_TEST(an_answer_is_an_end),
	    WATCH_TEST(an_agent_does_not_end_it_well),
	    WATCH_TEST(it_does_not_come_back_where_that_is_not_wanted),
	    WATCH_TEST(an_agent_that_is_silent_is_lost),
	    WATCH_TEST(a_barrier_comes_back),
	    WATCH_TEST(barriers_have_an_end),
	    WATCH_TEST(it_ends_with_what_has_happened),
	    WATCH_TEST(who_keeps_changes_keeps_the_agent_waiting),
	    WATCH_TEST(what_is_kept_over_a_loss_gives_no_credit),
	    cmocka_unit_test(paths_stay_below_their_root),
	    WATCH_TEST(a_change_elsewhere_is_not_believed),
	    WATCH_TEST(a_warning_elsewhere_is_not_believed),
	    WATCH_TEST(it_may_be_left_in_any_callback),
	    WATCH_TEST(freeing_the_client_frees_watches),
	};

	return cmocka_run_group_tests_name("telex_watch", tests, NULL, NULL);
}
