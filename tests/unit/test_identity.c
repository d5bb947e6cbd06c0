/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/identity.h"
#include "common/tls.h"

static void what_is_written_is_read_back(void **state)
{
	static const struct {
		const char *text, *domain, *name;
		enum identity_kind kind;
	} rows[] = {
	    {"spiffe://telex.internal/agent/web-01", "telex.internal", "web-01", IDENTITY_AGENT},
	    {"spiffe://d/user/A", "d", "A", IDENTITY_USER},
	    {"spiffe://a_b-c.9/user/Alice.Smith_2", "a_b-c.9", "Alice.Smith_2", IDENTITY_USER},
	    {"spiffe://x/agent/...", "x", "...", IDENTITY_AGENT},
	};
	char text[IDENTITY_SIZE];
	struct identity id;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(identity_parse(&id, rows[i].text, strlen(rows[i].text), NULL), 0);
		assert_int_equal(id.kind, rows[i].kind);
		assert_string_equal(id.domain, rows[i].domain);
		assert_string_equal(id.name, rows[i].name);
		assert_string_equal(identity_format(text, &id), rows[i].text);
	}
}

static void what_is_no_identity_is_refused_with_its_reason(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"", "spiffe://"},
	    {"spiffe:/", "spiffe://"},
	    {"SPIFFE://d/user/a", "spiffe://"},
	    {"https://d/user/a", "spiffe://"},
	    {"spiffe://", "no /agent/NAME"},
	    {"spiffe://d", "no /agent/NAME"},
	    {"spiffe:///user/a", "trust domain is empty"},
	    {"spiffe://D/user/a", "trust domain has a character"},
	    {"spiffe://d:443/user/a", "trust domain has a character"},
	    {"spiffe://u@d/user/a", "trust domain has a character"},
	    {"spiffe://d/user", "name is empty"},
	    {"spiffe://d/user/", "name is empty"},
	    {"spiffe://d//a", "neither"},
	    {"spiffe://d/User/a", "neither"},
	    {"spiffe://d/users/a", "neither"},
	    {"spiffe://d/use/a", "neither"},
	    {"spiffe://d/ns/x/sa/y", "neither"},
	    {"spiffe://d/user/a/b", "name has a character"},
	    {"spiffe://d/user/a/", "name has a character"},
	    {"spiffe://d/user/a%41", "name has a character"},
	    {"spiffe://d/user/a?x", "name has a character"},
	    {"spiffe://d/user/a#x", "name has a character"},
	    {"spiffe://d/user/a b", "name has a character"},
	    {"spiffe://d/user/\xc3\xa4", "name has a character"},
	    {"spiffe://d/user/a\n", "name has a character"},
	    {"spiffe://d/user/.", "may not be"},
	    {"spiffe://d/user/..", "may not be"},
	};
	struct identity id;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
		    identity_parse(&id, rows[i].text, strlen(rows[i].text), &e), TX_EINVAL);
		if (strstr(e.message, rows[i].why) == NULL)
			fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].text, e.message, rows[i].why);
	}
}

static void a_nul_inside_does_not_end_it(void **state)
{
	struct identity id;

	(void)state;
	assert_int_equal(identity_parse(&id, "spiffe://d/user/a\0b", 19, NULL), TX_EINVAL);
	assert_int_equal(identity_parse(&id, "spiffe://d\0x/user/a", 19, NULL), TX_EINVAL);
	assert_int_equal(identity_parse(&id, "spiffe://d/user/a", 17, NULL), 0);
}

/* Each prefix from a buffer of exactly its size, for the address sanitizer to watch. */
static void no_byte_behind_the_end_is_read(void **state)
{
	static const char text[] = "spiffe://telex.internal/agent/web1";
	struct identity id;

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		char *copy = malloc(len == 0 ? 1 : len);

		memcpy(copy, text, len);
		if (identity_parse(&id, copy, len, NULL) == 0)
			assert_true(len > strlen("spiffe://telex.internal/agent/"));
		free(copy);
	}
}

static void lengths_are_bounded_and_the_longest_fits(void **state)
{
	char domain[IDENTITY_DOMAIN_MAX + 2], name[IDENTITY_NAME_MAX + 2];
	char text[IDENTITY_SIZE];
	struct identity id, again;

	(void)state;
	memset(domain, 'd', sizeof(domain));
	memset(name, 'n', sizeof(name));
	domain[IDENTITY_DOMAIN_MAX] = name[IDENTITY_NAME_MAX] = '\0';
	assert_int_equal(identity_make(&id, IDENTITY_AGENT, domain, name, NULL), 0);
	identity_format(text, &id);
	assert_int_equal(identity_parse(&again, text, strlen(text), NULL), 0);
	assert_string_equal(again.name, name);
	assert_true(strlen(text) < TLS_IDENTITY_SIZE);
	domain[IDENTITY_DOMAIN_MAX] = name[IDENTITY_NAME_MAX] = 'x';
	domain[IDENTITY_DOMAIN_MAX + 1] = name[IDENTITY_NAME_MAX + 1] = '\0';
	assert_int_equal(identity_make(&id, IDENTITY_AGENT, domain, "n", NULL), TX_EINVAL);
	assert_int_equal(identity_make(&id, IDENTITY_AGENT, "d", name, NULL), TX_EINVAL);
}

static void parts_are_checked_as_the_whole_is(void **state)
{
	struct identity id = {.name = "untouched"};

	(void)state;
	assert_int_equal(identity_make(&id, IDENTITY_USER, "d", "", NULL), TX_EINVAL);
	assert_int_equal(identity_make(&id, IDENTITY_USER, "", "a", NULL), TX_EINVAL);
	assert_int_equal(identity_make(&id, IDENTITY_USER, "d/user", "a", NULL), TX_EINVAL);
	assert_int_equal(identity_make(&id, IDENTITY_USER, "d", "../a", NULL), TX_EINVAL);
	assert_int_equal(identity_make(&id, (enum identity_kind)3, "d", "a", NULL), TX_EINVAL);
	assert_string_equal(id.name, "untouched");
}

static void domains_and_kinds_alone(void **state)
{
	char domain[IDENTITY_DOMAIN_MAX + 1];
	enum identity_kind kind;

	(void)state;
	assert_true(identity_domain_valid(IDENTITY_DOMAIN));
	assert_false(identity_domain_valid(""));
	assert_false(identity_domain_valid("A"));
	assert_int_equal(identity_parse_domain(domain, "spiffe://a.b", 12, NULL), 0);
	assert_string_equal(domain, "a.b");
	assert_int_equal(identity_parse_domain(domain, "spiffe://a.b/", 13, NULL), TX_EINVAL);
	assert_int_equal(identity_parse_domain(domain, "a.b", 3, NULL), TX_EINVAL);
	assert_true(identity_kind_parse(&kind, "agent"));
	assert_int_equal(kind, IDENTITY_AGENT);
	assert_false(identity_kind_parse(&kind, "Agent"));
	assert_false(identity_kind_parse(&kind, ""));
	assert_string_equal(identity_kind_name(IDENTITY_USER), "user");
	assert_string_equal(identity_kind_name((enum identity_kind)0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_back),
	    cmocka_unit_test(what_is_no_identity_is_refused_with_its_reason),
	    cmocka_unit_test(a_nul_inside_does_not_end_it),
	    cmocka_unit_test(no_byte_behind_the_end_is_read),
	    cmocka_unit_test(lengths_are_bounded_and_the_longest_fits),
	    cmocka_unit_test(parts_are_checked_as_the_whole_is),
	    cmocka_unit_test(domains_and_kinds_alone),
	};

	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
