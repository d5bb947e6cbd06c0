/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch asks for, checked, as the message that each of its calls begins with. */
#ifndef TX_LIB_WATCH_REQUEST_H
#define TX_LIB_WATCH_REQUEST_H

#include "lib/telex.h"
#include "telex/v1/watch.pb-c.h"

#define WATCH_ROOTS_MAX 64

/* A copy of its own, without `since`, `state` and the heartbeat; watch_request_free. 0, or -1 and
 * *error. */
int watch_request(Telex__V1__WatchBegin **out, const struct telex_watch_options *options,
    struct telex_error *error);
/* NULL is allowed. */
void watch_request_free(Telex__V1__WatchBegin *begin);

#endif
