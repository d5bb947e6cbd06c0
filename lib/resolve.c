/* SPDX-License-Identifier: Apache-2.0 */
/* A request is shared by the loop's side and the thread; the last of the two frees it. */
#include "lib/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolve {
	/* Set before the thread starts, then constant. */
	char host[256];
	char port[8];
	int fd; /* eventfd: the thread is done */

	/* The thread's until it is done, then the loop's. */
	int gai, sys_errno;
	struct resolve_list list;

	atomic_int refs;

	/* The loop's. */
	struct event *ev;
	resolve_done *done;
	void *arg;
};

static void resolve_unref(struct resolve *r)
{
	if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

/* getaddrinfo's answer as a list. Returns getaddrinfo's result. */
static int lookup(struct resolve_list *out, const char *host, const char *port, int flags)
{
	const struct addrinfo hints = {
	    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct addrinfo *found = NULL;
	int rc = getaddrinfo(host, port, &hints, &found);

	if (rc != 0)
		return rc;
	out->n = 0;
	for (struct addrinfo *ai = found; ai != NULL && out->n < RESOLVE_MAX; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(out->at[0].addr))
			continue;
		memcpy(&out->at[out->n].addr, ai->ai_addr, ai->ai_addrlen);
		out->at[out->n].len = ai->ai_addrlen;
		out->n++;
	}
	freeaddrinfo(found);
	return out->n > 0 ? 0 : EAI_NONAME;
}

static void loopback(struct resolve_list *out, uint16_t port)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};

	v6.sin6_addr = in6addr_loopback;
	v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memset(out, 0, sizeof(*out));
	memcpy(&out->at[0].addr, &v4, sizeof(v4));
	out->at[0].len = sizeof(v4);
	memcpy(&out->at[1].addr, &v6, sizeof(v6));
	out->at[1].len = sizeof(v6);
	out->n = 2;
}

int resolve_now(struct resolve_list *out, const char *host, uint16_t port)
{
	char service[8];
	int rc;

	if (strcasecmp(host, "localhost") == 0) {
		loopback(out, port);
		return 0;
	}
	snprintf(service, sizeof(service), "%u", (unsigned)port);
	rc = lookup(out, host, service, AI_NUMERICHOST | AI_NUMERICSERV);
	if (rc == EAI_MEMORY)
		return TX_ENOMEM;
	return rc == 0 ? 0 : TX_EAGAIN;
}

static void *resolve_thread(void *arg)
{
	struct resolve *r = arg;
	const uint64_t one = 1;
	ssize_t n;

	r->gai = lookup(&r->list, r->host, r->port, AI_NUMERICSERV);
	r->sys_errno = errno;
	/* An eventfd that nobody has read takes a 1 at once. */
	do
		n = write(r->fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	resolve_unref(r);
	return NULL;
}

static void report_failure(const struct resolve *r)
{
	struct err why;

	if (r->gai == EAI_SYSTEM)
		err_sys(&why, r->sys_errno, "cannot look up the name \"%s\"", r->host);
	else if (r->gai == EAI_MEMORY)
		err_set(&why, TX_ENOMEM, "out of memory");
	else if (r->gai == EAI_AGAIN)
		err_set(&why, TX_ENOENT,
		    "the name \"%s\" cannot be looked up now: the name service does not answer",
		    r->host);
	else if (r->gai == EAI_NONAME || r->gai == EAI_FAIL)
		err_set(&why, TX_ENOENT, "the name \"%s\" is not known", r->host);
	else
		err_set(&why, TX_ENOENT, "the name \"%s\" is not known: %s", r->host,
		    gai_strerror(r->gai));
	r->done(NULL, &why, r->arg);
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct resolve *r = arg;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		return;
	event_free(r->ev);
	r->ev = NULL;
	if (r->gai == 0)
		r->done(&r->list, NULL, r->arg);
	else
		report_failure(r);
	resolve_unref(r);
}

/* Detached, every signal blocked: the caller's handlers are not for this thread. */
static int start_thread(struct resolve *r)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int rc = pthread_attr_init(&attr);

	if (rc != 0)
		return rc;
	sigfillset(&all);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, resolve_thread, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

int resolve_start(struct resolve **out, struct event_base *base, const char *host, uint16_t port,
    resolve_done *done, void *arg, struct err *e)
{
	struct resolve *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	snprintf(r->host, sizeof(r->host), "%s", host);
	snprintf(r->port, sizeof(r->port), "%u", (unsigned)port);
	r->done = done;
	r->arg = arg;
	atomic_init(&r->refs, 1);
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0) {
		rc = err_sys(e, errno, "eventfd");
		goto out;
	}
	r->ev = event_new(base, r->fd, EV_READ | EV_PERSIST, on_answer, r);
	if (r->ev == NULL || event_add(r->ev, NULL) < 0) {
		rc = err_set(e, TX_ENOMEM, "out of memory");
		goto out;
	}
	atomic_store(&r->refs, 2);
	rc = start_thread(r);
	if (rc == 0) {
		*out = r;
		return 0;
	}
	atomic_store(&r->refs, 1);
	rc = err_sys(e, rc, "cannot start a thread to look up \"%s\"", host);
out:
	resolve_cancel(r);
	return rc;
}

void resolve_cancel(struct resolve *r)
{
	if (r == NULL)
		return;
	if (r->ev != NULL)
		event_free(r->ev);
	r->ev = NULL;
	resolve_unref(r);
}
