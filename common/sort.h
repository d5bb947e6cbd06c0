/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting in place, without memory and without system calls, which those who are locked in must not
 * make: libc's qsort asks the kernel for the machine's memory when the list is above a kilobyte.
 */
#ifndef TX_COMMON_SORT_H
#define TX_COMMON_SORT_H

#include <stddef.h>

/* As qsort; the order of equal ones is not kept. list may be NULL when n is 0. */
void sort_in_place(void *list, size_t n, size_t size, int (*compare)(const void *a, const void *b));

#endif
