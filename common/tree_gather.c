/* SPDX-License-Identifier: Apache-2.0 */
/* The sender's entries: what is told of each name, gathered into messages. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zstd.h>

#include "common/beneath.h"
#include "common/rpc_status.h"
#include "common/tree_send_internal.h"

#define ZSTD_LEVEL  1
#define LEAVE_ALONE 32u /* messages after one that did not get smaller */
#define UNSIZED                                                                                    \
	"it has no size before it is read, and then more than 32 MiB; it can be moved as a "       \
	"stream, with - for the file on this side"
#define COMPRESS_LEAST ((size_t)256)

/* ---- messages ---- */

static int pack_room(struct tree_sender *s, size_t size)
{
	uint8_t *grown;

	if (size <= s->packed_room)
		return 0;
	grown = realloc(s->packed, size);
	if (grown == NULL)
		return TX_ENOMEM;
	s->packed = grown;
	s->packed_room = size;
	return 0;
}

/* As the only field of a TreeSend: its tag (6, length-delimited) and length. */
static int emit_compressed(struct tree_sender *s, size_t len)
{
	uint8_t head[8];
	struct tree_span parts[2] = {{head, 0}, {s->compressed, len}};
	size_t left = len;

	head[parts[0].len++] = 6 << 3 | 2;
	for (; left >= 0x80; left >>= 7)
		head[parts[0].len++] = (uint8_t)(left | 0x80);
	head[parts[0].len++] = (uint8_t)left;
	return s->cfg.emit(parts, 2, s->cfg.arg);
}

static int compress(struct tree_sender *s, const struct tree_span *parts, size_t n, size_t len)
{
	size_t at = 0, got;
	uint8_t *whole = malloc(len);

	if (whole == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		memcpy(whole + at, parts[i].data, parts[i].len);
		at += parts[i].len;
	}
	got = ZSTD_compressCCtx(s->zstd, s->compressed, TREE_MESSAGE_MAX, whole, len, ZSTD_LEVEL);
	free(whole);
	if (ZSTD_isError(got) || got > len - len / 16) {
		s->incompressible = LEAVE_ALONE;
		return s->cfg.emit(parts, n, s->cfg.arg);
	}
	return emit_compressed(s, got);
}

int tree_gather_emit(struct tree_sender *s, const struct tree_span *parts, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += parts[i].len;
	if (!s->cfg.options->compress || len < COMPRESS_LEAST || len > TREE_MESSAGE_MAX / 2)
		return s->cfg.emit(parts, n, s->cfg.arg);
	if (s->incompressible > 0) {
		s->incompressible--;
		return s->cfg.emit(parts, n, s->cfg.arg);
	}
	return compress(s, parts, n, len);
}

void tree_gather_clear(struct tree_sender *s)
{
	for (size_t i = 0; i < s->message.n_entries; i++) {
		Telex__V1__TreeEntry *e = &s->entries[i];

		free(e->path.data);
		free(e->link_target.data);
		free(e->hard_link.data);
		free(e->sha256.data);
		tree_xattrs_free(e->extended_attributes, e->n_extended_attributes);
	}
	s->message.n_entries = 0;
	s->contents_used = 0;
	s->gathered = 0;
}

int tree_gather_flush(struct tree_sender *s)
{
	struct tree_span span;
	int rc;

	if (s->message.n_entries == 0)
		return 0;
	rc = pack_room(s, telex__v1__tree_send__get_packed_size(&s->message));
	if (rc < 0)
		return rc;
	span.len = telex__v1__tree_send__pack(&s->message, s->packed);
	span.data = s->packed;
	rc = tree_gather_emit(s, &span, 1);
	tree_gather_clear(s);
	return rc < 0 ? rc : 0;
}

int tree_gather_trouble(struct tree_sender *s, const char *path, int sys_errno, const char *what)
{
	Telex__V1__TreeSend message = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeFailed failed = TELEX__V1__TREE_FAILED__INIT, *list[1] = {&failed};
	Telex__V1__FileError error;
	struct tree_note note = {.kind = TREE_NOTE_FAILED, .path = path, .error = &error};
	char shown[TREE_SHOWN_SIZE];
	struct tree_span span;
	int rc = tree_gather_flush(s);

	if (rc < 0)
		return rc;
	s->errors++;
	tree_shown(shown, s->cfg.title, path);
	if (sys_errno != 0)
		tree_failure(&error, sys_errno, what, shown, NULL);
	else
		tree_failure_words(
		    &error, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", "%s: %s", shown, what);
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
	failed.path.data = (uint8_t *)(uintptr_t)path;
	failed.path.len = strlen(path);
	failed.error = &error;
	message.failed = list;
	message.n_failed = 1;
	rc = error.reason == NULL || error.message == NULL
	         ? TX_ENOMEM
	         : pack_room(s, telex__v1__tree_send__get_packed_size(&message));
	if (rc == 0) {
		span.len = telex__v1__tree_send__pack(&message, s->packed);
		span.data = s->packed;
		rc = tree_gather_emit(s, &span, 1);
	}
	tree_failure_clear(&error);
	return rc < 0 ? rc : 0;
}

/* ---- what is told of a name ---- */

static int copy_bytes(ProtobufCBinaryData *out, const char *text)
{
	out->len = strlen(text);
	out->data = (uint8_t *)strdup(text);
	return out->data != NULL ? 0 : TX_ENOMEM;
}

/* The same for the same state of the same file on its way to the same place. */
static void upload_id(struct tree_sender *s, char out[33], const char *path, const struct stat *st)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	const uint64_t state[5] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino,
	    (uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
	uint8_t digest[EVP_MAX_MD_SIZE] = {0};

	if (sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1) {
		EVP_DigestUpdate(sha, state, sizeof(state));
		EVP_DigestUpdate(sha, s->cfg.salt, strlen(s->cfg.salt) + 1);
		EVP_DigestUpdate(sha, path, strlen(path));
		EVP_DigestFinal_ex(sha, digest, NULL);
	}
	EVP_MD_CTX_free(sha);
	for (size_t i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* Grows the table of inodes to twice its size. */
static int grow_inodes(struct tree_sender *s)
{
	size_t room = s->inodes_room == 0 ? 256 : s->inodes_room * 2;
	struct tree_inode *grown = calloc(room, sizeof(*grown));

	if (grown == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < s->inodes_room; i++) {
		size_t at;

		if (s->inodes[i].ino == 0)
			continue;
		at = (size_t)(s->inodes[i].ino * 0x9e3779b1u) & (room - 1);
		while (grown[at].ino != 0)
			at = (at + 1) & (room - 1);
		grown[at] = s->inodes[i];
	}
	free(s->inodes);
	s->inodes = grown;
	s->inodes_room = room;
	return 0;
}

/* The path under which the file came before; NULL: now for the first time. */
static int first_path(
    struct tree_sender *s, const struct stat *st, const char *path, const char **out)
{
	size_t at;

	*out = NULL;
	if (s->n_inodes * 4 >= s->inodes_room * 3 && grow_inodes(s) < 0)
		return TX_ENOMEM;
	at = (size_t)(st->st_ino * 0x9e3779b1u) & (s->inodes_room - 1);
	while (s->inodes[at].ino != 0 &&
	       (s->inodes[at].ino != st->st_ino || s->inodes[at].dev != st->st_dev))
		at = (at + 1) & (s->inodes_room - 1);
	s->n_inodes += s->inodes[at].ino == 0;
	s->inodes[at].dev = st->st_dev;
	s->inodes[at].ino = st->st_ino;
	*out = s->inodes[at].path;
	if (*out == NULL)
		s->inodes[at].path = strdup(path);
	return s->inodes[at].path != NULL ? 0 : TX_ENOMEM;
}

/* It could not be told of: the next name of the same file is the first. */
static void forget_first(struct tree_sender *s, const struct stat *st, const char *path)
{
	for (size_t at = (size_t)(st->st_ino * 0x9e3779b1u) & (s->inodes_room - 1);
	     s->inodes_room > 0 && s->inodes[at].ino != 0; at = (at + 1) & (s->inodes_room - 1)) {
		struct tree_inode *i = &s->inodes[at];

		if (i->ino != st->st_ino || i->dev != st->st_dev)
			continue;
		if (i->path != NULL && strcmp(i->path, path) == 0) {
			free(i->path);
			i->path = NULL;
		}
		return;
	}
}

static int read_link(const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	char target[TREE_PATH_MAX + 2];
	ssize_t len = readlinkat(n->dir_fd, n->name, target, sizeof(target) - 1);

	if (len < 0)
		return errno;
	target[len] = '\0';
	e->size = 0;
	return copy_bytes(&e->link_target, target) < 0 ? ENOMEM : 0;
}

static bool is_regular(const Telex__V1__TreeEntry *e)
{
	return e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
}

/* The entry's parts that take looking. errno's. */
static int look_closer(struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	const Telex__V1__TreeOptions *o = s->cfg.options;
	const char *first = NULL;
	int rc = 0;

	if (e->type != TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY && o->hard_links &&
	    n->st.st_nlink > 1) {
		if (first_path(s, &n->st, n->path, &first) < 0)
			return ENOMEM;
		if (first != NULL && strcmp(first, n->path) != 0)
			return copy_bytes(&e->hard_link, first) < 0 ? ENOMEM : 0;
	}
	if (e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK)
		return read_link(n, e);
	if (o->extended_attributes && tree_xattrs_read(n->dir_fd, n->name, &e->extended_attributes,
	                                  &e->n_extended_attributes) < 0)
		return errno;
	if (!is_regular(e))
		return 0;
	if (o->check == TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM)
		rc = tree_read_digest(s, n, e);
	if (rc == 0 && o->eager && !e->unless_same && !o->dry_run && n->st.st_size > 0 &&
	    (size_t)n->st.st_size <= TREE_INLINE_MAX)
		rc = tree_read_content(s, n, e);
	if (rc == EAGAIN)
		rc = 0;
	return rc == 0 && !o->dry_run && n->st.st_size == 0 ? tree_read_unsized(s, n, e) : rc;
}

static void fill(const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	telex__v1__tree_entry__init(e);
	e->type = tree_type(n->st.st_mode);
	e->mode = n->st.st_mode & 07777;
	e->uid = n->st.st_uid;
	e->gid = n->st.st_gid;
	e->size = is_regular(e) ? (uint64_t)n->st.st_size : 0;
	tree_mtime_put(e, &n->st);
	e->rdev_major = major(n->st.st_rdev);
	e->rdev_minor = minor(n->st.st_rdev);
}

static int remember(
    struct tree_sender *s, const struct tree_name *n, const Telex__V1__TreeEntry *e, bool retried)
{
	struct tree_pending *p = &s->pending[e->index % TREE_UNANSWERED];

	/* Hard links are answered at the end, however many there are. */
	if (e->hard_link.len > 0)
		return 0;
	*p = (struct tree_pending){.index = e->index,
	    .path = strdup(n->path),
	    .source = n->source,
	    .size = e->size,
	    .mtime = n->st.st_mtim,
	    .ino = n->st.st_ino,
	    /* An empty file has none: it may be answered after the end. */
	    .content = is_regular(e) && e->hard_link.len == 0 && !e->has_content && e->size > 0,
	    .folder = S_ISDIR(n->st.st_mode),
	    .retried = retried};
	if (s->unsized != NULL) {
		p->held = s->unsized;
		s->held += (size_t)e->size;
		s->unsized = NULL;
	}
	if (p->content)
		p->below = strdup(n->below);
	return p->path == NULL || (p->content && p->below == NULL) ? TX_ENOMEM : 0;
}

static void drop_entry(struct tree_sender *s)
{
	/* As the last of the message, for tree_gather_clear's sake. */
	Telex__V1__TreeEntry *e = &s->entries[s->message.n_entries];

	free(e->path.data);
	free(e->link_target.data);
	free(e->hard_link.data);
	free(e->sha256.data);
	free(s->unsized);
	s->unsized = NULL;
	tree_xattrs_free(e->extended_attributes, e->n_extended_attributes);
	telex__v1__tree_entry__init(e);
}

/* About its bytes in the message, without its content, which is counted when it is read. */
static size_t size_of(const Telex__V1__TreeEntry *e)
{
	size_t size = 128 + e->path.len + e->link_target.len + e->hard_link.len + e->sha256.len;

	for (size_t i = 0; i < e->n_extended_attributes; i++) {
		const Telex__V1__ExtendedAttribute *x = e->extended_attributes[i];

		size += 16 + x->name.len + x->value.len;
	}
	return size;
}

static int gather(struct tree_sender *s, const struct tree_name *n, bool retried)
{
	size_t i = s->message.n_entries;
	Telex__V1__TreeEntry *e = &s->entries[i];
	int rc;

	fill(n, e);
	if (e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_UNSPECIFIED)
		return tree_gather_trouble(s, n->path, 0, "it is of an unknown kind");
	e->unless_same = s->cfg.had != NULL && tree_set_has(s->cfg.had, n->path);
	rc = look_closer(s, n, e);
	if (rc == 0 && copy_bytes(&e->path, n->path) < 0)
		rc = ENOMEM;
	if (rc != 0) {
		drop_entry(s);
		forget_first(s, &n->st, n->path);
		if (rc == ENOENT && n->path[0] != '\0')
			return 0; /* it has just gone */
		if (rc == EFBIG && n->st.st_size == 0)
			return tree_gather_trouble(s, n->path, 0, UNSIZED);
		return rc == ENOMEM ? TX_ENOMEM : tree_gather_trouble(s, n->path, rc, "read");
	}
	e->index = ++s->next_index;
	if (is_regular(e) && !e->has_content && e->hard_link.len == 0) {
		upload_id(s, s->ids[i], n->path, &n->st);
		e->upload_id = s->ids[i];
		e->no_holes = (uint64_t)n->st.st_blocks * 512 >= e->size;
	}
	s->message.n_entries++;
	s->gathered += size_of(e);
	s->files += is_regular(e);
	rc = remember(s, n, e, retried);
	if (rc < 0)
		return rc;
	if (s->message.n_entries == TREE_ENTRIES || s->gathered + TREE_INLINE_MAX > TREE_GATHERED)
		return tree_gather_flush(s);
	return 0;
}

int tree_gather_name(struct tree_sender *s, const struct tree_name *n)
{
	if (n->sys_errno != 0)
		return tree_gather_trouble(s, n->path, n->sys_errno, n->what);
	if (s->cfg.allowed != NULL && !s->cfg.allowed(n, s->cfg.arg)) {
		tree_walk_skip(s->walk);
		return tree_gather_trouble(s, n->path, 0, "the policy does not let it be read");
	}
	return gather(s, n, false);
}

int tree_gather_again(struct tree_sender *s, struct tree_pending *p)
{
	char folder[TREE_PATH_MAX + 1];
	size_t root = strlen(p->source->name), below = strlen(p->below);
	const char *name;
	struct tree_name n = {.path = p->path, .source = p->source, .below = p->below};
	int rc = 0, fd = -1, failed = 0;

	if (below == 0) {
		n.dir_fd = p->source->dir_fd;
		n.name = p->source->name;
	} else if (root + 1 + below > TREE_PATH_MAX) {
		return tree_gather_trouble(s, p->path, ENAMETOOLONG, "read");
	} else {
		name = tree_path_name(p->below);
		snprintf(folder, sizeof(folder), "%s/%.*s", p->source->name, (int)(name - p->below),
		    p->below);
		fd = open_below(
		    p->source->dir_fd, folder, O_PATH | O_DIRECTORY, s->cfg.options->follow);
		failed = fd < 0 ? errno : 0;
		n.dir_fd = fd;
		n.name = name;
	}
	if (failed == 0 &&
	    fstatat(n.dir_fd, n.name, &n.st, s->cfg.options->follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
		failed = errno;
	rc = failed != 0 ? tree_gather_trouble(s, p->path, failed, "read") : gather(s, &n, true);
	if (fd >= 0)
		close(fd);
	return rc;
}
