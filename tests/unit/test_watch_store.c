/* SPDX-License-Identifier: Apache-2.0 */
/* The store of what is watched, against a model of the tree: clients that lag behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/watch/watch_batch.h"
#include "tests/unit/watch_world.h"

/* ---- tests ---- */

static void run_random(uint32_t seed, int steps, bool reopening, size_t tombstones)
{
	struct world w;

	world_begin(&w, seed);
	if (tombstones > 0)
		watch_store_limit(w.store, UINT32_MAX, tombstones);
	for (int i = 0; i < steps; i++) {
		world_happen(&w, true);
		if (tombstones > 0)
			watch_store_set_told(w.store, watch_store_tick(w.store));
		if (world_chance(&w, tombstones > 0 ? 40 : 4) == 0)
			world_some_client(&w);
		if (reopening && world_chance(&w, 100) == 0) {
			world_reopen(&w);
			world_check_store(&w);
		}
	}
	world_check_store(&w);
	for (int i = 0; i < CLIENTS; i++)
		world_catch_up(&w, &w.clients[i]);
	world_end(&w);
}

static void lagging_clients_end_with_the_tree(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 99; seed++)
		run_random(seed, 1500, false, 0);
}

static void also_where_the_store_is_opened_again(void **state)
{
	(void)state;
	for (uint32_t seed = 100; seed <= 199; seed++)
		run_random(seed, 1500, true, 0);
}

static void also_where_tombstones_are_few(void **state)
{
	(void)state;
	for (uint32_t seed = 200; seed <= 299; seed++)
		run_random(seed, 1500, false, 4);
}

/* ---- one by one ---- */

static watch_id put(struct world *w, const char *path, int type)
{
	char folder[PATH];
	const char *name = world_split(path, folder);
	struct model_entry e = world_fresh_entry(w, type);
	struct watch_state st = world_state_of(&e);
	watch_id id;

	assert_int_equal(
	    watch_store_put(w->store, world_id(w, folder), name, strlen(name), &st, 0, &id), 0);
	return id;
}

static void a_renamed_folder_tells_both_of_its_names(void **state)
{
	struct world w;
	struct watch_picks p = {0};
	struct watch_view v;
	uint64_t before;
	watch_id root, id, old;
	char path[PATH];

	(void)state;
	world_begin(&w, 1);
	root = watch_store_root(w.store, w.tree);
	id = put(&w, "a", DT_DIR);
	put(&w, "a/b", DT_REG);
	watch_store_note(w.store, id)->watch = 7;
	before = watch_store_tick(w.store);
	assert_int_equal(watch_store_rename(w.store, id, root, "z", 1, &old), 0);
	assert_int_equal(watch_store_see(w.store, id)->watch, 7);
	watch_store_moved(w.store, id, root, "a", 1);
	assert_int_equal(watch_store_changed(w.store, w.tree, before, &p), 0);
	watch_picks_sort(&p);
	assert_int_equal(p.n, 3);
	for (size_t i = 0; i < p.n; i++) {
		unsigned kinds = watch_store_kinds(w.store, p.list[i].id, before);

		assert_true(watch_store_view(w.store, p.list[i].id, &v));
		watch_store_path(w.store, p.list[i].id, path, PATH);
		if (strcmp(path, "a") == 0)
			assert_true(!v.exists && kinds == WATCH_DELETED);
		else if (strcmp(path, "z") == 0)
			assert_true(v.exists && kinds == (WATCH_CREATED | WATCH_MOVED) &&
			            v.moved_root == root && v.moved_len == 1 && *v.moved == 'a');
		else
			assert_true(strcmp(path, "z/b") == 0 && kinds == WATCH_CREATED);
	}
	free(p.list);
	world_end(&w);
}

static void what_is_counted_begins_anew_when_it_was_told(void **state)
{
	struct world w;
	struct watch_view v;
	watch_id id;

	(void)state;
	world_begin(&w, 1);
	id = put(&w, "a", DT_REG);
	for (int i = 0; i < 4; i++)
		watch_store_touch(w.store, id, NULL, WATCH_MODIFIED);
	assert_true(watch_store_view(w.store, id, &v));
	assert_int_equal(v.count, 5);
	watch_store_set_told(w.store, watch_store_tick(w.store));
	watch_store_touch(w.store, id, NULL, WATCH_MODIFIED);
	assert_true(watch_store_view(w.store, id, &v));
	assert_int_equal(v.count, 1);
	world_end(&w);
}

static void a_full_store_says_so(void **state)
{
	struct world w;
	struct watch_state st = {.type = DT_REG};
	watch_id root, id, old;

	(void)state;
	world_begin(&w, 1);
	watch_store_limit(w.store, 3, 10);
	root = watch_store_root(w.store, w.tree);
	put(&w, "a", DT_REG);
	assert_int_equal(watch_store_put(w.store, root, "b", 1, &st, 0, &id), TX_ELIMIT);
	assert_int_equal(watch_store_pass(w.store, root, "b", 1, 0), TX_ELIMIT);
	assert_int_equal(
	    watch_store_rename(w.store, world_id(&w, "a"), root, "b", 1, &old), TX_ELIMIT);
	assert_true(watch_store_find(w.store, root, "a", 1) != WATCH_NO_ID);
	world_end(&w);
}

/* Who takes a store over has the room of all names that are gone, whatever their lengths. */
static void texts_that_are_gone_make_room_for_others(void **state)
{
	enum { NAMES = 2000, ROUNDS = 6 };
	struct world w;
	struct watch_state st = {.type = DT_REG};
	size_t first = 0;
	watch_id id;

	(void)state;
	world_begin(&w, 1);
	watch_store_limit(w.store, UINT32_MAX, 0);
	for (int round = 0; round < ROUNDS; round++) {
		watch_id root = watch_store_root(w.store, w.tree);
		char name[128];

		watch_store_set_told(w.store, UINT64_MAX);
		for (int i = 0; i < NAMES; i++) {
			int len = snprintf(name, sizeof(name), "%0*d", 100 - 10 * round, i);

			assert_int_equal(
			    watch_store_put(w.store, root, name, (size_t)len, &st, 0, &id), 0);
		}
		while ((id = watch_store_child(w.store, root)) != WATCH_NO_ID)
			watch_store_delete(w.store, id);
		first = round == 0 ? watch_store_memory(w.store) : first;
		/* The nodes are as many as before, and so are the bytes of their names. */
		assert_true(watch_store_memory(w.store) <= first + first / 10);
		world_reopen(&w);
		watch_store_limit(w.store, UINT32_MAX, 0);
	}
	world_end(&w);
}

static size_t allocated(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* Of many clients that ask for all there is, none may cost what there is. */
static void the_whole_state_needs_no_list(void **state)
{
	enum { NAMES = 50000 };
	struct world w;
	struct watch_state st = {.type = DT_REG};
	struct watch_listener l = {.n_trees = 1, .kinds = UINT32_MAX};
	struct watch_message *m = watch_message_new();
	struct watch_batch b;
	size_t before, told = 0;
	watch_id id;
	char name[16];

	(void)state;
	world_begin(&w, 1);
	l.store = w.store;
	l.trees = &w.tree;
	telex__v1__tree_options__init(&l.include);
	for (int i = 0; i < NAMES; i++) {
		int len = snprintf(name, sizeof(name), "%d", i);

		assert_int_equal(watch_store_put(w.store, watch_store_root(w.store, w.tree), name,
		                     (size_t)len, &st, 0, &id),
		    0);
	}
	before = allocated();
	assert_int_equal(batch_begin(&b, &l, 0, true), 0);
	told += batch_next(&b, &l, m)->n_changes;
	assert_true(allocated() <= before + 4096);
	while (!batch_is_over(&b, &l))
		told += batch_next(&b, &l, m)->n_changes;
	assert_int_equal(told, NAMES + 1);
	batch_end(&b);
	watch_message_free(m);
	world_end(&w);
}

static void a_tree_that_was_dropped_begins_anew(void **state)
{
	struct world w;
	uint64_t before;
	unsigned other;

	(void)state;
	world_begin(&w, 1);
	put(&w, "a", DT_REG);
	before = watch_store_tick(w.store);
	assert_int_equal(watch_store_tree(w.store, "/other", 6, &other), 0);
	assert_int_not_equal(other, w.tree);
	watch_store_drop(w.store, w.tree);
	assert_int_equal(watch_store_root(w.store, w.tree), WATCH_NO_ID);
	world_reopen(&w);
	assert_true(watch_store_oldest(w.store, w.tree) > before);
	assert_int_equal(watch_store_living(w.store, w.tree), 1);
	world_end(&w);
}

/* Anything at all may be in the memory that a predecessor leaves. */
static void a_store_of_garbage_is_begun_anew_or_sound(void **state)
{
	struct world w;
	uint8_t *map;

	(void)state;
	world_begin(&w, 99);
	for (int i = 0; i < 400; i++)
		world_happen(&w, true);
	for (int round = 0; round < 200; round++) {
		struct model m = {0};

		watch_store_free(w.store);
		map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, w.fd, 0);
		assert_true(map != MAP_FAILED);
		for (int i = 0; i < 5; i++)
			map[(world_chance(&w, 8) == 0 ? 0 : 65536) + world_chance(&w, 40000)] ^=
			    (uint8_t)(1u << world_chance(&w, 8));
		munmap(map, 1 << 20);
		world_open_store(&w);
		world_put_all(&w, &m);
		model_free(&m);
		for (int i = 0; i < 20; i++) {
			watch_id root = watch_store_root(w.store, w.tree), id;
			struct watch_state st = {.type = DT_DIR};
			char name[2] = {(char)('a' + i), '\0'};

			if (watch_store_find(w.store, root, name, 1) == WATCH_NO_ID)
				assert_int_equal(
				    watch_store_put(w.store, root, name, 1, &st, 0, &id), 0);
		}
	}
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lagging_clients_end_with_the_tree),
	    cmocka_unit_test(also_where_the_store_is_opened_again),
	    cmocka_unit_test(also_where_tombstones_are_few),
	    cmocka_unit_test(a_renamed_folder_tells_both_of_its_names),
	    cmocka_unit_test(what_is_counted_begins_anew_when_it_was_told),
	    cmocka_unit_test(a_full_store_says_so),
	    cmocka_unit_test(texts_that_are_gone_make_room_for_others),
	    cmocka_unit_test(the_whole_state_needs_no_list),
	    cmocka_unit_test(a_tree_that_was_dropped_begins_anew),
	    cmocka_unit_test(a_store_of_garbage_is_begun_anew_or_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
