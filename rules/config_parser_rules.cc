// defaults, rules, match.
#include <algorithm>

#include "cache/http/message.h"
#include "rules/config_parser_blocks.h"
#include "rules/glob.h"

namespace satchel::rules {
namespace {

void ParseTimeouts(const Cursor& cursor, Timeouts* timeouts) {
  MapReader map(cursor, "timeouts");
  map.Duration("connect", &timeouts->connect);
  map.Duration("first_byte", &timeouts->first_byte);
  map.Duration("idle", &timeouts->idle);
  map.Duration("total", &timeouts->total);
  map.Finish();
}

bool CheckGlob(const Cursor& cursor, const std::string& pattern, Glob::Kind kind) {
  const auto glob = Glob::Compile(pattern, kind);
  if (!glob) cursor.Error("\"" + pattern + "\" " + glob.error());
  return glob.has_value();
}

void ParsePatterns(MapReader& map, std::string_view key, Glob::Kind kind,
                   std::vector<std::string>* to) {
  const auto value = map.Take(key);
  if (!value) return;
  auto texts = value->Texts();
  if (!texts) return;
  if (texts->empty()) value->Error("is an empty list, which never matches; remove the key");
  for (const std::string& text : *texts) CheckGlob(*value, text, kind);
  *to = std::move(*texts);
}

void ParseMethods(MapReader& map, std::vector<std::string>* to) {
  const auto value = map.Take("method");
  if (!value) return;
  auto texts = value->Texts();
  if (!texts) return;
  if (texts->empty()) value->Error("is an empty list, which never matches; remove the key");
  for (const std::string& text : *texts) {
    std::string upper = text;
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    if (!CheckToken(*value, text, "a method")) continue;
    if (upper != text && cache::ParseMethod(upper) != cache::Method::kOther) {
      value->Error("\"" + text + "\" is not a method: letter case counts; write " + upper);
    }
  }
  *to = std::move(*texts);
}

// A name, a list of names (all must be present), or a map from names to one or more values.
void ParseConditions(MapReader& map, std::string_view key, bool tokens,
                     std::vector<FieldCondition>* to) {
  const auto value = map.Take(key);
  if (!value) return;
  if (!value->IsMap()) {
    auto names = value->Texts();
    if (!names) return;
    for (std::string& name : *names) {
      if (tokens) CheckToken(*value, name, "a name");
      to->push_back({std::move(name), {}});
    }
    return;
  }
  MapReader conditions(*value, "a map of conditions");
  for (const auto& [name, condition] : conditions.All()) {
    if (tokens) CheckToken(condition, name, "a name");
    auto values = condition.Texts();
    if (!values) continue;
    if (values->empty()) {
      condition.Error("is an empty list, which never matches; write \"*\" for any value");
    }
    for (const std::string& text : *values) CheckGlob(condition, text, Glob::Kind::kValue);
    if (*values == std::vector<std::string>{"*"}) values->clear();  // any value: it is present
    to->push_back({name, std::move(*values)});
  }
}

bool IsFramingField(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "Connection", "Content-Length",    "Expect", "Host", "Keep-Alive", "Proxy-Connection", "TE",
      "Trailer",    "Transfer-Encoding", "Upgrade"};
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view own) { return cache::EqualsIgnoreCase(own, name); });
}

void ParseHeaderEdits(const Cursor& cursor, HeaderEdits* edits) {
  MapReader map(cursor, "header edits");
  const auto check_name = [](const Cursor& at, const std::string& name) {
    if (CheckToken(at, name, "a field name") && IsFramingField(name)) {
      at.Error(name + " belongs to the connection and can't be edited; remove it");
    }
  };
  if (const auto set = map.Take("set")) {
    MapReader fields(*set, "a map of header fields");
    for (const auto& [name, value] : fields.All()) {
      check_name(value, name);
      const auto text = value.Scalar("a text");
      if (!text) continue;
      CheckFieldValue(value, text->text);
      edits->set.emplace_back(name, text->text);
    }
  }
  if (const auto remove = map.Take("remove")) {
    auto names = remove->Texts();
    if (names) {
      for (const std::string& name : *names) check_name(*remove, name);
      edits->remove = std::move(*names);
    }
  }
  map.Finish();
}

void ParseRewrite(const Cursor& cursor, const MatchSpec& match, std::string* rewrite) {
  auto text = cursor.Text();
  if (!text) return;
  if (!text->starts_with('/')) {
    cursor.Error("\"" + *text + "\" does not begin with /; write /" + *text);
    return;
  }
  for (const char c : *text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '?' || c == '#') {
      cursor.Error("holds a character that a path can't hold; percent-encode it (the query stays)");
      return;
    }
  }
  for (size_t at = 0; (at = text->find('{', at)) != std::string::npos;) {
    const size_t close = text->find('}', at);
    if (close == std::string::npos) {
      cursor.Error("has { without }; write {name} as in match.path");
      return;
    }
    const std::string name = text->substr(at + 1, close - at - 1);
    bool captured = !match.paths.empty();
    for (const std::string& path : match.paths) {
      const auto glob = Glob::Compile(path, Glob::Kind::kPath);
      if (!glob) return;  // reported where it stands
      const auto& names = glob->capture_names();
      captured = captured && std::find(names.begin(), names.end(), name) != names.end();
    }
    if (!captured) {
      cursor.Error("{" + name + "} is not captured by every match.path; write {" + name +
                   "} there too");
    }
    at = close + 1;
  }
  *rewrite = std::move(*text);
}

}  // namespace

bool CheckName(const Cursor& cursor, const std::string& name) {
  const bool good =
      !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
      });
  if (!good) cursor.Error("\"" + name + "\" is not a name; write 1 to 64 of A-Z a-z 0-9 . _ -");
  return good;
}

bool CheckToken(const Cursor& cursor, const std::string& text, std::string_view what) {
  if (cache::IsToken(text)) return true;
  cursor.Error("\"" + text + "\" is not " + std::string(what) +
               "; write letters, digits and hyphens only");
  return false;
}

bool CheckFieldValue(const Cursor& cursor, const std::string& text) {
  const bool good = std::none_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
  if (!good) cursor.Error("holds a control character or a line break; write one line");
  return good;
}

void ParseMatch(const Cursor& cursor, MatchSpec* match) {
  MapReader map(cursor, "match conditions");
  ParsePatterns(map, "host", Glob::Kind::kHost, &match->hosts);
  ParsePatterns(map, "path", Glob::Kind::kPath, &match->paths);
  ParseMethods(map, &match->methods);
  ParseConditions(map, "header", true, &match->headers);
  ParseConditions(map, "query", false, &match->queries);
  ParseConditions(map, "cookie", true, &match->cookies);
  map.Finish();
}

void ParseDefaults(const Cursor& cursor, RuleDefaults* defaults) {
  MapReader map(cursor, "the defaults");
  if (const auto cache = map.Take("cache")) ParseCache(*cache, defaults);
  if (const auto timeouts = map.Take("timeouts")) ParseTimeouts(*timeouts, &defaults->timeouts);
  map.Finish();
}

void ParseRule(const Cursor& cursor, const RuleDefaults& defaults, Config* config) {
  MapReader map(cursor, "a rule");
  Rule rule;
  rule.index = static_cast<uint32_t>(config->rules.size());
  rule.file = cursor.file();
  rule.line = cursor.node().line;
  RuleDefaults own = defaults;
  if (const auto name = map.Require("name", "name: pages")) {
    if (auto text = name->Text()) {
      rule.name = std::move(*text);
      CheckName(*name, rule.name);
      const auto other = std::find_if(config->rules.begin(), config->rules.end(),
                                      [&](const Rule& r) { return r.name == rule.name; });
      if (other != config->rules.end()) {
        name->Error("\"" + rule.name + "\" names the rule in line " + std::to_string(other->line) +
                    " already; name them apart");
      }
    }
  }
  if (const auto match = map.Take("match")) ParseMatch(*match, &rule.match);
  const auto& upstreams = config->upstreams;
  if (const auto upstream = map.Take("upstream")) {
    if (auto text = upstream->Text()) {
      rule.upstream = std::move(*text);
      const auto found = std::find_if(upstreams.begin(), upstreams.end(),
                                      [&](const Upstream& u) { return u.name == rule.upstream; });
      if (found != upstreams.end()) {
        rule.upstream_index = static_cast<uint32_t>(found - upstreams.begin());
      } else {
        std::vector<std::string_view> names;
        for (const Upstream& u : upstreams) names.push_back(u.name);
        const std::string_view near = Nearest(rule.upstream, names);
        upstream->Error("\"" + rule.upstream + "\" is not an upstream; " +
                        (near.empty() ? names.empty() ? std::string("add it to upstreams")
                                                      : "write " + OneOf(names)
                                      : "did you mean " + std::string(near) + "?"));
      }
    }
  } else if (map.ok() && upstreams.size() == 1) {
    rule.upstream = upstreams[0].name;
  } else if (map.ok() && upstreams.size() > 1) {
    map.Require("upstream", "upstream: " + upstreams[0].name + " (there are several)");
  }
  if (const auto timeouts = map.Take("timeouts")) ParseTimeouts(*timeouts, &own.timeouts);
  if (const auto cache = map.Take("cache")) {
    ParseCache(*cache, &own);
    const auto& methods = rule.match.methods;
    const bool reads = std::any_of(methods.begin(), methods.end(), [](const std::string& method) {
      return method == "GET" || method == "HEAD";
    });
    const bool bodies = std::any_of(methods.begin(), methods.end(), [](const std::string& method) {
      return method == "QUERY" || method == "POST";
    });
    if (own.cache.enabled && !methods.empty() && !reads && !(bodies && own.key.body_max > 0)) {
      cache->Warn(
          bodies ? "has no effect: a POST or QUERY is cached with its body only; write cache: "
                   "{key: {body: {max: 16KiB}}}, or cache: false"
                 : "has no effect: match.method names neither GET nor HEAD; write cache: false");
    }
    if (own.cache.enabled && own.key.body_max > defaults.key.body_max && !bodies) {
      cache->Error(
          "key.body needs a match.method that names QUERY or POST, which then are reads; write "
          "match: {method: [QUERY]}");
    }
  }
  if (const auto edits = map.Take("request_headers")) {
    ParseHeaderEdits(*edits, &rule.request_headers);
  }
  if (const auto edits = map.Take("response_headers")) {
    ParseHeaderEdits(*edits, &rule.response_headers);
  }
  if (const auto rewrite = map.Take("rewrite")) ParseRewrite(*rewrite, rule.match, &rule.rewrite);
  if (const auto upgrade = map.Take("upgrade")) {
    if (auto protocols = upgrade->Texts()) {
      for (std::string& protocol : *protocols) {
        for (char& c : protocol) c = cache::ToLowerAscii(c);
        if (CheckToken(*upgrade, protocol, "a protocol") && protocol.starts_with("h2")) {
          upgrade->Error("\"" + protocol + "\" is never forwarded; write [websocket]");
        }
      }
      rule.upgrade = std::move(*protocols);
    }
  }
  CheckCaptures(cursor, rule.match, own.tags);
  if (const auto success = map.Take("on_success")) {
    ParseOnSuccess(*success, rule.match, &rule.on_success);
  }
  map.Number("version", &own.key.version, 1, 1'000'000'000);
  map.Finish();
  rule.cache = std::move(own.cache);
  rule.key = std::move(own.key);
  rule.client_cache_control = std::move(own.client_cache_control);
  rule.tags = std::move(own.tags);
  rule.tags_from_json = std::move(own.tags_from_json);
  rule.timeouts = own.timeouts;
  config->rules.push_back(std::move(rule));
}

}  // namespace satchel::rules
