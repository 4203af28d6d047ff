"""What is particular to cryo-ET: STAR and MRC files, poses, CTF, structures and the simulator."""
