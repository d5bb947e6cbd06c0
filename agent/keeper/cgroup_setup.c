/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hierarchies are used for what. v1's are many, and v2 may be there beside them, without the
 * controllers that v1 has.
 */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/cgroup_find.h"
#include "agent/keeper/cgroup_internal.h"
#include "agent/keeper/spawn.h"
#include "common/keeper_msg.h"
#include "common/log.h"

/* A place that can be had; where it cannot there is none, and why is only for the log. */
static bool try_place(struct cgroup_place *p, const struct cgroup_texts *t, const char *controller)
{
	char own[PATH_MAX];
	struct err e;

	p->version = 0;
	if (cgroup_find(t, controller, own, sizeof(own)) != 0)
		return false;
	cgroup_place_strip(own);
	if (cgroup_place_open(p, own, &e) == 0)
		return true;
	log_debug("control group %s: %s", controller != NULL ? controller : "(v2)", e.message);
	return false;
}

static bool probe_born_in(struct cgroups *cs)
{
	return cs->places[CGROUP_TREE].version == 2 &&
	       spawn_can_be_born_in(cs->places[CGROUP_TREE].fd);
}

/* v2 where a child can be born in it; a v1 freezer; v2 at any cost; v1 where we can only look. */
static void choose_tree(struct cgroups *cs, const struct cgroup_texts *t)
{
	struct cgroup_place *tree = &cs->places[CGROUP_TREE];
	struct cgroup_place slow = {.version = 0};

	if (try_place(tree, t, NULL)) {
		cs->born_in = probe_born_in(cs);
		if (cs->born_in)
			return;
		slow = *tree;
	}
	if (try_place(tree, t, "freezer")) {
		cgroup_place_close(&slow);
		return;
	}
	*tree = slow;
	if (slow.version == 0)
		cs->tree_is_pids = try_place(tree, t, "pids");
}

/* The folder that the configuration names. */
static int take_tree(struct cgroups *cs, const char *path, struct err *e)
{
	struct cgroup_place *tree = &cs->places[CGROUP_TREE];
	int rc = cgroup_place_open(tree, path, e);

	if (rc != 0)
		return err_wrap(e, "cgroup");
	if (tree->version == 1 && faccessat(tree->fd, "freezer.state", F_OK, 0) != 0)
		return err_set(e, TX_EINVAL,
		    "cgroup: %s is of no use: of version 1 it takes the freezer", path);
	cs->born_in = probe_born_in(cs);
	return 0;
}

/* A process is in one group of a hierarchy: where two controllers share one, the second is not for
 * us. */
static void find_limit_place(struct cgroups *cs, enum cgroup_hierarchy h, const char *controller,
    const struct cgroup_texts *t)
{
	struct cgroup_place *p = &cs->places[h];
	struct stat st, other;

	if (cs->places[CGROUP_TREE].version == 0 || cgroup_limit_place(cs, h) != NULL ||
	    !try_place(p, t, controller) || fstat(p->fd, &st) != 0)
		return;
	for (int i = 0; i < CGROUP_HIERARCHIES; i++) {
		if (i == (int)h || cs->places[i].version == 0 ||
		    fstat(cs->places[i].fd, &other) != 0 || st.st_dev != other.st_dev)
			continue;
		cgroup_place_close(p);
		return;
	}
}

int cgroup_setup(struct cgroups *cs, const char *how, struct err *e)
{
	static const struct {
		enum cgroup_hierarchy h;
		const char *controller;
	} limits[] = {{CGROUP_MEMORY, "memory"}, {CGROUP_CPU, "cpu"}, {CGROUP_PIDS, "pids"}};
	struct cgroup_texts t;
	int rc;

	if (strcmp(how, "off") == 0)
		return 0;
	rc = cgroup_texts_read(&t);
	if (rc == TX_ENOMEM)
		return err_set(e, rc, "out of memory");
	if (rc != 0)
		return 0;
	if (strcmp(how, "auto") == 0)
		choose_tree(cs, &t);
	else
		rc = take_tree(cs, how, e);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]) && rc == 0; i++)
		find_limit_place(cs, limits[i].h, limits[i].controller, &t);
	cgroup_texts_free(&t);
	return rc;
}

uint32_t cgroups_can(const struct cgroups *cs)
{
	uint32_t can = 0;

	switch (cs->places[CGROUP_TREE].version) {
	case 2:
		can = KM_CAN_TREE_CGROUP2;
		break;
	case 1:
		can = KM_CAN_TREE_CGROUP1;
		break;
	default:
		return KM_CAN_TREE_BEST_EFFORT;
	}
	if (cgroup_limit_place(cs, CGROUP_MEMORY) != NULL)
		can |= KM_CAN_LIMIT_MEMORY;
	if (cgroup_limit_place(cs, CGROUP_CPU) != NULL)
		can |= KM_CAN_LIMIT_CPU;
	if (cgroup_limit_place(cs, CGROUP_PIDS) != NULL)
		can |= KM_CAN_LIMIT_PIDS;
	return can;
}

void cgroup_setup_tell(const struct cgroups *cs)
{
	const struct cgroup_place *tree = &cs->places[CGROUP_TREE];
	uint32_t can = cgroups_can(cs);

	if (tree->version == 0)
		log_info("no control groups: descendants of a process that hide are not found");
	else
		log_info("control groups: v%d in %s; limits:%s%s%s%s", tree->version, tree->path,
		    (can & KM_CAN_LIMIT_MEMORY) != 0 ? " memory" : "",
		    (can & KM_CAN_LIMIT_CPU) != 0 ? " cpu" : "",
		    (can & KM_CAN_LIMIT_PIDS) != 0 ? " pids" : "",
		    can < KM_CAN_LIMIT_MEMORY ? " none" : "");
}
