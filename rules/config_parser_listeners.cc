// listeners, admin, log, shutdown.
#include <algorithm>

#include "rules/config_parser_blocks.h"

namespace satchel::rules {
namespace {

void ParseTls(const Cursor& cursor, ListenerTls* tls) {
  MapReader map(cursor, "TLS settings");
  if (const auto list = map.Require("certificates", "[{cert: tls.crt, key: tls.key}]")) {
    if (!list->IsList() || list->node().items.empty()) {
      list->Error("is no list of certificates; write [{cert: tls.crt, key: tls.key}]");
    } else {
      for (size_t i = 0; i < list->node().items.size(); ++i) {
        MapReader item(list->Item(i), "a certificate");
        ListenerTls::Certificate certificate;
        if (const auto cert = item.Require("cert", "cert: tls.crt")) {
          certificate.cert = cert->Path().value_or("");
        }
        if (const auto key = item.Require("key", "key: tls.key")) {
          certificate.key = key->Path().value_or("");
        }
        item.Finish();
        tls->certificates.push_back(std::move(certificate));
      }
    }
  }
  map.Word("min_version", &tls->min_version,
           {{"1.2", TlsVersion::kTls12}, {"1.3", TlsVersion::kTls13}});
  map.Finish();
}

std::optional<Endpoint> ParseListenCursor(const Cursor& cursor) {
  const auto text = cursor.Scalar("an address such as 0.0.0.0:8080");
  if (!text) return std::nullopt;
  auto endpoint = ParseListenAddress(text->text);
  if (!endpoint) {
    cursor.BadValue(*text,
                    "is not an address to listen on; write 0.0.0.0:8080, [::]:8080, :8080 or "
                    "unix:/path");
  }
  return endpoint;
}

bool IsLoopback(const Endpoint& endpoint) {
  if (endpoint.kind == Endpoint::Kind::kUnix) return true;
  const auto ip = ParseIp(endpoint.host);
  if (!ip) return false;
  if (!ip->v6) return ip->bytes[0] == 127;
  return ip->ToString() == "::1";
}

}  // namespace

void ParseListener(const Cursor& cursor, Config* config) {
  MapReader map(cursor, "a listener");
  Listener listener;
  if (const auto name = map.Require("name", "name: web")) {
    if (auto text = name->Text()) {
      listener.name = std::move(*text);
      CheckName(*name, listener.name);
      if (std::any_of(config->listeners.begin(), config->listeners.end(),
                      [&](const Listener& other) { return other.name == listener.name; })) {
        name->Error("\"" + listener.name + "\" names another listener already; name them apart");
      }
    }
  }
  if (const auto address = map.Require("address", "address: \"0.0.0.0:8080\"")) {
    if (auto endpoint = ParseListenCursor(*address)) {
      listener.address = std::move(*endpoint);
      const Endpoint& mine = listener.address;
      for (const Listener& other : config->listeners) {
        const Endpoint& theirs = other.address;
        const bool same = mine.kind == theirs.kind && mine.host == theirs.host &&
                          mine.port == theirs.port && mine.path == theirs.path;
        if (same && (mine.port != 0 || !mine.path.empty())) {
          address->Error("listener " + other.name + " has this address; write another port");
        }
      }
    }
  }
  if (const auto proxies = map.Take("trusted_proxies")) {
    for (const std::string& text : proxies->Texts().value_or(std::vector<std::string>())) {
      const auto prefix = ParseIpPrefix(text);
      if (prefix) {
        listener.trusted_proxies.push_back(*prefix);
      } else {
        proxies->Error("\"" + text +
                       "\" is not a network; write 10.0.0.0/8, fd00::/8 or an address");
      }
    }
  }
  if (const auto tls = map.Take("tls")) ParseTls(*tls, &listener.tls.emplace());
  map.Size("max_header", &listener.max_header, 1024);
  map.Number("max_headers", &listener.max_headers, 1, 10'000);
  map.Size("max_body", &listener.max_body);
  map.Number("max_connections", &listener.max_connections, 1, 1'000'000);
  map.Duration("header_timeout", &listener.header_timeout, Millis(100));
  map.Duration("keepalive", &listener.keepalive);
  map.Duration("write_timeout", &listener.write_timeout, Millis(100));
  map.Finish();
  config->listeners.push_back(std::move(listener));
}

void ParseAdmin(const Cursor& cursor, AdminConfig* admin) {
  MapReader map(cursor, "the admin settings");
  const auto address = map.Take("address");
  if (address) {
    const auto text = address->Scalar("an address or off");
    if (text && text->text == "off") {
      admin->address.reset();
    } else if (text) {
      admin->address = ParseListenCursor(*address);
    }
  }
  const bool has_token = map.Text("token", &admin->token);
  map.Finish();
  if (address && admin->address && !IsLoopback(*admin->address) && !has_token) {
    address->Error(
        "is reachable from outside without a token; add admin.token or write 127.0.0.1:9901");
  }
}

void ParseLog(const Cursor& cursor, LogConfig* log) {
  MapReader map(cursor, "the log settings");
  map.Word("access", &log->access,
           {{"json", AccessLog::kJson}, {"text", AccessLog::kText}, {"off", AccessLog::kOff}});
  map.Word("level", &log->level,
           {{"trace", LogLevel::kTrace},
            {"debug", LogLevel::kDebug},
            {"info", LogLevel::kInfo},
            {"warn", LogLevel::kWarn},
            {"error", LogLevel::kError}});
  if (const auto to = map.Take("to")) {
    if (const auto text = to->Text()) {
      log->to = *text == "stdout" || *text == "stderr" ? *text : JoinToFolderOf(to->file(), *text);
    }
  }
  if (const auto redact = map.Take("redact")) {
    if (auto names = redact->Texts()) {
      for (const std::string& name : *names) CheckToken(*redact, name, "a field name");
      log->redact = std::move(*names);
    }
  }
  map.Finish();
}

void ParseShutdown(const Cursor& cursor, ShutdownConfig* shutdown) {
  MapReader map(cursor, "the shutdown settings");
  map.Duration("not_ready_for", &shutdown->not_ready_for);
  map.Duration("drain", &shutdown->drain);
  map.Finish();
}

}  // namespace satchel::rules
