# The device sources that travel inside the assembly MambaCuda.Kernels (its project file embeds the same patterns), and what is made of them
# ahead of time.

# mamba_check_embedded_sources(<root>): looks at every .cuh and every .cu under root. NVRTC is given these headers and nothing else, under
# their names below include/, so an include of any other file is an error here, before it is one on a user's machine.
function(mamba_check_embedded_sources root)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${root}/include/*.cuh")
  file(GLOB_RECURSE kernels CONFIGURE_DEPENDS "${root}/kernels/*.cu")
  foreach(source IN LISTS headers kernels)
    file(STRINGS "${source}" includes REGEX "^[ \t]*#[ \t]*include")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[^\"]*\"([^\"]+)\".*$" "\\1" name "${line}")
      if(NOT EXISTS "${root}/include/${name}")
        message(FATAL_ERROR "${source}: '${line}' names no file under ${root}/include; NVRTC would not find it")
      endif()
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
  endforeach()
endfunction()

# mamba_add_cubins(<target> DOTNET <dotnet> PROJECT <folder> ARCHITECTURES ...): a target that fills cubins in the build folder with what the
# loader takes in place of compiling (mamba-cuda kernels build). It is the program itself that compiles, by NVRTC: the loader finds a kernel by
# the SHA-256 of its sources, options and C++ name, which nvcc would know nothing of, nor of which instances of the templates there are.
function(mamba_add_cubins target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "DOTNET;PROJECT" "ARCHITECTURES")
  add_custom_target(${target}
    COMMAND "${ARG_DOTNET}" run --project "${ARG_PROJECT}" -c Release -- kernels build --arch ${ARG_ARCHITECTURES}
      --output "${CMAKE_CURRENT_BINARY_DIR}/cubins"
    USES_TERMINAL
    COMMENT "Compiling kernels ahead of time into ${CMAKE_CURRENT_BINARY_DIR}/cubins"
    VERBATIM)
endfunction()
