/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a system call fail: those on files, as called by the objects of a program that is linked
 * with $(LDFLAGS_FOR_CALL_FAIL). Until call_fail_stop nothing is made durable, as there is no loss
 * of power in these tests, and that takes long. One thread.
 */
#ifndef TX_TESTS_SUPPORT_CALL_FAIL_H
#define TX_TESTS_SUPPORT_CALL_FAIL_H

/* Instead of an errno: a call that moves bytes moves only some of them, and reading a folder's
 * names or links is as ever. */
#define CALL_FAIL_SHORT (-1)

/* Counts from here on. The nth call from now fails with this errno; 0: none does. */
void call_fail_at(long n, int error);
/* None fails any more, and none is counted. */
void call_fail_stop(void);
/* How many were made between the two. */
long call_fail_count(void);
/* The one that failed, by its name; "": none did. */
const char *call_fail_name(void);

#endif
