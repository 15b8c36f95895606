// The store and its fills under several threads. What these tests look for, beside what they say,
// is what ThreadSanitizer and AddressSanitizer find while they run.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

#include "cache/store.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Get;
using testing::Head;
using testing::Key;
using testing::Pattern;
using testing::Put;
using testing::Response;

const Overrides kRules;

// What a wake function posts to: the stand-in for a worker's mailbox. Shared, since a wake function
// may still be running when its reader is gone.
class Bell {
 public:
  void Ring() {
    {
      const std::lock_guard lock(mutex_);
      rung_ = true;
    }
    condition_.notify_one();
  }
  void Await() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool rung_ = false;
};

// Reads like a worker does: look, send, arm, sleep.
struct Outcome {
  FillState state = FillState::kWaiting;
  std::string bytes;
};

Outcome ReadToEnd(FillReader& reader, Bell& bell) {
  Outcome outcome;
  for (;;) {
    const FillView view = reader.View();
    outcome.bytes += testing::Drain(reader);
    outcome.state = view.state;
    const bool over = view.state != FillState::kWaiting && view.state != FillState::kStreaming;
    if (over && (view.state == FillState::kPromoted || reader.position() >= view.available)) {
      // An answer from elsewhere has no bytes of its own in the fill.
      if (view.complete && view.available == 0) outcome.bytes = view.complete->body().ToString();
      return outcome;
    }
    if (reader.Arm()) bell.Await();
  }
}

void RunThreads(size_t count, const std::function<void(size_t)>& work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

TEST(StoreThreadsTest, TheBudgetHoldsUnderEightThreadsOfLoad) {
  constexpr size_t kCapacity = 2'000'000;
  Store store({.capacity = kCapacity, .max_object = 200'000, .shards = 8});
  std::atomic<size_t> most{0};
  const std::string bytes = Pattern(300'000);
  RunThreads(8, [&](size_t thread) {
    uint32_t random = static_cast<uint32_t>(thread * 77 + 1);
    for (int i = 0; i < 1500; ++i) {
      random = random * 1664525 + 1013904223;
      const std::string key = std::to_string(random >> 8 & 511);
      const size_t size = (random >> 17) * (random >> 17) % 260'000;
      if (store.Lookup(Key(key), Get(), kRules).response == nullptr) {
        const auto bell = std::make_shared<Bell>();
        Store::Begun begun =
            store.BeginFill(Key(key), Get(), kRules, At(i), [bell] { bell->Ring(); });
        if (begun.role == Store::Role::kLeader) {
          const bool known = (random & 1) != 0;
          begun.permit.Publish(Head(key), known ? std::optional<uint64_t>(size) : std::nullopt);
          for (size_t at = 0; at < size; at += 60'000) {
            begun.permit.Append(
                std::string_view(bytes).substr(at, std::min<size_t>(60'000, size - at)));
          }
          if (i % 7 == 0) {
            begun.permit.Fail({ErrorSource::kUpstream, "broken"});
          } else {
            begun.permit.Finish();
          }
        } else if (begun.role == Store::Role::kFollower) {
          const Outcome outcome = ReadToEnd(begun.reader, *bell);
          if (outcome.state == FillState::kComplete) {
            EXPECT_EQ(outcome.bytes, std::string_view(bytes).substr(0, outcome.bytes.size()));
          }
        }
      }
      if (i % 97 == 0) store.Invalidate(Key(key));
      if (i % 101 == 0) store.Tick(At(i));
      const size_t now = store.stats().bytes;
      size_t before = most.load();
      while (now > before && !most.compare_exchange_weak(before, now)) {
      }
    }
  });
  EXPECT_LE(most.load(), kCapacity);
  EXPECT_GT(most.load(), kCapacity / 2);
  store.Clear();
  EXPECT_EQ(store.stats().bytes, 0u);
  EXPECT_EQ(store.stats().fill_bytes, 0u);
  EXPECT_EQ(store.stats().pass_bytes, 0u);
  EXPECT_EQ(store.stats().objects, 0u);
  EXPECT_EQ(store.stats().fills, 0u);
}

TEST(StoreThreadsTest, TwoHundredFollowersOfOneLeaderGetEqualBytes) {
  constexpr size_t kThreads = 8;
  constexpr size_t kReadersEach = 25;
  Store store({});
  const std::string bytes = Pattern(1'048'576);
  Store::Begun leader = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  ASSERT_EQ(leader.role, Store::Role::kLeader);
  std::latch half_joined(kThreads);
  std::atomic<int> complete{0};
  std::atomic<int> leaders{0};
  std::thread writer([&] {
    half_joined.wait();
    leader.permit.Publish(Head(), std::nullopt);
    for (size_t at = 0; at < bytes.size(); at += 10'000) {
      leader.permit.Append(std::string_view(bytes).substr(at, 10'000));
    }
    leader.permit.Finish();
  });
  RunThreads(kThreads, [&](size_t) {
    // One bell per thread, as one mailbox serves all readers of a worker.
    const auto bell = std::make_shared<Bell>();
    std::vector<FillReader> readers;
    const auto join = [&] {
      Store::Begun begun = store.BeginFill(Key(), Get(), kRules, At(0), [bell] { bell->Ring(); });
      if (begun.role == Store::Role::kLeader) ++leaders;
      if (begun.role == Store::Role::kFollower) readers.push_back(std::move(begun.reader));
    };
    for (size_t i = 0; i < kReadersEach; ++i) join();
    half_joined.count_down();
    std::vector<std::string> got(readers.size());
    for (size_t done = 0; done < readers.size();) {
      done = 0;
      bool armed = true;
      for (size_t i = 0; i < readers.size(); ++i) {
        const FillView view = readers[i].View();
        got[i] += testing::Drain(readers[i]);
        if (view.state == FillState::kComplete && got[i].size() >= view.available) {
          ++done;
        } else {
          armed = readers[i].Arm() && armed;
        }
      }
      if (done < readers.size() && armed) bell->Await();
    }
    for (const std::string& body : got) complete += body == bytes ? 1 : 0;
  });
  writer.join();
  EXPECT_EQ(leaders.load(), 0);
  EXPECT_EQ(complete.load(), static_cast<int>(kThreads * kReadersEach));
}

TEST(StoreThreadsTest, EveryRequestEndsWhateverBecomesOfTheLeaders) {
  Store store({.shards = 2});
  std::atomic<int> fetched{0};
  std::atomic<int> served{0};
  std::atomic<int> failed{0};
  constexpr size_t kThreads = 6;
  constexpr int kRounds = 300;
  RunThreads(kThreads, [&](size_t thread) {
    for (int round = 0; round < kRounds; ++round) {
      const std::string key = std::to_string(round / 10);
      const auto bell = std::make_shared<Bell>();
      Store::Begun begun =
          store.BeginFill(Key(key), Get(), kRules, At(0), [bell] { bell->Ring(); });
      ASSERT_NE(begun.role, Store::Role::kAlone);
      std::optional<FillPermit> permit;
      if (begun.role == Store::Role::kLeader) {
        permit = std::move(begun.permit);
      } else {
        if (round % 11 == 0) {  // a client that hangs up
          ++failed;
          continue;
        }
        const Outcome outcome = ReadToEnd(begun.reader, *bell);
        if (outcome.state == FillState::kPromoted) {
          if (round % 5 == 0) {  // the heir's client hangs up
            ++failed;
            continue;
          }
          permit = begun.reader.TakePermit();
          ASSERT_TRUE(permit);
        } else {
          if (outcome.state == FillState::kComplete) {
            EXPECT_EQ(outcome.bytes, "body of " + key);
            ++served;
          } else {
            ++failed;
          }
          continue;
        }
      }
      ++fetched;
      if ((round + static_cast<int>(thread)) % 3 == 0) {
        permit->Fail({ErrorSource::kUpstream, "refused"});
      } else {
        permit->Publish(Head(key), std::nullopt);
        permit->Append("body of ");
        permit->Append(key);
        permit->Finish();
      }
    }
  });
  EXPECT_EQ(fetched + served + failed, static_cast<int>(kThreads) * kRounds);
  EXPECT_GT(fetched.load(), 0);
  EXPECT_EQ(store.stats().fills, 0u);
}

TEST(StoreThreadsTest, AFillThatBeganBeforeAPurgeNeverInsertsAfterIt) {
  Store store({.shards = 1});
  // The origin's version, bumped before each purge: whatever is found afterwards must be as new.
  std::atomic<int> version{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> fillers;
  for (int i = 0; i < 3; ++i) {
    fillers.emplace_back([&] {
      while (!stop.load()) {
        FillPermit permit = store.TryLead(Key(), Get(), kRules);
        if (!permit) {
          std::this_thread::yield();
          continue;
        }
        const std::string body = std::to_string(version.load());
        permit.Publish(Head(), body.size());
        permit.Append(body);
        permit.Finish();
      }
    });
  }
  for (int i = 1; i <= 2000; ++i) {
    version.store(i);
    store.Invalidate(Key());
    const StoredPtr found = store.Lookup(Key(), Get(), kRules).response;
    if (found) EXPECT_GE(std::stoi(found->body().ToString()), i);
  }
  stop.store(true);
  for (std::thread& filler : fillers) filler.join();
}

TEST(StoreThreadsTest, ASlowReaderOfAPassKeepsMemoryBounded) {
  Store store({.capacity = size_t{4} << 20, .max_object = size_t{1} << 20});
  constexpr size_t kTotal = size_t{64} << 20;
  constexpr size_t kHigh = 512 * 1024;
  constexpr size_t kPiece = 64 * 1024;
  Store::Begun begun = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  const auto reader_bell = std::make_shared<Bell>();
  FillReader reader = begun.permit.NewReader([reader_bell] { reader_bell->Ring(); });
  size_t most = 0;
  const std::string piece = Pattern(kPiece);
  std::thread writer([&] {
    const auto bell = std::make_shared<Bell>();
    begun.permit.Publish(Head(), kTotal);
    for (size_t at = 0; at < kTotal; at += kPiece) {
      begun.permit.Append(piece);
      most = std::max(most, store.stats().pass_bytes);
      if (begun.permit.Backlog() > kHigh) {
        begun.permit.NotifyBelow(kHigh / 2, [bell] { bell->Ring(); });
        bell->Await();
      }
    }
    begun.permit.Finish();
  });
  size_t read = 0;
  bool equal = true;
  for (bool over = false; !over;) {
    const FillView view = reader.View();
    iovec part;
    while (reader.Gather({&part, 1}) == 1) {
      // A little at a time, never the same amount as is written.
      const size_t take = std::min<size_t>(part.iov_len, 10'007);
      const std::string_view expected = std::string_view(piece).substr(read % kPiece, take);
      const std::string_view got(static_cast<char*>(part.iov_base), expected.size());
      equal = equal && got == expected;
      reader.Consume(got.size());
      read += got.size();
    }
    over = view.state == FillState::kComplete && read == kTotal;
    if (!over && reader.Arm()) reader_bell->Await();
  }
  writer.join();
  EXPECT_TRUE(equal);
  EXPECT_EQ(read, kTotal);
  EXPECT_LE(most, kHigh + 3 * kPiece);
  EXPECT_EQ(store.stats().objects, 0u);
}

TEST(StoreThreadsTest, HitsInsertsPurgesAndTicksMeetOnTheSameKeys) {
  Store store({.capacity = 300'000, .shards = 4});
  store.Tick(At(0));
  RunThreads(6, [&](size_t thread) {
    for (int i = 0; i < 3000; ++i) {
      const std::string key = std::to_string(i * (thread + 1) % 200);
      switch (thread % 3) {
        case 0:
          Put(store, Response({.key = key, .lifetime = i % 5, .body = Pattern(i % 3000)}));
          break;
        case 1:
          if (const StoredPtr found = store.Lookup(Key(key), Get(), kRules).response) {
            EXPECT_EQ(found->key(), key);
            EXPECT_EQ(found->body().ToString().size(), found->body().size());
          }
          break;
        default:
          if (i % 50 == 0) store.Tick(At(i));
          if (i % 20 == 0) store.Invalidate(Key(key));
          if (i % 500 == 0) store.Clear();
          store.RememberUncacheable(Key(key), At(i));
          store.ForgetUncacheable(Key(key));
      }
    }
  });
  EXPECT_LE(store.stats().bytes, 300'000u);
  store.Clear();
  EXPECT_EQ(store.stats().bytes, 0u);
}

}  // namespace
}  // namespace satchel::cache
