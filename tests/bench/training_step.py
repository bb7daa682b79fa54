"""Measures one step of training (inner attack, cost, derivatives by all parameters, update): this project against PyTorch.

Knows how the contenders take turns and how a table is printed; training_peers.py knows PyTorch, `target/release/training-step` is this project.

    python tests/bench/training_step.py [--out FILE.md] [--cases lenet:ce …] [--memory]

Contenders, their turns and the environment are those of gradient_step.py; `--python-ready` says that this Python has PyTorch and onnx.
With `--memory` no time is measured, but the peak of the resident memory of a fresh process that takes a few steps.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import sys
import time
from pathlib import Path

from gradient_memory import memory
from gradient_step import FOLDER, MALLOC, OURS, PAUSE_S, ROOT, VISIT_MS, WORK, Contender, continue_in_virtual_environment, middle_half, number, processor, runtime_library

PYTORCH = {"eager": "contiguous", "channels-last": "channels_last"}
# What is measured, and the ratio to the strongest PyTorch that is aimed at.
CASES = {"lenet:ce": 1.3, "lenet:jacobian": 1.6, "lenet:amsreg": 1.6, "lenet:at-pgd10": 1.5, "resnet18:ce": 1.0}
AGREE = ("lenet:ce", "lenet:jacobian-exact", "resnet18:ce")
STEPS = 4


def main():
    options = options_from_command_line()
    if not options.python_ready:
        continue_in_virtual_environment(__file__)
    WORK.mkdir(parents=True, exist_ok=True)
    report = remembered(options) if options.memory else measured(options)
    print(report)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--ours", type=Path, default=ROOT / "target" / "release" / "training-step", help="this project's contender")
    parser.add_argument("--python-ready", action="store_true", help="use this Python, which has the peers already")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="NET:RECIPE")
    parser.add_argument("--agreement", action="store_true", help="compare costs over five steps first")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    return parser.parse_args()


def contender(name, options):
    if name == OURS:
        return Contender(OURS, [str(options.ours), "--threads", str(options.threads)], runtime_library())
    command = [sys.executable, str(FOLDER / "training_peers.py"), name, str(options.threads)]
    return Contender(name, command, {"OMP_NUM_THREADS": str(options.threads), **MALLOC})


def prepare(contenders, cases):
    """Every peer has the seeded weights of our architectures."""
    for net in {case.split(":")[0] for case in cases}:
        path = WORK / f"{net}-seeded.onnx"
        contenders[OURS].ask(f"write {net} {path}")
        for name in PYTORCH:
            if name in contenders:
                contenders[name].ask(f"load {net} {path}")


# ---- time -----------------------------------------------------------------------------------------------------------------


def measured(options):
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    contenders = {name: contender(name, options) for name in (*PYTORCH, OURS)}
    try:
        infos = {name: json.loads(c.ask("info")) for name, c in contenders.items()}
        prepare(contenders, [*options.cases, *(AGREE if options.agreement else ())])
        agreement = compared(contenders) if options.agreement else []
        samples = {case: turns(case, contenders, options) for case in options.cases}
        idle = max(c.idle_share() for c in contenders.values())
    finally:
        for c in contenders.values():
            c.quit()
    return render(options, infos, samples, agreement, idle, load)


def turns(case, contenders, options):
    """{contender: [milliseconds]}. The order of the turns rotates from round to round."""
    what = f"{case.replace(':', ' ')} {options.batch}"
    row, repeats = {name: [] for name in contenders}, {}
    for name, c in contenders.items():
        c.ask(f"run {what} 1")
        start = time.monotonic()
        c.ask(f"run {what} 1")
        # one step and the untimed one
        repeats[name] = max(2, min(50, round(2 * VISIT_MS / ((time.monotonic() - start) * 1e3 / 2))))
        c.rest()
    names = list(contenders)
    for k in range(options.rounds):
        turn = k % len(names)
        for name in names[turn:] + names[:turn]:
            row[name] += map(float, contenders[name].ask(f"run {what} {repeats[name]}").split())
            contenders[name].rest()
    shown = ", ".join(f"{name} {statistics.median(ms):.2f} ms" for name, ms in row.items())
    print(f"{case}, batch {options.batch}: {shown}", file=sys.stderr, flush=True)
    return row


def compared(contenders):
    """Mean costs of five steps from the same weights on the same images, ours beside PyTorch's."""
    rows = []
    for case in AGREE:
        what = f"costs {case.replace(':', ' ')} 32 5"
        theirs, ours = ([float(v) for v in contenders[name].ask(what).split()] for name in ("eager", OURS))
        rows.append((case, theirs, ours, max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))))
    return rows


def render(options, infos, samples, agreement, idle, load):
    lines = [
        f"    {command()}",
        "",
        f"{datetime.date.today()}; {processor()}; {options.threads} threads each; Python {platform.python_version()}; {platform.system()}.",
        "",
        *(f"- {name}: {info['engine']}, {info['version']}" for name, info in infos.items()),
        "",
        f"Medians in ms over {options.rounds} rounds in which the contenders take turns, batch {options.batch}. A ratio above 1 means that",
        "ours is faster by that factor. PyTorch has its malloc tuned and the fused SGD; «strongest» is the",
        "faster of its two layouts.",
        f"The busiest contender used {100 * idle:.1f} % of one core while it waited for its turn.",
        f"Before the first turn other programs kept {load:.1f} cores busy.",
        "",
        "| net | recipe | PyTorch contiguous | PyTorch channels_last | ours | ours to strongest | aim |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for case, row in samples.items():
        net, recipe = case.split(":")
        median = {name: statistics.median(ms) for name, ms in row.items()}
        ratio = min(median[name] for name in PYTORCH) / median[OURS]
        times = " | ".join(number(median[name]) for name in (*PYTORCH, OURS))
        aim = f"{CASES[case]}×" if case in CASES else "–"
        lines.append(f"| {net} | {recipe} | {times} | {ratio:.2f}× | {aim} |")
    lines += ["", "Spread: the middle half of the samples, in ms.", "", "| net | recipe | " + " | ".join(infos) + " |", "|---|---" + "|---:" * len(infos) + "|"]
    for case, row in samples.items():
        lines.append(f"| {case.replace(':', ' | ')} | " + " | ".join(f"{middle_half(ms)} (n={len(ms)})" for ms in row.values()) + " |")
    if agreement:
        lines += ["", "Mean costs of five steps from the same weights on the same 32 images:", "", "| case | PyTorch | ours | largest relative difference |", "|---|---|---|---:|"]
        for case, theirs, ours, off in agreement:
            shown = (" ".join(f"{v:.6f}" for v in costs) for costs in (theirs, ours))
            lines.append(f"| {case} | {' | '.join(shown)} | {off:.1e} |")
    return "\n".join(lines) + "\n"


def command():
    return shlex.join(["python", "tests/bench/training_step.py", *(a for a in sys.argv[1:] if a != "--python-ready")])


# ---- memory ---------------------------------------------------------------------------------------------------------------


def remembered(options):
    """(idle, peak) of a fresh process for every case and contender."""
    lines = [
        f"    {command()}",
        "",
        f"Resident memory in MiB of a fresh process: the peak (VmHWM) while it takes {STEPS} steps at batch {options.batch}; in brackets the",
        "memory before it loads a net.",
        "",
        "| net | recipe | PyTorch contiguous | PyTorch channels_last | ours | least PyTorch to ours |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for case in options.cases:
        found = {}
        for name in (*PYTORCH, OURS):
            contenders = {key: contender(key, options) for key in {name, OURS}}
            try:
                contenders[name].ask("info")
                idle = memory(contenders[name], "VmRSS")
                prepare(contenders, [case])
                contenders[name].ask(f"run {case.replace(':', ' ')} {options.batch} {STEPS - 1}")
                found[name] = (idle, memory(contenders[name], "VmHWM"))
            finally:
                for c in contenders.values():
                    c.quit()
            print(f"{case}, {name}: {found[name][0]:.0f} MiB idle, {found[name][1]:.0f} at its peak", file=sys.stderr, flush=True)
        least = min(found[name][1] for name in PYTORCH)
        cells = " | ".join(f"{peak:.0f} ({idle:.0f})" for idle, peak in found.values())
        lines.append(f"| {case.replace(':', ' | ')} | {cells} | {least / found[OURS][1]:.2f}× |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
