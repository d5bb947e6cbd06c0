/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For `make lint` alone, included before each file: what an analyzer that reads one file at a time
 * cannot know. err_set, err_sys, error_set and error_no_memory return what their callers go by:
 * never 0.
 */
#ifndef TELEX_SCRIPTS_LINT_H
#define TELEX_SCRIPTS_LINT_H

#include <sys/queue.h>

#include "common/err.h"
#include "lib/error.h"

#define err_set(e, code, ...)      ((void)(err_set)((e), (code), __VA_ARGS__), (code))
#define err_sys(e, sys_errno, ...) ((void)(err_sys)((e), (sys_errno), __VA_ARGS__), TX_ESYS)

#define error_set(error, kind, ...) ((void)(error_set)((error), (kind), __VA_ARGS__), -1)
/* Not in brackets: cppcheck would lose sight of what it fills. */
#define error_no_memory(error) (error_no_memory(error), -1)

#endif
