/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary folder a test; the two first functions are cmocka's setup and teardown, *state is its
 * path. */
#ifndef TX_TESTS_FOLDER_H
#define TX_TESTS_FOLDER_H

int folder_make(void **state);
int folder_remove(void **state);
/* FOLDER/NAME, to be freed. */
char *folder_path(const char *folder, const char *name);
/* How many entries a folder has, hidden ones too. */
int folder_count(const char *path);

#endif
