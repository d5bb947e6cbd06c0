/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an allocation fail: malloc, calloc, realloc and strdup as called by the objects of a
 * program that is linked with $(LDFLAGS_FOR_ALLOC_FAIL). One thread.
 */
#ifndef TX_TESTS_SUPPORT_ALLOC_FAIL_H
#define TX_TESTS_SUPPORT_ALLOC_FAIL_H

#include <stdbool.h>

/* Counts from here on. The nth allocation from now fails, and with `keep` all that follow; 0: none.
 */
void alloc_fail_at(long n, bool keep);
/* None fails any more, and none is counted. */
void alloc_fail_stop(void);
/* How many were asked for between the two. */
long alloc_fail_count(void);
/* Whether one failed between the two. */
bool alloc_fail_happened(void);

#endif
