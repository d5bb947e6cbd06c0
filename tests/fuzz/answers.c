/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/files_frame.h"
#include "telex/internal/v1/files.pb-c.h"
#include "tests/fuzz/message.h"

#define RING_SIZE 4096

static bool is_there(const struct answers *a)
{
	return !fake_keeper_lost(a->rig->keeper, NULL);
}

void answers_init(struct answers *a, struct worker_rig *rig)
{
	memset(a, 0, sizeof(*a));
	a->rig = rig;
	a->helper = -1;
}

static void forget(struct answers_job *j)
{
	for (int s = KM_STDIN; s <= KM_STDERR; s++)
		ring_unref(j->rings[s]);
	memset(j, 0, sizeof(*j));
}

void answers_free(struct answers *a)
{
	for (size_t i = 0; i < ANSWERS_JOBS; i++)
		forget(&a->jobs[i]);
	if (a->helper >= 0)
		close(a->helper);
}

/* ---- answers ---- */

static void refuse(struct answers *a, uint64_t seq, uint8_t how)
{
	struct km_refused m = {.why = 1 + how % KM_WHY_HELPERS,
	    .stage = how >> 5,
	    .sys_errno = how & 15,
	    .stream = how & 1 ? KM_STDOUT : KM_STDERR,
	    .newest = how};

	snprintf(m.text, sizeof(m.text), "%s", (how & 2) != 0 ? "a text" : "");
	fake_keeper_send(a->rig->keeper, KM_REFUSED, seq, &m, -1);
}

/* The job as it is when its client has read so far. */
static void give_job(struct answers *a, uint64_t seq, uint32_t att, const uint64_t offset[3],
    const char *id, uint8_t how)
{
	struct km_job m = {.att = att,
	    .pid = 4711,
	    .created = (how & 1) != 0,
	    .state = (how & 2) != 0 ? KM_STATE_QUEUED : KM_STATE_RUNNING,
	    .stdin_pipe = (how & 4) != 0,
	    .stdin_held = att != 0 && (how & 4) != 0,
	    .start_ns = 1};
	struct answers_job *j = NULL;

	for (size_t i = 0; i < ANSWERS_JOBS && att != 0 && j == NULL; i++)
		if (a->jobs[i].att == 0)
			j = &a->jobs[i];
	if ((how & 128) != 0 || (att != 0 && j == NULL) || offset[1] > 1 << 20 ||
	    offset[2] > 1 << 20) {
		refuse(a, seq, how);
		return;
	}
	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(m.owner, sizeof(m.owner), "%s", RIG_USER);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		m.head[s] = m.tail[s] = offset[s];
	if (j != NULL) {
		j->att = att;
		memcpy(j->head, m.head, sizeof(j->head));
	}
	fake_keeper_send(a->rig->keeper, KM_JOB, seq, &m, -1);
}

static void give_table(struct answers *a, uint64_t seq, uint8_t how)
{
	static const char *const argv[] = {"/bin/sh", "-c", "\x1b"};
	struct job_record records[3];

	for (size_t i = 0; i < 3; i++)
		records[i] = (struct job_record){.state = (uint8_t)(1 + (how + i) % 4),
		    .pid = 5,
		    .attached = how & 1,
		    .exit = {.kind = 1 + how % 4, .value = how, .reason = how % 9},
		    .terminal = (how & 2) != 0,
		    .usage = how % 3,
		    .id = i == 0 ? "job-1" : "job-2",
		    .owner = RIG_USER,
		    .user = (how & 4) != 0 ? "me" : "",
		    .group = (how & 8) != 0 ? "group" : "",
		    .argc = 3,
		    .argv = argv};
	fake_keeper_table(a->rig->keeper, seq, records, how >> 6);
}

static void give_helper(struct answers *a, uint64_t seq, uint8_t how)
{
	struct km_files_reply m = {.pid = 4711, .uid = how & 1};
	int pair[2];

	if (a->helper >= 0 || (how & 128) != 0) {
		refuse(a, seq, how);
		return;
	}
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	snprintf(m.home, sizeof(m.home), "%s", (how & 2) != 0 ? "/home/me" : "/..");
	fake_keeper_send(a->rig->keeper, KM_FILES_REPLY, seq, &m, pair[1]);
	close(pair[1]);
	a->helper = pair[0];
}

/* The rest: done, or not. */
static void give_other(struct answers *a, const union km_any *q, uint8_t how)
{
	struct km_group_reply group = {.hdr = {0}};
	struct km_info_reply info = {.processes = how, .held = how};
	struct km_done done = {.hdr = {0}};
	struct fake_keeper *k = a->rig->keeper;

	if ((how & 128) != 0)
		refuse(a, q->hdr.seq, how);
	else if (q->hdr.type == KM_GROUP)
		fake_keeper_send(k, KM_GROUP_REPLY, q->hdr.seq, &group, -1);
	else if (q->hdr.type == KM_INFO)
		fake_keeper_send(k, KM_INFO_REPLY, q->hdr.seq, &info, -1);
	else
		fake_keeper_send(k, KM_DONE, q->hdr.seq, &done, -1);
}

static void check_start(const struct km_start *m, int fd)
{
	struct job_spec *spec = NULL;

	/* What policy and worker let through is a spec; whether its values are in their ranges is
	 * for the keeper to say. */
	fuzz_require(job_id_valid(m->id, strlen(m->id)) && m->owner[0] != '\0');
	fuzz_require(job_spec_open(&spec, fd, NULL) != TX_EPROTO);
	job_spec_free(spec);
}

void answers_give(struct answers *a, struct fuzz_input *in)
{
	static const enum km_type types[] = {KM_START, KM_ATTACH, KM_LIST, KM_FILES, KM_SIGNAL,
	    KM_REMOVE, KM_UPDATE, KM_RESIZE, KM_GROUP, KM_INFO, KM_REVOCATIONS};
	uint8_t how = fuzz_byte(in);
	union km_any q;
	int fd = -1;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]) && is_there(a); i++) {
		if (!fake_keeper_take(a->rig->keeper, types[i], &q, &fd))
			continue;
		if (types[i] == KM_START)
			check_start(&q.start, fd);
		/* cppcheck-suppress duplicateCondition ; a list of kinds begins */
		if (types[i] == KM_START)
			give_job(a, q.hdr.seq, q.start.att, q.start.offset, q.start.id, how);
		else if (types[i] == KM_ATTACH)
			give_job(a, q.hdr.seq, q.attach.att, q.attach.offset, q.attach.id, how);
		else if (types[i] == KM_LIST && (how & 128) == 0)
			give_table(a, q.hdr.seq, how);
		else if (types[i] == KM_FILES)
			give_helper(a, q.hdr.seq, how);
		else
			give_other(a, &q, how);
		if (fd >= 0)
			close(fd);
		return;
	}
}

/* ---- jobs ---- */

static void tell_output(struct answers *a, struct answers_job *j, enum km_stream s, uint8_t n)
{
	static const uint8_t bytes[256];
	size_t room;

	if ((j->eof & KM_BIT(s)) != 0)
		return;
	if (j->rings[s] == NULL) {
		fuzz_require(
		    ring_create_at(&j->rings[s], RING_OUTPUT, RING_SIZE, j->head[s], NULL) == 0);
		fake_keeper_ring(a->rig->keeper, j->att, s, j->rings[s]);
	}
	(void)ring_space(j->rings[s], &room);
	if (room >= n && n > 0)
		fake_keeper_write(j->rings[s], bytes, n);
	fake_keeper_wake(a->rig->keeper, j->att, (uint32_t)j->eof);
}

/* What the worker has put in goes on to the process. */
static void tell_input(struct answers *a, struct answers_job *j, bool closed)
{
	struct km_input_done m = {.att = j->att, .closed = closed};
	struct ring **r = &j->rings[KM_STDIN];
	union km_any q;

	if (*r == NULL) {
		fuzz_require(ring_create(r, RING_INPUT, RING_SIZE, NULL) == 0);
		fake_keeper_ring(a->rig->keeper, j->att, KM_STDIN, *r);
		return;
	}
	while (fake_keeper_take(a->rig->keeper, KM_INPUT, &q, NULL))
		if (q.input.att == j->att)
			fuzz_require(ring_accept(*r, q.input.head) == 0);
	m.written = ring_head(*r);
	(void)ring_release(*r, m.written);
	fake_keeper_send(a->rig->keeper, KM_INPUT_DONE, 0, &m, -1);
}

static void tell_end(struct answers *a, struct answers_job *j, uint8_t how)
{
	struct km_ended m = {.att = j->att};

	j->eof = KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR);
	fake_keeper_wake(a->rig->keeper, j->att, (uint32_t)j->eof);
	m.exit = (struct km_exit){.kind = (uint8_t)(1 + how % 4),
	    .reason = (uint8_t)(how % 9),
	    .value = how,
	    .core = how & 1};
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		uint64_t *length = s == KM_STDOUT ? &m.exit.stdout_length : &m.exit.stderr_length;

		*length = j->rings[s] != NULL ? ring_head(j->rings[s]) : j->head[s];
	}
	fake_keeper_send(a->rig->keeper, KM_ENDED, 0, &m, -1);
	forget(j);
}

static void drop_detached(struct answers *a)
{
	union km_any q;

	while (fake_keeper_take(a->rig->keeper, KM_DETACH, &q, NULL))
		for (size_t i = 0; i < ANSWERS_JOBS; i++)
			if (a->jobs[i].att == q.detach.att)
				forget(&a->jobs[i]);
}

void answers_tell(struct answers *a, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in), n = fuzz_byte(in);
	struct answers_job *j = &a->jobs[how & 3];
	struct km_running running = {.att = j->att, .pid = 4711, .start_ns = 1};
	struct km_detached detached = {.att = j->att};

	drop_detached(a);
	if (!is_there(a) || j->att == 0)
		return;
	switch (how >> 2 & 7) {
	case 0:
	case 1:
		tell_output(a, j, (how & 4) != 0 ? KM_STDOUT : KM_STDERR, n);
		break;
	case 2:
	case 3:
		tell_input(a, j, (n & 1) != 0);
		break;
	case 4:
		fake_keeper_send(a->rig->keeper, KM_RUNNING, 0, &running, -1);
		break;
	case 5:
		fake_keeper_send(a->rig->keeper, KM_DETACHED, 0, &detached, -1);
		forget(j);
		break;
	default:
		tell_end(a, j, n);
	}
}

/* ---- telex-files ---- */

void answers_helper(struct answers *a, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);
	struct files_frame f = {.type = how & 7};
	uint8_t *built = NULL, sink[4096];
	const uint8_t *body;
	size_t len;

	if ((how & 8) != 0)
		built = fuzz_message(in,
		    f.type == FILES_STATUS ? &telex__internal__v1__files_status__descriptor
		                           : &telex__internal__v1__files_ready__descriptor,
		    &len);
	body = built != NULL ? built : fuzz_part(in, &len);
	f.length = (how & 16) != 0 ? (uint32_t)fuzz_number(in, 4) : (uint32_t)len;
	if (a->helper >= 0) {
		(void)send(a->helper, &f, sizeof(f), MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)send(a->helper, body, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (recv(a->helper, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
	if ((how & 32) != 0 && a->helper >= 0) {
		close(a->helper);
		a->helper = -1;
	}
	free(built);
}
