/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that watch, as the keeper starts, finds, keeps and ends them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/watch_control.h"
#include "tests/support/peer_files.h"

#define OWNER "spiffe://test/user/one"
#define OTHER "spiffe://test/user/two"

struct scene {
	struct rig r;
	struct peer p;
};

static void open_scene(struct scene *s, const char *config)
{
	char text[512];

	snprintf(text, sizeof(text), "workers = 1\n%s", config);
	rig_start(&s->r, text);
	rig_accept(&s->r, &s->p);
}

static void close_scene(struct scene *s)
{
	peer_close(&s->p);
	rig_stop(&s->r);
}

static void watch(struct scene *s, struct peer_files *h, const char *owner, int key)
{
	peer_files_start(&s->p, h, owner, "", key);
}

static void let_go(struct peer_files *h)
{
	close(h->fd);
	h->fd = -1;
}

static void tell(const struct peer_files *h, char what)
{
	assert_int_equal(send(h->fd, &what, 1, MSG_NOSIGNAL), 1);
}

static void end(struct peer_files *h)
{
	let_go(h);
	rig_until(peer_files_is_gone, h, "telex-files does not end");
}

/* How many had the store, this one included. */
static void assert_heirs(const struct peer_files *h, int n)
{
	char line[32];

	snprintf(line, sizeof(line), "\nheirs %d\n", n);
	peer_files_assert_says(h, line);
}

/* The keeper is not told of a death before it asks for it. */
static void die(struct scene *s, struct peer_files *h)
{
	assert_int_equal(kill(h->pid, SIGKILL), 0);
	rig_until(peer_files_is_closed, h, "the socket does not end");
	end(h);
	assert_true(peer_answers(&s->p));
}

/* ---- who gets which ---- */

static void one_serves_all_calls_of_its_key(void **state)
{
	struct peer_files a, b;
	struct scene s;
	char line[256], key[65];

	(void)state;
	open_scene(&s, "ceiling { folders = {\"/srv\"} }\n");
	watch(&s, &a, OWNER, 0xab);
	watch(&s, &b, OWNER, 0xab);
	assert_int_equal(a.pid, b.pid);
	for (size_t i = 0; i < 32; i++)
		memcpy(key + 2 * i, "ab", 3);
	snprintf(line, sizeof(line), "privs 1\nargs --watch %s /srv\nfds 0 1 2 3 4\n", key);
	peer_files_assert_says(&a, line);
	snprintf(
	    line, sizeof(line), "uid %u %u\ngid %u %u\n", getuid(), getuid(), getgid(), getgid());
	peer_files_assert_says(&a, line);
	assert_heirs(&b, 1);
	assert_true(peer_files_recorded(&s.r, "\"watch\":true"));
	/* One end is not the other's. */
	let_go(&a);
	tell(&b, 'g');
	watch(&s, &a, OWNER, 0xab);
	assert_int_equal(a.pid, b.pid);
	let_go(&a);
	let_go(&b);
	close_scene(&s);
}

/* Root is told the names of all that changes on a file system; but no ceiling of folders is passed.
 */
static void root_alone_watches_file_systems(void **state)
{
	static const struct {
		const char *config;
		bool wide; /* as root */
	} all[] = {{"", true}, {"watch_fanotify = true\n", true},
	    {"watch_fanotify = false\n", false}, {"ceiling { folders = {\"/srv\"} }\n", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct peer_files h;
		struct scene s;

		open_scene(&s, all[i].config);
		watch(&s, &h, OWNER, 1);
		peer_files_assert_says(
		    &h, all[i].wide && getuid() == 0 ? "args --watch-wide " : "args --watch ");
		let_go(&h);
		close_scene(&s);
	}
}

static void others_have_others(void **state)
{
	struct peer_files a, b, c, d;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	watch(&s, &a, OWNER, 1);
	watch(&s, &b, OWNER, 2);
	watch(&s, &c, OTHER, 1);
	peer_files_start(&s.p, &d, OWNER, getuid() == 0 ? "root" : "", getuid() == 0 ? 1 : 3);
	assert_int_not_equal(a.pid, b.pid);
	assert_int_not_equal(a.pid, c.pid);
	assert_int_not_equal(b.pid, c.pid);
	assert_int_not_equal(a.pid, d.pid);
	/* And what does a call's own work is another again, which has no store. */
	let_go(&d);
	peer_files_start(&s.p, &d, OWNER, "", -1);
	peer_files_assert_says(&d, "\nargs\nfds 0 1 2 3\n");
	let_go(&a);
	let_go(&b);
	let_go(&c);
	let_go(&d);
	close_scene(&s);
}

static void it_is_there_for_the_next_call(void **state)
{
	struct peer_files h;
	struct scene s;
	pid_t pid;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	pid = h.pid;
	for (int i = 0; i < 20; i++) {
		let_go(&h);
		watch(&s, &h, OWNER, 1);
		assert_int_equal(h.pid, pid);
	}
	let_go(&h);
	close_scene(&s);
}

static void without_calls_it_ends_and_its_store_with_it(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "watch_linger = 0s\n");
	watch(&s, &h, OWNER, 1);
	end(&h);
	watch(&s, &h, OWNER, 1);
	assert_heirs(&h, 1);
	end(&h);
	close_scene(&s);
}

/* ---- its death ---- */

static void the_next_has_the_store_of_one_that_died(void **state)
{
	struct peer_files h, other;
	struct scene s;
	pid_t pid;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	watch(&s, &other, OWNER, 2);
	pid = h.pid;
	die(&s, &h);
	watch(&s, &h, OWNER, 1);
	assert_int_not_equal(h.pid, pid);
	assert_heirs(&h, 2);
	/* Nobody else's is touched. */
	assert_false(peer_files_is_closed(&other));
	let_go(&h);
	let_go(&other);
	close_scene(&s);
}

static unsigned stores(const struct rig *r)
{
	char path[64], target[256];
	const struct dirent *d;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)r->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL) {
		ssize_t len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);

		target[len > 0 ? len : 0] = '\0';
		n += strstr(target, "memfd:telex-watch") != NULL;
	}
	closedir(dir);
	return n;
}

static bool has_no_store(void *arg)
{
	return stores(arg) == 0;
}

static bool has_one_store(void *arg)
{
	return stores(arg) == 1;
}

static void a_store_is_not_kept_for_ever(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "watch_linger = 10ms\n");
	watch(&s, &h, OWNER, 1);
	assert_int_equal(stores(&s.r), 1);
	die(&s, &h);
	rig_until(has_no_store, &s.r, "the store is kept");
	close_scene(&s);
}

static void who_dies_of_its_store_gets_another(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	for (int i = 1; i <= 3; i++) {
		watch(&s, &h, OWNER, 1);
		assert_heirs(&h, i);
		die(&s, &h);
	}
	watch(&s, &h, OWNER, 1);
	assert_heirs(&h, 1);
	let_go(&h);
	close_scene(&s);
}

static void a_store_that_is_too_large_is_nobodys(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	tell(&h, 'g');
	watch(&s, &h, OWNER, 1);
	die(&s, &h);
	watch(&s, &h, OWNER, 1);
	assert_heirs(&h, 1);
	let_go(&h);
	close_scene(&s);
}

/* Whether the keeper has been told of the death by then or not. */
static void who_asks_at_once_gets_the_store_too(void **state)
{
	struct peer_files h, next;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	for (int key = 0; key < 10; key++) {
		watch(&s, &h, OWNER, key);
		assert_int_equal(kill(h.pid, SIGKILL), 0);
		rig_until(peer_files_is_closed, &h, "the socket does not end");
		watch(&s, &next, OWNER, key);
		assert_int_not_equal(next.pid, h.pid);
		assert_heirs(&next, 2);
		end(&h);
		let_go(&next);
	}
	close_scene(&s);
}

static void one_that_hears_nothing_is_replaced(void **state)
{
	struct peer_files h, next;
	struct scene s;
	char byte;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	tell(&h, 'd');
	assert_int_equal(recv(h.fd, &byte, 1, 0), 1);
	watch(&s, &next, OWNER, 1);
	assert_int_not_equal(next.pid, h.pid);
	assert_heirs(&next, 2);
	end(&h);
	let_go(&next);
	close_scene(&s);
}

/* ---- how many ---- */

static bool is_granted(void *arg)
{
	struct scene *s = arg;
	union km_any m;
	int fd;

	peer_files_ask(&s->p, 9, OWNER, "", 3);
	peer_recv(&s->p, &m, &fd);
	if (fd >= 0)
		close(fd);
	return m.hdr.type == KM_FILES_REPLY;
}

static void there_is_a_maximum_and_a_share(void **state)
{
	struct peer_files h[4], helper;
	struct scene s;

	(void)state;
	open_scene(&s, "max_file_helpers = 4\n");
	watch(&s, &h[0], OWNER, 1);
	watch(&s, &h[1], OWNER, 2);
	peer_files_ask(&s.p, 6, OWNER, "", 3);
	peer_files_assert_refused(&s.p, KM_WHY_HELPERS);
	/* One more call of one that is there is none more. */
	peer_files_ask(&s.p, 6, OWNER, "", 2);
	peer_files_take(&s.p, &h[2]);
	let_go(&h[2]);
	watch(&s, &h[2], OTHER, 1);
	watch(&s, &h[3], OTHER, 2);
	peer_files_ask(&s.p, 7, "spiffe://test/user/three", "", 1);
	peer_files_assert_refused(&s.p, KM_WHY_HELPERS);
	/* Those that do not watch are counted by themselves. */
	peer_files_start(&s.p, &helper, OWNER, "", -1);
	let_go(&helper);
	/* One that nobody needs makes room. */
	let_go(&h[0]);
	rig_until(is_granted, &s, "there is no room");
	rig_until(peer_files_is_gone, &h[0], "telex-files does not end");
	for (int i = 1; i < 4; i++)
		let_go(&h[i]);
	close_scene(&s);
}

static void stores_are_kept_of_no_more_than_may_run(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "max_file_helpers = 2\n");
	for (int i = 0; i < 5; i++) {
		watch(&s, &h, OWNER, i);
		die(&s, &h);
		assert_in_range(stores(&s.r), 1, 2);
	}
	close_scene(&s);
}

static void grow(const struct peer_files *h)
{
	char byte;

	tell(h, 'm');
	assert_int_equal(recv(h->fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 'm');
}

static void an_identity_has_so_much_memory(void **state)
{
	struct peer_files h, more, other;
	struct scene s;

	(void)state;
	open_scene(&s, "max_watch_memory = 1MiB\n");
	watch(&s, &h, OWNER, 1);
	grow(&h);
	peer_files_ask(&s.p, 6, OWNER, "", 2);
	peer_files_assert_refused(&s.p, KM_WHY_HELPERS);
	/* It is for those who begin, and of one identity. */
	watch(&s, &more, OWNER, 1);
	assert_int_equal(more.pid, h.pid);
	watch(&s, &other, OTHER, 1);
	let_go(&more);
	/* Who goes on with what is kept has it still; it is only dropped for another. */
	die(&s, &h);
	watch(&s, &h, OWNER, 1);
	assert_heirs(&h, 2);
	die(&s, &h);
	watch(&s, &h, OWNER, 2);
	assert_int_equal(stores(&s.r), 2);
	grow(&h);
	/* One that nobody needs makes way. */
	let_go(&h);
	rig_until(is_granted, &s, "there is no room");
	let_go(&other);
	close_scene(&s);
}

static struct watch_allow allowed(const struct peer_files *h)
{
	struct watch_allow a;

	tell(h, 'a');
	assert_int_equal(recv(h->fd, &a, sizeof(a), 0), sizeof(a));
	return a;
}

static uint64_t wanted_memory;

static bool is_allowed(void *arg)
{
	const struct watch_allow a = allowed(arg);

	/* A page of its own count is nothing that matters. */
	return a.memory <= wanted_memory && a.memory + 65536 >= wanted_memory;
}

static void each_is_told_what_the_others_leave(void **state)
{
	struct peer_files h, more, other;
	struct scene s;

	(void)state;
	open_scene(&s, "max_watch_memory = 4MiB\n");
	watch(&s, &h, OWNER, 1);
	watch(&s, &more, OWNER, 2);
	watch(&s, &other, OTHER, 1);
	assert_int_equal(allowed(&h).limit, 4 << 20);
	wanted_memory = 4 << 20;
	rig_until(is_allowed, &h, "nobody else has anything");
	grow(&h);
	wanted_memory = 2 << 20;
	rig_until(is_allowed, &more, "it is told of what another one takes");
	wanted_memory = 4 << 20;
	assert_true(is_allowed(&other));
	/* What is only kept makes way for one that needs it. */
	die(&s, &h);
	assert_int_equal(stores(&s.r), 3);
	grow(&more);
	rig_until(is_allowed, &more, "what is kept does not make way");
	assert_int_equal(stores(&s.r), 2);
	let_go(&more);
	let_go(&other);
	close_scene(&s);
}

/* ---- what happens around it ---- */

static void it_outlives_its_worker(void **state)
{
	struct peer_files h, again;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	peer_kill(&s.p);
	let_go(&h);
	rig_accept(&s.r, &s.p);
	watch(&s, &again, OWNER, 1);
	assert_int_equal(again.pid, h.pid);
	let_go(&again);
	close_scene(&s);
}

/* The worker of before stays, as its clients may. */
static void reload(struct scene *s, struct peer *next, const char *config)
{
	char text[512];

	snprintf(text, sizeof(text), "workers = 1\n%s", config);
	rig_configure(&s->r, text);
	assert_int_equal(kill(s->r.pid, SIGHUP), 0);
	rig_accept(&s->r, next);
	assert_true(peer_answers_between(next));
}

static void a_reload_keeps_it(void **state)
{
	struct peer_files h, again;
	struct scene s;
	struct peer next;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	reload(&s, &next, "max_processes = 77\n");
	peer_files_start(&next, &again, OWNER, "", 1);
	assert_int_equal(again.pid, h.pid);
	let_go(&h);
	let_go(&again);
	peer_close(&next);
	close_scene(&s);
}

static void one_that_watches_otherwise_is_another(void **state)
{
	struct peer_files h, again;
	struct scene s;
	struct peer next;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	reload(&s, &next, "watch_fanotify = false\n");
	peer_files_start(&next, &again, OWNER, "", 1);
	assert_int_not_equal(again.pid, h.pid);
	peer_files_assert_says(&again, "args --watch ");
	let_go(&h);
	let_go(&again);
	peer_close(&next);
	close_scene(&s);
}

static void other_folders_of_the_ceiling_are_for_others(void **state)
{
	struct peer_files h, again, idle, dead;
	struct scene s;
	struct peer next;

	(void)state;
	open_scene(&s, "ceiling { folders = {\"/srv\", \"/home\"} }\n");
	watch(&s, &dead, OWNER, 3);
	die(&s, &dead);
	watch(&s, &h, OWNER, 1);
	watch(&s, &idle, OWNER, 2);
	let_go(&idle);
	reload(&s, &next, "ceiling { folders = {\"/srv\"} }\n");
	rig_until(peer_files_is_gone, &idle, "telex-files does not end");
	rig_until(has_one_store, &s.r, "its store is kept");
	peer_files_start(&next, &again, OWNER, "", 1);
	assert_int_not_equal(again.pid, h.pid);
	peer_files_assert_says(&again, " /srv\n");
	assert_heirs(&again, 1);
	/* It goes on for those that it has, and for no others. */
	assert_false(peer_files_is_closed(&h));
	end(&h);
	let_go(&again);
	peer_close(&next);
	close_scene(&s);
}

static void an_upgrade_lets_it_go(void **state)
{
	struct peer_files h;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	assert_int_equal(kill(s.r.pid, SIGUSR2), 0);
	rig_pass_check(&s.r);
	peer_expect_end(&s.p);
	peer_close(&s.p);
	rig_until(peer_files_is_gone, &h, "telex-files outlives the keeper that knew it");
	let_go(&h);
	rig_accept(&s.r, &s.p);
	watch(&s, &h, OWNER, 1);
	assert_heirs(&h, 1);
	let_go(&h);
	close_scene(&s);
}

static void the_agents_end_is_its_end(void **state)
{
	struct peer_files h, hangs;
	struct scene s;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	watch(&s, &hangs, OWNER, 2);
	tell(&hangs, 'h');
	close_scene(&s);
	assert_true(peer_files_is_gone(&h));
	assert_true(peer_files_is_gone(&hangs));
	let_go(&h);
	let_go(&hangs);
}

/* Holds a process back after its death, as a call that cannot be interrupted does: who traces it
 * learns of that first. The tracer's pid; ends by itself with *hold. -1: it may not. */
static pid_t hold_back(pid_t pid, int *hold)
{
	int ready[2], until[2];
	char byte = 0;
	pid_t tracer;

	assert_int_equal(pipe(ready) + pipe(until), 0);
	tracer = fork();
	assert_true(tracer >= 0);
	if (tracer == 0) {
		close(until[1]);
		byte = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0;
		if (write(ready[1], &byte, 1) != 1 || read(until[0], &byte, 1) != 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	close(until[0]);
	*hold = until[1];
	if (byte != 0)
		return tracer;
	close(until[1]);
	assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	return -1;
}

static bool is_said_to_be_left(void *arg)
{
	return rig_logged(arg, "was killed and does not die; it is left behind");
}

static void who_cannot_die_is_left_behind(void **state)
{
	struct peer_files h;
	struct scene s;
	pid_t tracer;
	int hold;

	(void)state;
	open_scene(&s, "");
	watch(&s, &h, OWNER, 1);
	tell(&h, 'h');
	tracer = hold_back(h.pid, &hold);
	if (tracer > 0) {
		assert_int_equal(kill(s.r.pid, SIGTERM), 0);
		rig_until(is_said_to_be_left, &s.r, "the end of the wait");
		rig_wait(&s.r);
		close(hold);
		assert_int_equal(waitpid(tracer, NULL, 0), tracer);
	}
	let_go(&h);
	close_scene(&s);
}

/* ---- workers that lie ---- */

static void expect_hostile(struct scene *s, const struct km_files *asked, uint32_t why)
{
	struct km_files m = *asked;

	peer_send(&s->p, KM_FILES, 9, &m, -1);
	if (why != 0)
		peer_files_assert_refused(&s->p, why);
	peer_expect_death(&s->p);
	rig_accept(&s->r, &s->p);
	assert_false(peer_files_recorded(&s->r, "files-started"));
}

static void what_is_no_question_ends_the_worker(void **state)
{
	struct scene s;

	(void)state;
	open_scene(&s, "");
	expect_hostile(&s, &(struct km_files){.watch = 2, .owner = OWNER}, 0);
	expect_hostile(&s, &(struct km_files){.watch = 1}, 0);
	close_scene(&s);
}

static void beyond_the_ceiling_is_hostile(void **state)
{
	struct scene s;

	(void)state;
	open_scene(&s, "ceiling { files = false }\n");
	expect_hostile(&s, &(struct km_files){.watch = 1, .owner = OWNER}, KM_WHY_CEILING);
	close_scene(&s);
}

static void who_is_not_there_is_refused(void **state)
{
	struct scene s;

	(void)state;
	open_scene(&s, "");
	peer_files_ask(&s.p, 9, OWNER, "nobody-by-this-name", 1);
	peer_files_assert_refused(&s.p, KM_WHY_START);
	assert_true(peer_answers(&s.p));
	close_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_serves_all_calls_of_its_key),
	    cmocka_unit_test(others_have_others),
	    cmocka_unit_test(it_is_there_for_the_next_call),
	    cmocka_unit_test(without_calls_it_ends_and_its_store_with_it),
	    cmocka_unit_test(the_next_has_the_store_of_one_that_died),
	    cmocka_unit_test(a_store_is_not_kept_for_ever),
	    cmocka_unit_test(who_dies_of_its_store_gets_another),
	    cmocka_unit_test(a_store_that_is_too_large_is_nobodys),
	    cmocka_unit_test(who_asks_at_once_gets_the_store_too),
	    cmocka_unit_test(one_that_hears_nothing_is_replaced),
	    cmocka_unit_test(there_is_a_maximum_and_a_share),
	    cmocka_unit_test(stores_are_kept_of_no_more_than_may_run),
	    cmocka_unit_test(an_identity_has_so_much_memory),
	    cmocka_unit_test(each_is_told_what_the_others_leave),
	    cmocka_unit_test(it_outlives_its_worker),
	    cmocka_unit_test(a_reload_keeps_it),
	    cmocka_unit_test(one_that_watches_otherwise_is_another),
	    cmocka_unit_test(root_alone_watches_file_systems),
	    cmocka_unit_test(other_folders_of_the_ceiling_are_for_others),
	    cmocka_unit_test(an_upgrade_lets_it_go),
	    cmocka_unit_test(the_agents_end_is_its_end),
	    cmocka_unit_test(who_cannot_die_is_left_behind),
	    cmocka_unit_test(what_is_no_question_ends_the_worker),
	    cmocka_unit_test(beyond_the_ceiling_is_hostile),
	    cmocka_unit_test(who_is_not_there_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
