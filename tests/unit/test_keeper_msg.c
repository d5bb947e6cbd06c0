/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/keeper_msg.h"

#define ANY_STATE (KM_LINK_NEW | KM_LINK_CONFIGURED | KM_LINK_READY | KM_LINK_DRAINING)

/* A message that the table allows, all zero but for its header. */
static union km_any good(const struct km_row *row)
{
	union km_any m;

	memset(&m, 0, sizeof(m));
	m.hdr = (struct km_hdr){.version = KM_VERSION, .type = row->type, .size = row->size};
	return m;
}

static enum km_link_state first_state(const struct km_row *row)
{
	return (enum km_link_state)(row->states & -row->states);
}

static int check(const struct km_row *row, const union km_any *m, size_t len)
{
	struct err e = {.code = 0};
	int r = km_check(m, len, row->n_fds, (enum km_side)row->sender, first_state(row), &e);

	assert_int_equal(e.code, r);
	if (r < 0)
		assert_true(e.message[0] != '\0');
	return r;
}

static const struct km_row *row_of(uint16_t type)
{
	const struct km_row *row = km_row(type);

	assert_non_null(row);
	return row;
}

static void every_type_has_one_row(void **state)
{
	size_t found = 0;

	(void)state;
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		const struct km_row *row = km_row((uint16_t)type);

		if (row == NULL)
			continue;
		found++;
		assert_int_equal(row->type, type);
		assert_true(
		    row->size >= sizeof(struct km_hdr) && row->size <= sizeof(union km_any));
		assert_true(row->states != 0 && (row->states & ~(unsigned)ANY_STATE) == 0);
		assert_int_equal(row->sender, type < KM_READY ? KM_KEEPER : KM_WORKER);
		assert_true(row->name[0] != '\0');
		assert_int_equal(row->size % 8, 0);
	}
	assert_int_equal(found, km_table_rows);
	assert_int_equal(found, 37);
}

static void every_row_accepts_its_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		union km_any m = good(&km_table[i]);

		assert_int_equal(check(&km_table[i], &m, km_table[i].size), 0);
	}
}

static void a_wrong_version_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		union km_any m = good(&km_table[i]);

		m.hdr.version = KM_VERSION + 1;
		assert_int_equal(check(&km_table[i], &m, km_table[i].size), TX_EPROTO);
		m.hdr.version = 0;
		assert_int_equal(check(&km_table[i], &m, km_table[i].size), TX_EPROTO);
	}
}

static void an_unknown_type_is_refused(void **state)
{
	static const uint16_t types[] = {0, 20, 63, 80, 255, 256 + KM_START, UINT16_MAX};
	const struct km_row *row = row_of(KM_INFO);
	union km_any m = good(row);

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		m.hdr.type = types[i];
		assert_int_equal(check(row, &m, row->size), TX_EPROTO);
	}
}

static void a_wrong_size_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		const struct km_row *row = &km_table[i];
		union km_any m = good(row);

		assert_int_equal(check(row, &m, row->size - 1), TX_EPROTO);
		if (row->size < sizeof(m))
			assert_int_equal(check(row, &m, row->size + 1), TX_EPROTO);
		for (size_t len = 0; len < sizeof(struct km_hdr); len++)
			assert_int_equal(check(row, &m, len), TX_EPROTO);
		m.hdr.size = row->size + 1;
		assert_int_equal(check(row, &m, row->size), TX_EPROTO);
		m.hdr.size = UINT32_MAX;
		assert_int_equal(check(row, &m, row->size), TX_EPROTO);
		m.hdr.size = 0;
		assert_int_equal(check(row, &m, row->size), TX_EPROTO);
	}
}

static void the_wrong_side_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		const struct km_row *row = &km_table[i];
		union km_any m = good(row);
		enum km_side other = row->sender == KM_KEEPER ? KM_WORKER : KM_KEEPER;

		assert_int_equal(
		    km_check(&m, row->size, row->n_fds, other, first_state(row), NULL), TX_EPROTO);
	}
}

static void a_wrong_number_of_descriptors_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		const struct km_row *row = &km_table[i];
		union km_any m = good(row);

		for (size_t n = 0; n < 6; n++)
			assert_int_equal(km_check(&m, row->size, n, (enum km_side)row->sender,
			                     first_state(row), NULL),
			    n == row->n_fds ? 0 : TX_EPROTO);
	}
}

static bool allowed(uint16_t type, unsigned state)
{
	const struct km_row *row = row_of(type);
	union km_any m = good(row);

	return km_check(&m, row->size, row->n_fds, (enum km_side)row->sender, state, NULL) == 0;
}

static void states_let_through_what_belongs_there(void **state)
{
	/* Types that each state of a link takes; the order of enum km_link_state. */
	static const struct {
		unsigned state;
		uint16_t types[12];
	} special[] = {
	    {KM_LINK_NEW, {KM_CONFIG, KM_LISTEN, KM_FILE, KM_GO, KM_FAILED}},
	    {KM_LINK_CONFIGURED, {KM_PING, KM_FILE, KM_READY, KM_FAILED, KM_PONG}},
	};

	(void)state;
	for (size_t s = 0; s < 2; s++)
		for (size_t i = 0; i < km_table_rows; i++) {
			bool listed = false;

			for (size_t k = 0; k < 12; k++)
				listed = listed || special[s].types[k] == km_table[i].type;
			assert_int_equal(allowed(km_table[i].type, special[s].state), listed);
		}
	for (size_t i = 0; i < km_table_rows; i++) {
		uint16_t type = km_table[i].type;
		bool early =
		    type == KM_CONFIG || type == KM_LISTEN || type == KM_GO || type == KM_READY;

		assert_int_equal(allowed(type, KM_LINK_READY), !early);
		assert_int_equal(allowed(type, KM_LINK_DRAINING), !early);
		assert_false(allowed(type, 0));
		assert_false(allowed(type, 16));
	}
}

static void strings_must_end_inside_their_arrays(void **state)
{
	size_t strings = 0;

	(void)state;
	for (size_t i = 0; i < km_table_rows; i++) {
		const struct km_row *row = &km_table[i];

		for (size_t k = 0; k < 3 && row->strings[k].size > 0; k++) {
			union km_any m = good(row);
			uint8_t *bytes = (uint8_t *)&m;

			strings++;
			assert_true(row->strings[k].offset + row->strings[k].size <= row->size);
			memset(bytes + row->strings[k].offset, 'x', row->strings[k].size);
			assert_int_equal(check(row, &m, row->size), TX_EPROTO);
			bytes[row->strings[k].offset + row->strings[k].size - 1] = '\0';
			assert_int_equal(check(row, &m, row->size), 0);
		}
	}
	assert_int_equal(strings, 30);
}

static void stages_have_names(void **state)
{
	(void)state;
	assert_string_equal(km_stage_name(KM_STAGE_SPEC), "spec");
	assert_string_equal(km_stage_name(KM_STAGE_EXEC), "exec");
	assert_string_equal(km_stage_name(KM_STAGE_EXEC + 1), "none");
	assert_string_equal(km_stage_name(-1), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_type_has_one_row),
	    cmocka_unit_test(every_row_accepts_its_message),
	    cmocka_unit_test(a_wrong_version_is_refused),
	    cmocka_unit_test(an_unknown_type_is_refused),
	    cmocka_unit_test(a_wrong_size_is_refused),
	    cmocka_unit_test(the_wrong_side_is_refused),
	    cmocka_unit_test(a_wrong_number_of_descriptors_is_refused),
	    cmocka_unit_test(states_let_through_what_belongs_there),
	    cmocka_unit_test(strings_must_end_inside_their_arrays),
	    cmocka_unit_test(stages_have_names),
	};

	return cmocka_run_group_tests_name("keeper_msg", tests, NULL, NULL);
}
