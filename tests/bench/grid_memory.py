"""Peak memory of landscapes, Φ and CLEVER by the number of their points: prints a table.

    python tests/bench/grid_memory.py MODEL.onnx [ONNX Runtime library]     (with a release build; FLATSCAPE_DATA names the data)

The model is one of Fashion-MNIST. The peak is that of the largest process of a command (program, engine worker, plugin worker), as the
kernel counts it for `wait4`. The number of points is what varies; samples and batch size stay.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("FLATSCAPE_PROGRAM", ROOT / "target/release/flatscape"))


def measured(arguments):
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [PROGRAM, *arguments, "--threads", "1", "--out", f"{folder}/run"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) not in (0, 9):
            raise SystemExit(said)
        return usage.ru_maxrss / 1024, time.perf_counter() - start


def main(model, library=None):
    engine = ["--engine", "ort", "--ort-lib", library] if library else ["--engine", "tract"]
    audit = ["audit", model, "--data", "fashion-mnist", "--threat", "linf:25/255", "--landscapes", "0", *engine]
    cases = [(f"landscape {g}×{g}", ["landscape", model, "--data", "fashion-mnist", "--sample", "0", "--grid", f"-25/255:25/255:{g}", *engine], g * g)
             for g in (21, 51, 101)]
    cases += [(f"phi, 64 images, {g}×{g}", [*audit, "-n", "64", "--metric", f"phi:grid={g},directions=1"], 64 * g * g) for g in (21, 51, 101)]
    cases += [(f"clever, 16 images, 20 batches of {p}", [*audit, "-n", "16", "--metric", f"clever:batches=20,points={p}"], 16 * 20 * p)
              for p in (10, 100, 400)]
    print("| case | points | peak, MiB | seconds |\n|---|---|---|---|")
    for name, arguments, points in cases:
        peak, seconds = measured(arguments)
        print(f"| {name} | {points:,} | {peak:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
