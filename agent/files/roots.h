/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where paths may lead: the roots of a role, and the opening of paths below them. The only place of
 * telex-files that turns a client's path into a descriptor.
 *
 * A pattern's root is the folder that its text names before the first wildcard (of
 * "/srv/www/STAR" with two stars: /srv/www); of a pattern without any, which means one file or
 * folder itself, the folder that it is in. Links on the way to a root are followed: whoever wrote
 * the policy means what they lead to. Paths are resolved from the root's descriptor with
 * openat2(2): RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS (for "/": RESOLVE_IN_ROOT; where the kernel
 * has no openat2, links below other roots are not followed at all). Where the pattern says more
 * than its root, what was reached is held against it once more, by its descriptor's own name.
 *
 * What these functions allow is one file. What is below a folder may not be, where its pattern does
 * not end with two stars: whoever goes down into a folder asks roots_allow_tree first.
 *
 * All that is opened has O_CLOEXEC, O_NOCTTY and O_NONBLOCK: opening a FIFO does not wait.
 */
#ifndef TX_FILES_ROOTS_H
#define TX_FILES_ROOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/rpc_status.h"

struct roots;

enum roots_access { ROOTS_READ, ROOTS_WRITE, ROOTS_WATCH };

/* NULL-terminated lists of patterns (common/policy.h). Opens what is there of them by now; others
 * when they are first needed. TX_ENOMEM. */
int roots_new(struct roots **out, const char *const *read, const char *const *write,
    const char *const *watch);
void roots_free(struct roots *r);

/* For a path that is absolute and plain: whether a pattern allows it, by its text. */
bool roots_allow(const struct roots *r, enum roots_access access, const char *path);
/* Whether a pattern allows all that is below what fd is, at any depth; or, where `name` is not
 * NULL, below that name in the folder fd. By what the kernel calls it, whatever path led there.
 * Where it is false, each name below is to be opened by roots_open. */
bool roots_allow_tree(const struct roots *r, enum roots_access access, int fd, const char *name);

/* Whether a pattern may allow what is called so there; `folder`: or something below it. By what the
 * kernel calls it; true where that cannot be told. */
bool roots_reach(
    const struct roots *r, enum roots_access access, int fd, const char *name, bool folder);
/* Whether a pattern allows everything there is: then links may lead anywhere. */
bool roots_allow_all(const struct roots *r, enum roots_access access);

/*
 * Opens a path. `flags`: open(2)'s, with O_NOFOLLOW for the last component's own sake;
 * O_CREAT is not allowed (use roots_parent). -1 with *status filled.
 */
int roots_open(const struct roots *r, enum roots_access access, const char *path, int flags,
    struct rpc_status *status);

/*
 * Opens the folder that a path is in (O_PATH), and gives its last component: for what makes,
 * renames and removes names. A root's own name is in a folder that may be looked into by this
 * alone; Landlock lets that name be made where the root was not there when it closed, and nothing
 * else be done with it. "/" has none (INVALID_ARGUMENT). *name points into path.
 */
int roots_parent(const struct roots *r, enum roots_access access, const char *path,
    const char **name, struct rpc_status *status);

/*
 * Opens a name that may have several components, below a folder that was opened before:
 * no symbolic link anywhere on the way, nothing above (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
 * RESOLVE_NO_MAGICLINKS). errno on -1.
 */
int roots_open_beneath(int dir_fd, const char *name, int flags, unsigned mode);

/* Opens once more what fd is (O_PATH will do), with other flags. errno on -1. */
int roots_reopen(int fd, int flags);

/* Of an access's patterns: the same for the same ones. */
uint64_t roots_mark(const struct roots *r, enum roots_access access);

/* A root, for a sandbox. */
struct roots_folder {
	int fd; /* of the folder, or of the nearest one above it that is there */
	bool writable, missing;
};
/* Each of them; one may come several times. What `each` returns, when that is not 0. */
int roots_each(
    const struct roots *r, int (*each)(const struct roots_folder *f, void *arg), void *arg);

#endif
