/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ring.h"

static struct ring *make(enum ring_kind kind, size_t size)
{
	struct ring *r = NULL;

	assert_int_equal(ring_create(&r, kind, size, NULL), 0);
	return r;
}

static struct ring *map(struct ring *keeper, enum ring_kind kind)
{
	struct ring *r = NULL;
	struct err e;

	if (ring_map(&r, ring_fd(keeper), kind, &e) != 0)
		fail_msg("%s", e.message);
	return r;
}

/* The byte that stands at `offset` of the test streams. */
static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 131 + (offset >> 8) * 7);
}

static void fill(uint8_t *p, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(offset + i);
}

static void assert_bytes(const uint8_t *p, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte_at(offset + i))
			fail_msg("byte %zu after %llu is wrong", i, (unsigned long long)offset);
}

/* Puts n bytes into an output ring. */
static void produce(struct ring *r, size_t n)
{
	size_t room;
	uint8_t *p = ring_space(r, &room);

	assert_true(n <= room);
	fill(p, ring_head(r), n);
	ring_commit(r, n);
}

static void sizes_are_rounded_up_to_powers_of_two(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct ring *r;
	struct err e;

	(void)state;
	r = make(RING_OUTPUT, 0);
	assert_int_equal(ring_size(r), page);
	ring_unref(r);
	r = make(RING_INPUT, 4 * page + 1);
	assert_int_equal(ring_size(r), 8 * page);
	ring_unref(r);
	r = make(RING_INPUT, 1 << 16);
	assert_int_equal(ring_size(r), 1 << 16);
	ring_unref(r);
	assert_int_equal(ring_create(&r, RING_OUTPUT, RING_SIZE_MAX + 1, &e), TX_ETOOBIG);
	assert_int_equal(ring_create(&r, RING_OUTPUT, SIZE_MAX, &e), TX_ETOOBIG);
}

static void output_reaches_the_reader(void **state)
{
	struct ring *k = make(RING_OUTPUT, 4096), *w = map(k, RING_OUTPUT);
	const uint8_t *p;
	size_t len;

	(void)state;
	ring_peek(w, 0, &len);
	assert_int_equal(len, 0);
	produce(k, 100);
	ring_peek(w, 0, &len);
	assert_int_equal(len, 0); /* not before the refresh */
	ring_refresh(w);
	p = ring_peek(w, 40, &len);
	assert_int_equal(len, 60);
	assert_bytes(p, 40, 60);
	assert_true(ring_head(w) == 100 && ring_tail(w) == 0);
	assert_int_equal(ring_release(k, 100), 0);
	ring_refresh(w);
	assert_true(ring_tail(w) == 100);
	ring_unref(w);
	ring_unref(k);
}

static void a_span_over_the_end_is_contiguous(void **state)
{
	struct ring *k = make(RING_OUTPUT, 4096), *w = map(k, RING_OUTPUT);
	const size_t size = ring_size(k);
	const uint8_t *p;
	size_t len;

	(void)state;
	produce(k, size - 3);
	assert_int_equal(ring_release(k, size - 3), 0);
	ring_space(k, &len);
	assert_int_equal(len, size);
	produce(k, size);
	ring_space(k, &len);
	assert_int_equal(len, 0);
	ring_refresh(w);
	p = ring_peek(w, size - 3, &len);
	assert_int_equal(len, size);
	assert_bytes(p, size - 3, size);
	p = ring_peek(k, size - 3, &len);
	assert_bytes(p, size - 3, len);
	ring_unref(w);
	ring_unref(k);
}

static void offsets_go_beyond_four_gigabytes(void **state)
{
	const uint64_t end = (UINT64_C(1) << 32) + (UINT64_C(1) << 20);
	struct ring *k = make(RING_OUTPUT, 64 << 20), *w;
	uint64_t head;
	const uint8_t *p;
	size_t len;

	(void)state;
	/* The bytes in between need not be written to be counted. */
	while ((head = ring_head(k)) < end) {
		ring_space(k, &len);
		ring_commit(k, end - head < len ? (size_t)(end - head) : len);
		assert_int_equal(ring_release(k, ring_head(k)), 0);
	}
	produce(k, 1000);
	w = map(k, RING_OUTPUT);
	assert_true(ring_tail(w) == end && ring_head(w) == end + 1000);
	p = ring_peek(w, end + 1, &len);
	assert_int_equal(len, 999);
	assert_bytes(p, end + 1, 999);
	ring_unref(w);
	ring_unref(k);
}

static void the_receiver_cannot_write_an_output(void **state)
{
	struct ring *k = make(RING_OUTPUT, 4096);
	const int fd = ring_fd(k);
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[64];
	int again;

	(void)state;
	assert_true(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_int_equal(errno, EPERM);
	assert_true(pwrite(fd, "x", 1, (off_t)page) < 0 && errno == EPERM);
	assert_true(ftruncate(fd, 0) < 0 && errno == EPERM);
	assert_true(ftruncate(fd, 1 << 20) < 0 && errno == EPERM);
	assert_true(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)page) < 0);
	assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	/* Nor by opening it anew. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again >= 0) {
		assert_true(
		    mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED);
		assert_true(pwrite(again, "x", 1, 0) < 0);
		close(again);
	}
	/* A read-only mapping cannot be made writable afterwards. */
	void *p = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_true(mprotect(p, page, PROT_READ | PROT_WRITE) < 0);
	munmap(p, page);
	/* The keeper still can. */
	produce(k, 10);
	ring_unref(k);
}

static void an_input_can_be_written_but_not_resized(void **state)
{
	struct ring *k = make(RING_INPUT, 4096);

	(void)state;
	assert_true(ftruncate(ring_fd(k), 0) < 0 && errno == EPERM);
	assert_true(ftruncate(ring_fd(k), 1 << 20) < 0 && errno == EPERM);
	assert_int_equal(fcntl(ring_fd(k), F_GETFD), FD_CLOEXEC);
	ring_unref(k);
}

static void input_reaches_the_keeper(void **state)
{
	struct ring *k = make(RING_INPUT, 4096), *w = map(k, RING_INPUT);
	const size_t size = ring_size(k);
	uint64_t at = 0;

	(void)state;
	for (int round = 0; round < 7; round++) {
		const uint8_t *p;
		size_t room, len;
		uint8_t *space = ring_input_space(w, &room);

		assert_int_equal(room, size);
		fill(space, ring_head(w), size - 5);
		ring_input_commit(w, size - 5);
		ring_input_space(w, &room);
		assert_int_equal(room, 5);
		assert_int_equal(ring_accept(k, ring_head(w)), 0);
		p = ring_peek(k, at, &len);
		assert_int_equal(len, size - 5);
		assert_bytes(p, at, len);
		at += len;
		assert_int_equal(ring_release(k, at), 0);
		ring_refresh(w);
		assert_true(ring_tail(w) == at && ring_head(w) == at);
	}
	ring_unref(w);
	ring_unref(k);
}

static void a_new_worker_goes_on_where_the_keeper_is(void **state)
{
	struct ring *k = make(RING_INPUT, 4096), *first = map(k, RING_INPUT), *second;
	size_t room;
	uint8_t *p;

	(void)state;
	p = ring_input_space(first, &room);
	fill(p, 0, 100);
	ring_input_commit(first, 100);
	assert_int_equal(ring_accept(k, 60), 0); /* the other 40 were never told */
	assert_int_equal(ring_release(k, 20), 0);
	ring_unref(first);

	second = map(k, RING_INPUT);
	assert_true(ring_head(second) == 60 && ring_tail(second) == 20);
	ring_input_seek(second, 60, 20);
	p = ring_input_space(second, &room);
	assert_int_equal(room, ring_size(k) - 40);
	fill(p, 60, 10);
	ring_input_commit(second, 10);
	assert_int_equal(ring_accept(k, 70), 0);
	assert_bytes(ring_peek(k, 20, &room), 20, 50);
	ring_unref(second);
	ring_unref(k);
}

static void lying_heads_are_refused(void **state)
{
	struct ring *k = make(RING_INPUT, 4096);
	const size_t size = ring_size(k);

	(void)state;
	assert_int_equal(ring_accept(k, 100), 0);
	assert_int_equal(ring_release(k, 50), 0);
	assert_int_equal(ring_accept(k, 99), TX_EPROTO);
	assert_int_equal(ring_accept(k, 0), TX_EPROTO);
	assert_int_equal(ring_accept(k, 50 + size + 1), TX_EPROTO);
	assert_int_equal(ring_accept(k, UINT64_MAX), TX_EPROTO);
	assert_int_equal(ring_accept(k, UINT64_MAX - 10), TX_EPROTO);
	assert_true(ring_head(k) == 100 && ring_tail(k) == 50);
	assert_int_equal(ring_accept(k, 100), 0);
	assert_int_equal(ring_accept(k, 50 + size), 0);
	assert_true(ring_head(k) == 50 + size);
	ring_unref(k);
}

static void release_stays_between_tail_and_head(void **state)
{
	struct ring *k = make(RING_OUTPUT, 4096);

	(void)state;
	produce(k, 100);
	assert_int_equal(ring_release(k, 101), TX_EPROTO);
	assert_int_equal(ring_release(k, UINT64_MAX), TX_EPROTO);
	assert_true(ring_tail(k) == 0);
	assert_int_equal(ring_release(k, 60), 0);
	assert_int_equal(ring_release(k, 30), 0);
	assert_true(ring_tail(k) == 60);
	assert_int_equal(ring_release(k, 100), 0);
	assert_true(ring_tail(k) == 100);
	ring_unref(k);
}

/* A memfd that looks like a ring, from numbers of the test's choice. */
static int forge(
    uint64_t magic, uint32_t version, uint32_t kind, uint64_t size, size_t bytes, int seals)
{
	struct {
		uint64_t magic;
		uint32_t version, kind;
		uint64_t size;
	} h = {magic, version, kind, size};
	int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	if (bytes >= sizeof(h))
		assert_int_equal(pwrite(fd, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void assert_forged_refused(int fd)
{
	struct ring *r = NULL;
	struct err e;

	assert_int_equal(ring_map(&r, fd, RING_OUTPUT, &e), TX_EPROTO);
	assert_null(r);
	close(fd);
}

static void hostile_headers_are_refused(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const int seals = F_SEAL_GROW | F_SEAL_SHRINK;
	struct ring *k = make(RING_OUTPUT, 4096), *w = NULL;
	uint64_t magic;
	struct err e;
	int fd, pipes[2];

	(void)state;
	assert_int_equal(pread(ring_fd(k), &magic, sizeof(magic), 0), sizeof(magic));
	/* The control: numbers that are right. */
	fd = forge(magic, 2, RING_OUTPUT, page, 2 * page, seals);
	assert_int_equal(ring_map(&w, fd, RING_OUTPUT, &e), 0);
	ring_unref(w);
	close(fd);

	assert_forged_refused(forge(magic + 1, 2, RING_OUTPUT, page, 2 * page, seals));
	assert_forged_refused(forge(magic, 3, RING_OUTPUT, page, 2 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_INPUT, page, 2 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, 2 * page, 2 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, page, 3 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, 3 * page, 4 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, 0, page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, page / 2, page + page / 2, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, UINT64_C(1) << 63, 2 * page, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, 0 - (uint64_t)page, 0, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, page, 8, seals));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, page, 2 * page, F_SEAL_GROW));
	assert_forged_refused(forge(magic, 2, RING_OUTPUT, page, 2 * page, F_SEAL_SHRINK));
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_forged_refused(pipes[0]);
	close(pipes[1]);
	assert_int_equal(ring_map(&w, ring_fd(k), RING_INPUT, &e), TX_EPROTO);
	ring_unref(k);
}

static void impossible_offsets_in_the_header_change_nothing(void **state)
{
	static const uint64_t lies[][2] = {/* head, tail */
	    {0, 1}, {5, UINT64_MAX}, {UINT64_MAX - 4096, UINT64_MAX}, {0, 0}};
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct ring *k = make(RING_OUTPUT, 4096), *w = NULL;
	uint64_t magic;
	uint64_t *page0;
	size_t len;
	int fd;

	(void)state;
	assert_int_equal(pread(ring_fd(k), &magic, sizeof(magic), 0), sizeof(magic));
	ring_unref(k);
	fd = forge(magic, 2, RING_OUTPUT, page, 2 * page, F_SEAL_GROW | F_SEAL_SHRINK);
	page0 = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(page0 != MAP_FAILED);
	page0[8] = 40;  /* head */
	page0[16] = 30; /* tail */
	assert_int_equal(ring_map(&w, fd, RING_OUTPUT, NULL), 0);
	assert_true(ring_head(w) == 40 && ring_tail(w) == 30);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		page0[8] = lies[i][0];
		page0[16] = lies[i][1];
		ring_refresh(w);
		assert_true(ring_head(w) == 40 && ring_tail(w) == 30);
	}
	/* More than a ring's size between them: the older part cannot be there. */
	page0[8] = 3 * page;
	page0[16] = 31;
	ring_refresh(w);
	assert_true(ring_head(w) == 3 * page && ring_tail(w) == 2 * page);
	ring_peek(w, ring_tail(w), &len);
	assert_int_equal(len, page);
	munmap(page0, page);
	ring_unref(w);
	close(fd);
}

static void a_reference_keeps_the_mapping(void **state)
{
	struct ring *k = make(RING_OUTPUT, 4096);
	size_t len;

	(void)state;
	produce(k, 10);
	assert_ptr_equal(ring_ref(k), k);
	ring_unref(k);
	assert_bytes(ring_peek(k, 0, &len), 0, 10);
	ring_unref(k);
	assert_null(ring_ref(NULL));
	ring_unref(NULL);
}

#define STREAM_BYTES ((uint64_t)8 << 20)

/* The worker of the test below: reads the whole stream, tells what it has read. Returns its exit
 * code. */
static int consume(int memfd, int sock)
{
	struct ring *r;
	uint64_t at = 0;

	if (ring_map(&r, memfd, RING_OUTPUT, NULL) != 0)
		return 2;
	while (at < STREAM_BYTES) {
		const uint8_t *p;
		size_t len;
		char wake;

		if (read(sock, &wake, 1) != 1)
			return 3;
		ring_refresh(r);
		p = ring_peek(r, at, &len);
		for (size_t i = 0; i < len; i++)
			if (p[i] != byte_at(at + i))
				return 4;
		at += len;
		if (write(sock, &at, sizeof(at)) != sizeof(at))
			return 5;
	}
	ring_unref(r);
	return 0;
}

static void two_processes_exchange_a_stream(void **state)
{
	struct ring *k = make(RING_OUTPUT, 64 << 10);
	int sv[2], status = -1;
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(sv[0]);
		status = consume(ring_fd(k), sv[1]);
		ring_unref(k); /* a leak checker looks at this process, too */
		_exit(status);
	}
	close(sv[1]);
	while (ring_tail(k) < STREAM_BYTES) {
		uint64_t seen, left = STREAM_BYTES - ring_head(k);
		size_t room;

		ring_space(k, &room);
		room = room > 40000 ? 40000 : room;
		produce(k, room < left ? room : (size_t)left);
		if (write(sv[0], "w", 1) != 1 || read(sv[0], &seen, sizeof(seen)) != sizeof(seen))
			break;
		assert_int_equal(ring_release(k, seen), 0);
	}
	close(sv[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(ring_tail(k) == STREAM_BYTES);
	ring_unref(k);
}

/* As over an upgrade: all that is left of the old one is its memfd. */
static void a_copy_has_the_same_bytes_at_the_same_offsets(void **state)
{
	static const enum ring_kind kinds[] = {RING_OUTPUT, RING_INPUT};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct ring *old = make(kinds[k], 4096), *copy = NULL;
		struct ring *worker = map(old, kinds[k]);
		struct ring_span span;
		uint64_t head = 0;
		uint8_t *at;
		size_t n;
		struct err e;

		/* Around the end of the memory, more than once. */
		for (int i = 0; i < 5; i++) {
			at = kinds[k] == RING_OUTPUT ? ring_space(old, &n)
			                             : ring_input_space(worker, &n);
			n = n < 3000 ? n : 3000;
			fill(at, head, n);
			head += n;
			if (kinds[k] == RING_OUTPUT) {
				ring_commit(old, n);
			} else {
				ring_input_commit(worker, n);
				assert_int_equal(ring_accept(old, head), 0);
			}
			if (i == 4)
				break;
			assert_int_equal(ring_release(old, head - 100), 0);
			ring_refresh(worker);
		}
		span = (struct ring_span){.size = ring_size(old),
		    .oldest = ring_tail(old) - 5,
		    .tail = ring_tail(old),
		    .head = ring_head(old)};
		if (ring_copy(&copy, ring_fd(old), kinds[k], &span, &e) != 0)
			fail_msg("%s", e.message);
		assert_int_equal(ring_tail(copy), ring_tail(old));
		assert_int_equal(ring_head(copy), ring_head(old));
		ring_unref(worker);
		ring_unref(old);
		worker = map(copy, kinds[k]);
		assert_bytes(ring_peek(copy, ring_tail(copy), &n), ring_tail(copy), 3100);
		assert_int_equal(n, 3100);
		assert_int_equal(ring_head(worker), head);
		if (kinds[k] == RING_OUTPUT)
			assert_int_equal(ring_oldest(worker), ring_tail(copy) - 5);
		ring_unref(worker);
		ring_unref(copy);
	}
}

static void a_copy_that_does_not_fit_is_refused(void **state)
{
	struct ring *old = make(RING_OUTPUT, 4096), *copy = NULL;
	static const struct ring_span good = {.size = 4096},
	                              bad[] = {{8192, 0, 0, 0}, {4096, 0, 5, 4}, {4096, 0, 0, 4097},
	                                  {0, 0, 0, 0}, {4095, 0, 0, 0}, {2048, 0, 0, 0},
	                                  {4096, 6, 5, 7}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    ring_copy(&copy, ring_fd(old), RING_OUTPUT, &bad[i], NULL), TX_EPROTO);
	assert_int_equal(ring_copy(&copy, 0, RING_OUTPUT, &good, NULL), TX_EPROTO);
	ring_unref(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_are_rounded_up_to_powers_of_two),
	    cmocka_unit_test(output_reaches_the_reader),
	    cmocka_unit_test(a_span_over_the_end_is_contiguous),
	    cmocka_unit_test(offsets_go_beyond_four_gigabytes),
	    cmocka_unit_test(the_receiver_cannot_write_an_output),
	    cmocka_unit_test(an_input_can_be_written_but_not_resized),
	    cmocka_unit_test(input_reaches_the_keeper),
	    cmocka_unit_test(a_new_worker_goes_on_where_the_keeper_is),
	    cmocka_unit_test(lying_heads_are_refused),
	    cmocka_unit_test(release_stays_between_tail_and_head),
	    cmocka_unit_test(hostile_headers_are_refused),
	    cmocka_unit_test(impossible_offsets_in_the_header_change_nothing),
	    cmocka_unit_test(a_reference_keeps_the_mapping),
	    cmocka_unit_test(two_processes_exchange_a_stream),
	    cmocka_unit_test(a_copy_has_the_same_bytes_at_the_same_offsets),
	    cmocka_unit_test(a_copy_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
