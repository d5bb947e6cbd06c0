/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder for a target that writes files: TOP/in is where it may, TOP/out is what it must not come
 * to. Made anew for each input, in memory where there is /dev/shm.
 *
 *     in/f            "old\n"        in/d/x   "below\n"      in/l  -> ../out
 *     in/h            a second name of out/linked            in/s  -> f
 *     out/secret      "secret\n"     out/linked  "linked\n"
 *
 * No file grows beyond 16 MiB, and no descriptor may be left open.
 *
 * As root the process is nobody from place_enter to place_leave, so that what gets out after all
 * harms nothing.
 */
#ifndef TX_TESTS_FUZZ_PLACE_H
#define TX_TESTS_FUZZ_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_place {
	char top[64];
	int top_fd, in_fd, next_fd;
	uint64_t file_size; /* the limit that was there */
};

void place_enter(struct fuzz_place *p);
/* in/NAME of `size` bytes that do not repeat. */
void place_large(const struct fuzz_place *p, const char *name, size_t size);
/* Requires that what is outside is as it was, but for modes and times; and removes all. */
void place_leave(struct fuzz_place *p);

#endif
