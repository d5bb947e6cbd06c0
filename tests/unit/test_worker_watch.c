/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that watch, in a worker: each has a connection of its own to the telex-files that watches
 * for all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/file_call.h"
#include "agent/worker/file_pool.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "telex/v1/file.pb-c.h"
#include "telex/v1/watch.pb-c.h"
#include "tests/support/helper_rig.h"

#define SERVICE "telex.v1.WatchService"
#define GRANT   "\ngrant g { identities = {\"" RIG_USER "\"} roles = {\"r\", \"s\"} }"
#define TWO_ROLES                                                                                  \
	"role r { methods = {\"**\"} users = {\"*\"} read = {\"/a/**\"} watch = {\"/r/**\"} }\n"   \
	"role s { methods = {\"**\"} users = {\"*\"} watch = {\"/b/**\", \"/c/**\"} }\n"

static int set_up(void **state)
{
	helper_rigs_begin();
	return asker_set_up(state);
}

static int tear_down(void **state)
{
	helper_rigs_end();
	return asker_tear_down(state);
}

static void set_policy(struct asker *f, const char *roles)
{
	char text[2048];

	snprintf(text, sizeof(text), "%s" GRANT, roles);
	worker_rig_policy(&f->rig, text);
}

/* ---- the client ---- */

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

/* second: NULL for none; heartbeat: NULL for none. */
static void ask_with(struct asker *f, const char *user, const char *first, const char *second,
    Google__Protobuf__Duration *heartbeat)
{
	ProtobufCBinaryData paths[2];
	Telex__V1__WatchBegin begin = TELEX__V1__WATCH_BEGIN__INIT;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;

	asker_ask(f, SERVICE, "Watch", &telex__v1__watch_response__descriptor, true, NULL);
	paths[0] = bytes(first);
	paths[1] = bytes(second != NULL ? second : "");
	begin.user = (char *)(uintptr_t)user;
	begin.paths = paths;
	begin.n_paths = second != NULL ? 2 : 1;
	begin.heartbeat_interval = heartbeat;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN;
	m.begin = &begin;
	assert_int_equal(rpc_send(f->call, &m.base), 0);
}

static void ask_watch(struct asker *f, const char *path)
{
	ask_with(f, "", path, NULL, NULL);
}

static void send_sync(struct asker *f, uint64_t id)
{
	Telex__V1__WatchSync one = TELEX__V1__WATCH_SYNC__INIT;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;

	one.id = id;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_SYNC;
	m.sync = &one;
	assert_int_equal(rpc_send(f->call, &m.base), 0);
}

static void ask_stat(struct asker *f, const char *path)
{
	Telex__V1__StatRequest q = TELEX__V1__STAT_REQUEST__INIT;

	q.path = bytes(path);
	asker_ask(f, "telex.v1.FileService", "Stat", &telex__v1__stat_response__descriptor, false,
	    &q.base);
}

/* ---- what watches ---- */

static Telex__V1__WatchRequest *expect_request(struct asker *f, struct helper_rig *h)
{
	Telex__V1__WatchRequest *m;
	uint8_t body[8192];
	size_t len = 0;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__watch_request__unpack(NULL, len, body);
	assert_non_null(m);
	return m;
}

static void expect_begin(
    struct asker *f, struct helper_rig *h, const char *first, const char *second)
{
	Telex__V1__WatchRequest *m = expect_request(f, h);

	assert_int_equal(m->request_case, TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN);
	assert_int_equal(m->begin->n_paths, second != NULL ? 2 : 1);
	for (size_t i = 0; i < m->begin->n_paths; i++) {
		const char *path = i == 0 ? first : second;

		if (path == NULL)
			fail_msg("one more path");
		assert_int_equal(m->begin->paths[i].len, strlen(path));
		assert_memory_equal(m->begin->paths[i].data, path, strlen(path));
	}
	telex__v1__watch_request__free_unpacked(m, NULL);
}

static void expect_sync(struct asker *f, struct helper_rig *h, uint64_t id)
{
	Telex__V1__WatchRequest *m = expect_request(f, h);

	assert_int_equal(m->request_case, TELEX__V1__WATCH_REQUEST__REQUEST_SYNC);
	assert_true(m->sync->id == id);
	telex__v1__watch_request__free_unpacked(m, NULL);
}

static void send_synced(struct asker *f, struct helper_rig *h, uint64_t id)
{
	Telex__V1__WatchSynced synced = TELEX__V1__WATCH_SYNCED__INIT;
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	uint8_t body[64];

	synced.id = id;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED;
	m.synced = &synced;
	helper_frame(f, h, FILES_MESSAGE, body, telex__v1__watch_response__pack(&m, body));
	worker_rig_settle(&f->rig);
}

static void expect_closed(struct asker *f, struct helper_rig *h)
{
	uint8_t body[64];
	size_t len;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), -1);
}

/* A call that watches by now; its begin was taken. */
static struct helper_rig *watch(struct asker *f, const char *path)
{
	struct helper_rig *h;

	ask_watch(f, path);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Watch", 0);
	expect_begin(f, h, path, NULL);
	return h;
}

/* ---- tests ---- */

static void a_call_is_passed_on_and_back(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_with(f, "", "/srv//x/", "/srv/./y", NULL);
	send_sync(f, 7);
	h = helper_give_ready(f, "");
	assert_int_equal(h->asked.watch, 1);
	helper_expect_call(f, h, "Watch", 0);
	expect_begin(f, h, "/srv/x", "/srv/y");
	expect_sync(f, h, 7);
	send_synced(f, h, 7);
	assert_true(((Telex__V1__WatchResponse *)f->last)->synced->id == 7);
	send_sync(f, 8);
	expect_sync(f, h, 8);
	rpc_half_close(f->call);
	helper_expect(f, h, FILES_HALF_CLOSE);
	helper_status(f, h, RPC_OK, "");
	asker_answered(f, RPC_OK, "");
	/* It is of no use for another call. */
	expect_closed(f, h);
	ask_watch(f, "/srv/x");
	(void)helper_give(f, "");
}

static void the_key_is_the_setups_hash(void **state)
{
	struct asker *f = *state;
	uint8_t body[4096], hash[DIGEST_SIZE], first[DIGEST_SIZE];
	struct digest *d = digest_new();
	struct helper_rig *h;
	size_t len = 0;

	ask_watch(f, "/x");
	h = helper_give(f, "");
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_SETUP);
	assert_int_equal(digest_add(d, body, len), 0);
	assert_int_equal(digest_end(d, hash), 0);
	digest_free(d);
	assert_memory_equal(h->asked.key, hash, sizeof(hash));
	memcpy(first, hash, sizeof(hash));
	/* The same for another call, and another where the policy is. */
	ask_watch(f, "/y");
	h = helper_give(f, "");
	assert_memory_equal(h->asked.key, first, sizeof(first));
	set_policy(f, TWO_ROLES);
	ask_watch(f, "/b/y");
	h = helper_give(f, "");
	assert_memory_not_equal(h->asked.key, first, sizeof(first));
}

static void every_call_has_one_of_its_own(void **state)
{
	struct asker *f = *state;
	struct helper_rig *a, *b, *c;

	a = watch(f, "/a");
	b = watch(f, "/b");
	/* Those that do not watch are others. */
	ask_stat(f, "/c");
	c = helper_give_ready(f, "");
	assert_int_equal(c->asked.watch, 0);
	helper_expect_call(f, c, "Stat", 0);
	helper_expect(f, c, FILES_MESSAGE);
	helper_expect(f, c, FILES_HALF_CLOSE);
	helper_frame(f, c, FILES_MESSAGE, "", 0);
	helper_status(f, c, RPC_OK, "");
	asker_answered(f, RPC_OK, "");
	(void)watch(f, "/c");
	/* And are not counted with them: these are free for four. */
	for (int i = 0; i < FILE_POOL_MAX; i++) {
		ask_stat(f, "/d");
		if (i > 0)
			(void)helper_give(f, "");
	}
	helper_status(f, a, RPC_OK, "");
	helper_expect(f, a, FILES_HALF_CLOSE);
	expect_closed(f, a);
	helper_expect_call(f, c, "Stat", 0);
	helper_hang_up(f, b);
}

static void what_may_not_be_watched_reaches_nobody(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	set_policy(f, TWO_ROLES);
	ask_watch(f, "/a/x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	assert_non_null(strstr(f->status.message, "/a/x may not be watched"));
	/* Rights of two roles are not put together. */
	ask_with(f, "", "/r/x", "/b/x", NULL);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	ask_with(f, "", "/b/x", "/etc", NULL);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	helper_not_asked(f);
	ask_with(f, "", "/b/x", "/c", NULL);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Watch", 1);
	set_policy(f, "role r { methods = {\"telex.v1.FileService/*\"} users = {\"*\"} watch = "
	              "{\"/**\"} }\nrole s {}\n");
	ask_watch(f, "/b/x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
}

static void a_relative_path_is_in_the_home_folder(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	set_policy(f,
	    "role r { methods = {\"**\"} users = {\"alice\"} watch = {\"/home/alice/src/**\"} "
	    "}\nrole s {}\n");
	ask_with(f, "alice", "src", NULL, NULL);
	h = helper_give_ready(f, "alice");
	helper_expect_call(f, h, "Watch", 0);
	expect_begin(f, h, "/home/alice/src", NULL);
	ask_with(f, "alice", "other", NULL, NULL);
	h = helper_give_ready(f, "alice");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	expect_closed(f, h);
	ask_with(f, "root", "src", NULL, NULL);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	helper_not_asked(f);
}

static void requests_that_are_none_reach_nobody(void **state)
{
	struct asker *f = *state;

	ask_watch(f, "/a/../b");
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	asker_ask(f, SERVICE, "Watch", &telex__v1__watch_response__descriptor, true, NULL);
	send_sync(f, 1);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	asker_ask(f, SERVICE, "Watch", &telex__v1__watch_response__descriptor, true, NULL);
	rpc_half_close(f->call);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	helper_not_asked(f);
}

static void its_death_is_told(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_watch(f, "/x");
	h = helper_give(f, "");
	helper_hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	h = watch(f, "/x");
	helper_hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
}

static void what_it_says_before_it_is_ready_is_told(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_watch(f, "/x");
	h = helper_give(f, "");
	telex__internal__v1__files_setup__free_unpacked(helper_expect_setup(f, h), NULL);
	helper_status(f, h, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	assert_string_equal(f->status.message, "because");
	expect_closed(f, h);
}

static void a_refusal_of_the_keepers_is_told(void **state)
{
	struct asker *f = *state;
	union km_any m;

	ask_watch(f, "/x");
	assert_true(helper_asked(f, &m));
	fake_keeper_refuse(f->keeper, m.hdr.seq, KM_WHY_HELPERS);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	(void)watch(f, "/x");
}

static void one_that_is_not_wanted_any_more_is_let_go(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h = watch(f, "/x");

	rpc_cancel(f->call);
	expect_closed(f, h);
	/* Before it is there, and before it is ready. */
	ask_watch(f, "/x");
	worker_rig_settle(&f->rig);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	h = helper_give(f, "");
	expect_closed(f, h);
	ask_watch(f, "/x");
	h = helper_give(f, "");
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	helper_expect(f, h, FILES_SETUP);
	expect_closed(f, h);
}

static void there_are_no_more_than_so_many_of_a_session(void **state)
{
	struct asker *f = *state;
	struct rpc_call *last;
	struct helper_rig *h;
	char limit[8];

	for (int i = 1; i < FILE_POOL_WATCHES; i++)
		(void)watch(f, "/x");
	ask_watch(f, "/x");
	last = f->call;
	/* One that is on its way counts, too. */
	ask_watch(f, "/x");
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	snprintf(limit, sizeof(limit), "%d", FILE_POOL_WATCHES);
	assert_string_equal(rpc_status_get(&f->status, "limit"), limit);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Watch", 0);
	rpc_cancel(last);
	worker_rig_settle(&f->rig);
	(void)watch(f, "/x");
}

static void they_move_at_once_when_another_worker_has_taken_over(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h, *stat;

	ask_stat(f, "/y");
	stat = helper_give_ready(f, "");
	helper_expect_call(f, stat, "Stat", 0);
	h = watch(f, "/x");
	f->rig.worker.moving = true;
	file_call_move_all(&f->rig.worker);
	asker_answered(f, RPC_UNAVAILABLE, "SHUTTING_DOWN");
	expect_closed(f, h);
	/* One that begins now does not begin. */
	ask_watch(f, "/x");
	asker_answered(f, RPC_UNAVAILABLE, "SHUTTING_DOWN");
	helper_not_asked(f);
	/* Others go on. */
	helper_expect(f, stat, FILES_MESSAGE);
	helper_expect(f, stat, FILES_HALF_CLOSE);
}

/* ---- heartbeats ---- */

static bool beat;

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct asker *f = arg;

	(void)fd;
	(void)what;
	beat = f->responses > 0 || f->done;
}

static void an_idle_one_has_heartbeats(void **state)
{
	const struct timeval often = {0, 10000};
	struct asker *f = *state;
	Google__Protobuf__Duration interval = GOOGLE__PROTOBUF__DURATION__INIT;
	struct event *tick = event_new(f->rig.pair.base, -1, EV_PERSIST, on_tick, f);

	interval.seconds = 1;
	ask_with(f, "", "/x", NULL, &interval);
	(void)helper_give_ready(f, "");
	beat = false;
	event_add(tick, &often);
	assert_true(h2_pair_run(&f->rig.pair, &beat));
	event_free(tick);
	assert_false(f->done);
	assert_int_equal(((Telex__V1__WatchResponse *)f->last)->response_case,
	    TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT);
	/* Not any interval will do. */
	interval.seconds = 0;
	ask_with(f, "", "/x", NULL, &interval);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_call_is_passed_on_and_back),
	    TEST(the_key_is_the_setups_hash),
	    TEST(every_call_has_one_of_its_own),
	    TEST(what_may_not_be_watched_reaches_nobody),
	    TEST(a_relative_path_is_in_the_home_folder),
	    TEST(requests_that_are_none_reach_nobody),
	    TEST(its_death_is_told),
	    TEST(what_it_says_before_it_is_ready_is_told),
	    TEST(a_refusal_of_the_keepers_is_told),
	    TEST(one_that_is_not_wanted_any_more_is_let_go),
	    TEST(there_are_no_more_than_so_many_of_a_session),
	    TEST(they_move_at_once_when_another_worker_has_taken_over),
	    TEST(an_idle_one_has_heartbeats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
