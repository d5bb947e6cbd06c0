/* SPDX-License-Identifier: Apache-2.0 */
/* KM_REVOCATIONS: a worker has verified a newer revocation list. */
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/link_internal.h"
#include "agent/keeper/revocations.h"
#include "common/memfile.h"
#include "common/revocation_file.h"

int link_on_revocations(struct link *l, const union km_any *any, int *fds)
{
	const struct km_revocations *m = &any->revocations;
	struct revocation_record list = {.number = m->number};
	struct km_done done = {0};
	uint8_t *pem = NULL;
	size_t len = 0;
	struct err e;
	int rc;

	if (m->number < 0 || !revocation_issuer_valid(m->issuer))
		return link_violation(l, "a revocation list of nobody's");
	memcpy(list.issuer, m->issuer, sizeof(list.issuer));
	if (l->env->revocations == NULL)
		return link_refuse_why(
		    l, any->hdr.seq, KM_WHY_SYSTEM, "no revocation list is kept here");
	if (memfile_load(fds[0], REVOCATION_LIST_MAX, &pem, &len, &e) == TX_EPROTO)
		return link_violation(l, e.message);
	list.pem = (const char *)pem;
	list.len = len;
	rc = pem == NULL ? e.code : l->env->revocations(&list, l->env->revocations_arg, &e);
	free(pem);
	if (rc != 0)
		return link_refuse_why(l, any->hdr.seq, KM_WHY_SYSTEM, e.message);
	return km_send(l->chan, KM_DONE, any->hdr.seq, &done, NULL, 0);
}
