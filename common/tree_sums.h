/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sums of a block, by which a difference is found: for common/tree_signature.c and
 * common/tree_delta.c alone.
 *
 * The weak one can be moved on by a byte: a polynomial of the block's bytes over 64 bits, of which
 * the upper 32 are compared (Karp and Rabin's fingerprint). The strong one is XXH3 with 128 bits,
 * of which a signature has the first bytes. Neither need withstand anybody: the whole is checked by
 * SHA-256, and sent whole where that differs.
 *
 * A signature is a head, big-endian: the magic number, a block's length and the strong sum's, four
 * bytes each; then for each block of the file, in order, the weak sum (four bytes) and the strong
 * one. The last block may be shorter.
 */
#ifndef TX_COMMON_TREE_SUMS_H
#define TX_COMMON_TREE_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL /* libtelex need not link it */
#include <xxhash.h>

#define SUMS_MAGIC      UINT32_C(0x74785301) /* "txS", 1 */
#define SUMS_HEAD       ((size_t)12)
#define SUMS_WEAK       ((size_t)4)
#define SUMS_STRONG_MIN ((size_t)2)
#define SUMS_STRONG_MAX ((size_t)16)
#define SUMS_BLOCK_MAX  ((uint32_t)16 << 20) /* of files of 512 TiB */

#define SUMS_FACTOR UINT64_C(0x9e3779b97f4a7c15) /* odd, so that it has an inverse */

static inline uint32_t sums_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void sums_put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* The factor to the power of n. */
static inline uint64_t sums_power(uint64_t n)
{
	uint64_t power = 1;

	for (uint64_t square = SUMS_FACTOR; n > 0; n >>= 1, square *= square)
		if (n & 1)
			power *= square;
	return power;
}

/* What undoes one factor: each step of Newton's method doubles the bits that are right. */
static inline uint64_t sums_inverse(void)
{
	uint64_t inverse = SUMS_FACTOR; /* right in three bits, as for every odd number */

	for (int bits = 3; bits < 64; bits *= 2)
		inverse *= 2 - SUMS_FACTOR * inverse;
	return inverse;
}

/* The polynomial with data[len] behind it; it begins with 0. Eight bytes at a time, as a product
 * waits for the one before. */
static inline uint64_t sums_weak(uint64_t sum, const uint8_t *data, size_t len)
{
	const uint64_t m = SUMS_FACTOR, m2 = m * m, m3 = m2 * m, m4 = m3 * m, m5 = m4 * m,
	               m6 = m5 * m, m7 = m6 * m, m8 = m7 * m;

	for (; len >= 8; len -= 8, data += 8)
		sum = sum * m8 + (data[0] * m7 + data[1] * m6 + data[2] * m5 + data[3] * m4) +
		      (data[4] * m3 + data[5] * m2 + data[6] * m + data[7]);
	for (; len > 0; len--)
		sum = sum * m + *data++;
	return sum;
}

static inline uint32_t sums_weak32(uint64_t sum)
{
	return (uint32_t)(sum >> 32);
}

static inline void sums_strong(uint8_t out[SUMS_STRONG_MAX], XXH128_hash_t hash)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, hash);
	memcpy(out, canonical.digest, SUMS_STRONG_MAX);
}

#endif
