#!/usr/bin/env bash
# Expected: the ORIGIN in an MRC header, which says where a map stands in Angstrom, is honoured by gemmi when it
#   looks up density at a position, and kept by relion_image_handler.
# Seen: gemmi 0.7.5 ignores ORIGIN: the peak of a map with the origin 100, 0, 0 is found 100 A from where it
#   stands. And RELION 3.1.3 writes its output with the origin 0, 0, 0, whatever it did to the map.
# Why it matters: maps that were cut out of larger ones carry an ORIGIN, and atomic models are placed by it.
#   Density is then sampled in the wrong place, and a filtered map no longer lies on its model. No message in
#   either case.
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
venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check mrcfile==1.5.4 gemmi==0.7.5 numpy==2.4.6 \
  || { echo "could not install the packages"; exit 2; }
echo "versions: relion $relion mrcfile 1.5.4 gemmi 0.7.5 numpy 2.4.6"

cat >origin.py <<'END'
import sys, gemmi, mrcfile, numpy as np
if sys.argv[1] == "make":
    values = np.zeros((16, 16, 16), np.float32)
    values[4, 6, 10] = 1  # z, y, x
    with mrcfile.new("in.mrc") as file:
        file.set_data(values)
        file.voxel_size = 2.0
        file.header.origin = (100.0, 0.0, 0.0)
    sys.exit(0)
grid = gemmi.read_ccp4_map("in.mrc", setup=True).grid
stands, without = (float(grid.interpolate_value(gemmi.Position(x, 12, 8))) for x in (120, 20))
with mrcfile.open("out.mrc") as file:
    origin = file.header.origin.item()
print("gemmi's density where the peak stands:", stands, "| where it would be without ORIGIN:", without)
print("ORIGIN after relion_image_handler:", origin)
sys.exit(0 if (round(stands, 3), round(without, 3), origin) == (0, 1, (0, 0, 0)) else 1)
END
venv/bin/python origin.py make
relion_image_handler --i in.mrc --o out.mrc --multiply_constant 1 >/dev/null 2>&1
venv/bin/python origin.py check || changed "the origin is honoured or kept"
echo "As described."
