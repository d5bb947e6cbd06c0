/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is sent of a large file whose receiver has an older state of it, fed piece by piece: a
 * signature of our own (common/tree_sums.h), and against it a difference in librsync's commands,
 * which librsync applies. That one aborts where memory is short.
 */
#ifndef TX_COMMON_TREE_DELTA_H
#define TX_COMMON_TREE_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_DELTA_MIN      ((uint64_t)128 << 10) /* smaller files are sent whole */
#define TREE_SIGNATURES_MAX ((uint64_t)64 << 20)  /* that a sender holds at once */

/* What comes out; errno on a negative return, which ends it. */
typedef int tree_delta_out(const uint8_t *data, size_t len, void *arg);

/* About how long the signature of a file of `size` bytes is. */
uint64_t tree_signature_size(uint64_t size);
/* The signature of the first `size` bytes of a file, as far as there are any, in pieces of at most
 * 16 KiB. errno on -1. */
int tree_signature(int fd, uint64_t size, tree_delta_out *out, void *arg);

/* ---- the sender ---- */

struct tree_delta;
int tree_delta_new(struct tree_delta **out);
void tree_delta_free(struct tree_delta *d);
/* The signature, in pieces. TX_EPROTO: it is none; TX_ENOMEM. */
int tree_delta_load(struct tree_delta *d, const uint8_t *data, size_t len, bool last);
/* The file's bytes, in order; `end` with the last. They are copied: what is said of them may come
 * later, in pieces of at most 128 KiB. TX_ESYS: out failed; TX_EPROTO: there is no signature. */
int tree_delta_run(struct tree_delta *d, const uint8_t *data, size_t len, bool end,
    tree_delta_out *out, void *arg);

/* ---- the receiver ---- */

struct tree_patch;
/* basis_fd stays the caller's, and open. TX_ENOMEM. */
int tree_patch_new(struct tree_patch **out, int basis_fd);
void tree_patch_free(struct tree_patch *p);
/* The delta's bytes, in order. TX_ESYS: out, or reading the basis failed (errno); TX_EPROTO: it is
 * no delta for that basis. */
int tree_patch_run(
    struct tree_patch *p, const uint8_t *data, size_t len, tree_delta_out *out, void *arg);
/* Whether the delta was complete. */
bool tree_patch_done(const struct tree_patch *p);

#endif
