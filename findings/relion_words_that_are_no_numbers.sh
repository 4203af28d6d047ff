#!/usr/bin/env bash
# Expected: missing values that starfile writes stay missing for RELION, or RELION refuses them; and a column of
#   True and False, as pandas holds it, arrives as true and false.
# Seen: RELION 3.1.3 reads every word that does not begin as a number as 0, without a word. That turns starfile
#   0.5.13's <NA> (its default) and nan into the number 0, and True into false.
# Why it matters: a missing score becomes the score 0, a missing origin a particle that stands in the centre, and
#   particles that are premultiplied by their CTF (True) are corrected a second time. Write 1 and 0, and leave out
#   rows or columns with missing values.
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
venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check starfile==0.5.13 pandas==3.1.1 numpy==2.4.6 \
  || { echo "could not install the packages"; exit 2; }

optics() { # of one group: name, number, voxel size
  printf '%s\n' '# version 30001' '' data_optics '' loop_ '_rlnOpticsGroupName #1' '_rlnOpticsGroup #2' '_rlnVoltage #3' \
    '_rlnSphericalAberration #4' '_rlnAmplitudeContrast #5' '_rlnImagePixelSize #6' '_rlnImageSize #7' \
    '_rlnImageDimensionality #8' "$1 $2 300 2.7 0.1 $3 16 3" ''
}
echo "versions: relion $relion starfile 0.5.13 pandas 3.1.1 numpy 2.4.6"

cat >make.py <<'END'
import numpy as np, pandas as pd, starfile
optics = pd.DataFrame({"rlnOpticsGroupName": ["one"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0],
    "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [10.0], "rlnImageSize": [16],
    "rlnImageDimensionality": [3], "rlnCtfDataAreCtfPremultiplied": [True]})
table = pd.DataFrame({"rlnImageName": ["p1.mrc", "p2.mrc"], "rlnOpticsGroup": [1, 1],
    "rlnOriginXAngst": [12.5, np.nan], "rlnParticleFigureOfMerit": [np.nan, 0.7]})
starfile.write({"optics": optics, "particles": table}, "default.star")
starfile.write({"optics": optics, "particles": table}, "nan.star", na_rep="nan")
END
venv/bin/python make.py
for kind in default nan; do
  echo "starfile, $kind:"; grep -E '^(p[12]|one)' "$kind.star"
  relion_star_handler --i "$kind.star" --o "./$kind.out.star" >log 2>&1 || changed "RELION refuses the file ($kind)"
  echo "RELION's copy:"; grep -E '^ *(p[12]\.mrc|one) ' "$kind.out.star"
  [ "$(awk '$1 == "one" {print $9}' "$kind.out.star")" = 0 ] || changed "True is no longer false ($kind)"
  [ "$(awk '$1 == "p1.mrc" {print $4+0}' "$kind.out.star")" = 0 ] || changed "a missing score is no longer 0 ($kind)"
  [ "$(awk '$1 == "p2.mrc" {print $3}' "$kind.out.star")" = 0.000000 ] || changed "a missing origin is no longer 0 ($kind)"
done
echo "As described."
