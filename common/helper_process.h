/* SPDX-License-Identifier: Apache-2.0 */
/* How a process of the agent's begins that telexd starts (telex-worker, telex-files, telex-ca).
 * Needs libc alone. */
#ifndef TX_COMMON_HELPER_PROCESS_H
#define TX_COMMON_HELPER_PROCESS_H

#include <stdbool.h>

/* Whether a socket of that type (SOCK_…) is there under that number: that of whoever started it.
 * False: it was called as a command, which it is not. */
bool helper_process_has_link(int fd, int type);
/* What a terminal or a service manager sends to the whole group is for the keeper; and past a limit
 * of file sizes, or with nobody at a pipe's other end, a call is to fail, no more. */
void helper_process_ignore_signals(void);

#endif
