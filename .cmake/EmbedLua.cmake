# satchel_embed_lua(target file...): each .../lua/sliding_window.lua becomes the header
# "proxy/redis/lua/sliding_window.lua.h" with satchel::redis::lua::kSlidingWindow.
# Run as a script (-P) it writes one header.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ "${INPUT}" text)
  get_filename_component(name "${INPUT}" NAME_WE)
  string(REPLACE "_" ";" words "${name}")
  set(constant "k")
  foreach(word IN LISTS words)
    string(SUBSTRING "${word}" 0 1 first)
    string(SUBSTRING "${word}" 1 -1 rest)
    string(TOUPPER "${first}" first)
    string(APPEND constant "${first}${rest}")
  endforeach()
  if(text MATCHES "\\)satchel_lua\"")
    message(FATAL_ERROR "${INPUT} contains the raw string delimiter")
  endif()
  string(CONCAT header
    "// Generated from proxy/redis/lua/${name}.lua.\n#pragma once\n\n#include <string_view>\n\n"
    "namespace satchel::redis::lua {\n\ninline constexpr std::string_view ${constant} = "
    "R\"satchel_lua(${text})satchel_lua\";\n\n}  // namespace satchel::redis::lua\n")
  file(WRITE "${OUTPUT}" "${header}")
  return()
endif()

set(SATCHEL_EMBED_LUA_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")

function(satchel_embed_lua target)
  set(root "${PROJECT_BINARY_DIR}/generated/lua")
  set(headers)
  foreach(file IN LISTS ARGN)
    get_filename_component(name "${file}" NAME)
    set(header "${root}/proxy/redis/lua/${name}.h")
    add_custom_command(
      OUTPUT "${header}"
      COMMAND "${CMAKE_COMMAND}" "-DINPUT=${file}" "-DOUTPUT=${header}"
              -P "${SATCHEL_EMBED_LUA_SCRIPT}"
      DEPENDS "${file}" "${SATCHEL_EMBED_LUA_SCRIPT}"
      COMMENT "Embedding ${name}" VERBATIM)
    list(APPEND headers "${header}")
  endforeach()
  target_sources(${target} PRIVATE ${headers})
  target_include_directories(${target} PUBLIC "${root}")
endfunction()
