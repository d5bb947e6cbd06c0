/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/keeper_rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/duration.h"

static char last_dir[64];

static const char *built(const char *name, char *buf, size_t size)
{
	const char *top = getenv("top_builddir");

	snprintf(buf, size, "%s/%s", top != NULL ? top : ".", name);
	return buf;
}

static void write_file(const struct rig *r, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	/* What it stands for may be a key. */
	assert_int_equal(chmod(path, 0600), 0);
}

static void write_config(const struct rig *r, const char *more)
{
	char text[4096];

	/* A test that is busy with one peer answers no pings of another: that is no hanging. */
	snprintf(text, sizeof(text),
	    "listen = {\"127.0.0.1:0\"}\ncertificate = \"%s/pem\"\nkey = \"%s/pem\"\n"
	    "ca = \"%s/pem\"\npolicy = \"%s/pem\"\nstate_directory = \"%s/state\"\nlog_level = "
	    "debug\n%s%s\n",
	    r->dir, r->dir, r->dir, r->dir, r->dir,
	    strstr(more, "hang_timeout") == NULL ? "hang_timeout = 1h\n" : "", more);
	write_file(r, "conf", text);
	write_file(r, "pem", "stands for a certificate\n");
}

void rig_write(struct rig *r, const char *name, const char *text)
{
	write_file(r, name, text);
}

void rig_configure(struct rig *r, const char *config)
{
	write_config(r, config);
}

static void open_listener(struct rig *r)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/workers", r->dir);
	r->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(r->listener >= 0);
	assert_int_equal(bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	/* Workers run as another user when the test is root. */
	assert_int_equal(chmod(sa.sun_path, 0666), 0);
	assert_int_equal(listen(r->listener, 16), 0);
	setenv("TELEX_TEST_SOCKET", sa.sun_path, 1);
}

static void exec_telexd(const struct rig *r)
{
	char telexd[512], worker[512], conf[128], log[128];
	int fd;

	snprintf(conf, sizeof(conf), "%s/conf", r->dir);
	snprintf(log, sizeof(log), "%s/log", r->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(120);
	/* A test that fails leaves nothing behind either. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (r->copied)
		snprintf(telexd, sizeof(telexd), "%s/telexd", r->dir);
	else
		built("telexd", telexd, sizeof(telexd));
	built("tests/support/fake_worker", worker, sizeof(worker));
	execl(telexd, "telexd", "-c", conf, "--worker", worker, "--", (char *)NULL);
	_exit(121);
}

static void start(struct rig *r, const char *config, bool copied)
{
	const char *tmp = getenv("TMPDIR");
	char state[128];

	memset(r, 0, sizeof(*r));
	snprintf(r->dir, sizeof(r->dir), "%s/telex-keeper-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(r->dir));
	memcpy(last_dir, r->dir, sizeof(last_dir));
	assert_int_equal(chmod(r->dir, 0755), 0);
	r->copied = copied;
	if (copied)
		rig_replace(r, "telexd");
	write_config(r, config);
	open_listener(r);
	snprintf(state, sizeof(state), "%s/state-copy", r->dir);
	setenv("TELEX_TEST_STATE", state, 1);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0)
		exec_telexd(r);
}

void rig_start(struct rig *r, const char *config)
{
	start(r, config, false);
}

void rig_start_copy(struct rig *r, const char *config)
{
	start(r, config, true);
}

void rig_replace(struct rig *r, const char *name)
{
	char from[512], command[1200];

	built(name, from, sizeof(from));
	snprintf(command, sizeof(command), "cp %s %s/new && mv %s/new %s/telexd", from, r->dir,
	    r->dir, r->dir);
	assert_int_equal(system(command), 0);
}

static bool has_ended(void *arg)
{
	struct rig *r = arg;

	return waitpid(r->pid, &r->status, WNOHANG) == r->pid;
}

void rig_wait(struct rig *r)
{
	rig_until(has_ended, r, "telexd's end");
	r->pid = 0;
}

static bool has_stopped(void *arg)
{
	struct rig *r = arg;
	int status;

	return waitpid(r->pid, &status, WNOHANG | WUNTRACED) == r->pid && WIFSTOPPED(status);
}

void rig_pause(struct rig *r)
{
	assert_int_equal(kill(r->pid, SIGSTOP), 0);
	rig_until(has_stopped, r, "telexd's standing still");
}

void rig_go_on(struct rig *r)
{
	assert_int_equal(kill(r->pid, SIGCONT), 0);
}

void rig_stop(struct rig *r)
{
	char command[128];

	if (r->pid != 0) {
		kill(r->pid, SIGTERM);
		rig_wait(r);
		assert_true(WIFEXITED(r->status));
		assert_int_equal(WEXITSTATUS(r->status), 0);
	}
	close(r->listener);
	unsetenv("TELEX_TEST_SOCKET");
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
}

bool rig_logged(const struct rig *r, const char *words)
{
	static char text[1 << 20];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", r->dir);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}

void rig_fail(const char *what)
{
	char text[4096], path[128];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", last_dir);
	f = fopen(path, "re");
	if (f != NULL && fseek(f, -(long)sizeof(text), SEEK_END) != 0)
		rewind(f);
	if (f != NULL) {
		n = fread(text, 1, sizeof(text), f);
		fclose(f);
	}
	fprintf(stderr, "telexd's log ends with:\n%.*s\n", (int)n, text);
	fail_msg("%s did not come", what);
	abort();
}

void rig_until(bool (*fn)(void *arg), void *arg, const char *what)
{
	int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	const struct timespec pause = {0, 2000000};

	while (!fn(arg)) {
		if (clock_monotonic_ns() > deadline)
			rig_fail(what);
		nanosleep(&pause, NULL);
	}
}
