/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/readers_save.h"

#include <stdlib.h>
#include <string.h>

#include "agent/keeper/attach_internal.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/state_io.h"
#include "common/duration.h"

/* Those that a process may have to wait for. Of one that has ended nobody need come back in a
 * hurry. */
static bool goes_along(const struct attachment *a)
{
	return readers_waited(a) && a->job->state != KM_STATE_ENDED;
}

static uint64_t count(const struct job *j)
{
	const struct attachment *a;
	uint64_t n = 0;

	LIST_FOREACH(a, &j->attachments, in_job)
	n += goes_along(a);
	LIST_FOREACH(a, &j->away, in_job)
	n += goes_along(a);
	return n < READERS_AWAY_MAX ? n : READERS_AWAY_MAX;
}

/* As of now: what it has earned back since it hindered nobody is taken off. */
static int64_t hindered(const struct attach_out *out)
{
	int64_t now = clock_monotonic_ns();
	int64_t ns = out->hindered + (out->since != 0 ? now - out->since : out->calm_at - now);

	return ns > 0 ? ns : 0;
}

static void save_one(struct state_out *o, const struct attachment *a)
{
	state_put_text(o, a->owner);
	state_put(o, a->key);
	state_put(o, a->flags);
	state_put(o, a->starter || a->job->stdin_holder == a);
	state_put(o, a->set_aside);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		state_put(o, a->out[s].acked);
		state_put_signed(o, a->out[s].acked_at);
		state_put_signed(o, hindered(&a->out[s]));
	}
}

void readers_save(struct state_out *o, const struct job *j)
{
	uint64_t left = count(j);
	const struct attachment *a;

	state_put(o, left);
	LIST_FOREACH(a, &j->attachments, in_job)
	if (goes_along(a) && left > 0) {
		save_one(o, a);
		left--;
	}
	LIST_FOREACH(a, &j->away, in_job)
	if (goes_along(a) && left > 0) {
		save_one(o, a);
		left--;
	}
}

static void load_one(struct state_in *in, struct reader_saved *s)
{
	state_get_text(in, s->owner, sizeof(s->owner));
	s->key = state_get(in);
	s->flags = (uint8_t)state_get_most(in, UINT8_MAX);
	s->starter = state_get_bool(in);
	s->set_aside = state_get_bool(in);
	for (int i = KM_STDOUT; i <= KM_STDERR; i++) {
		s->acked[i] = state_get(in);
		s->acked_at[i] = state_get_signed(in);
		s->hindered[i] = state_get_signed(in);
	}
}

void readers_load(struct state_in *in, struct reader_saved **out, size_t *n)
{
	size_t count = (size_t)state_get_most(in, READERS_AWAY_MAX);
	struct reader_saved *all = count > 0 ? calloc(count, sizeof(*all)) : NULL;
	struct reader_saved dropped;

	for (size_t i = 0; i < count; i++)
		load_one(in, all != NULL ? &all[i] : &dropped);
	*out = all;
	*n = all != NULL ? count : 0;
}

void readers_restore(struct job *j, const struct reader_saved *s, size_t n)
{
	/* The last of the list comes to be its first. */
	for (size_t i = n; i-- > 0;) {
		struct attachment *a = calloc(1, sizeof(*a));

		if (a == NULL)
			return;
		a->job = j;
		a->key = s[i].key;
		a->flags = s[i].flags;
		a->starter = s[i].starter;
		a->set_aside = s[i].set_aside;
		memcpy(a->owner, s[i].owner, sizeof(a->owner));
		for (int k = KM_STDOUT; k <= KM_STDERR; k++) {
			uint64_t head = pump_out_head(j->out[k]);

			a->out[k].acked = s[i].acked[k] < head ? s[i].acked[k] : head;
			a->out[k].acked_at = s[i].acked_at[k];
			a->out[k].hindered = s[i].hindered[k];
			a->out[k].calm_at = clock_monotonic_ns();
		}
		readers_go_away(a);
	}
}
