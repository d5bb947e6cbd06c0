/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/credit.h"

void credit_give(struct credit *c, size_t n, size_t owed)
{
	c->held += n;
	c->owed += owed;
}

void credit_lost(struct credit *c)
{
	c->stale = c->held;
	c->owed = 0;
}

size_t credit_take(struct credit *c, size_t n)
{
	size_t old, fresh, of, credit = 0;

	if (n > c->held)
		n = c->held;
	old = n < c->stale ? n : c->stale;
	fresh = n - old;
	of = c->held - c->stale;
	if (fresh == of)
		credit = c->owed;
	else if (fresh > 0)
		credit = (size_t)((unsigned __int128)c->owed * fresh / of);
	c->stale -= old;
	c->held -= n;
	c->owed -= credit;
	return credit;
}
