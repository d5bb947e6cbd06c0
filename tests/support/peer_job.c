/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/peer_job.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/duration.h"
#include "common/job_record.h"
#include "common/ring.h"
#include "tests/support/keeper_rig.h"

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

static void note_record(const struct job_record *rec, void *arg)
{
	struct job_record *r = arg;

	r->state = rec->state;
	r->pid = rec->pid;
	r->start_ns = rec->start_ns;
	r->exit = rec->exit;
}

/* What is known of one of the owner's; state 0: there is none. */
static struct job_record look_up(struct peer *p, const char *id)
{
	struct km_list list = {.one = 1, .owner = PEER_OWNER};
	struct job_record r = {.state = 0};
	union km_any m;
	struct err e;
	int fd;

	snprintf(list.id, sizeof(list.id), "%s", id);
	peer_send(p, KM_LIST, 9, &list, -1);
	peer_answer(p, 9, &m, &fd);
	if (m.hdr.type == KM_REFUSED) {
		assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
		return r;
	}
	assert_int_equal(m.hdr.type, KM_TABLE);
	assert_int_equal(m.table.count, 1);
	assert_int_equal(job_records_read(fd, m.table.bytes, 1, note_record, &r, &e), 0);
	close(fd);
	return r;
}

/* As if it had been refused at once. */
static void refuse(
    struct peer *p, uint32_t att, const char *id, const struct km_exit *exit, union km_any *m)
{
	struct km_remove q = {.by = PEER_OWNER};
	struct km_refused refused = {
	    .why = KM_WHY_START, .stage = exit->stage, .sys_errno = exit->value};
	int fd;

	memcpy(refused.text, exit->text, sizeof(refused.text));
	if (att != 0) {
		struct km_detach d = {.att = att};

		peer_send(p, KM_DETACH, 0, &d, -1);
		peer_leave(p, att);
	}
	snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(p, KM_REMOVE, 10, &q, -1);
	peer_answer(p, 10, m, &fd);
	assert_int_equal(m->hdr.type, KM_DONE);
	m->refused = refused;
	m->hdr.type = KM_REFUSED;
}

struct starting {
	struct peer *p;
	const char *id;
	struct job_record r;
};

static bool is_started(void *arg)
{
	struct starting *s = arg;

	s->r = look_up(s->p, s->id);
	return s->r.state != KM_STATE_QUEUED;
}

void peer_until_started(struct peer *p, const char *id)
{
	struct starting s = {.p = p, .id = id};

	rig_until(is_started, &s, "the start of what was queued");
}

/* On a machine that stands still for a moment a start takes long, and is queued meanwhile. */
static void await_start(struct peer *p, uint32_t att, const char *id, union km_any *m)
{
	struct starting s = {.p = p, .id = id};
	union km_any told;

	if (att != 0) {
		peer_await_running(p, att, &told);
		s.r.state = told.hdr.type == KM_RUNNING ? KM_STATE_RUNNING : KM_STATE_ENDED;
		if (told.hdr.type == KM_RUNNING) {
			s.r.pid = told.running.pid;
			s.r.start_ns = told.running.start_ns;
		} else {
			s.r.exit = told.ended.exit;
		}
	} else {
		peer_until_started(p, id);
		s.r = look_up(p, id);
	}
	if (s.r.state == KM_STATE_ENDED && s.r.exit.kind == KM_END_NOT_STARTED) {
		refuse(p, att, id, &s.r.exit, m);
		return;
	}
	m->job.state = s.r.state;
	m->job.pid = s.r.pid;
	m->job.start_ns = s.r.start_ns;
}

void peer_ask_start(struct peer *p, uint32_t att, const char *id, const struct job_spec *spec)
{
	struct km_start start = {.att = att};
	struct err e;
	int memfd;

	snprintf(start.id, sizeof(start.id), "%s", id);
	memcpy(start.owner, owner, sizeof(owner));
	if (job_spec_seal(spec, &memfd, &e) != 0)
		fail_msg("%s", e.message);
	peer_send(p, KM_START, 7, &start, memfd);
	close(memfd);
}

void peer_start(
    struct peer *p, uint32_t att, const char *id, const struct job_spec *spec, union km_any *m)
{
	int fd;

	peer_ask_start(p, att, id, spec);
	peer_answer(p, 7, m, &fd);
	assert_int_equal(fd, -1);
	if (m->hdr.type != KM_JOB)
		return;
	if (att != 0)
		peer_join(p, att);
	if (m->job.state == KM_STATE_QUEUED && spec->group == NULL && !p->queues)
		await_start(p, att, id, m);
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
	int fd;

	memset(pj, 0, sizeof(*pj));
	pj->att = att;
	pj->out[KM_STDOUT].offset = attach.offset[KM_STDOUT] = offset_out;
	pj->out[KM_STDERR].offset = attach.offset[KM_STDERR] = offset_err;
	snprintf(attach.id, sizeof(attach.id), "%s", id);
	memcpy(attach.owner, owner, sizeof(owner));
	peer_send(p, KM_ATTACH, 8, &attach, -1);
	peer_answer(p, 8, &m, &fd);
	if (m.hdr.type == KM_REFUSED)
		fail_msg("refused: why %u, %s", m.refused.why, m.refused.text);
	assert_int_equal(m.hdr.type, KM_JOB);
	assert_int_equal(m.job.att, att);
	peer_join(p, att);
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
	peer_recv_of(p, pj->att, &m, &fd);
	switch (m.hdr.type) {
	case KM_RING:
		take_ring(pj, &m.ring, fd);
		break;
	case KM_SPOOL:
		take_spool(pj, &m.spool, fd);
		break;
	case KM_WAKE:
		for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
			take_output(p, pj, s, ack);
			pj->out[s].eof |= (m.wake.eof & KM_BIT(s)) != 0;
		}
		break;
	case KM_INPUT_DONE:
		pj->input_done = m.input_done;
		break;
	case KM_RUNNING:
		assert_int_equal(pj->running.pid, 0);
		pj->running = m.running;
		break;
	case KM_ENDED:
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
	peer_leave(p, pj->att);
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

/* ---- checks ---- */

void peer_assert_output(const struct peer_job *pj, int s, const char *text)
{
	assert_int_equal(pj->out[s].len, strlen(text));
	assert_memory_equal(pj->out[s].data, text, strlen(text));
}

/* Bytes that depend on their offset, as the script below writes them. */
#define PATTERN_SCRIPT "i=0; while [ $i -lt %d ]; do printf '%%08d%s' $i; i=$((i+1)); done"
#define PATTERN_LINE   64

void peer_pattern_script(char *out, size_t size, int lines)
{
	char rest[PATTERN_LINE - 8 + 1];

	memset(rest, '.', sizeof(rest));
	rest[sizeof(rest) - 1] = '\0';
	snprintf(out, size, PATTERN_SCRIPT, lines, rest);
}

void peer_assert_pattern(const struct peer_output *o, uint64_t from, int lines)
{
	assert_int_equal(o->offset, (uint64_t)lines * PATTERN_LINE);
	assert_int_equal(o->len, o->offset - from);
	for (size_t i = 0; i < o->len; i++) {
		uint64_t at = from + i;
		char want[16];

		snprintf(want, sizeof(want), "%08u", (unsigned)(at / PATTERN_LINE));
		if (o->data[i] != (at % PATTERN_LINE < 8 ? want[at % PATTERN_LINE] : '.'))
			fail_msg("a wrong byte at offset %llu", (unsigned long long)at);
	}
}

int peer_job_state(struct peer *p, const char *id)
{
	return look_up(p, id).state;
}
