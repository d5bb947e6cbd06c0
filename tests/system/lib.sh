# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What every system test begins with: `. "${top_srcdir:-$(dirname "$0")/../..}/tests/system/lib.sh"`.
# Own home and temporary folder ($T), own agent on a free port, nothing left behind; TAP on stdout.
set -u
# By hand, in the build's folder, neither needs to be given; and whole paths, as a script goes elsewhere.
top_builddir=$(cd "${top_builddir:-$PWD}" && pwd) || exit 99
top_srcdir=$(cd "${top_srcdir:-$(dirname "$0")/../..}" && pwd) || exit 99
export top_builddir top_srcdir
# shellcheck disable=SC2034  # for the scripts
telex=$top_builddir/telex
if [ ! -x "$telex" ] || [ ! -x "$top_builddir/telexd" ]; then
	echo "1..0 # SKIP telex and telexd are not built"
	exit 0
fi
T=$(mktemp -d "${TMPDIR:-/tmp}/telex-system.XXXXXX") || exit 99
HOME=$T/home
XDG_CONFIG_HOME=$T/config
XDG_STATE_HOME=$T/state
export HOME XDG_CONFIG_HOME XDG_STATE_HOME
unset TELEX_CONTEXT TELEX_CONFIG_HOME || :
mkdir "$HOME"
tests_run=0
tests_failed=0

clean_up() {
	"$telex" -q dev --stop --dir "$T/dev" >"$T/stop.out" 2>&1 || cat "$T/stop.out" >&2
	rm -rf "$T"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ok WHAT / not_ok WHAT [WHY…]: a test's outcome.
ok() {
	tests_run=$((tests_run + 1))
	echo "ok $tests_run - $1"
}
not_ok() {
	tests_run=$((tests_run + 1))
	tests_failed=$((tests_failed + 1))
	echo "not ok $tests_run - $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/# /'
}

# check WHAT COMMAND…: passes when the command succeeds.
check() {
	what=$1
	shift
	if "$@" >"$T/check.out" 2>&1; then
		ok "$what"
	else
		not_ok "$what" "failed ($?): $*" "$(cat "$T/check.out")"
	fi
}

# same WHAT GOT WANTED
same() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got:    $2" "wanted: $3"
	fi
}

# has WHAT TEXT PATTERN: the text matches the shell pattern.
has() {
	# shellcheck disable=SC2254
	case "$2" in
	$3) ok "$1" ;;
	*) not_ok "$1" "got:    $2" "wanted: $3" ;;
	esac
}

# poll_until SECONDS COMMAND…: tries until the command succeeds; fails at the deadline, which is six times as long for a
# machine that is slow, or busy with other tests.
poll_until() {
	poll_deadline=$(($(date +%s) + 6 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$poll_deadline" ] || return 1
		sleep 0.05
	done
}

# free_ports N: as many that nobody has now. Those that the kernel gives to whoever asks for any are not among them, as one of
# these may be somebody's before it is used.
free_ports() {
	"${PYTHON:-python3}" -c '
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
    low = int(f.read().split()[0])
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10000, low) if low > 12000 else 0))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))' "$1"
}

# begun ID: waits until it runs, or has ended. A start that takes its time, on a busy machine, is queued until then.
begun() {
	poll_until 30 has_begun "$1"
}
has_begun() {
	"$telex" --json inspect "$1" | grep -q '"state":"\(running\|ending\|ended\)"'
}

# unspoken WHAT LONGEST FILE…: nobody was told a word. Where the longest that something took was half a second and more, somebody may
# have been told that the connection was away for long: but each time, that it is back, and nothing else.
unspoken() {
	unspoken_what=$1 unspoken_longest=$2
	shift 2
	if [ "$unspoken_longest" -lt 500 ]; then
		same "$unspoken_what" "$(cat "$@")" ""
	else
		same "$unspoken_what" "$(cat "$@" | grep -v -e '^telex: lost the connection to ' -e '^telex: the connection to .* is back$')" ""
		same "$unspoken_what, but that what was lost is back" "$(cat "$@" | grep -c 'lost the connection')" "$(cat "$@" | grep -c 'is back$')"
	fi
}
now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

start_agent() {
	"$telex" -q dev --detach --dir "$T/dev" "$@" >"$T/dev.out" 2>&1 && return
	echo "Bail out! the agent did not start"
	cat "$T/dev.out" >&2
	exit 1
}

# gone PID: no such process, or only its remains that nobody has collected yet.
gone() {
	! readlink "/proc/$1/exe" >/dev/null
}

agent_pid() {
	cut -d' ' -f1 "$T/dev/telexd.pid"
}

# The last line of every script.
done_testing() {
	echo "1..$tests_run"
	[ "$tests_failed" -eq 0 ]
	exit
}
