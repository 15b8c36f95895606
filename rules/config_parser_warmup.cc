// The warmup block.
#include <algorithm>
#include <utility>

#include "cache/http/uri.h"
#include "rules/config_parser_blocks.h"
#include "rules/warm_fields.h"

namespace satchel::rules {
namespace {

constexpr size_t kMaxUrls = 10'000;
constexpr size_t kMaxCombinations = 64;

bool IsUrl(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

void AddUrl(const std::string& text, WarmupConfig* entry, auto&& wrong) {
  if (!cache::ParseHttpUri(text)) {
    wrong("\"" + text + "\" is no URL; write https://host/path");
  } else if (entry->urls.size() == kMaxUrls) {
    wrong("is one URL too many; write at most 10000");
  } else if (entry->urls.size() < kMaxUrls) {
    entry->urls.push_back(text);
  }
}

// One URL a line; empty lines and what begins with "#" are passed over.
void ReadUrlFile(const Cursor& cursor, const std::string& name, WarmupConfig* entry) {
  const std::string path = JoinToFolderOf(cursor.file(), name);
  const auto text = cursor.loader().ReadFile(path, kMaxConfigBytes);
  if (!text) {
    cursor.Error("cannot read \"" + path + "\": " + text.error().message +
                 "; name a file of at most 1MiB that the process may read, or write https://host/path");
    return;
  }
  uint32_t line = 0;
  for (size_t at = 0; at < text->size();) {
    ++line;
    const size_t end = std::min(text->find('\n', at), text->size());
    std::string url = text->substr(at, end - at);
    at = end + 1;
    const size_t last = url.find_last_not_of(" \t\r");
    url.erase(last == std::string::npos ? 0 : last + 1);
    const size_t first = std::min(url.find_first_not_of(" \t"), url.size());
    if (first == url.size() || url[first] == '#') continue;
    url.erase(0, first);
    AddUrl(url, entry, [&](std::string what) {
      if (cursor.context().errors.size() >= ParseContext::kMaxDiagnostics) return;
      cursor.context().errors.push_back(
          {path, line, static_cast<uint32_t>(first) + 1, cursor.path(), std::move(what)});
    });
  }
}

void ParseUrls(const Cursor& cursor, WarmupConfig* entry) {
  const auto texts = cursor.Texts();
  if (!texts) return;
  const bool no_file = std::ranges::all_of(*texts, IsUrl);
  const size_t errors = cursor.context().errors.size();
  for (const std::string& text : *texts) {
    if (IsUrl(text)) {
      AddUrl(text, entry, [&](const std::string& what) { cursor.Error(what); });
    } else {
      ReadUrlFile(cursor, text, entry);
    }
  }
  if (entry->urls.empty() && cursor.context().errors.size() == errors) {
    cursor.Error(no_file ? "is empty; write [\"https://host/path\"], or a file of URLs"
                         : "names no URL; write one a line into the file");
  }
}

void ParseHeaders(const Cursor& cursor, WarmupConfig* entry) {
  MapReader map(cursor, "a map from fields to values");
  size_t combinations = 1;
  for (const auto& [name, values] : map.All()) {
    const auto texts = values.Texts();
    if (!CheckToken(values, name, "the name of a field") || !texts) continue;
    if (const auto why = WarmFieldMistake(name)) {
      values.Error("\"" + name + "\" " + *why);
      continue;
    }
    if (texts->empty()) values.Error("is empty; write at least one value");
    for (const std::string& text : *texts) CheckFieldValue(values, text);
    combinations *= std::max<size_t>(1, texts->size());
    entry->headers.emplace_back(name, *texts);
  }
  if (combinations > kMaxCombinations || entry->headers.size() > 8) {
    cursor.Error("makes more than 64 combinations, or names more than 8 fields; write fewer values");
    entry->headers.clear();
  }
}

}  // namespace

void ParseWarmup(const Cursor& cursor, Config* config) {
  MapReader map(cursor, "a warm-up");
  if (!map.ok()) return;
  WarmupConfig entry;
  if (const auto name = map.Require("name", "name: front")) {
    if (auto text = name->Text()) {
      entry.name = std::move(*text);
      CheckName(*name, entry.name);
      if (std::ranges::any_of(config->warmup,
                              [&](const auto& other) { return other.name == entry.name; })) {
        name->Error("\"" + entry.name + "\" names another warm-up already; name them apart");
      }
    }
  }
  if (const auto urls = map.Take("urls")) ParseUrls(*urls, &entry);
  map.Word("from", &entry.history, {{"history", true}});
  map.Number("top", &entry.top, 1, kMaxUrls);
  if (const auto headers = map.Take("headers")) ParseHeaders(*headers, &entry);
  map.Bool("all_variants", &entry.all_variants);
  if (const auto at = map.Require("at", "at: [startup, \"*/30 * * * *\"]")) ParseTimes(*at, &entry.at, &entry.at_startup);
  map.Number("concurrency", &entry.concurrency, 1, 256);
  if (const auto rate = map.Take("rate")) {
    if (const auto text = rate->Scalar("20/1s")) {
      const auto parsed = ParseRate(text->text);
      if (parsed) {
        entry.rate = *parsed;
      } else {
        rate->BadValue(*text, parsed.error());
      }
    }
  }
  map.Size("max_bytes", &entry.max_bytes, 1);
  map.Duration("max_time", &entry.max_time, Millis(1));
  map.Ratio("ready_at", &entry.ready_at);
  map.Duration("ready_timeout", &entry.ready_timeout);
  map.Finish();
  if (map.Has("urls") == map.Has("from")) {
    cursor.Error("names no requests, or both kinds; write either urls: [...] or from: history");
  } else if (entry.history) {
    if (!config->l2) {
      cursor.Error("from: history is kept in Redis, and there is none; write stores.l2.redis, or urls");
    }
    for (const char* key : {"headers", "all_variants"}) {
      if (map.Has(key)) {
        cursor.Error(std::string(key) + " goes with urls; the history knows its variants");
      }
    }
  } else if (map.Has("top")) {
    cursor.Error("top goes with from: history; leave it out");
  }
  if (entry.all_variants && !entry.headers.empty()) {
    cursor.Error("has both headers and all_variants; keep one of them");
  }
  if (!entry.at_startup && (map.Has("ready_at") || map.Has("ready_timeout"))) {
    cursor.Error("ready_at and ready_timeout go with at: startup; add that, or leave them out");
  }
  config->warmup.push_back(std::move(entry));
}

}  // namespace satchel::rules
