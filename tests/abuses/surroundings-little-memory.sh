# The program may have 150 MB of addresses.
# ends: 7 error[O
ulimit -v 150000
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run
