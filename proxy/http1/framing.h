#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include "cache/http/message.h"
#include "proxy/http1/parser.h"

namespace satchel::http1 {

enum class BodyKind : uint8_t {
  kNone,
  kLength,      // Content-Length
  kChunked,     // Transfer-Encoding: chunked
  kUntilClose,  // responses only (RFC 9112 6.3 item 8)
};

struct Framing {
  BodyKind kind = BodyKind::kNone;
  uint64_t length = 0;      // for kLength
  bool keep_alive = false;  // the connection may be used again (RFC 9112 9.3)
};

// The one place where message length is decided (RFC 9112 6). What is ambiguous is refused.
std::expected<Framing, ParseError> FrameRequest(const cache::RequestHead& head);

// `request_method` is the method of the request that it answers.
std::expected<Framing, ParseError> FrameResponse(std::string_view request_method,
                                                 const cache::ResponseHead& head);

// True if the comma-separated lists in all lines of `id` hold this token, in any letter case.
bool ListHasToken(const cache::HeaderMap& fields, cache::FieldId id, std::string_view token);

// 1*DIGIT without overflow of 63 bits.
std::optional<uint64_t> ParseLength(std::string_view text);

}  // namespace satchel::http1
