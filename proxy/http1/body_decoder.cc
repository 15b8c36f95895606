#include "proxy/http1/body_decoder.h"

#include <algorithm>

namespace satchel::http1 {
namespace {

constexpr uint16_t kMaxExtensionBytes = 1024;  // per chunk
constexpr uint8_t kMaxSizeDigits = 15;         // below 2^60
constexpr HeadLimits kTrailerLimits{16 * 1024, 16 * 1024, 64};

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::unexpected<ParseError> Bad(std::string_view message) {
  return std::unexpected(ParseError{400, message});
}

}  // namespace

void BodyDecoder::Start(const Framing& framing) {
  trailers_.Clear();
  trailer_text_.clear();
  digits_ = 0;
  extension_bytes_ = 0;
  left_ = framing.length;
  switch (framing.kind) {
    case BodyKind::kNone:
      state_ = State::kDone;
      break;
    case BodyKind::kLength:
      state_ = State::kLength;
      break;
    case BodyKind::kUntilClose:
      state_ = State::kUntilClose;
      break;
    case BodyKind::kChunked:
      state_ = State::kSize;
      left_ = 0;
      break;
  }
}

bool BodyDecoder::EndOfInput() {
  if (state_ == State::kUntilClose) state_ = State::kDone;
  return state_ == State::kDone;
}

std::expected<BodyDecoder::Step, ParseError> BodyDecoder::Next(std::string_view input) {
  Step step;
  while (step.used < input.size() && state_ != State::kDone) {
    const char c = input[step.used];
    switch (state_) {
      case State::kLength:
      case State::kData: {
        const size_t n = std::min<uint64_t>(left_, input.size() - step.used);
        step.data = input.substr(step.used, n);
        step.used += n;
        left_ -= n;
        if (left_ == 0) state_ = state_ == State::kLength ? State::kDone : State::kDataCr;
        step.done = state_ == State::kDone;
        return step;
      }
      case State::kUntilClose:
        step.data = input.substr(step.used);
        step.used = input.size();
        return step;
      case State::kSize: {
        const int value = HexValue(c);
        if (value >= 0) {
          if (++digits_ > kMaxSizeDigits) return Bad("chunk size too large");
          left_ = left_ * 16 + static_cast<uint64_t>(value);
        } else if (digits_ == 0) {
          return Bad("chunk without a size");
        } else if (c == ';') {
          state_ = State::kExtension;
        } else if (c == '\r') {
          state_ = State::kSizeLf;
        } else {
          return Bad("invalid character in a chunk size");
        }
        ++step.used;
        break;
      }
      case State::kExtension:
        if (c == '\r') {
          state_ = State::kSizeLf;
        } else if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) {
          return Bad("control character in a chunk extension");
        } else if (++extension_bytes_ > kMaxExtensionBytes) {
          return Bad("chunk extension too long");
        }
        ++step.used;
        break;
      case State::kSizeLf:
        if (c != '\n') return Bad("chunk size line does not end in CRLF");
        ++step.used;
        digits_ = 0;
        extension_bytes_ = 0;
        state_ = left_ == 0 ? State::kTrailers : State::kData;
        break;
      case State::kDataCr:
        if (c != '\r') return Bad("chunk longer than its size");
        ++step.used;
        state_ = State::kDataLf;
        break;
      case State::kDataLf:
        if (c != '\n') return Bad("chunk does not end in CRLF");
        ++step.used;
        state_ = State::kSize;
        break;
      case State::kTrailers: {
        // Rare and small: gathered byte by byte up to the limit, then parsed as a whole.
        const size_t before = trailer_text_.size();
        trailer_text_.append(input.substr(step.used));
        const HeadResult parsed = ParseTrailers(trailer_text_, kTrailerLimits, trailers_);
        if (!parsed) return Bad(parsed.error().message);
        if (*parsed == 0) {
          step.used = input.size();
          return step;
        }
        step.used += *parsed - before;
        state_ = State::kDone;
        break;
      }
      case State::kDone:
        break;
    }
  }
  step.done = state_ == State::kDone;
  return step;
}

}  // namespace satchel::http1
