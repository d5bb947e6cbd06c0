/* SPDX-License-Identifier: Apache-2.0 */
/* Names of variables by which a program runs what somebody else says. No such list is ever whole.
 */
#ifndef TX_COMMON_LOADER_NAME_H
#define TX_COMMON_LOADER_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* By which the dynamic linker, a shell or an interpreter runs what the value says, whatever it was
 * started for. `name` need not end after len bytes. */
bool loader_name(const char *name, size_t len);
/* Those, and by which a program of many runs another that the value, or a file that it names, says:
 * PATH, EDITOR, GIT_SSH, HOME. */
bool program_name(const char *name, size_t len);

#endif
