// Response heads: a head that is accepted survives being written anew, without folds, and a body
// never has two lengths.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/http1/framing.h"
#include "proxy/http1/parser.h"
#include "proxy/http1/serializer.h"

namespace {

using namespace satchel;

std::string Written(const cache::ResponseHead& head) {
  std::string out;
  http1::AppendStatusLine(out, head.status, head.reason);
  http1::AppendFields(out, head.fields);
  return out + "\r\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  http1::HeadParser parser;
  cache::ResponseHead head;
  size_t scanned = 0;
  const http1::HeadResult result = parser.ParseResponse(text, scanned, {}, head);
  if (!result || *result == 0) return 0;
  if (*result > size || head.status < 100 || head.status > 999) std::abort();
  const std::string once = Written(head);
  if (once.find("\n ") != std::string::npos || once.find("\n\t") != std::string::npos) std::abort();
  cache::ResponseHead again;
  scanned = 0;
  const auto anew = parser.ParseResponse(once, scanned, {1 << 20, 1 << 20, 1024}, again);
  if (!anew || *anew != once.size() || Written(again) != once) std::abort();
  for (const char* method : {"GET", "HEAD"}) {
    const auto framing = http1::FrameResponse(method, head);
    if (!framing) continue;
    const bool both = head.fields.Has(cache::FieldId::kContentLength) &&
                      head.fields.Has(cache::FieldId::kTransferEncoding);
    if (both && framing->kind != http1::BodyKind::kNone) std::abort();
    if (framing->kind == http1::BodyKind::kUntilClose && framing->keep_alive) std::abort();
  }
  return 0;
}
