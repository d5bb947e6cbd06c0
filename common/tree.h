/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees on their way from one machine to another: what the sender and the receiver of
 * telex.v1.TreeSend and TreeReceive (proto/telex/v1/file.proto) have in common. telex-files is the
 * one end and libtelex the other, in either direction. Files are read and written by blocking
 * calls; how messages travel is the owner's matter, so both ends are driven step by step.
 *
 * Nothing aborts: TX_ENOMEM. Not for several threads.
 */
#ifndef TX_COMMON_TREE_H
#define TX_COMMON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "telex/v1/file.pb-c.h"

#define TREE_PATH_MAX    4095            /* bytes of an entry's path */
#define TREE_INLINE_MAX  ((size_t)65536) /* of a content that comes with its entry */
#define TREE_CHUNK       ((size_t)262144)
#define TREE_MESSAGE_MAX ((size_t)1 << 20)
#define TREE_UNANSWERED  16384u /* entries */

/* A part of a packed message. */
struct tree_span {
	const uint8_t *data;
	size_t len;
};

/* A packed message is to go: n parts, for the time of the call. Negative: it could not, and that is
 * what the step returns. */
typedef int tree_emit(const struct tree_span *parts, size_t n, void *arg);

/* ---- names ---- */

/* Whether it may be the path of an entry: see TreeEntry.path. */
bool tree_path_valid(const uint8_t *path, size_t len);
/* The last component, and where it begins. */
const char *tree_path_name(const char *path);
/* Whether a symbolic link at `path` with this target stays in the tree, by its text. */
bool tree_link_stays(const char *path, const char *target);
/* Whether the filters leave it out. */
bool tree_excluded(const Telex__V1__TreeOptions *options, const char *path, bool folder);

/* ---- failures ---- */

/* A path as it may stand in a sentence; the empty one is called `title`: what the person typed for
 * it, or NULL: "the target". Returns out. */
#define TREE_SHOWN_SIZE 512
const char *tree_shown(char out[TREE_SHOWN_SIZE], const char *title, const char *path);
/* Of one entry, for TreeFailed: code, reason and a sentence ("cannot WHAT SHOWN: No space left on
 * device (8192 bytes are free)"), allocated; NULLs where memory is short. tree_failure_clear frees.
 * left: as of file_errno_words. */
void tree_failure(Telex__V1__FileError *out, int sys_errno, const char *what, const char *shown,
    const char *left);
/* The same for what no errno says. */
void tree_failure_words(Telex__V1__FileError *out, int code, const char *reason, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));
/* The policy's limit of bytes is reached. */
void tree_failure_limit(Telex__V1__FileError *out, const char *shown, uint64_t max_bytes);
void tree_failure_clear(Telex__V1__FileError *e);

/* ---- messages ---- */

#define TREE_DATA_HEAD_MAX 64
#define TREE_HOLE_MAX      ((uint64_t)256 << 20) /* what one message may pass over: it is digested */

/* TreeSend { data { index, offset, data } } without its bytes. The head's length. */
size_t tree_data_head(
    uint8_t head[TREE_DATA_HEAD_MAX], uint64_t index, uint64_t offset, size_t data_len);
struct tree_data {
	uint64_t index, offset;
	const uint8_t *data;
	size_t len;
};
/* 1: the message is a TreeSend of data alone, and this is it; 0: it is another. */
int tree_data_parse(const uint8_t *msg, size_t len, struct tree_data *out);

/* A message that holds another one and nothing else, as the API's requests and responses do: what
 * comes before it (the length of the head), and which it is. 1, or 0: it is no such. */
#define TREE_OUTER_HEAD_MAX 16
size_t tree_outer_head(uint8_t head[TREE_OUTER_HEAD_MAX], uint32_t field, size_t len);
int tree_outer_parse(
    const uint8_t *msg, size_t len, uint32_t *field, const uint8_t **inner, size_t *inner_len);

/* A copy of one's own, of `malloc`; telex__v1__tree_entry__free_unpacked(…, NULL). */
Telex__V1__TreeEntry *tree_entry_copy(const Telex__V1__TreeEntry *e);

/* ---- sets of paths ---- */

/* By a 64-bit hash with a key of its own: exact for all that is not made to break it. */
struct tree_set;
int tree_set_new(struct tree_set **out);
void tree_set_free(struct tree_set *s);
/* 1: it is new, 0: it was there; TX_ENOMEM. */
int tree_set_add(struct tree_set *s, const char *path);
bool tree_set_has(const struct tree_set *s, const char *path);
size_t tree_set_count(const struct tree_set *s);

#endif
