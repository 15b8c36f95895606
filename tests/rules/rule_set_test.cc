#include "rules/rule_set.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/rules/fake_loader.h"

// Counts allocations of the whole test binary.
namespace {
thread_local size_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// The pair of the one above: sanitizers would pair their own with our delete.
void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++allocations;
  return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*size*/) noexcept { std::free(memory); }

namespace satchel::rules {
namespace {

using Status = MatchResult::Status;

cache::RequestHead Request(std::string_view method, std::string_view authority,
                           std::string_view target,
                           std::initializer_list<std::pair<const char*, const char*>> fields = {}) {
  cache::RequestHead request;
  request.method_text = method;
  request.method = cache::ParseMethod(method);
  request.scheme = "http";
  request.authority = authority;
  request.target = target;
  for (const auto& [name, value] : fields) request.fields.Add(name, value);
  return request;
}

RuleSet SetOf(std::string_view rules) {
  const Config config = MustParse(Framed(rules));
  auto set = RuleSet::Build(config.rules, config.rate_limits);
  EXPECT_TRUE(set.has_value());
  return std::move(*set);
}

std::string NameOf(const MatchResult& result) {
  switch (result.status) {
    case Status::kMatched:
      return result.rule->name;
    case Status::kNoRule:
      return "(none)";
    case Status::kBadPath:
      return "(bad path)";
  }
  return "";
}

TEST(RuleSetTest, TheFirstRuleThatMatchesWins) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: one, match: {path: /a/*, method: GET}}\n"
      "  - {name: two, match: {path: \"/a/**\"}}\n"
      "  - {name: three, match: {}}\n");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/a/b"))), "one");
  EXPECT_EQ(NameOf(set.Match(Request("POST", "h", "/a/b"))), "two");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/a/b/c"))), "two");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/"))), "three");
  EXPECT_EQ(NameOf(set.Match(Request("OPTIONS", "h", "*"))), "three");
}

TEST(RuleSetTest, NoRuleMayMatch) {
  const RuleSet set = SetOf("rules: [{name: a, match: {host: x.test}}]\n");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "y.test", "/"))), "(none)");
}

TEST(RuleSetTest, NoSpellingWalksAroundAPath) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: admin, match: {path: \"/admin/**\"}}\n"
      "  - {name: rest, match: {}}\n");
  for (const char* target :
       {"/admin", "/admin/", "/admin/x?y", "//admin/x", "/%61dmin/x", "/x/../admin",
        "/x/%2e%2e/admin", "/./admin/x", "/admin%2fx", "/x/..%2Fadmin/y", "/%2561/../admin/x"}) {
    EXPECT_EQ(NameOf(set.Match(Request("GET", "h", target))), "admin") << target;
  }
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/%2561dmin"))), "rest");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/x?p=/../admin"))), "rest");
}

TEST(RuleSetTest, AnInvalidEscapeIsABadPath) {
  const RuleSet set = SetOf("rules: [{name: a}]\n");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/%zz"))), "(bad path)");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/x%"))), "(bad path)");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "h", "/x?%zz"))), "a");
}

TEST(RuleSetTest, HostsAreComparedWithoutThePortUnlessThePatternHasOne) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: port, match: {host: \"shop.test:8080\"}}\n"
      "  - {name: plain, match: {host: Shop.test}}\n"
      "  - {name: glob, match: {host: [\"*.shop.test\", \"[::1]\"]}}\n");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "shop.test:8080", "/"))), "port");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "shop.test:8081", "/"))), "plain");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "shop.test", "/"))), "plain");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "a.shop.test", "/"))), "glob");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "[::1]:80", "/"))), "glob");
  EXPECT_EQ(NameOf(set.Match(Request("GET", "a.b.shop.test", "/"))), "(none)");
}

TEST(RuleSetTest, MethodsOfAnyNameCanBeMatched) {
  const RuleSet set = SetOf(
      "rules: [{name: a, match: {method: [QUERY, BREW]}}, {name: b, match: {method: DELETE}}]\n");
  EXPECT_EQ(NameOf(set.Match(Request("QUERY", "h", "/"))), "a");
  EXPECT_EQ(NameOf(set.Match(Request("BREW", "h", "/"))), "a");
  EXPECT_EQ(NameOf(set.Match(Request("DELETE", "h", "/"))), "b");
  EXPECT_EQ(NameOf(set.Match(Request("BREWS", "h", "/"))), "(none)");
}

TEST(RuleSetTest, HeadersQueriesAndCookiesAreConditions) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: json, match: {header: {Content-Type: [\"application/json*\", text/json]}}}\n"
      "  - {name: debug, match: {header: x-debug}}\n"
      "  - {name: page, match: {query: {page: \"regex:[0-9]+\"}}}\n"
      "  - {name: q, match: {query: q}}\n"
      "  - {name: sid, match: {cookie: sid}}\n"
      "  - {name: lang, match: {cookie: {lang: \"de*\"}}}\n");
  const auto name = [&](const char* target,
                        std::initializer_list<std::pair<const char*, const char*>> fields) {
    return NameOf(set.Match(Request("GET", "h", target, fields)));
  };
  EXPECT_EQ(name("/", {{"content-type", "application/json; charset=utf-8"}}), "json");
  EXPECT_EQ(name("/", {{"Content-Type", "text/json"}}), "json");
  EXPECT_EQ(name("/", {{"Content-Type", "text/plain"}}), "(none)");
  EXPECT_EQ(name("/", {{"X-Debug", ""}}), "debug");
  EXPECT_EQ(name("/?page=12", {}), "page");
  EXPECT_EQ(name("/?x=1&page=%312", {}), "page");
  EXPECT_EQ(name("/?p%61ge=12", {}), "page");
  EXPECT_EQ(name("/?page=x", {}), "(none)");
  EXPECT_EQ(name("/?page=x&page=3", {}), "page");
  EXPECT_EQ(name("/?q", {}), "q");
  EXPECT_EQ(name("/?q=%zz", {}), "q");
  EXPECT_EQ(name("/?qq=1", {}), "(none)");
  EXPECT_EQ(name("/", {{"Cookie", "a=b; sid=1"}}), "sid");
  EXPECT_EQ(name("/", {{"Cookie", "xsid=1"}}), "(none)");
  EXPECT_EQ(name("/", {{"Cookie", "a=b"}, {"Cookie", "lang=de-AT"}}), "lang");
}

TEST(RuleSetTest, CapturesAreFilledAndRewritten) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: a, match: {path: \"/old/{id}/{rest**}\"}, rewrite: \"/new/{rest}/{id}\"}\n"
      "  - {name: b, match: {path: /plain}}\n");
  Captures captures;
  auto request = Request("GET", "h", "/old/7/a/b%20c?x=%20y");
  auto result = set.Match(request, &captures);
  ASSERT_EQ(NameOf(result), "a");
  ASSERT_NE(captures.Find("rest"), nullptr);
  EXPECT_EQ(*captures.Find("rest"), "a/b c");
  EXPECT_EQ(captures.Find("nothing"), nullptr);
  EXPECT_EQ(RewriteTarget(*result.rule, captures, request), "/new/a/b%20c/7?x=%20y");

  request = Request("GET", "h", "/plain?a=b");
  result = set.Match(request, &captures);
  EXPECT_EQ(captures.size, 0U);
  EXPECT_EQ(RewriteTarget(*result.rule, captures, request), "/plain?a=b");
}

TEST(RuleSetTest, ARewriteCannotBeLedAstrayByWhatItCaptures) {
  const RuleSet set = SetOf("rules: [{name: a, match: {path: \"/f/{x}\"}, rewrite: \"/g/{x}\"}]\n");
  Captures captures;
  const auto request = Request("GET", "h", "/f/a%3Fb%23c%0d%0a%252e");
  const auto result = set.Match(request, &captures);
  EXPECT_EQ(RewriteTarget(*result.rule, captures, request), "/g/a%3Fb%23c%0D%0A%252e");
}

TEST(RuleSetTest, ExplainsWhyEarlierRulesDidNotMatch) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: a, match: {path: \"/api/**\"}}\n"
      "  - {name: b, match: {method: [PUT, POST]}}\n"
      "  - {name: c, match: {host: \"*.test\"}}\n"
      "  - {name: d, match: {header: X-A}}\n"
      "  - {name: e, match: {query: {q: [x, y]}}}\n"
      "  - {name: f, match: {cookie: {sid: z}}}\n"
      "  - {name: g}\n"
      "  - {name: h}\n");
  const auto request = Request("GET", "h:80", "/x?q=1", {{"Cookie", "sid=secret"}});
  std::string text;
  for (const Mismatch& mismatch : set.Explain(request)) {
    text += mismatch.rule->name + ": " + mismatch.why + "\n";
  }
  EXPECT_EQ(text,
            "a: path \"/x\" does not match \"/api/**\"\n"
            "b: method \"GET\" is not \"PUT\" or \"POST\"\n"
            "c: host \"h:80\" does not match \"*.test\"\n"
            "d: header \"X-A\" is absent\n"
            "e: query parameter \"q\" does not match \"x\" or \"y\"\n"
            "f: cookie \"sid\" does not match \"z\"\n");
}

TEST(RuleSetTest, AllPoliciesThatMatchApply) {
  const RuleSet set = SetOf(
      "rate_limits:\n"
      "  - {name: all, identify: client_ip, limits: [{rate: 1/1s}]}\n"
      "  - {name: api, match: {path: \"/api/**\"}, identify: client_ip, limits: [{rate: 1/1s}],\n"
      "     cost: [{match: {path: /api/export}, units: 10}, {match: {method: POST}, units: 3}]}\n");
  std::vector<const RateLimitPolicy*> policies;
  set.MatchLimits(Request("GET", "h", "/x"), &policies);
  ASSERT_EQ(policies.size(), 1U);
  EXPECT_EQ(policies[0]->name, "all");
  policies.clear();
  set.MatchLimits(Request("GET", "h", "/%61pi/y"), &policies);
  ASSERT_EQ(policies.size(), 2U);
  EXPECT_EQ(policies[1]->name, "api");
  EXPECT_EQ(set.CostOf(*policies[1], Request("GET", "h", "/api/export")), 10U);
  EXPECT_EQ(set.CostOf(*policies[1], Request("POST", "h", "/api/y")), 3U);
  EXPECT_EQ(set.CostOf(*policies[1], Request("GET", "h", "/api/y")), 1U);
  EXPECT_EQ(set.CostOf(*policies[0], Request("GET", "h", "/api/export")), 1U);
  policies.clear();
  set.MatchLimits(Request("GET", "h", "/%zz"), &policies);
  EXPECT_TRUE(policies.empty());
}

TEST(RuleSetTest, ABadPatternIsRefusedNotMatched) {
  Rule rule;
  rule.name = "broken";
  rule.match.paths = {"regex:("};
  const auto set = RuleSet::Build({rule}, {});
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().message,
            "broken: match: path \"regex:(\" is not a regular expression: missing ): (; write RE2 "
            "syntax");
}

TEST(RuleSetTest, ATypicalRequestIsMatchedWithoutAllocating) {
  const RuleSet set = SetOf(
      "rules:\n"
      "  - {name: a, match: {host: \"*.other.test\", path: \"/api/**\"}}\n"
      "  - {name: b, match: {path: \"/api/products/*/reviews\", method: [GET, HEAD]}}\n"
      "  - {name: c, match: {path: \"/img/*.png\", header: {Accept: \"image/*\"}}}\n"
      "  - {name: d, match: {path: \"/api/products/{id}\", cookie: {sid: \"a*\"}, query: {v: 2}}}\n"
      "rate_limits: [{name: l, match: {path: \"/api/**\"}, identify: client_ip, limits: [{rate: "
      "1/1s}]}]\n");
  const auto request = Request("GET", "shop.example.test:8080", "/api/products/42?x=1&v=2",
                               {{"Accept", "text/html"}, {"Cookie", "theme=dark; sid=abc"}});
  Captures captures;
  std::vector<const RateLimitPolicy*> policies;
  policies.reserve(4);
  const size_t before = allocations;
  const MatchResult plain = set.Match(request);
  const MatchResult captured = set.Match(request, &captures);
  set.MatchLimits(request, &policies);
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(NameOf(plain), "d");
  EXPECT_EQ(NameOf(captured), "d");
  EXPECT_EQ(policies.size(), 1U);
}

}  // namespace
}  // namespace satchel::rules
