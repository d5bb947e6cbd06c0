/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-files: does one client's work on files, as one user. It is started by telexd alone, as that
 * user, with its end of a worker's socket as descriptor 3 (common/files_frame.h); its arguments are
 * the folders of the agent's ceiling. It ends with the socket.
 *
 * With --watch KEY before the folders it watches, for all calls of that user's client: descriptor 3
 * is the control socket then, and 4 the store (common/watch_control.h). With --watch-wide KEY, too,
 * and it may watch file systems as a whole.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/methods.h"
#include "agent/files/names.h"
#include "agent/files/sandbox.h"
#include "agent/files/serve.h"
#include "agent/files/setup.h"
#include "agent/watch/watch_serve.h"
#include "agent/watch/watch_source.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "common/helper_process.h"
#include "common/log.h"
#include "common/tree_receive.h"
#include "common/watch_control.h"

struct program {
	struct setup setup;
	const char *const *folders; /* of the ceiling */
	size_t n_folders;
	/* How the entering of the sandbox went; told to whoever sets it up. */
	int entered;
	struct err entering;
};

static int enter(struct program *p, enum sandbox_kind kind)
{
	p->entered =
	    sandbox_enter(&p->setup.confinement, kind, p->folders, p->n_folders, &p->entering);
	return p->entered;
}

static int take(struct program *p, enum sandbox_kind kind, const Telex__Internal__V1__FilesSetup *m,
    struct err *e)
{
	int rc = p->entered;

	if (rc != 0)
		*e = p->entering;
	else
		rc = setup_take(&p->setup, kind, m, e);
	if (rc != 0)
		log_error("%s", e->message);
	return rc;
}

/* ---- one client's work ---- */

static int run_calls(struct program *p, struct call *c)
{
	Telex__Internal__V1__FilesSetup *m = NULL;
	struct err e;
	int rc;

	(void)enter(p, SANDBOX_FILES);
	rc = serve_setup(c, &m);
	if (rc != 0)
		return rc;
	rc = take(p, SANDBOX_FILES, m, &e);
	telex__internal__v1__files_setup__free_unpacked(m, NULL);
	if (rc != 0) {
		(void)serve_failed(c, &e);
		return rc;
	}
	rc = serve_ready(c, &p->setup.ready);
	if (rc == 0)
		rc = serve_calls(c, p->setup.roles, p->setup.n_roles, methods_find);
	return rc;
}

static int serve_one_client(struct program *p)
{
	const int buffer = 1 << 20;
	struct call *c;
	int rc;

	(void)setsockopt(FILES_FD, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	/* What needs files that are out of reach later. */
	names_load();
	c = serve_new(FILES_FD);
	rc = c != NULL ? run_calls(p, c) : TX_ENOMEM;
	if (rc == TX_ECLOSED)
		rc = 0;
	if (rc != 0)
		log_error("the worker's socket is broken: %s", err_name(rc));
	serve_free(c);
	names_free();
	return rc;
}

/* ---- watching ---- */

static int lock_in(const Telex__Internal__V1__FilesSetup *m, void *arg, struct err *e)
{
	return take(arg, SANDBOX_WATCH, m, e);
}

static const struct roots *role(uint32_t number, void *arg)
{
	const struct program *p = arg;

	return number < p->setup.n_roles ? p->setup.roots[number] : NULL;
}

static const Telex__Internal__V1__FilesReady *ready(void *arg)
{
	return &((struct program *)arg)->setup.ready;
}

static int watch(struct program *p, bool wide, const char *key)
{
	static const struct watch_wide marked = {sandbox_marker, false};
	static const struct watch_serve_ops ops = {lock_in, role, ready};
	struct watch_serve s = {.control_fd = WATCH_CONTROL_FD, .ops = &ops, .arg = p};
	struct err e = {0};
	int rc = watch_serve_key(s.key, key);

	if (rc != 0)
		err_set(&e, rc, "the key is none");
	else
		rc = watcher_new(&s.watcher, WATCH_STORE_FD, wide ? &marked : NULL, &e);
	if (rc == 0) {
		(void)enter(p, SANDBOX_WATCH);
		rc = watch_serve(&s, &e);
		watcher_free(s.watcher);
	}
	if (rc != 0)
		log_error("cannot watch: %s", e.message);
	return rc;
}

/* ---- the program ---- */

int main(int argc, char **argv)
{
	const bool wide = argc > 2 && strcmp(argv[1], WATCH_WIDE_OPTION) == 0;
	const bool watches = wide || (argc > 2 && strcmp(argv[1], WATCH_OPTION) == 0);
	const int first = watches ? 3 : 1;
	struct program p = {.folders = (const char *const *)argv + first,
	    .n_folders = argc > first ? (size_t)(argc - first) : 0};
	int rc;

	if (!helper_process_has_link(FILES_FD, watches ? SOCK_SEQPACKET : SOCK_STREAM)) {
		fputs("telex-files is a part of telexd, which starts it; it is not a command.\n",
		    stderr);
		return 2;
	}
	(void)prctl(PR_SET_NAME, "telex-files");
	umask(022);
	tree_more_files();
	helper_process_ignore_signals();
	log_open("files", LOG_LEVEL_INFO, false, STDERR_FILENO);
	rc = digest_prepare();
	if (rc == 0)
		rc = watches ? watch(&p, wide, argv[2]) : serve_one_client(&p);
	setup_clear(&p.setup);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
