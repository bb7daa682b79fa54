# A worker is started with an empty standard input, as by a queue of jobs.
# ends: 0 fgsm
flatscape audit digits-standard --data digits -n 4 --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --jobs 0 --out run >out 2>&1 &
audit=$!
while [ ! -f run/jobs.json ] && kill -0 $audit; do sleep 0.1; done
flatscape worker run --engine tract </dev/null >lines
grep -q done lines || { kill $audit; cat lines out; exit 99; }
wait $audit
code=$?
cat out
exit $code
