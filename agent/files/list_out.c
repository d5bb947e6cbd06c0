/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/list_out.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define FULL     ((size_t)512 << 10) /* a message is sent from here on, however few entries */
#define HEAD_MAX 11                  /* of a field of bytes */

struct list_out_item {
	size_t path_len, len;
	uint8_t data[]; /* the path, then the packed entry */
};

void list_out_init(struct list_out *o, struct call *c, bool sorted)
{
	*o = (struct list_out){.call = c, .sorted = sorted};
}

/* ---- messages ---- */

static int flush(struct list_out *o)
{
	const struct iovec v = {o->buffer, o->len};

	if (o->entries == 0)
		return 0;
	o->len = 0;
	o->entries = 0;
	return call_send_parts(o->call, &v, 1) < 0 ? TX_ECLOSED : 0;
}

static uint8_t *make_room(struct list_out *o, size_t len)
{
	size_t need = o->len + HEAD_MAX + len;
	uint8_t *more;

	if (need > o->room) {
		more = realloc(o->buffer, 2 * need);
		if (more == NULL)
			return NULL;
		o->buffer = more;
		o->room = 2 * need;
	}
	return o->buffer + o->len;
}

/* The head of ListResponse.entries, which is its field 1. */
static size_t put_head(uint8_t *at, size_t len)
{
	size_t n = 0;

	at[n++] = 1 << 3 | 2;
	for (; len >= 0x80; len >>= 7)
		at[n++] = (uint8_t)(len | 0x80);
	at[n++] = (uint8_t)len;
	return n;
}

static int added(struct list_out *o)
{
	o->entries++;
	return o->entries == LIST_OUT_ENTRIES || o->len >= FULL ? flush(o) : 0;
}

static int add_now(struct list_out *o, const Telex__V1__ListEntry *entry, size_t len)
{
	uint8_t *at = make_room(o, len);
	size_t head;

	if (at == NULL)
		return TX_ENOMEM;
	head = put_head(at, len);
	o->len += head + telex__v1__list_entry__pack(entry, at + head);
	return added(o);
}

/* ---- sorting ---- */

static int keep(struct list_out *o, const Telex__V1__ListEntry *entry, size_t len)
{
	const ProtobufCBinaryData *path = &entry->file->path;
	const size_t size = sizeof(struct list_out_item) + path->len + len;
	struct list_out_item *item;

	if (o->n_items == o->items_room) {
		size_t room = o->items_room == 0 ? 256 : 2 * o->items_room;
		struct list_out_item **more = reallocarray(o->items, room, sizeof(*more));

		if (more == NULL)
			return TX_ENOMEM;
		o->items = more;
		o->items_room = room;
	}
	o->kept += size + sizeof(item);
	if (o->kept > LIST_OUT_SORTED)
		return TX_ELIMIT;
	item = malloc(size);
	if (item == NULL)
		return TX_ENOMEM;
	item->path_len = path->len;
	item->len = len;
	memcpy(item->data, path->data, path->len);
	telex__v1__list_entry__pack(entry, item->data + path->len);
	o->items[o->n_items++] = item;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct list_out_item *x = *(const struct list_out_item *const *)a;
	const struct list_out_item *y = *(const struct list_out_item *const *)b;
	size_t shorter = x->path_len < y->path_len ? x->path_len : y->path_len;
	int order = memcmp(x->data, y->data, shorter);

	if (order != 0)
		return order;
	return x->path_len < y->path_len ? -1 : x->path_len > y->path_len;
}

static int add_item(struct list_out *o, const struct list_out_item *item)
{
	uint8_t *at = make_room(o, item->len);
	size_t head;

	if (at == NULL)
		return TX_ENOMEM;
	head = put_head(at, item->len);
	memcpy(at + head, item->data + item->path_len, item->len);
	o->len += head + item->len;
	return added(o);
}

/* ---- all of it ---- */

int list_out_add(struct list_out *o, const Telex__V1__ListEntry *entry)
{
	size_t len = telex__v1__list_entry__get_packed_size(entry);

	return o->sorted ? keep(o, entry, len) : add_now(o, entry, len);
}

int list_out_end(struct list_out *o)
{
	int rc = 0;

	if (o->n_items > 1)
		qsort(o->items, o->n_items, sizeof(*o->items), compare);
	for (size_t i = 0; i < o->n_items && rc == 0; i++)
		rc = add_item(o, o->items[i]);
	return rc == 0 ? flush(o) : rc;
}

void list_out_clear(struct list_out *o)
{
	for (size_t i = 0; i < o->n_items; i++)
		free(o->items[i]);
	free(o->items);
	free(o->buffer);
	*o = (struct list_out){0};
}
