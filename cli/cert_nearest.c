/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cert_nearest.h"

#include <stdlib.h>
#include <string.h>

#include "common/identity.h"
#include "common/mem.h"
#include "common/nearest.h"

#define MOST ((size_t)10000) /* identities that are looked at, newest first */

struct known {
	char **list;
	size_t n;
};

/* "user/alice" of "spiffe://lab.example/user/alice"; what is none as it is. */
static const char *tail_of(const char *text)
{
	const char *at = text;
	struct identity id;

	if (identity_parse(&id, text, strlen(text), NULL) != 0)
		return text;
	for (int slashes = 0; slashes < 3; at++)
		slashes += *at == '/';
	return at;
}

static bool take(const struct ledger_certificate *c, void *arg)
{
	struct known *k = arg;

	if (k->n > 0 && strcmp(k->list[k->n - 1], c->identity) == 0)
		return true;
	k->list = xreallocarray(k->list, k->n + 1, sizeof(*k->list));
	k->list[k->n++] = xstrdup(c->identity);
	return k->n < MOST;
}

static const char *named(const struct known *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++) {
		const char *tail = tail_of(k->list[i]), *slash = strchr(tail, '/');

		if (strcmp(tail, name) == 0 || (slash != NULL && strcmp(slash + 1, name) == 0))
			return k->list[i];
	}
	return NULL;
}

static const char *mistyped(const struct known *k, const char *text)
{
	const char **tails = xcalloc(k->n + 1, sizeof(*tails)), *near;

	for (size_t i = 0; i < k->n; i++)
		tails[i] = tail_of(k->list[i]);
	near = nearest_word(tail_of(text), tails, k->n);
	for (size_t i = 0; i < k->n && near != NULL; i++)
		if (tails[i] == near) {
			near = k->list[i];
			break;
		}
	free(tails);
	return near;
}

void cert_nearest(struct ledger *l, const char *text, struct err *e)
{
	const struct err was = *e;
	struct known k = {.n = 0};
	const char *near = NULL;

	if (ledger_each(l, take, &k, NULL) == 0) {
		near = named(&k, text);
		if (near == NULL)
			near = mistyped(&k, text);
	}
	*e = was;
	if (near != NULL)
		err_set(e, was.code, "%s; did you mean %s?", was.message, near);
	for (size_t i = 0; i < k.n; i++)
		free(k.list[i]);
	free(k.list);
}
