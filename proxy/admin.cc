#include "proxy/admin.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <utility>

#include "proxy/limits_admin.h"
#include "proxy/warm_admin.h"

namespace satchel::proxy {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kIndex =
    "GET  /healthz\nGET  /readyz\nGET  /metrics\nGET  /status\nPOST /reload\nPOST /drain\nPOST /purge\n"
    "GET  /warm\nPOST /warm\n"
    "GET  /limits\nGET  /limits/show\nPOST /limits/reset\nPOST /limits/off\nPOST /limits/on\n";

AdminReply Text(int status, std::string_view text) {
  AdminReply reply;
  reply.status = status;
  reply.type = "text/plain; charset=utf-8";
  reply.body = text;
  return reply;
}

AdminReply Json(int status, const ordered_json& json) {
  AdminReply reply;
  reply.status = status;
  reply.body = json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return reply;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const char c = a[i] >= 'A' && a[i] <= 'Z' ? static_cast<char>(a[i] + 32) : a[i];
    if (c != lower[i]) return false;
  }
  return true;
}

// "localhost" or an IP literal, with or without a port. Nobody can bind such a name elsewhere.
bool IsOwnHost(std::string_view host) {
  if (host.empty()) return true;  // HTTP/1.0 and unix sockets
  if (host.front() == '[') return host.find(']') != std::string_view::npos;
  const std::string_view name = host.substr(0, host.find(':'));
  return EqualsIgnoringCase(name, "localhost") || net::Address::FromIp(name, 0).has_value();
}

}  // namespace

bool ConstantTimeEquals(std::string_view a, std::string_view b) {
  // Digests are compared, so that the length of the secret does not show either.
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash_a;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash_b;
  SHA256(reinterpret_cast<const unsigned char*>(a.data()), a.size(), hash_a.data());
  SHA256(reinterpret_cast<const unsigned char*>(b.data()), b.size(), hash_b.data());
  return CRYPTO_memcmp(hash_a.data(), hash_b.data(), hash_a.size()) == 0;
}

std::optional<AdminReply> Admin::Refuse(const AdminRequest& request) const {
  if (request.method == "POST" && !request.origin.empty()) {
    return Problem(403, "not from a web page");
  }
  if (token_.empty()) {
    if (!IsOwnHost(request.host)) return Problem(403, "ask by address or as localhost");
    return std::nullopt;
  }
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view given = request.authorization;
  if (given.size() > kScheme.size() &&
      EqualsIgnoringCase(given.substr(0, kScheme.size()), kScheme) &&
      ConstantTimeEquals(given.substr(kScheme.size()), token_)) {
    return std::nullopt;
  }
  AdminReply reply = Problem(401, "this needs the admin token as Authorization: Bearer TOKEN");
  reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"satchel\"");
  return reply;
}

std::optional<AdminReply> Admin::Answer(const AdminRequest& request) const {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const bool is_limits = actions_.limits != nullptr && LimitsAdmin::Knows(request.path);
  const bool is_warm = actions_.warm != nullptr && WarmAdmin::Knows(request.path);
  const bool is_action = request.path == "/reload" || request.path == "/drain" ||
                         request.path == "/purge" || (is_warm && !reads) ||
                         (is_limits && LimitsAdmin::IsAction(request.path));
  const bool is_probe = request.path == "/healthz" || request.path == "/readyz";
  const bool is_page =
      is_limits || is_warm || request.path == "/" || request.path == "/metrics" || request.path == "/status";
  if (!is_action && !is_probe && !is_page) return Problem(404, "there is nothing of that name");
  if (is_action ? request.method != "POST" : !reads) {
    AdminReply reply = Problem(405, is_action ? "use POST" : "use GET");
    reply.headers.emplace_back("Allow", is_warm     ? "GET, HEAD, POST"
                                        : is_action ? "POST"
                                                    : "GET, HEAD");
    return reply;
  }
  if (is_probe) {
    const auto why = request.path == "/healthz" ? actions_.unhealthy() : actions_.not_ready();
    return why ? Text(503, *why + "\n") : Text(200, "ok\n");
  }
  if (auto refusal = Refuse(request)) return refusal;

  if (is_limits) return actions_.limits(request);
  if (is_warm) return actions_.warm(request);
  if (request.path == "/purge") {
    actions_.purge(request);
    return std::nullopt;
  }
  return AnswerNow(request);
}

AdminReply Admin::AnswerNow(const AdminRequest& request) const {
  if (request.path == "/metrics") {
    AdminReply reply = Text(200, actions_.metrics());
    reply.type = "text/plain; version=0.0.4; charset=utf-8";
    return reply;
  }
  if (request.path == "/status") return Json(200, actions_.status());
  if (request.path == "/reload") {
    bool ok = false;
    const ordered_json result = actions_.reload(request.peer, &ok);
    return Json(ok ? 200 : 422, result);
  }
  if (request.path == "/drain") {
    actions_.drain(request.peer);
    return Json(202, {{"draining", true}});
  }
  return Text(200, kIndex);
}

}  // namespace satchel::proxy
