/* SPDX-License-Identifier: Apache-2.0 */
/* The form of the keeper's state, and that nothing but a whole one is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/listener.h"
#include "agent/keeper/old_workers.h"
#include "agent/keeper/state.h"
#include "agent/keeper/state_io.h"
#include "common/memfile.h"
#include "tests/support/keeper_rig.h"

/* Of the head. */
#define AT_VERSION  8
#define AT_LENGTH   16
#define AT_CHECKSUM 24
#define AT_FDS      32

static void fix_checksum(uint8_t *data, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = AT_FDS; i < len; i++)
		h = (h ^ data[i]) * UINT64_C(1099511628211);
	memcpy(data + AT_CHECKSUM, &h, sizeof(h));
}

/* What a keeper would say of these bytes. */
static int check(const uint8_t *data, size_t len, struct err *e)
{
	struct listeners found;
	struct state_in *in = NULL;
	int fd;
	int rc = memfile_freeze("test", data, len, &fd, e);

	assert_int_equal(rc, 0);
	rc = state_open(&in, fd, e);
	if (rc == 0)
		rc = state_check(in, &found, e);
	state_close(in);
	close(fd);
	return rc;
}

static void what_was_put_is_read(void **state)
{
	struct state_out *o = state_out_new();
	struct state_in *in;
	enum state_tag tag;
	char text[8];
	size_t len;
	struct err e;
	int fd;

	(void)state;
	assert_non_null(o);
	state_begin(o, STATE_KEEPER);
	state_put(o, UINT64_MAX);
	state_put_signed(o, -5);
	state_put_text(o, "abc");
	state_put_fd(o, 7);
	state_put_fd(o, -1);
	state_put_bytes(o, "", 0);
	state_end(o);
	state_begin(o, STATE_END);
	state_end(o);
	assert_int_equal(state_seal(o, &fd, &e), 0);
	state_out_free(o);
	assert_int_equal(state_open(&in, fd, &e), 0);
	close(fd);
	assert_true(state_next(in, &tag));
	assert_int_equal(tag, STATE_KEEPER);
	assert_true(state_get(in) == UINT64_MAX);
	assert_int_equal(state_get_signed(in), -5);
	state_get_text(in, text, sizeof(text));
	assert_string_equal(text, "abc");
	assert_int_equal(state_get_fd(in), 7);
	assert_true(state_fds_done(in));
	assert_int_equal(state_get_fd(in), -1);
	assert_false(state_record_good(in));
	assert_non_null(state_get_bytes(in, &len));
	assert_int_equal(len, 0);
	assert_true(state_record_good(in));
	/* Beyond the end. */
	assert_int_equal(state_get(in), 0);
	assert_false(state_record_good(in));
	/* Half of it read is not good either, and no text fits everywhere. */
	state_rewind(in);
	assert_true(state_next(in, &tag));
	(void)state_get(in);
	assert_false(state_record_good(in));
	(void)state_get_signed(in);
	state_get_text(in, text, 3);
	assert_string_equal(text, "");
	state_close(in);
}

struct told {
	struct rig *r;
	struct peer *p;
};

/* The worker has to answer its pings meanwhile. */
static bool has_refused(void *arg)
{
	struct told *t = arg;

	assert_true(peer_answers(t->p));
	return rig_logged(t->r, "says: no, thank you");
}

/* A whole state of a keeper that has something of everything. */
static uint8_t *capture(size_t *len)
{
	static const char *const scripts[] = {"sleep 100", "echo out; echo err >&2; exit 3",
	    "sleep 100 & exit 4", "while :; do echo much; done"};
	struct rig r;
	struct peer p;
	struct told told = {&r, &p};
	char path[128];
	uint8_t *data;
	FILE *f;

	rig_start_copy(&r, "workers = 1");
	snprintf(path, sizeof(path), "%s/state-copy", r.dir);
	rig_accept(&r, &p);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct job_spec spec;
		char *argv[4], id[8], script[64], group[] = "group";
		union km_any m;

		snprintf(id, sizeof(id), "job%zu", i);
		snprintf(script, sizeof(script), "%s", scripts[i]);
		peer_spec(&spec, argv, script);
		spec.stdin_pipe = true;
		spec.output_buffer = 4096;
		spec.spool = i == 3 ? 1 << 20 : 0;
		if (i == 0 || i == 3)
			spec.group = group;
		spec.group_max = i == 0 ? 1 : 0;
		peer_start(&p, 0, id, &spec, &m);
		assert_int_equal(m.hdr.type, KM_JOB);
		/* Nothing is saved while a process is being started. */
		if (i == 0)
			peer_until_started(&p, id);
	}
	rig_replace(&r, "tests/support/fake_worker");
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_until(has_refused, &told, "the upgrade's refusal");
	f = fopen(path, "re");
	assert_non_null(f);
	data = malloc(1 << 20);
	assert_non_null(data);
	*len = fread(data, 1, 1 << 20, f);
	fclose(f);
	peer_close(&p);
	rig_stop(&r);
	return data;
}

static void nothing_but_a_whole_state_is_taken(void **state)
{
	size_t len;
	uint8_t *data = capture(&len);
	uint8_t *copy = malloc(len + 8);
	struct err e;

	(void)state;
	assert_non_null(copy);
	if (check(data, len, &e) != 0)
		fail_msg("%s", e.message);
	/* Cut off anywhere, with and without the length set right. */
	for (size_t n = 1; n < len; n += n < 300 ? 1 : 37) {
		uint64_t length = n;

		memcpy(copy, data, n);
		assert_true(check(copy, n, &e) < 0);
		if (n < AT_FDS + 8)
			continue;
		memcpy(copy + AT_LENGTH, &length, sizeof(length));
		fix_checksum(copy, n);
		assert_true(check(copy, n, &e) < 0);
	}
	/* Longer than it says. */
	memcpy(copy, data, len);
	memset(copy + len, 0, 8);
	assert_true(check(copy, len + 8, &e) < 0);
	/* Each byte, as if by damage; an older version would make a state of that version. */
	for (size_t i = 0; i < len; i++) {
		if (i == AT_VERSION)
			continue;
		copy[i] = (uint8_t)(copy[i] ^ 1u << i % 8);
		assert_true(check(copy, len, &e) < 0);
		copy[i] = (uint8_t)(copy[i] ^ 1u << i % 8);
	}
	/* Each byte with the checksum set right: whatever it is then, it is dealt with. */
	for (size_t i = AT_FDS; i < len; i++) {
		uint8_t was = copy[i];

		for (unsigned with = 0; with < 3; with++) {
			copy[i] = with == 0 ? (uint8_t)~was : with == 1 ? 0 : was ^ 0x80;
			fix_checksum(copy, len);
			(void)check(copy, len, &e);
		}
		copy[i] = was;
	}
	free(copy);
	free(data);
}

static void a_newer_state_is_refused_with_both_versions(void **state)
{
	size_t len;
	uint8_t *data = capture(&len);
	uint32_t newer = STATE_VERSION + 1;
	char want[64];
	struct err e;

	(void)state;
	/* Of a newer one nothing else is known, not even its checksum. */
	memcpy(data + AT_VERSION, &newer, sizeof(newer));
	assert_int_equal(check(data, len, &e), TX_EUNSUPPORTED);
	snprintf(want, sizeof(want), "version %u; this telexd understands up to %u", newer,
	    STATE_VERSION);
	assert_non_null(strstr(e.message, want));
	newer = 0;
	memcpy(data + AT_VERSION, &newer, sizeof(newer));
	assert_int_equal(check(data, len, &e), TX_EPROTO);
	free(data);
}

/* Of a keeper with one worker, as version 2 wrote it: no record has what came later. */
static int version_2(pid_t worker, int state_dir, int lock, uint32_t version)
{
	struct state_out *o = state_out_new();
	struct err e;
	uint8_t *data;
	size_t len;
	int fd;

	assert_non_null(o);
	state_begin(o, STATE_KEEPER);
	state_put_signed(o, getpid());
	state_put_signed(o, 1700000000);
	state_put(o, 1024);
	state_put(o, 4096);
	state_put_fd(o, state_dir);
	state_put_fd(o, lock);
	state_put(o, 0);
	state_end(o);
	state_begin(o, STATE_WORKER);
	state_put_signed(o, worker);
	state_end(o);
	state_begin(o, STATE_END);
	state_put(o, 0);
	state_end(o);
	assert_int_equal(state_seal(o, &fd, &e), 0);
	state_out_free(o);
	assert_int_equal(memfile_load(fd, 1 << 20, &data, &len, &e), 0);
	close(fd);
	memcpy(data + AT_VERSION, &version, sizeof(version));
	assert_int_equal(memfile_freeze("test", data, len, &fd, &e), 0);
	free(data);
	return fd;
}

static void see_worker(pid_t pid, uint64_t writer, void *arg)
{
	pid_t *seen = arg;

	assert_int_equal(writer, 0);
	*seen = pid;
}

/* Who upgrades in place comes from such a one. */
static void a_worker_of_a_version_without_its_writer_is_restored(void **state)
{
	int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), lock = dup(dir), fd;
	struct event_base *base = event_base_new();
	struct state_parts parts = {.spool_dir = -1};
	struct state_keeper k = {0};
	struct state_in *in;
	pid_t worker = fork(), seen = 0;
	struct err e;

	(void)state;
	if (worker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(worker > 0 && dir > STDERR_FILENO && lock > dir);
	assert_non_null(base);
	assert_int_equal(old_workers_new(&parts.old_workers, base, NULL, &e), 0);
	fd = version_2(worker, dir, lock, 2);
	assert_int_equal(state_open(&in, fd, &e), 0);
	close(fd);
	if (state_restore(in, &k, &parts, &e) != 0)
		fail_msg("%s", e.message);
	state_close(in);
	old_workers_each(parts.old_workers, see_worker, &seen);
	assert_int_equal(seen, worker);
	listeners_unref(parts.listeners);
	/* This version's own has it. */
	fd = version_2(worker, dir, lock, STATE_VERSION);
	assert_int_equal(state_open(&in, fd, &e), 0);
	close(fd);
	assert_int_equal(state_restore(in, &k, &parts, &e), TX_EPROTO);
	state_close(in);
	old_workers_free(parts.old_workers);
	event_base_free(base);
	close(dir);
	close(lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_put_is_read),
	    cmocka_unit_test(nothing_but_a_whole_state_is_taken),
	    cmocka_unit_test(a_newer_state_is_refused_with_both_versions),
	    cmocka_unit_test(a_worker_of_a_version_without_its_writer_is_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
