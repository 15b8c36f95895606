"""What is measured. A throughput cell is run for one target at a time and gives one sample; the
one-off cells (memory, idle connections, system calls, herds) look at all targets by themselves."""
import json
import os
import re
import socket
import statistics
import subprocess
import threading
import time

import bench_measure as measure

HERD = 200
HERD_DELAY_MS = 200


class Unproven(RuntimeError):
    """The answers were not what the cell claims to measure."""


class Load:
    """load_client on the client's core, stopped at its two marks."""

    def __init__(self, bin_dir, port, path, *options, patience=20.0):
        command = [os.path.join(bin_dir, "load_client"), str(port), path, *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=measure.pin(measure.CLIENT_CORE))
        # Ends a run that hangs: the next read finds the end of the pipe.
        self.watchdog = threading.Timer(patience, self.process.kill)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            self.close()
            raise RuntimeError(f"load_client said {line!r}, not {word}, or took too long")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.expect("done")

    def result(self):
        return json.loads(self.process.stdout.readline())

    def close(self):
        """Ends it, whatever it is doing."""
        self.watchdog.cancel()
        if self.process.poll() is None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Bench:
    """The running servers and the origin, and how one sample is taken."""

    def __init__(self, bin_dir, origin, origin_port, folder):
        self.bin_dir, self.folder = bin_dir, folder
        self.origin, self.origin_port = origin, origin_port
        self.serial = 0

    def origin_count(self):
        return int(measure.fetch(self.origin_port, "/count")[2])

    def fresh(self):
        """A number no URL of this run has had."""
        self.serial += 1
        return self.serial * 10_000_000

    def load(self, port, path, *options, patience=20.0):
        with Load(self.bin_dir, port, path, *options, patience=patience) as load:
            load.go()
            return load.result()

    def sample(self, target, path, *options, origin="still"):
        """CPU per request and latency of one run. `origin` says what its counter must do:
        'still' (hits), 'each' (one fetch per request)."""
        fixed = "--sequence" not in options and "--zipf" not in options
        warm = path if fixed else "/size/100"
        with Load(self.bin_dir, target.port, path, "--warm", warm, *options) as load:
            return self.run_sample(target, load, origin)

    def run_sample(self, target, load, origin):
        pids = target.find_processes()
        tids = worker_threads(target)
        before_origin = self.origin_count()
        busy = measure.machine_busy_seconds()
        clients = [load.process.pid, self.origin.pid]
        known = measure.cpu_seconds(clients)
        worker, cpu, begun = (measure.thread_cpu_seconds(tids), measure.cpu_seconds(pids),
                              time.monotonic())
        load.go()
        cpu = measure.cpu_seconds(pids) - cpu
        worker = measure.thread_cpu_seconds(tids) - worker
        wall = time.monotonic() - begun
        busy = measure.machine_busy_seconds() - busy
        known = measure.cpu_seconds(clients) - known + cpu
        result = load.result()
        self.check(target, result, self.origin_count() - before_origin, origin)
        return {"cpu_us": cpu / result["requests"] * 1e6,
                "worker_us": worker / result["requests"] * 1e6,
                "rps": result["requests"] / result["seconds"],
                "p50": result["p50_us"], "p99": result["p99_us"],
                "others": max(0.0, (busy - known) / wall)}

    def check(self, target, result, fetched, origin):
        if result["requests"] == 0 or result["errors"] > result["requests"] // 1000:
            raise Unproven(f"{result['errors']} errors in {result['requests']} requests")
        if target.caches and origin == "still" and fetched != 0:
            raise Unproven(f"not hits: the origin was asked {fetched} times")
        if target.caches and origin == "each" and fetched < result["requests"] * 0.999:
            raise Unproven(f"not misses: {fetched} fetches for {result['requests']} requests")


def worker_threads(target):
    """Threads that serve: all but those that only write logs or watch."""
    tids = []
    for pid in target.pids:
        names = measure.threads(pid)
        serving = [tid for tid, name in names.items() if name.startswith("worker")]
        tids += serving or list(names)
    return tids


def prove_hit(bench, target, path):
    """Asks twice: the second answer comes from the cache and says so."""
    first = measure.fetch(target.port, path)
    before = bench.origin_count()
    status, fields, body = measure.fetch(target.port, path)
    if status != 200 or body != first[2]:
        raise Unproven(f"{path}: status {status}, {len(body)} bytes after {len(first[2])}")
    if not target.caches:
        return "not a cache"
    if bench.origin_count() != before:
        raise Unproven(f"{path}: the second request went to the origin")
    marks = [f"{name}: {fields[name]}" for name in ("cache-status", "x-cache", "age", "x-varnish")
             if name in fields]
    if not marks:
        raise Unproven(f"{path}: no field of the answer tells of a hit")
    return ", ".join(marks)


def hit(size):
    def run(bench, target, ms, _):
        return bench.sample(target, f"/size/{size}", "--ms", ms)
    return run


def zipf(bench, target, ms, objects):
    return bench.sample(target, "/object/", "--zipf", objects, "--ms", ms)


def miss(bench, target, ms, _):
    # Different URLs: on one, nginx would queue all behind its lock.
    return bench.sample(target, "/size/1024?no-store&", "--sequence", bench.fresh(), "--ms", ms,
                        origin="each")


def miss_store(bench, target, ms, _):
    return bench.sample(target, "/size/1024/", "--sequence", bench.fresh(), "--ms", ms,
                        origin="each")


def close(bench, target, ms, _):
    return bench.sample(target, "/size/1024", "--close", "--ms", ms)


def wrk(bench, target, url, seconds=1):
    """One run of wrk. Its connections are opened within the measured time."""
    before = bench.origin_count()
    pids, tids = target.find_processes(), worker_threads(target)
    cpu, worker = measure.cpu_seconds(pids), measure.thread_cpu_seconds(tids)
    done = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "--latency", "-H",
                           "Host: bench.test", url],
                          capture_output=True, text=True, check=False, timeout=seconds + 10,
                          preexec_fn=measure.pin(measure.CLIENT_CORE))
    cpu = measure.cpu_seconds(pids) - cpu
    worker = measure.thread_cpu_seconds(tids) - worker
    text = done.stdout
    requests = int(match.group(1)) if (match := re.search(r"(\d+) requests in", text)) else 0
    bad = sum(int(x) for x in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    for group in re.findall(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        bad += sum(map(int, group))
    bench.check(target, {"requests": requests, "errors": bad}, bench.origin_count() - before,
                "still")
    unit = {"us": 1.0, "ms": 1e3, "s": 1e6}

    def percentile(part):
        value, name = re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * unit[name]
    return {"cpu_us": cpu / requests * 1e6, "worker_us": worker / requests * 1e6,
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)),
            "p50": percentile(50), "p99": percentile(99), "others": 0.0}


def hit_wrk(bench, target, _, __):
    return wrk(bench, target, f"http://127.0.0.1:{target.port}/size/1024")


def tls(bench, target, _, __):
    measure.fetch(target.tls_port, "/size/1024", tls=True)  # the scheme may be part of the key
    return wrk(bench, target, f"https://127.0.0.1:{target.tls_port}/size/1024")


THROUGHPUT = {
    "hit-100": ("hit, 100 B", hit(100)),
    "hit-1k": ("hit, 1 KiB", hit(1024)),
    "hit-10k": ("hit, 10 KiB", hit(10240)),
    "hit-100k": ("hit, 100 KiB", hit(102400)),
    "hit-1m": ("hit, 1 MiB", hit(1048576)),
    "zipf": ("hit, Zipf over objects of 1-4 KiB", zipf),
    "hit-wrk": ("hit, 1 KiB, by wrk", hit_wrk),
    "tls": ("TLS 1.3 hit, 1 KiB, by wrk", tls),
    "close": ("hit, 1 KiB, connection per request", close),
    "miss": ("miss (no-store), 1 KiB", miss),
    "store": ("miss and store, 1 KiB", miss_store),
}
NEEDS_CACHE = {"miss", "store", "herd", "swr", "memory"}
ONE_OFF = ["memory", "idle", "syscalls", "herd", "swr"]


def preload(bench, target, objects):
    """Every object of the Zipf set, once."""
    if target.caches:
        result = bench.load(target.port, "/object/", "--sequence", 0, "--count", objects,
                            patience=30.0)
        if result["errors"] or result["requests"] < objects:
            raise Unproven(f"preload: {result}")


def memory(bench, target, objects):
    """Bytes kept per stored 1 KiB object beyond its body."""
    if target.name == "haproxy":
        return haproxy_memory(bench, target)
    with target.that_grows() as filled:
        bench.load(filled.port, "/size/1024/", "--sequence", bench.fresh(), "--count", 2000)
        before = filled.stored_bytes()
        result = bench.load(filled.port, "/size/1024/", "--sequence", bench.fresh(),
                            "--count", objects)
        if result["errors"]:
            raise Unproven(f"{result['errors']} errors while filling")
        return {"bytes": (filled.stored_bytes() - before) / objects - 1024, "note": ""}


def haproxy_memory(bench, target):
    """Its cache is one mapping made at the start, cut into blocks of 1 KiB: count those."""
    bench.load(target.port, "/size/1024/", "--sequence", bench.fresh(), "--count", 500)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(target.socket_path)
        connection.settimeout(5)
        connection.sendall(b"show cache\n")
        text = b""
        while chunk := connection.recv(65536):
            text += chunk
    blocks = [int(x) for x in re.findall(rb"\((\d+) blocks\)", text)]
    if not blocks:
        raise Unproven("show cache lists no entry")
    return {"bytes": statistics.median(blocks) * 1024 - 1024, "note": "whole blocks of 1 KiB"}


def idle(bench, target, connections):
    """Bytes per kept-alive connection that has been answered once and is silent."""
    with target.that_grows() as crowded:
        def crowd(size):
            return Load(bench.bin_dir, crowded.port, "/size/1024", "--connections", size, "--warm",
                        "/size/1024", "--ms", 0)
        with crowd(500):
            pass
        before = measure.pss_bytes(crowded.find_processes())
        with crowd(connections):
            return {"bytes": (measure.pss_bytes(crowded.find_processes()) - before) / connections}


def syscalls(bench, target, kind, count=3000):
    """System calls per request and the calls they are."""
    path = "/size/1024?no-store&" if kind == "miss" else "/size/1024"
    options = {"miss": ["--sequence", bench.fresh()], "connection": ["--close"]}.get(kind, [])
    with Load(bench.bin_dir, target.port, path, "--warm", "/size/1024", "--count", count,
              *options) as load:
        trace = measure.Strace(target.find_processes(), bench.folder)
        try:
            load.go()
        finally:
            calls = trace.finish()
        requests = load.result()["requests"]
    each = {name: n / requests for name, n in calls.items()}
    top = sorted(each.items(), key=lambda item: -item[1])
    return {"calls": sum(each.values()),
            "which": ", ".join(f"{name} {n:.2f}" for name, n in top if n >= 0.01)}


def burst(bench, target, path):
    before = bench.origin_count()
    result = bench.load(target.port, path, "--connections", HERD, "--warm", "/size/100", "--burst")
    if result["errors"]:
        raise Unproven(f"{result['errors']} errors in a herd of {HERD}")
    return before, result


def herd(bench, target):
    path = f"/delay/{HERD_DELAY_MS}/size/1024/{bench.fresh()}"
    before, result = burst(bench, target, path)
    return {"fetches": bench.origin_count() - before, "p50": result["p50_us"] / 1000,
            "p99": result["p99_us"] / 1000}


def stale_herds(bench, targets):
    """All keys are stored, all run out, then each target has its herd: {name: sample}."""
    paths, samples = {}, {}
    for target in targets:
        paths[target.name] = f"/delay/{HERD_DELAY_MS}/size/1024/{bench.fresh()}?brief"
        measure.fetch(target.port, paths[target.name])
    # Fresh for one second by the origin's clock, and some servers count whole seconds.
    measure.fetch(bench.origin_port, f"/delay/2200/size/1/{bench.fresh()}")
    for target in targets:
        before, result = burst(bench, target, paths[target.name])
        # A miss that takes as long as the refresh in the background and began after it.
        measure.fetch(target.port, f"/delay/{HERD_DELAY_MS}/size/1/{bench.fresh()}")
        samples[target.name] = {"fetches": bench.origin_count() - before - 1,
                                "p50": result["p50_us"] / 1000, "p99": result["p99_us"] / 1000}
    return samples
