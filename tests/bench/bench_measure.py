"""Reading what a process used: CPU time, memory, system calls. Linux, /proc."""
import argparse
import contextlib
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time

SERVER_CORE, CLIENT_CORE = 0, 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parser_of(text):
    """For a script that needs the binary and what compare.sh has built."""
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=text.split("\n", maxsplit=1)[0])
    parser.add_argument("--satchel", default=os.environ.get(
        "SATCHEL_BINARY", str(root / "build/bench-release/bin/satchel")))
    parser.add_argument("--tools", type=pathlib.Path, default=root / "build/bench-tools",
                        help="where compare.sh has built load_client and origin_server")
    return parser


def pin(core):
    """For preexec_fn: the child and all it starts stay on one core; many descriptors."""
    def apply():
        os.sched_setaffinity(0, {core})
    return apply


def stat_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def tree(pid):
    """`pid` and its descendants, living ones only."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents.setdefault(int(stat_of(name)[1]), []).append(int(name))
            except (OSError, IndexError):
                pass
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        todo.extend(parents.get(current, []))
    return [p for p in found if os.path.exists(f"/proc/{p}")]


def threads(pid):
    """{thread id: name}."""
    names = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8", errors="replace") as file:
                names[int(tid)] = file.read().strip()
        except OSError:
            pass
    return names


def cpu_seconds(pids):
    """CPU time of all threads, ended ones included. The kernel keeps utime+stime of
    /proc/PID/stat as this same clock cut to 10 ms; read as a clock it has nanoseconds."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            ticks = stat_of(pid)
            total += (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return total


def thread_cpu_seconds(tids):
    total = 0.0
    for tid in tids:
        try:
            total += time.clock_gettime((~tid << 3) | 6)
        except OSError:
            pass
    return total


def machine_busy_seconds():
    """CPU time spent by everything on the machine, stolen time included."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(x) for x in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1)) * 1024
    return total


def disk_bytes(folder):
    return sum(os.lstat(os.path.join(at, name)).st_blocks * 512
               for at, _, names in os.walk(folder) for name in names)


def stop(process, patience=4.0):
    """Ends one process we started and what it started."""
    if process is None:
        return
    family = tree(process.pid) if process.poll() is None else []
    for pid in family[:1]:
        os.kill(pid, signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_for_port(port, process, seconds=10.0):
    """Waits for the process to listen or to end, whichever comes first."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pass
        try:
            status = process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"ended with status {status} before it listened")
    raise RuntimeError(f"port {port} never answered")


@contextlib.contextmanager
def origin_server(bin_dir):
    """The port of an origin that lives as long as the block."""
    port = free_port()
    process = subprocess.Popen([os.path.join(bin_dir, "origin_server"), str(port)],
                               preexec_fn=pin(CLIENT_CORE))
    try:
        wait_for_port(port, process)
        yield port
    finally:
        stop(process)


def fetch(port, path, tls=False):
    """(status, {lower-case field: value}, body bytes) of one GET, certificate unchecked."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(5)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(connection, suppress_ragged_eofs=True)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
                           .encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return int(lines[0].split()[1]), fields, body


class Strace:
    """Counts the system calls of a process tree while it serves. Slows it; counts stay true."""

    def __init__(self, pids, folder):
        self.output = os.path.join(folder, "strace.txt")
        command = ["strace", "-c", "-f", "-o", self.output]
        for pid in pids:
            command += ["-p", str(pid)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        # It says so of each process once it holds all its threads, and ends when it cannot.
        for _ in pids:
            line = self.process.stderr.readline()
            if " attached" not in line:
                self.finish()
                raise RuntimeError(f"strace could not attach: {line.strip()}")

    def finish(self):
        """{call: count}."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        calls = {}
        if not os.path.exists(self.output):
            return calls
        with open(self.output, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split()
                if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
                    calls[fields[-1]] = int(fields[3])
        return calls
