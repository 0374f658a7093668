# The device sources that travel inside the assembly MambaCuda.Kernels (its project file embeds the same patterns), and their cubins.

# mamba_embedded_sources(<root> <headers> <kernels>): every .cuh and every .cu under root. NVRTC is given these headers and nothing else,
# under their names below include/, so an include of any other file is an error here, before it is one on a user's machine.
function(mamba_embedded_sources root headers kernels)
  file(GLOB_RECURSE found_headers CONFIGURE_DEPENDS "${root}/include/*.cuh")
  file(GLOB_RECURSE found_kernels CONFIGURE_DEPENDS "${root}/kernels/*.cu")
  foreach(source IN LISTS found_headers found_kernels)
    file(STRINGS "${source}" includes REGEX "^[ \t]*#[ \t]*include")
    foreach(line IN LISTS includes)
      string(REGEX REPLACE "^[^\"]*\"([^\"]+)\".*$" "\\1" name "${line}")
      if(NOT EXISTS "${root}/include/${name}")
        message(FATAL_ERROR "${source}: '${line}' names no file under ${root}/include; NVRTC would not find it")
      endif()
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
  endforeach()
  set(${headers} "${found_headers}" PARENT_SCOPE)
  set(${kernels} "${found_kernels}" PARENT_SCOPE)
endfunction()

# mamba_add_cubins(<target> NVCC <nvcc> ROOT <root> ARCHITECTURES ... KERNELS ... HEADERS ...): makes cubins/sm_NN/<kernel>.cubin in the
# build folder for every kernel and architecture. The target is built by default.
function(mamba_add_cubins target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "NVCC;ROOT" "ARCHITECTURES;KERNELS;HEADERS")
  set(cubins)
  foreach(kernel IN LISTS ARG_KERNELS)
    get_filename_component(name "${kernel}" NAME_WE)
    foreach(architecture IN LISTS ARG_ARCHITECTURES)
      set(folder "${CMAKE_CURRENT_BINARY_DIR}/cubins/sm_${architecture}")
      file(MAKE_DIRECTORY "${folder}")
      add_custom_command(
        OUTPUT "${folder}/${name}.cubin"
        COMMAND "${ARG_NVCC}" -cubin -arch "sm_${architecture}" -std=c++17 -I "${ARG_ROOT}/include" -o "${folder}/${name}.cubin" "${kernel}"
        DEPENDS "${kernel}" ${ARG_HEADERS}
        COMMENT "Compiling ${name} for sm_${architecture}"
        VERBATIM)
      list(APPEND cubins "${folder}/${name}.cubin")
    endforeach()
  endforeach()
  add_custom_target(${target} ALL DEPENDS ${cubins})
endfunction()
