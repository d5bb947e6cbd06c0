/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for programs that abort when there is none: the CLI and the worker. What libtelex links
 * (tls, h2, grpc, rpc) and the keeper use malloc and report TX_ENOMEM instead.
 */
#ifndef TX_COMMON_MEM_H
#define TX_COMMON_MEM_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s);
char *xmemdup0(const void *p, size_t len); /* a copy with a NUL after it */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * For programs that stream: freed memory stays with the process up to `most` bytes (pieces of 2 MiB
 * and more do not), as every message would else take its pages from the kernel anew. Called once,
 * before anything is allocated.
 */
void mem_keep_freed(size_t most);

#endif
