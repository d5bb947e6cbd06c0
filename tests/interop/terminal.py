# SPDX-License-Identifier: Apache-2.0
"""Terminals, and what a program begins with: tests of client.py's list.

Each takes what client.py has: `c`, its module's names (pb, Run, error_info, TIMEOUT), and the stub.
"""
import os
import shutil
import signal
import uuid

import grpc


class Terminal:
    """A Run call on a terminal, typed to as its output comes."""

    def __init__(self, c, stub, argv, rows=40, columns=120, **spec):
        self.c = c
        self.typed = 0
        self.run = c.Run(stub, argv, terminal=c.pb.TerminalSize(rows=rows, columns=columns), **spec)

    def type(self, data, eof=False):
        self.run.put(stdin=self.c.pb.StdinChunk(offset=self.typed, data=data, eof=eof))
        self.typed += len(data)

    def resize(self, rows, columns):
        self.run.put(resize=self.c.pb.Resize(
            size=self.c.pb.TerminalSize(rows=rows, columns=columns)))

    def until(self, words, since=0):
        """Takes what comes until the output after `since` has the words; returns where they end."""
        while words not in self.run.stdout[since:]:
            self.run.take(next(self.run.call))
        return self.run.stdout.index(words, since) + len(words)

    def finish(self):
        return self.run.finish()


def the_first_command_sees_the_size(c, stub):
    for _ in range(20):
        run = Terminal(c, stub, ["stty", "size"], 41, 133).finish()
        assert run.stdout == b"41 133\r\n", (run.stdout, run.exit)
        assert run.exit.code == 0 and not run.exit.streams_open
        assert run.started.process.terminal


def a_resize_storm_ends_with_the_right_size(c, stub):
    t = Terminal(c, stub, ["sh", "-c",
                           "stty -echo; trap 'n=$((n+1))' WINCH; n=0; echo ready; "
                           "while [ \"$(stty size)\" != '24 80' ]; do sleep 0.01; done; "
                           "[ $n -gt 0 ] && stty size"])
    t.until(b"ready")
    for i in range(1, 500):
        t.resize(i, 2 * i)
    t.resize(24, 80)
    run = t.finish()
    assert run.stdout == b"ready\r\n24 80\r\n", run.stdout


def the_last_line_comes_200_times(c, stub):
    for i in range(20):
        runs = [Terminal(c, stub, ["sh", "-c", f"seq 1 500; printf last-{i}-{n}"])
                for n in range(10)]
        for n, t in enumerate(runs):
            want = b"".join(b"%d\r\n" % k for k in range(1, 501)) + f"last-{i}-{n}".encode()
            assert t.finish().stdout == want, t.run.stdout[-40:]


def control_c_interrupts_the_foreground(c, stub):
    t = Terminal(c, stub, ["sh", "-c", "echo ready; exec sleep 1000"])
    t.until(b"ready")
    t.type(b"\x03")
    run = t.finish()
    assert run.exit.signal.number == signal.SIGINT, run.exit
    assert run.exit.reason == c.pb.END_REASON_EXITED


def the_end_of_stdin_ends_cat(c, stub):
    for typed, output in ((b"", b""), (b"a line\n", b"a line\r\na line\r\n"), (b"half", b"halfhalf")):
        t = Terminal(c, stub, ["cat"])
        t.type(typed, eof=True)
        run = t.finish()
        assert run.stdout == output and run.exit.code == 0, (typed, run.stdout)


def an_attached_client_goes_on_typing(c, stub):
    process_id = uuid.uuid4().hex
    stub.Start(c.pb.StartRequest(process_id=process_id, spec=c.pb.ProcessSpec(
        argv=[b"sh", b"-c", b"read a; echo got $a; stty size"],
        terminal=c.pb.TerminalSize(rows=1, columns=1))), timeout=c.TIMEOUT)
    requests = [c.pb.RunRequest(attach=c.pb.RunAttach(process_id=process_id, stdin=True)),
                c.pb.RunRequest(resize=c.pb.Resize(size=c.pb.TerminalSize(rows=9, columns=10000))),
                c.pb.RunRequest(stdin=c.pb.StdinChunk(data=b"word\n"))]
    out = b""
    for r in stub.Run(iter(requests), timeout=c.TIMEOUT):
        if r.WhichOneof("response") == "output" and r.output.stream == c.pb.OUTPUT_STREAM_STDOUT:
            out += r.output.data
    assert out == b"word\r\ngot word\r\n9 10000\r\n", out


def job_control_works_in_bash(c, stub):
    if not shutil.which("bash"):
        return
    t = Terminal(c, stub, ["bash", "--norc", "--noprofile", "-i"], environment=[
        c.pb.EnvironmentVariable(name=b"PS1", value=b"PROMPT>"),
        c.pb.EnvironmentVariable(name=b"TERM", value=b"dumb")])
    at = t.until(b"PROMPT>")
    assert b"no job control" not in t.run.stdout, t.run.stdout
    t.type(b"sh -c 'echo on; read x; echo got $x'\n")
    at = t.until(b"on\r\n", at)
    t.type(b"\x1a")
    at = t.until(b"Stopped", at)
    at = t.until(b"PROMPT>", at)
    t.type(b"fg\n")
    at = t.until(b"read x", at)
    t.type(b"back\n")
    at = t.until(b"got back\r\n", at)
    at = t.until(b"PROMPT>", at)
    t.type(b"sh -c 'echo asleep; exec sleep 1000'\n")
    at = t.until(b"asleep\r\n", at)
    t.type(b"\x03")
    at = t.until(b"PROMPT>", at)
    t.type(b"exit 5\n")
    assert t.finish().exit.code == 5


def what_has_no_terminal_has_no_size(c, stub):
    for spec, size, code, reason in (
            ({}, (24, 80), grpc.StatusCode.FAILED_PRECONDITION, "NO_TERMINAL"),
            ({"terminal": c.pb.TerminalSize(rows=1, columns=1)}, (0, 80),
             grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"),
            ({"terminal": c.pb.TerminalSize(rows=1, columns=1)}, (24, 10001),
             grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"),
            ({"terminal": c.pb.TerminalSize(rows=0, columns=80)}, None,
             grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")):
        run = c.Run(stub, ["sleep", "1000"], **spec,
                    on_disconnect=c.pb.DisconnectPolicy(action=c.pb.DISCONNECT_ACTION_KILL))
        if size:
            run.put(resize=c.pb.Resize(size=c.pb.TerminalSize(rows=size[0], columns=size[1])))
        try:
            run.finish()
            raise AssertionError("it was taken")
        except grpc.RpcError as e:
            assert e.code() == code, (spec, e.code(), e.details())
            assert c.error_info(e).reason == reason, c.error_info(e)


def a_program_begins_as_asked_for(c, stub):
    run = c.Run(stub, ["sh", "-c", "umask; nice; env"], clean_environment=True,
                umask=c.pb.Umask(mask=0o27), nice=3,
                environment=[c.pb.EnvironmentVariable(name=b"TELEX_PROCESS_ID", value=b"forged"),
                             c.pb.EnvironmentVariable(name=b"A", value=b"1")]).finish()
    lines = run.stdout.decode().splitlines()
    assert lines[:2] == ["0027", "3"], lines
    assert "A=1" in lines and f"TELEX_PROCESS_ID={run.id}" in lines, lines
    assert not any(line.startswith(("HOME=", "USER=", "SHELL=")) for line in lines), lines
    # No shell, which might change them.
    run = c.Run(stub, ["grep", "-E", "Sig(Blk|Ign)|NoNew", "/proc/self/status"],
                no_new_privileges=True, blocked_signals=[signal.SIGUSR1],
                ignored_signals=[signal.SIGUSR2]).finish()
    assert run.stdout.decode().splitlines() == [
        "SigBlk:\t0000000000000200", "SigIgn:\t0000000000000800", "NoNewPrivs:\t1"], run.stdout


def what_is_too_long_is_named(c, stub):
    page = os.sysconf("SC_PAGESIZE")
    try:
        c.Run(stub, ["true", "x" * (page * 32)]).finish()
        raise AssertionError("it started")
    except grpc.RpcError as e:
        info = c.error_info(e)
        assert info.metadata["stage"] == "exec" and info.metadata["errno_name"] == "E2BIG", info
        assert "argument 1 has" in e.details(), e.details()


TESTS = [the_first_command_sees_the_size, a_resize_storm_ends_with_the_right_size,
         the_last_line_comes_200_times, control_c_interrupts_the_foreground,
         the_end_of_stdin_ends_cat, an_attached_client_goes_on_typing, job_control_works_in_bash,
         what_has_no_terminal_has_no_size, a_program_begins_as_asked_for, what_is_too_long_is_named]
