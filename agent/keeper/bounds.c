/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/bounds.h"

#include <stdio.h>
#include <string.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/start.h"
#include "common/ceiling.h"
#include "common/log.h"

static int hostile(struct link *l, uint64_t seq, const char *by, const char *id, const char *what)
{
	log_error("a worker asks for what the ceiling forbids, in the name of %s: %s; it is not "
	          "trusted any more",
	    by, what);
	exec_log_refused(l->env->exec_log, "request", by, id, what, true);
	(void)link_refuse_why(l, seq, KM_WHY_CEILING, what);
	return TX_EPROTO;
}

int bounds_start(struct link *l, const struct km_start *m, const struct job_spec *spec)
{
	const char *user = spec->user != NULL ? spec->user : starter_own_name(l->env->starter);
	struct err e = {0};

	if (ceiling_check(l->env->ceiling, user, spec->argv[0], &e) == 0)
		return 0;
	return hostile(l, m->hdr.seq, m->owner, m->id, e.message);
}

bool bounds_any(struct link *l, uint64_t seq, const char *by, const char *id, bool any, int *rc)
{
	if (!any || l->env->ceiling->any_process)
		return true;
	*rc = hostile(l, seq, by, id, "another identity's processes are out of its reach");
	return false;
}

struct job *bounds_find(
    struct link *l, uint64_t seq, const char *id, const char *by, bool any, int *rc)
{
	struct job *j;

	if (!bounds_any(l, seq, by, id, any, rc))
		return NULL;
	j = jobs_find(l->env->jobs, id);
	if (j != NULL && (any || strcmp(j->owner, by) == 0))
		return j;
	/* One of another's is as unknown as one that is not there. */
	*rc = link_refuse_why(l, seq, KM_WHY_NO_SUCH, "no such process");
	return NULL;
}

bool bounds_quota(struct link *l, const struct km_start *m, struct km_refused *why)
{
	uint32_t n = 0;

	if (m->max_running == 0)
		return true;
	for (struct job *j = jobs_first(l->env->jobs); j != NULL; j = jobs_next(j))
		if (j->state != KM_STATE_ENDED && strcmp(j->owner, m->owner) == 0)
			n++;
	if (n < m->max_running)
		return true;
	why->why = KM_WHY_QUOTA;
	why->newest = m->max_running;
	snprintf(why->text, sizeof(why->text),
	    "%s has %u processes that run or wait, and may have no more", m->owner, n);
	return false;
}
