#!/usr/bin/env bash
# Expected: starfile reads what RELION writes, and what it has written itself, whatever the particles' folder is
#   called.
# Seen: where the first value of a row begins with data_, such as data_2026/p2.mrc, starfile 0.5.13 takes the row
#   for the head of a new block and raises TypeError, for its own file as for RELION's. relion_star_printtable
#   stops at that row with exit status 0. relion_star_handler reads and writes all rows.
# Why it matters: rlnImageName tends to be the first column, and folders are called data_something. The message
#   speaks of neither the name nor the row. Put another column first, or call the folder otherwise.
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

cat >read.py <<'END'
import sys, pandas as pd, starfile
own = pd.DataFrame({"rlnImageName": ["first/p1.mrc", "data_2026/p2.mrc", "last/p3.mrc"], "rlnOpticsGroup": [1, 1, 1]})
starfile.write({"particles": own}, "own.star")
starfile.write({"particles": own[["rlnOpticsGroup", "rlnImageName"]]}, "turned.star")
seen = []
for path in ("own.star", "relion.star", "turned.star"):
    try:
        seen.append(len(starfile.read(path, always_dict=True)["particles"]))
    except Exception as error:
        seen.append(type(error).__name__)
    print("starfile,", path + ":", seen[-1])
sys.exit(0 if seen == ["TypeError", "TypeError", 3] else 1)
END
{
  optics one 1 10
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnOpticsGroup #2' 'first/p1.mrc 1' 'data_2026/p2.mrc 1' \
    'last/p3.mrc 1' ''
} >in.star
relion_star_handler --i in.star --o ./relion.star >/dev/null 2>&1
handled=$(grep -c '\.mrc' relion.star)
printed=$(relion_star_printtable relion.star data_particles rlnImageName | grep -c '\.mrc')
echo "relion_star_handler: $handled rows | relion_star_printtable: $printed row"
[ "$handled" = 3 ] || changed "relion_star_handler keeps $handled rows"
[ "$printed" = 1 ] || changed "relion_star_printtable prints $printed rows"
venv/bin/python read.py || changed "starfile reads the rows, or raises another error"
echo "As described."
