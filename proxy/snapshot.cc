#include "proxy/snapshot.h"

#include <algorithm>
#include <utility>

#include "proxy/cpu_limit.h"

namespace satchel::proxy {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;

namespace {

Result<void> LoadTls(const rules::Config& config, Snapshot* snapshot) {
  for (const rules::Listener& listener : config.listeners) {
    auto& slot = snapshot->listener_tls.emplace_back();
    if (!listener.tls) continue;
    std::vector<net::ServerTls::CertificateFiles> files;
    for (const auto& certificate : listener.tls->certificates) {
      files.push_back({certificate.cert, certificate.key});
    }
    auto loaded =
        net::ServerTls::Load(files, listener.tls->min_version == rules::TlsVersion::kTls13);
    if (!loaded) {
      return Fail(ErrorSource::kInternal,
                  "listener " + listener.name + ": " + loaded.error().message);
    }
    slot = std::move(*loaded);
  }
  for (const rules::Upstream& upstream : config.upstreams) {
    auto& slot = snapshot->upstream_tls.emplace_back();
    if (!upstream.tls) continue;
    auto loaded = net::ClientTls::Load(upstream.tls->ca, upstream.tls->sni, upstream.tls->verify);
    if (!loaded) {
      return Fail(ErrorSource::kInternal,
                  "upstream " + upstream.name + ": " + loaded.error().message);
    }
    slot = std::move(*loaded);
  }
  const auto load_redis = [](const std::optional<rules::L2Config>& store, const char* name,
                             std::shared_ptr<net::ClientTls>* to) -> Result<void> {
    if (!store || !store->tls) return {};
    const rules::RedisTls& tls = *store->tls;
    auto loaded = net::ClientTls::Load(tls.ca, tls.sni, tls.verify, tls.cert, tls.key);
    if (!loaded) {
      return Fail(ErrorSource::kInternal, name + (": " + loaded.error().message));
    }
    *to = std::move(*loaded);
    return {};
  };
  if (auto l2 = load_redis(config.l2, "stores.l2", &snapshot->redis_tls); !l2) return l2;
  if (auto limits = load_redis(config.limits, "stores.limits", &snapshot->limits_tls); !limits) {
    return limits;
  }
  return {};
}

}  // namespace

Result<SnapshotPtr> BuildSnapshot(rules::Config config, uint64_t generation) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->generation = generation;
  auto rules = rules::RuleSet::Build(config.rules, config.rate_limits);
  if (!rules) return std::unexpected(std::move(rules.error()));
  snapshot->rules = std::move(*rules);
  if (auto loaded = LoadTls(config, snapshot.get()); !loaded) {
    return std::unexpected(std::move(loaded.error()));
  }

  switch (config.log.access) {
    case rules::AccessLog::kJson:
      snapshot->access_log.format = AccessLogOptions::Format::kJson;
      break;
    case rules::AccessLog::kText:
      snapshot->access_log.format = AccessLogOptions::Format::kText;
      break;
    case rules::AccessLog::kOff:
      snapshot->access_log.format = AccessLogOptions::Format::kOff;
      break;
  }
  for (const std::string& name : config.log.redact) snapshot->access_log.redact.Add(name);
  // A key that identifies a client by query parameter would stand in every logged target.
  for (const rules::RateLimitPolicy& policy : config.rate_limits) {
    for (const rules::Identify::Part& part : policy.identify.parts) {
      if (part.by != rules::Identify::By::kQuery) continue;
      snapshot->access_log.redact.Add(part.name);
    }
  }
  snapshot->config = std::move(config);
  return snapshot;
}

// Read once: a limit that changes later would need a restart anyway, and this is asked often.
static const ResourceLimits& Limits() {
  static const ResourceLimits limits = ReadResourceLimits();
  return limits;
}

uint32_t WorkersFor(const rules::Config& config) {
  static const uint32_t by_default = std::min(uint32_t{4}, UsableCpus(Limits()));
  return config.workers != 0 ? config.workers : by_default;
}

size_t L1BytesFor(const rules::Config& config) {
  constexpr uint64_t kWithoutLimit = uint64_t{256} << 20;
  if (config.l1.size != 0) return config.l1.size;
  return Limits().memory_bytes ? *Limits().memory_bytes / 4 : kWithoutLimit;
}

}  // namespace satchel::proxy
