/* SPDX-License-Identifier: Apache-2.0 */
/* How many records those may cause whom nobody knows, and that the rest is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/audit.h"
#include "common/audit_budget.h"
#include "common/duration.h"
#include "common/log.h"

#define MINUTE (60 * NS_PER_S)

struct fixture {
	char path[64];
	struct audit *audit;
	struct audit_budget *budget;
	json_t *records; /* after read_log */
};

static int set_up(void **state)
{
	const struct audit_budget_limits limits = {
	    .per_source = 2, .total = 5, .interval_ns = MINUTE};
	const struct audit_options o = {.writer = 7, .program = "worker"};
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;
	int fd;

	assert_non_null(f);
	log_open("test", LOG_LEVEL_ERROR, false, STDERR_FILENO);
	strcpy(f->path, "/tmp/telex-budget-XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(audit_new(&f->audit, fd, &o, &e), 0);
	f->budget = audit_budget_new(f->audit, &limits, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	audit_budget_free(f->budget);
	audit_free(f->audit);
	json_decref(f->records);
	unlink(f->path);
	free(f);
	return 0;
}

/* Ends the log; its records but for "begin" and "end". */
static void read_log(struct fixture *f)
{
	char line[4096];
	FILE *in;

	audit_finish(f->audit);
	in = fopen(f->path, "r");
	assert_non_null(in);
	f->records = json_array();
	while (fgets(line, sizeof(line), in) != NULL)
		json_array_append_new(f->records, json_loads(line, 0, NULL));
	fclose(in);
	json_array_remove(f->records, 0);
	json_array_remove(f->records, json_array_size(f->records) - 1);
}

static const char *text(const struct fixture *f, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(f->records, i), key));
}

static int number(const struct fixture *f, size_t i, const char *key)
{
	return (int)json_integer_value(json_object_get(json_array_get(f->records, i), key));
}

static int take_many(struct fixture *f, const char *peer, int n, int64_t now)
{
	int taken = 0;

	for (int i = 0; i < n; i++)
		taken += audit_budget_take(f->budget, AUDIT_HANDSHAKE, peer, now);
	return taken;
}

static void a_source_has_so_many_and_the_rest_is_counted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(take_many(f, "192.0.2.1:5", 1, 1), 1);
	assert_int_equal(audit_budget_due(f->budget), 0);
	assert_int_equal(take_many(f, "192.0.2.1:6", 1000, 2), 1);
	assert_int_equal(audit_budget_due(f->budget), MINUTE);
	assert_int_equal(take_many(f, "192.0.2.2:5", 2, 3), 2);
	audit_budget_tell(f->budget, MINUTE);
	assert_int_equal(audit_budget_due(f->budget), 0);
	audit_budget_tell(f->budget, 2 * MINUTE);
	read_log(f);
	assert_int_equal(json_array_size(f->records), 1);
	assert_string_equal(text(f, 0, "event"), "handshake");
	assert_string_equal(text(f, 0, "outcome"), "refused");
	assert_string_equal(text(f, 0, "peer"), "192.0.2.1");
	assert_int_equal(number(f, 0, "more"), 999);
	assert_int_equal(strlen(text(f, 0, "since")), strlen("2026-01-31T12:00:00Z"));
}

static void all_together_have_so_many(void **state)
{
	struct fixture *f = *state;
	int taken = 0;
	char peer[64];

	for (int i = 0; i < 1000; i++) {
		snprintf(peer, sizeof(peer), "192.0.%d.%d:1", i / 250, i % 250);
		taken += audit_budget_take(f->budget, AUDIT_HANDSHAKE, peer, 1);
	}
	assert_int_equal(taken, 5);
	audit_budget_tell(f->budget, MINUTE);
	read_log(f);
	/* The first 64 sources, five of which were written, and all others in one. */
	assert_int_equal(json_array_size(f->records), AUDIT_BUDGET_SOURCES - 5 + 1);
	assert_string_equal(text(f, AUDIT_BUDGET_SOURCES - 5, "peer"), "others");
	assert_int_equal(
	    number(f, AUDIT_BUDGET_SOURCES - 5, "more"), 1000 - (int)AUDIT_BUDGET_SOURCES);
}

static void no_kind_hides_another(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(take_many(f, "192.0.2.1:5", 100, 1), 2);
	assert_true(audit_budget_take(f->budget, AUDIT_HANDSHAKE_NAMED, "192.0.2.1:5", 1));
	assert_true(audit_budget_take(f->budget, AUDIT_CALL, "192.0.2.1:5", 1));
}

static void what_is_denied_is_of_identities(void **state)
{
	struct fixture *f = *state;
	char one[256], two[256];

	/* Told apart to the last of its characters, wherever they come from. */
	memset(one, 'a', sizeof(one));
	memcpy(one, "spiffe://x/user/", 16);
	one[255] = two[255] = '\0';
	memcpy(two, one, sizeof(two));
	two[254] = ':';
	for (int i = 0; i < 10; i++) {
		assert_int_equal(audit_budget_take(f->budget, AUDIT_DENIED, one, 1), i < 2);
		assert_int_equal(audit_budget_take(f->budget, AUDIT_DENIED, two, 1), i < 2);
	}
	audit_budget_tell(f->budget, MINUTE);
	read_log(f);
	assert_int_equal(json_array_size(f->records), 2);
	assert_string_equal(text(f, 0, "event"), "call");
	assert_string_equal(text(f, 0, "decision"), "denied");
	assert_string_equal(text(f, 0, "identity"), one);
	assert_string_equal(text(f, 1, "identity"), two);
	assert_null(text(f, 0, "peer"));
	assert_int_equal(number(f, 0, "more"), 8);
}

static void an_interval_begins_anew(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(take_many(f, "192.0.2.1:5", 10, 1), 2);
	/* Nobody had a timer: what is due is told before. */
	assert_int_equal(take_many(f, "192.0.2.1:5", 10, MINUTE), 2);
	audit_budget_tell(f->budget, MINUTE + 1);
	read_log(f);
	assert_int_equal(json_array_size(f->records), 2);
	assert_int_equal(number(f, 0, "more"), 8);
	assert_int_equal(number(f, 1, "more"), 8);
}

static void what_cannot_be_told_stays_counted(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, none = {0};

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(take_many(f, "192.0.2.1:5", 10, 1), 2);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none.rlim_max = old.rlim_max;
	log_open("test", LOG_LEVEL_ERROR - 1, false, STDERR_FILENO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	audit_budget_tell(f->budget, MINUTE);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(audit_budget_due(f->budget), 2 * MINUTE);
	assert_int_equal(take_many(f, "192.0.2.1:5", 10, MINUTE), 2);
	audit_budget_tell(f->budget, 2 * MINUTE);
	read_log(f);
	assert_int_equal(json_array_size(f->records), 1);
	assert_int_equal(number(f, 0, "more"), 16);
}

static void sources_are_addresses_and_networks(void **state)
{
	static const struct {
		const char *peer, *source;
	} rows[] = {
	    {"192.0.2.1:50000", "192.0.2.1"},
	    {"[2001:db8:1:2:3:4:5:6]:50000", "2001:db8:1:2::/64"},
	    {"[2001:db8:1:2:ffff::]:1", "2001:db8:1:2::/64"},
	    {"[::ffff:192.0.2.1]:50000", "192.0.2.1"},
	    {"[::1]:50000", "::/64"},
	    {"unknown", "unknown"},
	    {"", ""},
	    {":", ""},
	    {"[", ""},
	    {"[]:", ""},
	    {"]:1", ""},
	    {"a-name-that-is-longer-than-any-address-could-ever-be-in-text:1",
	        "a-name-that-is-longer-than-any-address-could-ev"},
	};
	char source[AUDIT_BUDGET_SOURCE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		audit_budget_source(source, rows[i].peer);
		assert_string_equal(source, rows[i].source);
	}
}

static void without_a_log_nothing_is_counted(void **state)
{
	const struct audit_budget_limits limits = {.per_source = 1, .total = 1};
	struct audit_budget *b = audit_budget_new(NULL, &limits, 0);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(audit_budget_take(b, AUDIT_CALL, "192.0.2.1:1", 1));
		assert_true(audit_budget_take(NULL, AUDIT_CALL, "192.0.2.1:1", 1));
	}
	assert_int_equal(audit_budget_due(b), 0);
	assert_int_equal(audit_budget_due(NULL), 0);
	audit_budget_tell(NULL, 0);
	audit_budget_free(b);
	audit_budget_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_source_has_so_many_and_the_rest_is_counted),
	    TEST(all_together_have_so_many),
	    TEST(no_kind_hides_another),
	    TEST(what_is_denied_is_of_identities),
	    TEST(an_interval_begins_anew),
	    TEST(what_cannot_be_told_stays_counted),
	    TEST(sources_are_addresses_and_networks),
	    TEST(without_a_log_nothing_is_counted),
	};

	return cmocka_run_group_tests_name("audit_budget", tests, NULL, NULL);
}
