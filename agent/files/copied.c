/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/copied.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/tree.h"

#define KEY_SIZE 160

struct copied {
	struct tree_set *states;
};

int copied_new(struct copied **out)
{
	struct copied *c = calloc(1, sizeof(*c));

	if (c == NULL || tree_set_new(&c->states) < 0) {
		free(c);
		return ENOMEM;
	}
	*out = c;
	return 0;
}

void copied_free(struct copied *c)
{
	if (c == NULL)
		return;
	tree_set_free(c->states);
	free(c);
}

static void key_of(char out[KEY_SIZE], const struct stat *st, bool with_ctime)
{
	static const struct timespec none;
	const struct timespec *m = &st->st_mtim, *c = with_ctime ? &st->st_ctim : &none;

	if (S_ISDIR(st->st_mode))
		snprintf(out, KEY_SIZE, "d %ju %ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
	else
		snprintf(out, KEY_SIZE, "%ju %ju %jd %jd.%ld %jd.%ld", (uintmax_t)st->st_dev,
		    (uintmax_t)st->st_ino, (intmax_t)st->st_size, (intmax_t)m->tv_sec, m->tv_nsec,
		    (intmax_t)c->tv_sec, c->tv_nsec);
}

int copied_add(struct copied *c, const struct stat *st)
{
	char key[KEY_SIZE];

	key_of(key, st, st->st_nlink == 1);
	return tree_set_add(c->states, key) < 0 ? ENOMEM : 0;
}

bool copied_has(const struct copied *c, const struct stat *st)
{
	char key[KEY_SIZE];

	key_of(key, st, true);
	if (tree_set_has(c->states, key))
		return true;
	/* Such a key is there for what had several names. */
	key_of(key, st, false);
	return tree_set_has(c->states, key);
}
