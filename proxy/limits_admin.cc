#include "proxy/limits_admin.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "proxy/net/sha256.h"
#include "proxy/ops_log.h"
#include "rules/path.h"

namespace satchel::proxy {
namespace {

using nlohmann::ordered_json;

constexpr size_t kTop = 20;

AdminReply Json(int status, const ordered_json& json) {
  AdminReply reply;
  reply.status = status;
  reply.body = json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  return reply;
}

std::string IdText(const std::array<char, 22>& id) { return {id.data(), id.size()}; }

std::string PlanName(const rules::Plan& plan) { return plan.name.empty() ? "inline" : plan.name; }

// The plan of an owner, from the list of keys.
const rules::Plan* PlanOfOwner(const rules::RateLimitPolicy& policy, std::string_view owner) {
  if (policy.keys == nullptr) return nullptr;
  for (const auto& [digest, key] : *policy.keys) {
    if (key.owner == owner && key.plan < policy.plans.size()) return &policy.plans[key.plan];
  }
  return nullptr;
}

const rules::Plan* DefaultPlan(const rules::RateLimitPolicy& policy) {
  return policy.default_plan ? &policy.plans[*policy.default_plan] : nullptr;
}

// Answers of several questions, gathered in the order of the questions; then `done`.
template <typename T>
class Gathering {
 public:
  using Done = std::function<void(std::vector<T> all)>;
  Gathering(size_t count, Done done) : all_(count), missing_(count), done_(std::move(done)) {}
  void Put(size_t index, T answer) {
    all_[index] = std::move(answer);
    if (--missing_ == 0) done_(std::move(all_));
  }

 private:
  std::vector<T> all_;
  size_t missing_;
  const Done done_;
};

ordered_json Standing(const LimitCheck& check, const rules::LimitStates& states) {
  // As refused, so that a running penalty is shown.
  const LimitVerdict verdict = VerdictOf(check, false, LimitVerdict::Source::kRedis, states);
  ordered_json windows = ordered_json::array();
  bool used = false;
  for (const WindowVerdict& window : verdict.windows()) {
    used = used || window.remaining < static_cast<int64_t>(window.limit) || window.wait_us > 0;
    windows.push_back({{"name", window.name},
                       {"limit", window.limit},
                       {"window_ms", window.window_us / 1000},
                       {"remaining", window.remaining},
                       {"more_after_ms", window.reset_us / 1000}});
  }
  return {{"policy", check.policy->name},
          {"plan", PlanName(*check.plan)},
          {"id", check.id_text()},
          {"used", used},
          {"limits", windows}};
}

}  // namespace

std::optional<std::string> QueryParameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos || part.substr(0, equals) != name) continue;
    return rules::PercentDecode(part.substr(equals + 1));
  }
  return std::nullopt;
}

std::vector<LimitCheck> ChecksFor(const Snapshot& snapshot, std::string_view query,
                                  std::string* why) {
  const auto only = QueryParameter(query, "policy");
  const auto id = QueryParameter(query, "id");
  const auto owner = QueryParameter(query, "owner");
  const auto ip = QueryParameter(query, "ip");
  const auto sha256 = QueryParameter(query, "sha256");
  const auto digest = sha256 ? rules::ParseDigest(*sha256) : std::nullopt;
  std::array<char, 22> given{};
  if (id && id->size() == given.size()) std::copy(id->begin(), id->end(), given.begin());
  if ((id && id->size() != given.size()) || (sha256 && !digest) || (!id && !owner && !ip)) {
    *why = "name id=HASH, owner=NAME, ip=ADDRESS, or id=HASH with sha256=HEX";
    return {};
  }
  std::vector<LimitCheck> checks;
  for (const rules::RateLimitPolicy& policy : snapshot.rules.policies()) {
    if (only && policy.name != *only) continue;
    const auto add = [&](const rules::Plan* plan, const std::array<char, 22>& whose) {
      if (plan != nullptr) checks.push_back({&policy, plan, whose, 1});
    };
    if (owner) {
      add(PlanOfOwner(policy, *owner),
          rules::IdentityOf(rules::IdentityKind::kOwner, *owner, net::Sha256));
    } else if (ip) {
      add(DefaultPlan(policy), rules::IdentityOf(rules::IdentityKind::kIp, *ip, net::Sha256));
    } else if (digest) {
      const rules::ApiKey* key = policy.keys ? policy.keys->Find(*digest) : nullptr;
      if (key != nullptr) {
        add(&policy.plans[key->plan],
            rules::IdentityOf(rules::IdentityKind::kOwner, key->owner, net::Sha256));
      } else {
        add(DefaultPlan(policy), given);
      }
    } else {
      // A hash does not tell its plan.
      for (const rules::Plan& plan : policy.plans) add(&plan, given);
    }
  }
  if (checks.empty()) *why = "no policy knows them";
  return checks;
}

bool LimitsAdmin::Knows(std::string_view path) {
  return path == "/limits" || path == "/limits/show" || IsAction(path);
}

bool LimitsAdmin::IsAction(std::string_view path) {
  return path == "/limits/reset" || path == "/limits/off" || path == "/limits/on";
}

std::optional<AdminReply> LimitsAdmin::Handle(const AdminRequest& request,
                                              const SnapshotPtr& snapshot) {
  if (request.path == "/limits") return Overview(*snapshot);
  if (request.path == "/limits/on" || request.path == "/limits/off") {
    return Switch(request, *snapshot);
  }
  std::string why;
  const std::vector<LimitCheck> checks = ChecksFor(*snapshot, request.query, &why);
  if (checks.empty()) return Problem(400, why);
  if (request.path == "/limits/show") {
    Show(request, snapshot, checks);
  } else {
    Reset(request, snapshot, checks);
  }
  return std::nullopt;
}

AdminReply LimitsAdmin::Overview(const Snapshot& snapshot) const {
  ordered_json policies = ordered_json::array();
  for (const rules::RateLimitPolicy& policy : snapshot.rules.policies()) {
    policies.push_back({{"name", policy.name},
                        {"mode", policy.mode == rules::LimitMode::kEnforce ? "enforce" : "shadow"},
                        {"on", limits_.kill_switch.IsOn(policy.name)}});
  }
  ordered_json counts = ordered_json::array();
  for (const LimitStats::Series* series : limits_.stats.All()) {
    counts.push_back({{"policy", series->policy},
                      {"plan", series->plan},
                      {"allowed", series->allowed.load()},
                      {"near_limit", series->near_limit.load()},
                      {"refused", series->refused.load()},
                      {"shadow_refused", series->shadow.load()}});
  }
  ordered_json top = ordered_json::array();
  for (const LimitStats::Identity& identity : limits_.stats.Top(kTop)) {
    top.push_back({{"id", IdText(identity.id)},
                   {"policy", identity.policy},
                   {"checks", identity.checks},
                   {"refused", identity.refused}});
  }
  ordered_json off = ordered_json::array();
  for (const std::string& name : limits_.kill_switch.off()) {
    off.push_back(name == LimitSwitch::kAll ? "all" : name);
  }
  return Json(200, {{"policies", policies},
                    {"off", off},
                    {"instances", limits_.instances.load()},
                    {"debts", limits_.debts.size()},
                    {"counts", counts},
                    {"top_identities", top}});
}

void LimitsAdmin::Show(const AdminRequest& request, const SnapshotPtr& snapshot,
                       const std::vector<LimitCheck>& checks) {
  using Answer = cache::Result<rules::LimitStates>;
  const auto gathering = std::make_shared<Gathering<Answer>>(
      checks.size(), [snapshot, checks, respond = request.respond](std::vector<Answer> answers) {
        ordered_json shown = ordered_json::array();
        for (size_t i = 0; i < checks.size(); ++i) {
          if (!answers[i]) {
            respond(Problem(503, answers[i].error().message));
            return;
          }
          shown.push_back(Standing(checks[i], *answers[i]));
        }
        respond(Json(200, {{"identities", shown}}));
      });
  for (size_t i = 0; i < checks.size(); ++i) {
    control_.Look(snapshot, checks[i],
                  [gathering, i](Answer answer) { gathering->Put(i, std::move(answer)); });
  }
}

void LimitsAdmin::Reset(const AdminRequest& request, const SnapshotPtr& snapshot,
                        const std::vector<LimitCheck>& checks) {
  using Answer = LimitControl::Outcome;
  const auto gathering = std::make_shared<Gathering<Answer>>(
      checks.size(), [id = IdText(checks.front().id), peer = request.peer,
                      respond = request.respond](const std::vector<Answer>& answers) {
        int64_t removed = 0;
        for (const Answer& answer : answers) {
          if (!answer.error.empty()) {
            respond(Problem(503, "forgotten in this process alone: " + answer.error));
            return;
          }
          removed += answer.removed;
        }
        OpsLog().info("limits of {} reset (admin request from {})", id, peer);
        respond(Json(200, {{"reset", true}, {"removed_keys", removed}}));
      });
  for (size_t i = 0; i < checks.size(); ++i) {
    control_.Reset(snapshot, checks[i],
                   [gathering, i](const Answer& answer) { gathering->Put(i, answer); });
  }
}

std::optional<AdminReply> LimitsAdmin::Switch(const AdminRequest& request,
                                              const Snapshot& snapshot) {
  const bool on = request.path == "/limits/on";
  const std::string name = QueryParameter(request.query, "policy").value_or("");
  const auto& policies = snapshot.rules.policies();
  if (!name.empty() && std::none_of(policies.begin(), policies.end(),
                                    [&name](const auto& policy) { return policy.name == name; })) {
    return Problem(400, "no policy is named \"" + name + "\"");
  }
  const std::string shown = name.empty() ? "all" : name;
  OpsLog().warn("limits: {} {} (admin request from {})", shown, on ? "on" : "off", request.peer);
  control_.Switch(name.empty() ? std::string(LimitSwitch::kAll) : name, on,
                  [on, shown, respond = request.respond](const LimitControl::Outcome& outcome) {
                    ordered_json answer = {
                        {"policy", shown}, {"on", on}, {"everywhere", outcome.error.empty()}};
                    if (!outcome.error.empty()) {
                      answer["error"] = outcome.error +
                                        "; other instances are told as soon as "
                                        "Redis can be asked";
                    }
                    respond(Json(200, answer));
                  });
  return std::nullopt;
}

}  // namespace satchel::proxy
