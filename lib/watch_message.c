/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/watch_message.h"

#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/err.h"

bool watch_path_plain(const uint8_t *path, size_t len)
{
	const uint8_t *end;

	if (len == 0)
		return true;
	end = path + len;
	if (memchr(path, '\0', len) != NULL)
		return false;
	for (;;) {
		const uint8_t *slash = memchr(path, '/', (size_t)(end - path));
		const size_t n = (size_t)((slash != NULL ? slash : end) - path);

		if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && memcmp(path, "..", 2) == 0))
			return false;
		if (slash == NULL)
			return true;
		path = slash + 1;
	}
}

/* Copies bytes as text to *at, and moves that on. */
static const char *put_text(char **at, const ProtobufCBinaryData *bytes)
{
	char *text = *at;

	if (bytes->len > 0)
		memcpy(text, bytes->data, bytes->len);
	text[bytes->len] = '\0';
	*at += bytes->len + 1;
	return text;
}

static bool is_believable(const Telex__V1__Change *c, size_t roots)
{
	return c->root < roots && c->moved_root < roots &&
	       watch_path_plain(c->path.data, c->path.len) &&
	       watch_path_plain(c->moved_from.data, c->moved_from.len) &&
	       watch_path_plain(c->moved_to.data, c->moved_to.len);
}

/* Kinds that a later agent has are left out. */
static unsigned kinds_of(const Telex__V1__Change *in)
{
	unsigned kinds = 0;

	for (size_t i = 0; i < in->n_kinds; i++)
		if (in->kinds[i] > 0 && in->kinds[i] <= 8)
			kinds |= 1u << in->kinds[i];
	return kinds;
}

/* Times beyond the range of nanoseconds are 0: not known. */
static int64_t time_ns(const Google__Protobuf__Timestamp *t)
{
	int64_t ns;

	if (t == NULL || __builtin_mul_overflow(t->seconds, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, t->nanos, &ns))
		return 0;
	return ns;
}

static void fill(struct telex_change *out, const Telex__V1__Change *in, char **text)
{
	out->root = in->root;
	out->kinds = kinds_of(in);
	out->exists = in->exists;
	out->type = (unsigned)in->type <= TELEX_FILE_BLOCK_DEVICE ? (enum telex_file_type)in->type
	                                                          : TELEX_FILE_UNKNOWN;
	out->mode = in->mode & 07777;
	out->size = in->size;
	out->inode = in->inode;
	out->modified_ns = in->mtime_ns;
	out->moved_root = in->moved_root;
	out->count = in->count > 0 ? in->count : 1;
	out->time_ns = time_ns(in->time);
	out->order = in->order;
	out->path = put_text(text, &in->path);
	if (in->moved_from.len > 0)
		out->moved_from = put_text(text, &in->moved_from);
	if (in->moved_to.len > 0)
		out->moved_to = put_text(text, &in->moved_to);
}

int watch_changes(struct watch_changes *out, const Telex__V1__WatchChanges *in, size_t roots)
{
	size_t size = 0;
	char *at;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < in->n_changes; i++) {
		const Telex__V1__Change *c = in->changes[i];

		if (!is_believable(c, roots))
			return TX_EPROTO;
		size += c->path.len + c->moved_from.len + c->moved_to.len + 3;
	}
	if (in->n_changes == 0)
		return 0;
	out->changes = calloc(in->n_changes, sizeof(*out->changes));
	out->text = at = malloc(size);
	if (out->changes == NULL || at == NULL)
		return TX_ENOMEM;
	out->n = in->n_changes;
	for (size_t i = 0; i < out->n; i++)
		fill(&out->changes[i], in->changes[i], &at);
	return 0;
}

void watch_changes_free(struct watch_changes *c)
{
	free(c->changes);
	free(c->text);
}

void watch_armed(struct telex_watch_armed *out, const Telex__V1__WatchArmed *in)
{
	*out = (struct telex_watch_armed){.clock = in->clock,
	    .fresh_instance = in->fresh_instance,
	    .folders = in->folders,
	    .entries = in->entries,
	    .backend = in->backend};
}

void watch_rescan(struct telex_rescan *out, const Telex__V1__WatchRescan *in)
{
	*out = (struct telex_rescan){.done = in->done};
	if ((unsigned)in->reason <= TELEX_RESCAN_MOUNTS)
		out->reason = (enum telex_rescan_reason)in->reason;
	if (in->waited != NULL && in->waited->seconds >= 0 && in->waited->seconds < INT32_MAX &&
	    in->waited->nanos >= 0)
		out->waited_ms = in->waited->seconds * 1000 + in->waited->nanos / NS_PER_MS;
}

void watch_failure(struct telex_file_failure *out, const Telex__V1__FileError *in)
{
	*out = (struct telex_file_failure){.reason = "", .message = ""};
	if (in == NULL)
		return;
	out->code = (int)in->code;
	out->reason = in->reason;
	out->message = in->message;
	out->sys_errno = in->errno_value;
}
