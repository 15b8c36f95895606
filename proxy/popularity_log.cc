#include "proxy/popularity_log.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>
#include <utility>

#include "proxy/redis/lua/popularity.lua.h"
#include "proxy/redis/resp.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kDeadlineMs = 1000;

const redis::Script& TellScript() {
  static const redis::Script script(redis::lua::kPopularity);
  return script;
}

double ScoreOf(std::string_view text) {
  double score = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), score);
  return error == std::errc() && end == text.data() + text.size() && score > 0 ? score : 0;
}

}  // namespace

struct PopularityLog::Reading {
  size_t most = 0;
  Done done;
  size_t open = 0;
  std::unordered_map<std::string, double> scores;
  std::array<redis::PendingReply, 2> asking;
};

PopularityLog::PopularityLog(net::EventLoop& loop, redis::Commander& commander, std::string prefix,
                             Popularity& popularity, Clock clock)
    : loop_(loop),
      commander_(commander),
      prefix_(std::move(prefix)),
      popularity_(popularity),
      clock_(std::move(clock)),
      timer_([this] {
        loop_.SetTimer(timer_, kTellMs);
        TellNow();
      }) {
  commander_.AddScript(TellScript());
}

int64_t PopularityLog::Hour() const {
  return std::chrono::floor<std::chrono::hours>(clock_()).time_since_epoch().count();
}

std::string PopularityLog::KeyOf(int64_t hour) const {
  return prefix_ + ":pop:" + std::to_string(hour);
}

void PopularityLog::Enable(bool on) {
  if (!on) {
    timer_.Cancel();
  } else if (!timer_.armed()) {
    loop_.SetTimer(timer_, kTellMs);
  }
}

void PopularityLog::TellNow() {
  if (pending_.waiting()) return;
  telling_ = popularity_.Take(kMostTold);
  if (telling_.empty()) return;
  redis::ScriptArguments arguments;
  arguments.Key(KeyOf(Hour())).Arg(kLifeMs).Arg(static_cast<int64_t>(kMostKept));
  for (const Popularity::Count& one : telling_) {
    arguments.Arg(static_cast<int64_t>(one.count)).Arg(one.name);
  }
  pending_ = commander_.CallScript(TellScript(), std::move(arguments), kDeadlineMs,
                                   [this](const cache::Result<redis::Reply>& reply) {
                                     const auto finished = std::move(pending_);
                                     const auto told = std::exchange(telling_, {});
                                     if (reply) {
                                       counters_.told += told.size();
                                       return;
                                     }
                                     ++counters_.failed;
                                     for (const auto& one : told) popularity_.Add(one.name, one.count);
                                   });
}

void PopularityLog::Read(size_t most, Done done) {
  const auto reading = std::make_shared<Reading>();
  reading->most = std::min(most, kMostRead);
  reading->done = std::move(done);
  reading->open = reading->asking.size();
  readings_.push_back(reading);
  for (size_t i = 0; i < reading->asking.size(); ++i) {
    const std::string key = KeyOf(Hour() - static_cast<int64_t>(i));
    redis::Command command;
    command.Arg("ZRANGE").Arg(key).Arg(-static_cast<int64_t>(reading->most)).Arg("-1").Arg("WITHSCORES");
    reading->asking[i] = commander_.Call(
        key, std::move(command), kDeadlineMs,
        [this, weak = std::weak_ptr(reading)](const cache::Result<redis::Reply>& reply) {
          const auto open = weak.lock();
          if (open == nullptr) return;
          if (!reply) ++counters_.failed;
          if (reply) {
            for (size_t at = 0; at + 1 < reply->items.size(); at += 2) {
              open->scores[reply->items[at].text] += ScoreOf(reply->items[at + 1].text);
            }
          }
          if (--open->open == 0) Finish(open);
        });
  }
}

void PopularityLog::Finish(const std::shared_ptr<Reading>& reading) {
  std::erase(readings_, reading);
  struct Ranked {
    double score;
    const std::string* name;
  };
  std::vector<Ranked> ranked;
  for (const auto& [name, score] : reading->scores) ranked.push_back({score, &name});
  std::ranges::sort(ranked, [](const Ranked& a, const Ranked& b) {
    return a.score != b.score ? a.score > b.score : *a.name < *b.name;
  });
  std::vector<WarmRequest> requests;
  for (const Ranked& one : ranked) {
    if (requests.size() >= reading->most) break;
    if (auto request = WarmRequest::FromText(*one.name)) {
      requests.push_back(std::move(*request));
    } else {
      ++counters_.bad_recipes;
    }
  }
  reading->done(std::move(requests));
}

}  // namespace satchel::proxy
