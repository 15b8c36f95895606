#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/limit_request.h"

namespace satchel::proxy {

// Equal questions of one turn of the loop: one call to Redis. The requests are a list in the order
// of their places; one that goes away leaves it.
struct LimitRequest::Batch {
  std::vector<LimitCheck> checks;
  uint64_t hash = 0;
  LimitRequest* first = nullptr;
  LimitRequest* last = nullptr;
  int64_t count = 0;  // calls asked for, without those taken ahead
  int64_t ahead = 0;
  int64_t sent_us = 0;
  std::string token;                   // of the slots it takes; empty: none
  std::vector<std::string> slot_keys;  // where it takes them

  void Append(LimitRequest& request) {
    request.before_ = last;
    request.after_ = nullptr;
    (last != nullptr ? last->after_ : first) = &request;
    last = &request;
  }
  void Remove(LimitRequest& request) {
    (request.before_ != nullptr ? request.before_->after_ : first) = request.after_;
    (request.after_ != nullptr ? request.after_->before_ : last) = request.before_;
    request.before_ = request.after_ = nullptr;
  }
};

}  // namespace satchel::proxy
