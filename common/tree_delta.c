/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tree_delta.h"

#include <errno.h>
#include <librsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/err.h"
#include "common/tree.h"

#define PIECE ((size_t)131072)

/* One run of a job: feeds it what there is and gives on what it makes. 0: it wants more; 1: it is
 * done. */
static int drive(rs_job_t *job, uint8_t *room, const uint8_t *data, size_t len, bool end,
    tree_delta_out *out, void *arg)
{
	rs_buffers_t b = {.next_in = (char *)(uintptr_t)data, .avail_in = len, .eof_in = end};
	rs_result rc;

	do {
		size_t made, had = b.avail_in;

		b.next_out = (char *)room;
		b.avail_out = PIECE;
		rc = rs_job_iter(job, &b);
		made = PIECE - b.avail_out;
		if (rc != RS_DONE && rc != RS_BLOCKED)
			return rc == RS_IO_ERROR ? TX_ESYS : TX_EPROTO;
		if (made > 0 && out(room, made, arg) < 0)
			return TX_ESYS;
		/* Room was left: it has no more to say to this. */
		if (rc == RS_BLOCKED && b.avail_out > 0 && b.avail_in == 0 && !end)
			return 0;
		if (rc == RS_BLOCKED && made == 0 && b.avail_in == had)
			return TX_EPROTO; /* it stands still */
	} while (rc == RS_BLOCKED);
	return 1;
}

/* ---- signature ---- */

int tree_signature(int fd, uint64_t size, tree_delta_out *out, void *arg)
{
	rs_magic_number magic = 0;
	size_t block = 0, strong = 0;
	uint8_t *in = NULL, *room = NULL;
	rs_job_t *job = NULL;
	uint64_t at = 0;
	int rc = -1;

	if (rs_sig_args((rs_long_t)size, &magic, &block, &strong) != RS_DONE) {
		errno = EINVAL;
		return -1;
	}
	in = malloc(PIECE);
	room = malloc(PIECE);
	if (in != NULL && room != NULL)
		job = rs_sig_begin(block, strong, magic);
	errno = ENOMEM;
	for (rc = job != NULL ? 0 : -1; rc == 0;) {
		ssize_t n = pread(fd, in, PIECE, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = -1;
			break;
		}
		at += (uint64_t)n;
		rc = drive(job, room, in, (size_t)n, n == 0, out, arg);
		if (rc == TX_EPROTO)
			errno = EIO;
	}
	if (job != NULL)
		rs_job_free(job);
	free(in);
	free(room);
	return rc == 1 ? 0 : -1;
}

/* ---- delta ---- */

struct tree_delta {
	rs_signature_t *signature;
	rs_job_t *load, *job;
	uint8_t room[PIECE];
};

int tree_delta_new(struct tree_delta **out)
{
	struct tree_delta *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return TX_ENOMEM;
	d->load = rs_loadsig_begin(&d->signature);
	if (d->load == NULL) {
		free(d);
		return TX_ENOMEM;
	}
	*out = d;
	return 0;
}

void tree_delta_free(struct tree_delta *d)
{
	if (d == NULL)
		return;
	if (d->load != NULL)
		rs_job_free(d->load);
	if (d->job != NULL)
		rs_job_free(d->job);
	if (d->signature != NULL)
		rs_free_sumset(d->signature);
	free(d);
}

static int nothing_comes(const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	(void)arg;
	return -1;
}

int tree_delta_load(struct tree_delta *d, const uint8_t *data, size_t len, bool last)
{
	int rc;

	if (d->load == NULL)
		return TX_EPROTO;
	rc = drive(d->load, d->room, data, len, last, nothing_comes, NULL);
	if (rc < 0 || (rc == 0) == last)
		return TX_EPROTO;
	if (!last)
		return 0;
	rs_job_free(d->load);
	d->load = NULL;
	if (d->signature == NULL || rs_build_hash_table(d->signature) != RS_DONE)
		return TX_EPROTO;
	d->job = rs_delta_begin(d->signature);
	return d->job != NULL ? 0 : TX_ENOMEM;
}

int tree_delta_run(
    struct tree_delta *d, const uint8_t *data, size_t len, bool end, tree_delta_out *out, void *arg)
{
	int rc;

	if (d->job == NULL)
		return TX_EPROTO;
	rc = drive(d->job, d->room, data, len, end, out, arg);
	if (rc < 0)
		return rc;
	return (rc == 1) == end ? 0 : TX_EPROTO;
}

/* ---- patch ---- */

struct tree_patch {
	rs_job_t *job;
	int basis_fd;
	bool done;
	uint8_t room[PIECE];
};

static rs_result read_basis(void *opaque, rs_long_t pos, size_t *len, void **buf)
{
	struct tree_patch *p = opaque;
	ssize_t n;

	do
		n = pread(p->basis_fd, *buf, *len, (off_t)pos);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return RS_IO_ERROR;
	if (n == 0)
		return RS_INPUT_ENDED;
	*len = (size_t)n;
	return RS_DONE;
}

int tree_patch_new(struct tree_patch **out, int basis_fd)
{
	struct tree_patch *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return TX_ENOMEM;
	p->basis_fd = basis_fd;
	p->job = rs_patch_begin(read_basis, p);
	if (p->job == NULL) {
		free(p);
		return TX_ENOMEM;
	}
	*out = p;
	return 0;
}

void tree_patch_free(struct tree_patch *p)
{
	if (p == NULL)
		return;
	rs_job_free(p->job);
	free(p);
}

int tree_patch_run(
    struct tree_patch *p, const uint8_t *data, size_t len, tree_delta_out *out, void *arg)
{
	int rc;

	if (p->done)
		return len == 0 ? 0 : TX_EPROTO;
	rc = drive(p->job, p->room, data, len, false, out, arg);
	if (rc == 1)
		p->done = true;
	return rc < 0 ? rc : 0;
}

bool tree_patch_done(const struct tree_patch *p)
{
	return p->done;
}
