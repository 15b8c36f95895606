#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/stored_response.h"
#include "cache/vary.h"

// The part of a record (envelope.h) between its head and the body, and the little-endian numbers
// that both are written in.
namespace satchel::cache {

inline constexpr size_t kMaxTexts = size_t{1} << 20;  // bytes
inline constexpr size_t kMaxNames = 256;              // of Vary

class TextWriter {
 public:
  explicit TextWriter(std::string& out) : out_(out) {}
  void U8(uint8_t value) { Number(value, 1); }
  void U16(uint16_t value) { Number(value, 2); }
  void U32(uint32_t value) { Number(value, 4); }
  void U64(uint64_t value) { Number(value, 8); }
  void Number(uint64_t value, int bytes) {  // the lowest of it
    for (int i = 0; i < bytes; ++i) out_.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  }
  void Text(std::string_view text);  // its size as u32, then the bytes

 private:
  std::string& out_;
};

// Past the end everything reads as zero or empty, and ok() turns false for good.
class TextReader {
 public:
  explicit TextReader(std::string_view bytes) : rest_(bytes) {}
  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t U64() { return Number(8); }
  uint64_t Number(size_t bytes);
  int64_t Signed(size_t bytes);
  std::string_view Text();
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// At most kMaxTags tags and kMaxNames names, or it cannot be unpacked.
std::string PackTexts(const StoredResponse& response);
// Fills key, Vary, tags, reason, fields and part. `parts.facts` is known already. Returns why the
// texts cannot be used, or null.
const char* UnpackTexts(std::string_view texts, std::string_view expected_key,
                        StoredResponse::Parts& parts);

std::string PackMarkerTexts(std::string_view key, const VarySpec& vary);
const char* UnpackMarkerTexts(std::string_view texts, std::string_view expected_key,
                              VarySpec& vary);

// Text formats that nobody has compressed yet.
bool IsCompressible(const StoredResponse& response);

}  // namespace satchel::cache
