# Flags of our own code: the interface targets satchel_flags and, for tests, satchel_test_flags.
# Third-party sources (llhttp) take only optimisation, hardening and instrumentation, which are set
# for the whole directory.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckIPOSupported)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

add_library(satchel_warnings INTERFACE)
target_compile_options(satchel_warnings INTERFACE
  -Wall -Wextra -Wpedantic
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
  $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
  -Wimplicit-fallthrough -Wformat=2 -Wundef -Wvla)
# GCC 12 takes std::string's operator+ for overlapping copies (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(satchel_warnings INTERFACE -Wno-restrict)
endif()
if(SATCHEL_WERROR)
  target_compile_options(satchel_warnings INTERFACE -Werror)
endif()
add_library(satchel_flags INTERFACE)
target_link_libraries(satchel_flags INTERFACE satchel_warnings)
target_compile_options(satchel_flags INTERFACE -Wshadow)
# GoogleTest's macros shadow their own parameters, and the guard in EXPECT_* after an if without
# braces looks like a dangling else.
add_library(satchel_test_flags INTERFACE)
target_link_libraries(satchel_test_flags INTERFACE satchel_warnings)
target_compile_options(satchel_test_flags INTERFACE -Wno-dangling-else)
# What is looked for is the fault in what is tested. Checks of the tests' own arithmetic, and their
# optimisation, cost more than half of the time that a sanitizer build takes.
if(SATCHEL_SANITIZERS MATCHES "undefined" AND NOT SATCHEL_FUZZERS)
  target_compile_options(satchel_test_flags INTERFACE -O0 -fno-sanitize=undefined)
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

# -fPIE for everything, not CMake's -fPIC for libraries: they only ever go into executables, and
# -fPIC would forbid inlining across functions that could be interposed.
if(SATCHEL_HARDENING)
  set(CMAKE_REQUIRED_FLAGS "-O2 -Werror -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_cxx_source_compiles("#include <cstring>\nint main() { return 0; }" SATCHEL_HAS_FORTIFY_3)
  unset(CMAKE_REQUIRED_FLAGS)
  if(SATCHEL_HAS_FORTIFY_3)
    set(_fortify 3)
  else()
    set(_fortify 2)
  endif()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=${_fortify} -fstack-protector-strong
    -fPIE)
  foreach(_flag -fstack-clash-protection -fcf-protection)
    string(MAKE_C_IDENTIFIER "SATCHEL_HAS${_flag}" _have)
    check_cxx_compiler_flag("${_flag}" ${_have})
    if(${_have})
      add_compile_options(${_flag})
    endif()
  endforeach()
  add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

# Link-time optimisation for the binary and the benchmarks. Where there are tests the libraries'
# objects also hold plain code ("fat"), so that they link without a second optimisation of everything.
# satchel_lto(target...) asks for it, satchel_no_lto(target...) links the plain code.
function(satchel_lto)
  if(SATCHEL_LTO)
    foreach(target IN LISTS ARGN)
      target_compile_options(${target} PRIVATE -flto=auto $<$<BOOL:${SATCHEL_TESTS}>:-ffat-lto-objects>)
      target_link_options(${target} PRIVATE -flto=auto -O2)
    endforeach()
  endif()
endfunction()
function(satchel_no_lto)
  if(SATCHEL_LTO)
    foreach(target IN LISTS ARGN)
      target_link_options(${target} PRIVATE -fno-lto)
    endforeach()
  endif()
endfunction()
if(SATCHEL_LTO)
  check_ipo_supported(RESULT _ipo OUTPUT _why LANGUAGES CXX)
  if(NOT _ipo OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    message(STATUS "no link-time optimisation: ${_why}")
    set(SATCHEL_LTO OFF)
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
