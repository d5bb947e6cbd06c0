/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver of a tree, whose sender is hostile: a client that puts, an agent that is got from.
 * First a byte of how, and TreeOptions by their descriptor (message.h); then messages, each with a
 * byte before it:
 *
 *     0  a TreeSend by its descriptor          1  a part as it is
 *     2  an entry: its type, mode, and how (1: with its content; 2: whose digest is right; 4: only
 *        if it is not the same; 8: it has an upload id; 16: and a wrong one), lines with path,
 *        target and the path that it is another name of, its size, and a part of content
 *     3  data: of which of the last entries, a part     4  their end: of which, how (1: abandoned,
 *        2: with a wrong digest)
 *     5  the finish                            6  a flush
 *     7  the next message comes compressed     8  a name in the folder becomes a link out of it
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "common/mem.h"
#include "common/tree_delta.h"
#include "common/tree_receive.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"

#define MESSAGES_MAX 60
#define FILES        8 /* whose data is kept track of */

struct file {
	uint64_t index, offset;
	EVP_MD_CTX *sha;
};

struct scene {
	struct tree_receiver *r;
	uint64_t next;
	struct file files[FILES];
	bool compressed, over;
	unsigned notes;
};

static int emit(const struct tree_span *parts, size_t n, void *arg)
{
	Telex__V1__TreeReceive *m;

	(void)arg;
	fuzz_require(n == 1);
	m = telex__v1__tree_receive__unpack(NULL, parts[0].len, parts[0].data);
	fuzz_require(m != NULL);
	telex__v1__tree_receive__free_unpacked(m, NULL);
	return 0;
}

static void note(const struct tree_note *n, void *arg)
{
	struct scene *s = arg;

	fuzz_require(n->path == NULL ||
	             tree_path_valid((const uint8_t *)n->path, strlen(n->path)) ||
	             n->kind == TREE_NOTE_FAILED || n->path[0] == '\0');
	fuzz_require(n->kind != TREE_NOTE_FAILED || n->error != NULL);
	s->notes++;
}

static bool allowed(const char *path, void *arg)
{
	(void)arg;
	return strstr(path, "no") == NULL;
}

/* ---- messages ---- */

static void give(struct scene *s, const uint8_t *data, size_t len)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	struct err e = {0};
	uint8_t *packed = NULL;
	int rc;

	if (s->over)
		return;
	if (s->compressed) {
		size_t room = ZSTD_compressBound(len);

		m.zstd.data = xmalloc(room);
		m.zstd.len = ZSTD_compress(m.zstd.data, room, data, len, 1);
		packed = xmalloc(telex__v1__tree_send__get_packed_size(&m));
		len = telex__v1__tree_send__pack(&m, packed);
		data = packed;
		free(m.zstd.data);
		s->compressed = false;
	}
	rc = tree_receiver_take(s->r, data, len, &e);
	fuzz_require(rc == 0 || rc == TX_EPROTO);
	fuzz_require(rc == 0 || e.message[0] != '\0');
	s->over = rc != 0 || tree_receiver_finished(s->r);
	free(packed);
}

static void give_message(struct scene *s, const Telex__V1__TreeSend *m)
{
	size_t len = telex__v1__tree_send__get_packed_size(m);
	uint8_t *packed = xmalloc(len + 1);

	telex__v1__tree_send__pack(m, packed);
	give(s, packed, len);
	free(packed);
}

static ProtobufCBinaryData text_bytes(char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
}

static void digest(uint8_t out[32], const uint8_t *data, size_t len)
{
	fuzz_require(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1);
}

static void give_entry(struct scene *s, struct fuzz_input *in)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT, *list[] = {&e};
	struct file *f = &s->files[s->next % FILES];
	uint8_t sha[32], how;
	char *path, *target, *linked;
	size_t len;

	e.index = ++s->next;
	e.type = (Telex__V1__FileType)(fuzz_byte(in) & 7);
	e.mode = (uint32_t)fuzz_number(in, 2);
	how = fuzz_byte(in);
	path = fuzz_text(in, '\n');
	target = fuzz_text(in, '\n');
	linked = fuzz_text(in, '\n');
	e.path = text_bytes(path);
	e.link_target = text_bytes(target);
	e.hard_link = text_bytes(linked);
	e.size = fuzz_number(in, 4);
	e.content.data = (uint8_t *)(uintptr_t)fuzz_part(in, &len);
	e.content.len = len;
	if ((how & 1) != 0) {
		e.has_content = true;
		e.size = len;
	}
	e.unless_same = (how & 4) != 0;
	e.upload_id = (char *)(uintptr_t)((how & 16) != 0  ? "../x"
	                                  : (how & 8) != 0 ? "0123456789abcdef"
	                                                   : "");
	digest(sha, e.content.data, len);
	if ((how & 2) != 0)
		e.sha256 = (ProtobufCBinaryData){32, sha};
	f->index = e.index;
	f->offset = 0;
	EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL);
	m.entries = list;
	m.n_entries = 1;
	give_message(s, &m);
	free(path);
	free(target);
	free(linked);
}

static void give_data(struct scene *s, struct fuzz_input *in)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeData d = TELEX__V1__TREE_DATA__INIT;
	uint8_t how = fuzz_byte(in);
	struct file *f = &s->files[how % FILES];
	size_t len;

	d.index = f->index;
	d.offset = f->offset;
	d.data.data = (uint8_t *)(uintptr_t)fuzz_part(in, &len);
	d.data.len = len;
	/* A hole. */
	if ((how & 64) != 0)
		d.offset += fuzz_number(in, 3);
	else if (len > 0)
		EVP_DigestUpdate(f->sha, d.data.data, len);
	f->offset = d.offset + len;
	m.data = &d;
	give_message(s, &m);
}

static void give_end(struct scene *s, struct fuzz_input *in)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEnd end = TELEX__V1__TREE_END__INIT;
	struct file *f = &s->files[fuzz_byte(in) % FILES];
	uint8_t how = fuzz_byte(in), sha[EVP_MAX_MD_SIZE];

	end.index = f->index;
	end.abandoned = (how & 1) != 0;
	EVP_DigestFinal_ex(f->sha, sha, NULL);
	EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL);
	sha[0] ^= (how & 2) != 0;
	end.sha256 = (ProtobufCBinaryData){32, sha};
	m.end = &end;
	give_message(s, &m);
}

static void give_finish(struct scene *s)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeFinish finish = TELEX__V1__TREE_FINISH__INIT;

	m.finish = &finish;
	give_message(s, &m);
}

/* Somebody else is in the folder, too. */
static void swap(const struct fuzz_place *p, struct fuzz_input *in)
{
	static const char *const names[] = {"f", "d", "d/x", "a", "a/b", "h"};
	const char *name = names[fuzz_byte(in) % (sizeof(names) / sizeof(names[0]))];

	if (unlinkat(p->in_fd, name, 0) != 0)
		(void)renameat(p->in_fd, name, p->in_fd, "moved");
	(void)!symlinkat("../out/secret", p->in_fd, name);
}

static void step(struct scene *s, const struct fuzz_place *p, struct fuzz_input *in)
{
	size_t len;
	uint8_t *built;
	const uint8_t *part;

	switch (fuzz_byte(in) % 9) {
	case 0:
		built = fuzz_message(in, &telex__v1__tree_send__descriptor, &len);
		give(s, built, len);
		free(built);
		break;
	case 1:
		part = fuzz_part(in, &len);
		give(s, part, len);
		break;
	case 2:
		give_entry(s, in);
		break;
	case 3:
		give_data(s, in);
		break;
	case 4:
		give_end(s, in);
		break;
	case 5:
		give_finish(s);
		break;
	case 6:
		fuzz_require(tree_receiver_flush(s->r) == 0);
		break;
	case 7:
		s->compressed = true;
		break;
	default:
		swap(p, in);
	}
}

/* ---- the whole ---- */

static Telex__V1__TreeOptions *take_options(struct fuzz_input *in)
{
	size_t len;
	uint8_t *packed = fuzz_message(in, &telex__v1__tree_options__descriptor, &len);
	Telex__V1__TreeOptions *o = telex__v1__tree_options__unpack(NULL, len, packed);

	if (o == NULL) {
		o = xmalloc(sizeof(*o));
		telex__v1__tree_options__init(o);
	}
	free(packed);
	return o;
}

static void run(const struct fuzz_place *p, struct fuzz_input *in)
{
	static const char *const only[] = {"f", "d", "a", NULL};
	uint8_t how = fuzz_byte(in);
	Telex__V1__TreeOptions *options = take_options(in);
	struct scene s = {.next = 0};
	const struct tree_receiver_config cfg = {.options = options,
	    .parent_fd = (how & 1) != 0 ? p->in_fd : -1,
	    .name = "a",
	    .title = "the place",
	    .target_fd = (how & 1) != 0 ? -1 : p->in_fd,
	    .umask = 022,
	    .special = (how & 2) != 0 ? 07000 : 0,
	    .links_stay = (how & 4) != 0,
	    .only = (how & 8) != 0 ? only : NULL,
	    .allowed = (how & 16) != 0 ? allowed : NULL,
	    .unreadable = (how & 32) != 0,
	    .marker = (how & 1) != 0 ? "0123456789abcdef0123" : NULL,
	    .max_bytes = (how & 64) != 0 ? 1000 : 1 << 24,
	    .max_files = (how & 64) != 0 ? 3 : 0,
	    .emit = emit,
	    .note = note,
	    .arg = &s};

	if ((how & 128) != 0)
		place_large(p, "f", TREE_DELTA_MIN + 5000);
	for (size_t i = 0; i < FILES; i++) {
		s.files[i].sha = EVP_MD_CTX_new();
		EVP_DigestInit_ex(s.files[i].sha, EVP_sha256(), NULL);
	}
	fuzz_require(tree_receiver_new(&s.r, &cfg) == 0);
	for (int i = 0; i < MESSAGES_MAX && in->left > 0; i++)
		step(&s, p, in);
	tree_receiver_free(s.r);
	for (size_t i = 0; i < FILES; i++)
		EVP_MD_CTX_free(s.files[i].sha);
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
