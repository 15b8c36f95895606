#!/usr/bin/env python3
"""What the shared tier costs: time of a request, Redis' core, a purge while serving, and its races.

    tests/bench/tier.py --satchel build/release/bin/satchel [--tools DIR] [--purge-bench FILE]

Starts a private redis-server and Satchel on free ports of the loopback; Redis, the origin and the
client on core 1, Satchel with one worker on core 0. Prints tables. See "Shared tier" in README.md.
"""
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bench_measure import (SERVER_CORE, cpu_seconds, free_port, origin_server, parser_of, pin,  # noqa: E402
                           stop, tree, wait_for_port)
from limits import Redis, load  # noqa: E402

CONFIG = """version: 1
workers: 1
listeners: [{{name: web, address: "127.0.0.1:{port}"}}]
upstreams: {{app: {{servers: ["127.0.0.1:{origin}"]}}}}
stores:
  l1: {{size: 1GiB{l1}}}
{l2}
rules: [{{name: all, match: {{}}, upstream: app, cache: {{ttl: 1d, tags: [everything]}}}}]
purge: {{refresh_rate: 100}}
admin: {{address: "127.0.0.1:{admin}"}}
log: {{access: "off"}}
"""


class Satchel:
    """One instance with one worker. `remember` false: nothing fits its own memory."""

    def __init__(self, arguments, folder, origin, redis=None, remember=True):
        self.port, self.admin = free_port(), free_port()
        file = pathlib.Path(folder) / f"satchel-{self.port}.yaml"
        l2 = f'  l2: {{redis: "redis://127.0.0.1:{redis.port}/0", deadline: 1s}}' if redis else ""
        file.write_text(CONFIG.format(port=self.port, origin=origin, l2=l2, admin=self.admin,
                                      l1="" if remember else ", max_object: 1B"))
        self.process = subprocess.Popen([arguments.satchel, "run", "-c", str(file)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=pin(SERVER_CORE))
        wait_for_port(self.port, self.process)
        wait_for_port(self.admin, self.process)
        self.pids = tree(self.process.pid)
        end = time.monotonic() + 10
        while redis and self.metric("satchel_redis_connections_up") < 1:
            if time.monotonic() > end:
                raise RuntimeError("Satchel did not reach its Redis")

    def ask(self, method, target, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin)
        connection.request(method, target, body, {"Host": "localhost"})
        return connection.getresponse().read().decode()

    def metric(self, name):
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.ask("GET", "/metrics"), re.M)
        return sum(map(float, found))


def times(arguments, satchel, path, count, *options):
    """Of requests one after the other."""
    _, result = load(arguments.tools, satchel.port, path, 1000, satchel.pids, "--connections", "1",
                     "--count", str(count), *options)
    if result["errors"]:
        raise RuntimeError(f"{result['errors']} errors")
    return result["p50_us"], result["p99_us"]


def latency(arguments, folder, redis, origin):
    """Rows of (what, p50, p99) in microseconds, medians of the rounds."""
    count = arguments.count
    rows = {}
    for number in range(arguments.rounds):
        redis.call("FLUSHALL")
        base = str(number * 10_000_000 + 1)
        unseen = ["--sequence", base]
        alone = Satchel(arguments, folder, origin)
        shared = Satchel(arguments, folder, origin, redis)
        reader = Satchel(arguments, folder, origin, redis, remember=False)
        try:
            times(arguments, alone, "/size/1024?warm", 200)
            times(arguments, shared, "/size/1024?warm", 200)
            cells = {
                "miss, no Redis": times(arguments, alone, "/size/1024?", count, *unseen),
                "miss, looked up, locked and stored in Redis":
                    times(arguments, shared, "/size/1024?", count, *unseen),
                "L1 hit, no Redis": times(arguments, alone, "/size/1024?warm", count),
                "L1 hit, with Redis": times(arguments, shared, "/size/1024?warm", count),
                "L2 hit, 1 KiB": times(arguments, reader, "/size/1024?", count, *unseen),
            }
            times(arguments, shared, "/size/102400?warm", 10)
            cells["L2 hit, 100 KiB"] = times(arguments, reader, "/size/102400?warm", count // 4)
            for name, value in cells.items():
                rows.setdefault(name, []).append(value)
        finally:
            for one in (alone, shared, reader):
                stop(one.process)
    for name, values in rows.items():
        yield name, *[statistics.median(v[i] for v in values) for i in range(2)]


def redis_core(arguments, folder, redis, origin):
    """Rows of (what, CPU microseconds of Redis a request, calls a request, requests a second)."""
    server = [redis.process.pid]
    redis.call("FLUSHALL")
    shared = Satchel(arguments, folder, origin, redis)
    reader = Satchel(arguments, folder, origin, redis, remember=False)
    try:
        # Each URL once: equal requests at one moment would be one lookup.
        for name, satchel, size, base, count in (
                ("miss: lookup, lock, store, word", shared, 1024, 1, 5 * arguments.count),
                ("L2 hit, 1 KiB", reader, 1024, 1, 5 * arguments.count),
                ("miss, 100 KiB", shared, 102400, 1, arguments.count),
                ("L2 hit, 100 KiB", reader, 102400, 1, arguments.count)):
            redis.call("CONFIG", "RESETSTAT")
            used = cpu_seconds(server)
            _, result = load(arguments.tools, satchel.port, f"/size/{size}?", 1000, satchel.pids,
                             "--count", str(count), "--sequence", str(base))
            used = cpu_seconds(server) - used
            stats = redis.call("INFO", "commandstats")
            calls = sum(map(int, re.findall(r"cmdstat_\S+?:calls=(\d+)", stats)))
            yield name, used * 1e6 / result["requests"], calls / result["requests"], (
                result["requests"] / result["seconds"])
    finally:
        for one in (shared, reader):
            stop(one.process)


def purge_while_serving(arguments, folder, redis, origin):
    """100,000 responses under one tag, purged while one client asks for another page."""
    redis.call("FLUSHALL")
    satchel = Satchel(arguments, folder, origin, redis)
    other = Satchel(arguments, folder, origin, redis)
    try:
        entries = 100_000
        load(arguments.tools, satchel.port, "/size/1024?", 1000, satchel.pids, "--count", str(entries),
             "--sequence", "1")
        for port in (satchel.port, other.port):
            load(arguments.tools, port, "/size/64?bystander", 100, satchel.pids)
        stored = satchel.metric("satchel_l1_objects")
        purging, purged = threading.Event(), threading.Event()
        laps = {"before": [], "during": []}

        def bystander():
            connection = http.client.HTTPConnection("127.0.0.1", satchel.port)

            def lap(name):
                began = time.perf_counter()
                connection.request("GET", "/size/64?bystander")
                connection.getresponse().read()
                laps[name].append(time.perf_counter() - began)

            for _ in range(1000):
                lap("before")
            purging.set()
            while not purged.is_set():
                lap("during")
            for _ in range(1000):  # what a purge leaves to be done is done beside these
                lap("during")

        redis.call("CONFIG", "RESETSTAT")
        thread = threading.Thread(target=bystander)
        thread.start()
        if not purging.wait(60):
            raise RuntimeError("the bystander does not get on")
        began = time.perf_counter()
        answer = json.loads(satchel.ask("POST", "/purge", json.dumps({"tags": ["everything"]})))
        took = time.perf_counter() - began
        purged.set()
        thread.join()
        script = re.search(r"cmdstat_evalsha?:.*usec_per_call=([\d.]+)",
                           redis.call("INFO", "commandstats"))
        return stored, took * 1e3, len(answer["confirmed"]), float(script.group(1)), (
            max(laps["before"]) * 1e3), max(laps["during"]) * 1e3
    finally:
        for one in (satchel, other):
            stop(one.process)


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--purge-bench", type=pathlib.Path,
                        help="the executable: its measurements with Redis and its races as well")
    parser.add_argument("--ms", type=int, default=2000, help="length of one measurement")
    parser.add_argument("--count", type=int, default=4000, help="requests for one latency")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        redis = Redis(folder)
        try:
            with origin_server(arguments.tools) as origin:
                print("| one request at a time | p50 us | p99 us |\n|---|---|---|")
                for name, middle, high in latency(arguments, folder, redis, origin):
                    print(f"| {name} | {middle:.0f} | {high:.0f} |")
                print("\n| 64 connections | CPU us of Redis | calls | requests/s |")
                print("|---|---|---|---|")
                for name, micros, calls, rate in redis_core(arguments, folder, redis, origin):
                    print(f"| {name} | {micros:.1f} | {calls:.2f} | {rate:.0f} |")
                stored, took, confirmed, script, before, during = purge_while_serving(
                    arguments, folder, redis, origin)
                print(f"\nPurge of one tag on {stored:.0f} responses: {took:.1f} ms until "
                      f"{confirmed} instances confirmed, {script:.0f} us a script on Redis' core; "
                      f"slowest hit beside it {during:.1f} ms, before it {before:.1f} ms")
            if arguments.purge_bench:
                redis.call("FLUSHALL")
                sys.stdout.flush()
                subprocess.run([str(arguments.purge_bench)], check=True,
                               env=os.environ | {"SATCHEL_BENCH_REDIS": f"127.0.0.1:{redis.port}"})
        finally:
            redis.process.kill()
            redis.process.wait()


if __name__ == "__main__":
    main()
