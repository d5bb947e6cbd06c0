#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates that end while streams run (fault.py has the streams and what they are compared by).

Usage: certificates.py [--short] [--tap] [REVOKE] [RENEW]     (none: both)
  REVOKE  a certificate is revoked while it has 1,000 connections open, each with a call
  RENEW   the agent's certificate is valid for 60 s and renewed from its own authority, for 10 minutes
Environment: as fault.py's; TELEX_FAULT_SCALE scales both numbers.
"""
import os
import random
import resource
import selectors
import shutil
import socket
import ssl
import subprocess
import sys
import time

import fault
from fault import Failed, Load, breathe, count, quantile, telex, until


def change(agent, lines):
    """Adds to the configuration, and waits until it is in force."""
    before = agent.log().count(": reloaded: ")
    with open(agent.dev + "/telexd.conf", "a", encoding="utf-8") as f:
        f.write(lines)
    os.kill(agent.pid, fault.signal.SIGHUP)
    until("the reload", lambda: agent.log().count(": reloaded: ") > before)


# ---- REVOKE ----


def field(name, value):
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# A call that stays: the health service's Watch.
HEADERS = b"\x83\x87" + field(":path", "/grpc.health.v1.Health/Watch") + field(":authority", "localhost") + \
    field("content-type", "application/grpc") + field("te", "trailers")
WATCH = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, bytes(5))


def user(agent, name):
    telex("-q", "cert", "issue", "user", name, "--dir", agent.dev, "--out", f"{agent.folder}/{name}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(agent.dev + "/ca.pem")
    context.load_cert_chain(f"{agent.folder}/{name}/{name}.pem", f"{agent.folder}/{name}/{name}.key")
    context.set_alpn_protocols(["h2"])
    return context


def connect(agent, context):
    """A connection whose call was answered."""
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", agent.port), fault.DEADLINE),
                            server_hostname="localhost")
    s.sendall(WATCH)
    got = b""
    while b"application/grpc" not in got and b"\x00\x00\x00\x00\x02\x08\x01" not in got:
        more = s.recv(65536)
        if not more:
            raise Failed("a connection was not served")
        got += more
    s.setblocking(False)
    return s


def is_open(s):
    try:
        while True:
            if not s.recv(65536):
                return False
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False


def when_cut(sockets, deadline):
    """The time at which each was closed; those that were not are left out."""
    ready = selectors.DefaultSelector()
    times = []
    for s in sockets:
        ready.register(s, selectors.EVENT_READ)
    while len(times) < len(sockets) and time.monotonic() < deadline:
        for key, _ in ready.select(0.1):
            if not is_open(key.fileobj):
                times.append(time.monotonic())
                ready.unregister(key.fileobj)
    return times


def revoke(agent):
    n = count(1000, 50)
    others = max(5, n // 10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * n + 1000)), hard))
    with open(agent.dev + "/policy.conf", "a", encoding="utf-8") as f:
        f.write('grant all { identities = {"spiffe://telex.internal/user/*"} roles = {"operator"} }\n')
    change(agent, "\n")
    bad, good = user(agent, "mallory"), user(agent, "bob")
    cut, kept = [], []
    for i in range(n):
        cut.append(connect(agent, bad))
        if i < others:
            kept.append(connect(agent, good))
    begin = time.monotonic()
    command = subprocess.Popen([fault.TELEX, "cert", "revoke", "spiffe://telex.internal/user/mallory", "--dir", agent.dev,
                                "--push", "-w", f"127.0.0.1:{agent.port}"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    times = when_cut(cut, begin + fault.DEADLINE)
    said = command.communicate(timeout=fault.DEADLINE)[0].decode()
    wrong = []
    if command.returncode != 0:
        wrong.append(f"cert revoke: status {command.returncode}: {said}")
    if len(times) != n:
        wrong.append(f"{n - len(times)} of {n} were not cut")
    lost = sum(not is_open(s) for s in kept)
    if lost:
        wrong.append(f"{lost} of {others} others were cut")
    try:
        connect(agent, bad)
        wrong.append("it got in again")
    except (Failed, OSError):
        pass
    for s in cut + kept:
        s.close()
    last = (max(times, default=begin) - begin) * 1e3
    if "--short" not in sys.argv and last > 1000:
        wrong.append(f"the last was cut after {last:.0f} ms")
    return wrong, (f"{len(times)} of {n} connections were cut, the last {last:.0f} ms after the command began "
                   f"(which makes the list, too); {others - lost} of {others} others stayed")


# ---- RENEW ----

RENEWED = "certificate is renewed from"


def free_port():
    """None that the kernel gives to whoever asks for any: these may be somebody's before it is used."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        low = int(f.read().split()[0])
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(10000, low) if low > 12000 else 0))
            except OSError:
                continue
            return s.getsockname()[1]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except OSError:
        return False


def renew(agent):
    seconds, port = count(600, 75), free_port()
    telex("-q", "cert", "issue", "agent", "dev", "--san", "localhost", "--san", "127.0.0.1", "--ttl", "60s", "--dir",
          agent.dev, "--out", agent.folder + "/first")
    for kind in ("key", "pem"):
        shutil.copy(f"{agent.folder}/first/dev.{kind}", f"{agent.dev}/agent.{kind}")
    change(agent, f'authority {{ directory = "{agent.dev}" listen = {{"127.0.0.1:{port}"}} }}\n'
                  f'renew_from = "127.0.0.1:{port}"\nrevocations_interval = 5s\n')
    try:
        until("the authority's listener", lambda: listens(port), 60)
    except Failed:
        return None, "this agent has no authority's listener"
    load, runs, failed, wrong = Load(), 0, 0, []
    begun, wanted = time.monotonic(), seconds // 50

    def goes_on():
        """For so long, and where this machine is slow, until there was what is wanted, or will be nothing any more."""
        took = time.monotonic() - begun
        return took < seconds or took < 2 * seconds and agent.log().count(RENEWED) < wanted

    try:
        while goes_on():
            breathe(0.5)
            runs += 1
            failed += telex("run", "-n", "--", "true", check=False).returncode != 0
        wrong = load.finish()
    finally:
        load.close()
    log = agent.log()
    renewals = log.count(RENEWED)
    if renewals < wanted or log.count(": reloaded: ") < wanted:
        wrong.append(f"{renewals} renewals, {log.count(': reloaded: ')} reloads in {seconds} s")
    if failed:
        wrong.append(f"{failed} of {runs} runs failed")
    if "could not be renewed" in log:
        wrong.append("a renewal failed: " + next(line for line in log.splitlines() if "could not be renewed" in line))
    late = [ms / 1e6 for _, ms in load.late]
    return wrong, (f"{renewals} renewals in {seconds} s: {load.bytes >> 20} MiB compared, {failed} of {runs} runs failed; "
                   f"a tick's way p50 {quantile(late, 0.5):.1f} ms, longest {max(late, default=0):.0f} ms")


if __name__ == "__main__":
    fault.SCENARIOS = {"REVOKE": revoke, "RENEW": renew}
    sys.exit(fault.main())
