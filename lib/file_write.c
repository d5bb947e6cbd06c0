/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Write: a stream of bytes that can be read only once. Where the connection or what serves us is
 * lost, the agent is asked how much it has, and it goes on from there.
 *
 * How much of what was sent is in the agent's file is not told before the end. But what lies
 * between is bounded: our output and the windows of the connection, the agent's socket to
 * telex-files and that one's buffer, less than 5 MiB in all. So the last HISTORY bytes that were
 * sent are kept, and nothing is ever asked while all goes well.
 *
 * The writer is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * in_callback.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/duration.h"
#include "common/rpc.h"
#include "lib/client.h"
#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/file_write_message.h"
#include "lib/request.h"
#include "lib/retry.h"
#include "lib/stdin_queue.h"
#include "lib/watchdog.h"

#define HISTORY    ((size_t)8 << 20)
#define ROOM       (HISTORY + ((size_t)1 << 20))
#define ROOM_AGAIN (ROOM - ((size_t)512 << 10)) /* room() is called when less than this is held */
#define ID_BYTES   16
#define SETTLED_NS (2 * NS_PER_S) /* a call that lived so long was no try that failed */
#define DEATHS_MAX 20             /* with nothing written between: it dies of what we ask */

enum phase {
	WRITING,  /* Write */
	ASKING,   /* GetUpload: how much is there */
	CHECKING, /* Checksum: the end was sent, and there is no upload any more */
};

struct telex_file_writer {
	struct call call;
	struct telex_file_write o; /* its own copies */
	struct telex_file_write_ops ops;
	void *arg;
	enum phase phase;
	char id[2 * ID_BYTES + 1]; /* "": it cannot be gone on with */
	struct stdin_queue *queue;
	struct digest *digest; /* of all that was taken */
	uint8_t sha256[DIGEST_SIZE];
	struct watchdog *watchdog;
	struct event *turn;
	uint64_t offset;  /* where this call begins */
	uint64_t taken;   /* bytes in all */
	uint64_t size;    /* of the file, as the agent says */
	bool end_wanted;  /* no more comes: sha256 is known */
	bool end_sent;    /* with this call */
	bool end_tried;   /* with any */
	bool same;        /* what was checked is what was to be written */
	bool opened;      /* once */
	bool told;        /* that it is lost */
	int64_t lost_ns;  /* since when; 0: it never was */
	int64_t since_ns; /* when this call was opened; 0: it is not */
	unsigned deaths;  /* of who serves us, since more was written */
	bool room_wanted;
	bool in_callback, cancelled, over;
};

static struct telex_file_writer *writer_of(struct call *c)
{
	return (struct telex_file_writer *)c; /* call is the first */
}

static void writer_free(struct telex_file_writer *w)
{
	if (w->turn != NULL)
		event_free(w->turn);
	watchdog_free(w->watchdog);
	digest_free(w->digest);
	stdin_queue_free(w->queue);
	free((char *)(uintptr_t)w->o.user);
	free((char *)(uintptr_t)w->o.path);
	free(w);
}

static void fail_no_memory(struct telex_file_writer *w)
{
	struct telex_error error;

	error_no_memory(&error);
	call_fail(&w->call, &error);
}

static void broken(struct telex_file_writer *w, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", what);
	error.code = RPC_INTERNAL;
	call_fail(&w->call, &error);
}

/* ---- sending ---- */

/* False: it was freed. */
static bool tell_room(struct telex_file_writer *w)
{
	if (!w->room_wanted || stdin_queue_held(w->queue) > ROOM_AGAIN)
		return true;
	w->room_wanted = false;
	w->in_callback = true;
	w->ops.room(w, w->arg);
	w->in_callback = false;
	if (!w->cancelled)
		return true;
	writer_free(w);
	return false;
}

static int send_bytes(struct telex_file_writer *w, struct rpc_call *rpc)
{
	int rc = 0;

	while (rc == 0 && stdin_queue_unsent(w->queue) > 0 && rpc_pending(rpc) < H2_SEND_HIGH)
		rc = file_write_message_chunk(rpc, w->queue);
	return rc;
}

static int send_end(struct telex_file_writer *w, struct rpc_call *rpc)
{
	int rc;

	if (!w->end_wanted || w->end_sent || stdin_queue_unsent(w->queue) > 0)
		return 0;
	rc = file_write_message_end(rpc, w->sha256, false);
	if (rc == 0)
		rpc_half_close(rpc);
	w->end_sent = w->end_tried = true;
	return rc;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct telex_file_writer *w = arg;
	struct rpc_call *rpc = call_rpc(&w->call);
	uint64_t sent;
	int rc;

	(void)fd;
	(void)what;
	if (rpc == NULL || w->phase != WRITING)
		return;
	rc = send_bytes(w, rpc);
	sent = stdin_queue_sent(w->queue);
	if (sent > HISTORY)
		(void)stdin_queue_ack(w->queue, sent - HISTORY);
	if (rc == 0)
		rc = send_end(w, rpc);
	/* What the call's end refuses is told by the call's end. */
	if (rc == TX_ENOMEM)
		fail_no_memory(w);
	else
		(void)tell_room(w);
}

static void schedule(struct telex_file_writer *w)
{
	event_active(w->turn, EV_TIMEOUT, 1);
}

static void on_opened(struct call *c)
{
	struct telex_file_writer *w = writer_of(c);
	struct rpc_call *rpc = call_rpc(c);
	int rc;

	w->opened = true;
	w->since_ns = clock_monotonic_ns();
	watchdog_start(w->watchdog);
	if (w->phase == ASKING)
		rc = file_write_message_ask(rpc, &w->o, w->id);
	else if (w->phase == CHECKING)
		rc = file_write_message_check(rpc, &w->o);
	else
		rc = file_write_message_begin(rpc, &w->o, w->id, w->offset);
	if (rc == TX_ENOMEM)
		fail_no_memory(w);
	else if (w->phase == WRITING)
		schedule(w);
}

static void on_writable(struct call *c)
{
	schedule(writer_of(c));
}

/* ---- answers ---- */

static bool is_sha256(const struct telex_file_writer *w, const ProtobufCBinaryData *digest)
{
	return digest->len == DIGEST_SIZE && memcmp(digest->data, w->sha256, DIGEST_SIZE) == 0;
}

static void take_written(struct telex_file_writer *w, const Telex__V1__WriteResponse *response)
{
	if (!w->end_sent || !is_sha256(w, &response->sha256))
		broken(w, "it says that another file was written than was sent");
	w->size = response->size;
}

static void on_message(struct call *c, const ProtobufCMessage *msg)
{
	struct telex_file_writer *w = writer_of(c);
	const Telex__V1__ChecksumResponse *sum = (const Telex__V1__ChecksumResponse *)msg;

	switch (w->phase) {
	case WRITING:
		take_written(w, (const Telex__V1__WriteResponse *)msg);
		break;
	case ASKING:
		w->size = ((const Telex__V1__GetUploadResponse *)msg)->offset;
		break;
	case CHECKING:
		w->same = sum->length == w->taken && is_sha256(w, &sum->digest);
		w->size = sum->length;
		break;
	}
}

/* ---- coming back ---- */

#define SERVICE .service = FILE_INFO_SERVICE

static const struct call_method methods[] = {
    [WRITING] = {SERVICE, .method = "Write", .response = &telex__v1__write_response__descriptor},
    [ASKING] = {SERVICE, .method = "GetUpload",
        .response = &telex__v1__get_upload_response__descriptor},
    [CHECKING] = {SERVICE, .method = "Checksum",
        .response = &telex__v1__checksum_response__descriptor},
};

static void finish(struct telex_file_writer *w, const struct telex_error *error)
{
	const struct telex_file_written written = {.size = w->size, .sha256 = w->sha256};

	w->over = true;
	w->ops.done(w, error == NULL ? &written : NULL, error, w->arg);
	writer_free(w);
}

static void finish_error(struct telex_file_writer *w, struct telex_error *why)
{
	if (w->lost_ns != 0 && retry_may_pass(why))
		error_given_up(why, clock_monotonic_ns() - w->lost_ns);
	finish(w, why);
}

/* From `done`: the next call is of this phase. why: how it ends if it cannot begin. */
static void again(struct telex_file_writer *w, enum phase phase, const struct telex_error *why)
{
	struct telex_error error = *why;
	int rc;

	w->phase = phase;
	w->since_ns = 0;
	w->call.method = &methods[phase];
	rc = call_again(&w->call, why);
	if (rc == 0)
		return;
	if (rc == TX_ENOMEM)
		error_no_memory(&error);
	finish_error(w, &error);
}

/* False: it was cancelled, and freed. */
static bool tell_lost(struct telex_file_writer *w, const struct telex_error *why)
{
	w->told = why != NULL;
	w->in_callback = true;
	if (why != NULL && w->ops.interrupted != NULL)
		w->ops.interrupted(w, why, w->arg);
	else if (why == NULL && w->ops.resumed != NULL)
		w->ops.resumed(w, w->arg);
	w->in_callback = false;
	if (!w->cancelled)
		return true;
	writer_free(w);
	return false;
}

static bool may_come_back(struct telex_file_writer *w, const struct telex_error *error)
{
	const int64_t reconnect_ns = w->call.client->reconnect_ns, now = clock_monotonic_ns();

	if (!w->opened || reconnect_ns < 0 || w->id[0] == '\0' ||
	    !(retry_may_pass(error) || retry_busy(error)))
		return false;
	if (retry_died(error) && ++w->deaths > DEATHS_MAX)
		return false;
	if (w->lost_ns == 0 ||
	    (w->phase == WRITING && w->since_ns != 0 && now - w->since_ns > SETTLED_NS)) {
		w->lost_ns = now;
		w->call.tries = 0;
	}
	w->call.give_up_ns = w->lost_ns + reconnect_ns;
	return now < w->call.give_up_ns;
}

/* The source has gone on, and the agent has less than that by more than is kept. */
static void held_no_longer(struct telex_file_writer *w, uint64_t offset)
{
	struct telex_error error;

	if (w->end_tried)
		error_set(&error, TELEX_ERROR_LOST,
		    "the connection to %s was lost before it had said whether the file is "
		    "written; what was sent is not held here any more",
		    w->call.client->address.authority);
	else
		error_set(&error, TELEX_ERROR_LOST,
		    "the connection to %s was lost, and of %llu bytes it has only the first %llu; "
		    "those that follow are not held here any more, and the file is as it was",
		    w->call.client->address.authority, (unsigned long long)w->taken,
		    (unsigned long long)offset);
	finish(w, &error);
}

/* The agent has so many bytes of it. */
static void go_on(struct telex_file_writer *w, uint64_t offset, const struct telex_error *why)
{
	if (stdin_queue_rewind(w->queue, offset) < 0) {
		held_no_longer(w, offset);
		return;
	}
	if (offset > w->offset)
		w->deaths = 0;
	w->offset = offset;
	w->end_sent = false;
	if (!w->told || tell_lost(w, NULL))
		again(w, WRITING, why);
}

static bool has_reason(const struct telex_error *error, const char *reason)
{
	return error != NULL && error->kind == TELEX_ERROR_STATUS &&
	       strcmp(error->reason, reason) == 0;
}

static void done_asking(struct telex_file_writer *w, const struct telex_error *error)
{
	struct telex_error why = {
	    .kind = TELEX_ERROR_LOST, .message = "the upload could not be gone on with"};

	if (error == NULL)
		go_on(w, w->size, &why);
	else if (has_reason(error, "NO_SUCH_UPLOAD") && w->end_tried)
		again(w, CHECKING, error);
	else
		go_on(w, 0, error);
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_file_writer *w = writer_of(c);
	struct telex_error why;

	if (error == NULL && (w->phase == WRITING || (w->phase == CHECKING && w->same))) {
		finish(w, NULL);
		return;
	}
	if (error != NULL)
		why = *error;
	else
		error_set(&why, TELEX_ERROR_LOST, "the upload could not be gone on with");
	if (error != NULL && may_come_back(w, &why)) {
		if (w->told || has_reason(&why, "UPLOAD_BUSY") || tell_lost(w, &why))
			again(w, w->phase == WRITING ? ASKING : w->phase, &why);
	} else if (w->phase == ASKING && (error == NULL || has_reason(&why, "NO_SUCH_UPLOAD"))) {
		done_asking(w, error);
	} else if (w->phase == CHECKING && (error == NULL || !retry_may_pass(&why))) {
		go_on(w, 0, &why);
	} else if (w->phase == WRITING && has_reason(&why, "OFFSET_AHEAD") && w->id[0] != '\0' &&
	           ++w->deaths <= DEATHS_MAX) {
		again(w, ASKING, &why);
	} else {
		finish_error(w, &why);
	}
}

static void on_drop(struct call *c)
{
	writer_free(writer_of(c));
}

static const struct call_ops writer_ops = {.opened = on_opened,
    .message = on_message,
    .writable = on_writable,
    .done = on_done,
    .drop = on_drop};

/* ---- the API ---- */

static int check(const struct telex_file_write *write, const struct telex_file_write_ops *ops,
    struct telex_error *error)
{
	ProtobufCBinaryData path;

	if (file_info_path(&path, "path", write->path, error) < 0)
		return -1;
	if (ops->room == NULL || ops->done == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "writing a file needs room and done");
	if (write->set_mode && write->mode > 07777)
		return error_set(error, TELEX_ERROR_USAGE, "a mode is at most 7777");
	if (write->replace != TELEX_REPLACE_ALWAYS && write->replace != TELEX_REPLACE_NEVER)
		return error_set(error, TELEX_ERROR_USAGE,
		    "what is written replaces a file or does not, and changes places with none");
	if (write->append && (write->replace == TELEX_REPLACE_NEVER || write->set_modified))
		return error_set(error, TELEX_ERROR_USAGE,
		    "what is appended to may be there, and keeps no time");
	return 0;
}

static int make_id(struct telex_file_writer *w, struct telex_error *error)
{
	uint8_t bytes[ID_BYTES];

	/* What is appended to cannot be taken up again: others may append meanwhile. */
	if (w->o.append)
		return 0;
	if (request_random(bytes, sizeof(bytes), error) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(w->id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static struct telex_file_writer *writer_new(
    struct event_base *base, const struct telex_file_write *write)
{
	struct telex_file_writer *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->o = *write;
	w->o.user = strdup(write->user != NULL ? write->user : "");
	w->o.path = strdup(write->path);
	w->queue = stdin_queue_new(ROOM);
	w->digest = digest_new();
	w->watchdog = watchdog_new(base, &w->call);
	w->turn = evtimer_new(base, on_turn, w);
	if (w->o.user != NULL && w->o.path != NULL && w->queue != NULL && w->digest != NULL &&
	    w->watchdog != NULL && w->turn != NULL)
		return w;
	writer_free(w);
	return NULL;
}

int telex_file_write(struct telex_client *client, struct telex_file_writer **out,
    const struct telex_file_write *write, const struct telex_file_write_ops *ops, void *arg,
    struct telex_error *error)
{
	struct telex_file_writer *w;

	if (check(write, ops, error) < 0)
		return -1;
	w = writer_new(client->base, write);
	if (w == NULL)
		return error_no_memory(error);
	w->ops = *ops;
	w->arg = arg;
	if (make_id(w, error) < 0 ||
	    call_start(&w->call, client, &methods[WRITING], &writer_ops, 0, error) < 0) {
		writer_free(w);
		return -1;
	}
	*out = w;
	return 0;
}

size_t telex_file_writer_write(struct telex_file_writer *w, const void *data, size_t len)
{
	size_t taken = 0;

	if (w->cancelled || w->over || w->end_wanted)
		return len;
	if (stdin_queue_put(w->queue, data, len, &taken) < 0 ||
	    digest_add(w->digest, data, taken) < 0) {
		fail_no_memory(w);
		return len;
	}
	w->taken += taken;
	w->room_wanted = taken < len;
	if (taken > 0)
		schedule(w);
	return taken;
}

void telex_file_writer_end(struct telex_file_writer *w)
{
	if (w->cancelled || w->over || w->end_wanted)
		return;
	w->end_wanted = true;
	w->room_wanted = false;
	if (digest_end(w->digest, w->sha256) < 0)
		fail_no_memory(w);
	else
		schedule(w);
}

void telex_file_writer_cancel(struct telex_file_writer *w)
{
	struct rpc_call *rpc;

	if (w == NULL || w->cancelled || w->over)
		return;
	w->cancelled = true;
	rpc = call_rpc(&w->call);
	/* What it has of it is not kept for anybody. */
	if (rpc != NULL && w->phase == WRITING && !w->end_sent &&
	    file_write_message_end(rpc, w->sha256, true) == 0)
		call_leave(&w->call);
	else
		call_cancel(&w->call);
	if (!w->in_callback)
		writer_free(w);
}
