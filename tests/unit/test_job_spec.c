/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/job_spec.h"

#define SECOND INT64_C(1000000000)

/* Where the packed head has its numbers. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_ARGC = 8,
	AT_ENVC = 12,
	AT_LIMITS = 16,
	AT_FLAGS = 20,
	AT_PAD = 134,
	AT_STRINGS = 136,
	AT_RLIMITS = 144,
};

/* A string that can be written, as the spec has them. */
#define T(s) ((char[]){s})

static char *argv3[] = {T("/bin/sh"), T("-c"), T("exit 7"), NULL};
static char *env2[] = {T("A=1"), T("B="), NULL};
static char folder[] = "/tmp", person[] = "joe:staff", many[] = "build.7";
static struct job_rlimit limits2[] = {
    {RLIMIT_NOFILE, 0, 100, 200}, {RLIMIT_CORE, 0, 0, UINT64_MAX}};

/* A spec with something of everything; the tests change one thing of it. */
static struct job_spec full_spec(void)
{
	return (struct job_spec){.argc = 3,
	    .envc = 2,
	    .argv = argv3,
	    .env = env2,
	    .cwd = folder,
	    .user = person,
	    .group = many,
	    .stdin_pipe = true,
	    .terminal = true,
	    .clean_env = true,
	    .no_new_privs = true,
	    .rows = 24,
	    .columns = 80,
	    .umask = 027,
	    .nice = -5,
	    .blocked = UINT64_C(1) << 11,
	    .ignored = UINT64_C(1) << 63,
	    .run_timeout_ns = 5 * SECOND,
	    .output_policy = JOB_OUTPUT_DROP_OLDEST,
	    .spool = UINT64_C(5) << 30,
	    .keep_ns = 90 * SECOND,
	    .group_max = 3,
	    .cpu_millis = 1500,
	    .memory = UINT64_C(64) << 20,
	    .pids = 100,
	    .stop_signal = 15,
	    .stop_grace_ns = 10 * SECOND,
	    .disconnect = JOB_DISCONNECT_HANGUP,
	    .disconnect_wait_ns = 30 * SECOND,
	    .output_buffer = 1 << 20,
	    .n_rlimits = 2,
	    .rlimits = limits2};
}

static struct job_spec *through_memfd(const struct job_spec *in)
{
	struct job_spec *out = NULL;
	int fd = -1;

	assert_int_equal(job_spec_seal(in, &fd, NULL), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(job_spec_open(&out, fd, NULL), 0);
	close(fd);
	return out;
}

/* What becomes of a spec on its way: 0 or the code; a sentence comes with each refusal. */
static int verdict(const struct job_spec *in)
{
	struct job_spec *out = NULL;
	struct err e = {.code = 0};
	uint8_t *data;
	size_t len;
	int r;

	assert_int_equal(job_spec_pack(in, &data, &len, NULL), 0);
	r = job_spec_parse(&out, data, len, &e);
	free(data);
	assert_int_equal(e.code, r);
	if (r < 0) {
		assert_true(e.message[0] != '\0');
		assert_null(out);
	}
	job_spec_free(out);
	return r;
}

static void everything_comes_back(void **state)
{
	struct job_spec in = full_spec();
	struct job_spec *out = through_memfd(&in);

	(void)state;
	assert_int_equal(out->argc, 3);
	assert_string_equal(out->argv[0], "/bin/sh");
	assert_string_equal(out->argv[2], "exit 7");
	assert_null(out->argv[3]);
	assert_int_equal(out->envc, 2);
	assert_string_equal(out->env[0], "A=1");
	assert_string_equal(out->env[1], "B=");
	assert_null(out->env[2]);
	assert_string_equal(out->cwd, "/tmp");
	assert_string_equal(out->user, "joe:staff");
	assert_true(out->stdin_pipe);
	assert_true(out->run_timeout_ns == 5 * SECOND && out->stop_grace_ns == 10 * SECOND);
	assert_int_equal(out->stop_signal, 15);
	assert_int_equal(out->disconnect, JOB_DISCONNECT_HANGUP);
	assert_true(out->disconnect_wait_ns == 30 * SECOND);
	assert_true(out->output_buffer == 1 << 20);
	assert_int_equal(out->n_rlimits, 2);
	assert_memory_equal(out->rlimits, limits2, sizeof(limits2));
	job_spec_free(out);
	job_spec_free(NULL);
}

static void how_it_runs_comes_back(void **state)
{
	struct job_spec in = full_spec();
	struct job_spec *out = through_memfd(&in);

	(void)state;
	assert_string_equal(out->group, "build.7");
	assert_int_equal(out->group_max, 3);
	assert_true(out->terminal && out->clean_env && out->no_new_privs);
	assert_int_equal(out->rows, 24);
	assert_int_equal(out->columns, 80);
	assert_int_equal(out->umask, 027);
	assert_int_equal(out->nice, -5);
	assert_true(out->blocked == UINT64_C(1) << 11);
	assert_true(out->ignored == UINT64_C(1) << 63);
	assert_int_equal(out->output_policy, JOB_OUTPUT_DROP_OLDEST);
	assert_true(out->spool == UINT64_C(5) << 30);
	assert_true(out->keep_ns == 90 * SECOND);
	assert_int_equal(out->cpu_millis, 1500);
	assert_true(out->memory == UINT64_C(64) << 20 && out->pids == 100);
	job_spec_free(out);
}

static void the_least_comes_back(void **state)
{
	char *argv[] = {T("true"), NULL};
	struct job_spec in = {.argc = 1,
	    .argv = argv,
	    .stop_signal = 1,
	    .disconnect = JOB_DISCONNECT_KEEP,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS};
	struct job_spec *out = through_memfd(&in);

	(void)state;
	assert_int_equal(out->argc, 1);
	assert_int_equal(out->envc, 0);
	assert_null(out->env[0]);
	assert_null(out->cwd);
	assert_null(out->user);
	assert_null(out->group);
	assert_false(out->stdin_pipe);
	assert_false(out->terminal || out->clean_env || out->no_new_privs);
	assert_int_equal(out->n_rlimits, 0);
	job_spec_free(out);
}

static void a_user_without_a_folder_is_not_mistaken_for_one(void **state)
{
	struct job_spec in = full_spec(), *out;

	(void)state;
	in.cwd = NULL;
	out = through_memfd(&in);
	assert_null(out->cwd);
	assert_string_equal(out->user, "joe:staff");
	job_spec_free(out);
}

static void empty_arguments_are_arguments(void **state)
{
	char *argv[] = {T("printf"), T(""), T(""), NULL};
	struct job_spec in = full_spec(), *out;

	(void)state;
	in.argv = argv;
	out = through_memfd(&in);
	assert_string_equal(out->argv[1], "");
	assert_string_equal(out->argv[2], "");
	assert_string_equal(out->env[0], "A=1");
	job_spec_free(out);
}

static void equal_means_every_byte(void **state)
{
	struct job_spec in = full_spec();
	struct job_spec *a = through_memfd(&in), *b = through_memfd(&in), *c;
	char *other[] = {T("/bin/sh"), T("-cexit"), T(" 7"), NULL};
	struct job_rlimit padded[2];

	(void)state;
	assert_true(job_spec_equal(a, b));
	job_spec_free(b);
	in.argv = other; /* the same letters, cut elsewhere */
	c = through_memfd(&in);
	assert_false(job_spec_equal(a, c));
	job_spec_free(c);
	in = full_spec();
	in.stop_signal = 14;
	c = through_memfd(&in);
	assert_false(job_spec_equal(a, c));
	job_spec_free(c);
	/* Bits that mean nothing do not count. */
	in = full_spec();
	memcpy(padded, limits2, sizeof(padded));
	padded[0].at_most = 76;
	in.rlimits = padded;
	c = through_memfd(&in);
	assert_true(job_spec_equal(a, c));
	job_spec_free(c);
	job_spec_free(a);
}

static void commands_and_environments_are_checked(void **state)
{
	char *no_name[] = {T("A=1"), T("=x"), NULL}, *no_value[] = {T("A=1"), T("B"), NULL};
	char *blank[] = {T(""), T("x"), T("y"), NULL};
	struct job_spec s = full_spec();

	(void)state;
	assert_int_equal(verdict(&s), 0);
	s.argc = 0;
	assert_int_equal(verdict(&s), TX_EINVAL);
	s = full_spec();
	s.argv = blank;
	assert_int_equal(verdict(&s), TX_EINVAL);
	s = full_spec();
	s.env = no_name;
	assert_int_equal(verdict(&s), TX_EINVAL);
	s.env = no_value;
	assert_int_equal(verdict(&s), TX_EINVAL);
}

static void folders_must_be_absolute(void **state)
{
	const struct {
		char *cwd;
		int want;
	} rows[] = {{T("/"), 0}, {T("/a b"), 0}, {T(""), TX_EINVAL}, {T("tmp"), TX_EINVAL},
	    {T("./x"), TX_EINVAL}};
	struct job_spec s = full_spec();
	char deep[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s.cwd = rows[i].cwd;
		assert_int_equal(verdict(&s), rows[i].want);
	}
	memset(deep, '/', sizeof(deep));
	deep[4096] = '\0';
	s.cwd = deep;
	assert_int_equal(verdict(&s), TX_EINVAL);
	deep[4095] = '\0';
	assert_int_equal(verdict(&s), 0);
}

static void an_empty_user_is_refused(void **state)
{
	const struct {
		char *user;
		int want;
	} rows[] = {{T("joe"), 0}, {T("joe:staff"), 0}, {T("1000"), 0}, {T(""), TX_EINVAL},
	    {T(":"), TX_EINVAL}, {T(":staff"), TX_EINVAL}, {T("joe:"), TX_EINVAL},
	    {T("a:b:c"), TX_EINVAL}};
	struct job_spec s = full_spec();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s.user = rows[i].user;
		assert_int_equal(verdict(&s), rows[i].want);
	}
}

/* Sets one number of a good spec and gives the verdict. */
#define WITH(member, value) (s = full_spec(), s.member = (value), verdict(&s))

static void numbers_out_of_range_are_refused(void **state)
{
	struct job_spec s;

	(void)state;
	assert_int_equal(WITH(run_timeout_ns, 0), 0);
	assert_int_equal(WITH(run_timeout_ns, JOB_RUN_TIMEOUT_MAX_NS), 0);
	assert_int_equal(WITH(run_timeout_ns, JOB_RUN_TIMEOUT_MAX_NS + 1), TX_EINVAL);
	assert_int_equal(WITH(run_timeout_ns, INT64_MAX), TX_EINVAL);
	assert_int_equal(WITH(run_timeout_ns, -1), TX_EINVAL);
	assert_int_equal(WITH(stop_signal, 64), 0);
	assert_int_equal(WITH(stop_signal, 0), TX_EINVAL);
	assert_int_equal(WITH(stop_signal, 65), TX_EINVAL);
	assert_int_equal(WITH(stop_signal, -1), TX_EINVAL);
	assert_int_equal(WITH(stop_grace_ns, JOB_STOP_GRACE_MAX_NS), 0);
	assert_int_equal(WITH(stop_grace_ns, JOB_STOP_GRACE_MAX_NS + 1), TX_EINVAL);
	assert_int_equal(WITH(stop_grace_ns, -1), TX_EINVAL);
	assert_int_equal(WITH(disconnect_wait_ns, JOB_WAIT_MAX_NS), 0);
	assert_int_equal(WITH(disconnect_wait_ns, JOB_WAIT_MAX_NS + 1), TX_EINVAL);
	assert_int_equal(WITH(disconnect_wait_ns, INT64_MIN), TX_EINVAL);
	assert_int_equal(WITH(disconnect, JOB_DISCONNECT_KILL), 0);
	assert_int_equal(WITH(disconnect, 0), TX_EINVAL);
	assert_int_equal(WITH(disconnect, 4), TX_EINVAL);
	assert_int_equal(WITH(output_buffer, UINT64_C(1) << 30), 0);
	assert_int_equal(WITH(output_buffer, (UINT64_C(1) << 30) + 1), TX_EINVAL);
	assert_int_equal(WITH(output_buffer, UINT64_MAX), TX_EINVAL);
}

static void modes_out_of_range_are_refused(void **state)
{
	struct job_spec s;

	(void)state;
	assert_int_equal(WITH(rows, 1), 0);
	assert_int_equal(WITH(rows, 0), TX_EINVAL);
	assert_int_equal(WITH(rows, JOB_TERMINAL_MAX), 0);
	assert_int_equal(WITH(rows, JOB_TERMINAL_MAX + 1), TX_EINVAL);
	assert_int_equal(WITH(columns, 0), TX_EINVAL);
	assert_int_equal(WITH(columns, UINT16_MAX), TX_EINVAL);
	assert_int_equal(WITH(terminal, false), TX_EINVAL);   /* with a size */
	assert_int_equal(WITH(stdin_pipe, false), TX_EINVAL); /* with a terminal */
	assert_int_equal(WITH(umask, 0777), 0);
	assert_int_equal(WITH(umask, 01000), TX_EINVAL);
	assert_int_equal(WITH(nice, -20), 0);
	assert_int_equal(WITH(nice, 19), 0);
	assert_int_equal(WITH(nice, -21), TX_EINVAL);
	assert_int_equal(WITH(nice, 20), TX_EINVAL);
	assert_int_equal(WITH(blocked, UINT64_C(1) << 8), TX_EINVAL);  /* SIGKILL */
	assert_int_equal(WITH(ignored, UINT64_C(1) << 18), TX_EINVAL); /* SIGSTOP */
}

static void sizes_out_of_range_are_refused(void **state)
{
	struct job_spec s;

	(void)state;
	assert_int_equal(WITH(output_policy, JOB_OUTPUT_BLOCK), 0);
	assert_int_equal(WITH(output_policy, 0), TX_EINVAL);
	assert_int_equal(WITH(output_policy, 3), TX_EINVAL);
	assert_int_equal(WITH(keep_ns, JOB_KEEP_MIN_NS), 0);
	assert_int_equal(WITH(keep_ns, JOB_KEEP_MIN_NS - 1), TX_EINVAL);
	assert_int_equal(WITH(keep_ns, JOB_KEEP_MAX_NS), 0);
	assert_int_equal(WITH(keep_ns, JOB_KEEP_MAX_NS + 1), TX_EINVAL);
	assert_int_equal(WITH(memory, 0), 0);
	assert_int_equal(WITH(memory, JOB_MEMORY_MIN), 0);
	assert_int_equal(WITH(memory, JOB_MEMORY_MIN - 1), TX_EINVAL);
	assert_int_equal(WITH(cpu_millis, 0), 0);
	assert_int_equal(WITH(cpu_millis, JOB_CPU_MILLIS_MIN), 0);
	assert_int_equal(WITH(cpu_millis, JOB_CPU_MILLIS_MIN - 1), TX_EINVAL);
	assert_int_equal(WITH(group, T("a b")), TX_EINVAL);
	assert_int_equal(WITH(group, T("")), TX_EINVAL);
	assert_int_equal(WITH(group, T("-x")), TX_EINVAL);
	assert_int_equal(WITH(group, NULL), TX_EINVAL); /* with a maximum */
}

static int with_limit(uint32_t resource, uint64_t soft, uint64_t hard)
{
	struct job_rlimit l = {resource, 0, soft, hard};
	struct job_spec s = full_spec();

	s.n_rlimits = 1;
	s.rlimits = &l;
	return verdict(&s);
}

static void limits_are_checked(void **state)
{
	struct job_rlimit twice[2] = {{RLIMIT_CPU, 0, 1, 2}, {RLIMIT_CPU, 0, 1, 2}};
	struct job_spec s = full_spec();
	int fd;

	(void)state;
	assert_int_equal(with_limit(RLIMIT_CPU, 1, 1), 0);
	assert_int_equal(with_limit(RLIMIT_CPU, UINT64_MAX, UINT64_MAX), 0);
	assert_int_equal(with_limit(RLIMIT_CPU, 2, 1), TX_EINVAL);
	assert_int_equal(with_limit(RLIMIT_CPU, UINT64_MAX, 1), TX_EINVAL);
	assert_int_equal(with_limit(16, 1, 1), TX_EINVAL);
	assert_int_equal(with_limit(UINT32_MAX, 1, 1), TX_EINVAL);
	s.rlimits = twice;
	assert_int_equal(verdict(&s), TX_EINVAL);
	s.n_rlimits = JOB_RLIMITS_MAX + 1;
	assert_int_equal(job_spec_seal(&s, &fd, NULL), TX_ETOOBIG);
}

static void too_large_is_refused_before_it_is_made(void **state)
{
	char *big = malloc(JOB_SPEC_MAX + 1);
	char *argv[] = {T("x"), big, NULL};
	struct job_spec s = full_spec();
	int fd = -1;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', JOB_SPEC_MAX);
	big[JOB_SPEC_MAX] = '\0';
	s.argc = 2;
	s.argv = argv;
	assert_int_equal(job_spec_seal(&s, &fd, NULL), TX_ETOOBIG);
	assert_int_equal(fd, -1);
	big[JOB_SPEC_MAX - 1000] = '\0';
	assert_int_equal(verdict(&s), 0);
	free(big);
}

/* ---- packed bytes of a hostile worker's choice ---- */

struct bytes {
	uint8_t *data;
	size_t len;
};

static struct bytes packed(void)
{
	struct job_spec s = full_spec();
	struct bytes b;

	assert_int_equal(job_spec_pack(&s, &b.data, &b.len, NULL), 0);
	return b;
}

static int parse_bytes(const uint8_t *data, size_t len)
{
	struct job_spec *out = NULL;
	/* A copy of exactly its size, for the sanitizers. */
	uint8_t *copy = malloc(len > 0 ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, data, len);
	r = job_spec_parse(&out, copy, len, NULL);
	free(copy);
	job_spec_free(out);
	return r;
}

static int with_u32(size_t at, uint32_t value)
{
	struct bytes b = packed();
	int r;

	memcpy(b.data + at, &value, sizeof(value));
	r = parse_bytes(b.data, b.len);
	free(b.data);
	return r;
}

static int with_u64(size_t at, uint64_t value)
{
	struct bytes b = packed();
	int r;

	memcpy(b.data + at, &value, sizeof(value));
	r = parse_bytes(b.data, b.len);
	free(b.data);
	return r;
}

static void broken_heads_are_refused(void **state)
{
	static const uint32_t counts[] = {
	    0, 1, 2, 4, 5, 100, 700001, 0x20000000, 0x80000000, UINT32_MAX};

	(void)state;
	assert_int_equal(with_u32(AT_MAGIC, 0), TX_EPROTO);
	assert_int_equal(with_u32(AT_VERSION, 1), TX_EPROTO);
	assert_int_equal(with_u32(AT_FLAGS, 128), TX_EPROTO);
	assert_int_equal(with_u32(AT_FLAGS, 0), TX_EPROTO); /* three strings too many */
	assert_int_equal(with_u32(AT_ARGC, 3), 0);
	assert_int_equal(with_u32(AT_ENVC, 2), 0);
	assert_int_equal(with_u32(AT_LIMITS, 2), 0);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		assert_int_equal(with_u32(AT_ARGC, counts[i]), TX_EPROTO);
		if (counts[i] != 2) {
			assert_int_equal(with_u32(AT_ENVC, counts[i]), TX_EPROTO);
			assert_int_equal(with_u32(AT_LIMITS, counts[i]), TX_EPROTO);
		}
	}
	assert_int_equal(with_u32(AT_RLIMITS + 4, 2), TX_EPROTO); /* of a limit: 0 or 1 */
	assert_int_equal(with_u32(AT_PAD - 2, 0xffff0012), TX_EPROTO);
}

static void lengths_that_lie_are_refused(void **state)
{
	static const uint64_t lies[] = {
	    0, 1, UINT64_MAX, UINT64_MAX - 71, UINT64_C(1) << 32, UINT64_C(1) << 63};
	struct bytes b = packed();

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		assert_int_equal(with_u64(AT_STRINGS, lies[i]), TX_EPROTO);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(parse_bytes(b.data, len), TX_EPROTO);
	free(b.data);
}

/* Cuts or lengthens the strings and makes the head agree. */
static int with_strings(const char *strings, size_t n)
{
	struct bytes b = packed();
	const size_t fixed = AT_RLIMITS + 2 * sizeof(struct job_rlimit);
	const uint64_t len = n;
	int r;

	b.data = realloc(b.data, fixed + n);
	assert_non_null(b.data);
	memcpy(b.data + AT_STRINGS, &len, sizeof(len));
	memcpy(b.data + fixed, strings, n);
	r = parse_bytes(b.data, fixed + n);
	free(b.data);
	return r;
}
#define STRINGS(s) with_strings((s), sizeof(s) - 1)

static void strings_must_fill_their_room_exactly(void **state)
{
	(void)state;
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0g\0"), 0);
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0g"), TX_EPROTO);     /* no last NUL */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0g\0\0"), TX_EPROTO); /* one more */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0g\0x"), TX_EPROTO);  /* rest */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0"), TX_EPROTO);      /* one less */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0jo\0e\0g\0"), TX_EPROTO); /* a NUL inside */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0joe\0/\0g\0"), TX_EINVAL);   /* moved */
	assert_int_equal(STRINGS("a\0b\0A=1\0B=2\0/\0joe\0z\0g\0"), TX_EINVAL);   /* shifted */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0\0g\0"), TX_EINVAL);      /* empty user */
	assert_int_equal(STRINGS("a\0b\0c\0A=1\0B=2\0/\0joe\0.g\0"), TX_EINVAL);
	assert_int_equal(STRINGS(""), TX_EPROTO);
}

static int open_memfd(const void *data, size_t len, int seals)
{
	struct job_spec *out = NULL;
	struct err e;
	int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	r = job_spec_open(&out, fd, &e);
	close(fd);
	job_spec_free(out);
	return r;
}

static void memfds_that_can_change_are_refused(void **state)
{
	const int all = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
	struct bytes b = packed();
	struct job_spec *out = NULL;
	uint8_t *big;
	int pipes[2];

	(void)state;
	assert_int_equal(open_memfd(b.data, b.len, all), 0);
	assert_int_equal(open_memfd(b.data, b.len, 0), TX_EPROTO);
	assert_int_equal(open_memfd(b.data, b.len, all & ~F_SEAL_WRITE), TX_EPROTO);
	assert_int_equal(open_memfd(b.data, b.len, all & ~F_SEAL_GROW), TX_EPROTO);
	assert_int_equal(open_memfd(b.data, b.len, all & ~F_SEAL_SHRINK), TX_EPROTO);
	assert_int_equal(open_memfd("", 0, all), TX_EPROTO);
	free(b.data);
	big = calloc(1, JOB_SPEC_MAX + 1);
	assert_non_null(big);
	assert_int_equal(open_memfd(big, JOB_SPEC_MAX + 1, all), TX_EPROTO);
	assert_int_equal(job_spec_parse(&out, big, JOB_SPEC_MAX + 1, NULL), TX_EPROTO);
	free(big);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(job_spec_open(&out, pipes[0], NULL), TX_EPROTO);
	close(pipes[0]);
	close(pipes[1]);
	assert_null(out);
}

/* What was accepted must hold what the header promises, whatever the bytes were. */
static void assert_sane(const struct job_spec *s)
{
	assert_true(s->argc >= 1 && s->argv[0][0] != '\0');
	for (size_t i = 0; i < s->argc; i++)
		assert_true(strlen(s->argv[i]) < JOB_SPEC_MAX);
	assert_null(s->argv[s->argc]);
	for (size_t i = 0; i < s->envc; i++)
		assert_true(strchr(s->env[i], '=') > s->env[i]);
	assert_null(s->env[s->envc]);
	assert_true(s->cwd == NULL || s->cwd[0] == '/');
	assert_true(s->user == NULL || s->user[0] != '\0');
	assert_in_range(s->stop_signal, 1, 64);
	assert_in_range(s->disconnect, JOB_DISCONNECT_HANGUP, JOB_DISCONNECT_KILL);
	assert_true(s->n_rlimits <= JOB_RLIMITS_MAX);
	assert_true(s->group == NULL || job_id_valid(s->group, strlen(s->group)));
	assert_true(s->keep_ns >= JOB_KEEP_MIN_NS && s->keep_ns <= JOB_KEEP_MAX_NS);
	assert_in_range(s->output_policy, JOB_OUTPUT_BLOCK, JOB_OUTPUT_DROP_OLDEST);
	assert_true(!s->terminal || (s->rows >= 1 && s->columns >= 1));
}

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void mutations_are_refused_or_sane(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff, '=', '/', ':'};
	uint32_t seed = 20260131;
	struct bytes b = packed();
	uint8_t *copy = malloc(b.len);
	size_t accepted = 0;

	(void)state;
	assert_non_null(copy);
	for (int round = 0; round < 20000; round++) {
		struct job_spec *out = NULL;
		size_t len = b.len;

		memcpy(copy, b.data, b.len);
		for (uint32_t n = next_random(&seed) % 4 + 1; n > 0; n--) {
			size_t at = next_random(&seed) % b.len;
			uint32_t how = next_random(&seed);

			copy[at] =
			    how % 2 == 0 ? values[how / 2 % sizeof(values)] : (uint8_t)(how >> 8);
		}
		if (next_random(&seed) % 8 == 0)
			len = next_random(&seed) % (b.len + 1);
		if (job_spec_parse(&out, copy, len, NULL) == 0) {
			assert_sane(out);
			accepted++;
		}
		job_spec_free(out);
	}
	assert_in_range(accepted, 100, 19900);
	free(copy);
	free(b.data);
}

static void limit_names_go_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		assert_non_null(job_rlimit_name(i));
		assert_int_equal(job_rlimit_by_name(job_rlimit_name(i)), i);
	}
	assert_int_equal(job_rlimit_by_name("nofile"), RLIMIT_NOFILE);
	assert_int_equal(job_rlimit_by_name("NOFILE"), -1);
	assert_int_equal(job_rlimit_by_name(""), -1);
	assert_null(job_rlimit_name(-1));
	assert_null(job_rlimit_name(RLIM_NLIMITS));
}

static void ids_are_checked(void **state)
{
	static const char *const good[] = {"a", "A.b_c-9", "0", "_x", "a..b"};
	static const char *const bad[] = {
	    "", ".", "..", "-rf", ".hidden", "a b", "a/b", "a\n", "\xc3\xa9", "a:b"};
	char sixty_five[65];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(job_id_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(job_id_valid(bad[i], strlen(bad[i])));
	assert_false(job_id_valid("a\0b", 3));
	memset(sixty_five, 'x', sizeof(sixty_five));
	assert_true(job_id_valid(sixty_five, 64));
	assert_false(job_id_valid(sixty_five, 65));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_comes_back),
	    cmocka_unit_test(how_it_runs_comes_back),
	    cmocka_unit_test(the_least_comes_back),
	    cmocka_unit_test(a_user_without_a_folder_is_not_mistaken_for_one),
	    cmocka_unit_test(empty_arguments_are_arguments),
	    cmocka_unit_test(equal_means_every_byte),
	    cmocka_unit_test(commands_and_environments_are_checked),
	    cmocka_unit_test(folders_must_be_absolute),
	    cmocka_unit_test(an_empty_user_is_refused),
	    cmocka_unit_test(numbers_out_of_range_are_refused),
	    cmocka_unit_test(modes_out_of_range_are_refused),
	    cmocka_unit_test(sizes_out_of_range_are_refused),
	    cmocka_unit_test(limits_are_checked),
	    cmocka_unit_test(too_large_is_refused_before_it_is_made),
	    cmocka_unit_test(broken_heads_are_refused),
	    cmocka_unit_test(lengths_that_lie_are_refused),
	    cmocka_unit_test(strings_must_fill_their_room_exactly),
	    cmocka_unit_test(memfds_that_can_change_are_refused),
	    cmocka_unit_test(mutations_are_refused_or_sane),
	    cmocka_unit_test(limit_names_go_both_ways),
	    cmocka_unit_test(ids_are_checked),
	};

	return cmocka_run_group_tests_name("job_spec", tests, NULL, NULL);
}
