/* SPDX-License-Identifier: Apache-2.0 */
/* Get: the agent sends, we receive. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/request.h"
#include "lib/transfer.h"

#define FIELD_RECEIVE 2 /* of GetTreeRequest */
#define FIELD_SEND    1 /* of GetTreeResponse */
#define SPECIAL_BITS  07000u

static int prepare(struct telex_transfer *t, struct telex_error *error)
{
	if (transfer_get_id(t->id, &t->o) < 0)
		return error_no_memory(error);
	return transfer_open_target(&t->paths, &t->o, t->id, &t->o.contents, error);
}

/* There is no way to ask without setting it. */
static unsigned current_umask(void)
{
	mode_t was = umask(077);

	umask(was);
	return was;
}

static int begin_engine(struct telex_transfer *t)
{
	struct tree_receiver_config cfg = {.options = &t->tree,
	    .parent_fd = t->paths.parent_fd,
	    .name = t->paths.name,
	    .title = t->o.target,
	    .target_fd = t->paths.target_fd,
	    .umask = current_umask(),
	    .special = t->o.keep_special_bits ? SPECIAL_BITS : 0,
	    .links_stay = !t->o.any_links,
	    .any_owner = geteuid() == 0,
	    .marker = t->id,
	    .only = t->o.contents ? NULL : (const char *const *)t->paths.only,
	    .had = t->set,
	    .emit = transfer_emit,
	    .note = transfer_note,
	    .arg = t};

	return tree_receiver_new(&t->receiver, &cfg);
}

static int begin(struct telex_transfer *t, struct telex_error *error)
{
	Telex__V1__GetTreeRequest request = TELEX__V1__GET_TREE_REQUEST__INIT;
	Telex__V1__GetTreeStart start = TELEX__V1__GET_TREE_START__INIT;
	Telex__V1__TreeOptions options = t->tree;
	size_t n = 0;
	int rc;

	while (t->o.sources[n] != NULL)
		n++;
	start.paths = calloc(n, sizeof(*start.paths));
	if (start.paths == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		start.paths[i] = request_bytes(t->o.sources[i], strlen(t->o.sources[i]));
	start.n_paths = n;
	/* What came before the cut is there: its content need not come with its entry. */
	if (tree_set_count(t->set) > 0)
		options.eager = false;
	start.options = &options;
	start.user = request_text(t->o.user);
	start.contents = t->o.contents;
	request.request_case = TELEX__V1__GET_TREE_REQUEST__REQUEST_START;
	request.start = &start;
	rc = rpc_send(call_rpc(&t->call), &request.base);
	free(start.paths);
	if (rc == 0 || rc == TX_ECLOSED)
		rc = begin_engine(t);
	if (rc == TX_ENOMEM)
		return error_no_memory(error);
	return rc == TX_ESYS
	           ? error_set(error, TELEX_ERROR_SYSTEM, "%s: cannot be opened again", t->o.target)
	           : 0;
}

/* Answers go once what came in this turn is dealt with. */
static int step(struct telex_transfer *t, struct err *e)
{
	(void)e;
	return tree_receiver_flush(t->receiver);
}

static int take(
    struct telex_transfer *t, uint32_t field, const uint8_t *msg, size_t len, struct err *e)
{
	int rc;

	if (field != FIELD_SEND || t->ended)
		return 0;
	rc = tree_receiver_take(t->receiver, msg, len, e);
	if (rc == 0 && tree_receiver_finished(t->receiver) && !t->cancelled)
		transfer_finish(t);
	return rc;
}

static const struct call_method method = {
    .service = "telex.v1.FileService",
    .method = "GetTree",
    .response = &telex__v1__get_tree_response__descriptor,
    .server_stream = true,
};

const struct transfer_side transfer_get_side = {
    .method = &method,
    .prepare = prepare,
    .begin = begin,
    .step = step,
    .take = take,
    .request_field = FIELD_RECEIVE,
};
