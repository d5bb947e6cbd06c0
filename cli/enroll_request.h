/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request of an enrolment that has no answer yet: a key and its certificate signing request, in
 * one file, so that they are there together or not at all. It is there before the authority is
 * asked, and goes when its certificate is in its place: a token may be used up by then, and good
 * for this very request alone. So nothing writes over one that is for other names.
 */
#ifndef TX_CLI_ENROLL_REQUEST_H
#define TX_CLI_ENROLL_REQUEST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "certs/key.h"
#include "common/err.h"

struct enroll_request {
	char path[PATH_MAX];
	bool made; /* by this call: nobody was asked with it before */
	char *key;
	size_t key_len;
	unsigned char *der;
	int der_len;
};

/*
 * The one at r->path, which the caller has set, when it is for this identity and these hosts (a
 * set, sans.h); where there is none a new one is made. TX_EEXIST: another's is there, or a file
 * that is none; with force that is written over. enroll_request_clear in any case.
 */
int enroll_request_open(struct enroll_request *r, const char *identity, const char *const *sans,
    size_t n_sans, enum key_type type, bool force, struct err *e);
/* Whether the key at key_path is that of the request at r->path: it had its answer, and was cut off
 * when that was put in its place. */
bool enroll_request_answered(const struct enroll_request *r, const char *key_path);
void enroll_request_remove(const struct enroll_request *r);
void enroll_request_clear(struct enroll_request *r);

#endif
