/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/rpc_status.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define ERROR_INFO "type.googleapis.com/google.rpc.ErrorInfo"

static void set_fills_everything(void **state)
{
	struct rpc_status s;

	(void)state;
	memset(&s, 0xff, sizeof(s));
	assert_int_equal(
	    rpc_status_set(&s, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "no process %s", "x"), 5);
	assert_int_equal(s.code, RPC_NOT_FOUND);
	assert_string_equal(s.message, "no process x");
	assert_string_equal(s.reason, "NO_SUCH_PROCESS");
	assert_string_equal(s.domain, "telex");
	assert_int_equal(s.n_meta, 0);
	rpc_status_set(&s, RPC_INTERNAL, NULL, "%s", "");
	assert_string_equal(s.reason, "");
}

static void metadata_is_found_cut_and_dropped(void **state)
{
	struct rpc_status s;
	char big[600];

	(void)state;
	memset(big, 'v', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	rpc_status_set(&s, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "gone");
	for (int i = 0; i < RPC_STATUS_META_MAX; i++) {
		char key[8] = {'k', (char)('0' + i), '\0'};

		rpc_status_meta(&s, key, "%s%d", i == 1 ? big : "", i);
	}
	rpc_status_meta(&s, "seventh", "x");
	assert_int_equal(s.n_meta, RPC_STATUS_META_MAX);
	assert_string_equal(rpc_status_get(&s, "k0"), "0");
	assert_int_equal(strlen(rpc_status_get(&s, "k1")), sizeof(s.meta[0].value) - 1);
	assert_null(rpc_status_get(&s, "seventh"));
	assert_null(rpc_status_get(&s, ""));
}

static void texts_are_always_utf8(void **state)
{
	static const char *const bad[][2] = {
	    {"a\xff"
	     "b",
	        "a?b"},
	    {"\xc3\xa9", "\xc3\xa9"},
	    {"x\xc3", "x"},               /* cut */
	    {"\xc0\x80", "??"},           /* overlong */
	    {"\xed\xa0\x80", "???"},      /* a surrogate */
	    {"\xf4\x90\x80\x80", "????"}, /* beyond U+10FFFF */
	    {"\xf0\x9f\x98\x80!", "\xf0\x9f\x98\x80!"},
	    {"\xe2\x28\xa1", "?(?"},
	};
	struct rpc_status s;
	char big[600];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rpc_status_set(&s, RPC_INTERNAL, NULL, "%s", bad[i][0]);
		assert_string_equal(s.message, bad[i][1]);
	}
	/* The 512th byte would be inside a character. */
	for (size_t i = 0; i + 2 < sizeof(big); i += 2)
		memcpy(big + i, "\xc3\xa9", 3);
	rpc_status_set(&s, RPC_INTERNAL, NULL, "%s", big);
	assert_int_equal(strlen(s.message), 510);
}

static void codes_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(rpc_code_name(0), "OK");
	assert_string_equal(rpc_code_name(5), "NOT_FOUND");
	assert_string_equal(rpc_code_name(16), "UNAUTHENTICATED");
	assert_string_equal(rpc_code_name(17), "UNKNOWN");
	assert_string_equal(rpc_code_name(-1), "UNKNOWN");
	for (int i = 0; i <= 16; i++)
		assert_true(i == 2 || strcmp(rpc_code_name(i), "UNKNOWN") != 0);
}

static void errno_has_one_code(void **state)
{
	(void)state;
	assert_int_equal(rpc_code_from_errno(0), RPC_OK);
	assert_int_equal(rpc_code_from_errno(ENOENT), RPC_NOT_FOUND);
	assert_int_equal(rpc_code_from_errno(EACCES), RPC_PERMISSION_DENIED);
	assert_int_equal(rpc_code_from_errno(EEXIST), RPC_ALREADY_EXISTS);
	assert_int_equal(rpc_code_from_errno(ENOSPC), RPC_RESOURCE_EXHAUSTED);
	assert_int_equal(rpc_code_from_errno(EINVAL), RPC_INVALID_ARGUMENT);
	assert_int_equal(rpc_code_from_errno(ENOTDIR), RPC_FAILED_PRECONDITION);
	assert_int_equal(rpc_code_from_errno(123456), RPC_UNKNOWN);
	assert_int_equal(rpc_code_from_errno(-1), RPC_UNKNOWN);
}

static void packs_what_other_languages_read(void **state)
{
	struct rpc_status s;
	uint8_t *packed = NULL;
	size_t len = 0;
	Google__Rpc__Status *st;
	Google__Rpc__ErrorInfo *info;

	(void)state;
	rpc_status_set(&s, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "byte %d is gone", 7);
	rpc_status_meta(&s, "oldest", "%d", 9);
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	st = google__rpc__status__unpack(NULL, len, packed);
	assert_non_null(st);
	assert_int_equal(st->code, RPC_OUT_OF_RANGE);
	assert_string_equal(st->message, "byte 7 is gone");
	assert_int_equal(st->n_details, 1);
	assert_string_equal(st->details[0]->type_url, ERROR_INFO);
	info = google__rpc__error_info__unpack(
	    NULL, st->details[0]->value.len, st->details[0]->value.data);
	assert_non_null(info);
	assert_string_equal(info->reason, "OFFSET_DROPPED");
	assert_string_equal(info->domain, "telex");
	assert_int_equal(info->n_metadata, 1);
	assert_string_equal(info->metadata[0]->key, "oldest");
	assert_string_equal(info->metadata[0]->value, "9");
	google__rpc__error_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(st, NULL);
	free(packed);
}

static void without_a_reason_there_are_no_details(void **state)
{
	struct rpc_status s;
	uint8_t *packed = NULL;
	size_t len = 0;
	Google__Rpc__Status *st;

	(void)state;
	rpc_status_set(&s, RPC_OK, NULL, "%s", "");
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	assert_int_equal(len, 0);
	free(packed);
	rpc_status_set(&s, RPC_ABORTED, NULL, "no");
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	st = google__rpc__status__unpack(NULL, len, packed);
	assert_non_null(st);
	assert_int_equal(st->n_details, 0);
	google__rpc__status__free_unpacked(st, NULL);
	free(packed);
}

static void full_details_survive_the_way(void **state)
{
	struct rpc_status s, back;
	uint8_t *packed = NULL;
	size_t len = 0;
	char big[600];

	(void)state;
	memset(big, 'z', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	rpc_status_set(&s, RPC_ABORTED, big, "%s", big);
	memset(s.domain, 'd', sizeof(s.domain) - 1);
	s.domain[sizeof(s.domain) - 1] = '\0';
	for (int i = 0; i < RPC_STATUS_META_MAX; i++)
		rpc_status_meta(&s, big, "%s", big);
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	rpc_status_set(&back, RPC_ABORTED, NULL, "%s", "kept");
	rpc_status_unpack_details(&back, packed, len);
	assert_string_equal(back.message, "kept");
	assert_string_equal(back.reason, s.reason);
	assert_string_equal(back.domain, s.domain);
	assert_int_equal(back.n_meta, RPC_STATUS_META_MAX);
	assert_string_equal(back.meta[5].value, s.meta[5].value);
	free(packed);
}

static void unreadable_details_are_left_out(void **state)
{
	static const uint8_t nonsense[] = {0x1a, 0x7f, 0x01};
	/* details { type_url: "x" value: "..." } */
	static const uint8_t other[] = {0x1a, 0x06, 0x0a, 0x01, 'x', 0x12, 0x01, 'v'};
	struct rpc_status s;
	uint8_t *packed = NULL;
	size_t len = 0;

	(void)state;
	rpc_status_set(&s, RPC_INTERNAL, "KEPT", "m");
	rpc_status_unpack_details(&s, nonsense, sizeof(nonsense));
	rpc_status_unpack_details(&s, other, sizeof(other));
	rpc_status_unpack_details(&s, NULL, 0);
	assert_string_equal(s.reason, "KEPT");
	/* Every cut of a good one is harmless. */
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut + 1);

		assert_non_null(exact);
		memcpy(exact, packed, cut);
		rpc_status_unpack_details(&s, exact, cut);
		free(exact);
	}
	assert_int_equal(s.code, RPC_INTERNAL);
	free(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(set_fills_everything),
	    cmocka_unit_test(metadata_is_found_cut_and_dropped),
	    cmocka_unit_test(texts_are_always_utf8),
	    cmocka_unit_test(codes_have_their_names),
	    cmocka_unit_test(errno_has_one_code),
	    cmocka_unit_test(packs_what_other_languages_read),
	    cmocka_unit_test(without_a_reason_there_are_no_details),
	    cmocka_unit_test(full_details_survive_the_way),
	    cmocka_unit_test(unreadable_details_are_left_out),
	};

	return cmocka_run_group_tests_name("rpc_status", tests, NULL, NULL);
}
