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

	wait_readable(from, -1, "a message");
	*n_fds = 0;
	n = recvmsg(from, &mh, MSG_CMSG_CLOEXEC);
	if (n < 0 && errno == ECONNRESET)
		return 0;
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

void peer_recv(struct peer *p, union km_any *m, int *fd)
{
	int fds[4];
	size_t n_fds;
	bool late;

	do {
		if (!receive_message(p, m, fds, &n_fds))
			rig_fail("the link ended before a message");
		late = p->left != 0 && note_of(m) == p->left;
		for (size_t i = late ? 0 : 1; i < n_fds; i++)
			close(fds[i]);
	} while (late);
	*fd = n_fds > 0 ? fds[0] : -1;
}

void peer_expect(struct peer *p, uint16_t type, union km_any *m)
{
	int fd;

	peer_recv(p, m, &fd);
	if (m->hdr.type == KM_REFUSED && type != KM_REFUSED)
		fail_msg("refused: why %u, %s", m->refused.why, m->refused.text);
	if (m->hdr.type != type)
		fail_msg("message %s instead of %s", km_row(m->hdr.type)->name, km_row(type)->name);
	if (fd >= 0)
		close(fd);
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
	take_config(p, &m);
	listeners = m.config.listeners;
	assert_string_not_equal(m.config.default_user, "");
	p->list = -1;
	p->left = 0;
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

bool peer_answers(struct peer *p)
{
	struct km_info info = {0};
	union km_any m;
	int fds[4];
	size_t n;

	if (!try_send(p, KM_INFO, 1, &info, -1) || !receive_message(p, &m, fds, &n))
		return false;
	assert_int_equal(m.hdr.type, KM_INFO_REPLY);
	assert_int_equal(n, 0);
	return true;
}

void peer_kill(struct peer *p)
{
	kill(p->pid, SIGKILL);
	peer_close(p);
}

void peer_close(struct peer *p)
{
	close(p->fd);
	close(p->process);
	p->fd = p->process = -1;
}

void peer_expect_end(struct peer *p)
{
	union km_any m;
	int fds[4];
	size_t n;

	while (receive_message(p, &m, fds, &n))
		while (n > 0)
			close(fds[--n]);
}

bool peer_answers_between(struct peer *p)
{
	struct km_info info = {0};
	union km_any m;
	int fds[4];
	size_t n;

	if (!try_send(p, KM_INFO, 1, &info, -1))
		return false;
	while (receive_message(p, &m, fds, &n)) {
		while (n > 0)
			close(fds[--n]);
		if (m.hdr.type == KM_INFO_REPLY)
			return true;
	}
	return false;
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
