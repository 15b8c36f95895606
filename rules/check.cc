#include "rules/check.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "rules/matcher.h"
#include "rules/units.h"

namespace satchel::rules {
namespace {

using Diagnostics = std::vector<Diagnostic>;

std::string RulePath(const Rule& rule) { return "rules[" + std::to_string(rule.index) + "]"; }

void Warn(const Rule& rule, const std::string& below, std::string what, Diagnostics* to) {
  to->push_back({rule.file, rule.line, 0, RulePath(rule) + below,
                 "rule " + rule.name + ": " + std::move(what)});
}

void CheckShadows(const std::vector<Rule>& rules, Diagnostics* to) {
  std::vector<Matcher> matchers;
  for (const Rule& rule : rules) {
    auto matcher = Matcher::Compile(rule.match);
    if (!matcher) return;  // an error already
    matchers.push_back(std::move(*matcher));
  }
  // Quadratic; a list this long is made by a program, which knows its order.
  constexpr size_t kMost = 2000;
  for (size_t late = 1; late < std::min(rules.size(), kMost); ++late) {
    for (size_t early = 0; early < late; ++early) {
      if (!matchers[early].Covers(matchers[late])) continue;
      Warn(rules[late], ".match",
           "can never match, because rule " + rules[early].name + " in line " +
               std::to_string(rules[early].line) +
               " takes every such request first; move it up or remove it",
           to);
      break;
    }
  }
}

void CheckCaching(const Rule& rule, Diagnostics* to) {
  const cache::Overrides& cache = rule.cache;
  if (!cache.enabled) return;
  if (cache.stale_if_error && cache.stale_while_revalidate && *cache.stale_if_error > Millis(0) &&
      *cache.stale_if_error <= *cache.stale_while_revalidate) {
    Warn(rule, ".cache.sie",
         "sie " + DurationText(*cache.stale_if_error) + " can never act, because swr " +
             DurationText(*cache.stale_while_revalidate) +
             " serves stale answers that long anyway; write a longer sie",
         to);
  }
  if (cache.ttl && *cache.ttl > cache.ttl_max) {
    Warn(rule, ".cache.ttl",
         "ttl " + DurationText(*cache.ttl) + " is cut to ttl_max " + DurationText(cache.ttl_max) +
             "; write a longer ttl_max",
         to);
  }
  for (const auto& [status, lifetime] : cache.negative) {
    if (cache.statuses.empty() ||
        std::find(cache.statuses.begin(), cache.statuses.end(), status) != cache.statuses.end()) {
      continue;
    }
    Warn(rule, ".cache.negative",
         std::to_string(status) + " can never act, because statuses leaves it out; add it there",
         to);
  }
}

bool IsNamed(const std::vector<std::string>& globs, std::string_view name) {
  return std::find(globs.begin(), globs.end(), name) != globs.end();
}

// Two requests with one key would store under different tags, and only the first one's would count.
void CheckTags(const Rule& rule, Diagnostics* to) {
  for (const TagTemplate& tag : rule.tags) {
    for (const TagTemplate::Part& part : tag.parts()) {
      if (part.source != TagTemplate::Source::kQuery) continue;
      const bool dropped =
          IsNamed(rule.key.query_deny, part.text) ||
          (!rule.key.query_allow.empty() && !IsNamed(rule.key.query_allow, part.text) &&
           std::none_of(rule.key.query_allow.begin(), rule.key.query_allow.end(),
                        [](const std::string& glob) { return glob.find('*') != std::string::npos; }));
      if (!dropped) continue;
      Warn(rule, ".cache.tags",
           "\"" + tag.text() + "\" uses the query's " + part.text +
               ", which the key drops; keep it in key.query, or leave it out of the tag",
           to);
    }
  }
}

void CheckUnused(const Config& config, Diagnostics* to) {
  std::set<std::string_view> used;
  for (const Rule& rule : config.rules) used.insert(rule.upstream);
  for (const Upstream& upstream : config.upstreams) {
    if (used.contains(upstream.name)) continue;
    to->push_back({upstream.file, upstream.line, 0, "upstreams." + upstream.name,
                   "no rule uses it; name it in a rule or remove it"});
  }
  std::set<std::string_view> plans;
  for (const RateLimitPolicy& policy : config.rate_limits) {
    if (policy.default_plan) plans.insert(policy.plans[*policy.default_plan].name);
    if (policy.keys == nullptr) continue;
    for (const auto& [digest, key] : *policy.keys) plans.insert(policy.plans[key.plan].name);
  }
  for (const Plan& plan : config.plans) {
    if (plans.contains(plan.name)) continue;
    to->push_back({plan.file, plan.line, 0, "plans." + plan.name,
                   "no rate limit and no key uses it; name it in one or remove it"});
  }
}

void CheckDoors(const Config& config, Diagnostics* to) {
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    for (const IpPrefix& prefix : config.listeners[i].trusted_proxies) {
      if (prefix.bits != 0) continue;
      to->push_back({config.file, 0, 0, "listeners[" + std::to_string(i) + "].trusted_proxies",
                     prefix.ToString() + " lets anyone claim any client address; name the networks "
                                         "of your own proxies"});
    }
  }
  for (const Upstream& upstream : config.upstreams) {
    if (!upstream.tls || upstream.tls->verify) continue;
    to->push_back({upstream.file, upstream.line, 0, "upstreams." + upstream.name + ".tls.verify",
                   "anyone on the way may answer in the upstream's place; write ca: FILE instead"});
  }
  for (const RateLimitPolicy& policy : config.rate_limits) {
    if (config.log.access == AccessLog::kOff) continue;
    for (const Identify::Part& part : policy.identify.parts) {
      if (part.by != Identify::By::kHeader) continue;
      const auto& redact = config.log.redact;
      if (std::any_of(redact.begin(), redact.end(), [&](const std::string& name) {
            return cache::EqualsIgnoreCase(name, part.name);
          })) {
        continue;
      }
      to->push_back({policy.file, policy.line, 0,
                     "rate_limits[" + std::to_string(policy.index) + "].identify",
                     "log.redact does not name " + part.name +
                         ", whose values identify clients; add it there"});
    }
  }
}

}  // namespace

std::vector<Diagnostic> CheckConfig(const Config& config) {
  Diagnostics warnings;
  CheckShadows(config.rules, &warnings);
  for (const Rule& rule : config.rules) {
    CheckCaching(rule, &warnings);
    CheckTags(rule, &warnings);
  }
  if (!config.purge.channel.empty() && !config.l2) {
    warnings.push_back({config.file, 0, 0, "purge.channel",
                        "nobody is heard on it without stores.l2.redis; add that"});
  }
  CheckUnused(config, &warnings);
  CheckDoors(config, &warnings);
  if (config.l1.size != 0 && config.l1.max_object > config.l1.size) {
    warnings.push_back({config.file, 0, 0, "stores.l1.max_object",
                        SizeText(config.l1.max_object) + " is more than the store's size of " +
                            SizeText(config.l1.size) + "; write a larger size"});
  }
  return warnings;
}

std::string DiagnosticsJson(const std::vector<Diagnostic>& errors,
                            const std::vector<Diagnostic>& warnings) {
  const auto list = [](const std::vector<Diagnostic>& diagnostics) {
    auto array = nlohmann::json::array();
    for (const Diagnostic& diagnostic : diagnostics) {
      array.push_back({{"file", diagnostic.file},
                       {"line", diagnostic.line},
                       {"column", diagnostic.column},
                       {"path", diagnostic.path},
                       {"message", diagnostic.what}});
    }
    return array;
  };
  const nlohmann::json json = {{"errors", list(errors)}, {"warnings", list(warnings)}};
  // Text that is not UTF-8 is replaced: dump() would throw.
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace satchel::rules
