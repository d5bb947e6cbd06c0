/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-files: does one client's work on files, as one user. It is started by telexd alone, as that
 * user, with its end of a worker's socket as descriptor 3 (common/files_frame.h); its arguments are
 * the folders of the agent's ceiling. It ends with the socket.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/methods.h"
#include "agent/files/names.h"
#include "agent/files/roots.h"
#include "agent/files/sandbox.h"
#include "agent/files/serve.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "common/log.h"
#include "common/tree_receive.h"

struct program {
	struct call *call;
	struct serve_role *roles;
	struct roots **roots;
	size_t n_roles;
	struct confine_report confinement;
};

static const char *const *list_of(char **items, size_t n, const char ***list)
{
	*list = calloc(n + 1, sizeof(**list));
	for (size_t i = 0; *list != NULL && i < n; i++)
		(*list)[i] = items[i];
	return *list;
}

static int take_role(struct program *p, const Telex__Internal__V1__FilesRole *m)
{
	struct serve_role *role = &p->roles[p->n_roles];
	const char **read, **write, **watch;
	int rc = TX_ENOMEM;

	(void)list_of(m->read, m->n_read, &read);
	(void)list_of(m->write, m->n_write, &write);
	(void)list_of(m->watch, m->n_watch, &watch);
	if (read != NULL && write != NULL && watch != NULL)
		rc = roots_new(&role->roots, read, write, watch);
	free(read);
	free(write);
	free(watch);
	if (rc != 0)
		return rc;
	role->max_upload_bytes = m->max_upload_bytes;
	role->max_upload_files = m->max_upload_files;
	p->roots[p->n_roles++] = role->roots;
	return 0;
}

static int take_setup(struct program *p, const Telex__Internal__V1__FilesSetup *m, struct err *e)
{
	int rc = 0;

	log_open("files",
	    m->log_level <= LOG_LEVEL_DEBUG ? (enum log_level)m->log_level : LOG_LEVEL_INFO,
	    m->log_json, STDERR_FILENO);
	p->roles = calloc(m->n_roles + 1, sizeof(*p->roles));
	p->roots = calloc(m->n_roles + 1, sizeof(struct roots *));
	if (p->roles == NULL || p->roots == NULL)
		rc = TX_ENOMEM;
	for (size_t i = 0; i < m->n_roles && rc == 0; i++)
		rc = take_role(p, m->roles[i]);
	if (rc != 0)
		return err_set(e, rc, "out of memory");
	return sandbox_close(&p->confinement, p->roots, p->n_roles, e);
}

static int tell_ready(struct program *p)
{
	Telex__Internal__V1__FilesReady ready = TELEX__INTERNAL__V1__FILES_READY__INIT;
	Telex__V1__Confinement list[CONFINE_MEASURES_MAX], *of[CONFINE_MEASURES_MAX];

	for (size_t i = 0; i < p->confinement.n; i++) {
		struct confine_measure *m = &p->confinement.list[i];

		log_debug("%slocked in by %s: %s", m->in_force ? "" : "not ", m->name, m->note);
		telex__v1__confinement__init(&list[i]);
		list[i].name = (char *)(uintptr_t)m->name;
		list[i].in_force = m->in_force;
		list[i].note = m->note;
		of[i] = &list[i];
	}
	ready.confinements = of;
	ready.n_confinements = p->confinement.n;
	return serve_ready(p->call, &ready);
}

static int run(struct program *p, const char *const *folders, size_t n)
{
	Telex__Internal__V1__FilesSetup *setup = NULL;
	struct err e;
	int rc = sandbox_enter(&p->confinement, folders, n, &e);
	int got = serve_setup(p->call, &setup);

	if (got == TX_ECLOSED)
		return 0;
	if (got < 0)
		return got;
	if (rc == 0)
		rc = take_setup(p, setup, &e);
	telex__internal__v1__files_setup__free_unpacked(setup, NULL);
	if (rc != 0) {
		log_error("%s", e.message);
		(void)serve_failed(p->call, &e);
		return rc;
	}
	rc = tell_ready(p);
	if (rc == 0)
		rc = serve_calls(p->call, p->roles, p->n_roles, methods_find);
	return rc == TX_ECLOSED ? 0 : rc;
}

static void ignore_signals(void)
{
	/* What a terminal or a service manager sends to the whole group is for the keeper. */
	const int ignored[] = {
	    SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
}

static bool has_socket(void)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return getsockopt(FILES_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static void clean_up(struct program *p)
{
	for (size_t i = 0; i < p->n_roles; i++)
		roots_free(p->roots[i]);
	free(p->roots);
	free(p->roles);
	serve_free(p->call);
	names_free();
}

int main(int argc, char **argv)
{
	const int buffer = 1 << 20;
	struct program p = {0};
	int rc;

	if (!has_socket()) {
		fputs("telex-files is a part of telexd, which starts it; it is not a command.\n",
		    stderr);
		return 2;
	}
	(void)prctl(PR_SET_NAME, "telex-files");
	umask(022);
	tree_more_files();
	ignore_signals();
	log_open("files", LOG_LEVEL_INFO, false, STDERR_FILENO);
	(void)setsockopt(FILES_FD, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	/* What needs files that are out of reach later. */
	names_load();
	rc = digest_prepare();
	p.call = serve_new(FILES_FD);
	rc = p.call == NULL || rc != 0
	         ? TX_ENOMEM
	         : run(&p, (const char *const *)argv + 1, (size_t)(argc > 0 ? argc - 1 : 0));
	if (rc != 0)
		log_error("the worker's socket is broken: %s", err_name(rc));
	clean_up(&p);
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
