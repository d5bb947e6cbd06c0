/* SPDX-License-Identifier: Apache-2.0 */
/* Read, Checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/digest.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define MB ((uint64_t)1 << 20)

/* What a Read call gave. */
struct seen {
	uint8_t *data; /* holes as zeros */
	uint64_t from, at, bytes, holes, chunks;
	bool begun, ended, changed;
	uint8_t sha256[DIGEST_SIZE];
	size_t sha256_len;
	uint64_t size;
	void (*meanwhile)(void *);
	void *arg;
};

static void look(const uint8_t *packed, size_t len, void *arg)
{
	Telex__V1__ReadResponse *r = telex__v1__read_response__unpack(NULL, len, packed);
	struct seen *s = arg;

	assert_non_null(r);
	assert_false(s->ended);
	if (s->meanwhile != NULL)
		s->meanwhile(s->arg);
	s->meanwhile = NULL;
	if (r->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_CHUNK) {
		assert_int_equal(r->chunk->offset, s->at);
		assert_true(r->chunk->data.len > 0 && r->chunk->data.len <= (256 << 10));
		memcpy(s->data + (s->at - s->from), r->chunk->data.data, r->chunk->data.len);
		s->at += r->chunk->data.len;
		s->bytes += r->chunk->data.len;
		s->chunks++;
	} else if (r->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_HOLE) {
		assert_int_equal(r->hole->offset, s->at);
		assert_true(r->hole->length > 0);
		memset(s->data + (s->at - s->from), 0, r->hole->length);
		s->at += r->hole->length;
		s->holes += r->hole->length;
	} else if (r->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_BEGIN) {
		assert_false(s->begun || s->bytes > 0);
		s->begun = true;
		s->size = r->begin->file->size;
	} else {
		assert_int_equal(r->response_case, TELEX__V1__READ_RESPONSE__RESPONSE_END);
		s->ended = true;
		s->changed = r->end->changed;
		s->size = r->end->file->size;
		s->sha256_len = r->end->sha256.len;
		if (s->sha256_len > 0)
			memcpy(s->sha256, r->end->sha256.data, s->sha256_len);
	}
	telex__v1__read_response__free_unpacked(r, NULL);
}

struct wanted {
	uint64_t offset, length;
	bool sparse, checksum;
	uint64_t resume_at;
};

static void read_it(struct place *p, const char *name, struct wanted want, struct seen *s)
{
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;

	r.path = place_bytes(p, name);
	r.offset = want.offset;
	r.length = want.length;
	r.sparse = want.sparse;
	r.checksum = want.checksum;
	r.resume_at = want.resume_at;
	r.tell_begin = want.resume_at > 0;
	s->from = s->at = want.resume_at > want.offset ? want.resume_at : want.offset;
	s->bytes = s->holes = s->chunks = 0;
	s->begun = s->ended = false;
	memory_call_set_sink(p->call, look, s);
	place_expect(p, "Read", &r.base, NULL);
	assert_true(s->ended);
}

/* Bytes, a hole of 2 MiB, and bytes with an odd end. */
static uint8_t *make_file(const struct place *p, const char *name, size_t *len)
{
	int fd = openat(p->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint8_t *data;

	assert_true(fd >= 0);
	*len = (size_t)(4 * MB) + 123;
	data = calloc(1, *len);
	assert_non_null(data);
	for (size_t i = 0; i < *len; i++)
		if (i < MB || i >= 3 * MB)
			data[i] = (uint8_t)(i * 7 + (i >> 11));
	assert_int_equal(pwrite(fd, data, MB, 0), MB);
	assert_int_equal(pwrite(fd, data + 3 * MB, *len - 3 * MB, 3 * MB), *len - 3 * MB);
	close(fd);
	return data;
}

static void sha256_of(const void *data, size_t len, uint8_t out[DIGEST_SIZE])
{
	struct digest *d = digest_new();

	assert_non_null(d);
	assert_int_equal(digest_add(d, data, len), 0);
	assert_int_equal(digest_end(d, out), 0);
	digest_free(d);
}

static const struct {
	uint64_t offset, length;
} ranges[] = {{0, 0}, {0, 1}, {1, 0}, {MB - 1, 2}, {MB + 7, 99}, {MB / 2, 3 * MB}, {3 * MB - 1, 0},
    {4 * MB + 122, 9}, {4 * MB + 123, 0}, {9 * MB, 4}, {5, UINT64_MAX}, {UINT64_MAX, 1}};

static void ranges_are_read(void **state)
{
	struct place *p = *state;
	struct seen s = {0};
	size_t len;
	uint8_t *data = make_file(p, "f", &len), digest[DIGEST_SIZE];

	s.data = malloc(len);
	assert_non_null(s.data);
	for (size_t i = 0; i < 4 * sizeof(ranges) / sizeof(ranges[0]); i++) {
		const bool sparse = (i & 1) != 0, checksum = (i & 2) != 0;
		uint64_t offset = ranges[i / 4].offset, length = ranges[i / 4].length;
		uint64_t from = offset < len ? offset : len, n = len - from;

		if (length > 0 && length < n)
			n = length;
		read_it(p, "f", (struct wanted){offset, length, sparse, checksum, 0}, &s);
		assert_int_equal(s.at - s.from, n);
		assert_memory_equal(s.data, data + from, n);
		assert_int_equal(s.bytes + s.holes, n);
		assert_true(sparse || s.holes == 0);
		assert_false(s.changed);
		assert_int_equal(s.size, len);
		assert_int_equal(s.sha256_len, checksum ? DIGEST_SIZE : 0);
		sha256_of(data + from, n, digest);
		if (checksum)
			assert_memory_equal(s.sha256, digest, DIGEST_SIZE);
	}
	free(s.data);
	free(data);
}

static const struct {
	uint64_t offset, length, resume_at;
	uint64_t bytes; /* that come */
} resumed[] = {{0, 0, MB, 3 * MB + 123}, {0, 0, 4 * MB + 123, 0}, {0, 0, 9 * MB, 0},
    {MB, 2 * MB, MB + 5, 2 * MB - 5}, {MB, 2 * MB, 3 * MB, 0}, {MB, 2 * MB, 4 * MB, 0},
    {MB, 2 * MB, 1, 2 * MB}};

/* What the client has is not sent again, and is in the digest. */
static void reads_that_were_cut_go_on(void **state)
{
	struct place *p = *state;
	struct seen s = {0};
	size_t len;
	uint8_t *data = make_file(p, "f", &len), digest[DIGEST_SIZE];

	s.data = malloc(len);
	assert_non_null(s.data);
	for (size_t i = 0; i < sizeof(resumed) / sizeof(resumed[0]); i++) {
		uint64_t offset = resumed[i].offset;
		uint64_t n = resumed[i].length > 0 ? resumed[i].length : len - offset;

		read_it(p, "f",
		    (struct wanted){
		        offset, resumed[i].length, (i & 1) != 0, true, resumed[i].resume_at},
		    &s);
		assert_true(s.begun);
		assert_int_equal(s.size, len);
		assert_int_equal(s.bytes + s.holes, resumed[i].bytes);
		if (resumed[i].bytes > 0)
			assert_memory_equal(s.data, data + s.from, resumed[i].bytes);
		sha256_of(data + offset, n, digest);
		assert_memory_equal(s.sha256, digest, DIGEST_SIZE);
	}
	free(s.data);
	free(data);
}

static void holes_are_said(void **state)
{
	struct place *p = *state;
	struct seen s = {0};
	size_t len;
	uint8_t *data = make_file(p, "f", &len);
	struct stat st = place_stat(p, "f");

	s.data = malloc(len);
	assert_non_null(s.data);
	read_it(p, "f", (struct wanted){.sparse = true}, &s);
	/* Where the file system has holes at all. */
	if ((uint64_t)st.st_blocks * 512 < 3 * MB)
		assert_int_equal(s.holes, 2 * MB);
	/* A terabyte of nothing is one message. */
	assert_int_equal(truncate(place_path(p, "f"), 0), 0);
	assert_int_equal(truncate(place_path(p, "f"), 2 << 20), 0);
	read_it(p, "f", (struct wanted){.sparse = true}, &s);
	assert_int_equal(s.holes + s.bytes, 2 << 20);
	free(s.data);
	free(data);
}

static void write_over(void *arg)
{
	struct place *p = arg;
	int fd = openat(p->fd, "f", O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
}

static void cut_off(void *arg)
{
	struct place *p = arg;

	assert_int_equal(truncate(place_path(p, "f"), 10), 0);
}

static void replace(void *arg)
{
	struct place *p = arg;

	place_put(p, "g", "another file");
	assert_int_equal(renameat(p->fd, "g", p->fd, "f"), 0);
}

static void changes_meanwhile_are_said(void **state)
{
	struct place *p = *state;
	struct seen s = {.arg = p};
	size_t len;
	uint8_t *data = make_file(p, "f", &len);
	struct stat st;

	s.data = malloc(len + 100);
	assert_non_null(s.data);
	s.meanwhile = write_over;
	read_it(p, "f", (struct wanted){0}, &s);
	assert_true(s.changed);
	assert_int_equal(s.at, len + 4);
	s.meanwhile = cut_off;
	read_it(p, "f", (struct wanted){0}, &s);
	assert_true(s.changed);
	assert_int_equal(s.size, 10);
	assert_true(s.at < len);
	/* It is the file that was opened, whole: that another one has its name by now is no change
	 * of it but for its link count. */
	free(data);
	data = make_file(p, "f", &len);
	s.meanwhile = replace;
	read_it(p, "f", (struct wanted){0}, &s);
	assert_int_equal(s.at, len);
	assert_memory_equal(s.data, data, len);
	st = place_stat(p, "f");
	assert_int_equal(st.st_size, 12);
	free(s.data);
	free(data);
}

static void a_worker_that_is_gone_ends_it(void **state)
{
	struct place *p = *state;
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;
	size_t len;

	free(make_file(p, "f", &len));
	r.path = place_bytes(p, "f");
	r.checksum = true;
	memory_call_gone_at(p->call, 3);
	(void)memory_call_run(p->call, "Read", &r.base);
	assert_int_equal(memory_call_count(p->call), 2);
	assert_true(memory_call_asked(p->call) <= 4);
}

static void what_cannot_be_read_is_said(void **state)
{
	static const struct {
		const char *name, *reason;
	} rows[] = {{"none", "NO_SUCH_FILE"}, {"file/f", "NOT_A_FOLDER"}, {"folder", "IS_A_FOLDER"},
	    {"fifo", "NOT_SUPPORTED"}, {"socket", "NOT_SUPPORTED"}, {"loop", "LINK_LOOP"},
	    {"out", "OUTSIDE_ROOT"}, {"up", "OUTSIDE_ROOT"}, {"../x", "BAD_REQUEST"}};
	struct place *p = *state;
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;
	Telex__V1__ChecksumRequest c = TELEX__V1__CHECKSUM_REQUEST__INIT;
	char name[300];

	place_put(p, "file", "");
	place_folder(p, "folder");
	place_link(p, "loop", "loop");
	place_link(p, "/etc/passwd", "out");
	place_link(p, "../../etc/passwd", "up");
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_int_equal(mknodat(p->fd, "socket", S_IFSOCK | 0600, 0), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.path = c.path = place_bytes(p, rows[i].name);
		place_expect(p, "Read", &r.base, rows[i].reason);
		place_expect(p, "Checksum", &c.base, rows[i].reason);
	}
	memset(name, 'n', 299);
	name[299] = '\0';
	r.path = place_bytes(p, name);
	place_expect(p, "Read", &r.base, "NAME_TOO_LONG");
	c.algorithm = (Telex__V1__ChecksumAlgorithm)9;
	c.path = place_bytes(p, "file");
	place_expect(p, "Checksum", &c.base, "BAD_REQUEST");
}

static int nobody_reads(struct place *p)
{
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;

	r.path = place_bytes(p, "f");
	if (memory_call_run(p->call, "Read", &r.base) != RPC_PERMISSION_DENIED)
		return 1;
	return strcmp(memory_call_status(p->call)->reason, "FILE_DENIED") == 0 ? 0 : 2;
}

static void who_may_not_is_told(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	place_put(p, "f", "secret");
	assert_int_equal(fchmodat(p->fd, "f", 0600, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_reads), 0);
}

static void files_without_a_size_are_read(void **state)
{
	static const char *const proc[] = {"/proc/self/**", NULL};
	struct place *p = *state;
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;
	uint8_t buffer[8192];
	struct seen s = {.data = buffer};

	memory_call_free(p->call);
	p->call = memory_call_new(proc, NULL);
	r.path = bytes_of("/proc/self/stat");
	memory_call_set_sink(p->call, look, &s);
	place_expect(p, "Read", &r.base, NULL);
	assert_true(s.ended && s.bytes > 10);
}

/* ---- Checksum ---- */

static void sum(struct place *p, int algorithm, uint64_t offset, uint64_t length, const void *want,
    size_t want_len, uint64_t n)
{
	Telex__V1__ChecksumRequest r = TELEX__V1__CHECKSUM_REQUEST__INIT;
	const Telex__V1__ChecksumResponse *response;

	r.path = place_bytes(p, "f");
	r.algorithm = (Telex__V1__ChecksumAlgorithm)algorithm;
	r.offset = offset;
	r.length = length;
	place_expect(p, "Checksum", &r.base, NULL);
	response = place_response(p, &telex__v1__checksum_response__descriptor);
	assert_int_equal(response->length, n);
	assert_int_equal(response->digest.len, want_len);
	assert_memory_equal(response->digest.data, want, want_len);
}

static void sums_are_right(void **state)
{
	struct place *p = *state;
	size_t len;
	uint8_t *data = make_file(p, "f", &len), digest[DIGEST_SIZE];

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		uint64_t from = ranges[i].offset < len ? ranges[i].offset : len, n = len - from;
		XXH128_canonical_t xxh3;

		if (ranges[i].length > 0 && ranges[i].length < n)
			n = ranges[i].length;
		sha256_of(data + from, n, digest);
		XXH128_canonicalFromHash(&xxh3, XXH3_128bits(data + from, n));
		sum(p, 0, ranges[i].offset, ranges[i].length, digest, DIGEST_SIZE, n);
		sum(p, 1, ranges[i].offset, ranges[i].length, digest, DIGEST_SIZE, n);
		sum(p, 2, ranges[i].offset, ranges[i].length, xxh3.digest, 16, n);
	}
	free(data);
}

/* What xxhsum -H2 says of it. */
static void xxh3_is_in_its_canonical_form(void **state)
{
	static const uint8_t want[] = {0x06, 0xb0, 0x5a, 0xb6, 0x73, 0x3a, 0x61, 0x85, 0x78, 0xaf,
	    0x5f, 0x94, 0x89, 0x2f, 0x39, 0x50};
	struct place *p = *state;

	place_put(p, "f", "abc");
	sum(p, 2, 0, 0, want, sizeof(want), 3);
}

static void sums_end_with_the_worker(void **state)
{
	struct place *p = *state;
	Telex__V1__ChecksumRequest r = TELEX__V1__CHECKSUM_REQUEST__INIT;
	size_t len;

	free(make_file(p, "f", &len));
	r.path = place_bytes(p, "f");
	memory_call_gone_at(p->call, 2);
	(void)memory_call_run(p->call, "Checksum", &r.base);
	assert_int_equal(memory_call_count(p->call), 0);
	assert_true(memory_call_asked(p->call) <= 3);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(ranges_are_read),
	    in_place(reads_that_were_cut_go_on),
	    in_place(holes_are_said),
	    in_place(changes_meanwhile_are_said),
	    in_place(a_worker_that_is_gone_ends_it),
	    in_place(what_cannot_be_read_is_said),
	    in_place(who_may_not_is_told),
	    in_place(files_without_a_size_are_read),
	    in_place(sums_are_right),
	    in_place(xxh3_is_in_its_canonical_form),
	    in_place(sums_end_with_the_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
