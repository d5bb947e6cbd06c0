/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line as values, with a sentence for those that are none. Each: 0, or
 * TX_EINVAL and *value untouched. */
#ifndef TX_CLI_VALUES_H
#define TX_CLI_VALUES_H

#include <stdint.h>

#include "common/err.h"

/* "90", "1.5s", "5m": milliseconds, rounded up. */
int values_duration(const char *text, int64_t *ms, struct err *e);
/* "4096", "64K", "2G": bytes, more than 0. */
int values_size(const char *text, uint64_t *bytes, struct err *e);
/* A whole decimal number, least..most. */
int values_number(const char *text, int64_t least, int64_t most, int64_t *value, struct err *e);
/* "022", "77", octal, 0 to 0777. */
int values_umask(const char *text, unsigned *mask, struct err *e);
/* "TERM", "SIGINT", "15". */
int values_signal(const char *text, int *signo, struct err *e);
/* "INT,TERM,RTMIN+1": bit n-1 for signal n. */
int values_signals(const char *text, uint64_t *mask, struct err *e);

#define VALUES_SIGNAL_BIT(signo) (UINT64_C(1) << ((signo)-1))

#endif
