/* SPDX-License-Identifier: Apache-2.0 */
/* Where this process's own control groups are, as /proc/self/mountinfo and /proc/self/cgroup say.
 */
#ifndef TX_KEEPER_CGROUP_FIND_H
#define TX_KEEPER_CGROUP_FIND_H

#include <stddef.h>

/* The two texts, as the kernel gives them. */
struct cgroup_texts {
	char *mounts, *own;
};

/* TX_ESYS, TX_ENOMEM. */
int cgroup_texts_read(struct cgroup_texts *t);
void cgroup_texts_free(struct cgroup_texts *t);

/*
 * The folder of our own group in the hierarchy of a v1 controller ("freezer"), or in the v2 one
 * (controller NULL). TX_ENOENT: it is not mounted where we see it; TX_ETOOBIG: longer than `size`.
 */
int cgroup_find(const struct cgroup_texts *t, const char *controller, char *out, size_t size);

#endif
