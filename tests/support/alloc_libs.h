/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries whose memory goes through the program's own malloc, so that alloc_fail.h counts it and
 * makes it fail. Each before the first use of its library; false: it was used before. */
#ifndef TX_TESTS_SUPPORT_ALLOC_LIBS_H
#define TX_TESTS_SUPPORT_ALLOC_LIBS_H

#include <stdbool.h>

bool alloc_openssl(void);
bool alloc_sqlite(void); /* alloc_sqlite.c */

#endif
