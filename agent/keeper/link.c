/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/list_check.h"
#include "common/keeper_msg.h"
#include "common/log.h"

/* ---- answers ---- */

int link_violation(const struct link *l, const char *what)
{
	(void)l;
	log_error("a worker broke the contract: %s", what);
	return TX_EPROTO;
}

int link_refuse(struct link *l, uint64_t seq, struct km_refused *why)
{
	return km_send(l->chan, KM_REFUSED, seq, why, NULL, 0);
}

int link_refuse_why(struct link *l, uint64_t seq, enum km_why why, const char *text)
{
	struct km_refused m = {.why = why};

	snprintf(m.text, sizeof(m.text), "%s", text);
	return link_refuse(l, seq, &m);
}

int link_refuse_system(struct link *l, uint64_t seq, int sys_errno, const char *what)
{
	struct km_refused m = {.why = KM_WHY_SYSTEM, .sys_errno = sys_errno};

	snprintf(m.text, sizeof(m.text), "%s: %s", what, strerror(sys_errno));
	return link_refuse(l, seq, &m);
}

/* ---- the link itself ---- */

static int on_ready(struct link *l, const union km_any *any, int *fds)
{
	(void)any;
	(void)fds;
	if (km_chan_state(l->chan) == KM_LINK_CONFIGURED)
		km_chan_set_state(l->chan, KM_LINK_READY);
	l->ops->ready(l->arg);
	return 0;
}

static int on_failed(struct link *l, const union km_any *any, int *fds)
{
	(void)fds;
	l->ops->failed(any->failed.text, l->arg);
	return 0;
}

static int on_pong(struct link *l, const union km_any *any, int *fds)
{
	(void)fds;
	l->ops->pong(&any->pong, l->arg);
	return 0;
}

static const struct {
	uint16_t type;
	link_handler *handle;
} handlers[] = {
    {KM_READY, on_ready},
    {KM_FAILED, on_failed},
    {KM_PONG, on_pong},
    {KM_START, link_on_start},
    {KM_ATTACH, link_on_attach},
    {KM_DETACH, link_on_detach},
    {KM_RELEASE, link_on_release},
    {KM_INPUT, link_on_input},
    {KM_SIGNAL, ask_signal},
    {KM_REMOVE, ask_remove},
    {KM_UPDATE, update_ask},
    {KM_RESIZE, ask_resize},
    {KM_LIST, ask_list},
    {KM_GROUP, ask_group},
    {KM_INFO, ask_info},
    {KM_REVOCATIONS, link_on_revocations},
    {KM_FILES, link_on_files},
};

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct link *l = arg;
	int rc = TX_EPROTO;

	(void)c;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].type == msg->hdr.type)
			rc = handlers[i].handle(l, msg, fds);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	return rc;
}

/* Only a start has one. */
static int on_starved(struct km_chan *c, const union km_any *msg, void *arg)
{
	(void)c;
	return link_refuse_system(arg, msg->hdr.seq, EMFILE, "cannot take the spec");
}

static void on_writable(struct km_chan *c, void *arg)
{
	struct link *l = arg;

	(void)c;
	attach_table_writable(l->table);
}

static void tell_closed(struct link *l, const struct err *why)
{
	if (l->closed)
		return;
	l->closed = true;
	l->ops->closed(why, l->arg);
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	(void)c;
	tell_closed(arg, why);
}

static const struct km_chan_ops chan_ops = {on_message, on_starved, on_writable, on_closed};

static void on_fail(evutil_socket_t fd, short what, void *arg)
{
	struct err e;

	(void)fd;
	(void)what;
	err_set(&e, TX_ELIMIT, "it does not take its messages");
	tell_closed(arg, &e);
}

static void on_table_failed(void *arg)
{
	struct link *l = arg;

	event_active(l->fail, EV_TIMEOUT, 0);
}

int link_new(struct link **out, struct link_env *env, int fd, const struct link_ops *ops, void *arg,
    struct err *e)
{
	struct link *l = calloc(1, sizeof(*l));
	int rc = TX_ENOMEM;

	if (l == NULL) {
		close(fd);
		return err_set(e, rc, "out of memory");
	}
	l->env = env;
	l->ops = ops;
	l->arg = arg;
	rc = km_chan_new(&l->chan, env->base, fd, KM_KEEPER, &chan_ops, l, e);
	if (rc == 0) {
		l->fail = event_new(env->base, -1, 0, on_fail, l);
		rc = l->fail == NULL
		         ? TX_ENOMEM
		         : attach_table_new(&l->table, env->base, l->chan, on_table_failed, l);
		if (rc != 0)
			err_set(e, rc, "out of memory");
	}
	if (rc == 0) {
		*out = l;
		return 0;
	}
	if (l->chan == NULL)
		close(fd);
	link_free(l);
	return rc;
}

void link_free(struct link *l)
{
	if (l == NULL)
		return;
	list_check_forget(l->env->lists, l);
	attach_table_free(l->table);
	if (l->fail != NULL)
		event_free(l->fail);
	km_chan_free(l->chan);
	free(l);
}

void link_set_ceiling(struct link *l, const struct ceiling *given)
{
	l->ceiling = given;
}

struct km_chan *link_chan(struct link *l)
{
	return l->chan;
}
