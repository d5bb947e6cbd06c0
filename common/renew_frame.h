/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What telex-renew writes to its keeper: this, then `first` bytes, then `second`. Nothing else and
 * nothing less: a frame that was cut is a failure. And when a certificate is due.
 */
#ifndef TX_COMMON_RENEW_FRAME_H
#define TX_COMMON_RENEW_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct revocation_record;

#define RENEW_FRAME_MAGIC    UINT64_C(0x74656c6578726e31)
#define RENEW_FRAME_PAIR_MAX (UINT32_C(1) << 20) /* bytes of a certificate, or of a key */
#define RENEW_FRAME_LIST_MAX (UINT32_C(8) << 20) /* bytes of a revocation list */
#define RENEW_FRAME_ABOUT_MAX                                                                      \
	UINT32_C(128) /* and of who has signed it, and its number; with a NUL */

#define RENEW_FRAME_DATES_MAX UINT32_C(64) /* and of a certificate's dates; with a NUL */

/* Its descriptors; 0 is /dev/null, 1 the pipe, 2 the log. */
#define RENEW_FD_CERTIFICATE                                                                       \
	3 /* or the file of revocation lists that there is (may be empty), or one list */
#define RENEW_FD_KEY     4
#define RENEW_FD_CA      5
#define RENEW_FD_REQUEST 6 /* of the next certificate, from the mode "request"; may be empty */
#define RENEW_FDS        4

struct renew_frame {
	uint64_t magic;
	uint32_t first;  /* the certificate and its chain, 0: nothing comes of this request; or the
	                    key and the request of the next certificate; or the revocation list, 0:
	                    none newer, or  that which was given; or a certificate's dates */
	uint32_t second; /* the key; or of a list "ISSUER NUMBER", as revocation_file.h has them */
};

/* A frame's parts, where it lies. */
struct renew_answer {
	const uint8_t *first, *second;
	uint32_t first_len, second_len;
};

/*
 * bytes[0..len): all that telex-renew has written. The parts may have so many bytes at the most.
 * TX_EPROTO: it is not one whole frame.
 */
int renew_frame_read(struct renew_answer *out, const uint8_t *bytes, size_t len, uint32_t first_max,
    uint32_t second_max);

/* What is said of a list: whose it is, and its number. Returns the length, without the NUL. */
uint32_t renew_about_write(char out[RENEW_FRAME_ABOUT_MAX], const struct revocation_record *list);
/* Fills in the issuer and the number. TX_EPROTO: it is not what renew_about_write makes. */
int renew_about_read(struct revocation_record *out, const uint8_t *about, uint32_t len);

/* From when until when a certificate is valid, in seconds since the epoch. Returns the length,
 * without the NUL. */
uint32_t renew_dates_write(char out[RENEW_FRAME_DATES_MAX], int64_t not_before, int64_t not_after);
/* TX_EPROTO: it is not what renew_dates_write makes, or the end is not after the begin. */
int renew_dates_read(int64_t *not_before, int64_t *not_after, const uint8_t *dates, uint32_t len);

/* Authorities date certificates this far back, for clocks that are behind. */
#define RENEW_SKEW_S INT64_C(300)

/*
 * When a certificate is due: at two thirds of its life, counted from when it was given out.
 * part: 0 to 1, moves that by up to a tenth of the span, either way. Seconds since the epoch.
 */
static inline int64_t renew_due(int64_t not_before, int64_t not_after, double part)
{
	int64_t life = not_after - not_before;
	int64_t start = life > RENEW_SKEW_S ? not_before + RENEW_SKEW_S : not_before;
	double span = (double)(not_after - start) * 2 / 3;

	return start + (int64_t)(span * (0.9 + 0.2 * part));
}

#endif
