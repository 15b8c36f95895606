#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cache/http/message.h"

namespace satchel::http1 {

// Writers of message parts. What is forwarded is written anew from parsed values; values come from
// the parser, which has refused CR, LF and NUL.
void AppendStatusLine(std::string& out, uint16_t status, std::string_view reason);
void AppendField(std::string& out, std::string_view name, std::string_view value);
void AppendField(std::string& out, std::string_view name, uint64_t value);
void AppendFields(std::string& out, const cache::HeaderMap& fields);
void AppendNumber(std::string& out, uint64_t value);

// The frame of one chunk (RFC 9112 7.1): the text before `size` bytes of data. `first` is false
// behind an earlier chunk, whose closing CRLF it then begins with.
std::string_view ChunkPrefix(char (&buffer)[24], uint64_t size, bool first);

}  // namespace satchel::http1
