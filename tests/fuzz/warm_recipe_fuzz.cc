// A recipe as Redis holds it, whoever wrote it: never a crash, bounded, written as it was read, and
// never with a field that carries credentials or frames a message.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proxy/warm_recipe.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto request = proxy::WarmRequest::FromText(text);
  if (!request) return 0;
  Require(text.size() <= proxy::WarmRequest::kMaxText);
  Require(request->fields.size() <= proxy::WarmRequest::kMaxFields);
  Require(request->ToText() == text);
  const cache::RequestHead head = request->Head();
  Require(head.method == cache::Method::kGet && head.target.starts_with('/'));
  for (const cache::FieldId id :
       {cache::FieldId::kAuthorization, cache::FieldId::kCookie, cache::FieldId::kHost,
        cache::FieldId::kConnection, cache::FieldId::kContentLength,
        cache::FieldId::kTransferEncoding, cache::FieldId::kRange}) {
    Require(!head.fields.Has(id));
  }
  for (const auto& [name, value] : request->fields) {
    Require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  }
  return 0;
}
