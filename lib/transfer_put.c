/* SPDX-License-Identifier: Apache-2.0 */
/* Put: we send, the agent receives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/request.h"
#include "lib/transfer.h"

#define FIELD_SEND    2 /* of PutTreeRequest */
#define FIELD_STARTED 1 /* of PutTreeResponse */
#define FIELD_RECEIVE 2

static bool several(const struct telex_transfer *t)
{
	return t->o.sources[1] != NULL;
}

static int prepare(struct telex_transfer *t, struct telex_error *error)
{
	if (transfer_open_sources(&t->paths, &t->o, several(t), error) < 0)
		return -1;
	return transfer_put_id(t->id, &t->paths, &t->o) < 0 ? error_no_memory(error) : 0;
}

static int begin_engine(struct telex_transfer *t)
{
	struct tree_sender_config cfg = {.options = &t->tree,
	    .sources = t->paths.sources,
	    .n_sources = t->paths.n_sources,
	    .salt = t->o.target,
	    .title = t->o.sources[0],
	    .had = t->set,
	    .emit = transfer_emit,
	    .note = transfer_note,
	    .arg = t};

	return tree_sender_new(&t->sender, &cfg);
}

/* Where the first try went, the next goes: a folder that it made is there by now, and if only its
 * last answer was lost, finished. */
static void go_where_it_began(const struct telex_transfer *t, Telex__V1__PutTreeStart *start)
{
	if (t->base == NULL || start->name.len == 0)
		return;
	start->path = request_bytes(t->base, strlen(t->base));
	start->name = request_bytes("", 0);
	start->into = false;
}

static int note_base(struct telex_transfer *t, const uint8_t *msg, size_t len)
{
	Telex__V1__PutTreeStarted *m = telex__v1__put_tree_started__unpack(NULL, len, msg);
	int rc = 0;

	if (m != NULL && t->base == NULL && m->path.len > 0) {
		t->base = strndup((const char *)m->path.data, m->path.len);
		rc = t->base != NULL ? 0 : TX_ENOMEM;
	}
	if (m != NULL)
		telex__v1__put_tree_started__free_unpacked(m, NULL);
	return rc;
}

static int begin(struct telex_transfer *t, struct telex_error *error)
{
	Telex__V1__PutTreeRequest request = TELEX__V1__PUT_TREE_REQUEST__INIT;
	Telex__V1__PutTreeStart start = TELEX__V1__PUT_TREE_START__INIT;
	char *name = t->o.contents || several(t) ? NULL : transfer_last(t->o.sources[0]);
	int rc;

	if (name == NULL && !t->o.contents && !several(t))
		return error_no_memory(error);
	/* "." and "/": by what it is called where it is. */
	if (name != NULL && name[0] == '\0' && strcmp(t->paths.sources[0].name, ".") != 0) {
		free(name);
		name = strdup(t->paths.sources[0].name);
		if (name == NULL)
			return error_no_memory(error);
	}
	request.request_case = TELEX__V1__PUT_TREE_REQUEST__REQUEST_START;
	request.start = &start;
	start.user = request_text(t->o.user);
	start.path = request_bytes(t->o.target, strlen(t->o.target));
	start.options = &t->tree;
	start.transfer_id = t->id;
	start.parents = t->o.parents;
	start.into = t->o.into || several(t);
	if (name != NULL)
		start.name = request_bytes(name, strlen(name));
	go_where_it_began(t, &start);
	rc = rpc_send(call_rpc(&t->call), &request.base);
	free(name);
	if (rc == 0 || rc == TX_ECLOSED)
		rc = begin_engine(t);
	return rc == TX_ENOMEM ? error_no_memory(error) : 0;
}

static int step(struct telex_transfer *t, struct err *e)
{
	if (!t->started)
		return 0;
	(void)e;
	return tree_sender_step(t->sender);
}

static int take(
    struct telex_transfer *t, uint32_t field, const uint8_t *msg, size_t len, struct err *e)
{
	int rc;

	if (field == FIELD_STARTED) {
		t->started = true;
		return note_base(t, msg, len);
	}
	if (field != FIELD_RECEIVE || t->ended)
		return 0;
	rc = tree_sender_receive(t->sender, msg, len, e);
	if (rc == 0 && tree_sender_summary(t->sender) != NULL && !t->cancelled)
		transfer_finish(t);
	return rc;
}

static const struct call_method method = {
    .service = "telex.v1.FileService",
    .method = "PutTree",
    .response = &telex__v1__put_tree_response__descriptor,
    .server_stream = true,
};

const struct transfer_side transfer_put_side = {
    .method = &method,
    .prepare = prepare,
    .begin = begin,
    .step = step,
    .take = take,
    .request_field = FIELD_SEND,
};
