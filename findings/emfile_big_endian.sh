#!/usr/bin/env bash
# Expected: a volume that mrcfile read from a big-endian MRC file can be written by emfile as EM, and comes back
#   the same.
# Seen: mrcfile 1.5.4 gives a big-endian array, which numpy treats like any other. emfile 0.3.0 writes its bytes
#   as they are and marks the file little-endian: every value comes back wrong, without a message.
# Why it matters: MRC files of some microscopes' and older machines' programs are big-endian, and the damage shows
#   only where somebody looks at the values. Convert before writing: array.astype("<f4").
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export TMPDIR="$T" OMP_NUM_THREADS=1
cd "$T"
changed() { echo "CHANGED: $*"; exit 1; }

python3 -m venv venv
venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check mrcfile==1.5.4 emfile==0.3.0 numpy==2.4.6 \
  || { echo "could not install the packages"; exit 2; }
echo "versions: mrcfile 1.5.4 emfile 0.3.0 numpy 2.4.6"

cat >em.py <<'END'
import sys, emfile, mrcfile, numpy as np
values = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(">f4")
with mrcfile.new("big.mrc") as file:
    file.set_data(values)
read = mrcfile.read("big.mrc")
emfile.write("big.em", read)
emfile.write("little.em", read.astype("<f4"))
back, little = (emfile.read(path)[1] for path in ("big.em", "little.em"))
print("mrcfile:", read.dtype.str, read.ravel()[:3])
print("emfile: ", back.dtype.str, back.ravel()[:3], "| after astype:", little.ravel()[:3])
right = np.array_equal(read, values) and np.array_equal(little, values)
sys.exit(0 if right and np.isclose(back, values).mean() < 0.1 else 1)
END
venv/bin/python em.py || changed "the values come back"
echo "As described."
