/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Calls with gRPC on both ends: streams, windows, credit, gzip, and ends in the middle of all that.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/grpc_call.h"
#include "tests/support/grpc_pair.h"

static struct grpc_pair *pair_new(uint32_t window)
{
	struct grpc_pair *p = malloc(sizeof(*p));

	assert_non_null(p);
	grpc_pair_init(p, window);
	return p;
}

static void pair_free(struct grpc_pair *p)
{
	grpc_pair_free(p);
	free(p);
}

/* Opens a call and sends nothing: both ends are there. */
static struct grpc_pair *opened_with(uint32_t window, bool gzip)
{
	struct grpc_client_options o = {
	    .authority = "a", .path = "/test.v1.Test/Do", .gzip = gzip, .max_message = 8 << 20};
	struct grpc_pair *p = pair_new(window);

	p->max_message = 8 << 20;
	grpc_pair_open(p, &o);
	h2_pair_settle(&p->h2);
	assert_non_null(p->server.call);
	return p;
}

static struct grpc_pair *opened(uint32_t window)
{
	return opened_with(window, false);
}

static struct grpc_pair *opened_gzip(uint32_t window)
{
	return opened_with(window, true);
}

static void finish_ok(struct grpc_end *e)
{
	struct rpc_status s;

	rpc_status_set(&s, RPC_OK, NULL, "%s", "");
	grpc_finish(e->call, &s);
}

static void assert_both_ok(struct grpc_pair *p)
{
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_OK);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_OK);
	assert_int_equal(p->ends, 1);
}

static void a_unary_call(void **state)
{
	struct grpc_pair *p = opened(0);

	(void)state;
	p->server.at = ON_HALF_CLOSE;
	p->server.act = finish_ok;
	assert_int_equal(grpc_send(p->client.call, "question", 8), 0);
	assert_int_equal(grpc_send(p->server.call, "answer", 6), 0);
	grpc_half_close(p->client.call);
	assert_int_equal(grpc_send(p->client.call, "x", 1), TX_ECLOSED);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	assert_string_equal((char *)p->server.last, "question");
	assert_string_equal((char *)p->client.last, "answer");
	assert_int_equal(p->server.half_closes, 1);
	assert_int_equal(p->client.half_closes, 0);
	pair_free(p);
}

static void both_directions_stream(void **state)
{
	struct grpc_pair *p = opened(0);

	(void)state;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(grpc_send(p->client.call, "c", 1), 0);
		assert_int_equal(grpc_send(p->server.call, "ss", 2), 0);
		h2_pair_settle(&p->h2);
		assert_int_equal(p->server.messages, i + 1);
		assert_int_equal(p->client.messages, i + 1);
	}
	grpc_half_close(p->client.call);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.half_closes, 1);
	assert_int_equal(p->server.dones, 0);
	assert_int_equal(grpc_send(p->server.call, "last", 4), 0);
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	assert_string_equal((char *)p->client.last, "last");
	pair_free(p);
}

/* Message sizes around a window of `window`, each way, and each byte as it was. */
static void sizes_around(uint32_t window)
{
	const size_t sizes[] = {0, 1, window - 6, window - 5, window - 4, window, window + 1, 0,
	    2 * (size_t)window, 10 * (size_t)window + 3};
	struct grpc_pair *p = opened(window);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct grpc_end *from = i % 2 ? &p->server : &p->client;
		struct grpc_end *to = i % 2 ? &p->client : &p->server;
		uint8_t *bytes = grpc_pair_bytes(sizes[i], i);
		unsigned before = to->messages;

		assert_int_equal(grpc_send(from->call, bytes, sizes[i]), 0);
		for (int k = 0; k < 1000 && to->messages == before; k++)
			h2_pair_settle(&p->h2);
		assert_int_equal(to->messages, before + 1);
		assert_int_equal(to->last_len, sizes[i]);
		assert_memory_equal(to->last, bytes, sizes[i]);
		free(bytes);
	}
	grpc_half_close(p->client.call);
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	pair_free(p);
}

static void messages_may_be_larger_than_the_window(void **state)
{
	(void)state;
	sizes_around(100);
	sizes_around(16384);
	sizes_around(65535);
}

/* A window of one byte makes DATA frames of one byte. */
static void messages_may_come_byte_by_byte(void **state)
{
	struct grpc_pair *p = opened(1);
	uint8_t *bytes = grpc_pair_bytes(300, 5);

	(void)state;
	for (size_t n = 0; n < 300; n += 59)
		assert_int_equal(grpc_send(p->client.call, bytes, n), 0);
	grpc_half_close(p->client.call);
	for (int i = 0; i < 1000 && p->server.half_closes == 0; i++)
		h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 6);
	assert_int_equal(p->server.last_len, 295);
	assert_memory_equal(p->server.last, bytes, 295);
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	free(bytes);
	pair_free(p);
}

/* What is lost a message would stop this soon: four hundred windows go through. (h2 asserts the
 * other side.) */
static void no_credit_is_ever_lost(void **state)
{
	struct grpc_pair *p = opened(256);
	size_t total = 0;
	unsigned sent = 0;

	(void)state;
	while (total < 400 * 256) {
		uint8_t *bytes = grpc_pair_bytes(700, sent);
		size_t n = (sent * 37u) % 700;

		assert_int_equal(grpc_send(p->client.call, bytes, n), 0);
		total += n;
		sent++;
		free(bytes);
		for (int i = 0; i < 100 && p->server.messages < sent; i++)
			h2_pair_settle(&p->h2);
		assert_int_equal(p->server.messages, sent);
	}
	assert_int_equal(p->server.bytes, total);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	pair_free(p);
}

/* Sends messages of n bytes until the sender is to stop; returns how many. */
static unsigned fill(struct grpc_pair *p, struct grpc_end *from, size_t n)
{
	uint8_t *bytes = grpc_pair_bytes(n, 3);
	unsigned sent = 0;

	while (grpc_pending(from->call) < H2_SEND_HIGH) {
		assert_int_equal(grpc_send(from->call, bytes, n), 0);
		h2_pair_settle(&p->h2);
		sent++;
	}
	free(bytes);
	return sent;
}

static void without_credit_a_sender_stands_still(void **state)
{
	struct grpc_pair *p = opened(65535);
	unsigned sent;
	size_t got;

	(void)state;
	p->server.hold = true;
	sent = fill(p, &p->client, 1000);
	got = p->server.bytes;
	assert_true(got <= 65535);
	assert_int_equal(p->client.writables, 0);
	/* All is credited, in odd pieces; the rest comes. */
	for (size_t left = got; left > 0;) {
		size_t n = left < 777 ? left : 777;

		grpc_credit(p->server.call, n);
		left -= n;
	}
	p->server.hold = false;
	for (int i = 0; i < 100; i++)
		h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, sent);
	assert_int_equal(p->client.writables, 1);
	assert_int_equal(grpc_pending(p->client.call), 0);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	pair_free(p);
}

static void settle_long(struct grpc_pair *p)
{
	for (int i = 0; i < 50; i++)
		h2_pair_settle(&p->h2);
}

static void a_large_message_is_no_way_around_the_window(void **state)
{
	struct grpc_pair *p = opened(65535);
	uint8_t *big = grpc_pair_bytes(1 << 20, 1);
	size_t held;

	(void)state;
	/* One message of a megabyte is let through, since nothing else is unread. */
	p->server.hold = true;
	assert_int_equal(grpc_send(p->client.call, big, 1 << 20), 0);
	settle_long(p);
	assert_int_equal(p->server.messages, 1);
	/* Of what follows, a window comes and no more. */
	fill(p, &p->client, 5000);
	held = p->server.bytes - (1 << 20);
	assert_true(held <= 65535);
	/* What was lent for the message is paid back first: its first half frees nothing. */
	grpc_credit(p->server.call, 1 << 19);
	settle_long(p);
	assert_int_equal(p->server.bytes - (1 << 20), held);
	grpc_credit(p->server.call, (1 << 19) + held);
	settle_long(p);
	assert_true(p->server.bytes - (1 << 20) > held);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	free(big);
	pair_free(p);
}

static void a_large_message_waits_for_the_credit_of_others(void **state)
{
	struct grpc_pair *p = opened(200000);
	uint8_t *big = grpc_pair_bytes(400000, 1);

	(void)state;
	p->server.hold = true;
	assert_int_equal(grpc_send(p->client.call, big, 150000), 0);
	assert_int_equal(grpc_send(p->client.call, big, 400000), 0);
	settle_long(p);
	assert_int_equal(p->server.messages, 1);
	/* 64 KiB may stay unread for good. */
	grpc_credit(p->server.call, 150000 - CALL_LOAN);
	settle_long(p);
	assert_int_equal(p->server.messages, 2);
	assert_memory_equal(p->server.last, big, 400000);
	grpc_credit(p->server.call, CALL_LOAN + 400000);
	assert_int_equal(grpc_send(p->client.call, big, 1000), 0);
	settle_long(p);
	assert_int_equal(p->server.messages, 3);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	free(big);
	pair_free(p);
}

/* ---- gzip ---- */

static void gzip_goes_both_ways(void **state)
{
	struct grpc_pair *p = opened_gzip(1000);
	char text[20000];

	(void)state;
	memset(text, 'q', sizeof(text));
	grpc_compress(p->client.call, true);
	grpc_compress(p->server.call, true);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(grpc_send(p->client.call, text, sizeof(text)), 0);
		assert_int_equal(grpc_send(p->server.call, text, sizeof(text)), 0);
		assert_true(grpc_pending(p->client.call) < 1000);
		h2_pair_settle(&p->h2);
		assert_int_equal(p->server.messages, i);
		assert_int_equal(p->client.messages, i);
		assert_int_equal(p->client.last_len, sizeof(text));
		assert_memory_equal(p->server.last, text, sizeof(text));
	}
	/* Plain ones in between. */
	grpc_compress(p->client.call, false);
	assert_int_equal(grpc_send(p->client.call, "plain", 5), 0);
	grpc_compress(p->client.call, true);
	assert_int_equal(grpc_send(p->client.call, "x", 1), 0);
	assert_int_equal(grpc_send(p->client.call, NULL, 0), 0);
	grpc_half_close(p->client.call);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 23);
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	pair_free(p);
}

static void a_buffer_is_sent_compressed_too(void **state)
{
	struct grpc_pair *p = opened_gzip(0);
	struct evbuffer *b = evbuffer_new();

	(void)state;
	assert_non_null(b);
	for (int i = 0; i < 500; i++)
		evbuffer_add(b, "many words, ", 12);
	grpc_compress(p->client.call, true);
	assert_int_equal(grpc_send_buffer(p->client.call, b), 0);
	assert_int_equal(evbuffer_get_length(b), 0);
	assert_int_equal(grpc_send_buffer(p->client.call, b), 0); /* empty */
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 2);
	assert_int_equal(p->server.bytes, 6000);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	evbuffer_free(b);
	pair_free(p);
}

static void a_bomb_is_resource_exhausted(void **state)
{
	struct grpc_pair *p = pair_new(0);
	static const struct grpc_client_options o = {.authority = "a", .path = "/b", .gzip = true};
	uint8_t *zeros = calloc(1, 4 << 20);

	(void)state;
	assert_non_null(zeros);
	p->max_message = 1 << 20;
	grpc_pair_open(p, &o);
	grpc_compress(p->client.call, true);
	assert_int_equal(grpc_send(p->client.call, zeros, 4 << 20), 0);
	assert_true(grpc_pending(p->client.call) < 10000);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 0);
	assert_int_equal(p->server.status.code, RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(p->client.status.code, RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(p->h2.client.closed, 0);
	free(zeros);
	pair_free(p);
}

/* Ten megabytes in a few kilobytes each way are not delivered to one who gives no credit. */
static void compressed_messages_are_held_up(void **state)
{
	struct grpc_pair *p = opened_gzip(65535);
	uint8_t *zeros = calloc(1, 1 << 20);

	(void)state;
	assert_non_null(zeros);
	p->server.hold = true;
	grpc_compress(p->client.call, true);
	for (int i = 0; i < 10; i++)
		assert_int_equal(grpc_send(p->client.call, zeros, 1 << 20), 0);
	assert_int_equal(grpc_send(p->client.call, "end", 3), 0);
	grpc_half_close(p->client.call);
	h2_pair_settle(&p->h2);
	assert_int_equal(grpc_pending(p->client.call), 0);
	assert_int_equal(p->server.messages, 1);
	for (unsigned i = 2; i <= 10; i++) {
		grpc_credit(p->server.call, 1 << 20);
		assert_int_equal(p->server.messages, i - 1); /* not from inside */
		h2_pair_settle(&p->h2);
		assert_int_equal(p->server.messages, i);
		assert_int_equal(p->server.half_closes, 0);
	}
	grpc_credit(p->server.call, 1 << 20);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 11);
	assert_string_equal((char *)p->server.last, "end");
	assert_int_equal(p->server.half_closes, 1);
	grpc_credit(p->server.call, 3);
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_both_ok(p);
	free(zeros);
	pair_free(p);
}

/* The server sends n megabytes in n messages; the client takes one, and holds its credit back. */
static struct grpc_pair *client_held_up(unsigned n, size_t max_message)
{
	struct grpc_client_options o = {.authority = "a", .path = "/b", .max_message = max_message};
	struct grpc_pair *p = pair_new(65535);
	uint8_t *zeros = calloc(1, 1 << 20);

	assert_non_null(zeros);
	grpc_pair_open(p, &o);
	h2_pair_settle(&p->h2);
	p->client.hold = true;
	grpc_compress(p->server.call, true);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(grpc_send(p->server.call, zeros, 1 << 20), 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 1);
	free(zeros);
	return p;
}

static void a_held_up_client_gets_all_and_then_the_end(void **state)
{
	struct grpc_pair *p = client_held_up(4, 1 << 20);

	(void)state;
	grpc_credit(p->client.call, 1 << 20);
	assert_int_equal(p->client.messages, 1); /* not from inside */
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 2);
	assert_int_equal(p->client.dones, 0);
	/* With the end of the stream the rest comes at once, since there is nothing to come later.
	 */
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 4);
	assert_both_ok(p);
	pair_free(p);
}

static void what_is_held_up_at_the_end_has_a_limit(void **state)
{
	struct grpc_pair *p = client_held_up(10, 1 << 20);

	(void)state;
	finish_ok(&p->server);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 4);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_RESOURCE_EXHAUSTED);
	pair_free(p);
}

static void a_held_up_client_that_loses_its_connection(void **state)
{
	struct grpc_pair *p = client_held_up(3, 1 << 20);

	(void)state;
	h2_close(p->h2.server.conn, H2_NO_ERROR);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 3);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_UNAVAILABLE);
	assert_int_equal(p->h2.client.closed, 1);
	pair_free(p);
	/* By ourselves, and at once. */
	p = client_held_up(3, 1 << 20);
	h2_abort(p->h2.client.conn);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_UNAVAILABLE);
	pair_free(p);
}

static void cancel(struct grpc_end *e)
{
	grpc_cancel(e->call);
}

static void a_held_up_client_may_cancel(void **state)
{
	struct grpc_pair *p = client_held_up(3, 1 << 20);

	(void)state;
	grpc_cancel(p->client.call);
	assert_int_equal(p->client.dones, 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 1);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_CANCELLED);
	pair_free(p);
	/* In a message that comes out of the backlog; and in one that the end brought. */
	for (int i = 0; i < 2; i++) {
		p = client_held_up(3, 1 << 20);
		p->client.at = ON_MESSAGE;
		p->client.act = cancel;
		if (i == 0)
			grpc_credit(p->client.call, 1 << 20);
		else
			finish_ok(&p->server);
		h2_pair_settle(&p->h2);
		assert_int_equal(p->client.messages, 2);
		assert_int_equal(p->client.dones, 1);
		assert_int_equal(p->client.status.code, RPC_CANCELLED);
		pair_free(p);
	}
}

static void a_held_up_server_is_cancelled_with_its_client(void **state)
{
	struct grpc_pair *p = opened_gzip(65535);
	uint8_t *zeros = calloc(1, 2 << 20);

	(void)state;
	assert_non_null(zeros);
	p->server.hold = true;
	grpc_compress(p->client.call, true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(grpc_send(p->client.call, zeros, 2 << 20), 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 1);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 1);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_CANCELLED);
	free(zeros);
	pair_free(p);
}

/* ---- sending ---- */

static void count_cleanup(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	(*(int *)arg)++;
}

static void references_are_sent_as_they_are(void **state)
{
	struct grpc_pair *p = opened(0);
	uint8_t *bytes = grpc_pair_bytes(200000, 2);
	struct evbuffer *b = evbuffer_new();
	int released = 0;

	(void)state;
	assert_non_null(b);
	evbuffer_add(b, "head", 4);
	evbuffer_add_reference(b, bytes, 200000, count_cleanup, &released);
	assert_int_equal(grpc_send_buffer(p->server.call, b), 0);
	assert_int_equal(evbuffer_get_length(b), 0);
	assert_int_equal(released, 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(released, 1);
	assert_int_equal(p->client.last_len, 200004);
	assert_memory_equal(p->client.last, "head", 4);
	assert_memory_equal(p->client.last + 4, bytes, 200000);
	/* A reference first, and an empty message. */
	evbuffer_add_reference(b, bytes, 100000, count_cleanup, &released);
	assert_int_equal(grpc_send_buffer(p->server.call, b), 0);
	assert_int_equal(grpc_send_buffer(p->server.call, b), 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 3);
	assert_int_equal(p->client.bytes, 300004);
	assert_int_equal(p->client.last_len, 0);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	evbuffer_free(b);
	free(bytes);
	pair_free(p);
}

static void answer_and_end(struct grpc_end *e)
{
	assert_int_equal(grpc_send(e->call, "1", 1), 0);
	assert_int_equal(grpc_send(e->call, "2", 1), 0);
	finish_ok(e);
	assert_int_equal(grpc_send(e->call, "3", 1), TX_ECLOSED);
}

static void a_server_may_end_in_any_callback(void **state)
{
	static const enum grpc_event where[] = {ON_CALL, ON_MESSAGE, ON_HALF_CLOSE};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct grpc_pair *p = pair_new(0);

		p->server.at = where[i];
		p->server.act = answer_and_end;
		grpc_pair_open(p, NULL);
		grpc_send(p->client.call, "a", 1);
		grpc_send(p->client.call, "b", 1);
		if (where[i] == ON_HALF_CLOSE)
			grpc_half_close(p->client.call);
		h2_pair_settle(&p->h2);
		assert_both_ok(p);
		assert_int_equal(p->client.messages, 2);
		assert_int_equal(p->server.messages, i);
		pair_free(p);
	}
}

static void reply_in_message(struct grpc_end *e)
{
	assert_int_equal(grpc_send(e->call, e->last, e->last_len), 0);
	if (e->messages == 5)
		grpc_half_close(e->call);
}

static void a_client_may_send_and_end_in_a_message(void **state)
{
	struct grpc_pair *p = opened(0);

	(void)state;
	p->client.at = ON_MESSAGE;
	p->client.act = reply_in_message;
	p->server.at = ON_HALF_CLOSE;
	p->server.act = finish_ok;
	for (int i = 0; i < 5; i++)
		assert_int_equal(grpc_send(p->server.call, "ball", 4), 0);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 5);
	assert_both_ok(p);
	pair_free(p);
}

static void send_more(struct grpc_end *e)
{
	static char block[10000];

	while (grpc_pending(e->call) < H2_SEND_HIGH && *(unsigned *)e->arg > 0) {
		assert_int_equal(grpc_send(e->call, block, sizeof(block)), 0);
		(*(unsigned *)e->arg)--;
	}
	if (*(unsigned *)e->arg == 0)
		finish_ok(e);
}

static void a_sender_goes_on_at_on_writable(void **state)
{
	struct grpc_pair *p = opened(0);
	unsigned left = 1000;

	(void)state;
	p->server.at = ON_WRITABLE;
	p->server.act = send_more;
	p->server.arg = &left;
	send_more(&p->server);
	assert_true(left > 0);
	for (int i = 0; i < 1000 && p->client.dones == 0; i++)
		h2_pair_settle(&p->h2);
	assert_int_equal(p->client.messages, 1000);
	assert_int_equal(p->client.bytes, 10000000);
	assert_true(p->server.writables > 1);
	assert_both_ok(p);
	pair_free(p);
}

static void set_flag(struct grpc_end *e)
{
	*(bool *)e->arg = true;
}

/* The server's answer stands behind bytes that nobody reads: its deadline ends it all the same. */
static void a_deadline_ends_a_stuck_server(void **state)
{
	struct grpc_pair *p = pair_new(1000);
	static const struct h2_field fields[] = {
	    H2_FIELD(":method", "POST"),
	    H2_FIELD(":scheme", "https"),
	    H2_FIELD(":path", "/a/b"),
	    H2_FIELD(":authority", "a"),
	    H2_FIELD("content-type", "application/grpc"),
	    H2_FIELD("grpc-timeout", "20m"),
	};
	uint8_t *bytes = grpc_pair_bytes(100000, 1);
	bool done = false;

	(void)state;
	grpc_pair_h2(p, fields, 6);
	p->plain.deaf = true;
	p->server.at = ON_DONE;
	p->server.act = set_flag;
	p->server.arg = &done;
	for (int i = 0; i < 1000 && p->server.call == NULL && !done; i++)
		event_base_loop(p->h2.base, EVLOOP_NONBLOCK);
	if (p->server.call != NULL) {
		grpc_send(p->server.call, bytes, 100000);
		finish_ok(&p->server);
	}
	assert_true(h2_pair_run(&p->h2, &done));
	assert_int_equal(p->server.status.code, RPC_DEADLINE_EXCEEDED);
	h2_pair_settle(&p->h2);
	assert_true(p->plain.closed);
	free(bytes);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_unary_call),
	    cmocka_unit_test(both_directions_stream),
	    cmocka_unit_test(messages_may_be_larger_than_the_window),
	    cmocka_unit_test(messages_may_come_byte_by_byte),
	    cmocka_unit_test(no_credit_is_ever_lost),
	    cmocka_unit_test(without_credit_a_sender_stands_still),
	    cmocka_unit_test(a_large_message_is_no_way_around_the_window),
	    cmocka_unit_test(a_large_message_waits_for_the_credit_of_others),
	    cmocka_unit_test(gzip_goes_both_ways),
	    cmocka_unit_test(a_buffer_is_sent_compressed_too),
	    cmocka_unit_test(a_bomb_is_resource_exhausted),
	    cmocka_unit_test(compressed_messages_are_held_up),
	    cmocka_unit_test(a_held_up_client_gets_all_and_then_the_end),
	    cmocka_unit_test(what_is_held_up_at_the_end_has_a_limit),
	    cmocka_unit_test(a_held_up_client_that_loses_its_connection),
	    cmocka_unit_test(a_held_up_client_may_cancel),
	    cmocka_unit_test(a_held_up_server_is_cancelled_with_its_client),
	    cmocka_unit_test(references_are_sent_as_they_are),
	    cmocka_unit_test(a_server_may_end_in_any_callback),
	    cmocka_unit_test(a_client_may_send_and_end_in_a_message),
	    cmocka_unit_test(a_sender_goes_on_at_on_writable),
	    cmocka_unit_test(a_deadline_ends_a_stuck_server),
	};

	return cmocka_run_group_tests_name("grpc_flow", tests, NULL, NULL);
}
