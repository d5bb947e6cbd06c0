/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/reserve.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

/* For the folders of nested control groups, too. */
#define RESERVED 24

/* Each is one more than the descriptor: 0 is none. */
static struct {
	int fds[RESERVED];
	unsigned depth;
	bool wanted;
} reserve;

void reserve_fill(void)
{
	reserve.wanted = true;
	for (size_t i = 0; i < RESERVED; i++) {
		int fd;

		if (reserve.fds[i] != 0)
			continue;
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		reserve.fds[i] = fd + 1;
	}
}

static void drop(void)
{
	for (size_t i = 0; i < RESERVED; i++) {
		if (reserve.fds[i] != 0)
			close(reserve.fds[i] - 1);
		reserve.fds[i] = 0;
	}
}

void reserve_free(void)
{
	drop();
	reserve.wanted = false;
}

void reserve_give_up(void)
{
	if (reserve.depth++ == 0)
		drop();
}

void reserve_take_back(void)
{
	assert(reserve.depth > 0);
	if (--reserve.depth == 0 && reserve.wanted)
		reserve_fill();
}

bool reserve_is_shortage(int sys_errno)
{
	return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOMEM;
}
