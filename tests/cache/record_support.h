#pragma once

#include <string>
#include <string_view>

#include "cache/record_reader.h"
#include "cache/record_sealer.h"

// Records of the responses that memory_support.h makes.
namespace satchel::cache::testing {

inline constexpr std::string_view kKey = "http://origin.test/";

inline std::string Seal(const StoredPtr& response, const SealOptions& options = {}) {
  const auto record = SealRecord(response, options);
  return record ? record->value : std::string();
}

// The reason why a record is a miss, or "opened".
inline std::string WhyNot(std::string_view record, std::string_view key = kKey,
                          const OpenOptions& options = {}) {
  const Result<StoredPtr> opened = OpenRecord(record, key, options);
  return opened ? "opened" : opened.error().message;
}

}  // namespace satchel::cache::testing
