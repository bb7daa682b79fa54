# A thousand threads are asked for.
# ends: 2 error[U … 1000 threads are more than this machine can use
flatscape audit digits-standard --data digits -n 4 --attack fgsm --threads 1000 --out run
