/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of h2 share; no one else includes it. h2.c: the connection's life and its
 * bufferevent; h2_session.c: nghttp2's session; h2_receive.c: what comes in; h2_output.c: what goes
 * out; h2_stream.c: the streams' API; h2_linger.c: requests that outlast their response;
 * h2_limits.c: budgets.
 *
 * `depth` is above 0 while the event loop is inside this module. No callback of a user is made from
 * a call of the API: a call at depth 0 wakes `turn`, which runs in the same round of the loop.
 * Nothing is freed at a depth above 0.
 */
#ifndef TX_COMMON_H2_INTERNAL_H
#define TX_COMMON_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

#include "common/h2.h"

#define H2_FRAME_HEADER  9
#define H2_STAGE_SIZE    16384 /* one TLS record */
#define H2_COPY_BELOW    4096  /* a smaller piece is copied rather than passed by reference */
#define H2_MAX_FRAME_OUT ((uint32_t)256 * 1024)
#define H2_LAZY_MIN      ((size_t)16 * 1024)
#define H2_TURN_FRAMES   64u /* that one connection has before others have their turn */
#define H2_TURN_TIME     ((int64_t)200 * 1000) /* ns, of which the same holds */
#define H2_PORTION       4u                    /* frames between two looks at the clock */
#define H2_OWN_FIELDS    ((size_t)60 * 1024)   /* of one field section that we send */

struct event;

/* A token bucket. Filled up only when it is found empty, so that a frame costs no look at the
 * clock. */
struct h2_bucket {
	uint32_t tokens, burst, rate;
	int64_t since; /* ns */
};

/* Follows the frames of the peer by their headers alone. */
struct h2_scan {
	uint8_t header[H2_FRAME_HEADER];
	size_t have;   /* of header */
	uint64_t skip; /* bytes of preface or payload still to pass */
	uint32_t continuations;
	uint32_t frames; /* of this turn, but for the cheap ones */
	uint32_t until;  /* how many of them may have been taken now */
};

/* Memory that was taken off a stream's queue to be sent in several frames. */
struct h2_piece {
	struct evbuffer *holder;
	unsigned refs;
};

TAILQ_HEAD(h2_stream_list, h2_stream);

enum h2_stream_state {
	H2_LIVE,   /* nghttp2 has it */
	H2_DOOMED, /* on `dead`, on_close is due */
};

struct h2_stream {
	TAILQ_ENTRY(h2_stream) link;      /* streams or dead */
	TAILQ_ENTRY(h2_stream) due_link;  /* writable */
	TAILQ_ENTRY(h2_stream) wait_link; /* waiting, when `waits` */
	struct h2_conn *conn;
	const struct h2_stream_ops *ops;
	void *arg;
	struct evbuffer *queue; /* NULL: nothing was ever sent */
	struct h2_piece *piece; /* goes before the queue */
	const uint8_t *piece_data;
	size_t piece_len;
	struct h2_field *trailers; /* one block, strings behind the array */
	size_t trailers_n;
	uint64_t uncredited;  /* received, and credit not yet returned */
	int64_t linger_until; /* monotonic ns */
	int32_t id;
	uint32_t close_code;
	enum h2_stream_state state;
	bool responded, ended; /* by us: h2_respond, h2_end were called */
	bool remote_ended;
	bool waits;     /* our half is done, for the peer's: h2_linger.c */
	bool held, due; /* on_writable is wanted; on the list `writable` */
};

struct h2_conn {
	struct event_base *base;
	struct bufferevent *bev;
	nghttp2_session *session;
	struct event *turn, *timer;
	struct event *more;   /* made when input first has to wait */
	bool more_waits;      /* reading is off until then */
	struct event *linger; /* made when a stream first waits */
	const struct h2_conn_ops *ops;
	void *arg;
	void (*free_bev)(struct bufferevent *);
	void (*on_pong)(struct h2_conn *c, void *arg);
	struct h2_limits limits;
	struct h2_stream_list streams, dead, writable, waiting;
	size_t n_waiting;
	size_t stream_count, opened; /* live ones; ours as nghttp2 counts them */
	/* The field section that is being received. */
	struct h2_field *fields;
	nghttp2_rcbuf **field_bufs; /* two a field */
	size_t fields_n, fields_size, section_fields;
	uint64_t section_bytes;
	/* Small frames of this turn, to be written in one piece. Only inside h2_pump. */
	uint8_t *stage;
	size_t stage_len;
	void *lazy; /* h2_session.c: memory of nghttp2's that is not malloc's */
	size_t lazy_size;
	struct h2_scan scan;
	struct h2_bucket resets, pings;
	uint32_t resets_free; /* RST_STREAM of the peer that may have crossed one of ours */
	uint64_t ping_serial;
	unsigned depth;
	bool server;
	bool ping_free;                /* we sent HEADERS or DATA since the last PING */
	bool draining, drain_notice;   /* notice: the final GOAWAY is still to come */
	bool closing, lingering, mute; /* mute: no GOAWAY, the output is unusable */
	bool bev_gone;                 /* the peer hung up or the transport failed */
	short bev_event;
	uint32_t close_code;
	int64_t goaway_sent; /* the code of the last one, or -1 */
	struct err why;
	struct {
		bool received;
		uint32_t code;
		char debug[96];
	} goaway;
};

/* ---- h2.c ---- */
/* Work is there to do; runs at the end of the callback we are in, or in `turn`. */
void h2_wake(struct h2_conn *c);
/* Ends the connection for `code`/`fmt`, GOAWAY with `h2_code`. The first reason stays. Returns the
 * error. */
int h2_fail(struct h2_conn *c, uint32_t h2_code, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void h2_drain_final(struct h2_conn *c);

/* ---- h2_session.c ---- */
int h2_session_new(struct h2_conn *c, struct err *e);
/* Feeds bytes of the peer to nghttp2, up to `len` of them or to the turn's last frame. How many.
 * Failures end the connection. */
size_t h2_session_feed(struct h2_conn *c, const uint8_t *data, size_t len);
/* The stream of an id, or NULL when nghttp2 or its user has done with it. */
struct h2_stream *h2_stream_find(struct h2_conn *c, int32_t id);
/* What stands in nghttp2 for a stream that its user has done with, until its RST_STREAM is sent. */
static inline void *h2_stream_gone(struct h2_conn *c)
{
	return c;
}

/* ---- h2_receive.c: nghttp2's callbacks ---- */
void h2_receive_clear(struct h2_conn *c); /* the field section */
int h2_receive_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg);
int h2_receive_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
    nghttp2_rcbuf *value, uint8_t flags, void *arg);
int h2_receive_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg);
int h2_receive_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
    size_t len, void *arg);

/* ---- h2_output.c ---- */
/* Moves frames from nghttp2 to the bufferevent until nothing is left or the output is full. */
void h2_pump(struct h2_conn *c);
int h2_output_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
    size_t length, nghttp2_data_source *source, void *user_data);
ssize_t h2_output_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
    uint32_t *flags, nghttp2_data_source *source, void *user_data);
ssize_t h2_output_read_length(nghttp2_session *session, uint8_t type, int32_t id,
    int32_t session_window, int32_t stream_window, uint32_t max_frame, void *user_data);
void h2_output_drop(struct h2_stream *s);

/* ---- h2_stream.c ---- */
struct h2_stream *h2_stream_new(struct h2_conn *c);
/* Takes a live stream off nghttp2's hands and queues its on_close. */
void h2_stream_doom(struct h2_stream *s, uint32_t code);
void h2_stream_free(struct h2_stream *s);
/* Makes the callbacks that are due: on_close, on_writable. True when there was one. */
bool h2_stream_deliver(struct h2_conn *c);
int h2_stream_submit_trailers(struct h2_stream *s);

/* ---- h2_linger.c ---- */
/* Our half is done: the stream waits for the peer's. TX_ENOMEM. */
int h2_linger_add(struct h2_stream *s);
void h2_linger_remove(struct h2_stream *s);

/* ---- h2_limits.c ---- */
void h2_limits_init(struct h2_conn *c, const struct h2_limits *limits);
/* Looks at the frame headers in the next `len` bytes; *taken: those up to the turn's last frame. 0,
 * or TX_ELIMIT: h2_fail was called. */
int h2_limits_scan(struct h2_conn *c, const uint8_t *data, size_t len, size_t *taken);
/* Whether it has used up half of what it may do before it is cut off. */
bool h2_limits_low(struct h2_conn *c);
int h2_limits_reset(struct h2_conn *c, const char *what);

#endif
