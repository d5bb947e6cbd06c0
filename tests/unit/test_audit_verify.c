/* SPDX-License-Identifier: Apache-2.0 */
/* The reader: what was tampered with is found, and what only broke off is told apart from it. */
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
#include "tests/support/alloc_fail.h"

#define SIZE_MAX_LOG 65536

struct logs {
	char path[64], exec_path[80];
	char text[SIZE_MAX_LOG], exec[SIZE_MAX_LOG];
	size_t len, exec_len;
	struct audit_result result;
	char whats[1024]; /* of the findings, each with "; " */
};

static struct audit *open_writer(const char *path, uint64_t id)
{
	const struct audit_options o = {.writer = id, .program = "worker"};
	struct audit *a = NULL;
	struct err e;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(audit_new(&a, fd, &o, &e), 0);
	return a;
}

static void call(struct audit *a, const char *method)
{
	audit_begin(a, "call");
	audit_text(a, "method", method);
	audit_end(a, NULL);
}

static void anchor(struct audit *x, const char *event, const struct audit *a, uint64_t id)
{
	uint8_t hash[AUDIT_HASH_SIZE];

	audit_begin(x, event);
	audit_number(x, "worker", (int64_t)id);
	if (a != NULL) {
		audit_hash(a, hash);
		audit_number(x, "worker_seq", (int64_t)audit_seq(a));
		audit_hex(x, "worker_hash", hash, sizeof(hash));
	}
	audit_end(x, NULL);
}

static size_t slurp(const char *path, char *out)
{
	FILE *in = fopen(path, "r");
	size_t n;

	assert_non_null(in);
	n = fread(out, 1, SIZE_MAX_LOG - 1, in);
	out[n] = '\0';
	fclose(in);
	return n;
}

static void read_both(struct logs *l)
{
	l->len = slurp(l->path, l->text);
	l->exec_len = slurp(l->exec_path, l->exec);
}

/* Two workers, of which the second does not end; and the keeper's record. */
static int setup(void **state)
{
	struct logs *l = calloc(1, sizeof(*l));
	struct audit *x, *a, *b;
	int fd;

	strcpy(l->path, "/tmp/telex-audit-XXXXXX");
	fd = mkstemp(l->path);
	assert_true(fd >= 0);
	close(fd);
	snprintf(l->exec_path, sizeof(l->exec_path), "%s.exec", l->path);
	x = open_writer(l->exec_path, 100);
	anchor(x, "worker-begin", NULL, 1);
	anchor(x, "worker-begin", NULL, 2);
	a = open_writer(l->path, 1);
	b = open_writer(l->path, 2);
	call(a, "one");
	call(b, "two");
	anchor(x, "anchor", a, 1);
	call(a, "three");
	call(b, "four \"quoted\"");
	call(a, "five");
	audit_finish(a);
	anchor(x, "worker-end", a, 1);
	anchor(x, "worker-end", b, 2);
	audit_free(a);
	audit_leave(b);
	audit_free(x);
	read_both(l);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct logs *l = *state;

	unlink(l->path);
	unlink(l->exec_path);
	free(l);
	return 0;
}

static void on_found(const struct audit_finding *f, void *arg)
{
	struct logs *l = arg;
	size_t used = strlen(l->whats);

	assert_true(strlen(f->text) > 20);
	snprintf(l->whats + used, sizeof(l->whats) - used, "%s; ", f->what);
}

static int verify(struct logs *l, const char *text, size_t len, const char *exec, size_t exec_len,
    const char *expect)
{
	FILE *log = fmemopen((void *)(uintptr_t)text, len, "r");
	FILE *execs = exec != NULL ? fmemopen((void *)(uintptr_t)exec, exec_len, "r") : NULL;
	const struct audit_source logs = {.name = "audit.log", .file = log},
	                          exec_logs = {.name = "exec.log", .file = execs};
	const struct audit_check c = {.logs = &logs,
	    .n_logs = 1,
	    .exec_logs = &exec_logs,
	    .n_exec_logs = exec != NULL,
	    .expect = expect};
	struct err e;
	int rc;

	l->whats[0] = '\0';
	rc = audit_verify(&c, &l->result, on_found, l, &e);
	fclose(log);
	if (execs != NULL)
		fclose(execs);
	return rc;
}

static uint64_t findings(struct logs *l, const char *text, size_t len, bool with_exec)
{
	assert_int_equal(verify(l, text, len, with_exec ? l->exec : NULL, l->exec_len, NULL), 0);
	return l->result.findings;
}

/* ---- lines of a copy ---- */

static char *line_at(char *text, int n)
{
	for (; n > 0; n--)
		text = strchr(text, '\n') + 1;
	return text;
}

static size_t line_size(const char *line)
{
	return (size_t)(strchr(line, '\n') - line) + 1;
}

/* The log without its nth line. */
static size_t without(const struct logs *l, int n, char *out)
{
	char *line;
	size_t size;

	memcpy(out, l->text, l->len + 1);
	line = line_at(out, n);
	size = line_size(line);
	memmove(line, line + size, l->len + 1 - (size_t)(line - out) - size);
	return l->len - size;
}

/* ---- whole ones ---- */

static void a_whole_log_has_no_findings(void **state)
{
	struct logs *l = *state;

	assert_int_equal(findings(l, l->text, l->len, true), 0);
	assert_int_equal(l->result.records, 8);
	assert_int_equal(l->result.writers, 2);
	assert_int_equal(l->result.open_writers, 1);
	assert_int_equal(l->result.lost, 0);
	assert_int_equal(strlen(l->result.head), 64);
	assert_int_equal(findings(l, l->text, l->len, false), 0);
}

static void a_noted_hash_is_found_again(void **state)
{
	struct logs *l = *state;
	char head[65];

	findings(l, l->text, l->len, true);
	memcpy(head, l->result.head, sizeof(head));
	assert_int_equal(verify(l, l->text, l->len, NULL, 0, head), 0);
	assert_true(l->result.expected);
	head[0] = head[0] == '0' ? '1' : '0';
	assert_int_equal(verify(l, l->text, l->len, NULL, 0, head), 0);
	assert_false(l->result.expected);
}

static void a_chain_goes_on_in_the_next_file(void **state)
{
	struct logs *l = *state;
	const size_t first = (size_t)(line_at(l->text, 4) - l->text);
	FILE *a = fmemopen(l->text, first, "r"),
	     *b = fmemopen(l->text + first, l->len - first, "r");
	const struct audit_source two[] = {
	    {.name = "audit.log.1", .file = a}, {.name = "audit.log", .file = b}};
	struct audit_check c = {.logs = two, .n_logs = 2};
	struct err e;

	assert_int_equal(audit_verify(&c, &l->result, NULL, NULL, &e), 0);
	assert_int_equal(l->result.findings, 0);
	rewind(b);
	c.logs = two + 1;
	c.n_logs = 1;
	assert_int_equal(audit_verify(&c, &l->result, on_found, l, &e), 0);
	assert_int_equal(l->result.findings, 2);
	assert_non_null(strstr(l->whats, "missing"));
	fclose(a);
	fclose(b);
}

/* ---- tampering ---- */

static void every_byte_that_is_changed_is_found(void **state)
{
	static const unsigned char masks[] = {0x01, 0x02, 0x10, 0x20, 0x80};
	struct logs *l = *state;
	char *copy = malloc(l->len + 1);

	for (size_t i = 0; i < l->len; i++)
		for (size_t m = 0; m < sizeof(masks); m++) {
			memcpy(copy, l->text, l->len + 1);
			copy[i] = (char)(copy[i] ^ masks[m]);
			if (findings(l, copy, l->len, false) == 0)
				fail_msg("byte %zu ^ %02x in %.80s", i, masks[m], copy + i);
		}
	free(copy);
}

static void every_byte_that_is_left_out_or_put_in_is_found(void **state)
{
	struct logs *l = *state;
	char *copy = malloc(l->len + 2);

	for (size_t i = 0; i < l->len; i++) {
		memcpy(copy, l->text, i);
		memcpy(copy + i, l->text + i + 1, l->len - i);
		if (findings(l, copy, l->len - 1, true) == 0)
			fail_msg("byte %zu left out, before %.80s", i, copy + i);
		copy[i] = '7';
		memcpy(copy + i + 1, l->text + i, l->len - i + 1);
		if (findings(l, copy, l->len + 1, true) == 0)
			fail_msg("byte %zu put in, in %.80s", i, copy + i);
	}
	free(copy);
}

static void a_record_that_is_left_out_is_found(void **state)
{
	struct logs *l = *state;
	char *copy = malloc(l->len + 1);

	for (int n = 0; n < 8; n++) {
		size_t len = without(l, n, copy);

		assert_true(findings(l, copy, len, true) > 0);
		assert_non_null(strstr(l->whats, n == 5 || n == 7 ? "cut off" : "missing"));
	}
	free(copy);
}

static void a_record_that_is_there_twice_is_found(void **state)
{
	struct logs *l = *state;
	char *copy = malloc(2 * l->len + 1);

	for (int n = 0; n < 8; n++) {
		const char *line = line_at(l->text, n);
		const size_t size = line_size(line);

		memcpy(copy, l->text, l->len);
		memcpy(copy + l->len, line, size);
		assert_true(findings(l, copy, l->len + size, true) > 0);
		assert_non_null(strstr(l->whats, "doubled"));
	}
	free(copy);
}

static void records_in_another_order_are_found(void **state)
{
	struct logs *l = *state;
	char *copy = malloc(l->len + 1);
	char *two, *four;
	size_t size;

	/* Both of writer 1. */
	size = without(l, 2, copy);
	two = line_at(l->text, 2);
	four = line_at(copy, 4 - 1) + line_size(line_at(copy, 4 - 1));
	memmove(four + line_size(two), four, size - (size_t)(four - copy));
	memcpy(four, two, line_size(two));
	assert_true(findings(l, copy, l->len, true) > 0);
	assert_non_null(strstr(l->whats, "out of order"));
	free(copy);
}

/* A forger who makes all the hashes anew is found by what the keeper noted. */
static void a_forged_chain_is_not_the_one_that_the_keeper_noted(void **state)
{
	struct logs *l = *state;
	char path[80];
	struct audit *a;
	char *forged = malloc(SIZE_MAX_LOG);
	size_t len;

	snprintf(path, sizeof(path), "%s.forged", l->path);
	a = open_writer(path, 1);
	call(a, "one");
	call(a, "nothing bad");
	call(a, "five");
	audit_free(a);
	a = open_writer(path, 2);
	call(a, "two");
	call(a, "four \"quoted\"");
	audit_leave(a);
	len = slurp(path, forged);
	unlink(path);
	assert_int_equal(findings(l, forged, len, false), 0);
	assert_true(findings(l, forged, len, true) >= 2);
	assert_non_null(strstr(l->whats, "changed"));
	free(forged);
}

static void a_cut_tail_is_found_by_what_the_keeper_noted(void **state)
{
	struct logs *l = *state;

	for (size_t len = 1; len < l->len; len++)
		assert_true(findings(l, l->text, len, true) > 0);
	/* At the end of a line nothing else shows it. */
	assert_int_equal(findings(l, l->text, l->len - line_size(line_at(l->text, 7)), false), 0);
	assert_int_equal(findings(l, "", 0, true), 2);
}

static void a_writer_that_the_keeper_did_not_begin_is_found(void **state)
{
	struct logs *l = *state;
	struct audit *a = open_writer(l->path, 3);

	audit_free(a);
	read_both(l);
	assert_int_equal(findings(l, l->text, l->len, false), 0);
	assert_int_equal(findings(l, l->text, l->len, true), 1);
	assert_string_equal(l->whats, "a writer is not the keeper's; ");
}

static void the_exec_log_is_checked_itself(void **state)
{
	struct logs *l = *state;

	l->exec[200] ^= 1;
	assert_true(findings(l, l->text, l->len, true) > 0);
}

/* ---- what only broke off ---- */

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_breaks_no_chain(void **state)
{
	struct logs *l = *state;
	struct audit *a, *b;
	size_t len;

	signal(SIGXFSZ, SIG_IGN);
	unlink(l->path);
	a = open_writer(l->path, 1);
	b = open_writer(l->path, 2);
	len = slurp(l->path, l->text);
	for (rlim_t more = 1; more < 200; more += 13) {
		limit_files(len + more);
		call(a, "lost");
		call(b, "lost, too");
		limit_files(RLIM_INFINITY);
		call(b, "goes on");
		call(a, "goes on");
		len = slurp(l->path, l->text);
	}
	audit_free(a);
	audit_free(b);
	len = slurp(l->path, l->text);
	if (findings(l, l->text, len, false) != 0)
		fail_msg("%s", l->whats);
	assert_int_equal(l->result.open_writers, 0);
	assert_int_equal(l->result.lost, 32);
	assert_int_equal(l->result.torn, 16);
}

static void a_worker_killed_in_the_middle_leaves_an_open_chain(void **state)
{
	struct logs *l = *state;
	char byte;
	int pipe_fds[2];
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		struct audit *a = open_writer(l->path, 4);

		for (;;) {
			call(a, "again");
			if (write(pipe_fds[1], "x", 1) != 1)
				_exit(1);
		}
	}
	close(pipe_fds[1]);
	for (int i = 0; i < 50; i++)
		assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(pipe_fds[0]);
	read_both(l);
	/* A kill may fall into a write, and then the last line is a piece: at the end of the file
	 * that looks as if it were cut off. */
	assert_in_range(findings(l, l->text, l->len, false), 0, l->text[l->len - 1] != '\n');
	assert_int_equal(l->result.open_writers, 2);
	assert_true(l->result.records >= 8 + 50);
}

static void without_memory_it_says_so(void **state)
{
	struct logs *l = *state;
	bool failed = true;

	for (long n = 1; failed; n++) {
		FILE *log = fmemopen(l->text, l->len, "r");
		FILE *execs = fmemopen(l->exec, l->exec_len, "r");
		const struct audit_source s = {.name = "audit.log", .file = log},
		                          x = {.name = "exec.log", .file = execs};
		const struct audit_check c = {
		    .logs = &s, .n_logs = 1, .exec_logs = &x, .n_exec_logs = 1};
		struct err e;
		int rc;

		alloc_fail_at(n, false);
		rc = audit_verify(&c, &l->result, NULL, NULL, &e);
		failed = alloc_fail_happened();
		alloc_fail_stop();
		assert_int_equal(rc, failed ? TX_ENOMEM : 0);
		fclose(log);
		fclose(execs);
	}
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
	    TEST(a_whole_log_has_no_findings),
	    TEST(a_noted_hash_is_found_again),
	    TEST(a_chain_goes_on_in_the_next_file),
	    TEST(every_byte_that_is_changed_is_found),
	    TEST(every_byte_that_is_left_out_or_put_in_is_found),
	    TEST(a_record_that_is_left_out_is_found),
	    TEST(a_record_that_is_there_twice_is_found),
	    TEST(records_in_another_order_are_found),
	    TEST(a_forged_chain_is_not_the_one_that_the_keeper_noted),
	    TEST(a_cut_tail_is_found_by_what_the_keeper_noted),
	    TEST(a_writer_that_the_keeper_did_not_begin_is_found),
	    TEST(the_exec_log_is_checked_itself),
	    TEST(a_full_disk_breaks_no_chain),
	    TEST(a_worker_killed_in_the_middle_leaves_an_open_chain),
	    TEST(without_memory_it_says_so),
	};

	return cmocka_run_group_tests_name("audit_verify", tests, quiet, NULL);
}
