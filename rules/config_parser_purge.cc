// tags, on_success, purge.
#include <algorithm>

#include "rules/config_parser_blocks.h"
#include "rules/glob.h"

namespace satchel::rules {
namespace {

constexpr size_t kMaxTemplates = 64;
constexpr size_t kMaxEvents = 1000;
constexpr size_t kMaxScheduled = 100;
constexpr Millis kMaxAck = std::chrono::seconds(4);  // the admin listener answers within five

void ParseMay(const Cursor& cursor, PurgeConfig::Grant* grant) {
  const auto words = cursor.Texts();
  if (!words) return;
  grant->url = grant->tag = grant->prefix = grant->rule = grant->host = grant->all = false;
  const std::pair<std::string_view, bool*> kinds[] = {
      {"url", &grant->url},   {"tag", &grant->tag},   {"prefix", &grant->prefix},
      {"rule", &grant->rule}, {"host", &grant->host}, {"all", &grant->all}};
  std::vector<std::string_view> names;
  for (const auto& [name, allowed] : kinds) names.push_back(name);
  for (const std::string& word : *words) {
    bool known = false;
    for (const auto& [name, allowed] : kinds) {
      if (word == name) *allowed = known = true;
    }
    if (!known) cursor.Error("\"" + word + "\" is nothing to purge; write " + OneOf(names));
  }
}

void ParseGrant(const Cursor& cursor, PurgeConfig* purge) {
  MapReader map(cursor, "a permission");
  PurgeConfig::Grant grant;
  if (const auto from = map.Take("from")) {
    if (const auto texts = from->Texts()) {
      for (const std::string& text : *texts) {
        if (const auto prefix = ParseIpPrefix(text)) {
          grant.from.push_back(*prefix);
        } else {
          from->Error("\"" + text + "\" is no address; write 10.0.0.0/8, 127.0.0.1 or fd00::/8");
        }
      }
    }
  }
  map.Text("token", &grant.token);
  if (const auto may = map.Take("may")) ParseMay(*may, &grant);
  map.Finish();
  if (map.ok() && !map.Has("from") && !map.Has("token")) {
    cursor.Error("allows everybody; write from: [127.0.0.1/32], a token, or both");
  }
  purge->allow.push_back(std::move(grant));
}

}  // namespace

void ParseTagTemplates(const Cursor& cursor, std::vector<TagTemplate>* to) {
  const auto texts = cursor.Texts();
  if (!texts) return;
  to->clear();
  if (texts->size() > kMaxTemplates) {
    cursor.Error("has more than " + std::to_string(kMaxTemplates) + " entries; write fewer");
    return;
  }
  for (const std::string& text : *texts) {
    auto made = TagTemplate::Compile(text);
    if (made) {
      to->push_back(std::move(*made));
    } else {
      cursor.Error("\"" + text + "\" " + made.error());
    }
  }
}

void ParsePointers(const Cursor& cursor, std::vector<std::string>* to) {
  auto texts = cursor.Texts();
  if (!texts) return;
  for (const std::string& text : *texts) {
    if (text.find('/') == std::string::npos) {
      cursor.Error("\"" + text + "\" has no JSON pointer; write /" + text +
                   " (\"*\" stands for every member)");
    }
  }
  if (texts->size() > kMaxTemplates) {
    cursor.Error("has more than " + std::to_string(kMaxTemplates) + " entries; write fewer");
  }
  *to = std::move(*texts);
}

void CheckCaptures(const Cursor& cursor, const MatchSpec& match,
                   const std::vector<TagTemplate>& templates) {
  for (const TagTemplate& tag : templates) {
    for (const TagTemplate::Part& part : tag.parts()) {
      if (part.source != TagTemplate::Source::kCapture) continue;
      bool captured = !match.paths.empty();
      for (const std::string& path : match.paths) {
        const auto glob = Glob::Compile(path, Glob::Kind::kPath);
        if (!glob) return;  // reported where it stands
        const auto& names = glob->capture_names();
        captured = captured && std::find(names.begin(), names.end(), part.text) != names.end();
      }
      if (!captured) {
        cursor.Error("\"" + tag.text() + "\": {" + part.text +
                     "} is not captured by every match.path; write {" + part.text + "} there too");
      }
    }
  }
}

void ParseOnSuccess(const Cursor& cursor, const MatchSpec& match, OnSuccess* on_success) {
  MapReader map(cursor, "what to do on success");
  if (const auto tags = map.Take("purge_tags")) {
    ParseTagTemplates(*tags, &on_success->purge_tags);
    CheckCaptures(*tags, match, on_success->purge_tags);
  }
  if (const auto urls = map.Take("purge_urls")) {
    ParseTagTemplates(*urls, &on_success->purge_urls);
    CheckCaptures(*urls, match, on_success->purge_urls);
    for (const TagTemplate& url : on_success->purge_urls) {
      const std::string& text = url.text();
      if (!text.starts_with('/') && !text.starts_with("http://") && !text.starts_with("https://")) {
        urls->Error("\"" + text + "\" is no URL; write /path, or http://host/path");
      }
    }
  }
  map.Word("mode", &on_success->soft, {{"soft", true}, {"hard", false}});
  map.Bool("refresh", &on_success->refresh);
  map.Finish();
  if (map.ok() && !map.Has("purge_tags") && !map.Has("purge_urls")) {
    cursor.Error("does nothing; write purge_tags: [\"product:{id}\"] or purge_urls");
  }
}

void ParsePurge(const Cursor& cursor, Config* config) {
  PurgeConfig* const purge = &config->purge;
  MapReader map(cursor, "the purge settings");
  if (const auto allow = map.Take("allow")) {
    if (!allow->IsList()) {
      allow->Error("is no list; write [{from: [127.0.0.1/32]}]");
    } else {
      purge->allow.clear();
      for (size_t i = 0; i < allow->node().items.size(); ++i) ParseGrant(allow->Item(i), purge);
    }
  }
  map.Text("channel", &purge->channel);
  if (const auto events = map.Take("events")) {
    MapReader entities(*events, "a map from entities to tags");
    for (const auto& [entity, tags] : entities.All()) {
      std::vector<TagTemplate> templates;
      ParseTagTemplates(tags, &templates);
      for (const TagTemplate& tag : templates) {
        for (const TagTemplate::Part& part : tag.parts()) {
          if (part.source == TagTemplate::Source::kLiteral ||
              part.source == TagTemplate::Source::kCapture) {
            continue;
          }
          tags.Error("\"" + tag.text() + "\" asks for what a message does not have; write {name} "
                     "for its member of that name");
        }
      }
      purge->events.emplace_back(entity, std::move(templates));
    }
    if (purge->events.size() > kMaxEvents) events->Error("has more than 1000 entities; write fewer");
  }
  if (const auto ack = map.Take("ack")) {
    if (const auto duration = ack->Duration()) {
      purge->ack = *duration;
      if (*duration > kMaxAck) ack->Error("is longer than 4s; write 4s or less");
    }
  }
  map.Number("refresh_rate", &purge->refresh_rate, 1, 100'000);
  if (const auto schedule = map.Take("schedule")) {
    if (!schedule->IsList()) {
      schedule->Error("is no list; write [{name: nightly, at: \"0 3 * * *\", tags: [a]}]");
    } else if (schedule->node().items.size() > kMaxScheduled) {
      schedule->Error("has more than 100 entries; write fewer");
    } else {
      for (size_t i = 0; i < schedule->node().items.size(); ++i) {
        ParseScheduledPurge(schedule->Item(i), config);
      }
    }
  }
  map.Finish();
  if (map.ok() && purge->channel.empty() && !purge->events.empty()) {
    cursor.Error("has events but no channel to hear them on; write channel: \"cache:invalidate\"");
  }
}

}  // namespace satchel::rules
