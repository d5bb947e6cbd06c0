/* SPDX-License-Identifier: Apache-2.0 */
/* telex_file_read against a fake agent (tests/support/fake_download.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/duration.h"
#include "lib/client.h"
#include "tests/support/client_fixture.h"
#include "tests/support/fake_download.h"

#define MIB          ((uint64_t)1 << 20)
#define HEARTBEAT_MS 50

struct reading {
	struct fixture *f;
	struct telex_file_reader *reader;
	uint64_t next;
	uint64_t cut_at; /* the connection is lost when so much has come; 0: not */
	size_t held;
	bool keeps;      /* does not say that it has dealt with them */
	unsigned stalls; /* so many times more, all stands still for four heartbeats */
	bool wrong, ended, changed, done, failed;
	uint64_t size;
	struct telex_error error;
};

static void on_output(
    struct telex_file_reader *reader, uint64_t offset, const void *data, size_t len, void *arg)
{
	struct reading *r = arg;
	const uint8_t *bytes = data;

	r->wrong = r->wrong || offset != r->next || r->ended || r->done;
	for (size_t i = 0; i < len; i++)
		r->wrong = r->wrong || bytes[i] != fake_pattern(offset + i);
	r->next = offset + len;
	if (r->stalls > 0) {
		const int64_t until = clock_monotonic_ns() + 4 * HEARTBEAT_MS * NS_PER_MS;

		r->stalls--;
		while (clock_monotonic_ns() < until)
			;
	}
	if (r->keeps)
		r->held += len;
	else
		telex_file_reader_consumed(reader, len);
	if (r->cut_at > 0 && r->next >= r->cut_at) {
		r->cut_at = 0;
		fake_agent_cut(r->f->agent);
	}
}

static void on_end(const struct telex_file *file, bool changed, void *arg)
{
	struct reading *r = arg;

	r->wrong = r->wrong || r->ended;
	r->ended = true;
	r->changed = changed;
	r->size = file->size;
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct reading *r = arg;

	r->wrong = r->wrong || r->done;
	r->done = true;
	r->failed = error != NULL;
	if (error != NULL)
		r->error = *error;
	r->reader = NULL;
}

static struct fake_download *begin(struct reading *r, const struct telex_file_read *read)
{
	r->next = read->offset;
	if (telex_file_read(
	        r->f->client, &r->reader, read, on_output, on_end, on_done, r, &r->error) != 0)
		fail_msg("%s", r->error.message);
	return fake_agent_download(r->f->agent);
}

static const struct telex_file_read whole = {.path = "f"};

/* Every byte has come, once. */
static void expect_all(struct reading *r, uint64_t to)
{
	fixture_until(r->f, &r->done);
	if (r->failed)
		fail_msg("%s", r->error.message);
	assert_false(r->wrong);
	assert_true(r->ended);
	assert_int_equal(r->next, to);
}

static void expect_error(struct reading *r, const char *reason)
{
	fixture_until(r->f, &r->done);
	assert_true(r->failed);
	assert_false(r->wrong || r->ended);
	assert_string_equal(r->error.reason, reason);
}

static void a_file_comes_whole(void **state)
{
	struct reading r = {.f = *state};

	fake_agent_download(r.f->agent)->size = 3 * MIB + 1;
	assert_int_equal(begin(&r, &whole)->reads, 0);
	expect_all(&r, 3 * MIB + 1);
	assert_int_equal(r.size, 3 * MIB + 1);
	assert_false(r.changed);
}

static void a_range_of_it(void **state)
{
	const struct telex_file_read range = {.path = "f", .offset = 1000, .length = MIB};
	struct reading r = {.f = *state};

	fake_agent_download(r.f->agent)->size = 3 * MIB;
	begin(&r, &range);
	expect_all(&r, 1000 + MIB);
}

static void it_goes_on_at_the_byte(void **state)
{
	struct reading r = {.f = *state, .cut_at = 5 * MIB};
	const struct fake_download *d = fake_agent_download(r.f->agent);

	fake_agent_download(r.f->agent)->size = 12 * MIB;
	begin(&r, &whole);
	expect_all(&r, 12 * MIB);
	assert_int_equal(d->reads, 2);
	assert_true(d->resumed_at >= 5 * MIB);
}

static void a_range_goes_on_to_its_end(void **state)
{
	const struct telex_file_read range = {.path = "f", .offset = 7, .length = 6 * MIB};
	struct reading r = {.f = *state, .cut_at = 2 * MIB};

	fake_agent_download(r.f->agent)->size = 12 * MIB;
	begin(&r, &range);
	expect_all(&r, 7 + 6 * MIB);
}

static void an_end_that_was_lost_is_asked_for(void **state)
{
	const struct telex_file_read range = {.path = "f", .length = MIB};
	struct reading r = {.f = *state};
	struct fake_download *d = fake_agent_download(r.f->agent);

	d->size = 2 * MIB;
	d->holds_end = true;
	begin(&r, &range);
	FIXTURE_UNTIL(r.f, r.next == MIB);
	d->holds_end = false;
	fake_agent_cut(r.f->agent);
	expect_all(&r, MIB);
	assert_int_equal(d->resumed_at, MIB);
}

static void a_helper_that_dies_is_no_end(void **state)
{
	struct reading r = {.f = *state};
	struct fake_download *d = fake_agent_download(r.f->agent);

	d->size = 3 * MIB;
	d->fail_at = MIB;
	begin(&r, &whole);
	expect_all(&r, 3 * MIB);
	assert_int_equal(d->reads, 2);
}

static void what_is_kept_over_a_loss_gives_no_credit(void **state)
{
	struct reading r = {.f = *state, .cut_at = MIB, .keeps = true};
	struct fake_download *d = fake_agent_download(r.f->agent);

	d->size = 12 * MIB;
	begin(&r, &whole);
	FIXTURE_UNTIL(r.f, d->reads == 2 && r.next > 4 * MIB);
	r.keeps = false;
	/* More than came is not there to be dealt with. */
	telex_file_reader_consumed(r.reader, r.held + MIB);
	expect_all(&r, 12 * MIB);
}

/* A client that is suspended, or digests for long, has not looked; that is no silence of the agent.
 */
static void standing_still_itself_is_no_loss(void **state)
{
	struct reading r = {.f = *state, .stalls = 6};
	struct fake_download *d = fake_agent_download(r.f->agent);

	r.f->client->heartbeat_ms = HEARTBEAT_MS;
	d->size = 3 * MIB;
	begin(&r, &whole);
	expect_all(&r, 3 * MIB);
	assert_int_equal(r.stalls, 0);
	assert_int_equal(d->reads, 1);
}

static void a_file_that_changed_is_not_mixed(void **state)
{
	struct reading r = {.f = *state, .cut_at = MIB};
	struct fake_download *d = fake_agent_download(r.f->agent);

	d->size = 12 * MIB;
	begin(&r, &whole);
	FIXTURE_UNTIL(r.f, r.cut_at == 0);
	d->modified++;
	expect_error(&r, "CHANGED");
	/* What was on its way when it was cut may have come still; nothing after the second call.
	 */
	assert_int_equal(r.next, d->resumed_at);
	assert_int_equal(d->reads, 2);
}

static void what_is_not_known_is_not_gone_on_with(void **state)
{
	struct reading r = {.f = *state, .cut_at = MIB};
	struct fake_download *d = fake_agent_download(r.f->agent);

	d->size = 12 * MIB;
	d->no_begin = true;
	begin(&r, &whole);
	expect_error(&r, "");
	assert_int_equal(r.error.kind, TELEX_ERROR_LOST);
	assert_int_equal(d->reads, 1);
}

static void another_digest_is_an_error(void **state)
{
	struct reading r = {.f = *state};

	fake_agent_download(r.f->agent)->size = MIB;
	begin(&r, &whole)->wrong_sum = true;
	expect_error(&r, "CHECKSUM");
}

static void more_than_was_asked_for_is_not_given(void **state)
{
	const struct telex_file_read range = {.path = "f", .offset = 1000, .length = MIB};
	struct reading r = {.f = *state};

	fake_agent_download(r.f->agent)->size = 3 * MIB;
	begin(&r, &range)->ignores_length = true;
	expect_error(&r, "");
	assert_int_equal(r.error.code, RPC_INTERNAL);
	assert_non_null(strstr(r.error.message, "more comes of a file than was asked for"));
	assert_true(r.next <= 1000 + MIB);
}

static void it_does_not_come_back_for_ever(void **state)
{
	const struct telex_options o = {.reconnect_ms = -1};
	struct reading r = {.f = *state, .cut_at = MIB};

	fixture_again(r.f, &o);
	fake_agent_download(r.f->agent)->size = 12 * MIB;
	begin(&r, &whole);
	expect_error(&r, "");
	assert_int_equal(r.error.kind, TELEX_ERROR_LOST);
}

static void freeing_the_client_frees_readers(void **state)
{
	struct reading r = {.f = *state, .keeps = true};

	fake_agent_download(r.f->agent)->size = 12 * MIB;
	begin(&r, &whole);
	FIXTURE_UNTIL(r.f, r.next > 0);
	fixture_again(r.f, NULL);
	fixture_settle(r.f);
	assert_false(r.done);
}

#define READ_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    READ_TEST(a_file_comes_whole),
	    READ_TEST(a_range_of_it),
	    READ_TEST(it_goes_on_at_the_byte),
	    READ_TEST(a_range_goes_on_to_its_end),
	    READ_TEST(an_end_that_was_lost_is_asked_for),
	    READ_TEST(a_helper_that_dies_is_no_end),
	    READ_TEST(what_is_kept_over_a_loss_gives_no_credit),
	    READ_TEST(standing_still_itself_is_no_loss),
	    READ_TEST(a_file_that_changed_is_not_mixed),
	    READ_TEST(what_is_not_known_is_not_gone_on_with),
	    READ_TEST(another_digest_is_an_error),
	    READ_TEST(more_than_was_asked_for_is_not_given),
	    READ_TEST(it_does_not_come_back_for_ever),
	    READ_TEST(freeing_the_client_frees_readers),
	};

	return cmocka_run_group_tests_name("file_read", tests, NULL, NULL);
}
