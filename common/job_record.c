/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed table: a head, then the records, each with its own length and its strings (id, owner,
 * user, group, argv) at its end. The records fill the table exactly, and the strings fill their
 * record exactly.
 */
#include "common/job_record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/memfile.h"

#define MAGIC   0x74787462u
#define VERSION 3u

struct table_head {
	uint32_t magic, version;
	uint32_t count, pad;
	uint64_t bytes; /* the whole table */
};

struct record_head {
	uint32_t size; /* of head and strings */
	uint32_t argc;
	uint32_t pid, attached;
	uint8_t state, terminal, usage, argv_cut, disconnect, pad[3];
	int64_t start_ns, expire_ns, disconnect_wait_ns;
	uint64_t oldest[3], newest[3];
	uint64_t cpu_us, memory;
	struct km_exit exit;
};

_Static_assert(sizeof(struct table_head) == 24, "no hidden padding");
_Static_assert(sizeof(struct record_head) == 112 + sizeof(struct km_exit), "no hidden padding");

/* ---- the keeper ---- */

struct job_records {
	uint8_t *data;
	size_t used, room;
	uint32_t count;
};

struct job_records *job_records_new(void)
{
	struct job_records *rs = calloc(1, sizeof(*rs));

	if (rs == NULL)
		return NULL;
	rs->room = 4096;
	rs->used = sizeof(struct table_head);
	rs->data = calloc(1, rs->room);
	if (rs->data == NULL) {
		free(rs);
		return NULL;
	}
	return rs;
}

void job_records_free(struct job_records *rs)
{
	if (rs == NULL)
		return;
	free(rs->data);
	free(rs);
}

/* Makes room for `more` bytes after used. */
static int reserve(struct job_records *rs, size_t more)
{
	size_t room = rs->room;
	uint8_t *data;

	if (more > JOB_RECORDS_MAX - rs->used)
		return TX_ETOOBIG;
	while (room - rs->used < more)
		room *= 2;
	if (room == rs->room)
		return 0;
	data = realloc(rs->data, room);
	if (data == NULL)
		return TX_ENOMEM;
	rs->data = data;
	rs->room = room;
	return 0;
}

static uint8_t *put_string(uint8_t *p, const char *s)
{
	size_t len = strlen(s) + 1;

	memcpy(p, s, len);
	return p + len;
}

int job_records_add(struct job_records *rs, const struct job_record *r)
{
	size_t size = sizeof(struct record_head) + strlen(r->id) + strlen(r->owner) +
	              strlen(r->user) + strlen(r->group) + 4;
	struct record_head h;
	uint8_t *p;
	int rc;

	for (size_t i = 0; i < r->argc; i++)
		if (__builtin_add_overflow(size, strlen(r->argv[i]) + 1, &size))
			return TX_ETOOBIG;
	rc = reserve(rs, size);
	if (rc < 0)
		return rc;
	h = (struct record_head){.size = (uint32_t)size,
	    .argc = (uint32_t)r->argc,
	    .pid = r->pid,
	    .attached = r->attached,
	    .state = r->state,
	    .terminal = r->terminal,
	    .usage = r->usage,
	    .argv_cut = r->argv_cut,
	    .start_ns = r->start_ns,
	    .expire_ns = r->expire_ns,
	    .disconnect = r->disconnect,
	    .disconnect_wait_ns = r->disconnect_wait_ns,
	    .cpu_us = r->cpu_us,
	    .memory = r->memory,
	    .exit = r->exit};
	memcpy(h.oldest, r->oldest, sizeof(h.oldest));
	memcpy(h.newest, r->newest, sizeof(h.newest));
	p = rs->data + rs->used;
	memcpy(p, &h, sizeof(h));
	p = put_string(p + sizeof(h), r->id);
	p = put_string(p, r->owner);
	p = put_string(p, r->user);
	p = put_string(p, r->group);
	for (size_t i = 0; i < r->argc; i++)
		p = put_string(p, r->argv[i]);
	rs->used += size;
	rs->count++;
	return 0;
}

int job_records_seal(
    struct job_records *rs, int *memfd, uint32_t *count, uint64_t *bytes, struct err *e)
{
	const struct table_head h = {
	    .magic = MAGIC, .version = VERSION, .count = rs->count, .bytes = rs->used};
	int r;

	memcpy(rs->data, &h, sizeof(h));
	r = memfile_freeze("telex-table", rs->data, rs->used, memfd, e);
	if (r < 0)
		return r;
	*count = rs->count;
	*bytes = rs->used;
	return 0;
}

/* ---- the worker ---- */

/* The string at *p, which moves on behind its NUL; NULL: it does not end before `end`. */
static const char *take_string(const char **p, const char *end)
{
	const char *s = *p;
	const char *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

	if (nul == NULL)
		return NULL;
	*p = nul + 1;
	return s;
}

/* Makes room for n pointers (NULL-terminated). */
static int grow_argv(const char ***argv, size_t *room, size_t n)
{
	const char **more;

	if (n < *room)
		return 0;
	more = reallocarray(*argv, n + 1, sizeof(*more));
	if (more == NULL)
		return TX_ENOMEM;
	*argv = more;
	*room = n + 1;
	return 0;
}

/* The strings of a record. argc is at most the number of bytes in [p, end). */
static bool take_strings(struct job_record *r, const char **argv, const char *p, const char *end)
{
	r->id = take_string(&p, end);
	r->owner = r->id != NULL ? take_string(&p, end) : NULL;
	r->user = r->owner != NULL ? take_string(&p, end) : NULL;
	r->group = r->user != NULL ? take_string(&p, end) : NULL;
	if (r->group == NULL)
		return false;
	for (size_t i = 0; i < r->argc; i++) {
		argv[i] = take_string(&p, end);
		if (argv[i] == NULL)
			return false;
	}
	argv[r->argc] = NULL;
	r->argv = argv;
	return p == end;
}

/* One record at `data`, of at most `len` bytes. Returns its size, or a negative code. */
static int64_t parse_record(
    struct job_record *r, const char ***argv, size_t *room, const uint8_t *data, size_t len)
{
	const char *strings = (const char *)data + sizeof(struct record_head);
	struct record_head h;

	if (len < sizeof(h))
		return TX_EPROTO;
	memcpy(&h, data, sizeof(h));
	if (h.size < sizeof(h) || h.size > len || h.argc > h.size - sizeof(h))
		return TX_EPROTO;
	if (h.state < KM_STATE_QUEUED || h.state > KM_STATE_ENDED || h.usage > JOB_USAGE_TREE ||
	    memchr(h.exit.by, '\0', sizeof(h.exit.by)) == NULL ||
	    memchr(h.exit.text, '\0', sizeof(h.exit.text)) == NULL)
		return TX_EPROTO;
	*r = (struct job_record){.state = h.state,
	    .pid = h.pid,
	    .attached = h.attached,
	    .start_ns = h.start_ns,
	    .expire_ns = h.expire_ns,
	    .disconnect = h.disconnect,
	    .disconnect_wait_ns = h.disconnect_wait_ns,
	    .terminal = h.terminal,
	    .usage = h.usage,
	    .argv_cut = h.argv_cut,
	    .cpu_us = h.cpu_us,
	    .memory = h.memory,
	    .exit = h.exit,
	    .argc = h.argc};
	memcpy(r->oldest, h.oldest, sizeof(r->oldest));
	memcpy(r->newest, h.newest, sizeof(r->newest));
	if (grow_argv(argv, room, h.argc) < 0)
		return TX_ENOMEM;
	if (!take_strings(r, *argv, strings, (const char *)data + h.size))
		return TX_EPROTO;
	return h.size;
}

int job_records_parse(const uint8_t *data, size_t len, uint32_t count,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct err *e)
{
	const char **argv = NULL;
	size_t room = 0, at = sizeof(struct table_head);
	struct table_head h;
	int64_t n = 0;

	if (len < sizeof(h))
		return err_set(e, TX_EPROTO, "a table of %zu bytes", len);
	memcpy(&h, data, sizeof(h));
	if (h.magic != MAGIC || h.version != VERSION || h.pad != 0)
		return err_set(e, TX_EPROTO, "not a table of version %u", VERSION);
	if (h.count != count || h.bytes != len)
		return err_set(e, TX_EPROTO, "a table that differs from its message");
	for (uint32_t i = 0; i < count; i++) {
		struct job_record r;

		n = parse_record(&r, &argv, &room, data + at, len - at);
		if (n < 0)
			break;
		each(&r, arg);
		at += (size_t)n;
	}
	free(argv);
	if (n == TX_ENOMEM)
		return err_set(e, TX_ENOMEM, "out of memory");
	if (n < 0 || at != len)
		return err_set(e, TX_EPROTO, "a table with a broken record");
	return 0;
}

int job_records_read(int memfd, uint64_t bytes, uint32_t count,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct err *e)
{
	uint8_t *data;
	size_t len;
	int r = memfile_load(memfd, JOB_RECORDS_MAX, &data, &len, e);

	if (r < 0)
		return r == TX_ETOOBIG ? err_set(e, TX_EPROTO, "a table that is too large") : r;
	if (bytes == len)
		r = job_records_parse(data, len, count, each, arg, e);
	else
		r = err_set(e, TX_EPROTO, "a table that differs from its message");
	free(data);
	return r;
}
