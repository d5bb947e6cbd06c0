/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contents that the receiver wants, one after the other in its order: read, digested and sent
 * as they are, with their holes left out, or as a difference. A file that changes meanwhile is
 * abandoned and sent once more at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/tree_send_internal.h"

/* ---- what is wanted ---- */

int tree_supply_want(struct tree_sender *s, const Telex__V1__TreeWant *w, struct err *e)
{
	struct tree_pending *p = tree_sender_pending(s, w->index);
	struct tree_job *j;
	int rc = 0;

	if (p == NULL || !p->content || w->offset > p->size)
		return err_set(e, TX_EPROTO, "content is wanted that was not offered");
	/* The last one alone can be unfinished: signatures come in one piece after the other. */
	j = w->has_signature ? p->job : NULL;
	if (j == NULL && p->job != NULL)
		return err_set(e, TX_EPROTO, "content is wanted twice");
	if (j == NULL) {
		j = calloc(1, sizeof(*j));
		if (j == NULL)
			return TX_ENOMEM;
		j->index = w->index;
		j->offset = w->offset;
		p->job = j;
		*s->jobs_end = j;
		s->jobs_end = &j->next;
		if (w->has_signature)
			rc = tree_delta_new(&j->delta);
		j->ready = !w->has_signature;
	}
	if (rc == 0 && w->has_signature) {
		if (j->ready || j->delta == NULL)
			return err_set(e, TX_EPROTO, "a signature goes on after its end");
		rc = tree_delta_load(j->delta, w->signature.data, w->signature.len, w->last);
		j->ready = w->last;
		j->signature += w->signature.len;
		s->signatures += w->signature.len;
		if (s->signatures > TREE_SIGNATURES_MAX)
			return err_set(e, TX_EPROTO, "signatures of more than 64 MiB at once");
	}
	return rc == TX_EPROTO ? err_set(e, rc, "a signature cannot be read") : rc;
}

static void sending_close(struct tree_sender *s)
{
	if (s->sending.fd >= 0)
		close(s->sending.fd);
	EVP_MD_CTX_free(s->sending.sha);
	s->sending = (struct tree_sending){.fd = -1};
}

static void pop_job(struct tree_sender *s)
{
	struct tree_job *j = s->jobs;
	struct tree_pending *p = tree_sender_pending(s, j->index);

	if (p != NULL)
		p->job = NULL;
	s->jobs = j->next;
	if (s->jobs == NULL)
		s->jobs_end = &s->jobs;
	tree_delta_free(j->delta);
	s->signatures -= j->signature;
	free(j);
	sending_close(s);
}

void tree_supply_free(struct tree_sender *s)
{
	while (s->jobs != NULL)
		pop_job(s);
	sending_close(s);
}

/* ---- the file ---- */

static int open_source(const struct tree_sender *s, const struct tree_pending *p)
{
	char path[2 * TREE_PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s%s%s", p->source->name,
	    p->below[0] != '\0' ? "/" : "", p->below);

	if (n < 0 || n > TREE_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open_below(p->source->dir_fd, path, O_RDONLY | O_NONBLOCK, s->cfg.options->follow);
}

static bool is_same(const struct tree_pending *p, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_ino == p->ino && (uint64_t)st->st_size == p->size &&
	       st->st_mtim.tv_sec == p->mtime.tv_sec && st->st_mtim.tv_nsec == p->mtime.tv_nsec;
}

static int begin(struct tree_sender *s, const struct tree_job *j, const struct tree_pending *p)
{
	struct tree_sending *f = &s->sending;
	struct tree_note note = {.kind = TREE_NOTE_BEGIN, .path = p->path, .size = p->size};

	f->fd = p->held != NULL ? -1 : open_source(s, p);
	f->index = j->index;
	f->size = p->size;
	f->offset = j->offset;
	f->sha = EVP_MD_CTX_new();
	if (f->sha == NULL || EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL) != 1)
		return TX_ENOMEM;
	f->failed =
	    p->held == NULL && (f->fd < 0 || fstat(f->fd, &f->st) != 0 || !is_same(p, &f->st));
	if (f->fd >= 0)
		(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
	return 0;
}

static int finish(struct tree_sender *s, struct tree_pending *p)
{
	Telex__V1__TreeSend message = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEnd end = TELEX__V1__TREE_END__INIT;
	struct tree_sending *f = &s->sending;
	uint8_t digest[EVP_MAX_MD_SIZE], packed[128];
	struct tree_span span = {packed, 0};
	struct stat st;

	if (p == NULL ||
	    (!f->failed && p->held == NULL && (fstat(f->fd, &st) != 0 || !is_same(p, &st))))
		f->failed = true;
	if (!f->failed && EVP_DigestFinal_ex(f->sha, digest, NULL) != 1)
		return TX_ENOMEM;
	end.index = f->index;
	end.abandoned = f->failed;
	if (!f->failed)
		end.sha256 = (ProtobufCBinaryData){32, digest};
	message.end = &end;
	span.len = telex__v1__tree_send__pack(&message, packed);
	if (p != NULL) {
		p->content = false;
		tree_sender_let_go(s, p);
		/* What the receiver had of it may be spoiled. */
		p->due = f->failed || f->offset > 0;
	}
	if (p != NULL && p->answered)
		tree_sender_forget(s, p);
	pop_job(s);
	return s->cfg.emit(&span, 1, s->cfg.arg);
}

/* ---- its bytes ---- */

static int send_data(struct tree_sender *s, uint64_t offset, const uint8_t *data, size_t len)
{
	uint8_t head[TREE_DATA_HEAD_MAX];
	struct tree_note note = {.kind = TREE_NOTE_BYTES, .bytes = len};
	struct tree_span parts[2] = {
	    {head, tree_data_head(head, s->sending.index, offset, len)}, {data, len}};

	s->bytes += len;
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
	return tree_gather_emit(s, parts, 2);
}

struct delta_to {
	struct tree_sender *s;
	int rc;
};

static int send_delta(const uint8_t *data, size_t len, void *arg)
{
	struct delta_to *to = arg;

	to->rc = send_data(to->s, to->s->sending.delta_at, data, len);
	to->s->sending.delta_at += len;
	return to->rc;
}

/* Where data goes on from `at`, and where the hole begins after that. */
static void data_span(const struct tree_sending *f, uint64_t *from, uint64_t *to)
{
	off_t data = lseek(f->fd, (off_t)f->at, SEEK_DATA), hole;

	*from = f->at;
	*to = f->size;
	if (data < 0) {
		/* ENXIO: a hole up to the end. Others: this file system cannot tell. */
		if (errno == ENXIO)
			*from = f->size;
		return;
	}
	*from = (uint64_t)data < f->size ? (uint64_t)data : f->size;
	hole = lseek(f->fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < f->size)
		*to = (uint64_t)hole;
}

static bool is_sparse(const struct tree_sending *f)
{
	return (uint64_t)f->st.st_blocks * 512 < f->size;
}

/* Zeros of a hole into the digest. */
static int pass_hole(struct tree_sender *s, uint64_t to)
{
	struct tree_sending *f = &s->sending;

	memset(s->buffer, 0, TREE_CHUNK);
	while (f->at < to) {
		size_t n = to - f->at < TREE_CHUNK ? (size_t)(to - f->at) : TREE_CHUNK;

		if (EVP_DigestUpdate(f->sha, s->buffer, n) != 1)
			return TX_ENOMEM;
		f->at += n;
	}
	return 0;
}

/* Reads up to a chunk at f->at; 0: the file is shorter than it was, or cannot be read. */
static size_t read_chunk(struct tree_sender *s, const struct tree_pending *p, uint64_t to)
{
	struct tree_sending *f = &s->sending;
	size_t want = to - f->at < TREE_CHUNK ? (size_t)(to - f->at) : TREE_CHUNK;
	ssize_t n;

	if (p->held != NULL) {
		memcpy(s->buffer, p->held + f->at, want);
		return want;
	}
	do
		n = pread(f->fd, s->buffer, want, (off_t)f->at);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		f->failed = true;
	return n > 0 ? (size_t)n : 0;
}

static int step_delta(struct tree_sender *s, struct tree_job *j, const struct tree_pending *p)
{
	struct tree_sending *f = &s->sending;
	struct delta_to to = {s, 0};
	size_t n = read_chunk(s, p, f->size);
	int rc;

	if (n == 0)
		return 0;
	if (EVP_DigestUpdate(f->sha, s->buffer, n) != 1)
		return TX_ENOMEM;
	f->at += n;
	rc = tree_delta_run(j->delta, s->buffer, n, f->at == f->size, send_delta, &to);
	if (rc < 0 && to.rc == 0)
		f->failed = true;
	return to.rc;
}

static int step_plain(struct tree_sender *s, const struct tree_pending *p)
{
	struct tree_sending *f = &s->sending;
	uint64_t from = f->at, to = f->size;
	size_t n;
	int rc;

	/* What the receiver has already goes into the digest alone. */
	if (f->at < f->offset)
		to = f->offset;
	else if (p->held == NULL && is_sparse(f))
		data_span(f, &from, &to);
	if (from > f->at) {
		rc = pass_hole(s, from - f->at < TREE_HOLE_MAX ? from : f->at + TREE_HOLE_MAX);
		if (rc < 0 || f->at < from || f->at == f->size)
			return rc < 0 ? rc : send_data(s, f->at, s->buffer, 0);
	}
	n = read_chunk(s, p, to);
	if (n == 0)
		return 0;
	if (EVP_DigestUpdate(f->sha, s->buffer, n) != 1)
		return TX_ENOMEM;
	f->at += n;
	return f->at > f->offset ? send_data(s, f->at - n, s->buffer, n) : 0;
}

int tree_supply_step(struct tree_sender *s)
{
	struct tree_job *j = s->jobs;
	struct tree_pending *p;
	int rc = 0;

	if (j == NULL || !j->ready)
		return 0;
	p = tree_sender_pending(s, j->index);
	/* It was answered meanwhile: nobody waits for it, but its turn must end. */
	s->sending.index = p == NULL ? j->index : s->sending.index;
	s->sending.failed |= p == NULL;
	if (s->sending.index != j->index)
		rc = begin(s, j, p);
	if (rc == 0 && !s->sending.failed && s->sending.at < s->sending.size)
		rc = j->delta != NULL ? step_delta(s, j, p) : step_plain(s, p);
	if (rc == 0 && (s->sending.failed || s->sending.at == s->sending.size))
		rc = finish(s, p);
	return rc < 0 ? rc : 1;
}
