#include "proxy/json_escape.h"

#include <cstring>

#include "cache/base/text.h"

namespace satchel::proxy {
namespace {

char* WriteHex(char* out, unsigned code) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::memcpy(out, "\\u00", 4);
  out[4] = kDigits[code >> 4 & 15];
  out[5] = kDigits[code & 15];
  return out + 6;
}

constexpr bool IsContinuation(unsigned char byte) { return (byte & 0xc0) == 0x80; }

// Bytes of the valid UTF-8 sequence at `at` (Unicode 15, table 3-7), or 0. The first is >= 0x80.
size_t SequenceLength(const unsigned char* at, size_t left) {
  const unsigned char lead = at[0];
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (left < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(at[i])) return 0;
  }
  if (lead == 0xe0 && at[1] < 0xa0) return 0;  // overlong
  if (lead == 0xed && at[1] > 0x9f) return 0;  // surrogates
  if (lead == 0xf0 && at[1] < 0x90) return 0;  // overlong
  if (lead == 0xf4 && at[1] > 0x8f) return 0;  // past U+10FFFF
  return length;
}

}  // namespace

char* WriteEscaped(char* out, std::string_view text) {
  if (cache::IsPlainText(text)) return cache::PutText(out, text);
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const unsigned char* const end = at + text.size();
  while (at < end) {
    const auto left = static_cast<size_t>(end - at);
    if (left >= sizeof(cache::ByteLanes)) {
      const cache::ByteLanes lanes = cache::LoadLanes(reinterpret_cast<const char*>(at));
      if (!cache::AnyLane(cache::NotPlain(lanes))) {
        std::memcpy(out, &lanes, sizeof(lanes));
        at += sizeof(lanes);
        out += sizeof(lanes);
        continue;
      }
    }
    const unsigned char byte = *at;
    if (byte >= 0x80) {
      const size_t length = SequenceLength(at, left);
      if (length == 0) {
        std::memcpy(out, "\xef\xbf\xbd", 3);  // U+FFFD
        out += 3;
        ++at;
      } else if (byte == 0xc2 && at[1] < 0xa0) {
        out = WriteHex(out, at[1]);
        at += 2;
      } else {
        std::memcpy(out, at, length);
        out += length;
        at += length;
      }
      continue;
    }
    ++at;
    switch (byte) {
      case '"':
      case '\\':
        *out++ = '\\';
        *out++ = static_cast<char>(byte);
        break;
      case '\n':
        *out++ = '\\';
        *out++ = 'n';
        break;
      case '\r':
        *out++ = '\\';
        *out++ = 'r';
        break;
      case '\t':
        *out++ = '\\';
        *out++ = 't';
        break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          out = WriteHex(out, byte);
        } else {
          *out++ = static_cast<char>(byte);
        }
    }
  }
  return out;
}

void AppendEscaped(std::string& out, std::string_view text) {
  const size_t before = out.size();
  out.resize_and_overwrite(before + text.size() * kMaxEscaped, [&](char* data, size_t) {
    return static_cast<size_t>(WriteEscaped(data + before, text) - data);
  });
}

size_t CutUtf8(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  // Step back over a sequence that the cut would divide; at most three bytes, as in garbage.
  size_t cut = limit;
  for (int back = 0; back < 3 && cut > 0; ++back) {
    if (!IsContinuation(static_cast<unsigned char>(text[cut]))) return cut;
    --cut;
  }
  return IsContinuation(static_cast<unsigned char>(text[cut])) ? limit : cut;
}

}  // namespace satchel::proxy
