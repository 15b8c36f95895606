#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rules/config.h"
#include "rules/yaml_cursor.h"

namespace satchel::rules {

// The blocks of a configuration, one function each. They report every mistake they find and go on,
// so what they fill in counts only if the context has no errors at the end.

// What a rule starts from: `defaults:`.
struct RuleDefaults {
  cache::Overrides cache;
  cache::KeyRule key;
  std::optional<std::string> client_cache_control;
  std::vector<TagTemplate> tags;
  std::vector<std::string> tags_from_json;
  Timeouts timeouts;
};

// config_parser_listeners.cc
void ParseListener(const Cursor& cursor, Config* config);
void ParseAdmin(const Cursor& cursor, AdminConfig* admin);
void ParseLog(const Cursor& cursor, LogConfig* log);
void ParseShutdown(const Cursor& cursor, ShutdownConfig* shutdown);

// config_parser_upstreams.cc
void ParseUpstream(const std::string& name, const Cursor& cursor, Config* config);
void ParseStores(const Cursor& cursor, Config* config);
// Fills server, redis, user, password and database from redis:// or unix://. Nothing if it is
// good, else what is wrong and what to write instead (without quoting the URL).
std::optional<std::string> ParseRedisUrl(std::string_view url, L2Config* l2);

// config_parser_cache.cc
void ParseCache(const Cursor& cursor, RuleDefaults* to);

// config_parser_rules.cc
void ParseDefaults(const Cursor& cursor, RuleDefaults* defaults);
void ParseRule(const Cursor& cursor, const RuleDefaults& defaults, Config* config);
void ParseMatch(const Cursor& cursor, MatchSpec* match);

// config_parser_limits.cc
void ParsePlan(const std::string& name, const Cursor& cursor, Config* config);
void ParseRateLimit(const Cursor& cursor, Config* config);

// config_parser_purge.cc
void ParsePurge(const Cursor& cursor, Config* config);  // rules are known by now
void ParseOnSuccess(const Cursor& cursor, const MatchSpec& match, OnSuccess* on_success);
void ParseTagTemplates(const Cursor& cursor, std::vector<TagTemplate>* to);
void ParsePointers(const Cursor& cursor, std::vector<std::string>* to);
// Reports templates that name what not every match.path captures.
void CheckCaptures(const Cursor& cursor, const MatchSpec& match,
                   const std::vector<TagTemplate>& templates);

// config_parser_schedule.cc
void ParseScheduledPurge(const Cursor& cursor, Config* config);
// One cron time or several; where `at_startup` is not null "startup" may be one of them.
void ParseTimes(const Cursor& cursor, std::vector<Cron>* to, bool* at_startup = nullptr);

// config_parser_warmup.cc
void ParseWarmup(const Cursor& cursor, Config* config);  // stores are known by now

// Names of upstreams, rules, plans, policies, listeners: 1 to 64 of A-Z a-z 0-9 . _ -
bool CheckName(const Cursor& cursor, const std::string& name);
// A field name (RFC 9110 5.1), a cookie name (RFC 6265): a token.
bool CheckToken(const Cursor& cursor, const std::string& text, std::string_view what);
// A field value: no control characters but HTAB.
bool CheckFieldValue(const Cursor& cursor, const std::string& text);

}  // namespace satchel::rules
