/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#if !defined(TIOCGPTPEER)
#define TIOCGPTPEER _IO('T', 0x41)
#endif

#define GROUP_MAX ((size_t)1 << 20)

gid_t terminal_group(void)
{
	gid_t gid = (gid_t)-1;
	char *buf = NULL;

	for (size_t size = 1024; size <= GROUP_MAX; size *= 2) {
		char *more = realloc(buf, size);
		struct group gr, *found = NULL;
		int rc;

		if (more == NULL)
			break;
		buf = more;
		rc = getgrnam_r("tty", &gr, buf, size, &found);
		if (found != NULL)
			gid = gr.gr_gid;
		if (rc != ERANGE)
			break;
	}
	free(buf);
	return gid;
}

/* ---- making one ---- */

/* By the master where the kernel can: it needs no path, and so no /dev/pts of this instance. */
static int open_slave(int master)
{
	const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
	int fd = ioctl(master, TIOCGPTPEER, flags);
	char name[PATH_MAX];
	int error;

	if (fd >= 0 || errno == EMFILE || errno == ENFILE)
		return fd;
	error = ptsname_r(master, name, sizeof(name));
	if (error == 0)
		return open(name, flags);
	errno = error;
	return -1;
}

/* What grantpt(3) is for, without a helper program: writable by its owner and by those who may
 * write to anybody's. */
static int give(int slave, const struct terminal_owner *owner)
{
	if (!owner->change)
		return 0;
	if (owner->tty != (gid_t)-1 && fchown(slave, owner->uid, owner->tty) == 0)
		return fchmod(slave, 0620);
	if (fchown(slave, owner->uid, owner->gid) != 0)
		return -1;
	return fchmod(slave, 0600);
}

/* Erasing a character erases all of its bytes. */
static void set_modes(int slave)
{
	struct termios t;

	if (tcgetattr(slave, &t) != 0)
		return;
	t.c_iflag |= IUTF8;
	(void)tcsetattr(slave, TCSANOW, &t);
}

int terminal_resize(int fd, uint16_t rows, uint16_t columns)
{
	const struct winsize size = {.ws_row = rows, .ws_col = columns};

	return ioctl(fd, TIOCSWINSZ, &size) == 0 ? 0 : errno;
}

int terminal_open(struct terminal *out, uint16_t rows, uint16_t columns,
    const struct terminal_owner *owner, struct err *e)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	int slave = -1;
	int error;

	if (master < 0 && errno == ENOSPC)
		return err_sys(e, errno, "cannot make a terminal: no more are allowed (pty.max)");
	if (master < 0)
		return err_sys(e, errno, "cannot make a terminal: /dev/ptmx");
	if (unlockpt(master) == 0)
		slave = open_slave(master);
	if (slave < 0 || give(slave, owner) != 0) {
		error = errno;
		goto fail;
	}
	set_modes(slave);
	error = terminal_resize(slave, rows, columns);
	if (error != 0)
		goto fail;
	out->master = master;
	out->slave = slave;
	return 0;
fail:
	close(master);
	if (slave >= 0)
		close(slave);
	return err_sys(e, error, "cannot make a terminal");
}

bool terminal_is(int fd)
{
	return isatty(fd) == 1;
}

/* ---- reading ---- */

static short look(int master)
{
	struct pollfd pfd = {.fd = master, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1 ? pfd.revents : 0;
}

bool terminal_has_output(int master)
{
	return (look(master) & POLLIN) != 0;
}

/* A look takes what was written first and asks then whether somebody is left, who may have written
 * and left in between. The second look is after that. */
bool terminal_is_over(int master)
{
	for (int i = 0; i < 2; i++)
		if ((look(master) & (POLLIN | POLLHUP)) != POLLHUP)
			return false;
	return true;
}

/* ---- the end of the input ---- */

static bool ends_line(const struct termios *t, uint8_t c)
{
	const cc_t ends[] = {t->c_cc[VEOF], t->c_cc[VEOL], t->c_cc[VEOL2]};

	if (c == '\n' || (c == '\r' && (t->c_iflag & ICRNL) != 0))
		return true;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (ends[i] != _POSIX_VDISABLE && ends[i] == c)
			return true;
	return false;
}

/* With a line begun, the first one gives that to the reader, and the next is the end. */
int terminal_end_of_input(int master, int last, uint8_t out[2])
{
	struct termios t;

	if (tcgetattr(master, &t) != 0 || t.c_cc[VEOF] == _POSIX_VDISABLE)
		return 0;
	out[0] = out[1] = t.c_cc[VEOF];
	return (t.c_lflag & ICANON) != 0 && last >= 0 && !ends_line(&t, (uint8_t)last) ? 2 : 1;
}
