/* SPDX-License-Identifier: Apache-2.0 */
/* Write, GetUpload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/temp_file.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define ID    "00112233445566778899aabbccddeeff"
#define TEMP  ".telex-" ID ".part"
#define NEVER TELEX__V1__REPLACE__REPLACE_NEVER

/* A Write call, as its client fills it in. */
struct writing {
	Telex__V1__WriteRequest request;
	Telex__V1__WriteBegin begin;
	Telex__V1__FileSize size;
	Telex__V1__FileMode mode;
	Google__Protobuf__Timestamp modified;
};

static void begin(struct writing *w, struct place *p, const char *name)
{
	*w = (struct writing){.request = TELEX__V1__WRITE_REQUEST__INIT,
	    .begin = TELEX__V1__WRITE_BEGIN__INIT,
	    .size = TELEX__V1__FILE_SIZE__INIT,
	    .mode = TELEX__V1__FILE_MODE__INIT,
	    .modified = GOOGLE__PROTOBUF__TIMESTAMP__INIT};
	w->request.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
	w->request.begin = &w->begin;
	w->begin.path = place_bytes(p, name);
}

static void begin_named(struct writing *w, struct place *p, const char *name, uint64_t offset)
{
	begin(w, p, name);
	w->begin.upload_id = (char *)(uintptr_t)ID;
	w->begin.offset = offset;
}

static void chunk(struct place *p, uint64_t offset, const char *text)
{
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__FileChunk c = TELEX__V1__FILE_CHUNK__INIT;

	r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
	r.chunk = &c;
	c.offset = offset;
	c.data = bytes_of(text);
	memory_call_queue(p->call, &r.base);
}

static void end(struct place *p, const uint8_t *sha256)
{
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteEnd e = TELEX__V1__WRITE_END__INIT;

	r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
	r.end = &e;
	if (sha256 != NULL)
		e.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, (uint8_t *)(uintptr_t)sha256};
	memory_call_queue(p->call, &r.base);
}

static void digest_of(const char *text, uint8_t out[DIGEST_SIZE])
{
	struct digest *d = digest_new();

	assert_non_null(d);
	assert_int_equal(digest_add(d, text, strlen(text)), 0);
	assert_int_equal(digest_end(d, out), 0);
	digest_free(d);
}

static void run(struct place *p, const struct writing *w, const char *reason)
{
	place_expect(p, "Write", &w->request.base, reason);
}

/* One chunk, and the end. */
static void write_it(struct place *p, struct writing *w, const char *text, const char *reason)
{
	chunk(p, w->begin.offset, text);
	end(p, NULL);
	run(p, w, reason);
}

static void expect_response(struct place *p, const char *content)
{
	const Telex__V1__WriteResponse *r =
	    place_response(p, &telex__v1__write_response__descriptor);
	uint8_t digest[DIGEST_SIZE];

	digest_of(content, digest);
	assert_int_equal(r->size, strlen(content));
	assert_int_equal(r->sha256.len, DIGEST_SIZE);
	assert_memory_equal(r->sha256.data, digest, DIGEST_SIZE);
}

/* ---- what goes well ---- */

static void files_are_written(void **state)
{
	struct place *p = *state;
	struct writing w;
	struct stat st;
	uint8_t digest[DIGEST_SIZE];

	digest_of("hello, world", digest);
	begin(&w, p, "f");
	w.size.bytes = 12;
	w.begin.size = &w.size;
	w.begin.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, digest};
	w.mode.mode = 04751;
	w.begin.mode = &w.mode;
	w.modified.seconds = -5;
	w.modified.nanos = 123456789;
	w.begin.modified = &w.modified;
	chunk(p, 0, "hello");
	chunk(p, 5, ", ");
	chunk(p, 7, "");
	chunk(p, 7, "world");
	end(p, digest);
	run(p, &w, NULL);
	expect_response(p, "hello, world");
	assert_string_equal(place_text(p, "f"), "hello, world");
	st = place_stat(p, "f");
	assert_int_equal(st.st_mode, S_IFREG | 04751);
	assert_int_equal(st.st_mtim.tv_sec, -5);
	assert_int_equal(st.st_mtim.tv_nsec, 123456789);
	assert_int_equal(place_count(p, ""), 1);
	assert_string_equal(memory_call_summary(p->call), "files=1 bytes=12");
}

static void modes_are_those_of_before(void **state)
{
	struct place *p = *state;
	struct writing w;

	begin(&w, p, "new");
	write_it(p, &w, "", NULL);
	assert_int_equal(place_stat(p, "new").st_mode, S_IFREG | 0644);
	assert_int_equal(place_stat(p, "new").st_size, 0);
	place_put(p, "old", "old");
	assert_int_equal(fchmodat(p->fd, "old", 04710, 0), 0);
	begin(&w, p, "old");
	write_it(p, &w, "new", NULL);
	/* Set-user-ID was for the old content. */
	assert_int_equal(place_stat(p, "old").st_mode, S_IFREG | 0710);
	begin(&w, p, "zero");
	w.begin.mode = &w.mode;
	write_it(p, &w, "none may read it", NULL);
	assert_int_equal(place_stat(p, "zero").st_mode, S_IFREG);
}

static void what_reads_meanwhile_sees_the_old(void **state)
{
	struct place *p = *state;
	struct writing w;
	int fd;
	char old[4] = "";

	place_put(p, "f", "old");
	fd = openat(p->fd, "f", O_RDONLY | O_CLOEXEC);
	begin(&w, p, "f");
	write_it(p, &w, "new", NULL);
	assert_int_equal(read(fd, old, 3), 3);
	assert_string_equal(old, "old");
	close(fd);
	/* A link is replaced, what it leads to stays. */
	place_put(p, "target", "target");
	place_link(p, "target", "link");
	begin(&w, p, "link");
	write_it(p, &w, "new", NULL);
	assert_string_equal(place_text(p, "target"), "target");
	assert_string_equal(place_text(p, "link"), "new");
}

static void never_replaces_nothing(void **state)
{
	struct place *p = *state;
	struct writing w;

	place_put(p, "f", "old");
	begin(&w, p, "f");
	w.begin.replace = NEVER;
	write_it(p, &w, "new", "FILE_EXISTS");
	assert_string_equal(place_text(p, "f"), "old");
	place_link(p, "nowhere", "dangling");
	begin(&w, p, "dangling");
	w.begin.replace = NEVER;
	write_it(p, &w, "new", "FILE_EXISTS");
	begin(&w, p, "g");
	w.begin.replace = NEVER;
	write_it(p, &w, "new", NULL);
	assert_string_equal(place_text(p, "g"), "new");
	assert_int_equal(place_count(p, ""), 3);
}

/* ---- what is cut, and goes on ---- */

static uint64_t there_is(struct place *p, const char *name)
{
	Telex__V1__GetUploadRequest r = TELEX__V1__GET_UPLOAD_REQUEST__INIT;
	const Telex__V1__GetUploadResponse *response;

	r.path = place_bytes(p, name);
	r.upload_id = (char *)(uintptr_t)ID;
	place_expect(p, "GetUpload", &r.base, NULL);
	response = place_response(p, &telex__v1__get_upload_response__descriptor);
	assert_non_null(response->expires);
	assert_true(response->expires->seconds > (int64_t)time(NULL) + TEMP_FILE_LIFE - 1000);
	return response->offset;
}

static void no_upload(struct place *p, const char *name, const char *reason)
{
	Telex__V1__GetUploadRequest r = TELEX__V1__GET_UPLOAD_REQUEST__INIT;

	r.path = place_bytes(p, name);
	r.upload_id = (char *)(uintptr_t)ID;
	place_expect(p, "GetUpload", &r.base, reason);
}

/* At every chunk of a file, and at every point in between that matters: begun, part there, whole
 * but for its end. */
static void cut_uploads_go_on_where_they_were(void **state)
{
	static const char content[] = "abcdefghijklmnopqrstuvwxyz";
	struct place *p = *state;
	struct writing w;
	char part[2] = "";

	place_put(p, "f", "old");
	for (size_t at = 0; at <= 26; at++) {
		uint64_t from = 0;

		begin_named(&w, p, "f", 0);
		for (size_t i = 0; i < at; i++) {
			part[0] = content[i];
			chunk(p, i, part);
		}
		memory_call_cut(p->call);
		(void)memory_call_run(p->call, "Write", &w.request.base);
		assert_string_equal(place_text(p, "f"), "old");
		/* Of nothing nothing is kept. */
		if (at == 0)
			no_upload(p, "f", "NO_SUCH_UPLOAD");
		else
			from = there_is(p, "f");
		assert_int_equal(from, at);
		begin_named(&w, p, "f", from);
		write_it(p, &w, content + from, NULL);
		expect_response(p, content);
		assert_string_equal(place_text(p, "f"), content);
		assert_int_equal(place_count(p, ""), 1);
		no_upload(p, "f", "NO_SUCH_UPLOAD");
		place_put(p, "f", "old");
	}
}

static void cut(struct place *p, const char *name)
{
	struct writing w;

	begin_named(&w, p, name, 0);
	w.begin.upload_id = (char *)(uintptr_t)(name[0] == 'f' ? ID : "fedcba9876543210");
	chunk(p, 0, "abc");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
}

/* What is cut beside so many others is not kept. */
static void uploads_that_wait_are_bounded(void **state)
{
	struct place *p = *state;
	struct writing w;

	memory_call_unfinished(p->call, 1);
	cut(p, "f");
	assert_int_equal(there_is(p, "f"), 3);
	cut(p, "g");
	assert_int_equal(place_count(p, ""), 1);
	/* The one that waits is gone on with, and cut again. */
	cut(p, "f");
	assert_int_equal(there_is(p, "f"), 3);
	/* In another folder there is room for one. */
	place_folder(p, "other");
	begin_named(&w, p, "other/g", 0);
	chunk(p, 0, "abc");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
	assert_int_equal(place_count(p, "other"), 1);
	memory_call_unfinished(p->call, 2);
	cut(p, "g");
	assert_int_equal(place_count(p, ""), 3);
}

static void going_on_may_go_back(void **state)
{
	struct place *p = *state;
	struct writing w;

	begin_named(&w, p, "f", 0);
	chunk(p, 0, "abcdef");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
	begin_named(&w, p, "f", 3);
	write_it(p, &w, "DE", NULL);
	expect_response(p, "abcDE");
	begin_named(&w, p, "f", 0);
	chunk(p, 0, "other");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
	begin_named(&w, p, "f", 0);
	write_it(p, &w, "whole", NULL);
	expect_response(p, "whole");
}

static void offsets_ahead_are_refused_and_what_is_there_stays(void **state)
{
	struct place *p = *state;
	struct writing w;

	begin_named(&w, p, "f", 7);
	write_it(p, &w, "x", "OFFSET_AHEAD");
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "expected"), "0");
	assert_int_equal(memory_call_status(p->call)->code, RPC_OUT_OF_RANGE);
	assert_int_equal(place_count(p, ""), 0);
	begin_named(&w, p, "f", 0);
	chunk(p, 0, "abc");
	chunk(p, 4, "e");
	run(p, &w, "OFFSET_AHEAD");
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "expected"), "3");
	assert_int_equal(there_is(p, "f"), 3);
	begin_named(&w, p, "f", 4);
	write_it(p, &w, "x", "OFFSET_AHEAD");
	assert_int_equal(there_is(p, "f"), 3);
	begin_named(&w, p, "f", 3);
	write_it(p, &w, "d", NULL);
	expect_response(p, "abcd");
	/* Back is no way to go on, and an error that is nobody's to mend. */
	begin_named(&w, p, "f", 0);
	chunk(p, 0, "abc");
	chunk(p, 1, "x");
	run(p, &w, "BAD_REQUEST");
	no_upload(p, "f", "NO_SUCH_UPLOAD");
	assert_string_equal(place_text(p, "f"), "abcd");
}

static void one_call_writes_an_upload(void **state)
{
	struct place *p = *state;
	struct temp_file t;
	struct writing w;
	uint64_t size;

	assert_int_equal(temp_file_open(&t, p->fd, ID, &size), 0);
	assert_int_equal(temp_file_write(&t, "mine", 4, 0), 0);
	begin_named(&w, p, "f", 0);
	write_it(p, &w, "theirs", "UPLOAD_BUSY");
	assert_int_equal(memory_call_status(p->call)->code, RPC_ABORTED);
	assert_string_equal(place_text(p, TEMP), "mine");
	temp_file_keep(&t);
}

static void without_an_end_nothing_changes(void **state)
{
	struct place *p = *state;
	struct writing w;

	place_put(p, "f", "old");
	begin_named(&w, p, "f", 0);
	chunk(p, 0, "new");
	run(p, &w, "BAD_REQUEST");
	assert_string_equal(place_text(p, "f"), "old");
	assert_int_equal(there_is(p, "f"), 3);
	/* Without an id nobody can go on with it. */
	begin(&w, p, "f");
	chunk(p, 0, "new");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
	assert_int_equal(place_count(p, ""), 2);
}

static void old_uploads_are_reaped(void **state)
{
	struct timespec ts[2] = {{.tv_sec = time(NULL) - TEMP_FILE_LIFE - 9}};
	struct place *p = *state;
	struct writing w;

	ts[1] = ts[0];
	place_put(p, TEMP, "old");
	assert_int_equal(utimensat(p->fd, TEMP, ts, 0), 0);
	no_upload(p, "f", "NO_SUCH_UPLOAD");
	begin(&w, p, "f");
	write_it(p, &w, "new", NULL);
	assert_int_equal(place_count(p, ""), 1);
}

/* ---- what does not fit what was promised ---- */

static void what_is_not_as_promised_changes_nothing(void **state)
{
	struct place *p = *state;
	struct writing w;
	uint8_t digest[DIGEST_SIZE];

	digest_of("other", digest);
	place_put(p, "f", "old");
	for (int kind = 0; kind < 5; kind++) {
		begin_named(&w, p, "f", 0);
		w.size.bytes = kind == 0 ? 2 : 4;
		if (kind < 2 || kind == 4)
			w.begin.size = &w.size;
		if (kind == 2)
			w.begin.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, digest};
		if (kind == 4)
			w.size.bytes = 0;
		chunk(p, 0, "new");
		end(p, kind == 3 ? digest : NULL);
		run(p, &w, "CHECKSUM");
		assert_int_equal(memory_call_status(p->call)->code, RPC_DATA_LOSS);
		assert_string_equal(place_text(p, "f"), "old");
		assert_int_equal(place_count(p, ""), 1);
	}
}

static void limits_of_the_role_hold(void **state)
{
	struct place *p = *state;
	struct writing w;

	memory_call_limits(p->call, 4, 0);
	begin(&w, p, "f");
	w.size.bytes = 5;
	w.begin.size = &w.size;
	run(p, &w, "UPLOAD_LIMIT");
	begin(&w, p, "f");
	chunk(p, 0, "abc");
	chunk(p, 3, "de");
	run(p, &w, "UPLOAD_LIMIT");
	assert_int_equal(memory_call_status(p->call)->code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "limit"), "4");
	assert_int_equal(place_count(p, ""), 0);
	begin(&w, p, "f");
	write_it(p, &w, "abcd", NULL);
}

/* ---- bad requests ---- */

static void requests_that_mean_nothing_are_refused(void **state)
{
	struct place *p = *state;
	struct writing w;
	uint8_t digest[31] = {0};

	for (int kind = 0; kind < 11; kind++) {
		begin(&w, p, "f");
		if (kind == 0)
			w.begin.replace = TELEX__V1__REPLACE__REPLACE_EXCHANGE;
		w.mode.mode = 010000;
		if (kind == 1)
			w.begin.mode = &w.mode;
		if (kind == 2)
			w.begin.sha256 = (ProtobufCBinaryData){sizeof(digest), digest};
		if (kind == 3)
			w.begin.upload_id = (char *)(uintptr_t) "0123";
		if (kind == 4)
			w.begin.upload_id = (char *)(uintptr_t) "../../../../0123";
		if (kind == 5)
			w.begin.offset = 1;
		if (kind == 6 || kind == 7)
			w.begin.append = true;
		if (kind == 6)
			w.begin.offset = 1;
		if (kind == 7)
			w.begin.upload_id = (char *)(uintptr_t)ID;
		w.modified.nanos = kind == 8 ? -1 : 1000000000;
		if (kind == 8 || kind == 9)
			w.begin.modified = &w.modified;
		if (kind == 10)
			w.begin.path = bytes_of("relative");
		write_it(p, &w, "", "BAD_REQUEST");
		assert_int_equal(memory_call_status(p->call)->code, RPC_INVALID_ARGUMENT);
	}
	no_upload(p, "f", "NO_SUCH_UPLOAD");
	assert_int_equal(place_count(p, ""), 0);
}

static void messages_out_of_place_are_refused(void **state)
{
	struct place *p = *state;
	Telex__V1__WriteRequest empty = TELEX__V1__WRITE_REQUEST__INIT;
	struct writing w;

	place_expect(p, "Write", &empty.base, "BAD_REQUEST");
	for (int kind = 0; kind < 4; kind++) {
		begin(&w, p, "f");
		chunk(p, 0, "x");
		if (kind == 0)
			memory_call_queue(p->call, &w.request.base);
		else if (kind == 1)
			memory_call_queue_raw(p->call, "\xff\xff", 2);
		else if (kind == 2)
			memory_call_queue(p->call, &empty.base);
		else
			memory_call_queue_raw(p->call, "\x12\x7f", 2);
		end(p, NULL);
		run(p, &w, "BAD_REQUEST");
		assert_int_equal(place_count(p, ""), 0);
	}
	/* A chunk in an unusual form is one all the same: its data first, and a field that is not
	 * known. */
	begin(&w, p, "f");
	chunk(p, 0, "a");
	memory_call_queue_raw(p->call,
	    "\x12\x08\x12\x01"
	    "b\x08\x01\xf8\x06\x01",
	    10);
	end(p, NULL);
	run(p, &w, NULL);
	assert_string_equal(place_text(p, "f"), "ab");
}

static void places_that_cannot_be_written_are_said(void **state)
{
	struct place *p = *state;
	struct writing w;
	char name[400];
	static const struct {
		const char *name, *reason;
	} rows[] = {{"none/f", "NO_SUCH_FILE"}, {"file/f", "NOT_A_FOLDER"},
	    {"folder", "IS_A_FOLDER"}, {"fifo", "NOT_SUPPORTED"}, {"loop/f", "LINK_LOOP"},
	    {"out/f", "OUTSIDE_ROOT"}, {"../f", "BAD_REQUEST"}, {"folder/../f", "BAD_REQUEST"}};

	place_put(p, "file", "");
	place_folder(p, "folder");
	place_link(p, "loop", "loop");
	place_link(p, "/tmp", "out");
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin_named(&w, p, rows[i].name, 0);
		write_it(p, &w, "x", rows[i].reason);
		if (strcmp(rows[i].reason, "BAD_REQUEST") != 0)
			assert_non_null(rpc_status_get(memory_call_status(p->call), "path"));
	}
	memset(name, 'n', 256);
	name[256] = '\0';
	begin(&w, p, name);
	write_it(p, &w, "x", "NAME_TOO_LONG");
	name[255] = '\0';
	begin(&w, p, name);
	write_it(p, &w, "x", NULL);
	assert_int_equal(place_count(p, ""), 6);
}

static int nobody_writes(struct place *p)
{
	struct writing w;

	begin(&w, p, "denied");
	end(p, NULL);
	if (memory_call_run(p->call, "Write", &w.request.base) != RPC_PERMISSION_DENIED)
		return 1;
	begin(&w, p, "open/f");
	chunk(p, 0, "mine");
	end(p, NULL);
	if (memory_call_run(p->call, "Write", &w.request.base) != RPC_OK)
		return 2;
	/* A folder that may be written and not read. */
	begin(&w, p, "dark/f");
	chunk(p, 0, "mine");
	end(p, NULL);
	return memory_call_run(p->call, "Write", &w.request.base) == RPC_OK ? 0 : 3;
}

static void users_write_what_they_may(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	place_folder(p, "open");
	place_folder(p, "dark");
	assert_int_equal(fchmodat(p->fd, "open", 0777, 0), 0);
	assert_int_equal(fchmodat(p->fd, "dark", 0333, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_writes), 0);
	assert_false(place_has(p, "denied"));
	assert_int_equal(place_stat(p, "open/f").st_uid, 65534);
	assert_string_equal(place_text(p, "dark/f"), "mine");
}

/* ---- full disks ---- */

static char page[65536];

static size_t endless(const uint8_t **data, void *arg)
{
	static uint8_t packed[sizeof(page) + 64];
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__FileChunk c = TELEX__V1__FILE_CHUNK__INIT;
	uint64_t *at = arg;

	r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
	r.chunk = &c;
	c.offset = *at;
	c.data = (ProtobufCBinaryData){sizeof(page), (uint8_t *)page};
	*at += sizeof(page);
	*data = packed;
	return telex__v1__write_request__pack(&r, packed);
}

static void full_disks_leave_the_old(void **state)
{
	struct place *p = *state;
	struct writing w;
	uint64_t at = 0;

	if (!place_mount(p, "size=1m"))
		skip();
	place_put(p, "mount/f", "old");
	begin_named(&w, p, "mount/f", 0);
	memory_call_set_feed(p->call, endless, &at);
	run(p, &w, "DISK_FULL");
	assert_true(at >= 900000 && at < (2 << 20));
	assert_non_null(rpc_status_get(memory_call_status(p->call), "available"));
	assert_string_equal(place_text(p, "mount/f"), "old");
	assert_int_equal(place_count(p, "mount"), 1);
	/* Where the size is known it is said before a byte has come. */
	at = 0;
	begin_named(&w, p, "mount/f", 0);
	w.size.bytes = 2 << 20;
	w.begin.size = &w.size;
	memory_call_set_feed(p->call, endless, &at);
	run(p, &w, "DISK_FULL");
	assert_int_equal(at, 0);
	assert_int_equal(place_count(p, "mount"), 1);
	/* Appending takes back what did not fit. */
	begin(&w, p, "mount/f");
	w.begin.append = true;
	memory_call_set_feed(p->call, endless, &at);
	run(p, &w, "DISK_FULL");
	assert_string_equal(place_text(p, "mount/f"), "old");
	assert_int_equal(
	    mount("none", place_path(p, "mount"), "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	begin(&w, p, "mount/f");
	write_it(p, &w, "x", "READ_ONLY");
	begin(&w, p, "mount/f");
	w.begin.append = true;
	write_it(p, &w, "x", "READ_ONLY");
}

/* ---- append ---- */

static void append(struct place *p, const char *name, const char *text, const char *reason)
{
	struct writing w;

	begin(&w, p, name);
	w.begin.append = true;
	write_it(p, &w, text, reason);
}

static void appending_goes_behind_what_is_there(void **state)
{
	struct place *p = *state;
	const Telex__V1__WriteResponse *r;
	struct writing w;
	uint8_t digest[DIGEST_SIZE];
	ino_t ino;

	append(p, "f", "one", NULL);
	assert_int_equal(place_stat(p, "f").st_mode, S_IFREG | 0644);
	ino = place_stat(p, "f").st_ino;
	append(p, "f", "two", NULL);
	assert_string_equal(place_text(p, "f"), "onetwo");
	assert_int_equal(place_stat(p, "f").st_ino, ino);
	r = place_response(p, &telex__v1__write_response__descriptor);
	assert_int_equal(r->size, 6);
	/* The digest and the size are of what came. */
	digest_of("three", digest);
	begin(&w, p, "f");
	w.begin.append = true;
	w.size.bytes = 5;
	w.begin.size = &w.size;
	w.begin.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, digest};
	write_it(p, &w, "three", NULL);
	begin(&w, p, "f");
	w.begin.append = true;
	w.begin.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, digest};
	write_it(p, &w, "four", "CHECKSUM");
	assert_string_equal(place_text(p, "f"), "onetwothree");
	place_link(p, "f", "link");
	append(p, "link", "!", NULL);
	assert_string_equal(place_text(p, "f"), "onetwothree!");
	append(p, "none/f", "x", "NO_SUCH_FILE");
	append(p, "", "x", "IS_A_FOLDER");
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	append(p, "fifo", "x", "NOT_SUPPORTED");
	place_link(p, "/etc/passwd", "out");
	append(p, "out", "x", "OUTSIDE_ROOT");
}

static void appending_that_fails_leaves_no_new_file(void **state)
{
	struct place *p = *state;
	struct writing w;

	begin(&w, p, "f");
	w.begin.append = true;
	chunk(p, 0, "x");
	chunk(p, 9, "y");
	run(p, &w, "OFFSET_AHEAD");
	assert_false(place_has(p, "f"));
	/* An end of the stream that is none of the upload changes nothing. */
	place_put(p, "g", "old");
	begin(&w, p, "g");
	w.begin.append = true;
	chunk(p, 0, "x");
	run(p, &w, "BAD_REQUEST");
	assert_string_equal(place_text(p, "g"), "old");
	/* What was cut stays, as with >>. */
	begin(&w, p, "f");
	w.begin.append = true;
	chunk(p, 0, "x");
	memory_call_cut(p->call);
	(void)memory_call_run(p->call, "Write", &w.request.base);
	assert_string_equal(place_text(p, "f"), "x");
}

static void abandon(struct place *p)
{
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteEnd e = TELEX__V1__WRITE_END__INIT;

	r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
	r.end = &e;
	e.abandoned = true;
	memory_call_queue(p->call, &r.base);
}

static void what_is_abandoned_leaves_nothing(void **state)
{
	struct place *p = *state;
	struct writing w;

	place_put(p, "f", "old");
	begin_named(&w, p, "f", 0);
	chunk(p, 0, "new");
	abandon(p);
	run(p, &w, "ABANDONED");
	assert_string_equal(place_text(p, "f"), "old");
	assert_int_equal(place_count(p, ""), 1);
	begin(&w, p, "f");
	w.begin.append = true;
	chunk(p, 0, "er");
	abandon(p);
	run(p, &w, "ABANDONED");
	assert_string_equal(place_text(p, "f"), "old");
}

/* ---- large ---- */

struct large {
	uint64_t at, size;
};

static size_t large_feed(const uint8_t **data, void *arg)
{
	struct large *l = arg;

	if (l->at == l->size)
		return 0;
	return endless(data, &l->at);
}

static long resident_kib(void)
{
	long pages[2] = {0, 0};
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &pages[0], &pages[1]), 2);
	fclose(f);
	return pages[1] * (sysconf(_SC_PAGESIZE) / 1024);
}

static void memory_stays_flat(void **state)
{
	struct place *p = *state;
	struct large l = {.size = (uint64_t)(getenv("TELEX_TEST_SLOW") != NULL ? 8 : 96) << 20};
	struct writing w;
	long before;

	for (int round = 0; round < 2; round++) {
		begin_named(&w, p, "f", 0);
		memory_call_set_feed(p->call, large_feed, &l);
		l.at = 0;
		before = resident_kib();
		run(p, &w, "BAD_REQUEST");
		assert_int_equal(there_is(p, "f"), l.size);
	}
	assert_true(resident_kib() - before < 4096);
	begin_named(&w, p, "f", l.size);
	w.size.bytes = l.size;
	w.begin.size = &w.size;
	write_it(p, &w, "", NULL);
	assert_int_equal(place_stat(p, "f").st_size, (off_t)l.size);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    /* First: a folder is looked through once in a while, and may be taken for a later
	     * one. */
	    in_place(old_uploads_are_reaped),
	    in_place(files_are_written),
	    in_place(modes_are_those_of_before),
	    in_place(what_reads_meanwhile_sees_the_old),
	    in_place(never_replaces_nothing),
	    in_place(cut_uploads_go_on_where_they_were),
	    in_place(uploads_that_wait_are_bounded),
	    in_place(going_on_may_go_back),
	    in_place(offsets_ahead_are_refused_and_what_is_there_stays),
	    in_place(one_call_writes_an_upload),
	    in_place(without_an_end_nothing_changes),
	    in_place(what_is_not_as_promised_changes_nothing),
	    in_place(limits_of_the_role_hold),
	    in_place(requests_that_mean_nothing_are_refused),
	    in_place(messages_out_of_place_are_refused),
	    in_place(places_that_cannot_be_written_are_said),
	    in_place(users_write_what_they_may),
	    in_place(full_disks_leave_the_old),
	    in_place(appending_goes_behind_what_is_there),
	    in_place(appending_that_fails_leaves_no_new_file),
	    in_place(what_is_abandoned_leaves_nothing),
	    in_place(memory_stays_flat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
