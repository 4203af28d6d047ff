#!/usr/bin/env bash
# Expected: RELION honours the order of axes in a map's header (MAPC, MAPR, MAPS), as gemmi and viewers do, or
#   refuses another order than x, y, z.
# Seen: relion_image_handler 3.1.3 takes the voxels as if they were stored in the order x, y, z, and writes the
#   order 1 2 3 into the new header. A map stored in the order z, y, x comes out with x and z exchanged: its
#   mirror image, exit status 0.
# Why it matters: crystallographic programs write such maps. A reference or a mask made of one has the wrong hand
#   without a warning. Bring maps into the order x, y, z first (gemmi's setup() does).
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

cat >axes.py <<'END'
import sys, gemmi, mrcfile, numpy as np
truth = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)  # by x, y, z
if sys.argv[1] == "make":
    with mrcfile.new("in.mrc") as file:
        file.set_data(truth)  # x varies slowest, z fastest
        file.header.mapc, file.header.mapr, file.header.maps = 3, 2, 1
        file.voxel_size = 4.0
    sys.exit(0)
def by_xyz(path):
    read = gemmi.read_ccp4_map(path)
    read.setup(0.0)
    with mrcfile.open(path) as file:
        order = [int(file.header[name]) for name in ("mapc", "mapr", "maps")]
    values = np.array(read.grid)
    kinds = {"right": truth, "x and z exchanged": truth.T}
    kind = next((name for name, expected in kinds.items() if np.allclose(values, expected, atol=1e-4)), "another map")
    print(path, "axes", order, "| according to gemmi:", kind)
    return order, kind
sys.exit(0 if (by_xyz("in.mrc"), by_xyz("out.mrc")) == (([3, 2, 1], "right"), ([1, 2, 3], "x and z exchanged")) else 1)
END
venv/bin/python axes.py make
relion_image_handler --i in.mrc --o out.mrc --multiply_constant 1 >/dev/null 2>&1 || changed "RELION refuses the map"
venv/bin/python axes.py check || changed "RELION keeps the hand of the map"
echo "As described."
