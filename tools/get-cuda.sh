#!/bin/sh
# get-cuda.sh -- the CUDA 13.0 compiler without a GPU, a driver or root: NVIDIA's wheels, unpacked side by side.
#
# usage: tools/get-cuda.sh [DIRECTORY]     (default build/cuda; prints what -DOMENDB_CUDA_ROOT= takes)
#
# 13.0 is the newest that drivers of the 580 series run; later wheels exist and are not taken. The wheels lack the
# names that CMake and the linker look for (lib64, *.so), which are added.
set -eu
directory=${1:-build/cuda}
python=python3
[ ! -x build/venv/bin/python ] || python=build/venv/bin/python # a Debian without pip has one there
mkdir -p "$directory"
"$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade --target "$directory" \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
root=$(cd "$directory/nvidia/cu13" && pwd)
[ -e "$root/lib64" ] || ln -s lib "$root/lib64"
for library in "$root"/lib/lib*.so.[0-9]*; do
    name=${library%.so.*}.so
    [ -e "$name" ] || ln -s "$(basename "$library")" "$name"
done
"$root/bin/nvcc" --version | tail -2
echo "OMENDB_CUDA_ROOT=$root"
