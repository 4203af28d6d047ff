"""STAR files of subtomograms in the dialects of several programs."""

RELION31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnImageSize #4
_rlnImageDimensionality #5
1 first 2.5 32 3
2 unused 7 32 3

# version 30001

data_particles

loop_
_rlnTomoName #1
_rlnImageName #2
_rlnCtfImage #3
_rlnOpticsGroup #4
_rlnAngleRot #5
_rlnAngleTilt #6
_rlnAnglePsi #7
_rlnOriginXAngst #8
_rlnOriginYAngst #9
_rlnOriginZAngst #10
_rlnMyColumn #11
_dualcontrastIdentity #12
002 000002@a/stack.mrcs a/ctf.mrc 1 10 20 30 1 -2.5 3 0.25 01
001 000001@a/stack.mrcs a/ctf.mrc 1 -170.5 90 0 0 0 0 0.5 02
002 a/3.mrc b/ctf.mrc 1 0 0 0 -4 0 1e1 0.75 01
"""
RELION30 = """
data_

loop_
_rlnMicrographName #1
_rlnCoordinateX #2
_rlnImageName #3
_rlnPixelSize #4
_rlnOriginX #5
_rlnOriginY #6
_rlnOriginZ #7
t1.mrc 5 a/1.mrc 2 1 2 3
t1.mrc 6 a/2.mrc 2 -1 0 0.5
"""
WARP = """
data_

loop_
_rlnMicrographName #1
_rlnMagnification #2
_rlnDetectorPixelSize #3
_rlnImageName #4
_rlnCtfImage #5
_rlnAngleRot #6
_rlnAngleTilt #7
_rlnAnglePsi #8
TS_1.tomostar 10000.0 10.00 ../sub/TS_1_0000_10.00A.mrc ../sub/TS_1_0000_ctf.mrc 1 2 3
TS_1.tomostar 10000.0 10.00 ../sub/TS_1_0001_10.00A.mrc ../sub/TS_1_0001_ctf.mrc 4 5 6
"""
RELION4 = """
data_general

_rlnTomoSubTomosAre2DStacks                       0

data_optics

loop_
_rlnOpticsGroup #1
_rlnTomoTiltSeriesPixelSize #2
_rlnTomoSubtomogramBinning #3
_rlnImagePixelSize #4
_rlnImageDimensionality #5
_rlnCtfDataAreCtfPremultiplied #6
1 1.35 4.0 5.4 3 1

data_particles

loop_
_rlnTomoParticleName #1
_rlnOpticsGroup #2
_rlnTomoSubtomogramRot #3
_rlnTomoSubtomogramTilt #4
_rlnTomoSubtomogramPsi #5
_rlnAngleRot #6
_rlnAngleTilt #7
_rlnAnglePsi #8
_rlnTomoVisibleFrames #9
_rlnImageName #10
TS_01/1 1 170 90 -120 20 40 60 [0,1,1] Extract/1_data.mrc
TS_01/2 1 -70 80 10 0 0 0 [1,1,0] Extract/2_data.mrc
"""
