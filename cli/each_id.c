/* SPDX-License-Identifier: Apache-2.0 */
/* One question after another; a refusal of one does not keep the others from being asked. */
#include "cli/each_id.h"

#include "cli/end.h"
#include "cli/find.h"
#include "cli/output.h"

static void print_json(const struct each_id *what, const char *id, const struct telex_error *error)
{
	json_t *o = json_object();

	json_object_set_new(o, "process_id", output_json_text(id));
	if (what->tell)
		what->tell(o, what->arg);
	json_object_set_new(o, what->did, json_boolean(!error));
	if (error)
		json_object_set_new(o, "error", end_error_json(error));
	output_json(o);
}

static int one(struct session *s, const struct each_id *what, const char *word)
{
	char id[FIND_ID];
	int r = find_ask(s, word, id, what->ask, what->arg);

	if (s->json)
		print_json(what, id, r < 0 ? &s->error : NULL);
	if (r == 0)
		return CLI_OK;
	session_say_of(s, what->verb, word, &s->error);
	return s->error.kind == TELEX_ERROR_STATUS ? CLI_FAILED : CLI_TELEX;
}

int each_id(struct cli *cli, const struct options *o, const struct each_id *what)
{
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	for (size_t i = 0; i < o->n_operands && status != CLI_TELEX; i++) {
		int r = one(&s, what, o->operands[i]);

		status = r == CLI_OK ? status : r;
	}
	session_close(&s);
	return status;
}
