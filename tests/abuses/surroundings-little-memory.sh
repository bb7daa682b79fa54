# The program may have 250 MB of addresses, which is enough for a small audit.
# ends: 0
ulimit -v 250000
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run
