# The library of ONNX Runtime is damaged where code is that runs when it is loaded.
# ends: 6 error[E109]
python3 - <<'P'
import os
data = bytearray(open(os.environ["ORT_LIBRARY"], "rb").read())
start = len(data) // 2
data[start:start + (1 << 20)] = b"\xcc" * (1 << 20)
half = len(data) // 3
data[half:half + (1 << 20)] = b"\xcc" * (1 << 20)
quarter = len(data) // 4
data[quarter:quarter + (4 << 20)] = b"\xcc" * (4 << 20)
open("libonnxruntime.so", "wb").write(data)
P
flatscape audit digits-standard --data digits -n 4 --attack fgsm --ort-lib ./libonnxruntime.so --out run
