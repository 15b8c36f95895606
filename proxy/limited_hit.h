#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache/http/message.h"
#include "cache/reason.h"
#include "cache/stored_response.h"
#include "proxy/limit_request.h"
#include "proxy/snapshot.h"
#include "rules/rule.h"

namespace satchel::proxy {

// A fresh stored response that waits for the limiter: found while the limiter was being asked, sent
// when it allows.
struct LimitedHit {
  SnapshotPtr snapshot;
  const rules::Rule* rule = nullptr;
  cache::RequestHead head;
  cache::StoredPtr stored;
  cache::Reason reason = cache::Reason::kNone;
  std::string key_text;  // only where Cache-Status shows it
  uint64_t key_hash = 0;
  int64_t started_ns = 0;
  std::string client_ip;  // behind trusted proxies
  LimitRequest limits;
};

// Of one worker. Objects keep their memory.
class LimitedHitPool {
 public:
  std::unique_ptr<LimitedHit> Take() {
    if (free_.empty()) return std::make_unique<LimitedHit>();
    auto hit = std::move(free_.back());
    free_.pop_back();
    return hit;
  }
  void Return(std::unique_ptr<LimitedHit> hit) {
    hit->limits.Reset();
    hit->stored.reset();
    hit->snapshot.reset();
    hit->head.Clear();
    if (free_.size() < kMost) free_.push_back(std::move(hit));
  }

 private:
  static constexpr size_t kMost = 256;
  std::vector<std::unique_ptr<LimitedHit>> free_;
};

}  // namespace satchel::proxy
