#!/usr/bin/env bash
# Expected: relion_star_handler --select keeps every row whose value is at least --minval and at most --maxval,
#   both of them "inclusive" in its help.
# Seen: RELION 3.1.3 takes the bounds in single precision and the values in double, so rows at the bound itself
#   are lost or kept by chance of rounding: --minval 0.3 drops 0.3, and --minval 0.3 --maxval 0.3 finds nothing.
#   The exit status is 0. Bounds such as 0.5, which binary numbers hold exactly, work.
# Why it matters: probabilities and scores are rounded numbers, and many rows share one. Choose a bound between
#   two values, 0.299 say, or select in another program.
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
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnOpticsGroup #2' '_rlnParticleFigureOfMerit #3'
  for i in 1 2 3 4 5 6 7 8 9; do echo "p$i.mrc 1 0.$i"; done
  echo
} >in.star
rows() { # that are left between two bounds
  relion_star_handler --i in.star --o out.star --select rlnParticleFigureOfMerit --minval "$1" --maxval "$2" \
    >/dev/null 2>&1
  grep -c '^ *p[0-9]' out.star || true
}
declare -A n
for bounds in '0.3 1' '0 0.7' '0.3 0.3' '0.5 0.5'; do
  read -r low high <<<"$bounds"
  n[$bounds]=$(rows "$low" "$high")
  echo "of 0.1, 0.2 ... 0.9, rows from $low to $high: ${n[$bounds]}"
done
[ "${n[0.5 0.5]}" = 1 ] || changed "0.5, which is exact, is not found either"
[ "${n[0.3 1]}" = 6 ] || changed "--minval 0.3 keeps ${n[0.3 1]} rows, not 6 of the 7"
[ "${n[0 0.7]}" = 6 ] || changed "--maxval 0.7 keeps ${n[0 0.7]} rows, not 6 of the 7"
[ "${n[0.3 0.3]}" = 0 ] || changed "0.3 is found between 0.3 and 0.3"
echo "As described."
