/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libtelex, and an agent that is hostile: every call, with whatever answers. The connection is in
 * memory: who the agent is has been checked by then. Acts, each a byte, whose bits 4 to 6 say which
 * of the agent's streams:
 *
 *     0  the program begins a call: which (asks.c)   1  it does something with one
 *     2  the agent answers the headers               3  a response, by its descriptor
 *     4  a part as a message                         5  the end: code, a line with the message
 *     6  it resets: code                             7  all go on
 *     8  it goes away: how
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/tls_internal.h"
#include "lib/client.h"
#include "lib/dial.h"
#include "telex/v1/certificate.pb-c.h"
#include "telex/v1/file.pb-c.h"
#include "telex/v1/process.pb-c.h"
#include "telex/v1/system.pb-c.h"
#include "telex/v1/watch.pb-c.h"
#include "tests/fuzz/asks.h"
#include "tests/fuzz/frames.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"
#include "tests/support/pki.h"

#define ACTS_MAX    80
#define STREAMS_MAX 8

int __wrap_dial_start(struct dial **out, struct event_base *base, const struct dial_target *target,
    dial_done *done, void *arg, struct telex_error *error);
void __wrap_dial_free(struct dial *d);
void __wrap_tls_free(struct bufferevent *bev);
void __wrap_tls_failure(struct bufferevent *bev, short what, struct err *e);
void __wrap_tls_flush(struct bufferevent *bev, int64_t limit_ns);

struct stream {
	struct h2_stream *h2; /* NULL: over */
	const ProtobufCMessageDescriptor *response;
};

struct scene {
	struct event_base *base;
	struct telex_client *client;
	struct h2_conn *agent; /* its end; NULL: none */
	struct stream streams[STREAMS_MAX];
	struct asks asks;
};

static struct scene *scene;

/* ---- the agent ---- */

static const ProtobufCMessageDescriptor *response_of(const char *path)
{
	const ProtobufCServiceDescriptor *const services[] = {
	    &telex__v1__process_service__descriptor, &telex__v1__file_service__descriptor,
	    &telex__v1__system_service__descriptor, &telex__v1__certificate_service__descriptor,
	    &telex__v1__watch_service__descriptor};
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; slash != NULL && i < sizeof(services) / sizeof(services[0]); i++) {
		const ProtobufCMethodDescriptor *m =
		    protobuf_c_service_descriptor_get_method_by_name(services[i], slash + 1);

		if (m != NULL && strstr(path, services[i]->name) != NULL)
			return m->output;
	}
	return &telex__v1__get_info_response__descriptor;
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct stream *of = arg;

	(void)s;
	(void)end;
	for (size_t i = 0; i < n; i++)
		if (strcmp(fields[i].name, ":path") == 0)
			of->response = response_of(fields[i].value);
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)arg;
	h2_credit(s, len);
}

static void on_end(struct h2_stream *s, void *arg)
{
	(void)s;
	(void)arg;
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	(void)s;
	(void)code;
	((struct stream *)arg)->h2 = NULL;
}

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	static const struct h2_stream_ops ops = {
	    .on_headers = on_headers, .on_data = on_data, .on_end = on_end, .on_close = on_close};

	(void)c;
	(void)arg;
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		if (scene->streams[i].h2 != NULL)
			continue;
		scene->streams[i] = (struct stream){s, &telex__v1__get_info_response__descriptor};
		h2_stream_set(s, &ops, &scene->streams[i]);
		return 0;
	}
	return -1;
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	(void)why;
	(void)arg;
	if (scene->agent == c)
		scene->agent = NULL;
}

static void respond(struct h2_stream *s)
{
	static const struct h2_field fields[] = {
	    H2_FIELD(":status", "200"), H2_FIELD("content-type", "application/grpc")};

	(void)h2_respond(s, fields, 2, false);
}

static void send_message(struct h2_stream *s, const uint8_t *data, size_t len)
{
	const uint8_t head[] = {
	    0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
	struct evbuffer *b = evbuffer_new();

	respond(s);
	evbuffer_add(b, head, sizeof(head));
	if (len > 0)
		evbuffer_add(b, data, len);
	(void)h2_send(s, b);
	evbuffer_free(b);
}

static void end_stream(struct h2_stream *s, struct fuzz_input *in)
{
	char code[8], *message;
	struct h2_field fields[] = {{"grpc-status", code, 11, 0}, {"grpc-message", "", 12, 0}};

	snprintf(code, sizeof(code), "%u", fuzz_byte(in) % 20u);
	message = fuzz_text(in, '\n');
	for (char *c = message; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '%';
	fields[0].value_len = strlen(code);
	fields[1].value = message;
	fields[1].value_len = strlen(message);
	respond(s);
	(void)h2_end(s, fields, 2);
	free(message);
}

/* ---- the connection, in memory ---- */

struct dialing {
	struct event *due;
	dial_done *done;
	void *arg;
};

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream, .on_closed = on_closed};
	struct dialing *d = arg;
	struct bufferevent *pair[2];

	(void)fd;
	(void)what;
	fuzz_require(bufferevent_pair_new(scene->base, 0, pair) == 0);
	bufferevent_enable(pair[0], EV_READ | EV_WRITE);
	bufferevent_enable(pair[1], EV_READ | EV_WRITE);
	if (scene->agent != NULL)
		h2_abort(scene->agent);
	fuzz_require(h2_conn_new(&scene->agent, scene->base, pair[1], true, NULL, &ops, NULL, NULL,
	                 NULL) == 0);
	d->done(pair[0], "spiffe://test.internal/agent/a", NULL, d->arg);
	event_free(d->due);
	free(d);
}

int __wrap_dial_start(struct dial **out, struct event_base *base, const struct dial_target *target,
    dial_done *done, void *arg, struct telex_error *error)
{
	struct dialing *d = xcalloc(1, sizeof(*d));

	(void)target;
	(void)error;
	d->done = done;
	d->arg = arg;
	d->due = event_new(base, -1, 0, on_due, d);
	event_active(d->due, EV_TIMEOUT, 0);
	*out = (struct dial *)d;
	return 0;
}

void __wrap_dial_free(struct dial *dial)
{
	struct dialing *d = (struct dialing *)dial;

	if (d == NULL)
		return;
	event_free(d->due);
	free(d);
}

void __wrap_tls_free(struct bufferevent *bev)
{
	bufferevent_free(bev);
}

void __wrap_tls_failure(struct bufferevent *bev, short what, struct err *e)
{
	(void)bev;
	(void)what;
	err_set(e, TX_ECLOSED, "the agent closed the connection");
}

void __wrap_tls_flush(struct bufferevent *bev, int64_t limit_ns)
{
	(void)bev;
	(void)limit_ns;
}

/* ---- the whole ---- */

static void turn(void)
{
	for (int i = 0; i < 12; i++)
		event_base_loop(scene->base, EVLOOP_NONBLOCK);
}

static void go_away(uint8_t how)
{
	if (scene->agent == NULL)
		return;
	if ((how & 3) == 0)
		h2_drain(scene->agent);
	else if ((how & 3) == 1)
		h2_close(scene->agent, how >> 2 & 15);
	else
		h2_abort(scene->agent);
}

static void act_on_stream(struct stream *s, unsigned what, struct fuzz_input *in)
{
	const uint8_t *part;
	uint8_t *built;
	size_t len;

	if (s->h2 == NULL)
		return;
	switch (what) {
	case 2:
		respond(s->h2);
		break;
	case 3:
		built = fuzz_message(in, s->response, &len);
		send_message(s->h2, built, len);
		free(built);
		break;
	case 4:
		part = fuzz_part(in, &len);
		send_message(s->h2, part, len);
		break;
	case 5:
		end_stream(s->h2, in);
		break;
	default:
		h2_reset(s->h2, fuzz_byte(in));
	}
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t byte = fuzz_byte(in);
	unsigned what = (byte & 15u) % 9u;

	switch (what) {
	case 0:
		asks_begin(&s->asks, s->client, fuzz_byte(in));
		break;
	case 1:
		asks_act(&s->asks, in);
		break;
	case 7:
		turn();
		break;
	case 8:
		go_away(fuzz_byte(in));
		break;
	default:
		act_on_stream(&s->streams[byte >> 4 & 7], what, in);
	}
}

static struct tls_ctx *context(void)
{
	static struct tls_ctx *ctx;

	if (ctx == NULL) {
		struct pki *pki = pki_new("fuzz");

		ctx = pki_client_ctx(pki, pki);
		pki_free(pki);
	}
	/* A client lets go of one. */
	ctx->refs++;
	return ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct telex_options options = {.address = "a.example:1"};
	struct fuzz_place place;
	struct scene s;
	char folder[80];

	fuzz_log_nowhere();
	place_enter(&place);
	snprintf(folder, sizeof(folder), "%s/in", place.top);
	memset(&s, 0, sizeof(s));
	scene = &s;
	s.base = event_base_new();
	s.asks.folder = folder;
	options.reconnect_ms = (fuzz_byte(&in) & 1) != 0 ? -1 : 0;
	fuzz_require(client_new(&s.client, s.base, &options, context(), NULL) == 0);
	for (int i = 0; i < ACTS_MAX && in.left > 0; i++)
		act(&s, &in);
	turn();
	telex_client_free(s.client);
	if (s.agent != NULL)
		h2_abort(s.agent);
	turn();
	event_base_free(s.base);
	place_leave(&place);
	return 0;
}
