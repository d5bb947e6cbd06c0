/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/state_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/memfile.h"

#define STATE_MAGIC UINT64_C(0x657461747365746c)
#define STATE_MAX   ((size_t)4 << 30)
#define NO_FD       UINT64_MAX

/* Then n_fds int32_t, then the records. The checksum is of all that follows it. */
struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t head_size;
	uint64_t length; /* of the whole */
	uint64_t checksum;
	uint32_t n_fds;
	uint32_t pad;
};

struct record_head {
	uint32_t tag;
	uint32_t pad;
	uint64_t length; /* of what follows */
};

struct buffer {
	uint8_t *data;
	size_t len, size;
	bool failed;
};

struct state_out {
	struct buffer records;
	size_t record_at;
	int *fds;
	size_t n_fds, fds_size;
};

struct state_in {
	uint8_t *data;
	size_t length;
	uint32_t version;
	const uint8_t *records, *next, *end; /* next: the record after this one */
	const uint8_t *at, *record_end;
	bool bad;
	const int32_t *fds;
	size_t n_fds;
	size_t fd_at; /* fields name them in their order, each once */
};

/* FNV-1a, 64 bits: against damage, not against malice; who could change a sealed memfd of ours is
 * us. */
static uint64_t checksum(const uint8_t *p, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(1099511628211);
	return h;
}

/* ---- writing ---- */

static void append(struct buffer *b, const void *data, size_t len)
{
	if (b->failed)
		return;
	if (b->size - b->len < len) {
		size_t size = b->size * 2 + len + 4096;
		uint8_t *more = size > STATE_MAX ? NULL : realloc(b->data, size);

		if (more == NULL) {
			b->failed = true;
			return;
		}
		b->data = more;
		b->size = size;
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

struct state_out *state_out_new(void)
{
	return calloc(1, sizeof(struct state_out));
}

void state_out_free(struct state_out *o)
{
	if (o == NULL)
		return;
	free(o->records.data);
	free(o->fds);
	free(o);
}

void state_begin(struct state_out *o, enum state_tag tag)
{
	struct record_head h = {.tag = (uint32_t)tag};

	o->record_at = o->records.len;
	append(&o->records, &h, sizeof(h));
}

void state_end(struct state_out *o)
{
	struct record_head h;

	if (o->records.failed)
		return;
	memcpy(&h, o->records.data + o->record_at, sizeof(h));
	h.length = o->records.len - o->record_at - sizeof(h);
	memcpy(o->records.data + o->record_at, &h, sizeof(h));
}

void state_put(struct state_out *o, uint64_t v)
{
	append(&o->records, &v, sizeof(v));
}

void state_put_signed(struct state_out *o, int64_t v)
{
	append(&o->records, &v, sizeof(v));
}

void state_put_bytes(struct state_out *o, const void *data, size_t len)
{
	state_put(o, len);
	append(&o->records, data, len);
}

void state_put_text(struct state_out *o, const char *text)
{
	state_put_bytes(o, text, strlen(text));
}

void state_put_fd(struct state_out *o, int fd)
{
	if (fd < 0) {
		state_put(o, NO_FD);
		return;
	}
	if (o->n_fds == o->fds_size) {
		size_t size = o->fds_size * 2 + 64;
		int *more = reallocarray(o->fds, size, sizeof(*more));

		if (more == NULL) {
			o->records.failed = true;
			return;
		}
		o->fds = more;
		o->fds_size = size;
	}
	o->fds[o->n_fds++] = fd;
	state_put(o, (uint64_t)fd);
}

int state_seal(struct state_out *o, int *memfd, struct err *e)
{
	struct buffer all = {0};
	struct head h = {.magic = STATE_MAGIC,
	    .version = STATE_VERSION,
	    .head_size = sizeof(h),
	    .n_fds = (uint32_t)o->n_fds};
	const size_t before = offsetof(struct head, n_fds);
	int rc = TX_ENOMEM;

	append(&all, &h, sizeof(h));
	for (size_t i = 0; i < o->n_fds; i++) {
		int32_t fd = o->fds[i];

		append(&all, &fd, sizeof(fd));
	}
	append(&all, o->records.data, o->records.len);
	if (all.failed || o->records.failed) {
		err_set(e, rc, "no memory for the agent's state");
	} else {
		h.length = all.len;
		h.checksum = checksum(all.data + before, all.len - before);
		memcpy(all.data, &h, sizeof(h));
		rc = memfile_freeze("telexd-state", all.data, all.len, memfd, e);
	}
	free(all.data);
	return rc;
}

const int *state_out_fds(const struct state_out *o, size_t *n)
{
	*n = o->n_fds;
	return o->fds;
}

/* ---- reading ---- */

static int check_head(struct state_in *in, struct err *e)
{
	const size_t before = offsetof(struct head, n_fds);
	struct head h;

	if (in->length < before)
		return err_set(e, TX_EPROTO, "not a state of telexd's");
	memset(&h, 0, sizeof(h));
	memcpy(&h, in->data, in->length < sizeof(h) ? in->length : sizeof(h));
	if (h.magic != STATE_MAGIC)
		return err_set(e, TX_EPROTO, "not a state of telexd's");
	if (h.version > STATE_VERSION)
		return err_set(e, TX_EUNSUPPORTED,
		    "a state of version %u; this telexd understands up to %u", h.version,
		    STATE_VERSION);
	if (h.version == 0 || h.head_size != sizeof(h) || h.length != in->length ||
	    in->length < sizeof(h))
		return err_set(e, TX_EPROTO, "a state that is cut off");
	if (h.checksum != checksum(in->data + before, in->length - before))
		return err_set(e, TX_EPROTO, "a state that is damaged: its checksum is wrong");
	if (h.n_fds > (in->length - sizeof(h)) / sizeof(int32_t))
		return err_set(e, TX_EPROTO, "a state with more descriptors than it has room for");
	in->version = h.version;
	in->n_fds = h.n_fds;
	in->fds = (const int32_t *)(const void *)(in->data + sizeof(h));
	in->records = (const uint8_t *)(in->fds + in->n_fds);
	in->end = in->data + in->length;
	return 0;
}

/* Takes the head of the record at in->next; false at the end, or when it does not fit. */
static bool enter_record(struct state_in *in, struct record_head *h)
{
	size_t left = (size_t)(in->end - in->next);

	if (left < sizeof(*h))
		return false;
	memcpy(h, in->next, sizeof(*h));
	if (h->length > left - sizeof(*h))
		return false;
	in->at = in->next + sizeof(*h);
	in->record_end = in->next = in->at + h->length;
	return true;
}

static int check_records(struct state_in *in, struct err *e)
{
	struct record_head h = {0};

	state_rewind(in);
	while (enter_record(in, &h))
		;
	if (in->next != in->end || h.tag != STATE_END)
		return err_set(e, TX_EPROTO, "a state whose records do not add up");
	state_rewind(in);
	return 0;
}

int state_open(struct state_in **out, int memfd, struct err *e)
{
	struct state_in *in = calloc(1, sizeof(*in));
	int rc;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = memfile_load(memfd, STATE_MAX, &in->data, &in->length, e);
	if (rc == 0)
		rc = check_head(in, e);
	if (rc == 0)
		rc = check_records(in, e);
	if (rc == 0)
		*out = in;
	else
		state_close(in);
	return rc;
}

void state_close(struct state_in *in)
{
	if (in == NULL)
		return;
	free(in->data);
	free(in);
}

void state_rewind(struct state_in *in)
{
	in->next = in->records;
	in->at = in->record_end = in->records;
	in->fd_at = 0;
	in->bad = false;
}

bool state_next(struct state_in *in, enum state_tag *tag)
{
	struct record_head h;

	if (!enter_record(in, &h))
		return false;
	in->bad = false;
	*tag = (enum state_tag)h.tag;
	return true;
}

void state_bad(struct state_in *in)
{
	in->bad = true;
}

bool state_record_good(const struct state_in *in)
{
	return !in->bad && in->at == in->record_end;
}

/* n bytes of the record, or NULL. An older version's record may end before. */
static const uint8_t *take(struct state_in *in, size_t n)
{
	const uint8_t *p = in->at;

	if ((size_t)(in->record_end - in->at) < n) {
		if (in->at != in->record_end || in->version == STATE_VERSION)
			in->bad = true;
		return NULL;
	}
	in->at += n;
	return p;
}

uint64_t state_get(struct state_in *in)
{
	uint64_t v = 0;
	const uint8_t *p = take(in, sizeof(v));

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return v;
}

uint64_t state_get_most(struct state_in *in, uint64_t max)
{
	uint64_t v = state_get(in);

	if (v <= max)
		return v;
	in->bad = true;
	return 0;
}

bool state_get_bool(struct state_in *in)
{
	return state_get_most(in, 1) != 0;
}

int64_t state_get_signed(struct state_in *in)
{
	return (int64_t)state_get(in);
}

const uint8_t *state_get_bytes(struct state_in *in, size_t *len)
{
	uint64_t n = state_get(in);
	const uint8_t *p = NULL;

	if (n <= (uint64_t)(in->record_end - in->at))
		p = take(in, (size_t)n);
	else
		in->bad = true;
	*len = p != NULL ? (size_t)n : 0;
	return p;
}

void state_get_text(struct state_in *in, char *out, size_t size)
{
	size_t len;
	const uint8_t *p = state_get_bytes(in, &len);

	out[0] = '\0';
	if (len >= size || (len > 0 && memchr(p, '\0', len) != NULL)) {
		in->bad = true;
		return;
	}
	if (len > 0)
		memcpy(out, p, len);
	out[len] = '\0';
}

int state_get_fd(struct state_in *in)
{
	bool older = in->at == in->record_end && in->version < STATE_VERSION;
	uint64_t v = state_get(in);

	if (v == NO_FD || older)
		return -1;
	if (in->fd_at < in->n_fds && in->fds[in->fd_at] >= 0 && (uint64_t)in->fds[in->fd_at] == v)
		return in->fds[in->fd_at++];
	in->bad = true;
	return -1;
}

bool state_fds_done(const struct state_in *in)
{
	return in->fd_at == in->n_fds;
}

int state_claim_fds(const struct state_in *in, struct err *e)
{
	for (size_t i = 0; i < in->n_fds; i++)
		if (in->fds[i] <= STDERR_FILENO || fcntl(in->fds[i], F_SETFD, FD_CLOEXEC) != 0)
			return err_set(
			    e, TX_EPROTO, "descriptor %d of the state is not there", in->fds[i]);
	return 0;
}
