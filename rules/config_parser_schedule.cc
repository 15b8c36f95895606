// purge.schedule, and times.
#include <algorithm>
#include <utility>

#include "cache/http/uri.h"
#include "rules/config_parser_blocks.h"

namespace satchel::rules {
namespace {

constexpr size_t kMaxTimes = 32;
constexpr size_t kMaxNames = 1000;

// The texts under one key, if none is too many or not what `good` takes.
template <typename Good>
void TakeTexts(MapReader& map, std::string_view key, std::vector<std::string>* to,
               const std::string& instead, Good good) {
  const auto value = map.Take(key);
  const auto texts = value ? value->Texts() : std::nullopt;
  if (!texts) return;
  if (texts->size() > kMaxNames) value->Error("has more than 1000 entries; write fewer");
  for (const std::string& text : *texts) {
    if (!good(text)) value->Error("\"" + text + "\" " + instead);
  }
  *to = *texts;
}

}  // namespace

void ParseTimes(const Cursor& cursor, std::vector<Cron>* to, bool* at_startup) {
  const auto texts = cursor.Texts();
  if (!texts) return;
  if (texts->empty()) cursor.Error("is empty; write at least one time, as in \"0 3 * * *\"");
  if (texts->size() > kMaxTimes) {
    cursor.Error("has more than 32 times; write fewer");
    return;
  }
  for (const std::string& text : *texts) {
    if (at_startup != nullptr && text == "startup") {
      *at_startup = true;
      continue;
    }
    auto cron = Cron::Parse(text);
    if (cron) {
      to->push_back(std::move(*cron));
    } else {
      cursor.Error("\"" + text + "\" " + cron.error());
    }
  }
}

void ParseScheduledPurge(const Cursor& cursor, Config* config) {
  std::vector<PurgeConfig::Scheduled>& schedule = config->purge.schedule;
  MapReader map(cursor, "a scheduled purge");
  if (!map.ok()) return;
  PurgeConfig::Scheduled entry;
  if (const auto name = map.Require("name", "name: nightly")) {
    if (auto text = name->Text()) {
      entry.name = std::move(*text);
      CheckName(*name, entry.name);
      if (std::ranges::any_of(schedule, [&](const auto& other) { return other.name == entry.name; })) {
        name->Error("\"" + entry.name + "\" names another scheduled purge already; name them apart");
      }
    }
  }
  if (const auto at = map.Require("at", "at: \"0 3 * * *\"")) ParseTimes(*at, &entry.at);
  TakeTexts(map, "urls", &entry.urls, "is no URL; write https://host/path",
            [](const std::string& text) { return cache::ParseHttpUri(text).has_value(); });
  TakeTexts(map, "tags", &entry.tags, "is no tag; write a text that is not empty",
            [](const std::string& text) { return !text.empty(); });
  TakeTexts(map, "prefixes", &entry.prefixes, "is no beginning of a URL; write https://host/path",
            [](const std::string& text) {
              return text.starts_with("http://") || text.starts_with("https://");
            });
  const auto& rules = config->rules;
  TakeTexts(map, "rules", &entry.rules, "names no rule; write the name of one",
            [&](const std::string& text) {
              if (rules.empty()) return text == "default";  // the implicit one
              return std::ranges::any_of(rules, [&](const Rule& rule) { return rule.name == text; });
            });
  TakeTexts(map, "hosts", &entry.hosts, "is no host; write shop.example or shop.example:8080",
            [](const std::string& text) {
              return cache::NormalizeAuthority(text, "http").has_value();
            });
  map.Bool("all", &entry.all);
  map.Word("mode", &entry.soft, {{"hard", false}, {"soft", true}});
  map.Bool("refresh", &entry.refresh);
  map.Finish();
  const bool names_something = std::ranges::any_of(
      std::initializer_list<std::string_view>{"urls", "tags", "prefixes", "rules", "hosts"},
      [&](std::string_view key) { return map.Has(key); });
  if (!names_something && !entry.all) {
    cursor.Error("purges nothing; write urls, tags, prefixes, rules, hosts, or all: true");
  } else if (entry.refresh && entry.urls.empty()) {
    cursor.Error("refresh is of urls, and there are none; name them, or leave refresh out");
  }
  schedule.push_back(std::move(entry));
}

}  // namespace satchel::rules
