/* SPDX-License-Identifier: Apache-2.0 */
#include "common/helper_process.h"

#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>

bool helper_process_has_link(int fd, int type)
{
	socklen_t len = sizeof(int);
	int its = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &its, &len) == 0 && its == type;
}

void helper_process_ignore_signals(void)
{
	static const int ignored[] = {
	    SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
}
