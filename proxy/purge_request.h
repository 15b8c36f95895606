#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/http/message.h"
#include "cache/http/uri.h"
#include "cache/purge_table.h"
#include "proxy/purge_order.h"
#include "rules/config.h"
#include "rules/rule_set.h"

namespace satchel::proxy {

// What somebody asks to be purged, by POST /purge, PURGE, or `satchel purge`.
struct PurgeRequest {
  static constexpr size_t kMaxNames = 5000;  // of all kinds together

  std::vector<std::string> urls;      // absolute
  std::vector<std::string> tags;
  std::vector<std::string> prefixes;  // of URLs, from the scheme on
  std::vector<std::string> rules;
  std::vector<std::string> hosts;     // with the port, where it is not the scheme's own
  bool all = false;
  bool soft = false;
  bool refresh = false;  // fetch again: the URLs, and what this instance holds of the rest
  bool wait = true;      // for the other instances, as long as purge.ack says

  // {"urls": [...], "tags": [...], "prefixes": [...], "rules": [...], "hosts": [...],
  //  "all": true, "soft": true, "refresh": true, "wait": false}; one text may stand for a list. The
  // error says what is wrong with it.
  static cache::Result<PurgeRequest> FromJson(std::string_view json);
  // PURGE: the URL itself, or the tags in Surrogate-Key, xkey or Cache-Tag; Satchel-Purge may list
  // soft, refresh, no-wait, and prefix or host instead of the URL alone, or all.
  static cache::Result<PurgeRequest> FromHead(const cache::RequestHead& head);

  // Does the grant cover all of it?
  bool AllowedBy(const rules::PurgeConfig::Grant& grant) const;
  // One line for the log.
  std::string Describe() const;
};

struct PurgePlan {
  PurgeOrder order;
  PurgeRefresh refresh;
};
// The error names the first thing that cannot be purged.
cache::Result<PurgePlan> PlanOf(const PurgeRequest& request, const rules::RuleSet& rules);

// The grant that lets this client purge this, or null.
const rules::PurgeConfig::Grant* FindGrant(const rules::PurgeConfig& config,
                                           const std::optional<rules::IpAddress>& client,
                                           std::string_view authorization,
                                           const PurgeRequest& request);

// Of POST /purge and PURGE. 200, or 202 where other instances will learn of it later.
struct PurgeReport {
  int status;
  std::string json;
};
// The audit line: who, what, and what came of it.
void LogPurge(const PurgeRequest& request, const PurgeAnswer& answer, std::string_view who);

PurgeReport Report(const PurgeRequest& request, const PurgeAnswer& answer);

}  // namespace satchel::proxy
