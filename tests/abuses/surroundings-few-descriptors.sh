# Four file descriptors are all that the program may have.
# ends: 7 error[O
ulimit -n 4
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run
