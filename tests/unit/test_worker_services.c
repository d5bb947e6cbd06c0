/* SPDX-License-Identifier: Apache-2.0 */
/* The services but for Run: health, reflection, GetInfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/services.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "telex/v1/process.pb-c.h"
#include "telex/v1/system.pb-c.h"
#include "tests/support/asker.h"

/* ---- health ---- */

static void ask_health(struct asker *f, const char *method, const char *service)
{
	Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

	q.service = (char *)service;
	asker_ask(f, "grpc.health.v1.Health", method,
	    &grpc__health__v1__health_check_response__descriptor, strcmp(method, "Watch") == 0,
	    &q.base);
}

static int health(const struct asker *f)
{
	return (int)((const Grpc__Health__V1__HealthCheckResponse *)f->last)->status;
}

static void health_knows_every_service(void **state)
{
	struct asker *f = *state;

	ask_health(f, "Check", "");
	asker_answered(f, RPC_OK, "");
	assert_int_equal(health(f), 1);
	for (size_t i = 0; i < SERVICES_COUNT; i++) {
		ask_health(f, "Check", services_all[i]->name);
		asker_answered(f, RPC_OK, "");
		assert_int_equal(health(f), 1);
	}
	ask_health(f, "Check", "telex.v1");
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_SERVICE");
}

static void a_draining_worker_tells_its_watchers(void **state)
{
	struct asker *f = *state;

	ask_health(f, "Watch", "");
	assert_int_equal(health(f), 1);
	assert_false(f->done);
	f->rig.worker.draining = true;
	svc_health_draining(&f->rig.worker);
	asker_answered(f, RPC_UNAVAILABLE, "SHUTTING_DOWN");
	assert_int_equal(health(f), 2);
	ask_health(f, "Check", "");
	asker_answered(f, RPC_OK, "");
	assert_int_equal(health(f), 2);
}

static void watching_an_unknown_service_waits_for_it(void **state)
{
	struct asker *f = *state;

	ask_health(f, "Watch", "nothing");
	assert_int_equal(health(f), 3);
	assert_false(f->done);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_null(f->rig.worker.watches);
}

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest Question;
typedef Grpc__Reflection__V1__ServerReflectionResponse Answer;

static void reflect(struct asker *f, const Question *q)
{
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	worker_rig_settle(&f->rig);
	assert_non_null(f->last);
}

static void reflection_answers_both_versions(void **state)
{
	static const char *const services[] = {
	    "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"};
	struct asker *f = *state;

	for (int i = 0; i < 2; i++) {
		Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
		const Answer *a;

		asker_ask(f, services[i], "ServerReflectionInfo",
		    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
		q.host = (char *)"here";
		q.message_request_case = 7;
		q.list_services = (char *)"*";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_string_equal(a->valid_host, "here");
		assert_string_equal(a->original_request->list_services, "*");
		assert_int_equal(a->list_services_response->n_service, SERVICES_COUNT);
		q.message_request_case = 4;
		q.file_containing_symbol = (char *)"telex.v1.ProcessService.Run";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_int_equal(a->file_descriptor_response->n_file_descriptor_proto, 3);
		q.message_request_case = 6;
		q.all_extension_numbers_of_type = (char *)"telex.v1.Exit";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_string_equal(
		    a->all_extension_numbers_response->base_type_name, "telex.v1.Exit");
		rpc_half_close(f->call);
		asker_answered(f, RPC_OK, "");
		assert_int_equal(f->responses, 3);
	}
}

static void reflection_says_what_it_does_not_have(void **state)
{
	struct asker *f = *state;
	Grpc__Reflection__V1__ExtensionRequest extension =
	    GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
	Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	const int expected[] = {
	    RPC_INVALID_ARGUMENT, RPC_NOT_FOUND, RPC_NOT_FOUND, RPC_NOT_FOUND, RPC_NOT_FOUND};
	const unsigned cases[] = {0, 3, 4, 5, 6};

	asker_ask(f, "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo",
	    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
	for (int i = 0; i < 5; i++) {
		const Answer *a;

		q.message_request_case = cases[i];
		if (cases[i] == 5)
			q.file_containing_extension = &extension;
		else
			q.file_by_filename = (char *)"nothing";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_int_equal(a->message_response_case, 7);
		assert_int_equal(a->error_response->error_code, expected[i]);
		assert_true(a->error_response->error_message[0] != '\0');
	}
}

static void reflection_cuts_off_who_does_not_read(void **state)
{
	struct asker *f = *state;
	Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

	f->hold = true;
	asker_ask(f, "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo",
	    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
	q.message_request_case = 3;
	q.file_by_filename = (char *)"telex/v1/process.proto";
	/* Far more than a window and what may wait behind it. */
	for (int i = 0; i < 2000; i++)
		(void)rpc_send(f->call, &q.base);
	worker_rig_settle(&f->rig);
	assert_false(f->done);
	f->hold = false;
	rpc_credit(f->call, f->owed);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
}

/* ---- GetInfo ---- */

static void info_tells_agent_client_and_machine(void **state)
{
	struct asker *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;
	const Telex__V1__GetInfoResponse *r;
	struct km_info_reply reply = {.processes = 3};
	union km_any msg;

	snprintf(f->rig.worker.agent_identity, sizeof(f->rig.worker.agent_identity),
	    "spiffe://test.internal/agent/web1");
	f->rig.peer.tls = (struct tls_description){"TLSv1.3", "a cipher", "a group"};
	asker_ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_INFO, &msg, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, msg.hdr.seq, &reply, -1);
	asker_answered(f, RPC_OK, "");
	r = (const Telex__V1__GetInfoResponse *)f->last;
	assert_string_equal(r->agent_identity, "spiffe://test.internal/agent/web1");
	assert_string_equal(r->client_identity, RIG_USER);
	assert_int_equal(r->processes, 3);
	assert_string_equal(r->tls->cipher, "a cipher");
	assert_true(r->version[0] != '\0');
	assert_string_equal(r->machine->system, "Linux");
	assert_true(r->machine->processors > 0);
	assert_true(r->machine->memory_bytes > 0);
	assert_int_equal(r->limits->max_processes, 10);
	assert_int_equal(r->limits->output_buffer_bytes, 4096);
	assert_int_equal(r->n_capabilities, 4);
	assert_string_equal(r->capabilities[0], "tree-kill-cgroup1");
	assert_string_equal(r->capabilities[1], "limit-pids");
	assert_string_equal(r->capabilities[2], "files");
	assert_string_equal(r->capabilities[3], "watch");
}

static void a_cancelled_question_drops_its_answer(void **state)
{
	struct asker *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;
	struct km_info_reply reply = {.processes = 3};
	union km_any msg;

	asker_ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_INFO, &msg, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, msg.hdr.seq, &reply, -1);
	worker_rig_settle(&f->rig);
	assert_int_equal(f->responses, 0);
	assert_int_equal(f->status.code, RPC_CANCELLED);
}

static void an_answer_to_no_question_ends_the_link(void **state)
{
	struct asker *f = *state;
	struct km_info_reply reply = {.processes = 3};

	fake_keeper_send(f->keeper, KM_INFO_REPLY, 12345, &reply, -1);
	worker_rig_settle(&f->rig);
	assert_true(f->rig.keeper_lost);
}

static void without_its_keeper_a_question_is_unavailable(void **state)
{
	struct asker *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;

	asker_ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	fake_keeper_die(f->keeper);
	asker_answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
	asker_ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	asker_answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, asker_set_up, asker_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(health_knows_every_service),
	    TEST(a_draining_worker_tells_its_watchers),
	    TEST(watching_an_unknown_service_waits_for_it),
	    TEST(reflection_answers_both_versions),
	    TEST(reflection_says_what_it_does_not_have),
	    TEST(reflection_cuts_off_who_does_not_read),
	    TEST(info_tells_agent_client_and_machine),
	    TEST(a_cancelled_question_drops_its_answer),
	    TEST(an_answer_to_no_question_ends_the_link),
	    TEST(without_its_keeper_a_question_is_unavailable),
	};

	return cmocka_run_group_tests_name("worker_services", tests, NULL, NULL);
}
