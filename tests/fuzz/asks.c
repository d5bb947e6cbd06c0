/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/asks.h"

#include <stdio.h>
#include <string.h>

#include "tests/fuzz/asks_watch.h"

void asks_look(const char *text)
{
	if (text != NULL)
		fuzz_require(strlen(text) < 1 << 24);
}

static void look_at_list(const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		asks_look(list[i]);
}

static void look_at_bytes(const void *data, size_t len)
{
	static volatile uint8_t sum;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
}

static void look_at_error(const struct telex_error *e)
{
	if (e != NULL)
		fuzz_require(e->kind != TELEX_OK && e->message[0] != '\0');
}

void asks_done(const struct telex_error *error, void *arg)
{
	struct ask *k = arg;

	look_at_error(error);
	fuzz_require(k->open);
	memset(k, 0, sizeof(*k));
}

/* ---- what the questions tell ---- */

static void on_exit_told(const struct telex_exit *x, void *arg)
{
	(void)arg;
	fuzz_require(x->end >= TELEX_END_CODE && x->end <= TELEX_END_NOT_STARTED);
	asks_look(x->signal_name);
	asks_look(x->ended_by);
	asks_look(x->unknown_why);
	asks_look(x->stage);
}

static void on_process(const struct telex_process *p, void *arg)
{
	asks_look(p->process_id);
	asks_look(p->owner);
	asks_look(p->user);
	asks_look(p->group);
	look_at_list(p->argv, p->argc);
	if (p->exit != NULL)
		on_exit_told(p->exit, arg);
}

static void on_summary(const struct telex_list_summary *s, void *arg)
{
	(void)s;
	(void)arg;
}

static void on_offset(uint64_t offset, bool closed, void *arg)
{
	(void)offset;
	(void)closed;
	(void)arg;
}

static void on_group(const struct telex_group *g, void *arg)
{
	(void)arg;
	asks_look(g->name);
}

static void on_two(uint32_t a, uint32_t b, void *arg)
{
	(void)a;
	(void)b;
	(void)arg;
}

static void on_one(uint32_t a, void *arg)
{
	(void)a;
	(void)arg;
}

static void on_count(uint64_t n, void *arg)
{
	(void)n;
	(void)arg;
}

static void on_info(const struct telex_info *i, void *arg)
{
	(void)arg;
	asks_look(i->version);
	asks_look(i->hostname);
	asks_look(i->tls_cipher);
	asks_look(i->revocations_when_stale);
	look_at_list(i->capabilities, i->n_capabilities);
	look_at_list(i->groups, i->n_groups);
	for (size_t k = 0; k < i->n_confinements; k++) {
		asks_look(i->confinements[k].name);
		asks_look(i->confinements[k].note);
	}
}

static void on_health(bool serving, void *arg)
{
	(void)serving;
	(void)arg;
}

static void on_certificate(const struct telex_certificate *c, void *arg)
{
	(void)arg;
	asks_look(c->chain);
	asks_look(c->ca);
}

static void on_list(const char *pem, size_t len, void *arg)
{
	(void)arg;
	look_at_bytes(pem, len);
}

static void on_taken(const struct telex_revocations_taken *t, void *arg)
{
	(void)t;
	(void)arg;
}

static void on_file(const struct telex_file *f, void *arg)
{
	(void)arg;
	asks_look(f->path);
	asks_look(f->user);
	asks_look(f->group);
	asks_look(f->link_target);
	look_at_list(f->flags, f->n_flags);
	for (size_t i = 0; i < f->n_extended; i++) {
		asks_look(f->extended[i].name);
		look_at_bytes(f->extended[i].value, f->extended[i].len);
	}
}

static void on_entry(const struct telex_file *f, const struct telex_file_failure *why, void *arg)
{
	on_file(f, arg);
	if (why != NULL) {
		asks_look(why->reason);
		asks_look(why->message);
	}
}

static void on_copied(const struct telex_copied *c, void *arg)
{
	(void)c;
	(void)arg;
}

static void on_target(const char *target, void *arg)
{
	(void)arg;
	asks_look(target);
}

static void on_filesystem(const struct telex_filesystem *f, void *arg)
{
	(void)arg;
	asks_look(f->type);
}

static void on_digest(const void *digest, size_t len, uint64_t bytes, void *arg)
{
	(void)bytes;
	(void)arg;
	look_at_bytes(digest, len);
}

/* ---- runs, readers, writers, transfers ---- */

static struct asks *asks;

static void on_started(struct telex_run *run, const struct telex_started *s, void *arg)
{
	(void)run;
	(void)arg;
	asks_look(s->process_id);
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	struct ask *k = arg;

	(void)eof;
	fuzz_require(stream == TELEX_STDOUT || stream == TELEX_STDERR);
	look_at_bytes(data, len);
	if (asks->hold)
		k->owed[stream] += len;
	else
		telex_run_consumed(run, stream, len);
}

static void on_room(struct telex_run *run, void *arg)
{
	(void)run;
	(void)arg;
}

static void on_running(struct telex_run *run, uint32_t pid, void *arg)
{
	(void)run;
	(void)pid;
	(void)arg;
}

static void on_interrupted(struct telex_run *run, const struct telex_error *why, void *arg)
{
	(void)run;
	(void)arg;
	look_at_error(why);
}

static void on_skipped(
    struct telex_run *run, enum telex_stream stream, uint64_t from, uint64_t to, void *arg)
{
	(void)run;
	(void)stream;
	(void)arg;
	fuzz_require(from < to);
}

static void on_run_done(
    struct telex_run *run, const struct telex_exit *x, const struct telex_error *error, void *arg)
{
	(void)run;
	fuzz_require((x == NULL) != (error == NULL));
	if (x != NULL)
		on_exit_told(x, NULL);
	asks_done(error, arg);
}

static const struct telex_run_ops run_ops = {.started = on_started,
    .output = on_output,
    .stdin_room = on_room,
    .stdin_closed = on_room,
    .running = on_running,
    .interrupted = on_interrupted,
    .resumed = on_room,
    .skipped = on_skipped,
    .done = on_run_done};

static void on_read(struct telex_reader *r, enum telex_stream stream, uint64_t offset,
    const void *data, size_t len, void *arg)
{
	struct ask *k = arg;

	(void)stream;
	(void)offset;
	look_at_bytes(data, len);
	if (asks->hold)
		k->owed[0] += len;
	else
		telex_reader_consumed(r, len);
}

static void on_file_bytes(
    struct telex_file_reader *r, uint64_t offset, const void *data, size_t len, void *arg)
{
	struct ask *k = arg;

	(void)offset;
	look_at_bytes(data, len);
	if (asks->hold)
		k->owed[0] += len;
	else
		telex_file_reader_consumed(r, len);
}

static void on_file_end(const struct telex_file *f, bool changed, void *arg)
{
	(void)changed;
	on_file(f, arg);
}

static void on_writer_room(struct telex_file_writer *w, void *arg)
{
	(void)w;
	(void)arg;
}

static void on_writer_done(struct telex_file_writer *w, const struct telex_file_written *written,
    const struct telex_error *error, void *arg)
{
	(void)w;
	fuzz_require((written == NULL) != (error == NULL));
	asks_done(error, arg);
}

static void on_note(const struct telex_transfer_note *n, void *arg)
{
	(void)arg;
	asks_look(n->path);
	asks_look(n->reason);
	asks_look(n->message);
}

static void on_transfer_done(
    const struct telex_transfer_summary *summary, const struct telex_error *error, void *arg)
{
	fuzz_require(summary != NULL);
	asks_done(error, arg);
}

/* ---- beginning ---- */

static int begin_stream(struct ask *k, struct telex_client *c, uint8_t which)
{
	static const char *const argv[] = {"/bin/x", NULL};
	static const struct telex_file_write_ops write_ops = {
	    .room = on_writer_room, .done = on_writer_done};
	static const struct telex_transfer_ops tree_ops = {
	    .note = on_note, .done = on_transfer_done};
	const char *const source[] = {asks->folder, NULL}, *const there[] = {"/t", NULL};
	const struct telex_command command = {.argv = argv, .stdin_pipe = true, .process_id = "j"};
	const struct telex_attach attach = {.process_id = "j", .lossy = true};
	const struct telex_read read = {.process_id = "j"};
	const struct telex_file_read file = {.path = "/f"};
	const struct telex_file_write write = {.path = "/f"};
	const struct telex_transfer_options put = {
	    .sources = source, .target = "/t", .hard_links = true, .delta = true, .contents = true};
	const struct telex_transfer_options get = {.sources = there,
	    .target = asks->folder,
	    .extended_attributes = true,
	    .hard_links = true,
	    .into = true,
	    .totals = true,
	    .compress = true};

	switch (which) {
	case 0:
		return telex_run(c, &k->run, &command, &run_ops, k, NULL);
	case 1:
		return telex_attach(c, &k->run, &attach, &run_ops, k, NULL);
	case 2:
		return telex_read_output(c, &k->reader, &read, on_read, asks_done, k, NULL);
	case 3:
		return telex_file_read(
		    c, &k->file, &file, on_file_bytes, on_file_end, asks_done, k, NULL);
	case 4:
		return telex_file_write(c, &k->writer, &write, &write_ops, k, NULL);
	case 5:
		return telex_put_tree(c, &k->transfer, &put, &tree_ops, k, NULL);
	default:
		return telex_get_tree(c, &k->transfer, &get, &tree_ops, k, NULL);
	}
}

static int begin_question(struct ask *k, struct telex_client *c, uint8_t which)
{
	static const char *const argv[] = {"/bin/x", NULL};
	const struct telex_command command = {.argv = argv};
	const struct telex_signal_options sig = {.signo = 15};
	const struct telex_update update = {.set_nice = true};
	const struct telex_input input = {.data = "x", .len = 1};
	const struct telex_filter filter = {.usage = true};

	switch (which) {
	case 0:
		return telex_list(c, &filter, 0, on_process, on_summary, asks_done, k, NULL);
	case 1:
		return telex_get(c, "j", 0, on_process, asks_done, k, NULL);
	case 2:
		return telex_start(c, &command, 0, on_process, asks_done, k, NULL);
	case 3:
		return telex_wait(c, "j", true, 0, on_exit_told, asks_done, k, NULL);
	case 4:
		return telex_signal(c, "j", &sig, 0, asks_done, k, NULL);
	case 5:
		return telex_remove(c, "j", 0, asks_done, k, NULL);
	case 6:
		return telex_update(c, "j", &update, 0, asks_done, k, NULL);
	case 7:
		return telex_write_input(c, "j", &input, 0, on_offset, asks_done, k, NULL);
	case 8:
		return telex_group_get(c, "g", 0, on_group, asks_done, k, NULL);
	case 9:
		return telex_group_wait(c, "g", 0, on_process, asks_done, k, NULL);
	case 10:
		return telex_group_signal(c, "g", &sig, 0, on_two, asks_done, k, NULL);
	case 11:
		return telex_group_set_maximum(c, "g", 2, 0, on_group, asks_done, k, NULL);
	case 12:
		return telex_group_remove(c, "g", 0, on_one, asks_done, k, NULL);
	case 13:
		return telex_info(c, 0, on_info, asks_done, k, NULL);
	case 14:
		return telex_health(c, NULL, 0, on_health, asks_done, k, NULL);
	case 15:
		return telex_renew(
		    c, "chain", "csr", 3, "sig", 3, 0, on_certificate, asks_done, k, NULL);
	case 16:
		return telex_get_revocations(c, 0, 0, on_list, asks_done, k, NULL);
	default:
		return telex_put_revocations(c, "pem", 3, 0, on_taken, asks_done, k, NULL);
	}
}

static int begin_file(struct ask *k, struct telex_client *c, uint8_t which)
{
	const struct telex_list_options list = {.depth = 3, .extended_attributes = true};
	const struct telex_set_attributes set = {.set_mode = true, .mode = 0600};

	switch (which) {
	case 0:
		return telex_file_stat(c, NULL, "/f", NULL, 0, on_file, asks_done, k, NULL);
	case 1:
		return telex_file_list(c, NULL, "/d", &list, 0, on_entry, asks_done, k, NULL);
	case 2:
		return telex_file_make_directory(c, NULL, "/d", -1, true, 0, asks_done, k, NULL);
	case 3:
		return telex_file_remove(c, NULL, "/d", NULL, 0, on_count, asks_done, k, NULL);
	case 4:
		return telex_file_move(
		    c, NULL, "/a", "/b", TELEX_REPLACE_ALWAYS, 0, asks_done, k, NULL);
	case 5:
		return telex_file_copy(c, NULL, "/a", "/b", NULL, 0, on_copied, asks_done, k, NULL);
	case 6:
		return telex_file_set_attributes(
		    c, NULL, "/a", &set, 0, on_count, asks_done, k, NULL);
	case 7:
		return telex_file_link(
		    c, NULL, "/a", "/b", true, TELEX_REPLACE_ALWAYS, 0, asks_done, k, NULL);
	case 8:
		return telex_file_read_link(c, NULL, "/a", false, 0, on_target, asks_done, k, NULL);
	case 9:
		return telex_file_stat_filesystem(
		    c, NULL, "/a", 0, on_filesystem, asks_done, k, NULL);
	case 10:
		return telex_file_checksum(
		    c, NULL, "/a", TELEX_CHECKSUM_SHA256, 0, 0, 0, on_digest, asks_done, k, NULL);
	default:
		return telex_file_truncate(c, NULL, "/a", 5, 0, asks_done, k, NULL);
	}
}

void asks_begin(struct asks *a, struct telex_client *client, uint8_t which)
{
	struct ask *k = NULL;
	int rc;

	asks = a;
	for (size_t i = 0; i < ASKS_MAX && k == NULL; i++)
		if (!a->all[i].open)
			k = &a->all[i];
	if (k == NULL)
		return;
	memset(k, 0, sizeof(*k));
	k->open = true;
	if (which >= 48 && which < 64)
		rc = asks_watch_begin(a, k, client, which);
	else if (which < 64)
		rc = begin_stream(k, client, which % 7);
	else if (which < 128)
		rc = begin_file(k, client, which % 12);
	else
		rc = begin_question(k, client, which % 18);
	if (rc != 0)
		memset(k, 0, sizeof(*k));
}

/* ---- what it does with them ---- */

static void act_on_run(struct ask *k, uint8_t how)
{
	static const char much[5000];

	switch (how & 7) {
	case 0:
		(void)telex_run_write(k->run, much, how);
		break;
	case 1:
		(void)telex_run_write(k->run, much, sizeof(much));
		break;
	case 2:
		telex_run_write_eof(k->run);
		break;
	case 3:
		for (int s = TELEX_STDOUT; s <= TELEX_STDERR; s++) {
			telex_run_consumed(k->run, (enum telex_stream)s, k->owed[s]);
			k->owed[s] = 0;
		}
		break;
	case 4:
		(void)telex_run_signal(k->run, how >> 3, TELEX_TARGET_GROUP);
		break;
	case 5:
		telex_run_resize(k->run, how, 80);
		break;
	default:
		telex_run_detach(k->run);
		memset(k, 0, sizeof(*k));
	}
}

static void act_on_writer(struct ask *k, uint8_t how)
{
	static const char much[5000];

	if ((how & 3) == 0) {
		telex_file_writer_cancel(k->writer);
		memset(k, 0, sizeof(*k));
	} else if ((how & 3) == 1) {
		telex_file_writer_end(k->writer);
	} else {
		(void)telex_file_writer_write(k->writer, much, (size_t)how * 16);
	}
}

void asks_act(struct asks *a, struct fuzz_input *in)
{
	uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
	struct ask *k = &a->all[which % ASKS_MAX];
	size_t owed = k->owed[0];
	bool cancel = (how & 3) == 0;

	asks = a;
	a->hold = (which & 128) != 0;
	if (k->run != NULL) {
		act_on_run(k, how);
		return;
	}
	if (k->writer != NULL) {
		act_on_writer(k, how);
		return;
	}
	if (k->watch != NULL) {
		asks_watch_act(k, how);
		return;
	}
	k->owed[0] = 0;
	if (k->reader != NULL && !cancel)
		telex_reader_consumed(k->reader, owed);
	else if (k->file != NULL && !cancel)
		telex_file_reader_consumed(k->file, owed);
	if (!cancel || (k->reader == NULL && k->file == NULL && k->transfer == NULL))
		return;
	telex_reader_cancel(k->reader);
	telex_file_reader_cancel(k->file);
	telex_transfer_cancel(k->transfer);
	memset(k, 0, sizeof(*k));
}

unsigned asks_open(const struct asks *a)
{
	unsigned n = 0;

	for (size_t i = 0; i < ASKS_MAX; i++)
		n += a->all[i].open;
	return n;
}
