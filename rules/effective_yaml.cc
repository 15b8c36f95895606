#include <array>
#include <charconv>
#include <initializer_list>
#include <utility>

#include "rules/check.h"
#include "rules/effective_writer.h"
#include "rules/units.h"

namespace satchel::rules {
namespace {

std::string OriginOr(const std::optional<Millis>& value) {
  return value ? DurationText(*value) : "origin";
}

std::string WeightText(double weight) {
  std::array<char, 32> text;
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), weight, std::chars_format::fixed);
  return {text.data(), end};
}

void WriteListener(const Listener& listener, Writer& out) {
  out.Line(1, "- name: " + Quote(listener.name));
  out.Key(2, "address", Quote(listener.address.text));
  std::vector<std::string> proxies;
  for (const IpPrefix& prefix : listener.trusted_proxies) proxies.push_back(prefix.ToString());
  out.Key(2, "trusted_proxies", List(proxies));
  if (listener.tls) {
    out.Line(2, "tls:");
    out.Line(3, "certificates:");
    for (const auto& certificate : listener.tls->certificates) {
      out.Line(4, "- " + Map({{"cert", Quote(certificate.cert)}, {"key", Quote(certificate.key)}}));
    }
    out.Key(3, "min_version",
            listener.tls->min_version == TlsVersion::kTls12 ? "\"1.2\"" : "\"1.3\"");
  }
  out.Key(2, "max_header", SizeText(listener.max_header));
  out.Key(2, "max_headers", std::to_string(listener.max_headers));
  out.Key(2, "max_body", SizeText(listener.max_body));
  out.Key(2, "max_connections", std::to_string(listener.max_connections));
  out.Key(2, "header_timeout", DurationText(listener.header_timeout));
  out.Key(2, "keepalive", DurationText(listener.keepalive));
  out.Key(2, "write_timeout", DurationText(listener.write_timeout));
}

void WriteUpstream(const Upstream& upstream, Writer& out) {
  out.Line(1, Quote(upstream.name) + ":");
  std::vector<std::string> servers;
  for (const Endpoint& server : upstream.servers) servers.push_back(server.text);
  out.Key(2, "servers", List(servers));
  out.Key(2, "balance",
          upstream.balance == Balance::kRoundRobin ? "round_robin" : "least_requests");
  out.Key(2, "keepalive", std::to_string(upstream.keepalive));
  out.Key(2, "retries", Map({{"attempts", std::to_string(upstream.retry_attempts)}}));
  if (upstream.tls) {
    std::vector<std::pair<std::string, std::string>> tls;
    if (!upstream.tls->ca.empty()) tls.emplace_back("ca", Quote(upstream.tls->ca));
    if (!upstream.tls->sni.empty()) tls.emplace_back("sni", Quote(upstream.tls->sni));
    tls.emplace_back("verify", Bool(upstream.tls->verify));
    out.Key(2, "tls", Map(tls));
  }
}

void WriteRedis(std::string_view name, const L2Config& l2, Writer& out) {
  out.Line(1, std::string(name) + ":");
  std::string url = l2.redis;
  if (!l2.user.empty()) url.insert(url.find("://") + 3, "***@");
  out.Key(2, "redis", Quote(url));
  if (!l2.password.empty()) out.Key(2, "password", kHidden);
  if (!l2.sentinel_user.empty() || !l2.sentinel_password.empty()) {
    std::vector<std::pair<std::string, std::string>> login;
    if (!l2.sentinel_user.empty()) login.emplace_back("user", Quote(l2.sentinel_user));
    if (!l2.sentinel_password.empty()) login.emplace_back("password", kHidden);
    out.Key(2, "sentinel", Map(login));
  }
  if (l2.tls) {
    std::vector<std::pair<std::string, std::string>> tls;
    if (!l2.tls->ca.empty()) tls.emplace_back("ca", Quote(l2.tls->ca));
    if (!l2.tls->cert.empty()) tls.emplace_back("cert", Quote(l2.tls->cert));
    if (!l2.tls->key.empty()) tls.emplace_back("key", Quote(l2.tls->key));
    if (!l2.tls->sni.empty()) tls.emplace_back("sni", Quote(l2.tls->sni));
    tls.emplace_back("verify", Bool(l2.tls->verify));
    out.Key(2, "tls", Map(tls));
  }
  out.Key(2, "prefix", Quote(l2.prefix));
  out.Key(2, "deadline", DurationText(l2.deadline));
  out.Key(2, "max_object", SizeText(l2.max_object));
  out.Key(2, "breaker",
          Map({{"failures", std::to_string(l2.breaker.failures)},
               {"open_for", DurationText(l2.breaker.open_for)}}));
  if (!l2.encrypt_files.empty()) out.Key(2, "encrypt_keys", List(l2.encrypt_files));
  out.Key(2, "compress", l2.compress_min ? Map({{"min", SizeText(*l2.compress_min)}}) : "false");
}

void WriteStores(const Config& config, Writer& out) {
  out.Line(0, "stores:");
  out.Key(1, "l1",
          Map({{"size", config.l1.size == 0 ? "auto" : SizeText(config.l1.size)},
               {"max_object", SizeText(config.l1.max_object)},
               {"preallocate", config.l1.preallocate ? "true" : "false"},
               {"incoherent_ttl", DurationText(config.l1.incoherent_ttl)}}));
  if (config.l2) WriteRedis("l2", *config.l2, out);
  if (config.limits) WriteRedis("limits", *config.limits, out);
}

std::string Conditions(const std::vector<FieldCondition>& conditions) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const FieldCondition& condition : conditions) {
    pairs.emplace_back(Quote(condition.name),
                       condition.values.empty() ? "\"*\"" : List(condition.values));
  }
  return Map(pairs);
}

std::string MatchText(const MatchSpec& match) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!match.hosts.empty()) pairs.emplace_back("host", List(match.hosts));
  if (!match.paths.empty()) pairs.emplace_back("path", List(match.paths));
  if (!match.methods.empty()) pairs.emplace_back("method", List(match.methods));
  if (!match.headers.empty()) pairs.emplace_back("header", Conditions(match.headers));
  if (!match.queries.empty()) pairs.emplace_back("query", Conditions(match.queries));
  if (!match.cookies.empty()) pairs.emplace_back("cookie", Conditions(match.cookies));
  return Map(pairs);
}

std::string EditsText(const HeaderEdits& edits) {
  std::vector<std::pair<std::string, std::string>> set;
  for (const auto& [name, value] : edits.set) set.emplace_back(Quote(name), Quote(value));
  return Map({{"set", Map(set)}, {"remove", List(edits.remove)}});
}

void WriteCache(const Rule& rule, Writer& out) {
  const cache::Overrides& cache = rule.cache;
  if (!cache.enabled) {
    out.Key(2, "cache", "false");
    return;
  }
  out.Line(2, "cache:");
  out.Key(3, "ttl", OriginOr(cache.ttl));
  out.Key(3, "ttl_max", DurationText(cache.ttl_max));
  out.Key(3, "ttl_min", DurationText(cache.ttl_min));
  out.Key(3, "swr", OriginOr(cache.stale_while_revalidate));
  out.Key(3, "sie", OriginOr(cache.stale_if_error));
  out.Key(3, "heuristic",
          Map({{"fraction", RatioText(cache.heuristic_fraction)},
               {"max", DurationText(cache.heuristic_max)}}));
  out.Key(3, "jitter", RatioText(cache.jitter));
  std::vector<std::pair<std::string, std::string>> negative;
  for (const auto& [status, lifetime] : cache.negative) {
    negative.emplace_back(std::to_string(status), DurationText(lifetime));
  }
  out.Key(3, "negative", Map(negative));
  if (!cache.statuses.empty()) {
    std::vector<std::string> statuses;
    for (const uint16_t status : cache.statuses) statuses.push_back(std::to_string(status));
    out.Key(3, "statuses", List(statuses));
  }
  out.Key(3, "coalesce", Bool(cache.coalesce));
  out.Key(3, "wait", DurationText(cache.coalesce_wait));
  out.Key(3, "early_refresh", cache.early_refresh ? WeightText(*cache.early_refresh) : "auto");
  out.Key(3, "cluster_lock",
          cache.cluster_lock == Millis(0) ? "\"off\"" : DurationText(cache.cluster_lock));
  out.Key(3, "vary_limit", std::to_string(cache.vary_limit));
  out.Key(3, "key",
          Map({{"scheme", Bool(rule.key.scheme)},
               {"host", Bool(rule.key.host)},
               {"query", Map({{"allow", List(rule.key.query_allow)},
                              {"deny", List(rule.key.query_deny)},
                              {"sort", Bool(rule.key.query_sort)}})},
               {"headers", List(rule.key.headers)},
               {"cookies", List(rule.key.cookies)},
               {"body", Map({{"max", SizeText(rule.key.body_max)},
                             {"canonical_json", Bool(rule.key.body_canonical_json)}})}}));
  std::vector<std::pair<std::string, std::string>> normalize;
  for (const auto& [name, values] : cache.normalize)
    normalize.emplace_back(Quote(name), List(values));
  out.Key(3, "normalize", Map(normalize));
  out.Key(3, "tags", Templates(rule.tags));
  out.Key(3, "tags_from_json", List(rule.tags_from_json));
  out.Key(3, "shared", cache.principal_in_key ? "per_key" : "public_only");
  out.Key(3, "encrypt", Bool(cache.encrypt));
  out.Key(3, "set_cookie", cache.store_set_cookie ? "store" : "refuse");
  out.Key(3, "range", cache.keep_parts ? "complete" : "pass");
  out.Key(3, "targeted_fields", List(cache.targeted_fields));
  out.Key(3, "request_directives", cache.obey_request_directives ? "obey" : "ignore");
  if (rule.client_cache_control) {
    out.Key(3, "client_cache_control", Quote(*rule.client_cache_control));
  }
}

void WriteRule(const Rule& rule, Writer& out) {
  out.Line(1, "- name: " + Quote(rule.name));
  out.Key(2, "match", MatchText(rule.match));
  out.Key(2, "upstream", Quote(rule.upstream));
  out.Key(2, "version", std::to_string(rule.key.version));
  out.Key(2, "timeouts",
          Map({{"connect", DurationText(rule.timeouts.connect)},
               {"first_byte", DurationText(rule.timeouts.first_byte)},
               {"idle", DurationText(rule.timeouts.idle)},
               {"total", DurationText(rule.timeouts.total)}}));
  WriteCache(rule, out);
  out.Key(2, "request_headers", EditsText(rule.request_headers));
  out.Key(2, "response_headers", EditsText(rule.response_headers));
  if (!rule.rewrite.empty()) out.Key(2, "rewrite", Quote(rule.rewrite));
  out.Key(2, "upgrade", List(rule.upgrade));
  if (!rule.on_success.empty()) {
    out.Key(2, "on_success",
            Map({{"purge_tags", Templates(rule.on_success.purge_tags)},
                 {"purge_urls", Templates(rule.on_success.purge_urls)},
                 {"mode", rule.on_success.soft ? "soft" : "hard"},
                 {"refresh", Bool(rule.on_success.refresh)}}));
  }
}

std::string LimitsText(const Plan& plan) {
  std::string limits = "[";
  for (size_t i = 0; i < plan.windows.size(); ++i) {
    const RateWindow& window = plan.windows[i];
    const auto length = std::chrono::duration_cast<Millis>(window.window);
    limits += (i > 0 ? ", " : "") +
              Map({{"name", Quote(window.name)},
                   {"rate", std::to_string(window.limit) + "/" + DurationText(length)}});
  }
  return limits + "]";
}

std::string PlanText(const Plan& plan) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!plan.windows.empty()) pairs.emplace_back("limits", LimitsText(plan));
  if (plan.concurrent != 0) pairs.emplace_back("concurrent", std::to_string(plan.concurrent));
  return Map(pairs);
}

std::string IdentifyText(const Identify& identify) {
  if (identify.parts.empty()) return "everyone";
  static constexpr const char* kWays[] = {"header", "query", "cookie"};
  static constexpr const char* kMissing[] = {"\"401\"", "by_ip", "skip"};
  static constexpr const char* kUnknown[] = {"default_plan", "\"401\"", "\"403\""};
  std::string parts = "[";
  for (const Identify::Part& part : identify.parts) {
    if (parts.size() > 1) parts += ", ";
    parts += part.by == Identify::By::kClientIp
                 ? "client_ip"
                 : Map({{kWays[static_cast<size_t>(part.by)], Quote(part.name)}});
  }
  return Map({{"all_of", parts + "]"},
              {"missing", kMissing[static_cast<size_t>(identify.missing)]},
              {"unknown", kUnknown[static_cast<size_t>(identify.unknown)]}});
}

std::string ExemptText(const Exemptions& exempt) {
  std::vector<std::string> clients;
  for (const IpPrefix& prefix : exempt.clients) clients.push_back(prefix.ToString());
  std::string matches = "[";
  for (const MatchSpec& match : exempt.matches) {
    matches += (matches.size() > 1 ? ", " : "") + MatchText(match);
  }
  std::vector<std::pair<std::string, std::string>> pairs = {{"client_ip", List(clients)},
                                                            {"owner", List(exempt.owners)}};
  if (!exempt.matches.empty()) pairs.emplace_back("match", matches + "]");
  return Map(pairs);
}

void WriteCost(const RateLimitPolicy& policy, Writer& out) {
  if (!policy.cost_field.name.empty()) {
    out.Key(2, "cost",
            Map({{"response_header", Quote(policy.cost_field.name)},
                 {"units", std::to_string(policy.cost)},
                 {"max", std::to_string(policy.cost_field.max)}}));
    return;
  }
  if (policy.costs.empty()) {
    out.Key(2, "cost", std::to_string(policy.cost));
    return;
  }
  out.Line(2, "cost:");
  for (const CostRule& cost : policy.costs) {
    out.Line(3,
             "- " + Map({{"match", MatchText(cost.match)}, {"units", std::to_string(cost.units)}}));
  }
}

void WritePolicy(const RateLimitPolicy& policy, Writer& out) {
  out.Line(1, "- name: " + Quote(policy.name));
  out.Key(2, "match", MatchText(policy.match));
  out.Key(2, "identify", IdentifyText(policy.identify));
  std::vector<std::string> per;
  if (policy.per.host) per.emplace_back("host");
  if (policy.per.rule) per.emplace_back("rule");
  if (policy.per.route) per.emplace_back("route");
  if (!per.empty()) out.Key(2, "per", List(per));
  out.Key(2, "exempt", ExemptText(policy.exempt));
  if (policy.plans.size() == 1 && policy.plans[0].name.empty()) {
    const Plan& plan = policy.plans[0];
    if (!plan.windows.empty()) out.Key(2, "limits", LimitsText(plan));
    if (plan.concurrent != 0) out.Key(2, "concurrent", std::to_string(plan.concurrent));
  } else {
    if (policy.default_plan) {
      out.Key(2, "default_plan", Quote(policy.plans[*policy.default_plan].name));
    }
    if (policy.keys != nullptr) {
      out.Line(2, "keys:" + std::string(policy.keys->size() == 0 ? " {}" : ""));
      for (const auto& [digest, key] : *policy.keys) {
        out.Key(3, "\"" + DigestText(digest) + "\"",
                Map({{"plan", Quote(policy.plans[key.plan].name)}, {"owner", Quote(key.owner)}}));
      }
    }
  }
  out.Key(2, "count", policy.count == CountWhat::kAll ? "all" : "origin");
  WriteCost(policy, out);
  static constexpr const char* kDown[] = {"local_share", "open", "closed"};
  out.Key(2, "store_down", kDown[static_cast<size_t>(policy.store_down)]);
  std::vector<std::string> headers;
  if (policy.ietf_headers) headers.emplace_back("ietf");
  if (policy.legacy_headers) headers.emplace_back("legacy");
  out.Key(2, "headers", List(headers));
  out.Key(2, "reset", policy.reset == ResetForm::kEpoch ? "epoch" : "delta");
  static constexpr const char* kOrigin[] = {"merge", "replace", "keep"};
  out.Key(2, "origin_fields", kOrigin[static_cast<size_t>(policy.origin_fields)]);
  if (policy.penalty.count() > 0) {
    out.Key(2, "penalty", DurationText(std::chrono::duration_cast<Millis>(policy.penalty)));
  }
  out.Key(2, "retry_jitter", DurationText(policy.retry_jitter));
  out.Key(2, "lease", policy.lease ? "auto" : "\"off\"");
  out.Key(2, "max_entries", std::to_string(policy.max_entries));
  out.Key(2, "mode", policy.mode == LimitMode::kEnforce ? "enforce" : "shadow");
}

}  // namespace

std::string EffectiveYaml(const Config& config) {
  Writer out;
  out.Line(0, "version: 1");
  out.Key(0, "workers", config.workers == 0 ? "auto" : std::to_string(config.workers));
  out.Line(0, "listeners:");
  for (const Listener& listener : config.listeners) WriteListener(listener, out);
  out.Line(0, "upstreams:");
  for (const Upstream& upstream : config.upstreams) WriteUpstream(upstream, out);
  WriteStores(config, out);
  out.Line(0, "rules:");
  for (const Rule& rule : config.rules) WriteRule(rule, out);
  if (!config.plans.empty()) {
    out.Line(0, "plans:");
    for (const Plan& plan : config.plans) {
      out.Key(1, Quote(plan.name), PlanText(plan));
    }
  }
  if (!config.rate_limits.empty()) {
    out.Line(0, "rate_limits:");
    for (const RateLimitPolicy& policy : config.rate_limits) WritePolicy(policy, out);
  }
  out.Line(0, "admin:");
  out.Key(1, "address", config.admin.address ? Quote(config.admin.address->text) : "\"off\"");
  if (!config.admin.token.empty()) out.Key(1, "token", kHidden);
  WritePurge(config.purge, out);
  WriteWarmup(config.warmup, out);
  static constexpr const char* kAccess[] = {"json", "text", "\"off\""};
  static constexpr const char* kLevels[] = {"trace", "debug", "info", "warn", "error"};
  out.Line(0, "log:");
  out.Key(1, "access", kAccess[static_cast<size_t>(config.log.access)]);
  out.Key(1, "to", Quote(config.log.to));
  out.Key(1, "level", kLevels[static_cast<size_t>(config.log.level)]);
  out.Key(1, "redact", List(config.log.redact));
  out.Line(0, "shutdown:");
  out.Key(1, "not_ready_for", DurationText(config.shutdown.not_ready_for));
  out.Key(1, "drain", DurationText(config.shutdown.drain));
  return out.Take();
}

}  // namespace satchel::rules
