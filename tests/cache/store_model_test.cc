// A plain cache (a map and the RFC's formulas) and Satchel's store with its policies get the same
// random sequences of requests, answers, clock steps and invalidations, and must agree on what may
// be served. A disagreement is shrunk before it is reported.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cache/invalidation.h"
#include "cache/reuse.h"
#include "cache/storability.h"
#include "cache/store.h"
#include "cache/validation.h"
#include "tests/cache/messages.h"
#include "tests/cache/plain_cache.h"

namespace satchel::cache {
namespace {

using namespace test::plain;  // the model
using test::At;

class Pair {
 public:
  // "" if they agree all the way, else what they disagree about.
  std::string Run(const std::vector<Step>& steps) {
    store_.Clear();
    model_ = {};
    now_ = 0;
    served_ = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
      now_ += steps[i].wait;
      std::string why = steps[i].unsafe ? Change(steps[i]) : Read(steps[i]);
      if (!why.empty()) return "step " + std::to_string(i) + ": " + why;
    }
    return {};
  }
  size_t served() const { return served_; }

 private:
  static CacheKey KeyOf(const RequestHead& request) {
    CacheKey key;
    key.Build(request, {});
    return key;
  }
  static std::string BodyOf(const StoredResponse& response) {
    iovec piece;
    if (response.body().Gather(0, response.body().size(), {&piece, 1}) == 0) return {};
    return {static_cast<const char*>(piece.iov_base), piece.iov_len};
  }

  std::string Change(const Step& step) {
    const RequestHead request = Ask(step);
    const ResponseHead answer = Say(step.answer, false, "\"c\"", now_);
    for (const InvalidTarget& target : InvalidatedBy(request, answer)) {
      store_.Invalidate(KeyOf(test::Request("GET", target.target)));
    }
    if (step.answer.status < 400) model_.stored[step.uri].clear();  // 4.4
    return {};
  }

  std::string Read(const Step& step) {
    const RequestHead request = Ask(step);
    const CacheKey key = KeyOf(request);
    const Store::Found found = store_.Lookup(key, request, rules_);
    const std::vector<Kept*> candidates = model_.Select(step);
    Kept* kept = nullptr;
    if (found.response) {
      const std::string body = BodyOf(*found.response);
      for (Kept* one : candidates) {
        if (one->body == body) kept = one;
      }
      if (kept == nullptr) return "selected " + body + ", which the model would not";
      const double age = static_cast<double>(found.response->facts().AgeAt(At(now_)).count());
      if (age != kept->Age(now_) * 1000) return "its age is " + std::to_string(age) + " ms";
    } else if (!candidates.empty()) {
      return "selected nothing, the model " + candidates[0]->body;
    }
    const Decision decision = Decide(request, found.response ? &found.response->facts() : nullptr,
                                     found.other_variants, At(now_), rules_);
    const bool serves =
        decision.action == Action::kServe || decision.action == Action::kServeStaleAndRefresh;
    const bool may = kept != nullptr && kept->MayServe(step, now_);
    if (serves != may) return std::string("the model says ") + (may ? "serve" : "ask");
    served_ += serves ? 1 : 0;
    if (decision.action == Action::kServe || decision.action == Action::kGatewayTimeout) return {};
    if (decision.action == Action::kServeStaleAndRefresh && step.no_store) {
      return "a refresh that could not be kept";
    }
    return AskOrigin(step, request, key, found.response, kept, decision.may_store);
  }

  std::string AskOrigin(const Step& step, const RequestHead& request, const CacheKey& key,
                        const StoredPtr& stored, Kept* kept, bool may_store) {
    const Answer& a = step.answer;
    const bool error = a.lost || a.status >= 500;
    if (error && stored) {
      const bool serves = MayServeOnError(request, stored->facts(), At(now_), !a.lost,
                                          static_cast<uint16_t>(a.status), rules_) != Reason::kNone;
      const bool may = kept->MayServeOnError(step, a.lost, now_);
      if (serves != may) return std::string("on error the model says ") + (may ? "serve" : "fail");
      return {};  // an error answer leaves what is stored as it is (4.3.3)
    }
    if (a.lost || !may_store) return {};
    Kept fresh;
    fresh.said = a;
    std::copy(step.x, step.x + 2, fresh.x);
    fresh.received = now_;
    fresh.date = now_ - a.date_back;
    fresh.initial_age = std::max(a.date_back, std::max(0, a.age));
    if (a.expires != kNone) fresh.expires = fresh.date + a.expires;
    if (a.modified_back != kNone) fresh.modified = fresh.date - a.modified_back;
    if (stored && a.not_modified) return Validate(step, request, key, stored, *kept, fresh);

    fresh.body = "b" + std::to_string(++bodies_);
    const ResponseHead head = Say(a, false, "\"" + fresh.body + "\"", now_);
    const StoreVerdict verdict = MayStore(request, head, At(now_), At(now_), 0.0, rules_);
    if (verdict.store != MayBeStored(fresh, step)) {
      return std::string("the model says ") + (verdict.store ? "don't store" : "store");
    }
    if (!verdict.store) {
      // The answer to a validation replaces what it was about.
      if (stored) {
        store_.Invalidate(key);
        model_.stored[step.uri].clear();
      }
      return {};
    }
    StoredResponse::Parts parts;
    parts.key = key.text();
    parts.vary = ParseVary(head.fields);
    parts.vary_values = VaryValues(parts.vary, request, rules_);
    parts.facts = verdict.facts;
    parts.fields = StoredFields(head, At(now_), rules_);
    FillPermit permit = store_.TryLead(key, request, rules_);
    permit.Publish(StoredResponse::Make(std::move(parts)), fresh.body.size());
    permit.Append(fresh.body);
    if (!permit.Finish()) return "not stored";
    model_.Put(step.uri, fresh);
    return {};
  }

  // 4.3.4: the fields that the 304 has replace the stored ones, the clock starts anew.
  std::string Validate(const Step& step, const RequestHead& request, const CacheKey& key,
                       const StoredPtr& stored, const Kept& old, Kept update) {
    const ResponseHead head = Say(step.answer, true, "\"" + old.body + "\"", now_);
    UpdateResult result = UpdateStored(request, stored->Fields(), stored->facts(), head, At(now_),
                                       At(now_), 0.0, rules_);
    const Answer said = update.said;
    update.body = old.body;
    if (!SaysCacheControl(said)) update.said = old.said;
    update.said.status = old.said.status;
    update.said.vary = old.said.vary;
    std::copy(old.x, old.x + 2, update.x);
    if (!update.expires) update.expires = old.expires;
    if (!update.modified) update.modified = old.modified;
    if (result.verdict.store != MayBeStored(update, step)) {
      return std::string("after a 304 the model says ") +
             (result.verdict.store ? "don't store" : "store");
    }
    if (!result.verdict.store) {
      store_.Invalidate(key);
      model_.stored[step.uri].clear();
      return {};
    }
    FillPermit permit = store_.TryLead(key, request, rules_);
    permit.CompleteWith(StoredResponse::WithFields(*stored, result.fields, result.verdict.facts),
                        true);
    model_.Put(step.uri, update);
    return {};
  }

  Store store_{{.capacity = size_t{16} << 20, .shards = 1}};
  const Overrides rules_;
  PlainCache model_;
  int now_ = 0;
  int bodies_ = 0;
  size_t served_ = 0;
};

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  std::vector<Step> Next() {
    std::vector<Step> out(static_cast<size_t>(2 + Below(5)));
    for (Step& step : out) step = One();
    return out;
  }

 private:
  int Below(int bound) { return static_cast<int>(random_() % static_cast<uint32_t>(bound)); }
  bool Rarely(int one_in) { return Below(one_in) == 0; }
  // Close together, so that borders are hit often.
  int Seconds() { return Below(3) == 0 ? Below(4) : Below(40); }
  int Perhaps(int one_in) { return Rarely(one_in) ? Seconds() : kNone; }

  Step One() {
    Step s;
    s.wait = Rarely(2) ? Seconds() : 0;
    s.unsafe = Rarely(10);
    s.uri = Below(kUris);
    for (int& x : s.x) x = Below(3);
    s.authorised = Rarely(10);
    s.no_cache = Rarely(15);
    s.no_store = Rarely(15);
    s.only_if_cached = Rarely(20);
    s.max_age = Perhaps(10);
    s.min_fresh = Perhaps(12);
    s.max_stale = Perhaps(10);
    Answer& a = s.answer;
    constexpr int kStatuses[] = {200, 200, 200, 200, 404, 201, 302, 500, 503};
    a.status = kStatuses[Below(9)];
    a.lost = Rarely(12);
    a.not_modified = Rarely(2);
    a.date_back = Rarely(3) ? Seconds() : 0;
    a.age = Perhaps(4);
    a.s_maxage = Perhaps(6);
    a.max_age = Perhaps(2);
    a.expires = Perhaps(5);
    a.swr = Perhaps(5);
    a.sie = Perhaps(6);
    if (Rarely(5)) a.modified_back = 10 * Seconds();
    a.no_store = Rarely(15);
    a.is_private = Rarely(20);
    a.no_cache = Rarely(12);
    a.must_revalidate = Rarely(8);
    a.is_public = Rarely(8);
    a.immutable = Rarely(12);
    a.vary = Rarely(2) ? 0 : Rarely(30) ? 4 : Below(4);
    return s;
  }

  std::mt19937 random_;
};

// Leaves out whatever the disagreement does not need: steps, then what they say, one at a time
// until nothing more can go.
std::vector<Step> Shrink(std::vector<Step> steps) {
  Pair pair;
  const auto attempt = [&](std::vector<Step> candidate) {
    if (pair.Run(candidate).empty()) return false;
    steps = std::move(candidate);
    return true;
  };
  const auto simplify = [&](auto value_of, auto simple) {
    bool any = false;
    for (size_t i = 0; i < steps.size(); ++i) {
      std::vector<Step> candidate = steps;
      auto& value = value_of(candidate[i]);
      if (value == simple) continue;
      value = simple;
      any |= attempt(std::move(candidate));
    }
    return any;
  };
  const auto of_answer = [](auto member) {
    return [member](Step & step) -> auto& { return step.answer.*member; };
  };
  const auto of_request = [](auto member) {
    return [member](Step & step) -> auto& { return step.*member; };
  };
  for (bool smaller = true; smaller;) {
    smaller = false;
    for (size_t i = 0; i < steps.size();) {
      std::vector<Step> fewer = steps;
      fewer.erase(fewer.begin() + static_cast<ptrdiff_t>(i));
      if (attempt(std::move(fewer))) {
        smaller = true;
      } else {
        ++i;
      }
    }
    for (auto member : {&Answer::age, &Answer::s_maxage, &Answer::max_age, &Answer::expires,
                        &Answer::swr, &Answer::sie, &Answer::modified_back}) {
      smaller |= simplify(of_answer(member), kNone);
    }
    for (auto member :
         {&Answer::lost, &Answer::not_modified, &Answer::no_store, &Answer::is_private,
          &Answer::no_cache, &Answer::must_revalidate, &Answer::is_public, &Answer::immutable}) {
      smaller |= simplify(of_answer(member), false);
    }
    smaller |= simplify(of_answer(&Answer::vary), 0);
    smaller |= simplify(of_answer(&Answer::date_back), 0);
    smaller |= simplify(of_answer(&Answer::status), 200);
    for (auto member :
         {&Step::authorised, &Step::no_cache, &Step::no_store, &Step::only_if_cached}) {
      smaller |= simplify(of_request(member), false);
    }
    for (auto member : {&Step::max_age, &Step::min_fresh, &Step::max_stale}) {
      smaller |= simplify(of_request(member), kNone);
    }
    smaller |= simplify(of_request(&Step::uri), 0);
    for (size_t i = 0; i < 2; ++i) {
      smaller |= simplify([i](Step& step) -> int& { return step.x[i]; }, 0);
    }
    smaller |= simplify(of_request(&Step::wait), 0);
  }
  return steps;
}

std::string Describe(const std::vector<Step>& steps) {
  std::ostringstream out;
  int now = 0;
  for (const Step& step : steps) {
    now += step.wait;
    const RequestHead request = Ask(step);
    out << "at " << now << ": " << request.method_text << " " << request.target;
    for (const HeaderMap::Field field : request.fields) {
      out << "; " << field.name << ": " << field.value;
    }
    out << "\n    -> " << (step.answer.lost ? "lost, or " : "")
        << (step.answer.not_modified ? "304 or " : "") << step.answer.status;
    const ResponseHead answer = Say(step.answer, false, "\"v\"", now);
    for (const HeaderMap::Field field : answer.fields) {
      out << "; " << field.name << ": " << field.value;
    }
    out << "\n";
  }
  return out.str();
}

// In parts, each with a seed of its own, so that ctest runs them side by side.
constexpr uint32_t kParts = 4;
constexpr size_t kSequences = 100'000 / kParts;

class StoreModelTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(StoreModelTest, APlainCacheAndTheStoreWithItsPoliciesServeTheSame) {
  Generator generator(GetParam());
  Pair pair;
  size_t served = 0;
  size_t steps_in_all = 0;
  for (size_t i = 0; i < kSequences; ++i) {
    const std::vector<Step> steps = generator.Next();
    if (pair.Run(steps).empty()) {
      served += pair.served();
      steps_in_all += steps.size();
      continue;
    }
    const std::vector<Step> shrunk = Shrink(steps);
    FAIL() << "sequence " << i << ", " << pair.Run(shrunk) << "\n" << Describe(shrunk);
  }
  // Neither always nor never.
  EXPECT_GT(served, steps_in_all / 20);
  EXPECT_LT(served, steps_in_all / 2);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, ::testing::Range(uint32_t{1}, kParts + 1));

}  // namespace
}  // namespace satchel::cache
