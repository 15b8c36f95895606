// purge and warmup, written out.
#include "rules/effective_writer.h"
#include "rules/units.h"

namespace satchel::rules {
namespace {

std::string Times(const std::vector<Cron>& times, bool at_startup = false) {
  std::vector<std::string> texts;
  if (at_startup) texts.emplace_back("startup");
  for (const Cron& time : times) texts.push_back(time.text());
  return List(texts);
}

}  // namespace

void WritePurge(const PurgeConfig& purge, Writer& out) {
  out.Line(0, "purge:");
  out.Line(1, "allow:");
  for (const PurgeConfig::Grant& grant : purge.allow) {
    std::vector<std::pair<std::string, std::string>> pairs;
    std::vector<std::string> from;
    for (const IpPrefix& prefix : grant.from) from.push_back(prefix.ToString());
    if (!from.empty()) pairs.emplace_back("from", List(from));
    if (!grant.token.empty()) pairs.emplace_back("token", kHidden);
    std::vector<std::string> may;
    for (const auto& [name, allowed] : {std::pair("url", grant.url), std::pair("tag", grant.tag),
                                        std::pair("prefix", grant.prefix),
                                        std::pair("rule", grant.rule),
                                        std::pair("host", grant.host), std::pair("all", grant.all)}) {
      if (allowed) may.emplace_back(name);
    }
    pairs.emplace_back("may", List(may));
    out.Line(2, "- " + Map(pairs));
  }
  if (!purge.channel.empty()) out.Key(1, "channel", Quote(purge.channel));
  std::vector<std::pair<std::string, std::string>> events;
  for (const auto& [entity, tags] : purge.events) events.emplace_back(Quote(entity), Templates(tags));
  if (!events.empty()) out.Key(1, "events", Map(events));
  out.Key(1, "ack", DurationText(purge.ack));
  out.Key(1, "refresh_rate", std::to_string(purge.refresh_rate));
  if (!purge.schedule.empty()) out.Line(1, "schedule:");
  for (const PurgeConfig::Scheduled& entry : purge.schedule) {
    std::vector<std::pair<std::string, std::string>> pairs = {{"name", Quote(entry.name)},
                                                              {"at", Times(entry.at)}};
    for (const auto& [key, texts] : {std::pair("urls", &entry.urls), std::pair("tags", &entry.tags),
                                     std::pair("prefixes", &entry.prefixes),
                                     std::pair("rules", &entry.rules),
                                     std::pair("hosts", &entry.hosts)}) {
      if (!texts->empty()) pairs.emplace_back(key, List(*texts));
    }
    if (entry.all) pairs.emplace_back("all", "true");
    pairs.emplace_back("mode", entry.soft ? "soft" : "hard");
    pairs.emplace_back("refresh", Bool(entry.refresh));
    out.Line(2, "- " + Map(pairs));
  }
}

void WriteWarmup(const std::vector<WarmupConfig>& warmup, Writer& out) {
  if (!warmup.empty()) out.Line(0, "warmup:");
  for (const WarmupConfig& entry : warmup) {
    out.Line(1, "- name: " + Quote(entry.name));
    if (entry.history) {
      out.Key(2, "from", "history");
      out.Key(2, "top", std::to_string(entry.top));
    } else {
      out.Key(2, "urls", List(entry.urls));
      if (!entry.headers.empty()) {
        std::vector<std::pair<std::string, std::string>> headers;
        for (const auto& [name, values] : entry.headers) headers.emplace_back(Quote(name), List(values));
        out.Key(2, "headers", Map(headers));
      } else {
        out.Key(2, "all_variants", Bool(entry.all_variants));
      }
    }
    out.Key(2, "at", Times(entry.at, entry.at_startup));
    out.Key(2, "concurrency", std::to_string(entry.concurrency));
    out.Key(2, "rate", std::to_string(entry.rate.first) + "/" +
                           DurationText(std::chrono::duration_cast<Millis>(entry.rate.second)));
    out.Key(2, "max_bytes", SizeText(entry.max_bytes));
    out.Key(2, "max_time", DurationText(entry.max_time));
    if (!entry.at_startup) continue;
    out.Key(2, "ready_at", RatioText(entry.ready_at));
    out.Key(2, "ready_timeout", DurationText(entry.ready_timeout));
  }
}

}  // namespace satchel::rules
