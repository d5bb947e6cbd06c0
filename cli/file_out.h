/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the agent's to standard output, in constant memory. */
#ifndef TX_CLI_FILE_OUT_H
#define TX_CLI_FILE_OUT_H

#include <stdint.h>

struct session;

/* 0: all of it is written. -1: s->error. 1: standard output takes no more, which was said; a pipe
 * that nobody reads ends the program as SIGPIPE does. s->data is used. */
int file_out(struct session *s, const char *user, const char *path);

#endif
