# Flags of our own code: the interface target satchel_flags. Third-party sources (llhttp) take
# only the instrumentation, through the global options below.
include(CheckCXXCompilerFlag)
include(CheckIPOSupported)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

add_library(satchel_flags INTERFACE)
target_compile_options(satchel_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
  $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
  -Wimplicit-fallthrough -Wformat=2 -Wundef -Wvla)
if(SATCHEL_WERROR)
  target_compile_options(satchel_flags INTERFACE -Werror)
endif()

# Assertions inside the standard library wherever speed is not what is measured.
add_compile_definitions($<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)

if(SATCHEL_SANITIZERS)
  add_compile_options(-fsanitize=${SATCHEL_SANITIZERS} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SATCHEL_SANITIZERS})
endif()
if(SATCHEL_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SATCHEL_FUZZERS needs clang: cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(SATCHEL_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()

if(SATCHEL_HARDENING)
  check_cxx_compiler_flag("-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3" SATCHEL_FORTIFY_3)
  if(SATCHEL_FORTIFY_3)
    set(_fortify 3)
  else()
    set(_fortify 2)
  endif()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${_fortify} -fstack-protector-strong
    -fPIE)
  foreach(_flag -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER "SATCHEL_HAS${_flag}" _have)
    check_cxx_compiler_flag("-Werror ${_flag}" ${_have})
    if(${_have})
      add_compile_options(${_flag})
    endif()
  endforeach()
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)
endif()

if(SATCHEL_LTO)
  check_ipo_supported(RESULT _ipo OUTPUT _why)
  if(_ipo)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  else()
    message(STATUS "no link-time optimisation: ${_why}")
  endif()
endif()

if(SATCHEL_TIDY)
  find_program(SATCHEL_CLANG_TIDY NAMES clang-tidy-19 clang-tidy REQUIRED)
  mark_as_advanced(SATCHEL_CLANG_TIDY)
endif()

# ccache when present. Paths are taken relative to the source, so build folders share entries.
find_program(SATCHEL_CCACHE ccache)
mark_as_advanced(SATCHEL_CCACHE)
if(SATCHEL_CCACHE AND NOT SATCHEL_COVERAGE AND NOT SATCHEL_TIDY AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(_launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros "${SATCHEL_CCACHE}")
  set(CMAKE_C_COMPILER_LAUNCHER ${_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_launcher})
endif()
