#include "cache/http/uri.h"

#include <algorithm>

#include "cache/http/field_id.h"

namespace satchel::cache {
namespace {

constexpr size_t kMaxHost = 253;

bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (ToLowerAscii(c) >= 'a' && ToLowerAscii(c) <= 'f'); }

// Characters that may stand anywhere in a URI or be tolerated there: visible ASCII and bytes
// above it.
bool IsUriText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f;
  });
}

bool IsIpv4(std::string_view text) {
  int groups = 0;
  while (true) {
    size_t digits = 0;
    int value = 0;
    while (digits < text.size() && digits < 4 && IsDigit(text[digits])) {
      value = value * 10 + (text[digits++] - '0');
    }
    if (digits == 0 || digits > 3 || value > 255) return false;
    ++groups;
    text.remove_prefix(digits);
    if (text.empty()) return groups == 4;
    if (text.front() != '.' || groups == 4) return false;
    text.remove_prefix(1);
  }
}

// IPv6address of RFC 3986 3.2.2, without brackets.
bool IsIpv6(std::string_view text) {
  int groups = 0;
  bool compressed = false;
  if (text.starts_with("::")) {
    compressed = true;
    text.remove_prefix(2);
    if (text.empty()) return true;
  }
  while (true) {
    size_t digits = 0;
    while (digits < text.size() && digits < 5 && IsHex(text[digits])) ++digits;
    if (digits < text.size() && text[digits] == '.') {
      if (!IsIpv4(text)) return false;
      groups += 2;
      break;
    }
    if (digits == 0 || digits > 4) return false;
    ++groups;
    text.remove_prefix(digits);
    if (text.empty()) break;
    if (text.front() != ':') return false;
    text.remove_prefix(1);
    if (text.starts_with(':')) {
      if (compressed) return false;
      compressed = true;
      text.remove_prefix(1);
      if (text.empty()) break;
    } else if (text.empty()) {
      return false;
    }
    if (groups > 8) return false;
  }
  return compressed ? groups < 8 : groups == 8;
}

bool IsHostName(std::string_view host) {
  if (host.empty() || host.size() > kMaxHost) return false;
  bool label_started = false;
  for (const char c : host) {
    if (c == '.') {
      if (!label_started) return false;
      label_started = false;
    } else if (IsAlpha(c) || IsDigit(c) || c == '-' || c == '_' || c == '~') {
      label_started = true;
    } else {
      return false;
    }
  }
  return label_started;
}

// Views into host_port; the host still in its own letter case.
struct HostPort {
  std::string_view host;
  uint16_t port;
};

std::optional<HostPort> SplitHostPort(std::string_view text, std::string_view scheme) {
  HostPort out{{}, DefaultPort(scheme)};
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    if (!IsIpv6(text.substr(1, end - 1))) return std::nullopt;
    out.host = text.substr(0, end + 1);
    port = text.substr(end + 1);
  } else {
    out.host = text.substr(0, text.find(':'));
    port = text.substr(out.host.size());
    if (out.host.ends_with('.')) out.host.remove_suffix(1);
    if (!IsHostName(out.host)) return std::nullopt;
  }
  if (port.empty()) return out.port == 0 ? std::nullopt : std::optional(out);
  if (port.front() != ':') return std::nullopt;
  port.remove_prefix(1);
  if (port.size() > 5) return std::nullopt;
  // "host:" means the default port (RFC 3986 6.2.3).
  if (port.empty()) return out.port == 0 ? std::nullopt : std::optional(out);
  uint32_t value = 0;
  for (const char c : port) {
    if (!IsDigit(c)) return std::nullopt;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  if (value == 0 || value > 65535) return std::nullopt;
  out.port = static_cast<uint16_t>(value);
  return out;
}

void AppendLower(std::string& out, std::string_view text) {
  for (const char c : text) out.push_back(ToLowerAscii(c));
}

void AppendPort(std::string& out, uint16_t port, std::string_view scheme) {
  if (port == DefaultPort(scheme)) return;
  out.push_back(':');
  out.append(std::to_string(port));
}

// remove_dot_segments of RFC 3986 5.2.4 for a path that starts with '/'.
std::string RemoveDotSegments(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, end);
    const bool last = end == path.size();
    if (segment == "/.") {
      if (last) out.push_back('/');
    } else if (segment == "/..") {
      const size_t parent = out.rfind('/');
      out.resize(parent == std::string::npos ? 0 : parent);
      if (last) out.push_back('/');
    } else {
      out.append(segment);
    }
    path.remove_prefix(end);
  }
  if (out.empty()) out.push_back('/');
  return out;
}

std::string_view WithoutFragment(std::string_view text) { return text.substr(0, text.find('#')); }

// The scheme at the start of a reference (RFC 3986 3.1), empty if it has none.
std::string_view SchemeOf(std::string_view text) {
  if (text.empty() || !IsAlpha(text.front())) return {};
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == ':') return text.substr(0, i);
    if (!IsAlpha(text[i]) && !IsDigit(text[i]) && text[i] != '+' && text[i] != '-' &&
        text[i] != '.') {
      return {};
    }
  }
  return {};
}

// `rest` is what follows "scheme:", with "//" and without fragment.
std::optional<HttpUri> FromHierarchy(std::string scheme, std::string_view rest) {
  if (!rest.starts_with("//")) return std::nullopt;
  rest.remove_prefix(2);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  const std::string_view target = rest.substr(authority.size());
  HttpUri out;
  out.scheme = std::move(scheme);
  if (!NormalizeAuthorityInto(authority, out.scheme, out.authority)) return std::nullopt;
  if (!target.starts_with('/')) out.target.push_back('/');
  out.target.append(target);
  return out;
}

std::string WithoutDotSegments(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  return RemoveDotSegments(path).append(target.substr(path.size()));
}

}  // namespace

uint16_t DefaultPort(std::string_view scheme) {
  if (scheme == "http") return 80;
  if (scheme == "https") return 443;
  return 0;
}

std::string Authority::Text(std::string_view scheme) const {
  std::string out = host;
  AppendPort(out, port, scheme);
  return out;
}

std::optional<Authority> NormalizeAuthority(std::string_view host_port, std::string_view scheme) {
  const std::optional<HostPort> split = SplitHostPort(host_port, scheme);
  if (!split) return std::nullopt;
  Authority out;
  AppendLower(out.host, split->host);
  out.port = split->port;
  return out;
}

bool NormalizeAuthorityInto(std::string_view host_port, std::string_view scheme, std::string& out) {
  out.clear();
  const std::optional<HostPort> split = SplitHostPort(host_port, scheme);
  if (!split) return false;
  AppendLower(out, split->host);
  AppendPort(out, split->port, scheme);
  return true;
}

std::optional<HttpUri> ParseHttpUri(std::string_view text) {
  text = WithoutFragment(text);
  const std::string_view scheme = SchemeOf(text);
  if (scheme.empty() || !IsUriText(text)) return std::nullopt;
  std::string lower;
  AppendLower(lower, scheme);
  if (DefaultPort(lower) == 0) return std::nullopt;
  return FromHierarchy(std::move(lower), text.substr(scheme.size() + 1));
}

std::optional<HttpUri> ResolveReference(const HttpUri& base, std::string_view reference) {
  reference = WithoutFragment(reference);
  if (!IsUriText(reference)) return std::nullopt;
  std::optional<HttpUri> out;
  if (!SchemeOf(reference).empty()) {
    out = ParseHttpUri(reference);
  } else if (reference.starts_with("//")) {
    out = FromHierarchy(base.scheme, reference);
  } else {
    out = base;
    const std::string_view base_path =
        std::string_view(base.target).substr(0, base.target.find('?'));
    if (reference.empty()) return out;
    if (reference.starts_with('/')) {
      out->target = reference;
    } else if (reference.starts_with('?')) {
      out->target = std::string(base_path).append(reference);
      return out;
    } else {
      const size_t slash = base_path.rfind('/');
      const size_t kept = slash == std::string_view::npos ? 0 : slash + 1;
      out->target = std::string(base_path.substr(0, kept)).append(reference);
      if (!out->target.starts_with('/')) out->target.insert(out->target.begin(), '/');
    }
  }
  if (out) out->target = WithoutDotSegments(out->target);
  return out;
}

bool SameOrigin(const HttpUri& a, const HttpUri& b) {
  return a.scheme == b.scheme && a.authority == b.authority;
}

}  // namespace satchel::cache
