"""The comparison itself; compare.sh builds what it needs and calls it. --help says what it does."""
import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import bench_cells as cells
import bench_measure as measure
import bench_report as report
import bench_targets as targets

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="compare.sh", description=(
        "CPU per request, latency, memory and system calls of Satchel, nginx, HAProxy and "
        "Varnish, each with one worker on one core, side by side."))
    every = list(cells.THROUGHPUT) + cells.ONE_OFF
    every.sort(key=lambda cell: cell in ("zipf", "hit-wrk", "hit-100"))  # first what matters most
    parser.add_argument("--quick", action="store_true", help="fewer cells, within 90 s")
    parser.add_argument("--only", help="cells, comma-separated: " + " ".join(every))
    parser.add_argument("--targets", help="comma-separated: " + " ".join(targets.BY_NAME))
    parser.add_argument("--rounds", type=int, help="default 3, --quick 2")
    parser.add_argument("--ms", type=int, help="length of one sample, default 800, --quick 500")
    parser.add_argument("--limit-seconds", type=int, help="stop there; default 360, --quick 90")
    parser.add_argument("--output", help="file for the tables; default tests/bench/results/"
                        "latest.md after a whole run, else stdout only")
    parser.add_argument("--json", help="file for all samples")
    parser.add_argument("--satchel", help="the binary; default build/bench-release/bin/satchel")
    parser.add_argument("--bin-dir", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    quick = ["hit-1k", "hit-100k", "miss", "store", "syscalls", "herd", "swr"]
    options.cells = options.only.split(",") if options.only else quick if options.quick else every
    options.names = (options.targets.split(",") if options.targets
                     else targets.QUICK if options.quick else targets.DEFAULT)
    for word in options.cells:
        if word not in every:
            parser.error(f"no cell {word!r}; there are {' '.join(every)}")
    for word in options.names:
        if word not in targets.BY_NAME:
            parser.error(f"no target {word!r}; there are {' '.join(targets.BY_NAME)}")
    options.whole = not (options.only or options.targets or options.quick)
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.ms = options.ms or (500 if options.quick else 800)
    options.limit_seconds = options.limit_seconds or (90 if options.quick else 360)
    options.objects = 20_000 if options.quick else 100_000
    return options


class Run:
    """One comparison from start to tables."""

    def __init__(self, options):
        self.options = options
        self.end = time.monotonic() + options.limit_seconds
        self.folder = tempfile.mkdtemp(prefix="satchel-bench-", dir="/dev/shm")
        self.started, self.results, self.notes, self.proofs = [], {}, [], {}
        self.origin = None

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print("note: " + text, file=sys.stderr, flush=True)

    def start(self):
        origin_port = measure.free_port()
        self.origin = subprocess.Popen(
            [os.path.join(self.options.bin_dir, "origin_server"), str(origin_port)],
            preexec_fn=measure.pin(measure.CLIENT_CORE))
        measure.wait_for_port(origin_port, self.origin)
        self.bench = cells.Bench(self.options.bin_dir, self.origin, origin_port, self.folder)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=bench.test", "-keyout", f"{self.folder}/key.pem", "-out",
                        f"{self.folder}/cert.pem"], check=True, capture_output=True)
        for name in self.options.names:
            target = targets.BY_NAME[name](self.folder, self.options.bin_dir, origin_port)
            self.started.append(target)
            try:
                target.start()
                self.proofs[name] = cells.prove_hit(self.bench, target, "/size/1024")
                for path in ("/size/100", "/size/10240", "/size/102400", "/size/1048576"):
                    cells.prove_hit(self.bench, target, path)
            except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
                self.note(f"{name} left out: {error}. {target.complaint()}")
                target.stop()
                self.started.remove(target)

    def stop(self):
        for target in self.started:
            try:
                target.stop()
            except OSError as error:
                print(f"{target.name}: {error}", file=sys.stderr)
        measure.stop(self.origin)
        shutil.rmtree(self.folder, ignore_errors=True)

    def attempt(self, cell, target, what):
        """One sample, or None with a note of why not."""
        if time.monotonic() > self.end:
            self.note(f"out of time before {cell}; what is missing was not measured")
            return None
        try:
            return what()
        except (OSError, RuntimeError, ValueError, AttributeError, ZeroDivisionError,
                subprocess.SubprocessError) as error:
            self.note(f"{cell}, {target.name}: {error}")
            if target.process.poll() is not None:
                self.note(f"{target.name} ended with status {target.process.returncode}")
                self.started.remove(target)
            return None

    def keep(self, cell, target, sample):
        self.results.setdefault(cell, {}).setdefault(target.name, []).append(sample)

    def chosen(self, cell):
        chosen = [t for t in self.started if t.caches or cell not in cells.NEEDS_CACHE]
        if cell == "zipf":  # storing 100,000 files takes its time, and sendfile changes little
            chosen = [t for t in chosen if t.name != "nginx-nosf"]
        return [t for t in chosen if t.tls] if cell == "tls" else chosen

    def measure(self):
        wanted = self.options.cells
        self.before_load(wanted)
        if "syscalls" in wanted:
            self.trace()
        # The Zipf set is stored after the first round of the rest: it takes long.
        stored = False
        for number in range(self.options.rounds):
            for cell in [c for c in wanted if c != "zipf"]:
                if cell in cells.THROUGHPUT:
                    self.round_of(cell, number)
                elif cell == "herd":
                    for target in self.chosen(cell):
                        self.keep(cell, target, self.attempt(
                            cell, target, lambda t=target: cells.herd(self.bench, t)))
                elif cell == "swr" and time.monotonic() < self.end:
                    self.round_of_stale_herds()
            if "zipf" in wanted:
                stored = stored or self.store_zipf_set()
                self.round_of("zipf", number)

    def store_zipf_set(self):
        for target in self.chosen("zipf"):
            print(f"storing {self.options.objects:,} objects: {target.name}", flush=True)
            self.attempt("zipf", target,
                         lambda t=target: cells.preload(self.bench, t, self.options.objects))
        return True

    def before_load(self, wanted):
        """What looks at memory comes first, before other cells leave freed memory behind."""
        for cell, what in (("memory", lambda t: cells.memory(self.bench, t, 100_000)),
                           ("idle", lambda t: cells.idle(self.bench, t, 4000))):
            if cell in wanted:
                for target in self.chosen(cell):
                    sample = self.attempt(cell, target, lambda t=target: what(t))
                    if sample:
                        self.keep(cell, target, sample)

    def round_of(self, cell, number):
        around = self.chosen(cell)
        turn = number % max(1, len(around))
        print(f"round {number + 1}: {cell}", flush=True)
        for target in around[turn:] + around[:turn]:
            work = cells.THROUGHPUT[cell][1]
            self.keep(cell, target, self.attempt(cell, target, lambda t=target: work(
                self.bench, t, self.options.ms, self.options.objects)))

    def round_of_stale_herds(self):
        try:
            for name, sample in cells.stale_herds(self.bench, self.chosen("swr")).items():
                self.keep("swr", targets.BY_NAME[name], sample)
        except (OSError, RuntimeError, ValueError) as error:
            self.note(f"swr: {error}")

    def trace(self):
        if shutil.which("strace") is None:
            self.note("no strace: system calls were not counted")
            return
        for kind in ("hit", "miss", "connection"):
            for target in self.chosen("miss" if kind == "miss" else "syscalls"):
                sample = self.attempt(f"syscalls {kind}", target, lambda t=target, k=kind:
                                      cells.syscalls(self.bench, t, k))
                if sample:
                    self.keep(f"syscalls {kind}", target, sample)

    def text(self, seconds):
        names = [t.name for t in self.started]
        order = [n for n in self.options.names if n in names]
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            model = next((line.partition(":")[2].strip() for line in file
                          if line.startswith("model name")), "unknown")
        when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        text = (f"# Satchel beside other proxies, {when}\n\n"
                f"Linux {platform.release()}, {os.cpu_count()} x {model}; {self.options.rounds} "
                f"rounds of {self.options.ms} ms, 64 connections, {seconds:.0f} s in all. Other "
                f"programs on the machine used {report.others_share(self.results)}. "
                "Only ratios within this run mean anything.\n\n")
        text += report.goals(self.results) + "\n## Targets\n"
        text += report.table(["", "version", "how", "a hit says"], [
            [t.name, t.version() or "-", t.about, self.proofs.get(t.name, "-")]
            for t in self.started])
        text += "\n## Throughput cells\n" + report.throughput(self.results, order,
                                                              self.options.objects)
        text += "## Herds, memory, system calls\n" + report.one_off(self.results, order)
        if self.notes:
            text += "## Notes of this run\n" + "".join(f"- {note}\n" for note in self.notes)
        return text


def raise_descriptor_limit():
    """As far as allowed: nginx keeps a file open per cached object, HAProxy two per connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most in (max(hard, 262_144), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return
        except (ValueError, OSError):
            continue


def main():
    options = parse_arguments()
    if os.cpu_count() < 2:
        sys.exit("compare.sh: needs two cores, one for the server and one for the client")
    if options.satchel:
        os.environ["SATCHEL_BINARY"] = options.satchel
    raise_descriptor_limit()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    run, begun = Run(options), time.monotonic()
    try:
        run.start()
        run.measure()
        text = run.text(time.monotonic() - begun)
    finally:
        run.stop()
    print(text)
    output = options.output or (os.path.join(RESULTS, "latest.md") if options.whole else None)
    if output:
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(run.results, file, indent=1)


if __name__ == "__main__":
    main()
