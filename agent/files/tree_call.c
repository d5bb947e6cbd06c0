/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/tree_call.h"

#include <stdio.h>
#include <unistd.h>

#define PARTS_MAX 4

int tree_call_emit(const struct tree_span *parts, size_t n, void *arg)
{
	struct tree_call *t = arg;
	uint8_t head[TREE_OUTER_HEAD_MAX];
	struct iovec list[PARTS_MAX + 1];
	size_t len = 0;

	if (n > PARTS_MAX)
		return TX_EINVAL;
	for (size_t i = 0; i < n; i++) {
		list[i + 1].iov_base = (void *)(uintptr_t)parts[i].data;
		list[i + 1].iov_len = parts[i].len;
		len += parts[i].len;
	}
	list[0].iov_base = head;
	list[0].iov_len = tree_outer_head(head, t->field, len);
	return call_send_parts(t->c, list, (int)n + 1);
}

bool tree_call_path(char *out, size_t size, int fd, const char *name)
{
	char link[40];
	ssize_t n;
	int more;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, size - 1);
	if (n <= 0 || (size_t)n >= size - 1 || out[0] != '/')
		return false;
	out[n] = '\0';
	if (name == NULL)
		return true;
	more = snprintf(out + n, size - (size_t)n, "%s%s", n > 1 ? "/" : "", name);
	return more > 0 && (size_t)more < size - (size_t)n;
}

void tree_call_status(int rc, const struct err *e, struct rpc_status *status)
{
	if (rc == TX_EPROTO)
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "%s", e->message);
	else if (rc == TX_ENOMEM)
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	else if (rc < 0)
		rpc_status_set(status, RPC_CANCELLED, NULL, "the client is gone");
}
