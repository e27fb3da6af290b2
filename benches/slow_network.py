#!/usr/bin/env python3
"""Stops servers while clients connect over a network with a long round trip, and counts whom that costs.

Two network namespaces are joined by a pair of TUN devices, between which this process holds every packet back. In
one of them a server runs, in the other sixty clients connect for every request and never retry. The server is told to
stop; a client that was connected and has no whole answer is lost. It needs root, and a lab that was built before:

    cargo build --release --package hatchery-examples --example lab
    sudo python3 benches/slow_network.py target/release/examples/lab
"""

import argparse
import collections
import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

SERVER, CLIENTS = f"hatchery-s{os.getpid()}", f"hatchery-c{os.getpid()}"
ADDRESS, PORT = "10.99.0.1", 8099
MANY = 60
TUNSETIFF, IFF_TUN_WITHOUT_HEADER, CLONE_NEWNET = 0x400454CA, 0x1001, 0x40000000
NGINX = """
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; server {{ listen {address}:{port}; location / {{ return 200 "Hello, World!"; }} }} }}
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def enter(namespace):
    if hasattr(os, "setns"):
        return os.setns(namespace, os.CLONE_NEWNET)
    # Before Python 3.12.
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_WITHOUT_HEADER))
    return device


def join():
    """Makes both namespaces, and returns the ends of the cable."""
    ends = []
    for number, namespace in ((1, SERVER), (2, CLIENTS)):
        name = f"slow{number}-{os.getpid()}"
        ends.append(tun(name))
        ip("netns", "add", namespace)
        ip("link", "set", name, "netns", namespace)
        ip("-n", namespace, "addr", "add", f"10.99.0.{number}/24", "dev", name)
        ip("-n", namespace, "link", "set", name, "up")
    return ends


def carry(ends, delay):
    """Carries packets from each end to the other one, each of them late."""
    late, count = [], 0
    while True:
        pause = max(0, late[0][0] - time.monotonic()) if late else None
        for source in select.select(ends, [], [], pause)[0]:
            count += 1
            target = ends[1] if source == ends[0] else ends[0]
            heapq.heappush(late, (time.monotonic() + delay, count, target, os.read(source, 2048)))
        while late and late[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(late)
            os.write(target, packet)


def request(seen):
    """One request on a connection of its own; returns whether it was let in."""
    with socket.socket() as client:
        # The kernel asks again after a second.
        client.settimeout(0.9)
        try:
            client.connect((ADDRESS, PORT))
        except OSError:
            return False
        client.settimeout(30)
        answer = b""
        try:
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            while part := client.recv(4096):
                answer += part
        except OSError as error:
            answer = os.strerror(error.errno or 0).encode()
        seen["answered" if answer.endswith(b"Hello, World!") else "lost"] += 1
    return True


def client(seen, begin):
    time.sleep(begin)
    while request(seen):
        pass


def round_of(command, pid_file, stop):
    server = subprocess.Popen(["ip", "netns", "exec", SERVER, *command], stderr=subprocess.DEVNULL)
    while not (os.path.exists(pid_file) and open(pid_file).read().strip()):
        time.sleep(0.02)
    seen = collections.Counter(answered=0, lost=0)
    clients = [threading.Thread(target=client, args=(seen, random.random() * 0.3)) for _ in range(MANY)]
    for one in clients:
        one.start()
    time.sleep(1)
    begun = time.monotonic()
    os.kill(int(open(pid_file).read()), stop)
    server.wait(timeout=60)
    took = time.monotonic() - begun
    for one in clients:
        one.join()
    return seen, took


def compare(lab, rounds, folder):
    serve = [lab, "--bind", f"{ADDRESS}:{PORT}", "--workers", "2", "--pid-file", f"{folder}/pid", "--listen-mode"]
    servers = [("lab, shared", serve + ["shared"], signal.SIGTERM), ("lab, reuseport", serve + ["reuseport"], signal.SIGTERM)]
    if shutil.which("nginx"):
        with open(f"{folder}/nginx.conf", "w") as conf:
            conf.write(NGINX.format(folder=folder, address=ADDRESS, port=PORT))
        servers.append(("nginx", ["nginx", "-c", f"{folder}/nginx.conf"], signal.SIGQUIT))
    for name, command, stop in servers:
        stops = [round_of(command, f"{folder}/pid", stop) for _ in range(rounds)]
        answered, lost = (sum(seen[what] for seen, _ in stops) for what in ("answered", "lost"))
        took = sorted(1000 * took for _, took in stops)
        print(f"{name:15} stops: {rounds}  answered: {answered}  lost: {lost}  took: {took[0]:.0f} to {took[-1]:.0f} ms", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("lab", help="the path of the example")
    arguments.add_argument("--rounds", type=int, default=10, help="how often each server is stopped")
    arguments.add_argument("--delay", type=float, default=0.04, help="seconds, each way")
    given = arguments.parse_args()
    carrier = os.fork()
    if carrier == 0:
        try:
            carry(join(), given.delay)
        except KeyboardInterrupt:
            os._exit(0)
    try:
        deadline = time.monotonic() + 10
        ready = ["ip", "-n", CLIENTS, "route", "get", ADDRESS]
        while subprocess.run(ready, capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise SystemExit("no network: it needs root, iproute2 and /dev/net/tun")
            time.sleep(0.05)
        # The clients are threads of this process, which belongs to their network from here on.
        with open(f"/run/netns/{CLIENTS}") as namespace, tempfile.TemporaryDirectory() as folder:
            enter(namespace.fileno())
            compare(given.lab, given.rounds, folder)
    finally:
        os.kill(carrier, signal.SIGINT)
        os.waitpid(carrier, 0)
        for namespace in (SERVER, CLIENTS):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
