// What a stored object costs beyond its body, counted by the allocator itself. The sanitizers
// replace the allocator, so there is nothing to count under them.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <gtest/gtest.h>
#include <malloc.h>

#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

// Of the main thread's heap, headers and rounding of malloc included.
size_t AllocatedBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

struct Cost {
  double bytes = 0;    // beyond body, per object
  double charged = 0;  // as the store counts it
};

Cost CostPerObject(size_t objects, size_t body_size) {
  Store store({.capacity = size_t{1} << 30});
  const std::string body(body_size, 'b');
  const size_t before = AllocatedBytes();
  for (size_t i = 0; i < objects; ++i) {
    std::string key = "http://shop.example/catalogue/items/" + std::to_string(100'000'000 + i);
    key.resize(60, '-');
    StoredResponse::Parts parts = testing::PartsOf({.key = key, .body = body});
    parts.fields.Add("Cache-Control", "public, max-age=3600, stale-while-revalidate=60");
    parts.fields.Add("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
    parts.fields.Add("ETag", "\"0123456789abcdef\"");
    StoredPtr response = StoredResponse::Make(std::move(parts));
    if (i == 0) EXPECT_NEAR(static_cast<double>(response->header_block().size()), 190, 12);
    EXPECT_TRUE(testing::Put(store, std::move(response)));
  }
  const size_t bodies = objects * body_size;
  const double count = static_cast<double>(objects);
  return {static_cast<double>(AllocatedBytes() - before - bodies) / count,
          static_cast<double>(store.stats().bytes - bodies) / count};
}

TEST(MemoryUseTest, AKilobyteCostsLittleMoreThanItsKeyAndHeader) {
  const Cost cost = CostPerObject(50'000, 1024);
  RecordProperty("bytes_beyond_body", static_cast<int>(cost.bytes));
  EXPECT_LE(cost.bytes, 480);
  // The bound in bytes is worth something only if the charge is the truth.
  EXPECT_GE(cost.charged, cost.bytes * 0.97);
  EXPECT_LE(cost.charged, cost.bytes * 1.15);
}

TEST(MemoryUseTest, TheChargeIsTrueForLargeBodiesToo) {
  const Cost cost = CostPerObject(2'000, 20'000);
  EXPECT_GE(cost.charged, cost.bytes * 0.9);
  EXPECT_LE(cost.charged, cost.bytes * 1.2);
}

}  // namespace
}  // namespace satchel::cache

#endif
