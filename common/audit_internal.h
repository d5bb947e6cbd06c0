/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of a record's line, which audit.c writes and audit_scan.c reads. Only they include it.
 *
 *   {"writer":W,"seq":N,"time":"…","event":"…", members ,"prev":"64 hex","hash":"64 hex"}\n
 *
 * Inside a text each quote has a backslash before it: what stands here with its quotes is found in
 * no text. */
#ifndef TX_COMMON_AUDIT_INTERNAL_H
#define TX_COMMON_AUDIT_INTERNAL_H

#include "common/audit.h"

#define AUDIT_HEX  (2 * AUDIT_HASH_SIZE)
#define LINE_HEAD  "{\"writer\":"
#define LINE_SEQ   ",\"seq\":"
#define LINE_TIME  ",\"time\":\""
#define LINE_EVENT "\",\"event\":\""
#define LINE_PREV  ",\"prev\":\""
#define LINE_HASH  "\",\"hash\":\""
#define LINE_END   "\"}\n"
#define LINE_CUT   ",\"cut\":true"
/* From `prev` on. */
#define LINE_TAIL_SIZE                                                                             \
	(sizeof(LINE_PREV) - 1 + AUDIT_HEX + sizeof(LINE_HASH) - 1 + AUDIT_HEX +                   \
	    sizeof(LINE_END) - 1)

#endif
