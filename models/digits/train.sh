#!/bin/sh
# Trains the four classifiers of the demo with this program, on the embedded engine: some six minutes on two cores.
#
#     sh models/digits/train.sh FOLDER        (with `flatscape` on the PATH)
#
# FOLDER gets one ONNX file for each and, beside it, its training: checkpoint, log, curves and page. The same program on the same kind
# of processor gives the same weights.
set -eu
out=${1:?name the folder for the files}
mkdir -p "$out"
flatscape train smallnet --data digits --engine tract --optimizer sgd:nesterov=true,weight-decay=1e-4 --lr 0.05 --schedule piecewise:25,35 --batch-size 64 --epochs 40 --seed 0 --trainer standard --threat linf:0.1 -o "$out/smallnet-standard.onnx"
flatscape train smallnet --data digits --engine tract --optimizer sgd:nesterov=true,weight-decay=1e-4 --lr 0.05 --schedule piecewise:60,75 --batch-size 64 --epochs 80 --seed 0 --trainer adversarial --attack pgd:steps=7,alpha=0.05 --threat linf:0.2 -o "$out/smallnet-adversarial.onnx"
flatscape train smallnet --data digits --engine tract --optimizer sgd:nesterov=true,weight-decay=1e-4 --lr 0.05 --schedule piecewise:25,35 --batch-size 64 --epochs 40 --seed 0 --trainer jacobian:lambda=0.03 --threat linf:0.1 -o "$out/smallnet-jacobian.onnx"
flatscape train smallnet --data digits --engine tract --optimizer sgd:nesterov=true,weight-decay=1e-4 --lr 0.05 --schedule piecewise:25,35 --batch-size 64 --epochs 40 --seed 0 --trainer amsreg:mu=0.3 --threat linf:0.1 -o "$out/smallnet-amsreg.onnx"
