/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of an agent in its two logs: what of them can be left out, cut off or put in is missed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/audit.h"
#include "common/log.h"

#define TEXT_MAX 65536

/* What is in one file: text, and the marks of where each run begins. */
struct text {
	char at[TEXT_MAX];
	size_t len, marks[8], n_marks;
};

struct agent {
	char dir[64], exec_path[80], audit_path[80], head_path[96];
	struct audit *keeper;
	uint64_t last;
	struct text exec, audit;
	struct audit_result result;
	char whats[1024];
};

static int setup(void **state)
{
	struct agent *g = calloc(1, sizeof(*g));

	strcpy(g->dir, "/tmp/telex-audit-runs-XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	snprintf(g->exec_path, sizeof(g->exec_path), "%s/exec.log", g->dir);
	snprintf(g->audit_path, sizeof(g->audit_path), "%s/audit.log", g->dir);
	snprintf(g->head_path, sizeof(g->head_path), "%s.head", g->exec_path);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct agent *g = *state;

	unlink(g->exec_path);
	unlink(g->audit_path);
	unlink(g->head_path);
	rmdir(g->dir);
	free(g);
	return 0;
}

/* ---- an agent's writers ---- */

static void mark(struct text *t, const char *path)
{
	FILE *in = fopen(path, "r");

	t->len = in != NULL ? fread(t->at, 1, TEXT_MAX - 1, in) : 0;
	t->at[t->len] = '\0';
	if (in != NULL)
		fclose(in);
	t->marks[t->n_marks++] = t->len;
}

/* As a keeper does it. */
static void find_link(int fd, struct audit_options *o)
{
	struct err e;
	int head = o->head_path != NULL ? audit_head_open(o->head_path, &e) : -1;
	bool cut;

	assert_true(audit_tail_noted(fd, head, o->linked, &cut, &e) >= 0);
	if (head >= 0)
		close(head);
}

static struct audit *writer(const char *path, struct audit_options *o)
{
	struct audit *a = NULL;
	struct err e;
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	if (o->link == AUDIT_LINK_AFTER)
		find_link(fd, o);
	assert_int_equal(audit_new(&a, fd, o, &e), 0);
	return a;
}

static void begin_run(struct agent *g, bool tied)
{
	struct audit_options o = {.writer = ++g->last,
	    .program = "keeper",
	    .link = tied ? AUDIT_LINK_AFTER : AUDIT_LINK_NONE,
	    .head_path = g->head_path};

	mark(&g->exec, g->exec_path);
	mark(&g->audit, g->audit_path);
	g->keeper = writer(g->exec_path, &o);
}

static struct audit *begin_worker(struct agent *g, uint64_t *id, bool tied)
{
	struct audit_options o = {.writer = ++g->last,
	    .program = "worker",
	    .link = tied ? AUDIT_LINK_BEGUN : AUDIT_LINK_NONE};

	*id = o.writer;
	audit_begin(g->keeper, "worker-begin");
	audit_number(g->keeper, "worker", (int64_t)o.writer);
	assert_int_equal(audit_end(g->keeper, NULL), 0);
	audit_hash(g->keeper, o.linked);
	return writer(g->audit_path, &o);
}

static void note_end(struct agent *g, const struct audit *a, uint64_t id)
{
	uint8_t hash[AUDIT_HASH_SIZE];

	audit_begin(g->keeper, "worker-end");
	audit_number(g->keeper, "worker", (int64_t)id);
	if (a != NULL) {
		audit_hash(a, hash);
		audit_number(g->keeper, "worker_seq", (int64_t)audit_seq(a));
		audit_hex(g->keeper, "worker_hash", hash, sizeof(hash));
	}
	assert_int_equal(audit_end(g->keeper, NULL), 0);
}

static void call(struct audit *a)
{
	audit_begin(a, "call");
	audit_text(a, "method", "Run");
	assert_int_equal(audit_end(a, NULL), 0);
}

/* One worker that does something and ends in order. */
static void whole_run(struct agent *g, bool tied)
{
	struct audit *a;
	uint64_t id;

	begin_run(g, tied);
	a = begin_worker(g, &id, tied);
	call(a);
	audit_finish(a);
	note_end(g, a, id);
	audit_free(a);
	audit_free(g->keeper);
}

static void over(struct agent *g)
{
	mark(&g->exec, g->exec_path);
	mark(&g->audit, g->audit_path);
}

/* ---- verifying ---- */

static void on_found(const struct audit_finding *f, void *arg)
{
	struct agent *g = arg;
	size_t used = strlen(g->whats);

	snprintf(g->whats + used, sizeof(g->whats) - used, "%s: %s; ", f->what, f->text);
}

static uint64_t verify(
    struct agent *g, const char *audit, const char *exec, bool running, bool with_head)
{
	FILE *files[2] = {fmemopen((void *)(uintptr_t)audit, strlen(audit), "r"),
	    fmemopen((void *)(uintptr_t)exec, strlen(exec), "r")};
	struct audit_source log = {.name = "audit.log", .file = files[0]},
	                    execs = {.name = "exec.log", .file = files[1], .running = running};
	const struct audit_check c = {
	    .logs = &log, .n_logs = 1, .exec_logs = &execs, .n_exec_logs = 1};
	struct err e;

	if (with_head) {
		FILE *in = fopen(g->head_path, "r");

		assert_int_equal(fread(execs.head, 1, 64, in), 64);
		fclose(in);
	}
	g->whats[0] = '\0';
	assert_int_equal(audit_verify(&c, &g->result, on_found, g, &e), 0);
	fclose(files[0]);
	fclose(files[1]);
	return g->result.findings;
}

static void assert_whole(struct agent *g, bool running)
{
	if (verify(g, g->audit.at, g->exec.at, running, true) != 0)
		fail_msg("%s", g->whats);
}

/* The text without what is between two marks. */
static char *without(const struct text *t, size_t from, size_t to)
{
	char *copy = strdup(t->at);

	memmove(copy + t->marks[from], copy + t->marks[to], t->len + 1 - t->marks[to]);
	return copy;
}

static void assert_missed(struct agent *g, size_t from, size_t to, bool with_head)
{
	char *audit = without(&g->audit, from, to), *exec = without(&g->exec, from, to);

	assert_true(verify(g, audit, exec, false, with_head) > 0);
	free(audit);
	free(exec);
}

/* ---- runs ---- */

static void a_run_that_is_left_out_is_missed(void **state)
{
	struct agent *g = *state;

	for (int i = 0; i < 3; i++)
		whole_run(g, true);
	over(g);
	assert_whole(g, false);
	assert_false(g->result.earlier);
	assert_int_equal(g->result.older, 0);
	assert_missed(g, 1, 2, false);
	assert_non_null(strstr(g->whats, "follows another one"));
	/* The last one: nothing after it says that it was there, but the note does. */
	assert_missed(g, 2, 3, true);
	assert_non_null(strstr(g->whats, "noted as the last"));
}

static void the_first_runs_may_be_in_an_older_file(void **state)
{
	struct agent *g = *state;
	char *audit, *exec;

	whole_run(g, true);
	whole_run(g, true);
	over(g);
	audit = without(&g->audit, 0, 1);
	exec = without(&g->exec, 0, 1);
	assert_int_equal(verify(g, audit, exec, false, true), 0);
	assert_true(g->result.earlier);
	free(audit);
	free(exec);
}

static void what_is_cut_off_a_stopped_agent_is_missed(void **state)
{
	struct agent *g = *state;

	whole_run(g, true);
	over(g);
	for (size_t at = 1; at < g->exec.len; at++) {
		char *exec = strndup(g->exec.at, at);

		if (at + 1 == g->exec.len || g->exec.at[at - 1] == '\n')
			assert_true(verify(g, "", exec, false, false) > 0);
		free(exec);
	}
}

/* From a mark on, or, negative, so many bytes of its end. */
static void cut(struct text *t, const char *path, long at)
{
	t->len = at >= 0 ? t->marks[at] : t->len - (size_t)-at;
	t->at[t->len] = '\0';
	assert_int_equal(truncate(path, (off_t)t->len), 0);
}

static void what_was_cut_off_stays_missing_after_the_next_start(void **state)
{
	struct agent *g = *state;

	whole_run(g, true);
	whole_run(g, true);
	over(g);
	cut(&g->exec, g->exec_path, 1);
	cut(&g->audit, g->audit_path, 1);
	whole_run(g, true);
	over(g);
	assert_true(verify(g, g->audit.at, g->exec.at, false, true) > 0);
	assert_non_null(strstr(g->whats, "follows another one"));
}

static void a_last_record_that_was_cut_stays_missing(void **state)
{
	struct agent *g = *state;

	whole_run(g, true);
	over(g);
	cut(&g->exec, g->exec_path, -1);
	whole_run(g, true);
	over(g);
	assert_true(verify(g, g->audit.at, g->exec.at, false, true) > 0);
	assert_non_null(strstr(g->whats, "follows another one"));
}

static void a_note_that_is_behind_says_nothing(void **state)
{
	struct agent *g = *state;
	struct audit_options o = {.program = "keeper", .link = AUDIT_LINK_AFTER};
	char filler[4000];

	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	whole_run(g, true);
	/* One without a note, whose records fill more than one look at the file. */
	o.writer = ++g->last;
	g->keeper = writer(g->exec_path, &o);
	for (int i = 0; i < 10; i++) {
		audit_begin(g->keeper, "reload");
		audit_text(g->keeper, "detail", filler);
		assert_int_equal(audit_end(g->keeper, NULL), 0);
	}
	audit_free(g->keeper);
	whole_run(g, true);
	over(g);
	assert_whole(g, false);
}

static void a_keeper_without_an_end_runs_or_was_killed(void **state)
{
	struct agent *g = *state;
	struct audit *a;
	uint64_t id;

	begin_run(g, true);
	a = begin_worker(g, &id, true);
	call(a);
	audit_leave(a);
	audit_leave(g->keeper);
	over(g);
	assert_whole(g, true);
	assert_int_equal(g->result.open_writers, 1);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 2);
	assert_non_null(strstr(g->whats, "does not run"));
	/* Another follows it, and says where it ended. */
	whole_run(g, true);
	over(g);
	assert_whole(g, false);
}

static void a_worker_without_an_end_was_killed_as_its_keeper_says(void **state)
{
	struct agent *g = *state;

	for (int noted = 0; noted < 2; noted++) {
		struct audit *a;
		uint64_t id;

		begin_run(g, true);
		a = begin_worker(g, &id, true);
		call(a);
		if (noted == 0)
			note_end(g, NULL, id);
		audit_leave(a);
		audit_free(g->keeper);
		over(g);
		if (noted == 0)
			assert_whole(g, false);
	}
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 1);
	assert_non_null(strstr(g->whats, "does not say that it was killed"));
}

static void a_keeper_goes_on_in_the_next_file(void **state)
{
	struct agent *g = *state;
	struct audit_options o = {.program = "keeper", .link = AUDIT_LINK_AFTER};
	struct audit *a, *old;
	uint64_t id;

	begin_run(g, true);
	a = begin_worker(g, &id, true);
	call(a);
	old = g->keeper;
	audit_begin(old, "rotated");
	assert_int_equal(audit_end(old, NULL), 0);
	audit_free(old);
	over(g);
	/* By itself the old pair says no more than that. */
	assert_whole(g, false);
	o.writer = ++g->last;
	g->keeper = writer(g->exec_path, &o);
	audit_leave(a);
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, true, false), 0);
	audit_free(g->keeper);
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, false), 1);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* One whose begin or end the keeper cannot write down. */
static void run_a_worker_with_loss(struct agent *g, bool begin_lost, bool end_lost)
{
	struct audit_options o = {.program = "worker", .link = AUDIT_LINK_BEGUN};
	struct audit *a;

	o.writer = ++g->last;
	if (begin_lost)
		limit_files(1);
	audit_begin(g->keeper, "worker-begin");
	audit_number(g->keeper, "worker", (int64_t)o.writer);
	assert_int_equal(audit_end(g->keeper, NULL), begin_lost ? TX_ESYS : 0);
	audit_hash(g->keeper, o.linked);
	limit_files(RLIM_INFINITY);
	a = writer(g->audit_path, &o);
	call(a);
	if (end_lost)
		limit_files(1);
	audit_begin(g->keeper, "worker-end");
	audit_number(g->keeper, "worker", (int64_t)o.writer);
	assert_int_equal(audit_end(g->keeper, NULL), end_lost ? TX_ESYS : 0);
	limit_files(RLIM_INFINITY);
	audit_leave(a);
}

static void what_a_keeper_lost_is_no_finding(void **state)
{
	struct agent *g = *state;

	signal(SIGXFSZ, SIG_IGN);
	begin_run(g, true);
	run_a_worker_with_loss(g, true, false);
	run_a_worker_with_loss(g, false, true);
	run_a_worker_with_loss(g, true, false);
	audit_free(g->keeper);
	over(g);
	assert_whole(g, false);
	assert_int_equal(g->result.lost, 3);
}

/* exec.log, and what is written there while audit.log is read. */
struct growing {
	const char *text;
	size_t len, at, known;
};

static ssize_t read_growing(void *cookie, char *buf, size_t size)
{
	struct growing *w = cookie;
	size_t n = w->known - w->at < size ? w->known - w->at : size;

	memcpy(buf, w->text + w->at, n);
	w->at += n;
	/* The rest is there when it is read again. */
	if (n == 0)
		w->known = w->len;
	return (ssize_t)n;
}

/* How far a worker is whose begin was lost says nothing of its begin. */
static void what_is_noted_meanwhile_is_no_begin(void **state)
{
	struct agent *g = *state;
	struct growing w = {.at = 0};
	FILE *files[2];
	struct audit_source log = {.name = "audit.log"},
	                    execs = {.name = "exec.log", .running = true};
	const struct audit_check c = {
	    .logs = &log, .n_logs = 1, .exec_logs = &execs, .n_exec_logs = 1};
	uint8_t hash[AUDIT_HASH_SIZE];
	struct err e;

	signal(SIGXFSZ, SIG_IGN);
	begin_run(g, true);
	run_a_worker_with_loss(g, true, true);
	audit_begin(g->keeper, "reload");
	assert_int_equal(audit_end(g->keeper, NULL), 0);
	over(g);
	w.known = g->exec.len;
	audit_begin(g->keeper, "anchor");
	audit_number(g->keeper, "worker", (int64_t)g->last);
	audit_number(g->keeper, "worker_seq", 2);
	memset(hash, 1, sizeof(hash));
	audit_hex(g->keeper, "worker_hash", hash, sizeof(hash));
	assert_int_equal(audit_end(g->keeper, NULL), 0);
	over(g);
	w.text = g->exec.at;
	w.len = g->exec.len;
	assert_true(w.known < w.len);
	files[0] = fmemopen(g->audit.at, g->audit.len, "r");
	files[1] = fopencookie(&w, "r", (cookie_io_functions_t){.read = read_growing});
	log.file = files[0];
	execs.file = files[1];
	g->whats[0] = '\0';
	assert_int_equal(audit_verify(&c, &g->result, on_found, g, &e), 0);
	assert_int_equal(w.at, w.len);
	assert_string_equal(g->whats, "");
	fclose(files[0]);
	fclose(files[1]);
	audit_free(g->keeper);
}

static void what_a_keeper_lost_excuses_nothing_else(void **state)
{
	struct agent *g = *state;
	struct audit_options o = {.writer = 900, .program = "worker", .link = AUDIT_LINK_BEGUN};
	struct audit *a;
	uint64_t id;

	signal(SIGXFSZ, SIG_IGN);
	begin_run(g, true);
	run_a_worker_with_loss(g, false, true);
	/* Another without an end: one record was lost, not two. */
	a = begin_worker(g, &id, true);
	call(a);
	audit_leave(a);
	audit_free(g->keeper);
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 1);
	assert_non_null(strstr(g->whats, "does not say that it was killed"));
	/* A stranger that does not name the record before the gap, in a run without one and in one
	 * with. */
	for (int i = 0; i < 2; i++) {
		begin_run(g, true);
		run_a_worker_with_loss(g, i == 1, false);
		audit_free(writer(g->audit_path, &o));
		o.writer++;
		audit_free(g->keeper);
	}
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 3);
	assert_non_null(strstr(g->whats, "writer 900 is none of the workers"));
	assert_non_null(strstr(g->whats, "writer 901 is none of the workers"));
}

static void a_worker_of_another_run_is_found(void **state)
{
	struct agent *g = *state;
	struct audit_options o = {
	    .writer = 7, .program = "worker", .link = AUDIT_LINK_BEGUN, .linked = {1}};
	struct audit *a;

	g->last = 6;
	begin_run(g, true);
	g->last = 6;
	audit_free(begin_worker(g, &o.writer, true));
	unlink(g->audit_path);
	a = writer(g->audit_path, &o);
	audit_free(a);
	audit_free(g->keeper);
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 1);
	assert_non_null(strstr(g->whats, "does not follow the keeper's record"));
}

static void the_older_format_is_no_finding(void **state)
{
	struct agent *g = *state;
	struct audit *a;
	uint64_t id;

	begin_run(g, false);
	a = begin_worker(g, &id, false);
	call(a);
	audit_leave(a);
	audit_leave(g->keeper);
	over(g);
	assert_whole(g, false);
	assert_int_equal(g->result.older, 2);
	whole_run(g, true);
	over(g);
	assert_whole(g, false);
	assert_int_equal(g->result.older, 2);
	/* But not after the newer one. */
	whole_run(g, false);
	over(g);
	assert_int_equal(verify(g, g->audit.at, g->exec.at, false, true), 2);
	assert_non_null(strstr(g->whats, "older format"));
}

/* ---- one file of many writers that do not know of each other ---- */

static struct audit *share(struct agent *g)
{
	struct audit_options o = {
	    .writer = ++g->last, .program = "cli", .shared = true, .head_path = g->head_path};

	return writer(g->exec_path, &o);
}

static void command(struct agent *g)
{
	struct audit *a = share(g);

	call(a);
	audit_free(a);
}

static uint64_t verify_shared(struct agent *g, const char *text, bool with_head)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	struct audit_source log = {.name = "ca-audit.log", .file = file};
	const struct audit_check c = {.logs = &log, .n_logs = 1};
	struct err e;

	if (with_head) {
		FILE *in = fopen(g->head_path, "r");

		assert_int_equal(fread(log.head, 1, 64, in), 64);
		fclose(in);
	}
	g->whats[0] = '\0';
	assert_int_equal(audit_verify(&c, &g->result, on_found, g, &e), 0);
	fclose(file);
	return g->result.findings;
}

static void what_a_command_wrote_is_missed(void **state)
{
	struct agent *g = *state;
	struct audit *ca = share(g);
	char *text;

	for (int i = 0; i < 3; i++) {
		mark(&g->exec, g->exec_path);
		command(g);
		call(ca);
	}
	audit_free(ca);
	command(g);
	mark(&g->exec, g->exec_path);
	assert_int_equal(verify_shared(g, g->exec.at, true), 0);
	assert_int_equal(g->result.writers, 5);
	/* Three records of a command, before one of another chain. */
	for (size_t i = 0; i < 3; i++) {
		char *at = strdup(g->exec.at), *from = at + g->exec.marks[i], *to = from;

		for (int n = 0; n < 3; n++)
			to = strchr(to, '\n') + 1;
		memmove(from, to, strlen(to) + 1);
		assert_int_equal(verify_shared(g, at, true), 1);
		free(at);
	}
	text = malloc(2 * TEXT_MAX);
	strcpy(text, g->exec.at);
	*strrchr(text, '\n') = '\0';
	for (int n = 0; n < 3; n++)
		*strrchr(text, '\n') = '\0';
	strcat(text, "\n");
	assert_int_equal(verify_shared(g, text, false), 0);
	assert_int_equal(verify_shared(g, text, true), 1);
	free(text);
}

static void what_was_cut_off_a_shared_file_stays_missing(void **state)
{
	struct agent *g = *state;

	command(g);
	mark(&g->exec, g->exec_path);
	command(g);
	mark(&g->exec, g->exec_path);
	cut(&g->exec, g->exec_path, 0);
	command(g);
	command(g);
	mark(&g->exec, g->exec_path);
	assert_int_equal(verify_shared(g, g->exec.at, true), 1);
	assert_non_null(strstr(g->whats, "follows another one"));
}

static void what_is_put_in_is_found(void **state)
{
	struct agent *g = *state;
	char *other, *text = malloc(2 * TEXT_MAX);

	command(g);
	command(g);
	mark(&g->exec, g->exec_path);
	other = strdup(g->exec.at);
	unlink(g->exec_path);
	unlink(g->head_path);
	command(g);
	command(g);
	mark(&g->exec, g->exec_path);
	for (size_t line = 0; line <= 6; line += 3) {
		const char *at = g->exec.at, *second = other;

		for (size_t n = 0; n < line; n++)
			at = strchr(at, '\n') + 1;
		for (int n = 0; n < 3; n++)
			second = strchr(second, '\n') + 1;
		snprintf(
		    text, 2 * TEXT_MAX, "%.*s%s%s", (int)(at - g->exec.at), g->exec.at, second, at);
		assert_true(verify_shared(g, text, true) > 0);
	}
	free(other);
	free(text);
}

static void any_number_may_write_at_once(void **state)
{
	struct agent *g = *state;

	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid > 0)
			continue;
		g->last = (uint64_t)i * 100;
		for (int n = 0; n < 5; n++)
			command(g);
		_exit(0);
	}
	for (int i = 0; i < 8; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	mark(&g->exec, g->exec_path);
	if (verify_shared(g, g->exec.at, true) != 0)
		fail_msg("%s", g->whats);
	assert_int_equal(g->result.records, 8 * 5 * 3);
}

static void what_older_commands_wrote_is_gone_on_from(void **state)
{
	struct agent *g = *state;
	struct audit_options o = {.writer = 1000, .program = "ca"};
	struct audit *older = writer(g->exec_path, &o);

	command(g);
	call(older);
	command(g);
	audit_free(older);
	mark(&g->exec, g->exec_path);
	assert_int_equal(verify_shared(g, g->exec.at, true), 0);
	assert_int_equal(g->result.older, 1);
}

/* ---- the end of a file ---- */

static void the_last_whole_record_is_found_behind_pieces(void **state)
{
	struct agent *g = *state;
	uint8_t hash[AUDIT_HASH_SIZE], tail[AUDIT_HASH_SIZE] = {0};
	char *piece = malloc(AUDIT_RECORD_MAX);
	struct err e;
	int fd = open(g->exec_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(audit_tail(fd, tail, &e), 0);
	begin_run(g, true);
	call(g->keeper);
	audit_hash(g->keeper, hash);
	audit_leave(g->keeper);
	assert_int_equal(audit_tail(fd, tail, &e), 1);
	assert_memory_equal(tail, hash, sizeof(hash));
	memset(piece, 'x', AUDIT_RECORD_MAX);
	memcpy(piece, "{\"writer\":", 10);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(fd, piece, AUDIT_RECORD_MAX), AUDIT_RECORD_MAX);
		memset(tail, 0, sizeof(tail));
		assert_int_equal(audit_tail(fd, tail, &e), 1);
		assert_memory_equal(tail, hash, sizeof(hash));
	}
	/* One in the same line, behind them. */
	whole_run(g, true);
	assert_int_equal(audit_tail(fd, hash, &e), 1);
	assert_memory_not_equal(tail, hash, sizeof(hash));
	close(fd);
	free(piece);
}

static void chains_without_an_end_are_found(void **state)
{
	struct agent *g = *state;
	struct audit_open open_ones[2];
	struct audit *a[4];
	uint8_t hash[AUDIT_HASH_SIZE];
	uint64_t id[4];
	struct err e;
	int fd;

	begin_run(g, true);
	for (int i = 0; i < 4; i++)
		a[i] = begin_worker(g, &id[i], true);
	fd = open(g->audit_path, O_RDONLY | O_CLOEXEC);
	/* No more than there is room for. */
	assert_int_equal(audit_tail_open(fd, open_ones, 2, &e), 2);
	call(a[1]);
	audit_hash(a[1], hash);
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			audit_leave(a[i]);
		else
			audit_free(a[i]);
	}
	assert_int_equal(audit_tail_open(fd, open_ones, 2, &e), 1);
	assert_int_equal(open_ones[0].writer, id[1]);
	assert_int_equal(open_ones[0].seq, 2);
	assert_memory_equal(open_ones[0].hash, hash, sizeof(hash));
	close(fd);
	audit_free(g->keeper);
}

static void append(const char *path, const char *bytes, size_t len)
{
	FILE *out = fopen(path, "a");

	assert_int_equal(fwrite(bytes, 1, len, out), len);
	fclose(out);
}

static void the_last_record_of_a_writer_is_found(void **state)
{
	struct agent *g = *state;
	struct audit_open last = {0};
	struct audit *a[2];
	uint8_t hash[AUDIT_HASH_SIZE];
	char piece[64];
	uint64_t id[2];
	bool torn = true;
	struct err e;
	int fd;

	begin_run(g, true);
	for (int i = 0; i < 2; i++)
		a[i] = begin_worker(g, &id[i], true);
	call(a[0]);
	audit_hash(a[0], hash);
	call(a[1]);
	fd = open(g->audit_path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(audit_tail_of(fd, 77, &last, &torn, &e), 0);
	assert_int_equal(audit_tail_of(fd, id[0], &last, &torn, &e), 1);
	assert_int_equal(last.writer, id[0]);
	assert_int_equal(last.seq, 2);
	assert_memory_equal(last.hash, hash, sizeof(hash));
	assert_false(torn);
	/* A piece at the end, and then before another's record. */
	snprintf(
	    piece, sizeof(piece), "{\"writer\":%d,\"seq\":3,\"time\":\"2026-01-31T1", (int)id[0]);
	append(g->audit_path, piece, strlen(piece));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(audit_tail_of(fd, id[0], &last, &torn, &e), 1);
		assert_int_equal(last.seq, 2);
		assert_true(torn);
		assert_int_equal(audit_tail_of(fd, id[1], &last, &torn, &e), 1);
		assert_int_equal(last.seq, 2 + (uint64_t)i);
		assert_false(torn);
		call(a[1]);
	}
	/* What has a record's form and another hash is none. */
	mark(&g->audit, g->audit_path);
	memcpy(strstr(strstr(g->audit.at, "\"call\""), "Run"), "Ran", 3);
	assert_int_equal(truncate(g->audit_path, 0), 0);
	append(g->audit_path, g->audit.at, g->audit.len);
	assert_int_equal(audit_tail_of(fd, id[0], &last, &torn, &e), 1);
	assert_int_equal(last.seq, 1);
	for (int i = 0; i < 2; i++)
		audit_leave(a[i]);
	close(fd);
	audit_free(g->keeper);
}

static void a_writer_is_looked_for_in_so_much_and_no_more(void **state)
{
	struct agent *g = *state;
	struct audit_open last;
	struct audit *a[2];
	uint64_t id[2];
	bool torn;
	char *text = malloc(AUDIT_TEXT_MAX + 1);
	struct err e;
	size_t n = 0;
	int fd;

	memset(text, 'x', AUDIT_TEXT_MAX);
	text[AUDIT_TEXT_MAX] = '\0';
	begin_run(g, true);
	for (int i = 0; i < 2; i++)
		a[i] = begin_worker(g, &id[i], true);
	fd = open(g->audit_path, O_RDONLY | O_CLOEXEC);
	/* Further away than the first look goes. */
	for (; audit_tail_of(fd, id[0], &last, &torn, &e) == 1; n++) {
		assert_int_equal(last.seq, 1);
		audit_begin(a[1], "call");
		audit_text(a[1], "method", text);
		assert_int_equal(audit_end(a[1], NULL), 0);
	}
	assert_in_range(n * AUDIT_TEXT_MAX, (3 << 20), (4 << 20));
	for (int i = 0; i < 2; i++)
		audit_leave(a[i]);
	close(fd);
	free(text);
	audit_free(g->keeper);
}

static void a_lock_is_seen_and_ends_with_its_file(void **state)
{
	struct agent *g = *state;
	int mine = open(g->exec_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int other = open(g->exec_path, O_RDONLY | O_CLOEXEC);

	assert_false(audit_locked(other));
	assert_true(audit_lock_try(mine));
	assert_true(audit_locked(other));
	close(mine);
	assert_false(audit_locked(other));
	close(other);
}

static int quiet(void **state)
{
	(void)state;
	log_open("test", LOG_LEVEL_ERROR, false, open("/dev/null", O_WRONLY | O_CLOEXEC));
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_run_that_is_left_out_is_missed),
	    TEST(the_first_runs_may_be_in_an_older_file),
	    TEST(what_is_cut_off_a_stopped_agent_is_missed),
	    TEST(what_was_cut_off_stays_missing_after_the_next_start),
	    TEST(a_last_record_that_was_cut_stays_missing),
	    TEST(a_note_that_is_behind_says_nothing),
	    TEST(a_keeper_without_an_end_runs_or_was_killed),
	    TEST(a_worker_without_an_end_was_killed_as_its_keeper_says),
	    TEST(a_keeper_goes_on_in_the_next_file),
	    TEST(what_a_keeper_lost_is_no_finding),
	    TEST(what_is_noted_meanwhile_is_no_begin),
	    TEST(what_a_keeper_lost_excuses_nothing_else),
	    TEST(a_worker_of_another_run_is_found),
	    TEST(the_older_format_is_no_finding),
	    TEST(what_a_command_wrote_is_missed),
	    TEST(what_was_cut_off_a_shared_file_stays_missing),
	    TEST(what_is_put_in_is_found),
	    TEST(any_number_may_write_at_once),
	    TEST(what_older_commands_wrote_is_gone_on_from),
	    TEST(the_last_whole_record_is_found_behind_pieces),
	    TEST(chains_without_an_end_are_found),
	    TEST(the_last_record_of_a_writer_is_found),
	    TEST(a_writer_is_looked_for_in_so_much_and_no_more),
	    TEST(a_lock_is_seen_and_ends_with_its_file),
	};

	return cmocka_run_group_tests_name("audit_runs", tests, quiet, NULL);
}
