#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An agent whose answers do not end, or not where they should: what telex holds of them stays small. Prints TAP.

Usage: endless.py [--full]     --full: a list of millions, and ten times as much of the rest
Environment: as of hostile.py, whose ways these are.
"""
import os
import signal
import subprocess
import sys
import threading

import grpc
import hostile
from hostile import FILE, FOLDER, TELEX, pb

TIMES = 10 if "--full" in sys.argv else 1
ENTRIES = 300000 * TIMES  # of a list


def sanitized():
    with open(TELEX, "rb") as f:
        return b"__asan_init" in f.read()


# A sanitizer puts its own around each thing in memory, and some of these are small.
ROOM = (48 << 20) * (4 if sanitized() else 1)  # bytes of memory, more than for a short answer
B = b"x" * (256 << 10)


def info(path, kind, **more):
    return pb.FileInfo(path=path, type=kind, mode=0o755, user="user", group="group", size=12345, **more)


def listed(*entries):
    return pb.FileServiceListResponse(entries=entries).SerializeToString()


def many(kind, length=0, **more):
    """Messages of a list of ENTRIES, or of long names as many as make 80 MiB."""
    n = 1000 if not length else max(1, (900 << 10) // length)
    name = b"n" * length
    one = listed(*(pb.ListEntry(file=info(name + b"%06d" % i, kind), **more) for i in range(n)))
    for _ in range((ENTRIES if not length else (TIMES * 80 << 20) // length) // n):
        yield one


def chunks(n, begin_size):
    yield pb.ReadResponse(begin=pb.ReadBegin(file=info(b"f", FILE))).SerializeToString() if begin_size else b""
    for i in range(n):
        yield pb.ReadResponse(chunk=pb.FileChunk(offset=i * len(B), data=B)).SerializeToString()


def nothing(n):
    for _ in range(n):
        yield pb.ReadResponse(heartbeat=hostile.importlib.import_module("telex.v1.process_pb2").Heartbeat()).SerializeToString()


REFUSED = [pb.FileError(code=7, reason="FILE_DENIED", message="no" * 100)]
# Name, words, what is answered to List or Read, whether it must fail, room.
ANSWERS = [
    ("a list without an end", ["fs", "ls", "x"], lambda: many(FILE), False, ROOM),
    ("the same, with all that is known", ["fs", "ls", "-l", "x"], lambda: many(FILE), False, ROOM),
    ("the same, as JSON", ["--json", "fs", "ls", "-R", "x"], lambda: many(FILE), False, ROOM),
    ("folders without an end that are to be listed", ["fs", "ls", "-R", "x"], lambda: many(FOLDER), True, 3 * ROOM),
    ("folders of long names that are to be listed", ["fs", "ls", "-R", "x"], lambda: many(FOLDER, 4000), True, 3 * ROOM),
    ("names of 400 KiB", ["fs", "ls", "-l", "x"], lambda: many(FILE, 400 << 10), False, ROOM),
    ("failures without an end", ["-q", "fs", "ls", "x"], lambda: many(FILE, error=REFUSED[0]), True, ROOM),
    ("far more of a file than its size", ["fs", "cat", "x"], lambda: chunks(800 * TIMES, True), True, ROOM),
    ("the same to standard output", ["get", "x", "-"], lambda: chunks(400 * TIMES, False), True, ROOM),
    ("messages that say nothing", ["fs", "cat", "x"], lambda: nothing(5000 * TIMES), True, ROOM),
]
answer = None
asked = 0


class Endless(grpc.GenericRpcHandler):
    def service(self, details):
        method = details.method.rsplit("/", 1)[-1]
        if method == "Stat":
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: pb.StatResponse(file=info(b"x", FOLDER)).SerializeToString())
        return grpc.unary_stream_rpc_method_handler(self.run)

    @staticmethod
    def run(_request, context):
        global asked
        asked += 1
        if asked == 1:
            looked.wait(hostile.DEADLINE)
            yield from answer()
        else:
            # It asks for what was listed: enough was seen.
            os.kill(client.pid, signal.SIGINT)
            context.abort(grpc.StatusCode.CANCELLED, "")


client = None
over, looked = threading.Event(), threading.Event()


def watch(process, most):
    """The most of memory that it has had, until it ends."""
    while process.returncode is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        most.append(int(line.split()[1]) << 10)
        except OSError:
            return
        if asked:
            looked.set()  # not only at how it began
        over.wait(0.01)


def run(port, words):
    global client, asked
    asked = 0
    most = [0]
    over.clear()
    looked.clear()
    client = subprocess.Popen([TELEX, "-w", f"127.0.0.1:{port}", *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watcher = threading.Thread(target=watch, args=(client, most))
    watcher.start()
    said = b""
    while len(piece := os.read(client.stderr.fileno(), 1 << 20)) > 0:
        said = (said + piece)[:2000]
    client.wait(hostile.DEADLINE)
    over.set()
    watcher.join()
    client.stderr.close()
    return client.returncode, max(most), said


def main():
    global answer
    server, port = hostile.serve(Endless())
    answer = lambda: [listed(pb.ListEntry(file=info(b"one", FILE)))]  # noqa: E731
    _, least, _ = run(port, ["fs", "ls", "-l", "x"])
    print(f"1..{len(ANSWERS)}", flush=True)
    failed = 0
    for n, (name, words, answer, fails, room) in enumerate(ANSWERS, 1):
        status, most, said = run(port, words)
        wrong = most > least + room or (status != 0) != fails or status in (-6, -9, -11)
        failed += wrong
        print(f"{'not ok' if wrong else 'ok'} {n} - {name}: {(most - least) >> 20} MiB more", flush=True)
        if wrong:
            print(f"# status {status}, {most >> 20} MiB: {said.decode(errors='replace')!r}", flush=True)
    server.stop(None)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
