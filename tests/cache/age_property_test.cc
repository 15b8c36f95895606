// An age never falls behind the truth, and never begins anew, whichever way a response takes
// through the tiers: fetched, written to the shared record, read by an instance whose clock is
// another one, confirmed by a 304, renewed in place, made stale by a purge.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "cache/envelope.h"
#include "cache/purges.h"
#include "cache/record_head.h"
#include "cache/record_reader.h"
#include "cache/record_sealer.h"
#include "cache/storability.h"
#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using std::chrono::seconds;
using test::Get;
using test::kNow;
using test::Response;

constexpr std::string_view kKey = "http://example.com/";
constexpr size_t kInstances = 3;

// How old it was, and when, on a clock that nobody has.
struct Truth {
  Millis age{0};
  Time at;
};
struct Copy {
  StoredPtr response;
  Truth truth;
};

class Tiers {
 public:
  explicit Tiers(uint32_t seed) : random_(seed) {
    for (Millis& offset : offsets_) offset = Millis(Between(-7'200'000, 7'200'000));
  }

  // "" if every age was right all the way.
  std::string Run() {
    for (int step = 0; step < 20; ++step) {
      now_ += Below(3) == 0 ? Millis(Below(100'000'000)) : Millis(Below(3'000));
      const size_t i = Below(kInstances);
      const std::string did = Step(i);
      if (std::string why = Check(); !why.empty()) {
        return "step " + std::to_string(step) + ", " + did + ": " + why;
      }
    }
    return {};
  }
  size_t checks() const { return checks_; }

 private:
  size_t Below(size_t bound) { return random_() % bound; }
  int64_t Between(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }
  Time LocalAt(size_t i, Time time) const { return time + offsets_[i]; }
  // From the clock of an instance to the one that all share.
  Millis ToShared(size_t i) const { return -offsets_[i]; }

  // What an origin says of the age of its answer, and what follows from it (4.2.3): computed here
  // from the numbers, not from the text.
  struct Said {
    HeaderMap fields;
    Truth truth;
    Time asked;
    Time received;
  };
  Said Origin(size_t i) {
    Said said;
    const Millis delay(Below(4) == 0 ? Below(5'000) : Below(20));
    said.asked = LocalAt(i, now_);
    now_ += delay;
    said.received = LocalAt(i, now_);
    Millis age(0);
    Millis apparent(0);
    if (Below(2) == 0) {
      age = seconds(Below(3) == 0 ? Below(2'000'000'000) : Below(1'000));
      said.fields.Add("Age", std::to_string(age.count() / 1000));
    }
    if (Below(2) == 0) {
      const Time date = std::chrono::floor<seconds>(said.received) -
                        seconds(Below(3) == 0 ? Between(-500, 100'000'000) : Between(-2, 100));
      said.fields.Add("Date", FormatHttpDate(date));
      apparent = std::max(Millis(0), said.received - date);
    }
    said.fields.Add("ETag", "\"1\"");
    said.fields.Add("Cache-Control", "max-age=" + std::to_string(Below(2'000'000'000)));
    said.truth = {std::max(apparent, age + delay), now_};
    return said;
  }

  std::string Step(size_t i) {
    Copy& mine = memory_[i];
    switch (Below(6)) {
      case 0:
      case 1: {
        const Said said = Origin(i);
        ResponseHead head = Response(200);
        head.fields = said.fields;
        const StoreVerdict verdict =
            MayStore(Get(), head, said.asked, said.received, 0.0, Overrides());
        StoredResponse::Parts parts;
        parts.key = kKey;
        parts.facts = verdict.facts;
        parts.reason = "OK";
        parts.fields = StoredFields(head, said.received, Overrides());
        parts.body = Body::Copy("body " + std::to_string(Below(2)));
        parts.purge_sequence = purges_.head();
        mine = {StoredResponse::Make(std::move(parts)), said.truth};
        return "fetched";
      }
      case 2:
        if (!mine.response) return "nothing";
        if (auto sealed = SealRecord(mine.response, {.clock_offset = ToShared(i)})) {
          record_ = sealed->value;
          record_truth_ = mine.truth;
        }
        return "written";
      case 3:
        if (record_.empty()) return "nothing";
        if (auto opened = OpenRecord(record_, kKey, {.clock_offset = ToShared(i)})) {
          mine = {*opened, record_truth_};
        }
        return "read";
      case 4: {
        if (!mine.response) return "nothing";
        const StoredPtr old = mine.response;
        const Said said = Origin(i);
        ResponseHead head = Response(304);
        head.fields = said.fields;
        UpdateResult update = UpdateStored(Get(), old->Fields(), old->facts(), head, said.asked,
                                           said.received, 0.0, Overrides());
        mine = {StoredResponse::WithFields(*old, update.fields, update.verdict.facts), said.truth};
        const auto renewed =
            RenewedRecord::From(*old, *mine.response, {.clock_offset = ToShared(i)});
        if (renewed && record_.starts_with(renewed->first_bytes) &&
            record_.substr(RecordHead::kEntryAt, renewed->entry_bytes.size()) ==
                renewed->entry_bytes) {
          record_.replace(RecordHead::kFirstRenewed, renewed->bytes.size(), renewed->bytes);
          record_truth_ = said.truth;
          return "renewed in place";
        }
        return "confirmed";
      }
      default: {
        const PurgeRecord purge = PurgeRecord::Url(kKey, /*soft=*/true);
        purges_.Apply({&purge, 1}, static_cast<uint64_t>(UnixMillis(now_)) * 1000);
        for (Copy& copy : memory_) {
          if (copy.response) copy.response = purges_.Check(copy.response);
        }
        return "purged softly";
      }
    }
  }

  static int64_t UnixMillis(Time time) { return time.time_since_epoch().count(); }
  std::string Check() {
    for (size_t i = 0; i < kInstances; ++i) {
      if (!memory_[i].response) continue;
      ++checks_;
      const Truth& truth = memory_[i].truth;
      const Millis real = truth.age + (now_ - truth.at);
      const Millis said = memory_[i].response->facts().AgeAt(LocalAt(i, now_));
      // Long durations are kept in whole seconds, rounded up.
      if (said < real || said > real + seconds(1)) {
        return "at instance " + std::to_string(i) + " an age of " + std::to_string(real.count()) +
               " ms is said to be " + std::to_string(said.count());
      }
    }
    return {};
  }

  std::mt19937 random_;
  std::array<Millis, kInstances> offsets_;  // of the instances' clocks
  Time now_ = kNow;
  std::array<Copy, kInstances> memory_;
  std::string record_;
  Truth record_truth_;
  Purges purges_;
  size_t checks_ = 0;
};

TEST(AgePropertyTest, D2_NoWayThroughTheTiersMakesAnAgeSmaller) {
  size_t checks = 0;
  for (uint32_t seed = 1; seed <= 5'000; ++seed) {
    Tiers tiers(seed);
    const std::string why = tiers.Run();
    ASSERT_EQ(why, "") << "with seed " << seed;
    checks += tiers.checks();
  }
  EXPECT_GT(checks, 100'000U);
}

}  // namespace
}  // namespace satchel::cache
