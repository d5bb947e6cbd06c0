/* SPDX-License-Identifier: Apache-2.0 */
/* Symbols and files of the descriptor set that is built in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/reflection_index.h"
#include "common/err.h"
#include "descriptor_index.pb-c.h"
#include "proto/descriptors.h"

static int setup(void **state)
{
	struct reflection_index *x = NULL;

	if (reflection_index_new(&x, descriptors_data, descriptors_size) != 0)
		return -1;
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	reflection_index_free(*state);
	return 0;
}

static void declared_in(void **state, const char *symbol, const char *file)
{
	int found = reflection_index_symbol(*state, symbol);

	assert_true(found >= 0);
	assert_int_equal(found, reflection_index_file(*state, file));
}

static void every_kind_of_symbol_is_found(void **state)
{
	declared_in(state, "telex.v1.ProcessService", "telex/v1/process.proto");
	declared_in(state, "telex.v1.ProcessService.Run", "telex/v1/process.proto");
	declared_in(state, "telex.v1.RunRequest", "telex/v1/process.proto");
	declared_in(state, "telex.v1.RunRequest.start", "telex/v1/process.proto");
	declared_in(state, "telex.v1.EndReason", "telex/v1/process.proto");
	declared_in(state, "telex.v1.SystemService.GetInfo", "telex/v1/system.proto");
	declared_in(state, "grpc.health.v1.HealthCheckResponse.ServingStatus",
	    "grpc/health/v1/health.proto");
	declared_in(state, "google.rpc.ErrorInfo.MetadataEntry", "google/rpc/error_details.proto");
	declared_in(
	    state, "google.rpc.ErrorInfo.MetadataEntry.key", "google/rpc/error_details.proto");
	declared_in(state, "google.protobuf.Timestamp", "google/protobuf/timestamp.proto");
	declared_in(state, "grpc.reflection.v1alpha.ServerReflection",
	    "grpc/reflection/v1alpha/reflection.proto");
}

static void what_is_not_declared_is_not_found(void **state)
{
	static const char *const none[] = {"", ".", "telex", "telex.v1", "telex.v1.Run",
	    "telex.v1.ProcessService.", ".telex.v1.ProcessService", "RunRequest"};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(reflection_index_symbol(*state, none[i]), TX_ENOENT);
	assert_int_equal(reflection_index_file(*state, "process.proto"), TX_ENOENT);
}

static void only_messages_are_messages(void **state)
{
	assert_true(reflection_index_is_message(*state, "telex.v1.RunRequest"));
	assert_false(reflection_index_is_message(*state, "telex.v1.RunRequest.start"));
	assert_false(reflection_index_is_message(*state, "telex.v1.ProcessService"));
	assert_false(reflection_index_is_message(*state, "nothing"));
}

static void the_closure_is_the_file_then_its_imports_once(void **state)
{
	int *files = calloc(reflection_index_files(*state), sizeof(*files));
	int file = reflection_index_file(*state, "telex/v1/process.proto");
	size_t n;

	assert_true(file >= 0);
	assert_non_null(files);
	n = reflection_index_closure(*state, file, files);
	assert_int_equal(n, 3);
	assert_int_equal(files[0], file);
	assert_int_not_equal(files[1], files[2]);
	for (size_t i = 1; i < n; i++)
		assert_true(
		    files[i] == reflection_index_file(*state, "google/protobuf/duration.proto") ||
		    files[i] == reflection_index_file(*state, "google/protobuf/timestamp.proto"));
	free(files);
}

static void a_files_bytes_are_its_descriptor(void **state)
{
	int file = reflection_index_file(*state, "telex/v1/system.proto");
	Telex__Descriptor__File *f;
	const uint8_t *bytes;
	size_t len;

	bytes = reflection_index_bytes(*state, file, &len);
	f = telex__descriptor__file__unpack(NULL, len, bytes);
	assert_non_null(f);
	assert_string_equal(f->name, "telex/v1/system.proto");
	assert_string_equal(f->package, "telex.v1");
	telex__descriptor__file__free_unpacked(f, NULL);
}

static void what_is_no_descriptor_set_is_refused(void **state)
{
	static const uint8_t broken[] = {0x0a, 0x7f, 0x00};
	static const uint8_t broken_file[] = {0x0a, 0x02, 0x0a, 0x7f};
	struct reflection_index *x = NULL;

	(void)state;
	assert_int_equal(reflection_index_new(&x, broken, sizeof(broken)), TX_EPROTO);
	assert_int_equal(reflection_index_new(&x, broken_file, sizeof(broken_file)), TX_EPROTO);
	assert_null(x);
	assert_int_equal(reflection_index_new(&x, broken, 0), 0);
	assert_int_equal(reflection_index_symbol(x, "a"), TX_ENOENT);
	reflection_index_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_kind_of_symbol_is_found),
	    cmocka_unit_test(what_is_not_declared_is_not_found),
	    cmocka_unit_test(only_messages_are_messages),
	    cmocka_unit_test(the_closure_is_the_file_then_its_imports_once),
	    cmocka_unit_test(a_files_bytes_are_its_descriptor),
	    cmocka_unit_test(what_is_no_descriptor_set_is_refused),
	};

	return cmocka_run_group_tests_name("reflection_index", tests, setup, teardown);
}
