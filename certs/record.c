/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/record.h"

#include <string.h>
#include <time.h>

void record_certificate(struct ledger_certificate *out, const struct issued *issued)
{
	_Static_assert(sizeof(out->serial) == sizeof(issued->serial), "the same text");
	*out = (struct ledger_certificate){
	    .not_before = issued->not_before,
	    .not_after = issued->not_after,
	    .issued = (int64_t)time(NULL),
	};
	memcpy(out->serial, issued->serial, sizeof(out->serial));
	memcpy(out->identity, issued->identity, sizeof(out->identity));
}

int record_issued(const char *dir, const struct issued *issued, struct err *e)
{
	struct ledger_certificate c;
	struct ledger *l = NULL;
	int rc = ledger_open(&l, dir, e);

	if (rc != 0)
		return rc;
	record_certificate(&c, issued);
	rc = ledger_add(l, &c, issued->certificate, e);
	ledger_close(l);
	return rc;
}

int record_replaced(const char *dir, struct err *e)
{
	struct ledger *l = NULL;
	int rc = ledger_open(&l, dir, e);

	if (rc == 0)
		rc = ledger_retire(l, e);
	ledger_close(l);
	return rc;
}
