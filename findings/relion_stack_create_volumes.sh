#!/usr/bin/env bash
# Expected: relion_stack_create makes one stack of two subtomograms whose parts its STAR file names rightly, or
#   refuses volumes.
# Seen: RELION 3.1.3 writes all voxels, 32 sections, but a header that says 2 sections, and a STAR file of 1@ and
#   2@; exit status 0. By the header, and for RELION's own reading of 2@, the second particle is the second
#   section of the first one; the second volume is out of reach.
# Why it matters: thousands of small files suggest a stack, and the result is a valid-looking set of wrong
#   pictures. Keep one file for each subtomogram.
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

cat >stack.py <<'END'
import sys, warnings, mrcfile, numpy as np
volumes = np.random.default_rng(0).normal(size=(2, 16, 16, 16)).astype(np.float32)
if sys.argv[1] == "make":
    for number, volume in enumerate(volumes, 1):
        with mrcfile.new(f"p{number}.mrc") as file:
            file.set_data(volume)
            file.voxel_size = 10.0
    sys.exit(0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with mrcfile.open("stack.mrcs", permissive=True) as file:
        stack = np.array(file.data)
voxels = np.fromfile("stack.mrcs", np.float32, offset=1024)
both = voxels.size == volumes.size and np.allclose(voxels, volumes.ravel(), atol=1e-4)
print("header:", stack.shape, "| voxels in the file:", voxels.size, "| are those of both volumes:", both)
with mrcfile.open("two.mrc", permissive=True) as file:
    two = np.array(file.data)
same = two.size == 256 and np.allclose(two.ravel(), volumes[0, 1].ravel(), atol=1e-4)
print("RELION's 2@stack.mrcs:", two.shape, "| is section 2 of volume 1:", same)
sys.exit(0 if stack.shape == (2, 16, 16) and both and same else 1)
END
venv/bin/python stack.py make
{
  optics one 1 10
  printf '%s\n' data_particles '' loop_ '_rlnImageName #1' '_rlnOpticsGroup #2' 'p1.mrc 1' 'p2.mrc 1' ''
} >in.star
relion_stack_create --i in.star --o stack >/dev/null 2>&1 || changed "it refuses volumes"
grep '@' stack.star
relion_image_handler --i 2@stack.mrcs --o two.mrc --multiply_constant 1 >/dev/null 2>&1 \
  || changed "2@stack.mrcs cannot be read"
venv/bin/python stack.py check || changed "the stack holds volumes, or other sections"
echo "As described."
