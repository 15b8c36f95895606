// What runs for every hit allocates nothing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "cache/cache_key.h"
#include "cache/cache_status.h"
#include "cache/reuse.h"
#include "tests/cache/messages.h"

namespace {
thread_local size_t g_allocations = 0;

void* Allocate(size_t size) {
  ++g_allocations;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return Allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace satchel::cache {
namespace {

using test::At;
using test::Get;
using test::kNow;

template <typename Work>
size_t AllocationsOf(Work work) {
  const size_t before = g_allocations;
  work();
  return g_allocations - before;
}

TEST(HitPathTest, TheCounterCounts) {
  EXPECT_GE(AllocationsOf([] { std::string(1000, 'x').shrink_to_fit(); }), 1U);
}

TEST(HitPathTest, APlainFreshHitAllocatesNothing) {
  const RequestHead request =
      Get({{"Accept", "*/*"}, {"Accept-Encoding", "gzip"}, {"User-Agent", "x"}, {"Cookie", "a=b"}});
  const Overrides rule;
  const KeyRule key_rule;
  ResponseFacts facts;
  facts.received = kNow;
  facts.lifetime = std::chrono::seconds(60);
  CacheKey key;
  key.Build(request, key_rule);
  std::string status;
  status.reserve(256);
  Decision decision;
  const auto hit = [&] {
    key.Build(request, key_rule);
    if (!IsPlainLookup(request)) return;
    decision = Decide(request, &facts, false, At(1), rule);
    CacheStatus member;
    member.hit = true;
    member.ttl = facts.lifetime - facts.AgeAt(At(1));
    member.tier = "l1";
    member.reason = decision.reason;
    AppendCacheStatus(status, member);
  };
  EXPECT_EQ(AllocationsOf(hit), 0U);
  EXPECT_EQ(decision.action, Action::kServe);
  EXPECT_EQ(status, "Satchel; hit; ttl=59; detail=fresh/l1");
}

}  // namespace
}  // namespace satchel::cache
