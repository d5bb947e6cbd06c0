/* SPDX-License-Identifier: Apache-2.0 */
#include "common/renew_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/revocation_file.h"

int renew_frame_read(struct renew_answer *out, const uint8_t *bytes, size_t len, uint32_t first_max,
    uint32_t second_max)
{
	struct renew_frame f;

	if (len < sizeof(f))
		return TX_EPROTO;
	memcpy(&f, bytes, sizeof(f));
	if (f.magic != RENEW_FRAME_MAGIC || f.first > first_max || f.second > second_max ||
	    len != sizeof(f) + (size_t)f.first + f.second)
		return TX_EPROTO;
	*out = (struct renew_answer){.first = bytes + sizeof(f),
	    .second = bytes + sizeof(f) + f.first,
	    .first_len = f.first,
	    .second_len = f.second};
	return 0;
}

uint32_t renew_about_write(char out[RENEW_FRAME_ABOUT_MAX], const struct revocation_record *list)
{
	return (uint32_t)snprintf(
	    out, RENEW_FRAME_ABOUT_MAX, "%s %" PRId64, list->issuer, list->number);
}

int renew_about_read(struct revocation_record *out, const uint8_t *about, uint32_t len)
{
	char text[RENEW_FRAME_ABOUT_MAX] = "", again[RENEW_FRAME_ABOUT_MAX];
	struct revocation_record list = {.number = -1};

	if (len >= sizeof(text))
		return TX_EPROTO;
	if (len > 0)
		memcpy(text, about, len);
	if (sscanf(text, "%64s %" SCNd64, list.issuer, &list.number) != 2 || list.number < 0 ||
	    !revocation_issuer_valid(list.issuer))
		return TX_EPROTO;
	/* Nothing else says the same. */
	if (renew_about_write(again, &list) != len || memcmp(again, text, len) != 0)
		return TX_EPROTO;
	memcpy(out->issuer, list.issuer, sizeof(out->issuer));
	out->number = list.number;
	return 0;
}

uint32_t renew_dates_write(char out[RENEW_FRAME_DATES_MAX], int64_t not_before, int64_t not_after)
{
	return (uint32_t)snprintf(
	    out, RENEW_FRAME_DATES_MAX, "%" PRId64 " %" PRId64, not_before, not_after);
}

int renew_dates_read(int64_t *not_before, int64_t *not_after, const uint8_t *dates, uint32_t len)
{
	char text[RENEW_FRAME_DATES_MAX] = "", again[RENEW_FRAME_DATES_MAX];
	int64_t begin, end;

	if (len == 0 || len >= sizeof(text))
		return TX_EPROTO;
	memcpy(text, dates, len);
	if (sscanf(text, "%" SCNd64 " %" SCNd64, &begin, &end) != 2 || begin < 0 || end <= begin)
		return TX_EPROTO;
	if (renew_dates_write(again, begin, end) != len || memcmp(again, text, len) != 0)
		return TX_EPROTO;
	*not_before = begin;
	*not_after = end;
	return 0;
}
