#include "proxy/config_source.h"

#include <utility>

#include "proxy/net/address.h"
#include "rules/check.h"
#include "rules/config_parser.h"

namespace satchel::proxy {
namespace {

// Certificates are read by OpenSSL, not through the loader; their change is a reload as well.
void NoteCertificates(const rules::Config& config, const FileLoader& loader) {
  const auto note = [&loader](const std::string& path) {
    if (!path.empty()) static_cast<void>(loader.ReadFile(path, rules::kMaxConfigBytes));
  };
  for (const rules::Listener& listener : config.listeners) {
    if (!listener.tls) continue;
    for (const auto& certificate : listener.tls->certificates) {
      note(certificate.cert);
      note(certificate.key);
    }
  }
  for (const rules::Upstream& upstream : config.upstreams) {
    if (upstream.tls) note(upstream.tls->ca);
  }
  if (config.l2 && config.l2->tls) {
    note(config.l2->tls->ca);
    note(config.l2->tls->cert);
    note(config.l2->tls->key);
  }
}

void Take(rules::ParseResult parsed, LoadedConfig* loaded) {
  for (const auto& error : parsed.errors) loaded->errors.push_back(error.ToString());
  for (const auto& warning : parsed.warnings) loaded->warnings.push_back(warning.ToString());
  loaded->config = std::move(parsed.config);
}

void AddListeners(const std::vector<std::string>& listen, LoadedConfig* loaded) {
  for (size_t i = 1; i < listen.size(); ++i) {
    const auto address = rules::ParseListenAddress(listen[i]);
    if (!address) {
      loaded->errors.push_back("--listen: \"" + listen[i] +
                               "\" is no address; write 0.0.0.0:8080, [::1]:8080 or unix:/path");
      continue;
    }
    if (!loaded->config) continue;
    rules::Listener listener = loaded->config->listeners.front();
    listener.name += "-" + std::to_string(i + 1);
    listener.address = *address;
    loaded->config->listeners.push_back(std::move(listener));
  }
}

void Override(const RunOptions& options, LoadedConfig* loaded) {
  rules::Config& config = *loaded->config;
  if (options.workers) config.workers = *options.workers;
  if (options.log_level) config.log.level = *options.log_level;
  if (!options.admin) return;
  if (*options.admin == "off") {
    config.admin.address.reset();
    return;
  }
  config.admin.address = rules::ParseListenAddress(*options.admin);
  if (!config.admin.address) {
    loaded->errors.push_back("--admin: \"" + *options.admin +
                             "\" is not an address; write 127.0.0.1:9901, unix:/path or off");
  } else if (config.admin.token.empty() && !IsLocalOnly(*config.admin.address)) {
    loaded->errors.push_back("--admin: " + *options.admin +
                             " can be reached from outside; set admin.token, or use 127.0.0.1");
  }
}

}  // namespace

bool IsLocalOnly(const rules::Endpoint& address) {
  if (address.kind == rules::Endpoint::Kind::kUnix) return true;
  const auto parsed = net::Address::FromIp(address.host, address.port);
  return parsed && parsed->IsLoopback();
}

LoadedConfig LoadConfig(const RunOptions& options) {
  LoadedConfig loaded;
  const FileLoader loader;
  if (options.config_file.empty()) {
    const std::string listen = options.listen.empty() ? ":8080" : options.listen.front();
    Take(rules::MakeSimpleConfig(listen, options.upstream, options.redis), &loaded);
    AddListeners(options.listen, &loaded);
  } else {
    const auto text = loader.ReadFile(options.config_file, rules::kMaxConfigBytes);
    if (text) {
      Take(rules::ParseConfig(*text, options.config_file, loader), &loaded);
    } else {
      loaded.errors.push_back(options.config_file + ": " + text.error().message);
      loaded.unreadable = true;
    }
  }
  if (loaded.config) {
    NoteCertificates(*loaded.config, loader);
    for (const auto& warning : rules::CheckConfig(*loaded.config)) {
      loaded.warnings.push_back(warning.ToString());
    }
    Override(options, &loaded);
  }
  if (!loaded.errors.empty()) loaded.config.reset();
  loaded.facts = loader.facts();
  return loaded;
}

}  // namespace satchel::proxy
