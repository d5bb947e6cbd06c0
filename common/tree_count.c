/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tree_count.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/tree.h"

struct tree_count {
	struct tree_walk *walk;
	struct tree_set *linked; /* files with several names that came */
	bool hard_links, specials;
	bool (*allowed)(const struct tree_name *name, void *arg);
	void *arg;
	struct tree_counted now;
};

int tree_count_new(struct tree_count **out, const struct tree_source *sources, size_t n,
    const Telex__V1__TreeOptions *options, bool (*allowed)(const struct tree_name *name, void *arg),
    void *arg)
{
	struct tree_count *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return TX_ENOMEM;
	c->hard_links = options->hard_links;
	c->specials = options->specials;
	c->allowed = allowed;
	c->arg = arg;
	if (tree_walk_new(&c->walk, sources, n, options) < 0 || tree_set_new(&c->linked) < 0) {
		tree_count_free(c);
		return TX_ENOMEM;
	}
	*out = c;
	return 0;
}

void tree_count_free(struct tree_count *c)
{
	if (c == NULL)
		return;
	tree_walk_free(c->walk);
	tree_set_free(c->linked);
	free(c);
}

/* 1: it came under another name; 0; TX_ENOMEM. */
static int came_before(struct tree_count *c, const struct stat *st)
{
	char key[48];
	int rc;

	if (!c->hard_links || st->st_nlink < 2)
		return 0;
	snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev,
	    (unsigned long long)st->st_ino);
	rc = tree_set_add(c->linked, key);
	return rc < 0 ? rc : rc == 0;
}

static int count(struct tree_count *c, const struct tree_name *n)
{
	const struct stat *st = &n->st;
	int rc;

	if (n->sys_errno != 0)
		return 0;
	if (c->allowed != NULL && !c->allowed(n, c->arg)) {
		tree_walk_skip(c->walk);
		return 0;
	}
	if (S_ISDIR(st->st_mode) ||
	    (!c->specials && !S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode)))
		return 0;
	rc = came_before(c, st);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	c->now.files++;
	c->now.bytes += S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	return 0;
}

int tree_count_step(struct tree_count *c, unsigned names)
{
	const struct tree_name *n;
	int rc = 0;

	while (rc == 0 && names-- > 0 && !c->now.complete) {
		rc = tree_walk_next(c->walk, &n);
		if (rc == 0)
			c->now.complete = true;
		else if (rc > 0)
			rc = count(c, n);
	}
	return rc < 0 ? rc : 0;
}

struct tree_counted tree_count_now(const struct tree_count *c)
{
	return c->now;
}
