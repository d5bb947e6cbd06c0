/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender of a tree, whose receiver is hostile: a client that gets, an agent that is put to.
 * First TreeOptions by their descriptor (message.h); then acts, each a byte: 0, so many steps; 1, a
 * TreeReceive by its descriptor; 2, a part as it is; 3, something is wanted: index, offset, and how
 * (1: with a part of signature; 2: the last one; 4: the signature's head is right); 4, done: index,
 * count; 5, a file changes; 6, failed: index, and why (1: it was changed; 2: a digest is wrong); 7,
 * the summary.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/tree_delta.h"
#include "common/tree_send.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"

#define ACTS_MAX  60
#define STEPS_MAX 100

struct scene {
	struct tree_sender *s;
	bool over, follow;
	size_t steps;
	uint64_t emitted;
};

/* The content; a link's target that ends with the name, before a field whose tag is a newline, is
 * none. */
static bool has_secret(const uint8_t *data, size_t len)
{
	static const char content[] = "secret\n", folder[] = "out/";
	const size_t n = sizeof(content) - 1, before = sizeof(folder) - 1;

	for (size_t i = 0; i + n <= len; i++)
		if (memcmp(data + i, content, n) == 0 &&
		    (i < before || memcmp(data + i - before, folder, before) != 0))
			return true;
	return false;
}

static int emit(const struct tree_span *parts, size_t n, void *arg)
{
	struct scene *s = arg;

	for (size_t i = 0; i < n; i++) {
		fuzz_require(parts[i].len <= TREE_MESSAGE_MAX);
		/* What is behind a link is not sent, whenever it came to be there. */
		fuzz_require(s->follow || !has_secret(parts[i].data, parts[i].len));
		s->emitted += parts[i].len;
	}
	return 0;
}

static void note(const struct tree_note *n, void *arg)
{
	(void)arg;
	fuzz_require(n->kind != TREE_NOTE_FAILED || (n->path != NULL && n->error != NULL));
}

static bool allowed(const struct tree_name *name, void *arg)
{
	(void)arg;
	return strstr(name->path, "no") == NULL;
}

static void run_steps(struct scene *s, uint8_t n)
{
	int rc = 1;

	for (; n > 0 && rc > 0 && !s->over && s->steps < STEPS_MAX; n--, s->steps++) {
		rc = tree_sender_step(s->s);
		fuzz_require(rc >= 0);
	}
}

static void give(struct scene *s, const uint8_t *data, size_t len)
{
	struct err e = {0};
	int rc;

	if (s->over)
		return;
	rc = tree_sender_receive(s->s, data, len, &e);
	fuzz_require(rc == 0 || (rc == TX_EPROTO && e.message[0] != '\0'));
	s->over = rc != 0 || tree_sender_summary(s->s) != NULL;
}

static void give_message(struct scene *s, const Telex__V1__TreeReceive *m)
{
	size_t len = telex__v1__tree_receive__get_packed_size(m);
	uint8_t *packed = xmalloc(len + 1);

	telex__v1__tree_receive__pack(m, packed);
	give(s, packed, len);
	free(packed);
}

static void give_want(struct scene *s, struct fuzz_input *in)
{
	/* Magic, 2048 bytes a block, 8 of the strong sum. */
	static const uint8_t head[] = {'t', 'x', 'S', 1, 0, 0, 8, 0, 0, 0, 0, 8};
	Telex__V1__TreeReceive m = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__TreeWant w = TELEX__V1__TREE_WANT__INIT, *list[] = {&w};
	uint8_t how, *signature = NULL;
	const uint8_t *part;
	size_t len;

	w.index = fuzz_byte(in);
	w.offset = fuzz_number(in, 3);
	how = fuzz_byte(in);
	part = fuzz_part(in, &len);
	w.has_signature = (how & 1) != 0;
	w.last = (how & 2) != 0;
	signature = xmalloc(sizeof(head) + len);
	memcpy(signature, head, sizeof(head));
	if (len > 0)
		memcpy(signature + sizeof(head), part, len);
	w.signature.data = (how & 4) != 0 ? signature : signature + sizeof(head);
	w.signature.len = (how & 4) != 0 ? sizeof(head) + len : len;
	m.wants = list;
	m.n_wants = 1;
	give_message(s, &m);
	free(signature);
}

static void give_done(struct scene *s, struct fuzz_input *in)
{
	Telex__V1__TreeReceive m = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__TreeDone d = TELEX__V1__TREE_DONE__INIT, *list[] = {&d};

	d.index = fuzz_byte(in);
	d.count = fuzz_byte(in);
	m.done = list;
	m.n_done = 1;
	give_message(s, &m);
}

static void give_failed(struct scene *s, struct fuzz_input *in)
{
	Telex__V1__TreeReceive m = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__TreeFailed f = TELEX__V1__TREE_FAILED__INIT, *list[] = {&f};
	Telex__V1__FileError error = TELEX__V1__FILE_ERROR__INIT;
	uint8_t how;

	f.index = fuzz_byte(in);
	how = fuzz_byte(in);
	error.reason = (char *)(uintptr_t)((how & 1) != 0   ? "CHANGED"
	                                   : (how & 2) != 0 ? "CHECKSUM"
	                                                    : "NO");
	f.error = &error;
	m.failed = list;
	m.n_failed = 1;
	give_message(s, &m);
}

static void give_summary(struct scene *s)
{
	Telex__V1__TreeReceive m = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__TreeSummary summary = TELEX__V1__TREE_SUMMARY__INIT;

	m.summary = &summary;
	give_message(s, &m);
}

static void change(const struct fuzz_place *p, struct fuzz_input *in)
{
	static const char *const names[] = {"f", "d/x", "big", "d", "s"};
	const char *name = names[fuzz_byte(in) % (sizeof(names) / sizeof(names[0]))];
	uint8_t how = fuzz_byte(in);

	if ((how & 1) != 0) {
		(void)renameat(p->in_fd, name, p->in_fd, "moved");
		(void)!symlinkat("../out/secret", p->in_fd, name);
	} else {
		int fd = openat(p->in_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0 && (how & 2) != 0)
			(void)!ftruncate(fd, how);
		else if (fd >= 0)
			(void)!write(fd, "changed", 7);
		if (fd >= 0)
			close(fd);
	}
}

static void act(struct scene *s, const struct fuzz_place *p, struct fuzz_input *in)
{
	uint8_t *built;
	const uint8_t *part;
	size_t len;

	switch (fuzz_byte(in) & 7) {
	case 0:
		run_steps(s, fuzz_byte(in));
		break;
	case 1:
		built = fuzz_message(in, &telex__v1__tree_receive__descriptor, &len);
		give(s, built, len);
		free(built);
		break;
	case 2:
		part = fuzz_part(in, &len);
		give(s, part, len);
		break;
	case 3:
		give_want(s, in);
		break;
	case 4:
		give_done(s, in);
		break;
	case 5:
		change(p, in);
		break;
	case 6:
		give_failed(s, in);
		break;
	default:
		give_summary(s);
	}
}

/* One with a hole before its data and one behind it, and what cannot be read. */
static void more_files(const struct fuzz_place *p)
{
	int fd = openat(p->in_fd, "holes", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	fuzz_require(fd >= 0 && ftruncate(fd, 90000) == 0 && pwrite(fd, "data", 4, 50000) == 4);
	close(fd);
	fd = openat(p->in_fd, "shut", O_WRONLY | O_CREAT | O_CLOEXEC, 0);
	fuzz_require(fd >= 0 && mkdirat(p->in_fd, "shut.d", 0) == 0);
	close(fd);
}

static void run(const struct fuzz_place *p, struct fuzz_input *in)
{
	size_t len;
	uint8_t *packed = fuzz_message(in, &telex__v1__tree_options__descriptor, &len);
	Telex__V1__TreeOptions *options = telex__v1__tree_options__unpack(NULL, len, packed);
	const struct tree_source sources[] = {
	    {.dir_fd = p->top_fd, .name = "in", .path = ""},
	    {.dir_fd = p->in_fd, .name = "d", .path = "other"},
	};
	struct scene s = {.emitted = 0};
	struct tree_sender_config cfg = {.options = options,
	    .sources = sources,
	    .n_sources = 2,
	    .salt = "salt",
	    .allowed = allowed,
	    .emit = emit,
	    .note = note,
	    .arg = &s};

	free(packed);
	if (options == NULL)
		return;
	s.follow = options->follow;
	place_large(p, "big", TREE_DELTA_MIN + 5000);
	more_files(p);
	fuzz_require(tree_sender_new(&s.s, &cfg) == 0);
	run_steps(&s, 1);
	for (int i = 0; i < ACTS_MAX && in->left > 0; i++)
		act(&s, p, in);
	tree_sender_free(s.s);
	telex__v1__tree_options__free_unpacked(options, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct fuzz_place place;

	place_enter(&place);
	run(&place, &in);
	place_leave(&place);
	return 0;
}
