/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder to work in for a test of telex-files, with a call (memory_call.h) whose roots are that
 * folder and all below it. cmocka's setup and teardown; *state is a struct place.
 */
#ifndef TX_TESTS_SUPPORT_FILES_PLACE_H
#define TX_TESTS_SUPPORT_FILES_PLACE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "tests/support/memory_call.h"

struct place {
	char *folder;
	int fd;
	struct call *call;
	char pattern[600];
	char path[8][4200];
	unsigned next;
	bool mounted; /* something is mounted on FOLDER/mount */
};

int place_make(void **state);
int place_remove(void **state);

/* FOLDER/NAME ("": FOLDER); one of eight buffers in turn. */
const char *place_path(struct place *p, const char *name);
/* The same as a field of a request. */
ProtobufCBinaryData place_bytes(struct place *p, const char *name);
ProtobufCBinaryData bytes_of(const char *text);

/* Each aborts the test when it cannot. */
void place_put(const struct place *p, const char *name, const char *text);
void place_folder(const struct place *p, const char *name);
void place_link(const struct place *p, const char *target, const char *name);
/* NULL: it is not there. A static buffer of 4095 bytes. */
const char *place_text(const struct place *p, const char *name);
bool place_has(const struct place *p, const char *name);
struct stat place_stat(const struct place *p, const char *name);
/* How many entries; "" for FOLDER itself. */
int place_count(struct place *p, const char *name);

/* Runs a method, and fails the test unless it ends so. reason NULL: with OK. */
void place_expect(
    struct place *p, const char *method, const ProtobufCMessage *request, const char *reason);
/* The only response. */
const void *place_response(struct place *p, const ProtobufCMessageDescriptor *type);

/* Whether this process is root; says why not for a test that is skipped then. */
bool place_root(const char *what_for);
/* Mounts a tmpfs with these options ("size=1m") on FOLDER/mount, for this process alone. False,
 * said why: it cannot. */
bool place_mount(struct place *p, const char *options);
void place_unmount(struct place *p);
/* Runs `check` in a child that is the user nobody; what it returns, 0 to 255. */
int place_as_nobody(struct place *p, int (*check)(struct place *p));

#endif
