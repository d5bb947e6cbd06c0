/* SPDX-License-Identifier: Apache-2.0 */
/* Copies what is in one file to another, empty one: by sharing its blocks, by the kernel, or at
 * last by reading and writing. Holes stay holes. */
#ifndef TX_FILES_COPY_DATA_H
#define TX_FILES_COPY_DATA_H

#include <stdbool.h>
#include <stdint.h>

struct call;

struct copy_data {
	uint64_t bytes;  /* the size of the copy */
	uint64_t shared; /* of these, with the source's blocks */
	bool writing;    /* it was the copy that failed, not the source */
};

/* Asks the call whether it is gone: ECANCELED. 0 or an errno. */
int copy_data(int from, int to, struct call *call, struct copy_data *out);

#endif
