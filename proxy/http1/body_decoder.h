#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "cache/http/headers.h"
#include "proxy/http1/framing.h"
#include "proxy/http1/parser.h"

namespace satchel::http1 {

// Takes the transfer coding off a body as it arrives. Chunked is read to the letter (RFC 9112
// 7.1): hexadecimal sizes only, CRLF exactly, extensions bounded and dropped, trailers parsed by
// the rules of fields and bounded.
class BodyDecoder {
 public:
  void Start(const Framing& framing);

  struct Step {
    size_t used = 0;         // input bytes consumed
    std::string_view data;   // body bytes among them (may be empty); views into the input
    bool done = false;       // the body is complete; later input belongs to the next message
  };

  // Call again with the rest of the input until `used` is 0 (needs more) or `done`.
  std::expected<Step, ParseError> Next(std::string_view input);

  bool done() const { return state_ == State::kDone; }
  // Only for kUntilClose: the connection ended in order, so the body is complete.
  bool EndOfInput();
  cache::HeaderMap& trailers() { return trailers_; }

 private:
  enum class State : uint8_t {
    kDone,
    kLength,
    kUntilClose,
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailers,
  };

  State state_ = State::kDone;
  uint8_t digits_ = 0;
  uint16_t extension_bytes_ = 0;
  uint64_t left_ = 0;
  std::string trailer_text_;
  cache::HeaderMap trailers_;
};

}  // namespace satchel::http1
