#include "rules/rule_set.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "cache/tags.h"
#include "rules/matcher.h"
#include "rules/path.h"

namespace satchel::rules {

struct RuleSet::Compiled {
  std::vector<Rule> rules;
  std::vector<RateLimitPolicy> policies;
  std::vector<QuickFilter> rule_filters;
  std::vector<Matcher> rule_matchers;
  std::vector<Matcher> policy_matchers;
  std::vector<std::vector<Matcher>> cost_matchers;
  std::vector<std::vector<Matcher>> exempt_matchers;
  std::vector<uint32_t> order;  // of the policies: the strictest first
};

RuleSet::RuleSet() : compiled_(std::make_unique<const Compiled>()) {}
RuleSet::RuleSet(RuleSet&&) noexcept = default;
RuleSet& RuleSet::operator=(RuleSet&&) noexcept = default;
RuleSet::~RuleSet() = default;

namespace {

// The path as rules see it: the request's own bytes where they are normal already.
class NormalPath {
 public:
  explicit NormalPath(const cache::RequestHead& request) : view_(request.path()) {
    if (!NeedsNormalising(view_)) return;
    auto normal = NormalisePath(view_);
    good_ = normal.has_value();
    if (!good_) return;
    memory_ = std::move(*normal);
    view_ = memory_;
  }
  NormalPath(const NormalPath&) = delete;
  NormalPath& operator=(const NormalPath&) = delete;

  bool good() const { return good_; }
  std::string_view view() const { return view_; }

 private:
  std::string memory_;
  std::string_view view_;
  bool good_ = true;
};

// Units a second of the strictest window of any plan.
double SlowestRate(const RateLimitPolicy& policy) {
  double slowest = std::numeric_limits<double>::infinity();
  for (const Plan& plan : policy.plans) {
    for (const RateWindow& window : plan.windows) {
      slowest = std::min(slowest, static_cast<double>(window.limit) /
                                      static_cast<double>(window.window.count()));
    }
  }
  return slowest;
}

cache::Result<Matcher> CompileMatch(const MatchSpec& spec, const std::string& name) {
  auto matcher = Matcher::Compile(spec);
  if (!matcher) {
    return cache::Fail(cache::ErrorSource::kInternal, name + ": match: " + matcher.error());
  }
  return std::move(*matcher);
}

}  // namespace

bool Rule::AllowsUpgrade(std::string_view protocol) const {
  return std::any_of(upgrade.begin(), upgrade.end(), [&](const std::string& allowed) {
    return cache::EqualsIgnoreCase(allowed, protocol);
  });
}

bool Rule::ReadsBody(cache::Method method) const {
  if (!cache.enabled || key.body_max == 0) return false;
  if (method != cache::Method::kQuery && method != cache::Method::kPost) return false;
  const std::string_view word = method == cache::Method::kQuery ? "QUERY" : "POST";
  return std::find(match.methods.begin(), match.methods.end(), word) != match.methods.end();
}

const std::string* Captures::Find(std::string_view name) const {
  for (size_t i = 0; i < size; ++i) {
    if (names[i] == name) return &values[i];
  }
  return nullptr;
}

cache::Result<RuleSet> RuleSet::Build(std::vector<Rule> rules,
                                      std::vector<RateLimitPolicy> policies) {
  auto compiled = std::make_unique<Compiled>();
  for (const Rule& rule : rules) {
    auto matcher = CompileMatch(rule.match, rule.name);
    if (!matcher) return std::unexpected(std::move(matcher.error()));
    compiled->rule_filters.push_back(matcher->MakeFilter());
    compiled->rule_matchers.push_back(std::move(*matcher));
  }
  for (const RateLimitPolicy& policy : policies) {
    auto matcher = CompileMatch(policy.match, policy.name);
    if (!matcher) return std::unexpected(std::move(matcher.error()));
    compiled->policy_matchers.push_back(std::move(*matcher));
    std::vector<Matcher> costs;
    for (const CostRule& cost : policy.costs) {
      auto cost_matcher = CompileMatch(cost.match, policy.name);
      if (!cost_matcher) return std::unexpected(std::move(cost_matcher.error()));
      costs.push_back(std::move(*cost_matcher));
    }
    compiled->cost_matchers.push_back(std::move(costs));
    std::vector<Matcher> exempt;
    for (const MatchSpec& spec : policy.exempt.matches) {
      auto exempt_matcher = CompileMatch(spec, policy.name);
      if (!exempt_matcher) return std::unexpected(std::move(exempt_matcher.error()));
      exempt.push_back(std::move(*exempt_matcher));
    }
    compiled->exempt_matchers.push_back(std::move(exempt));
  }
  compiled->rules = std::move(rules);
  compiled->policies = std::move(policies);
  for (size_t i = 0; i < compiled->rules.size(); ++i) {
    compiled->rules[i].index = static_cast<uint32_t>(i);
    compiled->rules[i].cache.rule = cache::RuleTag(compiled->rules[i].name);
  }
  for (size_t i = 0; i < compiled->policies.size(); ++i) {
    compiled->policies[i].index = static_cast<uint32_t>(i);
    compiled->order.push_back(static_cast<uint32_t>(i));
  }
  std::stable_sort(compiled->order.begin(), compiled->order.end(), [&](uint32_t a, uint32_t b) {
    return SlowestRate(compiled->policies[a]) < SlowestRate(compiled->policies[b]);
  });
  RuleSet set;
  set.compiled_ = std::move(compiled);
  return set;
}

MatchResult RuleSet::Match(const cache::RequestHead& request) const {
  const NormalPath path(request);
  if (!path.good()) return {MatchResult::Status::kBadPath, nullptr};
  const RequestView view(request, path.view());
  const PathHead head(view.path);
  const uint32_t method = MethodBit(request.method);
  for (size_t i = 0; i < compiled_->rules.size(); ++i) {
    if (!compiled_->rule_filters[i].MayMatch(method, head)) continue;
    if (compiled_->rule_matchers[i].Matches(view, nullptr, nullptr)) {
      return {MatchResult::Status::kMatched, &compiled_->rules[i]};
    }
  }
  return {};
}

MatchResult RuleSet::Match(const cache::RequestHead& request, Captures* captures) const {
  captures->Clear();
  const NormalPath path(request);
  if (!path.good()) return {MatchResult::Status::kBadPath, nullptr};
  const RequestView view(request, path.view());
  const PathHead head(view.path);
  const uint32_t method = MethodBit(request.method);
  for (size_t i = 0; i < compiled_->rules.size(); ++i) {
    if (!compiled_->rule_filters[i].MayMatch(method, head)) continue;
    Glob::Spans spans;
    const Glob* pattern = nullptr;
    if (!compiled_->rule_matchers[i].Matches(view, &spans, &pattern)) continue;
    if (pattern != nullptr) {
      captures->size = pattern->capture_names().size();
      for (size_t j = 0; j < captures->size; ++j) {
        captures->names[j] = pattern->capture_names()[j];
        captures->values[j].assign(view.path.substr(spans[j].begin, spans[j].size));
      }
    }
    return {MatchResult::Status::kMatched, &compiled_->rules[i]};
  }
  return {};
}

std::vector<Mismatch> RuleSet::Explain(const cache::RequestHead& request) const {
  std::vector<Mismatch> mismatches;
  const NormalPath path(request);
  const RequestView view(request, path.view());
  for (size_t i = 0; i < compiled_->rules.size(); ++i) {
    std::string why = path.good() ? compiled_->rule_matchers[i].WhyNot(view)
                                  : "the path has an invalid percent escape";
    if (why.empty()) break;
    mismatches.push_back({&compiled_->rules[i], std::move(why)});
  }
  return mismatches;
}

void RuleSet::MatchLimits(const cache::RequestHead& request,
                          std::vector<const RateLimitPolicy*>* policies) const {
  if (compiled_->policies.empty()) return;
  const NormalPath path(request);
  if (!path.good()) return;
  const RequestView view(request, path.view());
  for (const uint32_t i : compiled_->order) {
    if (!compiled_->policy_matchers[i].Matches(view, nullptr, nullptr)) continue;
    const std::vector<Matcher>& exempt = compiled_->exempt_matchers[i];
    if (std::any_of(exempt.begin(), exempt.end(), [&view](const Matcher& matcher) {
          return matcher.Matches(view, nullptr, nullptr);
        })) {
      continue;
    }
    policies->push_back(&compiled_->policies[i]);
  }
}

std::string_view RuleSet::RouteOf(const Rule& rule, const cache::RequestHead& request) const {
  const NormalPath path(request);
  if (!path.good()) return {};
  const RequestView view(request, path.view());
  const Glob* pattern = nullptr;
  Glob::Spans spans;
  if (!compiled_->rule_matchers[rule.index].Matches(view, &spans, &pattern)) return {};
  return pattern != nullptr ? std::string_view(pattern->pattern()) : std::string_view();
}

uint32_t RuleSet::CostOf(const RateLimitPolicy& policy, const cache::RequestHead& request) const {
  const std::vector<Matcher>& costs = compiled_->cost_matchers[policy.index];
  if (costs.empty()) return policy.cost;
  const NormalPath path(request);
  if (!path.good()) return policy.cost;
  const RequestView view(request, path.view());
  for (size_t i = 0; i < costs.size(); ++i) {
    if (costs[i].Matches(view, nullptr, nullptr)) return policy.costs[i].units;
  }
  return policy.cost;
}

const std::vector<Rule>& RuleSet::rules() const { return compiled_->rules; }
const std::vector<RateLimitPolicy>& RuleSet::policies() const { return compiled_->policies; }

std::string RewriteTarget(const Rule& rule, const Captures& captures,
                          const cache::RequestHead& request) {
  if (rule.rewrite.empty()) return request.target;
  std::string target;
  std::string_view rest = rule.rewrite;
  while (!rest.empty()) {
    const size_t open = rest.find('{');
    target += rest.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = rest.find('}', open);
    if (close == std::string_view::npos) break;
    const std::string* value = captures.Find(rest.substr(open + 1, close - open - 1));
    if (value != nullptr) AppendPathEscaped(*value, &target);
    rest = rest.substr(close + 1);
  }
  const size_t query = request.target.find('?');
  if (query != std::string::npos) target += request.target.substr(query);
  return target;
}

}  // namespace satchel::rules
