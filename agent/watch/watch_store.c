/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watch/watch_store_internal.h"
#include "common/sort.h"

#define TOMBS_MAX ((size_t)65536)

/* ---- beginning and end ---- */

static int begin_anew(struct watch_store *s, int fd, struct err *e)
{
	struct header *h = s->head;

	if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)STORE_SIZE) != 0)
		return err_sys(e, errno, "the store of what is watched");
	h->version = STORE_VERSION;
	h->node_size = sizeof(struct node);
	h->nodes = h->names = 1;
	if (getrandom(&h->instance, sizeof(h->instance), 0) != (ssize_t)sizeof(h->instance))
		return err_sys(e, errno, "a random number");
	h->tick = 1;
	__atomic_store_n(&h->magic, STORE_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

static void forget_private(struct watch_store *s)
{
	free(s->links);
	free(s->slots);
	s->links = NULL;
	s->slots = NULL;
	s->room = s->free = s->n_slots = s->n_indexed = s->gaps = 0;
	memset(s->living, 0, sizeof(s->living));
	memset(s->tombs, 0, sizeof(s->tombs));
	memset(s->free_texts, 0, sizeof(s->free_texts));
}

static int begin(struct watch_store *s, int fd, off_t size, struct err *e)
{
	int rc = TX_EPROTO;

	if (size == (off_t)STORE_SIZE)
		rc = store_recover(s);
	if (rc == TX_EPROTO) {
		forget_private(s);
		rc = begin_anew(s, fd, e);
	}
	if (rc == 0 && node_room(s, s->head->nodes) < 0)
		rc = TX_ENOMEM;
	if (rc == TX_ENOMEM)
		return err_set(e, TX_ENOMEM, "the store of what is watched: out of memory");
	return rc;
}

int watch_store_open(struct watch_store **out, int fd, struct err *e)
{
	struct watch_store *s = calloc(1, sizeof(*s));
	struct stat st;
	int rc;

	if (s == NULL)
		return err_set(e, TX_ENOMEM, "the store of what is watched: out of memory");
	watch_store_limit(s, NODES_MAX, TOMBS_MAX);
	watch_store_allow(s, UINT64_MAX);
	s->map = mmap(NULL, STORE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (s->map == MAP_FAILED || fstat(fd, &st) != 0) {
		s->map = s->map == MAP_FAILED ? NULL : s->map;
		rc = err_sys(e, errno, "the store of what is watched");
	} else {
		s->head = (struct header *)s->map;
		s->nodes = (struct node *)(s->map + HEADER_SIZE);
		rc = begin(s, fd, st.st_size, e);
	}
	if (rc < 0)
		watch_store_free(s);
	else
		*out = s;
	return rc;
}

void watch_store_free(struct watch_store *s)
{
	if (s == NULL)
		return;
	forget_private(s);
	if (s->map != NULL)
		munmap(s->map, STORE_SIZE);
	free(s);
}

uint64_t watch_store_instance(const struct watch_store *s)
{
	return s->head->instance;
}

uint64_t watch_store_tick(const struct watch_store *s)
{
	return s->head->tick;
}

void watch_store_set_time(struct watch_store *s, int64_t ns)
{
	s->time_ns = ns;
}

void watch_store_set_told(struct watch_store *s, uint64_t tick)
{
	s->told = tick;
}

void watch_store_limit(struct watch_store *s, uint32_t paths, size_t tombstones)
{
	s->nodes_max = paths < NODES_MAX ? paths : NODES_MAX;
	s->tombs_max = tombstones;
}

void watch_store_allow(struct watch_store *s, uint64_t bytes)
{
	s->allowed = bytes;
}

static uint64_t names_size(const struct watch_store *s)
{
	return HEADER_SIZE + (uint64_t)s->head->names * UNIT;
}

/* Free slots are used before it grows. */
bool watch_store_is_short(const struct watch_store *s)
{
	return names_size(s) + (uint64_t)s->n_indexed * sizeof(*s->nodes) >= s->allowed;
}

bool store_may_grow(const struct watch_store *s, size_t bytes)
{
	const uint64_t now = names_size(s) + (uint64_t)s->head->nodes * sizeof(*s->nodes);

	return s->allowed == UINT64_MAX || now + bytes <= s->allowed + s->allowed / 8;
}

/* No path has the number 0. */
size_t watch_store_most(const struct watch_store *s)
{
	const uint64_t names = names_size(s);
	const uint64_t most = s->allowed > names ? (s->allowed - names) / sizeof(*s->nodes) + 1 : 1;

	return most < s->nodes_max ? (size_t)most : s->nodes_max;
}

size_t watch_store_left(const struct watch_store *s)
{
	const size_t most = watch_store_most(s);

	return s->n_indexed + 1 < most ? most - s->n_indexed - 1 : 0;
}

void watch_store_on_gone(
    struct watch_store *s, void (*gone)(watch_id id, struct watch_note *note, void *arg), void *arg)
{
	s->gone = gone;
	s->gone_arg = arg;
}

size_t watch_store_memory(const struct watch_store *s)
{
	return sizeof(*s) + s->room * sizeof(*s->links) + s->n_slots * sizeof(*s->slots) +
	       s->head->nodes * sizeof(*s->nodes) + s->head->names * UNIT + HEADER_SIZE;
}

/* ---- looking ---- */

static const struct node *used(const struct watch_store *s, watch_id id)
{
	return id != WATCH_NO_ID && id < s->head->nodes && s->nodes[id].state != NODE_FREE
	           ? &s->nodes[id]
	           : NULL;
}

bool watch_store_is(const struct watch_store *s, watch_id id)
{
	const struct node *n = used(s, id);

	return n != NULL && n->state == NODE_LIVING && n->type != 0;
}

watch_id watch_store_find(
    const struct watch_store *s, watch_id parent, const char *name, size_t len)
{
	uint32_t id = index_find(s, parent, name, len);

	return id != 0 && s->nodes[id].state == NODE_LIVING ? id : WATCH_NO_ID;
}

static void view_moved(const struct watch_store *s, const struct node *n, struct watch_view *out)
{
	const char *text;
	size_t len;

	if (n->moved == 0)
		return;
	text = text_get(s, n->moved, &len);
	memcpy(&out->moved_root, text, sizeof(out->moved_root));
	out->moved = text + sizeof(out->moved_root);
	out->moved_len = len - sizeof(out->moved_root);
}

bool watch_store_view(const struct watch_store *s, watch_id id, struct watch_view *out)
{
	const struct node *n = used(s, id);

	if (n == NULL)
		return false;
	*out = (struct watch_view){
	    .state = {n->inode, n->size, n->mtime_ns, n->mark, n->mode, n->type},
	    .parent = parent_of(n),
	    .tree = s->links[id].tree,
	    .exists = n->state == NODE_LIVING && n->type != 0,
	    .last = n->last,
	    .created = n->ago[CREATED] == NEVER ? 0 : n->last - n->ago[CREATED],
	    .time_ns = n->time_ns,
	    .count = n->count,
	};
	view_moved(s, n, out);
	return true;
}

unsigned watch_store_tree_of(const struct watch_store *s, watch_id id)
{
	return s->links[id].tree;
}

struct watch_note *watch_store_note(struct watch_store *s, watch_id id)
{
	return &s->links[id].note;
}

const struct watch_note *watch_store_see(const struct watch_store *s, watch_id id)
{
	return &s->links[id].note;
}

static watch_id living_from(const struct watch_store *s, uint32_t id)
{
	while (id != 0 && s->nodes[id].state != NODE_LIVING)
		id = s->links[id].next;
	return id;
}

watch_id watch_store_child(const struct watch_store *s, watch_id folder)
{
	return living_from(s, s->links[folder].child);
}

watch_id watch_store_next(const struct watch_store *s, watch_id sibling)
{
	return living_from(s, s->links[sibling].next);
}

watch_id watch_store_parent(const struct watch_store *s, watch_id id)
{
	return parent_of(&s->nodes[id]);
}

const char *watch_store_name(const struct watch_store *s, watch_id id, size_t *len)
{
	return text_get(s, name_of(&s->nodes[id]), len);
}

size_t watch_store_depth(const struct watch_store *s, watch_id id)
{
	size_t depth = 0;

	for (; parent_of(&s->nodes[id]) != 0; id = parent_of(&s->nodes[id]))
		depth++;
	return depth;
}

size_t watch_store_path(const struct watch_store *s, watch_id id, char *out, size_t size)
{
	size_t all = 0, end, len;
	uint32_t at;

	for (at = id; parent_of(&s->nodes[at]) != 0; at = parent_of(&s->nodes[at])) {
		(void)text_get(s, name_of(&s->nodes[at]), &len);
		all += len + (at != id);
	}
	if (all >= size) {
		if (size > 0)
			out[0] = '\0';
		return all;
	}
	out[all] = '\0';
	end = all;
	for (at = id; parent_of(&s->nodes[at]) != 0; at = parent_of(&s->nodes[at])) {
		const char *name = text_get(s, name_of(&s->nodes[at]), &len);

		if (at != id)
			out[--end] = '/';
		end -= len;
		memcpy(out + end, name, len);
	}
	return all;
}

unsigned watch_store_kinds(const struct watch_store *s, watch_id id, uint64_t since)
{
	static const unsigned bit[AGO_N] = {
	    [CREATED] = WATCH_CREATED,
	    [MODIFIED] = WATCH_MODIFIED,
	    [CLOSED] = WATCH_CLOSED,
	    [ATTRIBUTES] = WATCH_ATTRIBUTES,
	    [DELETED] = WATCH_DELETED,
	    [MOVED] = WATCH_MOVED,
	};
	const struct node *n = used(s, id);
	unsigned kinds = 0;

	for (int k = 0; n != NULL && k < AGO_N; k++)
		if (n->ago[k] != NEVER && n->last - n->ago[k] > since)
			kinds |= bit[k];
	return kinds;
}

/* ---- collecting ---- */

static int add_pick(struct watch_picks *p, struct watch_pick one)
{
	if (p->n == p->room) {
		size_t room = p->room + p->room / 2 + 256;
		struct watch_pick *list = realloc(p->list, room * sizeof(*list));

		if (list == NULL)
			return TX_ENOMEM;
		p->list = list;
		p->room = room;
	}
	p->list[p->n++] = one;
	return 0;
}

/* A folder that was made comes where it was made, and not where something last happened to it: all
 * that is below it was made later. */
static uint64_t tick_of(const struct node *n, uint64_t since)
{
	uint64_t made = n->ago[CREATED] == NEVER ? 0 : n->last - n->ago[CREATED];

	return n->state == NODE_LIVING && n->type == DT_DIR && made > since ? made : n->last;
}

static int pick_list(
    const struct watch_store *s, const struct list *l, uint64_t since, struct watch_picks *out)
{
	int rc = 0;

	for (uint32_t id = l->newest; id != 0 && s->nodes[id].last > since && rc == 0;
	     id = s->links[id].older)
		rc = add_pick(out, (struct watch_pick){tick_of(&s->nodes[id], since),
		                       (uint32_t)watch_store_depth(s, id), id});
	return rc;
}

int watch_store_changed(
    const struct watch_store *s, unsigned tree, uint64_t since, struct watch_picks *out)
{
	int rc = pick_list(s, &s->living[tree], since, out);

	return rc < 0 ? rc : pick_list(s, &s->tombs[tree], since, out);
}

static uint64_t newest(const struct watch_store *s, const struct list *l)
{
	return l->newest != 0 ? s->nodes[l->newest].last : 0;
}

uint64_t watch_store_newest(const struct watch_store *s, unsigned tree)
{
	uint64_t living = newest(s, &s->living[tree]), tombs = newest(s, &s->tombs[tree]);

	return living > tombs ? living : tombs;
}

static int compare(const void *a, const void *b)
{
	const struct watch_pick *x = a, *y = b;

	if (x->tick != y->tick)
		return x->tick < y->tick ? -1 : 1;
	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

void watch_picks_sort(struct watch_picks *p)
{
	sort_in_place(p->list, p->n, sizeof(*p->list), compare);
}
