/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between telexd and a telex-files that watches ("telex-files --watch KEY [FOLDER]…", the folders
 * of the agent's ceiling), which serves many connections and outlives the workers that have their
 * other ends.
 *
 * Its control socket is SOCK_SEQPACKET. Towards telex-files: a watch_allow, with one descriptor, a
 * connection (files_frame.h, one call), or without one. Back: a watch_idle whenever it has none
 * left. The end of the control socket is its own: it ends at once.
 */
#ifndef TX_COMMON_WATCH_CONTROL_H
#define TX_COMMON_WATCH_CONTROL_H

#include <stdint.h>

#define WATCH_OPTION "--watch"
/* Instead: it may watch file systems as a whole (fanotify), of which it is told the names of what
 * changes everywhere on them. For root, where no ceiling names folders. */
#define WATCH_WIDE_OPTION "--watch-wide"
#define WATCH_CONTROL_FD  3
/* A memfd, empty or as another one with the same key has left it: what is known of the trees. */
#define WATCH_STORE_FD 4
/* A store is no larger. One that is, is not given to anybody. */
#define WATCH_STORE_MAX ((uint64_t)1 << 30)

/* SHA-256 of the FilesSetup that every connection must begin with; as an argument in hexadecimal.
 */
#define WATCH_KEY_SIZE     32
#define WATCH_KEY_HEX_SIZE (2 * WATCH_KEY_SIZE + 1)

/* What its store may take. One that takes more already does not grow. */
struct watch_allow {
	uint64_t memory; /* bytes: what the others of its identity leave */
	uint64_t limit;  /* of what all of them may take (max_watch_memory) */
};

struct watch_idle {
	uint64_t taken; /* how many it was handed in all; telexd may have sent more by now */
};

#endif
