/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: its options, its owner's room, and a shortage of descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/listener.h"
#include "common/log.h"

#define CLIENTS 12

struct fixture {
	struct event_base *base;
	struct listeners *listeners;
	struct sockaddr_in address;
	int accepted[64];
	size_t n_accepted, room;
	int clients[CLIENTS];
};

static void on_accepted(int fd, const struct sockaddr *from, socklen_t len, void *arg)
{
	struct fixture *f = arg;

	assert_int_equal(from->sa_family, AF_INET);
	assert_int_equal(len, sizeof(struct sockaddr_in));
	f->accepted[f->n_accepted++] = fd;
}

static bool has_room(void *arg)
{
	const struct fixture *f = arg;

	return f->n_accepted < f->room;
}

static int set_up(void **state)
{
	static const struct listener_ops ops = {.accepted = on_accepted, .room = has_room};
	struct fixture *f = calloc(1, sizeof(*f));
	socklen_t len = sizeof(f->address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_non_null(f);
	f->base = event_base_new();
	f->room = 64;
	f->address.sin_family = AF_INET;
	f->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&f->address, len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&f->address, &len), 0);
	f->listeners = listeners_new(f->base, &ops, f);
	listeners_add(f->listeners, fd, "127.0.0.1:0");
	for (int i = 0; i < CLIENTS; i++)
		f->clients[i] = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	listeners_free(f->listeners);
	event_base_free(f->base);
	for (size_t i = 0; i < f->n_accepted; i++)
		close(f->accepted[i]);
	for (int i = 0; i < CLIENTS; i++)
		if (f->clients[i] >= 0)
			close(f->clients[i]);
	free(f);
	return 0;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 16; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* A connection that connect(2) has made may still be on its way to the queue. */
static void accept_all(struct fixture *f, size_t n)
{
	time_t end = time(NULL) + 60;

	while (f->n_accepted < n && time(NULL) < end)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
	settle(f);
	assert_int_equal(f->n_accepted, n);
}

static void connect_client(struct fixture *f, int i)
{
	f->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    connect(f->clients[i], (struct sockaddr *)&f->address, sizeof(f->address)), 0);
}

static void connect_clients(struct fixture *f)
{
	for (int i = 0; i < CLIENTS; i++)
		connect_client(f, i);
}

static void connections_come_with_their_options(void **state)
{
	struct fixture *f = *state;

	connect_clients(f);
	settle(f);
	assert_int_equal(f->n_accepted, 0);
	listeners_start(f->listeners);
	accept_all(f, CLIENTS);
	for (int i = 0; i < CLIENTS; i++) {
		int on = 0;
		socklen_t len = sizeof(on);

		assert_true((fcntl(f->accepted[i], F_GETFL) & O_NONBLOCK) != 0);
		assert_true((fcntl(f->accepted[i], F_GETFD) & FD_CLOEXEC) != 0);
		assert_int_equal(
		    getsockopt(f->accepted[i], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
		assert_true(on != 0);
		on = 0;
		assert_int_equal(
		    getsockopt(f->accepted[i], SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
		assert_true(on != 0);
	}
}

static void without_room_they_wait_until_there_is(void **state)
{
	struct fixture *f = *state;

	f->room = 3;
	connect_clients(f);
	listeners_start(f->listeners);
	accept_all(f, 3);
	f->room = 5;
	settle(f);
	assert_int_equal(f->n_accepted, 3);
	listeners_resume(f->listeners);
	accept_all(f, 5);
}

static void a_shortage_of_descriptors_is_waited_out(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, tight;
	time_t end = time(NULL) + 60;

	connect_clients(f);
	listeners_start(f->listeners);
	log_open("test", LOG_LEVEL_ERROR, false, STDERR_FILENO);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)dup(0);
	close((int)tight.rlim_cur);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	settle(f);
	assert_int_equal(f->n_accepted, 0);
	/* Backing off: nothing is ready, so that the loop sleeps instead of spinning. */
	assert_int_equal(event_base_get_num_events(f->base, EVENT_BASE_COUNT_ACTIVE), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* Another one: a checker that plays the limit itself has lost the first of them. */
	close(f->clients[0]);
	connect_client(f, 0);
	while (f->n_accepted == 0 && time(NULL) < end)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
	assert_true(f->n_accepted > 0);
}

static void once_stopped_none_comes(void **state)
{
	struct fixture *f = *state;

	connect_clients(f);
	listeners_start(f->listeners);
	listeners_stop(f->listeners);
	listeners_resume(f->listeners);
	settle(f);
	assert_int_equal(f->n_accepted, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(connections_come_with_their_options),
	    TEST(without_room_they_wait_until_there_is),
	    TEST(a_shortage_of_descriptors_is_waited_out),
	    TEST(once_stopped_none_comes),
	};

	return cmocka_run_group_tests_name("worker_listener", tests, NULL, NULL);
}
