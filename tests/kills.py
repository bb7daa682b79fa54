#!/usr/bin/env python3
"""Kills an audit at random moments, resumes it, and compares the run directory with that of an undisturbed audit.

    tests/kills.py PROGRAM [--moments 100] [--seed 0] [--jobs 1]

Prints how many runs gave the same bytes; exits 1 unless all did. The moments are drawn uniformly from the time that the undisturbed
audit took, so that some runs are killed while models are read and some when the tables are written. Seconds (times.csv), the lock,
what was set aside and temporary files are not compared; with --jobs above 1 neither are manifest.json and report.html, which name
the number of workers.
"""

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

AUDIT = (
    "audit digits-standard --data digits -n 30 --threat linf:0.1 --attack fgsm --attack pgd:steps=3 --metric ams "
    "--landscapes 1 --shard-size 10 --batch-size 16 --engine tract --threads 1 --out run"
).split()

# Files that are not compared: with one worker, with several.
APART = {False: {"lock", "times.csv"}, True: {"lock", "times.csv", "manifest.json", "report.html"}}


def tree(run, apart):
    files = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        skipped = name in apart or name.startswith(("set-aside/", "claims/")) or path.name.startswith(".part-")
        if path.is_file() and not skipped:
            files[name] = path.read_bytes()
    return files


def audit(program, folder, jobs, more=()):
    command = [program, *AUDIT, "--jobs", str(jobs), *more]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def whole(program, folder, jobs, more=()):
    process = audit(program, folder, jobs, more)
    said = process.communicate()[1].decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"the audit ended with {process.returncode}: {said}")


def killed_and_resumed(program, jobs, moment):
    """The files of a run that was killed after so many seconds and resumed, and whether the kill came before its end."""
    with tempfile.TemporaryDirectory() as folder:
        process = audit(program, folder, jobs)
        try:
            process.communicate(timeout=moment)
            killed = False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed = True
        whole(program, folder, jobs, ["--resume"])
        return killed, tree(pathlib.Path(folder, "run"), APART[jobs > 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    program = str(pathlib.Path(given.program).resolve())
    drawn = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        whole(program, folder, 1)
        took = time.monotonic() - began
        expected = tree(pathlib.Path(folder, "run"), APART[given.jobs > 1])
    same = early = 0
    for number in range(given.moments):
        moment = drawn.uniform(0.0, took)
        killed, found = killed_and_resumed(program, given.jobs, moment)
        early += killed
        same += found == expected
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                print(f"moment {number} ({moment:.2f} s): {name} differs", flush=True)
    print(f"{same} of {given.moments} runs gave the same bytes; {early} were killed before they had ended")
    print(f"an undisturbed run took {took:.1f} s")
    return 0 if same == given.moments else 1


if __name__ == "__main__":
    sys.exit(main())
