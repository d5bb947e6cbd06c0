/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on files where they are really run: in a process that is locked in as telex-files
 * is, as root and as another user. Landlock refuses, and the filter of system calls kills, whatever
 * an operation needs that it was not given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/files/names.h"
#include "agent/files/roots.h"
#include "agent/files/sandbox.h"
#include "common/digest.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define NOBODY 65534
#define ID     "00112233445566778899aabbccddeeff"

/* In the child nothing may be asserted: what fails is said, and ends it. */
static void run(struct place *p, const char *method, const ProtobufCMessage *request)
{
	const struct rpc_status *s = memory_call_status(p->call);

	if (memory_call_run(p->call, method, request) == RPC_OK)
		return;
	printf("# %s: %s: %s\n", method, s->reason, s->message);
	fflush(stdout);
	_exit(1);
}

static void write_files(struct place *p)
{
	Telex__V1__WriteRequest r = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteRequest more = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteBegin begin = TELEX__V1__WRITE_BEGIN__INIT;
	Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;
	Telex__V1__WriteEnd end = TELEX__V1__WRITE_END__INIT;
	Telex__V1__FileSize size = TELEX__V1__FILE_SIZE__INIT;
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;
	Google__Protobuf__Timestamp modified = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Telex__V1__GetUploadRequest get = TELEX__V1__GET_UPLOAD_REQUEST__INIT;
	static char large[256 << 10];

	get.path = place_bytes(p, "t/new/f");
	get.upload_id = (char *)(uintptr_t)ID;
	for (int i = 0; i < 4; i++) {
		r.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
		r.begin = &begin;
		begin.path = place_bytes(p, "t/new/f");
		begin.size = &size;
		begin.append = i == 2;
		begin.upload_id = (char *)(uintptr_t)(begin.append ? "" : ID);
		begin.mode = &mode;
		begin.modified = &modified;
		begin.replace = i == 0 ? TELEX__V1__REPLACE__REPLACE_NEVER : 0;
		mode.mode = 0640;
		modified.seconds = 1000;
		size.bytes = 0;
		/* Enough for room to be reserved, and for write-back. */
		for (int k = 0; k < 40; k++) {
			more.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
			more.chunk = &chunk;
			chunk.offset = size.bytes;
			chunk.data = (ProtobufCBinaryData){sizeof(large), (uint8_t *)large};
			size.bytes += sizeof(large);
			memory_call_queue(p->call, &more.base);
		}
		if (i == 3) {
			memory_call_cut(p->call);
			(void)memory_call_run(p->call, "Write", &r.base);
			run(p, "GetUpload", &get.base);
			break;
		}
		more.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
		more.end = &end;
		memory_call_queue(p->call, &more.base);
		run(p, "Write", &r.base);
	}
}

static void read_files(struct place *p)
{
	Telex__V1__ReadRequest read = TELEX__V1__READ_REQUEST__INIT;
	Telex__V1__ChecksumRequest sum = TELEX__V1__CHECKSUM_REQUEST__INIT;
	Telex__V1__StatRequest look = TELEX__V1__STAT_REQUEST__INIT;
	Telex__V1__StatFilesystemRequest system = TELEX__V1__STAT_FILESYSTEM_REQUEST__INIT;
	Telex__V1__FileServiceListRequest list = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	Telex__V1__TruncateRequest cut = TELEX__V1__TRUNCATE_REQUEST__INIT;

	cut.path = read.path = sum.path = look.path = system.path = place_bytes(p, "t/new/f");
	cut.size = 30 << 20;
	run(p, "Truncate", &cut.base);
	read.checksum = read.sparse = true;
	run(p, "Read", &read.base);
	run(p, "Checksum", &sum.base);
	sum.algorithm = TELEX__V1__CHECKSUM_ALGORITHM__CHECKSUM_ALGORITHM_XXH3;
	run(p, "Checksum", &sum.base);
	look.extended_attributes = true;
	run(p, "Stat", &look.base);
	run(p, "StatFilesystem", &system.base);
	list.path = place_bytes(p, "t");
	list.depth = UINT32_MAX;
	list.hidden = list.sorted = list.extended_attributes = true;
	run(p, "List", &list.base);
	list.path = place_bytes(p, "");
	list.extended_attributes = false;
	list.names_only = true;
	run(p, "List", &list.base);
}

static void make_links(struct place *p)
{
	Telex__V1__LinkRequest link = TELEX__V1__LINK_REQUEST__INIT;
	Telex__V1__ReadLinkRequest read = TELEX__V1__READ_LINK_REQUEST__INIT;

	for (int i = 0; i < 2; i++) {
		link.path = place_bytes(p, "t/hard");
		link.target = place_bytes(p, "t/new/f");
		link.symbolic = false;
		run(p, "Link", &link.base);
		link.path = place_bytes(p, "t/symbolic");
		link.target = bytes_of("new/f");
		link.symbolic = true;
		run(p, "Link", &link.base);
	}
	read.path = place_bytes(p, "t/symbolic");
	run(p, "ReadLink", &read.base);
	read.canonical = true;
	run(p, "ReadLink", &read.base);
}

static void change_attributes(struct place *p)
{
	Telex__V1__SetAttributesRequest r = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;
	Google__Protobuf__Timestamp modified = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	char self[16];

	modified.seconds = 1000;
	r.path = place_bytes(p, "t");
	r.recursive = true;
	r.mode_change = (char *)(uintptr_t) "u+rwX,o-w";
	r.modified = &modified;
	snprintf(self, sizeof(self), "%u", geteuid() == 0 ? 1234u : (unsigned)geteuid());
	r.owner = self;
	run(p, "SetAttributes", &r.base);
	r.owner = (char *)(uintptr_t)(geteuid() == 0 ? "root" : self);
	run(p, "SetAttributes", &r.base);
}

static void copy_and_move(struct place *p)
{
	Telex__V1__CopyRequest copy = TELEX__V1__COPY_REQUEST__INIT;
	Telex__V1__MoveRequest move = TELEX__V1__MOVE_REQUEST__INIT;

	copy.source = place_bytes(p, "t");
	copy.target = place_bytes(p, "u");
	copy.recursive = copy.preserve = true;
	run(p, "Copy", &copy.base);
	copy.target = place_bytes(p, "v");
	copy.follow = true;
	copy.preserve = false;
	run(p, "Copy", &copy.base);
	move.source = place_bytes(p, "u/new/f");
	move.target = place_bytes(p, "v/moved");
	move.replace = TELEX__V1__REPLACE__REPLACE_NEVER;
	run(p, "Move", &move.base);
	move.source = place_bytes(p, "u");
	move.target = place_bytes(p, "v");
	move.replace = TELEX__V1__REPLACE__REPLACE_EXCHANGE;
	run(p, "Move", &move.base);
	if (!p->mounted)
		return;
	move.target = place_bytes(p, "mount/u");
	move.replace = TELEX__V1__REPLACE__REPLACE_ALWAYS;
	run(p, "Move", &move.base);
}

static void remove_all(struct place *p)
{
	static const char *const names[] = {"t", "u", "v", "mount/u", "none"};
	Telex__V1__FileServiceRemoveRequest r = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;

	r.recursive = r.force = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		r.path = place_bytes(p, names[i]);
		run(p, "Remove", &r.base);
	}
}

static void lock_in(struct place *p)
{
	struct roots *roots = (struct roots *)(uintptr_t)call_roots(p->call);
	struct confine_report report = {0};
	struct err e;

	names_load();
	if (digest_prepare() != 0 || sandbox_enter(&report, SANDBOX_FILES, NULL, 0, &e) != 0 ||
	    sandbox_close(&report, SANDBOX_FILES, &roots, 1, &e) != 0) {
		printf("# %s\n", e.message);
		fflush(stdout);
		_exit(2);
	}
}

static void do_all(struct place *p)
{
	Telex__V1__MakeDirectoryRequest make = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;

	lock_in(p);
	make.path = place_bytes(p, "t/new");
	make.parents = true;
	run(p, "MakeDirectory", &make.base);
	write_files(p);
	read_files(p);
	make_links(p);
	change_attributes(p);
	copy_and_move(p);
	remove_all(p);
	names_free();
}

static void all_of_it_works(struct place *p, bool as_nobody)
{
	pid_t pid;
	int status;

	if (getenv("TELEX_TEST_SLOW") != NULL) {
		print_message("# valgrind's own system calls would be refused\n");
		skip();
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (as_nobody &&
		    (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
			_exit(3);
		do_all(p);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("ended by signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(place_count(p, ""), p->mounted ? 1 : 0);
}

static void as_whoever_this_is(void **state)
{
	struct place *p = *state;

	if (geteuid() == 0)
		(void)place_mount(p, "size=200m");
	all_of_it_works(p, false);
}

static void as_another_user(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	assert_int_equal(fchownat(p->fd, ".", NOBODY, NOBODY, 0), 0);
	all_of_it_works(p, true);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(as_whoever_this_is),
	    in_place(as_another_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
