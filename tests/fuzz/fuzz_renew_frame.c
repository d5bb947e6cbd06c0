/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What telex-renew, which talks to the network, writes to the keeper: how many bytes the parts may
 * have (two bytes, two bytes), how its head is (bit 0: as it must be, of the lengths that follow;
 * else it is in the bytes), and the bytes. The second part is also read as what is said of a list.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/renew_frame.h"
#include "common/revocation_file.h"
#include "tests/fuzz/fuzz.h"

static void read_about(const uint8_t *about, uint32_t len)
{
	static const struct revocation_record untouched = {.number = -7};
	struct revocation_record r = untouched;
	char again[RENEW_FRAME_ABOUT_MAX];

	if (renew_about_read(&r, about, len) != 0) {
		fuzz_require(r.number == -7 && r.issuer[0] == '\0');
		return;
	}
	fuzz_require(r.number >= 0 && revocation_issuer_valid(r.issuer));
	fuzz_require(renew_about_write(again, &r) == len && memcmp(again, about, len) == 0);
}

static void read_frame(const uint8_t *bytes, size_t len, uint32_t first_max, uint32_t second_max)
{
	struct renew_answer got;

	if (renew_frame_read(&got, bytes, len, first_max, second_max) != 0)
		return;
	fuzz_require(got.first_len <= first_max && got.second_len <= second_max);
	fuzz_require(got.first == bytes + sizeof(struct renew_frame));
	fuzz_require(got.second == got.first + got.first_len);
	fuzz_require(got.second + got.second_len == bytes + len);
	read_about(got.second, got.second_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint32_t first_max = (uint32_t)fuzz_number(&in, 2);
	uint32_t second_max = (uint32_t)fuzz_number(&in, 2);
	struct renew_frame head = {.magic = RENEW_FRAME_MAGIC};
	const uint8_t *rest;
	uint8_t *bytes;
	size_t len;

	if ((fuzz_byte(&in) & 1) == 0) {
		rest = fuzz_bytes(&in, in.left, &len);
		read_frame(rest, len, first_max, second_max);
		read_about(rest, (uint32_t)len);
		return 0;
	}
	head.first = (uint32_t)fuzz_number(&in, 2);
	head.second = (uint32_t)fuzz_number(&in, 2);
	rest = fuzz_bytes(&in, in.left, &len);
	bytes = xmalloc(sizeof(head) + len);
	memcpy(bytes, &head, sizeof(head));
	if (len > 0)
		memcpy(bytes + sizeof(head), rest, len);
	read_frame(bytes, sizeof(head) + len, first_max, second_max);
	free(bytes);
	return 0;
}
