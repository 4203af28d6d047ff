#!/usr/bin/env bash
# Expected: relion_image_handler reads a map named .map, the ending that the EMDB gives to its MRC files, and what
#   it writes under a name in .map is MRC.
# Seen: RELION 3.1.3 takes .map, as every ending that it does not know (.rec, .ccp4, .st), for SPIDER's format. It
#   refuses an intact MRC file of that name as an invalid Spider file, and --o out.map writes a SPIDER file, exit
#   status 0.
# Why it matters: a downloaded map cannot be used as a reference before it is renamed, and a map that RELION
#   itself wrote as .map is no MRC file for mrcfile and others. Name maps .mrc.
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

cat >map.py <<'END'
import mrcfile, numpy as np
with mrcfile.new("in.mrc") as file:
    file.set_data(np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32))
    file.voxel_size = 4.0
END
venv/bin/python map.py
cp in.mrc same.map
status=0
relion_image_handler --i same.map --o read.mrc --multiply_constant 1 >log 2>&1 || status=$?
echo "reading the MRC file under the name .map: exit status $status"
grep -i 'invalid spider' log || true
[ "$status" != 0 ] || changed "an MRC file named .map is read"
relion_image_handler --i in.mrc --o out.map --multiply_constant 1 >/dev/null 2>&1 || changed "no .map is written"
word() { tail -c +209 "$1" | head -c 4 | tr -d '\0'; } # MRC files say MAP here
echo "bytes 209 to 212 of in.mrc: '$(word in.mrc)', of RELION's out.map: '$(word out.map)'"
[ "$(word in.mrc)" = "MAP " ] || changed "mrcfile's file is no MRC file"
[ "$(word out.map)" != "MAP " ] || changed "RELION writes .map as MRC"
echo "As described."
