/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of what comes in parts: OpenSSL's, which knows the processor's own instructions. */
#ifndef TX_COMMON_DIGEST_H
#define TX_COMMON_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE     32
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1)

struct digest;

/* Makes all ready that needs files or configuration: to be called once before a sandbox closes, and
 * not needed elsewhere. TX_ENOMEM. */
int digest_prepare(void);

/* NULL: out of memory. */
struct digest *digest_new(void);
void digest_free(struct digest *d);
/* As new. TX_ENOMEM. */
int digest_reset(struct digest *d);
/* Cannot fail but by a broken library: TX_ENOMEM, and then by digest_end, too. */
int digest_add(struct digest *d, const void *data, size_t len);
/* After it, only digest_reset and digest_free. */
int digest_end(struct digest *d, uint8_t out[DIGEST_SIZE]);
/* In hexadecimal, for people. */
void digest_hex(char out[DIGEST_HEX_SIZE], const uint8_t digest[DIGEST_SIZE]);

#endif
