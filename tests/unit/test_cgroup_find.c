/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/cgroup_find.h"
#include "common/err.h"

/* What cgroup_find says of the two texts; "" for none. */
static const char *find(const char *mounts, const char *own, const char *controller)
{
	struct cgroup_texts t = {strdup(mounts), strdup(own)};
	static char out[256];

	assert_non_null(t.mounts);
	assert_non_null(t.own);
	if (cgroup_find(&t, controller, out, sizeof(out)) != 0)
		out[0] = '\0';
	cgroup_texts_free(&t);
	return out;
}

#define V1(point, root, what)                                                                      \
	"31 23 0:26 " root " " point " rw,nosuid shared:9 - cgroup cgroup rw," what "\n"
#define V2(point, root) "30 23 0:25 " root " " point " rw - cgroup2 cgroup2 rw,nsdelegate\n"
#define OTHER           "22 1 0:21 / /proc rw - proc proc rw\n"

static void the_unified_hierarchy_is_found(void **state)
{
	(void)state;
	assert_string_equal(
	    find(OTHER V2("/sys/fs/cgroup", "/"), "0::/system.slice/telexd.service\n", NULL),
	    "/sys/fs/cgroup/system.slice/telexd.service");
	assert_string_equal(find(V2("/sys/fs/cgroup", "/"), "0::/\n", NULL), "/sys/fs/cgroup");
	assert_string_equal(find(OTHER, "0::/\n", NULL), "");
	assert_string_equal(find(V2("/cg", "/"), "3:cpu:/\n", NULL), "");
	assert_string_equal(find("", "", NULL), "");
}

static void each_controller_of_v1_is_found_by_its_name(void **state)
{
	static const char mounts[] =
	    V1("/c/cpu", "/", "cpu,cpuacct") V1("/c/mem", "/", "memory") V2("/c/unified", "/");
	static const char own[] = "4:memory:/a\n3:cpu,cpuacct:/b\n1:name=systemd:/s\n0::/u";

	(void)state;
	assert_string_equal(find(mounts, own, "memory"), "/c/mem/a");
	assert_string_equal(find(mounts, own, "cpuacct"), "/c/cpu/b");
	assert_string_equal(find(mounts, own, "cpu"), "/c/cpu/b");
	assert_string_equal(find(mounts, own, "mem"), "");
	assert_string_equal(find(mounts, own, "freezer"), "");
	assert_string_equal(find(mounts, own, NULL), "/c/unified/u");
}

static void a_mount_of_a_part_is_seen_from_its_root(void **state)
{
	(void)state;
	assert_string_equal(find(V2("/cg", "/docker/1"), "0::/docker/1/init\n", NULL), "/cg/init");
	assert_string_equal(find(V2("/cg", "/docker/1"), "0::/docker/1\n", NULL), "/cg");
	assert_string_equal(find(V2("/cg", "/docker/1"), "0::/docker/12\n", NULL), "/cg");
	/* Outside of what this namespace shows. */
	assert_string_equal(find(V2("/cg", "/"), "0::/../other\n", NULL), "");
}

static void odd_lines_are_survived(void **state)
{
	(void)state;
	assert_string_equal(find(V2("/with\\040space", "/"), "0::/x\n", NULL), "/with space/x");
	assert_string_equal(find("1\n\n- - -\n" V2("/cg", "/"), "::\n:\n\n0::/x", NULL), "/cg/x");
	assert_string_equal(find("1 2 3 / /cg rw -", "0::/x\n", NULL), "");
	assert_string_equal(find("1 2 3 / /cg rw - cgroup2", "0::/x\n", NULL), "");
}

static void our_own_can_be_read(void **state)
{
	struct cgroup_texts t;

	(void)state;
	assert_int_equal(cgroup_texts_read(&t), 0);
	assert_non_null(strstr(t.mounts, " - "));
	cgroup_texts_free(&t);
	cgroup_texts_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_unified_hierarchy_is_found),
	    cmocka_unit_test(each_controller_of_v1_is_found_by_its_name),
	    cmocka_unit_test(a_mount_of_a_part_is_seen_from_its_root),
	    cmocka_unit_test(odd_lines_are_survived),
	    cmocka_unit_test(our_own_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
