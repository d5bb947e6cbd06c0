/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three stages: name, TCP, TLS. A failure in any of them fills d->error and activates d->finish, so
 * that `done` never comes from inside dial_start nor from inside a callback of the bufferevent that
 * it frees.
 */
#include "lib/dial.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/tls.h"
#include "lib/error.h"
#include "lib/resolve.h"
#include "lib/retry.h"

#define DIAL_STAGGER_NS (250 * NS_PER_MS)
#define DIAL_CUTS_MAX   3

enum dial_stage { DIAL_NAME, DIAL_TCP, DIAL_TLS, DIAL_CUT, DIAL_FAILED };

struct attempt {
	struct dial *dial;
	struct event *ev;
	int fd;
};

struct dial {
	struct event_base *base;
	struct dial_target target;
	enum dial_stage stage;
	struct event *deadline, *stagger, *finish;
	struct resolve *resolve;
	struct resolve_list list;
	struct attempt attempts[RESOLVE_MAX];
	size_t next, open; /* next address to try; attempts that are open */
	int tcp_errno;     /* the most telling failure so far */
	char tcp_where[80];
	unsigned cuts; /* handshakes that were cut */
	struct bufferevent *bev;
	struct telex_error error;
	dial_done *done;
	void *arg;
};

static void start_next(struct dial *d);

static void attempt_close(struct attempt *a)
{
	if (a->ev != NULL)
		event_free(a->ev);
	a->ev = NULL;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

static void close_attempts(struct dial *d)
{
	for (size_t i = 0; i < RESOLVE_MAX; i++)
		attempt_close(&d->attempts[i]);
	d->open = 0;
}

/* The caller has filled d->error. */
static void dial_fail(struct dial *d)
{
	d->stage = DIAL_FAILED;
	resolve_cancel(d->resolve);
	d->resolve = NULL;
	close_attempts(d);
	event_del(d->deadline);
	event_del(d->stagger);
	event_active(d->finish, EV_TIMEOUT, 1);
}

static void on_finish(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd;
	(void)what;
	d->done(NULL, NULL, &d->error, d->arg);
	dial_free(d);
}

/* The other side was there and hung up without a word of TLS: perhaps a worker of the agent's that
 * has just gone. Nothing was asked of it yet, so that it may be tried again. */
static bool was_cut(const struct err *e)
{
	return e->code == TX_ECLOSED ||
	       (e->code == TX_ESYS && (e->sys_errno == ECONNRESET || e->sys_errno == EPIPE));
}

static void dial_cut(struct dial *d)
{
	const struct timeval pause = duration_timeval(retry_delay_ns(d->cuts++));

	d->stage = DIAL_CUT;
	event_add(d->stagger, &pause);
}

static void on_tls_event(struct bufferevent *bev, short what, void *arg)
{
	struct dial *d = arg;
	char identity[TLS_IDENTITY_SIZE];
	struct err e;

	if (d->stage != DIAL_TLS)
		return;
	err_clear(&e);
	if ((what & BEV_EVENT_CONNECTED) != 0) {
		if (tls_established(bev, identity, &e) == 0) {
			d->bev = NULL;
			bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
			d->done(bev, identity, NULL, d->arg);
			dial_free(d);
			return;
		}
	} else if ((what & (BEV_EVENT_ERROR | BEV_EVENT_EOF)) != 0) {
		tls_failure(bev, what, &e);
	} else {
		return;
	}
	if (was_cut(&e) && d->cuts < DIAL_CUTS_MAX) {
		dial_cut(d);
		return;
	}
	err_wrap(&e, "cannot connect to %s", d->target.address->authority);
	error_from_err(
	    &d->error, e.code == TX_ETLS ? TELEX_ERROR_NOT_TLS : TELEX_ERROR_CONNECT, &e);
	error_certificate_hint(&d->error,
	    "it must come from an authority in the CA file, be valid today and name this host");
	dial_fail(d);
}

/* TCP is up on fd, which is taken. */
static void start_tls(struct dial *d, int fd)
{
	const int on = 1;
	struct err e;

	close_attempts(d);
	event_del(d->stagger);
	d->stage = DIAL_TLS;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (tls_connect(&d->bev, d->base, d->target.tls, fd, d->target.tls_name, &e) < 0) {
		d->bev = NULL;
		err_wrap(&e, "cannot connect to %s", d->target.address->authority);
		error_from_err(&d->error, TELEX_ERROR_NOT_TLS, &e);
		dial_fail(d);
		return;
	}
	bufferevent_setcb(d->bev, NULL, NULL, on_tls_event, d);
	bufferevent_enable(d->bev, EV_READ | EV_WRITE);
}

/* Whether an errno tells of the agent rather than of a protocol this machine does not have. */
static bool is_telling(int sys_errno)
{
	return sys_errno != EAFNOSUPPORT && sys_errno != EADDRNOTAVAIL && sys_errno != ENETUNREACH;
}

static void note_failure(struct dial *d, size_t i, int sys_errno)
{
	const struct resolve_address *a = &d->list.at[i];

	if (d->tcp_errno != 0 && (is_telling(d->tcp_errno) || !is_telling(sys_errno)))
		return;
	d->tcp_errno = sys_errno;
	if (getnameinfo((const struct sockaddr *)&a->addr, a->len, d->tcp_where,
	        sizeof(d->tcp_where), NULL, 0, NI_NUMERICHOST) != 0)
		d->tcp_where[0] = '\0';
}

static void all_failed(struct dial *d)
{
	const struct address *a = d->target.address;
	bool say = d->tcp_where[0] != '\0' && strcmp(d->tcp_where, a->host) != 0;

	error_set(&d->error, TELEX_ERROR_CONNECT, "cannot connect to %s%s%s%s: %s%s", a->authority,
	    say ? " (" : "", say ? d->tcp_where : "", say ? ")" : "", strerror(d->tcp_errno),
	    d->tcp_errno == ECONNREFUSED ? "; no agent listens there" : "");
	d->error.sys_errno = d->tcp_errno;
	dial_fail(d);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;
	struct dial *d = a->dial;
	int sys_errno = 0;
	socklen_t len = sizeof(sys_errno);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys_errno, &len) < 0)
		sys_errno = errno;
	if (sys_errno == 0) {
		a->fd = -1;
		start_tls(d, fd);
		return;
	}
	note_failure(d, (size_t)(a - d->attempts), sys_errno);
	attempt_close(a);
	d->open--;
	start_next(d);
}

/* 0: on its way, or done; else the errno. */
static int attempt_start(struct dial *d, size_t i)
{
	const struct resolve_address *to = &d->list.at[i];
	struct attempt *a = &d->attempts[i];
	int fd = socket(to->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int rc, saved;

	if (fd < 0)
		return errno;
	rc = connect(fd, (const struct sockaddr *)&to->addr, to->len);
	if (rc == 0) {
		start_tls(d, fd);
		return 0;
	}
	if (errno != EINPROGRESS && errno != EINTR) {
		saved = errno;
		close(fd);
		return saved;
	}
	a->fd = fd;
	a->ev = event_new(d->base, fd, EV_WRITE, on_writable, a);
	if (a->ev == NULL || event_add(a->ev, NULL) < 0) {
		attempt_close(a);
		return ENOMEM;
	}
	d->open++;
	return 0;
}

/* Starts on the next address; fails when there is none and none is open. */
static void start_next(struct dial *d)
{
	const struct timeval stagger = duration_timeval(DIAL_STAGGER_NS);

	while (d->next < d->list.n) {
		size_t i = d->next++;
		int sys_errno = attempt_start(d, i);

		if (sys_errno != 0) {
			note_failure(d, i, sys_errno);
			continue;
		}
		if (d->stage == DIAL_TCP && d->next < d->list.n)
			event_add(d->stagger, &stagger);
		return;
	}
	if (d->open == 0)
		all_failed(d);
}

static void on_stagger(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd;
	(void)what;
	if (d->stage == DIAL_CUT) {
		tls_free(d->bev);
		d->bev = NULL;
		d->next = 0;
		d->tcp_errno = 0;
		d->stage = DIAL_TCP;
	}
	start_next(d);
}

static void start_tcp(struct dial *d, const struct resolve_list *list)
{
	d->stage = DIAL_TCP;
	if (list != &d->list)
		d->list = *list;
	start_next(d);
}

static void on_resolved(const struct resolve_list *list, const struct err *why, void *arg)
{
	struct dial *d = arg;

	d->resolve = NULL;
	if (list != NULL) {
		start_tcp(d, list);
		return;
	}
	error_from_err(&d->error, TELEX_ERROR_RESOLVE, why);
	dial_fail(d);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	const struct address *a = d->target.address;
	double seconds = (double)d->target.timeout_ns / (double)NS_PER_S;

	(void)fd;
	(void)what;
	if (d->stage == DIAL_NAME)
		error_set(&d->error, TELEX_ERROR_RESOLVE,
		    "looking up the name \"%s\" took longer than %g s", a->host, seconds);
	else if (d->stage == DIAL_TCP)
		error_set(&d->error, TELEX_ERROR_CONNECT,
		    "cannot connect to %s: no answer within %g s", a->authority, seconds);
	else
		error_set(&d->error, TELEX_ERROR_CONNECT,
		    "cannot connect to %s: something accepts connections there, but did not finish "
		    "the TLS "
		    "handshake within %g s",
		    a->authority, seconds);
	d->error.sys_errno = ETIMEDOUT;
	dial_fail(d);
}

static int dial_begin(struct dial *d, struct telex_error *error)
{
	const struct address *a = d->target.address;
	const struct timeval deadline = duration_timeval(d->target.timeout_ns);
	struct err e;
	int rc;

	d->deadline = evtimer_new(d->base, on_deadline, d);
	d->stagger = evtimer_new(d->base, on_stagger, d);
	d->finish = evtimer_new(d->base, on_finish, d);
	if (d->deadline == NULL || d->stagger == NULL || d->finish == NULL ||
	    evtimer_add(d->deadline, &deadline) < 0)
		return error_no_memory(error);
	rc = resolve_now(&d->list, a->host, a->port);
	if (rc == 0) {
		start_tcp(d, &d->list);
		return 0;
	}
	if (rc != TX_EAGAIN)
		return error_no_memory(error);
	if (resolve_start(&d->resolve, d->base, a->host, a->port, on_resolved, d, &e) < 0)
		return error_from_err(error, TELEX_ERROR_SYSTEM, &e);
	return 0;
}

int dial_start(struct dial **out, struct event_base *base, const struct dial_target *target,
    dial_done *done, void *arg, struct telex_error *error)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return error_no_memory(error);
	d->base = base;
	d->target = *target;
	d->done = done;
	d->arg = arg;
	for (size_t i = 0; i < RESOLVE_MAX; i++)
		d->attempts[i] = (struct attempt){.dial = d, .fd = -1};
	if (dial_begin(d, error) < 0) {
		dial_free(d);
		return -1;
	}
	*out = d;
	return 0;
}

void dial_free(struct dial *d)
{
	if (d == NULL)
		return;
	resolve_cancel(d->resolve);
	close_attempts(d);
	if (d->bev != NULL)
		tls_free(d->bev);
	if (d->deadline != NULL)
		event_free(d->deadline);
	if (d->stagger != NULL)
		event_free(d->stagger);
	if (d->finish != NULL)
		event_free(d->finish);
	free(d);
}
