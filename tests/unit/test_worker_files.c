/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls about files in a worker: what is asked of the keeper, what is passed on to a telex-files
 * (which is the test), what comes back, and what becomes of both when one of them goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/files_frame.h"
#include "telex/internal/v1/files.pb-c.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/helper_rig.h"

#define SERVICE "telex.v1.FileService"
#define GRANT   "\ngrant g { identities = {\"" RIG_USER "\"} roles = {\"r\", \"s\"} }"

/* The path of the StatRequest that comes. */
static void expect_path(struct asker *f, struct helper_rig *h, const char *path)
{
	Telex__V1__StatRequest *m;
	uint8_t body[8192];
	size_t len = 0;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__stat_request__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->path.len, strlen(path));
	assert_memory_equal(m->path.data, path, m->path.len);
	telex__v1__stat_request__free_unpacked(m, NULL);
}

static void answer(struct asker *f, struct helper_rig *h)
{
	Telex__V1__FileInfo info = TELEX__V1__FILE_INFO__INIT;
	Telex__V1__StatResponse m = TELEX__V1__STAT_RESPONSE__INIT;
	uint8_t body[256];

	info.size = 42;
	m.file = &info;
	helper_frame(f, h, FILES_MESSAGE, body, telex__v1__stat_response__pack(&m, body));
	helper_status(f, h, RPC_OK, "");
}

/* ---- the client's side ---- */

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void ask_stat(struct asker *f, const char *user, const char *path)
{
	Telex__V1__StatRequest q = TELEX__V1__STAT_REQUEST__INIT;

	q.user = (char *)(uintptr_t)user;
	q.path = bytes(path);
	asker_ask(f, SERVICE, "Stat", &telex__v1__stat_response__descriptor, false, &q.base);
}

static void expect_stat(struct asker *f)
{
	asker_answered(f, RPC_OK, "");
	assert_int_equal(((Telex__V1__StatResponse *)f->last)->file->size, 42);
}

static void set_policy(struct asker *f, const char *roles)
{
	char text[2048];

	snprintf(text, sizeof(text), "%s" GRANT, roles);
	worker_rig_policy(&f->rig, text);
}

#define TWO_ROLES                                                                                  \
	"role r { methods = {\"**\"} users = {\"*\"} read = {\"/a/**\"} max_upload = 1K }\n"       \
	"role s { methods = {\"**\"} users = {\"*\"} read = {\"/b/**\"} write = {\"/c/**\"}\n"     \
	"  max_upload_files = 7 max_unfinished = 3 }\n"

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

/* ---- tests ---- */

static void a_call_is_passed_on_and_back(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_stat(f, "", "/etc//passwd/./");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/etc/passwd");
	helper_expect(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	/* The next one finds it there. */
	ask_stat(f, "", "/");
	helper_not_asked(f);
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/");
	helper_expect(f, h, FILES_HALF_CLOSE);
	helper_status(f, h, RPC_NOT_FOUND, "NO_SUCH_FILE");
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_FILE");
	assert_string_equal(f->status.message, "because");
	assert_string_equal(rpc_status_get(&f->status, "path"), "/x");
	/* GetInfo tells how it is locked in. */
	assert_int_equal(f->rig.worker.files_confinement.n, 1);
	assert_string_equal(f->rig.worker.files_confinement.list[0].name, "landlock");
}

static void a_relative_path_is_in_the_home_folder(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_stat(f, "alice", "x/./y");
	h = helper_give_ready(f, "alice");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/home/alice/x/y");
	helper_expect(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	ask_stat(f, "alice", ".");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/home/alice");
}

static void paths_that_are_none_reach_nobody(void **state)
{
	static char longest[4097];
	struct asker *f = *state;
	Telex__V1__StatRequest q = TELEX__V1__STAT_REQUEST__INIT;
	static const char *const wrong[] = {"..", "/..", "/a/../b", "a/..", "../a", ""};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ask_stat(f, "", wrong[i]);
		asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	}
	assert_non_null(strstr(f->status.message, "path"));
	q.path = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "/a\0b"};
	asker_ask(f, SERVICE, "Stat", &telex__v1__stat_response__descriptor, false, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	ask_stat(f, "", longest);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	ask_stat(f, "", "/a..b");
	(void)helper_give(f, "");
}

/* rmdir(2), rename(2): a folder goes by its name. Of a relative path "." would be the home. */
static void what_ends_in_a_dot_is_not_removed(void **state)
{
	struct asker *f = *state;
	static const char *const wrong[] = {".", "./", "/a/.", "a/.//"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		Telex__V1__FileServiceRemoveRequest r =
		    TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;
		Telex__V1__MoveRequest m = TELEX__V1__MOVE_REQUEST__INIT;

		r.path = m.source = bytes(wrong[i]);
		m.target = bytes("/b");
		asker_ask(f, SERVICE, "Remove",
		    &telex__v1__file_service_remove_response__descriptor, false, &r.base);
		asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
		assert_non_null(strstr(f->status.message, "ends in '.'"));
		asker_ask(
		    f, SERVICE, "Move", &telex__v1__move_response__descriptor, false, &m.base);
		asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	}
}

static void one_role_decides(void **state)
{
	struct asker *f = *state;
	Telex__Internal__V1__FilesSetup *m;
	Telex__V1__CopyRequest q = TELEX__V1__COPY_REQUEST__INIT;
	Telex__Internal__V1__FilesReady none = TELEX__INTERNAL__V1__FILES_READY__INIT;
	struct helper_rig *h;
	uint8_t body[64];

	set_policy(f, TWO_ROLES);
	ask_stat(f, "", "/b/x");
	h = helper_give(f, "");
	m = helper_expect_setup(f, h);
	assert_int_equal(m->n_roles, 2);
	assert_string_equal(m->roles[0]->read[0], "/a/**");
	assert_int_equal(m->roles[0]->n_write, 0);
	assert_true(m->roles[0]->max_upload_bytes == 1024);
	assert_string_equal(m->roles[1]->write[0], "/c/**");
	assert_true(m->roles[1]->max_upload_files == 7 && m->roles[1]->max_unfinished == 3);
	telex__internal__v1__files_setup__free_unpacked(m, NULL);
	helper_frame(f, h, FILES_READY, body, telex__internal__v1__files_ready__pack(&none, body));
	helper_expect_call(f, h, "Stat", 1);
	expect_path(f, h, "/b/x");
	helper_expect(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	/* Rights of two roles are not put together. */
	q.source = bytes("/a/x");
	q.target = bytes("/c/x");
	asker_ask(f, SERVICE, "Copy", &telex__v1__copy_response__descriptor, false, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	q.source = bytes("/b/x");
	asker_ask(f, SERVICE, "Copy", &telex__v1__copy_response__descriptor, false, &q.base);
	helper_expect_call(f, h, "Copy", 1);
}

static void what_is_denied_reaches_nobody(void **state)
{
	struct asker *f = *state;

	set_policy(f, "role r { methods = {\"**\"} users = {\"deploy\"} read = {\"/a/**\"} }\n"
	              "role s { methods = {\"telex.v1.FileService/List\"} users = {\"*\"}\n"
	              "  read = {\"/b/**\"} }\n");
	ask_stat(f, "deploy", "/b/x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	ask_stat(f, "root", "/a/x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	ask_stat(f, "", "/a/x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	/* Nor does it find out where another's home is. */
	ask_stat(f, "root", "x");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	helper_not_asked(f);
	ask_stat(f, "deploy", "x");
	(void)helper_give_ready(f, "deploy");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	assert_non_null(strstr(f->status.message, "/home/alice/x"));
}

static void a_role_is_counted_among_those_for_the_user(void **state)
{
	struct asker *f = *state;
	Telex__Internal__V1__FilesSetup *m;
	struct helper_rig *h;

	set_policy(f, "role r { methods = {\"**\"} users = {\"other\"} read = {\"/**\"} }\n"
	              "role s { methods = {\"**\"} users = {\"deploy\"} read = {\"/b/**\"} }\n");
	ask_stat(f, "deploy", "/b/x");
	h = helper_give(f, "deploy");
	m = helper_expect_setup(f, h);
	assert_int_equal(m->n_roles, 1);
	assert_string_equal(m->roles[0]->read[0], "/b/**");
	telex__internal__v1__files_setup__free_unpacked(m, NULL);
	helper_frame(f, h, FILES_READY, NULL, 0);
	helper_expect_call(f, h, "Stat", 0);
}

static void nothing_comes_to_be_readable_by_moving(void **state)
{
	struct asker *f = *state;
	Telex__V1__MoveRequest q = TELEX__V1__MOVE_REQUEST__INIT;
	Telex__V1__LinkRequest l = TELEX__V1__LINK_REQUEST__INIT;

	set_policy(f,
	    "role r { methods = {\"**\"} users = {\"*\"} write = {\"/in/**\", \"/pub/**\"}\n"
	    "  read = {\"/pub/**\"} }\nrole s {}\n");
	q.source = bytes("/in/x");
	q.target = bytes("/pub/x");
	asker_ask(f, SERVICE, "Move", &telex__v1__move_response__descriptor, false, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	q.source = bytes("/pub/x");
	q.target = bytes("/in/x");
	q.replace = TELEX__V1__REPLACE__REPLACE_EXCHANGE;
	asker_ask(f, SERVICE, "Move", &telex__v1__move_response__descriptor, false, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	l.target = bytes("/in/x");
	l.path = bytes("/pub/x");
	asker_ask(f, SERVICE, "Link", &telex__v1__link_response__descriptor, false, &l.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	l.target = bytes("/etc/passwd");
	asker_ask(f, SERVICE, "Link", &telex__v1__link_response__descriptor, false, &l.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	helper_not_asked(f);
	/* A symbolic link may say what it likes. */
	l.symbolic = true;
	asker_ask(f, SERVICE, "Link", &telex__v1__link_response__descriptor, false, &l.base);
	(void)helper_give(f, "");
}

static void within_what_is_not_readable_things_may_move(void **state)
{
	struct asker *f = *state;
	Telex__V1__MoveRequest q = TELEX__V1__MOVE_REQUEST__INIT;

	set_policy(
	    f, "role r { methods = {\"**\"} users = {\"*\"} write = {\"/in/**\"} }\nrole s {}\n");
	q.source = bytes("/in/x");
	q.target = bytes("/in/y");
	asker_ask(f, SERVICE, "Move", &telex__v1__move_response__descriptor, false, &q.base);
	(void)helper_give(f, "");
}

static void a_refusal_of_the_keepers_is_told(void **state)
{
	struct asker *f = *state;
	union km_any m;

	ask_stat(f, "", "/x");
	assert_true(helper_asked(f, &m));
	fake_keeper_refuse(f->keeper, m.hdr.seq, KM_WHY_HELPERS);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	/* It is not held against the next. */
	ask_stat(f, "", "/x");
	(void)helper_give(f, "");
}

static void one_that_dies_is_told_and_another_comes(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_stat(f, "", "/x");
	h = helper_give(f, "");
	helper_hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	helper_hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	/* One that dies while nobody needs it is no loss. */
	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	answer(f, h);
	expect_stat(f);
	helper_hang_up(f, h);
	ask_stat(f, "", "/x");
	(void)helper_give(f, "");
}

static void one_that_cannot_lock_itself_in_is_told(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_stat(f, "", "/x");
	h = helper_give(f, "");
	telex__internal__v1__files_setup__free_unpacked(helper_expect_setup(f, h), NULL);
	helper_status(f, h, RPC_INTERNAL, "SYSTEM");
	asker_answered(f, RPC_INTERNAL, "SYSTEM");
	assert_string_equal(f->status.message, "because");
}

static void a_cancelled_call_ends_its_helper(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;
	uint8_t body[64];
	size_t len;

	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/x");
	helper_expect(f, h, FILES_HALF_CLOSE);
	rpc_cancel(f->call);
	asker_answered(f, RPC_CANCELLED, "");
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), -1);
	/* One that waits is just gone. */
	ask_stat(f, "", "/x");
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	h = helper_give_ready(f, "");
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), 0);
}

static void the_sessions_end_is_theirs(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;
	uint8_t body[64];
	size_t len;

	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/x");
	helper_expect(f, h, FILES_HALF_CLOSE);
	h2_close(f->rig.pair.client.conn, H2_NO_ERROR);
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), -1);
}

/* ---- several at once ---- */

#define CALLS 6

static struct rpc_call *open_stat(struct asker *f, const char *path)
{
	ask_stat(f, "", path);
	return f->call;
}

static void a_few_side_by_side_and_the_others_wait(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h[4];

	for (int i = 0; i < CALLS; i++) {
		char path[8];

		snprintf(path, sizeof(path), "/%d", i);
		(void)open_stat(f, path);
	}
	for (int i = 0; i < 4; i++)
		h[i] = helper_give(f, "");
	helper_not_asked(f);
	for (int i = 0; i < 4; i++)
		helper_ready(f, h[i]);
	helper_expect_call(f, h[0], "Stat", 0);
	expect_path(f, h[0], "/0");
	helper_expect(f, h[0], FILES_HALF_CLOSE);
	helper_expect_call(f, h[3], "Stat", 0);
	expect_path(f, h[3], "/3");
	/* In their order, whoever is free. */
	answer(f, h[0]);
	helper_expect_call(f, h[0], "Stat", 0);
	expect_path(f, h[0], "/4");
	/* Where one dies, another takes its place. */
	helper_hang_up(f, h[1]);
	h[1] = helper_give_ready(f, "");
	helper_expect_call(f, h[1], "Stat", 0);
	expect_path(f, h[1], "/5");
}

static void users_have_their_own(void **state)
{
	struct asker *f = *state;
	struct helper_rig *a, *b;

	ask_stat(f, "a", "/x");
	ask_stat(f, "b", "/y");
	a = helper_give_ready(f, "a");
	b = helper_give_ready(f, "b");
	helper_expect_call(f, a, "Stat", 0);
	expect_path(f, a, "/x");
	helper_expect_call(f, b, "Stat", 0);
	expect_path(f, b, "/y");
}

/* The keeper has no more to give: those that are there are waited for. */
static void who_can_have_none_waits_for_those_that_there_are(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;
	union km_any m;

	ask_stat(f, "", "/1");
	ask_stat(f, "", "/2");
	h = helper_give(f, "");
	assert_true(helper_asked(f, &m));
	fake_keeper_refuse(f->keeper, m.hdr.seq, KM_WHY_HELPERS);
	worker_rig_settle(&f->rig);
	assert_false(f->done);
	helper_ready(f, h);
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/1");
	helper_expect(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/2");
}

/* ---- streams ---- */

static void ask_write(struct asker *f, const char *path)
{
	Telex__V1__WriteRequest q = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteBegin b = TELEX__V1__WRITE_BEGIN__INIT;

	asker_ask(f, SERVICE, "Write", &telex__v1__write_response__descriptor, false, NULL);
	b.path = bytes(path);
	q.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
	q.begin = &b;
	assert_int_equal(rpc_send(f->call, &q.base), 0);
}

static void send_chunk(struct asker *f, size_t len)
{
	static uint8_t zeros[256 << 10] = {0};
	Telex__V1__WriteRequest q = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__FileChunk c = TELEX__V1__FILE_CHUNK__INIT;

	c.data = (ProtobufCBinaryData){len, zeros};
	q.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
	q.chunk = &c;
	assert_int_equal(rpc_send(f->call, &q.base), 0);
}

static void later_messages_go_through_as_they_are(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;
	static uint8_t body[1 << 19];
	size_t len = 0;

	ask_write(f, "/x");
	send_chunk(f, 1000);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Write", 0);
	helper_expect(f, h, FILES_MESSAGE);
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	assert_in_range(len, 1000, 1020);
	send_chunk(f, 256 << 10);
	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	rpc_half_close(f->call);
	helper_expect(f, h, FILES_HALF_CLOSE);
	helper_frame(f, h, FILES_MESSAGE, "\x08\x01", 2);
	helper_status(f, h, RPC_OK, "");
	asker_answered(f, RPC_OK, "");
	assert_int_equal(((Telex__V1__WriteResponse *)f->last)->size, 1);
}

/* A helper that does not read holds its client up, and nothing grows. */
static void a_slow_helper_holds_its_client_up(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;
	static uint8_t body[1 << 19];
	size_t len, sent = 0, got = 0;
	int n = 0;

	ask_write(f, "/x");
	h = helper_give_ready(f, "");
	worker_rig_settle(&f->rig);
	while (rpc_pending(f->call) < (1 << 20) && n < 1000) {
		send_chunk(f, 64 << 10);
		sent += 64 << 10;
		n++;
		worker_rig_settle(&f->rig);
	}
	/* Sockets, windows and buffers are far from 64 MiB. */
	assert_true(n < 1000);
	assert_true(rpc_pending(f->call) >= (1 << 20));
	rpc_half_close(f->call);
	helper_expect_call(f, h, "Write", 0);
	helper_expect(f, h, FILES_MESSAGE);
	for (;;) {
		int type = helper_next(f, h, body, sizeof(body), &len);

		if (type != FILES_MESSAGE) {
			assert_int_equal(type, FILES_HALF_CLOSE);
			break;
		}
		got += len;
	}
	assert_true(got > sent);
}

/* A client that does not read holds its helper up. */
static void a_slow_client_holds_its_helper_up(void **state)
{
	struct asker *f = *state;
	Telex__V1__ReadRequest q = TELEX__V1__READ_REQUEST__INIT;
	static uint8_t body[64 << 10];
	const struct files_frame head = {sizeof(body), FILES_MESSAGE};
	struct helper_rig *h;
	size_t total = 0;

	/* Field 15, unknown to ReadResponse. */
	memcpy(body, "\x7a\xfc\xff\x03", 4);
	f->hold = true;
	q.path = bytes("/x");
	asker_ask(f, SERVICE, "Read", &telex__v1__read_response__descriptor, true, &q.base);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Read", 0);
	for (int idle = 0; idle < 3 && total < (64 << 20);) {
		ssize_t n = -1;
		size_t at = total % (sizeof(head) + sizeof(body));

		n = at < sizeof(head)
		        ? send(h->fd, (const char *)&head + at, sizeof(head) - at,
		              MSG_DONTWAIT | MSG_NOSIGNAL)
		        : send(h->fd, body + at - sizeof(head), sizeof(body) - (at - sizeof(head)),
		              MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			total += (size_t)n;
			idle = 0;
		} else {
			idle++;
			worker_rig_settle(&f->rig);
		}
	}
	assert_true(total < (16 << 20));
	assert_false(f->done);
	f->hold = false;
	rpc_credit(f->call, f->owed);
	worker_rig_settle(&f->rig);
	assert_true(send(h->fd, body, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1);
}

static void a_stream_begins_with_its_begin(void **state)
{
	struct asker *f = *state;

	asker_ask(f, SERVICE, "Write", &telex__v1__write_response__descriptor, false, NULL);
	send_chunk(f, 10);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	asker_ask(f, SERVICE, "Write", &telex__v1__write_response__descriptor, false, NULL);
	rpc_half_close(f->call);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	helper_not_asked(f);
}

/* The helper has ended the call; what its client still sends is passed over there, not kept. */
static void a_call_that_ended_early_leaves_its_helper_usable(void **state)
{
	struct asker *f = *state;
	struct helper_rig *h;

	ask_write(f, "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Write", 0);
	helper_expect(f, h, FILES_MESSAGE);
	helper_status(f, h, RPC_RESOURCE_EXHAUSTED, "DISK_FULL");
	helper_expect(f, h, FILES_HALF_CLOSE);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "DISK_FULL");
	ask_stat(f, "", "/y");
	helper_expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/y");
}

static void a_trees_target_may_be_below(void **state)
{
	struct asker *f = *state;
	Telex__V1__PutTreeRequest q = TELEX__V1__PUT_TREE_REQUEST__INIT;
	Telex__V1__PutTreeStart s = TELEX__V1__PUT_TREE_START__INIT;
	struct helper_rig *h;

	set_policy(f, "role r { methods = {\"**\"} users = {\"*\"} write = {\"/srv/*.html\"} }\n"
	              "role s {}\n");
	q.request_case = TELEX__V1__PUT_TREE_REQUEST__REQUEST_START;
	q.start = &s;
	s.path = bytes("/srv");
	s.name = bytes("x.html");
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &q.base);
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "PutTree", 0);
	s.name = bytes("x.sh");
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	s.name = bytes("../x.html");
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
}

/* ---- heartbeats ---- */

static bool beat;

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct asker *f = arg;

	(void)fd;
	(void)what;
	beat = f->responses > 0 || f->done;
}

/* Runs until a response has come. */
static void wait_for_response(struct asker *f)
{
	const struct timeval often = {0, 10000};
	struct event *tick = event_new(f->rig.pair.base, -1, EV_PERSIST, on_tick, f);

	assert_non_null(tick);
	beat = false;
	event_add(tick, &often);
	assert_true(h2_pair_run(&f->rig.pair, &beat));
	event_free(tick);
	assert_false(f->done);
}

static void an_idle_tree_has_heartbeats(void **state)
{
	struct asker *f = *state;
	Google__Protobuf__Duration second = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__GetTreeRequest g = TELEX__V1__GET_TREE_REQUEST__INIT;
	Telex__V1__GetTreeStart gs = TELEX__V1__GET_TREE_START__INIT;
	Telex__V1__PutTreeRequest p = TELEX__V1__PUT_TREE_REQUEST__INIT;
	Telex__V1__PutTreeStart ps = TELEX__V1__PUT_TREE_START__INIT;
	ProtobufCBinaryData path = bytes("/x");
	struct helper_rig *h;

	second.seconds = 1;
	g.request_case = TELEX__V1__GET_TREE_REQUEST__REQUEST_START;
	g.start = &gs;
	gs.paths = &path;
	gs.n_paths = 1;
	gs.heartbeat_interval = &second;
	asker_ask(f, SERVICE, "GetTree", &telex__v1__get_tree_response__descriptor, true, &g.base);
	(void)helper_give_ready(f, "");
	wait_for_response(f);
	assert_int_equal(((Telex__V1__GetTreeResponse *)f->last)->response_case,
	    TELEX__V1__GET_TREE_RESPONSE__RESPONSE_HEARTBEAT);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	/* Of the other kind, what was begun is said first. */
	p.request_case = TELEX__V1__PUT_TREE_REQUEST__REQUEST_START;
	p.start = &ps;
	ps.path = path;
	ps.heartbeat_interval = &second;
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &p.base);
	h = helper_give_ready(f, "");
	helper_frame(f, h, FILES_MESSAGE, "\x0a\x00", 2);
	wait_for_response(f);
	assert_int_equal(((Telex__V1__PutTreeResponse *)f->last)->response_case,
	    TELEX__V1__PUT_TREE_RESPONSE__RESPONSE_STARTED);
	f->responses = 0;
	wait_for_response(f);
	assert_int_equal(((Telex__V1__PutTreeResponse *)f->last)->response_case,
	    TELEX__V1__PUT_TREE_RESPONSE__RESPONSE_RECEIVE);
	assert_non_null(((Telex__V1__PutTreeResponse *)f->last)->receive->heartbeat);
	/* Not any interval will do. */
	second.seconds = 0;
	second.nanos = 1;
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &p.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void a_helper_that_breaks_the_contract_is_let_go(void **state)
{
	struct asker *f = *state;
	const struct files_frame head = {FILES_FRAME_MAX + 1, FILES_MESSAGE};
	struct helper_rig *h;

	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	assert_int_equal(send(h->fd, &head, sizeof(head), 0), sizeof(head));
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	helper_frame(f, h, FILES_SETUP, "x", 1);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	/* No answer at all, and OK. */
	ask_stat(f, "", "/x");
	h = helper_give_ready(f, "");
	helper_expect_call(f, h, "Stat", 0);
	helper_status(f, h, RPC_OK, "");
	asker_answered(f, RPC_INTERNAL, "SYSTEM");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_call_is_passed_on_and_back),
	    TEST(a_relative_path_is_in_the_home_folder),
	    TEST(paths_that_are_none_reach_nobody),
	    TEST(what_ends_in_a_dot_is_not_removed),
	    TEST(one_role_decides),
	    TEST(what_is_denied_reaches_nobody),
	    TEST(a_role_is_counted_among_those_for_the_user),
	    TEST(nothing_comes_to_be_readable_by_moving),
	    TEST(within_what_is_not_readable_things_may_move),
	    TEST(a_refusal_of_the_keepers_is_told),
	    TEST(one_that_dies_is_told_and_another_comes),
	    TEST(one_that_cannot_lock_itself_in_is_told),
	    TEST(a_cancelled_call_ends_its_helper),
	    TEST(the_sessions_end_is_theirs),
	    TEST(a_few_side_by_side_and_the_others_wait),
	    TEST(users_have_their_own),
	    TEST(who_can_have_none_waits_for_those_that_there_are),
	    TEST(later_messages_go_through_as_they_are),
	    TEST(a_slow_helper_holds_its_client_up),
	    TEST(a_slow_client_holds_its_helper_up),
	    TEST(a_stream_begins_with_its_begin),
	    TEST(a_call_that_ended_early_leaves_its_helper_usable),
	    TEST(a_trees_target_may_be_below),
	    TEST(an_idle_tree_has_heartbeats),
	    TEST(a_helper_that_breaks_the_contract_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
