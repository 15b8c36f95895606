#pragma once

#include <gtest/gtest.h>

#include <utility>

#include "cache/store.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache::testing {

inline const Overrides kRules;

// One store and one key; leads, follows and looks up.
class FillTest : public ::testing::Test {
 protected:
  Store::Begun Begin(const RequestHead& request = Get(), Wake wake = nullptr,
                     const Overrides& rules = kRules) {
    return store.BeginFill(Key(), request, rules, At(0), std::move(wake));
  }
  FillPermit Lead(const RequestHead& request = Get()) {
    Store::Begun begun = Begin(request);
    EXPECT_EQ(begun.role, Store::Role::kLeader);
    return std::move(begun.permit);
  }
  FillReader Follow(Wake wake = nullptr, const RequestHead& request = Get()) {
    Store::Begun begun = Begin(request, std::move(wake));
    EXPECT_EQ(begun.role, Store::Role::kFollower);
    return std::move(begun.reader);
  }
  StoredPtr Stored(const RequestHead& request = Get()) {
    return store.Lookup(Key(), request, kRules).response;
  }

  Store store{{.capacity = size_t{8} << 20, .max_object = size_t{1} << 20, .shards = 4}};
};

}  // namespace satchel::cache::testing
