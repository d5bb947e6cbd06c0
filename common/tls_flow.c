/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bufferevent over TLS reads one record and then has the loop ask the kernel whether there is
 * more; the same before it writes. Where the answer is known already, its events are made active at
 * once, in the same round of the loop: reading, when the next record's header is here; writing,
 * when the output was empty. A socket that has or takes nothing after all tells so and is waited
 * for.
 *
 * READ_ROUNDS bounds what one connection reads before the others have their turn.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/bufferevent_struct.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/duration.h"
#include "common/tls_internal.h"

#define READ_ROUNDS 16

static bool whole_header_ahead(const struct tls_conn *conn)
{
	return conn->ahead_len == TLS_RECORD_HEADER;
}

/* Not pending: reading is disabled, or held up by a watermark, whose own callback came before. */
static void read_soon(struct tls_conn *conn)
{
	struct event *read = &conn->bev->ev_read;

	if (event_pending(read, EV_READ, NULL))
		event_active(read, EV_READ, 0);
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct tls_conn *conn = arg;

	(void)input;
	if (info->n_added == 0) {
		/* A watermark may have left the rest of a record with OpenSSL, of which the socket
		 * does not tell. */
		if (SSL_pending(bufferevent_openssl_get_ssl(conn->bev)) > 0)
			read_soon(conn);
	} else if (!whole_header_ahead(conn) || ++conn->rounds >= READ_ROUNDS) {
		conn->rounds = 0;
	} else {
		read_soon(conn);
	}
}

/* Added first: libevent does not add an event that is active already, and would then not wait for
 * a socket that is full. */
static void write_soon(struct tls_conn *conn)
{
	struct event *write = &conn->bev->ev_write;

	if (!conn->established || (bufferevent_get_enabled(conn->bev) & EV_WRITE) == 0)
		return;
	if (event_pending(write, EV_WRITE, NULL) || event_add(write, NULL) == 0)
		event_active(write, EV_WRITE, 0);
}

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct tls_conn *conn = arg;

	if (info->n_deleted > 0) {
		conn->sent -= info->n_deleted < conn->sent ? info->n_deleted : conn->sent;
		if (evbuffer_get_length(output) > 0)
			return;
		conn->sent = 0;
		tls_bio_push(conn);
	}
	if (info->n_added > 0 && info->orig_size == 0)
		write_soon(conn);
}

int tls_flow_start(struct tls_conn *conn, struct bufferevent *bev)
{
	struct evbuffer *output = bufferevent_get_output(bev);

	if (evbuffer_add_cb(bufferevent_get_input(bev), on_input, conn) == NULL ||
	    evbuffer_add_cb(output, on_output, conn) == NULL)
		return TX_ENOMEM;
	conn->bev = bev;
	conn->output = output;
	return 0;
}

/* 0: the socket takes something again; negative: not in time. */
static int wait_writable(const struct tls_conn *conn, int64_t until_ns)
{
	int64_t left_ns = until_ns - clock_monotonic_ns();
	struct pollfd p = {.fd = conn->fd, .events = POLLOUT};

	if (left_ns <= 0)
		return TX_ETIMEOUT;
	if (poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) < 0 && errno != EINTR)
		return TX_ESYS;
	return 0;
}

/* What libevent tried last is at the front still, so that OpenSSL gets the same bytes again. */
void tls_flush(struct bufferevent *bev, int64_t timeout_ns)
{
	struct evbuffer *output = bufferevent_get_output(bev);
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	struct tls_conn *conn = tls_conn_of(ssl);
	int64_t until_ns = clock_monotonic_ns() + timeout_ns;
	struct evbuffer_iovec v;
	size_t sent;

	ERR_clear_error();
	while (evbuffer_peek(output, -1, NULL, &v, 1) >= 1) {
		if (SSL_write_ex(ssl, v.iov_base, v.iov_len, &sent) == 1) {
			if (evbuffer_drain(output, sent) != 0)
				break;
		} else if (SSL_get_error(ssl, 0) != SSL_ERROR_WANT_WRITE ||
		           wait_writable(conn, until_ns) < 0) {
			break;
		}
	}
	ERR_clear_error();
}
