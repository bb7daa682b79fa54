# A .npz of 4 MB whose images unpack to 4 GB, in 600 MB of addresses.
# ends: 4 error[D083]
python3 - <<'P'
import io, zipfile
def header(shape, dtype):
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (dtype, shape)
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
    with archive.open("x.npy", "w", force_zip64=True) as x:
        x.write(header((65536, 1, 256, 256), "|u1"))
        for _ in range(4096):
            x.write(bytes(1 << 20))
    with archive.open("y.npy", "w") as y:
        y.write(header((65536,), "<i8"))
        y.write(bytes(65536 * 8))
P
ulimit -v 1500000
flatscape audit digits-standard --data bomb.npz --attack fgsm --engine tract --threads 1 --out run
