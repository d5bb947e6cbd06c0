/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation, while somebody keeps swapping a folder for a link that leads out of the roots:
 * what is out there is neither read nor changed. TELEX_SWAPS: how many swaps (1000000 shows more).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

/* FOLDER/in is the root; in/t/a is a folder with "secret" and "sub", and now and then a link to
 * FOLDER/out, which has these, too, with other contents. */
struct race {
	struct place *p;
	atomic_bool end;
	atomic_ulong swaps;
	unsigned long reached; /* operations that did something */
};

static bool put(const struct place *p, const char *name, const char *text)
{
	int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static void *swap(void *arg)
{
	struct race *r = arg;
	const int fd = r->p->fd;

	while (!atomic_load(&r->end)) {
		if (renameat(fd, "in/t/a", fd, "in/hidden") == 0 &&
		    symlinkat(atomic_load(&r->swaps) % 2 != 0 ? "../../out" : r->p->path[7], fd,
		        "in/t/a") == 0)
			atomic_fetch_add(&r->swaps, 1);
		(void)unlinkat(fd, "in/t/a", 0);
		(void)renameat(fd, "in/hidden", fd, "in/t/a");
	}
	return NULL;
}

static void fill(const struct place *p)
{
	(void)mkdirat(p->fd, "in/t", 0755);
	if (mkdirat(p->fd, "in/t/new", 0755) != 0)
		return;
	(void)put(p, "in/t/new/secret", "inside");
	(void)mkdirat(p->fd, "in/t/new/sub", 0755);
	(void)put(p, "in/t/new/sub/f", "inside");
	(void)renameat2(p->fd, "in/t/new", p->fd, "in/t/a", RENAME_NOREPLACE);
}

static void count(struct race *r, const char *method, const ProtobufCMessage *request)
{
	r->reached += memory_call_run(r->p->call, method, request) == RPC_OK;
}

static void read_and_list(struct race *r)
{
	Telex__V1__ReadRequest read = TELEX__V1__READ_REQUEST__INIT;
	Telex__V1__FileServiceListRequest list = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	Telex__V1__CopyRequest copy = TELEX__V1__COPY_REQUEST__INIT;
	struct place *p = r->p;
	const char *copied;

	read.path = place_bytes(p, "in/t/a/secret");
	count(r, "Read", &read.base);
	for (size_t i = 0; i < memory_call_count(p->call); i++) {
		const Telex__V1__ReadResponse *m =
		    memory_call_response(p->call, i, &telex__v1__read_response__descriptor);

		if (m->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_CHUNK)
			assert_memory_equal(m->chunk->data.data, "inside", 6);
	}
	list.path = place_bytes(p, "in/t");
	list.depth = UINT32_MAX;
	count(r, "List", &list.base);
	for (size_t i = 0; i < memory_call_count(p->call); i++) {
		const Telex__V1__FileServiceListResponse *m = memory_call_response(
		    p->call, i, &telex__v1__file_service_list_response__descriptor);

		for (size_t k = 0; k < m->n_entries; k++)
			assert_null(memmem(m->entries[k]->file->path.data,
			    m->entries[k]->file->path.len, "outside", 7));
	}
	copy.source = place_bytes(p, "in/t");
	copy.target = place_bytes(p, "in/copy");
	copy.recursive = copy.preserve = true;
	copy.follow = atomic_load(&r->swaps) % 3 == 0;
	count(r, "Copy", &copy.base);
	/* It may be the link that was copied. */
	if (!place_has(p, "in/copy/a") || !S_ISDIR(place_stat(p, "in/copy/a").st_mode))
		return;
	copied = place_text(p, "in/copy/a/secret");
	/* Appending may just have made it. */
	assert_true(copied == NULL || strstr(copied, "outside") == NULL);
	assert_false(place_has(p, "in/copy/a/outside"));
}

static void change(struct race *r)
{
	Telex__V1__WriteRequest write = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteRequest end = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteBegin begin = TELEX__V1__WRITE_BEGIN__INIT;
	Telex__V1__WriteEnd whole = TELEX__V1__WRITE_END__INIT;
	Telex__V1__SetAttributesRequest set = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;
	Telex__V1__MakeDirectoryRequest make = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;
	Telex__V1__TruncateRequest cut = TELEX__V1__TRUNCATE_REQUEST__INIT;
	Telex__V1__LinkRequest link = TELEX__V1__LINK_REQUEST__INIT;
	struct place *p = r->p;

	for (int append = 0; append < 2; append++) {
		write.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
		write.begin = &begin;
		begin.path = place_bytes(p, "in/t/a/secret");
		begin.append = append != 0;
		end.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
		end.end = &whole;
		if (append == 0) {
			Telex__V1__WriteRequest more = TELEX__V1__WRITE_REQUEST__INIT;
			Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;

			chunk.data = bytes_of("inside");
			more.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK;
			more.chunk = &chunk;
			memory_call_queue(p->call, &more.base);
		}
		memory_call_queue(p->call, &end.base);
		count(r, "Write", &write.base);
	}
	set.path = place_bytes(p, "in/t");
	set.recursive = true;
	set.mode_change = (char *)(uintptr_t) "a+rwX";
	count(r, "SetAttributes", &set.base);
	set.path = place_bytes(p, "in/t/a/sub");
	count(r, "SetAttributes", &set.base);
	make.path = place_bytes(p, "in/t/a/made/there");
	make.parents = true;
	count(r, "MakeDirectory", &make.base);
	cut.path = place_bytes(p, "in/t/a/sub/f");
	count(r, "Truncate", &cut.base);
	link.path = place_bytes(p, "in/t/a/linked");
	link.target = place_bytes(p, "in/t/a/secret");
	count(r, "Link", &link.base);
}

static void move_and_remove(struct race *r)
{
	Telex__V1__MoveRequest move = TELEX__V1__MOVE_REQUEST__INIT;
	Telex__V1__FileServiceRemoveRequest gone = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;
	struct place *p = r->p;
	const char *text;

	move.source = place_bytes(p, "in/t/a/secret");
	move.target = place_bytes(p, "in/moved");
	count(r, "Move", &move.base);
	text = place_text(p, "in/moved");
	assert_true(text == NULL || strncmp(text, "outside", 7) != 0);
	move.source = place_bytes(p, "in/moved");
	move.target = place_bytes(p, "in/t/a/came");
	count(r, "Move", &move.base);
	gone.recursive = gone.force = true;
	gone.path = place_bytes(p, "in/t/a/sub");
	count(r, "Remove", &gone.base);
	gone.path = place_bytes(p, "in/t");
	count(r, "Remove", &gone.base);
	gone.path = place_bytes(p, "in/copy");
	count(r, "Remove", &gone.base);
	/* Another one may have been made in its place. */
	gone.path = place_bytes(p, "in/hidden");
	count(r, "Remove", &gone.base);
}

/* Nothing was added, taken or changed. */
static void check_outside(struct place *p)
{
	assert_string_equal(place_text(p, "out/secret"), "outside");
	assert_string_equal(place_text(p, "out/sub/f"), "outside");
	assert_int_equal(place_count(p, "out"), 3);
	assert_int_equal(place_count(p, "out/sub"), 1);
	assert_int_equal(place_stat(p, "out/secret").st_mode, S_IFREG | 0600);
	assert_int_equal(place_stat(p, "out/secret").st_nlink, 1);
	assert_int_equal(place_stat(p, "out/sub").st_mode, S_IFDIR | 0700);
}

static void make_outside(struct place *p)
{
	place_folder(p, "in");
	place_folder(p, "out");
	place_put(p, "out/secret", "outside");
	place_put(p, "out/outside", "");
	place_folder(p, "out/sub");
	place_put(p, "out/sub/f", "outside");
	assert_int_equal(fchmodat(p->fd, "out/secret", 0600, 0), 0);
	assert_int_equal(fchmodat(p->fd, "out/sub", 0700, 0), 0);
	snprintf(p->path[7], sizeof(p->path[7]), "%s/out", p->folder);
}

static void nothing_leads_out(void **state)
{
	const char *wanted = getenv("TELEX_SWAPS");
	unsigned long swaps = wanted != NULL ? strtoul(wanted, NULL, 10) : 3000;
	struct place *p = *state;
	struct race r = {.p = p};
	char root[700];
	const char *roots[] = {root, NULL};
	pthread_t thread;

	/* Valgrind has neither the kernel's openat2 nor threads at once. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		print_message("# there is no openat2 under valgrind, and no race\n");
		skip();
	}
	make_outside(p);
	snprintf(root, sizeof(root), "%s/in/**", p->folder);
	memory_call_free(p->call);
	p->call = memory_call_new(roots, roots);
	fill(p);
	assert_int_equal(pthread_create(&thread, NULL, swap, &r), 0);
	while (atomic_load(&r.swaps) < swaps) {
		/* path[7] is the swapper's. */
		p->next = 0;
		fill(p);
		read_and_list(&r);
		p->next = 0;
		change(&r);
		p->next = 0;
		move_and_remove(&r);
		p->next = 0;
		check_outside(p);
	}
	atomic_store(&r.end, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(r.reached > 0);
	print_message(
	    "# %lu swaps, %lu operations came to something\n", atomic_load(&r.swaps), r.reached);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(nothing_leads_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
