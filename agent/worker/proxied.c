/* SPDX-License-Identifier: Apache-2.0 */
/* The peers that a proxy speaks for live as long as its connection: calls refer to them. */
#include "agent/worker/proxied.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/file_pool.h"
#include "common/identity.h"
#include "common/mem.h"

static struct peer *find(struct peer *proxy, const char *identity)
{
	struct peer *p = proxy->proxied;

	while (p != NULL && strcmp(p->identity, identity) != 0)
		p = p->proxied;
	return p;
}

static struct peer *add(struct peer *proxy, const char *identity)
{
	struct peer *p;

	if (proxy->n_proxied == PROXIED_MAX)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	*p = *proxy;
	snprintf(p->identity, sizeof(p->identity), "%s", identity);
	p->proxy = proxy;
	p->files = NULL;
	p->proxied = proxy->proxied;
	proxy->proxied = p;
	proxy->n_proxied++;
	return p;
}

static int refuse_nobody(struct rpc_status *refuse, const char *why)
{
	rpc_status_set(refuse, RPC_UNAUTHENTICATED, "NO_IDENTITY",
	    "the proxy must name for whom it calls, in the header " PROXIED_HEADER ": %s", why);
	return TX_EPERM;
}

int proxied_identify(struct rpc_call *c, struct rpc_status *refuse)
{
	struct peer *proxy = rpc_call_peer(c), *p;
	const char *trusted = proxy->worker->config.trusted_proxy;
	char identity[IDENTITY_SIZE];
	struct identity id, own;
	const char *text;
	struct err e;
	size_t len, count;

	if (trusted[0] == '\0' || strcmp(proxy->identity, trusted) != 0)
		return 0;
	text = rpc_call_metadata(c, PROXIED_HEADER, &len, &count);
	if (text == NULL)
		return refuse_nobody(refuse, "it is not there");
	/* One of them may be the client's own. */
	if (count != 1)
		return refuse_nobody(refuse, "it is there more than once");
	if (identity_parse(&id, text, len, &e) != 0)
		return refuse_nobody(refuse, e.message);
	if (id.kind != IDENTITY_USER)
		return refuse_nobody(refuse, "it is no user");
	if (identity_parse(&own, proxy->identity, strlen(proxy->identity), &e) != 0 ||
	    strcmp(id.domain, own.domain) != 0)
		return refuse_nobody(refuse, "it is of another trust domain than the proxy");
	identity_format(identity, &id);
	p = find(proxy, identity);
	if (p == NULL)
		p = add(proxy, identity);
	if (p == NULL) {
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "the proxy has named %d identities on this connection; open another one",
		    PROXIED_MAX);
		return TX_ELIMIT;
	}
	rpc_call_set_peer(c, p);
	return 0;
}

void proxied_free(struct peer *proxy)
{
	while (proxy->proxied != NULL) {
		struct peer *p = proxy->proxied;

		proxy->proxied = p->proxied;
		file_pool_free(p->files);
		free(p);
	}
}
