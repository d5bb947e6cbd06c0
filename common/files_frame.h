/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames between a worker and telex-files, over a SOCK_STREAM socket pair: this head, then
 * `length` bytes (proto/telex/internal/v1/files.proto; FILES_MESSAGE: a message of the API,
 * packed).
 *
 *     worker -> telex-files: FILES_SETUP once; then for each call, one after the other: FILES_CALL,
 *                            FILES_MESSAGE…, FILES_HALF_CLOSE
 *     telex-files -> worker: FILES_READY once; then for each call FILES_MESSAGE…, FILES_STATUS
 *
 * A call may end (FILES_STATUS) before its half was closed; the worker then sends FILES_HALF_CLOSE
 * all the same, unless it has, and telex-files passes over what comes before it. A worker that does
 * not want a call any more closes the socket: the end of either side is the end of the other.
 * What breaks this ends the socket.
 */
#ifndef TX_COMMON_FILES_FRAME_H
#define TX_COMMON_FILES_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FILES_FD 3 /* where telex-files finds its end */

/* Of a frame without its head: the largest message of the API, and its packing. */
#define FILES_FRAME_MAX (((uint32_t)4 << 20) + 4096)

enum files_frame_type {
	FILES_SETUP = 1,
	FILES_READY = 2,
	FILES_CALL = 3,
	FILES_MESSAGE = 4,
	FILES_HALF_CLOSE = 5, /* length 0 */
	FILES_STATUS = 6,
};

struct files_frame {
	uint32_t length;
	uint32_t type; /* enum files_frame_type */
};

#endif
