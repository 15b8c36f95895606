#include "rules/config.h"

#include <algorithm>
#include <charconv>

namespace satchel::rules {
namespace {

std::optional<uint16_t> ParsePort(std::string_view text, bool zero_allowed) {
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, port);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  if (port == 0 && !zero_allowed) return std::nullopt;
  return port;
}

bool IsDnsName(std::string_view text) {
  if (text.empty() || text.size() > 253 || text.front() == '.' || text.front() == '-') return false;
  char before = 0;
  for (const char c : text) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.';
    if (!fine || (c == '.' && before == '.')) return false;
    before = c;
  }
  // "1.2.3" or "300.1.1.1" is a mistyped address, not a name.
  const size_t last_dot = text.rfind('.');
  const std::string_view last =
      last_dot == std::string_view::npos ? text : text.substr(last_dot + 1);
  return !std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<Endpoint> ParseUnix(std::string_view text) {
  constexpr size_t kMaxPath = 107;  // sun_path without its end
  const std::string_view path = text.substr(5);
  if (path.empty() || path.size() > kMaxPath || (path[0] != '/' && path[0] != '@')) {
    return std::nullopt;
  }
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kUnix;
  endpoint.path = path;
  endpoint.text = text;
  return endpoint;
}

// host:port with the host as written; brackets removed.
std::optional<Endpoint> ParseHostPort(std::string_view text, bool listen) {
  Endpoint endpoint;
  endpoint.text = text;
  std::string_view rest = text;
  bool bracketed = false;
  bool named = false;
  if (!listen && rest.starts_with("dns:")) {
    rest.remove_prefix(4);
    named = true;
  }
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = rest.substr(0, colon);
  const auto port = ParsePort(rest.substr(colon + 1), listen);
  if (!port) return std::nullopt;
  endpoint.port = *port;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    bracketed = true;
  }
  if (listen && host.empty() && !bracketed) host = "0.0.0.0";
  const auto ip = ParseIp(host);
  if (ip && !named) {
    if ((host.find(':') != std::string_view::npos) != bracketed) return std::nullopt;
    endpoint.host = host;
    return endpoint;
  }
  if (listen || bracketed || ip || !IsDnsName(host)) return std::nullopt;
  endpoint.kind = Endpoint::Kind::kName;
  endpoint.host = host;
  return endpoint;
}

}  // namespace

std::optional<Endpoint> ParseListenAddress(std::string_view text) {
  if (text.starts_with("unix:")) return ParseUnix(text);
  return ParseHostPort(text, true);
}

std::optional<Endpoint> ParseServerAddress(std::string_view text) {
  if (text.starts_with("unix:")) return ParseUnix(text);
  return ParseHostPort(text, false);
}

Config DefaultConfig() {
  Config config;
  config.admin.address = ParseListenAddress("127.0.0.1:9901");
  config.purge.allow.push_back({.from = {*ParseIpPrefix("127.0.0.0/8"), *ParseIpPrefix("::1")}});
  return config;
}

}  // namespace satchel::rules
