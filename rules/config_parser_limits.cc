// plans, rate_limits, API keys.
#include <algorithm>

#include "rules/config_parser_blocks.h"

namespace satchel::rules {
namespace {

constexpr size_t kMaxWindows = 8;
constexpr uint32_t kMaxEntries = 4096;  // pruning more at once would hold up Redis
constexpr uint32_t kMaxConcurrent = 1'000'000;

bool IsWindowName(std::string_view name) {
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

void ParseLimits(const Cursor& cursor, Plan* plan) {
  if (!cursor.IsList() || cursor.node().items.empty() || cursor.node().items.size() > kMaxWindows) {
    cursor.Error("is no list of 1 to 8 limits; write [{name: hour, rate: 1000/1h}]");
    return;
  }
  for (size_t i = 0; i < cursor.node().items.size(); ++i) {
    const Cursor item = cursor.Item(i);
    MapReader map(item, "a limit");
    RateWindow window;
    if (const auto rate = map.Require("rate", "rate: 1000/1h")) {
      const auto text = rate->Scalar("a rate such as 1000/1h");
      if (text) {
        const auto parsed = ParseRate(text->text);
        if (parsed) {
          window.limit = parsed->first;
          window.window = parsed->second;
          window.name = DurationText(std::chrono::duration_cast<Millis>(parsed->second));
        } else {
          rate->BadValue(*text, parsed.error());
        }
      }
    }
    if (const auto name = map.Take("name")) {
      if (auto text = name->Text()) {
        if (!IsWindowName(*text)) {
          name->Error("\"" + *text + "\" is not a name; write 1 to 32 of A-Z a-z 0-9 _ -");
        }
        window.name = std::move(*text);
      }
    }
    map.Finish();
    for (const RateWindow& other : plan->windows) {
      if (!window.name.empty() && other.name == window.name) {
        item.Error("\"" + window.name + "\" names two limits of one plan; name them apart");
      }
    }
    plan->windows.push_back(std::move(window));
  }
}

std::optional<uint32_t> FindPlan(const std::vector<Plan>& plans, const Cursor& cursor,
                                 const std::string& name) {
  for (size_t i = 0; i < plans.size(); ++i) {
    if (plans[i].name == name) return static_cast<uint32_t>(i);
  }
  std::vector<std::string_view> names;
  for (const Plan& plan : plans) names.push_back(plan.name);
  const std::string_view near = Nearest(name, names);
  cursor.Error("\"" + name + "\" is not a plan; " +
               (near.empty()
                    ? names.empty() ? std::string("add it to plans") : "write " + OneOf(names)
                    : "did you mean " + std::string(near) + "?"));
  return std::nullopt;
}

// The pairs of a key list: the digest and either a plan or {plan, owner}.
void ParseKeyEntries(const std::vector<std::pair<std::string, Cursor>>& entries,
                     const std::vector<Plan>& plans, ApiKeys* keys) {
  for (const auto& [key, value] : entries) {
    const auto digest = ParseDigest(key);
    if (!digest) {
      // Not quoted: it may be the key itself.
      value.Error(
          "is not under the SHA-256 of a key; write 64 hex digits "
          "(printf %s KEY | sha256sum)");
      continue;
    }
    ApiKey entry;
    std::optional<std::string> plan;
    if (value.IsScalar()) {
      plan = value.Text();
      if (const auto index = plan ? FindPlan(plans, value, *plan) : std::nullopt) {
        entry.plan = *index;
      }
    } else {
      MapReader map(value, "a key's entry");
      if (const auto name = map.Require("plan", "plan: free")) {
        plan = name->Text();
        if (const auto index = plan ? FindPlan(plans, *name, *plan) : std::nullopt) {
          entry.plan = *index;
        }
      }
      map.Text("owner", &entry.owner);
      map.Finish();
    }
    if (entry.owner.empty()) entry.owner = DigestText(*digest).substr(0, 16);
    if (!keys->Add(*digest, std::move(entry))) {
      value.Error("is listed twice in different letter case; keep one of them");
    }
  }
}

void ParseKeys(const Cursor& cursor, const std::vector<Plan>& plans, ApiKeys* keys) {
  const bool from_file =
      cursor.IsMap() && cursor.node().pairs() == 1 && cursor.node().items[0]->text == "file";
  if (!from_file) {
    MapReader map(cursor, "a list of keys", false);
    ParseKeyEntries(map.All(), plans, keys);
    return;
  }
  MapReader map(cursor, "a list of keys");
  const auto file = map.Take("file");
  const auto path = file ? file->Path() : std::nullopt;
  if (!path) return;
  const auto text = cursor.loader().ReadFile(*path, kMaxConfigBytes);
  if (!text) {
    file->Error("cannot read \"" + *path + "\": " + text.error().message +
                "; name a file that the process may read");
    return;
  }
  const auto tree = ParseYaml(*text);
  if (!tree) {
    cursor.context().errors.push_back(
        {*path, tree.error().line, tree.error().column, "", tree.error().what});
    return;
  }
  const Cursor root(&cursor.context(), &*path, tree->get(), "");
  MapReader entries(root, "a list of keys", false);
  ParseKeyEntries(entries.All(), plans, keys);
}

// {header: X-API-Key}, {query: key}, {cookie: sid} or client_ip: each key of the map is a part.
void ParseParts(MapReader& map, std::vector<Identify::Part>* parts) {
  const auto part = [&](std::string_view key, Identify::By by) {
    const auto value = map.Take(key);
    if (!value) return;
    auto text = value->Text();
    if (!text) return;
    if (by != Identify::By::kQuery) CheckToken(*value, *text, "a name");
    parts->push_back({by, std::move(*text)});
  };
  part("header", Identify::By::kHeader);
  part("query", Identify::By::kQuery);
  part("cookie", Identify::By::kCookie);
  bool client_ip = false;
  if (map.Bool("client_ip", &client_ip) && client_ip) {
    parts->push_back({Identify::By::kClientIp, {}});
  }
}

void ParseIdentify(const Cursor& cursor, Identify* identify) {
  constexpr size_t kMaxParts = 8;
  constexpr const char* kExamples = "write client_ip, everyone or {header: X-API-Key}";
  if (cursor.IsScalar()) {
    const auto text = cursor.Scalar("client_ip, everyone or {header: X-API-Key}");
    if (text && text->text == "client_ip") {
      identify->parts.push_back({});
    } else if (text && text->text != "everyone") {
      cursor.BadValue(*text, std::string("does not say who is counted; ") + kExamples);
    }
    return;
  }
  MapReader map(cursor, "an identity");
  ParseParts(map, &identify->parts);
  if (const auto all = map.Take("all_of")) {
    if (!all->IsList() || all->node().items.size() > kMaxParts) {
      all->Error("is no list of at most 8 parts; write [{header: X-API-Key}, client_ip]");
    } else {
      for (size_t i = 0; i < all->node().items.size(); ++i) {
        const Cursor item = all->Item(i);
        if (item.IsScalar()) {
          const auto text = item.Scalar("client_ip or {header: X-API-Key}");
          if (text && text->text == "client_ip") {
            identify->parts.push_back({});
          } else if (text) {
            item.BadValue(*text, "is no part of an identity; write client_ip or {header: NAME}");
          }
          continue;
        }
        MapReader part(item, "a part of an identity");
        ParseParts(part, &identify->parts);
        part.Finish();
      }
    }
  }
  map.Word("missing", &identify->missing,
           {{"401", Identify::Missing::kUnauthorized},
            {"by_ip", Identify::Missing::kByIp},
            {"skip", Identify::Missing::kSkip}});
  map.Word("unknown", &identify->unknown,
           {{"default_plan", Identify::Unknown::kDefaultPlan},
            {"401", Identify::Unknown::kUnauthorized},
            {"403", Identify::Unknown::kForbidden}});
  map.Finish();
  for (size_t i = 0; i < identify->parts.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (identify->parts[i] == identify->parts[j]) {
        cursor.Error("names one part twice; remove one of them");
        return;
      }
    }
  }
  if (map.ok() && identify->parts.empty()) {
    cursor.Error(std::string("names nobody; ") + kExamples);
  }
}

void ParseScope(const Cursor& cursor, QuotaScope* per) {
  const auto names = cursor.Texts();
  if (!names) return;
  for (const std::string& name : *names) {
    if (name == "host") {
      per->host = true;
    } else if (name == "rule") {
      per->rule = true;
    } else if (name == "route") {
      per->route = true;
    } else {
      cursor.Error("\"" + name + "\" is unknown; write host, rule, route or a list of them");
    }
  }
}

void ParseExemptions(const Cursor& cursor, Exemptions* exempt) {
  MapReader map(cursor, "exemptions");
  if (const auto clients = map.Take("client_ip")) {
    for (const std::string& text : clients->Texts().value_or(std::vector<std::string>())) {
      if (const auto prefix = ParseIpPrefix(text)) {
        exempt->clients.push_back(*prefix);
      } else {
        clients->Error("\"" + text + "\" is no network; write 10.0.0.0/8 or fd00::/8");
      }
    }
  }
  map.Texts("owner", &exempt->owners);
  if (const auto match = map.Take("match")) {
    const size_t count = match->IsList() ? match->node().items.size() : 1;
    for (size_t i = 0; i < count; ++i) {
      MatchSpec spec;
      ParseMatch(match->IsList() ? match->Item(i) : *match, &spec);
      exempt->matches.push_back(std::move(spec));
    }
  }
  map.Finish();
}

void ParseCost(const Cursor& cursor, RateLimitPolicy* policy) {
  constexpr uint64_t kMaxUnits = 1'000'000;
  if (cursor.IsMap()) {
    MapReader map(cursor, "a cost");
    if (const auto field = map.Require("response_header", "response_header: X-Cost")) {
      if (auto name = field->Text()) {
        CheckToken(*field, *name, "a field name");
        policy->cost_field.name = std::move(*name);
      }
    }
    map.Number("units", &policy->cost, 1, kMaxUnits);
    map.Number("max", &policy->cost_field.max, 1, kMaxUnits);
    map.Finish();
    return;
  }
  if (!cursor.IsList()) {
    const auto units = cursor.Number(1, kMaxUnits);
    if (units) policy->cost = static_cast<uint32_t>(*units);
    return;
  }
  for (size_t i = 0; i < cursor.node().items.size(); ++i) {
    MapReader map(cursor.Item(i), "a cost");
    CostRule cost;
    if (const auto match = map.Require("match", "match: {path: /export}")) {
      ParseMatch(*match, &cost.match);
    }
    if (const auto units = map.Require("units", "units: 10")) {
      cost.units = static_cast<uint32_t>(units->Number(1, kMaxUnits).value_or(1));
    }
    map.Finish();
    policy->costs.push_back(std::move(cost));
  }
}

void ParseHeaders(const Cursor& cursor, RateLimitPolicy* policy) {
  const auto names =
      cursor.IsList() && cursor.node().items.empty() ? std::vector<std::string>() : cursor.Texts();
  if (!names) return;
  policy->ietf_headers = policy->legacy_headers = false;
  for (const std::string& name : *names) {
    if (name == "ietf") {
      policy->ietf_headers = true;
    } else if (name == "legacy") {
      policy->legacy_headers = true;
    } else {
      cursor.Error("\"" + name + "\" is unknown; write ietf, legacy, both or []");
    }
  }
}

}  // namespace

void ParsePlan(const std::string& name, const Cursor& cursor, Config* config) {
  CheckName(cursor, name);
  MapReader map(cursor, "a plan");
  Plan plan;
  plan.name = name;
  plan.file = cursor.file();
  plan.line = cursor.node().line;
  map.Number("concurrent", &plan.concurrent, 1, kMaxConcurrent);
  if (const auto limits = map.Take("limits")) {
    ParseLimits(*limits, &plan);
  } else if (map.ok() && plan.concurrent == 0) {
    map.Require("limits", "limits: [{name: hour, rate: 1000/1h}]");
  }
  map.Finish();
  config->plans.push_back(std::move(plan));
}

void ParseRateLimit(const Cursor& cursor, Config* config) {
  MapReader map(cursor, "a rate limit");
  RateLimitPolicy policy;
  policy.index = static_cast<uint32_t>(config->rate_limits.size());
  policy.file = cursor.file();
  policy.line = cursor.node().line;
  if (const auto name = map.Require("name", "name: api")) {
    if (auto text = name->Text()) {
      policy.name = std::move(*text);
      CheckName(*name, policy.name);
      for (const RateLimitPolicy& other : config->rate_limits) {
        if (other.name == policy.name) {
          name->Error("\"" + policy.name + "\" names the limit in line " +
                      std::to_string(other.line) + " already; name them apart");
        }
      }
    }
  }
  if (const auto match = map.Take("match")) ParseMatch(*match, &policy.match);
  if (const auto identify = map.Require("identify", "identify: {header: X-API-Key}")) {
    ParseIdentify(*identify, &policy.identify);
  }
  if (const auto per = map.Take("per")) ParseScope(*per, &policy.per);
  if (const auto exempt = map.Take("exempt")) ParseExemptions(*exempt, &policy.exempt);
  const auto limits = map.Take("limits");
  uint32_t concurrent = 0;
  const bool inline_concurrent = map.Number("concurrent", &concurrent, 1, kMaxConcurrent);
  const auto keys = map.Take("keys");
  const auto default_plan = map.Take("default_plan");
  if (limits || inline_concurrent) {
    policy.plans.resize(1);
    policy.default_plan = 0;
    policy.plans[0].concurrent = concurrent;
    if (limits) ParseLimits(*limits, &policy.plans[0]);
    if (keys || default_plan) {
      (keys ? *keys : *default_plan)
          .Error("does not go with limits written inline; name plans, or remove it");
    }
  } else {
    policy.plans = config->plans;
    if (default_plan) {
      if (const auto name = default_plan->Text()) {
        policy.default_plan = FindPlan(policy.plans, *default_plan, *name);
      }
    }
    if (keys) {
      auto list = std::make_shared<ApiKeys>();
      ParseKeys(*keys, policy.plans, list.get());
      policy.keys = std::move(list);
    }
    if (map.ok() && !keys && !default_plan) {
      cursor.Error("limits nobody; add limits: [{name: hour, rate: 1000/1h}] or default_plan");
    }
    const bool by_ip = policy.identify.key_part() == nullptr ||
                       policy.identify.missing == Identify::Missing::kByIp;
    if (keys && !default_plan && by_ip) {
      cursor.Error("counts client addresses, which have no plan; add default_plan");
    }
  }
  map.Word("count", &policy.count, {{"all", CountWhat::kAll}, {"origin", CountWhat::kOrigin}});
  if (const auto cost = map.Take("cost")) ParseCost(*cost, &policy);
  map.Word("store_down", &policy.store_down,
           {{"local_share", StoreDown::kLocalShare},
            {"open", StoreDown::kOpen},
            {"closed", StoreDown::kClosed}});
  if (const auto headers = map.Take("headers")) ParseHeaders(*headers, &policy);
  map.Word("mode", &policy.mode,
           {{"enforce", LimitMode::kEnforce}, {"shadow", LimitMode::kShadow}});
  map.Word("reset", &policy.reset, {{"epoch", ResetForm::kEpoch}, {"delta", ResetForm::kDelta}});
  map.Word("origin_fields", &policy.origin_fields,
           {{"merge", OriginFields::kMerge},
            {"replace", OriginFields::kReplace},
            {"keep", OriginFields::kKeep}});
  Millis penalty{0};
  if (map.Duration("penalty", &penalty, Millis(1))) policy.penalty = penalty;
  map.Duration("retry_jitter", &policy.retry_jitter);
  map.Word("lease", &policy.lease, {{"off", false}, {"auto", true}});
  map.Number("max_entries", &policy.max_entries, 16, kMaxEntries);
  if (policy.identify.unknown != Identify::Unknown::kDefaultPlan && policy.keys == nullptr &&
      map.ok() && !keys) {
    cursor.Error("has identify.unknown but no keys to know; add keys: {file: keys.yaml}");
  }
  if (policy.lease && (policy.penalty.count() > 0 ||
                       std::any_of(policy.plans.begin(), policy.plans.end(),
                                   [](const Plan& plan) { return plan.concurrent != 0; }))) {
    cursor.Error(
        "takes slots ahead, which goes neither with concurrent nor with penalty; write "
        "lease: off");
  }
  map.Finish();
  config->rate_limits.push_back(std::move(policy));
}

}  // namespace satchel::rules
