/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer_summary.h"

#include <jansson.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/say.h"
#include "common/duration.h"

void transfer_summary(
    const struct telex_transfer_summary *m, int64_t begun_ns, bool dry_run, bool json)
{
	double seconds = (double)(clock_monotonic_ns() - begun_ns) / (double)NS_PER_S;
	/* A dry run sends nothing, and so saves nothing. */
	uint64_t saved = !dry_run && m->bytes > m->sent ? m->bytes - m->sent : 0;
	char bytes[24], rate[24], less[24], more[160] = "";
	size_t used = 0;

	if (json) {
		output_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "dry_run",
		    dry_run, "files", (json_int_t)m->files, "unchanged", (json_int_t)m->unchanged,
		    "removed", (json_int_t)m->removed, "failed", (json_int_t)m->failed, "bytes",
		    (json_int_t)m->bytes, "sent_bytes", (json_int_t)m->sent, "saved_bytes",
		    (json_int_t)saved, "seconds", seconds));
		return;
	}
	output_bytes(bytes, sizeof(bytes), m->bytes);
	output_bytes(rate, sizeof(rate), (uint64_t)((double)m->bytes / (seconds + 1e-9)));
	if (m->unchanged > 0)
		used += (size_t)snprintf(more + used, sizeof(more) - used, ", %llu unchanged",
		    (unsigned long long)m->unchanged);
	if (m->removed > 0)
		used += (size_t)snprintf(more + used, sizeof(more) - used, ", %llu removed",
		    (unsigned long long)m->removed);
	if (m->failed > 0)
		used += (size_t)snprintf(more + used, sizeof(more) - used, ", %llu failed",
		    (unsigned long long)m->failed);
	if (saved > 0)
		snprintf(more + used, sizeof(more) - used, ", %s saved",
		    output_bytes(less, sizeof(less), saved));
	say_note("%s%llu file%s, %s%s in %.2f s (%s/s)", dry_run ? "dry run: " : "",
	    (unsigned long long)m->files, m->files == 1 ? "" : "s", bytes, more, seconds, rate);
}
