/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telex-files that watches: two connections of workers or clients that are hostile, while what is
 * watched changes. Time is the input's. The first byte: bit 0, it cannot lock itself in. Then acts,
 * each a byte whose bit 7 says which connection:
 *
 *     0  one comes: how (bit 0: with the setup, and bit 1: a call, of a role, bit 2)
 *     1  the setup as it must be        2  a setup by its descriptor
 *     3  a call: a line with the method, a byte with its role
 *     4  a request by its descriptor    5  a request that is well formed: how (take_begin)
 *     6  a part as a message            7  the end of the client's half
 *     8  any type: the type, and a part 9  a part as it is
 *     10 it hangs up                    11 its client reads no more, or again
 *     12 some turns                     13 time passes: how much
 *     14 something is changed on disk: what, which names (change)
 *     15 it is another process that goes on, or (bit 4) events are lost
 *
 * A text of a request that begins with '@' is below the folder (place.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/files/roots.h"
#include "agent/watch/watch_conn.h"
#include "agent/watch/watch_engine.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"

#define ACTS_MAX  120
#define CONNS     2
#define ROLES     2
#define MANY      300 /* files of long names, at once */
#define MANY_MAX  4   /* times */
#define CLOCK_MAX 128

int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);

/* A connection, and who is at its other end. */
struct end {
	struct watch_conn *conn; /* NULL: there is none */
	int fd;
	bool deaf, ready, over;
	uint8_t *data; /* what has come, from a frame's begin */
	size_t len, room;
	char clock[CLOCK_MAX]; /* the last that was told */
};

struct scene {
	struct fuzz_place *place;
	struct watch_serve serve;
	struct watch_conns all;
	Telex__Internal__V1__FilesReady ready;
	struct roots *roles[ROLES];
	struct end ends[CONNS];
	uint8_t setup[16];
	size_t setup_len;
	int store;
	unsigned times_many;
	bool cannot;
};

/* ---- time ---- */

static int64_t now_ns; /* 0: between two inputs, where libFuzzer looks at the clock */

/* It goes on by itself, too: whoever waits for a moment has it in the end. */
int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
	if (now_ns == 0)
		return __real_clock_gettime(id, out);
	now_ns += 1000;
	out->tv_sec = (time_t)(now_ns / 1000000000);
	out->tv_nsec = (long)(now_ns % 1000000000);
	return 0;
}

/* ---- the process ---- */

static int lock_in(const Telex__Internal__V1__FilesSetup *m, void *arg, struct err *e)
{
	const struct scene *s = arg;

	fuzz_require(m->log_level == 1);
	return s->cannot ? err_set(e, TX_ESYS, "the lock is broken") : 0;
}

static const struct roots *role(uint32_t number, void *arg)
{
	const struct scene *s = arg;

	return number < ROLES ? s->roles[number] : NULL;
}

static const Telex__Internal__V1__FilesReady *ready(void *arg)
{
	return &((struct scene *)arg)->ready;
}

static const struct watch_serve_ops ops = {lock_in, role, ready};

static void make_roles(struct scene *s)
{
	char in[96], deeper[96];
	const char *const all[] = {in, NULL}, *const some[] = {deeper, NULL};

	snprintf(in, sizeof(in), "%s/in/**", s->place->top);
	snprintf(deeper, sizeof(deeper), "%s/in/d/*", s->place->top);
	fuzz_require(roots_new(&s->roles[0], NULL, NULL, all) == 0);
	fuzz_require(roots_new(&s->roles[1], NULL, NULL, some) == 0);
}

static void make_setup(struct scene *s)
{
	Telex__Internal__V1__FilesSetup m = TELEX__INTERNAL__V1__FILES_SETUP__INIT;
	struct digest *d = digest_new();

	m.log_level = 1;
	s->setup_len = telex__internal__v1__files_setup__pack(&m, s->setup);
	fuzz_require(d != NULL && digest_add(d, s->setup, s->setup_len) == 0 &&
	             digest_end(d, s->serve.key) == 0);
	digest_free(d);
}

/* The store is large, and sparse; nothing that is written here is. */
static void lift_limit(void)
{
	struct rlimit limit;

	fuzz_require(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max;
	fuzz_require(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void set_up(struct scene *s)
{
	lift_limit();
	now_ns = INT64_C(1000000000000);
	make_roles(s);
	make_setup(s);
	telex__internal__v1__files_ready__init(&s->ready);
	s->serve.control_fd = -1;
	s->serve.ops = &ops;
	s->serve.arg = s;
	s->all.serve = &s->serve;
	fuzz_require(memfile_new("fuzz", &s->store, NULL) == 0);
	fuzz_require(watcher_new(&s->serve.watcher, s->store, NULL, NULL) == 0);
}

static void hang_up(struct end *e)
{
	if (e->conn == NULL)
		return;
	watch_conn_free(e->conn);
	close(e->fd);
	free(e->data);
	e->conn = NULL;
	e->data = NULL;
}

static void tear_down(struct scene *s)
{
	for (size_t i = 0; i < CONNS; i++)
		hang_up(&s->ends[i]);
	fuzz_require(s->all.held == 0);
	watcher_free(s->serve.watcher);
	for (size_t i = 0; i < ROLES; i++)
		roots_free(s->roles[i]);
	close(s->store);
}

static void go_on_as_another(struct scene *s)
{
	for (size_t i = 0; i < CONNS; i++)
		hang_up(&s->ends[i]);
	watcher_free(s->serve.watcher);
	fuzz_require(watcher_new(&s->serve.watcher, s->store, NULL, NULL) == 0);
}

/* ---- what a client is told ---- */

/* Below its root, and nothing of what is outside the folder. */
static void check_path(const ProtobufCBinaryData *path)
{
	char *text = xmemdup0(path->data, path->len);

	fuzz_require(strlen(text) == path->len && text[0] != '/');
	fuzz_require(strstr(text, "..") == NULL && strstr(text, "secret") == NULL);
	free(text);
}

static void check_changes(const Telex__V1__WatchChanges *m)
{
	for (size_t i = 0; i < m->n_changes; i++) {
		const Telex__V1__Change *c = m->changes[i];

		fuzz_require(c->n_kinds > 0 && c->count > 0);
		check_path(&c->path);
		check_path(&c->moved_from);
		check_path(&c->moved_to);
	}
}

static void keep_clock(struct end *e, const char *clock)
{
	fuzz_require(strlen(clock) < CLOCK_MAX);
	if (clock[0] != '\0')
		snprintf(e->clock, CLOCK_MAX, "%s", clock);
}

static void check_response(struct end *e, const uint8_t *body, size_t len)
{
	Telex__V1__WatchResponse *m = telex__v1__watch_response__unpack(NULL, len, body);

	fuzz_require(m != NULL && len <= (size_t)1 << 20);
	switch (m->response_case) {
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED:
		keep_clock(e, m->armed->clock);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES:
		check_changes(m->changes);
		keep_clock(e, m->changes->clock);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED:
		keep_clock(e, m->synced->clock);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING:
		fuzz_require(m->warning->error != NULL);
		check_path(&m->warning->path);
		break;
	default:
		fuzz_require(m->response_case != TELEX__V1__WATCH_RESPONSE__RESPONSE__NOT_SET);
	}
	telex__v1__watch_response__free_unpacked(m, NULL);
}

static void check_status(const uint8_t *body, size_t len)
{
	Telex__Internal__V1__FilesStatus *m =
	    telex__internal__v1__files_status__unpack(NULL, len, body);

	fuzz_require(m != NULL && m->code <= RPC_UNAUTHENTICATED);
	telex__internal__v1__files_status__free_unpacked(m, NULL);
}

static void check_frame(struct end *e, const struct files_frame *head, const uint8_t *body)
{
	fuzz_require(!e->over);
	if (head->type == FILES_READY) {
		fuzz_require(!e->ready);
		e->ready = true;
	} else if (head->type == FILES_MESSAGE) {
		fuzz_require(e->ready);
		check_response(e, body, head->length);
	} else {
		fuzz_require(head->type == FILES_STATUS);
		check_status(body, head->length);
		e->over = true;
	}
}

static void check_frames(struct end *e)
{
	struct files_frame head;
	size_t at = 0;

	while (e->len - at >= sizeof(head)) {
		memcpy(&head, e->data + at, sizeof(head));
		fuzz_require(head.length <= FILES_FRAME_MAX);
		if (e->len - at - sizeof(head) < head.length)
			break;
		check_frame(e, &head, e->data + at + sizeof(head));
		at += sizeof(head) + head.length;
	}
	e->len -= at;
	if (e->len > 0)
		memmove(e->data, e->data + at, e->len);
}

static void hear(struct end *e)
{
	ssize_t n;

	do {
		if (e->room - e->len < 65536) {
			e->room = 2 * e->room + 65536;
			e->data = xreallocarray(e->data, e->room, 1);
		}
		n = recv(e->fd, e->data + e->len, e->room - e->len, MSG_DONTWAIT);
		if (n > 0)
			e->len += (size_t)n;
	} while (n > 0);
	check_frames(e);
}

/* ---- a turn ---- */

static void turn_one(struct end *e)
{
	struct pollfd p;

	if (e->conn == NULL)
		return;
	p = (struct pollfd){.fd = watch_conn_fd(e->conn), .events = watch_conn_events(e->conn)};
	if (poll(&p, 1, 0) > 0)
		watch_conn_turn(e->conn, p.revents);
}

/* As watch_serve.c has it. */
static void turn(struct scene *s)
{
	for (size_t i = 0; i < CONNS; i++)
		turn_one(&s->ends[i]);
	watcher_run(s->serve.watcher);
	(void)watcher_due(s->serve.watcher);
	for (size_t i = 0; i < CONNS; i++) {
		struct end *e = &s->ends[i];

		if (e->conn == NULL)
			continue;
		watch_conn_flush(e->conn);
		if (!e->deaf)
			hear(e);
		if (watch_conn_is_over(e->conn))
			hang_up(e);
	}
}

/* ---- what a worker sends ---- */

static void put(struct end *e, const void *data, size_t len)
{
	/* What does not fit is too much. */
	if (e->conn != NULL)
		(void)!send(e->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void put_frame(struct end *e, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	put(e, &head, sizeof(head));
	put(e, body, len);
}

static void put_message(struct end *e, uint32_t type, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *packed = xmalloc(len + 1);

	protobuf_c_message_pack(m, packed);
	put_frame(e, type, packed, len);
	free(packed);
}

static void put_built(struct end *e, uint32_t type, const ProtobufCMessageDescriptor *descriptor,
    struct fuzz_input *in)
{
	size_t len;
	uint8_t *packed = fuzz_message(in, descriptor, &len);

	put_frame(e, type, packed, len);
	free(packed);
}

static void put_call(struct end *e, char *method, uint32_t number)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;

	m.method = method;
	m.role = number;
	put_message(e, FILES_CALL, &m.base);
}

static void take_call(struct end *e, struct fuzz_input *in)
{
	char *method = fuzz_text(in, '\n');

	put_call(e, method, fuzz_byte(in));
	free(method);
}

/* How, two bytes: the path; then state, a clock, settle, heartbeat, wait, recursive, patterns. */
static void take_begin(struct end *e, const struct scene *s, struct fuzz_input *in)
{
	static const char *const names[] = {"in", "in/d", "in/f", "in/nothing"};
	char *patterns[] = {(char[]){"*.tmp"}, (char[]){"b"}};
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;
	Telex__V1__WatchBegin b = TELEX__V1__WATCH_BEGIN__INIT;
	Google__Protobuf__Duration settle = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Duration beat = GOOGLE__PROTOBUF__DURATION__INIT;
	uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
	char path[96];
	ProtobufCBinaryData paths;

	snprintf(path, sizeof(path), "%s/%s", s->place->top, names[which & 3]);
	paths = (ProtobufCBinaryData){strlen(path), (uint8_t *)path};
	settle.nanos = 50000000;
	beat.seconds = 1;
	b.paths = &paths;
	b.n_paths = 1;
	b.state = (how & 1) != 0;
	if ((how & 2) != 0)
		b.since = e->clock;
	b.settle = (how & 4) != 0 ? &settle : NULL;
	b.heartbeat_interval = (how & 8) != 0 ? &beat : NULL;
	b.wait = (how & 16) != 0;
	b.recursive = (how & 32) != 0;
	b.depth = which >> 4;
	b.include = b.exclude = patterns;
	b.n_include = (how & 64) != 0 ? 2 : 0;
	b.n_exclude = (how & 128) != 0 ? 1 : 0;
	b.across_mounts = b.allow_remote = (which & 4) != 0;
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN;
	m.begin = &b;
	put_message(e, FILES_MESSAGE, &m.base);
}

static void come(struct scene *s, struct end *e, uint8_t how)
{
	char clock[CLOCK_MAX];
	int pair[2];

	if (e->conn != NULL)
		return;
	memcpy(clock, e->clock, sizeof(clock));
	*e = (struct end){.fd = -1};
	memcpy(e->clock, clock, sizeof(clock));
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	e->fd = pair[0];
	e->conn = watch_conn_new(&s->all, pair[1]);
	fuzz_require(e->conn != NULL);
	if ((how & 1) != 0)
		put_frame(e, FILES_SETUP, s->setup, s->setup_len);
	if ((how & 2) != 0)
		put_call(e, (char[]){"Watch"}, how >> 2 & 1);
}

/* ---- what happens on disk ---- */

/* None leads out: of the folder's own, the link and the second name are not among them. */
static const char *const places[] = {"a", "b", "c", "d", "a/b", "a/c", "d/a", "d/x", "a/b/c", "f",
    "new", "x.tmp", "d/a/b", "b/a", "c/c", "s"};

static void append(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "more\n", 5);
	close(fd);
}

static void make_file(int dir_fd, const char *name)
{
	int fd =
	    openat(dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);

	if (fd >= 0)
		close(fd);
}

static void make_many(struct scene *s)
{
	char name[240];

	if (s->times_many++ >= MANY_MAX)
		return;
	memset(name, 'n', sizeof(name));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name + 200, 40, "%u-%u", s->times_many, i);
		make_file(s->place->in_fd, name);
	}
}

static void remove_one(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) != 0)
		(void)unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* It is elsewhere, or back. */
static void move_root(struct scene *s, bool away)
{
	int fd = s->place->top_fd;

	if (away)
		(void)renameat(fd, "in", fd, "elsewhere");
	else
		(void)renameat(fd, "elsewhere", fd, "in");
}

static void change(struct scene *s, struct fuzz_input *in)
{
	uint8_t what = fuzz_byte(in), which = fuzz_byte(in);
	const char *one = places[which & 15], *other = places[which >> 4];
	int fd = s->place->in_fd;

	switch (what % 9) {
	case 0:
		make_file(fd, one);
		break;
	case 1:
		(void)mkdirat(fd, one, 0755);
		break;
	case 2:
		append(fd, one);
		break;
	case 3:
		(void)renameat(fd, one, fd, other);
		break;
	case 4:
		remove_one(fd, one);
		break;
	case 5:
		(void)!fchmodat(fd, one, (what & 128) != 0 ? 0 : 0755, 0);
		break;
	case 6:
		(void)!symlinkat("nowhere", fd, one);
		break;
	case 7:
		make_many(s);
		break;
	default:
		move_root(s, (what & 128) != 0);
	}
}

/* ---- the whole ---- */

static void act_on_end(struct scene *s, struct end *e, unsigned what, struct fuzz_input *in)
{
	const uint8_t *part;
	uint8_t type;
	size_t len;

	switch (what) {
	case 0:
		come(s, e, fuzz_byte(in));
		break;
	case 1:
		put_frame(e, FILES_SETUP, s->setup, s->setup_len);
		break;
	case 2:
		put_built(e, FILES_SETUP, &telex__internal__v1__files_setup__descriptor, in);
		break;
	case 3:
		take_call(e, in);
		break;
	case 4:
		put_built(e, FILES_MESSAGE, &telex__v1__watch_request__descriptor, in);
		break;
	case 5:
		take_begin(e, s, in);
		break;
	case 6:
		part = fuzz_part(in, &len);
		put_frame(e, FILES_MESSAGE, part, len);
		break;
	case 7:
		put_frame(e, FILES_HALF_CLOSE, NULL, 0);
		break;
	case 8:
		type = fuzz_byte(in);
		part = fuzz_part(in, &len);
		put_frame(e, type, part, len);
		break;
	default:
		part = fuzz_part(in, &len);
		put(e, part, len);
	}
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t byte = fuzz_byte(in);
	struct end *e = &s->ends[byte >> 7];
	unsigned what = byte & 15u;

	if (what < 10)
		act_on_end(s, e, what, in);
	else if (what == 10)
		hang_up(e);
	else if (what == 11)
		e->deaf = !e->deaf;
	else if (what == 13)
		now_ns += INT64_C(1000000) << (fuzz_byte(in) % 21);
	else if (what == 14)
		change(s, in);
	else if (what == 15 && (byte & 16) == 0)
		go_on_as_another(s);
	else if (what == 15 && s->serve.watcher->source != NULL)
		watch_source_overflow(s->serve.watcher->source);
	for (int i = 0; i < 3 && (what == 12 || what == 13); i++)
		turn(s);
}

static void run(struct fuzz_input *in, struct fuzz_place *place)
{
	struct scene s = {.place = place};
	char inside[80];

	snprintf(inside, sizeof(inside), "%s/in", place->top);
	fuzz_message_place = inside;
	s.cannot = (fuzz_byte(in) & 1) != 0;
	set_up(&s);
	for (int i = 0; i < ACTS_MAX && in->left > 0 && s.all.failure.code == 0; i++)
		act(&s, in);
	for (int i = 0; i < 3 && s.all.failure.code == 0; i++)
		turn(&s);
	tear_down(&s);
	now_ns = 0;
	move_root(&s, false);
	fuzz_message_place = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct fuzz_place place;
	static int home = -1;

	fuzz_log_nowhere();
	if (home < 0) {
		fuzz_require(digest_prepare() == 0);
		home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	place_enter(&place);
	run(&in, &place);
	place_leave(&place);
	/* A watcher goes where it likes; whoever has the seeds does not. */
	fuzz_require(fchdir(home) == 0);
	return 0;
}
