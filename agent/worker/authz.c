/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of today: a user's certificate may call everything, an agent's nothing. Policy goes
 * here. */
#include "agent/worker/authz.h"

#include <stdbool.h>
#include <string.h>

#include "common/err.h"

/* Whether identity is "spiffe://DOMAIN/user/NAME", with neither part empty. */
static bool is_user(const char *identity)
{
	static const char scheme[] = "spiffe://";
	static const char kind[] = "/user/";
	const char *domain, *path;

	if (strncmp(identity, scheme, sizeof(scheme) - 1) != 0)
		return false;
	domain = identity + sizeof(scheme) - 1;
	path = strchr(domain, '/');
	if (path == NULL || path == domain)
		return false;
	return strncmp(path, kind, sizeof(kind) - 1) == 0 && path[sizeof(kind) - 1] != '\0';
}

int authz_check(
    const char *identity, const char *service, const char *method, struct rpc_status *refuse)
{
	if (identity == NULL || identity[0] == '\0') {
		rpc_status_set(refuse, RPC_UNAUTHENTICATED, "NO_IDENTITY",
		    "the client certificate names no identity");
		return TX_EPERM;
	}
	if (is_user(identity))
		return 0;
	rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "%s may not call %s/%s",
	    identity, service, method);
	rpc_status_meta(refuse, "identity", "%s", identity);
	return TX_EPERM;
}
