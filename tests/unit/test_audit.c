/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: what a record looks like, what it cannot be made to look like, and full disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/audit.h"
#include "common/escape.h"
#include "common/log.h"
#include "tests/support/alloc_fail.h"

struct file {
	char path[64];
	char *text; /* after file_read */
	size_t len;
};

static int setup(void **state)
{
	struct file *f = calloc(1, sizeof(*f));
	int fd;

	strcpy(f->path, "/tmp/telex-audit-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct file *f = *state;

	unlink(f->path);
	free(f->text);
	free(f);
	return 0;
}

static int file_fd(const struct file *f)
{
	int fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void file_read(struct file *f)
{
	FILE *in = fopen(f->path, "r");

	assert_non_null(in);
	free(f->text);
	f->text = calloc(1, 1 << 20);
	f->len = fread(f->text, 1, (1 << 20) - 1, in);
	fclose(in);
}

static struct audit *writer(const struct file *f, uint64_t id)
{
	const struct audit_options o = {.writer = id, .program = "worker"};
	struct audit *a = NULL;
	struct err e;

	assert_int_equal(audit_new(&a, file_fd(f), &o, &e), 0);
	return a;
}

/* The nth record, from 0. */
static json_t *record(const struct file *f, int n)
{
	const char *p = f->text;
	json_error_t e;
	json_t *j;

	for (; n > 0; n--) {
		p = strchr(p, '\n');
		assert_non_null(p);
		p++;
	}
	j = json_loadb(p, (size_t)(strchr(p, '\n') - p), JSON_REJECT_DUPLICATES, &e);
	if (j == NULL)
		fail_msg("%s: %.200s", e.text, p);
	return j;
}

static const char *member(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	assert_non_null(text);
	return text;
}

static int lines(const struct file *f)
{
	int n = 0;

	for (const char *p = f->text; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

/* ---- what is written ---- */

static void a_record_has_all_its_members_and_chains(void **state)
{
	struct file *f = *state;
	char *words[] = {(char[]){"/bin/ls"}, (char[]){"-l"}, (char[]){""}};
	struct audit *a = writer(f, (uint64_t)1 << 52);
	json_t *j, *k;

	audit_begin(a, "call");
	audit_text(a, "identity", "spiffe://x/user/müller");
	audit_text(a, "absent", NULL);
	audit_number(a, "least", INT64_MIN);
	audit_flag(a, "yes", true);
	audit_list(a, "argv", words, 3);
	audit_list(a, "none", words, 0);
	audit_hex(a, "hex", "\x01\xfe", 2);
	assert_int_equal(audit_end(a, NULL), 0);
	assert_int_equal(audit_seq(a), 2);
	audit_free(a);
	file_read(f);
	assert_int_equal(lines(f), 3);
	j = record(f, 0);
	assert_string_equal(member(j, "event"), "begin");
	assert_string_equal(member(j, "program"), "worker");
	assert_int_equal(strspn(member(j, "prev"), "0"), 64);
	k = record(f, 1);
	assert_string_equal(member(k, "event"), "call");
	assert_string_equal(member(k, "prev"), member(j, "hash"));
	assert_string_equal(member(k, "identity"), "spiffe://x/user/müller");
	assert_string_equal(member(k, "hex"), "01fe");
	assert_int_equal(json_integer_value(json_object_get(k, "writer")), (int64_t)1 << 52);
	assert_int_equal(json_integer_value(json_object_get(k, "seq")), 2);
	assert_int_equal(json_integer_value(json_object_get(k, "least")), INT64_MIN);
	assert_true(json_is_true(json_object_get(k, "yes")));
	assert_int_equal(json_array_size(json_object_get(k, "argv")), 3);
	assert_int_equal(json_array_size(json_object_get(k, "none")), 0);
	assert_null(json_object_get(k, "absent"));
	assert_null(json_object_get(k, "cut"));
	json_decref(j);
	j = record(f, 2);
	assert_string_equal(member(j, "event"), "end");
	assert_string_equal(member(j, "prev"), member(k, "hash"));
	json_decref(j);
	json_decref(k);
}

static void no_bytes_forge_a_line_or_a_member(void **state)
{
	static const char lie[] =
	    "x\"}\n{\"writer\":1,\"seq\":9,\"event\":\"begin\"}\n\x1b[2J\xc2\x9b"
	    "\xe2\x80\xae\\\",\"identity\":\"root";
	struct file *f = *state;
	struct audit *a = writer(f, 1);
	unsigned char all[256];
	char expected[2048];
	json_t *j;

	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	audit_begin(a, "call");
	audit_bytes(a, "all", all, sizeof(all));
	audit_text(a, "lie", lie);
	audit_end(a, NULL);
	audit_free(a);
	file_read(f);
	assert_int_equal(lines(f), 3);
	for (size_t i = 0; i < f->len; i++)
		assert_true(f->text[i] == '\n' || (f->text[i] >= 0x20 && f->text[i] < 0x7f));
	j = record(f, 1);
	escape_text(expected, sizeof(expected), all, sizeof(all));
	assert_string_equal(member(j, "all"), expected);
	escape_text(expected, sizeof(expected), lie, sizeof(lie) - 1);
	assert_string_equal(member(j, "lie"), expected);
	assert_null(json_object_get(j, "identity"));
	json_decref(j);
}

/* Characters of several bytes, whole, cut and wrong, come out as escape_text would have them. */
static void texts_are_as_escape_text_makes_them(void **state)
{
	static const char *const texts[] = {"é", "\xe2\xc3\xa9", "\xf0\x9f\x98\x80", "\xf0\x9f\x98",
	    "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xc0\xaf", "a\xffz", "\xe2\x80\xa8", "\\x41",
	    "\t\r\n", "\x80\x80", "\xf5\x80\x80\x80"};
	struct file *f = *state;
	struct audit *a = writer(f, 1);
	const size_t n = sizeof(texts) / sizeof(texts[0]);
	char expected[256];
	json_t *j, *list;

	audit_begin(a, "call");
	audit_list(a, "texts", (char *const *)(uintptr_t)texts, n);
	audit_end(a, NULL);
	audit_free(a);
	file_read(f);
	j = record(f, 1);
	list = json_object_get(j, "texts");
	assert_int_equal(json_array_size(list), n);
	for (size_t i = 0; i < n; i++) {
		escape_text(expected, sizeof(expected), texts[i], strlen(texts[i]));
		assert_string_equal(json_string_value(json_array_get(list, i)), expected);
	}
	json_decref(j);
}

static void what_is_too_long_is_cut_and_says_so(void **state)
{
	struct file *f = *state;
	struct audit *a = writer(f, 1);
	char *big = malloc(1 << 20);
	char *words[40];
	json_t *j;

	memset(big, '\n', 1 << 20);
	for (int i = 0; i < 40; i++)
		words[i] = big;
	big[(1 << 20) - 1] = '\0';
	audit_begin(a, "start");
	audit_list(a, "argv", words, 40);
	audit_text(a, "after", "still here");
	audit_text(a, "one", big);
	assert_int_equal(audit_end(a, NULL), 0);
	for (int i = 0; i < 300; i++) {
		char key[16];

		if (i == 0)
			audit_begin(a, "start");
		snprintf(key, sizeof(key), "k%d", i);
		audit_text(a, key, big);
		audit_number(a, "n", i);
		audit_list(a, "l", words, 2);
		audit_flag(a, "f", true);
		audit_hex(a, "h", big, 4000);
	}
	assert_int_equal(audit_end(a, NULL), 0);
	audit_free(a);
	free(big);
	file_read(f);
	assert_int_equal(lines(f), 4);
	j = record(f, 1);
	assert_true(json_is_true(json_object_get(j, "cut")));
	assert_string_equal(member(j, "after"), "still here");
	assert_true(strlen(member(j, "one")) <= AUDIT_TEXT_MAX);
	json_decref(j);
	assert_non_null(strstr(f->text, ",\"cut\":true,\"prev\":\""));
}

static void many_writers_mix_no_lines(void **state)
{
	struct file *f = *state;
	pid_t pids[8];

	for (unsigned w = 0; w < 8; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			struct audit *a = writer(f, w + 1);

			for (int i = 0; i < 100; i++) {
				audit_begin(a, "call");
				audit_number(a, "i", i);
				audit_end(a, NULL);
			}
			audit_free(a);
			_exit(0);
		}
	}
	for (int w = 0; w < 8; w++)
		assert_int_equal(waitpid(pids[w], NULL, 0), pids[w]);
	file_read(f);
	assert_int_equal(lines(f), 8 * 102);
	for (int n = 0; n < 8 * 102; n++)
		json_decref(record(f, n));
}

/* ---- what cannot be written ---- */

static struct audit *full_writer(bool drop)
{
	const struct audit_options o = {.writer = 1, .program = "worker", .drop = drop};
	struct audit *a = NULL;
	struct err e;
	int fd = open("/dev/full", O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(audit_new(&a, fd, &o, &e), 0);
	return a;
}

static void a_full_disk_refuses_or_is_counted(void **state)
{
	struct audit *a = full_writer(false);
	struct err e = {0};

	(void)state;
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, &e), TX_ESYS);
	assert_true(e.message[0] != '\0');
	assert_int_equal(audit_lost(a), 1);
	assert_int_equal(audit_seq(a), 0);
	assert_false(audit_drops(a));
	audit_free(a);
	a = full_writer(true);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, &e), 0);
	assert_int_equal(audit_lost(a), 1);
	assert_true(audit_drops(a));
	audit_free(a);
}

static void set_file_limit(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* A write that is cut short leaves a piece; the chain goes on when there is room again. */
static void the_chain_survives_a_full_disk(void **state)
{
	struct file *f = *state;
	struct audit *a = writer(f, 1);
	struct err e;

	signal(SIGXFSZ, SIG_IGN);
	file_read(f);
	set_file_limit(f->len + 100);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, &e), TX_ESYS);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, &e), TX_ESYS);
	set_file_limit(RLIM_INFINITY);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, &e), 0);
	assert_int_equal(audit_seq(a), 2);
	audit_free(a);
	file_read(f);
	assert_int_equal(lines(f), 3);
	assert_non_null(strstr(f->text, ",\"lost\":2,"));
}

static void begin_comes_first_when_there_is_room_again(void **state)
{
	struct file *f = *state;
	struct audit *a;
	json_t *j;

	signal(SIGXFSZ, SIG_IGN);
	set_file_limit(0);
	a = writer(f, 1);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, NULL), TX_ESYS);
	set_file_limit(RLIM_INFINITY);
	audit_begin(a, "call");
	assert_int_equal(audit_end(a, NULL), 0);
	audit_free(a);
	file_read(f);
	j = record(f, 0);
	assert_string_equal(member(j, "event"), "begin");
	assert_int_equal(json_integer_value(json_object_get(j, "lost")), 1);
	json_decref(j);
}

static void no_audit_is_no_failure(void **state)
{
	uint8_t hash[AUDIT_HASH_SIZE];

	(void)state;
	audit_begin(NULL, "call");
	audit_text(NULL, "a", "b");
	audit_bytes(NULL, "a", "b", 1);
	audit_number(NULL, "a", 1);
	audit_flag(NULL, "a", true);
	audit_hex(NULL, "a", "b", 1);
	audit_list(NULL, "a", NULL, 0);
	assert_int_equal(audit_end(NULL, NULL), 0);
	assert_int_equal(audit_seq(NULL), 0);
	assert_int_equal(audit_lost(NULL), 0);
	audit_hash(NULL, hash);
	assert_int_equal(hash[0], 0);
	audit_free(NULL);
	audit_leave(NULL);
}

static void without_memory_there_is_no_writer(void **state)
{
	const struct audit_options o = {.writer = 1, .program = "worker"};
	struct file *f = *state;
	struct audit *a = NULL;
	int fd = file_fd(f);
	struct err e;

	alloc_fail_at(1, false);
	assert_int_equal(audit_new(&a, fd, &o, &e), TX_ENOMEM);
	alloc_fail_stop();
	assert_null(a);
	assert_int_equal(close(fd), 0);
	a = writer(f, 1);
	alloc_fail_at(1, true);
	audit_begin(a, "call");
	audit_text(a, "identity", "me");
	assert_int_equal(audit_end(a, NULL), 0);
	alloc_fail_stop();
	assert_false(alloc_fail_happened());
	audit_free(a);
}

/* ---- another image, and the syslog ---- */

static void a_chain_goes_on_in_another_image(void **state)
{
	struct audit_options o = {.writer = 7, .program = "keeper"};
	struct file *f = *state;
	struct audit *a = writer(f, 7);
	json_t *j, *k;
	struct err e;

	o.seq = audit_seq(a);
	audit_hash(a, o.hash);
	audit_leave(a);
	assert_int_equal(audit_new(&a, file_fd(f), &o, &e), 0);
	audit_begin(a, "upgrade");
	audit_end(a, NULL);
	audit_free(a);
	file_read(f);
	assert_int_equal(lines(f), 3);
	j = record(f, 0);
	k = record(f, 1);
	assert_string_equal(member(k, "prev"), member(j, "hash"));
	assert_int_equal(json_integer_value(json_object_get(k, "seq")), 2);
	json_decref(j);
	json_decref(k);
}

static void the_syslog_gets_each_line(void **state)
{
	struct audit_options o = {.writer = 1, .program = "worker", .syslog = true};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct file *f = *state;
	char path[80], text[4096];
	struct audit *a = NULL;
	struct err e;
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(path, sizeof(path), "%s.log", f->path);
	strcpy(at.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	o.syslog_path = path;
	assert_int_equal(audit_new(&a, file_fd(f), &o, &e), 0);
	n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	file_read(f);
	f->text[f->len - 1] = '\0';
	assert_memory_equal(text, "<86>telex-audit: ", 17);
	assert_string_equal(text + 17, f->text);
	close(fd);
	unlink(path);
	audit_begin(a, "call"); /* it is gone: the file is what counts */
	assert_int_equal(audit_end(a, &e), 0);
	audit_free(a);
}

static int quiet(void **state)
{
	(void)state;
	log_open("test", LOG_LEVEL_ERROR, false, open("/dev/null", O_WRONLY | O_CLOEXEC));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        a_record_has_all_its_members_and_chains, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_bytes_forge_a_line_or_a_member, setup, teardown),
	    cmocka_unit_test_setup_teardown(texts_are_as_escape_text_makes_them, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_too_long_is_cut_and_says_so, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_writers_mix_no_lines, setup, teardown),
	    cmocka_unit_test(a_full_disk_refuses_or_is_counted),
	    cmocka_unit_test_setup_teardown(the_chain_survives_a_full_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(
	        begin_comes_first_when_there_is_room_again, setup, teardown),
	    cmocka_unit_test(no_audit_is_no_failure),
	    cmocka_unit_test_setup_teardown(without_memory_there_is_no_writer, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_chain_goes_on_in_another_image, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_syslog_gets_each_line, setup, teardown),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
