"""What one gradient step needs: peak memory beside PyTorch's, and how many nodes the gradient adds to a network.

Knows the contenders of gradient_step.py and Linux' /proc; measures no time, so other programs do not disturb it.

    python tests/bench/gradient_memory.py [--out FILE.md]

Every number comes from a fresh process that loads one network and takes a few steps at one batch size. «Idle» is the resident set with the
engine loaded and no network, «peak» the largest it ever was (VmHWM), read after the steps.
"""

import argparse
import datetime
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from gradient_step import BATCHES, NETS, OURS, PYTORCH, ROOT, WORK, Contender, continue_in_virtual_environment, missing, peer, processor, runtime_library

STEPS = 4


def main():
    options = options_from_command_line()
    if not options.python_ready:
        continue_in_virtual_environment(__file__)
    WORK.mkdir(parents=True, exist_ok=True)
    paths = {net: WORK / f"{net}.onnx" for net in options.nets}
    if missing(paths):
        subprocess.run([sys.executable, str(Path(__file__).with_name("gradient_step.py")), "--export", *options.nets], check=True)
    rows, nodes = [], {}
    for net, path in paths.items():
        for batch in options.batches:
            row = {}
            for name in (*PYTORCH, OURS):
                row[name] = measured(start(name, options), net, path, batch, nodes)
                print(f"{net}, batch {batch}, {name}: {row[name][0]:.0f} MiB idle, {row[name][1]:.0f} at its peak", file=sys.stderr, flush=True)
            rows.append((net, batch, row))
    report = render(options, rows, nodes)
    print(report)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--ours", type=Path, default=ROOT / "target" / "release" / "gradient-step", help="this project's contender")
    parser.add_argument("--python-ready", action="store_true", help="use this Python, which has the peers already")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    return parser.parse_args()


def start(name, options):
    if name == OURS:
        return Contender(OURS, [str(options.ours), "--threads", str(options.threads)], runtime_library())
    return peer(name, options.threads, PYTORCH[name][1])


def measured(contender, net, path, batch, nodes):
    """(idle, peak) in MiB of a process that ends here."""
    try:
        contender.ask("info")
        idle = memory(contender, "VmRSS")
        contender.ask(f"load {net} {path}")
        if contender.name == OURS:
            nodes[net] = [int(n) for n in contender.ask(f"nodes {net}").split()]
        contender.ask(f"run {net} {batch} {STEPS}")
        return idle, memory(contender, "VmHWM")
    finally:
        contender.quit()


def memory(contender, field):
    for line in Path(f"/proc/{contender.process.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc says nothing about {field}")


def render(options, rows, nodes):
    command = shlex.join(["python", "tests/bench/gradient_memory.py", *(a for a in sys.argv[1:] if a != "--python-ready")])
    lines = [
        "# Memory of one gradient step, and the size of its graph",
        "",
        f"    {command}",
        "",
        f"{datetime.date.today()}; {processor()}; {options.threads} threads each; Python {platform.python_version()}; {platform.system()}.",
        "",
        f"Resident memory in MiB of a fresh process: the peak while it loads and computes {STEPS} steps;",
        "in brackets the memory before it loads a network.",
        "",
        "| net | batch | " + " | ".join(f"PyTorch {name}" for name in PYTORCH) + " | ours | least PyTorch to ours |",
        "|---|---:" + "|---:" * (len(PYTORCH) + 2) + "|",
    ]
    for net, batch, row in rows:
        cells = [f"{peak:.0f} ({idle:.0f})" for idle, peak in row.values()]
        least = min(peak for name, (_, peak) in row.items() if name != OURS)
        lines.append(f"| {net} | {batch} | {' | '.join(cells)} | {least / row[OURS][1]:.2f}× |")
    lines += [
        "",
        "Nodes after simplification, before the engine's own forms:",
        "",
        "| net | image to logits | image to loss | with the gradient | to logits | to loss |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for net, (logits, loss, gradient) in nodes.items():
        lines.append(f"| {net} | {logits} | {loss} | {gradient} | {gradient / logits:.2f}× | {gradient / loss:.2f}× |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
