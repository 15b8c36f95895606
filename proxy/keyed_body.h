#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cache/cache_key.h"
#include "cache/http/message.h"
#include "proxy/metrics.h"

namespace satchel::proxy {

// The body of a request whose key it is part of: collected whole, digested, and kept for as long as
// somebody may have to send it to the origin. One thread. All bodies of a worker share one budget,
// counted in `held`, which must outlive them.
class KeyedBody {
 public:
  static constexpr uint64_t kBudget = uint64_t{64} << 20;  // bytes per worker

  KeyedBody(Counter& held, uint64_t max) : held_(held), max_(max) {}
  ~KeyedBody() { Subtract(held_, bytes_.size()); }
  KeyedBody(const KeyedBody&) = delete;
  KeyedBody& operator=(const KeyedBody&) = delete;

  // False, and nothing taken, if the body would be longer than `max` or the budget is used up.
  bool Append(std::string_view data);
  std::string_view bytes() const { return bytes_; }

  // `canonical_json`: by meaning, if the body is JSON by its Content-Type and by itself; else, and
  // in every other case, by its bytes.
  cache::BodyIdentity Identify(const cache::RequestHead& head, bool canonical_json) const;

 private:
  Counter& held_;
  const uint64_t max_;
  std::string bytes_;
};

}  // namespace satchel::proxy
