"""Measures one gradient step on the embedded engine, tract, beside ONNX Runtime and PyTorch.

Knows which contenders stand beside each other; gradient_step.py knows how they take turns, peers.py knows PyTorch, and `target/release/gradient-step` is this
project.

    python tests/bench/engines.py [--out FILE.md] [--nets NAME …]

Setting up is that of gradient_step.py: the same virtual environment, the same processes, the same turns.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import gradient_step as steps

MODELS = {"smallnet": "smallnet-standard", "digits_cnn": "digits-standard"}
NETS = [*steps.NETS, *MODELS]
# onnx2torch does not read it: `allowzero=1` of its Reshape is not implemented.
WITHOUT_PYTORCH = {"digits_cnn"}
# «Plain» has no special form of a layer: neither squares nor many images at a time.
OURS = {"tract": ["--engine", "tract"], "tract-plain": ["--engine", "tract", "--plain"], "ort": ["--engine", "ort"], "ort-plain": ["--engine", "ort", "--plain"]}


def main():
    options = options_from_command_line()
    if not options.python_ready:
        steps.continue_in_virtual_environment(__file__)
    steps.WORK.mkdir(parents=True, exist_ok=True)
    made = {net: steps.WORK / f"{net}.onnx" for net in options.nets if net in steps.NETS}
    if steps.missing(made):
        subprocess.run([sys.executable, str(steps.FOLDER / "gradient_step.py"), "--export", *made], check=True)
    paths = {net: made.get(net) or steps.ROOT / "models" / MODELS[net] / "model.onnx" for net in options.nets}
    load = os.getloadavg()[0]
    command = [str(options.ours), "--threads", str(options.threads)]
    contenders = {name: steps.Contender(name, [*command, *extra], steps.runtime_library()) for name, extra in OURS.items()}
    for kind, (_, environment) in steps.PYTORCH.items():
        contenders[kind] = steps.peer(kind, options.threads, environment)
    try:
        infos = {name: json.loads(contender.ask("info")) for name, contender in contenders.items()}
        samples = {}
        for net, path in paths.items():
            able = {name: contender for name, contender in contenders.items() if name in OURS or net not in WITHOUT_PYTORCH}
            for contender in able.values():
                contender.ask(f"load {net} {path}")
            samples |= steps.take_turns(able, argparse.Namespace(**{**vars(options), "nets": [net]}))
    finally:
        for contender in contenders.values():
            contender.quit()
    report = render(options, infos, samples, load)
    print(report)
    if options.out:
        options.out.write_text(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--ours", type=Path, default=steps.ROOT / "target" / "release" / "gradient-step", help="this project's contender")
    parser.add_argument("--python-ready", action="store_true", help="use this Python, which has the peers already")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--batches", nargs="+", type=int, default=list(steps.BATCHES))
    return parser.parse_args()


def render(options, infos, samples, load):
    command = shlex.join(["python", "tests/bench/engines.py", *(a for a in sys.argv[1:] if a != "--python-ready")])
    lines = [
        "# One gradient step on the embedded engine",
        "",
        f"    {command}",
        "",
        f"{steps.datetime.date.today()}; {steps.processor()}; {options.threads} threads each.",
        "",
        *(f"- {name}: {info['engine']}, {info['version']}" for name, info in infos.items()),
        "",
        f"Medians in ms over {options.rounds} rounds in which the contenders take turns. «Plain» has no special forms",
        "of layers (`--plain`). The last columns are ratios; in the last two, above 1, the plain form of",
        "ONNX Runtime or PyTorch (the fastest of its forms) takes longer than tract. Before the first turn",
        f"other programs kept {load:.1f} cores busy.",
        "",
        "| net | batch | tract | tract, plain | ONNX Runtime | ONNX Runtime, plain | PyTorch strongest | tract to ONNX Runtime | ONNX Runtime plain to tract | PyTorch to tract |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (net, batch), row in samples.items():
        median = {name: statistics.median(ms) for name, ms in row.items()}
        strongest = min((median[kind] for kind in steps.PYTORCH if kind in median), default=None)
        times = [*(steps.number(median[name]) for name in OURS), "–" if strongest is None else steps.number(strongest)]
        ratios = [median["tract"] / median["ort"], median["ort-plain"] / median["tract"], strongest and strongest / median["tract"]]
        lines.append("| " + " | ".join([net, str(batch), *times, *("–" if r is None else f"{r:.2f}×" for r in ratios)]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
