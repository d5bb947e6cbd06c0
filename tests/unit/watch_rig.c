/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/watch_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

#include "common/mem.h"
#include "common/memfile.h"
#include "tests/support/folder.h"

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the rig ---- */

static int fill_rig(struct rig *r)
{
	static const char *const all[] = {"/**", NULL};

	if (memfile_new("store", &r->store, NULL) < 0 ||
	    roots_new(&r->roots, NULL, NULL, all) < 0 ||
	    watcher_new(&r->w, r->store, r->wide, NULL) < 0)
		return -1;
	for (size_t i = 0; i < RIG_CLIENTS; i++)
		r->clients[i].rig = r;
	return 0;
}

static int make(void **state, const struct watch_wide *wide)
{
	struct rig *r = xcalloc(1, sizeof(*r));
	void *folder;

	if (folder_make(&folder) != 0)
		return -1;
	r->folder = folder;
	r->wide = wide;
	*state = r;
	return fill_rig(r);
}

int rig_make(void **state)
{
	return make(state, NULL);
}

int rig_make_beside(struct rig **out, const struct rig *other, const struct watch_wide *wide)
{
	struct rig *r = xcalloc(1, sizeof(*r));

	r->folder = other->folder;
	r->wide = wide;
	*out = r;
	return fill_rig(r);
}

void rig_hang_up(struct rig_client *c)
{
	watch_client_free(c->call);
	c->call = NULL;
}

void rig_free_beside(struct rig *r)
{
	for (size_t i = 0; i < RIG_CLIENTS; i++) {
		struct rig_client *c = &r->clients[i];

		rig_hang_up(c);
		rig_clear(c);
		for (size_t k = 0; k < RIG_ROOTS; k++)
			model_free(&c->models[k]);
	}
	watcher_free(r->w);
	roots_free(r->roots);
	close(r->store);
	free(r);
}

int rig_free(void **state)
{
	struct rig *r = *state;
	void *folder = r->folder;

	rig_free_beside(r);
	return folder_remove(&folder);
}

/* ---- the sources ---- */

int rig_leaks_are_no_matter(void)
{
#ifdef VALGRIND_CLO_CHANGE
	VALGRIND_CLO_CHANGE("--leak-check=no");
#endif
	return 0;
}

const struct watch_wide rig_wide = {rig_leaks_are_no_matter, true};

int rig_has_fanotify(const char **why)
{
	struct watch_source *s = NULL;
	struct watch_cover cover;
	void *folder;
	int fd = -1;

	*why = "no folder, or no inotify instance";
	if (folder_make(&folder) != 0)
		return -1;
	if (watch_source_new(&s, &rig_wide) == 0) {
		*why = "fanotify needs root, Linux 5.17 and a file system like ext4 or tmpfs";
		fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (watch_source_cover(s, fd, &cover)) {
			watch_source_uncover(s, fd, &cover);
			*why = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	watch_source_free(s);
	(void)folder_remove(&folder);
	return *why == NULL ? 0 : -1;
}

static void not_by_fanotify(void **state)
{
	const char *why = NULL;

	(void)state;
	(void)rig_has_fanotify(&why);
	print_message("# skipped: %s\n", why);
	skip();
}

static int make_wide(void **state)
{
	return make(state, &rig_wide);
}

int rig_run(const char *group, const struct CMUnitTest *tests, size_t n)
{
	struct CMUnitTest *all = xcalloc(2 * n, sizeof(*all));
	const char *why;
	size_t n_all = n;
	int failed;

	memcpy(all, tests, n * sizeof(*all));
	if (rig_has_fanotify(&why) != 0)
		all[n_all++] = (struct CMUnitTest)cmocka_unit_test(not_by_fanotify);
	else
		for (; n_all < 2 * n; n_all++) {
			all[n_all] = tests[n_all - n];
			all[n_all].name = xasprintf("%s_by_fanotify", tests[n_all - n].name);
			all[n_all].setup_func = make_wide;
		}
	failed = _cmocka_run_group_tests(group, all, n_all, NULL, NULL);
	for (size_t i = n; i < n_all; i++)
		if (all[i].setup_func == make_wide)
			free((char *)(uintptr_t)all[i].name);
	free(all);
	return failed;
}

void rig_restart(struct rig *r)
{
	for (size_t i = 0; i < RIG_CLIENTS; i++)
		rig_hang_up(&r->clients[i]);
	watcher_free(r->w);
	assert_int_equal(watcher_new(&r->w, r->store, r->wide, NULL), 0);
}

void rig_allow(struct rig *r, const char *const *patterns)
{
	roots_free(r->roots);
	assert_int_equal(roots_new(&r->roots, NULL, NULL, patterns), 0);
}

char *rig_path(const struct rig *r, const char *name)
{
	static char paths[8][4096];
	static size_t next;
	char *path = paths[next++ % 8];

	snprintf(path, 4096, "%s%s%s", r->folder, *name == '\0' ? "" : "/", name);
	return path;
}

void rig_sh(const struct rig *r, const char *fmt, ...)
{
	char command[4096], all[9000];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	snprintf(all, sizeof(all), "cd '%s' && { %s\n}", r->folder, command);
	assert_int_equal(system(all), 0);
}

/* ---- what is told ---- */

static char *text(ProtobufCBinaryData d)
{
	return d.len == 0 ? NULL : xmemdup0(d.data, d.len);
}

static int type_of(Telex__V1__FileType type)
{
	static const int types[] = {0, DT_REG, DT_DIR, DT_LNK, DT_FIFO, DT_SOCK, DT_CHR, DT_BLK};

	return types[type];
}

/* The rule of watch.proto. */
static void apply(struct rig_client *c, const Telex__V1__Change *change)
{
	struct model *m = &c->models[change->root];
	char *path = xmemdup0(change->path.data, change->path.len);
	struct rig_change *kept;
	uint32_t kinds = 0;

	assert_true(change->root < RIG_ROOTS && change->n_kinds > 0 && change->count > 0);
	for (size_t i = 0; i < change->n_kinds; i++)
		kinds |= 1u << change->kinds[i];
	if ((kinds & WATCH_DELETED) != 0)
		model_drop(m, path);
	if (change->exists)
		model_put(m, path,
		    &(struct model_entry){.inode = change->inode,
		        .size = change->size,
		        .mtime_ns = change->mtime_ns,
		        .mode = change->mode,
		        .type = type_of(change->type)});
	c->changes = xreallocarray(c->changes, c->n_changes + 1, sizeof(*c->changes));
	kept = &c->changes[c->n_changes++];
	*kept = (struct rig_change){change->root, kinds, change->count, path,
	    text(change->moved_from), text(change->moved_to), change->exists};
}

static void take_armed(struct rig_client *c, const Telex__V1__WatchArmed *armed)
{
	snprintf(c->clock, sizeof(c->clock), "%s", armed->clock);
	c->armed++;
	c->folders = armed->folders;
	c->entries = armed->entries;
	if (!armed->fresh_instance)
		return;
	c->fresh++;
	for (size_t i = 0; i < RIG_ROOTS; i++)
		model_clear(&c->models[i]);
}

static void take_rescan(struct rig_client *c, const Telex__V1__WatchRescan *rescan)
{
	if (rescan->done) {
		c->rescanned[rescan->reason]++;
		c->rescanning[rescan->reason] = false;
		return;
	}
	c->rescans[rescan->reason]++;
	c->rescanning[rescan->reason] = true;
	if (rescan->waited != NULL)
		c->waited = rescan->waited->seconds * 1000000000 + rescan->waited->nanos;
}

static void take_warning(struct rig_client *c, const Telex__V1__WatchWarning *warning)
{
	char text_of_it[sizeof(c->warned[0])];

	assert_true(c->n_warned < RIG_WARNINGS && warning->error != NULL);
	snprintf(text_of_it, sizeof(text_of_it), "%s %.*s", warning->error->reason,
	    (int)warning->path.len, (const char *)warning->path.data);
	snprintf(c->last_warning, sizeof(c->last_warning), "%s", warning->error->message);
	/* That is told anew when their number is another one. */
	if (!warning->over && rig_warned(c, text_of_it) &&
	    strcmp(warning->error->reason, "MORE_FOLDERS") == 0)
		return;
	if (!warning->over) {
		strcpy(c->warned[c->n_warned++], text_of_it);
		return;
	}
	/* What is over, was said. */
	for (size_t i = 0; i < c->n_warned; i++) {
		if (strcmp(c->warned[i], text_of_it) != 0)
			continue;
		c->n_warned--;
		memmove(c->warned[i], c->warned[c->n_warned], sizeof(c->warned[0]));
		c->n_over++;
		return;
	}
	fail_msg("%s was not said", text_of_it);
}

static bool take(const Telex__V1__WatchResponse *m, void *arg)
{
	struct rig_client *c = arg;

	assert_true(telex__v1__watch_response__get_packed_size(m) <= 1 << 20);
	switch (m->response_case) {
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED:
		take_armed(c, m->armed);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES:
		assert_true(c->armed > 0);
		c->batches++;
		for (size_t i = 0; i < m->changes->n_changes; i++)
			apply(c, m->changes->changes[i]);
		if (m->changes->clock[0] != '\0')
			snprintf(c->clock, sizeof(c->clock), "%s", m->changes->clock);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_RESCAN:
		take_rescan(c, m->rescan);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED:
		c->synced = m->synced->id;
		snprintf(c->clock, sizeof(c->clock), "%s", m->synced->clock);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING:
		take_warning(c, m->warning);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT:
		c->beats++;
		break;
	default:
		fail();
	}
	return c->room == 0 || ++c->taken < c->room;
}

static void finish(const struct rpc_status *status, void *arg)
{
	struct rig_client *c = arg;

	c->status = *status;
	c->finished = true;
	rig_hang_up(c);
}

/* ---- calls ---- */

Telex__V1__WatchBegin rig_begin(const struct rig *r, const char *const *names)
{
	static ProtobufCBinaryData paths[RIG_ROOTS];
	static const char *const itself[] = {"", NULL};
	Telex__V1__WatchBegin b;

	telex__v1__watch_begin__init(&b);
	b.recursive = true;
	b.paths = paths;
	for (names = names != NULL ? names : itself; names[b.n_paths] != NULL; b.n_paths++) {
		char *path = rig_path(r, names[b.n_paths]);

		paths[b.n_paths] = (ProtobufCBinaryData){strlen(path), (uint8_t *)path};
	}
	return b;
}

bool rig_call(struct rig *r, struct rig_client *c, const Telex__V1__WatchBegin *begin)
{
	static const struct watch_client_ops ops = {take, finish};

	c->finished = false;
	c->armed = 0;
	c->call = watch_client_new(r->w, r->roots, begin, &ops, c, &c->status);
	return c->call != NULL;
}

static bool is_armed(const struct rig_client *c)
{
	return c->armed > 0;
}

void rig_watch(struct rig *r, struct rig_client *c, const Telex__V1__WatchBegin *begin)
{
	if (!rig_call(r, c, begin))
		fail_msg("%s", c->status.message);
	rig_until(r, is_armed, c);
}

/* ---- time ---- */

void rig_turn(struct rig *r)
{
	watcher_run(r->w);
	for (size_t i = 0; i < RIG_CLIENTS; i++) {
		struct rig_client *c = &r->clients[i];

		if (c->room == 0 || c->taken < c->room || c->call == NULL)
			continue;
		c->taken = 0;
		watch_client_writable(c->call);
	}
}

void rig_until(struct rig *r, bool (*done)(const struct rig_client *c), struct rig_client *c)
{
	int64_t end = now() + (int64_t)120 * 1000000000;

	while (!done(c)) {
		struct pollfd fds[WATCHER_FDS];
		size_t n = watcher_poll(r->w, fds);
		int64_t due = watcher_due(r->w), wait = due - now();

		if (now() > end)
			fail_msg("it did not come");
		if (due != 0 && wait > 0)
			(void)poll(fds, n, wait > 1000000000 ? 1000 : (int)(wait / 1000000) + 1);
		rig_turn(r);
	}
}

static uint64_t wanted;

static bool is_synced(const struct rig_client *c)
{
	return c->synced == wanted;
}

void rig_sync(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;
	Telex__V1__WatchSync sync = TELEX__V1__WATCH_SYNC__INIT;

	sync.id = ++wanted;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_SYNC;
	m.sync = &sync;
	assert_int_equal(watch_client_message(c->call, &m, &c->status), 0);
	rig_until(r, is_synced, c);
}

/* ---- what is there ---- */

static void add(struct model *m, const char *path, const struct stat *st)
{
	model_put(m, path,
	    &(struct model_entry){.inode = st->st_ino,
	        .size = (uint64_t)st->st_size,
	        .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	        .mode = st->st_mode & 07777,
	        .type = (int)IFTODT(st->st_mode)});
}

static void read_folder(struct model *m, int dir_fd, const char *path)
{
	DIR *d = fdopendir(dir_fd);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		struct stat st;
		char *below;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		below = xasprintf("%s%s%s", path, *path == '\0' ? "" : "/", e->d_name);
		assert_int_equal(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		add(m, below, &st);
		if (S_ISDIR(st.st_mode)) {
			int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (fd >= 0)
				read_folder(m, fd, below);
		}
		free(below);
	}
	closedir(d);
}

static void read_disk(struct model *m, const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) != 0)
		return;
	add(m, "", &st);
	if (!S_ISDIR(st.st_mode))
		return;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	read_folder(m, fd, "");
}

void rig_check_root(
    struct rig *r, struct rig_client *c, size_t root, const char *name, const char *what)
{
	struct model disk = {0};
	bool equal;

	rig_sync(r, c);
	read_disk(&disk, rig_path(r, name));
	equal = model_equal(&disk, &c->models[root], what);
	model_free(&disk);
	if (!equal)
		fail_msg("%s: disk and client differ", what);
}

void rig_begin_at(struct rig *r, struct rig_client *c, const char *name, bool recursive, bool wait)
{
	const char *const names[] = {name, NULL};
	Telex__V1__WatchBegin b = rig_begin(r, names);

	b.state = true;
	b.recursive = recursive;
	b.wait = wait;
	rig_watch(r, c, &b);
	rig_check_root(r, c, 0, name, "at first");
	rig_clear(c);
}

void rig_check(struct rig *r, struct rig_client *c, const char *what)
{
	rig_check_root(r, c, 0, "", what);
}

/* ---- changes ---- */

void rig_clear(struct rig_client *c)
{
	for (size_t i = 0; i < c->n_changes; i++) {
		free(c->changes[i].path);
		free(c->changes[i].moved_from);
		free(c->changes[i].moved_to);
	}
	free(c->changes);
	c->changes = NULL;
	c->n_changes = 0;
}

const struct rig_change *rig_change(const struct rig_client *c, const char *path)
{
	for (size_t i = c->n_changes; i > 0; i--)
		if (strcmp(c->changes[i - 1].path, path) == 0)
			return &c->changes[i - 1];
	return NULL;
}

bool rig_warned(const struct rig_client *c, const char *text_wanted)
{
	for (size_t i = 0; i < c->n_warned; i++)
		if (strcmp(c->warned[i], text_wanted) == 0)
			return true;
	return false;
}
