#!/usr/bin/env python3
"""What rate limits cost: Redis' core, Satchel's core, requests per second, memory per identity.

    tests/bench/limits.py --satchel build/release/bin/satchel [--tools DIR] [--ms N] [--rounds N]
    tests/bench/limits.py --redis-only [--against OTHER.lua]   # the script beside another text of it

Starts a private redis-server and Satchel on free ports of the loopback, Redis and the client on core
1, Satchel with one worker on core 0. Prints a table. See "Limits" in README.md.
"""
import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bench_measure import (CLIENT_CORE, SERVER_CORE, cpu_seconds, free_port, origin_server,  # noqa: E402
                           parser_of,
                           pin, stop, tree, wait_for_port)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "proxy/redis/lua/sliding_window.lua"


class Redis:
    """A private server and one connection that speaks RESP2."""

    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no",
             "--dir", str(folder)], stdout=subprocess.DEVNULL, preexec_fn=pin(CLIENT_CORE))
        wait_for_port(self.port, self.process)
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.input = self.socket.makefile("rb")
        self.sha = self.load(SCRIPT)

    def load(self, script):
        return self.call("SCRIPT", "LOAD", script.read_text())

    @staticmethod
    def wire(arguments):
        parts = [str(a).encode() for a in arguments]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)

    def read(self):
        line = self.input.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.input.read(int(rest) + 2)[:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest.decode()

    def call(self, *arguments):
        self.socket.sendall(self.wire(arguments))
        return self.read()

    def check(self, key, windows, count=1, sha=None):
        """Arguments of one check: windows are (limit, microseconds, resolution)."""
        keys = [f"{{{key}}}:{i}" for i in range(len(windows))]
        numbers = [n for limit, length, step in windows for n in (1, limit, length, step)]
        return ["EVALSHA", sha or self.sha, len(keys), *keys, count, 0, 0, "", *numbers]

    def cost(self, calls):
        """Microseconds of one call on Redis' core: pipelines of 16, of all `calls`."""
        self.call("CONFIG", "RESETSTAT")
        for at in range(0, len(calls), 16):
            part = calls[at:at + 16]
            self.socket.sendall(b"".join(self.wire(c) for c in part))
            for _ in part:
                self.read()
        found = re.search(r"cmdstat_evalsha:.*usec_per_call=([\d.]+)",
                          self.call("INFO", "commandstats"))
        return float(found.group(1))


BATCH = 200  # calls: a few milliseconds, so that some pass without another program in between


def redis_costs(redis, rounds, shas):
    """(cell, microseconds of each script): the least of many batches, the scripts by turns."""
    hour, second = 3_600_000_000, 1_000_000
    few, many = [(100, hour, 1)], [(10**6, hour, hour // 4096)]
    one, two = [(10**7, hour, 1)], [(10**7, hour, 1), (10**6, second, 1)]
    cells = {
        "one window, admitted": (one, 1),
        "one window, refused": (few, 1),
        "one coarse window, admitted": (many, 1),
        "two windows, admitted": (two, 1),
        "sixteen in one call, admitted": (one, 16),
        "new identities, admitted": (few, 1),
    }
    best = {}
    for number in range(rounds * 10):
        for name, (windows, count) in cells.items():
            for sha in shas:
                own = f"{name}-{sha}"
                each = name.startswith("new")
                calls = [redis.check(f"{own}-{number}-{i}" if each else own, windows, count, sha)
                         for i in range(BATCH)]
                cost = redis.cost(calls)
                if number > 0:  # the first fills the sets
                    best[own] = min(cost, best.get(own, cost))
    for name in cells:
        yield name, [best[f"{name}-{sha}"] for sha in shas]


def redis_memory(redis):
    for entries in (1, 100, 128, 129, 1000, 4096):
        key = f"m{entries}"
        redis.cost([redis.check(key, [(10**6, 3_600_000_000, 1)])] * entries)
        yield entries, redis.call("MEMORY", "USAGE", f"{{{key}}}:0", "SAMPLES", 0)


CONFIG = """version: 1
workers: 1
listeners: [{{name: web, address: "127.0.0.1:{port}"}}]
upstreams: {{app: {{servers: ["127.0.0.1:{origin}"]}}}}
stores:
  l1: {{size: 256MiB}}
  l2: {{redis: "redis://127.0.0.1:{redis}/0", deadline: 1s}}
rules: [{{name: all, match: {{}}, upstream: app, cache: {{ttl: 1d, key: {{query: {{deny: ["*"]}}}}}}}}]
admin: {{address: "off"}}
log: {{access: "off"}}
{limits}
"""
LIMIT = """rate_limits:
  - name: bench
    identify: {{query: k}}
    limits: [{{name: hour, rate: {rate}}}]
    {more}
"""


def load(tools, port, path, ms, pids, *options):
    client = subprocess.Popen([str(tools / "load_client"), str(port), path, "--ms", str(ms), *options],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              preexec_fn=pin(CLIENT_CORE))
    client.stdout.readline()
    before = cpu_seconds(pids)
    client.stdin.write("\n")
    client.stdin.flush()
    client.stdout.readline()
    used = cpu_seconds(pids) - before
    result = json.loads(client.stdout.readline())
    client.wait()
    return used * 1e6 / max(1, result["requests"]), result


def satchel_cell(arguments, redis, origin_port, folder, rate, more, path, *options):
    port = free_port()
    limits = LIMIT.format(rate=rate, more=more) if rate else ""
    file = pathlib.Path(folder) / "satchel.yaml"
    file.write_text(CONFIG.format(port=port, origin=origin_port, redis=redis.port, limits=limits))
    process = subprocess.Popen([arguments.satchel, "run", "-c", str(file)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=pin(SERVER_CORE))
    try:
        wait_for_port(port, process)
        pids = tree(process.pid)
        load(arguments.tools, port, path, 300, pids, *options)
        redis.call("CONFIG", "RESETSTAT")
        cpu, result = load(arguments.tools, port, path, arguments.ms, pids, *options)
        found = re.search(r"cmdstat_evalsha:calls=(\d+)", redis.call("INFO", "commandstats"))
        calls = int(found.group(1)) if found else 0
        return cpu, result["requests"] / result["seconds"], calls / max(1, result["requests"]), result
    finally:
        stop(process)


def satchel_costs(arguments, redis, folder):
    with origin_server(arguments.tools) as origin_port:
        hot, spread = "/size/1024?k=hot", "/size/1024?k="
        many = ["--zipf", "100000"]
        cells = [
            ("no limit", None, "", hot, []),
            ("one hot identity, allowed", "1000000000/1h", "", hot, []),
            ("one hot identity, lease: auto", "1000000000/1h", "lease: auto", hot, []),
            ("100,000 identities by Zipf's law", "1000000000/1h", "", spread, many),
        ]
        samples = {name: [] for name, *_ in cells}
        for _ in range(arguments.rounds):
            for name, rate, more, path, options in cells:
                samples[name].append(satchel_cell(arguments, redis, origin_port, folder, rate, more,
                                                  path, *options))
        base = statistics.median(s[0] for s in samples["no limit"])
        for name, *_ in cells:
            rows = samples[name]
            errors = sum(r[3]["errors"] for r in rows)
            middle = [statistics.median(r[i] for r in rows) for i in range(3)]
            yield name, middle[0], middle[0] / base, middle[1], middle[2], errors


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--ms", type=int, default=2000, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--redis-only", action="store_true")
    parser.add_argument("--against", type=pathlib.Path, metavar="LUA",
                        help="another text of the script, measured by turns with ours")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        redis = Redis(folder)
        try:
            scripts = [SCRIPT, *([arguments.against] if arguments.against else [])]
            print("| us on Redis' core |", *(f"{script.name} |" for script in scripts))
            print("|---" * (1 + len(scripts)) + "|")
            for name, costs in redis_costs(redis, arguments.rounds, [*map(redis.load, scripts)]):
                print(f"| {name} |", *(f"{micros:.1f} |" for micros in costs))
            print("\n| entries of a log | bytes in Redis |\n|---|---|")
            for entries, size in redis_memory(redis):
                print(f"| {entries} | {size} |")
            if arguments.redis_only:
                return
            redis.call("FLUSHALL")
            print("\n| L1 hit of 1 KiB | CPU us | of no limit | requests/s | calls per request |")
            print("|---|---|---|---|---|")
            for name, cpu, ratio, rate, calls, errors in satchel_costs(arguments, redis, folder):
                note = f" ({errors} errors)" if errors else ""
                print(f"| {name} | {cpu:.2f} | {ratio:.2f} | {rate:.0f} | {calls:.3f} |{note}")
        finally:
            redis.process.kill()
            redis.process.wait()


if __name__ == "__main__":
    main()
