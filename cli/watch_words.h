/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a watch tells, in words.
 *
 *     2026-01-31T12:00:00.123Z created,closed src/new.c         and as JSON, one an event:
 *
 *     {"event":"armed","clock":"…","fresh_instance":false,"folders":12,"entries":340,"backend":"inotify"}
 *     {"event":"change","kinds":["created"],"path":"src/new.c","root":"src","exists":true,"type":"file",…}
 *     {"event":"clock","clock":"…"}                             a batch is whole
 *     {"event":"rescan","reason":"overflow","done":false,"waited_ms":0}
 *     {"event":"warning","reason":"FILE_DENIED","path":"src/x","message":"…"}
 *     {"event":"warning-over","reason":"FILE_DENIED","path":"src/x","message":"…"}
 *     {"event":"interrupted","error":{…}}                       "armed" follows, or an error
 */
#ifndef TX_CLI_WATCH_WORDS_H
#define TX_CLI_WATCH_WORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "lib/telex.h"

#define WATCH_WORDS_KINDS 96

/* "created,closed". Returns out. */
char *watch_words_kinds(char out[WATCH_WORDS_KINDS], unsigned kinds);
/* The same the other way: adds to *kinds. 0 or TX_EINVAL. */
int watch_words_parse_kinds(const char *text, unsigned *kinds, struct err *e);

/* The changed path, and the roots as they were typed: "src/new.c". The caller's to free. */
char *watch_words_path(const struct telex_change *c, const char *const *roots);

struct watch_words_how {
	const char *const *roots;
	bool escape;     /* for a terminal */
	bool paths_only; /* without time and kinds */
	char end;        /* '\n' or '\0' */
};
/* The whole line with its end, which counts in *len. The caller's to free. */
char *watch_words_line(
    const struct telex_change *c, const struct watch_words_how *how, size_t *len);

/* Each returns an object for the caller to free. */
json_t *watch_words_armed_json(const struct telex_watch_armed *armed);
json_t *watch_words_change_json(const struct telex_change *c, const char *const *roots);
json_t *watch_words_clock_json(const char *clock);
json_t *watch_words_rescan_json(const struct telex_rescan *rescan);
json_t *watch_words_warning_json(
    const char *path, const struct telex_file_failure *failure, bool over);
json_t *watch_words_interrupted_json(const struct telex_error *why);

/* Says that all is watched: one note. again: after it was lost; anew: it was to go on from a clock,
 * and cannot. */
void watch_words_armed(
    const struct telex_watch_armed *armed, const char *what, bool again, bool anew);
/* Says that it begins, or with -v that it is done. */
void watch_words_rescan(const struct telex_rescan *rescan);
void watch_words_warning(const char *path, const struct telex_file_failure *failure, bool over);
/* What to do about what the agent refuses, as " (…)"; NULL: nothing that is special to a watch. */
const char *watch_words_way_out(const char *reason);

#endif
