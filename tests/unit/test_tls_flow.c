/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes flow through an established TLS connection: nothing stays behind in a buffer, nothing
 * comes after the end, whatever the pieces are in which the network brings it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/util.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/tls.h"
#include "common/tls_internal.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

#define RECORD ((size_t)16384)

struct end {
	struct bufferevent *bev;
	struct evbuffer *got;
	short event;   /* that ended it */
	size_t at_end; /* how much had come by then */
	bool hold;     /* disable reading with the first bytes */
};

struct world {
	struct pki *pki;
	struct tls_ctx *server_ctx, *client_ctx;
	struct tls_pair pair;
	struct end server, client;
};

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->pki = pki_new("telex test CA");
	w->server_ctx = pki_server_ctx(w->pki, w->pki);
	w->client_ctx = pki_client_ctx(w->pki, w->pki);
	*state = w;
	return 0;
}

static int free_world(void **state)
{
	struct world *w = *state;

	tls_ctx_free(w->server_ctx);
	tls_ctx_free(w->client_ctx);
	pki_free(w->pki);
	free(w);
	return 0;
}

/* ---- ends ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
	struct end *end = arg;

	evbuffer_add_buffer(end->got, bufferevent_get_input(bev));
	if (end->hold)
		bufferevent_disable(bev, EV_READ);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct end *end = arg;

	evbuffer_add_buffer(end->got, bufferevent_get_input(bev));
	end->event = what;
	end->at_end = evbuffer_get_length(end->got);
}

static void take_end(struct end *end, struct bufferevent *bev)
{
	*end = (struct end){.bev = bev, .got = evbuffer_new()};
	bufferevent_setcb(bev, on_read, NULL, on_event, end);
}

static void established(struct world *w)
{
	assert_string_equal(w->pair.client.e.message, "");
	assert_string_equal(w->pair.server.e.message, "");
	take_end(&w->server, w->pair.server.bev);
	take_end(&w->client, w->pair.client.bev);
}

static void tcp(int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(listener >= 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&address, len), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(listener);
	for (int i = 0; i < 2; i++) {
		static const int on = 1;

		assert_int_equal(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
		assert_int_equal(evutil_make_socket_nonblocking(fds[i]), 0);
	}
}

static int make_pair(void **state)
{
	struct world *w = *state;
	int fds[2];

	tcp(fds);
	tls_pair_init(&w->pair);
	tls_pair_connect(&w->pair, w->client_ctx, fds[0], "localhost");
	tls_pair_serve(&w->pair, w->server_ctx, fds[1]);
	tls_pair_run(&w->pair);
	established(w);
	return 0;
}

static int free_pair(void **state)
{
	struct world *w = *state;

	tls_pair_free(&w->pair);
	evbuffer_free(w->server.got);
	evbuffer_free(w->client.got);
	return 0;
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Runs the loop until `buffer` has `len` bytes or `end` has ended. */
static void run_until_in(
    struct world *w, const struct end *end, const struct evbuffer *buffer, size_t len)
{
	static const struct timeval limit = {60, 0};
	bool timed_out = false;
	struct event *guard = evtimer_new(w->pair.base, on_guard, &timed_out);

	evtimer_add(guard, &limit);
	while (evbuffer_get_length(buffer) < len && end->event == 0 && !timed_out)
		event_base_loop(w->pair.base, EVLOOP_ONCE);
	event_free(guard);
	assert_false(timed_out);
}

static void run_until(struct world *w, const struct end *end, size_t len)
{
	run_until_in(w, end, end->got, len);
}

/* Until nothing is ready any more. Loopback brings what was sent at once. */
static void run_idle(struct world *w)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(w->pair.base, EVLOOP_NONBLOCK);
}

static uint8_t *pattern(size_t len)
{
	uint8_t *data = malloc(len);
	uint32_t x = 1;

	assert_non_null(data);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	return data;
}

static void assert_got(struct end *end, const uint8_t *data, size_t len)
{
	assert_int_equal(evbuffer_get_length(end->got), len);
	if (len > 0)
		assert_memory_equal(evbuffer_pullup(end->got, -1), data, len);
	evbuffer_drain(end->got, len);
}

static int fd_of(const struct end *end)
{
	return tls_conn_of(bufferevent_openssl_get_ssl(end->bev))->fd;
}

static int unsent(const struct end *end)
{
	int n = -1;

	assert_int_equal(ioctl(fd_of(end), SIOCOUTQNSD, &n), 0);
	return n;
}

/* ---- a network that brings what it is told to ---- */

struct relay {
	int to_server, to_client;
	struct event *from_server, *from_client;
	struct evbuffer *held; /* for the client, when `holds` */
	bool holds;
};

static void forward(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void on_from_client(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	char data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	(void)what;
	if (n > 0)
		forward(r->to_server, data, (size_t)n);
	else
		event_del(r->from_client);
}

static void on_from_server(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	char data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	(void)what;
	if (n <= 0)
		event_del(r->from_server);
	else if (r->holds)
		evbuffer_add(r->held, data, (size_t)n);
	else
		forward(r->to_client, data, (size_t)n);
}

static void relay_start(struct world *w, struct relay *r)
{
	int server[2], client[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, server), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client), 0);
	*r = (struct relay){.to_server = server[1], .to_client = client[1], .held = evbuffer_new()};
	tls_pair_init(&w->pair);
	r->from_server =
	    event_new(w->pair.base, server[1], EV_READ | EV_PERSIST, on_from_server, r);
	r->from_client =
	    event_new(w->pair.base, client[1], EV_READ | EV_PERSIST, on_from_client, r);
	event_add(r->from_server, NULL);
	event_add(r->from_client, NULL);
	tls_pair_connect(&w->pair, w->client_ctx, client[0], "localhost");
	tls_pair_serve(&w->pair, w->server_ctx, server[0]);
	tls_pair_run(&w->pair);
	established(w);
	run_idle(w);
}

static void relay_stop(struct relay *r)
{
	event_free(r->from_server);
	event_free(r->from_client);
	evbuffer_free(r->held);
	close(r->to_server);
	close(r->to_client);
}

/* Three records: `len` of each. What they are on the wire is in r->held. */
static void send_three(struct world *w, struct relay *r, const uint8_t *data, const size_t len[3])
{
	r->holds = true;
	for (int i = 0; i < 3; i++) {
		bufferevent_write(w->server.bev, data, len[i]);
		run_idle(w);
		data += len[i];
	}
	r->holds = false;
}

static void records_may_be_split_at_every_byte(void **state)
{
	static const size_t len[3] = {10, 1, 200};
	struct world *w = *state;
	uint8_t *data = pattern(211);
	size_t total = 1;
	struct relay r;

	relay_start(w, &r);
	for (size_t at = 0; at <= total; at++) {
		const uint8_t *wire;

		send_three(w, &r, data, len);
		total = evbuffer_get_length(r.held);
		assert_int_equal(total, 211 + 3 * 22);
		wire = evbuffer_pullup(r.held, -1);
		forward(r.to_client, wire, at);
		run_idle(w);
		/* Of records that are whole, nothing is kept back. */
		assert_int_equal(evbuffer_get_length(w->client.got),
		    (at >= 32 ? 10u : 0u) + (at >= 55 ? 1u : 0u) + (at >= total ? 200u : 0u));
		forward(r.to_client, wire + at, total - at);
		run_until(w, &w->client, 211);
		assert_got(&w->client, data, 211);
		evbuffer_drain(r.held, total);
	}
	relay_stop(&r);
	free(data);
}

static void bytes_may_come_one_by_one(void **state)
{
	static const size_t len[3] = {1, 300, 7};
	struct world *w = *state;
	uint8_t *data = pattern(308);
	struct relay r;

	relay_start(w, &r);
	send_three(w, &r, data, len);
	while (evbuffer_get_length(r.held) > 0) {
		char byte;

		evbuffer_remove(r.held, &byte, 1);
		forward(r.to_client, &byte, 1);
		run_idle(w);
	}
	assert_got(&w->client, data, 308);
	relay_stop(&r);
	free(data);
}

static void a_cut_inside_of_a_header_is_an_error(void **state)
{
	static const size_t len[3] = {100, 100, 100};
	struct world *w = *state;
	uint8_t *data = pattern(300);
	struct relay r;

	relay_start(w, &r);
	send_three(w, &r, data, len);
	/* The first record, and three bytes of the next one's header. */
	forward(r.to_client, evbuffer_pullup(r.held, -1), 122 + 3);
	shutdown(r.to_client, SHUT_WR);
	run_until(w, &w->client, SIZE_MAX);
	assert_true((w->client.event & BEV_EVENT_ERROR) != 0);
	assert_int_equal(w->client.at_end, 100);
	assert_got(&w->client, data, 100);
	relay_stop(&r);
	free(data);
}

/* ---- the end ---- */

static void the_end_comes_behind_the_data(void **state)
{
	const size_t len = 10 * RECORD + 5;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	bufferevent_write(w->server.bev, data, len);
	while (evbuffer_get_length(bufferevent_get_output(w->server.bev)) > 0)
		event_base_loop(w->pair.base, EVLOOP_ONCE);
	tls_free(w->pair.server.bev);
	w->pair.server.bev = NULL;
	run_until(w, &w->client, SIZE_MAX);
	assert_true((w->client.event & BEV_EVENT_EOF) != 0);
	assert_int_equal(w->client.at_end, len);
	assert_got(&w->client, data, len);
	free(data);
}

static void a_cut_comes_behind_the_data_and_is_an_error(void **state)
{
	const size_t len = 10 * RECORD + 5;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	bufferevent_write(w->server.bev, data, len);
	while (evbuffer_get_length(bufferevent_get_output(w->server.bev)) > 0)
		event_base_loop(w->pair.base, EVLOOP_ONCE);
	shutdown(fd_of(&w->server), SHUT_WR);
	run_until(w, &w->client, SIZE_MAX);
	assert_true((w->client.event & BEV_EVENT_ERROR) != 0);
	assert_int_equal(w->client.at_end, len);
	assert_got(&w->client, data, len);
	free(data);
}

/* ---- reading ---- */

static void nothing_is_read_while_reading_is_disabled(void **state)
{
	const size_t len = 4 * RECORD;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	bufferevent_disable(w->client.bev, EV_READ);
	bufferevent_write(w->server.bev, data, len);
	run_idle(w);
	assert_int_equal(evbuffer_get_length(w->client.got), 0);
	bufferevent_enable(w->client.bev, EV_READ);
	run_until(w, &w->client, len);
	assert_got(&w->client, data, len);
	free(data);
}

static void reading_stops_when_it_is_disabled_on_the_way(void **state)
{
	const size_t len = 60 * 1000;
	struct world *w = *state;
	uint8_t *data = pattern(len);
	size_t before;

	w->client.hold = true;
	for (size_t at = 0; at < len; at += 1000) {
		bufferevent_write(w->server.bev, data + at, 1000);
		event_base_loop(w->pair.base, EVLOOP_NONBLOCK);
	}
	run_idle(w);
	before = evbuffer_get_length(w->client.got);
	assert_in_range(before, 1, len - 1);
	for (size_t got = before; got < len; got = evbuffer_get_length(w->client.got)) {
		/* The rest comes in steps of its own, with nothing between them. */
		assert_int_equal(evbuffer_get_length(bufferevent_get_input(w->client.bev)), 0);
		bufferevent_enable(w->client.bev, EV_READ);
		run_until(w, &w->client, got + 1);
		run_idle(w);
	}
	assert_got(&w->client, data, len);
	free(data);
}

static void a_high_watermark_holds_the_input(void **state)
{
	const size_t len = 8 * RECORD, mark = 20000;
	struct world *w = *state;
	struct evbuffer *input = bufferevent_get_input(w->client.bev);
	uint8_t *data = pattern(len);

	bufferevent_setcb(w->client.bev, NULL, NULL, on_event, &w->client);
	bufferevent_setwatermark(w->client.bev, EV_READ, 0, mark);
	bufferevent_write(w->server.bev, data, len);
	while (evbuffer_get_length(w->client.got) < len) {
		run_until_in(w, &w->client, input, 1);
		run_idle(w);
		/* Over by no more than one record, which cannot be left half read. */
		assert_in_range(evbuffer_get_length(input), 1, mark + RECORD);
		evbuffer_remove_buffer(input, w->client.got, RECORD / 2);
	}
	assert_got(&w->client, data, len);
	free(data);
}

static void one_turn_reads_several_records_and_not_all(void **state)
{
	enum { RECORDS = 100 };
	struct world *w = *state;
	uint8_t *data = pattern(RECORDS * 100);
	size_t had = 0, most = 0;

	bufferevent_disable(w->client.bev, EV_READ);
	for (size_t i = 0; i < RECORDS; i++) {
		bufferevent_write(w->server.bev, data + i * 100, 100);
		run_idle(w);
	}
	bufferevent_enable(w->client.bev, EV_READ);
	while (had < RECORDS * 100) {
		size_t got;

		event_base_loop(w->pair.base, EVLOOP_ONCE);
		got = evbuffer_get_length(w->client.got);
		if (got - had > most)
			most = got - had;
		had = got;
	}
	assert_in_range(most, 2 * 100, 20 * 100);
	assert_got(&w->client, data, RECORDS * 100);
	free(data);
}

/* ---- writing ---- */

static void tiny_writes_arrive_in_order(void **state)
{
	const size_t len = 3000;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	for (size_t i = 0; i < len; i++) {
		bufferevent_write(w->server.bev, data + i, 1);
		if (i % 7 == 0)
			event_base_loop(w->pair.base, EVLOOP_NONBLOCK);
	}
	run_until(w, &w->client, len);
	assert_got(&w->client, data, len);
	free(data);
}

static void what_was_written_is_not_held_back_by_the_kernel(void **state)
{
	static const size_t sizes[] = {1, RECORD, RECORD + 1, 2 * RECORD + 777, 30000};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *data = pattern(sizes[i]);

		bufferevent_disable(w->client.bev, EV_READ);
		/* In two pieces of memory. */
		bufferevent_write(w->server.bev, data, sizes[i] / 2);
		evbuffer_add_reference(bufferevent_get_output(w->server.bev), data + sizes[i] / 2,
		    sizes[i] - sizes[i] / 2, NULL, NULL);
		run_idle(w);
		assert_int_equal(evbuffer_get_length(bufferevent_get_output(w->server.bev)), 0);
		assert_int_equal(unsent(&w->server), 0);
		bufferevent_enable(w->client.bev, EV_READ);
		run_until(w, &w->client, sizes[i]);
		assert_got(&w->client, data, sizes[i]);
		free(data);
	}
}

static void what_was_held_back_is_pushed_when_nothing_follows(void **state)
{
	struct world *w = *state;
	SSL *ssl = bufferevent_openssl_get_ssl(w->server.bev);
	struct evbuffer *output = bufferevent_get_output(w->server.bev);
	uint8_t *data = pattern(1000);

	bufferevent_disable(w->server.bev, EV_WRITE);
	bufferevent_write(w->server.bev, data, 1000);
	assert_int_equal(SSL_write(ssl, "abc", 3), 3);
	assert_int_equal(tls_conn_of(ssl)->batch_len, 3 + 22);
	assert_int_equal(evbuffer_drain(output, 1000), 0);
	assert_null(tls_conn_of(ssl)->batch);
	assert_int_equal(tls_conn_of(ssl)->batch_len, 0);
	assert_int_equal(unsent(&w->server), 0);
	run_until(w, &w->client, 3);
	assert_got(&w->client, (const uint8_t *)"abc", 3);
	free(data);
}

static void what_was_held_back_goes_before_the_end(void **state)
{
	struct world *w = *state;
	SSL *ssl = bufferevent_openssl_get_ssl(w->server.bev);
	uint8_t *data = pattern(1000);

	bufferevent_disable(w->server.bev, EV_WRITE);
	bufferevent_write(w->server.bev, data, 1000);
	assert_int_equal(SSL_write(ssl, "abc", 3), 3);
	assert_int_equal(tls_conn_of(ssl)->batch_len, 3 + 22);
	tls_free(w->pair.server.bev);
	w->pair.server.bev = NULL;
	run_until(w, &w->client, SIZE_MAX);
	assert_true((w->client.event & BEV_EVENT_EOF) != 0);
	assert_got(&w->client, (const uint8_t *)"abc", 3);
	free(data);
}

/* The bytes of n records of `len` written by hand while others wait, and how many fit. */
static size_t write_by_hand(SSL *ssl, const uint8_t *data, size_t len, size_t n)
{
	size_t done = 0;

	while (done < n && SSL_write(ssl, data + done * len, (int)len) == (int)len)
		done++;
	return done;
}

static void a_batch_that_does_not_go_at_once_goes_in_order(void **state)
{
	enum { LEN = 16000, MOST = 4000 };
	struct world *w = *state;
	SSL *ssl = bufferevent_openssl_get_ssl(w->server.bev);
	struct evbuffer *output = bufferevent_get_output(w->server.bev);
	uint8_t *data = pattern((size_t)LEN * MOST);
	size_t done, rest;

	bufferevent_disable(w->client.bev, EV_READ);
	bufferevent_disable(w->server.bev, EV_WRITE);
	bufferevent_write(w->server.bev, data, (size_t)LEN * MOST);
	done = write_by_hand(ssl, data, LEN, MOST);
	assert_in_range(done, 1, MOST - 1);
	assert_true(tls_conn_of(ssl)->batch_len > tls_conn_of(ssl)->batch_sent);
	/* The record that was refused is the one that follows. */
	rest = (size_t)LEN * (MOST - done);
	assert_int_equal(evbuffer_drain(output, (size_t)LEN * done), 0);
	bufferevent_enable(w->client.bev, EV_READ);
	while (SSL_write(ssl, data + done * LEN, LEN) != LEN)
		event_base_loop(w->pair.base, EVLOOP_ONCE);
	assert_int_equal(evbuffer_drain(output, LEN), 0);
	bufferevent_enable(w->server.bev, EV_WRITE);
	run_until(w, &w->client, (size_t)LEN * done + rest);
	assert_got(&w->client, data, (size_t)LEN * MOST);
	assert_null(tls_conn_of(ssl)->batch);
	free(data);
}

static void inside_of_a_machine_nothing_is_paced(void **state)
{
	struct world *w = *state;
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	assert_int_equal(getsockopt(fd_of(&w->server), IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	assert_string_equal(name, "reno");
}

static void a_full_socket_is_waited_for(void **state)
{
	const size_t len = 20 << 20;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	bufferevent_disable(w->client.bev, EV_READ);
	bufferevent_write(w->server.bev, data, len);
	run_idle(w);
	assert_true(evbuffer_get_length(bufferevent_get_output(w->server.bev)) > 0);
	bufferevent_enable(w->client.bev, EV_READ);
	run_until(w, &w->client, len);
	assert_got(&w->client, data, len);
	free(data);
}

static void both_ends_may_be_busy(void **state)
{
	const size_t len = (4 << 20) + 13;
	struct world *w = *state;
	uint8_t *data = pattern(len);

	for (size_t at = 0; at < len;) {
		size_t n = len - at < 50000 ? len - at : 50000;

		bufferevent_write(w->server.bev, data + at, n);
		bufferevent_write(w->client.bev, data + at, n);
		event_base_loop(w->pair.base, EVLOOP_NONBLOCK);
		at += n;
	}
	run_until(w, &w->client, len);
	run_until(w, &w->server, len);
	assert_got(&w->client, data, len);
	assert_got(&w->server, data, len);
	free(data);
}

#define WITH_PAIR(test)  cmocka_unit_test_setup_teardown(test, make_pair, free_pair)
#define WITH_RELAY(test) cmocka_unit_test_setup_teardown(test, NULL, free_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_RELAY(records_may_be_split_at_every_byte),
	    WITH_RELAY(bytes_may_come_one_by_one),
	    WITH_RELAY(a_cut_inside_of_a_header_is_an_error),
	    WITH_PAIR(the_end_comes_behind_the_data),
	    WITH_PAIR(a_cut_comes_behind_the_data_and_is_an_error),
	    WITH_PAIR(nothing_is_read_while_reading_is_disabled),
	    WITH_PAIR(reading_stops_when_it_is_disabled_on_the_way),
	    WITH_PAIR(a_high_watermark_holds_the_input),
	    WITH_PAIR(one_turn_reads_several_records_and_not_all),
	    WITH_PAIR(tiny_writes_arrive_in_order),
	    WITH_PAIR(what_was_written_is_not_held_back_by_the_kernel),
	    WITH_PAIR(what_was_held_back_is_pushed_when_nothing_follows),
	    WITH_PAIR(what_was_held_back_goes_before_the_end),
	    WITH_PAIR(a_batch_that_does_not_go_at_once_goes_in_order),
	    WITH_PAIR(inside_of_a_machine_nothing_is_paced),
	    WITH_PAIR(a_full_socket_is_waited_for),
	    WITH_PAIR(both_ends_may_be_busy),
	};

	return cmocka_run_group_tests(tests, make_world, free_world);
}
