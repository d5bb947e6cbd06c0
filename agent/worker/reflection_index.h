/* SPDX-License-Identifier: Apache-2.0 */
/* What the served .proto files declare: symbols and files, looked up by name. Made from a
 * serialized FileDescriptorSet. */
#ifndef TX_AGENT_WORKER_REFLECTION_INDEX_H
#define TX_AGENT_WORKER_REFLECTION_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reflection_index;

/* TX_EPROTO: not a FileDescriptorSet. `data` is copied where it is needed. Aborts on out of memory.
 */
int reflection_index_new(struct reflection_index **out, const uint8_t *data, size_t len);
void reflection_index_free(struct reflection_index *x);

/* The file's number; TX_ENOENT. A symbol is a fully qualified service, method, message, field or
 * enum. */
int reflection_index_file(const struct reflection_index *x, const char *name);
int reflection_index_symbol(const struct reflection_index *x, const char *symbol);
/* Whether the symbol is a message. */
bool reflection_index_is_message(const struct reflection_index *x, const char *symbol);

/* The serialized FileDescriptorProto of a file; lives as long as the index. */
const uint8_t *reflection_index_bytes(const struct reflection_index *x, int file, size_t *len);

/* files[0..n): the file, then all that it imports, each once. files holds reflection_index_files()
 * places. Returns n. */
size_t reflection_index_closure(const struct reflection_index *x, int file, int *files);
size_t reflection_index_files(const struct reflection_index *x);

#endif
