#!/usr/bin/env python3
"""Damages real models and grammar-made graphs, with a fixed seed, and gives them to `flatscape inspect`; a share of what is accepted
goes through an audit of one image on every engine. Nothing may crash, hang or take much memory.

    tests/mutants.py PROGRAM [--models DIR] [--mutants 10000] [--graphs 2000] [--audits 500] [--seed 0] [--threads 2] [--ort-lib FILE]

Prints one line per kind of ending and every case that is wrong, and ends with 1 if there is one."""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import zipfile

SECONDS = 10  # the most that an inspection may take
MEMORY = 300 << 20  # and the most memory that the program may hold
AUDIT_SECONDS = 60


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, wire, payload):
    key = varint(number << 3 | wire)
    return key + (varint(len(payload)) + payload if wire == 2 else payload)


def text(number, words):
    return field(number, 2, words.encode())


def whole(number, value):
    return field(number, 0, varint(value & (1 << 64) - 1))


# Operators with the number of operands and the attributes that a graph may state.
GRAMMAR = {
    "Relu": (1, {}), "Sigmoid": (1, {}), "Tanh": (1, {}), "Neg": (1, {}), "Abs": (1, {}), "Sqrt": (1, {}), "Exp": (1, {}),
    "Add": (2, {}), "Sub": (2, {}), "Mul": (2, {}), "Div": (2, {}), "MatMul": (2, {}), "Max": (2, {}), "Pow": (2, {}),
    "Gemm": (3, {"transA": [0, 1, 7], "transB": [0, 1, -5], "alpha": [1, 0]}),
    "Conv": (2, {"strides": [[1, 1], [2, 2], [0, 0], [1 << 40, 1]], "pads": [[0] * 4, [1] * 4, [-1] * 4, [1 << 40] * 4],
                 "group": [1, 2, 0, -1], "kernel_shape": [[3, 3], [1, 1], [0, 0]]}),
    "MaxPool": (1, {"kernel_shape": [[2, 2], [0, 0], [1 << 33, 2]], "strides": [[1, 1], [2, 2], [0, 1]]}),
    "AveragePool": (1, {"kernel_shape": [[2, 2], [64, 64]], "count_include_pad": [0, 1, 9]}),
    "GlobalAveragePool": (1, {}), "Flatten": (1, {"axis": [1, 0, -1, 99]}), "Softmax": (1, {"axis": [1, -1, 5]}),
    "Transpose": (1, {"perm": [[0, 2, 3, 1], [0, 1], [3, 3, 3, 3]]}), "Concat": (2, {"axis": [0, 1, -9]}),
    "Reshape": (2, {"allowzero": [0, 1]}), "Gather": (2, {"axis": [0, 1, 77]}), "Identity": (1, {}), "Clip": (3, {}),
    "BatchNormalization": (5, {"epsilon": [0], "training_mode": [0, 1]}), "Squeeze": (2, {}), "Expand": (2, {}),
    "ReduceMean": (1, {"axes": [[1], [9], []], "keepdims": [0, 1]}), "ReduceSum": (2, {}), "Tile": (2, {}), "Where": (3, {}),
    "Cast": (1, {"to": [1, 7, 11, 99]}), "Range": (3, {}), "ConstantOfShape": (1, {}), "Resize": (3, {}), "Loop": (2, {}),
}


def attribute(name, value):
    if isinstance(value, list):
        return text(1, name) + b"".join(whole(8, v) for v in value) + whole(20, 7)
    return text(1, name) + whole(3, value) + whole(20, 2)


def tensor(name, shape, dice):
    count = 1
    for extent in shape:
        count *= extent
    if dice.random() < 0.5:
        values = b"".join(varint(dice.randrange(8)) for _ in range(count))
        return b"".join(whole(1, n) for n in shape) + whole(2, 7) + field(7, 2, values) + text(8, name)
    raw = b"".join(dice.choice([b"\0\0\x80\x3f", b"\0\0\0\xbf", b"\0\0\0\0", b"\0\0\xc0\x7f"]) for _ in range(count))
    return b"".join(whole(1, n) for n in shape) + whole(2, 1) + field(9, 2, raw) + text(8, name)


def port(name, extents):
    dims = b"".join(field(1, 2, whole(1, n) if isinstance(n, int) else text(2, n)) for n in extents)
    return text(1, name) + field(2, 2, field(1, 2, whole(1, 1) + field(2, 2, dims)))


def grammar(dice):
    """A graph of a few operators whose operands are any values that are there."""
    names, nodes, weights = ["x"], b"", b""
    for k in range(dice.randrange(1, 4)):
        shape = [dice.choice([1, 1, 2, 3, 8, 10, 64]) for _ in range(dice.choice([0, 1, 1, 2, 2, 4]))]
        while len(shape) > 1 and shape[0] * shape[-1] > 512:
            shape.pop()
        weights += field(5, 2, tensor(f"w{k}", shape, dice))
        names.append(f"w{k}")
    for k in range(dice.randrange(1, 12)):
        op = dice.choice(list(GRAMMAR))
        count, attributes = GRAMMAR[op]
        node = b"".join(text(1, dice.choice(names[-4:] + ["x"])) for _ in range(count)) + text(2, f"v{k}") + text(4, op)
        for name, values in attributes.items():
            if dice.random() < 0.7:
                node += field(5, 2, attribute(name, dice.choice(values)))
        nodes += field(1, 2, node)
        names.append(f"v{k}")
    images = dice.choice([["N", 1, 8, 8], ["N", 3, 32, 32], ["N", 64], [1, 1, 8, 8], [1 << 40, 64]])
    graph = nodes + text(2, "g") + weights + field(11, 2, port("x", images)) + field(12, 2, port(names[-1], ["N", 10]))
    return whole(1, 8) + field(7, 2, graph) + field(8, 2, whole(2, dice.choice([13, 17, 18, 21])))


def mutant(data, dice):
    """A copy with one to eight changes: bits, bytes, numbers, blocks that are cut, doubled or moved."""
    data = bytearray(data)
    for _ in range(dice.randrange(1, 9)):
        # most of a file is weights; its structure lies at its ends
        edge = min(len(data), 4096)
        at = dice.choice([dice.randrange(edge), len(data) - 1 - dice.randrange(edge), dice.randrange(len(data))])
        kind = dice.randrange(6)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at] = dice.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            data[at:at + 1] = varint(dice.choice([0, 1, 127, 1 << 31, 1 << 62, (1 << 64) - 1]))
        elif kind == 3:
            del data[at:at + dice.choice([1, 2, 8, 64])]
        elif kind == 4:
            data[at:at] = data[at:at + dice.choice([1, 8, 64, 512])]
        else:
            to = dice.randrange(len(data))
            data[to:to + 16] = data[at:at + 16]
        if len(data) < 16:
            break
    return bytes(data)


def peak(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


def array(shape, element, data):
    """The bytes of a `.npy` file."""
    header = f"{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + data


def image_for(facts, path):
    """Writes an archive with one image of the shape that the model wants, and returns the layout to name; nothing if the shape is
    not that of images."""
    inputs = facts["interface"]["inputs"]
    extents = inputs[0][1].partition("[")[2].rstrip("]").split(",") if inputs else []
    extents = [int(n) if n.isdigit() else 1 for n in extents]
    layout = "nchw"
    if len(extents) == 4:
        shape = extents[1:]
        if shape[2] in (1, 3) and shape[0] not in (1, 3):
            shape, layout = [shape[2], shape[0], shape[1]], "nhwc"
    elif len(extents) == 2:
        sides = {784: [1, 28, 28], 3072: [3, 32, 32], 64: [1, 8, 8]}
        shape, layout = sides.get(extents[1], [1, 1, extents[1]]), "flat"
    else:
        return None
    count = shape[0] * shape[1] * shape[2]
    if not 0 < count <= 1 << 20:
        return None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", array((1, *shape), "|u1", bytes(k * 7919 % 256 for k in range(count))))
        archive.writestr("y.npy", array((1,), "|u1", b"\0"))
    return layout


def run(arguments, folder, patience, printed=subprocess.DEVNULL):
    """Exit code, seconds, the most memory of the program itself, and what it said."""
    begun, held = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=printed, stderr=said,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        while process.poll() is None and time.monotonic() - begun < patience:
            held = max(held, peak(process.pid))
            time.sleep(0.005)
        code = process.poll()
        if code is None:
            process.kill()
            process.wait()
        said.seek(0)
        return code, time.monotonic() - begun, held, said.read(4000).decode(errors="replace")


class Tried:
    def __init__(self):
        self.endings = collections.Counter()
        self.wrong = []
        self.slowest = self.largest = 0.0

    def judge(self, name, result, patience):
        code, seconds, held, said = result
        self.endings[code] += 1
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, held)
        why = []
        if code is None or seconds > patience:
            why.append(f"takes {seconds:.1f} s")
        if code is not None and (code < 0 or code in (101, 134, 139)):
            why.append(f"ends with {code}")
        if held > MEMORY:
            why.append(f"holds {held >> 20} MB")
        if why:
            self.wrong.append((name, ", ".join(why), said.strip()[-400:]))
        return code

    def report(self, what):
        total = sum(self.endings.values())
        codes = ", ".join(f"{count} end with {code}" for code, count in self.endings.most_common())
        print(f"{what}: {total} tried, {len(self.wrong)} wrong; {codes}; slowest {self.slowest:.1f} s, most {self.largest / 2**20:.0f} MB")
        for name, why, said in self.wrong[:20]:
            print(f"  {name}: {why}\n    {said}")
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, help="a folder of models to damage; without it, --mutants 0")
    parser.add_argument("--mutants", type=int, default=10000)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--audits", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ort-lib")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for files that end wrongly")
    options = parser.parse_args()
    program = str(options.program.resolve())
    files = sorted(options.models.rglob("*.onnx") if options.models else [], key=lambda path: (path.stat().st_size, path.name))
    files = [path for path in files if path.stat().st_size < 2 << 20][:20]
    if options.mutants and not files:
        sys.exit(f"there is no model under {options.models} to damage; --mutants 0 tries graphs alone")
    if files:
        print(f"{len(files)} models, the largest of {files[-1].stat().st_size >> 10} KiB")
    sources = [path.read_bytes() for path in files]
    engines = [["--engine", "tract"]] + ([["--engine", "ort", "--ort-lib", options.ort_lib]] if options.ort_lib else [])
    inspected, audited = Tried(), Tried()
    accepted = []

    def case(number):
        dice = random.Random(f"{options.seed} {number}")
        if number < options.mutants:
            place = number % len(sources)
            return f"mutant {number} of {files[place].name}", mutant(sources[place], dice)
        return f"graph {number - options.mutants}", grammar(dice)

    def inspect(number, folder):
        name, data = case(number)
        path = pathlib.Path(folder) / f"{number}.onnx"
        path.write_bytes(data)
        return name, path, run([program, "inspect", str(path), "--json"], folder, 2 * SECONDS)

    def audit(number, folder):
        name, data = case(number)
        results = []
        with tempfile.TemporaryDirectory(dir=folder) as own:
            (pathlib.Path(own) / "m.onnx").write_bytes(data)
            with open(pathlib.Path(own) / "facts.json", "w+b") as facts:
                run([program, "inspect", "m.onnx", "--json"], own, 2 * SECONDS, facts)
                facts.seek(0)
                layout = image_for(json.load(facts), pathlib.Path(own) / "one.npz")
            if layout is None:
                return []
            for engine in engines:
                command = [program, "audit", "m.onnx", "--data", "one.npz", "--layout", layout, "-n", "1", "--threat", "linf:0.1",
                           "--attack", "fgsm", "--landscapes", "0", "--threads", "1", "--out", engine[1], *engine]
                results.append((f"{name} on {engine[1]}", run(command, own, 2 * AUDIT_SECONDS)))
        return results

    os.environ["FLATSCAPE_ENGINE_SECONDS"] = str(SECONDS / 2)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.threads) as pool:
        total = options.mutants + options.graphs
        for number, (name, path, result) in zip(range(total), pool.map(lambda n: inspect(n, folder), range(total))):
            wrong = len(inspected.wrong)
            if inspected.judge(name, result, SECONDS) == 0:
                accepted.append(number)
            if options.keep and len(inspected.wrong) > wrong:
                options.keep.mkdir(parents=True, exist_ok=True)
                path.rename(options.keep / path.name)
            path.unlink(missing_ok=True)
        inspected.report("inspect")
        random.Random(options.seed).shuffle(accepted)
        left = options.audits
        for results in pool.map(lambda n: audit(n, folder), accepted[: 2 * options.audits]):
            left -= bool(results)
            if left < 0:
                break
            for name, result in results:
                if audited.judge(name, result, AUDIT_SECONDS) == 6:
                    print(f"  {name} ends with 6:\n    {result[3].strip()[-400:]}")
        audited.report("audit of one image")
    failed = audited.endings[6]
    share = failed / max(1, sum(audited.endings.values()))
    print(json.dumps({"accepted": len(accepted), "engine errors": failed, "share of engine errors": round(share, 4)}))
    sys.exit(bool(inspected.wrong or audited.wrong or share > 0.01))


if __name__ == "__main__":
    main()
