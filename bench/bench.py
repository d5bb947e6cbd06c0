#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""telex beside the tools that a user would pick instead, measured in turn in one run on one machine.

Usage: bench.py [P1] [P3] [P5] ...     (none: all)
Environment: top_builddir; TELEX_BENCH_SCALE (default 1): a factor on rounds and bytes.

The peers: an sshd of our own on loopback with keys made for the run, and yardsticks of our own ("limit").
Nothing is left behind. Each row: ours, theirs, ratio, target, met or not.
"""
import json
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("top_builddir", ".")
SCALE = float(os.environ.get("TELEX_BENCH_SCALE", "1"))
GIB = 1 << 30
TELEX = os.path.join(BUILD, "telex")
rows = []


def row(name, what, ours, against, theirs, ratio, target, unit):
    rows.append((name, what, f"{ours:.4g} {unit}", against, f"{theirs:.4g} {unit}", f"{ratio:.2f}x",
                 f">= {target}x" if target > 0 else f"<= {-target}x",
                 "met" if (ratio >= target if target > 0 else ratio <= -target) else "NOT MET"))


def timed(argv, **options):
    start = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False, **options)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"bench: {argv} ended with {done.returncode}: {done.stderr.decode()}")
    return seconds


def in_turn(rounds, *commands):
    """Runs the commands A B C A B C ..., one warm-up each; the medians."""
    times = [[] for _ in commands]
    for n in range(rounds + 1):
        for i, argv in enumerate(commands):
            seconds = argv() if callable(argv) else timed(argv)
            if n > 0:
                times[i].append(seconds)
    return [statistics.median(t) for t in times]


class Agent:
    def __init__(self, folder):
        self.env = dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder + "/config",
                        XDG_STATE_HOME=folder + "/state", TELEX_CONTEXT="dev")
        os.environ.update(self.env)
        subprocess.run([TELEX, "-q", "dev", "--detach"], check=True, stdin=subprocess.DEVNULL)
        shown = subprocess.run([TELEX, "--json", "context", "show", "dev"], check=True,
                               stdout=subprocess.PIPE)
        self.context = json.loads(shown.stdout)

    def stop(self):
        subprocess.run([TELEX, "-q", "dev", "--stop"], check=False)


class Sshd:
    """An sshd on loopback. With a bare shell (root only): the login shell is the program itself, so that
    no shell's start is counted."""

    def __init__(self, folder, bare_shell=None):
        self.folder = tempfile.mkdtemp(dir=folder)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/{name}"],
                           check=True)
        shutil.copy(f"{self.folder}/user.pub", f"{self.folder}/authorized")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(f"{self.folder}/config", "w", encoding="ascii") as f:
            f.write(f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\n"
                    f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nUsePAM no\n"
                    f"PidFile none\nPermitRootLogin yes\nPrintLastLog no\nMaxSessions 100\n"
                    "PasswordAuthentication no\nMaxStartups 100:30:200\n")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        argv = [sshd, "-D", "-e", "-f", f"{self.folder}/config"]
        self.bare = bool(bare_shell) and os.geteuid() == 0
        if self.bare:
            with open("/etc/passwd", encoding="utf-8") as f:
                lines = [line.rsplit(":", 1)[0] + ":" + bare_shell + "\n"
                         if line.startswith(pwd.getpwuid(0).pw_name + ":") else line for line in f]
            with open(f"{self.folder}/passwd", "w", encoding="utf-8") as f:
                f.writelines(lines)
            argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"',
                    f"{self.folder}/passwd", *argv]
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)
        self.control = f"{self.folder}/mux"

    def command(self, *argv, options=()):
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", f"{self.folder}/user",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", *options,
                f"{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1", *argv]

    def start_master(self):
        self.master = subprocess.Popen(
            self.command(options=("-N", "-M", "-S", self.control)), stdin=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(self.control):
                return
            time.sleep(0.05)
        raise SystemExit("bench: the ssh master did not start")

    def stop(self):
        for process in (getattr(self, "master", None), self.process):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait()
        self.log.close()


def p1(agent, folder):
    """P1 and P2: run /bin/true over a warm connection."""
    sshd = Sshd(folder, bare_shell="/bin/true")
    try:
        sshd.start_master()
        c = agent.context
        out = subprocess.run(
            [os.path.join(BUILD, "bench", "bench_spawn"), str(max(20, int(500 * SCALE))), "/bin/true",
             c["host"], c["certificate"], c["key"], c["ca"], sshd.control],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        p50 = {name: int(a) / 1000 for name, a, _ in (line.split() for line in out.splitlines())}
        shell = "bare shell" if sshd.bare else "login shell"
        one, mux = in_turn(max(5, int(40 * SCALE)), [TELEX, "run", "-n", "--", "/bin/true"],
                           sshd.command("/bin/true", options=("-S", sshd.control)))
        # What a user of ssh has is its program on a warm master; a user of telex has the library. The
        # second row gives ssh a library, too: its multiplexing protocol, spoken in our process.
        row("P1", "run /bin/true, warm, p50", p50["telex"], f"ssh program, warm master, {shell}", mux * 1e6,
            mux * 1e6 / p50["telex"], 5, "us")
        row("P1", "the same, against its protocol alone", p50["telex"], f"ssh mux, in process, {shell}",
            p50["ssh"], p50["ssh"] / p50["telex"], 5, "us")
        row("P2", "the same", p50["telex"], "local posix_spawn + wait (limit)", p50["spawn"],
            p50["telex"] / p50["spawn"], -1.5, "us")
        rows.append(("-", "telex program, cold", f"{one * 1000:.4g} ms", "ssh program, warm master",
                     f"{mux * 1000:.4g} ms", f"{mux / one:.2f}x", "", "for information"))
    finally:
        sshd.stop()


def p3(agent, folder):
    sshd = Sshd(folder, bare_shell="/bin/true")
    try:
        ours, theirs = in_turn(max(5, int(40 * SCALE)), [TELEX, "run", "-n", "--", "/bin/true"],
                               sshd.command("/bin/true"))
        row("P3", "cold telex run -- /bin/true", ours * 1000, "ssh cold, keys, bare shell" if sshd.bare else
            "ssh cold, keys, login shell", theirs * 1000, theirs / ours, 5, "ms")
    finally:
        sshd.stop()


def p5(agent, folder):
    size = int(4 * GIB * SCALE)
    sshd = Sshd(folder)

    def limit():
        out = subprocess.run([os.path.join(BUILD, "bench", "bench_tls"), str(size)], check=True,
                             stdout=subprocess.PIPE).stdout
        return int(out) / 1e9

    try:
        ours, ssh, raw = in_turn(
            3, [TELEX, "run", "-n", "--", "head", "-c", str(size), "/dev/zero"],
            sshd.command("head", "-c", str(size), "/dev/zero", options=("-c", "aes128-gcm@openssh.com")), limit)
        rate = size / (1 << 20)
        row("P5", f"stdout, {size / GIB:.3g} GiB", rate / ours, "ssh aes128-gcm", rate / ssh, ssh / ours, 1.6, "MiB/s")
        row("P5", "the same", rate / ours, "raw TLS pump (limit)", rate / raw, raw / ours, 0.9, "MiB/s")
    finally:
        sshd.stop()


def table():
    heads = ("", "what", "ours", "against", "theirs", "ratio", "target", "")
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(len(heads))]
    for r in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(r, widths)).rstrip())


def main():
    wanted = set(sys.argv[1:]) or {"P1", "P3", "P5"}
    unknown = wanted - {"P1", "P2", "P3", "P5"}
    if unknown:
        raise SystemExit(f"bench: no such target: {', '.join(sorted(unknown))} (there are P1, P2, P3, P5)")
    # Ended by a signal, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        agent = Agent(folder)
        try:
            if wanted & {"P1", "P2"}:
                p1(agent, folder)
            if "P3" in wanted:
                p3(agent, folder)
            if "P5" in wanted:
                p5(agent, folder)
        finally:
            agent.stop()
    table()


main()
