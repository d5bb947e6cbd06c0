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

/* What its worker was given; an honest one refuses by it. */
static const struct ceiling *given(const struct link *l)
{
	return l->ceiling != NULL ? l->ceiling : l->env->ceiling;
}

/* The ceiling was changed, and workers of before are not to blame that they do not know. */
static int beyond(struct link *l, uint64_t seq, const char *by, const char *id, const char *what)
{
	log_warn("what the ceiling forbids now is refused to %s: %s", by, what);
	exec_log_refused(l->env->exec_log, "request", by, id, what, false);
	return link_refuse_why(l, seq, KM_WHY_CEILING, what);
}

static int hostile(struct link *l, uint64_t seq, const char *by, const char *id, const char *what)
{
	log_error("a worker asks for what the ceiling forbids, in the name of %s: %s; it is not "
	          "trusted any more",
	    by, what);
	exec_log_refused(l->env->exec_log, "request", by, id, what, true);
	(void)link_refuse_why(l, seq, KM_WHY_CEILING, what);
	return TX_EPROTO;
}

static int check(const struct ceiling *c, const char *user, const struct job_spec *s, struct err *e)
{
	int rc = ceiling_check(c, user, s->argv[0], e);

	return rc != 0 ? rc : ceiling_check_environment(c, s->env, s->envc, e);
}

bool bounds_start(struct link *l, const struct km_start *m, const struct job_spec *spec, int *rc)
{
	const char *user = spec->user != NULL ? spec->user : starter_own_name(l->env->starter);
	struct err e = {0};

	if (check(given(l), user, spec, &e) != 0)
		*rc = hostile(l, m->hdr.seq, m->owner, m->id, e.message);
	else if (check(l->env->ceiling, user, spec, &e) != 0)
		*rc = beyond(l, m->hdr.seq, m->owner, m->id, e.message);
	else
		return true;
	return false;
}

bool bounds_files(struct link *l, const struct km_files *m, const char *user, int *rc)
{
	struct err e = {0};

	if (ceiling_check_files(given(l), user, &e) != 0)
		*rc = hostile(l, m->hdr.seq, m->owner, "", e.message);
	else if (ceiling_check_files(l->env->ceiling, user, &e) != 0)
		*rc = beyond(l, m->hdr.seq, m->owner, "", e.message);
	else
		return true;
	return false;
}

bool bounds_any(struct link *l, uint64_t seq, const char *by, const char *id, bool any, int *rc)
{
	static const char what[] = "another identity's processes are out of its reach";

	if (!any || (given(l)->any_process && l->env->ceiling->any_process))
		return true;
	*rc = given(l)->any_process ? beyond(l, seq, by, id, what) : hostile(l, seq, by, id, what);
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
