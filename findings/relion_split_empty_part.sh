#!/usr/bin/env bash
# Expected: relion_star_handler --split --nr_split 4 makes four parts of nine rows: 3, 2, 2 and 2.
# Seen: RELION 3.1.3 makes parts of 3, 3, 3 and 0 rows: each has the rounded-up size until nothing is left. The
#   empty part is a STAR file without rows, and the exit status is 0. And where --o names a file of the current
#   folder without a slash, all parts are written, and then the program fails with exit status 1.
# Why it matters: a job for each part fails on the last one, and a script that stops at errors takes a finished
#   split for a failed one. Write --o ./part.star, and count rows before using a part.
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

optics() { # of one group: name, number, voxel size
  printf '%s\n' '# version 30001' '' data_optics '' loop_ '_rlnOpticsGroupName #1' '_rlnOpticsGroup #2' '_rlnVoltage #3' \
    '_rlnSphericalAberration #4' '_rlnAmplitudeContrast #5' '_rlnImagePixelSize #6' '_rlnImageSize #7' \
    '_rlnImageDimensionality #8' "$1 $2 300 2.7 0.1 $3 16 3" ''
}
echo "versions: relion $relion"

{
  optics one 1 10
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnOpticsGroup #2'
  for i in 1 2 3 4 5 6 7 8 9; do echo "p$i.mrc 1"; done
  echo
} >in.star
split() { # with a name for the parts; sets status and sizes
  status=0 sizes=
  relion_star_handler --split --i in.star --o "$1" --nr_split 4 >/dev/null 2>&1 || status=$?
  for part in 1 2 3 4; do sizes+="$(grep -c '^ *p[0-9]' "${1%.star}_split$part.star" || true) "; done
  echo "--o $1: parts of ${sizes}rows, exit status $status"
}
split ./slash.star
[ "$sizes" = "3 3 3 0 " ] || changed "the parts have $sizes rows"
[ "$status" = 0 ] || changed "the exit status with a slash is $status"
split plain.star
[ "$sizes" = "3 3 3 0 " ] || changed "the parts have $sizes rows without a slash"
[ "$status" != 0 ] || changed "the exit status without a slash is 0"
echo "As described."
