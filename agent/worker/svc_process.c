/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService: which module serves which method. */
#include "agent/worker/process_ask.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_group.h"
#include "agent/worker/process_list.h"
#include "agent/worker/process_wait.h"
#include "agent/worker/process_wait_group.h"
#include "agent/worker/read_output.h"
#include "agent/worker/run.h"
#include "agent/worker/services.h"
#include "agent/worker/write_input.h"
#include "telex/v1/process.pb-c.h"

static const struct rpc_method methods[] = {
    {
        .name = "Run",
        .request = &telex__v1__run_request__descriptor,
        .response = &telex__v1__run_response__descriptor,
        .client_stream = true,
        .server_stream = true,
        .manual_credit = true,
        .open = run_open,
        .message = run_message,
        .half_close = run_half_close,
        .writable = run_writable,
        .closed = run_closed,
    },
    {
        .name = "Start",
        .request = &telex__v1__start_request__descriptor,
        .response = &telex__v1__start_response__descriptor,
        .message = process_ask_start,
        .closed = process_ask_closed,
    },
    {
        .name = "ReadOutput",
        .request = &telex__v1__read_output_request__descriptor,
        .response = &telex__v1__read_output_response__descriptor,
        .server_stream = true,
        .message = read_output_message,
        .writable = read_output_writable,
        .closed = read_output_closed,
    },
    {
        .name = "WriteInput",
        .request = &telex__v1__write_input_request__descriptor,
        .response = &telex__v1__write_input_response__descriptor,
        .message = write_input_message,
        .closed = write_input_closed,
    },
    {
        .name = "Wait",
        .request = &telex__v1__wait_request__descriptor,
        .response = &telex__v1__wait_response__descriptor,
        .message = process_wait_message,
        .closed = process_wait_closed,
    },
    {
        .name = "Signal",
        .request = &telex__v1__signal_request__descriptor,
        .response = &telex__v1__signal_response__descriptor,
        .message = process_ask_signal,
        .closed = process_ask_closed,
    },
    {
        .name = "List",
        .request = &telex__v1__list_request__descriptor,
        .response = &telex__v1__list_response__descriptor,
        .server_stream = true,
        .message = process_list_message,
        .writable = process_list_writable,
        .closed = process_list_closed,
    },
    {
        .name = "Get",
        .request = &telex__v1__get_request__descriptor,
        .response = &telex__v1__get_response__descriptor,
        .message = process_ask_get,
        .closed = process_ask_closed,
    },
    {
        .name = "Remove",
        .request = &telex__v1__remove_request__descriptor,
        .response = &telex__v1__remove_response__descriptor,
        .message = process_ask_remove,
        .closed = process_ask_closed,
    },
    {
        .name = "Update",
        .request = &telex__v1__update_request__descriptor,
        .response = &telex__v1__update_response__descriptor,
        .message = process_ask_update,
        .closed = process_ask_closed,
    },
    {
        .name = "GetGroup",
        .request = &telex__v1__get_group_request__descriptor,
        .response = &telex__v1__get_group_response__descriptor,
        .message = process_group_get,
        .closed = process_call_closed,
    },
    {
        .name = "WaitGroup",
        .request = &telex__v1__wait_group_request__descriptor,
        .response = &telex__v1__wait_group_response__descriptor,
        .server_stream = true,
        .message = process_wait_group_message,
        .writable = process_wait_group_writable,
        .closed = process_wait_group_closed,
    },
    {
        .name = "SignalGroup",
        .request = &telex__v1__signal_group_request__descriptor,
        .response = &telex__v1__signal_group_response__descriptor,
        .message = process_group_signal,
        .closed = process_call_closed,
    },
    {
        .name = "UpdateGroup",
        .request = &telex__v1__update_group_request__descriptor,
        .response = &telex__v1__update_group_response__descriptor,
        .message = process_group_update,
        .closed = process_call_closed,
    },
    {
        .name = "RemoveGroup",
        .request = &telex__v1__remove_group_request__descriptor,
        .response = &telex__v1__remove_group_response__descriptor,
        .message = process_group_remove,
        .closed = process_call_closed,
    },
};

const struct rpc_service svc_process = {
    "telex.v1.ProcessService", methods, sizeof(methods) / sizeof(methods[0])};
