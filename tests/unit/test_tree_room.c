/* SPDX-License-Identifier: Apache-2.0 */
/* What a receiver of a tree has no room for, and how it tells of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file_errno.h"
#include "common/file_room.h"
#include "common/tree_receive.h"
#include "tests/support/folder.h"

/* ---- the kernel ---- */

static uint64_t limit; /* of the user, in KiB; 0: none */
static bool may_pass;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_capget) {
		struct __user_cap_data_struct *sets;

		memcpy(&sets, &a[1], sizeof(sets));
		sets[0].effective = may_pass ? CAP_TO_MASK(CAP_SYS_RESOURCE) : 0;
		return 0;
	}
#ifdef SYS_quotactl_fd
	if (number == SYS_quotactl_fd) {
		struct dqblk *quota;

		errno = ESRCH;
		if (limit == 0 || (unsigned)a[1] != QCMD((unsigned)Q_GETQUOTA, USRQUOTA))
			return -1;
		memcpy(&quota, &a[3], sizeof(quota));
		quota->dqb_bhardlimit = limit;
		return 0;
	}
#endif
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- a receiver ---- */

static unsigned begun, told;
static char reason[64], message[512];

static void note(const struct tree_note *n, void *arg)
{
	(void)arg;
	begun += n->kind == TREE_NOTE_BEGIN;
	if (n->kind != TREE_NOTE_FAILED)
		return;
	told++;
	snprintf(reason, sizeof(reason), "%s", n->error->reason);
	snprintf(message, sizeof(message), "%s", n->error->message);
}

static unsigned answers;

static int count(const struct tree_span *parts, size_t n, void *arg)
{
	(void)parts;
	(void)n;
	(void)arg;
	answers++;
	return 0;
}

static struct tree_receiver *receiver(struct tree_receiver_config *cfg, Telex__V1__TreeOptions *o)
{
	struct tree_receiver *r;

	telex__v1__tree_options__init(o);
	cfg->options = o;
	cfg->emit = count;
	cfg->note = note;
	begun = told = answers = 0;
	assert_int_equal(tree_receiver_new(&r, cfg), 0);
	return r;
}

static void take(struct tree_receiver *r, Telex__V1__TreeEntry *e, Telex__V1__TreeData *data)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	uint8_t packed[1024];
	struct err err;

	if (e != NULL) {
		m.entries = &e;
		m.n_entries = 1;
	}
	m.data = data;
	assert_true(telex__v1__tree_send__get_packed_size(&m) < sizeof(packed));
	assert_int_equal(
	    tree_receiver_take(r, packed, telex__v1__tree_send__pack(&m, packed), &err), 0);
}

static Telex__V1__TreeEntry entry(uint64_t index, const char *path, Telex__V1__FileType type)
{
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;

	e.index = index;
	e.type = type;
	e.mode = 0755;
	e.path = (ProtobufCBinaryData){strlen(path), (uint8_t *)(uintptr_t)path};
	e.upload_id = (char *)(uintptr_t) "0123456789abcdef";
	return e;
}

/* The first byte of a file comes. */
static void begin_file(int target_fd, uint64_t size, bool no_holes)
{
	Telex__V1__TreeEntry e = entry(1, "f", TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR);
	Telex__V1__TreeData d = TELEX__V1__TREE_DATA__INIT;
	struct tree_receiver_config cfg = {.parent_fd = -1, .target_fd = target_fd};
	Telex__V1__TreeOptions o;
	struct tree_receiver *r = receiver(&cfg, &o);

	e.size = size;
	e.no_holes = no_holes;
	take(r, &e, NULL);
	d.index = 1;
	d.data = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "x"};
	answers = 0;
	take(r, NULL, &d);
	tree_receiver_free(r);
}

#define ENDLESS ((uint64_t)1 << 60)

static void what_cannot_fit_is_refused_at_its_first_byte(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY);

	begin_file(fd, ENDLESS, true);
	assert_int_equal(begun, 0);
	assert_int_equal(told, 1);
	assert_string_equal(reason, "DISK_FULL");
	assert_non_null(strstr(message, "cannot write f: No space left on device ("));
	assert_non_null(strstr(message, " bytes are free); make room there"));
	/* Its part is gone. */
	assert_int_equal(unlinkat(fd, ".telex-0123456789abcdef.part", 0), -1);
	/* What has holes may fit, whatever its size. */
	begin_file(fd, ENDLESS, false);
	assert_int_equal(begun, 1);
	assert_int_equal(told, 0);
	close(fd);
}

static void what_does_not_fit_in_a_quota_is_refused_likewise(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY);

#ifndef SYS_quotactl_fd
	skip();
#endif
	limit = 64;
	may_pass = false;
	begin_file(fd, 65537, true);
	assert_int_equal(begun, 0);
	assert_int_equal(told, 1);
	assert_string_equal(reason, "QUOTA");
	assert_non_null(strstr(message, ": 65536 of 65536 bytes are left); remove files there"));
	assert_int_equal(unlinkat(fd, ".telex-0123456789abcdef.part", 0), -1);
	begin_file(fd, 65536, true);
	assert_int_equal(begun, 1);
	assert_int_equal(unlinkat(fd, ".telex-0123456789abcdef.part", 0), 0);
	begin_file(fd, 65537, false);
	assert_int_equal(begun, 1);
	assert_int_equal(unlinkat(fd, ".telex-0123456789abcdef.part", 0), 0);
	/* Whom no limit holds is not held up. */
	may_pass = true;
	begin_file(fd, 65537, true);
	assert_int_equal(begun, 1);
	assert_int_equal(told, 0);
	limit = 0;
	close(fd);
}

static void what_is_in_a_folder_that_failed_fails_with_it(void **state)
{
	int fd = open(*state, O_RDONLY | O_DIRECTORY);
	struct tree_receiver_config cfg = {
	    .parent_fd = fd, .name = "target", .title = "/srv/target", .target_fd = -1};
	Telex__V1__TreeEntry top = entry(1, "", TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
	Telex__V1__TreeEntry below = entry(2, "a/b", TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
	Telex__V1__TreeOptions o;
	struct tree_receiver *r;

	/* A file has its name. */
	close(openat(fd, "target", O_CREAT | O_WRONLY, 0644));
	r = receiver(&cfg, &o);
	take(r, &top, NULL);
	assert_string_equal(reason, "NOT_A_FOLDER");
	/* By the name that a person knows. */
	assert_string_equal(message, "cannot make the folder /srv/target: Not a directory");
	take(r, &below, NULL);
	assert_int_equal(told, 2);
	assert_string_equal(reason, "FOLDER_FAILED");
	assert_string_equal(message, "a/b cannot be made: its folder could not be");
	tree_receiver_free(r);
	close(fd);
}

static void words_say_what_is_left(void **state)
{
	const struct file_room some = {.bytes = 4096}, none = {.bytes = 4096, .no_files = true};
	struct file_room now;
	char out[FILE_ERRNO_WORDS], left[80];

	(void)state;
	assert_string_equal(
	    file_room_words(left, sizeof(left), &none), "it can hold no more files");
	assert_string_equal(file_room_words(left, sizeof(left), &some), "4096 bytes are free");
	assert_string_equal(file_errno_words(out, sizeof(out), ENOSPC, left),
	    "No space left on device (4096 bytes are free); make room there, then try again");
	assert_string_equal(file_errno_words(out, sizeof(out), ENOSPC, NULL),
	    "No space left on device; make room there, then try again");
	assert_string_equal(file_errno_words(out, sizeof(out), EACCES, ""), "Permission denied");
	/* The nearest folder that is there. */
	assert_true(file_room_at(&now, "/tmp/no/such/path"));
	assert_true(file_room_at(&now, "/none"));
	assert_false(file_room_at(&now, "none"));
	assert_false(file_room_of(&now, -1));
}

#define with_folder(f) cmocka_unit_test_setup_teardown(f, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    with_folder(what_cannot_fit_is_refused_at_its_first_byte),
	    with_folder(what_does_not_fit_in_a_quota_is_refused_likewise),
	    with_folder(what_is_in_a_folder_that_failed_fails_with_it),
	    cmocka_unit_test(words_say_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
