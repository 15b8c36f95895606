#include "proxy/request_filter.h"

#include <algorithm>
#include <array>

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

std::unexpected<http1::ParseError> Refuse(uint16_t status, std::string_view message) {
  return std::unexpected(http1::ParseError{status, message});
}

// Fields by which frameworks let a request rename itself. A stranger's would change the answer
// without changing the key.
constexpr std::array<std::string_view, 14> kRenamingFields = {
    "X-Host",           "X-Original-URL",    "X-Rewrite-URL",          "X-Original-Host",
    "X-Forwarded-Port", "X-Forwarded-Path",  "X-Forwarded-Prefix",     "X-Forwarded-Server",
    "X-Forwarded-Scheme", "X-HTTP-Method",   "X-HTTP-Method-Override", "X-Method-Override",
    "X-Forwarded-By",   "X-Forwarded",
};

bool IsRenamingField(const HeaderMap::Field& field) {
  if (field.id != FieldId::kOther || field.name.size() < 6) return false;
  return std::any_of(kRenamingFields.begin(), kRenamingFields.end(),
                     [&](std::string_view name) { return cache::EqualsIgnoreCase(name, field.name); });
}

// A Forwarded parameter value: a token as it is, anything else quoted (RFC 7239 4).
void AppendForwardedValue(std::string& out, std::string_view value) {
  if (cache::IsToken(value)) {
    out.append(value);
    return;
  }
  out.push_back('"');
  out.append(value);
  out.push_back('"');
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

std::string BuildUpstreamHead(const RequestHead& head, std::string_view target,
                              const rules::Rule& rule, const ClientInfo& client,
                              const http1::Framing& framing, bool upgrade) {
  // Reused from request to request: a copy into memory that is there already.
  static thread_local HeaderMap fields;
  fields = head.fields;
  const std::string upgrade_value(upgrade ? *head.fields.First(FieldId::kUpgrade) : "");
  cache::RemoveHopByHop(fields);
  std::string earlier_for;
  std::string earlier_forwarded;
  std::string forwarded_proto = head.scheme;
  std::string forwarded_host = head.authority;
  if (client.peer_trusted) {
    earlier_for = fields.Joined(FieldId::kXForwardedFor).value_or("");
    earlier_forwarded = fields.Joined(FieldId::kForwarded).value_or("");
    forwarded_proto = fields.First(FieldId::kXForwardedProto).value_or(head.scheme);
    forwarded_host = fields.First(FieldId::kXForwardedHost).value_or(head.authority);
  }

  fields.RemoveIf([&](const HeaderMap::Field& field) {
    switch (field.id) {
      case FieldId::kHost:
      case FieldId::kContentLength:
      case FieldId::kTransferEncoding:
      case FieldId::kXForwardedFor:
      case FieldId::kXForwardedHost:
      case FieldId::kXForwardedProto:
      case FieldId::kForwarded:
      case FieldId::kHttp2Settings:
      case FieldId::kVia:
        return true;
      default:
        return !client.peer_trusted && IsRenamingField(field);
    }
  });
  // What the key tells apart is what the origin is asked, or the answer would depend on who asked
  // first.
  for (const auto& [name, values] : rule.cache.normalize) {
    const auto value = cache::NormalizedValue(name, head, rule.cache);
    if (!value) continue;
    fields.Remove(name);
    if (!value->empty()) fields.Add(name, *value);
  }
  for (const std::string& name : rule.request_headers.remove) fields.Remove(name);
  std::string host = head.authority;
  for (const auto& [name, value] : rule.request_headers.set) {
    if (cache::EqualsIgnoreCase(name, "host")) {
      host = value;
    } else {
      fields.Set(name, value);
    }
  }

  std::string out;
  out.reserve(1024);
  out.append(head.method_text).append(" ").append(target).append(" HTTP/1.1\r\n");
  http1::AppendField(out, "Host", host);
  http1::AppendFields(out, fields);
  out.append("Via: ");
  if (const auto via = head.fields.Joined(FieldId::kVia)) out.append(*via).append(", ");
  out.append(head.minor_version == 0 ? "1.0 satchel\r\n" : "1.1 satchel\r\n");
  if (client.peer_ip != "unix") {
    out.append("X-Forwarded-For: ");
    if (!earlier_for.empty()) out.append(earlier_for).append(", ");
    out.append(client.peer_ip).append("\r\n");
  } else if (!earlier_for.empty()) {
    http1::AppendField(out, "X-Forwarded-For", earlier_for);
  }
  http1::AppendField(out, "X-Forwarded-Proto", forwarded_proto);
  if (!forwarded_host.empty()) http1::AppendField(out, "X-Forwarded-Host", forwarded_host);
  out.append("Forwarded: ");
  if (!earlier_forwarded.empty()) out.append(earlier_forwarded).append(", ");
  out.append("for=");
  AppendForwardedNode(out, client.peer_ip);
  if (!head.authority.empty()) {
    out.append(";host=");
    AppendForwardedValue(out, head.authority);
  }
  out.append(";proto=").append(head.scheme).append("\r\n");
  if (framing.kind == http1::BodyKind::kChunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (framing.kind == http1::BodyKind::kLength) {
    http1::AppendField(out, "Content-Length", framing.length);
  } else if (head.fields.Has(FieldId::kContentLength)) {
    out.append("Content-Length: 0\r\n");
  }
  if (upgrade) {
    out.append("Connection: upgrade\r\n");
    http1::AppendField(out, "Upgrade", upgrade_value);
  }
  return out;
}

}  // namespace satchel::proxy
