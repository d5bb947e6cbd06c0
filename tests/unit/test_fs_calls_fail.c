/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation, while one of its system calls fails: each of them in turn. What says that it was
 * done was done, what was not done left no half behind, and no descriptor stays. TELEX_CALLS=all:
 * each call fails with each error; else with EIO and with one of the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/call_fail.h"
#include "tests/support/files_place.h"
#include "tests/support/folder.h"
#include "tests/support/look.h"

#define CALLS_MAX 5000 /* more than any operation here makes */

static const int errors[] = {EIO, EINTR, ENOMEM, EMFILE, ENOSPC, EDQUOT, CALL_FAIL_SHORT};

/* An operation in FOLDER/w; or, where something is mounted, between there and FOLDER/mount. */
struct operation {
	const char *name;
	int (*run)(struct place *p); /* a status' code */
	bool reads;                  /* changes nothing: the same answer is the same */
	bool lists;                  /* each entry of the answer may tell that it failed */
	bool pieces;                 /* of a file, of any size: their bytes are the same */
	bool mount;
};

/* ---- where it works ---- */

static void clear(struct place *p)
{
	Telex__V1__FileServiceRemoveRequest gone = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;

	gone.recursive = gone.force = true;
	gone.path = place_bytes(p, "w");
	assert_int_equal(memory_call_run(p->call, "Remove", &gone.base), 0);
	gone.path = place_bytes(p, "mount/w");
	if (p->mounted)
		assert_int_equal(memory_call_run(p->call, "Remove", &gone.base), 0);
}

static void make(struct place *p)
{
	int fd;

	place_folder(p, "w");
	place_put(p, "w/f", "what was there before");
	place_put(p, "w/other", "another");
	place_folder(p, "w/d");
	place_put(p, "w/d/x", "below");
	place_folder(p, "w/d/y");
	place_put(p, "w/d/y/z", "further below");
	place_link(p, "x", "w/d/l");
	place_link(p, "d/x", "w/l");
	fd = openat(p->fd, "w/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "middle", 6, 300000), 6);
	assert_int_equal(ftruncate(fd, 700000), 0);
	close(fd);
	(void)setxattr(place_path(p, "w/f"), "user.telex", "value", 5, 0);
	(void)setxattr(place_path(p, "w/d/x"), "user.telex", "value", 5, 0);
	if (p->mounted)
		place_folder(p, "mount/w");
}

/* A folder that is not done with is open to its owner alone. */
static struct look look(struct place *p)
{
	return look_at(p->folder, LOOK_KIND_OF_FOLDER);
}

/* ---- what it answers ---- */

struct answer {
	uint8_t *data;
	size_t len;
	bool lists, told; /* an entry has an error */
	bool pieces;
};

static bool tells(const uint8_t *data, size_t len)
{
	Telex__V1__FileServiceListResponse *m =
	    telex__v1__file_service_list_response__unpack(NULL, len, data);
	bool told = false;

	assert_non_null(m);
	for (size_t i = 0; i < m->n_entries; i++)
		told |= m->entries[i]->error != NULL;
	telex__v1__file_service_list_response__free_unpacked(m, NULL);
	return told;
}

/* NULL: zeros. */
static void add(struct answer *a, const uint8_t *data, size_t len)
{
	a->data = realloc(a->data, a->len + len + 1);
	assert_non_null(a->data);
	if (data != NULL)
		memcpy(a->data + a->len, data, len);
	else
		memset(a->data + a->len, 0, len);
	a->len += len;
}

static void add_piece(struct answer *a, const uint8_t *data, size_t len)
{
	Telex__V1__ReadResponse *m = telex__v1__read_response__unpack(NULL, len, data);

	assert_non_null(m);
	if (m->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_CHUNK) {
		assert_int_equal(m->chunk->offset, a->len);
		add(a, m->chunk->data.data, m->chunk->data.len);
	} else if (m->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_HOLE) {
		assert_int_equal(m->hole->offset, a->len);
		add(a, NULL, (size_t)m->hole->length);
	} else {
		add(a, m->end->sha256.data, m->end->sha256.len);
	}
	telex__v1__read_response__free_unpacked(m, NULL);
}

static void keep(const uint8_t *data, size_t len, void *arg)
{
	struct answer *a = arg;

	a->told |= a->lists && tells(data, len);
	if (a->pieces)
		add_piece(a, data, len);
	else
		add(a, data, len);
}

/* ---- the operations ---- */

static int stat_one(struct place *p)
{
	Telex__V1__StatRequest r = TELEX__V1__STAT_REQUEST__INIT;

	r.path = place_bytes(p, "w/f");
	r.extended_attributes = true;
	return memory_call_run(p->call, "Stat", &r.base);
}

static int stat_link(struct place *p)
{
	Telex__V1__StatRequest r = TELEX__V1__STAT_REQUEST__INIT;

	r.path = place_bytes(p, "w/l");
	r.extended_attributes = true;
	return memory_call_run(p->call, "Stat", &r.base);
}

static int list_all(struct place *p)
{
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;

	r.path = place_bytes(p, "w");
	r.depth = UINT32_MAX;
	r.sorted = r.hidden = r.extended_attributes = true;
	return memory_call_run(p->call, "List", &r.base);
}

static int list_matching(struct place *p)
{
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;

	r.path = place_bytes(p, "w");
	r.depth = UINT32_MAX;
	r.names_only = r.sorted = true;
	r.pattern = (char *)(uintptr_t) "*";
	return memory_call_run(p->call, "List", &r.base);
}

static int read_link(struct place *p)
{
	Telex__V1__ReadLinkRequest r = TELEX__V1__READ_LINK_REQUEST__INIT;

	r.path = place_bytes(p, "w/l");
	return memory_call_run(p->call, "ReadLink", &r.base);
}

static int read_link_canonical(struct place *p)
{
	Telex__V1__ReadLinkRequest r = TELEX__V1__READ_LINK_REQUEST__INIT;

	r.path = place_bytes(p, "w/l");
	r.canonical = true;
	return memory_call_run(p->call, "ReadLink", &r.base);
}

static int checksum(struct place *p)
{
	Telex__V1__ChecksumRequest r = TELEX__V1__CHECKSUM_REQUEST__INIT;

	r.path = place_bytes(p, "w/sparse");
	return memory_call_run(p->call, "Checksum", &r.base);
}

static int read_whole(struct place *p)
{
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;

	r.path = place_bytes(p, "w/f");
	r.checksum = true;
	return memory_call_run(p->call, "Read", &r.base);
}

static int read_sparse(struct place *p)
{
	Telex__V1__ReadRequest r = TELEX__V1__READ_REQUEST__INIT;

	r.path = place_bytes(p, "w/sparse");
	r.sparse = r.checksum = true;
	return memory_call_run(p->call, "Read", &r.base);
}

static int stat_filesystem(struct place *p)
{
	Telex__V1__StatFilesystemRequest r = TELEX__V1__STAT_FILESYSTEM_REQUEST__INIT;

	r.path = place_bytes(p, "w");
	return memory_call_run(p->call, "StatFilesystem", &r.base);
}

static int make_directories(struct place *p)
{
	Telex__V1__MakeDirectoryRequest r = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;

	mode.mode = 0711;
	r.path = place_bytes(p, "w/new/and/below");
	r.parents = true;
	r.mode = &mode;
	return memory_call_run(p->call, "MakeDirectory", &r.base);
}

static int remove_one(struct place *p)
{
	Telex__V1__FileServiceRemoveRequest r = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;

	r.path = place_bytes(p, "w/f");
	return memory_call_run(p->call, "Remove", &r.base);
}

static int remove_all(struct place *p)
{
	Telex__V1__FileServiceRemoveRequest r = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;

	r.path = place_bytes(p, "w/d");
	r.recursive = true;
	return memory_call_run(p->call, "Remove", &r.base);
}

static int move(struct place *p, const char *from, const char *to, Telex__V1__Replace replace)
{
	Telex__V1__MoveRequest r = TELEX__V1__MOVE_REQUEST__INIT;

	r.source = place_bytes(p, from);
	r.target = place_bytes(p, to);
	r.replace = replace;
	return memory_call_run(p->call, "Move", &r.base);
}

static int move_over(struct place *p)
{
	return move(p, "w/f", "w/other", TELEX__V1__REPLACE__REPLACE_ALWAYS);
}

static int move_never(struct place *p)
{
	return move(p, "w/d", "w/new", TELEX__V1__REPLACE__REPLACE_NEVER);
}

static int move_exchange(struct place *p)
{
	return move(p, "w/d", "w/f", TELEX__V1__REPLACE__REPLACE_EXCHANGE);
}

static int move_file_across(struct place *p)
{
	return move(p, "w/f", "mount/w/f", TELEX__V1__REPLACE__REPLACE_ALWAYS);
}

static int move_folder_across(struct place *p)
{
	return move(p, "w/d", "mount/w/d", TELEX__V1__REPLACE__REPLACE_ALWAYS);
}

static int copy(struct place *p, const char *from, const char *to)
{
	Telex__V1__CopyRequest r = TELEX__V1__COPY_REQUEST__INIT;

	r.source = place_bytes(p, from);
	r.target = place_bytes(p, to);
	r.recursive = r.preserve = true;
	return memory_call_run(p->call, "Copy", &r.base);
}

static int copy_over(struct place *p)
{
	return copy(p, "w/f", "w/other");
}

static int copy_sparse(struct place *p)
{
	return copy(p, "w/sparse", "w/new");
}

static int copy_folder(struct place *p)
{
	return copy(p, "w/d", "w/new");
}

static int set_attributes(struct place *p)
{
	Telex__V1__SetAttributesRequest r = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;
	Telex__V1__ExtendedAttribute value = TELEX__V1__EXTENDED_ATTRIBUTE__INIT;
	Telex__V1__ExtendedAttribute *values[] = {&value};
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;
	Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	ProtobufCBinaryData old = bytes_of("user.telex");

	value.name = bytes_of("user.more");
	value.value = bytes_of("value");
	mode.mode = 0604;
	time.seconds = 1000000000;
	r.path = place_bytes(p, "w/f");
	r.mode = &mode;
	r.modified = &time;
	r.set_extended_attributes = values;
	r.n_set_extended_attributes = 1;
	r.remove_extended_attributes = &old;
	r.n_remove_extended_attributes = 1;
	return memory_call_run(p->call, "SetAttributes", &r.base);
}

static int set_all_attributes(struct place *p)
{
	Telex__V1__SetAttributesRequest r = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;

	r.path = place_bytes(p, "w/d");
	r.recursive = true;
	r.mode_change = (char *)(uintptr_t) "go-rwx,u+x";
	return memory_call_run(p->call, "SetAttributes", &r.base);
}

static int link_symbolic(struct place *p)
{
	Telex__V1__LinkRequest r = TELEX__V1__LINK_REQUEST__INIT;

	r.path = place_bytes(p, "w/l");
	r.target = bytes_of("other");
	r.symbolic = true;
	r.replace = TELEX__V1__REPLACE__REPLACE_ALWAYS;
	return memory_call_run(p->call, "Link", &r.base);
}

static int link_hard(struct place *p)
{
	Telex__V1__LinkRequest r = TELEX__V1__LINK_REQUEST__INIT;

	r.path = place_bytes(p, "w/other");
	r.target = place_bytes(p, "w/f");
	r.replace = TELEX__V1__REPLACE__REPLACE_ALWAYS;
	return memory_call_run(p->call, "Link", &r.base);
}

static int write_file(struct place *p, const char *name, const char *id, bool append)
{
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteBegin begin = TELEX__V1__WRITE_BEGIN__INIT;
	Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;
	Telex__V1__WriteEnd end = TELEX__V1__WRITE_END__INIT;
	Telex__V1__WriteRequest more = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteRequest last = TELEX__V1__WRITE_REQUEST__INIT;

	begin.path = place_bytes(p, name);
	begin.upload_id = (char *)(uintptr_t)id;
	begin.append = append;
	r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
	r.begin = &begin;
	chunk.data = bytes_of("what comes instead of it, all of it");
	more.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
	more.chunk = &chunk;
	last.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
	last.end = &end;
	memory_call_queue(p->call, &more.base);
	memory_call_queue(p->call, &last.base);
	return memory_call_run(p->call, "Write", &r.base);
}

static int write_over(struct place *p)
{
	return write_file(p, "w/f", "", false);
}

static int write_upload(struct place *p)
{
	return write_file(p, "w/f", "0123456789abcdef", false);
}

static int write_new(struct place *p)
{
	return write_file(p, "w/new", "", false);
}

static int append_to(struct place *p)
{
	return write_file(p, "w/f", "", true);
}

static int append_new(struct place *p)
{
	return write_file(p, "w/new", "", true);
}

static int truncate_one(struct place *p)
{
	Telex__V1__TruncateRequest r = TELEX__V1__TRUNCATE_REQUEST__INIT;

	r.path = place_bytes(p, "w/f");
	r.size = 4;
	return memory_call_run(p->call, "Truncate", &r.base);
}

static const struct operation operations[] = {
    {.name = "Stat", .run = stat_one, .reads = true},
    {.name = "Stat of a link", .run = stat_link, .reads = true},
    {.name = "List", .run = list_all, .lists = true, .reads = true},
    {.name = "List of names", .run = list_matching, .lists = true, .reads = true},
    {.name = "ReadLink", .run = read_link, .reads = true},
    {.name = "ReadLink, canonical", .run = read_link_canonical, .reads = true},
    {.name = "Checksum", .run = checksum, .reads = true},
    {.name = "Read", .run = read_whole, .pieces = true, .reads = true},
    {.name = "Read of holes", .run = read_sparse, .pieces = true, .reads = true},
    {.name = "StatFilesystem", .run = stat_filesystem},
    {.name = "MakeDirectory", .run = make_directories},
    {.name = "Remove", .run = remove_one},
    {.name = "Remove of a tree", .run = remove_all},
    {.name = "Move over", .run = move_over},
    {.name = "Move to a free name", .run = move_never},
    {.name = "Move, exchanging", .run = move_exchange},
    {.name = "Move of a file across", .run = move_file_across, .mount = true},
    {.name = "Move of a folder across", .run = move_folder_across, .mount = true},
    {.name = "Copy over", .run = copy_over},
    {.name = "Copy of holes", .run = copy_sparse},
    {.name = "Copy of a tree", .run = copy_folder},
    {.name = "SetAttributes", .run = set_attributes},
    {.name = "SetAttributes of a tree", .run = set_all_attributes},
    {.name = "Link, symbolic", .run = link_symbolic},
    {.name = "Link, hard", .run = link_hard},
    {.name = "Write over", .run = write_over},
    {.name = "Write of an upload", .run = write_upload},
    {.name = "Write to a new file", .run = write_new},
    {.name = "Write, appending", .run = append_to},
    {.name = "Write, appending to a new file", .run = append_new},
    {.name = "Truncate", .run = truncate_one},
};

/* ---- each of its calls ---- */

/* How one goes that nothing fails in. */
struct reference {
	struct look before, after, whole; /* whole: after, with the folders' modes */
	struct answer answer;
	long calls;
};

static struct reference refer(struct place *p, const struct operation *o)
{
	struct reference ref = {.answer = {.pieces = o->pieces}};

	make(p);
	ref.before = look(p);
	memory_call_set_sink(p->call, keep, &ref.answer);
	call_fail_at(0, 0);
	assert_int_equal(o->run(p), 0);
	call_fail_stop();
	ref.calls = call_fail_count();
	ref.after = look(p);
	ref.whole = look_at(p->folder, 0);
	assert_int_equal(ref.after.parts, 0);
	assert_true(ref.calls > 0 && ref.calls < CALLS_MAX);
	if (!o->reads)
		clear(p);
	return ref;
}

static unsigned wrongs, hits;

static void wrong(const struct operation *o, long n, int error, const char *what)
{
	if (++wrongs > 20)
		return;
	print_message("%s: call %ld, %s, fails with %s: %s\n", o->name, n, call_fail_name(),
	    error == CALL_FAIL_SHORT ? "fewer bytes" : strerrorname_np(error), what);
}

static bool is_sync(const char *name)
{
	return strcmp(name, "fsync") == 0 || strcmp(name, "syncfs") == 0;
}

/* What needs room. */
static bool makes(const char *name)
{
	static const char *const names[] = {"write", "pwrite", "copy_file_range", "fallocate",
	    "mkdirat", "mknodat", "symlinkat", "linkat", "ftruncate", "setxattr", "fsetxattr",
	    "open_beneath_make"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Of which file, and for want of what. */
static bool tells_lack(const struct rpc_status *s, int error)
{
	const char *path = rpc_status_get(s, "path");

	if (path == NULL || strstr(s->message, path) == NULL)
		return false;
	/* Where the disk has room it is that of a file's attributes that has none. */
	if (error == ENOSPC && strcmp(call_fail_name(), "setxattr") == 0 &&
	    strstr(s->message, ": its extended attributes are too many, or too large") != NULL)
		return true;
	if (s->code != RPC_RESOURCE_EXHAUSTED)
		return false;
	if (error == ENOSPC)
		return strcmp(s->reason, "DISK_FULL") == 0 &&
		       strstr(s->message, " bytes are free); make room there") != NULL;
	return strcmp(s->reason, "QUOTA") == 0 && rpc_status_get(s, "file_system") != NULL &&
	       strstr(s->message, ": Disk quota exceeded (") != NULL &&
	       strstr(s->message, "); remove files there, then try again") != NULL;
}

/* Whether it went as if nothing had failed, or as if it had not begun; by path. */
static void judge(struct place *p, const struct operation *o, const struct reference *ref, long n,
    int error, int status, const struct answer *answer)
{
	struct look now = look(p), whole = look_at(p->folder, 0);
	const char *torn = look_torn(&ref->before, &ref->after, &now);
	char words[600];

	if (torn != NULL) {
		snprintf(words, sizeof(words), "%s is torn: %s", torn, look_what(&now, torn));
		wrong(o, n, error, words);
	}
	torn = look_torn(&ref->whole, &ref->whole, &whole);
	if (status == 0 && torn != NULL) {
		snprintf(words, sizeof(words), "said to be done, and %s is %s", torn,
		    look_what(&whole, torn));
		wrong(o, n, error, words);
	}
	if (status == 0 && o->reads && !answer->told &&
	    (answer->len != ref->answer.len ||
	        memcmp(answer->data, ref->answer.data, answer->len) != 0))
		wrong(o, n, error, "another answer is said to be right");
	if (status == 0 && error == EIO && is_sync(call_fail_name()))
		wrong(o, n, error, "said to be durable");
	if (status != 0 && memory_call_status(p->call)->message[0] == '\0')
		wrong(o, n, error, "it does not say why");
	if (status != 0 && (error == ENOSPC || error == EDQUOT) && makes(call_fail_name()) &&
	    !tells_lack(memory_call_status(p->call), error))
		wrong(o, n, error, memory_call_status(p->call)->message);
	if (now.parts > 0)
		wrong(o, n, error, "a temporary file is left");
	look_clear(&now);
	look_clear(&whole);
}

static bool is_tried(long n, int error)
{
	const size_t others = sizeof(errors) / sizeof(errors[0]) - 1;

	return error == EIO || errors[1 + (size_t)n % others] == error ||
	       getenv("TELEX_CALLS") != NULL;
}

static void fail_each(struct place *p, const struct operation *o, int error)
{
	struct reference ref = refer(p, o);

	for (long n = 1; n <= ref.calls; n++) {
		struct answer answer = {.lists = o->lists, .pieces = o->pieces};
		int open_before, open_after, status;

		if (!is_tried(n, error))
			continue;
		if (!o->reads)
			make(p);
		open_before = folder_count("/proc/self/fd");
		memory_call_set_sink(p->call, keep, &answer);
		call_fail_at(n, error);
		status = o->run(p);
		call_fail_stop();
		hits += call_fail_name()[0] != '\0';
		open_after = folder_count("/proc/self/fd");
		if (open_before != open_after)
			wrong(o, n, error, "a descriptor stays open");
		judge(p, o, &ref, n, error, status, &answer);
		free(answer.data);
		if (!o->reads)
			clear(p);
	}
	if (o->reads)
		clear(p);
	look_clear(&ref.before);
	look_clear(&ref.after);
	look_clear(&ref.whole);
	free(ref.answer.data);
}

static void each_call_of_each_operation(void **state)
{
	struct place *p = *state;
	const bool mounted = place_mount(p, "size=8m");

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (operations[i].mount && !mounted)
			continue;
		for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++)
			fail_each(p, &operations[i], errors[k]);
	}
	assert_int_equal(wrongs, 0);
	/* Not all that a first run calls is called again, but nearly. */
	assert_true(hits > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_call_of_each_operation, place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
