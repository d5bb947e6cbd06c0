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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/config.h"
#include "agent/keeper/keeper.h"
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
    "\n"
    "  -c, --config FILE    the configuration (default " SYSCONFDIR "/telex/telexd.conf)\n"
    "      --check-config   check the configuration and the files it names, then exit\n"
    "      --worker PATH    the worker's program (default: telex-worker beside this program,\n"
    "                       else " PKGLIBEXECDIR "/telex-worker)\n"
    "  -h, --help           this text\n"
    "      --version        the version\n";

enum { OPT_CHECK = 256, OPT_WORKER, OPT_VERSION };

static const struct option longs[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"worker", required_argument, NULL, OPT_WORKER},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

struct options {
	const char *config, *worker;
	bool check;
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

/* The worker beside this program (a build that is not installed), where it lies in an installation
 * that was moved as a whole, or where it was installed. */
static const char *find_worker(char *buf, size_t size)
{
	static const char *const places[] = {"telex-worker", "../libexec/telex/telex-worker"};
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n > 0) {
		exe[n] = '\0';
		slash = strrchr(exe, '/');
		for (size_t i = 0; slash != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
			int len =
			    snprintf(buf, size, "%.*s/%s", (int)(slash - exe), exe, places[i]);

			if (len > 0 && (size_t)len < size && access(buf, X_OK) == 0)
				return buf;
		}
	}
	return PKGLIBEXECDIR "/telex-worker";
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

static void raise_nofile(struct rlimit *original)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, original) != 0) {
		*original = (struct rlimit){1024, 4096};
		return;
	}
	l = *original;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0)
		log_warn("cannot raise the limit of open files: %s", strerror(errno));
}

static int check_config(const struct config *c)
{
	if (config_check_files(c, tell_problem, NULL) != 0)
		return 1;
	printf("%s: ok\n", c->file);
	return 0;
}

static int serve(struct config *c, const char *worker)
{
	struct keeper *k = NULL;
	struct rlimit nofile;
	struct err e = {0};
	int rc;

	signals_unblock_all();
	log_open("keeper", c->log_level, c->log_json, STDERR_FILENO);
	raise_nofile(&nofile);
	umask(077);
	rc = keeper_new(&k, c, worker, &nofile, &e);
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
	struct config *c = NULL;
	char worker[PATH_MAX];
	int status;

	if (ensure_stdio() != 0)
		return 1;
	status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	if (config_load(&c, o.config, tell_problem, NULL) != 0)
		return 1;
	if (o.worker == NULL)
		o.worker = find_worker(worker, sizeof(worker));
	else if (realpath(o.worker, worker) != NULL)
		o.worker = worker; /* it is started in another folder */
	status = o.check ? check_config(c) : serve(c, o.worker);
	config_unref(c);
	return status;
}
