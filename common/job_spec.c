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

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/memfile.h"
#include "common/ring.h"

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

struct head {
	uint32_t magic, version;
	uint32_t argc, envc, n_rlimits, flags;
	int32_t stop_signal;
	uint32_t disconnect;
	int64_t run_timeout_ns, stop_grace_ns, disconnect_wait_ns;
	uint64_t output_buffer, spool;
	int64_t keep_ns;
	uint64_t blocked, ignored;
	uint64_t memory, pids;
	uint32_t cpu_millis, group_max;
	uint32_t output_policy;
	int32_t nice;
	uint16_t rows, columns, umask, pad;
	uint64_t strings; /* bytes */
};

_Static_assert(sizeof(struct head) == 144, "no hidden padding");
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

		limit.pad = 0;
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

static struct head head_of(const struct job_spec *spec, size_t strings)
{
	return (struct head){.magic = MAGIC,
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
	const size_t fixed = sizeof(struct head) + spec->n_rlimits * sizeof(struct job_rlimit);
	struct head h;
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
static int check_head(const struct head *h, size_t len, struct err *e)
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

static int take_all_strings(struct job_spec *s, const struct head *h, char *p, struct err *e)
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
static struct opened *opened_new(const struct head *h, const uint8_t *data, size_t len)
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

static int check_rlimits(const struct job_spec *s, struct err *e)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < s->n_rlimits; i++) {
		const struct job_rlimit *l = &s->rlimits[i];
		const char *name = l->resource < 32 ? job_rlimit_name((int)l->resource) : NULL;

		if (l->pad != 0)
			return err_set(e, TX_EPROTO, "a limit with unknown bits");
		if (name == NULL)
			return err_set(e, TX_EINVAL, "limit %u is unknown", l->resource);
		if ((seen & 1u << l->resource) != 0)
			return err_set(e, TX_EINVAL, "limit %s is given twice", name);
		if (l->soft > l->hard)
			return err_set(
			    e, TX_EINVAL, "limit %s: the soft limit is above the hard one", name);
		seen |= 1u << l->resource;
	}
	return 0;
}

/* "NAME" or "NAME:GROUP", nothing empty. An empty name must never come to mean root. */
static bool user_valid(const char *user)
{
	const char *colon = strchr(user, ':');

	if (colon == NULL)
		return user[0] != '\0';
	return colon != user && colon[1] != '\0' && strchr(colon + 1, ':') == NULL;
}

static int check_strings(const struct job_spec *s, struct err *e)
{
	if (s->argc + s->envc > JOB_STRINGS_MAX)
		return err_set(
		    e, TX_EINVAL, "more than %zu arguments and variables", JOB_STRINGS_MAX);
	if (s->argc == 0 || s->argv[0][0] == '\0')
		return err_set(e, TX_EINVAL, "no command");
	for (size_t i = 0; i < s->envc; i++) {
		if (s->env[i][0] == '=' || strchr(s->env[i], '=') == NULL)
			return err_set(e, TX_EINVAL,
			    "variable %zu of the environment is not NAME=VALUE", i + 1);
	}
	if (s->cwd != NULL && s->cwd[0] != '/')
		return err_set(e, TX_EINVAL, "the working folder is not an absolute path");
	if (s->cwd != NULL && strlen(s->cwd) >= PATH_MAX)
		return err_set(
		    e, TX_EINVAL, "the working folder is longer than %d bytes", PATH_MAX - 1);
	if (s->user != NULL && !user_valid(s->user))
		return err_set(e, TX_EINVAL, "the user is not NAME or NAME:GROUP");
	if (s->group != NULL && !job_id_valid(s->group, strlen(s->group)))
		return err_set(e, TX_EINVAL, "the group's name is not valid");
	return 0;
}

static int check_terminal(const struct job_spec *s, const struct head *h, struct err *e)
{
	if (h->pad != 0)
		return err_set(e, TX_EPROTO, "a spec with unknown bits");
	if (s->terminal ? s->rows < 1 || s->rows > JOB_TERMINAL_MAX || s->columns < 1 ||
	                      s->columns > JOB_TERMINAL_MAX
	                : s->rows != 0 || s->columns != 0)
		return err_set(
		    e, TX_EINVAL, "a terminal of %u rows and %u columns", s->rows, s->columns);
	if (s->terminal && !s->stdin_pipe)
		return err_set(e, TX_EINVAL, "a terminal without stdin");
	return 0;
}

static int check_control(const struct job_spec *s, struct err *e)
{
	if (s->memory != 0 && s->memory < JOB_MEMORY_MIN)
		return err_set(e, TX_EINVAL, "a memory limit of less than 1 MiB");
	if (s->cpu_millis != 0 && s->cpu_millis < JOB_CPU_MILLIS_MIN)
		return err_set(
		    e, TX_EINVAL, "a cpu limit of less than %u/1000", JOB_CPU_MILLIS_MIN);
	if (s->group_max != 0 && s->group == NULL)
		return err_set(e, TX_EINVAL, "a group's maximum without a group");
	return 0;
}

static int check_start(const struct job_spec *s, const struct head *h, struct err *e)
{
	const uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);

	if (s->umask > 0777)
		return err_set(e, TX_EINVAL, "umask %o is not in 0..0777", s->umask);
	if (h->nice < -20 || h->nice > 19)
		return err_set(e, TX_EINVAL, "nice %d is not in -20..19", h->nice);
	if (((s->blocked | s->ignored) & never) != 0)
		return err_set(
		    e, TX_EINVAL, "SIGKILL and SIGSTOP can be neither blocked nor ignored");
	if (h->output_policy != JOB_OUTPUT_BLOCK && h->output_policy != JOB_OUTPUT_DROP_OLDEST)
		return err_set(e, TX_EINVAL, "output policy %u is unknown", h->output_policy);
	if (s->keep_ns < JOB_KEEP_MIN_NS || s->keep_ns > JOB_KEEP_MAX_NS)
		return err_set(e, TX_EINVAL, "the time to keep is not between 1s and 30d");
	return 0;
}

static int check_numbers(const struct job_spec *s, const struct head *h, struct err *e)
{
	if (s->run_timeout_ns < 0)
		return err_set(e, TX_EINVAL, "the run timeout is negative");
	if (s->stop_signal < 1 || s->stop_signal > 64)
		return err_set(e, TX_EINVAL, "stop signal %d is not in 1..64", s->stop_signal);
	if (s->stop_grace_ns < 0 || s->stop_grace_ns > JOB_STOP_GRACE_MAX_NS)
		return err_set(e, TX_EINVAL, "the stop grace is not between 0 and 1h");
	if (h->disconnect < JOB_DISCONNECT_HANGUP || h->disconnect > JOB_DISCONNECT_KILL)
		return err_set(e, TX_EINVAL, "disconnect policy %u is unknown", h->disconnect);
	if (s->disconnect_wait_ns < 0 || s->disconnect_wait_ns > JOB_WAIT_MAX_NS)
		return err_set(e, TX_EINVAL, "the disconnect wait is not between 0 and 30d");
	if (s->output_buffer > RING_SIZE_MAX)
		return err_set(
		    e, TX_EINVAL, "an output buffer of more than %zu bytes", RING_SIZE_MAX);
	return 0;
}

static void take_numbers(struct job_spec *s, const struct head *h)
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
	struct head h;
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
		r = check_strings(&o->spec, e);
	if (r == 0)
		r = check_numbers(&o->spec, &h, e);
	if (r == 0)
		r = check_terminal(&o->spec, &h, e);
	if (r == 0)
		r = check_start(&o->spec, &h, e);
	if (r == 0)
		r = check_control(&o->spec, e);
	if (r == 0)
		r = check_rlimits(&o->spec, e);
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
	free(spec); /* the first member of its block */
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
