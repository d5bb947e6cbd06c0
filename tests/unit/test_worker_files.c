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
#include "tests/support/asker.h"

#define SERVICE "telex.v1.FileService"
#define GRANT   "\ngrant g { identities = {\"" RIG_USER "\"} roles = {\"r\", \"s\"} }"

/* A telex-files: the other end of the worker's socket. */
struct helper {
	int fd;
	uint8_t in[1 << 20];
	size_t len;
};

static struct helper helpers[8];
static unsigned n_helpers;

/* ---- the keeper's side ---- */

static bool take_ask(struct asker *f, union km_any *m)
{
	worker_rig_settle(&f->rig);
	return fake_keeper_take(f->keeper, KM_FILES, m, NULL);
}

static void expect_no_ask(struct asker *f)
{
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_FILES), 0);
}

/* Answers the keeper's next question with a new one, for this user. */
static struct helper *give(struct asker *f, const char *user)
{
	struct km_files_reply reply = {.pid = 4711, .home = "/home/alice"};
	struct helper *h = &helpers[n_helpers++];
	union km_any m;
	int pair[2];

	assert_true(take_ask(f, &m));
	assert_string_equal(m.files.owner, RIG_USER);
	assert_string_equal(m.files.user, user);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h->fd = pair[0];
	h->len = 0;
	fake_keeper_send(f->keeper, KM_FILES_REPLY, m.hdr.seq, &reply, pair[1]);
	worker_rig_settle(&f->rig);
	close(pair[1]);
	return h;
}

/* ---- the helper's side ---- */

static void frame(struct asker *f, struct helper *h, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};
	const uint8_t *at = (const uint8_t *)&head;
	size_t left = sizeof(head);

	for (int part = 0; part < 2; part++) {
		while (left > 0) {
			ssize_t n = send(h->fd, at, left, MSG_NOSIGNAL | MSG_DONTWAIT);

			if (n < 0 && errno == EAGAIN) {
				worker_rig_settle(&f->rig);
				continue;
			}
			assert_true(n > 0);
			at += n;
			left -= (size_t)n;
		}
		at = body;
		left = len;
	}
}

static void drop(struct helper *h, size_t n)
{
	memmove(h->in, h->in + n, h->len - n);
	h->len -= n;
}

/* The next frame's type and body; 0: nothing comes; -1: the worker has closed. */
static int next(struct asker *f, struct helper *h, uint8_t *body, size_t size, size_t *len)
{
	struct files_frame head;

	for (int i = 0; i < 100; i++) {
		ssize_t n;

		if (h->len >= sizeof(head)) {
			memcpy(&head, h->in, sizeof(head));
			if (h->len >= sizeof(head) + head.length) {
				assert_true(head.length <= size);
				memcpy(body, h->in + sizeof(head), head.length);
				*len = head.length;
				drop(h, sizeof(head) + head.length);
				return (int)head.type;
			}
		}
		worker_rig_settle(&f->rig);
		n = recv(h->fd, h->in + h->len, sizeof(h->in) - h->len, MSG_DONTWAIT);
		if (n == 0)
			return -1;
		if (n > 0)
			h->len += (size_t)n;
		else if (i > 2)
			return 0;
	}
	return 0;
}

static void expect_type(struct asker *f, struct helper *h, int type)
{
	uint8_t body[65536];
	size_t len;

	assert_int_equal(next(f, h, body, sizeof(body), &len), type);
}

static Telex__Internal__V1__FilesSetup *expect_setup(struct asker *f, struct helper *h)
{
	Telex__Internal__V1__FilesSetup *m;
	uint8_t body[65536];
	size_t len = 0;

	assert_int_equal(next(f, h, body, sizeof(body), &len), FILES_SETUP);
	m = telex__internal__v1__files_setup__unpack(NULL, len, body);
	assert_non_null(m);
	return m;
}

static void ready(struct asker *f, struct helper *h)
{
	Telex__Internal__V1__FilesReady m = TELEX__INTERNAL__V1__FILES_READY__INIT;
	Telex__V1__Confinement c = TELEX__V1__CONFINEMENT__INIT, *list[] = {&c};
	uint8_t body[256];

	c.name = (char *)(uintptr_t) "landlock";
	c.in_force = true;
	c.note = (char *)(uintptr_t) "version 1";
	m.confinements = list;
	m.n_confinements = 1;
	telex__internal__v1__files_setup__free_unpacked(expect_setup(f, h), NULL);
	frame(f, h, FILES_READY, body, telex__internal__v1__files_ready__pack(&m, body));
	worker_rig_settle(&f->rig);
}

/* One that answers from now on. */
static struct helper *give_ready(struct asker *f, const char *user)
{
	struct helper *h = give(f, user);

	ready(f, h);
	return h;
}

static void expect_call(struct asker *f, struct helper *h, const char *method, uint32_t role)
{
	Telex__Internal__V1__FilesCall *m;
	uint8_t body[256];
	size_t len = 0;

	assert_int_equal(next(f, h, body, sizeof(body), &len), FILES_CALL);
	m = telex__internal__v1__files_call__unpack(NULL, len, body);
	assert_non_null(m);
	assert_string_equal(m->method, method);
	assert_int_equal(m->role, role);
	telex__internal__v1__files_call__free_unpacked(m, NULL);
}

/* The path of the StatRequest that comes. */
static void expect_path(struct asker *f, struct helper *h, const char *path)
{
	Telex__V1__StatRequest *m;
	uint8_t body[8192];
	size_t len = 0;

	assert_int_equal(next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__stat_request__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->path.len, strlen(path));
	assert_memory_equal(m->path.data, path, m->path.len);
	telex__v1__stat_request__free_unpacked(m, NULL);
}

static void status(struct asker *f, struct helper *h, uint32_t code, const char *reason)
{
	Telex__Internal__V1__FilesStatus m = TELEX__INTERNAL__V1__FILES_STATUS__INIT;
	Telex__Internal__V1__FilesStatus__MetadataEntry e =
	    TELEX__INTERNAL__V1__FILES_STATUS__METADATA_ENTRY__INIT;
	Telex__Internal__V1__FilesStatus__MetadataEntry *list[] = {&e};
	uint8_t body[512];

	m.code = code;
	m.reason = (char *)(uintptr_t)reason;
	m.message = (char *)(uintptr_t) "because";
	e.key = (char *)(uintptr_t) "path";
	e.value = (char *)(uintptr_t) "/x";
	if (code != 0) {
		m.metadata = list;
		m.n_metadata = 1;
	}
	frame(f, h, FILES_STATUS, body, telex__internal__v1__files_status__pack(&m, body));
	worker_rig_settle(&f->rig);
}

static void answer(struct asker *f, struct helper *h)
{
	Telex__V1__FileInfo info = TELEX__V1__FILE_INFO__INIT;
	Telex__V1__StatResponse m = TELEX__V1__STAT_RESPONSE__INIT;
	uint8_t body[256];

	info.size = 42;
	m.file = &info;
	frame(f, h, FILES_MESSAGE, body, telex__v1__stat_response__pack(&m, body));
	status(f, h, RPC_OK, "");
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
	"  max_upload_files = 7 }\n"

static int set_up(void **state)
{
	n_helpers = 0;
	return asker_set_up(state);
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < n_helpers; i++)
		if (helpers[i].fd >= 0)
			close(helpers[i].fd);
	return asker_tear_down(state);
}

static void hang_up(struct asker *f, struct helper *h)
{
	close(h->fd);
	h->fd = -1;
	worker_rig_settle(&f->rig);
}

/* ---- tests ---- */

static void a_call_is_passed_on_and_back(void **state)
{
	struct asker *f = *state;
	struct helper *h;

	ask_stat(f, "", "/etc//passwd/./");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/etc/passwd");
	expect_type(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	/* The next one finds it there. */
	ask_stat(f, "", "/");
	expect_no_ask(f);
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/");
	expect_type(f, h, FILES_HALF_CLOSE);
	status(f, h, RPC_NOT_FOUND, "NO_SUCH_FILE");
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
	struct helper *h;

	ask_stat(f, "alice", "x/./y");
	h = give_ready(f, "alice");
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/home/alice/x/y");
	expect_type(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	ask_stat(f, "alice", ".");
	expect_call(f, h, "Stat", 0);
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
	(void)give(f, "");
}

static void one_role_decides(void **state)
{
	struct asker *f = *state;
	Telex__Internal__V1__FilesSetup *m;
	Telex__V1__CopyRequest q = TELEX__V1__COPY_REQUEST__INIT;
	Telex__Internal__V1__FilesReady none = TELEX__INTERNAL__V1__FILES_READY__INIT;
	struct helper *h;
	uint8_t body[64];

	set_policy(f, TWO_ROLES);
	ask_stat(f, "", "/b/x");
	h = give(f, "");
	m = expect_setup(f, h);
	assert_int_equal(m->n_roles, 2);
	assert_string_equal(m->roles[0]->read[0], "/a/**");
	assert_int_equal(m->roles[0]->n_write, 0);
	assert_true(m->roles[0]->max_upload_bytes == 1024);
	assert_string_equal(m->roles[1]->write[0], "/c/**");
	assert_true(m->roles[1]->max_upload_files == 7);
	telex__internal__v1__files_setup__free_unpacked(m, NULL);
	frame(f, h, FILES_READY, body, telex__internal__v1__files_ready__pack(&none, body));
	expect_call(f, h, "Stat", 1);
	expect_path(f, h, "/b/x");
	expect_type(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_stat(f);
	/* Rights of two roles are not put together. */
	q.source = bytes("/a/x");
	q.target = bytes("/c/x");
	asker_ask(f, SERVICE, "Copy", &telex__v1__copy_response__descriptor, false, &q.base);
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	q.source = bytes("/b/x");
	asker_ask(f, SERVICE, "Copy", &telex__v1__copy_response__descriptor, false, &q.base);
	expect_call(f, h, "Copy", 1);
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
	expect_no_ask(f);
	ask_stat(f, "deploy", "x");
	(void)give_ready(f, "deploy");
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	assert_non_null(strstr(f->status.message, "/home/alice/x"));
}

static void a_role_is_counted_among_those_for_the_user(void **state)
{
	struct asker *f = *state;
	Telex__Internal__V1__FilesSetup *m;
	struct helper *h;

	set_policy(f, "role r { methods = {\"**\"} users = {\"other\"} read = {\"/**\"} }\n"
	              "role s { methods = {\"**\"} users = {\"deploy\"} read = {\"/b/**\"} }\n");
	ask_stat(f, "deploy", "/b/x");
	h = give(f, "deploy");
	m = expect_setup(f, h);
	assert_int_equal(m->n_roles, 1);
	assert_string_equal(m->roles[0]->read[0], "/b/**");
	telex__internal__v1__files_setup__free_unpacked(m, NULL);
	frame(f, h, FILES_READY, NULL, 0);
	expect_call(f, h, "Stat", 0);
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
	expect_no_ask(f);
	/* A symbolic link may say what it likes. */
	l.symbolic = true;
	asker_ask(f, SERVICE, "Link", &telex__v1__link_response__descriptor, false, &l.base);
	(void)give(f, "");
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
	(void)give(f, "");
}

static void a_refusal_of_the_keepers_is_told(void **state)
{
	struct asker *f = *state;
	union km_any m;

	ask_stat(f, "", "/x");
	assert_true(take_ask(f, &m));
	fake_keeper_refuse(f->keeper, m.hdr.seq, KM_WHY_HELPERS);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	/* It is not held against the next. */
	ask_stat(f, "", "/x");
	(void)give(f, "");
}

static void one_that_dies_is_told_and_another_comes(void **state)
{
	struct asker *f = *state;
	struct helper *h;

	ask_stat(f, "", "/x");
	h = give(f, "");
	hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	hang_up(f, h);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	/* One that dies while nobody needs it is no loss. */
	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	answer(f, h);
	expect_stat(f);
	hang_up(f, h);
	ask_stat(f, "", "/x");
	(void)give(f, "");
}

static void one_that_cannot_lock_itself_in_is_told(void **state)
{
	struct asker *f = *state;
	struct helper *h;

	ask_stat(f, "", "/x");
	h = give(f, "");
	telex__internal__v1__files_setup__free_unpacked(expect_setup(f, h), NULL);
	status(f, h, RPC_INTERNAL, "SYSTEM");
	asker_answered(f, RPC_INTERNAL, "SYSTEM");
	assert_string_equal(f->status.message, "because");
}

static void a_cancelled_call_ends_its_helper(void **state)
{
	struct asker *f = *state;
	struct helper *h;
	uint8_t body[64];
	size_t len;

	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/x");
	expect_type(f, h, FILES_HALF_CLOSE);
	rpc_cancel(f->call);
	asker_answered(f, RPC_CANCELLED, "");
	assert_int_equal(next(f, h, body, sizeof(body), &len), -1);
	/* One that waits is just gone. */
	ask_stat(f, "", "/x");
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	h = give_ready(f, "");
	assert_int_equal(next(f, h, body, sizeof(body), &len), 0);
}

static void the_sessions_end_is_theirs(void **state)
{
	struct asker *f = *state;
	struct helper *h;
	uint8_t body[64];
	size_t len;

	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/x");
	expect_type(f, h, FILES_HALF_CLOSE);
	h2_close(f->rig.pair.client.conn, H2_NO_ERROR);
	assert_int_equal(next(f, h, body, sizeof(body), &len), -1);
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
	struct helper *h[4];

	for (int i = 0; i < CALLS; i++) {
		char path[8];

		snprintf(path, sizeof(path), "/%d", i);
		(void)open_stat(f, path);
	}
	for (int i = 0; i < 4; i++)
		h[i] = give(f, "");
	expect_no_ask(f);
	for (int i = 0; i < 4; i++)
		ready(f, h[i]);
	expect_call(f, h[0], "Stat", 0);
	expect_path(f, h[0], "/0");
	expect_type(f, h[0], FILES_HALF_CLOSE);
	expect_call(f, h[3], "Stat", 0);
	expect_path(f, h[3], "/3");
	/* In their order, whoever is free. */
	answer(f, h[0]);
	expect_call(f, h[0], "Stat", 0);
	expect_path(f, h[0], "/4");
	/* Where one dies, another takes its place. */
	hang_up(f, h[1]);
	h[1] = give_ready(f, "");
	expect_call(f, h[1], "Stat", 0);
	expect_path(f, h[1], "/5");
}

static void users_have_their_own(void **state)
{
	struct asker *f = *state;
	struct helper *a, *b;

	ask_stat(f, "a", "/x");
	ask_stat(f, "b", "/y");
	a = give_ready(f, "a");
	b = give_ready(f, "b");
	expect_call(f, a, "Stat", 0);
	expect_path(f, a, "/x");
	expect_call(f, b, "Stat", 0);
	expect_path(f, b, "/y");
}

/* The keeper has no more to give: those that are there are waited for. */
static void who_can_have_none_waits_for_those_that_there_are(void **state)
{
	struct asker *f = *state;
	struct helper *h;
	union km_any m;

	ask_stat(f, "", "/1");
	ask_stat(f, "", "/2");
	h = give(f, "");
	assert_true(take_ask(f, &m));
	fake_keeper_refuse(f->keeper, m.hdr.seq, KM_WHY_HELPERS);
	worker_rig_settle(&f->rig);
	assert_false(f->done);
	ready(f, h);
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/1");
	expect_type(f, h, FILES_HALF_CLOSE);
	answer(f, h);
	expect_call(f, h, "Stat", 0);
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
	struct helper *h;
	static uint8_t body[1 << 19];
	size_t len = 0;

	ask_write(f, "/x");
	send_chunk(f, 1000);
	h = give_ready(f, "");
	expect_call(f, h, "Write", 0);
	expect_type(f, h, FILES_MESSAGE);
	assert_int_equal(next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	assert_in_range(len, 1000, 1020);
	send_chunk(f, 256 << 10);
	assert_int_equal(next(f, h, body, sizeof(body), &len), FILES_MESSAGE);
	rpc_half_close(f->call);
	expect_type(f, h, FILES_HALF_CLOSE);
	frame(f, h, FILES_MESSAGE, "\x08\x01", 2);
	status(f, h, RPC_OK, "");
	asker_answered(f, RPC_OK, "");
	assert_int_equal(((Telex__V1__WriteResponse *)f->last)->size, 1);
}

/* A helper that does not read holds its client up, and nothing grows. */
static void a_slow_helper_holds_its_client_up(void **state)
{
	struct asker *f = *state;
	struct helper *h;
	static uint8_t body[1 << 19];
	size_t len, sent = 0, got = 0;
	int n = 0;

	ask_write(f, "/x");
	h = give_ready(f, "");
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
	expect_call(f, h, "Write", 0);
	expect_type(f, h, FILES_MESSAGE);
	for (;;) {
		int type = next(f, h, body, sizeof(body), &len);

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
	struct helper *h;
	size_t total = 0;

	/* Field 15, unknown to ReadResponse. */
	memcpy(body, "\x7a\xfc\xff\x03", 4);
	f->hold = true;
	q.path = bytes("/x");
	asker_ask(f, SERVICE, "Read", &telex__v1__read_response__descriptor, true, &q.base);
	h = give_ready(f, "");
	expect_call(f, h, "Read", 0);
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
	expect_no_ask(f);
}

/* The helper has ended the call; what its client still sends is passed over there, not kept. */
static void a_call_that_ended_early_leaves_its_helper_usable(void **state)
{
	struct asker *f = *state;
	struct helper *h;

	ask_write(f, "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Write", 0);
	expect_type(f, h, FILES_MESSAGE);
	status(f, h, RPC_RESOURCE_EXHAUSTED, "DISK_FULL");
	expect_type(f, h, FILES_HALF_CLOSE);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "DISK_FULL");
	ask_stat(f, "", "/y");
	expect_call(f, h, "Stat", 0);
	expect_path(f, h, "/y");
}

static void a_trees_target_may_be_below(void **state)
{
	struct asker *f = *state;
	Telex__V1__PutTreeRequest q = TELEX__V1__PUT_TREE_REQUEST__INIT;
	Telex__V1__PutTreeStart s = TELEX__V1__PUT_TREE_START__INIT;
	struct helper *h;

	set_policy(f, "role r { methods = {\"**\"} users = {\"*\"} write = {\"/srv/*.html\"} }\n"
	              "role s {}\n");
	q.request_case = TELEX__V1__PUT_TREE_REQUEST__REQUEST_START;
	q.start = &s;
	s.path = bytes("/srv");
	s.name = bytes("x.html");
	asker_ask(f, SERVICE, "PutTree", &telex__v1__put_tree_response__descriptor, true, &q.base);
	h = give_ready(f, "");
	expect_call(f, h, "PutTree", 0);
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
	struct helper *h;

	second.seconds = 1;
	g.request_case = TELEX__V1__GET_TREE_REQUEST__REQUEST_START;
	g.start = &gs;
	gs.paths = &path;
	gs.n_paths = 1;
	gs.heartbeat_interval = &second;
	asker_ask(f, SERVICE, "GetTree", &telex__v1__get_tree_response__descriptor, true, &g.base);
	(void)give_ready(f, "");
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
	h = give_ready(f, "");
	frame(f, h, FILES_MESSAGE, "\x0a\x00", 2);
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
	struct helper *h;

	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	assert_int_equal(send(h->fd, &head, sizeof(head), 0), sizeof(head));
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	frame(f, h, FILES_SETUP, "x", 1);
	asker_answered(f, RPC_ABORTED, "HELPER_DIED");
	/* No answer at all, and OK. */
	ask_stat(f, "", "/x");
	h = give_ready(f, "");
	expect_call(f, h, "Stat", 0);
	status(f, h, RPC_OK, "");
	asker_answered(f, RPC_INTERNAL, "SYSTEM");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_call_is_passed_on_and_back),
	    TEST(a_relative_path_is_in_the_home_folder),
	    TEST(paths_that_are_none_reach_nobody),
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
