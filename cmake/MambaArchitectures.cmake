# The GPU architectures that kernels are compiled for ahead of time.
#
# MAMBA_ARCHITECTURES  compute capabilities without the dot, 75 (Turing) to 120 (Blackwell); those that NVRTC does not know are named and left
#                      out, and every other card compiles at first use.

set(MAMBA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING "Compute capabilities that kernels are compiled for, without the dot")
