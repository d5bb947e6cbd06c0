/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/setup.h"

#include <stdlib.h>
#include <unistd.h>

#include "agent/files/roots.h"
#include "common/log.h"

static const char *const *list_of(char **items, size_t n, const char ***list)
{
	*list = calloc(n + 1, sizeof(**list));
	for (size_t i = 0; *list != NULL && i < n; i++)
		(*list)[i] = items[i];
	return *list;
}

static int take_role(struct setup *s, bool watching, const Telex__Internal__V1__FilesRole *m)
{
	struct serve_role *role = &s->roles[s->n_roles];
	const char **read, **write, **watch;
	int rc = TX_ENOMEM;

	/* What watches reads no file, and writes none. */
	(void)list_of(m->read, watching ? 0 : m->n_read, &read);
	(void)list_of(m->write, watching ? 0 : m->n_write, &write);
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
	role->max_unfinished = m->max_unfinished;
	s->roots[s->n_roles++] = role->roots;
	return 0;
}

static void fill_ready(struct setup *s)
{
	telex__internal__v1__files_ready__init(&s->ready);
	for (size_t i = 0; i < s->confinement.n; i++) {
		struct confine_measure *m = &s->confinement.list[i];

		log_debug("%slocked in by %s: %s", m->in_force ? "" : "not ", m->name, m->note);
		telex__v1__confinement__init(&s->list[i]);
		s->list[i].name = (char *)(uintptr_t)m->name;
		s->list[i].in_force = m->in_force;
		s->list[i].note = m->note;
		s->of[i] = &s->list[i];
	}
	s->ready.confinements = s->of;
	s->ready.n_confinements = s->confinement.n;
}

int setup_take(struct setup *s, enum sandbox_kind kind, const Telex__Internal__V1__FilesSetup *m,
    struct err *e)
{
	int rc = 0;

	log_open("files",
	    m->log_level <= LOG_LEVEL_DEBUG ? (enum log_level)m->log_level : LOG_LEVEL_INFO,
	    m->log_json, STDERR_FILENO);
	s->roles = calloc(m->n_roles + 1, sizeof(*s->roles));
	s->roots = calloc(m->n_roles + 1, sizeof(struct roots *));
	if (s->roles == NULL || s->roots == NULL)
		rc = TX_ENOMEM;
	for (size_t i = 0; i < m->n_roles && rc == 0; i++)
		rc = take_role(s, kind == SANDBOX_WATCH, m->roles[i]);
	if (rc != 0)
		return err_set(e, rc, "out of memory");
	rc = sandbox_close(&s->confinement, kind, s->roots, s->n_roles, e);
	if (rc == 0)
		fill_ready(s);
	return rc;
}

void setup_clear(struct setup *s)
{
	for (size_t i = 0; i < s->n_roles; i++)
		roots_free(s->roots[i]);
	free(s->roots);
	free(s->roles);
}
