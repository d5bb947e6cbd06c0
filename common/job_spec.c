/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed form: a fixed head, the rlimits, then the strings with their NULs in the order argv,
 * env, cwd, user, group. Nothing points anywhere: the strings follow each other and end exactly
 * where the memfd ends, so that there is one way to write a spec, and no offset to be wrong.
 * Numbers are in the machine's own order; both sides are this machine.
 *
 * Broken structure is TX_EPROTO (a hostile or foreign worker), a value out of its range TX_EINVAL
 * (a request to be refused with that sentence).
 */
#include "common/job_spec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/job_spec_internal.h"
#include "common/memfile.h"

#define MAGIC   0x74787370u
#define VERSION 2u

enum {
	HAS_CWD = 1,
	HAS_USER = 2,
	STDIN_PIPE = 4,
	HAS_GROUP = 8,
	TERMINAL = 16,
	CLEAN_ENV = 32,
	NO_NEW_PRIVS = 64,
	ALL_FLAGS = 127
};

_Static_assert(sizeof(struct job_spec_head) == 144, "no hidden padding");
_Static_assert(sizeof(struct job_rlimit) == 24, "no hidden padding");

/* What job_spec_parse allocates: the spec, then rlimits, pointers and packed bytes that it points
 * into. */
struct opened {
	struct job_spec spec;
	size_t len;
	uint8_t *packed;
};

/* ---- packing ---- */

/* Adds the strings' lengths to *total; false: more than JOB_SPEC_MAX. */
static bool add_strings(size_t *total, char *const *strings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(strings[i]) + 1;

		if (len > JOB_SPEC_MAX - *total)
			return false;
		*total += len;
	}
	return true;
}

static uint8_t *put_strings(uint8_t *p, char *const *strings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(strings[i]) + 1;

		memcpy(p, strings[i], len);
		p += len;
	}
	return p;
}

static uint8_t *put_rlimits(uint8_t *p, const struct job_spec *spec)
{
	for (size_t i = 0; i < spec->n_rlimits; i++) {
		struct job_rlimit limit = spec->rlimits[i];

		limit.at_most &= 1;
		memcpy(p, &limit, sizeof(limit));
		p += sizeof(limit);
	}
	return p;
}

/* The single strings that are there, in their order. */
static size_t list_others(char *out[3], const struct job_spec *spec)
{
	char *const all[3] = {spec->cwd, spec->user, spec->group};
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		if (all[i] != NULL)
			out[n++] = all[i];
	return n;
}

static uint32_t flags_of(const struct job_spec *spec)
{
	return (spec->cwd != NULL ? HAS_CWD : 0u) | (spec->user != NULL ? HAS_USER : 0u) |
	       (spec->group != NULL ? HAS_GROUP : 0u) | (spec->stdin_pipe ? STDIN_PIPE : 0u) |
	       (spec->terminal ? TERMINAL : 0u) | (spec->clean_env ? CLEAN_ENV : 0u) |
	       (spec->no_new_privs ? NO_NEW_PRIVS : 0u);
}

static struct job_spec_head head_of(const struct job_spec *spec, size_t strings)
{
	return (struct job_spec_head){.magic = MAGIC,
	    .version = VERSION,
	    .argc = (uint32_t)spec->argc,
	    .envc = (uint32_t)spec->envc,
	    .n_rlimits = (uint32_t)spec->n_rlimits,
	    .flags = flags_of(spec),
	    .stop_signal = spec->stop_signal,
	    .disconnect = (uint32_t)spec->disconnect,
	    .run_timeout_ns = spec->run_timeout_ns,
	    .stop_grace_ns = spec->stop_grace_ns,
	    .disconnect_wait_ns = spec->disconnect_wait_ns,
	    .output_buffer = spec->output_buffer,
	    .spool = spec->spool,
	    .keep_ns = spec->keep_ns,
	    .blocked = spec->blocked,
	    .ignored = spec->ignored,
	    .memory = spec->memory,
	    .pids = spec->pids,
	    .cpu_millis = spec->cpu_millis,
	    .group_max = spec->group_max,
	    .output_policy = (uint32_t)spec->output_policy,
	    .nice = spec->nice,
	    .rows = spec->rows,
	    .columns = spec->columns,
	    .umask = spec->umask,
	    .strings = strings};
}

int job_spec_pack(const struct job_spec *spec, uint8_t **data, size_t *len, struct err *e)
{
	char *others[3];
	const size_t n_others = list_others(others, spec);
	const size_t fixed =
	    sizeof(struct job_spec_head) + spec->n_rlimits * sizeof(struct job_rlimit);
	struct job_spec_head h;
	size_t total = fixed;
	uint8_t *p;

	if (spec->n_rlimits > JOB_RLIMITS_MAX || spec->argc > JOB_STRINGS_MAX ||
	    spec->envc > JOB_STRINGS_MAX || !add_strings(&total, spec->argv, spec->argc) ||
	    !add_strings(&total, spec->env, spec->envc) || !add_strings(&total, others, n_others))
		return err_set(
		    e, TX_ETOOBIG, "command and environment are over %zu bytes", JOB_SPEC_MAX);
	h = head_of(spec, total - fixed);
	*data = malloc(total);
	if (*data == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	memcpy(*data, &h, sizeof(h));
	p = put_rlimits(*data + sizeof(h), spec);
	p = put_strings(p, spec->argv, spec->argc);
	p = put_strings(p, spec->env, spec->envc);
	put_strings(p, others, n_others);
	*len = total;
	return 0;
}

int job_spec_seal(const struct job_spec *spec, int *memfd, struct err *e)
{
	uint8_t *data;
	size_t len;
	int r = job_spec_pack(spec, &data, &len, e);

	if (r < 0)
		return r;
	r = memfile_freeze("telex-spec", data, len, memfd, e);
	free(data);
	return r;
}

/* ---- parsing ---- */

/* Checks the structure of the head: afterwards all counts are bounded and rlimits and strings fill
 * the rest exactly. */
static int check_head(const struct job_spec_head *h, size_t len, struct err *e)
{
	if (h->magic != MAGIC || h->version != VERSION)
		return err_set(e, TX_EPROTO, "not a spec of version %u", VERSION);
	if ((h->flags & ~(uint32_t)ALL_FLAGS) != 0)
		return err_set(e, TX_EPROTO, "a spec with unknown flags");
	if (h->n_rlimits > JOB_RLIMITS_MAX)
		return err_set(e, TX_EPROTO, "a spec with %u limits", h->n_rlimits);
	if (h->argc > JOB_STRINGS_MAX || h->envc > JOB_STRINGS_MAX)
		return err_set(
		    e, TX_EPROTO, "a spec with %u arguments and %u variables", h->argc, h->envc);
	len -= sizeof(*h);
	if (len < h->n_rlimits * sizeof(struct job_rlimit) ||
	    h->strings != len - h->n_rlimits * sizeof(struct job_rlimit))
		return err_set(e, TX_EPROTO, "a spec of the wrong length");
	return 0;
}

/* Points out[0..n) at the next n strings before `end`; NULL: there are less. */
static char *take_strings(char **out, size_t n, char *p, const char *end)
{
	for (size_t i = 0; i < n; i++) {
		char *nul = p < end ? memchr(p, '\0', (size_t)(end - p)) : NULL;

		if (nul == NULL)
			return NULL;
		out[i] = p;
		p = nul + 1;
	}
	return p;
}

static int take_all_strings(
    struct job_spec *s, const struct job_spec_head *h, char *p, struct err *e)
{
	const char *end = p + h->strings;

	p = take_strings(s->argv, s->argc, p, end);
	if (p != NULL)
		p = take_strings(s->env, s->envc, p, end);
	if (p != NULL && (h->flags & HAS_CWD) != 0)
		p = take_strings(&s->cwd, 1, p, end);
	if (p != NULL && (h->flags & HAS_USER) != 0)
		p = take_strings(&s->user, 1, p, end);
	if (p != NULL && (h->flags & HAS_GROUP) != 0)
		p = take_strings(&s->group, 1, p, end);
	if (p != end)
		return err_set(e, TX_EPROTO, "the strings of a spec do not fill it");
	return 0;
}

/* One block: struct opened, rlimits, pointers, packed bytes. All counts were bounded by check_head.
 */
static struct opened *opened_new(const struct job_spec_head *h, const uint8_t *data, size_t len)
{
	const size_t limits = h->n_rlimits * sizeof(struct job_rlimit);
	const size_t pointers = ((size_t)h->argc + h->envc + 2) * sizeof(char *);
	struct opened *o = calloc(1, sizeof(*o) + limits + pointers + len);

	if (o == NULL)
		return NULL;
	o->spec.rlimits = (struct job_rlimit *)(o + 1);
	o->spec.argv = (char **)((uint8_t *)(o + 1) + limits);
	o->spec.env = o->spec.argv + h->argc + 1;
	o->packed = (uint8_t *)(o + 1) + limits + pointers;
	o->len = len;
	memcpy(o->packed, data, len);
	if (limits > 0)
		memcpy(o->spec.rlimits, data + sizeof(*h), limits);
	return o;
}

static void take_numbers(struct job_spec *s, const struct job_spec_head *h)
{
	s->argc = h->argc;
	s->envc = h->envc;
	s->n_rlimits = h->n_rlimits;
	s->stdin_pipe = (h->flags & STDIN_PIPE) != 0;
	s->run_timeout_ns = h->run_timeout_ns;
	s->stop_signal = h->stop_signal;
	s->stop_grace_ns = h->stop_grace_ns;
	s->disconnect = (enum job_disconnect)h->disconnect;
	s->disconnect_wait_ns = h->disconnect_wait_ns;
	s->output_buffer = h->output_buffer;
	s->terminal = (h->flags & TERMINAL) != 0;
	s->clean_env = (h->flags & CLEAN_ENV) != 0;
	s->no_new_privs = (h->flags & NO_NEW_PRIVS) != 0;
	s->rows = h->rows;
	s->columns = h->columns;
	s->umask = h->umask;
	s->nice = (int8_t)h->nice;
	s->blocked = h->blocked;
	s->ignored = h->ignored;
	s->output_policy = (enum job_output_policy)h->output_policy;
	s->spool = h->spool;
	s->keep_ns = h->keep_ns;
	s->group_max = h->group_max;
	s->cpu_millis = h->cpu_millis;
	s->memory = h->memory;
	s->pids = h->pids;
}

int job_spec_parse(struct job_spec **out, const uint8_t *data, size_t len, struct err *e)
{
	struct opened *o;
	struct job_spec_head h;
	int r;

	if (len < sizeof(h))
		return err_set(e, TX_EPROTO, "a spec of %zu bytes", len);
	if (len > JOB_SPEC_MAX)
		return err_set(e, TX_EPROTO, "a spec of more than %zu bytes", JOB_SPEC_MAX);
	memcpy(&h, data, sizeof(h));
	r = check_head(&h, len, e);
	if (r < 0)
		return r;
	o = opened_new(&h, data, len);
	if (o == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	take_numbers(&o->spec, &h);
	r = take_all_strings(&o->spec, &h, (char *)o->packed + (len - (size_t)h.strings), e);
	if (r == 0)
		r = job_spec_check(&o->spec, &h, e);
	if (r < 0) {
		free(o);
		return r;
	}
	*out = &o->spec;
	return 0;
}

int job_spec_open(struct job_spec **out, int memfd, struct err *e)
{
	uint8_t *data;
	size_t len;
	int r = memfile_load(memfd, JOB_SPEC_MAX, &data, &len, e);

	if (r < 0)
		return r == TX_ETOOBIG
		           ? err_set(e, TX_EPROTO, "a spec of more than %zu bytes", JOB_SPEC_MAX)
		           : r;
	r = job_spec_parse(out, data, len, e);
	free(data);
	return r;
}

bool job_spec_equal(const struct job_spec *a, const struct job_spec *b)
{
	const struct opened *x = (const struct opened *)a, *y = (const struct opened *)b;

	return x->len == y->len && memcmp(x->packed, y->packed, x->len) == 0;
}

const uint8_t *job_spec_bytes(const struct job_spec *spec, size_t *len)
{
	const struct opened *o = (const struct opened *)spec;

	*len = o->len;
	return o->packed;
}

size_t job_spec_memory(const struct job_spec *spec)
{
	const struct opened *o = (const struct opened *)spec;

	return (size_t)(o->packed + o->len - (const uint8_t *)o);
}

void job_spec_free(struct job_spec *spec)
{
	if (spec != NULL && spec->holds > 0)
		spec->holds--;
	else
		free(spec); /* the first member of its block */
}

void job_spec_hold(struct job_spec *spec)
{
	spec->holds++;
}

/* ---- names ---- */

static const char *const rlimit_names[] = {
    [RLIMIT_AS] = "as",
    [RLIMIT_CORE] = "core",
    [RLIMIT_CPU] = "cpu",
    [RLIMIT_DATA] = "data",
    [RLIMIT_FSIZE] = "fsize",
    [RLIMIT_LOCKS] = "locks",
    [RLIMIT_MEMLOCK] = "memlock",
    [RLIMIT_MSGQUEUE] = "msgqueue",
    [RLIMIT_NICE] = "nice",
    [RLIMIT_NOFILE] = "nofile",
    [RLIMIT_NPROC] = "nproc",
    [RLIMIT_RSS] = "rss",
    [RLIMIT_RTPRIO] = "rtprio",
    [RLIMIT_RTTIME] = "rttime",
    [RLIMIT_SIGPENDING] = "sigpending",
    [RLIMIT_STACK] = "stack",
};
#define N_RLIMITS (sizeof(rlimit_names) / sizeof(rlimit_names[0]))

int job_rlimit_by_name(const char *name)
{
	for (size_t i = 0; i < N_RLIMITS; i++)
		if (rlimit_names[i] != NULL && strcmp(rlimit_names[i], name) == 0)
			return (int)i;
	return -1;
}

const char *job_rlimit_name(int resource)
{
	return resource >= 0 && (size_t)resource < N_RLIMITS ? rlimit_names[resource] : NULL;
}

bool job_id_valid(const char *id, size_t len)
{
	static const char allowed[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	if (len < 1 || len > 64 || id[0] == '.' || id[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (memchr(allowed, id[i], sizeof(allowed) - 1) == NULL)
			return false;
	return true;
}
