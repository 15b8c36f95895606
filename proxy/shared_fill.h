#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cache/base/result.h"
#include "cache/cache_key.h"
#include "cache/http/message.h"
#include "cache/remote_store.h"
#include "proxy/net/timer_wheel.h"
#include "proxy/redis/announcements.h"
#include "proxy/redis/fleet_lock.h"
#include "rules/rule.h"

namespace satchel::proxy {

class Worker;

// What a leader does before it asks the origin: it looks into the shared tier, and where other
// instances may want the same it takes its turn among them. One of them fetches; the others wait
// until it says how that went, look again, and become its heir if it says nothing. Whoever was let
// down twice, by words that do not come or by responses that are not there, waits no more: that
// shared tier is in trouble. Owner thread only; held by its task.
class SharedFill {
 public:
  enum class Go : uint8_t {
    kFetch,   // the origin, please
    kAlone,   // so may everybody: the answer is nobody else's
    kGiveUp,  // waited long enough for somebody else's refresh
  };
  struct Job {
    const cache::CacheKey* key = nullptr;
    const cache::RequestHead* head = nullptr;
    const rules::Rule* rule = nullptr;
    cache::Millis expected{0};  // of the fetch; 0: not known
    bool takes_turns = true;    // false: the request wants an answer of its own
    bool background = false;
  };
  struct Hooks {
    // Found in the shared tier. False: of no use, go on as if nothing were there. True: it calls
    // End() itself.
    std::function<bool(cache::StoredPtr)> use;
    // Nothing of its own, but what answers for it too (No-Vary-Search). The same holds.
    std::function<bool(const cache::RemoteStore::Equivalent&)> use_equivalent;
    // Once, unless something was used; the last thing done. Never before Start() has returned.
    std::function<void(Go)> go;
  };

  // What `job` points to must outlive this.
  SharedFill(Worker& worker, Job job, Hooks hooks);
  ~SharedFill();

  // False: there is nothing to ask, and no function will be called.
  bool Start();
  // It was asked, and had nothing.
  bool found_nothing() const { return found_nothing_; }
  // The origin gives signs of life.
  void Progress();
  // How it ended; to be told after the response was handed to the shared tier.
  void Conclude(redis::FleetLock::News news);
  // Who holds it concludes: for what is known only later. Null if none was taken.
  std::shared_ptr<redis::FleetLock::Turn> GiveTurn() { return std::move(turn_); }
  // No function is called any more, and what is held and was not concluded is given back.
  void End();

 private:
  void Look();
  void OnLooked(const cache::Result<cache::StoredPtr>& found);
  void GoOn(bool answered);
  bool LookForEquivalent();
  void Try();
  void Settle();
  void Wait();
  void AskHolder();
  void SetTimer(int64_t ms);
  void OnNews(redis::FleetLock::News news);
  void OnTimer();
  int64_t WaitLeftMs() const;  // INT64_MAX: no bound
  void FinishWaiting();
  void Finish(Go go);
  void Stop();

  using Outcome = redis::FleetLock::Outcome;

  Worker& worker_;
  const Job job_;
  const Hooks hooks_;
  std::unique_ptr<cache::RemoteStore::Pending> looking_;
  int64_t look_started_ns_ = 0;
  std::shared_ptr<redis::FleetLock::Turn> turn_;  // null: none is taken
  std::unique_ptr<redis::Announcements::Listening> listening_;
  bool trying_ = false;  // look and lock are asked for together
  bool looked_ = false;
  bool answered_ = false;
  Outcome outcome_ = Outcome::kUnknown;
  bool news_came_ = false;  // while it was trying
  bool waited_ = false;     // for another instance
  bool let_down_ = false;   // by the holder, and it is not counted yet
  int let_downs_ = 0;
  bool ended_ = false;
  bool found_nothing_ = false;
  bool searched_ = false;  // for an equivalent
  int64_t wait_until_ms_ = 0;  // 0: no bound
  int64_t wait_started_ns_ = 0;
  net::Timer timer_;
};

}  // namespace satchel::proxy
