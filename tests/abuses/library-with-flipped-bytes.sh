# The library of ONNX Runtime is damaged: every 101st byte of its code is another.
# ends: 6 error[E109]
python3 - <<'P'
import os
data = bytearray(open(os.environ["ORT_LIBRARY"], "rb").read())
for at in range(4096, len(data), 101):
    data[at] ^= 0x55
open("libonnxruntime.so", "wb").write(data)
P
flatscape audit digits-standard --data digits -n 4 --attack fgsm --ort-lib ./libonnxruntime.so --out run
