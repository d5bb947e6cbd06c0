/* SPDX-License-Identifier: Apache-2.0 */
/* What the other side of a tree may try, and what must not come of it. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/tree_delta.h"
#include "tests/support/folder.h"
#include "tests/support/tree_pump.h"

#define ID   "0123456789abcdef"
#define MANY 300 /* entries */

static const char *top;

static int set_up(void **state)
{
	if (folder_make(state) != 0)
		return -1;
	top = *state;
	return 0;
}

static const char *at(const char *name)
{
	static char paths[8][4096];
	static unsigned next;
	char *out = paths[next++ % 8];

	snprintf(out, sizeof(paths[0]), "%s/%s", top, name);
	return out;
}

static void make_folder(const char *name)
{
	assert_int_equal(mkdir(at(name), 0755), 0);
}

static void make_file(const char *name, const char *content)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_true(fputs(content, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* `size` bytes that do not repeat. */
static void make_large(const char *name, size_t size)
{
	FILE *f = fopen(at(name), "w");
	uint64_t x = 88172645463325252u;

	assert_non_null(f);
	for (size_t i = 0; i < size; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		assert_int_equal(fwrite(&x, sizeof(x), 1, f), 1);
	}
	assert_int_equal(fclose(f), 0);
}

static bool is_there(const char *name)
{
	return faccessat(AT_FDCWD, at(name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool same_file_content(const char *a, const char *b)
{
	static char x[1 << 16], y[1 << 16];
	FILE *f = fopen(at(a), "r"), *g = fopen(at(b), "r");
	size_t n = 1, m = 1;
	bool same = f != NULL && g != NULL;

	while (same && n > 0) {
		n = fread(x, 1, sizeof(x), f);
		m = fread(y, 1, sizeof(y), g);
		same = n == m && memcmp(x, y, n) == 0;
	}
	if (f != NULL)
		fclose(f);
	if (g != NULL)
		fclose(g);
	return same;
}

/* ---- a receiver that is fed by hand ---- */

static int swallow(const struct tree_span *parts, size_t n, void *arg)
{
	(void)parts;
	(void)n;
	(void)arg;
	return 0;
}

static unsigned told;
static char reason[64];

static void note(const struct tree_note *n, void *arg)
{
	(void)arg;
	if (n->kind != TREE_NOTE_FAILED)
		return;
	told++;
	snprintf(reason, sizeof(reason), "%s", n->error->reason);
}

static struct tree_receiver *receiver(
    struct tree_receiver_config *cfg, Telex__V1__TreeOptions *o, const char *folder)
{
	struct tree_receiver *r;

	cfg->options = o;
	cfg->parent_fd = -1;
	cfg->target_fd = open(at(folder), O_RDONLY | O_DIRECTORY);
	cfg->emit = swallow;
	cfg->note = note;
	told = 0;
	reason[0] = '\0';
	assert_int_equal(tree_receiver_new(&r, cfg), 0);
	return r;
}

static void end(struct tree_receiver *r, struct tree_receiver_config *cfg)
{
	tree_receiver_free(r);
	if (cfg->target_fd >= 0)
		close(cfg->target_fd);
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static Telex__V1__TreeEntry entry(uint64_t index, const char *path)
{
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;

	e.index = index;
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e.mode = 0644;
	e.path = bytes(path);
	return e;
}

static int take(struct tree_receiver *r, const Telex__V1__TreeSend *m, struct err *e)
{
	size_t len = telex__v1__tree_send__get_packed_size(m);
	uint8_t *packed = malloc(len + 1);
	int rc;

	assert_non_null(packed);
	telex__v1__tree_send__pack(m, packed);
	rc = tree_receiver_take(r, packed, len, e);
	free(packed);
	return rc;
}

static int take_entry(struct tree_receiver *r, Telex__V1__TreeEntry *one, struct err *e)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEntry *list[] = {one};

	m.entries = list;
	m.n_entries = 1;
	return take(r, &m, e);
}

static int take_finish(struct tree_receiver *r, struct err *e)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeFinish finish = TELEX__V1__TREE_FINISH__INIT;

	m.finish = &finish;
	return take(r, &m, e);
}

/* ---- links ---- */

static void a_link_is_read_by_its_text_alone(void **state)
{
	static const struct {
		const char *path, *target;
		bool stays;
	} links[] = {
	    {"a", "b", true},
	    {"a", "b/c/d", true},
	    {"a", "./b", true},
	    {"a", "..b", true},
	    {"a", "..", false},
	    {"a/b", "..", true},
	    {"a/b", "../c", true},
	    {"a/b", "./../c", true},
	    {"a/b/c", "../../d", true},
	    {"a/b/c", "../../../d", false},
	    {"a", "/b", false},
	    {"a", "", false},
	    /* s may be a link to ".": what is above it is not where its text says. */
	    {"x", "s/s/../../f", false},
	    {"a/x", "s/../f", false},
	    {"a/x", "../s/..", false},
	    /* The tree itself lies beside what is no part of it. */
	    {"", "b", false},
	    {"", "..", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (tree_link_stays(links[i].path, links[i].target) != links[i].stays)
			fail_msg("'%s' -> '%s' must %sstay", links[i].path, links[i].target,
			    links[i].stays ? "" : "not ");
}

static void the_target_does_not_become_a_link(void **state)
{
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.links_stay = true, .name = "config"};
	Telex__V1__TreeEntry e = entry(1, "");
	struct tree_receiver *r;
	struct err err;

	(void)state;
	make_folder("home");
	r = receiver(&cfg, &o, "home");
	tree_receiver_free(r);
	cfg.parent_fd = cfg.target_fd;
	cfg.target_fd = -1;
	assert_int_equal(tree_receiver_new(&r, &cfg), 0);
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
	e.link_target = bytes(".ssh");
	assert_int_equal(take_entry(r, &e, &err), 0);
	assert_int_equal(take_finish(r, &err), 0);
	assert_int_equal(told, 1);
	assert_string_equal(reason, "OUTSIDE_ROOT");
	assert_false(is_there("home/config"));
	end(r, &cfg);
	close(cfg.parent_fd);
}

static void a_hard_link_names_what_was_asked_for(void **state)
{
	static const char *const only[] = {"mine", NULL};
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.only = only};
	Telex__V1__TreeEntry e = entry(1, "mine");
	struct tree_receiver *r;
	struct err err;

	(void)state;
	make_folder("home");
	make_file("home/secret", "key");
	r = receiver(&cfg, &o, "home");
	e.hard_link = bytes("secret");
	assert_int_equal(take_entry(r, &e, &err), TX_EPROTO);
	assert_non_null(strstr(err.message, "not asked for"));
	end(r, &cfg);
	assert_false(is_there("home/mine"));
}

static void no_capability_comes_where_no_special_bit_does(void **state)
{
	/* Version 2, effective: CAP_SETUID. */
	static uint8_t capability[20] = {1, 0, 0, 2, 0x80};
	Telex__V1__ExtendedAttribute x = TELEX__V1__EXTENDED_ATTRIBUTE__INIT, *list[] = {&x};
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.any_owner = false};
	Telex__V1__TreeEntry e = entry(1, "tool");
	struct tree_receiver *r;
	struct err err;
	char value[64];

	(void)state;
	make_folder("b");
	o.extended_attributes = true;
	x.name = bytes("security.capability");
	x.value = (ProtobufCBinaryData){sizeof(capability), capability};
	e.mode = 06755;
	e.has_content = true;
	e.content = bytes("x");
	e.size = 1;
	e.extended_attributes = list;
	e.n_extended_attributes = 1;
	for (unsigned special = 0; special <= 07000; special += 07000) {
		cfg.special = special;
		r = receiver(&cfg, &o, "b");
		assert_int_equal(take_entry(r, &e, &err), 0);
		assert_int_equal(take_finish(r, &err), 0);
		end(r, &cfg);
		/* With all of them it comes, as far as we may set it: else this would show nothing.
		 */
		if (special != 0 && geteuid() == 0)
			assert_int_equal(told == 0, getxattr(at("b/tool"), "security.capability",
			                                value, sizeof(value)) > 0);
		else if (special == 0)
			assert_int_equal(
			    getxattr(at("b/tool"), "security.capability", value, sizeof(value)),
			    -1);
	}
}

/* ---- what is removed ---- */

static void filters_keep_at_any_depth(void **state)
{
	Telex__V1__TreeFilter filter = TELEX__V1__TREE_FILTER__INIT, *filters[] = {&filter};
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_folder("a");
	make_folder("b");
	make_folder("b/old");
	make_folder("b/old/deep");
	make_folder("b/gone");
	make_folder("b/gone/deep");
	make_file("b/old/deep/x.keep", "kept");
	make_file("b/old/deep/x", "not");
	make_file("b/y.keep", "kept");
	make_file("b/gone/deep/z", "not");
	tree_pump_init(&p, at("a"), at("b"));
	filter.pattern = (char *)(uintptr_t) "*.keep";
	filter.exclude = true;
	p.options.filters = filters;
	p.options.n_filters = 1;
	p.options.delete_extraneous = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_true(is_there("b/y.keep"));
	assert_true(is_there("b/old/deep/x.keep"));
	assert_false(is_there("b/old/deep/x"));
	assert_false(is_there("b/gone"));
	/* That, and b/old/deep/x. */
	assert_int_equal(r.removed, 2);
}

static void what_is_kept_is_in_no_files_way(void **state)
{
	Telex__V1__TreeFilter filter = TELEX__V1__TREE_FILTER__INIT, *filters[] = {&filter};
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_folder("a");
	make_file("a/old", "a file now");
	make_folder("b");
	make_folder("b/old");
	make_file("b/old/x.keep", "kept");
	tree_pump_init(&p, at("a"), at("b"));
	filter.pattern = (char *)(uintptr_t) "*.keep";
	filter.exclude = true;
	p.options.filters = filters;
	p.options.n_filters = 1;
	p.options.delete_extraneous = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 1);
	assert_true(is_there("b/old/x.keep"));
}

static void a_limit_removes_nothing(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	char name[32];

	(void)state;
	make_folder("a");
	make_folder("b");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%c/%u", i < 10 ? 'a' : 'b', i % 10);
		make_file(name, i < 10 ? "new" : "older");
	}
	tree_pump_init(&p, at("a"), at("b"));
	p.options.delete_extraneous = true;
	p.receiver.max_files = 5;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_true(r.failed > 0);
	assert_string_equal(r.reason, "UPLOAD_LIMIT");
	assert_non_null(strstr(r.last, "5 files"));
	assert_int_equal(r.removed, 0);
	assert_int_equal(folder_count(at("b")), 10);
}

static void what_is_mounted_stays(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_folder("a");
	make_folder("b");
	make_folder("other");
	make_folder("b/old");
	make_folder("b/old/mount");
	make_file("other/file", "not ours");
	make_file("b/old/gone", "ours");
	/* Of the same file system, so that no device number tells it. */
	if (mount(at("other"), at("b/old/mount"), "none", MS_BIND, NULL) != 0) {
		print_message("nothing can be mounted here\n");
		skip();
	}
	tree_pump_init(&p, at("a"), at("b"));
	p.options.delete_extraneous = true;
	r = tree_pump_run(&p);
	umount2(at("b/old/mount"), MNT_DETACH);
	assert_true(r.finished);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "BUSY");
	assert_true(is_there("other/file"));
	assert_false(is_there("b/old/gone"));
}

/* ---- bounds ---- */

static void entries_with_much_beside_their_names_arrive(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	char name[32], target[4096], value[60000];

	(void)state;
	make_folder("a");
	memset(target, 'x', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	for (size_t i = 200; i < sizeof(target) - 1; i += 200)
		target[i] = '/';
	memset(value, 'v', sizeof(value));
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "a/%u", i);
		assert_int_equal(symlink(target, at(name)), 0);
	}
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "a/file%u", i);
		make_file(name, "content");
		/* Not every file system takes so much. */
		for (unsigned j = 0; j < 4; j++) {
			char key[16];

			snprintf(key, sizeof(key), "user.%u", j);
			(void)setxattr(at(name), key, value, sizeof(value), 0);
		}
	}
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_int_equal(r.rc, 0);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_equal(folder_count(at("b")), MANY + 30);
}

static size_t held(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void what_waits_for_the_end_is_small(void **state)
{
	static uint8_t large[1000000];
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.any_owner = false};
	struct tree_receiver *r;
	struct err err;
	size_t before;

	(void)state;
	make_folder("b");
	r = receiver(&cfg, &o, "b");
	before = held();
	for (uint64_t i = 1; i <= 50; i++) {
		Telex__V1__TreeEntry e = entry(i, "l");

		e.hard_link = bytes("first");
		e.content = (ProtobufCBinaryData){sizeof(large), large};
		assert_int_equal(take_entry(r, &e, &err), 0);
	}
	assert_true(held() < before + (1 << 20));
	end(r, &cfg);
}

static void a_hole_costs_no_more_than_it_may(void **state)
{
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEnd last = TELEX__V1__TREE_END__INIT;
	Telex__V1__TreeData data = TELEX__V1__TREE_DATA__INIT;
	struct tree_receiver_config cfg = {.any_owner = false};
	struct tree_receiver *r;
	struct err err;

	(void)state;
	make_folder("b");
	for (unsigned way = 0; way < 2; way++) {
		Telex__V1__TreeEntry e = entry(1, "hole");

		r = receiver(&cfg, &o, "b");
		e.size = UINT64_C(1) << 40;
		e.upload_id = (char *)(uintptr_t)ID;
		assert_int_equal(take_entry(r, &e, &err), 0);
		data.index = last.index = 1;
		data.offset = TREE_HOLE_MAX + 1;
		m.data = way == 0 ? &data : NULL;
		m.end = way == 0 ? NULL : &last;
		assert_int_equal(take(r, &m, &err), TX_EPROTO);
		end(r, &cfg);
	}
}

static void large_holes_arrive(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	struct stat st;
	int fd;

	(void)state;
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		print_message("600 MiB are digested\n");
		skip();
	}
	make_folder("a");
	fd = open(at("a/sparse"), O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "in it", 5, (off_t)TREE_HOLE_MAX + 5000), 5);
	assert_int_equal(ftruncate(fd, (off_t)(2 * TREE_HOLE_MAX + 100000)), 0);
	close(fd);
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_equal(stat(at("b/sparse"), &st), 0);
	assert_int_equal(st.st_size, 2 * TREE_HOLE_MAX + 100000);
	assert_true(same_file_content("a/sparse", "b/sparse"));
}

/* ---- differences ---- */

static void a_signature_has_bounds(void **state)
{
	/* Magic, block length, strong length. */
	static const uint8_t heads[][12] = {
	    {0x74, 0x78, 0x53, 0x01, 0x7f, 0, 0, 0, 0, 0, 0, 8},
	    {0x74, 0x78, 0x53, 0x01, 0, 0, 0, 0, 0, 0, 0, 8},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t cut = 1; cut <= 12; cut++) {
			struct tree_delta *d;
			int rc;

			assert_int_equal(tree_delta_new(&d), 0);
			rc = tree_delta_load(d, heads[i], cut, false);
			if (rc == 0 && cut < 12)
				rc = tree_delta_load(d, heads[i] + cut, 12 - cut, false);
			assert_int_equal(rc, TX_EPROTO);
			tree_delta_free(d);
		}
}

static void signatures_without_end_are_refused(void **state)
{
	static uint8_t piece[120000];
	static const uint8_t head[] = {0x74, 0x78, 0x53, 0x01, 0, 0, 8, 0, 0, 0, 0, 8};
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	Telex__V1__TreeReceive m = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__TreeWant want = TELEX__V1__TREE_WANT__INIT, *wants[] = {&want};
	struct tree_source source = {.name = "a", .path = ""};
	struct tree_sender_config cfg = {
	    .options = &o, .sources = &source, .n_sources = 1, .salt = "x", .emit = swallow};
	static uint8_t packed[sizeof(piece) + 100];
	struct tree_sender *s;
	struct err err;
	uint64_t sent = 0;
	int rc = 0;

	(void)state;
	make_large("a", 200000);
	source.dir_fd = open(top, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_sender_new(&s, &cfg), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_true(tree_sender_step(s) >= 0);
	want.index = 1;
	want.has_signature = true;
	m.wants = wants;
	m.n_wants = 1;
	want.signature = (ProtobufCBinaryData){sizeof(head), (uint8_t *)(uintptr_t)head};
	while (rc == 0 && sent < 2 * TREE_SIGNATURES_MAX) {
		rc =
		    tree_sender_receive(s, packed, telex__v1__tree_receive__pack(&m, packed), &err);
		sent += want.signature.len;
		want.signature = (ProtobufCBinaryData){sizeof(piece), piece};
	}
	assert_int_equal(rc, TX_EPROTO);
	assert_non_null(strstr(err.message, "64 MiB"));
	tree_sender_free(s);
	close(source.dir_fd);
}

/* rsync sends 7 bytes for each of 32768 blocks of 1 GiB, and 4 for each that is the same. */
static void a_signature_costs_no_more_than_rsyncs(void **state)
{
	(void)state;
	assert_true(tree_signature_size((uint64_t)1 << 30) <= (7 + 4) * 32768);
	for (unsigned bits = 17; bits < 48; bits++) {
		const uint64_t size = (uint64_t)1 << bits, root = (uint64_t)1 << (bits / 2);

		assert_true(tree_signature_size(size) > size / root);
		assert_true(tree_signature_size(size) <= size / root * 3 * 12);
	}
	assert_true(tree_signature_size(UINT64_MAX) == UINT64_MAX);
}

/* The basis changes once its signature was sent. */
static void spoil_basis(size_t message, void *arg)
{
	int fd, *left = arg;

	(void)message;
	if ((*left)-- <= 0)
		return;
	fd = open(at("b/large"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "spoiled", 7, 300000), 7);
	close(fd);
}

static void a_difference_that_leads_astray_is_followed_by_the_whole(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int fd, left = 1;

	(void)state;
	make_folder("a");
	make_folder("b");
	make_large("a/large", 2 << 20);
	make_large("b/large", 2 << 20);
	fd = open(at("a/large"), O_WRONLY);
	assert_int_equal(pwrite(fd, "changed", 7, 1 << 20), 7);
	close(fd);
	tree_pump_init(&p, at("a"), at("b"));
	p.options.delta = true;
	p.options.eager = false;
	p.receiver.note = note;
	p.between = spoil_basis;
	p.arg = &left;
	told = 0;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	/* What the second try puts right is no failure. */
	assert_int_equal(told, 0);
	assert_true(same_file_content("a/large", "b/large"));
	assert_true(r.wire > 2 << 20);
}

static void spoil_source(size_t message, void *arg)
{
	FILE *f;
	int *left = arg;

	(void)message;
	if ((*left)-- <= 0)
		return;
	f = fopen(at("a/large"), "a");
	assert_non_null(f);
	fputs("more", f);
	fclose(f);
}

static void a_second_failure_is_told_once(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int left = 1;

	(void)state;
	make_folder("a");
	make_large("a/large", 2 << 20);
	tree_pump_init(&p, at("a"), at("b"));
	p.receiver.note = note;
	p.between = spoil_source;
	p.arg = &left;
	told = 0;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(told, 0);
	assert_true(same_file_content("a/large", "b/large"));
	left = 1000;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(told, 1);
	assert_string_equal(reason, "CHANGED");
}

/* A sender that says that it changed, and never tries again. */
static void a_failure_that_is_not_made_good_is_told(void **state)
{
	Telex__V1__TreeOptions o = TELEX__V1__TREE_OPTIONS__INIT;
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEnd last = TELEX__V1__TREE_END__INIT;
	struct tree_receiver_config cfg = {.any_owner = false};
	Telex__V1__TreeEntry e = entry(1, "file");
	struct tree_receiver *r;
	struct err err;

	(void)state;
	make_folder("b");
	r = receiver(&cfg, &o, "b");
	e.size = 100000;
	e.upload_id = (char *)(uintptr_t)ID;
	assert_int_equal(take_entry(r, &e, &err), 0);
	last.index = 1;
	last.abandoned = true;
	m.end = &last;
	assert_int_equal(take(r, &m, &err), 0);
	assert_int_equal(told, 0);
	assert_int_equal(take_finish(r, &err), 0);
	assert_int_equal(told, 1);
	assert_int_equal(tree_receiver_summary(r)->failed, 1);
	end(r, &cfg);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_link_is_read_by_its_text_alone),
	    cmocka_unit_test_setup_teardown(
	        the_target_does_not_become_a_link, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_hard_link_names_what_was_asked_for, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        no_capability_comes_where_no_special_bit_does, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(filters_keep_at_any_depth, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(what_is_kept_is_in_no_files_way, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(a_limit_removes_nothing, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(what_is_mounted_stays, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        entries_with_much_beside_their_names_arrive, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(what_waits_for_the_end_is_small, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_hole_costs_no_more_than_it_may, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(large_holes_arrive, set_up, folder_remove),
	    cmocka_unit_test(a_signature_has_bounds),
	    cmocka_unit_test(a_signature_costs_no_more_than_rsyncs),
	    cmocka_unit_test_setup_teardown(
	        signatures_without_end_are_refused, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_difference_that_leads_astray_is_followed_by_the_whole, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(a_second_failure_is_told_once, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_failure_that_is_not_made_good_is_told, set_up, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
