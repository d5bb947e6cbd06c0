/* SPDX-License-Identifier: Apache-2.0 */
/* Variables by which the dynamic linker, a shell or an interpreter runs what their value says. */
#ifndef TX_COMMON_LOADER_NAME_H
#define TX_COMMON_LOADER_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* `name` need not end after len bytes. */
bool loader_name(const char *name, size_t len);

#endif
