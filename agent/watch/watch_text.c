/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts: a length (2 bytes), then the bytes, in whole units behind the nodes. One that was given up
 * is taken again for one of the same number of units; the first bytes of a free one are the next
 * one's reference. Only who takes a store over knows which of them are side by side: such a gap is
 * cut up for texts of any length. Its first bytes are the next gap's reference and its own units.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_store_internal.h"

#define LEN_SIZE sizeof(uint16_t)

static uint8_t *at(const struct watch_store *s, uint32_t ref)
{
	return s->map + TEXTS_AT + ref * UNIT;
}

static uint32_t units(size_t len)
{
	return (uint32_t)((LEN_SIZE + len + UNIT - 1) / UNIT);
}

static void set_free(struct watch_store *s, uint32_t ref, uint32_t n)
{
	memcpy(at(s, ref), &s->free_texts[n], sizeof(uint32_t));
	s->free_texts[n] = ref;
}

static void set_gap(struct watch_store *s, uint32_t ref, uint32_t n)
{
	const uint32_t words[2] = {s->gaps, n};

	memcpy(at(s, ref), words, sizeof(words));
	s->gaps = ref;
}

/* From a gap's end. One that is too small is left to those of its size. 0: there is none. */
static uint32_t cut(struct watch_store *s, uint32_t n)
{
	while (s->gaps != 0) {
		uint32_t ref = s->gaps, words[2];

		memcpy(words, at(s, ref), sizeof(words));
		s->gaps = words[0];
		if (words[1] > n)
			set_gap(s, ref, words[1] - n);
		if (words[1] >= n)
			return ref + words[1] - n;
		set_free(s, ref, words[1]);
	}
	return 0;
}

static uint32_t take(struct watch_store *s, uint32_t n)
{
	uint32_t ref = s->free_texts[n];

	if (ref != 0) {
		memcpy(&s->free_texts[n], at(s, ref), sizeof(uint32_t));
		return ref;
	}
	ref = cut(s, n);
	if (ref != 0)
		return ref;
	if (UNITS_MAX - s->head->names < n || !store_may_grow(s, n * UNIT))
		return 0;
	ref = s->head->names;
	s->head->names += n;
	return ref;
}

uint32_t text_new(
    struct watch_store *s, const void *head, size_t head_len, const void *text, size_t len)
{
	uint16_t all = (uint16_t)(head_len + len);
	uint32_t ref;

	if (head_len + len + LEN_SIZE > TEXT_MAX)
		return 0;
	ref = take(s, units(all));
	if (ref == 0)
		return 0;
	memcpy(at(s, ref), &all, LEN_SIZE);
	if (head_len > 0)
		memcpy(at(s, ref) + LEN_SIZE, head, head_len);
	if (len > 0)
		memcpy(at(s, ref) + LEN_SIZE + head_len, text, len);
	return ref;
}

const char *text_get(const struct watch_store *s, uint32_t ref, size_t *len)
{
	uint16_t n;

	memcpy(&n, at(s, ref), LEN_SIZE);
	*len = n;
	return (const char *)at(s, ref) + LEN_SIZE;
}

void text_free(struct watch_store *s, uint32_t ref)
{
	size_t len;

	if (ref == 0)
		return;
	(void)text_get(s, ref, &len);
	set_free(s, ref, units(len));
}

bool text_valid(const struct watch_store *s, uint32_t ref)
{
	uint32_t end = s->head->names;
	size_t len;

	if (ref == 0 || end > UNITS_MAX || ref >= end)
		return false;
	(void)text_get(s, ref, &len);
	return len + LEN_SIZE <= TEXT_MAX && units(len) <= end - ref;
}

/* ---- after a writer's end ---- */

/* False: two share it. */
static bool mark_used(const struct watch_store *s, uint8_t *used, uint32_t ref)
{
	size_t len;
	uint32_t n;

	if (ref == 0)
		return true;
	(void)text_get(s, ref, &len);
	n = units(len);
	for (uint32_t i = ref; i < ref + n; i++) {
		if ((used[i / 8] & 1u << i % 8) != 0)
			return false;
		used[i / 8] |= (uint8_t)(1u << i % 8);
	}
	return true;
}

static void give_up(struct watch_store *s, uint32_t from, uint32_t to)
{
	if (from < to)
		set_gap(s, from, to - from);
}

int text_recover(struct watch_store *s)
{
	uint32_t end = s->head->names, from = 1;
	uint8_t *used = calloc(1, (size_t)end / 8 + 1);
	bool sound = true;

	if (used == NULL)
		return TX_ENOMEM;
	memset(s->free_texts, 0, sizeof(s->free_texts));
	s->gaps = 0;
	for (uint32_t id = 1; id < s->head->nodes && sound; id++)
		if (s->nodes[id].state != NODE_FREE)
			sound = mark_used(s, used, name_of(&s->nodes[id])) &&
			        mark_used(s, used, s->nodes[id].moved);
	for (uint32_t i = 1; i < end && sound; i++) {
		if ((used[i / 8] & 1u << i % 8) == 0)
			continue;
		give_up(s, from, i);
		from = i + 1;
	}
	/* What follows the last one was never used. */
	if (sound)
		s->head->names = from;
	free(used);
	return sound ? 0 : TX_EPROTO;
}
