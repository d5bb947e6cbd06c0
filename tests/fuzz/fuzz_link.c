/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's end of its link to a worker that is hostile: what it does with each message, on jobs
 * that are there. Acts, each a byte:
 *
 *     0  a message: which of a worker's, a part that its numbers are of, a byte for each of its
 *        texts (below 8: one of some; else as in the numbers), and which descriptor it has
 *     1  the loop runs        2  a process does something (processes.h)
 *     3  the worker dies, and another one comes      4  the agent shuts down, or the ceiling falls
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/budget.h"
#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/start.h"
#include "common/ceiling.h"
#include "common/keeper_msg.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "common/revocation_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/processes.h"

#define ACTS_MAX 80

struct scene {
	struct link_env env;
	struct cgroups *cgroups;
	struct link *link; /* NULL: it broke the contract */
	struct ceiling ceiling;
	int worker; /* its end */
	bool closed;
};

/* ---- the keeper's wires ---- */

static void job_output(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_output(j, s);
}

static void job_input(struct job *j, void *arg)
{
	(void)arg;
	attach_on_input(j);
}

static void job_ended(struct job *j, void *arg)
{
	(void)arg;
	group_on_ended(j);
	attach_on_ended(j);
}

static void job_timer(struct job *j, void *arg)
{
	(void)arg;
	ending_timer(j);
}

static void job_gone(struct job *j, void *arg)
{
	(void)arg;
	ending_gone(j);
}

static void job_forgotten(struct job *j, void *arg)
{
	(void)arg;
	attach_on_forgotten(j);
	group_on_forgotten(j);
}

static void job_readers(struct job *j, enum km_stream s, struct store_readers *r, void *arg)
{
	(void)arg;
	attach_readers(j, s, r);
}

static void job_full(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_full(j, s);
}

static void job_patience(struct job *j, void *arg)
{
	(void)arg;
	attach_on_patience(j);
}

static const struct job_ops job_ops = {job_output, job_input, job_ended, job_timer, job_gone,
    job_forgotten, job_readers, job_full, job_patience};

static void on_ready(void *arg)
{
	(void)arg;
}

static void on_failed(const char *text, void *arg)
{
	(void)arg;
	fuzz_require(strlen(text) < KM_TEXT_SIZE);
}

static void on_pong(const struct km_pong *m, void *arg)
{
	(void)m;
	(void)arg;
}

static void on_closed(const struct err *why, void *arg)
{
	struct scene *s = arg;

	fuzz_require(!s->closed && why->code < 0);
	s->closed = true;
}

/* ---- the scene ---- */

static void connect_worker(struct scene *s)
{
	static const struct link_ops ops = {on_ready, on_failed, on_pong, on_closed};
	int fds[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	s->closed = false;
	s->worker = fds[1];
	fuzz_require(link_new(&s->link, &s->env, fds[0], &ops, s, NULL) == 0);
	link_set_ceiling(s->link, &s->ceiling);
	km_chan_set_state(link_chan(s->link), KM_LINK_READY);
}

static void drop_worker(struct scene *s)
{
	link_free(s->link);
	s->link = NULL;
	close(s->worker);
}

static void turn(struct scene *s)
{
	char sink[sizeof(union km_any)];

	for (int i = 0; i < 4; i++)
		event_base_loop(s->env.base, EVLOOP_NONBLOCK);
	while (recv(s->worker, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	if (s->closed) {
		drop_worker(s);
		connect_worker(s);
	}
}

static void set_up(struct scene *s)
{
	struct starter_config config = {.output_buffer = 4096,
	    .max_output_buffer = 65536,
	    .max_spool = 65536,
	    .spool_folder = -1,
	    .nofile = {64, 64}};
	struct err e;

	memset(s, 0, sizeof(*s));
	ceiling_init(&s->ceiling);
	s->env.base = event_base_new();
	s->env.looks = budget_new(s->env.base, 1000000000);
	s->env.can = KM_CAN_TREE_BEST_EFFORT;
	s->env.ceiling = &s->ceiling;
	fuzz_require(s->env.base != NULL && s->env.looks != NULL);
	fuzz_require(jobs_new(&s->env.jobs, s->env.base, 5, &e) == 0);
	fuzz_require(cgroups_new(&s->cgroups, s->env.base, "off", &e) == 0);
	config.cgroups = s->cgroups;
	fuzz_require(starter_new(&s->env.starter, s->env.jobs, &config, &e) == 0);
	starter_set_ceiling(s->env.starter, &s->ceiling);
	fuzz_require(groups_new(&s->env.groups, s->env.jobs, s->env.starter, &e) == 0);
	jobs_set_ops(s->env.jobs, &job_ops, s);
	connect_worker(s);
}

static void tear_down(struct scene *s)
{
	drop_worker(s);
	groups_stop(s->env.groups);
	processes_end();
	jobs_free(s->env.jobs);
	groups_free(s->env.groups);
	budget_free(s->env.looks);
	starter_free(s->env.starter);
	cgroups_free(s->cgroups);
	pump_out_end_all();
	event_base_free(s->env.base);
}

/* ---- messages ---- */

/* A spec, or what is none, as the worker hands it over. */
static int make_spec(struct fuzz_input *in)
{
	char *argv[] = {(char[]){"/bin/x"}, (char[]){"-y"}, NULL};
	char *env[] = {(char[]){"A=b"}, NULL};
	uint8_t how = fuzz_byte(in), more = fuzz_byte(in);
	char group[] = "g", nobody[] = "nobody-knows";
	struct job_spec spec = {.argc = 2,
	    .argv = argv,
	    .envc = 1,
	    .env = env,
	    .cwd = (char[]){"/tmp"},
	    .group = (how & 1) != 0 ? group : NULL,
	    .stdin_pipe = (how & 6) != 0,
	    .terminal = (how & 4) != 0,
	    .rows = (how & 4) != 0 ? 24 : 0,
	    .columns = (how & 4) != 0 ? 80 : 0,
	    .stop_signal = 15,
	    .stop_grace_ns = (how & 8) != 0 ? 1000000000 : 0,
	    .disconnect = (enum job_disconnect)(1 + more % 3),
	    .output_policy = (how & 16) != 0 ? JOB_OUTPUT_DROP_OLDEST : JOB_OUTPUT_BLOCK,
	    .output_buffer = (how & 32) != 0 ? 8192 : 0,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .group_max = (how & 1) != 0 ? more >> 4 & 3 : 0,
	    .user = (how & 64) != 0 ? nobody : NULL};
	const uint8_t *part;
	size_t len;
	int fd = -1;

	if ((how & 128) == 0) {
		fuzz_require(job_spec_seal(&spec, &fd, NULL) == 0);
		return fd;
	}
	part = fuzz_part(in, &len);
	if ((more & 1) != 0 || memfile_freeze("fuzz", part, len, &fd, NULL) != 0)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return fd;
}

static void set_texts(const struct km_row *row, uint8_t *msg, struct fuzz_input *in)
{
	static const char *const texts[] = {"j0", "j1", "j2", "o0", "o1", "g", "", "../x"};

	for (size_t i = 0; i < 3 && row->strings[i].size != 0; i++) {
		uint8_t which = fuzz_byte(in);

		if (which < sizeof(texts) / sizeof(texts[0]))
			strcpy((char *)msg + row->strings[i].offset, texts[which]);
	}
}

static void send_message(struct scene *s, struct fuzz_input *in)
{
	const struct km_row *rows[32], *row;
	size_t n = 0, len;
	const uint8_t *numbers;
	union {
		union km_any any;
		uint8_t bytes[sizeof(union km_any)];
	} m;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	int fd = -1;

	for (size_t i = 0; i < km_table_rows; i++)
		if (km_table[i].sender == KM_WORKER && n < 32)
			rows[n++] = &km_table[i];
	fuzz_require(n > 0);
	row = rows[fuzz_byte(in) % n];
	numbers = fuzz_part(in, &len);
	memset(&m, 0, sizeof(m));
	if (len > row->size - sizeof(struct km_hdr))
		len = row->size - sizeof(struct km_hdr);
	if (len > 0)
		memcpy(m.bytes + sizeof(struct km_hdr), numbers, len);
	set_texts(row, m.bytes, in);
	m.any.hdr = (struct km_hdr){KM_VERSION, row->type, row->size, 1};
	iov = (struct iovec){&m, row->size};
	if (row->n_fds == 1) {
		struct cmsghdr *c;

		fd = make_spec(in);
		h.msg_control = control.space;
		h.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	(void)sendmsg(s->worker, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (fd >= 0)
		close(fd);
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t how;

	switch (fuzz_byte(in) % 5) {
	case 0:
		send_message(s, in);
		break;
	case 1:
		turn(s);
		break;
	case 2:
		processes_act(s->env.jobs, in);
		break;
	case 3:
		drop_worker(s);
		connect_worker(s);
		break;
	default:
		how = fuzz_byte(in);
		s->env.stopping = (how & 1) != 0;
		s->ceiling.any_process = (how & 2) == 0;
		s->ceiling.files = (how & 4) == 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct scene s;
	int before, after;

	fuzz_log_nowhere();
	before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	set_up(&s);
	for (int i = 0; i < ACTS_MAX && in.left > 0; i++)
		act(&s, &in);
	turn(&s);
	tear_down(&s);
	/* No descriptor is left open. */
	after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	fuzz_require(before == after);
	return 0;
}
