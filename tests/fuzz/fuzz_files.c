/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-files: the frames of its socket, and every method with whatever requests. They come from a
 * worker that is hostile, or from its client. Frames, each a byte: 0, a setup by its descriptor; 1,
 * a call: a line with its method, and a byte with its role; 2, a request of that method by its
 * descriptor; 3, a part as a message; 4, the end of the client's half; 5, any type: the type, and a
 * part; 6, a part as it is, and the end of all.
 *
 * A text of a request that begins with '@' is below the folder (place.h).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/files/methods.h"
#include "agent/files/names.h"
#include "agent/files/roots.h"
#include "agent/files/serve.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"

#define FRAMES_MAX 40
#define ROLES      2

/* ---- the worker's side ---- */

/* Without waiting: what does not fit is too much. */
static bool send_frame(int fd, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	return send(fd, &head, sizeof(head), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(head) &&
	       (len == 0 || send(fd, body, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
}

static bool send_packed(int fd, uint32_t type, uint8_t *packed, size_t len)
{
	bool sent = send_frame(fd, type, packed, len);

	free(packed);
	return sent;
}

static bool send_call(int fd, struct fuzz_input *in, const struct files_method_row **row)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;
	char *method = fuzz_text(in, '\n');
	uint8_t packed[1024];
	bool sent = false;

	*row = methods_find(method);
	m.method = method;
	m.role = fuzz_byte(in);
	if (telex__internal__v1__files_call__get_packed_size(&m) <= sizeof(packed))
		sent = send_frame(
		    fd, FILES_CALL, packed, telex__internal__v1__files_call__pack(&m, packed));
	free(method);
	return sent;
}

/* One frame; false: the last. */
static bool step(int fd, struct fuzz_input *in, const struct files_method_row **row)
{
	const uint8_t *part;
	uint8_t type;
	size_t len;

	switch (fuzz_byte(in) % 7) {
	case 0:
		part = fuzz_message(in, &telex__internal__v1__files_setup__descriptor, &len);
		return send_packed(fd, FILES_SETUP, (uint8_t *)(uintptr_t)part, len);
	case 1:
		return send_call(fd, in, row);
	case 2:
		if (*row == NULL)
			return true;
		part = fuzz_message(in, (*row)->request, &len);
		return send_packed(fd, FILES_MESSAGE, (uint8_t *)(uintptr_t)part, len);
	case 3:
		part = fuzz_part(in, &len);
		return send_frame(fd, FILES_MESSAGE, part, len);
	case 4:
		return send_frame(fd, FILES_HALF_CLOSE, NULL, 0);
	case 5:
		type = fuzz_byte(in);
		part = fuzz_part(in, &len);
		return send_frame(fd, type, part, len);
	default:
		part = fuzz_part(in, &len);
		(void)!send(fd, part, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		return false;
	}
}

static void send_all(int fd, struct fuzz_input *in)
{
	const struct files_method_row *row = NULL;
	bool more = (fuzz_byte(in) & 1) != 0 || send_frame(fd, FILES_SETUP, NULL, 0);

	for (int i = 0; i < FRAMES_MAX && in->left > 0 && more; i++)
		more = step(fd, in, &row);
	/* What is no frame of a worker's ends it, wherever it is. Where there was no room for that,
	 * the end does. */
	if (!more || !send_frame(fd, FILES_STATUS, NULL, 0))
		shutdown(fd, SHUT_WR);
}

/* What is answered is read by nobody else. */
static void *read_all(void *arg)
{
	uint8_t sink[65536];
	int fd = *(int *)arg;

	while (recv(fd, sink, sizeof(sink), 0) > 0)
		;
	return NULL;
}

/* ---- its own side ---- */

static void serve(int fd, const struct serve_role *roles)
{
	Telex__Internal__V1__FilesSetup *setup = NULL;
	Telex__Internal__V1__FilesReady ready = TELEX__INTERNAL__V1__FILES_READY__INIT;
	struct call *c = serve_new(fd);
	int rc;

	fuzz_require(c != NULL);
	if (serve_setup(c, &setup) == 0 && serve_ready(c, &ready) == 0) {
		rc = serve_calls(c, roles, ROLES, methods_find);
		fuzz_require(rc == 0 || rc == TX_EPROTO);
	}
	if (setup != NULL)
		telex__internal__v1__files_setup__free_unpacked(setup, NULL);
	serve_free(c);
}

static void make_roles(struct serve_role roles[ROLES], const char *top)
{
	char in[96], deeper[96];
	const char *const all[] = {in, NULL}, *const some[] = {deeper, NULL};

	snprintf(in, sizeof(in), "%s/in/**", top);
	snprintf(deeper, sizeof(deeper), "%s/in/d/*", top);
	memset(roles, 0, ROLES * sizeof(roles[0]));
	fuzz_require(roots_new(&roles[0].roots, all, all, NULL) == 0);
	fuzz_require(roots_new(&roles[1].roots, all, some, NULL) == 0);
	roles[1].max_upload_bytes = 100;
	roles[1].max_upload_files = 2;
}

static void run(struct fuzz_input *in, const struct fuzz_place *place)
{
	struct serve_role roles[ROLES];
	char inside[80];
	pthread_t reader;
	int pair[2];

	snprintf(inside, sizeof(inside), "%s/in", place->top);
	fuzz_message_place = inside;
	make_roles(roles, place->top);
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	send_all(pair[0], in);
	fuzz_require(pthread_create(&reader, NULL, read_all, &pair[0]) == 0);
	serve(pair[1], roles);
	close(pair[1]);
	pthread_join(reader, NULL);
	close(pair[0]);
	for (int i = 0; i < ROLES; i++)
		roots_free(roles[i].roots);
	fuzz_message_place = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct fuzz_place place;
	static bool prepared;

	fuzz_log_nowhere();
	if (!prepared) {
		names_load();
		fuzz_require(digest_prepare() == 0);
		prepared = true;
	}
	place_enter(&place);
	run(&in, &place);
	place_leave(&place);
	return 0;
}
