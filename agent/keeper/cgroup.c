/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/cgroup.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/cgroup_internal.h"
#include "agent/keeper/spawn.h"
#include "common/duration.h"
#include "common/log.h"

#define SPARE_MAX    16
#define CLEAN_AT     16 /* so many wait: clean up at once */
#define CLEAN_MAX    256
#define WAIT_MIN_NS  (100 * NS_PER_MS)
#define WAIT_MAX_NS  (10 * NS_PER_S)
#define NUMBER_TRIES 1000

const char *cgroup_file(const struct cgroup *g, const char *name, char buf[CGROUP_FILE_SIZE])
{
	snprintf(buf, CGROUP_FILE_SIZE, "j%" PRIu32 "/%s", g->number, name);
	return buf;
}

static const char *folder_name(const struct cgroup *g, char buf[CGROUP_FILE_SIZE])
{
	snprintf(buf, CGROUP_FILE_SIZE, "j%" PRIu32, g->number);
	return buf;
}

/* ---- folders ---- */

static bool has(const struct cgroup *g, enum cgroup_hierarchy h)
{
	return (g->made & (1u << h)) != 0;
}

int cgroup_make(struct cgroup *g, enum cgroup_hierarchy h)
{
	char name[CGROUP_FILE_SIZE];

	if (mkdirat(g->cs->places[h].fd, folder_name(g, name), 0755) != 0)
		return errno;
	g->made |= (uint8_t)(1u << h);
	return 0;
}

/* 0 or an errno: EBUSY while something runs in it. */
static int remove_folders(struct cgroup *g)
{
	char name[CGROUP_FILE_SIZE];
	int error = 0;

	folder_name(g, name);
	for (int h = CGROUP_HIERARCHIES - 1; h >= 0 && error == 0; h--) {
		if (!has(g, (enum cgroup_hierarchy)h))
			continue;
		error = cgroup_remove(g->cs->places[h].fd, name);
		if (error == 0)
			g->made &= (uint8_t) ~(1u << h);
	}
	return error;
}

/* A new one with a folder for the tree. The number is free in the other hierarchies, too, unless
 * somebody plays with them: then making it there fails. */
static int make_new(struct cgroup **out, struct cgroups *cs, struct err *e)
{
	struct cgroup *g = calloc(1, sizeof(*g));
	int error = EEXIST;

	if (g == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	g->cs = cs;
	for (int i = 0; i < NUMBER_TRIES && error == EEXIST; i++) {
		g->number = ++cs->last;
		error = cgroup_make(g, CGROUP_TREE);
	}
	if (error == 0) {
		*out = g;
		return 0;
	}
	free(g);
	return err_sys(e, error, "cannot make a control group in %s", cs->places[CGROUP_TREE].path);
}

/* ---- those that were put ---- */

/* What earlier jobs left in its figures is not the next one's. */
static void reuse(struct cgroup *g)
{
	struct cgroups *cs = g->cs;

	g->dying = false;
	g->cpu_base = g->oom_base = 0;
	(void)cgroup_cpu_us(g, &g->cpu_base);
	g->oom_base = cgroup_oom_kills(g);
	STAILQ_INSERT_TAIL(&cs->spare, g, link);
	cs->n_spare++;
}

/* Whether it is dealt with. */
static bool clean(struct cgroup *g)
{
	int error;

	if (cgroup_populated(g))
		return false;
	if (g->frozen)
		cgroup_freeze(g, false);
	if (g->holder != NULL)
		*g->holder = NULL;
	g->holder = NULL;
	if (!g->spent && g->cs->n_spare < SPARE_MAX && cgroup_is_clean(g)) {
		reuse(g);
		return true;
	}
	error = remove_folders(g);
	if (error == EBUSY)
		return false;
	if (error != 0)
		log_warn(
		    "control group j%" PRIu32 " cannot be removed: %s", g->number, strerror(error));
	free(g);
	return true;
}

static void wait_more(struct cgroups *cs)
{
	struct timeval tv = duration_timeval(cs->wait_ns);

	(void)event_add(cs->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct cgroups *cs = arg;
	unsigned n = cs->n_dying < CLEAN_MAX ? cs->n_dying : CLEAN_MAX;
	bool any = false;

	(void)fd;
	(void)what;
	while (n-- > 0) {
		struct cgroup *g = STAILQ_FIRST(&cs->dying);

		STAILQ_REMOVE_HEAD(&cs->dying, link);
		cs->n_dying--;
		if (clean(g)) {
			any = true;
			continue;
		}
		STAILQ_INSERT_TAIL(&cs->dying, g, link);
		cs->n_dying++;
	}
	cs->wait_ns = any ? WAIT_MIN_NS : cs->wait_ns * 2;
	if (cs->wait_ns > WAIT_MAX_NS)
		cs->wait_ns = WAIT_MAX_NS;
	if (cs->n_dying > 0)
		wait_more(cs);
}

static void let_die(struct cgroup *g)
{
	struct cgroups *cs = g->cs;

	g->dying = true;
	STAILQ_INSERT_TAIL(&cs->dying, g, link);
	cs->n_dying++;
	cs->wait_ns = WAIT_MIN_NS;
	if (cs->n_dying % CLEAN_AT == 0)
		event_active(cs->tick, EV_TIMEOUT, 0);
	else if (!event_pending(cs->tick, EV_TIMEOUT, NULL))
		wait_more(cs);
}

void cgroup_put(struct cgroup *g)
{
	if (g == NULL)
		return;
	g->holder = NULL;
	if (!g->dying)
		let_die(g);
}

void cgroup_retire(struct cgroup **holder)
{
	struct cgroup *g = *holder;

	if (g == NULL || g->dying)
		return;
	g->holder = holder;
	let_die(g);
}

/* ---- all of them ---- */

int cgroups_new(struct cgroups **out, struct event_base *base, const char *how, struct err *e)
{
	struct cgroups *cs = calloc(1, sizeof(*cs));
	int rc;

	if (cs == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	STAILQ_INIT(&cs->spare);
	STAILQ_INIT(&cs->dying);
	cs->wait_ns = WAIT_MIN_NS;
	cs->tick = evtimer_new(base, on_tick, cs);
	rc = cs->tick == NULL ? err_set(e, TX_ENOMEM, "out of memory") : cgroup_setup(cs, how, e);
	if (rc != 0) {
		cgroups_free(cs);
		return rc;
	}
	cgroup_setup_tell(cs);
	*out = cs;
	return 0;
}

static void free_list(struct cgroup_list *list)
{
	struct cgroup *g;

	while ((g = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		free(g);
	}
}

void cgroups_free(struct cgroups *cs)
{
	if (cs == NULL)
		return;
	free_list(&cs->spare);
	free_list(&cs->dying);
	for (int h = 0; h < CGROUP_HIERARCHIES; h++)
		cgroup_place_close(&cs->places[h]);
	if (cs->tick != NULL)
		event_free(cs->tick);
	free(cs->claimed);
	free(cs);
}

int cgroups_check(const char *how, struct err *e)
{
	struct cgroups *cs;
	int rc = 0;

	/* Of these nothing can fail. */
	if (strcmp(how, "off") == 0 || strcmp(how, "auto") == 0)
		return 0;
	cs = calloc(1, sizeof(*cs));
	if (cs == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	STAILQ_INIT(&cs->spare);
	STAILQ_INIT(&cs->dying);
	rc = cgroup_setup(cs, how, e);
	cgroups_free(cs);
	return rc;
}

/* ---- one ---- */

int cgroup_new(
    struct cgroup **out, struct cgroups *cs, const struct cgroup_limits *limits, struct err *e)
{
	bool limited = limits->memory != 0 || limits->cpu_millis != 0 || limits->pids != 0;
	struct cgroup *g = NULL;
	int rc;

	if (cs->places[CGROUP_TREE].version == 0) {
		*out = NULL;
		return !limited
		           ? 0
		           : err_set(e, TX_EUNSUPPORTED,
		                 "this host gives the agent no control groups: limits of memory, "
		                 "cpu and pids cannot be set; leave them out, or run the agent "
		                 "where it may make control groups (a delegated one)");
	}
	if (!limited && cs->n_spare > 0) {
		*out = STAILQ_FIRST(&cs->spare);
		STAILQ_REMOVE_HEAD(&cs->spare, link);
		cs->n_spare--;
		return 0;
	}
	rc = make_new(&g, cs, e);
	if (rc == 0 && limited)
		rc = cgroup_limits_begin(g, limits, e);
	if (rc == 0)
		*out = g;
	else
		cgroup_put(g);
	return rc;
}

int cgroup_plan(const struct cgroup *g, struct spawn_plan *plan, struct err *e)
{
	char buf[CGROUP_FILE_SIZE];

	plan->n_cgroup_fds = 0;
	plan->born_in = false;
	for (int h = 0; h < CGROUP_HIERARCHIES; h++) {
		const struct cgroup_place *p = &g->cs->places[h];
		bool born_in = h == CGROUP_TREE && g->cs->born_in;
		int fd;

		if (!has(g, (enum cgroup_hierarchy)h))
			continue;
		if (born_in)
			fd = openat(p->fd, folder_name(g, buf), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		else
			fd = openat(p->fd,
			    cgroup_file(g, p->version == 1 ? "tasks" : "cgroup.procs", buf),
			    O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			err_sys(e, errno, "cannot use the control group %s/%s", p->path, buf);
			cgroup_unplan(plan);
			return TX_ESYS;
		}
		if (born_in)
			plan->born_in_fd = fd;
		else
			plan->cgroup_fds[plan->n_cgroup_fds++] = fd;
		plan->born_in = plan->born_in || born_in;
	}
	return 0;
}

void cgroup_unplan(struct spawn_plan *plan)
{
	while (plan->n_cgroup_fds > 0)
		close(plan->cgroup_fds[--plan->n_cgroup_fds]);
	if (plan->born_in)
		close(plan->born_in_fd);
	plan->born_in = false;
}

void cgroup_save(const struct cgroup *g, char text[CGROUP_SAVED_SIZE])
{
	snprintf(text, CGROUP_SAVED_SIZE, "j%" PRIu32 " %x %d %" PRIu64 " %" PRIu64, g->number,
	    (unsigned)g->made, g->spent ? 1 : 0, g->cpu_base, g->oom_base);
}

int cgroup_restore(struct cgroup **out, struct cgroups *cs, const char *text)
{
	struct cgroup *g = calloc(1, sizeof(*g));
	char name[CGROUP_FILE_SIZE];
	unsigned made;
	int limited;

	if (g == NULL)
		return TX_ENOMEM;
	g->cs = cs;
	if (sscanf(text, "j%" SCNu32 " %x %d %" SCNu64 " %" SCNu64, &g->number, &made, &limited,
	        &g->cpu_base, &g->oom_base) != 5 ||
	    made >= 1u << CGROUP_HIERARCHIES) {
		free(g);
		return TX_EPROTO;
	}
	g->made = (uint8_t)made;
	g->spent = limited != 0;
	folder_name(g, name);
	for (int h = 0; h < CGROUP_HIERARCHIES; h++)
		if (has(g, (enum cgroup_hierarchy)h) &&
		    (cs->places[h].version == 0 ||
		        faccessat(cs->places[h].fd, name, F_OK, 0) != 0)) {
			free(g);
			return TX_ENOENT;
		}
	if (g->number > cs->last)
		cs->last = g->number;
	cgroup_claim(cs, g->number);
	*out = g;
	return 0;
}

/* ---- members ---- */

int cgroup_members(const struct cgroup *g, bool (*each)(pid_t pid, void *arg), void *arg)
{
	char name[CGROUP_FILE_SIZE];

	return cgroup_walk(g->cs->places[CGROUP_TREE].fd, folder_name(g, name), each, arg);
}

static bool note_one(pid_t pid, void *arg)
{
	(void)pid;
	*(bool *)arg = true;
	return false;
}

bool cgroup_populated(const struct cgroup *g)
{
	const struct cgroup_place *p = &g->cs->places[CGROUP_TREE];
	char buf[CGROUP_FILE_SIZE];
	unsigned long long number = 0;
	bool any = false;
	int error;

	if (p->version == 2)
		error =
		    cgroup_file_find(p, cgroup_file(g, "cgroup.events", buf), "populated", &number);
	else
		error = cgroup_members(g, note_one, &any);
	/* Where it cannot be seen, for want of descriptors say, somebody may be in it. */
	return any || number != 0 || (error != 0 && error != ENOENT && error != ENODEV);
}

int cgroup_kill(struct cgroup *g)
{
	const struct cgroup_place *p = &g->cs->places[CGROUP_TREE];
	char buf[CGROUP_FILE_SIZE];

	/* A kernel (6.18 was seen to) may kill at once what is later born into a group that was
	 * ever killed, when it compares that one's count of kills with the parent's group's. */
	g->spent = true;
	if (p->version != 2 || cgroup_file_write(p, cgroup_file(g, "cgroup.kill", buf), "1") != 0)
		return TX_EUNSUPPORTED;
	return 0;
}

void cgroup_freeze(struct cgroup *g, bool frozen)
{
	const struct cgroup_place *p = &g->cs->places[CGROUP_TREE];
	char buf[CGROUP_FILE_SIZE];
	int error;

	if (p->version == 2)
		error =
		    cgroup_file_write(p, cgroup_file(g, "cgroup.freeze", buf), frozen ? "1" : "0");
	else
		error = cgroup_file_write(
		    p, cgroup_file(g, "freezer.state", buf), frozen ? "FROZEN" : "THAWED");
	g->frozen = frozen && error == 0;
	if (error != 0 && error != ENOENT)
		log_warn("control group j%" PRIu32 ": cannot %s it: %s", g->number,
		    frozen ? "freeze" : "thaw", strerror(error));
}
