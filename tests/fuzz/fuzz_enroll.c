/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An authority's door, where anybody comes without a certificate, and what the worker makes of
 * telex-ca's answers. Acts, each a byte whose bit 7 says which of two clients:
 *
 *     0  one comes: how (bit 0: with TLS and HTTP/2; else it is raw)
 *     1  a raw one sends a part
 *     2  a call: which method, and a request by its descriptor
 *     3  a call with a part as its request
 *     4  its last call is cancelled        5  it goes away
 *     6  telex-ca answers, by the descriptor, the oldest question (0) or none: how (bit 0: the id
 *        is as it comes; bit 1: with a list, which is a part; bit 2: with what is no list)
 *     7  telex-ca sends a part             8  it dies, and (a byte, bit 0) another is there
 *     9  the door lets nobody in any more, or (bit 4) all go
 *     10 all go on
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/worker/attempts.h"
#include "agent/worker/ca_client.h"
#include "agent/worker/enroll_door.h"
#include "agent/worker/shared_answer.h"
#include "agent/worker/worker.h"
#include "common/ca_control.h"
#include "common/grpc.h"
#include "common/h2.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "telex/v1/certificate.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/support/pki.h"

#define ACTS_MAX  60
#define CLIENTS   2
#define CALLS_MAX 16
#define LIST_PART ((size_t)4096)

struct scene;

struct client {
	struct scene *scene;
	int raw;                 /* -1: it is not */
	struct bufferevent *bev; /* until h2 has it */
	struct h2_conn *h2;
	struct grpc_call *last; /* NULL: over */
};

struct scene {
	struct worker worker;
	struct enroll_door *door;
	struct sockaddr_un address;
	socklen_t address_len;
	struct client clients[CLIENTS];
	int ca; /* telex-ca's end; -1: it is dead */
	unsigned open, calls;
};

static const struct {
	const char *path;
	const ProtobufCMessageDescriptor *request;
} methods[] = {
    {"/telex.v1.CertificateService/Enroll", &telex__v1__enroll_request__descriptor},
    {"/telex.v1.CertificateService/Renew", &telex__v1__renew_request__descriptor},
    {"/telex.v1.CertificateService/GetRevocations",
        &telex__v1__get_revocations_request__descriptor},
    {"/telex.v1.ProcessService/Start", &telex__v1__enroll_request__descriptor},
};

/* ---- made once ---- */

static struct pki_pair agent;
static struct tls_material material;
static struct tls_ctx *client_ctx;

static void prepare(void)
{
	struct tls_trust trust = {NULL, NULL, 0, NULL};
	static struct pki *pki;

	if (pki != NULL)
		return;
	pki = pki_new("fuzz");
	pki_issue(pki, &(struct pki_spec){.agent = true}, &agent);
	material = pki_material(&agent, pki);
	trust.ca = pki_ca(pki);
	trust.ca_len = strlen(trust.ca);
	fuzz_require(tls_bare_client_ctx_new(&client_ctx, &trust, NULL) == 0);
}

/* ---- a client's calls ---- */

static void on_message(struct grpc_call *g, const uint8_t *msg, size_t len, void *arg)
{
	(void)msg;
	(void)arg;
	grpc_credit(g, len);
}

static void on_done(struct grpc_call *g, const struct rpc_status *status, void *arg)
{
	struct client *c = arg;

	fuzz_require(status->code >= RPC_OK && status->code <= RPC_UNAUTHENTICATED);
	fuzz_require(c->scene->open-- > 0);
	if (c->last == g)
		c->last = NULL;
}

static struct grpc_call *call(struct client *c, size_t which)
{
	static const struct grpc_ops call_ops = {.on_message = on_message, .on_done = on_done};
	const struct grpc_client_options o = {.authority = "test", .path = methods[which].path};
	struct grpc_call *g = NULL;

	if (c->h2 == NULL || c->scene->calls++ >= CALLS_MAX)
		return NULL;
	if (grpc_open(&g, c->h2, c->scene->worker.base, &o, &call_ops, c) != 0)
		return NULL;
	c->scene->open++;
	c->last = g;
	return g;
}

static void call_built(struct client *c, struct fuzz_input *in)
{
	size_t which = fuzz_byte(in) % 4, len;
	uint8_t *packed = fuzz_message(in, methods[which].request, &len);
	struct grpc_call *g = call(c, which);

	if (g != NULL) {
		(void)grpc_send(g, packed, len);
		grpc_half_close(g);
	}
	free(packed);
}

static void call_part(struct client *c, struct fuzz_input *in)
{
	size_t which = fuzz_byte(in) % 4, len;
	const uint8_t *part = fuzz_part(in, &len);
	struct grpc_call *g = call(c, which);

	if (g == NULL)
		return;
	(void)grpc_send(g, part, len);
	grpc_half_close(g);
}

/* ---- its connection ---- */

static void on_closed(struct h2_conn *h2, const struct err *why, void *arg)
{
	struct client *c = arg;

	(void)h2;
	(void)why;
	c->h2 = NULL;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	static const struct h2_conn_ops ops = {.on_closed = on_closed};
	struct client *c = arg;
	char identity[TLS_IDENTITY_SIZE];

	c->bev = NULL;
	if ((what & BEV_EVENT_CONNECTED) != 0 && tls_established(bev, identity, NULL) == 0 &&
	    h2_conn_new(&c->h2, c->scene->worker.base, bev, false, NULL, &ops, c, tls_free, NULL) ==
	        0)
		return;
	tls_free(bev);
}

static void come(struct client *c, bool with_tls)
{
	const struct sockaddr *address = (const struct sockaddr *)&c->scene->address;
	int fd;

	if (c->raw >= 0 || c->bev != NULL || c->h2 != NULL)
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	fuzz_require(fd >= 0);
	if (connect(fd, address, c->scene->address_len) != 0) {
		/* The door is closed, or nobody has been let in for long. */
		fuzz_require(errno == ECONNREFUSED || errno == EAGAIN);
		close(fd);
		return;
	}
	if (!with_tls) {
		c->raw = fd;
		return;
	}
	fuzz_require(
	    tls_connect(&c->bev, c->scene->worker.base, client_ctx, fd, "localhost", NULL) == 0);
	bufferevent_setcb(c->bev, NULL, NULL, on_event, c);
}

static void leave(struct client *c)
{
	if (c->raw >= 0)
		close(c->raw);
	c->raw = -1;
	if (c->bev != NULL)
		tls_free(c->bev);
	c->bev = NULL;
	if (c->h2 != NULL)
		h2_close(c->h2, H2_NO_ERROR);
}

static void send_raw(struct client *c, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *part = fuzz_part(in, &len);

	if (c->raw >= 0)
		(void)!send(c->raw, part, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- telex-ca ---- */

static void connect_ca(struct scene *s)
{
	int pair[2];

	if (s->ca >= 0)
		close(s->ca);
	fuzz_require(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	s->ca = pair[1];
	ca_client_take(s->worker.ca, pair[0]);
}

/* The id of the oldest question; 0: there is none. */
static uint64_t oldest(struct scene *s)
{
	static uint8_t packet[CA_PACKET_MAX];
	Telex__Internal__V1__CaRequest *q;
	size_t len = sizeof(packet);
	uint64_t id;
	int fd;

	if (s->ca < 0 || ca_packet_receive(s->ca, packet, &len, &fd) != 0)
		return 0;
	fuzz_require(fd < 0);
	q = telex__internal__v1__ca_request__unpack(NULL, len, packet);
	fuzz_require(q != NULL && q->what_case != TELEX__INTERNAL__V1__CA_REQUEST__WHAT__NOT_SET);
	fuzz_require(q->id != 0 && q->peer[0] != '\0');
	id = q->id;
	telex__internal__v1__ca_request__free_unpacked(q, NULL);
	return id;
}

static int make_list(struct fuzz_input *in, uint8_t how)
{
	size_t len;
	const uint8_t *part;
	int fd = -1;

	if ((how & 4) != 0)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	if ((how & 2) == 0)
		return -1;
	part = fuzz_part(in, &len);
	fuzz_require(
	    memfile_freeze("fuzz", part, len < LIST_PART ? len : LIST_PART, &fd, NULL) == 0);
	return fd;
}

static void answer(struct scene *s, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);
	uint64_t id = oldest(s);
	int list = make_list(in, how);
	size_t len;
	uint8_t *packed = fuzz_message(in, &telex__internal__v1__ca_answer__descriptor, &len);
	Telex__Internal__V1__CaAnswer *a =
	    telex__internal__v1__ca_answer__unpack(NULL, len, packed);

	free(packed);
	if (a != NULL && s->ca >= 0) {
		if ((how & 1) == 0)
			a->id = id;
		len = telex__internal__v1__ca_answer__get_packed_size(a);
		packed = xmalloc(len + 1);
		telex__internal__v1__ca_answer__pack(a, packed);
		(void)ca_packet_send(s->ca, packed, len, list);
		free(packed);
	}
	if (a != NULL)
		telex__internal__v1__ca_answer__free_unpacked(a, NULL);
	if (list >= 0)
		close(list);
}

static void send_packet(struct scene *s, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *part = fuzz_part(in, &len);

	if (s->ca >= 0)
		(void)ca_packet_send(s->ca, part, len, -1);
}

static void die(struct scene *s, bool followed)
{
	if (s->ca >= 0)
		close(s->ca);
	s->ca = -1;
	if (followed)
		connect_ca(s);
}

/* ---- the whole ---- */

static void on_ended(void *arg)
{
	(void)arg;
}

static void turn(struct scene *s)
{
	for (int i = 0; i < 16; i++)
		event_base_loop(s->worker.base, EVLOOP_NONBLOCK);
}

static void set_up(struct scene *s)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(s, 0, sizeof(*s));
	s->ca = -1;
	for (size_t i = 0; i < CLIENTS; i++)
		s->clients[i] = (struct client){.scene = s, .raw = -1};
	s->worker.base = event_base_new();
	s->worker.config.enroll_attempts = 3;
	s->worker.ca = ca_client_new(s->worker.base);
	connect_ca(s);
	s->door = enroll_door_new(&s->worker, on_ended, s);
	/* A name that the kernel chooses, in no folder. */
	s->address.sun_family = AF_UNIX;
	fuzz_require(fd >= 0 && bind(fd, (struct sockaddr *)&s->address, sizeof(sa_family_t)) == 0);
	s->address_len = sizeof(s->address);
	fuzz_require(getsockname(fd, (struct sockaddr *)&s->address, &s->address_len) == 0 &&
	             listen(fd, CLIENTS) == 0);
	enroll_door_listen(s->door, fd, "fuzz");
	fuzz_require(enroll_door_open(s->door, &material, NULL) == 0);
}

static void tear_down(struct scene *s)
{
	for (size_t i = 0; i < CLIENTS; i++)
		leave(&s->clients[i]);
	enroll_door_drain(s->door);
	enroll_door_close(s->door);
	for (int i = 0; i < 100000 && (enroll_door_count(s->door) > 0 || s->open > 0); i++)
		event_base_loop(s->worker.base, EVLOOP_ONCE);
	fuzz_require(enroll_door_count(s->door) == 0 && s->open == 0);
	for (size_t i = 0; i < CLIENTS; i++)
		fuzz_require(s->clients[i].h2 == NULL);
	enroll_door_free(s->door);
	ca_client_free(s->worker.ca);
	attempts_free(s->worker.attempts);
	shared_answer_unref(s->worker.list);
	if (s->ca >= 0)
		close(s->ca);
	event_base_free(s->worker.base);
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t byte = fuzz_byte(in);
	struct client *c = &s->clients[byte >> 7];

	switch ((byte & 15u) % 11u) {
	case 0:
		come(c, (fuzz_byte(in) & 1) != 0);
		break;
	case 1:
		send_raw(c, in);
		break;
	case 2:
		call_built(c, in);
		break;
	case 3:
		call_part(c, in);
		break;
	case 4:
		if (c->last != NULL)
			grpc_cancel(c->last);
		break;
	case 5:
		leave(c);
		break;
	case 6:
		answer(s, in);
		break;
	case 7:
		send_packet(s, in);
		break;
	case 8:
		die(s, (fuzz_byte(in) & 1) != 0);
		break;
	case 9:
		if ((byte & 16) != 0)
			enroll_door_close(s->door);
		else
			enroll_door_drain(s->door);
		break;
	default:
		turn(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct scene s;

	fuzz_log_nowhere();
	prepare();
	set_up(&s);
	for (int i = 0; i < ACTS_MAX && in.left > 0; i++)
		act(&s, &in);
	turn(&s);
	tear_down(&s);
	return 0;
}
