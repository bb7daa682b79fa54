# A job file names a last sample of 2^64 - 1.
# ends: 2 error[U102]
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run >out 2>&1 || exit 99
sed 's/"end": *[0-9]*/"end": 18446744073709551615/' run/jobs/*.fgsm-*.json >job.json
flatscape shard job.json --engine tract -o result.npz
