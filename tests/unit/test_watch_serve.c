/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telex-files that watches, around a stand-in of its watcher: its connections, those that read
 * slowly, and those that no worker of ours would make.
 */
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/watch_serve_rig.h"

/* ---- what is served ---- */

static void a_call_from_its_begin_to_its_end(void **state)
{
	struct scene *s = *state;
	int fd = serve_set_up_connection(s);

	serve_call(fd, "Watch", 1);
	serve_begin(fd, "/srv/x");
	serve_expect_armed(fd, "/srv/x", 1);
	serve_sync_with(fd, 7);
	serve_sync_with(fd, 8);
	serve_expect_synced(fd, 7);
	serve_expect_synced(fd, 8);
	serve_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	serve_expect_status(fd, RPC_OK, "");
	close(fd);
	serve_expect_idle(s, 1);
	/* It is there for the next. */
	fd = serve_watch(s, "/srv/y");
	close(fd);
	serve_expect_idle(s, 2);
	assert_int_equal(serve_end(s), 0);
	assert_int_equal(s->lock_ins, 1);
}

/* With a connection or without one, and that is no connection. */
static void what_memory_there_is_is_told(void **state)
{
	struct scene *s = *state;
	int a = serve_watch(s, "/a"), b;

	serve_allow(s, 5000000);
	b = serve_watch(s, "/b");
	assert_true(fake_watcher_allowed() == 5000000);
	assert_int_equal(fake_watcher_calls(), 2);
	close(a);
	close(b);
}

static void bytes_may_come_one_by_one(void **state)
{
	struct scene *s = *state;
	int fd = serve_hand(s);
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
	len = serve_pack_call(body, "Watch", 0);
	ADD(FILES_CALL, len);
	len = serve_pack_begin(body, "/z");
	ADD(FILES_MESSAGE, len);
	len = serve_pack_sync(body, 5);
	ADD(FILES_MESSAGE, len);
	ADD(FILES_HALF_CLOSE, (size_t)0);
#undef ADD
	for (size_t i = 0; i < n; i++)
		serve_put(fd, all + i, 1);
	serve_expect_ready(fd);
	/* Both are told at once, and the answer may be the first. */
	for (int i = 0; i < 2; i++)
		telex__v1__watch_response__free_unpacked(serve_expect_response(fd), NULL);
	serve_expect_status(fd, RPC_OK, "");
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
	int a = serve_watch(s, "/a"), b = serve_watch(s, "/b");

	assert_int_equal(fake_watcher_calls(), 2);
	close(a);
	serve_sync_with(b, 1);
	serve_expect_synced(b, 1);
	close(b);
	serve_until(nobody_calls, NULL);
	serve_expect_idle(s, 2);
}

static void what_is_refused_is_told(void **state)
{
	struct scene *s = *state;
	int fd = serve_set_up_connection(s);

	serve_call(fd, "Watch", 0);
	serve_begin(fd, "/refuse");
	/* What is under way already is passed over. */
	serve_sync_with(fd, 1);
	serve_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	serve_expect_status(fd, RPC_NOT_FOUND, "NO_SUCH_FILE");
	close(fd);
	fd = serve_watch(s, "/x");
	serve_sync_with(fd, FAKE_WRONG);
	serve_expect_status(fd, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	close(fd);
	fd = serve_watch(s, "/x");
	serve_sync_with(fd, FAKE_END);
	serve_expect_status(fd, RPC_CANCELLED, "ENOUGH");
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
	int slow = serve_watch(s, "/slow"), quick = serve_watch(s, "/quick");
	int before = fake_watcher_sent(), some = before + 1, buffer = 0;
	socklen_t len = sizeof(buffer);

	assert_int_equal(getsockopt(slow, SOL_SOCKET, SO_RCVBUF, &buffer, &len), 0);
	serve_sync_with(slow, FAKE_FLOOD + 200);
	serve_until(has_sent, &some);
	/* The others are served as if nothing were. */
	for (uint64_t i = 1; i < 100; i++) {
		serve_sync_with(quick, i);
		serve_expect_synced(quick, i);
	}
	assert_true((size_t)(fake_watcher_sent() - before) * FAKE_CHUNK <=
	            WATCH_CONN_FULL + FAKE_CHUNK + (size_t)buffer * 2);
	/* Nothing of it is lost, and what it asks for meanwhile is answered, too. */
	serve_sync_with(slow, 77);
	serve_expect_flood(slow, 200, 77);
	close(slow);
	close(quick);
}

static void one_that_reads_nothing_can_be_gone(void **state)
{
	struct scene *s = *state;
	int slow = serve_watch(s, "/slow"), some = fake_watcher_sent() + 1;

	serve_sync_with(slow, FAKE_FLOOD + 200);
	serve_until(has_sent, &some);
	close(slow);
	serve_until(nobody_calls, NULL);
	serve_expect_idle(s, 1);
}

/* ---- who lies ---- */

static void a_setup_that_is_not_the_one_gets_nothing(void **state)
{
	struct scene *s = *state;
	int fd = serve_hand(s);

	s->setup[s->setup_len] = 0;
	serve_frame(fd, FILES_SETUP, s->setup, s->setup_len - 1);
	serve_expect_status(fd, RPC_INTERNAL, "SYSTEM");
	close(fd);
	fd = serve_hand(s);
	serve_frame(fd, FILES_SETUP, NULL, 0);
	serve_expect_status(fd, RPC_INTERNAL, "SYSTEM");
	close(fd);
	/* And takes nothing from those that come by the right one. */
	fd = serve_watch(s, "/x");
	close(fd);
	serve_expect_idle(s, 3);
	assert_int_equal(s->lock_ins, 1);
}

static void one_that_cannot_lock_itself_in_says_so_and_ends(void **state)
{
	struct scene *s = *state;
	int fd;

	s->cannot = true;
	fd = serve_hand(s);
	serve_frame(fd, FILES_SETUP, s->setup, s->setup_len);
	serve_expect_status(fd, RPC_INTERNAL, "SYSTEM");
	serve_expect_end(fd);
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
	int fd = serve_hand(s);

	if (how_far >= 1) {
		serve_frame(fd, FILES_SETUP, s->setup, s->setup_len);
		serve_expect_ready(fd);
	}
	if (how_far >= 2)
		serve_call(fd, "Watch", 0);
	if (how_far >= 3) {
		serve_begin(fd, "/x");
		serve_expect_armed(fd, "/x", 0);
	}
	serve_frame(fd, type, body, len);
	serve_expect_end(fd);
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
	breaks(s, 1, FILES_CALL, body, serve_pack_call(body, "Watch", ROLES));
	breaks(s, 2, FILES_CALL, body, serve_pack_call(body, "Watch", 0));
	breaks(s, 2, FILES_READY, NULL, 0);
	breaks(s, 3, FILES_HALF_CLOSE, wild, 1);
	breaks(s, 3, FILES_STATUS, NULL, 0);
	serve_until(nobody_calls, NULL);
}

static void a_frame_that_is_too_long_ends_the_connection(void **state)
{
	const struct files_frame head = {FILES_FRAME_MAX + 1, FILES_SETUP};
	struct scene *s = *state;
	int fd = serve_hand(s);

	serve_put(fd, &head, sizeof(head));
	serve_expect_end(fd);
}

static void wrong(struct scene *s, const void *first, size_t first_len, const void *second,
    size_t second_len, uint32_t code, const char *reason)
{
	int fd = serve_set_up_connection(s);

	serve_call(fd, "Watch", 0);
	serve_frame(fd, FILES_MESSAGE, first, first_len);
	if (second != NULL) {
		serve_expect_armed(fd, "/x", 0);
		serve_frame(fd, FILES_MESSAGE, second, second_len);
	}
	serve_expect_status(fd, code, reason);
	close(fd);
}

static void messages_that_are_none_are_told(void **state)
{
	struct scene *s = *state;
	uint8_t one[64], two[64], wild[8];
	size_t n_one = serve_pack_begin(one, "/x"), n_two = serve_pack_sync(two, 1);
	int fd;

	memset(wild, 0xff, sizeof(wild));
	wrong(s, wild, sizeof(wild), NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, two, n_two, NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, 0, NULL, 0, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, n_one, wild, sizeof(wild), RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	wrong(s, one, n_one, one, n_one, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	fd = serve_set_up_connection(s);
	serve_call(fd, "Watch", 0);
	serve_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	serve_expect_status(fd, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	close(fd);
	fd = serve_set_up_connection(s);
	serve_call(fd, "Stat", 0);
	serve_expect_status(fd, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD");
	close(fd);
}

static void nothing_may_follow_the_end_of_its_half(void **state)
{
	struct scene *s = *state;
	int fd = serve_watch(s, "/x");
	uint8_t body[4096];
	size_t len;
	uint32_t type;

	serve_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	serve_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	/* The call's own end may be sooner. */
	type = serve_next(fd, body, sizeof(body), &len);
	assert_true(type == 0 || type == FILES_STATUS);
	close(fd);
	serve_until(nobody_calls, NULL);
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
		fds[i] = serve_hand(s);
		serve_put(fds[i], &head, sizeof(head));
		serve_put(fds[i], some, sizeof(some));
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
	serve_expect_idle(s, 20);
	close(serve_watch(s, "/x"));
}

/* One that is closed is not seen at once. */
static bool has_room(void *arg)
{
	struct scene *s = arg;
	uint8_t body[1024];
	size_t len;
	int fd = serve_hand(s);
	bool yes;

	serve_frame(fd, FILES_SETUP, s->setup, s->setup_len);
	yes = serve_next(fd, body, sizeof(body), &len) == FILES_READY;
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
		fds[i] = serve_hand(s);
	fd = serve_hand(s);
	serve_expect_status(fd, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	serve_expect_end(fd);
	close(fds[0]);
	serve_until(has_room, s);
	for (size_t i = 1; i < WATCH_CONNS_MAX; i++)
		close(fds[i]);
}

/* ---- its end ---- */

static void the_control_sockets_end_is_its_end(void **state)
{
	struct scene *s = *state;
	int fd = serve_watch(s, "/x");

	assert_int_equal(serve_end(s), 0);
	serve_expect_end(fd);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, serve_set_up, serve_tear_down)
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
