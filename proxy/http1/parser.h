#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "cache/http/message.h"

namespace satchel::http1 {

// Why a message was refused: the status for the client (requests) and a sentence for the log.
struct ParseError {
  uint16_t status = 400;
  std::string_view message;  // a literal
};

struct HeadLimits {
  size_t max_bytes = 32 * 1024;       // start line and fields together
  size_t max_start_line = 16 * 1024;  // 414 beyond it
  size_t max_fields = 128;
};

// Bytes used by a complete head, 0 if more input is needed, or why the head is refused.
using HeadResult = std::expected<size_t, ParseError>;

// Parses message heads strictly (RFC 9112 2 to 5): CRLF line ends, one space between the parts of
// the start line, token names without white space before the colon, no control characters, no
// obs-fold in requests. A head is looked at as a whole: the caller keeps incomplete input and
// calls again with more. One object per thread; it keeps no state between calls but `scanned`.
class HeadParser {
 public:
  // `scanned`: how much of `input` an earlier call has seen without finding the end; updated.
  // On success `head` holds method, target, version and fields as received.
  HeadResult ParseRequest(std::string_view input, size_t& scanned, const HeadLimits& limits,
                          cache::RequestHead& head);

  // As above for a response. An obs-fold is replaced by spaces (RFC 9112 5.2).
  HeadResult ParseResponse(std::string_view input, size_t& scanned, const HeadLimits& limits,
                           cache::ResponseHead& head);

 private:
  std::string unfolded_;
};

// Parses a trailer section (field lines up to an empty line) by the rules of fields.
HeadResult ParseTrailers(std::string_view input, const HeadLimits& limits,
                         cache::HeaderMap& trailers);

}  // namespace satchel::http1
