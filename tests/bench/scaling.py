"""Measures how an audit scales: time and memory for more and more images, and two workers of one thread against one process of two.

    python tests/bench/scaling.py MODEL DATA [--out FILE.md] [--images N …] [--attack ATTACK] [--threat THREAT] [--rounds R]

Every round runs each case once, in turn. A case is an audit with one attack and without landscapes; the time is that of the attack's
jobs and that of the whole process, the memory the largest resident set of any process of the audit (the program, its engine, its
plugins and its workers). Time above the fixed cost should be linear in the number of images: the table gives the time per image between
neighbouring numbers of images.
"""

import argparse
import datetime
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    options = options_from_command_line()
    cases = [(n, jobs, threads) for jobs, threads in [(1, 2), (2, 1)] for n in options.images]
    found = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            found[case].append(audit(options, *case))
    report = render(options, cases, found)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report)
    print(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="a folder that `--data` takes")
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--engine", default="ort")
    parser.add_argument("--ort-lib")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000, 3000, 10000])
    parser.add_argument("--attack", default="pgd:steps=20")
    parser.add_argument("--threat", default="linf:0.015")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    return parser.parse_args()


def audit(options, images, jobs, threads):
    """Seconds of the attack's jobs, seconds of the whole, and MiB of the largest process."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [options.program, "audit", options.model, "--data", options.data, "-n", images, "--threat", options.threat]
        command += ["--engine", options.engine, "--attack", options.attack, "--landscapes", 0, "--threads", threads, "--jobs", jobs]
        command += ["--out", run] + (["--ort-lib", options.ort_lib] if options.ort_lib else [])
        start = time.perf_counter()
        child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        largest = watch(child)
        said = child.stderr.read()
        if child.wait() not in (0, 9):
            raise SystemExit(f"the audit ended with {child.returncode}: {said[-2000:].decode()}")
        seconds = time.perf_counter() - start
        times = [line.split(",") for line in (run / "times.csv").read_text().splitlines()[1:]]
        name = options.attack.split(":")[0]
        return sum(float(seconds) for job, seconds in times if f".{name}-" in job), seconds, largest


def watch(child):
    """The largest resident set of the process and of those that it started, in MiB, looked at 20 times a second until it ends."""
    largest = 0.0
    while child.poll() is None:
        largest = max([largest] + [resident(pid) for pid in family(child.pid)])
        time.sleep(0.05)
    return largest


def family(pid):
    found, rest = [], [pid]
    while rest:
        one = rest.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                rest += [int(word) for word in task.read_text().split()]
            except OSError:
                pass
    return found


def resident(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def render(options, cases, found):
    middle = lambda case, place: statistics.median(run[place] for run in found[case])
    lines = [
        "# How an audit scales", "",
        f"    python tests/bench/scaling.py {options.model.name} {options.data.name} --attack {options.attack} --threat {options.threat}", "",
        f"{datetime.date.today().isoformat()}; {os.cpu_count()} cores. Medians of {options.rounds} rounds.", "",
        "| processes × threads | images | attack, s | the whole, s | µs of the attack per image, from the row before | memory of the largest process, MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for case in cases:
        n, jobs, threads = case
        before = [other for other in cases if other[1:] == case[1:] and other[0] < n]
        slope = (middle(case, 0) - middle(before[-1], 0)) / (n - before[-1][0]) * 1e6 if before else None
        step = f"{slope:.0f}" if slope else ""
        lines.append(f"| {jobs} × {threads} | {n} | {middle(case, 0):.2f} | {middle(case, 1):.2f} | {step} | {max(run[2] for run in found[case]):.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
