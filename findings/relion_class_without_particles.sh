#!/usr/bin/env bash
# Expected: relion_reconstruct fails, or warns, where no row of the STAR file belongs to the class or half asked
#   for.
# Seen: RELION 3.1.3 writes a map that is 0 everywhere and ends with exit status 0, for --class 2 where all are of
#   class 1, and for --subset 2 where all are of half 1.
# Why it matters: a loop over classes, or a wrong class number, gives empty maps that look like results; a Fourier
#   shell correlation with one divides by 0. Count the rows first, or look for a voxel that is not 0.
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

optics() { # of one group: name, number, voxel size
  printf '%s\n' '# version 30001' '' data_optics '' loop_ '_rlnOpticsGroupName #1' '_rlnOpticsGroup #2' '_rlnVoltage #3' \
    '_rlnSphericalAberration #4' '_rlnAmplitudeContrast #5' '_rlnImagePixelSize #6' '_rlnImageSize #7' \
    '_rlnImageDimensionality #8' "$1 $2 300 2.7 0.1 $3 16 3" ''
}
echo "versions: relion $relion mrcfile 1.5.4 numpy 2.4.6"

cat >class.py <<'END'
import sys, mrcfile, numpy as np
if sys.argv[1] == "make":
    grid = np.indices((16, 16, 16)) - 8
    with mrcfile.new("p.mrc") as file:
        file.set_data(np.exp(-(grid**2).sum(0) / 8).astype(np.float32))
        file.voxel_size = 10.0
else:
    print(sys.argv[1], "| largest voxel:", largest := float(np.abs(mrcfile.read(sys.argv[1])).max()))
    sys.exit(0 if (largest > 0.5) == (sys.argv[2] == "full") else 1)
END
venv/bin/python class.py make
{
  optics one 1 10
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnAngleRot #2' '_rlnAngleTilt #3' '_rlnAnglePsi #4' \
    '_rlnOpticsGroup #5' '_rlnClassNumber #6' '_rlnRandomSubset #7' 'p.mrc 0 0 0 1 1 1' 'p.mrc 0 0 0 1 1 1' ''
} >in.star
for kind in 'full --class 1' 'empty --class 2' 'empty --subset 2'; do
  read -r expected option number <<<"$kind"
  relion_reconstruct --i in.star --o "map$option$number.mrc" --3d_rot "$option" "$number" >/dev/null 2>&1 \
    || changed "$option $number ends with an error"
  venv/bin/python class.py "map$option$number.mrc" "$expected" || changed "the map of $option $number is not $expected"
done
echo "As described."
