// Redis replies: whatever the bytes and however they arrive, the reader stays within its limits,
// and the pieces in which they arrive change nothing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/redis/resp.h"

namespace {

using satchel::redis::Reply;
using satchel::redis::ReplyReader;

constexpr ReplyReader::Limits kLimits{.max_bytes = 4096, .max_elements = 64};

struct Size {
  size_t bytes = 0;
  size_t elements = 0;
};

void Describe(const Reply& reply, std::string& text, Size& size) {
  text += static_cast<char>('a' + static_cast<int>(reply.type));
  text += std::to_string(reply.integer) + "," + reply.text + ";";
  size.bytes += reply.text.size();
  size.elements += reply.items.size();
  for (const Reply& item : reply.items) Describe(item, text, size);
}

std::string Run(std::string_view wire, size_t piece) {
  ReplyReader reader(kLimits);
  std::string text;
  while (!wire.empty()) {
    reader.Feed(wire.substr(0, piece));
    wire.remove_prefix(std::min(piece, wire.size()));
    Reply reply;
    ReplyReader::Next next;
    while ((next = reader.Read(reply)) == ReplyReader::Next::kReply) {
      Size size;
      Describe(reply, text, size);
      if (size.bytes > kLimits.max_bytes || size.elements > kLimits.max_elements) std::abort();
    }
    if (next == ReplyReader::Next::kError) {
      if (reader.error().empty()) std::abort();
      break;
    }
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (wire.size() > 16'000) return 0;  // beyond it the limit on what waits depends on the pieces
  if (Run(wire, size_t{data[0]} + 1) != Run(wire, std::max<size_t>(1, wire.size()))) std::abort();
  return 0;
}
