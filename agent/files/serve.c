/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both directions have one buffer. A frame that has come is used where it lies, until the next one
 * is asked for; what is sent is packed where it is written from, and large parts of it are written
 * from where they are. All of it goes out before anybody waits for the other side.
 */
#include "agent/files/serve.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/files/files_status.h"
#include "common/files_frame.h"
#include "common/log.h"
#include "common/rpc_arena.h"

#define IN_SIZE    ((size_t)512 << 10)
#define OUT_SIZE   ((size_t)512 << 10)
#define OUT_FULL   ((size_t)256 << 10) /* from here on it is written */
#define DIRECT     ((size_t)32 << 10)  /* parts from this on are not copied */
#define PARTS_MAX  8
#define UNFINISHED 1000u /* unless the role says another number */
#define HEAD       sizeof(struct files_frame)

struct call {
	int fd;
	int broken; /* why there is no more to be had: a negative TX_E…, or 0 */
	struct {
		uint8_t *data;
		size_t size, at, end;
	} in;
	struct {
		uint8_t *data;
		size_t size, len;
	} out;
	size_t frame; /* the frame that was given out last: to be passed over */
	bool half_closed;
	const struct serve_role *role;
	char summary[256];
};

struct call *serve_new(int fd)
{
	struct call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->fd = fd;
	c->in.size = IN_SIZE;
	c->out.size = OUT_SIZE;
	c->in.data = malloc(IN_SIZE);
	c->out.data = malloc(OUT_SIZE);
	if (c->in.data != NULL && c->out.data != NULL)
		return c;
	serve_free(c);
	return NULL;
}

void serve_free(struct call *c)
{
	if (c == NULL)
		return;
	free(c->in.data);
	free(c->out.data);
	free(c);
}

static int break_off(struct call *c, int rc)
{
	if (c->broken == 0)
		c->broken = rc;
	return c->broken;
}

/* ---- writing ---- */

/* Moves the parts on by n bytes. */
static int advance(struct iovec *v, int n_parts, size_t n)
{
	int i = 0;

	while (i < n_parts && n >= v[i].iov_len)
		n -= v[i++].iov_len;
	if (i < n_parts) {
		v[i].iov_base = (uint8_t *)v[i].iov_base + n;
		v[i].iov_len -= n;
	}
	return i;
}

static int write_all(struct call *c, struct iovec *v, int n_parts)
{
	while (n_parts > 0 && c->broken == 0) {
		struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n_parts};
		ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		int done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return break_off(c, TX_ECLOSED);
		done = advance(v, n_parts, (size_t)n);
		v += done;
		n_parts -= done;
	}
	return c->broken;
}

int call_flush(struct call *c)
{
	struct iovec v = {c->out.data, c->out.len};

	if (c->broken != 0 || c->out.len == 0)
		return c->broken;
	c->out.len = 0;
	return write_all(c, &v, 1);
}

/* Room for a frame of so many bytes behind what waits; its head is written. NULL: none. */
static uint8_t *begin_frame(struct call *c, uint32_t type, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};
	uint8_t *more;

	if (len > FILES_FRAME_MAX) {
		break_off(c, TX_ETOOBIG);
		return NULL;
	}
	if (c->out.len + HEAD + len > c->out.size && call_flush(c) < 0)
		return NULL;
	if (HEAD + len > c->out.size) {
		more = realloc(c->out.data, HEAD + len);
		if (more == NULL) {
			break_off(c, TX_ENOMEM);
			return NULL;
		}
		c->out.data = more;
		c->out.size = HEAD + len;
	}
	memcpy(c->out.data + c->out.len, &head, HEAD);
	return c->out.data + c->out.len + HEAD;
}

static int end_frame(struct call *c, size_t len)
{
	c->out.len += HEAD + len;
	return c->out.len >= OUT_FULL ? call_flush(c) : c->broken;
}

static int send_message(struct call *c, uint32_t type, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *at = c->broken == 0 ? begin_frame(c, type, len) : NULL;

	if (at == NULL)
		return c->broken;
	protobuf_c_message_pack(m, at);
	return end_frame(c, len);
}

int call_send(struct call *c, const ProtobufCMessage *response)
{
	return send_message(c, FILES_MESSAGE, response);
}

/* Behind what waits, in one write, from where the parts are. */
static int send_direct(struct call *c, const struct iovec *parts, int n, size_t len)
{
	struct files_frame head = {(uint32_t)len, FILES_MESSAGE};
	struct iovec v[PARTS_MAX + 2] = {{c->out.data, c->out.len}, {&head, HEAD}};

	memcpy(v + 2, parts, (size_t)n * sizeof(*parts));
	c->out.len = 0;
	return write_all(c, v, n + 2);
}

int call_send_parts(struct call *c, const struct iovec *parts, int n)
{
	size_t len = 0;
	uint8_t *at;

	for (int i = 0; i < n; i++)
		len += parts[i].iov_len;
	if (c->broken != 0)
		return c->broken;
	if (len >= DIRECT && len <= FILES_FRAME_MAX && n <= PARTS_MAX)
		return send_direct(c, parts, n, len);
	at = begin_frame(c, FILES_MESSAGE, len);
	if (at == NULL)
		return c->broken;
	for (int i = 0; i < n; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	return end_frame(c, len);
}

/* ---- reading ---- */

/* Room for a frame of that length from in.at on. */
static int make_room(struct call *c, size_t need)
{
	size_t have = c->in.end - c->in.at;
	uint8_t *more;

	if (c->in.at + need <= c->in.size && c->in.end < c->in.size)
		return 0;
	memmove(c->in.data, c->in.data + c->in.at, have);
	c->in.at = 0;
	c->in.end = have;
	if (need <= c->in.size)
		return 0;
	more = realloc(c->in.data, need);
	if (more == NULL)
		return break_off(c, TX_ENOMEM);
	c->in.data = more;
	c->in.size = need;
	return 0;
}

/* Whether a whole frame is there; *need: how much it is, as far as that is known. */
static bool has_frame(struct call *c, size_t *need)
{
	size_t have = c->in.end - c->in.at;
	struct files_frame head;

	*need = HEAD;
	if (have < HEAD)
		return false;
	memcpy(&head, c->in.data + c->in.at, HEAD);
	if (head.length > FILES_FRAME_MAX) {
		break_off(c, TX_EPROTO);
		return true;
	}
	*need = HEAD + head.length;
	return have >= *need;
}

static int fill(struct call *c, size_t need, int flags)
{
	ssize_t n;
	int rc = make_room(c, need);

	if (rc < 0)
		return rc;
	do
		n = recv(c->fd, c->in.data + c->in.end, c->in.size - c->in.end, flags);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return TX_EAGAIN;
	if (n <= 0)
		return break_off(c, TX_ECLOSED);
	c->in.end += (size_t)n;
	return 0;
}

static void pass_over(struct call *c)
{
	c->in.at += c->frame;
	c->frame = 0;
	if (c->in.at == c->in.end)
		c->in.at = c->in.end = 0;
}

/* The next frame, where it lies; its body lives until the next one is asked for. */
static int next_frame(struct call *c, struct files_frame *head, const uint8_t **body)
{
	size_t need;

	pass_over(c);
	while (c->broken == 0 && !has_frame(c, &need))
		if (call_flush(c) == 0)
			(void)fill(c, need, 0);
	if (c->broken != 0)
		return c->broken;
	memcpy(head, c->in.data + c->in.at, HEAD);
	*body = c->in.data + c->in.at + HEAD;
	c->frame = HEAD + head->length;
	return 0;
}

int call_receive(struct call *c, const uint8_t **msg, size_t *len)
{
	struct files_frame head = {0, 0};
	const uint8_t *body = NULL;

	if (c->broken != 0 || c->half_closed)
		return c->broken;
	if (next_frame(c, &head, &body) < 0)
		return c->broken;
	if (head.type == FILES_HALF_CLOSE && head.length == 0) {
		c->half_closed = true;
		return 0;
	}
	if (head.type != FILES_MESSAGE)
		return break_off(c, TX_EPROTO);
	*msg = body;
	*len = head.length;
	return 1;
}

bool call_readable(struct call *c)
{
	size_t need, frame = c->frame;
	bool yes;

	if (c->broken != 0 || c->half_closed)
		return true;
	/* What was given out last must stay where it is. */
	c->in.at += frame;
	yes = has_frame(c, &need);
	if (!yes && c->in.at + need <= c->in.size && c->in.end < c->in.size) {
		if (fill(c, need, MSG_DONTWAIT) != TX_EAGAIN)
			yes = c->broken != 0 || has_frame(c, &need);
	} else if (!yes) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};

		yes = poll(&p, 1, 0) == 1;
	}
	c->in.at -= frame;
	return yes;
}

bool call_gone(struct call *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	if (c->broken == 0 && poll(&p, 1, 0) == 1 &&
	    (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
		break_off(c, TX_ECLOSED);
	return c->broken != 0;
}

/* ---- the role ---- */

const struct roots *call_roots(const struct call *c)
{
	return c->role->roots;
}

uint64_t call_max_upload_bytes(const struct call *c)
{
	return c->role->max_upload_bytes;
}

uint64_t call_max_upload_files(const struct call *c)
{
	return c->role->max_upload_files;
}

unsigned call_max_unfinished(const struct call *c)
{
	const uint64_t most = c->role->max_unfinished;

	if (most == 0)
		return UNFINISHED;
	return most < UINT_MAX ? (unsigned)most : UINT_MAX;
}

void call_summary(struct call *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->summary, sizeof(c->summary), fmt, ap);
	va_end(ap);
}

/* ---- setting up ---- */

int serve_setup(struct call *c, Telex__Internal__V1__FilesSetup **out)
{
	struct files_frame head = {0, 0};
	const uint8_t *body = NULL;
	int rc = next_frame(c, &head, &body);

	if (rc < 0)
		return rc;
	if (head.type != FILES_SETUP)
		return break_off(c, TX_EPROTO);
	*out = telex__internal__v1__files_setup__unpack(NULL, head.length, body);
	return *out != NULL ? 0 : break_off(c, TX_EPROTO);
}

int serve_ready(struct call *c, const Telex__Internal__V1__FilesReady *ready)
{
	return send_message(c, FILES_READY, &ready->base) < 0 ? c->broken : call_flush(c);
}

static int send_status(struct call *c, const struct rpc_status *status)
{
	struct files_status s;

	files_status_fill(&s, status, c->summary);
	return send_message(c, FILES_STATUS, &s.m.base) < 0 ? c->broken : call_flush(c);
}

int serve_failed(struct call *c, const struct err *why)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_INTERNAL, "SYSTEM", "telex-files: %s", why->message);
	return send_status(c, &status);
}

/* ---- calls ---- */

/* What comes after the end of a call, up to the end of its client's half. */
static int drain(struct call *c)
{
	const uint8_t *msg;
	size_t len;
	int rc;

	do
		rc = call_receive(c, &msg, &len);
	while (rc > 0);
	return rc;
}

static void run(struct call *c, const struct files_method_row *row, struct rpc_status *status)
{
	struct rpc_arena arena = {0};
	const ProtobufCMessage *request;
	const uint8_t *msg = NULL;
	size_t len = 0;
	int rc = call_receive(c, &msg, &len);

	if (rc < 0)
		return;
	if (rc == 0) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s takes a request, and none came", row->name);
		return;
	}
	request = rpc_arena_unpack(&arena, row->request, msg, len);
	if (request == NULL)
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a message is not a valid %s", row->request->name);
	else
		row->run(c, request, status);
	rpc_arena_clear(&arena);
}

static int serve_one(struct call *c, const Telex__Internal__V1__FilesCall *m,
    const struct serve_role *roles, size_t n_roles,
    const struct files_method_row *(*find)(const char *name))
{
	const struct files_method_row *row = find(m->method);
	struct rpc_status status;

	if (m->role >= n_roles)
		return break_off(c, TX_EPROTO);
	c->role = &roles[m->role];
	c->half_closed = false;
	c->summary[0] = '\0';
	rpc_status_set(&status, RPC_OK, NULL, "%s", "");
	if (row != NULL)
		run(c, row, &status);
	else
		rpc_status_set(&status, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD",
		    "this agent does not serve %.64s", m->method);
	if (c->broken == 0 && send_status(c, &status) == 0)
		(void)drain(c);
	return c->broken;
}

int serve_calls(struct call *c, const struct serve_role *roles, size_t n_roles,
    const struct files_method_row *(*find)(const char *name))
{
	struct files_frame head = {0, 0};
	const uint8_t *body = NULL;

	while (c->broken == 0 && next_frame(c, &head, &body) == 0) {
		Telex__Internal__V1__FilesCall *m = NULL;

		if (head.type == FILES_CALL)
			m = telex__internal__v1__files_call__unpack(NULL, head.length, body);
		if (m != NULL)
			(void)serve_one(c, m, roles, n_roles, find);
		else
			break_off(c, TX_EPROTO);
		if (m != NULL)
			telex__internal__v1__files_call__free_unpacked(m, NULL);
	}
	return c->broken == TX_ECLOSED ? 0 : c->broken;
}
