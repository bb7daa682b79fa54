# Standard error is a full disk.
# ends: 7
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --out run 2>/dev/full
