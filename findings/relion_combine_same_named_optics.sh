#!/usr/bin/env bash
# Expected: relion_star_handler --combine keeps the optics groups of its files apart where they differ, in voxel
#   size above all, or refuses them.
# Seen: RELION 3.1.3 joins groups by name alone. Particles at 5 A are put into the group of the same name at 10 A,
#   and their own voxel size is in no block any more. A warning asks only whether the data sets differ; exit
#   status 0. The rlnGroupName of the second file's particles is changed too (g becomes optics1_g), though the
#   optics were joined.
# Why it matters: most converters call their first group opticsGroup1, so two exports meet under one name, and
#   averages of the result are scaled wrongly for half of the particles. Give groups a name of their own.
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

particles() { # named with this letter
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnGroupName #2' '_rlnOpticsGroup #3' "$1.mrc g 1" ''
}
{ optics opticsGroup1 1 10; particles a; } >a.star
{ optics opticsGroup1 1 5; particles b; } >b.star
status=0
relion_star_handler --combine --i "a.star b.star" --o ./out.star >log 2>&1 || status=$?
echo "exit status $status; optics groups and particles in the combined file:"
grep -E 'opticsGroup1|\.mrc' out.star
[ "$status" = 0 ] || changed "it is refused"
[ "$(grep -c opticsGroup1 out.star)" = 1 ] || changed "there are two groups"
if grep -q ' 5\.0' out.star; then changed "the voxel size of 5 A is kept"; fi
grep -q 'b.mrc *optics1_g' out.star || changed "rlnGroupName is as it was"
echo "As described."
