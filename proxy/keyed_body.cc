#include "proxy/keyed_body.h"

#include <array>
#include <optional>

#include "cache/http/field_id.h"
#include "proxy/canonical_json.h"
#include "proxy/net/sha256.h"

namespace satchel::proxy {
namespace {

// application/json and everything that ends in +json (RFC 8259 11, RFC 6839 3.1).
bool IsJson(const cache::RequestHead& head) {
  if (head.fields.Count(cache::FieldId::kContentType) != 1) return false;
  std::string_view type = *head.fields.First(cache::FieldId::kContentType);
  type = cache::TrimOws(type.substr(0, type.find(';')));
  if (cache::EqualsIgnoreCase(type, "application/json")) return true;
  constexpr std::string_view kSuffix = "+json";
  return type.size() > kSuffix.size() &&
         cache::EqualsIgnoreCase(type.substr(type.size() - kSuffix.size()), kSuffix);
}

std::string Digest(std::string_view bytes) {
  const std::array<uint8_t, 32> digest = net::Sha256(bytes);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : digest) {
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

}  // namespace

bool KeyedBody::Append(std::string_view data) {
  if (data.size() > max_ - bytes_.size() || Read(held_) + data.size() > kBudget) return false;
  bytes_.append(data);
  Add(held_, data.size());
  return true;
}

cache::BodyIdentity KeyedBody::Identify(const cache::RequestHead& head, bool canonical_json) const {
  cache::BodyIdentity out;
  out.length = bytes_.size();
  std::optional<std::string> canonical;
  if (canonical_json && IsJson(head) && !head.fields.Has(cache::FieldId::kContentEncoding)) {
    canonical = CanonicalJson(bytes_);
  }
  out.canonical = canonical.has_value();
  out.digest = Digest(canonical ? std::string_view(*canonical) : std::string_view(bytes_));
  return out;
}

}  // namespace satchel::proxy
