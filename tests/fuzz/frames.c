/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/frames.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/mem.h"

#define FRAMES_MAX  200
#define REPEATS_MAX 40
#define PASSES      12

static const char request[] =
    ":method: POST\n:scheme: https\n:path: /test.v1.Test/Do\n:authority: a\n"
    "te: trailers\ncontent-type: application/grpc\n";
static const char response[] = ":status: 200\ncontent-type: application/grpc\n";

/* One frame, kept to be sent again. */
struct frame {
	uint8_t type, flags;
	uint32_t stream;
	uint8_t *payload;
	size_t len;
	bool raw; /* the payload is all of it */
};

void frames_settle(struct h2_pair *p)
{
	for (int i = 0; i < PASSES; i++)
		event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static void set_payload(struct frame *f, const uint8_t *data, size_t len)
{
	free(f->payload);
	f->payload = xmalloc(len + 1);
	if (len > 0)
		memcpy(f->payload, data, len);
	f->len = len;
}

/* ---- header blocks ---- */

static uint8_t *put_text(uint8_t *at, const uint8_t *text, size_t len)
{
	size_t rest = len;

	if (len < 127) {
		*at++ = (uint8_t)len;
	} else {
		*at++ = 127;
		for (rest -= 127; rest >= 128; rest /= 128)
			*at++ = (uint8_t)(128 | rest % 128);
		*at++ = (uint8_t)rest;
	}
	if (len > 0)
		memcpy(at, text, len);
	return at + len;
}

/* Appends the block of some lines; returns its end. Each line takes at most 11 bytes more. */
static uint8_t *put_lines(uint8_t *at, const uint8_t *text, size_t len)
{
	struct fuzz_input in = {text, len};

	while (in.left > 0) {
		size_t n;
		const uint8_t *line = fuzz_until(&in, '\n', &n);
		/* A pseudo-header begins with a colon. */
		const uint8_t *colon = n > 1 ? memchr(line + 1, ':', n - 1) : NULL;
		size_t name = colon != NULL ? (size_t)(colon - line) : n;
		size_t value = name + (colon != NULL);

		if (value < n && line[value] == ' ')
			value++;
		*at++ = 0;
		at = put_text(at, line, name);
		at = put_text(at, line + value, n - value);
	}
	return at;
}

static void set_lines(struct frame *f, const char *before, const uint8_t *lines, size_t len)
{
	size_t first = strlen(before);
	uint8_t *block = xmalloc(12 * (first + len) + 12), *end;

	end = put_lines(block, (const uint8_t *)before, first);
	end = put_lines(end, lines, len);
	set_payload(f, block, (size_t)(end - block));
	free(block);
}

/* ---- messages ---- */

static size_t gzip(uint8_t *out, size_t room, const uint8_t *data, size_t len)
{
	z_stream z;
	size_t n;

	memset(&z, 0, sizeof(z));
	fuzz_require(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)room;
	fuzz_require(deflate(&z, Z_FINISH) == Z_STREAM_END);
	n = z.total_out;
	deflateEnd(&z);
	return n;
}

static void set_message(struct frame *f, uint8_t how, const uint8_t *data, size_t len)
{
	size_t times = (how & 8) != 0 ? 16 : 1, whole = len * times;
	size_t room = compressBound((uLong)whole) + 64, said;
	uint8_t *m = xmalloc(5 + room), *all = xmalloc(whole + 1);

	for (size_t i = 0; i < times && len > 0; i++)
		memcpy(all + i * len, data, len);
	len = whole;
	if ((how & 2) != 0)
		len = gzip(m + 5, room, all, len);
	else if (len > 0)
		memcpy(m + 5, all, len);
	said = (how & 4) != 0 ? len * 2 + 1 : len;
	m[0] = how & 1;
	for (size_t i = 0; i < 4; i++)
		m[1 + i] = (uint8_t)(said >> (24 - 8 * i));
	set_payload(f, m, 5 + len);
	free(all);
	free(m);
}

/* ---- one frame ---- */

static void take_head(struct frame *f, uint8_t type, bool flags, struct fuzz_input *in)
{
	f->raw = false;
	f->type = type;
	f->stream = fuzz_byte(in) & 15;
	f->flags = flags ? fuzz_byte(in) : 0;
}

static void take_part(struct frame *f, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *data = fuzz_part(in, &len);

	set_payload(f, data, len);
}

static void take_code(struct frame *f, bool stream, struct fuzz_input *in)
{
	uint8_t payload[64] = {0};
	size_t at = stream ? 4 : 0, len = 0;
	const uint8_t *more;

	if (stream)
		payload[3] = fuzz_byte(in);
	payload[at + 3] = fuzz_byte(in);
	if (stream) {
		more = fuzz_bytes(in, fuzz_byte(in) % 48, &len);
		if (len > 0)
			memcpy(payload + 8, more, len);
	}
	set_payload(f, payload, at + 4 + len);
}

/* False: it is no frame. */
static bool take_frame(struct frame *f, uint8_t op, struct fuzz_input *in)
{
	static const uint8_t types[] = {0, 1, 0, 0, 4, 6, 3, 7, 8, 9, 0, 1, 0, 0, 0, 1};
	size_t len;
	const uint8_t *data;
	uint8_t how;

	switch (op) {
	case 0:
		take_part(f, in);
		f->raw = true;
		return true;
	case 1:
	case 9:
	case 11:
	case 15:
		take_head(f, types[op], true, in);
		data = fuzz_part(in, &len);
		set_lines(f, op == 11 ? request : op == 15 ? response : "", data, len);
		return true;
	case 3:
		take_head(f, types[op], true, in);
		how = fuzz_byte(in);
		data = fuzz_part(in, &len);
		set_message(f, how, data, len);
		return true;
	case 6:
	case 7:
		take_head(f, types[op], false, in);
		take_code(f, op == 7, in);
		return true;
	case 10:
		how = fuzz_byte(in);
		take_head(f, how, true, in);
		take_part(f, in);
		return true;
	case 2:
	case 4:
	case 5:
	case 8:
		take_head(f, types[op], op != 8, in);
		take_part(f, in);
		return true;
	default:
		return false;
	}
}

static void send_frame(const struct frames *f, const struct frame *frame)
{
	if (frame->payload == NULL)
		return;
	if (frame->raw)
		h2_raw_write(f->raw, frame->payload, frame->len);
	else
		h2_raw_frame(
		    f->raw, frame->type, frame->flags, frame->stream, frame->payload, frame->len);
}

static void step(const struct frames *f, struct frame *frame, struct fuzz_input *in)
{
	uint8_t op = fuzz_byte(in) & 15;
	unsigned n;

	switch (op) {
	case 12:
		for (n = fuzz_byte(in) % REPEATS_MAX; n > 0; n--)
			send_frame(f, frame);
		return;
	case 13:
		f->turn(f->arg);
		return;
	case 14:
		f->act(fuzz_byte(in), f->arg);
		return;
	default:
		if (take_frame(frame, op, in))
			send_frame(f, frame);
	}
}

void frames_play(const struct frames *f, struct fuzz_input *in)
{
	struct frame frame = {.payload = NULL};

	for (int i = 0; i < FRAMES_MAX && in->left > 0; i++) {
		step(f, &frame, in);
		/* What was answered is nobody's to read. */
		evbuffer_drain(bufferevent_get_input(f->raw->bev), SIZE_MAX);
	}
	f->turn(f->arg);
	free(frame.payload);
}
