#include "proxy/purge_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cache/http/fields.h"
#include "proxy/admin.h"
#include "proxy/ops_log.h"
#include "proxy/purge_targets.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::PurgeRecord;
using cache::Result;
using nlohmann::json;

constexpr size_t kMaxText = 16 << 10;
constexpr std::string_view kKeys =
    "urls, tags, prefixes, rules, hosts, all, soft, refresh and wait";

// Empty, or what is wrong.
std::string ReadTexts(const std::string& key, const json& value, std::vector<std::string>& to) {
  const auto add = [&](const json& item) {
    if (!item.is_string()) return false;
    to.push_back(item.get<std::string>());
    return !to.back().empty() && to.back().size() <= kMaxText;
  };
  bool good = true;
  if (value.is_array()) {
    for (const json& item : value) good = good && add(item);
  } else {
    good = add(value);
  }
  return good ? "" : key + ": write a text, or a list of texts, none empty";
}

std::vector<std::string> SplitTags(const cache::HeaderMap& fields) {
  std::vector<std::string> tags;
  for (const cache::HeaderMap::Field field : fields) {
    const bool spaces =
        field.id == cache::FieldId::kSurrogateKey || field.id == cache::FieldId::kXkey;
    if (!spaces && field.id != cache::FieldId::kCacheTag) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find_first_of(spaces ? " \t" : ","), rest.size());
      const std::string_view tag = cache::TrimOws(rest.substr(0, end));
      if (!tag.empty()) tags.emplace_back(tag);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return tags;
}

size_t Names(const PurgeRequest& request) {
  return request.urls.size() + request.tags.size() + request.prefixes.size() +
         request.rules.size() + request.hosts.size();
}

void DescribeList(std::string& out, std::string_view kind, const std::vector<std::string>& texts) {
  constexpr size_t kShown = 10;
  if (texts.empty()) return;
  if (!out.empty()) out += "; ";
  out += kind;
  for (size_t i = 0; i < std::min(texts.size(), kShown); ++i) out += (i > 0 ? ", " : " ") + texts[i];
  if (texts.size() > kShown) out += " and " + std::to_string(texts.size() - kShown) + " more";
}

}  // namespace

Result<PurgeRequest> PurgeRequest::FromJson(std::string_view text) {
  const auto wrong = [](std::string why) { return Fail(ErrorSource::kClient, std::move(why)); };
  const json body = json::parse(text, nullptr, false);
  if (!body.is_object()) return wrong("write a JSON object, for example {\"tags\": [\"a\"]}");
  PurgeRequest request;
  for (const auto& [key, value] : body.items()) {
    const std::pair<std::string_view, std::vector<std::string>*> lists[] = {
        {"urls", &request.urls},   {"tags", &request.tags},   {"prefixes", &request.prefixes},
        {"rules", &request.rules}, {"hosts", &request.hosts}};
    const std::pair<std::string_view, bool*> flags[] = {{"all", &request.all},
                                                        {"soft", &request.soft},
                                                        {"refresh", &request.refresh},
                                                        {"wait", &request.wait}};
    bool known = false;
    for (const auto& [name, to] : lists) {
      if (key != name) continue;
      known = true;
      if (std::string why = ReadTexts(key, value, *to); !why.empty()) return wrong(std::move(why));
    }
    for (const auto& [name, to] : flags) {
      if (key != name) continue;
      known = true;
      if (!value.is_boolean()) return wrong(key + ": write true or false");
      *to = value.get<bool>();
    }
    if (!known) return wrong("\"" + key + "\" is not known; write " + std::string(kKeys));
  }
  if (Names(request) == 0 && !request.all) {
    return wrong("names nothing to purge; write urls, tags, prefixes, rules, hosts or all");
  }
  if (Names(request) > kMaxNames) return wrong("names more than 5000 things; ask several times");
  return request;
}

Result<PurgeRequest> PurgeRequest::FromHead(const cache::RequestHead& head) {
  PurgeRequest request;
  request.tags = SplitTags(head.fields);
  bool url = request.tags.empty();
  for (const cache::HeaderMap::Field field : head.fields) {
    if (!cache::EqualsIgnoreCase(field.name, "Satchel-Purge")) continue;
    cache::ListReader reader(field.value);
    for (std::string_view word; reader.Next(word);) {
      if (word == "soft") {
        request.soft = true;
      } else if (word == "refresh") {
        request.refresh = true;
      } else if (word == "no-wait") {
        request.wait = false;
      } else if (word == "prefix") {
        request.prefixes.push_back(head.scheme + "://" + head.authority + head.target);
        url = false;
      } else if (word == "host") {
        request.hosts.push_back(head.authority);
        url = false;
      } else if (word == "all") {
        request.all = true;
        url = false;
      } else {
        return Fail(ErrorSource::kClient,
                    "Satchel-Purge: \"" + std::string(word) +
                        "\" is not known; write soft, refresh, no-wait, prefix, host or all");
      }
    }
  }
  if (url) request.urls.push_back(head.scheme + "://" + head.authority + head.target);
  if (Names(request) > kMaxNames) return Fail(ErrorSource::kClient, "names more than 5000 tags");
  return request;
}

bool PurgeRequest::AllowedBy(const rules::PurgeConfig::Grant& grant) const {
  return (urls.empty() || grant.url) && (tags.empty() || grant.tag) &&
         (prefixes.empty() || grant.prefix) && (rules.empty() || grant.rule) &&
         (hosts.empty() || grant.host) && (!all || grant.all);
}

std::string PurgeRequest::Describe() const {
  std::string out;
  if (all) out = "everything";
  DescribeList(out, "urls", urls);
  DescribeList(out, "tags", tags);
  DescribeList(out, "prefixes", prefixes);
  DescribeList(out, "rules", rules);
  DescribeList(out, "hosts", hosts);
  return out;
}

Result<PurgePlan> PlanOf(const PurgeRequest& request, const rules::RuleSet& rules) {
  PurgePlan plan;
  std::vector<PurgeRecord>& records = plan.order.records;
  plan.order.wait = request.wait;
  for (const std::string& url : request.urls) {
    const auto uri = cache::ParseHttpUri(url);
    if (!uri) {
      return Fail(ErrorSource::kClient, "\"" + url + "\" is no URL; write https://host/path");
    }
    // One that no rule matches is not stored either.
    if (AddUrl(rules, *uri, request.soft, records) && request.refresh) {
      plan.refresh.uris.push_back(*uri);
    }
  }
  const auto named = static_cast<std::ptrdiff_t>(records.size());
  for (const std::string& tag : request.tags) {
    records.push_back(PurgeRecord::Tag(tag, request.soft));
  }
  for (const std::string& prefix : request.prefixes) {
    if (prefix.find("://") == std::string::npos) {
      return Fail(ErrorSource::kClient,
                  "\"" + prefix + "\" is no beginning of a URL; write https://host/path");
    }
    AddPrefix(rules, prefix, request.soft, records);
  }
  for (const std::string& name : request.rules) {
    const auto& all = rules.rules();
    if (std::none_of(all.begin(), all.end(), [&](const auto& rule) { return rule.name == name; })) {
      return Fail(ErrorSource::kClient, "there is no rule \"" + name + "\"");
    }
    records.push_back(PurgeRecord::Rule(name, request.soft));
  }
  for (const std::string& host : request.hosts) {
    // Keys leave out the port that is the scheme's own.
    for (const std::string_view scheme : {"http", "https"}) {
      const auto authority = cache::NormalizeAuthority(host, scheme);
      if (!authority) return Fail(ErrorSource::kClient, "\"" + host + "\" is no host");
      const PurgeRecord record = PurgeRecord::Host(authority->Text(scheme), request.soft);
      if (std::find(records.begin(), records.end(), record) == records.end()) {
        records.push_back(record);
      }
    }
  }
  if (request.all) records.push_back(PurgeRecord::All(request.soft));
  if (request.refresh) plan.refresh.records.assign(records.begin() + named, records.end());
  return plan;
}

const rules::PurgeConfig::Grant* FindGrant(const rules::PurgeConfig& config,
                                           const std::optional<rules::IpAddress>& client,
                                           std::string_view authorization,
                                           const PurgeRequest& request) {
  constexpr std::string_view kScheme = "bearer ";
  std::string_view token;
  if (authorization.size() > kScheme.size() &&
      cache::EqualsIgnoreCase(authorization.substr(0, kScheme.size()), kScheme)) {
    token = cache::TrimOws(authorization.substr(kScheme.size()));
  }
  for (const rules::PurgeConfig::Grant& grant : config.allow) {
    if (!request.AllowedBy(grant)) continue;
    const bool near = grant.from.empty() ||
                      (client && std::any_of(grant.from.begin(), grant.from.end(),
                                             [&](const auto& from) { return from.Contains(*client); }));
    if (!near) continue;
    if (!grant.token.empty() && !ConstantTimeEquals(token, grant.token)) continue;
    return &grant;
  }
  return nullptr;
}

void LogPurge(const PurgeRequest& request, const PurgeAnswer& answer, std::string_view who) {
  std::string came;
  if (!answer.shared) came = ", here alone so far: " + answer.error;
  if (answer.waited) {
    came += ", " + std::to_string(answer.confirmed.size()) + " instance(s) confirmed, " +
            std::to_string(answer.silent.size()) + " silent";
  }
  OpsLog().info("purge {} by {}: {} purge of {}{}", answer.sequence, who,
                request.soft ? "soft" : "hard", request.Describe(), came);
}

PurgeReport Report(const PurgeRequest& request, const PurgeAnswer& answer) {
  nlohmann::ordered_json out;
  out["mode"] = request.soft ? "soft" : "hard";
  out["sequence"] = answer.sequence;
  out["shared"] = answer.shared;
  if (answer.waited) {
    out["confirmed"] = answer.confirmed;
    out["silent"] = answer.silent;
  }
  if (!answer.error.empty()) out["error"] = answer.error;
  return {answer.shared ? 200 : 202,
          out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
}

}  // namespace satchel::proxy
