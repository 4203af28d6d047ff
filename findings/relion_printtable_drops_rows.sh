#!/usr/bin/env bash
# Expected: relion_star_printtable prints a line for every row of a block.
# Seen: RELION 3.1.3 leaves out every row that holds the letters loop_ anywhere, such as a micrograph
#   beta_loop_3.mrc, and every row whose first value begins with an underscore. Where a value is quoted because it
#   holds a blank, the columns after it are printed one place off. Exit status 0, no message.
# Why it matters: its output is pasted beside other tables by line, so all later lines belong to other particles.
#   Read STAR files by a library.
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
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnMicrographName #2' '_rlnGroupName #3' '_rlnClassNumber #4' \
    '_rlnOpticsGroup #5' 'p1.mrc alpha.mrc g 1 1' 'p2.mrc beta_loop_3.mrc g 2 1' '_p3.mrc gamma.mrc g 3 1' \
    'p4.mrc delta.mrc "grid 4" 4 1' ''
} >in.star
relion_star_handler --i in.star --o ./copy.star >/dev/null 2>&1
rows=$(grep -c 'p[1-4].mrc' copy.star)
printed=$(relion_star_printtable in.star data_particles rlnImageName rlnClassNumber)
echo "relion_star_handler reads $rows rows; relion_star_printtable prints:"
echo "$printed"
[ "$rows" = 4 ] || changed "relion_star_handler reads $rows rows"
[ "$printed" = $'p1.mrc 1\np4.mrc 4"' ] || changed "the rows are printed in another way"
echo "As described."
