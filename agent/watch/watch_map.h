/* SPDX-License-Identifier: Apache-2.0 */
/* From a watch's number to a path's. */
#ifndef TX_WATCH_MAP_H
#define TX_WATCH_MAP_H

#include <stddef.h>
#include <stdint.h>

struct watch_map {
	struct watch_map_row *rows; /* a power of two */
	uint32_t n_rows, n;
};

void watch_map_clear(struct watch_map *m);
/* 0: none. */
uint32_t watch_map_get(const struct watch_map *m, uint32_t watch);
/* value 0: none from now on. */
void watch_map_set(struct watch_map *m, uint32_t watch, uint32_t value);
size_t watch_map_memory(const struct watch_map *m);

#endif
