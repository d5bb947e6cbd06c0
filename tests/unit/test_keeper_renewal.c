/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telexd whose certificate comes to its end and whose revocation list grows: its workers are the
 * test, and so is what telex-renew answers (fake_renew.c). The clock is moved by what it says of
 * the certificate's dates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/certificate_dates.h"
#include "agent/keeper/config.h"
#include "agent/keeper/list_check.h"
#include "agent/keeper/renewal.h"
#include "common/duration.h"
#include "common/file_put.h"
#include "common/memfile.h"
#include "common/renew_frame.h"
#include "common/revocation_file.h"
#include "tests/support/keeper_rig.h"

/* ---- helpers ---- */

static bool is_logged(void *arg)
{
	const void **both = arg;

	return rig_logged(both[0], both[1]);
}

static void until_logged(struct rig *r, const char *words)
{
	const void *both[] = {r, words};

	rig_until(is_logged, both, words);
}

static const char *path_in(const char *dir, const char *name)
{
	static char paths[4][160];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static bool holds(const char *dir, const char *name, const char *text)
{
	char buf[256];
	FILE *f = fopen(path_in(dir, name), "re");
	size_t n;

	if (f == NULL)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	/* A list is kept after one line, the keeper's. */
	return strcmp(strncmp(buf, "# telex list ", 13) == 0 ? strchr(buf, '\n') + 1 : buf, text) ==
	       0;
}

static bool is_there(const char *dir, const char *name)
{
	return access(path_in(dir, name), F_OK) == 0;
}

struct place {
	const char *dir, *name, *text;
};

static bool holds_it(void *arg)
{
	const struct place *p = arg;

	return holds(p->dir, p->name, p->text);
}

static void answer(const char *dir, const char *mode, const char *first, const char *second)
{
	struct renew_frame f = {.magic = RENEW_FRAME_MAGIC,
	    .first = (uint32_t)strlen(first),
	    .second = (uint32_t)strlen(second)};
	char name[64], beside[64];
	FILE *file;

	snprintf(name, sizeof(name), "%s-answer", mode);
	snprintf(beside, sizeof(beside), "%s-beside", mode);
	file = fopen(path_in(dir, beside), "we");
	assert_non_null(file);
	assert_int_equal(fwrite(&f, sizeof(f), 1, file), 1);
	assert_true(fputs(first, file) >= 0 && fputs(second, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path_in(dir, beside), 0644), 0);
	assert_int_equal(rename(path_in(dir, beside), path_in(dir, name)), 0);
}

static const char *folder_of_answers(void)
{
	return getenv("TELEX_TEST_RENEW");
}

/* What telex-renew is to say of a certificate, which is told by its first word. */
static void date_it(const char *certificate, int64_t old, int64_t left)
{
	int64_t now = (int64_t)time(NULL);
	char dates[RENEW_FRAME_DATES_MAX], mode[80];

	renew_dates_write(dates, now - RENEW_SKEW_S - old, now + left);
	snprintf(mode, sizeof(mode), "dates-%.*s", (int)strcspn(certificate, " "), certificate);
	answer(folder_of_answers(), mode, dates, "");
}

/* Its certificate is `old` seconds old and good for `left` more. */
static void accept_aged(struct rig *r, struct peer *p, int64_t old, int64_t left)
{
	struct km_ready ready = {.hdr = {0}};

	rig_accept_early(r, p);
	date_it(p->certificate, old, left);
	peer_send(p, KM_READY, 0, &ready, -1);
}

/* A telexd that reads a configuration with files of its own for certificate and key: its first
 * worker is `first`, another is on its way. */
static void start(struct rig *r, struct peer *first, const char *more)
{
	char config[1024];

	rig_start(r, "workers = 1");
	rig_accept(r, first);
	until_logged(r, "ready");
	rig_write(r, "agent.pem", "old certificate");
	rig_write(r, "agent.key", "old key");
	snprintf(config, sizeof(config),
	    "workers = 1\ncertificate = \"%s/agent.pem\"\nkey = \"%s/agent.key\"\n%s", r->dir,
	    r->dir, more);
	rig_configure(r, config);
	assert_int_equal(kill(r->pid, SIGHUP), 0);
}

/* ---- renewal ---- */

/* The environment of telexd is made before the folder is known: where it is must not matter. */
static void set_folder(void)
{
	static char folder[] = "/tmp/telex-renew-XXXXXX";

	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	setenv("TELEX_TEST_RENEW", folder, 1);
}

static void no_answers(void)
{
	static const char *const names[] = {"certificate-answer", "revocations-answer",
	    "dates-old-answer", "dates-new-answer", "dates-stands-answer", "certificate-hangs",
	    "revocations-hangs", "list-answer", "list-hangs"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(path_in(folder_of_answers(), names[i]));
}

/* The one that served before is told to drain, and goes. */
static void replaced(struct peer *old)
{
	union km_any m;

	peer_expect(old, KM_DRAIN, &m);
	peer_close(old);
}

static void a_due_certificate_is_renewed_and_serves(void **state)
{
	struct peer first, due, fresh;
	struct stat st;
	struct rig r;

	(void)state;
	no_answers();
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	/* It brings workers that have the new one. */
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_string_equal(fresh.certificate, "new certificate");
	assert_true(holds(r.dir, "agent.pem", "new certificate"));
	assert_true(holds(r.dir, "agent.key", "new key"));
	assert_int_equal(stat(path_in(r.dir, "agent.key"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* And that one is not due: nothing more comes. */
	assert_true(peer_answers(&fresh));
	peer_close(&fresh);
	rig_stop(&r);
}

/* What a worker says of the certificate is not asked for. Till the dates can be read nothing is
 * renewed; then it is by them. */
static void dates_that_cannot_be_read_are_asked_for_again(void **state)
{
	struct peer first, due, fresh;
	struct rig r;

	(void)state;
	no_answers();
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	start(&r, &first, "renew_from = \"ca.test:1\"");
	rig_accept(&r, &due);
	replaced(&first);
	answer(folder_of_answers(), "dates-old", "9 8", "");
	until_logged(&r, "agent.pem could not be read; it is tried again");
	assert_true(peer_answers(&due));
	assert_true(holds(r.dir, "agent.pem", "old certificate"));
	date_it("old certificate", 1000, 60);
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_string_equal(fresh.certificate, "new certificate");
	peer_close(&fresh);
	rig_stop(&r);
}

struct asking {
	struct event_base *base;
	struct certificate_dates *dates;
	int64_t not_after; /* 0: not known */
};

static void note_dates(int64_t not_before, int64_t not_after, void *arg)
{
	struct asking *a = arg;

	(void)not_before;
	a->not_after = not_after;
}

static bool are_known(void *arg)
{
	struct asking *a = arg;
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid > 0)
		assert_true(certificate_dates_reaped(a->dates, pid, status));
	assert_true(event_base_loop(a->base, EVLOOP_NONBLOCK) >= 0);
	return a->not_after != 0;
}

static int certificate_of(const char *text)
{
	int fd;

	assert_int_equal(memfile_freeze("certificate", text, strlen(text), &fd, NULL), 0);
	return fd;
}

/* Another is asked about while there is no descriptor to be had. */
static void dates_are_of_the_certificate_that_was_asked_about_last(void **state)
{
	const char *top = getenv("top_builddir") != NULL ? getenv("top_builddir") : ".";
	char program[512], name[] = "agent.pem";
	struct config config = {.refs = 1, .certificate = name};
	struct asking a = {.base = event_base_new()};
	int old = certificate_of("old certificate"), new = certificate_of("new certificate"), next;
	struct rlimit limit, none;
	struct err e;

	(void)state;
	no_answers();
	answer(folder_of_answers(), "dates-old", "1 1000", "");
	answer(folder_of_answers(), "dates-new", "2 2000", "");
	snprintf(program, sizeof(program), "%s/tests/support/telex-renew", top);
	assert_non_null(a.base);
	assert_int_equal(certificate_dates_new(&a.dates, a.base, program, note_dates, &a, &e), 0);
	certificate_dates_ask(a.dates, &config, old);
	rig_until(are_known, &a, "the dates are known");
	assert_int_equal(a.not_after, 1000);
	a.not_after = 0;
	next = dup(old);
	assert_true(next >= 0);
	assert_int_equal(close(next), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_true(dup(old) < 0);
	certificate_dates_ask(a.dates, &config, new);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	rig_until(are_known, &a, "the dates are known");
	assert_int_equal(a.not_after, 2000);
	certificate_dates_free(a.dates);
	event_base_free(a.base);
	close(old);
	close(new);
	assert_int_equal(config.refs, 1);
}

/* It is no reload: what was edited meanwhile, and not told, does not come into force by it. */
static void a_renewal_brings_nothing_but_the_pair(void **state)
{
	struct peer first, due, fresh;
	char before[64];
	struct rig r;

	(void)state;
	no_answers();
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	memcpy(before, due.policy, sizeof(before));
	rig_write(&r, "pem", "another policy");
	rig_write(&r, "conf", "a typo");
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_string_equal(fresh.certificate, "new certificate");
	assert_string_equal(fresh.key, "new key");
	assert_string_equal(fresh.policy, before);
	until_logged(&r, "1 workers serve with the new certificate");
	peer_close(&fresh);
	rig_stop(&r);
}

static void what_fails_is_tried_again(void **state)
{
	struct peer first, due, fresh;
	char words[128];
	struct stat st;
	struct rig r;

	(void)state;
	no_answers();
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	until_logged(&r, "could not be renewed (1 times now)");
	until_logged(&r, "could not be renewed (2 times now)");
	assert_true(holds(r.dir, "agent.pem", "old certificate"));
	/* What it is asked for with is kept. */
	assert_true(holds(r.dir, "agent.key.telex-request", "a request"));
	assert_int_equal(stat(path_in(r.dir, "agent.key.telex-request"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* What is to be typed names the file. */
	assert_int_equal(chmod(path_in(r.dir, "agent.key"), 0644), 0);
	snprintf(words, sizeof(words), "type: chmod 600 %s/agent.key", r.dir);
	until_logged(&r, words);
	assert_int_equal(chmod(path_in(r.dir, "agent.key"), 0600), 0);
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_true(holds(r.dir, "agent.pem", "new certificate"));
	assert_false(is_there(r.dir, "agent.key.telex-request"));
	peer_close(&fresh);
	rig_stop(&r);
}

/* Where links lead the folder of their own need not be one that can be written to. */
static void a_request_is_beside_the_key_where_a_link_leads(void **state)
{
	struct peer first, due, fresh;
	char config[1024], there[160];
	struct rig r;

	(void)state;
	no_answers();
	rig_start(&r, "workers = 1");
	rig_accept(&r, &first);
	until_logged(&r, "ready");
	assert_int_equal(mkdir(path_in(r.dir, "real"), 0700), 0);
	rig_write(&r, "real/agent.pem", "old certificate");
	rig_write(&r, "real/agent.key", "old key");
	snprintf(there, sizeof(there), "%s/real/agent.pem", r.dir);
	assert_int_equal(symlink(there, path_in(r.dir, "agent.pem")), 0);
	snprintf(there, sizeof(there), "%s/real/agent.key", r.dir);
	assert_int_equal(symlink(there, path_in(r.dir, "agent.key")), 0);
	snprintf(config, sizeof(config),
	    "workers = 1\ncertificate = \"%s/agent.pem\"\nkey = \"%s/agent.key\"\n"
	    "renew_from = \"ca.test:1\"",
	    r.dir, r.dir);
	rig_configure(&r, config);
	assert_int_equal(kill(r.pid, SIGHUP), 0);
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	until_logged(&r, "could not be renewed (1 times now)");
	assert_true(holds(r.dir, "real/agent.key.telex-request", "a request"));
	assert_false(is_there(r.dir, "agent.key.telex-request"));
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_true(holds(r.dir, "real/agent.key", "new key"));
	assert_false(is_there(r.dir, "real/agent.key.telex-request"));
	peer_close(&fresh);
	rig_stop(&r);
}

static bool is_gone(void *arg)
{
	const struct place *p = arg;

	return !is_there(p->dir, p->name);
}

/* Another one is made after it. */
static void a_request_that_is_refused_is_given_up(void **state)
{
	struct peer first, due, fresh;
	struct place place;
	struct rig r;

	(void)state;
	no_answers();
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	until_logged(&r, "could not be renewed (1 times now)");
	place = (struct place){r.dir, "agent.key.telex-request", "a request"};
	assert_true(holds_it(&place));
	rig_write(&r, "agent.key.telex-request", "another's");
	until_logged(&r, "could not be renewed (2 times now)");
	assert_false(is_gone(&place));
	answer(folder_of_answers(), "certificate", "", "");
	rig_write(&r, "agent.key.telex-request", "a request");
	rig_until(is_gone, &place, "it is given up");
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	accept_aged(&r, &fresh, 0, 3600);
	replaced(&due);
	assert_string_equal(fresh.certificate, "new certificate");
	peer_close(&fresh);
	rig_stop(&r);
}

/* Half an answer, an answer without a key, too much: the files stay. */
static void a_bad_answer_changes_nothing(void **state)
{
	struct peer first, due;
	struct rig r;
	char *long_text = malloc(RENEW_FRAME_PAIR_MAX + 2);

	(void)state;
	assert_non_null(long_text);
	memset(long_text, 'a', RENEW_FRAME_PAIR_MAX + 1);
	long_text[RENEW_FRAME_PAIR_MAX + 1] = '\0';
	no_answers();
	answer(folder_of_answers(), "certificate", "new certificate", "");
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	until_logged(&r, "could not be renewed (1 times now)");
	answer(folder_of_answers(), "certificate", long_text, "new key");
	until_logged(&r, "could not be renewed (2 times now)");
	answer(folder_of_answers(), "certificate", "new certificate", "new key");
	assert_int_equal(truncate(path_in(folder_of_answers(), "certificate-answer"), 30), 0);
	until_logged(&r, "could not be renewed (3 times now)");
	assert_true(holds(r.dir, "agent.pem", "old certificate"));
	assert_true(holds(r.dir, "agent.key", "old key"));
	assert_true(peer_answers(&due));
	peer_close(&due);
	free(long_text);
	rig_stop(&r);
}

static void one_that_nobody_renews_is_told_of(void **state)
{
	struct peer first, due;
	struct rig r;

	(void)state;
	no_answers();
	start(&r, &first, "");
	accept_aged(&r, &due, 1000, 200);
	replaced(&first);
	until_logged(&r, "is not renewed yet; no renew_from");
	peer_close(&due);
	rig_stop(&r);
}

static void an_expired_one_is_told_with_the_way_back(void **state)
{
	struct peer first, due;
	struct rig r;

	(void)state;
	no_answers();
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, -10);
	replaced(&first);
	until_logged(&r, "enroll the agent anew (telex cert enroll TOKEN)");
	peer_close(&due);
	rig_stop(&r);
}

/* The agent ends at once all the same. */
static void the_end_does_not_wait_for_a_renewal(void **state)
{
	struct peer first, due;
	struct rig r;

	(void)state;
	no_answers();
	answer(folder_of_answers(), "certificate-hangs", "", "");
	assert_int_equal(rename(path_in(folder_of_answers(), "certificate-hangs-answer"),
	                     path_in(folder_of_answers(), "certificate-hangs")),
	    0);
	start(&r, &first, "renew_from = \"ca.test:1\"");
	accept_aged(&r, &due, 1000, 60);
	replaced(&first);
	until_logged(&r, "certificate is renewed from ca.test:1");
	peer_close(&due);
	rig_stop(&r);
	no_answers();
}

/* ---- revocations ---- */

static const char issuer[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
#define ABOUT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef "

/* Whatever telex-renew will say of it. */
static void bring_list(struct peer *p, const char *text, int64_t number, uint64_t seq)
{
	struct km_revocations m = {.number = number};
	int fd;

	memcpy(m.issuer, issuer, sizeof(m.issuer));
	assert_int_equal(memfile_freeze("list", text, strlen(text), &fd, NULL), 0);
	peer_send(p, KM_REVOCATIONS, seq, &m, fd);
	close(fd);
}

static void find_list(int64_t number)
{
	struct revocation_record list = {.number = number};
	char about[RENEW_FRAME_ABOUT_MAX];

	memcpy(list.issuer, issuer, sizeof(list.issuer));
	(void)renew_about_write(about, &list);
	answer(folder_of_answers(), "list", "", about);
}

static void send_list(struct peer *p, const char *text, int64_t number, uint64_t seq)
{
	find_list(number);
	bring_list(p, text, number, seq);
}

/* After one line, the keeper's. */
static void assert_ends_with(const char *kept, const char *text)
{
	const char *end = strchr(kept, '\n');

	assert_non_null(end);
	assert_string_equal(end + 1, text);
}

static void expect_list(struct peer *p, const char *text)
{
	char buf[256] = "";
	union km_any m;
	int fd;

	peer_recv(p, &m, &fd);
	assert_int_equal(m.hdr.type, KM_FILE);
	assert_int_equal(m.file.kind, KM_FILE_REVOCATIONS);
	assert_true(pread(fd, buf, sizeof(buf) - 1, 0) >= 0);
	assert_ends_with(buf, text);
	close(fd);
}

static void a_list_is_kept_and_given_to_all(void **state)
{
	struct peer p[2], fresh;
	union km_any m;
	struct rig r;

	(void)state;
	rig_start(&r, "workers = 2");
	rig_accept(&r, &p[0]);
	rig_accept(&r, &p[1]);
	until_logged(&r, "ready");
	for (int i = 0; i < 2; i++) {
		const char *text = i == 0 ? "the first list" : "the second";

		send_list(&p[i], text, 4 + i, 7);
		expect_list(&p[i], text);
		peer_expect(&p[i], KM_DONE, &m);
		assert_int_equal(m.hdr.seq, 7);
		expect_list(&p[1 - i], text);
		assert_true(holds(r.dir, "state/revocations.pem", text));
	}
	/* The one of before, from a worker that was slow to ask. */
	send_list(&p[0], "the first list", 4, 8);
	peer_expect(&p[0], KM_REFUSED, &m);
	assert_non_null(strstr(m.refused.text, "number 5"));
	assert_true(holds(r.dir, "state/revocations.pem", "the second"));
	/* One that drains has it, and one that is new gets it before it serves. */
	rig_configure(&r, "workers = 1");
	assert_int_equal(kill(r.pid, SIGHUP), 0);
	rig_accept(&r, &fresh);
	assert_true(fresh.list >= 0);
	peer_expect(&p[0], KM_DRAIN, &m);
	peer_expect(&p[1], KM_DRAIN, &m);
	send_list(&fresh, "the third", 6, 9);
	expect_list(&fresh, "the third");
	peer_expect(&fresh, KM_DONE, &m);
	expect_list(&p[0], "the third");
	expect_list(&p[1], "the third");
	peer_close(&p[0]);
	peer_close(&p[1]);
	close(fresh.list);
	peer_close(&fresh);
	rig_stop(&r);
}

/* What a worker that was broken into says: neither a list of nobody's nor a wrong number is kept.
 */
static void what_a_worker_says_of_a_list_is_not_believed(void **state)
{
	struct peer p;
	union km_any m;
	struct rig r;

	(void)state;
	no_answers();
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	bring_list(&p, "somebody's", 3, 1);
	peer_expect(&p, KM_REFUSED, &m);
	assert_int_equal(m.hdr.seq, 1);
	assert_non_null(strstr(m.refused.text, "not one of an authority in ca"));
	assert_int_not_equal(access(path_in(r.dir, "state/revocations.pem"), F_OK), 0);
	find_list(5);
	bring_list(&p, "the fifth", INT64_MAX, 2);
	expect_list(&p, "the fifth");
	peer_expect(&p, KM_DONE, &m);
	send_list(&p, "the sixth", 6, 3);
	expect_list(&p, "the sixth");
	peer_expect(&p, KM_DONE, &m);
	assert_true(holds(r.dir, "state/revocations.pem", "the sixth"));
	peer_close(&p);
	rig_stop(&r);
}

static void lists_are_checked_one_by_one_and_not_too_many(void **state)
{
	struct peer p[2];
	union km_any m;
	struct rig r;
	char path[160];

	(void)state;
	no_answers();
	rig_start(&r, "workers = 2");
	rig_accept(&r, &p[0]);
	rig_accept(&r, &p[1]);
	until_logged(&r, "ready");
	find_list(1);
	snprintf(path, sizeof(path), "%s/list-hangs", folder_of_answers());
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)), 0);
	for (uint64_t seq = 0; seq < LIST_CHECK_EACH_MAX; seq++)
		bring_list(&p[0], "one", 1, seq + 1);
	bring_list(&p[0], "one more", 1, 99);
	peer_expect(&p[0], KM_REFUSED, &m);
	assert_int_equal(m.hdr.seq, 99);
	assert_non_null(strstr(m.refused.text, "too many"));
	/* Another's wait their turn, and are not kept from it by one that is gone. */
	bring_list(&p[1], "another's", 1, 7);
	peer_close(&p[0]);
	rig_accept(&r, &p[0]);
	assert_int_equal(unlink(path), 0);
	expect_list(&p[1], "another's");
	peer_expect(&p[1], KM_DONE, &m);
	assert_int_equal(m.hdr.seq, 7);
	peer_close(&p[0]);
	peer_close(&p[1]);
	rig_stop(&r);
}

static void a_list_that_is_kept_already_is_not_written_again(void **state)
{
	struct stat before, after;
	struct peer p;
	union km_any m;
	struct rig r;

	(void)state;
	no_answers();
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	for (uint64_t seq = 1; seq <= 2; seq++) {
		send_list(&p, "the list", 4, seq);
		expect_list(&p, "the list");
		peer_expect(&p, KM_DONE, &m);
		assert_int_equal(m.hdr.seq, seq);
		assert_int_equal(stat(path_in(r.dir, "state/revocations.pem"), &after), 0);
		assert_true(seq == 1 || after.st_ino == before.st_ino);
		before = after;
	}
	/* Another text of the same number is another one. */
	send_list(&p, "the list, with who signed it", 4, 3);
	expect_list(&p, "the list, with who signed it");
	peer_expect(&p, KM_DONE, &m);
	assert_true(holds(r.dir, "state/revocations.pem", "the list, with who signed it"));
	peer_close(&p);
	rig_stop(&r);
}

struct turns {
	struct event_base *base;
	struct list_check *lists;
	char said[16]; /* the owners, in the order of their answers */
	size_t n;
	int64_t at[16];
};

static void note_turn(const struct revocation_record *list, void *owner, uint64_t seq)
{
	struct turns *t = *(struct turns **)owner;

	assert_null(list);
	assert_true(t->n < sizeof(t->said) - 1);
	t->at[t->n] = clock_monotonic_ns();
	t->said[t->n++] = (char)seq;
}

static bool all_said(void *arg)
{
	struct turns *t = arg;
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid > 0)
		assert_true(list_check_reaped(t->lists, pid, status));
	assert_true(event_base_loop(t->base, EVLOOP_NONBLOCK) >= 0);
	return t->n == 5;
}

static void who_brings_many_lists_is_in_nobodys_way(void **state)
{
	const char *top = getenv("top_builddir") != NULL ? getenv("top_builddir") : ".";
	char program[512], ca[] = "/dev/null";
	struct config config = {.refs = 1, .ca = ca};
	struct turns t = {.base = event_base_new()}, *many = &t, *one = &t;
	struct err e;

	(void)state;
	no_answers();
	snprintf(program, sizeof(program), "%s/tests/support/telex-renew", top);
	assert_non_null(t.base);
	assert_int_equal(list_check_new(&t.lists, t.base, program, note_turn, &e), 0);
	list_check_set(t.lists, &config);
	for (int i = 0; i < LIST_CHECK_EACH_MAX; i++) {
		assert_false(list_check_full(t.lists, &many));
		assert_int_equal(
		    list_check_ask(t.lists, (uint8_t *)strdup("a list"), 6, &many, 'm', &e), 0);
	}
	assert_true(list_check_full(t.lists, &many));
	assert_false(list_check_full(t.lists, &one));
	assert_int_equal(list_check_ask(t.lists, (uint8_t *)strdup("a list"), 6, &one, '1', &e), 0);
	rig_until(all_said, &t, "all are told");
	assert_string_equal(t.said, "m1mmm");
	for (size_t i = 1; i < t.n; i++)
		assert_true(t.at[i] - t.at[i - 1] >= LIST_CHECK_PAUSE_NS);
	/* In the pause one waits, too, and who is gone by then is told nothing. */
	assert_int_equal(
	    list_check_ask(t.lists, (uint8_t *)strdup("a list"), 6, &many, 'm', &e), 0);
	list_check_forget(t.lists, &many);
	list_check_free(t.lists);
	event_base_free(t.base);
	assert_int_equal(t.n, 5);
	assert_int_equal(config.refs, 1);
}

static void a_list_that_can_change_ends_the_link(void **state)
{
	struct km_revocations m = {.number = 1};
	struct peer p, fresh;
	struct rig r;
	int fd;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	memcpy(m.issuer, issuer, sizeof(m.issuer));
	assert_int_equal(memfile_new("list", &fd, NULL), 0);
	assert_int_equal(write(fd, "text", 4), 4);
	peer_send(&p, KM_REVOCATIONS, 1, &m, fd);
	close(fd);
	peer_expect_end(&p);
	peer_close(&p);
	rig_accept(&r, &fresh);
	peer_close(&fresh);
	rig_stop(&r);
}

static void a_newer_list_is_fetched(void **state)
{
	struct peer first, p;
	struct place place;
	struct rig r;

	(void)state;
	no_answers();
	answer(folder_of_answers(), "revocations", "fetched", ABOUT "7");
	start(&r, &first, "renew_from = \"ca.test:1\"\nrevocations_interval = 1s");
	accept_aged(&r, &p, 0, 3600);
	replaced(&first);
	expect_list(&p, "fetched");
	place = (struct place){r.dir, "state/revocations.pem", "fetched"};
	rig_until(holds_it, &place, "the list in its file");
	/* Nothing newer changes nothing; and later there is. */
	answer(folder_of_answers(), "revocations", "", "");
	assert_true(peer_answers_between(&p));
	answer(folder_of_answers(), "revocations", "fetched later", ABOUT "8");
	place.text = "fetched later";
	rig_until(holds_it, &place, "the later list in its file");
	peer_close(&p);
	rig_stop(&r);
}

/* ---- the pair of files ---- */

static void make_folder(char dir[64])
{
	snprintf(dir, 64, "/tmp/telex-pair-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static void put_text(const char *dir, const char *name, const char *text)
{
	assert_int_equal(file_put(path_in(dir, name), text, strlen(text), 0600, NULL), 0);
}

/* Each moment of a crash, and what the next start makes of it. */
static void a_pair_that_was_cut_off_is_whole_after_it(void **state)
{
	static const struct {
		bool key_beside, certificate_beside, key_moved;
		const char *certificate, *key;
	} moments[] = {
	    {false, false, false, "old", "old"}, {true, false, false, "old", "old"},
	    {true, true, false, "new", "new"}, {false, true, true, "new", "new"},
	    {false, false, true, "old", "new"}, /* not ours: left alone */
	};
	char dir[64];

	(void)state;
	make_folder(dir);
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		put_text(dir, "c", "old");
		put_text(dir, "k", moments[i].key_moved ? "new" : "old");
		if (moments[i].key_beside)
			put_text(dir, "k.telex-renewed", "new");
		if (moments[i].certificate_beside)
			put_text(dir, "c.telex-renewed", "new");
		file_finish_pair(path_in(dir, "c"), path_in(dir, "k"));
		assert_true(holds(dir, "c", moments[i].certificate));
		assert_true(holds(dir, "k", moments[i].key));
		assert_false(is_there(dir, "c.telex-renewed"));
		assert_false(is_there(dir, "k.telex-renewed"));
	}
	unlink(path_in(dir, "c"));
	unlink(path_in(dir, "k"));
	assert_int_equal(rmdir(dir), 0);
}

static void a_pair_is_put_as_one(void **state)
{
	struct stat st;
	char dir[64];

	(void)state;
	make_folder(dir);
	put_text(dir, "c", "old");
	put_text(dir, "k", "old");
	assert_int_equal(
	    file_put_pair(path_in(dir, "c"), "new", 3, path_in(dir, "k"), "new", 3, NULL), 0);
	assert_true(holds(dir, "c", "new") && holds(dir, "k", "new"));
	assert_int_equal(stat(path_in(dir, "k"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* Where the certificate cannot be put, the key stays. */
	assert_int_not_equal(
	    file_put_pair("/nowhere/at/all", "2", 1, path_in(dir, "k"), "2", 1, NULL), 0);
	assert_true(holds(dir, "k", "new"));
	assert_false(is_there(dir, "k.telex-renewed"));
	unlink(path_in(dir, "c"));
	unlink(path_in(dir, "k"));
	assert_int_equal(rmdir(dir), 0);
}

/* ---- arithmetic ---- */

static void dates_are_read_in_one_form_only(void **state)
{
	static const char *const bad[] = {"", "1", "1 ", "2 1", "1 1", "-1 5", "1 2 ", " 1 2",
	    "1  2", "01 2", "1 2x", "99999999999999999999 2", "1 99999999999999999999"};
	int64_t begin = 7, end = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(renew_dates_read(&begin, &end, (const uint8_t *)bad[i],
		                     (uint32_t)strlen(bad[i])),
		    TX_EPROTO);
	assert_int_equal(begin, 7);
	assert_int_equal(renew_dates_read(&begin, &end, (const uint8_t *)"12 345", 6), 0);
	assert_int_equal(begin, 12);
	assert_int_equal(end, 345);
}

static void due_is_two_thirds_give_or_take_a_tenth(void **state)
{
	const int64_t day = 86400, given = 1000000;

	(void)state;
	assert_in_range(
	    renew_due(given - 300, given + 3 * day, 0.5), given + 2 * day - 2, given + 2 * day + 2);
	assert_in_range(renew_due(given - 300, given + 3 * day, 0), given + (int64_t)(1.79 * 86400),
	    given + (int64_t)(1.81 * 86400));
	assert_in_range(renew_due(given - 300, given + 3 * day, 1), given + (int64_t)(2.19 * 86400),
	    given + (int64_t)(2.21 * 86400));
	/* Of a minute, too; and of an authority that does not date back. */
	assert_in_range(renew_due(given - 300, given + 60, 0.5), given + 39, given + 41);
	assert_in_range(renew_due(given, given + 60, 0.5), given + 39, given + 41);
}

static void pauses_double_and_end_before_the_certificate(void **state)
{
	int64_t last = 0;

	(void)state;
	assert_int_equal(renewal_pause_ns(1, 0, 0.5), NS_PER_S);
	for (unsigned n = 1; n < 40; n++) {
		int64_t pause = renewal_pause_ns(n, 10 * 86400, 0.5);

		assert_true(pause >= last && pause <= 600 * NS_PER_S);
		assert_true(n == 1 || last == 600 * NS_PER_S || pause == 600 * NS_PER_S ||
		            pause == 2 * last);
		last = pause;
	}
	assert_int_equal(last, 600 * NS_PER_S);
	/* 20 s left: each 2 s. */
	assert_int_equal(renewal_pause_ns(30, 20, 0.5), 2 * NS_PER_S);
	assert_int_equal(renewal_pause_ns(30, 1, 0.5), NS_PER_S);
	/* None left: the clock may be wrong. */
	assert_int_equal(renewal_pause_ns(30, -5, 0.5), 600 * NS_PER_S);
	assert_int_equal(renewal_pause_ns(1, 0, 0), NS_PER_S - NS_PER_S / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_due_certificate_is_renewed_and_serves),
	    cmocka_unit_test(dates_that_cannot_be_read_are_asked_for_again),
	    cmocka_unit_test(dates_are_of_the_certificate_that_was_asked_about_last),
	    cmocka_unit_test(a_renewal_brings_nothing_but_the_pair),
	    cmocka_unit_test(what_fails_is_tried_again),
	    cmocka_unit_test(a_request_is_beside_the_key_where_a_link_leads),
	    cmocka_unit_test(a_request_that_is_refused_is_given_up),
	    cmocka_unit_test(a_bad_answer_changes_nothing),
	    cmocka_unit_test(one_that_nobody_renews_is_told_of),
	    cmocka_unit_test(an_expired_one_is_told_with_the_way_back),
	    cmocka_unit_test(the_end_does_not_wait_for_a_renewal),
	    cmocka_unit_test(what_a_worker_says_of_a_list_is_not_believed),
	    cmocka_unit_test(lists_are_checked_one_by_one_and_not_too_many),
	    cmocka_unit_test(a_list_is_kept_and_given_to_all),
	    cmocka_unit_test(a_list_that_is_kept_already_is_not_written_again),
	    cmocka_unit_test(who_brings_many_lists_is_in_nobodys_way),
	    cmocka_unit_test(a_list_that_can_change_ends_the_link),
	    cmocka_unit_test(a_newer_list_is_fetched),
	    cmocka_unit_test(a_pair_that_was_cut_off_is_whole_after_it),
	    cmocka_unit_test(a_pair_is_put_as_one),
	    cmocka_unit_test(dates_are_read_in_one_form_only),
	    cmocka_unit_test(due_is_two_thirds_give_or_take_a_tenth),
	    cmocka_unit_test(pauses_double_and_end_before_the_certificate),
	};
	int failed;

	set_folder();
	failed = cmocka_run_group_tests_name("keeper_renewal", tests, NULL, NULL);
	no_answers();
	(void)rmdir(folder_of_answers());
	return failed;
}
