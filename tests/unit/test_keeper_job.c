/* SPDX-License-Identifier: Apache-2.0 */
/* The job table alone: processes are only numbers, and pipes are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_save.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/store.h"
#include "common/duration.h"
#include "common/ring.h"

struct rig {
	struct event_base *base;
	struct jobs *jobs;
	unsigned outputs, ended;
	int memfd;
	size_t ring_size;
};

static void on_output(struct job *j, enum km_stream s, void *arg)
{
	(void)j;
	(void)s;
	((struct rig *)arg)->outputs++;
}

static void on_ended(struct job *j, void *arg)
{
	assert_int_equal(j->state, KM_STATE_ENDED);
	((struct rig *)arg)->ended++;
}

static void on_other(struct job *j, void *arg)
{
	(void)j;
	(void)arg;
}

static const struct job_ops ops = {
    .output = on_output,
    .input = on_other,
    .ended = on_ended,
    .timer = on_other,
    .gone = on_other,
};

static void rig_open(struct rig *r)
{
	char *argv[] = {(char[]){"true"}, NULL};
	char *env[] = {NULL};
	const struct job_spec spec = {.argc = 1,
	    .argv = argv,
	    .env = env,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .stop_signal = 15,
	    .disconnect = JOB_DISCONNECT_HANGUP};
	struct err e;

	memset(r, 0, sizeof(*r));
	r->ring_size = 4096;
	r->base = event_base_new();
	assert_non_null(r->base);
	assert_int_equal(jobs_new(&r->jobs, r->base, 100, &e), 0);
	jobs_set_ops(r->jobs, &ops, r);
	assert_int_equal(job_spec_seal(&spec, &r->memfd, &e), 0);
}

static void rig_close(struct rig *r)
{
	jobs_free(r->jobs);
	pump_out_end_all();
	event_base_free(r->base);
	close(r->memfd);
}

static struct pump_out *make_output(struct rig *r, struct job *j, enum km_stream s, int *writer)
{
	const struct store_config config = {
	    .ring_size = r->ring_size, .spool_folder = -1, .job = j->id};
	struct pump_out *p;
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pump_out_new(&p, r->base, pair[0], &config, job_output_ops(s), j), 0);
	*writer = pair[1];
	return p;
}

/* writers[2]: the ends of its stdout and stderr. */
static struct job *add(struct rig *r, const char *id, pid_t pid, int writers[2])
{
	struct job_spec *spec;
	struct job *j;
	struct err e;

	assert_int_equal(job_spec_open(&spec, r->memfd, &e), 0);
	j = job_new(r->jobs, id, "owner", spec);
	assert_non_null(j);
	j->pid = pid;
	j->out[KM_STDOUT] = make_output(r, j, KM_STDOUT, &writers[0]);
	j->out[KM_STDERR] = make_output(r, j, KM_STDERR, &writers[1]);
	job_insert(j);
	return j;
}

static void turn(struct rig *r)
{
	event_base_loop(r->base, EVLOOP_NONBLOCK);
}

static void jobs_are_found_by_id_and_until_reaped_by_pid(void **state)
{
	struct rig r;
	struct job *j[300];
	int w[2];
	char id[16];

	(void)state;
	rig_open(&r);
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "job-%d", i);
		j[i] = add(&r, id, 1000 + i, w);
		close(w[0]);
		close(w[1]);
	}
	assert_int_equal(jobs_running(r.jobs), 300);
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "job-%d", i);
		assert_ptr_equal(jobs_find(r.jobs, id), j[i]);
		assert_ptr_equal(jobs_find_pid(r.jobs, 1000 + i), j[i]);
	}
	assert_null(jobs_find(r.jobs, "job-300"));
	assert_null(jobs_find(r.jobs, ""));
	assert_ptr_equal(jobs_first(r.jobs), j[0]);
	assert_ptr_equal(jobs_next(j[0]), j[1]);
	job_reaped(j[7]);
	/* The number may be another's now. */
	assert_null(jobs_find_pid(r.jobs, 1007));
	assert_ptr_equal(jobs_find(r.jobs, "job-7"), j[7]);
	assert_int_equal(jobs_running(r.jobs), 299);
	assert_int_equal(jobs_held(r.jobs), 1);
	rig_close(&r);
}

static void the_exit_waits_for_the_end_of_both_outputs(void **state)
{
	int64_t reaped_at;
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	/* Until this is faster than the time that it waits. */
	for (;;) {
		rig_open(&r);
		j = add(&r, "a", 1, w);
		assert_int_equal(write(w[0], "hello", 5), 5);
		reaped_at = clock_monotonic_ns();
		job_reaped(j);
		assert_int_equal(j->state, KM_STATE_ENDING);
		close(w[0]);
		turn(&r);
		if (clock_monotonic_ns() - reaped_at < JOB_CLOSE_GRACE_NS)
			break;
		close(w[1]);
		rig_close(&r);
	}
	assert_int_equal(j->state, KM_STATE_ENDING);
	close(w[1]);
	turn(&r);
	assert_int_equal(j->state, KM_STATE_ENDED);
	assert_int_equal(r.ended, 1);
	assert_int_equal(j->exit.stdout_length, 5);
	assert_int_equal(j->exit.stderr_length, 0);
	assert_int_equal(j->exit.streams_open, 0);
	rig_close(&r);
}

static void all_is_read_at_once_when_the_outputs_ended_first(void **state)
{
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	assert_int_equal(write(w[1], "oops", 4), 4);
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	assert_int_equal(j->state, KM_STATE_ENDED);
	assert_int_equal(j->exit.stderr_length, 4);
	rig_close(&r);
}

/* A ring of 4096 and 10000 bytes: what does not fit waits in the pipe, however long. */
static void a_full_ring_holds_the_exit_until_it_is_released(void **state)
{
	static const char bytes[10000];
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	assert_int_equal(write(w[0], bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	assert_int_equal(j->close_mark[KM_STDOUT], sizeof(bytes));
	for (uint64_t head = 4096; head < sizeof(bytes); head += 4096) {
		assert_int_equal(j->state, KM_STATE_ENDING);
		assert_int_equal(pump_out_head(j->out[KM_STDOUT]), head);
		assert_int_equal(pump_out_release(j->out[KM_STDOUT], head), 0);
		turn(&r);
		turn(&r);
	}
	assert_int_equal(j->state, KM_STATE_ENDED);
	assert_int_equal(j->exit.stdout_length, sizeof(bytes));
	rig_close(&r);
}

static void an_output_that_never_wrote_has_no_ring(void **state)
{
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	assert_null(store_ring(pump_out_store(j->out[KM_STDOUT])));
	assert_int_equal(write(w[0], "x", 1), 1);
	turn(&r);
	assert_non_null(store_ring(pump_out_store(j->out[KM_STDOUT])));
	assert_null(store_ring(pump_out_store(j->out[KM_STDERR])));
	assert_true(r.outputs >= 1);
	/* Nobody may release what is not there. */
	assert_int_equal(pump_out_release(j->out[KM_STDOUT], 2), TX_EPROTO);
	assert_int_equal(pump_out_release(j->out[KM_STDERR], 1), TX_EPROTO);
	close(w[0]);
	close(w[1]);
	rig_close(&r);
}

static void delivered_exits_are_forgotten_unless_detached(void **state)
{
	struct rig r;
	struct job *a, *b;
	int w[2];

	(void)state;
	rig_open(&r);
	a = add(&r, "a", 1, w);
	close(w[0]);
	close(w[1]);
	b = add(&r, "b", 2, w);
	close(w[0]);
	close(w[1]);
	a->was_attached = true;
	job_reaped(a);
	job_reaped(b);
	job_release(a);
	assert_ptr_equal(jobs_find(r.jobs, "a"), a);
	a->delivered = b->delivered = true;
	job_release(a);
	job_release(b);
	/* Not at once: its client may ask again all the same. */
	assert_ptr_equal(jobs_find(r.jobs, "a"), a);
	jobs_set_keep(r.jobs, 0);
	job_release(a);
	while (jobs_find(r.jobs, "a") != NULL)
		event_base_loop(r.base, EVLOOP_ONCE);
	assert_ptr_equal(jobs_find(r.jobs, "b"), b);
	rig_close(&r);
}

static void of_too_many_ended_the_oldest_go(void **state)
{
	struct rig r;
	char id[16];
	int w[2];

	(void)state;
	rig_open(&r);
	for (int i = 0; i < JOB_KEEP_COUNT + 5; i++) {
		struct job *j;

		snprintf(id, sizeof(id), "%d", i);
		j = add(&r, id, 1000 + i, w);
		close(w[0]);
		close(w[1]);
		job_reaped(j);
	}
	turn(&r);
	assert_int_equal(jobs_held(r.jobs), JOB_KEEP_COUNT);
	assert_null(jobs_find(r.jobs, "0"));
	assert_null(jobs_find(r.jobs, "4"));
	assert_non_null(jobs_find(r.jobs, "5"));
	/* Nobody had their exits. */
	assert_int_equal(jobs_dropped(r.jobs), 5);
	rig_close(&r);
}

/* Nor is it counted: somebody wanted it so. */
static void what_is_forgotten_is_gone_and_not_missed(void **state)
{
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1000, w);
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	job_forget(j);
	assert_null(jobs_find(r.jobs, "a"));
	assert_null(jobs_first(r.jobs));
	assert_int_equal(jobs_held(r.jobs), 0);
	assert_int_equal(jobs_dropped(r.jobs), 0);
	rig_close(&r);
}

/* In the table without a process or pumps; by its pid only when it has one. */
static void a_queued_job_runs_or_ends(void **state)
{
	struct rig r;
	struct job *a, *b;
	struct job_spec *spec;
	struct err e;
	int w[2];

	(void)state;
	rig_open(&r);
	assert_int_equal(job_spec_open(&spec, r.memfd, &e), 0);
	a = job_new(r.jobs, "a", "owner", spec);
	assert_int_equal(job_spec_open(&spec, r.memfd, &e), 0);
	b = job_new(r.jobs, "b", "owner", spec);
	job_insert(a);
	job_insert(b);
	assert_int_equal(a->state, KM_STATE_QUEUED);
	assert_int_equal(jobs_queued(r.jobs), 2);
	assert_int_equal(jobs_running(r.jobs), 2);
	assert_null(jobs_find_pid(r.jobs, 0));
	job_never_ran(a);
	assert_int_equal(a->state, KM_STATE_ENDED);
	assert_int_equal(a->exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(r.ended, 1);
	b->pid = 1000;
	b->out[KM_STDOUT] = make_output(&r, b, KM_STDOUT, &w[0]);
	b->out[KM_STDERR] = make_output(&r, b, KM_STDERR, &w[1]);
	job_started(b);
	assert_int_equal(b->state, KM_STATE_RUNNING);
	assert_ptr_equal(jobs_find_pid(r.jobs, 1000), b);
	assert_int_equal(jobs_queued(r.jobs), 0);
	assert_int_equal(jobs_running(r.jobs), 1);
	close(w[0]);
	close(w[1]);
	rig_close(&r);
}

static void a_forgotten_jobs_pipe_is_drained_until_it_closes(void **state)
{
	static const char bytes[60000];
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	job_free(j);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(write(w[0], bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
		turn(&r);
	}
	close(w[0]);
	close(w[1]);
	turn(&r);
	rig_close(&r);
}

/* ---- what is held of the ended ---- */

/* Whoever comes late finds what there was, also when somebody has it already. */
static void what_was_acknowledged_is_held_all_the_same(void **state)
{
	struct rig r;
	struct pump_out *out;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	out = j->out[KM_STDOUT];
	assert_int_equal(write(w[0], "hello", 5), 5);
	turn(&r);
	assert_int_equal(pump_out_release(out, 5), 0);
	assert_int_equal(pump_out_release(out, 6), TX_EPROTO);
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	assert_int_equal(j->state, KM_STATE_ENDED);
	assert_int_equal(pump_out_oldest(out), 0);
	assert_int_equal(store_memory(pump_out_store(out)), 5);
	/* Forgotten, its length stays known. */
	pump_out_forget(out);
	assert_null(store_ring(pump_out_store(out)));
	assert_int_equal(store_memory(pump_out_store(out)), 0);
	assert_int_equal(pump_out_head(out), 5);
	assert_int_equal(pump_out_oldest(out), 5);
	rig_close(&r);
}

/* A job that has written a MiB and ended. */
static struct job *add_large(struct rig *r, int number)
{
	static const char bytes[65536];
	struct job *j;
	char id[16];
	int w[2];

	snprintf(id, sizeof(id), "%d", number);
	r->ring_size = (size_t)1 << 20;
	j = add(r, id, 1000 + number, w);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(write(w[0], bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
		pump_out_run(j->out[KM_STDOUT]);
	}
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	assert_int_equal(j->state, KM_STATE_ENDED);
	assert_int_equal(j->exit.stdout_length, 1 << 20);
	return j;
}

static void outputs_of_the_ended_are_bounded_and_their_exits_stay(void **state)
{
	const int n = (int)(JOB_KEEP_BYTES >> 20);
	struct rig r;
	char id[16];

	(void)state;
	rig_open(&r);
	for (int i = 0; i < n + 3; i++)
		(void)add_large(&r, i);
	turn(&r);
	assert_int_equal(jobs_held(r.jobs), n + 3);
	for (int i = 0; i < n + 3; i++) {
		struct pump_out *out;

		snprintf(id, sizeof(id), "%d", i);
		out = jobs_find(r.jobs, id)->out[KM_STDOUT];
		assert_int_equal(pump_out_head(out), 1 << 20);
		assert_int_equal(pump_out_oldest(out), i < 3 ? 1 << 20 : 0);
	}
	/* One that somebody has goes before those that nobody has. */
	assert_int_equal(pump_out_release(jobs_find(r.jobs, "9")->out[KM_STDOUT], 1 << 20), 0);
	(void)add_large(&r, n + 3);
	assert_int_equal(pump_out_oldest(jobs_find(r.jobs, "9")->out[KM_STDOUT]), 1 << 20);
	assert_int_equal(pump_out_oldest(jobs_find(r.jobs, "4")->out[KM_STDOUT]), 0);
	rig_close(&r);
}

static void large_specs_of_the_ended_are_bounded(void **state)
{
	static char text[(1 << 20) + 3];
	char *argv[] = {(char[]){"true"}, NULL};
	char *env[] = {text, NULL};
	const struct job_spec spec = {.argc = 1,
	    .argv = argv,
	    .env = env,
	    .envc = 1,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .stop_signal = 15,
	    .disconnect = 1};
	const uint32_t n = (uint32_t)(JOB_KEEP_BYTES >> 20);
	struct rig r;
	struct err e;

	(void)state;
	rig_open(&r);
	close(r.memfd);
	memset(text, 'x', sizeof(text) - 1);
	text[1] = '=';
	assert_int_equal(job_spec_seal(&spec, &r.memfd, &e), 0);
	for (uint32_t i = 0; i < n + 2; i++) {
		char id[16];
		int w[2];

		snprintf(id, sizeof(id), "%u", i);
		(void)add(&r, id, 1000 + (int)i, w);
		close(w[0]);
		close(w[1]);
		job_reaped(jobs_find(r.jobs, id));
	}
	turn(&r);
	assert_in_range(jobs_held(r.jobs), n - 2, n);
	assert_null(jobs_find(r.jobs, "0"));
	rig_close(&r);
}

/* Its output does not fit, and nobody will come: the job does not stay for ever. */
static void an_unread_output_does_not_hold_the_exit_for_ever(void **state)
{
	static const char bytes[10000];
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	jobs_set_keep(r.jobs, 1);
	j = add(&r, "a", 1, w);
	assert_int_equal(write(w[0], bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	close(w[0]);
	close(w[1]);
	job_reaped(j);
	assert_int_equal(j->state, KM_STATE_ENDING);
	while (r.ended == 0)
		event_base_loop(r.base, EVLOOP_ONCE);
	assert_int_equal(j->exit.stdout_length, 4096);
	assert_int_equal(jobs_running(r.jobs), 0);
	turn(&r);
	rig_close(&r);
}

/* Takes the ring's pages away, or gives them back. */
static void protect_rings(int prot)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		uintptr_t from, to;
		unsigned long offset;

		if (strstr(line, "telex-ring") != NULL &&
		    sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %lx", &from, &to, &offset) == 3 &&
		    offset > 0)
			assert_int_equal(mprotect((void *)from, to - from, prot), 0);
	}
	fclose(f);
}

static void output_waits_when_the_ring_has_no_memory(void **state)
{
	struct rig r;
	struct job *j;
	int w[2];

	(void)state;
	rig_open(&r);
	j = add(&r, "a", 1, w);
	assert_int_equal(write(w[0], "a", 1), 1);
	turn(&r);
	protect_rings(PROT_NONE);
	assert_int_equal(write(w[0], "bc", 2), 2);
	turn(&r);
	assert_false(pump_out_ended(j->out[KM_STDOUT]));
	protect_rings(PROT_READ | PROT_WRITE);
	while (pump_out_head(j->out[KM_STDOUT]) < 3)
		event_base_loop(r.base, EVLOOP_ONCE);
	close(w[0]);
	close(w[1]);
	turn(&r);
	assert_true(pump_out_ended(j->out[KM_STDOUT]));
	rig_close(&r);
}

/* In a process of its own, as after an upgrade: 0, or what is wrong. */
static int restore_damaged(struct rig *r, struct state_in *in, int ring)
{
	struct job_place to = {.spool_dir = -1};
	const struct store *out, *err;
	enum state_tag tag;
	struct jobs *js;
	struct job *j;
	struct err e = {0};
	char text[16];
	uint64_t length;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, ring) < 0 || !state_next(in, &tag) ||
	    jobs_new(&js, r->base, 100, &e) != 0 || groups_new(&to.groups, js, NULL, &e) != 0)
		return 1;
	to.jobs = js;
	if (job_restore(&to, in, &e) != 0)
		return 2;
	j = jobs_find(js, "job");
	if (j == NULL || j->state != KM_STATE_RUNNING)
		return 3;
	out = pump_out_store(j->out[KM_STDOUT]);
	err = pump_out_store(j->out[KM_STDERR]);
	length = store_head(out);
	snprintf(text, sizeof(text), "%llu %llu", (unsigned long long)length,
	    (unsigned long long)store_head(err));
	if (strcmp(text, "4 3") != 0 || store_oldest(out) != 4 || store_oldest(err) != 0)
		return 4;
	return pump_out_ended(j->out[KM_STDOUT]) ? 5 : 0;
}

static void an_output_that_cannot_be_restored_costs_that_output_alone(void **state)
{
	struct state_out *o = state_out_new();
	struct state_in *in;
	struct err e = {0};
	struct rig r;
	struct job *j;
	int w[2], fd, status;
	pid_t pid;

	(void)state;
	assert_non_null(o);
	rig_open(&r);
	j = add(&r, "job", 77, w);
	assert_int_equal(write(w[0], "lost", 4), 4);
	assert_int_equal(write(w[1], "had", 3), 3);
	turn(&r);
	job_save(o, j);
	state_begin(o, STATE_END);
	state_end(o);
	assert_int_equal(state_seal(o, &fd, &e), 0);
	state_out_free(o);
	assert_int_equal(state_open(&in, fd, &e), 0);
	close(fd);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(event_reinit(r.base) != 0
		          ? 9
		          : restore_damaged(
		                &r, in, ring_fd(store_ring(pump_out_store(j->out[KM_STDOUT])))));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	state_close(in);
	close(w[0]);
	close(w[1]);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(jobs_are_found_by_id_and_until_reaped_by_pid),
	    cmocka_unit_test(the_exit_waits_for_the_end_of_both_outputs),
	    cmocka_unit_test(all_is_read_at_once_when_the_outputs_ended_first),
	    cmocka_unit_test(a_full_ring_holds_the_exit_until_it_is_released),
	    cmocka_unit_test(an_output_that_never_wrote_has_no_ring),
	    cmocka_unit_test(delivered_exits_are_forgotten_unless_detached),
	    cmocka_unit_test(of_too_many_ended_the_oldest_go),
	    cmocka_unit_test(what_is_forgotten_is_gone_and_not_missed),
	    cmocka_unit_test(a_queued_job_runs_or_ends),
	    cmocka_unit_test(a_forgotten_jobs_pipe_is_drained_until_it_closes),
	    cmocka_unit_test(what_was_acknowledged_is_held_all_the_same),
	    cmocka_unit_test(outputs_of_the_ended_are_bounded_and_their_exits_stay),
	    cmocka_unit_test(large_specs_of_the_ended_are_bounded),
	    cmocka_unit_test(an_unread_output_does_not_hold_the_exit_for_ever),
	    cmocka_unit_test(output_waits_when_the_ring_has_no_memory),
	    cmocka_unit_test(an_output_that_cannot_be_restored_costs_that_output_alone),
	};

	return cmocka_run_group_tests_name("keeper_job", tests, NULL, NULL);
}
