/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name: "TERM", "SIGTERM", "term", "15", "RTMIN", "RTMIN+3", "RTMAX-1". */
#ifndef TX_COMMON_SIGNAME_H
#define TX_COMMON_SIGNAME_H

#include <stddef.h>

/* 1..64, or TX_EINVAL. */
int signame_parse(const char *text);

/* "SIGTERM", "SIGRTMIN+3"; "signal 99" for what is none. Returns out; size >= 24 is enough. */
char *signame_format(char *out, size_t size, int signo);

#endif
