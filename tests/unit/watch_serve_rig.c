/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/watch_serve_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/digest.h"

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

int serve_set_up(void **state)
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
int serve_end(struct scene *s)
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

int serve_tear_down(void **state)
{
	struct scene *s = *state;

	(void)serve_end(s);
	assert_int_equal(fake_watcher_calls(), 0);
	watcher_free(s->serve.watcher);
	free(s);
	return 0;
}

void serve_until(bool (*fn)(void *arg), void *arg)
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

void serve_allow(struct scene *s, uint64_t memory)
{
	const struct watch_allow a = {.memory = memory, .limit = memory};

	assert_int_equal(send(s->control, &a, sizeof(a), MSG_NOSIGNAL), sizeof(a));
}

int serve_hand(struct scene *s)
{
	int fd;

	if (!s->running)
		run(s);
	fd = try_hand(s);
	assert_true(fd >= 0);
	return fd;
}

void serve_expect_idle(struct scene *s, uint64_t taken)
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

void serve_put(int fd, const void *data, size_t len)
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

void serve_frame(int fd, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	serve_put(fd, &head, sizeof(head));
	serve_put(fd, body, len);
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
uint32_t serve_next(int fd, uint8_t *body, size_t size, size_t *len)
{
	struct files_frame head;

	if (!take(fd, &head, sizeof(head)))
		return 0;
	assert_true(head.length <= size);
	assert_true(take(fd, body, head.length));
	*len = head.length;
	return head.type;
}

void serve_expect_end(int fd)
{
	uint8_t body[4096];
	size_t len;

	assert_int_equal(serve_next(fd, body, sizeof(body), &len), 0);
	close(fd);
}

void serve_expect_ready(int fd)
{
	uint8_t body[256];
	size_t len;

	assert_int_equal(serve_next(fd, body, sizeof(body), &len), FILES_READY);
}

void serve_expect_status(int fd, uint32_t code, const char *reason)
{
	Telex__Internal__V1__FilesStatus *m;
	uint8_t body[4096];
	size_t len = 0;

	assert_int_equal(serve_next(fd, body, sizeof(body), &len), FILES_STATUS);
	m = telex__internal__v1__files_status__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->code, code);
	assert_string_equal(m->reason, reason);
	telex__internal__v1__files_status__free_unpacked(m, NULL);
}

Telex__V1__WatchResponse *serve_expect_response(int fd)
{
	static uint8_t body[FAKE_CHUNK + 4096];
	Telex__V1__WatchResponse *m;
	size_t len = 0;

	assert_int_equal(serve_next(fd, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__watch_response__unpack(NULL, len, body);
	assert_non_null(m);
	return m;
}

void serve_expect_armed(int fd, const char *path, uint64_t role_number)
{
	Telex__V1__WatchResponse *m = serve_expect_response(fd);

	assert_int_equal(m->response_case, TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED);
	assert_string_equal(m->armed->clock, path);
	assert_true(m->armed->folders == role_number);
	telex__v1__watch_response__free_unpacked(m, NULL);
}

void serve_expect_synced(int fd, uint64_t id)
{
	Telex__V1__WatchResponse *m = serve_expect_response(fd);

	assert_int_equal(m->response_case, TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED);
	assert_true(m->synced->id == id);
	telex__v1__watch_response__free_unpacked(m, NULL);
}

/* So many changes in their order, and somewhere among them the answer. */
void serve_expect_flood(int fd, uint64_t n, uint64_t id)
{
	uint64_t order = 0, synced = 0;

	while (order < n || synced == 0) {
		Telex__V1__WatchResponse *m = serve_expect_response(fd);

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

size_t serve_pack_call(uint8_t *out, const char *method, uint32_t role_number)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;

	m.method = (char *)(uintptr_t)method;
	m.role = role_number;
	return telex__internal__v1__files_call__pack(&m, out);
}

size_t serve_pack_begin(uint8_t *out, const char *path)
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

size_t serve_pack_sync(uint8_t *out, uint64_t id)
{
	Telex__V1__WatchSync one = TELEX__V1__WATCH_SYNC__INIT;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;

	one.id = id;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_SYNC;
	m.sync = &one;
	return telex__v1__watch_request__pack(&m, out);
}

void serve_begin(int fd, const char *path)
{
	uint8_t body[512];

	serve_frame(fd, FILES_MESSAGE, body, serve_pack_begin(body, path));
}

void serve_sync_with(int fd, uint64_t id)
{
	uint8_t body[64];

	serve_frame(fd, FILES_MESSAGE, body, serve_pack_sync(body, id));
}

void serve_call(int fd, const char *method, uint32_t role_number)
{
	uint8_t body[256];

	serve_frame(fd, FILES_CALL, body, serve_pack_call(body, method, role_number));
}

int serve_set_up_connection(struct scene *s)
{
	int fd = serve_hand(s);

	serve_frame(fd, FILES_SETUP, s->setup, s->setup_len);
	serve_expect_ready(fd);
	return fd;
}

/* One that watches. */
int serve_watch(struct scene *s, const char *path)
{
	int fd = serve_set_up_connection(s);

	serve_call(fd, "Watch", 0);
	serve_begin(fd, path);
	serve_expect_armed(fd, path, 0);
	return fd;
}
