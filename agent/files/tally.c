/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/files/failure.h"

void tally_init(struct tally *t, const char *top)
{
	*t = (struct tally){.top = top};
}

bool tally_path(const struct tally *t, const char *below, char *out, unsigned size)
{
	const char *slash = below[0] == '\0' || strcmp(t->top, "/") == 0 ? "" : "/";

	return snprintf(out, size, "%s%s%s", t->top, slash, below) < (int)size;
}

void tally_status(struct tally *t, const struct rpc_status *status)
{
	if (t->failed++ == 0)
		t->first = *status;
}

void tally_errno(struct tally *t, int sys_errno, const char *what, const char *below)
{
	char path[4096];
	struct rpc_status status;

	if (t->failed++ > 0)
		return;
	(void)tally_path(t, below, path, sizeof(path));
	failure_errno(&status, sys_errno, what, path);
	t->first = status;
}

void tally_end(const struct tally *t, const char *done_key, struct rpc_status *status)
{
	if (t->failed == 0)
		return;
	*status = t->first;
	/* Nobody is to take the first one for the only one. */
	if (t->failed > 1)
		rpc_status_add(status, " (and %" PRIu64 " more failed)", t->failed - 1);
	rpc_status_meta(status, "failed", "%" PRIu64, t->failed);
	rpc_status_meta(status, done_key, "%" PRIu64, t->done);
}
