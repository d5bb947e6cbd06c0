/* SPDX-License-Identifier: Apache-2.0 */
/* telexd: the process that holds the jobs. Its command line, and the order in which it comes up. */
#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/config.h"
#include "agent/keeper/keeper.h"
#include "agent/keeper/listener.h"
#include "agent/keeper/preflight.h"
#include "agent/keeper/reload.h"
#include "agent/keeper/state.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/upgrade.h"
#include "common/log.h"
#include "common/nearest.h"
#include "common/signals.h"

static const char usage[] =
    "Usage: telexd [-c FILE] [OPTIONS]\n"
    "\n"
    "  telexd                                  serve, as " SYSCONFDIR "/telex/telexd.conf says\n"
    "  telexd -c ./telexd.conf --check-config  say what is wrong with a configuration\n"
    "\n"
    "The agent's keeper: binds the listening sockets, starts the workers that serve them,\n"
    "and holds the processes that clients start. Stays in the foreground; logs to stderr.\n"
    "SIGTERM or SIGINT ends it and all processes; a second one does so without grace.\n"
    "SIGHUP reloads the configuration and certificates; SIGUSR2 replaces the keeper by the\n"
    "program that is in its file now. Processes notice nothing of either.\n"
    "\n"
    "  -c, --config FILE    the configuration (default " SYSCONFDIR "/telex/telexd.conf)\n"
    "      --check-config   check the configuration and the files it names, then exit\n"
    "      --check-state    whether this version can take over from another; the agent itself\n"
    "                       asks that before an upgrade\n"
    "      --worker PATH    the worker's program (default: telex-worker beside this program,\n"
    "                       else " PKGLIBEXECDIR "/telex-worker)\n"
    "  -h, --help           this text\n"
    "      --version        the version\n";

enum { OPT_CHECK = 256, OPT_STATE, OPT_WORKER, OPT_VERSION };

static const struct option longs[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"check-state", no_argument, NULL, OPT_STATE},
    {"worker", required_argument, NULL, OPT_WORKER},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

struct options {
	const char *config, *worker;
	bool check, check_state;
};

static void tell_problem(const char *text, void *arg)
{
	(void)arg;
	fprintf(stderr, "telexd: %s\n", text);
}

static int bad_usage(char **argv, const char *word)
{
	const char *names[sizeof(longs) / sizeof(longs[0])] = {NULL};
	const char *near = NULL;
	size_t n = 0;

	for (; longs[n].name != NULL; n++)
		names[n] = longs[n].name;
	if (word != NULL && strncmp(word, "--", 2) == 0)
		near = nearest_word(word + 2, names, n);
	fprintf(
	    stderr, "telexd: bad usage%s%s", word != NULL ? ": " : "", word != NULL ? word : "");
	if (near != NULL)
		fprintf(stderr, "; did you mean --%s?", near);
	fprintf(stderr, "\nTry '%s --help'.\n", argv[0]);
	return 2;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	opterr = 0;
	for (;;) {
		int at = optind;

		c = getopt_long(argc, argv, "c:h", longs, NULL);
		switch (c) {
		case -1:
			return optind < argc ? bad_usage(argv, argv[optind]) : -1;
		case 'c':
			o->config = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case OPT_STATE:
			o->check_state = true;
			break;
		case OPT_WORKER:
			o->worker = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			puts("telexd " PACKAGE_VERSION);
			return 0;
		default:
			return bad_usage(argv, argv[at]);
		}
	}
}

/* This program's file, as it was named when it was started; it may have been replaced since. */
static const char *find_program(char *buf, size_t size)
{
	static const char deleted[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	size_t len = n > 0 ? (size_t)n : 0;

	buf[len] = '\0';
	if (len > sizeof(deleted) - 1 && access(buf, F_OK) != 0 &&
	    strcmp(buf + len - (sizeof(deleted) - 1), deleted) == 0)
		buf[len - (sizeof(deleted) - 1)] = '\0';
	return buf;
}

/* The worker beside this program (a build that is not installed), where it lies in an installation
 * that was moved as a whole, or where it was installed. */
static const char *find_worker(const char *program, char *buf, size_t size)
{
	static const char *const places[] = {"telex-worker", "../libexec/telex/telex-worker"};
	const char *slash = strrchr(program, '/');

	for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
		int len =
		    snprintf(buf, size, "%.*s/%s", (int)(slash - program), program, places[i]);

		if (len > 0 && (size_t)len < size && access(buf, X_OK) == 0)
			return buf;
	}
	return PKGLIBEXECDIR "/telex-worker";
}

/* The agent's other programs lie where the worker's does. */
static const char *find_beside(const char *worker, const char *name, char *buf, size_t size)
{
	const char *slash = strrchr(worker, '/');

	snprintf(buf, size, "%.*s%s", slash == NULL ? 0 : (int)(slash - worker) + 1, worker, name);
	return buf;
}

/* 0, 1 and 2 are open, so that no descriptor of ours becomes somebody's stdout. */
static int ensure_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* A process has four descriptors here (its pidfd and pipes), and what is for them is 4/5 of all
 * (start.c); a connection has one, in its worker. Of telex-files one has one, one that watches two
 * and a store that is kept one. */
static rlim_t wanted_nofile(const struct config *c)
{
	rlim_t wanted = (rlim_t)c->max_processes * 5 + (rlim_t)c->max_file_helpers * 4 + 1024;

	return wanted > c->max_connections ? wanted : c->max_connections;
}

/* As root beyond the limit that we were given. */
static void raise_nofile(const struct config *c, struct rlimit *original)
{
	rlim_t wanted = wanted_nofile(c);
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, original) != 0) {
		*original = (struct rlimit){1024, 4096};
		return;
	}
	l.rlim_cur = l.rlim_max = wanted;
	if (original->rlim_max < wanted && setrlimit(RLIMIT_NOFILE, &l) == 0)
		return;
	l.rlim_cur = l.rlim_max = original->rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0) {
		log_warn("cannot raise the limit of open files: %s", strerror(errno));
		l = *original;
	}
	if (l.rlim_cur < wanted)
		log_warn("only %llu files may be open: too few for %u processes and %u connections "
		         "at once, which may need %llu (ulimit -n, LimitNOFILE=)",
		    (unsigned long long)l.rlim_cur, c->max_processes, c->max_connections,
		    (unsigned long long)wanted);
}

static void log_problem(const char *text, void *arg)
{
	(void)arg;
	log_error("%s", text);
}

/* Who takes over processes goes on, whatever became of the files since it was asked. */
static int check_files(const struct config *c, bool takes_over, struct err *e)
{
	int rc = config_check_files(c, log_problem, NULL);

	if (rc == 0 || takes_over)
		return 0;
	return err_set(e, rc, "%s will not do", c->file);
}

static void warn_of_no_ceiling(const struct config *c)
{
	if (geteuid() == 0 && ceiling_is_open(&c->ceiling))
		log_warn(
		    "%s has no ceiling: what the policy allows may be done as root, and a worker "
		    "that was taken over could do it, too (ceiling in telexd(8))",
		    c->file);
}

static int check_config(const struct config *c)
{
	if (config_check_files(c, tell_problem, NULL) != 0)
		return 1;
	printf("%s: ok\n", c->file);
	return 0;
}

/* Whether an upgrade to this program would work out, as far as that can be known. */
static int check_state(const struct keeper_setup *setup)
{
	struct config *c = setup->config;
	struct listeners held = {.n = 0};
	struct state_in *in = NULL;
	struct err e = {0};
	int rc = config_check_files(c, tell_problem, NULL);

	if (rc != 0)
		return 1;
	log_open("check", LOG_LEVEL_ERROR, c->log_json, STDERR_FILENO);
	if (access(setup->worker, X_OK) != 0)
		rc = err_sys(&e, errno, "%s", setup->worker);
	else if (access(setup->files, X_OK) != 0)
		rc = err_sys(&e, errno, "%s", setup->files);
	if (rc == 0)
		rc = state_open(&in, UPGRADE_CHECK_FD, &e);
	if (rc == 0)
		rc = state_check(in, &held, &e);
	state_close(in);
	if (rc == 0)
		rc = preflight_run(c, setup->worker, &held, &e);
	if (rc != 0)
		tell_problem(e.message, NULL);
	return rc == 0 ? 0 : 1;
}

/* The state that an earlier image of this process left; *in NULL: there is none. */
static int open_state(struct state_in **in, struct rlimit *nofile, struct err *e)
{
	struct state_keeper self;
	int fd = upgrade_state_fd();
	int rc;

	*in = NULL;
	if (fd < 0)
		return 0;
	/* Executed by descriptor, it was named after its number. */
	(void)prctl(PR_SET_NAME, "telexd");
	rc = state_open(in, fd, e);
	close(fd);
	if (rc == 0)
		rc = state_read_keeper(*in, &self, e);
	if (rc == 0)
		*nofile = self.nofile;
	return rc;
}

static int serve(struct keeper_setup *setup)
{
	const struct config *c = setup->config;
	struct keeper *k = NULL;
	struct err e = {0};
	struct signals_held held;
	int rc;

	/* Until there are handlers for them. Whoever started us may have blocked some, too. */
	signals_block(&held);
	log_open("keeper", c->log_level, c->log_json, STDERR_FILENO);
	raise_nofile(c, &setup->nofile);
	umask(077);
	reload_finish_renewal(c);
	rc = open_state(&setup->state, &setup->nofile, &e);
	if (rc == 0)
		rc = check_files(c, setup->state != NULL, &e);
	if (rc == 0)
		warn_of_no_ceiling(c);
	if (rc == 0)
		rc = keeper_new(&k, setup, &e);
	state_close(setup->state);
	signals_unblock_all();
	if (rc == 0)
		rc = keeper_run(k, &e);
	if (rc != 0)
		log_error("cannot start: %s", e.message);
	keeper_free(k);
	return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = {.config = SYSCONFDIR "/telex/telexd.conf"};
	struct keeper_setup setup = {.argv = argv};
	char worker[PATH_MAX], program[PATH_MAX], renew[PATH_MAX], ca[PATH_MAX], files[PATH_MAX];
	int status;

	if (ensure_stdio() != 0)
		return 1;
	status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	if (config_load(&setup.config, o.config, tell_problem, NULL) != 0)
		return 1;
	setup.program = find_program(program, sizeof(program));
	setup.worker = o.worker;
	if (o.worker == NULL)
		setup.worker = find_worker(setup.program, worker, sizeof(worker));
	else if (realpath(o.worker, worker) != NULL)
		setup.worker = worker; /* it is started in another folder */
	setup.renew = find_beside(setup.worker, "telex-renew", renew, sizeof(renew));
	setup.ca = find_beside(setup.worker, "telex-ca", ca, sizeof(ca));
	setup.files = find_beside(setup.worker, "telex-files", files, sizeof(files));
	if (o.check_state)
		status = check_state(&setup);
	else
		status = o.check ? check_config(setup.config) : serve(&setup);
	config_unref(setup.config);
	return status;
}
