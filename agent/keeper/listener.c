/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */
/* By enum km_listen_kind. */
static const char *const address_files[] = {"address", "enroll-address"};

static int name_address(const struct sockaddr *sa, socklen_t len, char out[KM_TEXT_SIZE])
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
	        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return TX_EINVAL;
	snprintf(
	    out, KM_TEXT_SIZE, sa->sa_family == AF_INET6 ? "[%.200s]:%s" : "%.200s:%s", host, port);
	return 0;
}

static int format_address(int fd, char *out, struct err *e)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
		return err_sys(e, errno, "cannot read a socket's address");
	if (name_address((struct sockaddr *)&ss, len, out) != 0)
		return err_set(e, TX_EINVAL, "cannot write a socket's address");
	return 0;
}

static int bind_one(struct listener *l, const struct addrinfo *ai, struct err *e)
{
	int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "cannot make a socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    (ai->ai_family == AF_INET6 &&
	        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		rc = err_sys(e, errno, "cannot listen");
		close(fd);
		return rc;
	}
	rc = format_address(fd, l->address, e);
	if (rc != 0)
		close(fd);
	else
		l->fd = fd;
	return rc;
}

/* Of one that is held elsewhere: by its name. */
static int same_name(const char *address, const struct addrinfo *b)
{
	char name[KM_TEXT_SIZE];

	return name_address(b->ai_addr, b->ai_addrlen, name) == 0 && strcmp(name, address) == 0;
}

static int same_address(const struct sockaddr *a, const struct addrinfo *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b->ai_addr;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b->ai_addr;

	if (a->sa_family != b->ai_family)
		return 0;
	if (a->sa_family == AF_INET)
		return a4->sin_port == b4->sin_port && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a->sa_family == AF_INET6 && a6->sin6_port == b6->sin6_port &&
	       a6->sin6_scope_id == b6->sin6_scope_id &&
	       memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static int take_over(struct listeners *ls, const struct listener *l, const char *text,
    enum km_listen_kind kind, struct err *e)
{
	struct listener *mine = &ls->list[ls->n];
	int fd = -1;

	if (ls->n == KM_LISTEN_MAX)
		return err_set(e, TX_ELIMIT, "more than %d sockets", KM_LISTEN_MAX);
	if (l->fd >= 0)
		fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd >= 0 && fd < 0)
		return err_sys(e, errno, "cannot keep a socket");
	*mine = *l;
	mine->fd = fd;
	mine->kind = kind;
	snprintf(mine->text, sizeof(mine->text), "%s", text);
	ls->n++;
	return 0;
}

/* 1: `before` has such a socket and it was taken over. */
static int keep_bound(struct listeners *ls, const struct listeners *before,
    const struct addrinfo *ai, const char *text, enum km_listen_kind kind, struct err *e)
{
	for (size_t i = 0; before != NULL && i < before->n; i++) {
		const struct listener *l = &before->list[i];
		struct sockaddr_storage ss = {0};
		socklen_t len = sizeof(ss);
		int rc;

		if (l->fd < 0 ? !same_name(l->address, ai)
		              : getsockname(l->fd, (struct sockaddr *)&ss, &len) != 0 ||
		                    !same_address((struct sockaddr *)&ss, ai))
			continue;
		rc = take_over(ls, l, text, kind, e);
		return rc != 0 ? rc : 1;
	}
	return 0;
}

/* The same words as before mean the same sockets: a name is not looked up anew, and port 0 stays
 * the port that was found. 1: they were taken over. */
static int keep_named(struct listeners *ls, const struct listeners *before, const char *text,
    enum km_listen_kind kind, struct err *e)
{
	int rc = 0, found = 0;

	for (size_t i = 0; before != NULL && i < before->n && rc == 0; i++) {
		if (before->list[i].kind != kind || strcmp(before->list[i].text, text) != 0)
			continue;
		rc = take_over(ls, &before->list[i], text, kind, e);
		found = 1;
	}
	return rc != 0 ? rc : found;
}

static int open_address(struct listeners *ls, const struct listeners *before,
    const struct addrinfo *ai, const char *text, enum km_listen_kind kind, struct err *e)
{
	struct listener *l;
	int rc = keep_bound(ls, before, ai, text, kind, e);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (ls->n == KM_LISTEN_MAX)
		return err_set(e, TX_ELIMIT, "more than %d sockets", KM_LISTEN_MAX);
	l = &ls->list[ls->n];
	rc = bind_one(l, ai, e);
	if (rc != 0)
		return rc;
	l->kind = kind;
	snprintf(l->text, sizeof(l->text), "%s", text);
	log_info("listening on %s%s", l->address,
	    kind == KM_LISTEN_ENROLL ? " for those who have no certificate yet" : "");
	ls->n++;
	return 0;
}

static int open_one(struct listeners *ls, const struct listeners *before, const char *text,
    enum km_listen_kind kind, bool optional, struct err *e)
{
	const struct addrinfo hints = {
	    .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	char buf[KM_TEXT_SIZE];
	const char *host, *port;
	struct addrinfo *found = NULL;
	int rc = keep_named(ls, before, text, kind, e);

	if (rc != 0)
		return rc < 0 ? err_wrap(e, "listener %s", text) : 0;
	rc = config_split_address(text, buf, &host, &port);
	if (rc == 0) {
		int gai = getaddrinfo(host, port, &hints, &found);

		if (gai != 0)
			rc = err_set(e, TX_EINVAL, "%s",
			    gai == EAI_SYSTEM ? strerror(errno) : gai_strerror(gai));
	} else {
		err_set(e, rc, "not HOST:PORT");
	}
	for (struct addrinfo *ai = found; ai != NULL && rc == 0; ai = ai->ai_next)
		rc = open_address(ls, before, ai, text, kind, e);
	if (found != NULL)
		freeaddrinfo(found);
	if (rc == TX_ESYS && optional &&
	    (e->sys_errno == EAFNOSUPPORT || e->sys_errno == EADDRNOTAVAIL))
		rc = 0;
	return rc != 0 ? err_wrap(e, "listener %s", text) : 0;
}

int listeners_open(
    struct listeners **out, const struct config *c, const struct listeners *before, struct err *e)
{
	struct listeners *ls = calloc(1, sizeof(*ls));
	struct err why;
	int rc = 0;

	if (ls == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	ls->refs = 1;
	for (size_t i = 0; i < c->n_listen && rc == 0; i++)
		rc = open_one(ls, before, c->listen[i], KM_LISTEN_API, c->listen_default, &why);
	for (size_t i = 0; i < c->authority.n_listen && rc == 0; i++)
		rc = open_one(ls, before, c->authority.listen[i], KM_LISTEN_ENROLL, false, &why);
	if (rc == 0 && ls->n == 0)
		rc = err_set(&why, TX_EUNSUPPORTED, "there is no address to listen on");
	if (rc == 0) {
		*out = ls;
		return 0;
	}
	if (e != NULL)
		*e = why;
	listeners_unref(ls);
	return rc;
}

static int publish(
    const struct listeners *ls, enum km_listen_kind kind, int state_dir, struct err *e)
{
	static const char temporary[] = "address.new";
	int fd = openat(
	    state_dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *f;

	if (fd < 0)
		return err_sys(e, errno, "cannot write %s", temporary);
	f = fdopen(fd, "w");
	if (f == NULL) {
		int rc = err_sys(e, errno, "cannot write %s", temporary);

		close(fd);
		return rc;
	}
	for (size_t i = 0; i < ls->n; i++)
		if (ls->list[i].kind == kind)
			fprintf(f, "%s\n", ls->list[i].address);
	if (fclose(f) != 0 || renameat(state_dir, temporary, state_dir, address_files[kind]) != 0)
		return err_sys(e, errno, "cannot write %s", address_files[kind]);
	return 0;
}

int listeners_publish(const struct listeners *ls, int state_dir, struct err *e)
{
	bool enroll = false;

	for (size_t i = 0; i < ls->n; i++)
		enroll = enroll || ls->list[i].kind == KM_LISTEN_ENROLL;
	if (!enroll)
		(void)unlinkat(state_dir, address_files[KM_LISTEN_ENROLL], 0);
	else if (publish(ls, KM_LISTEN_ENROLL, state_dir, e) != 0)
		return e->code;
	return publish(ls, KM_LISTEN_API, state_dir, e);
}

void listeners_unpublish(int state_dir)
{
	for (size_t i = 0; i < sizeof(address_files) / sizeof(address_files[0]); i++)
		(void)unlinkat(state_dir, address_files[i], 0);
}

struct listeners *listeners_ref(struct listeners *ls)
{
	ls->refs++;
	return ls;
}

void listeners_unref(struct listeners *ls)
{
	if (ls == NULL || --ls->refs > 0)
		return;
	for (size_t i = 0; i < ls->n; i++)
		if (ls->list[i].fd >= 0)
			close(ls->list[i].fd);
	free(ls);
}
