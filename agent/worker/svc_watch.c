/* SPDX-License-Identifier: Apache-2.0 */
/* WatchService: passed on, as FileService is (file_call.c). */
#include "agent/worker/file_call.h"
#include "agent/worker/services.h"
#include "telex/v1/watch.pb-c.h"

static const struct rpc_method methods[] = {
    {
        .name = "Watch",
        .request = &telex__v1__watch_request__descriptor,
        .response = &telex__v1__watch_response__descriptor,
        .client_stream = true,
        .server_stream = true,
        .manual_credit = true,
        .raw = file_call_raw,
        .half_close = file_call_half_close,
        .writable = file_call_writable,
        .closed = file_call_closed,
    },
};

const struct rpc_service svc_watch = {
    "telex.v1.WatchService", methods, sizeof(methods) / sizeof(methods[0])};
