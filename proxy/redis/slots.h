#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/redis/locator.h"
#include "proxy/redis/resp.h"

namespace satchel::redis {

inline constexpr uint16_t kSlotCount = 16384;

// CRC16 (XMODEM) of the hash tag, modulo 16384: as CLUSTER KEYSLOT says.
uint16_t SlotOf(std::string_view key);

struct SlotRange {
  uint16_t first = 0;
  uint16_t last = 0;  // included
  ServerAddress master{};
};

// The answer to CLUSTER SLOTS. A server that does not know its own host means the one that was
// asked. Bytes from outside: whatever does not fit is an error.
cache::Result<std::vector<SlotRange>> ReadSlots(const Reply& reply, std::string_view asked_host);

struct Redirect {
  enum class Kind : uint8_t { kMoved, kAsk };
  Kind kind = Kind::kMoved;
  uint16_t slot = 0;
  ServerAddress to{};
};

// "MOVED 3999 127.0.0.1:6381", "ASK 3999 ::1:6381", "MOVED 3999 :6381" (same host). Nothing if it
// is no redirect, or a bad one.
std::optional<Redirect> ReadRedirect(std::string_view error, std::string_view asked_host);

}  // namespace satchel::redis
