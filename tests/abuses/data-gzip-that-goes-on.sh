# A gzip-compressed IDX file of 4 MB that unpacks to 4 GB behind 4 images.
# ends: 4 error[D078]
mkdir data
python3 - <<'P'
import gzip, struct
with gzip.open("data/t10k-images-idx3-ubyte.gz", "wb") as images:
    images.write(struct.pack(">IIII", 2051, 4, 8, 8))
    for _ in range(4096):
        images.write(bytes(1 << 20))
with gzip.open("data/t10k-labels-idx1-ubyte.gz", "wb") as labels:
    labels.write(struct.pack(">II", 2049, 4) + bytes(4))
P
ulimit -v 1500000
flatscape audit digits-standard --data data --attack fgsm --engine tract --threads 1 --out run
