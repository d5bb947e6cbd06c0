/* SPDX-License-Identifier: Apache-2.0 */
/* KM_REVOCATIONS: a worker has a newer revocation list. What it says of it is not gone by. */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/list_check.h"
#include "common/memfile.h"
#include "common/revocation_file.h"

int link_on_revocations(struct link *l, const union km_any *any, int *fds)
{
	const struct km_revocations *m = &any->revocations;
	uint8_t *pem = NULL;
	size_t len = 0;
	struct err e;
	int rc;

	if (m->number < 0 || !revocation_issuer_valid(m->issuer))
		return link_violation(l, "a revocation list of nobody's");
	if (l->env->lists != NULL && list_check_full(l->env->lists, l))
		return link_refuse_why(
		    l, any->hdr.seq, KM_WHY_SYSTEM, "too many revocation lists wait to be checked");
	rc = memfile_load(fds[0], REVOCATION_LIST_MAX, &pem, &len, &e);
	if (rc == TX_EPROTO)
		return link_violation(l, e.message);
	if (rc == 0 && l->env->lists == NULL) {
		free(pem);
		rc = err_set(&e, TX_ESTATE, "no revocation list is kept here");
	} else if (rc == 0) {
		rc = list_check_ask(l->env->lists, pem, len, l, any->hdr.seq, &e);
	}
	return rc == 0 ? 0 : link_refuse_why(l, any->hdr.seq, KM_WHY_SYSTEM, e.message);
}

/* The worker had checked it, by the authorities that were in `ca` when it began. */
static int refuse(struct link *l, uint64_t seq)
{
	static const char why[] = "the revocation list is not kept: it is not one of an authority "
	                          "in ca, as far as telex-renew can tell (see the agent's log)";

	exec_log_refused(l->env->exec_log, "revocations", "", "", why, false);
	return link_refuse_why(l, seq, KM_WHY_SYSTEM, why);
}

void link_on_list_checked(const struct revocation_record *list, void *owner, uint64_t seq)
{
	struct link *l = owner;
	struct km_done done = {0};
	struct err e;
	int rc;

	if (list == NULL)
		rc = refuse(l, seq);
	else if (l->env->revocations(list, l->env->revocations_arg, &e) != 0)
		rc = link_refuse_why(l, seq, KM_WHY_SYSTEM, e.message);
	else
		rc = km_send(l->chan, KM_DONE, seq, &done, NULL, 0);
	if (rc != 0)
		event_active(l->fail, EV_TIMEOUT, 0);
}
