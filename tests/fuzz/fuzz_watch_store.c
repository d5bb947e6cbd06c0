/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of what is watched, as another writer has left it: it is written by the store's own
 * changes, then bytes of it are set, and it is opened again. Acts, each a byte:
 *
 *     0  a tree: a line with its key             1  a name comes: folder, type, kinds, a line
 *     2  one has come and gone: folder, kinds, a line
 *     3  something happens to a path: which, type, kinds
 *     4  one goes: which                         5  one is renamed: which, folder, a line
 *     6  where it came from: which, root, a line 7  a tree is dropped: which
 *     8  how much is kept, and what is told      9  it is opened again
 *     10 bytes are set: where (0 the header, 1 nodes, 2 texts), an offset of two bytes, a part
 *     11 a field of a node is set: which, which field, a number of eight bytes
 */
#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch/watch_store_internal.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "tests/fuzz/fuzz.h"

#define ACTS_MAX  300
#define NODES_FEW 2000u /* more cost memory, and tell nothing new */
#define UNITS_FEW 65536u
#define PART_MAX  64

struct scene {
	int fd;
	struct watch_store *store;
};

/* ---- what must be true of any store ---- */

static void look(const void *data, size_t len)
{
	static volatile uint8_t sum;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
}

static void check_node(const struct watch_store *s, unsigned tree, watch_id id)
{
	size_t depth = watch_store_depth(s, id), len, path_len;
	watch_id parent = watch_store_parent(s, id);
	const char *name = watch_store_name(s, id, &len);
	struct watch_view v;
	char *path;

	fuzz_require(watch_store_view(s, id, &v) && v.tree == tree && v.parent == parent);
	fuzz_require(watch_store_is(s, id) == v.exists);
	fuzz_require(depth < s->head->nodes && (parent == 0) == (depth == 0));
	look(name, len);
	if (v.moved != NULL)
		look(v.moved, v.moved_len);
	(void)watch_store_kinds(s, id, 0);
	(void)watch_store_see(s, id);
	if (parent == 0)
		return;
	fuzz_require(len > 0 && len <= NAME_MAX && memchr(name, '/', len) == NULL);
	if (v.exists)
		fuzz_require(watch_store_find(s, parent, name, len) == id);
	path_len = watch_store_path(s, id, NULL, 0);
	path = xmalloc(path_len + 1);
	fuzz_require(watch_store_path(s, id, path, path_len + 1) == path_len);
	fuzz_require(strlen(path) == path_len && path_len >= len);
	free(path);
}

static size_t count_children(const struct watch_store *s, watch_id folder)
{
	size_t n = 0;

	for (watch_id id = watch_store_child(s, folder); id != WATCH_NO_ID;
	     id = watch_store_next(s, id)) {
		fuzz_require(watch_store_parent(s, id) == folder);
		fuzz_require(++n < s->head->nodes);
	}
	return n;
}

/* Each that is there, and what is in it. How many they are. */
static size_t check_living(struct watch_store *s, unsigned tree)
{
	size_t n = 0, children = 0;
	struct watch_walk walk;
	watch_id id;

	watch_store_walk(s, &walk, tree);
	while ((id = watch_store_walk_next(s, &walk)) != WATCH_NO_ID) {
		fuzz_require(++n < s->head->nodes);
		check_node(s, tree, id);
		children += count_children(s, id);
	}
	watch_store_walk_end(s, &walk);
	fuzz_require(n == 0 || children == n - 1);
	return n;
}

static void check_tree(struct watch_store *s, unsigned tree)
{
	struct watch_picks changed = {0};
	size_t n = check_living(s, tree), len;

	fuzz_require(watch_store_changed(s, tree, 0, &changed) == 0);
	fuzz_require(n == watch_store_living(s, tree));
	for (size_t i = 0; i < changed.n; i++)
		check_node(s, tree, changed.list[i].id);
	watch_picks_sort(&changed);
	(void)watch_store_newest(s, tree);
	(void)watch_store_oldest(s, tree);
	look(watch_store_key(s, tree, &len), 1);
	free(changed.list);
}

static void check(struct watch_store *s)
{
	fuzz_require(watch_store_instance(s) != 0 && watch_store_memory(s) > 0);
	fuzz_require(watch_store_left(s) <= watch_store_most(s));
	for (unsigned tree = 0; tree < WATCH_TREES_MAX; tree++)
		if (watch_store_root(s, tree) != WATCH_NO_ID)
			check_tree(s, tree);
}

/* ---- its memory ---- */

static void on_gone(watch_id id, struct watch_note *note, void *arg)
{
	const struct scene *s = arg;

	fuzz_require(id != WATCH_NO_ID && id < s->store->head->nodes && note != NULL);
}

static void open_store(struct scene *s)
{
	fuzz_require(watch_store_open(&s->store, s->fd, NULL) == 0);
	watch_store_on_gone(s->store, on_gone, s);
	check(s->store);
}

static size_t living(const struct watch_store *s)
{
	size_t n = 0;

	for (unsigned tree = 0; tree < WATCH_TREES_MAX; tree++)
		if (watch_store_root(s, tree) != WATCH_NO_ID)
			n += watch_store_living(s, tree);
	return n;
}

static void open_again(struct scene *s)
{
	size_t n = living(s->store);
	uint64_t instance = watch_store_instance(s->store);

	watch_store_free(s->store);
	open_store(s);
	fuzz_require(living(s->store) == n && watch_store_instance(s->store) == instance);
}

/* So that a number does not make it large. */
static void keep_few(uint32_t *n, uint32_t few, uint32_t most)
{
	if (*n > few && *n <= most)
		*n = *n % few + 1;
}

static void put_bytes(struct scene *s, uint64_t offset, const void *data, size_t len)
{
	struct header *h = s->store->head;

	/* The map is the file's; nobody goes on with what is in private memory. */
	memcpy(s->store->map + offset, data, len);
	keep_few(&h->nodes, NODES_FEW, NODES_MAX);
	keep_few(&h->names, UNITS_FEW, UNITS_MAX);
	watch_store_free(s->store);
	open_store(s);
}

static void set_bytes(struct scene *s, struct fuzz_input *in)
{
	const uint64_t areas[] = {0, HEADER_SIZE, TEXTS_AT};
	uint64_t area = areas[fuzz_byte(in) % 3], offset = fuzz_number(in, 2);
	size_t len;
	const uint8_t *part = fuzz_part(in, &len);

	put_bytes(s, area + offset, part, len < PART_MAX ? len : PART_MAX);
}

static void set_field(struct scene *s, struct fuzz_input *in)
{
	static const struct {
		size_t offset, size;
	} fields[] = {
	    {offsetof(struct node, place), 4},     /* the name */
	    {offsetof(struct node, place) + 4, 4}, /* the parent */
	    {offsetof(struct node, last), 8},
	    {offsetof(struct node, ago), 4},
	    {offsetof(struct node, moved), 4},
	    {offsetof(struct node, type), 1},
	    {offsetof(struct node, state), 1},
	};
	uint64_t id = fuzz_byte(in), field = fuzz_byte(in) % 7, number = fuzz_number(in, 8);

	put_bytes(s, HEADER_SIZE + id * sizeof(struct node) + fields[field].offset, &number,
	    fields[field].size);
}

/* ---- changes, as a watcher makes them ---- */

/* The nth that is there, or was; WATCH_NO_ID: that is none. */
static watch_id pick(const struct scene *s, struct fuzz_input *in)
{
	uint32_t id = fuzz_byte(in) % s->store->head->nodes;

	return watch_store_is(s->store, id) ? id : WATCH_NO_ID;
}

static watch_id pick_folder(const struct scene *s, struct fuzz_input *in)
{
	watch_id id = pick(s, in);
	struct watch_view v;

	return id != WATCH_NO_ID && watch_store_view(s->store, id, &v) && v.state.type == DT_DIR
	           ? id
	           : WATCH_NO_ID;
}

static struct watch_state take_state(struct fuzz_input *in)
{
	static const uint8_t types[] = {DT_DIR, DT_REG, DT_LNK, DT_FIFO};
	uint8_t how = fuzz_byte(in);

	return (struct watch_state){.inode = how, .size = how, .type = types[how & 3]};
}

/* A name that can be one. The caller's to free. */
static char *take_name(struct fuzz_input *in, size_t *len)
{
	char *name = fuzz_text(in, '\n');

	for (char *c = name; *c != '\0'; c++)
		if (*c == '/')
			*c = '_';
	if (*name == '\0') {
		free(name);
		name = xstrdup("a");
	}
	*len = strlen(name) < NAME_MAX ? strlen(name) : NAME_MAX;
	return name;
}

static void put_name(struct scene *s, struct fuzz_input *in, bool stays)
{
	watch_id folder = pick_folder(s, in), id;
	struct watch_state st = take_state(in);
	unsigned kinds = fuzz_byte(in);
	size_t len;
	char *name = take_name(in, &len);
	int rc = 0;

	if (folder != WATCH_NO_ID && watch_store_find(s->store, folder, name, len) == WATCH_NO_ID)
		rc = stays ? watch_store_put(s->store, folder, name, len, &st, kinds, &id)
		           : watch_store_pass(s->store, folder, name, len, kinds);
	fuzz_require(rc == 0 || rc == TX_ELIMIT);
	free(name);
}

static bool is_below(const struct watch_store *s, watch_id id, watch_id top)
{
	while (id != WATCH_NO_ID && id != top)
		id = watch_store_parent(s, id);
	return id == top;
}

static watch_id root_of(const struct watch_store *s, watch_id id)
{
	while (watch_store_parent(s, id) != WATCH_NO_ID)
		id = watch_store_parent(s, id);
	return id;
}

static void rename_one(struct scene *s, struct fuzz_input *in)
{
	watch_id id = pick(s, in), folder = pick_folder(s, in), old;
	size_t len;
	char *name = take_name(in, &len);

	if (id != WATCH_NO_ID && folder != WATCH_NO_ID && watch_store_parent(s->store, id) != 0 &&
	    !is_below(s->store, folder, id) && root_of(s->store, folder) == root_of(s->store, id) &&
	    watch_store_find(s->store, folder, name, len) == WATCH_NO_ID) {
		int rc = watch_store_rename(s->store, id, folder, name, len, &old);

		fuzz_require(rc == 0 || rc == TX_ELIMIT);
	}
	free(name);
}

static void tell_moved(struct scene *s, struct fuzz_input *in)
{
	watch_id id = pick(s, in), root = pick(s, in);
	char *path = fuzz_text(in, '\n');

	if (id != WATCH_NO_ID)
		watch_store_moved(s->store, id, root, path, strlen(path));
	free(path);
}

/* A root is a folder, once it was looked at. */
static void add_tree(struct scene *s, struct fuzz_input *in)
{
	struct watch_state st = {.type = DT_DIR};
	size_t len;
	char *key = take_name(in, &len);
	unsigned tree = 0;
	int rc = watch_store_tree(s->store, key, len, &tree);

	fuzz_require(rc == 0 || rc == TX_ELIMIT);
	if (rc == 0)
		watch_store_touch(
		    s->store, watch_store_root(s->store, tree), &st, WATCH_ATTRIBUTES);
	free(key);
}

static void touch(struct scene *s, struct fuzz_input *in)
{
	watch_id id = pick(s, in);
	struct watch_state st = take_state(in);
	unsigned kinds = fuzz_byte(in);
	struct watch_view v;

	if (id == WATCH_NO_ID || !watch_store_view(s->store, id, &v))
		return;
	/* What has something in it stays a folder. */
	if (v.state.type == DT_DIR)
		st.type = DT_DIR;
	if ((kinds & 128) != 0)
		watch_store_correct(s->store, id, &st);
	else
		watch_store_touch(s->store, id, (kinds & 1) != 0 ? &st : NULL, kinds);
}

static void set_limits(struct scene *s, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);

	watch_store_limit(s->store, (how & 1) != 0 ? 20 : UINT32_MAX, how >> 4);
	watch_store_set_time(s->store, how);
	watch_store_set_told(s->store, (how & 2) != 0 ? watch_store_tick(s->store) : 0);
	if ((how & 4) != 0)
		watch_store_forget_told(s->store);
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in) % 12;
	watch_id id;

	switch (what) {
	case 0:
		add_tree(s, in);
		break;
	case 1:
	case 2:
		put_name(s, in, what == 1);
		break;
	case 3:
		touch(s, in);
		break;
	case 4:
		id = pick(s, in);
		if (id != WATCH_NO_ID)
			watch_store_delete(s->store, id);
		break;
	case 5:
		rename_one(s, in);
		break;
	case 6:
		tell_moved(s, in);
		break;
	case 7:
		watch_store_drop(s->store, fuzz_byte(in));
		break;
	case 8:
		set_limits(s, in);
		break;
	case 9:
		open_again(s);
		break;
	case 10:
		set_bytes(s, in);
		break;
	default:
		set_field(s, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct scene s = {.fd = -1};

	fuzz_log_nowhere();
	fuzz_require(memfile_new("fuzz", &s.fd, NULL) == 0);
	open_store(&s);
	for (int i = 0; i < ACTS_MAX && in.left > 0; i++)
		act(&s, &in);
	check(s.store);
	open_again(&s);
	watch_store_free(s.store);
	close(s.fd);
	return 0;
}
