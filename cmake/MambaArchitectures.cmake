# The GPU architectures that kernels are compiled for ahead of time.
#
# MAMBA_ARCHITECTURES  compute capabilities without the dot, 75 (Turing) to 120 (Blackwell); a card between two of them runs the lower one
#                      of its own generation, every other card compiles at first use.

set(MAMBA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING "Compute capabilities that cubins are made for, without the dot")

# mamba_supported_architectures(<nvcc> <result>): those of MAMBA_ARCHITECTURES that this nvcc knows; each that it does not is named.
function(mamba_supported_architectures nvcc result)
  execute_process(COMMAND "${nvcc}" --list-gpu-arch OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  set(supported)
  foreach(architecture IN LISTS MAMBA_ARCHITECTURES)
    if(known MATCHES "compute_${architecture}[\r\n]")
      list(APPEND supported "${architecture}")
    else()
      message(STATUS "No cubins for sm_${architecture}: ${nvcc} does not know it")
    endif()
  endforeach()
  if(NOT supported)
    message(FATAL_ERROR "${nvcc} knows none of MAMBA_ARCHITECTURES (${MAMBA_ARCHITECTURES})")
  endif()
  set(${result} "${supported}" PARENT_SCOPE)
endfunction()
