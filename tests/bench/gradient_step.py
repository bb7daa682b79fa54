"""Measures one gradient step (forward, cross-entropy, backward to the input) of lenet, ddnet and rn18: this project against PyTorch and torchattacks.

Knows how to set up the contenders, take turns, and print a table; peers.py knows PyTorch, and `target/release/gradient-step` is this project.

    python tests/bench/gradient_step.py [--out FILE.md] [--nets NAME …] [--shared DIR]

The first run makes a virtual environment under target/bench-venv and installs the pinned peers into it with pip; `--python-ready` says that this Python has them.
Every contender is a process of its own with the same number of threads, asked by lines of text (the protocol stands in peers.py). They take turns within every
round: a round asks each of them once for a few steps while the others sleep, and what is shown is the median over all rounds.
"""

import argparse
import datetime
import glob
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
VENV = ROOT / "target" / "bench-venv"
WORK = ROOT / "target" / "bench"
PEERS = {"torch": "2.15.0", "torchattacks": "3.5.1", "onnx": "1.22.0", "onnxscript": "0.7.2", "onnx2torch": "1.5.15", "torchvision": "0.29.2", "onnxruntime": "1.31.1", "numpy": "2.4.6"}

NETS = ("lenet", "ddnet", "rn18")
OTHERS = ("mobilenetv2", "vit")
# of a folder that `--shared` names, in `models/`
FILES = {"resnet20": "resnet20_cifar10.onnx", "resnet_2b": "resnet_2b.onnx"}
BATCHES = (1, 16, 64)
OURS = "ours"
# What a strong user gives glibc's malloc, so that large tensors are not mapped and unmapped in every step.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_TOP_PAD_": str(2**28)}
PYTORCH = {
    "eager": ("as shipped", {}),
    "folded": ("BN folded, weights frozen, malloc tuned", MALLOC),
    "folded-channels-last": ("the same, channels_last", MALLOC),
}
# Aimed at per visit, so that a turn is neither a cold start nor a long wait for the others.
VISIT_MS = 300
PAUSE_S = 0.05


def main():
    options = options_from_command_line()
    if not options.python_ready:
        continue_in_virtual_environment()
    WORK.mkdir(parents=True, exist_ok=True)
    made = {net: WORK / f"{net}.onnx" for net in options.nets if net not in FILES}
    if missing(made):
        subprocess.run([sys.executable, __file__, "--export", *made], check=True)
    paths = {net: made.get(net) or options.shared / "models" / FILES[net] for net in options.nets}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5:
        print(f"Other programs keep {load:.1f} cores busy, so the times below will be too long and uneven. Stop them and measure again.", file=sys.stderr)

    contenders = {kind: peer(kind, options.threads, extra) for kind, (_, extra) in PYTORCH.items()}
    contenders["torchattacks"] = peer("torchattacks", options.threads, {})
    if not options.without_ours:
        contenders[OURS] = Contender(OURS, [str(options.ours)], runtime_library())
    try:
        infos = {name: json.loads(c.ask("info")) for name, c in contenders.items()}
        for name, info in infos.items():
            if info["threads"] != options.threads:
                raise SystemExit(f"`{name}` runs {info['threads']} threads, the others {options.threads}: the comparison would not be fair.")
        for net, path in paths.items():
            for contender in contenders.values():
                contender.ask(f"load {net} {path}")
        limits = json.loads(contenders["eager"].ask("limits"))
        work = {net: int(contenders["eager"].ask(f"work {net}")) for net in paths}
        agreement = None if options.without_ours else compare(contenders, paths, options.threads)
        samples = take_turns(contenders, options)
        idle = max(c.idle_share() for c in contenders.values())
    finally:
        for contender in contenders.values():
            contender.quit()
    report = render(options, infos, samples, agreement, (limits, work), idle, load)
    print(report)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--ours", type=Path, default=ROOT / "target" / "release" / "gradient-step", help="this project's contender")
    parser.add_argument("--without-ours", action="store_true", help="measure the peers alone")
    parser.add_argument("--python-ready", action="store_true", help="use this Python, which has the peers already")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--nets", nargs="+", choices=[*NETS, *OTHERS, *FILES], default=list(NETS))
    parser.add_argument("--shared", type=Path, help="a folder with the third-party models that the tests read, for resnet20 and resnet_2b")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--export", nargs="+", choices=[*NETS, *OTHERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        raise SystemExit(export(options.export))
    if not options.shared and set(options.nets) & set(FILES):
        parser.error("resnet20 and resnet_2b need --shared")
    if not options.without_ours and not options.ours.exists():
        name = os.path.relpath(options.ours)
        raise SystemExit(f"{name} is not there: build it with `cargo build --release`, name it with --ours, or measure the peers with --without-ours.")
    return options


# ---- setting up -----------------------------------------------------------------------------------------------------------


def continue_in_virtual_environment(script=__file__):
    """Install the peers where nothing else is touched, and start the script again with that Python."""
    python = VENV / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = [f"{name}=={version}" for name, version in PEERS.items()]
    mark = VENV / "installed.txt"
    if not mark.exists() or mark.read_text().split() != wanted:
        venv.create(VENV, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        mark.write_text("\n".join(wanted))
    raise SystemExit(subprocess.run([str(python), script, "--python-ready", *sys.argv[1:]]).returncode)


def missing(paths):
    source = (FOLDER / "architectures.py").stat().st_mtime
    return any(not p.exists() or p.stat().st_mtime < source for p in paths.values())


def export(nets):
    """In a process of its own, so that the one that keeps the clock never loads PyTorch."""
    from architectures import build
    from architectures import export as write
    from peers import SEED

    for net in nets:
        write(build(net, seed=SEED), net, WORK / f"{net}.onnx")


def runtime_library():
    """Ours runs the same ONNX Runtime that pip installed beside the peers, unless the environment names another."""
    if "ORT_DYLIB_PATH" in os.environ:
        return {}
    found = sorted(p for folder in sys.path for p in glob.glob(f"{folder}/onnxruntime/capi/libonnxruntime.so*"))
    return {"ORT_DYLIB_PATH": found[0]} if found else {}


def peer(kind, threads, extra):
    return Contender(kind, [sys.executable, str(FOLDER / "peers.py"), kind, str(threads)], {"OMP_NUM_THREADS": str(threads), **extra})


class Contender:
    """A process that answers lines. It counts the processor time that it used between questions, to show that it slept."""

    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
        self.rested = self.used_while_resting = 0.0
        self.since = None

    def ask(self, request):
        if self.since:
            when, used = self.since
            self.rested += time.monotonic() - when
            self.used_while_resting += self.processor_seconds() - used
        self.since = None
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise SystemExit(f"`{self.name}` was asked `{request}` and answered: {answer or 'nothing; it has ended'}")
        return answer

    def rest(self):
        """Let worker threads fall asleep, then start to watch them."""
        time.sleep(PAUSE_S)
        self.since = (time.monotonic(), self.processor_seconds())

    def processor_seconds(self):
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def idle_share(self):
        return self.used_while_resting / self.rested if self.rested else 0.0

    def quit(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.write("quit\n")
                self.process.stdin.close()
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()


# ---- measuring ------------------------------------------------------------------------------------------------------------


def take_turns(contenders, options):
    """{(net, batch): {contender: [milliseconds]}}. The order of the turns rotates from round to round."""
    samples = {}
    for net in options.nets:
        for batch in options.batches:
            row = samples[net, batch] = {name: [] for name in contenders}
            repeats = {}
            for name, contender in contenders.items():
                start = time.monotonic()
                contender.ask(f"run {net} {batch} 2")
                # Two steps and the untimed one, or what torchattacks makes of them.
                cost = (time.monotonic() - start) * 1e3 / 3
                contender.rest()
                repeats[name] = max(2, min(50, round(VISIT_MS / cost)))
            names = list(contenders)
            for k in range(options.rounds):
                turn = k % len(names)
                for name in names[turn:] + names[:turn]:
                    row[name] += map(float, contenders[name].ask(f"run {net} {batch} {repeats[name]}").split())
                    contenders[name].rest()
            shown = ", ".join(f"{name} {statistics.median(ms):.3f} ms" for name, ms in row.items())
            print(f"{net}, batch {batch}: {shown}", file=sys.stderr, flush=True)
    return samples


def compare(contenders, paths, threads):
    """Our gradients and PyTorch's, each against PyTorch in float64: |a - b| relative to the root mean square of b in that sample."""
    import numpy as np
    import onnx

    batch, rows = 16, []
    reference = peer("float64", threads, {})
    try:
        for net, path in paths.items():
            reference.ask(f"load {net} {path}")
            shape = [extent.dim_value for extent in onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1:]]
            image = WORK / f"{net}-image.npy"
            np.save(image, np.random.RandomState(1).rand(batch, *shape).astype(np.float32))
            found = {}
            for name, contender in [("float64", reference), ("eager", contenders["eager"]), (OURS, contenders[OURS])]:
                target = WORK / f"{net}-{name}.npy"
                contender.ask(f"grad {net} {batch} {image} {target}")
                found[name] = np.load(target).astype(np.float64).reshape(batch, -1)
            truth = found.pop("float64")
            scale = np.sqrt((truth**2).mean(1, keepdims=True))
            for name, g in found.items():
                relative = np.abs(g - truth) / scale
                signs = int((np.sign(g) != np.sign(truth)).sum())
                rows.append((net, name, *np.percentile(relative, [50, 99, 99.9, 100]), signs, truth.size))
    finally:
        reference.quit()
    return rows


# ---- showing --------------------------------------------------------------------------------------------------------------


def render(options, infos, samples, agreement, physical, idle, load):
    command = shlex.join(["python", "tests/bench/gradient_step.py", *(a for a in sys.argv[1:] if a != "--python-ready")])
    lines = [
        "# One gradient step: forward, cross-entropy, backward to the input",
        "",
        f"    {command}",
        "",
        f"{datetime.date.today()}; {processor()}; {options.threads} threads each; Python {platform.python_version()}; {platform.system()}.",
        "",
        *(f"- {name}: {info['engine']}, {info['version']}" for name, info in infos.items()),
        "",
        f"Medians in ms over {options.rounds} rounds in which the contenders take turns. A ratio above 1 means that",
        "ours is faster by that factor. «Strongest» is the fastest of",
        "; ".join(f"`{kind}` ({what})" for kind, (what, _) in PYTORCH.items()) + ".",
        f"The busiest contender used {100 * idle:.1f} % of one core while it waited for its turn.",
        f"Before the first turn other programs kept {load:.1f} cores busy.",
        "",
        "| net | batch | PyTorch eager | PyTorch strongest | torchattacks | ours | ours to eager | ours to strongest | ours to torchattacks |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (net, batch), row in samples.items():
        median = {name: statistics.median(ms) for name, ms in row.items()}
        strongest = min(PYTORCH, key=median.get)
        peers = {"eager": median["eager"], "strongest": median[strongest], "torchattacks": median["torchattacks"]}
        ours = median.get(OURS)
        cells = [net, str(batch), number(peers["eager"]), f"{number(peers['strongest'])} ({strongest})", number(peers["torchattacks"])]
        cells += [number(ours) if ours else "–", *(f"{ms / ours:.2f}×" if ours else "–" for ms in peers.values())]
        lines.append("| " + " | ".join(cells) + " |")
    lines += limit_lines(*physical, samples)
    lines += ["", "Spread: the middle half of the samples, in ms.", "", "| net | batch | " + " | ".join(infos) + " |", "|---|---:" + "|---:" * len(infos) + "|"]
    for (net, batch), row in samples.items():
        lines.append(f"| {net} | {batch} | " + " | ".join(f"{middle_half(ms)} (n={len(ms)})" for ms in row.values()) + " |")
    if agreement:
        lines += [
            "",
            "Gradients against PyTorch in float64, 16 random images: the difference relative to the",
            "root mean square of the sample's gradient.",
            "",
            "| net | | median | 99 % | 99.9 % | largest | signs that differ |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for net, name, p50, p99, p999, top, signs, size in agreement:
            lines.append(f"| {net} | {name} | {p50:.1e} | {p99:.1e} | {p999:.1e} | {top:.1e} | {signs} of {size} |")
    return "\n".join(lines) + "\n"


def limit_lines(limits, work, samples):
    """Forward and backward are twice the products of the direct form of a forward pass. Tricks make the share larger than it is by itself."""
    lines = [
        "",
        f"The physical limit, measured in the same run: a product of matrices of 2048×2048 reaches {limits['operations']:.0f} GFLOP/s, and",
        f"a copy of 256 MB moves {limits['memory']:.0f} GB/s, read and written. The work of a step is counted as that of direct",
        "convolutions, forward and backward; a share above 100 % is possible where fewer products do.",
        "",
        "| net | batch | GFLOP of a step | ours, GFLOP/s | ours, share of the limit | PyTorch strongest, share |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for (net, batch), row in samples.items():
        step = 2 * 2 * work[net] * batch / 1e9
        rate = {name: step / statistics.median(ms) * 1e3 for name, ms in row.items()}
        share = {name: f"{100 * r / limits['operations']:.0f} %" for name, r in rate.items()}
        strongest = max(PYTORCH, key=rate.get)
        ours = [number(rate[OURS]), share[OURS]] if OURS in rate else ["–", "–"]
        lines.append(f"| {net} | {batch} | {step:.3g} | {ours[0]} | {ours[1]} | {share[strongest]} |")
    return lines


def number(ms):
    return f"{ms:.3g}" if ms < 100 else f"{ms:.0f}"


def middle_half(ms):
    if len(ms) < 2:
        return number(ms[0])
    low, _, high = statistics.quantiles(ms, n=4)
    return f"{number(low)} to {number(high)}"


def processor():
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


if __name__ == "__main__":
    main()
