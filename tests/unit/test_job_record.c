/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/job_record.h"
#include "common/memfile.h"

#define TABLE_HEAD  24u
#define RECORD_HEAD (112u + (uint32_t)sizeof(struct km_exit))

static const char *const argv2[] = {"sleep", "100", NULL};

static struct job_record running(const char *id)
{
	return (struct job_record){.state = KM_STATE_RUNNING,
	    .pid = 4711,
	    .attached = 2,
	    .start_ns = 1700000000123456789,
	    .id = id,
	    .owner = "spiffe://d/user/u",
	    .user = "",
	    .group = "",
	    .argc = 2,
	    .argv = argv2};
}

static void same_record(const struct job_record *r, void *arg)
{
	size_t *n = arg;
	char id[16];

	snprintf(id, sizeof(id), "job-%zu", (*n)++);
	assert_string_equal(r->id, id);
	assert_int_equal(r->state, KM_STATE_RUNNING);
	assert_int_equal(r->pid, 4711);
	assert_int_equal(r->attached, 2);
	assert_true(r->start_ns == 1700000000123456789);
	assert_string_equal(r->owner, "spiffe://d/user/u");
	assert_string_equal(r->user, "");
	assert_string_equal(r->group, "");
	assert_int_equal(r->argc, 2);
	assert_string_equal(r->argv[0], "sleep");
	assert_string_equal(r->argv[1], "100");
	assert_null(r->argv[2]);
}

static void count_record(const struct job_record *r, void *arg)
{
	size_t *n = arg;

	assert_true(strlen(r->id) + strlen(r->owner) + strlen(r->user) + strlen(r->group) <
	            JOB_RECORDS_MAX);
	for (size_t i = 0; i < r->argc; i++)
		assert_true(strlen(r->argv[i]) < JOB_RECORDS_MAX);
	(*n)++;
}

static void records_come_back_in_order(void **state)
{
	struct job_records *rs = job_records_new();
	uint32_t count = 0;
	uint64_t bytes = 0;
	size_t seen = 0;
	int fd = -1;

	(void)state;
	assert_non_null(rs);
	for (int i = 0; i < 1000; i++) {
		char id[16];
		struct job_record r;

		snprintf(id, sizeof(id), "job-%d", i);
		r = running(id);
		assert_int_equal(job_records_add(rs, &r), 0);
	}
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	job_records_free(rs);
	assert_int_equal(count, 1000);
	assert_int_equal(job_records_read(fd, bytes, count, same_record, &seen, NULL), 0);
	assert_int_equal(seen, 1000);
	close(fd);
}

static void check_ended(const struct job_record *r, void *arg)
{
	size_t *n = arg;

	(*n)++;
	assert_int_equal(r->state, KM_STATE_ENDED);
	assert_int_equal(r->exit.kind, KM_END_SIGNAL);
	assert_int_equal(r->exit.value, 15);
	assert_string_equal(r->exit.by, "spiffe://d/user/killer");
	assert_true(r->exit.stdout_length == UINT64_C(1) << 40);
	assert_string_equal(r->user, "joe");
	assert_int_equal(r->argc, 0);
	assert_null(r->argv[0]);
}

static void an_exit_comes_back(void **state)
{
	struct job_records *rs = job_records_new();
	struct job_record r = running("x");
	uint32_t count;
	uint64_t bytes;
	size_t seen = 0;
	int fd;

	(void)state;
	r.state = KM_STATE_ENDED;
	r.user = "joe";
	r.argc = 0;
	r.argv = NULL;
	r.exit = (struct km_exit){.kind = KM_END_SIGNAL,
	    .value = 15,
	    .reason = KM_REASON_SIGNALLED,
	    .stdout_length = UINT64_C(1) << 40,
	    .by = "spiffe://d/user/killer"};
	assert_int_equal(job_records_add(rs, &r), 0);
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	assert_int_equal(job_records_read(fd, bytes, count, check_ended, &seen, NULL), 0);
	assert_int_equal(seen, 1);
	close(fd);
	job_records_free(rs);
}

static void check_fields(const struct job_record *r, void *arg)
{
	size_t *n = arg;

	(*n)++;
	assert_int_equal(r->state, KM_STATE_QUEUED);
	assert_string_equal(r->group, "build.7");
	assert_int_equal(r->terminal, 1);
	assert_int_equal(r->argv_cut, 1);
	assert_true(r->oldest[KM_STDOUT] == 7 && r->newest[KM_STDOUT] == UINT64_C(1) << 33);
	assert_true(r->oldest[KM_STDERR] == 5 && r->newest[KM_STDERR] == 6);
	assert_int_equal(r->usage, JOB_USAGE_TREE);
	assert_true(r->cpu_us == 1234567 && r->memory == UINT64_C(3) << 32);
	assert_true(r->expire_ns == 1800000000123456789);
}

static void all_fields_come_back(void **state)
{
	struct job_records *rs = job_records_new();
	struct job_record r = running("x");
	uint32_t count;
	uint64_t bytes;
	size_t seen = 0;
	int fd;

	(void)state;
	r.state = KM_STATE_QUEUED;
	r.group = "build.7";
	r.terminal = 1;
	r.argv_cut = 1;
	r.oldest[KM_STDOUT] = 7;
	r.newest[KM_STDOUT] = UINT64_C(1) << 33;
	r.oldest[KM_STDERR] = 5;
	r.newest[KM_STDERR] = 6;
	r.usage = JOB_USAGE_TREE;
	r.cpu_us = 1234567;
	r.memory = UINT64_C(3) << 32;
	r.expire_ns = 1800000000123456789;
	assert_int_equal(job_records_add(rs, &r), 0);
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	assert_int_equal(job_records_read(fd, bytes, count, check_fields, &seen, NULL), 0);
	assert_int_equal(seen, 1);
	close(fd);
	job_records_free(rs);
}

static void no_records_are_a_table_too(void **state)
{
	struct job_records *rs = job_records_new();
	uint32_t count = 7;
	uint64_t bytes;
	size_t seen = 0;
	int fd;

	(void)state;
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(job_records_read(fd, bytes, count, count_record, &seen, NULL), 0);
	assert_int_equal(seen, 0);
	close(fd);
	job_records_free(rs);
	job_records_free(NULL);
}

static void what_is_too_large_is_not_added(void **state)
{
	struct job_records *rs = job_records_new();
	const size_t len = (size_t)1 << 20;
	const char *argv[300];
	char *big = malloc(len);
	struct job_record r = running("big"), small = running("job-0");
	uint32_t count;
	uint64_t bytes;
	size_t seen = 0;
	int fd;

	(void)state;
	assert_non_null(big);
	memset(big, 'x', len - 1);
	big[len - 1] = '\0';
	for (size_t i = 0; i < 300; i++)
		argv[i] = big;
	r.argc = 300;
	r.argv = argv;
	assert_int_equal(job_records_add(rs, &r), TX_ETOOBIG);
	assert_int_equal(job_records_add(rs, &small), 0);
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	assert_int_equal(job_records_read(fd, bytes, count, same_record, &seen, NULL), 0);
	assert_int_equal(seen, 1);
	close(fd);
	free(big);
	job_records_free(rs);
}

/* ---- bytes that are no table ---- */

struct bytes {
	uint8_t *data;
	size_t len;
};

/* A table of two records. */
static struct bytes packed(void)
{
	struct job_records *rs = job_records_new();
	struct job_record a = running("job-0"), b = running("job-1");
	struct bytes out;
	uint32_t count;
	uint64_t bytes;
	int fd;

	assert_int_equal(job_records_add(rs, &a), 0);
	assert_int_equal(job_records_add(rs, &b), 0);
	assert_int_equal(job_records_seal(rs, &fd, &count, &bytes, NULL), 0);
	job_records_free(rs);
	assert_int_equal(memfile_load(fd, 1 << 20, &out.data, &out.len, NULL), 0);
	close(fd);
	assert_int_equal(out.len, bytes);
	return out;
}

static int parse_bytes(const uint8_t *data, size_t len, uint32_t count)
{
	uint8_t *copy = malloc(len > 0 ? len : 1); /* of exactly its size, for the sanitizers */
	size_t seen = 0;
	int r;

	assert_non_null(copy);
	memcpy(copy, data, len);
	r = job_records_parse(copy, len, count, count_record, &seen, NULL);
	free(copy);
	return r;
}

static int with_u32(size_t at, uint32_t value)
{
	struct bytes b = packed();
	int r;

	memcpy(b.data + at, &value, sizeof(value));
	r = parse_bytes(b.data, b.len, 2);
	free(b.data);
	return r;
}

static void broken_tables_are_refused(void **state)
{
	struct bytes b = packed();
	const uint32_t size = (uint32_t)(b.len - TABLE_HEAD) / 2;

	(void)state;
	assert_int_equal(parse_bytes(b.data, b.len, 2), 0);
	assert_int_equal(parse_bytes(b.data, b.len, 1), TX_EPROTO);
	assert_int_equal(parse_bytes(b.data, b.len, 3), TX_EPROTO);
	for (size_t len = 0; len < b.len; len++)
		assert_int_equal(parse_bytes(b.data, len, 2), TX_EPROTO);
	assert_int_equal(with_u32(0, 0), TX_EPROTO);
	assert_int_equal(with_u32(4, 1), TX_EPROTO);
	assert_int_equal(with_u32(12, 1), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD, size), 0);
	assert_int_equal(with_u32(TABLE_HEAD, size - 1), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD, size + 1), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD, 0), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD, RECORD_HEAD), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD, UINT32_MAX), TX_EPROTO);
	assert_int_equal(with_u32(TABLE_HEAD + 4, 1), TX_EPROTO);          /* argc */
	assert_int_equal(with_u32(TABLE_HEAD + 4, 3), TX_EPROTO);          /* argc */
	assert_int_equal(with_u32(TABLE_HEAD + 4, UINT32_MAX), TX_EPROTO); /* argc */
	assert_int_equal(with_u32(TABLE_HEAD + 16, 0), TX_EPROTO);         /* state */
	assert_int_equal(with_u32(TABLE_HEAD + 16, 5), TX_EPROTO);         /* state */
	memset(b.data + TABLE_HEAD + 112 + offsetof(struct km_exit, by), 'x', KM_IDENTITY_SIZE);
	assert_int_equal(parse_bytes(b.data, b.len, 2), TX_EPROTO); /* exit.by without its NUL */
	free(b.data);
	b = packed();
	memset(b.data + TABLE_HEAD + 112 + offsetof(struct km_exit, text), 'x', KM_TEXT_SIZE);
	assert_int_equal(parse_bytes(b.data, b.len, 2), TX_EPROTO); /* so exit.text */
	free(b.data);
}

static void a_memfd_that_differs_from_its_message_is_refused(void **state)
{
	struct bytes b = packed();
	size_t seen = 0;
	int fd;

	(void)state;
	assert_int_equal(memfile_freeze("t", b.data, b.len, &fd, NULL), 0);
	assert_int_equal(job_records_read(fd, b.len, 2, count_record, &seen, NULL), 0);
	assert_int_equal(job_records_read(fd, b.len - 1, 2, count_record, &seen, NULL), TX_EPROTO);
	assert_int_equal(job_records_read(fd, UINT64_MAX, 2, count_record, &seen, NULL), TX_EPROTO);
	assert_int_equal(seen, 2);
	close(fd);
	assert_int_equal(memfile_new("t", &fd, NULL), 0);
	assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
	assert_int_equal(job_records_read(fd, b.len, 2, count_record, &seen, NULL), TX_EPROTO);
	close(fd);
	free(b.data);
}

static void mutations_never_read_outside(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff, 'x'};
	struct bytes b = packed();
	uint32_t seed = 20260131;
	size_t refused = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t before;
		size_t at, len = b.len;

		seed = seed * 1664525 + 1013904223;
		at = (seed >> 8) % b.len;
		before = b.data[at];
		b.data[at] = values[(seed >> 4) % sizeof(values)];
		if (seed >> 28 == 0)
			len -= (seed >> 3) % b.len;
		if (parse_bytes(b.data, len, 2) < 0)
			refused++;
		b.data[at] = before;
	}
	assert_in_range(refused, 100, 19900);
	free(b.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_come_back_in_order),
	    cmocka_unit_test(an_exit_comes_back),
	    cmocka_unit_test(all_fields_come_back),
	    cmocka_unit_test(no_records_are_a_table_too),
	    cmocka_unit_test(what_is_too_large_is_not_added),
	    cmocka_unit_test(broken_tables_are_refused),
	    cmocka_unit_test(a_memfd_that_differs_from_its_message_is_refused),
	    cmocka_unit_test(mutations_never_read_outside),
	};

	return cmocka_run_group_tests_name("job_record", tests, NULL, NULL);
}
