#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/range.h"

namespace satchel::proxy {

// The body of an answer to several ranges (RFC 9110 14.6): for each a few lines and then bytes of
// the stored body, which are never copied. Made once, read by one exchange.
class Multipart {
 public:
  // `content_type`: of the whole representation, empty if unknown. `random` in [0, 1) makes the
  // boundary one that no body was written to hold. Null where the parts with their lines would
  // be longer than the whole, which then is the better answer.
  static std::unique_ptr<Multipart> Make(std::span<const cache::ByteRange> ranges, uint64_t length,
                                         std::string_view content_type, double random);

  // "multipart/byteranges; boundary=..."
  const std::string& content_type() const { return content_type_; }
  uint64_t content_length() const { return content_length_; }

  size_t parts() const { return ranges_.size(); }
  const cache::ByteRange& range(size_t part) const { return ranges_[part]; }
  // What goes before a part; for part parts() what ends the body.
  const std::string& lead(size_t part) const { return leads_[part]; }

 private:
  Multipart() = default;
  std::vector<cache::ByteRange> ranges_;
  std::vector<std::string> leads_;
  std::string content_type_;
  uint64_t content_length_ = 0;
};

}  // namespace satchel::proxy
