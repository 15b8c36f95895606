"""Samples to tables."""
import statistics

import bench_cells as cells

CPU_ROUNDS_NOTE = ("us: CPU of the server per request, all its threads and processes; xlim: that "
                   "over limit's; vs: that over Satchel's (above 1, Satchel needs less)")
# Figures to reach: (cell, of whom, at most this times theirs).
GOALS = [
    ("hit-1k", "limit", 1.28), ("hit-1k", "haproxy", 1 / 1.25), ("hit-10k", "limit", 1.25),
    ("hit-100k", "limit", 1.05), ("hit-1m", "limit", 1.05), ("zipf", "limit", 1.45),
    ("zipf", "haproxy", 1 / 1.5), ("miss", "nginx", 0.95), ("store", "haproxy", 0.95),
    ("tls", "limit", 1.28), ("close", "limit", 1.15),
]
GOALS_OF = {
    "herd": ("p99 of 200 on a cold key, ms", "p99", 210),
    "swr": ("p99 of 200 on an expired key, ms", "p99", 8),
    "memory": ("bytes per 1 KiB object beyond its body", "bytes", 400),
    "idle": ("bytes per idle connection", "bytes", 512),
    "syscalls hit": ("system calls per hit", "calls", 2.1),
    "syscalls miss": ("system calls per miss", "calls", 4.5),
}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(x) for x in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def median(samples, key):
    values = [sample[key] for sample in samples if sample is not None]
    return statistics.median(values) if values else None


def ratio(results, cell, name, other):
    """Median over the rounds of CPU(name) / CPU(other), both of the same round."""
    pairs = zip(results.get(cell, {}).get(name, []), results.get(cell, {}).get(other, []))
    values = [a["cpu_us"] / b["cpu_us"] for a, b in pairs if a and b and b["cpu_us"] > 0]
    return statistics.median(values) if values else None


def show(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def throughput(results, order, objects):
    text = f"{CPU_ROUNDS_NOTE}.\n\n"
    for cell, (title, _) in cells.THROUGHPUT.items():
        if cell not in results:
            continue
        if cell == "zipf":
            title = f"hit, Zipf over {objects:,} objects of 1-4 KiB"
        rows = []
        for name in order:
            samples = results[cell].get(name)
            if not samples or not any(samples):
                continue
            spread = [s["cpu_us"] for s in samples if s]
            versus = ratio(results, cell, name, "satchel")
            rows.append([f"**{name}**" if name == "satchel" else name,
                         f"{statistics.median(spread):.2f} ({min(spread):.2f}-{max(spread):.2f})",
                         show(ratio(results, cell, name, "limit")), show(versus),
                         show(median(samples, "rps"), "{:,.0f}"),
                         f"{median(samples, 'p50'):.0f} / {median(samples, 'p99'):.0f}"])
        if rows:
            text += f"### {cell}: {title}\n"
            text += table(["", "us (least-most)", "xlim", "vs", "requests/s", "p50 / p99 us"],
                          rows) + "\n"
    return text


def one_off(results, order):
    text = ""
    if rows := [[name, show(median(results.get("herd", {}).get(name, []), "fetches"), "{:.0f}"),
                 show(median(results.get("herd", {}).get(name, []), "p99"), "{:.1f}"),
                 show(median(results.get("swr", {}).get(name, []), "fetches"), "{:.0f}"),
                 show(median(results.get("swr", {}).get(name, []), "p99"), "{:.1f}")]
                for name in order
                if any(any(results.get(c, {}).get(name, [])) for c in ("herd", "swr"))]:
        text += (f"### herd and swr: {cells.HERD} clients at once on one key, origin "
                 f"{cells.HERD_DELAY_MS} ms\n")
        text += table(["", "cold: fetches", "cold: p99 ms", "expired: fetches",
                       "expired: p99 ms"], rows) + "\n"
    if rows := [[name, show(median(results.get("memory", {}).get(name, []), "bytes"), "{:.0f}"),
                 show(median(results.get("idle", {}).get(name, []), "bytes"), "{:.0f}")]
                for name in order
                if name in results.get("memory", {}) or name in results.get("idle", {})]:
        text += "### memory: bytes\n"
        text += table(["", "per stored 1 KiB object, beyond its body", "per idle connection"],
                      rows) + "\n"
    titles = {"hit": "hit", "miss": "miss", "connection": "hit on a connection of its own"}
    for kind in titles:
        if found := results.get(f"syscalls {kind}"):
            text += f"### syscalls: per {titles[kind]}, under strace\n"
            text += table(["", "calls", "which"],
                          [[name, f"{found[name][0]['calls']:.2f}", found[name][0]["which"]]
                           for name in order if name in found]) + "\n"
    return text


def goals(results):
    rows = []
    for cell, other, most in GOALS:
        got = ratio(results, cell, "satchel", other)
        if got is not None:
            rows.append([f"{cell}: CPU over {other}'s", f"<= {most:.2f}", f"{got:.2f}",
                         "yes" if got <= most else "no"])
    for cell, (title, key, most) in GOALS_OF.items():
        got = median(results.get(cell, {}).get("satchel", []), key)
        if got is not None:
            rows.append([title, f"<= {most}", f"{got:.2f}", "yes" if got <= most else "no"])
    for cell in ("herd", "swr"):
        got = median(results.get(cell, {}).get("satchel", []), "fetches")
        if got is not None:
            rows.append([f"{cell}: origin fetches", "1", f"{got:.0f}", "yes" if got == 1 else "no"])
    log = log_cost(results)
    if log is not None:
        rows.append(["access log, us of the worker per hit", "<= 1", f"{log:.2f}",
                     "yes" if log <= 1 else "no"])
    return "## Satchel against its goals\n" + table(["", "goal", "now", "met"], rows) if rows else ""


def log_cost(results):
    pairs = zip(results.get("hit-1k", {}).get("satchel", []),
                results.get("hit-1k", {}).get("satchel-nolog", []))
    values = [a["worker_us"] - b["worker_us"] for a, b in pairs if a and b]
    return statistics.median(values) if values else None


def others_share(results):
    """Median share of one core that programs outside the measurement used meanwhile."""
    values = [sample["others"] for cell in cells.THROUGHPUT if cell not in ("hit-wrk", "tls")
              for samples in results.get(cell, {}).values() for sample in samples if sample]
    if not values:
        return "unknown"
    values.sort()
    return f"{statistics.median(values):.0%} of a core in the median sample, {values[-1]:.0%} at most"
