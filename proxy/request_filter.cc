#include "proxy/request_filter.h"

#include <algorithm>
#include <array>
#include <span>

#include "cache/base/append.h"
#include "cache/http/fields.h"
#include "cache/http/uri.h"
#include "cache/storability.h"
#include "cache/vary.h"
#include "proxy/http1/serializer.h"
#include "rules/ip_address.h"

namespace satchel::proxy {
namespace {

using cache::FieldId;
using cache::HeaderMap;
using cache::Method;
using cache::RequestHead;

// A head of ordinary length; what is larger costs the allocator a longer way.
constexpr size_t kUsualHead = 1000;

std::unexpected<http1::ParseError> Refuse(uint16_t status, std::string_view message) {
  return std::unexpected(http1::ParseError{status, message});
}

// Fields by which frameworks let a request rename itself. A stranger's would change the answer
// without changing the key.
constexpr std::array<std::string_view, 7> kRenamingFields = {
    "X-Host",        "X-Original-URL",         "X-Rewrite-URL",    "X-Original-Host",
    "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override",
};
constexpr std::string_view kForwardedPrefix = "X-Forwarded";
constexpr std::string_view kMaxForwards = "Max-Forwards";

// Written by us, or by nobody. Gateways to CGI, WSGI and PHP take an underscore for a hyphen, so
// that a stranger's Content_Length would pass for ours.
constexpr std::array<std::string_view, 6> kOwnFields = {
    "Content-Length", "Transfer-Encoding", "Host", "Forwarded", "Connection", "X-Real-IP",
};

bool IsNamed(std::string_view name, std::span<const std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view known) {
    return cache::EqualsIgnoreCase(known, name);
  });
}

bool IsRenaming(std::string_view name) {
  return cache::EqualsIgnoreCase(name.substr(0, kForwardedPrefix.size()), kForwardedPrefix) ||
         IsNamed(name, kRenamingFields);
}

// A name that becomes one of the above where an underscore counts as a hyphen.
bool IsDisguised(std::string_view name) {
  if (name.find('_') == std::string_view::npos) return false;
  std::string hyphens(name);
  std::replace(hyphens.begin(), hyphens.end(), '_', '-');
  return IsRenaming(hyphens) || IsNamed(hyphens, kOwnFields);
}

// A Forwarded parameter value: a token as it is, anything else quoted (RFC 7239 4).
void AppendForwardedValue(std::string& out, std::string_view value) {
  if (cache::IsToken(value)) {
    out.append(value);
    return;
  }
  cache::AppendAll(out, {"\"", value, "\""});
}

void AppendForwardedNode(std::string& out, std::string_view ip) {
  if (ip == "unix") {
    out.append("_unix");
  } else if (ip.find(':') == std::string_view::npos) {
    AppendForwardedValue(out, ip);
  } else {
    out.append("\"[").append(ip).append("]\"");
  }
}

}  // namespace

std::optional<uint64_t> MaxForwards(const RequestHead& head) {
  if (head.method != Method::kOptions) return std::nullopt;
  const auto value = head.fields.First(kMaxForwards);
  return value ? cache::ParseDecimal(*value) : std::nullopt;
}

std::string_view RequestedUpgrade(const RequestHead& head) {
  if (!head.fields.Has(FieldId::kUpgrade) || head.minor_version == 0) return {};
  if (!http1::ListHasToken(head.fields, FieldId::kConnection, "upgrade")) return {};
  return *head.fields.First(FieldId::kUpgrade);
}

std::expected<void, http1::ParseError> FilterRequest(RequestHead& head,
                                                     const http1::Framing& framing, bool tls,
                                                     AuthorityCache& authority_cache) {
  HeaderMap& fields = head.fields;
  head.scheme = tls ? "https" : "http";
  if (head.method == Method::kConnect) return Refuse(405, "CONNECT is not offered");
  if (head.method == Method::kTrace) return Refuse(405, "TRACE is not offered");

  const size_t hosts = fields.Count(FieldId::kHost);
  if (hosts > 1) return Refuse(400, "more than one Host");
  if (hosts == 0 && head.minor_version == 1) return Refuse(400, "no Host");

  if (head.target[0] == '/') {
    if (hosts == 0) {
      head.authority.clear();
    } else {
      const std::string_view host = *fields.First(FieldId::kHost);
      if (host != authority_cache.raw || head.scheme != authority_cache.scheme) {
        if (!cache::NormalizeAuthorityInto(host, head.scheme, authority_cache.normalised)) {
          authority_cache.raw.clear();
          return Refuse(400, "malformed Host");
        }
        authority_cache.raw.assign(host);
        authority_cache.scheme = head.scheme;
      }
      head.authority.assign(authority_cache.normalised);
    }
  } else if (head.target == "*") {
    if (head.method_text != "OPTIONS") return Refuse(400, "target * with a method but OPTIONS");
    if (hosts != 0 && !cache::NormalizeAuthorityInto(*fields.First(FieldId::kHost), head.scheme,
                                                     head.authority)) {
      return Refuse(400, "malformed Host");
    }
  } else {
    // Absolute-form leads over Host (RFC 9112 3.2.2), which must be well-formed all the same.
    auto uri = cache::ParseHttpUri(head.target);
    if (!uri) return Refuse(400, "malformed target");
    if (hosts != 0 && !cache::NormalizeAuthority(*fields.First(FieldId::kHost), head.scheme)) {
      return Refuse(400, "malformed Host");
    }
    if (uri->scheme != head.scheme) return Refuse(400, "target has another scheme");
    head.authority = std::move(uri->authority);
    head.target = std::move(uri->target);
  }

  if (fields.Has(FieldId::kExpect)) {
    if (fields.Count(FieldId::kExpect) != 1 ||
        !cache::EqualsIgnoreCase(*fields.First(FieldId::kExpect), "100-continue")) {
      return Refuse(417, "expectation not supported");
    }
  }
  if (framing.kind != http1::BodyKind::kNone && !RequestedUpgrade(head).empty()) {
    return Refuse(400, "Upgrade together with a body");
  }
  return {};
}

std::string EffectiveClient(const RequestHead& head, const std::string& peer_ip,
                            const rules::Listener& listener) {
  const auto trusted = [&](std::string_view text) {
    const auto ip = rules::ParseIp(text);
    if (!ip) return false;
    return std::any_of(listener.trusted_proxies.begin(), listener.trusted_proxies.end(),
                       [&](const rules::IpPrefix& prefix) { return prefix.Contains(*ip); });
  };
  const auto chain = head.fields.Joined(FieldId::kXForwardedFor);
  if (!chain) return peer_ip;
  std::string client = peer_ip;
  std::string_view rest = *chain;
  while (!rest.empty()) {
    const size_t comma = rest.rfind(',');
    const std::string_view member =
        cache::TrimOws(comma == std::string_view::npos ? rest : rest.substr(comma + 1));
    const auto ip = rules::ParseIp(member);
    if (!ip) break;  // garbage: nothing to its left can be believed
    client = ip->ToString();
    if (!trusted(member) || comma == std::string_view::npos) break;
    rest = rest.substr(0, comma);
  }
  return client;
}

namespace {

// Fields that we write ourselves, or never pass on.
constexpr cache::FieldSet kOurs{FieldId::kHost,           FieldId::kContentLength,
                                FieldId::kTransferEncoding, FieldId::kXForwardedFor,
                                FieldId::kXForwardedHost, FieldId::kXForwardedProto,
                                FieldId::kForwarded,      FieldId::kHttp2Settings,
                                FieldId::kVia};

// What the key tells apart may pass: a stranger can't change another's answer with it.
bool IsOurs(const HeaderMap::Field& field, const ClientInfo& client, const rules::Rule& rule) {
  if (field.id != FieldId::kOther) return kOurs.Contains(field.id);
  if (IsDisguised(field.name)) return true;
  return !client.peer_trusted && IsRenaming(field.name) &&
         std::none_of(rule.key.headers.begin(), rule.key.headers.end(),
                      [&](const std::string& name) {
                        return cache::EqualsIgnoreCase(name, field.name);
                      });
}

// The client's fields as the rule wants them. Sets `host` if the rule names another.
void EditFields(const RequestHead& head, const rules::Rule& rule, HeaderMap& fields,
                std::string_view& host) {
  // What the key tells apart is what the origin is asked, or the answer would depend on who asked
  // first.
  for (const auto& [name, values] : rule.cache.normalize) {
    const auto value = cache::NormalizedValue(name, head, rule.cache);
    if (!value) continue;
    fields.Remove(name);
    if (!value->empty()) fields.Add(name, *value);
  }
  for (const std::string& name : rule.request_headers.remove) fields.Remove(name);
  for (const auto& [name, value] : rule.request_headers.set) {
    if (cache::EqualsIgnoreCase(name, "host")) {
      host = value;
    } else {
      fields.Set(name, value);
    }
  }
}

}  // namespace

std::string BuildUpstreamHead(const RequestHead& head, std::string_view target,
                              const rules::Rule& rule, const ClientInfo& client,
                              const http1::Framing& framing, bool upgrade) {
  using cache::AppendAll;
  // Reused from request to request: a copy into memory that is there already.
  static thread_local HeaderMap edited;
  edited.Clear();
  std::string_view host = head.authority;
  const bool edit = cache::HasHopByHop(head.fields) || !rule.cache.normalize.empty() ||
                    !rule.request_headers.empty();
  if (edit) {
    edited = head.fields;
    cache::RemoveHopByHop(edited);
    edited.RemoveIf([&](const HeaderMap::Field& field) { return IsOurs(field, client, rule); });
    EditFields(head, rule, edited, host);
  }
  std::string earlier_for;
  std::string earlier_forwarded;
  std::string_view forwarded_proto = head.scheme;
  std::string_view forwarded_host = head.authority;
  if (client.peer_trusted) {
    earlier_for = head.fields.Joined(FieldId::kXForwardedFor).value_or("");
    earlier_forwarded = head.fields.Joined(FieldId::kForwarded).value_or("");
    forwarded_proto = head.fields.First(FieldId::kXForwardedProto).value_or(head.scheme);
    forwarded_host = head.fields.First(FieldId::kXForwardedHost).value_or(head.authority);
  }

  std::string out;
  out.reserve(kUsualHead);
  AppendAll(out, {head.method_text, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"});
  std::optional<uint64_t> hops = MaxForwards(head);
  if (hops == 0) hops.reset();
  for (const HeaderMap::Field field : edit ? edited : head.fields) {
    if (!edit && IsOurs(field, client, rule)) continue;
    if (hops && cache::EqualsIgnoreCase(field.name, kMaxForwards)) {
      http1::AppendField(out, field.name, *hops - 1);
    } else {
      http1::AppendField(out, field.name, field.value);
    }
  }
  out.append("Via: ");
  if (const auto via = head.fields.Joined(FieldId::kVia)) out.append(*via).append(", ");
  out.append(head.minor_version == 0 ? "1.0 satchel\r\n" : "1.1 satchel\r\n");
  if (client.peer_ip != "unix") {
    AppendAll(out, {"X-Forwarded-For: ", earlier_for, earlier_for.empty() ? "" : ", ",
                    client.peer_ip, "\r\n"});
  } else if (!earlier_for.empty()) {
    http1::AppendField(out, "X-Forwarded-For", earlier_for);
  }
  // What a rule sets stands instead of ours.
  if (!edited.Has(FieldId::kXForwardedProto)) {
    http1::AppendField(out, "X-Forwarded-Proto", forwarded_proto);
  }
  if (!forwarded_host.empty() && !edited.Has(FieldId::kXForwardedHost)) {
    http1::AppendField(out, "X-Forwarded-Host", forwarded_host);
  }
  AppendAll(out, {"Forwarded: ", earlier_forwarded, earlier_forwarded.empty() ? "" : ", ", "for="});
  AppendForwardedNode(out, client.peer_ip);
  if (!head.authority.empty()) {
    out.append(";host=");
    AppendForwardedValue(out, head.authority);
  }
  AppendAll(out, {";proto=", head.scheme, "\r\n"});
  if (framing.kind == http1::BodyKind::kChunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (framing.kind == http1::BodyKind::kLength) {
    http1::AppendField(out, "Content-Length", framing.length);
  } else if (head.fields.Has(FieldId::kContentLength)) {
    out.append("Content-Length: 0\r\n");
  }
  if (upgrade) {
    out.append("Connection: upgrade\r\n");
    http1::AppendField(out, "Upgrade", *head.fields.First(FieldId::kUpgrade));
  }
  return out;
}

}  // namespace satchel::proxy
