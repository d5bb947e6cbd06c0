/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/memfile.h"
#include "tests/support/keeper_rig.h"

/* pidfd: of whom it is to come from, so that its end is noticed at once; -1: that is not known. */
static void wait_readable(int fd, int pidfd, const char *what)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
	int n;

	do
		n = poll(fds, 2, RIG_DEADLINE_MS);
	while (n < 0 && errno == EINTR);
	/* What came before its end is there. */
	if (n > 0 && fds[0].revents == 0)
		n = poll(fds, 1, 0);
	if (n < 1)
		rig_fail(what);
}

/* Receives one packet and at most 4 fds; 0 at the end. */
static size_t receive(int from, void *buf, size_t size, int *fds, size_t *n_fds)
{
	struct iovec iov = {buf, size};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t n;

	*n_fds = 0;
	/* A reset, as something was not read there, is told before what was said: once. */
	do {
		wait_readable(from, -1, "a message");
		n = recvmsg(from, &mh, MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == ECONNRESET || errno == EINTR));
	assert_true(n >= 0);
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm != NULL; cm = CMSG_NXTHDR(&mh, cm)) {
		*n_fds = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(cm), *n_fds * sizeof(int));
	}
	return (size_t)n;
}

/* False: the link has ended. */
static bool try_send(struct peer *p, uint16_t type, uint64_t seq, void *msg, int fd)
{
	struct km_hdr *hdr = msg;
	struct iovec iov = {msg, km_row(type)->size};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.space = {0}};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	*hdr = (struct km_hdr){KM_VERSION, type, km_row(type)->size, seq};
	if (fd >= 0) {
		struct cmsghdr *cm;

		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	}
	while (sendmsg(p->fd, &mh, MSG_NOSIGNAL) < 0)
		if (errno != EAGAIN && errno != EINTR)
			return false;
	return true;
}

/* Whether a message came: false at the link's end. fds[4]. */
static bool receive_message(struct peer *p, union km_any *m, int *fds, size_t *n_fds)
{
	struct km_pong pong = {0};

	for (;;) {
		size_t n = receive(p->fd, m, sizeof(*m), fds, n_fds);
		struct err e;

		if (n == 0)
			return false;
		if (km_check(m, n, *n_fds, KM_KEEPER,
		        m->hdr.type < KM_PING ? KM_LINK_NEW : KM_LINK_READY, &e) != 0)
			fail_msg("%s", e.message);
		if (m->hdr.type != KM_PING)
			return true;
		/* The link's end is told by the next receive. */
		(void)try_send(p, KM_PONG, 0, &pong, -1);
	}
}

/* The attachment that a note is of; 0: it is something else. */
static uint32_t note_of(const union km_any *m)
{
	switch (m->hdr.type) {
	case KM_RING:
		return m->ring.att;
	case KM_SPOOL:
		return m->spool.att;
	case KM_WAKE:
		return m->wake.att;
	case KM_INPUT_DONE:
		return m->input_done.att;
	case KM_RUNNING:
		return m->running.att;
	case KM_ENDED:
		return m->ended.att;
	default:
		return 0;
	}
}

static bool has(const uint32_t *list, size_t n, uint32_t att)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == att)
			return true;
	return false;
}

static void put(uint32_t list[PEER_HELD], size_t *n, uint32_t att)
{
	if (has(list, *n, att))
		return;
	/* The oldest is news no more. */
	if (*n == PEER_HELD)
		memmove(list, list + 1, --*n * sizeof(list[0]));
	list[(*n)++] = att;
}

static void take_out(uint32_t list[PEER_HELD], size_t *n, uint32_t att)
{
	for (size_t i = 0; i < *n; i++)
		if (list[i] == att) {
			list[i] = list[--*n];
			return;
		}
}

/* What is held at i; it is taken out. */
static struct peer_note unhold(struct peer *p, size_t i)
{
	struct peer_note n = p->held[i];

	memmove(&p->held[i], &p->held[i + 1], (--p->n_held - i) * sizeof(p->held[0]));
	return n;
}

static void hold(struct peer *p, const struct peer_note *n)
{
	if (p->n_held == PEER_HELD)
		rig_fail("what was held is not taken; another message");
	p->held[p->n_held++] = *n;
}

static void drop(const struct peer_note *n)
{
	if (n->fd >= 0)
		close(n->fd);
}

static void drop_held(struct peer *p)
{
	while (p->n_held > 0)
		drop(&p->held[--p->n_held]);
}

/* The next one from the link that is not of an attachment of before. False: its end. */
static bool next_note(struct peer *p, struct peer_note *n)
{
	int fds[4];
	size_t n_fds;
	uint32_t att;

	do {
		if (!receive_message(p, &n->m, fds, &n_fds))
			return false;
		n->fd = n_fds > 0 ? fds[0] : -1;
		for (size_t i = 1; i < n_fds; i++)
			close(fds[i]);
		att = note_of(&n->m);
		if (att == 0 || !has(p->left, p->n_left, att))
			return true;
		drop(n);
	} while (true);
}

static void need_note(struct peer *p, struct peer_note *n)
{
	if (!next_note(p, n))
		rig_fail("the link ended before a message");
}

void peer_recv(struct peer *p, union km_any *m, int *fd)
{
	struct peer_note n;

	if (p->n_held > 0)
		n = unhold(p, 0);
	else
		need_note(p, &n);
	*m = n.m;
	*fd = n.fd;
}

/* The next one that is told of no job. */
static void next_other(struct peer *p, struct peer_note *n)
{
	for (size_t i = 0; i < p->n_held; i++)
		if (note_of(&p->held[i].m) == 0) {
			*n = unhold(p, i);
			return;
		}
	for (need_note(p, n); note_of(&n->m) != 0; need_note(p, n))
		hold(p, n);
}

static bool is_of_jobs(uint16_t type)
{
	return type == KM_RING || type == KM_SPOOL || type == KM_WAKE || type == KM_INPUT_DONE ||
	       type == KM_RUNNING || type == KM_ENDED;
}

void peer_expect(struct peer *p, uint16_t type, union km_any *m)
{
	struct peer_note n;

	if (is_of_jobs(type))
		peer_recv(p, &n.m, &n.fd);
	else
		next_other(p, &n);
	*m = n.m;
	if (m->hdr.type == KM_REFUSED && type != KM_REFUSED)
		fail_msg("refused: why %u, %s", m->refused.why, m->refused.text);
	if (m->hdr.type != type)
		fail_msg("message %s instead of %s", km_row(m->hdr.type)->name, km_row(type)->name);
	drop(&n);
}

void peer_answer(struct peer *p, uint64_t seq, union km_any *m, int *fd)
{
	struct peer_note n;

	for (need_note(p, &n); n.m.hdr.seq != seq; need_note(p, &n))
		hold(p, &n);
	*m = n.m;
	*fd = n.fd;
}

void peer_await_running(struct peer *p, uint32_t att, union km_any *m)
{
	struct peer_note n;

	for (;;) {
		need_note(p, &n);
		if (note_of(&n.m) == att &&
		    (n.m.hdr.type == KM_RUNNING || n.m.hdr.type == KM_ENDED))
			break;
		hold(p, &n);
	}
	*m = n.m;
}

void peer_recv_of(struct peer *p, uint32_t att, union km_any *m, int *fd)
{
	struct peer_note n;

	for (size_t i = 0; i < p->n_held; i++)
		if (note_of(&p->held[i].m) == att) {
			n = unhold(p, i);
			*m = n.m;
			*fd = n.fd;
			return;
		}
	for (need_note(p, &n); note_of(&n.m) != att; need_note(p, &n)) {
		if (!has(p->joined, p->n_joined, note_of(&n.m)))
			fail_msg("message %s out of turn", km_row(n.m.hdr.type)->name);
		hold(p, &n);
	}
	*m = n.m;
	*fd = n.fd;
}

void peer_join(struct peer *p, uint32_t att)
{
	take_out(p->left, &p->n_left, att);
	put(p->joined, &p->n_joined, att);
}

void peer_leave(struct peer *p, uint32_t att)
{
	for (size_t i = p->n_held; i > 0; i--)
		if (note_of(&p->held[i - 1].m) == att) {
			struct peer_note n = unhold(p, i - 1);

			drop(&n);
		}
	take_out(p->joined, &p->n_joined, att);
	put(p->left, &p->n_left, att);
}

/* What workers are given cannot change any more, and nobody else may open it. */
static void take_text(char text[64], int fd)
{
	struct stat st;
	ssize_t n = pread(fd, text, 63, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_int_equal(fcntl(fd, F_GET_SEALS) & MEMFILE_FROZEN, MEMFILE_FROZEN);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void take_config(struct peer *p, union km_any *m)
{
	int fds[4];
	size_t n;

	assert_true(receive_message(p, m, fds, &n));
	assert_int_equal(m->hdr.type, KM_CONFIG);
	assert_int_equal(n, 3);
	take_text(p->certificate, fds[0]);
	take_text(p->key, fds[1]);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

void rig_accept_early(struct rig *r, struct peer *p)
{
	union km_any m;
	size_t n;
	int listeners, fd, pidfd = r->pid > 0 ? (int)syscall(SYS_pidfd_open, r->pid, 0) : -1;

	wait_readable(r->listener, pidfd, "a worker");
	if (pidfd >= 0)
		close(pidfd);
	p->process = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(p->process >= 0);
	assert_int_equal(receive(p->process, &p->pid, sizeof(p->pid), &p->fd, &n), sizeof(p->pid));
	assert_int_equal(n, 1);
	p->n_left = p->n_joined = p->n_held = 0;
	p->queues = false;
	take_config(p, &m);
	listeners = m.config.listeners;
	assert_string_not_equal(m.config.default_user, "");
	p->list = -1;
	while (listeners >= 0) {
		peer_recv(p, &m, &fd);
		if (m.hdr.type == KM_FILE && m.file.kind == KM_FILE_POLICY)
			take_text(p->policy, fd);
		if (m.hdr.type == KM_FILE && m.file.kind == KM_FILE_REVOCATIONS)
			p->list = fd;
		else if (fd >= 0)
			close(fd);
		if (m.hdr.type == KM_GO)
			break;
		listeners -= m.hdr.type == KM_LISTEN;
		assert_true(m.hdr.type == KM_LISTEN || m.hdr.type == KM_FILE);
	}
	assert_int_equal(listeners, 0);
}

void rig_accept(struct rig *r, struct peer *p)
{
	struct km_ready ready = {0};

	rig_accept_early(r, p);
	peer_send(p, KM_READY, 0, &ready, -1);
}

void rig_pass_check(struct rig *r)
{
	struct peer p;

	rig_accept(r, &p);
	peer_expect_end(&p);
	peer_close(&p);
}

/* Asks, and gives what comes but what is told of jobs, which is held. False: the link's end. */
static bool answers(struct peer *p, bool others)
{
	struct km_info info = {0};
	struct peer_note n;

	if (!try_send(p, KM_INFO, 1, &info, -1))
		return false;
	while (next_note(p, &n)) {
		if (note_of(&n.m) != 0) {
			hold(p, &n);
			continue;
		}
		drop(&n);
		if (n.m.hdr.type == KM_INFO_REPLY) {
			assert_int_equal(n.fd, -1);
			return true;
		}
		if (!others)
			fail_msg("message %s instead of the answer", km_row(n.m.hdr.type)->name);
	}
	return false;
}

bool peer_answers(struct peer *p)
{
	return answers(p, false);
}

bool peer_answers_between(struct peer *p)
{
	return answers(p, true);
}

void peer_kill(struct peer *p)
{
	kill(p->pid, SIGKILL);
	peer_close(p);
}

void peer_close(struct peer *p)
{
	drop_held(p);
	close(p->fd);
	close(p->process);
	p->fd = p->process = -1;
}

void peer_expect_end(struct peer *p)
{
	union km_any m;
	int fds[4];
	size_t n;

	drop_held(p);
	while (receive_message(p, &m, fds, &n))
		while (n > 0)
			close(fds[--n]);
}

void peer_expect_death(struct peer *p)
{
	union km_any m;
	int fds[4];
	size_t n;

	peer_expect_end(p);
	/* And its process. */
	assert_int_equal(receive(p->process, &m, sizeof(m), fds, &n), 0);
	peer_close(p);
}

void peer_send(struct peer *p, uint16_t type, uint64_t seq, void *msg, int fd)
{
	if (!try_send(p, type, seq, msg, fd))
		fail_msg("cannot send %s: %s", km_row(type)->name, strerror(errno));
}

void peer_send_raw(struct peer *p, const void *bytes, size_t len)
{
	assert_true(send(p->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}
