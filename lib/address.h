/* SPDX-License-Identifier: Apache-2.0 */
/* Where an agent is: "host", "host:port", "1.2.3.4:port", "[v6]:port", "v6". */
#ifndef TX_LIB_ADDRESS_H
#define TX_LIB_ADDRESS_H

#include <stdint.h>

#include "common/err.h"

#define ADDRESS_HOST_SIZE 256

struct address {
	char host[ADDRESS_HOST_SIZE]; /* without brackets */
	uint16_t port;
	char authority[ADDRESS_HOST_SIZE + 16]; /* "host:port", "[v6]:port" */
};

/* The port is TELEX_DEFAULT_PORT where there is none. 0, or TX_EINVAL with a sentence that quotes
 * the text. */
int address_parse(struct address *out, const char *text, struct err *e);

/* The host as a certificate has it: the host without an IPv6 zone ("%eth0"). */
void address_tls_name(const struct address *a, char out[ADDRESS_HOST_SIZE]);

#endif
