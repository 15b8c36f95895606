// A small, plain reading of RFC 9111 and Satchel's policy get the same random exchanges and must
// agree on what may be served without asking the origin. A disagreement is shrunk before it is
// reported.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cache/reuse.h"
#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::At;
using test::DateAt;
using test::kNow;

// Directives with their numbers: easy to reason about for the model, written out for the policy.
struct Said {
  std::string name;
  int value = -1;  // -1: none
  bool operator==(const Said&) const = default;
};

struct Exchange {
  uint16_t status = 200;
  bool authorised = false;
  bool set_date = false;
  int date = 0;                // seconds from receipt
  int age = -1;                // -1: no field
  int expires = 1'000'000;     // from receipt; 1'000'000: no field
  int modified = 1'000'000;    // likewise
  std::vector<Said> response;  // Cache-Control
  std::vector<Said> request;   // Cache-Control of the later request
  int later = 0;               // when it comes
};

const Said* Find(const std::vector<Said>& said, std::string_view name) {
  for (const Said& one : said) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

std::string Write(const std::vector<Said>& said) {
  std::string out;
  for (const Said& one : said) {
    if (!out.empty()) out += ", ";
    out += one.name;
    if (one.value >= 0) out += "=" + std::to_string(one.value);
  }
  return out;
}

// The plain reading: may the later request be answered without asking the origin?
bool ModelServes(const Exchange& x) {
  const auto has = [&](std::string_view name) { return Find(x.response, name) != nullptr; };
  // Section 3.
  if (has("no-store") || has("private")) return false;
  const bool shared = has("public") || has("s-maxage") || has("must-revalidate");
  if (x.authorised && !shared) return false;

  // 4.2.1, 4.2.2.
  const int date = x.set_date ? x.date : 0;
  double lifetime = -1;
  if (const Said* s = Find(x.response, "s-maxage")) {
    lifetime = s->value;
  } else if (const Said* m = Find(x.response, "max-age")) {
    lifetime = m->value;
  } else if (x.expires != 1'000'000) {
    lifetime = std::max(0, x.expires - date);
  } else if (x.modified != 1'000'000 && x.modified < date &&
             (x.status == 200 || x.status == 404 || has("public"))) {
    lifetime = std::min(0.1 * (date - x.modified), 3600.0);
  }
  // Nothing to go by: kept for validation if a heuristic would have been allowed, and stale.
  const bool without_lifetime = lifetime < 0;
  if (without_lifetime) {
    if (x.status != 200 && x.status != 404 && !has("public")) return false;
    lifetime = 0;
  }

  // 4.2.3, with no delay on the way.
  const int apparent = std::max(0, -date);
  const double age = std::max(apparent, std::max(0, x.age)) + x.later;

  // 4, 5.2.2.4, 5.2.1.
  if (has("no-cache") || Find(x.request, "no-cache") != nullptr) return false;
  const Said* max_age = Find(x.request, "max-age");
  const Said* min_fresh = Find(x.request, "min-fresh");
  const Said* max_stale = Find(x.request, "max-stale");
  if (lifetime > age) {
    if (min_fresh != nullptr && lifetime - age < min_fresh->value) return false;
    return max_age == nullptr || age <= max_age->value;
  }
  // 4.2.4, RFC 5861 3.
  if (has("must-revalidate") || min_fresh != nullptr) return false;
  if (max_age != nullptr && age > max_age->value && max_stale == nullptr) return false;
  const Said* swr = Find(x.response, "stale-while-revalidate");
  if (swr != nullptr && !without_lifetime && age - lifetime < swr->value) return true;
  if (has("s-maxage") || max_stale == nullptr) return false;
  return max_stale->value < 0 || age - lifetime <= max_stale->value;
}

bool PolicyServes(const Exchange& x) {
  RequestHead first = test::Get();
  if (x.authorised) first.fields.Add("Authorization", "Basic x");
  ResponseHead response = test::Response(x.status);
  const auto add = [&](std::string_view name, const std::string& value) {
    response.fields.Add(name, value);
  };
  // A validator, so that nothing is refused for being useless.
  add("ETag", "\"v\"");
  if (!x.response.empty()) add("Cache-Control", Write(x.response));
  if (x.set_date) add("Date", DateAt(x.date));
  if (x.age >= 0) add("Age", std::to_string(x.age));
  if (x.expires != 1'000'000) add("Expires", DateAt(x.expires));
  if (x.modified != 1'000'000) add("Last-Modified", DateAt(x.modified));

  Overrides rule;
  rule.ttl_max = std::chrono::hours(24 * 365 * 100);
  const StoreVerdict verdict = MayStore(first, response, kNow, kNow, 0.0, rule);
  if (!verdict.store) return false;
  RequestHead later = test::Get();
  if (!x.request.empty()) later.fields.Add("Cache-Control", Write(x.request));
  const Decision decision = Decide(later, &verdict.facts, false, At(x.later), rule);
  const bool served =
      decision.action == Action::kServe || decision.action == Action::kServeStaleAndRefresh;
  // The short way of the hit path must not be more generous than the long one.
  if (IsPlainLookup(later) && verdict.facts.ServesPlainLookup(At(x.later))) EXPECT_TRUE(served);
  return served;
}

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  Exchange Next() {
    Exchange x;
    const uint16_t statuses[] = {200, 200, 200, 404, 302, 500, 299};
    x.status = statuses[Below(7)];
    x.authorised = Below(5) == 0;
    x.set_date = Below(2) == 0;
    x.date = Seconds() - 30;
    if (Below(3) == 0) x.age = Seconds();
    if (Below(3) == 0) x.expires = Seconds() - 10;
    if (Below(3) == 0) x.modified = -10 * Seconds();
    for (const std::string_view name : {"s-maxage", "max-age", "stale-while-revalidate"}) {
      if (Below(3) == 0) x.response.push_back({std::string(name), Seconds()});
    }
    for (const std::string_view name :
         {"no-store", "no-cache", "private", "public", "must-revalidate", "unknown"}) {
      if (Below(7) == 0) x.response.push_back({std::string(name), -1});
    }
    for (const std::string_view name : {"max-age", "min-fresh", "max-stale"}) {
      if (Below(6) == 0) x.request.push_back({std::string(name), Seconds()});
    }
    if (Below(12) == 0) x.request.push_back({"no-cache", -1});
    if (Below(12) == 0 && Find(x.request, "max-stale") == nullptr) {
      x.request.push_back({"max-stale", -1});
    }
    x.later = Seconds();
    return x;
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint32_t>(bound)); }
  // Close together, so that borders are hit often.
  int Seconds() { return Below(3) == 0 ? Below(4) : Below(60); }

  std::mt19937 random_;
};

bool Agree(const Exchange& x) { return ModelServes(x) == PolicyServes(x); }

// Leaves out whatever the disagreement does not need.
Exchange Shrink(Exchange x) {
  for (bool smaller = true; smaller;) {
    smaller = false;
    const auto attempt = [&](const Exchange& candidate) {
      if (smaller || Agree(candidate)) return;
      x = candidate;
      smaller = true;
    };
    for (size_t i = 0; i < x.response.size(); ++i) {
      Exchange y = x;
      y.response.erase(y.response.begin() + static_cast<ptrdiff_t>(i));
      attempt(y);
    }
    for (size_t i = 0; i < x.request.size(); ++i) {
      Exchange y = x;
      y.request.erase(y.request.begin() + static_cast<ptrdiff_t>(i));
      attempt(y);
    }
    const auto without = [&](auto member, auto value) {
      if (x.*member == value) return;
      Exchange y = x;
      y.*member = value;
      attempt(y);
    };
    without(&Exchange::status, uint16_t{200});
    without(&Exchange::authorised, false);
    without(&Exchange::set_date, false);
    without(&Exchange::age, -1);
    without(&Exchange::expires, 1'000'000);
    without(&Exchange::modified, 1'000'000);
  }
  return x;
}

TEST(PolicyModelTest, ThePlainReadingOfTheRfcAndThePolicyAgree) {
  Generator generator(20260101);
  size_t served = 0;
  constexpr size_t kRounds = 200'000;
  for (size_t i = 0; i < kRounds; ++i) {
    const Exchange exchange = generator.Next();
    served += ModelServes(exchange) ? 1 : 0;
    if (Agree(exchange)) continue;
    const Exchange x = Shrink(exchange);
    FAIL() << "round " << i << ": the model says " << (ModelServes(x) ? "serve" : "ask")
           << "\nstatus " << x.status << (x.authorised ? ", authorised" : "") << "\nDate "
           << (x.set_date ? std::to_string(x.date) : "none") << ", Age " << x.age << ", Expires "
           << x.expires << ", Last-Modified " << x.modified << "\nresponse: " << Write(x.response)
           << "\nrequest: " << Write(x.request) << " after " << x.later << " s";
  }
  // Neither always nor never.
  EXPECT_GT(served, kRounds / 20);
  EXPECT_LT(served, kRounds / 2);
}

}  // namespace
}  // namespace satchel::cache
