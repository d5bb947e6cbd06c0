/* SPDX-License-Identifier: Apache-2.0 */
/* FileService: every method is passed on (file_call.c); what telex-files does not know, it says. */
#include "agent/worker/file_call.h"
#include "agent/worker/services.h"
#include "telex/v1/file.pb-c.h"

/* One request; its responses are one, or a stream. */
#define ASKS(Name, request_name, response_name, stream)                                            \
	{                                                                                          \
		.name = (Name), .request = &telex__v1__##request_name##__descriptor,               \
		.response = &telex__v1__##response_name##__descriptor, .server_stream = (stream),  \
		.message = file_call_message, .half_close = file_call_half_close,                  \
		.writable = file_call_writable, .closed = file_call_closed,                        \
	}
/* A stream of requests. */
#define SENDS(Name, request_name, response_name, stream)                                           \
	{                                                                                          \
		.name = (Name), .request = &telex__v1__##request_name##__descriptor,               \
		.response = &telex__v1__##response_name##__descriptor, .client_stream = true,      \
		.server_stream = (stream), .manual_credit = true, .raw = file_call_raw,            \
		.half_close = file_call_half_close, .writable = file_call_writable,                \
		.closed = file_call_closed,                                                        \
	}

static const struct rpc_method methods[] = {
    ASKS("Stat", stat_request, stat_response, false),
    ASKS("List", file_service_list_request, file_service_list_response, true),
    ASKS("MakeDirectory", make_directory_request, make_directory_response, false),
    ASKS("Remove", file_service_remove_request, file_service_remove_response, false),
    ASKS("Move", move_request, move_response, false),
    ASKS("Copy", copy_request, copy_response, false),
    ASKS("SetAttributes", set_attributes_request, set_attributes_response, false),
    ASKS("Link", link_request, link_response, false),
    ASKS("ReadLink", read_link_request, read_link_response, false),
    ASKS("StatFilesystem", stat_filesystem_request, stat_filesystem_response, false),
    ASKS("Checksum", checksum_request, checksum_response, false),
    ASKS("Read", read_request, read_response, true),
    SENDS("Write", write_request, write_response, false),
    ASKS("GetUpload", get_upload_request, get_upload_response, false),
    ASKS("Truncate", truncate_request, truncate_response, false),
    SENDS("PutTree", put_tree_request, put_tree_response, true),
    SENDS("GetTree", get_tree_request, get_tree_response, true),
};

const struct rpc_service svc_file = {
    "telex.v1.FileService", methods, sizeof(methods) / sizeof(methods[0])};
