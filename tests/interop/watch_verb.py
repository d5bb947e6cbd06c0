#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `telex watch` makes of what an agent tells, which here is a script: lines, JSON, runs of a command, statuses. Prints TAP.

Environment: TELEX_DEV (the folder of `telex dev`, whose agent's certificate is used), top_builddir, top_srcdir.
"""
import concurrent.futures
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

top = os.environ.get("top_srcdir", ".")
TELEX = os.path.join(os.environ.get("top_builddir", "."), "telex")
DEADLINE = 120
work = tempfile.TemporaryDirectory()
generated = work.name + "/generated"
os.mkdir(generated)
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated,
                "--grpc_python_out", generated, "telex/v1/process.proto", "telex/v1/file.proto", "telex/v1/watch.proto"],
               check=True)
sys.path.insert(0, generated)
pb = importlib.import_module("telex.v1.watch_pb2")
stubs = importlib.import_module("telex.v1.watch_pb2_grpc")
file_pb = importlib.import_module("telex.v1.file_pb2")
file_stubs = importlib.import_module("telex.v1.file_pb2_grpc")

KINDS = {"created": 1, "modified": 2, "closed": 3, "attributes": 4, "deleted": 5, "moved": 6, "root-gone": 7, "root-back": 8}
TIME = 1769860800


# ---- the agent ----


def details(code, reason, text):
    """A packed google.rpc.Status with an ErrorInfo: few bytes, whose lengths are one byte each."""

    def field(number, some):
        return bytes((number << 3 | 2, len(some))) + some

    info = field(1, b"type.googleapis.com/google.rpc.ErrorInfo") + field(2, field(1, reason.encode()) + field(2, b"telex"))
    return bytes((8, code)) + field(2, text.encode()) + field(3, info)


class Call:
    """One Watch call: what came, and what is to be told."""

    def __init__(self, context):
        self.context, self.out, self.requests = context, queue.Queue(), queue.Queue()
        self.told = 0  # messages that grpc has taken

    def request(self):
        return self.requests.get(timeout=DEADLINE)

    def begin(self):
        return self.request().begin

    def tell(self, **parts):
        self.out.put(pb.WatchResponse(**parts))

    def armed(self, clock="c1", fresh=False):
        self.tell(armed=pb.WatchArmed(clock=clock, fresh_instance=fresh, folders=3, entries=5, backend="inotify"))

    def changes(self, *some, clock=""):
        self.tell(changes=pb.WatchChanges(changes=list(some), clock=clock))

    def fail(self, code, reason, message):
        self.out.put((code, reason, message))


class Agent(stubs.WatchServiceServicer):
    def __init__(self):
        self.calls = queue.Queue()

    def Watch(self, requests, context):
        call = Call(context)

        def read():
            try:
                for request in requests:
                    call.requests.put(request)
            except grpc.RpcError:
                pass
            call.requests.put(None)

        threading.Thread(target=read, daemon=True).start()
        context.add_callback(lambda: call.out.put(None))
        self.calls.put(call)
        while True:
            message = call.out.get()
            if message is None:
                return
            if isinstance(message, tuple):
                code, reason, text = message
                context.set_trailing_metadata((("grpc-status-details-bin", details(code.value[0], reason, text)),))
                context.abort(code, text)
            yield message
            call.told += 1

    def call(self, process=None):
        """The next one; process: whose it is."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            try:
                return self.calls.get(timeout=0.1)
            except queue.Empty:
                if process is not None and process.poll() is not None and self.calls.empty():
                    raise Ended(f"status {process.returncode}") from None
        raise AssertionError("no call came")


class Files(file_stubs.FileServiceServicer):
    """Moves nothing: what is asked for below /gone is not there."""

    def __init__(self):
        self.passes = queue.Queue()

    def GetTree(self, request_iterator, context):
        paths = [bytes(p) for p in next(request_iterator).start.paths]
        if not all(p.startswith(b"/gone") for p in paths):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "nothing is moved")
        self.passes.put(paths)
        code = grpc.StatusCode.NOT_FOUND
        context.set_trailing_metadata((("grpc-status-details-bin", details(code.value[0], "NO_SUCH_FILE", "it is gone")),))
        context.abort(code, "it is gone")
        yield file_pb.GetTreeResponse()


def change(path, *kinds, exists=True, kind=file_pb.FILE_TYPE_REGULAR, **more):
    path = path if isinstance(path, bytes) else path.encode()
    out = pb.Change(path=path, kinds=[KINDS[k] for k in kinds], exists=exists, type=kind, mode=0o644, count=1, **more)
    out.time.seconds = TIME
    return out


def serve(agent):
    def read(name):
        with open(f"{os.environ['TELEX_DEV']}/{name}", "rb") as f:
            return f.read()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(32))
    stubs.add_WatchServiceServicer_to_server(agent, server)
    file_stubs.add_FileServiceServicer_to_server(files, server)
    credentials = grpc.ssl_server_credentials([(read("agent.key"), read("agent.pem"))], read("ca.pem"), True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


# ---- the client ----


agent, files = Agent(), Files()
server = PORT = None


def begin_anew():
    """Another agent: a call that comes late, of a client that is gone, is not heard by it."""
    global agent, server, PORT
    if server is not None:
        server.stop(None)
    agent = Agent()
    server, PORT = serve(agent)


class Ended(Exception):
    """The client has, before its call came."""


def hear_signals():
    """Who started the tests in the background has had them ignored."""
    for signo in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signo, signal.SIG_DFL)


class Watch:
    """`telex watch` with these arguments, and its first call."""

    running = []

    def __init__(self, *args, options=(), stdout=subprocess.PIPE, env=None, group=False):
        self.stderr = tempfile.NamedTemporaryFile(dir=work.name)  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [TELEX, "-w", f"127.0.0.1:{PORT}", *options, "watch", *args], stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=self.stderr, env={**os.environ, **(env or {})}, start_new_session=group, preexec_fn=hear_signals)
        Watch.running.append(self.process)
        self.agent = agent.call(self.process)
        self.asked = self.agent.begin()

    def end(self):
        """Status, stdout, stderr."""
        try:
            out, _ = self.process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, (out or b"").decode(errors="surrogateescape"), self.said()

    def said(self):
        return read(self.stderr.name)


def until(what):
    deadline = time.monotonic() + DEADLINE
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to be")
        time.sleep(0.02)


def settled(count):
    """What it is when it has not changed for a while."""
    last, since = count(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.02)
        if count() != last:
            last, since = count(), time.monotonic()
    return last


def in_time(test):
    """With the first of these timeouts that is long enough for this machine; in each `test(seconds)` says whether it was."""
    for seconds in (1, 5, 25, 100):
        begin_anew()
        try:
            if test(seconds):
                return
        except Ended:
            pass
    raise AssertionError("no timeout is long enough")


def let_go(fifo):
    """A run that waits for a line of this goes on."""
    fds = []

    def is_open():
        try:
            fds.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError:
            return False

    until(is_open)
    os.write(fds[0], b"\n")
    os.close(fds[0])


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def has(text, *words):
    for word in words:
        if word not in text:
            raise AssertionError(f"no {word!r} in {text!r}")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


# ---- lines ----


def changes_are_lines():
    w = Watch("-r", "--count", "3", "src", "/srv/")
    equal(([p.decode() for p in w.asked.paths], w.asked.recursive, w.asked.HasField("settle")), (["src", "/srv/"], True, False))
    w.agent.armed()
    w.agent.changes(change("a", "created", "closed"), clock="c2")
    w.agent.changes(change("new", "created", "moved", moved_from=b"old", root=1, moved_root=1), clock="c3")
    w.agent.changes(change("d", "created", kind=file_pb.FILE_TYPE_DIRECTORY), change("more", "created"), clock="c4")
    status, out, err = w.end()
    equal(status, 0)
    equal(out, "2026-01-31T12:00:00.000Z created,closed src/a\n"
               "2026-01-31T12:00:00.000Z created,moved /srv/new <- /srv/old\n"
               "2026-01-31T12:00:00.000Z created src/d/\n")
    has(err, "telex: watching 2 paths: 5 entries (inotify); clock c1\n", "telex: to go on from here: --since c3\n")


def quiet_says_nothing():
    w = Watch("--count", "1", "a", options=["-q"])
    w.agent.armed()
    w.agent.changes(change("", "modified"), clock="c2")
    equal(w.end(), (0, "2026-01-31T12:00:00.000Z modified a\n", ""))


def what_is_asked_for_is_asked():
    w = Watch("--depth", "2", "--include", "*.c", "--include=*.h", "--exclude", ".git/", "--kind", "created,deleted", "--kind",
              "moved", "--since", "c9", "--settle", "250ms", "--max-delay", "2s", "--wait", "--across-mounts", "--allow-remote",
              "-u", "bob", "x")
    a = w.asked
    equal((a.user, a.recursive, a.depth, list(a.include), list(a.exclude), list(a.kinds), a.since, a.settle.nanos,
           a.max_delay.seconds, a.wait, a.across_mounts, a.allow_remote, a.state),
          ("bob", True, 2, ["*.c", "*.h"], [".git/"], [1, 5, 6], "c9", 250000000, 2, True, True, True, False))
    w.process.send_signal(signal.SIGTERM)
    equal(w.end()[0], 143)


def a_timeout_ends_it():
    def test(seconds):
        w = Watch("--timeout", f"{seconds}s", "x")
        equal(w.end()[0], 124)
        return True
    in_time(test)


def json_is_an_object_a_line():
    w = Watch("--state", "--count", "2", "src", options=["--json"])
    equal(w.asked.state, True)
    w.agent.armed(fresh=True)
    w.agent.tell(rescan=pb.WatchRescan(reason=1))
    w.agent.tell(warning=pb.WatchWarning(path=b"x", error=file_pb.FileError(reason="FILE_DENIED", message="no")))
    w.agent.tell(warning=pb.WatchWarning(path=b"x", over=True, error=file_pb.FileError(reason="FILE_DENIED", message="no")))
    w.agent.changes(change(b"\xff", "created"), clock="c2")
    w.agent.changes(change("b", "deleted", exists=False), clock="c3")
    status, out, err = w.end()
    lines = [json.loads(line) for line in out.splitlines()]
    equal(status, 0)
    equal([line["event"] for line in lines], ["armed", "rescan", "warning", "warning-over", "change", "clock", "change", "clock"])
    equal((lines[0]["fresh_instance"], lines[1]["reason"], lines[2]["path"]), (True, "overflow", "src/x"))
    equal((lines[4]["path_base64"], lines[5]["clock"]), ("c3JjL/8=", "c2"))
    equal((lines[6]["exists"], lines[6]["kinds"]), (False, ["deleted"]))
    has(err, "rescan: the kernel's queue of events was full", "src/x: no", "src/x: what was said is over (FILE_DENIED)")


def names_for_programs():
    w = Watch("-0", "--paths", "--count", "2", "src")
    w.agent.armed()
    w.agent.changes(change("a\nb", "created"), change("c", "created"), clock="c2")
    equal(w.end()[:2], (0, "src/a\nb\0src/c\0"))


def a_signal_ends_it():
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        w = Watch("src")
        w.agent.armed("c5")
        until(lambda: "clock c5" in w.said())  # pylint: disable=cell-var-from-loop
        w.process.send_signal(signo)
        status, out, err = w.end()
        equal((status, out), (128 + signo, ""))
        has(err, "--since c5")


def who_reads_no_more_ends_it():
    w = Watch("src")
    w.process.stdout.close()
    w.process.stdout = None
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    equal(w.end()[0], 128 + signal.SIGPIPE)


def who_reads_slowly_keeps_the_agent_waiting():
    w = Watch("--paths", "--count", "1000000", "src", options=["-q"])
    w.agent.armed()
    some = [change(f"{i:04d}" + "x" * 200, "created") for i in range(1000)]
    for i in range(100):
        w.agent.changes(*some, clock=f"c{i}")
    told = settled(lambda: w.agent.told)
    if told > 80:
        raise AssertionError(f"{told} of 100 messages were taken, of 21 MB together")
    lines = 0
    while lines < 100000:
        line = w.process.stdout.readline()
        equal(len(line), 209)
        lines += 1
    w.process.send_signal(signal.SIGINT)
    equal(w.end()[0], 130)


# ---- coming back ----


def a_lost_watch_goes_on():
    w = Watch("--count", "4", "src", options=["--json"])
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    w.agent.changes(change("b", "created"))
    w.agent.fail(grpc.StatusCode.ABORTED, "HELPER_DIED", "what watches has ended")
    again = agent.call()
    asked = again.begin()
    equal((asked.since, asked.wait), ("c2", True))
    again.armed("c2")
    again.changes(change("b", "created"), change("c", "created"), clock="c3")
    status, out, _ = w.end()
    lines = [json.loads(line) for line in out.splitlines()]
    equal(status, 0)
    equal([line["event"] for line in lines],
          ["armed", "change", "clock", "change", "interrupted", "armed", "change", "change", "clock"])


def a_watch_that_does_not_come_back_fails():
    w = Watch("src", options=["--json", "--reconnect", "0"])
    w.agent.armed()
    w.agent.fail(grpc.StatusCode.UNAVAILABLE, "KEEPER_GONE", "the agent goes")
    status, out, err = w.end()
    lines = [json.loads(line) for line in out.splitlines()]
    equal((status, lines[-1]["event"], lines[-1]["reason"]), (125, "error", "KEEPER_GONE"))
    has(err, "the agent goes")


def what_is_refused_is_said_with_a_way_out():
    for code, reason, words in (
            (grpc.StatusCode.NOT_FOUND, "NO_SUCH_FILE", "--wait"),
            (grpc.StatusCode.FAILED_PRECONDITION, "NOT_A_FOLDER", "without -r"),
            (grpc.StatusCode.FAILED_PRECONDITION, "REMOTE_FILESYSTEM", "--allow-remote"),
            (grpc.StatusCode.INVALID_ARGUMENT, "BAD_PATTERN", "so"),
            (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CLOCK", "without --since"),
            (grpc.StatusCode.INVALID_ARGUMENT, "OTHER_CLOCK", "--state"),
            (grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED", "telex policy explain"),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCH_LIMIT", "it is so")):
        w = Watch("/srv/x", options=["-q"])
        w.agent.fail(code, reason, "/srv/x: it is so")
        status, out, err = w.end()
        equal((status, out), (125, ""))
        has(err, "telex: watch", "/srv/x: it is so", words)


def a_clock_that_is_too_old_is_said():
    w = Watch("--since", "c0", "--count", "1", "src")
    w.agent.armed(fresh=True)
    w.agent.changes(change("", "created"), clock="c2")
    status, _, err = w.end()
    equal(status, 0)
    has(err, "clock c1; it cannot go on from the clock that was: all that is there follows\n")


def names_that_lead_out_are_not_believed():
    for path in ("../x", "/x", "a/../b"):
        w = Watch("src")
        w.agent.armed()
        w.agent.changes(change(path, "created"), clock="c2")
        status, out, err = w.end()
        equal((status, out), (125, ""))
        has(err, "broke the protocol")


def nothing_drives_the_terminal():
    w = Watch("--count", "1", "src")
    w.agent.armed("c\x1b[2J\u009b")
    w.agent.tell(warning=pb.WatchWarning(path=b"\x1b[2J", error=file_pb.FileError(reason="R", message="\x07no\n\x1b[2J")))
    w.agent.changes(change("a", "created"), clock="\x1b]0;x\x07")
    status, _, err = w.end()
    equal(status, 0)
    if any(c < " " and c != "\n" or c in "\x7f\u009b" for c in err):
        raise AssertionError(f"raw: {err!r}")


# ---- --exec ----


def one_run_after_the_other():
    log, go = work.name + "/log", work.name + "/go"
    os.mkfifo(go)
    command = f"cat >>{log}; echo =$TELEX_CLOCK=$TELEX_OVERFLOW= >>{log}; read x <{go}; echo out"
    w = Watch("-r", "--exec", command, "--count", "3", "src")
    equal(w.asked.settle.nanos, 100000000)
    w.agent.armed()
    w.agent.changes(change("a", "created"))
    w.agent.changes(change("b", "created"), clock="c2")
    until(lambda: os.path.exists(log) and "=c2=" in read(log))
    equal(read(log), "src/a\nsrc/b\n=c2=0=\n")
    # While it runs: what comes is told to the next, each name once.
    w.agent.changes(change("c", "created"), clock="c3")
    w.agent.tell(rescan=pb.WatchRescan(reason=1))
    w.agent.changes(change("d", "created"), change("c", "modified"), clock="c4")
    w.agent.tell(heartbeat={})
    w.agent.tell(warning=pb.WatchWarning(path=b"x", error=file_pb.FileError(reason="FILE_DENIED", message="all was taken")))
    until(lambda: "all was taken" in w.said())
    let_go(go)
    until(lambda: "=c4=" in read(log))
    equal(read(log), "src/a\nsrc/b\n=c2=0=\nsrc/c\nsrc/d\n=c4=1=\n")
    w.agent.changes(change("e", "created"), clock="c5")
    let_go(go)
    until(lambda: "=c5=" in read(log))
    equal(read(log).splitlines()[-2:], ["src/e", "=c5=0="])
    let_go(go)
    status, out, err = w.end()
    equal((status, out), (0, "out\nout\nout\n"))
    has(err, "--since c5")


def names_as_arguments():
    w = Watch("--exec", "printf '%s\\n' {} -; cat", "--count", "1", "/srv")
    w.agent.armed()
    w.agent.changes(change("$(touch x)", "created"), change("a b", "created"), clock="c2")
    equal(w.end()[:2], (0, "/srv/$(touch x)\n/srv/a b\n-\n"))


def names_with_a_nul():
    w = Watch("-0", "--exec", "tr '\\0' ,", "--count", "1", "/srv")
    w.agent.armed()
    w.agent.changes(change("a", "created"), change("b", "created"), clock="c2")
    equal(w.end()[:2], (0, "/srv/a,/srv/b,"))


def its_status_is_the_last_runs():
    for command, status, words in (("exit 7", 7, "exit 7"), ("kill -9 $$", 137, "SIGKILL"),
                                   ("no-such-command 2>/dev/null", 127, "exit 127")):
        w = Watch("--exec", command, "--count", "2", "/srv")
        w.agent.armed()
        w.agent.changes(change("a", "created"), clock="c2")
        until(lambda: w.agent.told == 2)  # pylint: disable=cell-var-from-loop
        until(lambda: "waiting for the next" in w.said())  # pylint: disable=cell-var-from-loop
        w.agent.changes(change("b", "created"), clock="c3")
        got, _, err = w.end()
        equal(got, status)
        has(err, words)


def more_names_than_a_pipe_holds():
    w = Watch("--exec", "sleep 0.2; wc -l", "--count", "1", "/srv")
    w.agent.armed()
    for i in range(10):
        w.agent.changes(*[change(f"{i}-{k}" + "x" * 50, "created") for k in range(1000)], clock="c2" if i == 9 else "")
    equal(w.end()[:2], (0, "10000\n"))


def what_reads_no_names_is_no_failure():
    w = Watch("--exec", "true", "--count", "1", "/srv")
    w.agent.armed()
    for i in range(10):
        w.agent.changes(*[change(f"{i}-{k}" + "x" * 50, "created") for k in range(1000)], clock="c2" if i == 9 else "")
    equal(w.end()[0], 0)


def what_a_run_does_not_take_is_held_back():
    log, go = work.name + "/held", work.name + "/held-go"
    os.mkfifo(go)
    w = Watch("--exec", f"cat >/dev/null; echo run >>{log}; read x <{go}", "--count", "2", "/srv")
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    until(lambda: os.path.exists(log))
    for i in range(100):
        w.agent.changes(*[change(f"{i}-{k}" + "x" * 200, "created") for k in range(1000)], clock=f"d{i}")
    told = settled(lambda: w.agent.told)
    if told > 80:
        raise AssertionError(f"{told} of 102 messages were taken")
    for n in (1, 2):
        until(lambda: read(log).count("run") == n)  # pylint: disable=cell-var-from-loop
        let_go(go)
    equal(w.end()[0], 0)


def a_signal_ends_both():
    pid = work.name + "/pid"
    for signo in (signal.SIGINT, signal.SIGTERM):
        w = Watch("--exec", f"trap 'echo trapped; exit 3' INT TERM; sleep 1000 >/dev/null 2>&1 & echo $! >{pid}; wait",
                  "/srv", group=True)
        w.agent.armed()
        w.agent.changes(change("a", "created"), clock="c2")
        until(lambda: os.path.exists(pid) and read(pid).endswith("\n"))
        child = int(read(pid))
        os.unlink(pid)
        w.process.send_signal(signo)
        status, out, err = w.end()
        equal((status, out), (128 + signo, "trapped\n"))
        has(err, "telex: to go on from here: --since c1\n")  # what it was given is not done
        # What a shell has put in the background ignores SIGINT, everywhere: it has had SIGTERM by then.
        until(lambda: not os.path.exists(f"/proc/{child}/exe"))  # pylint: disable=cell-var-from-loop


def a_second_signal_kills():
    ready = work.name + "/ready"
    w = Watch("--exec", f"trap '' INT TERM; echo trapped; : >{ready}; while :; do sleep 0.1; done", "/srv", group=True)
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    until(lambda: os.path.exists(ready))
    w.process.send_signal(signal.SIGINT)
    until(lambda: w.agent.requests.get(timeout=DEADLINE) is None)  # it is left, and waits
    w.process.send_signal(signal.SIGINT)
    status, _, err = w.end()
    equal(status, 130)
    has(err, "--since c1\n")


def a_stop_key_that_nobody_could_undo_does_not_stop_it():
    # Whose parent is in another session is in an orphaned process group.
    ready, go = work.name + "/stop-ready", work.name + "/stop-go"
    os.mkfifo(go)
    w = Watch("--exec", f": >{ready}; read x <{go}", "--count", "1", "/srv", group=True)
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    until(lambda: os.path.exists(ready))
    w.process.send_signal(signal.SIGTSTP)
    let_go(go)
    status, _, err = w.end()
    equal(status, 0)
    has(err, "--since c2\n")


def a_timeout_ends_both():
    runs = work.name + "/runs"

    def test(seconds):
        w = Watch("--exec", f": >{runs}; exec sleep 1000", "--timeout", f"{seconds}s", "/srv", group=True)
        w.agent.armed()
        w.agent.changes(change("a", "created"), clock="c2")
        status, _, err = w.end()
        equal(status, 124)
        if not os.path.exists(runs):
            return False
        has(err, "SIGTERM", "--since c1\n")
        return True
    in_time(test)


def a_failure_lets_it_finish():
    go = work.name + "/finish"
    os.mkfifo(go)
    w = Watch("--exec", f"read x <{go}; echo done", "/srv", options=["--reconnect", "0"])
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    w.agent.fail(grpc.StatusCode.UNAVAILABLE, "KEEPER_GONE", "the agent goes")
    until(lambda: "the agent goes" in w.said())
    let_go(go)
    status, out, _ = w.end()
    equal((status, out), (125, "done\n"))


def what_was_not_done_is_not_passed_over():
    # This agent starts no processes.
    w = Watch("--exec-remote", "true", "--count", "2", "/srv")
    w.agent.armed()
    w.agent.changes(change("a", "created"), clock="c2")
    until(lambda: w.said().count("--exec-remote") == 1)
    w.agent.changes(change("b", "created"), clock="c3")
    status, _, err = w.end()
    equal(status, 125)
    has(err, "telex: to go on from here: --since c1\n")
    # Nor moves files.
    w = Watch("--sync", work.name + "/mirror/", "/srv")
    w.agent.armed()
    status, _, err = w.end()
    equal(status, 125)
    has(err, "telex: to go on from here: --since c1\n")


def a_mirror_looks_again_for_what_was_gone():
    w = Watch("--sync", work.name + "/gone/", "/gone")
    w.agent.armed()
    # Nothing is told: the second pass is made all the same.
    for _ in range(2):
        files.passes.get(timeout=DEADLINE)
    w.process.send_signal(signal.SIGTERM)
    status, _, err = w.end()
    equal(status, 143)
    has(err, "/gone is gone", "--since c1\n")


TESTS = [changes_are_lines, quiet_says_nothing, what_is_asked_for_is_asked, a_timeout_ends_it, json_is_an_object_a_line,
         names_for_programs, a_signal_ends_it, who_reads_no_more_ends_it, who_reads_slowly_keeps_the_agent_waiting, a_lost_watch_goes_on,
         a_watch_that_does_not_come_back_fails, what_is_refused_is_said_with_a_way_out, a_clock_that_is_too_old_is_said,
         names_that_lead_out_are_not_believed,
         nothing_drives_the_terminal, one_run_after_the_other, names_as_arguments, names_with_a_nul, its_status_is_the_last_runs,
         more_names_than_a_pipe_holds, what_reads_no_names_is_no_failure, what_a_run_does_not_take_is_held_back,
         a_signal_ends_both, a_second_signal_kills, a_stop_key_that_nobody_could_undo_does_not_stop_it, a_timeout_ends_both,
         a_failure_lets_it_finish, what_was_not_done_is_not_passed_over, a_mirror_looks_again_for_what_was_gone]


def leave_nothing():
    """What a test that failed has left is not the next one's."""
    for process in Watch.running:
        if process.poll() is None:
            process.kill()
            process.wait()
    begin_anew()


def main():
    failed = 0
    begin_anew()
    chosen = [t for t in TESTS if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]]
    print(f"1..{len(chosen)}", flush=True)
    for number, test in enumerate(chosen, 1):
        try:
            test()
            outcome, why = "ok", None
        except Exception as e:  # pylint: disable=broad-except
            outcome, why, failed = "not ok", f"{type(e).__name__}: {e}", failed + 1
            leave_nothing()
        print(f"{outcome} {number} - {test.__name__.replace('_', ' ')}", flush=True)
        if why:
            print("# " + why.replace("\n", "\n# "), flush=True)
    server.stop(None)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
