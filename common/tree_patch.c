/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's side of a difference: librsync applies it to what there is, piece by piece. */
#include <errno.h>
#include <librsync.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "common/tree_delta.h"

#define PIECE ((size_t)131072)

/* It would write to the terminal: what fails is told by its result. */
static void keep_quiet(void)
{
	rs_trace_to(NULL);
}

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
	keep_quiet();
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
