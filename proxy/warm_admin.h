#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "proxy/admin_listener.h"
#include "proxy/warmer.h"

namespace satchel::proxy {

// Warming as operators ask for it. Main thread; never waits.
//   POST /warm       {"urls": [...], "headers": {"Accept-Language": ["en", "de"]}, "all_variants": true,
//                     "entries": [...], "rules": [...], "rate": 20, "concurrency": 4}: begins a run and
//                    answers 202 with {"id": N}; 429 while there are too many
//   GET  /warm       the runs under way and the latest that are over
//   GET  /warm?id=N  one of them; 404 once it is forgotten
class WarmAdmin {
 public:
  static constexpr size_t kMaxUrls = 10'000;

  explicit WarmAdmin(Warmer& warmer) : warmer_(warmer) {}

  static bool Knows(std::string_view path) { return path == "/warm"; }
  AdminReply Handle(const AdminRequest& request);

  // What a body asks for. The error says what is wrong with it. Pure.
  static cache::Result<Warmer::Order> OrderOf(std::string_view json);

 private:
  AdminReply Show(const AdminRequest& request) const;

  Warmer& warmer_;
};

}  // namespace satchel::proxy
