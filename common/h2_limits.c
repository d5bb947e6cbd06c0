/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer may cost us. The bytes that come in are followed frame by frame, before nghttp2 sees
 * them, so that frames which nghttp2 skips silently are counted as well.
 *
 * What honest clients do often is free: a PING after each time we sent HEADERS or DATA (bandwidth
 * probes of stock gRPC clients), the answer to our own PING, a RST_STREAM that may have crossed one
 * of ours.
 */
#include <time.h>

#include "common/h2_internal.h"

#define MAX_CONTINUATIONS 8
#define PREFACE_SIZE      24 /* that a client begins with */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value != 0 ? value : otherwise;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
	return value < low ? low : value > high ? high : value;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void bucket_init(struct h2_bucket *b, uint32_t burst, uint32_t rate)
{
	b->tokens = b->burst = burst;
	b->rate = rate;
	b->since = now_ns();
}

static void bucket_fill(struct h2_bucket *b)
{
	int64_t now = now_ns();
	uint64_t ms = (uint64_t)(now - b->since) / 1000000;
	uint64_t until_full = (uint64_t)b->burst * 1000 / b->rate;
	uint64_t earned = ms >= until_full ? b->burst : ms * b->rate / 1000;

	if (earned == 0)
		return;
	b->tokens = earned < b->burst - b->tokens ? b->tokens + (uint32_t)earned : b->burst;
	b->since = now;
}

static bool bucket_take(struct h2_bucket *b)
{
	if (b->tokens == 0)
		bucket_fill(b);
	if (b->tokens == 0)
		return false;
	b->tokens--;
	return true;
}

static bool bucket_low(struct h2_bucket *b)
{
	if (b->tokens < b->burst / 2)
		bucket_fill(b);
	return b->tokens < b->burst / 2;
}

bool h2_limits_low(struct h2_conn *c)
{
	return bucket_low(&c->resets) || bucket_low(&c->pings);
}

void h2_limits_init(struct h2_conn *c, const struct h2_limits *limits)
{
	struct h2_limits *l = &c->limits;

	if (limits != NULL)
		*l = *limits;
	l->max_streams = or_default(l->max_streams, 256);
	l->stream_window = clamp(or_default(l->stream_window, 1 << 20), 1, INT32_MAX);
	l->connection_window = clamp(or_default(l->connection_window, 16 << 20), 65535, INT32_MAX);
	l->max_frame = clamp(or_default(l->max_frame, 256 << 10), 1 << 14, (1 << 24) - 1);
	l->header_bytes = or_default(l->header_bytes, 64 << 10);
	l->header_fields = or_default(l->header_fields, 128);
	l->linger_ms = or_default(l->linger_ms, 5000);
	bucket_init(&c->resets, or_default(l->reset_burst, 1000), or_default(l->reset_rate, 200));
	bucket_init(&c->pings, or_default(l->ping_burst, 1000), or_default(l->ping_rate, 100));
	c->scan.skip = c->server ? PREFACE_SIZE : 0;
}

int h2_limits_reset(struct h2_conn *c, const char *what)
{
	if (bucket_take(&c->resets))
		return 0;
	return h2_fail(
	    c, H2_ENHANCE_YOUR_CALM, TX_ELIMIT, "the peer caused too many resets (%s)", what);
}

static int take_ping(struct h2_conn *c, const char *what)
{
	if (bucket_take(&c->pings))
		return 0;
	return h2_fail(
	    c, H2_ENHANCE_YOUR_CALM, TX_ELIMIT, "the peer sent too many %s frames", what);
}

static int scan_ping(struct h2_conn *c, uint8_t flags)
{
	if ((flags & NGHTTP2_FLAG_ACK) != 0 && (c->on_pong != NULL || c->drain_notice))
		return 0;
	if ((flags & NGHTTP2_FLAG_ACK) == 0 && c->ping_free) {
		c->ping_free = false;
		return 0;
	}
	return take_ping(c, "PING");
}

/* One frame begins. */
static int scan_frame(struct h2_conn *c, uint32_t length, uint8_t type, uint8_t flags)
{
	if (type != NGHTTP2_CONTINUATION)
		c->scan.continuations = 0;
	switch (type) {
	case NGHTTP2_DATA:
		if (length == 0 && (flags & NGHTTP2_FLAG_END_STREAM) == 0)
			return take_ping(c, "empty DATA");
		return 0;
	case NGHTTP2_CONTINUATION:
		if (++c->scan.continuations > MAX_CONTINUATIONS)
			return h2_fail(c, H2_ENHANCE_YOUR_CALM, TX_ELIMIT,
			    "the peer sent more than %d CONTINUATION frames in a row",
			    MAX_CONTINUATIONS);
		return 0;
	case NGHTTP2_PING:
		return scan_ping(c, flags);
	case NGHTTP2_SETTINGS:
		return (flags & NGHTTP2_FLAG_ACK) != 0 ? 0 : take_ping(c, "SETTINGS");
	case NGHTTP2_PRIORITY:
		return take_ping(c, "PRIORITY");
	case NGHTTP2_GOAWAY:
		return take_ping(c, "GOAWAY");
	case NGHTTP2_HEADERS:
	case NGHTTP2_RST_STREAM: /* counted when it is known what it resets */
	case NGHTTP2_WINDOW_UPDATE:
	case NGHTTP2_PUSH_PROMISE: /* a protocol error, since we do not allow it */
		return 0;
	default:
		return take_ping(c, "unknown");
	}
}

/* CONTINUATIONs are bounded by themselves: a flood of them is to be seen before nghttp2 sees it. */
static bool is_cheap(uint8_t type)
{
	return type == NGHTTP2_DATA || type == NGHTTP2_WINDOW_UPDATE ||
	       type == NGHTTP2_CONTINUATION;
}

int h2_limits_scan(struct h2_conn *c, const uint8_t *data, size_t len, size_t *taken)
{
	const uint8_t *begin = data;
	struct h2_scan *s = &c->scan;

	while (len > 0) {
		if (s->skip > 0) {
			size_t n = s->skip < len ? (size_t)s->skip : len;

			s->skip -= n;
			data += n;
			len -= n;
			continue;
		}
		if (s->have == 0 && s->frames >= s->until)
			break;
		s->header[s->have++] = *data++;
		len--;
		if (s->have == H2_FRAME_HEADER) {
			const uint8_t *h = s->header;
			uint32_t length = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];

			s->have = 0;
			s->skip = length;
			s->frames += !is_cheap(h[3]);
			if (scan_frame(c, length, h[3], h[4]) < 0)
				return TX_ELIMIT;
		}
	}
	*taken = (size_t)(data - begin);
	return 0;
}
