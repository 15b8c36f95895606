// Request heads: a head that is accepted survives being written anew, and reads the same however it
// was cut; what is framed has one meaning only.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/http1/framing.h"
#include "proxy/http1/parser.h"
#include "proxy/http1/serializer.h"

namespace {

using namespace satchel;

std::string Written(const cache::RequestHead& head) {
  std::string out = head.method_text + " " + head.target +
                    (head.minor_version == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  http1::AppendFields(out, head.fields);
  return out + "\r\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  http1::HeadParser parser;
  cache::RequestHead head;
  size_t scanned = 0;
  const http1::HeadResult result = parser.ParseRequest(text, scanned, {}, head);
  if (!result) {
    if (result.error().status < 400) std::abort();
    return 0;
  }
  if (*result == 0) return 0;
  if (*result > size) std::abort();
  const std::string once = Written(head);
  if (once.find('\0') != std::string::npos) std::abort();
  cache::RequestHead again;
  scanned = 0;
  const auto anew = parser.ParseRequest(once, scanned, {1 << 20, 1 << 20, 1024}, again);
  if (!anew || *anew != once.size() || Written(again) != once) std::abort();

  // In two pieces it is the same head.
  cache::RequestHead cut;
  scanned = 0;
  const auto first = parser.ParseRequest(text.substr(0, *result / 2), scanned, {}, cut);
  if (first) {
    if (*first != 0) std::abort();
    const auto second = parser.ParseRequest(text, scanned, {}, cut);
    if (!second || *second != *result || Written(cut) != once) std::abort();
  }
  const auto framing = http1::FrameRequest(head);
  if (framing && framing->kind != http1::BodyKind::kNone &&
      head.fields.Has(cache::FieldId::kContentLength) &&
      head.fields.Has(cache::FieldId::kTransferEncoding)) {
    std::abort();
  }
  return 0;
}
