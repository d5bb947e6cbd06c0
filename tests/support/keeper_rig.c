/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/keeper_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/duration.h"
#include "common/ring.h"

/* ---- telexd ---- */

static const char *built(const char *name, char *buf, size_t size)
{
	const char *top = getenv("top_builddir");

	snprintf(buf, size, "%s/%s", top != NULL ? top : ".", name);
	return buf;
}

static void write_file(const struct rig *r, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void write_config(const struct rig *r, const char *more)
{
	char text[4096];

	snprintf(text, sizeof(text),
	    "listen = {\"127.0.0.1:0\"}\ncertificate = \"%s/pem\"\nkey = \"%s/pem\"\n"
	    "ca = \"%s/pem\"\nstate_directory = \"%s/state\"\nlog_level = debug\n%s\n",
	    r->dir, r->dir, r->dir, r->dir, more);
	write_file(r, "conf", text);
	write_file(r, "pem", "stands for a certificate\n");
}

void rig_write(struct rig *r, const char *name, const char *text)
{
	write_file(r, name, text);
}

void rig_configure(struct rig *r, const char *config)
{
	write_config(r, config);
}

static void open_listener(struct rig *r)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/workers", r->dir);
	r->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(r->listener >= 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	/* Workers run as another user when the test is root. */
	assert_int_equal(chmod(sa.sun_path, 0666), 0);
	assert_int_equal(listen(r->listener, 16), 0);
	setenv("TELEX_TEST_SOCKET", sa.sun_path, 1);
}

static void exec_telexd(const struct rig *r)
{
	char telexd[512], worker[512], conf[128], log[128];
	int fd;

	snprintf(conf, sizeof(conf), "%s/conf", r->dir);
	snprintf(log, sizeof(log), "%s/log", r->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(120);
	/* A test that fails leaves nothing behind either. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (r->copied)
		snprintf(telexd, sizeof(telexd), "%s/telexd", r->dir);
	else
		built("telexd", telexd, sizeof(telexd));
	built("tests/support/fake_worker", worker, sizeof(worker));
	execl(telexd, "telexd", "-c", conf, "--worker", worker, (char *)NULL);
	_exit(121);
}

static void start(struct rig *r, const char *config, bool copied)
{
	const char *tmp = getenv("TMPDIR");
	char state[128];

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/telex-keeper-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(chmod(r->dir, 0755), 0);
	r->copied = copied;
	if (copied)
		rig_replace(r, "telexd");
	write_config(r, config);
	open_listener(r);
	snprintf(state, sizeof(state), "%s/state-copy", r->dir);
	setenv("TELEX_TEST_STATE", state, 1);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0)
		exec_telexd(r);
}

void rig_start(struct rig *r, const char *config)
{
	start(r, config, false);
}

void rig_start_copy(struct rig *r, const char *config)
{
	start(r, config, true);
}

void rig_replace(struct rig *r, const char *name)
{
	char from[512], command[1200];

	built(name, from, sizeof(from));
	snprintf(command, sizeof(command), "cp %s %s/new && mv %s/new %s/telexd", from, r->dir,
	    r->dir, r->dir);
	assert_int_equal(system(command), 0);
}

static bool has_ended(void *arg)
{
	struct rig *r = arg;

	return waitpid(r->pid, &r->status, WNOHANG) == r->pid;
}

void rig_wait(struct rig *r)
{
	rig_until(has_ended, r, "telexd's end");
	r->pid = 0;
}

void rig_stop(struct rig *r)
{
	char command[128];

	if (r->pid != 0) {
		kill(r->pid, SIGTERM);
		rig_wait(r);
		assert_true(WIFEXITED(r->status));
		assert_int_equal(WEXITSTATUS(r->status), 0);
	}
	close(r->listener);
	unsetenv("TELEX_TEST_SOCKET");
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
}

bool rig_logged(const struct rig *r, const char *words)
{
	static char text[1 << 20];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", r->dir);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}

void rig_until(bool (*fn)(void *arg), void *arg, const char *what)
{
	int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	const struct timespec pause = {0, 2000000};

	while (!fn(arg)) {
		if (clock_monotonic_ns() > deadline)
			fail_msg("%s did not come", what);
		nanosleep(&pause, NULL);
	}
}

/* ---- a worker's end ---- */

static void wait_readable(int fd, const char *what)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int n;

	do
		n = poll(&pfd, 1, RIG_DEADLINE_MS);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		fail_msg("%s did not come", what);
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

	wait_readable(from, "a message");
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

void peer_recv(struct peer *p, union km_any *m, int *fd)
{
	int fds[4];
	size_t n_fds;

	if (!receive_message(p, m, fds, &n_fds))
		fail_msg("the link ended");
	*fd = n_fds > 0 ? fds[0] : -1;
	for (size_t i = 1; i < n_fds; i++)
		close(fds[i]);
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

void rig_accept_early(struct rig *r, struct peer *p)
{
	union km_any m;
	size_t n;
	int listeners;

	wait_readable(r->listener, "a worker");
	p->process = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(p->process >= 0);
	assert_int_equal(receive(p->process, &p->pid, sizeof(p->pid), &p->fd, &n), sizeof(p->pid));
	assert_int_equal(n, 1);
	peer_expect(p, KM_CONFIG, &m);
	listeners = m.config.listeners;
	assert_string_not_equal(m.config.default_user, "");
	for (int i = 0; i < listeners; i++)
		peer_expect(p, KM_LISTEN, &m);
	peer_expect(p, KM_GO, &m);
}

void rig_accept(struct rig *r, struct peer *p)
{
	struct km_ready ready = {0};

	rig_accept_early(r, p);
	peer_send(p, KM_READY, 0, &ready, -1);
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

/* ---- jobs ---- */

void peer_spec(struct job_spec *spec, char *argv[4], char *script)
{
	static char *no_env[] = {NULL};

	argv[0] = (char *)(uintptr_t) "/bin/sh";
	argv[1] = (char *)(uintptr_t) "-c";
	argv[2] = script;
	argv[3] = NULL;
	*spec = (struct job_spec){
	    .argc = 3,
	    .argv = argv,
	    .env = no_env,
	    .cwd = (char *)(uintptr_t) "/",
	    .umask = 022,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .stop_signal = SIGTERM,
	    .stop_grace_ns = 10 * NS_PER_S,
	    .disconnect = JOB_DISCONNECT_HANGUP,
	    .disconnect_wait_ns = 60 * NS_PER_S,
	};
}

static const char owner[] = PEER_OWNER;

void peer_start(
    struct peer *p, uint32_t att, const char *id, const struct job_spec *spec, union km_any *m)
{
	struct km_start start = {.att = att};
	struct err e;
	int memfd, fd;

	snprintf(start.id, sizeof(start.id), "%s", id);
	memcpy(start.owner, owner, sizeof(owner));
	if (job_spec_seal(spec, &memfd, &e) != 0)
		fail_msg("%s", e.message);
	peer_send(p, KM_START, 7, &start, memfd);
	close(memfd);
	peer_recv(p, m, &fd);
	assert_int_equal(fd, -1);
	assert_int_equal(m->hdr.seq, 7);
}

void peer_run(
    struct peer *p, struct peer_job *pj, uint32_t att, const char *id, const struct job_spec *spec)
{
	union km_any m;

	memset(pj, 0, sizeof(*pj));
	pj->att = att;
	peer_start(p, att, id, spec, &m);
	if (m.hdr.type == KM_REFUSED)
		fail_msg("refused: why %u, %s", m.refused.why, m.refused.text);
	assert_int_equal(m.hdr.type, KM_JOB);
	assert_int_equal(m.job.att, att);
	pj->job = m.job;
}

void peer_attach(struct peer *p, struct peer_job *pj, uint32_t att, const char *id,
    uint64_t offset_out, uint64_t offset_err, bool want_stdin)
{
	struct km_attach attach = {.att = att, .want_stdin = want_stdin};
	union km_any m;

	memset(pj, 0, sizeof(*pj));
	pj->att = att;
	pj->out[KM_STDOUT].offset = attach.offset[KM_STDOUT] = offset_out;
	pj->out[KM_STDERR].offset = attach.offset[KM_STDERR] = offset_err;
	snprintf(attach.id, sizeof(attach.id), "%s", id);
	memcpy(attach.owner, owner, sizeof(owner));
	peer_send(p, KM_ATTACH, 8, &attach, -1);
	peer_expect(p, KM_JOB, &m);
	assert_int_equal(m.job.att, att);
	pj->job = m.job;
}

void peer_release(struct peer *p, uint32_t att, uint32_t stream, uint64_t acked, uint64_t seen)
{
	struct km_release m = {.att = att, .stream = stream, .acked = acked, .seen = seen};

	peer_send(p, KM_RELEASE, 0, &m, -1);
}

static uint8_t *output_room(struct peer_output *o, size_t n)
{
	if (o->len + n > o->size) {
		o->size = (o->len + n) * 2;
		o->data = realloc(o->data, o->size);
		assert_non_null(o->data);
	}
	return o->data + o->len;
}

static void take_spooled(struct peer_output *o)
{
	size_t n = (size_t)(ring_tail(o->ring) - o->offset);

	assert_true(o->offset >= ring_oldest(o->ring));
	if (!o->spooled || o->offset < o->spool_base)
		return;
	assert_int_equal(
	    pread(o->spool, output_room(o, n), n, (off_t)(o->offset - o->spool_base)), n);
	o->len += n;
	o->offset += n;
}

static void take_spool(struct peer_job *pj, const struct km_spool *m, int fd)
{
	struct peer_output *o = &pj->out[m->stream];

	assert_true(m->stream == KM_STDOUT || m->stream == KM_STDERR);
	if (o->spooled)
		close(o->spool);
	o->spooled = true;
	o->spool = fd;
	o->spool_base = m->base;
}

static void take_output(struct peer *p, struct peer_job *pj, int s, bool ack)
{
	struct peer_output *o = &pj->out[s];
	const uint8_t *at;
	size_t n;

	if (o->ring == NULL)
		return;
	ring_refresh(o->ring);
	if (o->offset < ring_tail(o->ring))
		take_spooled(o);
	if (o->offset < ring_tail(o->ring))
		return; /* the file is under way */
	at = ring_peek(o->ring, o->offset, &n);
	if (n == 0)
		return;
	memcpy(output_room(o, n), at, n);
	o->len += n;
	o->offset += n;
	if (ack)
		peer_release(p, pj->att, (uint32_t)s, o->offset, o->offset);
}

static void take_ring(struct peer_job *pj, const struct km_ring *m, int fd)
{
	struct ring **where = m->stream == KM_STDIN ? &pj->input : &pj->out[m->stream].ring;
	struct err e;

	assert_true(m->stream <= KM_STDERR);
	assert_true(m->stream != KM_STDIN || *where == NULL);
	ring_unref(*where);
	if (ring_map(where, fd, m->stream == KM_STDIN ? RING_INPUT : RING_OUTPUT, &e) != 0)
		fail_msg("%s", e.message);
	close(fd);
	if (m->stream == KM_STDIN)
		ring_input_seek(pj->input, pj->job.stdin_head, pj->job.stdin_written);
}

void peer_step(struct peer *p, struct peer_job *pj, bool ack)
{
	union km_any m;
	int fd;

	assert_false(pj->ended);
	peer_recv(p, &m, &fd);
	switch (m.hdr.type) {
	case KM_RING:
		assert_int_equal(m.ring.att, pj->att);
		take_ring(pj, &m.ring, fd);
		break;
	case KM_SPOOL:
		assert_int_equal(m.spool.att, pj->att);
		take_spool(pj, &m.spool, fd);
		break;
	case KM_WAKE:
		assert_int_equal(m.wake.att, pj->att);
		for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
			take_output(p, pj, s, ack);
			pj->out[s].eof |= (m.wake.eof & KM_BIT(s)) != 0;
		}
		break;
	case KM_INPUT_DONE:
		assert_int_equal(m.input_done.att, pj->att);
		pj->input_done = m.input_done;
		break;
	case KM_RUNNING:
		assert_int_equal(m.running.att, pj->att);
		assert_int_equal(pj->running.pid, 0);
		pj->running = m.running;
		break;
	case KM_ENDED:
		assert_int_equal(m.ended.att, pj->att);
		pj->ended = true;
		pj->exit = m.ended.exit;
		break;
	default:
		fail_msg("message %s out of turn", km_row(m.hdr.type)->name);
	}
}

void peer_finish(struct peer *p, struct peer_job *pj)
{
	while (!pj->ended)
		peer_step(p, pj, true);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		assert_true(pj->out[s].eof);
		take_output(p, pj, s, false);
	}
	assert_int_equal(pj->out[KM_STDOUT].offset, pj->exit.stdout_length);
	assert_int_equal(pj->out[KM_STDERR].offset, pj->exit.stderr_length);
}

void peer_detach(struct peer *p, struct peer_job *pj, uint8_t delivered)
{
	struct km_detach m = {.att = pj->att, .delivered = delivered};

	peer_send(p, KM_DETACH, 0, &m, -1);
	peer_job_free(pj);
}

void peer_input(struct peer *p, struct peer_job *pj, const void *data, size_t len, bool eof)
{
	struct km_input m = {.att = pj->att, .eof = eof};
	uint8_t *at;
	size_t room;

	while (pj->input == NULL)
		peer_step(p, pj, true);
	at = ring_input_space(pj->input, &room);
	assert_true(len <= room);
	memcpy(at, data, len);
	ring_input_commit(pj->input, len);
	m.head = ring_head(pj->input);
	peer_send(p, KM_INPUT, 0, &m, -1);
}

void peer_job_free(struct peer_job *pj)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		if (pj->out[s].spooled)
			close(pj->out[s].spool);
		ring_unref(pj->out[s].ring);
		free(pj->out[s].data);
	}
	ring_unref(pj->input);
	memset(pj, 0, sizeof(*pj));
}
