/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session owns its bufferevent until h2 has taken it. It is freed from its timer only, never
 * inside a callback of TLS or HTTP/2: the timer is the handshake's deadline first, and what
 * finishes the session later.
 */
#include "agent/worker/session.h"

#include <assert.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/file_pool.h"
#include "agent/worker/penalties.h"
#include "agent/worker/proxied.h"
#include "agent/worker/revoked.h"
#include "agent/worker/sources.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/duration.h"
#include "common/h2.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "common/tls.h"

struct session {
	struct peer peer;
	struct sessions *owner;
	struct bufferevent *bev; /* until h2 has it */
	struct h2_conn *h2;      /* from the handshake to on_closed */
	struct event *timer;
	struct event *begin; /* while its handshake has to wait */
	int fd;              /* then; else -1 */
	struct source *source;
	bool stays; /* for life_s, from the first deadline on */
	bool cut;   /* its certificate is revoked, and that is not told yet */
	bool over;
	TAILQ_ENTRY(session) link;
};

struct sessions {
	struct worker *worker;
	struct tls_ctx *tls;
	struct rpc_server *rpc;
	void (*ended)(void *arg);
	void *arg;
	TAILQ_HEAD(session_list, session) list;
	size_t count;
	struct sources *sources;
	struct penalties *penalties;
	uint32_t max_streams, max_per_source;
	int life_s; /* from the first call's deadline on; 0: no limit */
};

/* ---- the end ---- */

static void destroy(struct session *s)
{
	TAILQ_REMOVE(&s->owner->list, s, link);
	s->owner->count--;
	if (s->bev != NULL)
		tls_free(s->bev);
	event_free(s->timer);
	if (s->begin != NULL)
		event_free(s->begin);
	if (s->fd >= 0)
		evutil_closesocket(s->fd);
	sources_leave(s->owner->sources, s->source);
	proxied_free(&s->peer);
	file_pool_free(s->peer.files);
	free(s);
}

static void end(struct session *s)
{
	s->over = true;
	event_active(s->timer, EV_TIMEOUT, 0);
}

static void tell_refused(struct worker *w, const struct peer *peer, const char *why)
{
	bool written = audit_log_handshake(w, peer, why);

	log_at(written ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s: refused: %s", peer->address, why);
}

static void refuse(struct session *s, const struct err *why)
{
	tell_refused(s->owner->worker, &s->peer, why->message);
	end(s);
}

/* A connection for nothing: whoever means it well connects again when there is something to call.
 */
static void no_call(struct session *s)
{
	log_warn(
	    "%s: %s: cut off: no call within the time allowed", s->peer.address, s->peer.identity);
	audit_log_cut(s->owner->worker, &s->peer, "no call within the time allowed");
	h2_close(s->h2, H2_NO_ERROR);
}

static void stay(struct session *s)
{
	struct timeval life = {s->owner->life_s, 0};

	s->stays = true;
	event_add(s->timer, &life);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct sessions *ss = s->owner;

	(void)fd;
	(void)what;
	if (!s->over && s->h2 != NULL) {
		if (!s->peer.called)
			no_call(s);
		else if (ss->life_s > 0 && !s->stays)
			stay(s);
		else if (ss->life_s > 0)
			h2_close(s->h2, H2_NO_ERROR);
		return;
	}
	if (!s->over)
		tell_refused(ss->worker, &s->peer, "no TLS within the time allowed");
	destroy(s);
	ss->ended(ss->arg);
}

/* ---- HTTP/2 ---- */

static int on_stream(struct h2_conn *c, struct h2_stream *stream, void *arg)
{
	struct session *s = arg;

	(void)c;
	return rpc_server_stream(s->owner->rpc, stream, &s->peer);
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	struct session *s = arg;

	(void)c;
	if (why->code == TX_EPROTO || why->code == TX_ELIMIT) {
		log_warn("%s: %s: cut off: %s", s->peer.address, s->peer.identity, why->message);
		audit_log_cut(s->owner->worker, &s->peer, why->message);
		penalties_add(s->owner->penalties, s->peer.address, clock_monotonic_ns());
	} else
		log_debug("%s: %s: closed", s->peer.address, s->peer.identity);
	s->h2 = NULL;
	end(s);
}

static const struct h2_conn_ops h2_ops = {.on_stream = on_stream, .on_closed = on_closed};

static void serve(struct session *s)
{
	/* All streams that may be open can be cancelled at once, and then some. */
	const struct h2_limits limits = {.max_streams = s->owner->max_streams,
	    .reset_burst = s->owner->max_streams + 144,
	    .reset_rate = 100};
	struct bufferevent *bev = s->bev;
	struct err e;

	tls_peer_serial(bev, s->peer.serial);
	/* The list may be newer than the one that the handshake was held against. */
	if (tls_established(bev, s->peer.identity, &e) < 0 ||
	    (s->peer.identity[0] != '\0' &&
	        revoked_in_handshake(s->peer.serial, s->owner->worker->revoked, &e) < 0)) {
		refuse(s, &e);
		return;
	}
	tls_describe(bev, &s->peer.tls);
	if (audit_log_connection(s->owner->worker, &s->peer, &e) < 0) {
		refuse(s, &e);
		return;
	}
	log_info("%s: %s: accepted (%s, %s)", s->peer.address,
	    s->peer.identity[0] != '\0' ? s->peer.identity : "without a certificate",
	    s->peer.tls.version, s->peer.tls.cipher);
	if (h2_conn_new(
	        &s->h2, s->owner->worker->base, bev, true, &limits, &h2_ops, s, tls_free, &e) < 0) {
		refuse(s, &e);
		return;
	}
	s->bev = NULL;
	if (s->owner->worker->draining)
		h2_drain(s->h2);
}

/* ---- TLS ---- */

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct session *s = arg;
	struct err e;

	if (s->over)
		return;
	if ((what & BEV_EVENT_CONNECTED) != 0) {
		serve(s);
	} else if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0) {
		tls_failure(bev, what, &e);
		refuse(s, &e);
	}
}

static void begin_tls(struct session *s, int fd)
{
	struct err e;

	if (tls_accept(&s->bev, s->owner->worker->base, s->owner->tls, fd, &e) < 0)
		refuse(s, &e);
	else
		bufferevent_setcb(s->bev, NULL, NULL, on_event, s);
}

static void on_begin(evutil_socket_t unused, short what, void *arg)
{
	struct session *s = arg;
	int fd = s->fd;

	(void)unused;
	(void)what;
	s->fd = -1;
	if (s->over)
		evutil_closesocket(fd);
	else
		begin_tls(s, fd);
}

static void begin_later(struct session *s, int fd, int64_t wait_ns)
{
	struct timeval wait = duration_timeval(wait_ns);

	s->begin = evtimer_new(s->owner->worker->base, on_begin, s);
	if (s->begin == NULL)
		abort();
	s->fd = fd;
	event_add(s->begin, &wait);
}

static void format_address(char *out, size_t size, const struct sockaddr *from, socklen_t len)
{
	char host[48], port[8];

	if (getnameinfo(from, len, host, sizeof(host), port, sizeof(port),
	        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(out, size, "unknown");
	else
		snprintf(out, size, from->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* Without a word of TLS: that is what costs. */
static void turn_away(struct sessions *ss, int fd, const struct sockaddr *from, socklen_t len)
{
	struct peer peer = {.worker = ss->worker};
	uint64_t untold;
	char why[128];

	evutil_closesocket(fd);
	if (!sources_tell(ss->sources, clock_monotonic_ns(), &untold))
		return;
	format_address(peer.address, sizeof(peer.address), from, len);
	snprintf(why, sizeof(why), "its source has %" PRIu32 " connections, and may have no more",
	    ss->max_per_source);
	log_warn("%s: refused: %s (%" PRIu64 " such were not told of)", peer.address, why, untold);
	audit_log_handshake(ss->worker, &peer, why);
}

void sessions_accept(struct sessions *ss, int fd, const struct sockaddr *from, socklen_t len)
{
	int64_t limit_ns = ss->worker->config.first_call_ns;
	struct timeval deadline =
	    duration_timeval(limit_ns > 0 ? limit_ns : SESSION_FIRST_CALL_S * NS_PER_S);
	struct source *source;
	struct session *s;
	int64_t wait;

	if (!sources_enter(ss->sources, from, &source)) {
		turn_away(ss, fd, from, len);
		return;
	}
	s = xcalloc(1, sizeof(*s));
	s->source = source;
	s->fd = -1;
	s->owner = ss;
	s->peer.worker = ss->worker;
	format_address(s->peer.address, sizeof(s->peer.address), from, len);
	s->timer = evtimer_new(ss->worker->base, on_timer, s);
	if (s->timer == NULL)
		abort();
	TAILQ_INSERT_TAIL(&ss->list, s, link);
	ss->count++;
	event_add(s->timer, &deadline);
	wait = penalties_wait(ss->penalties, s->peer.address, clock_monotonic_ns());
	if (wait > 0)
		begin_later(s, fd, wait);
	else
		begin_tls(s, fd);
}

/* ---- all of them ---- */

struct sessions *sessions_new(struct worker *w, struct tls_ctx *tls, struct rpc_server *rpc,
    void (*ended)(void *arg), void *arg)
{
	struct sessions *ss = xcalloc(1, sizeof(*ss));

	ss->worker = w;
	ss->tls = tls;
	ss->rpc = rpc;
	ss->ended = ended;
	ss->arg = arg;
	ss->max_per_source = w->config.max_connections_per_source;
	ss->sources = sources_new(ss->max_per_source);
	ss->penalties = penalties_new();
	ss->max_streams = WORKER_MAX_STREAMS;
	TAILQ_INIT(&ss->list);
	return ss;
}

void session_called(struct peer *peer)
{
	peer->called = true;
	if (peer->proxy != NULL)
		peer->proxy->called = true;
}

void sessions_set_limits(
    struct sessions *ss, uint32_t max_streams, int life_s, uint32_t max_per_source)
{
	if (ss->max_per_source == 0 || ss->max_per_source > max_per_source) {
		sources_free(ss->sources);
		ss->sources = sources_new(max_per_source);
		ss->max_per_source = max_per_source;
	}
	ss->max_streams = max_streams;
	ss->life_s = life_s;
}

void sessions_free(struct sessions *ss)
{
	assert(ss == NULL || ss->count == 0);
	if (ss != NULL) {
		sources_free(ss->sources);
		penalties_free(ss->penalties);
	}
	free(ss);
}

size_t sessions_count(const struct sessions *ss)
{
	return ss->count;
}

void sessions_drain(struct sessions *ss)
{
	struct session *s;

	TAILQ_FOREACH(s, &ss->list, link)
	if (s->h2 != NULL)
		h2_drain(s->h2);
}

void sessions_close(struct sessions *ss)
{
	struct session *s;

	TAILQ_FOREACH(s, &ss->list, link)
	{
		if (s->h2 != NULL)
			h2_close(s->h2, H2_NO_ERROR);
		else
			end(s);
	}
}

/* When all are cut: to write, and to flush, takes time that the last of many would have. */
static void tell_cut(struct sessions *ss)
{
	struct session *s;

	audit_hold_sync(ss->worker->audit, true);
	TAILQ_FOREACH(s, &ss->list, link)
	{
		if (!s->cut)
			continue;
		s->cut = false;
		log_warn("%s: %s: cut off: its certificate is revoked", s->peer.address,
		    s->peer.identity);
		audit_log_cut(ss->worker, &s->peer, "its certificate is revoked");
	}
	audit_hold_sync(ss->worker->audit, false);
}

size_t sessions_cut_revoked(struct sessions *ss)
{
	struct session *s;
	size_t n = 0;

	TAILQ_FOREACH(s, &ss->list, link)
	{
		s->cut = s->h2 != NULL && revoked_is(ss->worker->revoked, s->peer.serial);
		if (!s->cut)
			continue;
		h2_abort(s->h2);
		n++;
	}
	tell_cut(ss);
	return n;
}
