# A job file asks for batches of no sample.
# ends: 2 error[U102]
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run >out 2>&1 || exit 99
sed 's/"batch_size": *[0-9]*/"batch_size": 0/' run/jobs/*.fgsm-*.json >job.json
flatscape shard job.json --engine tract -o result.npz
