// Authorities, absolute URIs, references and queries: normal forms are normal, and nothing odd gets
// through.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cache/http/query.h"
#include "cache/http/uri.h"
#include "cache/search_variance.h"

namespace {

using namespace satchel::cache;

void CheckAuthority(std::string_view text, std::string_view scheme) {
  std::string once;
  if (!NormalizeAuthorityInto(text, scheme, once)) return;
  std::string twice;
  if (!NormalizeAuthorityInto(once, scheme, twice) || twice != once) std::abort();
  if (once.find_first_of("@/?# \t\r\n\\%,ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos) {
    std::abort();
  }
  const std::optional<Authority> whole = NormalizeAuthority(text, scheme);
  if (!whole || whole->port == 0 || whole->Text(scheme) != once) std::abort();
}

void CheckUri(const std::optional<HttpUri>& uri) {
  if (!uri) return;
  CheckAuthority(uri->authority, uri->scheme);
  if (!uri->target.starts_with('/') || uri->target.find_first_of(" \r\n#") != std::string::npos) {
    std::abort();
  }
  if (ParseHttpUri(uri->scheme + "://" + uri->authority + uri->target) != uri) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckAuthority(text, "http");
  CheckAuthority(text, "https");
  CheckUri(ParseHttpUri(text));
  CheckUri(ResolveReference({"http", "a.example", "/b/c?d"}, text));
  CheckUri(ResolveReference({"https", "a.example:8443", "/"}, text));

  // The order of two parameters of different names is all that key-order forgets.
  SearchVariance variance = {
      .ignore_order = true, .ignore_all = false, .ignored = {}, .except = {}};
  const std::string query(text.substr(0, text.find('&')));
  const QueryParameter parameter = SplitParameter(query);
  if (!query.empty() && DecodeFormText(parameter.name) != "other" &&
      CanonicalQuery(query + "&other=1", variance) !=
          CanonicalQuery("other=1&" + query, variance)) {
    std::abort();
  }
  HeaderMap fields;
  fields.Add(FieldId::kNoVarySearch, text);
  variance = ParseNoVarySearch(fields);
  if (!variance.except.empty() && !variance.ignore_all) std::abort();
  CanonicalQuery(text, variance);
  return 0;
}
