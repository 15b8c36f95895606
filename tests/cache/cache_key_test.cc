#include "cache/cache_key.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::Request;

std::string KeyOf(const RequestHead& request, const KeyRule& rule = {}) {
  CacheKey key;
  key.Build(request, rule);
  return std::string(key.text());
}
std::string KeyOf(std::string_view target, const KeyRule& rule = {}) {
  return KeyOf(Request("GET", target), rule);
}

// RFC 9111 2: "the cache key is [...] comprised of, at a minimum, the request method and target
// URI".
TEST(CacheKeyTest, C9_ThePlainKeyIsTheUriByteForByteForAllMethods) {
  EXPECT_EQ(KeyOf("/a/../%2E?b=%20&a&&"), "http://example.com/a/../%2E?b=%20&a&&");
  EXPECT_EQ(KeyOf(Request("HEAD", "/a")), KeyOf(Request("POST", "/a")));
  EXPECT_NE(KeyOf("/a?"), KeyOf("/a"));
  EXPECT_NE(KeyOf("/a?b=1&c=2"), KeyOf("/a?c=2&b=1"));
  RequestHead other = Request("GET", "/a");
  other.authority = "other.com";
  EXPECT_NE(KeyOf(other), KeyOf("/a"));
  other = Request("GET", "/a");
  other.scheme = "https";
  EXPECT_NE(KeyOf(other), KeyOf("/a"));
}

TEST(CacheKeyTest, EqualityIsOnTheText) {
  CacheKey a;
  CacheKey b("http://example.com/a");
  a.BuildUri("http", "example.com", "/a");
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.hash(), b.hash());
  a.BuildUri("http", "example.com", "/b");
  EXPECT_FALSE(a == b);
  EXPECT_NE(a.hash(), b.hash());
  const uint64_t seed = HashSeed();
  const uint64_t before = b.hash();
  SetHashSeed(seed + 1);
  EXPECT_NE(CacheKey("http://example.com/a").hash(), before);
  SetHashSeed(seed);
}

TEST(CacheKeyTest, AllowAndDenyNameParametersByGlob) {
  KeyRule deny;
  deny.query_deny = {"utm_*", "fbclid"};
  EXPECT_EQ(KeyOf("/p?utm_source=x&id=7&fbclid=1&UTM_x=2", deny),
            "http://example.com/p?id=7&UTM_x=2");
  EXPECT_EQ(KeyOf("/p?utm_source=x", deny), "http://example.com/p");
  EXPECT_EQ(KeyOf("/p", deny), "http://example.com/p");
  EXPECT_EQ(KeyOf("/p?id=1&&id=2", deny), "http://example.com/p?id=1&id=2");
  KeyRule allow;
  allow.query_allow = {"id", "*_page"};
  EXPECT_EQ(KeyOf("/p?a=1&id=7&my_page=2&page=3", allow), "http://example.com/p?id=7&my_page=2");
}

// What the origin reads as "id" is "id" to the rule too, or it would go unkeyed.
TEST(CacheKeyTest, EscapesDoNotHideParameterNames) {
  KeyRule allow;
  allow.query_allow = {"id"};
  EXPECT_EQ(KeyOf("/p?%69d=7&x=1", allow), "http://example.com/p?%69d=7");
  KeyRule deny;
  deny.query_deny = {"utm_*"};
  EXPECT_EQ(KeyOf("/p?utm%5fx=1&id=7", deny), "http://example.com/p?id=7");
  EXPECT_EQ(KeyOf("/p?utm_x=1;id=7", deny), "http://example.com/p?utm_x=1;id=7");
}

TEST(CacheKeyTest, SortingKeepsTheOrderOfEqualNames) {
  KeyRule rule;
  rule.query_sort = true;
  EXPECT_EQ(KeyOf("/p?b=2&a=2&a=1&c", rule), "http://example.com/p?a=2&a=1&b=2&c");
}

TEST(CacheKeyTest, GlobsWithManyStarsEndSoon) {
  KeyRule rule;
  rule.query_deny = {"*a*a*a*a*a*a*a*a*b"};
  const std::string name(30000, 'a');
  EXPECT_EQ(KeyOf("/p?" + name, rule), "http://example.com/p?" + name);
  rule.query_deny = {"*x*y*"};
  EXPECT_EQ(KeyOf("/p?axbyc=1&axb=1", rule), "http://example.com/p?axb=1");
}

// Whatever differs in what the rule names gives another text; nothing can be put on.
TEST(CacheKeyTest, J3_MethodBodyAndKindOfBodyArePartOfTheKeyOfAReadWithABody) {
  const auto key = [](const std::function<void(RequestHead&, BodyIdentity&)>& change) {
    RequestHead request = Request("GET", "/search");
    request.method = Method::kQuery;
    request.method_text = "QUERY";
    request.fields.Add("Content-Type", "text/plain");
    BodyIdentity body{"d1", 7, false};
    change(request, body);
    CacheKey out;
    out.Build(request, {});
    out.AddBody(request, body);
    return std::string(out.text());
  };
  CacheKey plain;
  plain.Build(Request("GET", "/search"), {});
  std::set<std::string> seen{std::string(plain.text())};
  const std::function<void(RequestHead&, BodyIdentity&)> changes[] = {
      [](auto&, auto&) {},
      [](auto& r, auto&) { r.method_text = "POST"; },
      [](auto& r, auto&) { r.target = "/other"; },
      [](auto& r, auto&) { r.fields.Set(FieldId::kContentType, "text/html"); },
      [](auto& r, auto&) { r.fields.Remove(FieldId::kContentType); },
      [](auto& r, auto&) { r.fields.Set(FieldId::kContentEncoding, "gzip"); },
      [](auto& r, auto&) { r.fields.Set(FieldId::kContentLanguage, "de"); },
      [](auto&, auto& b) { b.digest = "d2"; },
      [](auto&, auto& b) { b.length = 8; },
      [](auto&, auto& b) { b.canonical = true; },
  };
  for (const auto& change : changes) EXPECT_TRUE(seen.insert(key(change)).second) << key(change);
  EXPECT_EQ(key([](auto&, auto&) {}), key([](auto&, auto&) {}));
}

TEST(CacheKeyTest, PartsAreDelimited) {
  KeyRule rule;
  rule.headers = {"X-A", "X-B"};
  rule.cookies = {"sid", "t"};
  std::set<std::string> keys;
  size_t count = 0;
  const auto add = [&](test::Fields fields) {
    ++count;
    keys.insert(KeyOf(Request("GET", "/", fields), rule));
  };
  add({});
  add({{"X-A", ""}});
  add({{"X-B", ""}});
  add({{"X-A", "1"}});
  add({{"X-B", "1"}});
  add({{"X-A", "1"}, {"X-B", "1"}});
  add({{"X-A", "1\nhx-b=1:1"}});
  add({{"X-A", "11"}});
  add({{"X-A", "1"}, {"X-A", "1"}});
  add({{"Cookie", "sid=1"}});
  add({{"Cookie", "sid=1; t=2"}});
  add({{"Cookie", "sid="}});
  add({{"Cookie", "t=1"}});
  EXPECT_EQ(keys.size(), count);
  EXPECT_EQ(KeyOf(Request("GET", "/", {{"Cookie", "sid=1; other=2"}}), rule),
            KeyOf(Request("GET", "/", {{"Cookie", "x=1"}, {"Cookie", "sid=1"}}), rule));
  EXPECT_EQ(KeyOf(Request("GET", "/", {{"x-a", "1"}, {"X-C", "2"}}), rule),
            KeyOf(Request("GET", "/", {{"X-A", "1"}}), rule));
}

TEST(CacheKeyTest, VersionSchemeAndHostAreSwitches) {
  KeyRule rule;
  rule.version = 2;
  EXPECT_NE(KeyOf("/a", rule), KeyOf("/a"));
  KeyRule no_host;
  no_host.host = false;
  RequestHead other = Request("GET", "/a");
  other.authority = "other.com";
  EXPECT_EQ(KeyOf(other, no_host), KeyOf("/a", no_host));
  KeyRule no_scheme;
  no_scheme.scheme = false;
  RequestHead secure = Request("GET", "/a");
  secure.scheme = "https";
  EXPECT_EQ(KeyOf(secure, no_scheme), KeyOf("/a", no_scheme));
}

}  // namespace
}  // namespace satchel::cache
