# Scratch folders cannot be made.
# ends: 7 error[O112] … no empty working directory can be made
export TMPDIR=/nonexistent
flatscape audit digits-standard --data digits -n 4 --attack fgsm --engine tract --plugin "$(dirname "$(command -v flatscape)")/libflatscape_standard.so" --out run
