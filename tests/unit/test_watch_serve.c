/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telex-files that watches, around a stand-in of its watcher: its connections, those that read
 * slowly, and those that no worker of ours would make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/watch/watch_serve.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "tests/support/fake_watcher.h"

#define DEADLINE_MS 120000
#define ROLES       2

struct scene {
	int control, other;
	pthread_t thread;
	bool running;
	int rc, lock_ins;
	bool cannot; /* lock itself in */
	struct err e;
	uint8_t setup[256];
	size_t setup_len;
	struct watch_serve serve;
	Telex__Internal__V1__FilesReady ready;
};

/* ---- the process ---- */

static int lock_in(const Telex__Internal__V1__FilesSetup *m, void *arg, struct err *e)
{
	struct scene *s = arg;

	s->lock_ins++;
	if (m->n_roles != 1 || s->cannot)
		return err_set(e, TX_ESYS, "the lock is broken");
	return 0;
}

static const struct roots *role(uint32_t number, void *arg)
{
	(void)arg;
	return number < ROLES ? (const struct roots *)(fake_watcher_roots + number) : NULL;
}

static const Telex__Internal__V1__FilesReady *ready(void *arg)
{
	return &((struct scene *)arg)->ready;
}

static const struct watch_serve_ops ops = {lock_in, role, ready};

static void *serve(void *arg)
{
	struct scene *s = arg;

	s->rc = watch_serve(&s->serve, &s->e);
	close(s->other);
	return NULL;
}

static void make_setup(struct scene *s)
{
	Telex__Internal__V1__FilesSetup m = TELEX__INTERNAL__V1__FILES_SETUP__INIT;
	Telex__Internal__V1__FilesRole one = TELEX__INTERNAL__V1__FILES_ROLE__INIT;
	Telex__Internal__V1__FilesRole *list[] = {&one};
	char *watch[] = {(char[]){"/srv/**"}};
	struct digest *d = digest_new();

	one.watch = watch;
	one.n_watch = 1;
	m.roles = list;
	m.n_roles = 1;
	s->setup_len = telex__internal__v1__files_setup__pack(&m, s->setup);
	assert_int_equal(digest_add(d, s->setup, s->setup_len), 0);
	assert_int_equal(digest_end(d, s->serve.key), 0);
	digest_free(d);
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	int pair[2];

	assert_non_null(s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s->control = pair[0];
	s->other = pair[1];
	telex__internal__v1__files_ready__init(&s->ready);
	make_setup(s);
	s->serve.control_fd = pair[1];
	s->serve.ops = &ops;
	s->serve.arg = s;
	assert_int_equal(watcher_new(&s->serve.watcher, -1, NULL, &s->e), 0);
	*state = s;
	return 0;
}

static void run(struct scene *s)
{
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	s->running = true;
}

/* Ends it, and gives what watch_serve returned. */
static int end(struct scene *s)
{
	if (s->control >= 0)
		close(s->control);
	s->control = -1;
	if (s->running)
		assert_int_equal(pthread_join(s->thread, NULL), 0);
	else
		close(s->other);
	s->running = false;
	return s->rc;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	(void)end(s);
	assert_int_equal(fake_watcher_calls(), 0);
	watcher_free(s->serve.watcher);
	free(s);
	return 0;
}

static void until(bool (*fn)(void *arg), void *arg)
{
	const struct timespec pause = {0, 1000000};

	for (int i = 0; i < DEADLINE_MS; i++) {
		if (fn(arg))
			return;
		(void)nanosleep(&pause, NULL);
	}
	fail_msg("it does not come");
}

/* ---- telexd's side ---- */

/* -1: the process has ended. */
static int try_hand(struct scene *s)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	char zero = 0;
	struct iovec v = {&zero, 1};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	struct cmsghdr *c;
	int pair[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	memset(&room, 0, sizeof(room));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pair[1], sizeof(int));
	n = sendmsg(s->control, &m, MSG_NOSIGNAL);
	close(pair[1]);
	if (n == 1)
		return pair[0];
	close(pair[0]);
	return -1;
}

static void allow(struct scene *s, uint64_t memory)
{
	const struct watch_allow a = {.memory = memory, .limit = memory};

	assert_int_equal(send(s->control, &a, sizeof(a), MSG_NOSIGNAL), sizeof(a));
}

static int hand(struct scene *s)
{
	int fd;

	if (!s->running)
		run(s);
	fd = try_hand(s);
	assert_true(fd >= 0);
	return fd;
}

static void expect_idle(struct scene *s, uint64_t taken)
{
	struct pollfd p = {.fd = s->control, .events = POLLIN};
	struct watch_idle m;

	do {
		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		assert_int_equal(recv(s->control, &m, sizeof(m), 0), sizeof(m));
	} while (m.taken < taken);
	assert_int_equal(m.taken, taken);
}

/* ---- a worker's side ---- */

static void put(int fd, const void *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		/* It may have had enough of it. */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		assert_true(n > 0);
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

static void frame(int fd, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	put(fd, &head, sizeof(head));
	put(fd, body, len);
}

static bool take(int fd, void *data, size_t len)
{
	while (len > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		n = recv(fd, data, len, 0);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return false;
		assert_true(n > 0);
		data = (char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

/* The next frame's type; 0: the end. */
static uint32_t next(int fd, uint8_t *body, size_t size, size_t *len)
{
	struct files_frame head;

	if (!take(fd, &head, sizeof(head)))
		return 0;
	assert_true(head.length <= size);
	assert_true(take(fd, body, head.length));
	*len = head.length;
	return head.type;
}

static void expect_end(int fd)
{
	uint8_t body[4096];
	size_t len;

	assert_int_equal(next(fd, body, sizeof(body), &len), 0);
	close(fd);
}

static void expect_ready(int fd)
{
	uint8_t body[256];
	size_t len;

	assert_int_equal(next(fd, body, sizeof(body), &len), FILES_READY);
}

static void expect_status(int fd, uint32_t code, const char *reason)
{
	Telex__Internal__V1__FilesStatus *m;
	uint8_t body[4096];
	size_t len = 0;

	assert_int_equal(next(fd, body, sizeof(body), &len), FILES_STATUS);
	m = telex__internal__v1__files_status__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->code, code);
	assert_string_equal(m->reason, reason);
	telex__internal__v1__files_status__free_unpacked(m, NULL);
}

static Telex__V1__WatchResponse *expect_response(int fd)
{
	static uint8_t body[FAKE_CHUNK + 4096];
	Telex__V1__WatchResponse *m;
	size_t len = 0;

	assert_int_equal(next(fd, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__watch_response__unpack(NULL, len, body);
	assert_non_null(m);
	return m;
}

static void expect_armed(int fd, const char *path, uint64_t role_number)
{
	Telex__V1__WatchResponse *m = expect_response(fd);

	assert_int_equal(m->response_case, TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED);
	assert_string_equal(m->armed->clock, path);
	assert_true(m->armed->folders == role_number);
	telex__v1__watch_response__free_unpacked(m, NULL);
}

static void expect_synced(int fd, uint64_t id)
{
	Telex__V1__WatchResponse *m = expect_response(fd);

	assert_int_equal(m->response_case, TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED);
	assert_true(m->synced->id == id);
	telex__v1__watch_response__free_unpacked(m, NULL);
}

/* So many changes in their order, and somewhere among them the answer. */
static void expect_flood(int fd, uint64_t n, uint64_t id)
{
	uint64_t order = 0, synced = 0;

	while (order < n || synced == 0) {
		Telex__V1__WatchResponse *m = expect_response(fd);

		if (m->response_case == TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED) {
			assert_true(m->synced->id == id);
			synced++;
		} else {
			assert_true(m->changes->changes[0]->order == order);
			assert_int_equal(m->changes->changes[0]->path.len, FAKE_CHUNK);
			order++;
		}
		telex__v1__watch_response__free_unpacked(m, NULL);
	}
	assert_int_equal(synced, 1);
}

static size_t pack_call(uint8_t *out, const char *method, uint32_t role_number)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;

	m.method = (char *)(uintptr_t)method;
	m.role = role_number;
	return telex__internal__v1__files_call__pack(&m, out);
}

static size_t pack_begin(uint8_t *out, const char *path)
{
	ProtobufCBinaryData paths[] = {{strlen(path), (uint8_t *)(uintptr_t)path}};
	Telex__V1__WatchBegin begin = TELEX__V1__WATCH_BEGIN__INIT;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;

	begin.paths = paths;
	begin.n_paths = 1;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN;
	m.begin = &begin;
	return telex__v1__watch_request__pack(&m, out);
}

static size_t pack_sync(uint8_t *out, uint64_t id)
{
	Telex__V1__WatchSync one = TELEX__V1__WATCH_SYNC__INIT;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;

	one.id = id;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_SYNC;
	m.sync = &one;
	return telex__v1__watch_request__pack(&m, out);
}

static void begin(int fd, const char *path)
{
	uint8_t body[512];

	frame(fd, FILES_MESSAGE, body, pack_begin(body, path));
}

static void sync_with(int fd, uint64_t id)
{
	uint8_t body[64];

	frame(fd, FILES_MESSAGE, body, pack_sync(body, id));
}

static void call(int fd, const char *method, uint32_t role_number)
{
	uint8_t body[256];

	frame(fd, FILES_CALL, body, pack_call(body, method, role_number));
}

static int set_up_connection(struct scene *s)
{
	int fd = hand(s);

	frame(fd, FILES_SETUP, s->setup, s->setup_len);
	expect_ready(fd);
	return fd;
}

/* One that watches. */
static int watch(struct scene *s, const char *path)
{
	int fd = set_up_connection(s);

	call(fd, "Watch", 0);
	begin(fd, path);
	expect_armed(fd, path, 0);
	return fd;
}

/* ---- what is served ---- */

static void a_call_from_its_begin_to_its_end(void **state)
{
	struct scene *s = *state;
	int fd = set_up_connection(s);

	call(fd, "Watch", 1);
	begin(fd, "/srv/x");
	expect_armed(fd, "/srv/x", 1);
	sync_with(fd, 7);
	sync_with(fd, 8);
	expect_synced(fd, 7);
	expect_synced(fd, 8);
	frame(fd, FILES_HALF_CLOSE, NULL, 0);
	expect_status(fd, RPC_OK, "");
	close(fd);
	expect_idle(s, 1);
	/* It is there for the next. */
	fd = watch(s, "/srv/y");
	close(fd);
	expect_idle(s, 2);
	assert_int_equal(end(s), 0);
	assert_int_equal(s->lock_ins, 1);
}

/* With a connection or without one, and that is no connection. */
static void what_memory_there_is_is_told(void **state)
{
	struct scene *s = *state;
	int a = watch(s, "/a"), b;

	allow(s, 5000000);
	b = watch(s, "/b");
	assert_true(fake_watcher_allowed() == 5000000);
	assert_int_equal(fake_watcher_calls(), 2);
	close(a);
	close(b);
}

static void bytes_may_come_one_by_one(void **state)
{
	struct scene *s = *state;
	int fd = hand(s);
	uint8_t all[1024], body[256];
	size_t n = 0, len;

#define ADD(type, length)                                                                          \
	do {                                                                                       \
		const struct files_frame head = {(uint32_t)(length), (type)};                      \
		memcpy(all + n, &head, sizeof(head));                                              \
		memcpy(all + n + sizeof(head), body, (length));                                    \
		n += sizeof(head) + (length);                                                      \
	} while (0)
	memcpy(body, s->setup, s->setup_len);
	ADD(FILES_SETUP, s->setup_len);
	len = pack_call(body, "Watch", 0);
	ADD(FILES_CALL, len);
	len = pack_begin(body, "/z");
	ADD(FILES_MESSAGE, len);
	len = pack_sync(body, 5);
	ADD(FILES_MESSAGE, len);
	ADD(FILES_HALF_CLOSE, (size_t)0);
#undef ADD
	for (size_t i = 0; i < n; i++)
		put(fd, all + i, 1);
	expect_ready(fd);
	/* Both are told at once, and the answer may be the first. */
	for (int i = 0; i < 2; i++)
		telex__v1__watch_response__free_unpacked(expect_response(fd), NULL);
	expect_status(fd, RPC_OK, "");
	close(fd);
}

static bool nobody_calls(void *arg)
{
	(void)arg;
	return fake_watcher_calls() == 0;
}

static void a_connections_end_is_its_calls(void **state)
{
	struct scene *s = *state;
	int a = watch(s, "/a"), b = watch(s, "/b");

	assert_int_equal(fake_watcher_calls(), 2);
	close(a);
	sync_with(b, 1);
	expect_synced(b, 1);
	close(b);
	until(nobody_calls, NULL);
	expect_idle(s, 2);
}

static void what_is_refused_is_told(void **state)
{
	struct scene *s = *state;
	int fd = set_up_connection(s);

	call(fd, "Watch", 0);
	begin(fd, "/refuse");
	/* What is under way already is passed over. */
	sync_with(fd, 1);
	frame(fd, FILES_HALF_CLOSE, NULL, 0);
	expect_status(fd, RPC_NOT_FOUND, "NO_SUCH_FILE");
	close(fd);
	fd = watch(s, "/x");
	sync_with(fd, FAKE_WRONG);
	expect_status(fd, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	close(fd);
	fd = watch(s, "/x");
	sync_with(fd, FAKE_END);
	expect_status(fd, RPC_CANCELLED, "ENOUGH");
	close(fd);
}

/* ---- who reads slowly ---- */

static bool has_sent(void *arg)
{
	return fake_watcher_sent() >= *(int *)arg;
}

static void one_that_does_not_read_is_not_sent_more(void **state)
{
	struct scene *s = *state;
	int slow = watch(s, "/slow"), quick = watch(s, "/quick");
	int before = fake_watcher_sent(), some = before + 1, buffer = 0;
	socklen_t len = sizeof(buffer);

	assert_int_equal(getsockopt(slow, SOL_SOCKET, SO_RCVBUF, &buffer, &len), 0);
	sync_with(slow, FAKE_FLOOD + 200);
	until(has_sent, &some);
	/* The others are served as if nothing were. */
	for (uint64_t i = 1; i < 100; i++) {
		sync_with(quick, i);
		expect_synced(quick, i);
	}
	assert_true((size_t)(fake_watcher_sent() - before) * FAKE_CHUNK <=
	            WATCH_CONN_FULL + FAKE_CHUNK + (size_t)buffer * 2);
	/* Nothing of it is lost, and what it asks for meanwhile is answered, too. */
	sync_with(slow, 77);
	expect_flood(slow, 200, 77);
	close(slow);
	close(quick);
}

static void one_that_reads_nothing_can_be_gone(void **state)
{
	struct scene *s = *state;
	int slow = watch(s, "/slow"), some = fake_watcher_sent() + 1;

	sync_with(slow, FAKE_FLOOD + 200);
	until(has_sent, &some);
	close(slow);
	until(nobody_calls, NULL);
	expect_idle(s, 1);
}

/* ---- who lies ---- */

static void a_setup_that_is_not_the_one_gets_nothing(void **state)
{
	struct scene *s = *state;
	int fd = hand(s);

	s->setup[s->setup_len] = 0;
	frame(fd, FILES_SETUP, s->setup, s->setup_len - 1);
	expect_status(fd, RPC_INTERNAL, "SYSTEM");
	close(fd);
	fd = hand(s);
	frame(fd, FILES_SETUP, NULL, 0);
	expect_status(fd, RPC_INTERNAL, "SYSTEM");
	close(fd);
	/* And takes nothing from those that come by the right one. */
	fd = watch(s, "/x");
	close(fd);
	expect_idle(s, 3);
	assert_int_equal(s->lock_ins, 1);
}

static void one_that_cannot_lock_itself_in_says_so_and_ends(void **state)
{
	struct scene *s = *state;
	int fd;

	s->cannot = true;
	fd = hand(s);
	frame(fd, FILES_SETUP, s->setup, s->setup_len);
	expect_status(fd, RPC_INTERNAL, "SYSTEM");
	expect_end(fd);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	s->running = false;
	s->other = s->control;
	s->control = -1;
	assert_int_equal(s->rc, TX_ESYS);
	assert_non_null(strstr(s->e.message, "the lock is broken"));
}

/* How far a connection is, and the frame that does not belong there. */
static void breaks(struct scene *s, int how_far, uint32_t type, const void *body, size_t len)
{
	int fd = hand(s);

	if (how_far >= 1) {
		frame(fd, FILES_SETUP, s->setup, s->setup_len);
		expect_ready(fd);
	}
	if (how_far >= 2)
		call(fd, "Watch", 0);
	if (how_far >= 3) {
		begin(fd, "/x");
		expect_armed(fd, "/x", 0);
	}
	frame(fd, type, body, len);
	expect_end(fd);
}

static void what_no_worker_sends_ends_the_connection(void **state)
{
	struct scene *s = *state;
	uint8_t wild[64], body[64];

	memset(wild, 0xff, sizeof(wild));
	breaks(s, 0, FILES_MESSAGE, NULL, 0);
	breaks(s, 0, FILES_CALL, NULL, 0);
	breaks(s, 0, 99, wild, 8);
	breaks(s, 1, FILES_SETUP, s->setup, s->setup_len);
	breaks(s, 1, FILES_MESSAGE, NULL, 0);
	breaks(s, 1, FILES_CALL, wild, 8);
	breaks(s, 1, FILES_CALL, body, pack_call(body, "Watch", ROLES));
	breaks(s, 2, FILES_CALL, body, pack_call(body, "Watch", 0));
	breaks(s, 2, FILES_READY, NULL, 0);
	breaks(s, 3, FILES_HALF_CLOSE, wild, 1);
	breaks(s, 3, FILES_STATUS, NULL, 0);
	until(nobody_calls, NULL);
}

static void a_frame_that_is_too_long_ends_the_connection(void **state)
{
	const struct files_frame head = {FILES_FRAME_MAX + 1, FILES_SETUP};
	struct scene *s = *state;
	int fd = hand(s);

	put(fd, &head, sizeof(head));
	expect_end(fd);
}

static void wrong(struct scene *s, const void *first, size_t first_len, const void *second,
    size_t second_len, uint32_t code, const char *reason)
{
	int fd = set_up_connection(s);

	call(fd, "Watch", 0);
	frame(fd, FILES_MESSAGE, first, first_len);
	if (second != NULL) {
		expect_armed(fd, "/x", 0);
		frame(fd, FILES_MESSAGE, second, second_len);
	}
	expect_status(fd, code, reason);
	close(fd);
}

static void messages_that_are_none_are_told(void **state)
{
	struct scene *s = *state;
	uint8_t one[64], two[64], wild[8];
	size_t n_one = pack_begin(one, "/x"), n_two = pack_sync(two, 1);
	int fd;

	memset(wild, 0xff, sizeof(wild));
	wrong(s, wild, sizeof(wild), NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, two, n_two, NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, 0, NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, n_one, wild, sizeof(wild), RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, n_one, one, n_one, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	fd = set_up_connection(s);
	call(fd, "Watch", 0);
	frame(fd, FILES_HALF_CLOSE, NULL, 0);
	expect_status(fd, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	close(fd);
	fd = set_up_connection(s);
	call(fd, "Stat", 0);
	expect_status(fd, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD");
	close(fd);
}

static void nothing_may_follow_the_end_of_its_half(void **state)
{
	struct scene *s = *state;
	int fd = watch(s, "/x");
	uint8_t body[4096];
	size_t len;
	uint32_t type;

	frame(fd, FILES_HALF_CLOSE, NULL, 0);
	frame(fd, FILES_HALF_CLOSE, NULL, 0);
	/* The call's own end may be sooner. */
	type = next(fd, body, sizeof(body), &len);
	assert_true(type == 0 || type == FILES_STATUS);
	close(fd);
	until(nobody_calls, NULL);
}

/* Each says that it has much to say, and says nothing more. */
static void what_is_held_of_all_together_is_bounded(void **state)
{
	static const uint8_t some[8192];
	const struct files_frame head = {FILES_FRAME_MAX, FILES_SETUP};
	struct scene *s = *state;
	int fds[20], closed = 0;
	struct pollfd p = {.events = POLLIN};

	for (size_t i = 0; i < 20; i++) {
		fds[i] = hand(s);
		put(fds[i], &head, sizeof(head));
		put(fds[i], some, sizeof(some));
	}
	p.fd = fds[19];
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	for (size_t i = 0; i < 20; i++) {
		p.fd = fds[i];
		closed += poll(&p, 1, 0) == 1;
	}
	assert_in_range(closed, 4, 6);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
	/* And there is room again. */
	expect_idle(s, 20);
	close(watch(s, "/x"));
}

/* One that is closed is not seen at once. */
static bool has_room(void *arg)
{
	struct scene *s = arg;
	uint8_t body[1024];
	size_t len;
	int fd = hand(s);
	bool yes;

	frame(fd, FILES_SETUP, s->setup, s->setup_len);
	yes = next(fd, body, sizeof(body), &len) == FILES_READY;
	close(fd);
	return yes;
}

static void there_are_no_more_than_so_many(void **state)
{
	static int fds[WATCH_CONNS_MAX];
	struct scene *s = *state;
	struct rlimit l;
	int fd;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	if (l.rlim_max < 3 * WATCH_CONNS_MAX) {
		print_message("too few descriptors\n");
		skip();
	}
	l.rlim_cur = 3 * WATCH_CONNS_MAX;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
	for (size_t i = 0; i < WATCH_CONNS_MAX; i++)
		fds[i] = hand(s);
	fd = hand(s);
	expect_status(fd, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	expect_end(fd);
	close(fds[0]);
	until(has_room, s);
	for (size_t i = 1; i < WATCH_CONNS_MAX; i++)
		close(fds[i]);
}

/* ---- its end ---- */

static void the_control_sockets_end_is_its_end(void **state)
{
	struct scene *s = *state;
	int fd = watch(s, "/x");

	assert_int_equal(end(s), 0);
	expect_end(fd);
	assert_int_equal(fake_watcher_calls(), 0);
}

static void a_key_is_64_digits(void **state)
{
	char hex[WATCH_KEY_HEX_SIZE + 1] = "";
	uint8_t key[WATCH_KEY_SIZE];

	(void)state;
	memset(hex, 'a', 64);
	hex[1] = '0';
	assert_int_equal(watch_serve_key(key, hex), 0);
	assert_int_equal(key[0], 0xa0);
	assert_int_equal(key[31], 0xaa);
	hex[64] = 'a';
	assert_int_equal(watch_serve_key(key, hex), TX_EINVAL);
	hex[63] = '\0';
	assert_int_equal(watch_serve_key(key, hex), TX_EINVAL);
	hex[63] = 'x';
	hex[64] = '\0';
	assert_int_equal(watch_serve_key(key, hex), TX_EINVAL);
	assert_int_equal(watch_serve_key(key, ""), TX_EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_call_from_its_begin_to_its_end),
	    TEST(what_memory_there_is_is_told),
	    TEST(bytes_may_come_one_by_one),
	    TEST(a_connections_end_is_its_calls),
	    TEST(what_is_refused_is_told),
	    TEST(one_that_does_not_read_is_not_sent_more),
	    TEST(one_that_reads_nothing_can_be_gone),
	    TEST(a_setup_that_is_not_the_one_gets_nothing),
	    TEST(one_that_cannot_lock_itself_in_says_so_and_ends),
	    TEST(what_no_worker_sends_ends_the_connection),
	    TEST(a_frame_that_is_too_long_ends_the_connection),
	    TEST(messages_that_are_none_are_told),
	    TEST(nothing_may_follow_the_end_of_its_half),
	    TEST(what_is_held_of_all_together_is_bounded),
	    TEST(there_are_no_more_than_so_many),
	    TEST(the_control_sockets_end_is_its_end),
	    TEST(a_key_is_64_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
