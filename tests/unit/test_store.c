/* SPDX-License-Identifier: Apache-2.0 */
/* What is held of an output: the ring, the spool, and who may overwrite what. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/spool.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/store.h"
#include "common/ring.h"

#define SIZE ((size_t)64 * 1024)
#define STEP (SIZE / 2) /* what such a ring makes room for at once */

static const struct store_readers nobody = {.hold = UINT64_MAX, .guard = UINT64_MAX};

struct fixture {
	struct store *st, *before;
	char dir[64];
	int folder;
	bool mounted;
};

/* The byte at an offset: no two neighbouring pages are alike. */
static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset ^ (offset >> 8) ^ (offset >> 16) * 31);
}

static void open_store(struct fixture *f, bool drop, uint64_t spool)
{
	const struct store_config c = {.ring_size = SIZE,
	    .drop_oldest = drop,
	    .spool = spool,
	    .spool_folder = f->folder,
	    .job = "test"};
	struct err e;

	assert_int_equal(store_new(&f->st, &c), 0);
	assert_int_equal(store_open(f->st, &e), 0);
}

/* Writes n bytes where there is room for them. */
static void put(struct fixture *f, size_t n)
{
	struct ring *r = store_ring(f->st);
	size_t room;
	uint8_t *at = ring_space(r, &room);
	uint64_t head = ring_head(r);

	assert_true(n <= room);
	for (size_t i = 0; i < n; i++)
		at[i] = byte_at(head + i);
	ring_commit(r, n);
}

static void put_all(struct fixture *f)
{
	struct ring *r = store_ring(f->st);

	put(f, SIZE - (size_t)(ring_head(r) - ring_tail(r)));
}

static enum store_room make_room(struct fixture *f, uint64_t hold, uint64_t guard)
{
	const struct store_readers r = {.hold = hold, .guard = guard};
	struct err e = {0};

	return store_make_room(f->st, &r, &e);
}

/* All that is held is what was written, and the worker's mapping agrees with the keeper's. */
static void check_held(struct fixture *f, uint64_t oldest)
{
	struct spool *sp = store_spool(f->st);
	struct ring *w;
	const uint8_t *at;
	size_t len;
	struct err e;

	assert_int_equal(store_oldest(f->st), oldest);
	assert_int_equal(ring_map(&w, ring_fd(store_ring(f->st)), RING_OUTPUT, &e), 0);
	assert_int_equal(ring_oldest(w), oldest);
	assert_int_equal(ring_tail(w), ring_tail(store_ring(f->st)));
	for (uint64_t o = oldest; o < ring_tail(w); o++) {
		uint8_t b;

		assert_int_equal(pread(spool_fd(sp), &b, 1, (off_t)(o - spool_base(sp))), 1);
		if (b != byte_at(o))
			fail_msg("a wrong byte in the spool at %llu", (unsigned long long)o);
	}
	at = ring_peek(w, ring_tail(w), &len);
	for (size_t i = 0; i < len; i++)
		if (at[i] != byte_at(ring_tail(w) + i))
			fail_msg("a wrong byte in the ring at %llu",
			    (unsigned long long)(ring_tail(w) + i));
	ring_unref(w);
}

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "%s/telex-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	f->folder = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->folder >= 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_free(f->st);
	store_free(f->before);
	close(f->folder);
	if (f->mounted)
		assert_int_equal(umount(f->dir), 0);
	/* Nothing was left in it. */
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- the ring ---- */

static void what_was_released_stays_until_room_is_needed(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, 0);
	put_all(f);
	assert_int_equal(store_release(f->st, SIZE), 0);
	assert_int_equal(store_release(f->st, SIZE + 1), TX_EPROTO);
	check_held(f, 0);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	check_held(f, STEP);
	put_all(f);
	check_held(f, STEP);
	assert_int_equal(store_ring_number(f->st), 1);
}

static void what_is_not_released_holds_the_writer(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, 0);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_FULL);
	assert_int_equal(make_room(f, 0, 0), STORE_FULL);
	/* The least bit is room. */
	assert_int_equal(make_room(f, 7, 7), STORE_ROOM);
	check_held(f, 7);
	put_all(f);
	/* One who has come for what others had released holds it. */
	assert_int_equal(store_release(f->st, SIZE), 0);
	assert_int_equal(make_room(f, 7, 7), STORE_FULL);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
}

/* The memory that somebody may refer to is not written again: it is another ring that goes on. */
static void a_reader_that_is_passed_keeps_its_memory(void **state)
{
	struct fixture *f = *state;
	const uint8_t *at;
	struct ring *w;
	size_t len;
	struct err e;

	open_store(f, false, 0);
	put_all(f);
	assert_int_equal(ring_map(&w, ring_fd(store_ring(f->st)), RING_OUTPUT, &e), 0);
	at = ring_peek(w, 0, &len);
	assert_int_equal(len, SIZE);
	/* It has 10 bytes; those who count have all. */
	assert_int_equal(make_room(f, SIZE, 10), STORE_ROOM);
	assert_int_equal(store_ring_number(f->st), 2);
	put_all(f);
	check_held(f, STEP);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(at[i], byte_at(i));
	ring_refresh(w);
	assert_true(ring_moved(w));
	assert_int_equal(ring_head(w), SIZE);
	ring_unref(w);
	/* One that is past what goes costs nothing. */
	assert_int_equal(make_room(f, SIZE + STEP, SIZE), STORE_ROOM);
	assert_int_equal(store_ring_number(f->st), 2);
	check_held(f, SIZE);
}

static void a_ring_is_copied_across_its_end(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, 0);
	for (int i = 0; i < 7; i++) {
		put_all(f);
		/* Odd steps, so that every place is the ring's end once. */
		assert_int_equal(
		    make_room(f, store_oldest(f->st) + 10007, store_oldest(f->st)), STORE_ROOM);
		check_held(f, (uint64_t)(i + 1) * 10007);
	}
	assert_int_equal(store_ring_number(f->st), 8);
}

static void drop_oldest_waits_for_nobody(void **state)
{
	struct fixture *f = *state;

	open_store(f, true, 0);
	put_all(f);
	assert_int_equal(make_room(f, 0, 0), STORE_ROOM);
	check_held(f, STEP);
	assert_int_equal(store_ring_number(f->st), 2);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	check_held(f, 2 * STEP);
}

static void readers_who_are_not_waited_for_are_passed(void **state)
{
	const struct store_readers lossy = {
	    .hold = UINT64_MAX, .guard = UINT64_MAX, .unwaited = true};
	struct fixture *f = *state;
	struct err e;

	open_store(f, false, 0);
	put_all(f);
	assert_int_equal(store_make_room(f->st, &nobody, &e), STORE_FULL);
	assert_int_equal(store_make_room(f->st, &lossy, &e), STORE_ROOM);
	check_held(f, STEP);
}

static void what_is_forgotten_has_its_length(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, 1 << 20);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	put(f, 5);
	store_forget(f->st);
	assert_null(store_ring(f->st));
	assert_null(store_spool(f->st));
	assert_int_equal(store_head(f->st), SIZE + 5);
	assert_int_equal(store_oldest(f->st), SIZE + 5);
	assert_int_equal(store_memory(f->st), 0);
}

/* ---- the spool ---- */

static void a_full_ring_goes_on_in_the_spool(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, 4 * SIZE);
	for (int i = 0; i < 8; i++) {
		put_all(f);
		assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	}
	put_all(f);
	/* Ring and spool are full now: the policy waits. */
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_FULL);
	check_held(f, 0);
	assert_int_equal(store_head(f->st), 5 * SIZE);
	assert_int_equal(store_spool_number(f->st), 1);
	/* Not at all: whoever acknowledges less than the whole spool makes no room. */
	assert_int_equal(make_room(f, SIZE, UINT64_MAX), STORE_FULL);
	check_held(f, 0);
}

static void a_reader_in_the_spool_keeps_its_ring(void **state)
{
	struct fixture *f = *state;
	const uint8_t *at;
	struct ring *w;
	size_t len;
	struct err e;

	open_store(f, false, 4 * SIZE);
	put_all(f);
	assert_int_equal(ring_map(&w, ring_fd(store_ring(f->st)), RING_OUTPUT, &e), 0);
	at = ring_peek(w, 0, &len);
	assert_int_equal(make_room(f, 0, 0), STORE_ROOM);
	put_all(f);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(at[i], byte_at(i));
	check_held(f, 0);
	ring_unref(w);
}

static void a_spool_that_was_read_goes_and_another_begins(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int old;

	open_store(f, false, 4 * SIZE);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	put_all(f);
	old = dup(spool_fd(store_spool(f->st)));
	assert_int_equal(make_room(f, SIZE, UINT64_MAX), STORE_ROOM);
	assert_null(store_spool(f->st));
	check_held(f, SIZE);
	/* Its room is free, although a worker has it still. */
	assert_int_equal(fstat(old, &st), 0);
	assert_int_equal(st.st_size, 0);
	close(old);
	put_all(f);
	assert_int_equal(make_room(f, SIZE, UINT64_MAX), STORE_ROOM);
	assert_int_equal(store_spool_number(f->st), 2);
	assert_int_equal(spool_base(store_spool(f->st)), SIZE);
	check_held(f, SIZE);
}

static void of_a_full_spool_the_oldest_goes(void **state)
{
	struct fixture *f = *state;

	open_store(f, true, SIZE);
	for (int i = 0; i < 10; i++) {
		put_all(f);
		assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	}
	/* Ten steps were passed, two are in the spool. */
	check_held(f, 8 * STEP);
	assert_int_equal(spool_end(store_spool(f->st)) - spool_oldest(store_spool(f->st)), SIZE);
}

static void a_workers_descriptor_can_only_read(void **state)
{
	struct fixture *f = *state;

	open_store(f, false, SIZE);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	assert_int_equal(fcntl(spool_fd(store_spool(f->st)), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(write(spool_fd(store_spool(f->st)), "x", 1), -1);
}

/* A disk of 64 KiB; false: this test may not mount. */
static bool mount_small(struct fixture *f)
{
	if (geteuid() != 0 || mount("none", f->dir, "tmpfs", 0, "size=64k") != 0)
		return false;
	f->mounted = true;
	close(f->folder);
	f->folder = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->folder >= 0);
	return true;
}

static void a_full_disk_is_a_full_spool(void **state)
{
	struct fixture *f = *state;
	int filler;

	if (!mount_small(f))
		skip();
	open_store(f, false, 1 << 20);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	put_all(f);
	filler = openat(f->folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(filler >= 0);
	assert_int_equal(ftruncate(filler, 1 << 20), 0);
	while (write(filler, f->dir, sizeof(f->dir)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_DISK_FULL);
	check_held(f, 0);
	/* With room on the disk it goes on. */
	close(filler);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	check_held(f, 0);
}

static void on_a_full_disk_drop_oldest_drops(void **state)
{
	struct fixture *f = *state;
	uint64_t oldest = 0;

	if (!mount_small(f))
		skip();
	open_store(f, true, 1 << 20);
	for (int i = 0; i < 20; i++) {
		put_all(f);
		assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
		assert_true(store_oldest(f->st) >= oldest);
		oldest = store_oldest(f->st);
		check_held(f, oldest);
	}
	assert_true(oldest > 0);
}

static void without_a_folder_there_is_no_spool(void **state)
{
	struct fixture *f = *state;
	const struct store_config c = {
	    .ring_size = SIZE, .spool = SIZE, .spool_folder = -1, .job = "test"};
	struct err e;

	assert_int_equal(store_new(&f->st, &c), 0);
	assert_int_equal(store_open(f->st, &e), 0);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_FULL);
}

/* As an upgrade does; afterwards there is no folder for spools any more. */
static void restore(struct fixture *f)
{
	struct store_config c = {
	    .drop_oldest = true, .spool = SIZE, .spool_folder = -1, .job = "test"};
	struct state_out *o = state_out_new();
	struct store_saved saved;
	struct state_in *in;
	enum state_tag tag;
	struct err e;
	int memfd;

	assert_non_null(o);
	state_begin(o, STATE_JOB);
	store_save(o, f->st);
	state_end(o);
	state_begin(o, STATE_END);
	state_end(o);
	assert_int_equal(state_seal(o, &memfd, &e), 0);
	state_out_free(o);
	assert_int_equal(state_open(&in, memfd, &e), 0);
	close(memfd);
	assert_true(state_next(in, &tag));
	store_load(in, &saved);
	assert_true(state_record_good(in));
	state_close(in);
	saved.ring_fd = dup(saved.ring_fd);
	saved.spool.fd = dup(saved.spool.fd);
	saved.spool.reader = dup(saved.spool.reader);
	f->before = f->st;
	assert_int_equal(store_restore(&f->st, &c, &saved, &e), 0);
}

static void a_spool_from_before_leaves_no_gap(void **state)
{
	struct fixture *f = *state;

	open_store(f, true, SIZE);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	assert_non_null(store_spool(f->st));
	restore(f);
	check_held(f, 0);
	put_all(f);
	assert_int_equal(make_room(f, UINT64_MAX, UINT64_MAX), STORE_ROOM);
	assert_null(store_spool(f->st));
	check_held(f, ring_tail(store_ring(f->st)));
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(what_was_released_stays_until_room_is_needed),
	    RUN_TEST(what_is_not_released_holds_the_writer),
	    RUN_TEST(a_reader_that_is_passed_keeps_its_memory),
	    RUN_TEST(a_ring_is_copied_across_its_end),
	    RUN_TEST(drop_oldest_waits_for_nobody),
	    RUN_TEST(readers_who_are_not_waited_for_are_passed),
	    RUN_TEST(what_is_forgotten_has_its_length),
	    RUN_TEST(a_full_ring_goes_on_in_the_spool),
	    RUN_TEST(a_reader_in_the_spool_keeps_its_ring),
	    RUN_TEST(a_spool_that_was_read_goes_and_another_begins),
	    RUN_TEST(of_a_full_spool_the_oldest_goes),
	    RUN_TEST(a_workers_descriptor_can_only_read),
	    RUN_TEST(a_full_disk_is_a_full_spool),
	    RUN_TEST(on_a_full_disk_drop_oldest_drops),
	    RUN_TEST(a_spool_from_before_leaves_no_gap),
	    RUN_TEST(without_a_folder_there_is_no_spool),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
