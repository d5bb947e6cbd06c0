/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memfd: one header page, then `size` bytes of data. The address space: the header page, the
 * data, the data again.
 *
 * Only the keeper writes the header page; a worker maps it read-only. What is read from it, and
 * what a message says, is checked against tail <= head <= tail + size before it is taken: no span
 * that is handed out ever leaves the mapping.
 */
#include "common/ring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/memfile.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define RING_MAGIC   UINT64_C(0x74656c6578726e67)
#define RING_VERSION 2u
#define RING_SEALS   (F_SEAL_GROW | F_SEAL_SHRINK)

/* The header page. head and tail are on cache lines of their own. */
struct ring_header {
	uint64_t magic;
	uint32_t version, kind;
	uint64_t size;
	_Alignas(64) _Atomic uint64_t head;
	_Alignas(64) _Atomic uint64_t tail;
	_Atomic uint64_t oldest;
	_Atomic uint32_t moved;
};

struct ring {
	struct ring_header *header;
	uint8_t *data;
	size_t size, page;
	uint64_t head, tail, oldest;
	enum ring_kind kind;
	bool keeper;
	int fd; /* the keeper's; -1 on the worker's side */
	unsigned refs;
};

_Static_assert(sizeof(struct ring_header) <= RING_SIZE_MIN, "the header fits in a page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics work between processes");

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Maps header and data (twice) of `fd`; header_prot and data_prot are PROT_…. */
static int map_ring(struct ring *r, int fd, int header_prot, int data_prot, struct err *e)
{
	const size_t total = r->page + 2 * r->size;
	const off_t offset = (off_t)r->page;
	uint8_t *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int sys;

	if (base == MAP_FAILED)
		return err_sys(e, errno, "cannot reserve memory for a ring of %zu bytes", r->size);
	if (mmap(base, r->page, header_prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mmap(base + r->page, r->size, data_prot, MAP_SHARED | MAP_FIXED, fd, offset) ==
	        MAP_FAILED ||
	    mmap(base + r->page + r->size, r->size, data_prot, MAP_SHARED | MAP_FIXED, fd,
	        offset) == MAP_FAILED) {
		sys = errno;
		munmap(base, total);
		return err_sys(e, sys, "cannot map a ring of %zu bytes", r->size);
	}
	r->header = (struct ring_header *)base;
	r->data = base + r->page;
	return 0;
}

static struct ring *ring_alloc(enum ring_kind kind, bool keeper)
{
	struct ring *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->page = page_size();
	r->kind = kind;
	r->keeper = keeper;
	r->fd = -1;
	r->refs = 1;
	return r;
}

/* ---- the keeper's side ---- */

static int ring_make(struct ring *r, struct err *e)
{
	int fd;
	int rc = memfile_new("telex-ring", &r->fd, e);

	if (rc < 0)
		return rc;
	fd = r->fd;
	if (ftruncate(fd, (off_t)(r->page + r->size)) != 0)
		return err_sys(e, errno, "cannot size a ring of %zu bytes", r->size);
	rc = map_ring(r, fd, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, e);
	if (rc < 0)
		return rc;
	r->header->magic = RING_MAGIC;
	r->header->version = RING_VERSION;
	r->header->kind = (uint32_t)r->kind;
	r->header->size = r->size;
	atomic_store_explicit(&r->header->head, r->head, memory_order_relaxed);
	atomic_store_explicit(&r->header->tail, r->tail, memory_order_relaxed);
	atomic_store_explicit(&r->header->oldest, r->oldest, memory_order_relaxed);
	rc = memfile_seal(fd, RING_SEALS | (r->kind == RING_OUTPUT ? F_SEAL_FUTURE_WRITE : 0), e);
	return rc < 0 ? rc : memfile_seal(fd, F_SEAL_SEAL, e);
}

int ring_create(struct ring **out, enum ring_kind kind, size_t size, struct err *e)
{
	return ring_create_at(out, kind, size, 0, e);
}

int ring_create_at(
    struct ring **out, enum ring_kind kind, size_t size, uint64_t offset, struct err *e)
{
	struct ring *r;
	size_t rounded;
	int rc;

	if (size > RING_SIZE_MAX)
		return err_set(
		    e, TX_ETOOBIG, "a ring of %zu bytes is over %zu", size, RING_SIZE_MAX);
	r = ring_alloc(kind, true);
	if (r == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rounded = r->page > RING_SIZE_MIN ? r->page : RING_SIZE_MIN;
	while (rounded < size)
		rounded *= 2;
	r->size = rounded;
	r->head = r->tail = r->oldest = offset;
	rc = ring_make(r, e);
	if (rc < 0) {
		ring_unref(r);
		return rc;
	}
	*out = r;
	return 0;
}

/* By pread: a page that cannot be had is then an error, not a signal. */
static int read_span(struct ring *to, int fd, uint64_t offset, size_t len)
{
	uint8_t *at = to->data + (offset & (to->size - 1));
	off_t where = (off_t)(to->page + (offset & (to->size - 1)));

	while (len > 0) {
		ssize_t n = pread(fd, at, len, where);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return TX_ENOMEM;
		at += n;
		where += n;
		len -= (size_t)n;
	}
	return 0;
}

/* [tail, head) of another ring of the same size, of which `fd` is the memfd. */
static int copy_bytes(struct ring *to, int fd, uint64_t tail, uint64_t head)
{
	uint64_t wrap = (tail | (to->size - 1)) + 1;
	uint64_t first = wrap < head ? wrap : head;
	int rc = read_span(to, fd, tail, (size_t)(first - tail));

	return rc != 0 ? rc : read_span(to, fd, first, (size_t)(head - first));
}

int ring_replace(struct ring **out, struct ring *old, uint64_t tail, uint64_t oldest, struct err *e)
{
	struct ring *r;
	int rc;

	assert(old->keeper && old->kind == RING_OUTPUT);
	assert(tail >= old->tail && tail <= old->head && oldest <= tail);
	rc = ring_create_at(&r, RING_OUTPUT, old->size, tail, e);
	if (rc < 0)
		return rc;
	if (copy_bytes(r, old->fd, tail, old->head) != 0) {
		ring_unref(r);
		return err_set(e, TX_ENOMEM, "no memory for a ring's pages");
	}
	ring_commit(r, (size_t)(old->head - tail));
	r->oldest = oldest;
	atomic_store_explicit(&r->header->oldest, oldest, memory_order_relaxed);
	atomic_store_explicit(&old->header->moved, 1, memory_order_release);
	*out = r;
	return 0;
}

void ring_set_oldest(struct ring *r, uint64_t offset)
{
	assert(r->keeper && r->kind == RING_OUTPUT && offset >= r->oldest);
	r->oldest = offset;
	atomic_store_explicit(&r->header->oldest, offset, memory_order_release);
	/* Seen before what comes to be in the place of older bytes. */
	atomic_thread_fence(memory_order_seq_cst);
}

int ring_fd(const struct ring *r)
{
	return r->fd;
}

static void publish_head(struct ring *r)
{
	atomic_store_explicit(&r->header->head, r->head, memory_order_release);
}

/* What a ring that is not mapped says of itself. */
static bool fits(int fd, const struct ring_span *s)
{
	struct stat st;

	return s->size >= page_size() && s->size <= RING_SIZE_MAX &&
	       (s->size & (s->size - 1)) == 0 && s->oldest <= s->tail && s->tail <= s->head &&
	       s->head - s->tail <= s->size && fstat(fd, &st) == 0 &&
	       (uint64_t)st.st_size == s->size + page_size();
}

int ring_copy(
    struct ring **out, int fd, enum ring_kind kind, const struct ring_span *s, struct err *e)
{
	struct ring *r;
	int rc;

	if (!fits(fd, s))
		return err_set(e, TX_EPROTO, "a ring that does not fit its numbers");
	rc = ring_create_at(&r, kind, (size_t)s->size, s->tail, e);
	if (rc < 0)
		return rc;
	if (copy_bytes(r, fd, s->tail, s->head) != 0) {
		ring_unref(r);
		return err_set(e, TX_ENOMEM, "no memory for a ring's pages");
	}
	r->head = s->head;
	r->oldest = s->oldest;
	atomic_store_explicit(&r->header->oldest, s->oldest, memory_order_relaxed);
	publish_head(r);
	*out = r;
	return 0;
}

uint8_t *ring_space(struct ring *r, size_t *len)
{
	assert(r->keeper && r->kind == RING_OUTPUT);
	*len = r->size - (size_t)(r->head - r->tail);
	return r->data + (r->head & (r->size - 1));
}

void ring_commit(struct ring *r, size_t n)
{
	assert(r->keeper && r->kind == RING_OUTPUT);
	assert(n <= r->size - (size_t)(r->head - r->tail));
	r->head += n;
	publish_head(r);
}

int ring_accept(struct ring *r, uint64_t head)
{
	assert(r->keeper && r->kind == RING_INPUT);
	if (head < r->head || head - r->tail > r->size)
		return TX_EPROTO;
	r->head = head;
	publish_head(r);
	return 0;
}

int ring_release(struct ring *r, uint64_t offset)
{
	assert(r->keeper);
	if (offset > r->head)
		return TX_EPROTO;
	if (offset <= r->tail)
		return 0;
	r->tail = offset;
	atomic_store_explicit(&r->header->tail, offset, memory_order_release);
	/* Seen before what is put in the place of the bytes. */
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

/* ---- the worker's side ---- */

/* Reads and checks what a memfd says of itself, before anything of it is mapped; fills r->size. */
static int check_ring(struct ring *r, int fd, struct err *e)
{
	struct ring_header h;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	ssize_t n;

	if (seals < 0 || (seals & RING_SEALS) != RING_SEALS)
		return err_set(e, TX_EPROTO, "a ring that is not sealed");
	do
		n = pread(fd, &h, sizeof(h), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 || fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot read a ring");
	if ((size_t)n < sizeof(h) || h.magic != RING_MAGIC || h.version != RING_VERSION)
		return err_set(e, TX_EPROTO, "not a ring of version %u", RING_VERSION);
	if (h.kind != (uint32_t)r->kind)
		return err_set(e, TX_EPROTO, "a ring of the wrong kind (%u)", h.kind);
	if (h.size < r->page || h.size > RING_SIZE_MAX || (h.size & (h.size - 1)) != 0 ||
	    (uint64_t)st.st_size != h.size + r->page)
		return err_set(e, TX_EPROTO, "a ring of the wrong size");
	r->size = (size_t)h.size;
	return 0;
}

int ring_map(struct ring **out, int fd, enum ring_kind kind, struct err *e)
{
	struct ring *r = ring_alloc(kind, false);
	int rc;

	if (r == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = check_ring(r, fd, e);
	if (rc == 0)
		rc = map_ring(
		    r, fd, PROT_READ, kind == RING_OUTPUT ? PROT_READ : PROT_READ | PROT_WRITE, e);
	if (rc < 0) {
		ring_unref(r);
		return rc;
	}
	/* An input's own head goes on from what the keeper has taken. */
	if (kind == RING_INPUT)
		r->head = atomic_load_explicit(&r->header->head, memory_order_acquire);
	r->tail = kind == RING_INPUT ? r->head : 0;
	ring_refresh(r);
	*out = r;
	return 0;
}

/*
 * Output. tail is read before head: it can only be too old, never beyond head. The producer had
 * room for everything before head, so that the true tail was at least head - size by then.
 */
static void refresh_output(struct ring *r)
{
	uint64_t oldest = atomic_load_explicit(&r->header->oldest, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->header->tail, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&r->header->head, memory_order_acquire);

	if (head < r->head || tail > head)
		return;
	if (head - tail > r->size)
		tail = head - r->size;
	r->head = head;
	if (tail > r->tail)
		r->tail = tail;
	if (oldest > r->oldest && oldest <= r->head)
		r->oldest = oldest;
	/* About to go. */
	if (r->oldest > r->tail)
		r->tail = r->oldest;
}

/* Input: the keeper's tail alone; the head is the worker's own. */
static void refresh_input(struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->header->tail, memory_order_acquire);

	if (tail <= r->head && r->head - tail <= r->size)
		r->tail = tail;
}

void ring_refresh(struct ring *r)
{
	assert(!r->keeper);
	/* What was read of the data before is not read after this. */
	atomic_thread_fence(memory_order_acquire);
	if (r->kind == RING_OUTPUT)
		refresh_output(r);
	else
		refresh_input(r);
}

uint64_t ring_oldest(const struct ring *r)
{
	return r->oldest;
}

bool ring_moved(const struct ring *r)
{
	return atomic_load_explicit(&r->header->moved, memory_order_acquire) != 0;
}

bool ring_input_taken(const struct ring *r)
{
	assert(!r->keeper && r->kind == RING_INPUT);
	return atomic_load_explicit(&r->header->head, memory_order_acquire) == r->head;
}

uint8_t *ring_input_space(struct ring *r, size_t *len)
{
	assert(!r->keeper && r->kind == RING_INPUT);
	*len = r->size - (size_t)(r->head - r->tail);
	return r->data + (r->head & (r->size - 1));
}

void ring_input_commit(struct ring *r, size_t n)
{
	assert(!r->keeper && r->kind == RING_INPUT);
	assert(n <= r->size - (size_t)(r->head - r->tail));
	r->head += n;
	/* The message that tells the new head must not be seen before the bytes. */
	atomic_thread_fence(memory_order_release);
}

void ring_input_seek(struct ring *r, uint64_t head, uint64_t tail)
{
	assert(!r->keeper && r->kind == RING_INPUT);
	assert(tail <= head && head - tail <= r->size);
	r->head = head;
	r->tail = tail;
}

/* ---- both ---- */

const uint8_t *ring_peek(const struct ring *r, uint64_t offset, size_t *len)
{
	assert(offset >= r->tail && offset <= r->head);
	*len = (size_t)(r->head - offset);
	return r->data + (offset & (r->size - 1));
}

uint64_t ring_head(const struct ring *r)
{
	return r->head;
}

uint64_t ring_tail(const struct ring *r)
{
	return r->tail;
}

size_t ring_size(const struct ring *r)
{
	return r->size;
}

struct ring *ring_ref(struct ring *r)
{
	if (r != NULL)
		r->refs++;
	return r;
}

void ring_unref(struct ring *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	if (r->header != NULL)
		munmap(r->header, r->page + 2 * r->size);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}
