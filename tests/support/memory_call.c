/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/memory_call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/files/methods.h"
#include "agent/files/roots.h"
#include "common/err.h"
#include "common/mem.h"

struct message {
	uint8_t *data;
	size_t len;
	ProtobufCMessage *unpacked;
};

struct list {
	struct message *items;
	size_t n;
};

struct call {
	struct roots *roots;
	uint64_t max_bytes, max_files;
	unsigned max_unfinished;
	struct list in, out;
	size_t next;
	bool cut;
	unsigned long asked, gone_at;
	memory_call_feed *feed;
	void *feed_arg;
	memory_call_sink *sink;
	void *sink_arg;
	struct rpc_status status;
	char summary[256];
};

static void clear(struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->items[i].unpacked != NULL)
			protobuf_c_message_free_unpacked(l->items[i].unpacked, NULL);
		free(l->items[i].data);
	}
	free(l->items);
	*l = (struct list){0};
}

static uint8_t *add(struct list *l, size_t len)
{
	l->items = xreallocarray(l->items, l->n + 1, sizeof(*l->items));
	l->items[l->n] = (struct message){.data = xmalloc(len + 1), .len = len};
	return l->items[l->n++].data;
}

struct call *memory_call_new(const char *const *read, const char *const *write)
{
	struct call *c = xcalloc(1, sizeof(*c));

	if (roots_new(&c->roots, read, write, NULL) != 0)
		abort();
	return c;
}

void memory_call_free(struct call *c)
{
	if (c == NULL)
		return;
	roots_free(c->roots);
	clear(&c->in);
	clear(&c->out);
	free(c);
}

void memory_call_limits(struct call *c, uint64_t max_upload_bytes, uint64_t max_upload_files)
{
	c->max_bytes = max_upload_bytes;
	c->max_files = max_upload_files;
}

void memory_call_unfinished(struct call *c, unsigned most)
{
	c->max_unfinished = most;
}

void memory_call_queue(struct call *c, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);

	protobuf_c_message_pack(m, add(&c->in, len));
}

void memory_call_queue_raw(struct call *c, const void *data, size_t len)
{
	memcpy(add(&c->in, len), data, len);
}

void memory_call_cut(struct call *c)
{
	c->cut = true;
}

void memory_call_gone_at(struct call *c, unsigned long n)
{
	c->gone_at = n;
}

void memory_call_set_feed(struct call *c, memory_call_feed *feed, void *arg)
{
	c->feed = feed;
	c->feed_arg = arg;
}

void memory_call_set_sink(struct call *c, memory_call_sink *sink, void *arg)
{
	c->sink = sink;
	c->sink_arg = arg;
}

int memory_call_run(struct call *c, const char *method, const ProtobufCMessage *request)
{
	const struct files_method_row *row = methods_find(method);
	size_t len = protobuf_c_message_get_packed_size(request);
	uint8_t *packed = xmalloc(len + 1);
	ProtobufCMessage *m;

	if (row == NULL || row->request != request->descriptor)
		abort();
	protobuf_c_message_pack(request, packed);
	m = protobuf_c_message_unpack(row->request, NULL, len, packed);
	free(packed);
	clear(&c->out);
	c->next = 0;
	c->asked = 0;
	c->summary[0] = '\0';
	rpc_status_set(&c->status, RPC_OK, NULL, "%s", "");
	row->run(c, m, &c->status);
	protobuf_c_message_free_unpacked(m, NULL);
	clear(&c->in);
	c->cut = false;
	c->gone_at = 0;
	c->feed = NULL;
	c->sink = NULL;
	return c->status.code;
}

const struct rpc_status *memory_call_status(const struct call *c)
{
	return &c->status;
}

const char *memory_call_summary(const struct call *c)
{
	return c->summary;
}

unsigned long memory_call_asked(const struct call *c)
{
	return c->asked;
}

size_t memory_call_count(const struct call *c)
{
	return c->out.n;
}

const void *memory_call_response(struct call *c, size_t i, const ProtobufCMessageDescriptor *type)
{
	struct message *m;

	if (i >= c->out.n)
		abort();
	m = &c->out.items[i];
	if (m->unpacked == NULL)
		m->unpacked = protobuf_c_message_unpack(type, NULL, m->len, m->data);
	if (m->unpacked == NULL || m->unpacked->descriptor != type)
		abort();
	return m->unpacked;
}

/* ---- call.h ---- */

int call_receive(struct call *c, const uint8_t **msg, size_t *len)
{
	if (c->feed != NULL && (*len = c->feed(msg, c->feed_arg)) > 0)
		return 1;
	if (c->feed == NULL && c->next < c->in.n) {
		*msg = c->in.items[c->next].data;
		*len = c->in.items[c->next++].len;
		return 1;
	}
	return c->cut ? TX_ECLOSED : 0;
}

bool call_readable(struct call *c)
{
	(void)c;
	return true;
}

int call_send(struct call *c, const ProtobufCMessage *response)
{
	size_t len = protobuf_c_message_get_packed_size(response);
	uint8_t *packed;

	if (call_gone(c))
		return TX_ECLOSED;
	packed = add(&c->out, len);
	protobuf_c_message_pack(response, packed);
	if (c->sink != NULL) {
		c->sink(packed, len, c->sink_arg);
		clear(&c->out);
	}
	return 0;
}

int call_send_parts(struct call *c, const struct iovec *parts, int n)
{
	size_t len = 0;
	uint8_t *at, *data;

	if (call_gone(c))
		return TX_ECLOSED;
	for (int i = 0; i < n; i++)
		len += parts[i].iov_len;
	at = data = add(&c->out, len);
	for (int i = 0; i < n; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	if (c->sink != NULL) {
		c->sink(data, len, c->sink_arg);
		clear(&c->out);
	}
	return 0;
}

int call_flush(struct call *c)
{
	return call_gone(c) ? TX_ECLOSED : 0;
}

bool call_gone(struct call *c)
{
	c->asked++;
	return c->gone_at != 0 && c->asked >= c->gone_at;
}

const struct roots *call_roots(const struct call *c)
{
	return c->roots;
}

uint64_t call_max_upload_bytes(const struct call *c)
{
	return c->max_bytes;
}

uint64_t call_max_upload_files(const struct call *c)
{
	return c->max_files;
}

unsigned call_max_unfinished(const struct call *c)
{
	return c->max_unfinished > 0 ? c->max_unfinished : 1000;
}

void call_summary(struct call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->summary, sizeof(c->summary), fmt, ap);
	va_end(ap);
}
