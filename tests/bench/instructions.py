#!/usr/bin/env python3
"""How many instructions of its own Satchel needs for a request, and what share of its time they are.

    tests/bench/instructions.py --satchel build/release/bin/satchel [--tools DIR] [--count 3000]

Needs valgrind, which counts (callgrind, access log on, 64 connections); counts do not depend on what
else the machine does. The share is user time over all processor time of a run without valgrind. What
callgrind has found stays in --keep DIR, for callgrind_annotate.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bench_cells import Load  # noqa: E402
from bench_measure import origin_server, parser_of, stat_of, stop  # noqa: E402
from bench_targets import Satchel  # noqa: E402

CELLS = {  # path, further options of load_client
    "hit 1 KiB": ("/size/1024",),
    "hit 100 KiB": ("/size/102400",),
    "miss (no-store)": ("/size/1024?no-store&", "--sequence", 1),
    "miss and store": ("/size/1024?", "--sequence", 1),
}


class UnderValgrind(Satchel):
    preallocate = "false"

    def counts(self):
        return os.path.join(self.folder, "callgrind.out")

    def command(self):
        return ["valgrind", "--tool=callgrind", "--instr-atstart=no",
                f"--callgrind-out-file={self.counts()}", *super().command()]

    def stop(self):
        stop(self.process, patience=60)  # writes down what it has counted

    def switch(self, state):
        subprocess.run(["callgrind_control", "-i", state, str(self.process.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def started(kind, tools, origin_port, folder, satchel):
    os.mkdir(folder)
    target = kind(folder, tools, origin_port)
    target.tls = False
    target.binary = satchel
    target.config = lambda tls, config=target.config: config(False)
    target.start()
    return target


def load(tools, target, cell, count):
    path, *options = CELLS[cell]
    warm = path if not options else "/size/100"
    return Load(tools, target.port, path, "--warm", warm, "--count", count, *options, patience=120)


def instructions(arguments, origin_port, folder, cell):
    target = started(UnderValgrind, arguments.tools, origin_port, folder, arguments.satchel)
    try:
        with load(arguments.tools, target, cell, arguments.count) as running:
            target.switch("on")
            running.go()
            target.switch("off")
            requests = running.result()["requests"]
    finally:
        target.stop()
    text = pathlib.Path(target.counts()).read_text(encoding="utf-8", errors="replace")
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(target.counts(), arguments.keep / f"{re.sub('[^a-z0-9]+', '-', cell.lower())}.out")
    return int(re.search(r"^totals: (\d+)", text, re.M)[1]) / requests


def user_share(arguments, origin_port, folder, cell):
    target = started(Satchel, arguments.tools, origin_port, folder, arguments.satchel)
    try:
        with load(arguments.tools, target, cell, 150 * arguments.count) as running:
            before = stat_of(target.process.pid)
            running.go()
            after = stat_of(target.process.pid)
    finally:
        target.stop()
    user, system = (int(after[i]) - int(before[i]) for i in (11, 12))
    return user / (user + system)


def main():
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=3000, help="requests that are counted")
    parser.add_argument("--keep", type=pathlib.Path, metavar="DIR")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, \
            origin_server(arguments.tools) as origin_port:
        print("| cell | instructions | user time |\n|---|---|---|")
        for number, cell in enumerate(CELLS):
            count = instructions(arguments, origin_port, f"{folder}/v{number}", cell)
            share = user_share(arguments, origin_port, f"{folder}/n{number}", cell)
            print(f"| {cell} | {count:,.0f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
