/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of an errno that a call on files gave: one table, for operations and trees. */
#ifndef TX_COMMON_FILE_ERRNO_H
#define TX_COMMON_FILE_ERRNO_H

struct file_errno {
	int sys_errno;
	int code; /* RPC_ */
	const char *reason;
	const char *words;   /* what is wrong; NULL: strerror(3)'s */
	const char *way_out; /* what to do, or NULL */
};

/* Never NULL: what is in no table is INTERNAL (SYSTEM). */
const struct file_errno *file_errno_find(int sys_errno);
/* The other way round: the first errno of the table whose reason it is; 0: none. */
int file_errno_of(const char *reason);
/* What is wrong, and the way out behind a semicolon. left: what is said in parentheses, as what is
 * left (file_room_words, file_quota_words); NULL or "": nothing. `size` of FILE_ERRNO_WORDS is
 * always enough. Returns out. */
const char *file_errno_words(char *out, unsigned long size, int sys_errno, const char *left);
#define FILE_ERRNO_WORDS 512

#endif
