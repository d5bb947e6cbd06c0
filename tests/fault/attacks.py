#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""R9 of the targets: attacks on HTTP/2 by a client whose certificate is good, beside one that is honest.

Usage: attacks.py [--short] [--shared] [--tap] [ATTACK]...      (none: all)
Each goes on for 60 seconds (--short: 2), in turns of 5 with as many without it: what else the machine does is the same for
both. The table tells how many connections the attacker used up and what it sent, how much memory the agent's processes took
beyond what they had, and how long the honest client's calls took, with and without. Fails when the agent grows by more than
32 MiB, a call of the honest client fails, or a worker dies; the p99 is told, and held against twice its own only in the long
form. The attacker has the same processors, at the lowest priority; the agent and the honest client are put above all others
(SCHED_FIFO) where that is allowed and --shared is not given: what is measured is what an attack makes the agent do, and not
that its author's program takes processors that elsewhere it would not have.
Environment: top_builddir.
"""
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import DEADLINE, Agent, quantile  # noqa: E402
os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402
import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.events  # noqa: E402
import hpack  # noqa: E402

SHORT = "--short" in sys.argv
TURNS, TURN, ALONE = (1, 2, 1) if SHORT else (12, 5, 5)  # seconds
GROWTH = 32 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
WINDOW_UPDATE, PRIORITY = 8, 2
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(path="/grpc.health.v1.Health/Check"):
    return hpack.Encoder().encode([(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost"),
                                   ("content-type", "application/grpc"), ("te", "trailers")], huffman=False)


class Attacker:
    """Connections of one attack: whoever is thrown out comes back."""

    def __init__(self, agent, script):
        self.script = script
        self.context = ssl.create_default_context(cafile=agent.dev + "/ca.pem")
        self.context.load_cert_chain(agent.dev + "/user.pem", agent.dev + "/user.key")
        self.context.set_alpn_protocols(["h2"])
        self.port = agent.port
        self.connections = self.sent = 0
        self.begun = False
        self.held = []
        self.end = float("inf")

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.held = self.held[-300:] + [s]
        s = self.context.wrap_socket(s, server_hostname="localhost")
        self.held[-1] = s
        s.sendall(PREFACE + frame(SETTINGS, 0, 0))
        s.setblocking(True)
        s.settimeout(0.5)
        return s

    def begins(self):
        """Says so, once: until then nobody is attacked."""
        if not self.begun:
            self.begun = True
            print("begun", flush=True)

    def run(self):
        while time.monotonic() < self.end:
            self.connections += 1
            try:
                self.script(self)
            except OSError:
                pass
            self.begins()
        for s in self.held:
            s.close()

    def flood(self, first, batch):
        """batch(stream) -> bytes, again and again on one connection."""
        s = self.connect()
        s.sendall(first)
        stream = 1
        while time.monotonic() < self.end:
            data, stream = batch(stream)
            s.sendall(data)
            self.sent += len(data)
            self.begins()
            drain(s)


def drain(s):
    """Reads what is there, so that the other side's answers are not what holds it up."""
    s.settimeout(0.0)
    try:
        while s.recv(1 << 16):
            pass
        raise ConnectionResetError
    except (ssl.SSLWantReadError, BlockingIOError, socket.timeout):
        pass
    finally:
        s.settimeout(0.5)


# ---- the attacks ----

def rapid_reset(a):
    head = request()

    def batch(stream):
        out = b""
        for _ in range(100):
            out += frame(HEADERS, END_HEADERS, stream, head) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
            stream += 2
        return out, stream
    a.flood(b"", batch)


def made_resets(a):
    """A window update of nothing: the server must reset the stream by itself."""
    head = request()

    def batch(stream):
        out = b""
        for _ in range(100):
            out += frame(HEADERS, END_HEADERS, stream, head) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0))
            stream += 2
        return out, stream
    a.flood(b"", batch)


def continuation_flood(a):
    a.flood(frame(HEADERS, 0, 1, request()),
            lambda stream: (frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100) * 10, stream))


def settings_flood(a):
    a.flood(b"", lambda stream: (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 200, stream))


def ping_flood(a):
    a.flood(b"", lambda stream: (frame(PING, 0, 0, b"12345678") * 200, stream))


def priority_flood(a):
    a.flood(b"", lambda stream: (frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)) * 200, stream))


def empty_frames(a):
    a.flood(frame(HEADERS, END_HEADERS, 1, request()), lambda stream: (frame(DATA, 0, 1) * 200, stream))


def header_bomb(a):
    """One long field in the dynamic table, and then its index, thousands of times."""
    long_field = b"\x40" + b"\x01x" + b"\x7f" + hpack.hpack.encode_integer(4000 - 127 + 127, 7)[1:] + b"y" * 4000

    def batch(stream):
        block = request() + long_field + b"\xbe" * 16000
        out = frame(HEADERS, 0, stream, block[:16000])
        for at in range(16000, len(block), 16000):
            out += frame(CONTINUATION, END_HEADERS if at + 16000 >= len(block) else 0, stream, block[at:at + 16000])
        return out, stream + 2
    a.flood(b"", batch)


def slow_read(a):
    """Asks for much and takes none of it: 200 streams on each of up to 300 connections."""
    s = a.connect()
    s.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    head = request("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    message = b"\x22\x18telex/v1/process.proto"
    message = b"\x1a" + message[1:]
    body = struct.pack(">BI", 0, len(message)) + message
    out = b"".join(frame(HEADERS, END_HEADERS, i, head) + frame(DATA, END_STREAM, i, body) for i in range(1, 401, 2))
    s.sendall(out)
    a.sent += len(out)
    if len(a.held) >= 300:
        time.sleep(0.05)


def silent_connections(a):
    """TCP, and then not a word."""
    s = socket.create_connection(("127.0.0.1", a.port), timeout=5)
    a.held = a.held[-300:] + [s]
    if len(a.held) >= 300:
        time.sleep(0.02)


ATTACKS = [rapid_reset, made_resets, continuation_flood, settings_flood, ping_flood, priority_flood, empty_frames, header_bomb,
           slow_read, silent_connections]


# ---- the honest client, and the agent ----

class Honest:
    def __init__(self, agent):
        read = lambda name: open(os.path.join(agent.dev, name), "rb").read()  # noqa: E731
        credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("user.key"), read("user.pem"))
        self.channel = grpc.secure_channel(f"127.0.0.1:{agent.port}", credentials)
        self.call = self.channel.unary_unary("/grpc.health.v1.Health/Check", lambda m: m, lambda m: m)
        self.failed = []

    def measure(self, seconds):
        took = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                self.call(b"", timeout=DEADLINE)
                took.append((time.monotonic() - begin) * 1000)
            except grpc.RpcError as e:
                self.failed.append(f"{e.code()}: {e.details()}")
            time.sleep(0.005)
        return took


def resident(agent):
    pages = 0
    for pid in [agent.pid] + agent.workers():
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as f:
                pages += int(f.read().split()[1])
        except OSError:
            pass
    return pages * os.sysconf("SC_PAGESIZE")


def sanitized(agent):
    with open(f"/proc/{agent.pid}/maps", encoding="utf-8") as f:
        return "asan" in f.read()


def h2_says_why(agent):
    """A well-behaved HTTP/2 stack (python3-h2) is told by GOAWAY what it did: a flood of PINGs."""
    context = ssl.create_default_context(cafile=agent.dev + "/ca.pem")
    context.load_cert_chain(agent.dev + "/user.pem", agent.dev + "/user.key")
    context.set_alpn_protocols(["h2"])
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", agent.port), timeout=DEADLINE),
                            server_hostname="localhost")
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    c.initiate_connection()
    sent = answered = 0
    try:
        # No more than it takes: what is sent to a closed socket throws away what it still had to say. And at once, as these are
        # no flood when they come slowly; again, where this machine was too slow for that.
        while True:
            for _ in range(1100 if answered == sent else 0):
                c.ping(b"12345678")
                sent += 1
            s.sendall(c.data_to_send())
            data = s.recv(1 << 16)
            if not data:
                return "no GOAWAY"
            for event in c.receive_data(data):
                answered += isinstance(event, h2.events.PingAckReceived)
                if isinstance(event, h2.events.ConnectionTerminated):
                    return f"{int(event.error_code)} {(event.additional_data or b'').decode()}"
    except OSError as e:
        return str(e)
    finally:
        s.close()


def put_above(agent):
    """The agent and us, above what else there is. False: it is not allowed, or not wanted."""
    if SHORT or "--shared" in sys.argv:
        return False
    try:
        for pid in [agent.pid] + agent.workers():
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


class Attack:
    """An attacker's process, which attacks only while it is let."""

    def __init__(self, name, agent):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--be", name, agent.dev, str(agent.port)],
                                        stdout=subprocess.PIPE, bufsize=0)
        self.begun = False
        os.waitpid(self.process.pid, os.WUNTRACED)  # it is ready, and has stopped

    def go_on(self, on):
        self.process.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
        if on and not self.begun:
            self.begun = self.process.stdout.readline() == b"begun\n"

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        told = self.process.communicate(timeout=DEADLINE)[0].split()
        return (int(told[0]), int(told[1])) if len(told) == 2 else (0, 0)


def one(attack):
    """[wrong, row]"""
    agent = Agent()
    attacker = None
    try:
        above = put_above(agent)
        honest = Honest(agent)
        attacker = Attack(attack.__name__, agent)
        honest.measure(0.5)
        workers, before = agent.workers(), resident(agent)
        highest, took, alone = before, [], []
        for _ in range(TURNS):
            alone += honest.measure(ALONE)
            attacker.go_on(True)
            watcher = threading.Thread(target=lambda: took.extend(honest.measure(TURN)))
            watcher.start()
            while watcher.is_alive():
                highest = max(highest, resident(agent))
                time.sleep(0.1)
            watcher.join()
            attacker.go_on(False)
            honest.measure(0.2)  # what was on its way
        connections, sent = attacker.stop()
        attacker = None
        growth = highest - before
        p99, own = quantile(took, 0.99), quantile(alone, 0.99)
        wrong = [f"the honest client: {f}" for f in honest.failed[:3]]
        if set(workers) - set(agent.workers()):  # one that was late to start is welcome
            wrong.append("a worker died")
        # A sanitizer's own memory is no concern of ours.
        if growth > GROWTH and not sanitized(agent):
            wrong.append(f"grew by {growth >> 20} MiB")
        if connections == 0:
            wrong.append("the attacker did not come to attack")
        if not SHORT and p99 > 2 * own:
            wrong.append(f"p99 is {p99 / own:.1f} times its own")
        row = (f"{attack.__name__:20} {connections:7} connections {sent >> 20:6} MiB sent   grew {growth / (1 << 20):5.1f} MiB   "
               f"honest p50 {quantile(took, 0.5):.1f} ms p99 {p99:.1f} ms ({p99 / own if own else 0:.1f}x)")
        return wrong, row + ("" if above else "   (shared processors)")
    finally:
        if attacker is not None:
            attacker.process.kill()
        agent.stop()


def be(name, dev, port):
    class Place:
        pass
    Place.dev, Place.port = dev, int(port)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(19)
    a = Attacker(Place, globals()[name])

    def stop(*_):
        a.end = 0.0
    signal.signal(signal.SIGTERM, stop)
    os.kill(os.getpid(), signal.SIGSTOP)
    a.run()
    print(a.connections, a.sent)


def main():
    if "--be" in sys.argv:
        return be(*sys.argv[sys.argv.index("--be") + 1:])
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    attacks = [a for a in ATTACKS if not wanted or a.__name__ in wanted]
    failed = 0
    for n, attack in enumerate(attacks, 1):
        wrong, row = one(attack)
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {n} - {row}" if "--tap" in sys.argv else row, flush=True)
        for line in wrong:
            print(f"{'# ' if '--tap' in sys.argv else '    MISSED: '}{line}", flush=True)
    agent = Agent()
    try:
        said = h2_says_why(agent)
    finally:
        agent.stop()
    # 11: ENHANCE_YOUR_CALM
    good = said.startswith("11 ") and len(said) > 4
    failed += not good
    n = len(attacks) + 1
    print(f"{'ok' if good else 'not ok'} {n} - GOAWAY says why: {said}" if "--tap" in sys.argv else f"GOAWAY says why: {said}")
    if "--tap" in sys.argv:
        print(f"1..{n}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
