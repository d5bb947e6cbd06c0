/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server reflection, v1 and v1alpha from one implementation: the two have the same messages but for
 * their package, so that v1's C types serve both. Each request is answered at once; a client that
 * asks and does not read is cut off.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/worker/reflection_index.h"
#include "agent/worker/services.h"
#include "common/mem.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/descriptors.h"

#define UNREAD_MAX ((size_t)4 << 20)

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

static struct reflection_index *built;

static const struct reflection_index *the_index(void)
{
	if (built == NULL && reflection_index_new(&built, descriptors_data, descriptors_size) < 0)
		abort(); /* it was made with the program */
	return built;
}

void svc_reflection_cleanup(void)
{
	reflection_index_free(built);
	built = NULL;
}

/* Each answer_ has its own copy of the response: what it points to goes with it. */
static void answer_error(struct rpc_call *c, Response r, int code, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

	error.error_code = code;
	error.error_message = (char *)text;
	r.message_response_case =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	r.error_response = &error;
	rpc_send(c, &r.base);
}

/* `file` and its imports; negative: there is none. */
static void answer_file(struct rpc_call *c, Response r, int file)
{
	Grpc__Reflection__V1__FileDescriptorResponse files =
	    GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	const struct reflection_index *x = the_index();
	ProtobufCBinaryData *bytes;
	int *numbers;

	if (file < 0) {
		answer_error(c, r, RPC_NOT_FOUND, "no such file or symbol");
		return;
	}
	numbers = xcalloc(reflection_index_files(x), sizeof(*numbers));
	bytes = xcalloc(reflection_index_files(x), sizeof(*bytes));
	files.n_file_descriptor_proto = reflection_index_closure(x, file, numbers);
	files.file_descriptor_proto = bytes;
	for (size_t i = 0; i < files.n_file_descriptor_proto; i++)
		bytes[i].data = (uint8_t *)reflection_index_bytes(x, numbers[i], &bytes[i].len);
	r.message_response_case =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	r.file_descriptor_response = &files;
	rpc_send(c, &r.base);
	free(numbers);
	free(bytes);
}

static void answer_services(struct rpc_call *c, Response r)
{
	Grpc__Reflection__V1__ListServiceResponse list =
	    GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	Grpc__Reflection__V1__ServiceResponse services[SERVICES_COUNT];
	Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_COUNT];

	for (size_t i = 0; i < SERVICES_COUNT; i++) {
		grpc__reflection__v1__service_response__init(&services[i]);
		services[i].name = (char *)services_all[i]->name;
		pointers[i] = &services[i];
	}
	list.n_service = SERVICES_COUNT;
	list.service = pointers;
	r.message_response_case =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	r.list_services_response = &list;
	rpc_send(c, &r.base);
}

/* telex has no extensions: an empty list for a message there is. */
static void answer_extensions(struct rpc_call *c, Response r, const char *type)
{
	Grpc__Reflection__V1__ExtensionNumberResponse numbers =
	    GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

	if (!reflection_index_is_message(the_index(), type)) {
		answer_error(c, r, RPC_NOT_FOUND, "no such message");
		return;
	}
	numbers.base_type_name = (char *)type;
	r.message_response_case =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	r.all_extension_numbers_response = &numbers;
	rpc_send(c, &r.base);
}

static void on_request(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Request *q = (const Request *)msg;
	Response r = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

	if (rpc_pending(c) > UNREAD_MAX) {
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "too many answers were not read");
		return;
	}
	r.valid_host = q->host;
	r.original_request = (Request *)q;
	switch (q->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		answer_file(c, r, reflection_index_file(the_index(), q->file_by_filename));
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		answer_file(c, r, reflection_index_symbol(the_index(), q->file_containing_symbol));
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		answer_error(c, r, RPC_NOT_FOUND, "there are no extensions");
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		answer_extensions(c, r, q->all_extension_numbers_of_type);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		answer_services(c, r);
		break;
	default:
		answer_error(c, r, RPC_INVALID_ARGUMENT, "the request asks for nothing");
	}
}

static void on_half_close(struct rpc_call *c)
{
	rpc_finish(c, NULL);
}

static const struct rpc_method methods[] = {{
    .name = "ServerReflectionInfo",
    .request = &grpc__reflection__v1__server_reflection_request__descriptor,
    .response = &grpc__reflection__v1__server_reflection_response__descriptor,
    .client_stream = true,
    .server_stream = true,
    .message = on_request,
    .half_close = on_half_close,
}};

const struct rpc_service svc_reflection_v1 = {"grpc.reflection.v1.ServerReflection", methods, 1};
const struct rpc_service svc_reflection_v1alpha = {
    "grpc.reflection.v1alpha.ServerReflection", methods, 1};
