/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and numbers of signals. The table is the kernel's ordinary signals as this machine numbers
 * them; real-time signals count from libc's SIGRTMIN, below which libc keeps some for itself.
 */
#include "common/signame.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/err.h"

#define SIGNAL_MAX 64

/* A second name for a number stands after the first. */
static const struct {
	char name[8];
	int signo;
} signals[] = {
    {"HUP", SIGHUP},
    {"INT", SIGINT},
    {"QUIT", SIGQUIT},
    {"ILL", SIGILL},
    {"TRAP", SIGTRAP},
    {"ABRT", SIGABRT},
    {"IOT", SIGABRT},
    {"BUS", SIGBUS},
    {"FPE", SIGFPE},
    {"KILL", SIGKILL},
    {"USR1", SIGUSR1},
    {"SEGV", SIGSEGV},
    {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},
    {"ALRM", SIGALRM},
    {"TERM", SIGTERM},
#ifdef SIGSTKFLT
    {"STKFLT", SIGSTKFLT},
#endif
    {"CHLD", SIGCHLD},
    {"CLD", SIGCHLD},
    {"CONT", SIGCONT},
    {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN},
    {"TTOU", SIGTTOU},
    {"URG", SIGURG},
    {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ},
    {"VTALRM", SIGVTALRM},
    {"PROF", SIGPROF},
    {"WINCH", SIGWINCH},
    {"IO", SIGIO},
    {"POLL", SIGIO},
#ifdef SIGPWR
    {"PWR", SIGPWR},
#endif
    {"SYS", SIGSYS},
};
#define N_SIGNALS (sizeof(signals) / sizeof(signals[0]))

/* One or two digits, nothing else; -1: not that. */
static int parse_digits(const char *text)
{
	size_t len = strspn(text, "0123456789");

	if (len < 1 || len > 2 || text[len] != '\0')
		return -1;
	return len == 1 ? text[0] - '0' : (text[0] - '0') * 10 + (text[1] - '0');
}

/* "", or the sign and a number: what comes after RTMIN or RTMAX. */
static int parse_real_time(const char *rest, int from, char sign)
{
	int n = 0;
	int signo;

	if (*rest != '\0') {
		n = *rest == sign ? parse_digits(rest + 1) : -1;
		if (n < 0)
			return TX_EINVAL;
	}
	signo = sign == '+' ? from + n : from - n;
	return signo >= SIGRTMIN && signo <= SIGRTMAX ? signo : TX_EINVAL;
}

int signame_parse(const char *text)
{
	int n = parse_digits(text);

	if (n >= 0)
		return n >= 1 && n <= SIGNAL_MAX ? n : TX_EINVAL;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	if (strncasecmp(text, "RTMIN", 5) == 0)
		return parse_real_time(text + 5, SIGRTMIN, '+');
	if (strncasecmp(text, "RTMAX", 5) == 0)
		return parse_real_time(text + 5, SIGRTMAX, '-');
	for (size_t i = 0; i < N_SIGNALS; i++)
		if (strcasecmp(signals[i].name, text) == 0)
			return signals[i].signo;
	return TX_EINVAL;
}

char *signame_format(char *out, size_t size, int signo)
{
	for (size_t i = 0; i < N_SIGNALS; i++)
		if (signals[i].signo == signo) {
			snprintf(out, size, "SIG%s", signals[i].name);
			return out;
		}
	if (signo == SIGRTMIN)
		snprintf(out, size, "SIGRTMIN");
	else if (signo == SIGRTMAX)
		snprintf(out, size, "SIGRTMAX");
	else if (signo > SIGRTMIN && signo < SIGRTMAX)
		snprintf(out, size, "SIGRTMIN+%d", signo - SIGRTMIN);
	else
		snprintf(out, size, "signal %d", signo);
	return out;
}
