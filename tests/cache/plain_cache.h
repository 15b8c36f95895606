#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/cache/messages.h"

// A cache that is nothing but a list of responses per URI and the formulas of RFC 9111: what
// StoreModelTest compares the store and its policies with. Times are whole seconds.
namespace satchel::cache::test::plain {

inline constexpr int kNone = -1;
inline constexpr int kUris = 2;

// What the origin says. Seconds; kNone: not said.
struct Answer {
  bool lost = false;  // no answer at all
  int status = 200;
  bool not_modified = false;  // to a request with conditions
  int date_back = 0;
  int age = kNone;
  int s_maxage = kNone, max_age = kNone, expires = kNone;  // expires: from its own Date
  int swr = kNone, sie = kNone, modified_back = kNone;
  bool no_store = false, is_private = false, no_cache = false, must_revalidate = false;
  bool is_public = false, immutable = false;
  int vary = 0;  // bits, *
  bool operator==(const Answer&) const = default;
};

struct Step {
  int wait = 0;
  bool unsafe = false;
  int uri = 0;
  int x[2] = {0, 0};  // values of; 0: absent
  bool authorised = false, no_cache = false, no_store = false, only_if_cached = false;
  int max_age = kNone, min_fresh = kNone, max_stale = kNone;
  Answer answer;
};

inline bool SaysCacheControl(const Answer& a) {
  return a.s_maxage != kNone || a.max_age != kNone || a.swr != kNone || a.sie != kNone ||
         a.no_store || a.is_private || a.no_cache || a.must_revalidate || a.is_public ||
         a.immutable;
}

struct Kept {
  std::string body;
  Answer said;
  int x[2];
  int date, received, initial_age;
  std::optional<int> expires;   // as a time
  std::optional<int> modified;  // as a time

  std::optional<double> Lifetime() const {  // 4.2.1, 4.2.2
    if (said.s_maxage != kNone) return said.s_maxage;
    if (said.max_age != kNone) return said.max_age;
    if (expires) return std::max(0, *expires - date);
    const bool heuristic = said.status == 200 || said.status == 404 || said.is_public;
    if (modified && *modified < date && heuristic) {
      return std::min(0.1 * (date - *modified), 3600.0);
    }
    return std::nullopt;
  }
  double Age(int now) const { return initial_age + (now - received); }  // 4.2.3
  double StaleFor(int now) const { return std::max(0.0, Age(now) - Lifetime().value_or(0)); }
  bool Fresh(int now) const { return Lifetime().value_or(0) > Age(now); }
  bool Granted() const { return !said.must_revalidate && !said.no_cache && Lifetime(); }

  // 4, 5.2.1, RFC 5861 3, RFC 8246 2.
  bool MayServe(const Step& r, int now) const {
    if (said.no_cache || r.no_cache) return false;
    const bool too_old = r.max_age != kNone && Age(now) > r.max_age;
    if (Fresh(now)) {
      if (r.min_fresh != kNone && *Lifetime() - Age(now) < r.min_fresh) return false;
      return !too_old || said.immutable;
    }
    if (r.min_fresh != kNone || (too_old && r.max_stale == kNone)) return false;
    if (Granted() && said.swr != kNone && StaleFor(now) < said.swr) return true;
    return r.max_stale != kNone && !said.must_revalidate && said.s_maxage == kNone &&
           StaleFor(now) <= r.max_stale;
  }
  // 4.2.4, RFC 5861 4.
  bool MayServeOnError(const Step& r, bool lost, int now) const {
    if (said.no_cache || r.no_cache || r.min_fresh != kNone) return false;
    if (r.max_age != kNone && r.max_stale == kNone && Age(now) > r.max_age) return false;
    if (Granted() && said.sie != kNone && StaleFor(now) < said.sie) return true;
    return lost && !said.must_revalidate && said.s_maxage == kNone && StaleFor(now) < 60;
  }
  bool Matches(const Step& r) const {  // 4.1
    if ((said.vary & 4) != 0) return false;
    for (int i = 0; i < 2; ++i) {
      if ((said.vary >> i & 1) != 0 && x[i] != r.x[i]) return false;
    }
    return true;
  }
  bool SameVariant(const Kept& other) const {
    if (said.vary != other.said.vary) return false;
    for (int i = 0; i < 2; ++i) {
      if ((said.vary >> i & 1) != 0 && x[i] != other.x[i]) return false;
    }
    return true;
  }
};

inline bool MayBeStored(const Kept& kept, const Step& r) {  // 3, 3.5
  const Answer& a = kept.said;
  if (a.no_store || a.is_private || r.no_store || (a.vary & 4) != 0) return false;
  if (r.authorised && !a.is_public && a.s_maxage == kNone && !a.must_revalidate) return false;
  return kept.Lifetime() || a.is_public || a.no_cache || a.status == 200 || a.status == 404;
}

struct PlainCache {
  std::vector<Kept> stored[kUris];

  // The bodies of the responses that may be selected: those with the most recent Date (4).
  std::vector<Kept*> Select(const Step& r) {
    std::vector<Kept*> out;
    for (Kept& kept : stored[r.uri]) {
      if (!kept.Matches(r)) continue;
      if (!out.empty() && kept.date < out[0]->date) continue;
      if (!out.empty() && kept.date > out[0]->date) out.clear();
      out.push_back(&kept);
    }
    return out;
  }
  void Put(int uri, const Kept& kept) {
    std::erase_if(stored[uri], [&](const Kept& old) { return old.SameVariant(kept); });
    stored[uri].push_back(kept);
  }
};

// ---- The same in HTTP.

inline RequestHead Ask(const Step& r) {
  RequestHead out = Request(r.unsafe ? "POST" : "GET", "/" + std::to_string(r.uri));
  for (int i = 0; i < 2; ++i) {
    if (r.x[i] != 0) out.fields.Add("X-" + std::to_string(i), std::to_string(r.x[i]));
  }
  if (r.authorised) out.fields.Add("Authorization", "Basic x");
  std::string control;
  const auto say = [&](const std::string& text) {
    control += (control.empty() ? "" : ", ") + text;
  };
  if (r.no_cache) say("no-cache");
  if (r.no_store) say("no-store");
  if (r.only_if_cached) say("only-if-cached");
  if (r.max_age != kNone) say("max-age=" + std::to_string(r.max_age));
  if (r.min_fresh != kNone) say("min-fresh=" + std::to_string(r.min_fresh));
  if (r.max_stale != kNone) say("max-stale=" + std::to_string(r.max_stale));
  if (!control.empty()) out.fields.Add("Cache-Control", control);
  return out;
}

inline ResponseHead Say(const Answer& a, bool as_304, std::string_view etag, int now) {
  ResponseHead out = Response(static_cast<uint16_t>(as_304 ? 304 : a.status));
  const int date = now - a.date_back;
  out.fields.Add("Date", DateAt(date));
  out.fields.Add("ETag", etag);
  if (a.age != kNone) out.fields.Add("Age", std::to_string(a.age));
  if (a.expires != kNone) out.fields.Add("Expires", DateAt(date + a.expires));
  if (a.modified_back != kNone) out.fields.Add("Last-Modified", DateAt(date - a.modified_back));
  std::string control;
  const auto say = [&](bool said, const std::string& text) {
    if (said) control += (control.empty() ? "" : ", ") + text;
  };
  say(a.s_maxage != kNone, "s-maxage=" + std::to_string(a.s_maxage));
  say(a.max_age != kNone, "max-age=" + std::to_string(a.max_age));
  say(a.swr != kNone, "stale-while-revalidate=" + std::to_string(a.swr));
  say(a.sie != kNone, "stale-if-error=" + std::to_string(a.sie));
  say(a.no_store, "no-store");
  say(a.is_private, "private");
  say(a.no_cache, "no-cache");
  say(a.must_revalidate, "must-revalidate");
  say(a.is_public, "public");
  say(a.immutable, "immutable");
  if (!control.empty()) out.fields.Add("Cache-Control", control);
  if (!as_304 && a.vary != 0) {
    std::string vary;
    if ((a.vary & 1) != 0) vary += "x-0,";
    if ((a.vary & 2) != 0) vary += "X-1,";
    if ((a.vary & 4) != 0) vary += "*,";
    vary.pop_back();
    out.fields.Add("Vary", vary);
  }
  return out;
}

}  // namespace satchel::cache::test::plain
