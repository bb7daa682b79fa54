# Standard output is a full disk.
# ends: 7 error[O094]: standard output could not be written
flatscape plugins list >/dev/full
