// Chunked bodies: the outcome does not depend on how the bytes were cut, and a body that is
// accepted decodes to the same when it is chunked anew.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proxy/http1/body_decoder.h"
#include "proxy/http1/serializer.h"

namespace {

using namespace satchel;

struct Outcome {
  bool refused = false;
  bool done = false;
  size_t used = 0;
  std::string data;
  std::string trailers;
  bool operator==(const Outcome&) const = default;
};

Outcome Decode(std::string_view text, size_t piece) {
  http1::BodyDecoder decoder;
  http1::Framing framing;
  framing.kind = http1::BodyKind::kChunked;
  decoder.Start(framing);
  Outcome out;
  for (size_t at = 0; at < text.size() && !decoder.done(); at += piece) {
    std::string_view rest = text.substr(at, piece);
    while (!rest.empty() && !decoder.done()) {
      const auto step = decoder.Next(rest);
      if (!step) {
        out = Outcome();
        out.refused = true;
        return out;
      }
      if (step->used == 0 || step->used > rest.size()) std::abort();
      out.data += step->data;
      out.used += step->used;
      rest.remove_prefix(step->used);
    }
  }
  out.done = decoder.done();
  http1::AppendFields(out.trailers, decoder.trailers());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Outcome whole = Decode(text, size == 0 ? 1 : size);
  if (!(Decode(text, 1) == whole) || !(Decode(text, 3) == whole)) std::abort();
  if (!whole.done) return 0;
  std::string anew;
  if (!whole.data.empty()) {
    char prefix[24];
    anew += http1::ChunkPrefix(prefix, whole.data.size(), true);
    anew += whole.data;
    anew += "\r\n";
  }
  anew += "0\r\n" + whole.trailers + "\r\n";
  const Outcome again = Decode(anew, anew.size());
  if (!again.done || again.data != whole.data || again.trailers != whole.trailers) std::abort();
  return 0;
}
