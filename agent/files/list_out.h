/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a list's entries go: packed at once, and sent in messages of up to 256; or, sorted, kept
 * until all are there.
 */
#ifndef TX_FILES_LIST_OUT_H
#define TX_FILES_LIST_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/files/call.h"
#include "telex/v1/file.pb-c.h"

#define LIST_OUT_ENTRIES 256
#define LIST_OUT_SORTED  ((size_t)256 << 20) /* bytes that are kept to be sorted */

struct list_out_item;

struct list_out {
	struct call *call;
	bool sorted;
	uint8_t *buffer; /* the message in the making */
	size_t len, room;
	unsigned entries;
	struct list_out_item **items; /* what is to be sorted */
	size_t n_items, items_room, kept;
};

void list_out_init(struct list_out *o, struct call *c, bool sorted);
/* TX_ENOMEM; TX_ELIMIT: more than may be kept; TX_ECLOSED. */
int list_out_add(struct list_out *o, const Telex__V1__ListEntry *entry);
/* Sends what is left. */
int list_out_end(struct list_out *o);
void list_out_clear(struct list_out *o);

#endif
