#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes connections on, and cuts each after so many bytes.

Usage: cutting_proxy.py PORT TO-PORT FILE      (127.0.0.1)
FILE has the number of bytes, both directions together, that the next connection may pass; none, or an empty one: all.
Says "ready" once it listens.
"""
import socket
import sys
import threading


def allowed(path):
    try:
        with open(path, encoding="ascii") as f:
            return int(f.read())
    except (OSError, ValueError):
        return None


class Passing:
    """One connection: each direction has a thread, and both share what is left."""

    def __init__(self, ends, left):
        self.ends = ends
        self.left = left
        self.lock = threading.Lock()

    def share(self, n):
        """How many of n bytes may pass."""
        with self.lock:
            if self.left is None:
                return n
            n = min(n, self.left)
            self.left -= n
            return n

    def run(self, source, sink):
        try:
            while True:
                data = source.recv(1 << 16)
                n = self.share(len(data))
                sink.sendall(data[:n])
                if not data or n < len(data) or self.left == 0:
                    break
        except OSError:
            pass
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def main():
    port, to, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    listening = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        client, _ = listening.accept()
        passing = Passing((client, socket.create_connection(("127.0.0.1", to))), allowed(path))
        for pair in (passing.ends, passing.ends[::-1]):
            threading.Thread(target=passing.run, args=pair, daemon=True).start()


if __name__ == "__main__":
    main()
