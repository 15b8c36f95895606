# One library per folder. A target sees a mirrored include root that holds only the folders it
# may know, so an include in the forbidden direction does not compile.

# satchel_include_root(OUT name folder...): a folder of the build tree with links to `folder`s.
function(satchel_include_root out name)
  set(root "${PROJECT_BINARY_DIR}/include_roots/${name}")
  foreach(folder IN LISTS ARGN)
    cmake_path(GET folder PARENT_PATH parent)
    file(MAKE_DIRECTORY "${root}/${parent}")
    file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${folder}" "${root}/${folder}" SYMBOLIC)
  endforeach()
  set(${out} "${root}" PARENT_SCOPE)
endfunction()

# satchel_empty_source(OUT name): a source for a target whose folder holds no .cc.
function(satchel_empty_source out name)
  set(file "${PROJECT_BINARY_DIR}/generated/empty/${name}.cc")
  if(NOT EXISTS "${file}")
    file(WRITE "${file}" "// Stands in for a folder without sources.\n")
  endif()
  set(${out} "${file}" PARENT_SCOPE)
endfunction()

# satchel_precompile(name <header>...): Debug builds parse these headers once for the target. Release
# and tidy builds do without, so a source that forgets to include what it uses is found there.
function(satchel_precompile name)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" OR SATCHEL_TIDY)
    return()
  endif()
  target_precompile_headers(${name} PRIVATE ${ARGN})
  # ccache needs to see that the preprocessed text depends on the precompiled header.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${name} PRIVATE -fpch-preprocess)
  endif()
endfunction()

# satchel_library(name SOURCES ... SEES folder... LINKS target...)
function(satchel_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;SEES;LINKS")
  if(NOT arg_SOURCES)
    satchel_empty_source(arg_SOURCES ${name})
  endif()
  add_library(${name} STATIC ${arg_SOURCES})
  satchel_include_root(root ${name} ${arg_SEES})
  target_include_directories(${name} PRIVATE "${root}")
  target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE satchel_flags)
  satchel_precompile(${name} <algorithm> <array> <charconv> <chrono> <expected> <functional> <map>
    <memory> <mutex> <optional> <string> <string_view> <unordered_map> <utility> <variant> <vector>)
  satchel_lto(${name})
  if(SATCHEL_TIDY)
    set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "${SATCHEL_CLANG_TIDY};--quiet")
  endif()
endfunction()
