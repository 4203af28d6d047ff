#!/usr/bin/env bash
# Expected: to open a map of RELION's with mrcfile in mode r+, change its values by set_data, and close it, leaves
#   its voxel size alone.
# Seen: RELION 3.1.3 marks its maps with space group 0, which means a stack of pictures. mrcfile 1.5.4 believes
#   it: is_volume() is False, and set_data of an array of the same shape sets mz to 1. The voxel size along z is
#   then 16 times too large in a box of 16 (4 A become 64 A), and RELION passes it on to the next map.
# Why it matters: viewers and other programs that go by the header draw the map stretched along z. Call
#   set_volume() after set_data, and do not tell maps from stacks by is_volume() or by the space group.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
export TMPDIR="$T" OMP_NUM_THREADS=1
cd "$T"
changed() { echo "CHANGED: $*"; exit 1; }

relion=3.1.3-3+b1
fetch() { apt-get -o APT::Sandbox::User="$(id -un)" download "$@" >/dev/null; }
fetch "relion=$relion" || { echo "could not fetch relion=$relion"; exit 2; }
dpkg -x relion_*.deb root
export PATH="$T/root/usr/bin:$PATH"
if ldd "$T/root/usr/bin/relion_reconstruct" | grep -q 'not found'; then
  fetch libfftw3-double3 libfftw3-single3 libtiff6 libgomp1 libwebp7 libzstd1 liblzma5 liblerc4 libjbig0 \
    libjpeg62-turbo libdeflate0 || { echo "could not fetch RELION's libraries"; exit 2; }
  for package in lib*.deb; do dpkg -x "$package" root; done
  export LD_LIBRARY_PATH="$T/root/usr/lib/x86_64-linux-gnu:$T/root/lib/x86_64-linux-gnu"
fi

python3 -m venv venv
venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check mrcfile==1.5.4 numpy==2.4.6 \
  || { echo "could not install the packages"; exit 2; }
echo "versions: relion $relion mrcfile 1.5.4 numpy 2.4.6"

cat >edit.py <<'END'
import sys, mrcfile, numpy as np
def size(path):
    with mrcfile.open(path) as file:
        print(path, "| volume:", file.is_volume(), "| space group", file.header.ispg, "| voxel size", file.voxel_size)
        return tuple(float(file.voxel_size[axis]) for axis in "xyz"), bool(file.is_volume())
if sys.argv[1] == "make":
    with mrcfile.new("own.mrc") as file:
        file.set_data(np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32))
        file.voxel_size = 4.0
elif sys.argv[1] == "edit":
    before = size("relion.mrc")
    with mrcfile.open("relion.mrc", "r+") as file:
        file.set_data(file.data * np.float32(2))
    after = size("relion.mrc")
    sys.exit(0 if (before, after) == (((4, 4, 4), False), ((4, 4, 64), False)) else 1)
else:
    sys.exit(0 if size("next.mrc")[0] == (4, 4, 64) else 1)
END
venv/bin/python edit.py make
relion_image_handler --i own.mrc --o relion.mrc --multiply_constant 1 >/dev/null 2>&1
venv/bin/python edit.py edit || changed "the voxel size, or the kind of the map, is another one"
relion_image_handler --i relion.mrc --o next.mrc --multiply_constant 1 >/dev/null 2>&1
venv/bin/python edit.py next || changed "RELION does not pass the voxel size on"
echo "As described."
