/* SPDX-License-Identifier: Apache-2.0 */
/* From a telex_command to the ProcessSpec that Run and Start send; what can be checked here is. */
#ifndef TX_LIB_SPEC_REQUEST_H
#define TX_LIB_SPEC_REQUEST_H

#include "lib/request.h"
#include "lib/telex.h"
#include "telex/v1/process.pb-c.h"

/* spec refers to the rest and to the command. */
struct spec_request {
	Telex__V1__ProcessSpec spec;
	ProtobufCBinaryData *argv;
	Telex__V1__EnvironmentVariable *env, **env_list;
	struct request_limits limits;
	Telex__V1__DisconnectPolicy disconnect;
	Telex__V1__TerminalSize terminal;
	Telex__V1__Umask mask;
	Telex__V1__ControlLimits control;
	Telex__V1__OutputRetention output;
	Google__Protobuf__Duration wait, grace, run, keep;
	uint32_t blocked[64], ignored[64];
};

/* 0, or -1 and *error. spec_request_free in either case. */
int spec_request(struct spec_request *r, const struct telex_command *c, struct telex_error *error);
void spec_request_free(struct spec_request *r);

#endif
