#include "proxy/multipart.h"

#include <bit>

#include "cache/base/append.h"

namespace satchel::proxy {
namespace {

// Sixteen hexadecimal digits, as random as `random` is.
std::string Boundary(double random) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  uint64_t bits = std::bit_cast<uint64_t>(random + 1.0) * 0x9E3779B97F4A7C15;
  std::string out = "satchel-";
  for (int i = 0; i < 16; ++i, bits >>= 4) out.push_back(kDigits[bits & 15]);
  return out;
}

}  // namespace

std::unique_ptr<Multipart> Multipart::Make(std::span<const cache::ByteRange> ranges,
                                           uint64_t length, std::string_view content_type,
                                           double random) {
  const std::string boundary = Boundary(random);
  std::unique_ptr<Multipart> out(new Multipart);
  out->ranges_.assign(ranges.begin(), ranges.end());
  cache::AppendAll(out->content_type_, {"multipart/byteranges; boundary=", boundary});
  for (const cache::ByteRange& range : ranges) {
    std::string lead;
    cache::AppendAll(lead, {"\r\n--", boundary, "\r\n"});
    if (!content_type.empty()) cache::AppendAll(lead, {"Content-Type: ", content_type, "\r\n"});
    cache::AppendAll(lead, {"Content-Range: ", cache::FormatContentRange(range, length),
                            "\r\n\r\n"});
    out->content_length_ += lead.size() + range.size();
    out->leads_.push_back(std::move(lead));
  }
  std::string& end = out->leads_.emplace_back();
  cache::AppendAll(end, {"\r\n--", boundary, "--\r\n"});
  out->content_length_ += end.size();
  if (out->content_length_ >= length) return nullptr;
  return out;
}

}  // namespace satchel::proxy
