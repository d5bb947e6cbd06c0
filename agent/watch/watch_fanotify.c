/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_fanotify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/watch/watch_handles.h"
#include "agent/watch/watch_marker.h"
#include "agent/watch/watch_queue.h"
#include "common/log.h"
#include "common/mem.h"

#define READ_SIZE ((size_t)64 << 10)
#define READS_MAX 16 /* at once: others may write as fast as they are read */
/* An event that has two names. */
#define ONE_MAX        (sizeof(struct fanotify_event_metadata) + (size_t)2 * 512)
#define HANDLE_MAX     128  /* MAX_HANDLE_SZ */
#define HANDLE_INVALID 0xff /* FILEID_INVALID of the kernel: there is none */

/* Those of a folder itself, and those of its entries; both have inotify's numbers. */
#define SELF_EVENTS  (FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF)
#define ENTRY_EVENTS (FAN_CREATE | FAN_DELETE | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB)

_Static_assert(FAN_CREATE == IN_CREATE && FAN_DELETE == IN_DELETE && FAN_MODIFY == IN_MODIFY &&
                   FAN_CLOSE_WRITE == IN_CLOSE_WRITE && FAN_ATTRIB == IN_ATTRIB &&
                   FAN_DELETE_SELF == IN_DELETE_SELF && FAN_MOVE_SELF == IN_MOVE_SELF &&
                   FAN_ONDIR == IN_ISDIR && FAN_Q_OVERFLOW == IN_Q_OVERFLOW,
    "what fanotify calls an event is what inotify calls it");

/* What is hashed of a folder; in an event it stands there like this. */
struct key {
	__kernel_fsid_t fsid;
	unsigned handle_bytes;
	int handle_type;
	uint8_t handle[HANDLE_MAX];
};

#define KEY_HEAD offsetof(struct key, handle)

_Static_assert(sizeof(struct file_handle) == KEY_HEAD - offsetof(struct key, handle_bytes) &&
                   sizeof(struct fanotify_event_info_fid) ==
                       sizeof(struct fanotify_event_info_header) + sizeof(__kernel_fsid_t),
    "a file handle begins with its length and its type");

/* A file system with a mark. */
struct covered {
	__kernel_fsid_t fsid;
	size_t trees; /* 0: it has none any more */
};

struct watch_fanotify {
	int group;
	struct watch_marker marker;
	struct covered *list; /* by watch_cover.number - 1 */
	uint32_t n;
	struct watch_handles handles;
	uint32_t cookie;
	_Alignas(struct fanotify_event_metadata) uint8_t buffer[READ_SIZE];
};

/* ---- life ---- */

int watch_fanotify_new(struct watch_fanotify **out, const struct watch_wide *wide)
{
	/* Many marks are not needed; but who may not have them, may not mark file systems either.
	 */
	const unsigned flags = FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC | FAN_NONBLOCK |
	                       FAN_UNLIMITED_MARKS | (wide->endless ? FAN_UNLIMITED_QUEUE : 0u);
	int group = fanotify_init(flags, O_RDONLY);
	struct watch_fanotify *f;
	int error;

	if (group < 0)
		return errno;
	f = xcalloc(1, sizeof(*f));
	f->group = group;
	error = watch_marker_start(&f->marker, group, wide->lock_in);
	if (error != 0) {
		watch_fanotify_free(f);
		return error;
	}
	*out = f;
	return 0;
}

void watch_fanotify_free(struct watch_fanotify *f)
{
	if (f == NULL)
		return;
	watch_marker_end(&f->marker);
	close(f->group);
	watch_handles_clear(&f->handles);
	free(f->list);
	free(f);
}

int watch_fanotify_fd(const struct watch_fanotify *f)
{
	return f->group;
}

int watch_fanotify_marker_fd(const struct watch_fanotify *f)
{
	return watch_marker_fd(&f->marker);
}

void watch_fanotify_check(struct watch_fanotify *f)
{
	if (watch_marker_has_ended(&f->marker))
		log_warn("the process that marks file systems has ended: trees that come are "
		         "watched by inotify");
}

bool watch_fanotify_is_over(const struct watch_fanotify *f)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->list[i].trees > 0)
			return false;
	return watch_marker_fd(&f->marker) < 0;
}

size_t watch_fanotify_memory(const struct watch_fanotify *f)
{
	return watch_handles_memory(&f->handles);
}

/* ---- file systems ---- */

static bool is_fsid(const __kernel_fsid_t *a, const void *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Its place in the list. */
static uint32_t place_of(struct watch_fanotify *f, const fsid_t *fsid)
{
	uint32_t free_one = f->n;

	for (uint32_t i = 0; i < f->n; i++) {
		if (f->list[i].trees == 0)
			free_one = i;
		else if (is_fsid(&f->list[i].fsid, fsid))
			return i;
	}
	if (free_one == f->n)
		f->list = xreallocarray(f->list, ++f->n, sizeof(*f->list));
	f->list[free_one].trees = 0;
	memcpy(&f->list[free_one].fsid, fsid, sizeof(*fsid));
	return free_one;
}

/* Its file handle. 0, or an errno. */
static int handle_of(int fd, struct key *k, int *mount)
{
	struct {
		struct file_handle head;
		uint8_t room[HANDLE_MAX];
	} h = {.head.handle_bytes = HANDLE_MAX};

	if (name_to_handle_at(fd, "", &h.head, mount, AT_EMPTY_PATH) != 0)
		return errno;
	k->handle_bytes = h.head.handle_bytes;
	k->handle_type = h.head.handle_type;
	memcpy(k->handle, h.room, h.head.handle_bytes);
	return 0;
}

bool watch_fanotify_cover(struct watch_fanotify *f, int fd, struct watch_cover *out)
{
	struct statfs s;
	struct key k;
	uint32_t i;

	/* Whoever has no handles has no fsid either; and the mark is set anew where it is there, as
	 * an unmounted file system has taken its own along. */
	if (fstatfs(fd, &s) != 0 || !watch_marker_knows((uint32_t)s.f_type) ||
	    handle_of(fd, &k, &out->mount) != 0 || watch_marker_set(&f->marker, fd, true) != 0)
		return false;
	i = place_of(f, &s.f_fsid);
	f->list[i].trees++;
	out->number = i + 1;
	return true;
}

/* A mount of its own below the tree may be one of another file system; and what has its root's name
 * and device by now may be another one, which has a mark for others. */
static bool is_covered(int fd, const struct covered *c)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && is_fsid(&c->fsid, &s.f_fsid);
}

void watch_fanotify_uncover(struct watch_fanotify *f, int fd, struct watch_cover *c)
{
	struct covered *of = &f->list[c->number - 1];

	if (--of->trees == 0 && is_covered(fd, of))
		(void)watch_marker_set(&f->marker, fd, false);
}

/* ---- folders ---- */

static uint64_t hash_of(const void *key, unsigned handle_bytes)
{
	return XXH3_64bits(key, KEY_HEAD + handle_bytes);
}

int64_t watch_fanotify_add(
    struct watch_fanotify *f, int fd, uint32_t mask, const struct watch_cover *c)
{
	const struct covered *of = &f->list[c->number - 1];
	struct key k;
	int mount, error = handle_of(fd, &k, &mount);
	uint32_t number;

	if (error != 0 || (mount != c->mount && !is_covered(fd, of)))
		return error == 0 || error == EOPNOTSUPP ? 0 : -error;
	k.fsid = of->fsid;
	number = watch_handles_add(&f->handles, hash_of(&k, k.handle_bytes), mask);
	return number == 0 ? -ENOSPC : (int64_t)(number | WATCH_WIDE);
}

void watch_fanotify_remove(struct watch_fanotify *f, uint32_t watch)
{
	watch_handles_remove(&f->handles, watch & ~WATCH_WIDE);
}

/* ---- events ---- */

/* A folder in an event, with a name in it; number 0: not one that is watched. */
struct place {
	uint32_t number;
	const char *name;
};

/* Of one information record. False: it names no folder, as where the kernel had no memory for its
 * handle. */
static bool read_place(
    const struct watch_fanotify *f, const uint8_t *at, size_t len, struct place *out)
{
	const size_t head = sizeof(struct fanotify_event_info_fid);
	struct file_handle h;

	if (len < head + sizeof(h))
		return false;
	memcpy(&h, at + head, sizeof(h));
	if (h.handle_bytes == 0 || h.handle_type == HANDLE_INVALID ||
	    h.handle_bytes > len - head - sizeof(h))
		return false;
	out->number = watch_handles_find(
	    &f->handles, hash_of(at + sizeof(struct fanotify_event_info_header), h.handle_bytes));
	out->name = (const char *)at + head + sizeof(h) + h.handle_bytes;
	/* The rest is the name, terminated. */
	return memchr(out->name, '\0', len - head - sizeof(h) - h.handle_bytes) != NULL;
}

/* What an event is about: where, or for a rename from where and where to. False: that is not to be
 * known; it may have been in any folder. */
static bool read_places(const struct watch_fanotify *f, const uint8_t *event,
    const struct fanotify_event_metadata *m, struct place *from, struct place *to)
{
	const uint8_t *at = event + m->metadata_len;
	const uint8_t *end = event + m->event_len;
	bool known = true, any = false;

	*from = *to = (struct place){0, NULL};
	while (known && end - at >= (ptrdiff_t)sizeof(struct fanotify_event_info_header)) {
		struct fanotify_event_info_header h;
		struct place *p = NULL;

		memcpy(&h, at, sizeof(h));
		if (h.len < sizeof(h) || h.len > end - at)
			return false;
		if (h.info_type == FAN_EVENT_INFO_TYPE_NEW_DFID_NAME)
			p = to;
		else if (h.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME ||
		         h.info_type == FAN_EVENT_INFO_TYPE_OLD_DFID_NAME)
			p = from;
		if (p != NULL)
			known = any = read_place(f, at, h.len, p);
		at += h.len;
	}
	return known && any;
}

static void push(struct watch_fanotify *f, struct watch_queue *q, const struct place *p,
    uint32_t mask, uint32_t cookie)
{
	const uint32_t wanted = watch_handles_mask(&f->handles, p->number) | IN_ISDIR | IN_IGNORED;
	struct watch_event e = {p->number | WATCH_WIDE, mask & (wanted | WATCH_SELF), cookie,
	    p->name, p->name != NULL ? strlen(p->name) : 0};

	if ((e.mask & ~(uint32_t)(IN_ISDIR | WATCH_SELF)) != 0)
		watch_queue_push(q, &e);
}

/* Of a folder itself. One that is gone has no watch any more, as inotify says it. */
static void push_self(
    struct watch_fanotify *f, struct watch_queue *q, const struct place *p, uint64_t mask)
{
	const struct place itself = {p->number, NULL};

	push(f, q, &itself, (uint32_t)(mask & (SELF_EVENTS | FAN_ONDIR)) | WATCH_SELF, 0);
	if ((mask & FAN_DELETE_SELF) != 0)
		push(f, q, &itself, IN_IGNORED, 0);
}

static void push_rename(struct watch_fanotify *f, struct watch_queue *q, const struct place *from,
    const struct place *to, uint64_t mask)
{
	const uint32_t folder = (uint32_t)(mask & FAN_ONDIR);
	uint32_t cookie = 0;

	if (from->number != 0 && to->number != 0) {
		f->cookie += f->cookie == UINT32_MAX ? 2 : 1;
		cookie = f->cookie;
	}
	if (from->number != 0)
		push(f, q, from, IN_MOVED_FROM | folder, cookie);
	if (to->number != 0)
		push(f, q, to, IN_MOVED_TO | folder, cookie);
}

/* Something has happened, and nobody knows where. */
static void push_overflow(struct watch_queue *q)
{
	const struct watch_event overflow = {.watch = WATCH_WIDE, .mask = IN_Q_OVERFLOW};

	watch_queue_push(q, &overflow);
}

static void take(struct watch_fanotify *f, struct watch_queue *q, const uint8_t *event,
    const struct fanotify_event_metadata *m)
{
	struct place from, to;

	if ((m->mask & FAN_Q_OVERFLOW) != 0 || !read_places(f, event, m, &from, &to))
		push_overflow(q);
	else if ((m->mask & FAN_RENAME) != 0)
		push_rename(f, q, &from, &to, m->mask);
	else if (from.number != 0 && strcmp(from.name, ".") == 0)
		push_self(f, q, &from, m->mask);
	else if (from.number != 0)
		push(f, q, &from, (uint32_t)(m->mask & (ENTRY_EVENTS | FAN_ONDIR)), 0);
}

/* The events of one read(2): multiples of four bytes long, and so not aligned for what is in them.
 */
static void take_all(
    struct watch_fanotify *f, struct watch_queue *q, const uint8_t *at, size_t left)
{
	struct fanotify_event_metadata m;

	while (left >= sizeof(m)) {
		memcpy(&m, at, sizeof(m));
		if (m.event_len < sizeof(m) || m.event_len > left || m.metadata_len > m.event_len) {
			push_overflow(q);
			return;
		}
		take(f, q, at, &m);
		at += m.event_len;
		left -= m.event_len;
	}
}

bool watch_fanotify_fill(struct watch_fanotify *f, struct watch_queue *q)
{
	if (watch_queue_is_empty(q))
		watch_handles_settle(&f->handles);
	for (int i = 0; i < READS_MAX && !watch_queue_is_full(q); i++) {
		ssize_t n = read(f->group, f->buffer, READ_SIZE);

		if (n <= 0)
			return true;
		take_all(f, q, f->buffer, (size_t)n);
		/* Another one would have had room. */
		if ((size_t)n < READ_SIZE - ONE_MAX)
			return true;
	}
	return false;
}
