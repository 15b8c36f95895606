// Purges: by whom, of what, and that they hold.

#include <atomic>
#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class PurgeTest : public ProxyTest {
 protected:
  void StartWith(const std::string& rules = "", const std::string& rest = "") {
    SatchelConfig config = Config();
    config.rules = rules;
    config.rest = rest;
    Start(config);
  }
  Response Purge(const nlohmann::json& what) {
    return Fetch(satchel->admin(), "POST", "/purge", {{"Host", "localhost"}},
                 what.dump());
  }
  bool Hit(std::string_view target, const Fields& fields = {}) {
    return CacheStatus(Get(target, fields)).hit();
  }
  void Store(std::string_view target, const Fields& fields = {}) {
    Get(target, fields);
    EXPECT_TRUE(Hit(target, fields)) << target;
  }
  std::string Url(const std::string& target) { return "http://test" + target; }
};

TEST_F(PurgeTest, ByUrlEveryVariantGoesAndNothingElse) {
  origin.On("/v", Fresh("v", 60, {{"Vary", "Accept"}}));
  origin.On("/w", Fresh("w"));
  StartWith();
  Store("/v", {{"Accept", "a"}});
  Store("/v", {{"Accept", "b"}});
  Store("/w");
  const Response answer = Purge({{"urls", Url("/v")}});
  ASSERT_EQ(answer.status, 200) << Describe(answer);
  EXPECT_FALSE(Hit("/v", {{"Accept", "a"}}));
  EXPECT_FALSE(Hit("/v", {{"Accept", "b"}}));
  EXPECT_TRUE(Hit("/w"));
}

TEST_F(PurgeTest, ByTagsOfTheOriginAndOfTheRule) {
  origin.On("/products/7", Fresh("7", 60, {{"X-Category", "shoes"}}));
  origin.On("/products/8", Fresh("8", 60, {{"X-Category", "hats"}}));
  origin.On("/page", Fresh("page", 60, {{"Surrogate-Key", "front start"}}));
  origin.On("/cell", Fresh("cell"));
  StartWith(R"(
  - name: product
    match: {path: "/products/{id}"}
    cache: {tags: ["product:{id}", "category:{response.header.X-Category}"]}
  - name: rest
    match: {}
    cache: {tags: ["geo:{query.lat},{query.lon}"]}
)");
  for (const char* target : {"/products/7", "/products/8", "/page", "/cell?lat=1&lon=2"}) Store(target);
  ASSERT_EQ(Purge({{"tags", {"product:7", "unknown"}}}).status, 200);
  EXPECT_FALSE(Hit("/products/7"));
  EXPECT_TRUE(Hit("/products/8"));
  ASSERT_EQ(Purge({{"tags", "category:hats"}}).status, 200);
  EXPECT_FALSE(Hit("/products/8"));
  EXPECT_TRUE(Hit("/page"));
  ASSERT_EQ(Purge({{"tags", "start"}}).status, 200);
  EXPECT_FALSE(Hit("/page"));
  EXPECT_TRUE(Hit("/cell?lat=1&lon=2"));
  ASSERT_EQ(Purge({{"tags", "geo:1,2"}}).status, 200);
  EXPECT_FALSE(Hit("/cell?lat=1&lon=2"));
}

TEST_F(PurgeTest, ByTagsFromTheBody) {
  origin.On("/list", Fresh(R"({"related": [{"id": 7}, {"id": "x"}], "n": 3})", 60,
                           {{"Content-Type", "application/json"}}));
  StartWith(R"(
  - name: all
    match: {}
    cache: {tags_from_json: ["product:/related/*/id"]}
)");
  for (const char* tag : {"product:7", "product:x"}) {
    Store("/list");
    Purge({{"tags", "product:8"}});
    EXPECT_TRUE(Hit("/list"));
    Purge({{"tags", tag}});
    EXPECT_FALSE(Hit("/list")) << tag;
  }
}

TEST_F(PurgeTest, ByPrefixHostRuleAndAltogether) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh("x")); });
  StartWith(R"(
  - name: one
    match: {path: "/one/**"}
  - name: two
    match: {path: "/two/**"}
    cache: {key: {host: false}}
)");
  const auto store = [&] {
    for (const char* target : {"/one/a", "/one/b", "/two/a", "/two/b"}) Store(target);
  };
  store();
  ASSERT_EQ(Purge({{"prefixes", Url("/one/a")}}).status, 200);
  EXPECT_FALSE(Hit("/one/a"));
  EXPECT_TRUE(Hit("/one/b"));
  ASSERT_EQ(Purge({{"prefixes", Url("/two/b")}}).status, 200);
  EXPECT_TRUE(Hit("/two/a"));
  EXPECT_FALSE(Hit("/two/b"));
  store();
  ASSERT_EQ(Purge({{"rules", "two"}}).status, 200);
  EXPECT_TRUE(Hit("/one/a"));
  EXPECT_FALSE(Hit("/two/a"));
  store();
  ASSERT_EQ(Purge({{"hosts", "test"}}).status, 200);
  EXPECT_FALSE(Hit("/one/a"));
  EXPECT_FALSE(Hit("/one/b"));
  store();
  ASSERT_EQ(Purge({{"all", true}}).status, 200);
  for (const char* target : {"/one/a", "/one/b", "/two/a", "/two/b"}) EXPECT_FALSE(Hit(target));
}

TEST_F(PurgeTest, SoftlyItIsServedStaleWhileOneRefreshes) {
  std::atomic<int> version{1};
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Respond(Fresh("v" + std::to_string(version), 60,
                           {{"Cache-Control", "max-age=60, stale-while-revalidate=60"},
                            {"Surrogate-Key", "a"}}));
  });
  StartWith();
  Store("/");
  version = 2;
  ASSERT_EQ(Purge({{"tags", "a"}, {"soft", true}}).status, 200);
  EXPECT_EQ(Get("/").body, "v1");
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "v2"; }));
  EXPECT_EQ(origin.RequestCount(), 2u);
  // And without a window it is validated first.
  origin.On("/plain", Fresh("p1", 60, {{"Surrogate-Key", "a"}, {"ETag", "\"1\""}}));
  Store("/plain");
  origin.Next("/plain", Reply{.status = 304, .fields = {{"ETag", "\"1\""}}});
  Purge({{"tags", "a"}, {"soft", true}});
  const Response validated = Get("/plain");
  EXPECT_EQ(validated.body, "p1");
  EXPECT_EQ(CacheStatus(validated).Get("detail"), "revalidated");
  EXPECT_TRUE(Hit("/plain"));
}

TEST_F(PurgeTest, APurgedAnswerStandsInForNoError) {
  origin.On("/", Fresh("old", 1, {{"Cache-Control", "max-age=1, stale-if-error=600"}}));
  StartWith();
  Get("/");
  origin.On("/", {.status = 503});
  Purge({{"urls", Url("/")}});
  EXPECT_EQ(Get("/").status, 503);
}

TEST_F(PurgeTest, WithRefreshTheUrlIsFetchedAtOnce) {
  std::atomic<int> version{1};
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Respond(Fresh("v" + std::to_string(version)));
  });
  StartWith();
  Store("/");
  version = 2;
  ASSERT_EQ(Purge({{"urls", Url("/")}, {"refresh", true}}).status, 200);
  ASSERT_TRUE(origin.WaitForRequests("/", 2));
  EXPECT_TRUE(Eventually([&] { return CacheStatus(Get("/")).hit(); }));
  EXPECT_EQ(Get("/").body, "v2");
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

TEST_F(PurgeTest, WithRefreshWhatATagHitIsFetchedAtOnceAtTheRate) {
  std::atomic<int> version{1};
  origin.Otherwise([&](OriginExchange& exchange) {
    const std::string& target = exchange.request().target;
    Fields fields{{"Surrogate-Key", target.starts_with("/a") ? "a" : "b"}};
    if (target == "/a/varies") fields.Add("Vary", "X-Lang");
    exchange.Respond(
        Fresh("v" + std::to_string(version) + exchange.request().fields.Get("X-Lang"), 60, fields));
  });
  StartWith("", "purge: {refresh_rate: 1000}\n");
  constexpr size_t kPages = 60;
  for (size_t i = 0; i < kPages; ++i) Get("/a/" + std::to_string(i));
  Get("/a/varies", {{"X-Lang", "de"}});
  Get("/a/varies", {{"X-Lang", "en"}});
  Get("/b");
  const size_t before = origin.RequestCount();
  version = 2;
  ASSERT_EQ(Purge({{"tags", "a"}, {"refresh", true}}).status, 200);
  ASSERT_TRUE(origin.WaitForRequests(before + kPages + 2));
  ASSERT_TRUE(Eventually(
      [&] { return satchel->ReadMetrics().Sum("satchel_purge_refreshes_total") == kPages + 2; }));
  for (size_t i = 0; i < kPages; ++i) {
    const std::string target = "/a/" + std::to_string(i);
    EXPECT_TRUE(Eventually([&] { return Get(target).body == "v2"; }));
    EXPECT_TRUE(Hit(target));
  }
  for (const char* lang : {"de", "en"}) {
    EXPECT_TRUE(Eventually(
        [&] { return Get("/a/varies", {{"X-Lang", lang}}).body == std::string("v2") + lang; }));
  }
  EXPECT_EQ(Get("/b").body, "v1");
  EXPECT_EQ(origin.RequestCount(), before + kPages + 2);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_purge_refreshes_dropped_total"), 0);
}

TEST_F(PurgeTest, AFetchUnderWayDoesNotBringTheOldAnswerBack) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Cache-Control", "max-age=60"},
                            {"Surrogate-Key", "a"},
                            {"Content-Length", "3"}});
    exchange.Send("o");
    exchange.Hold("body");
    exchange.Send("ld");
  });
  origin.On("/", Fresh("new", 60, {{"Surrogate-Key", "a"}}));
  StartWith();
  std::thread first([&] { EXPECT_EQ(Get("/").body, "old"); });
  ASSERT_TRUE(origin.WaitUntilHeld("body"));
  Purge({{"tags", "a"}});
  // Who asks after the purge joins nothing that was asked for before it.
  EXPECT_EQ(Get("/").body, "new");
  origin.Release("body");
  first.join();
  EXPECT_EQ(Get("/").body, "new");
}

TEST_F(PurgeTest, WhoWaitedForAnAnswerThatWasPurgedGetsANewOne) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond(Fresh("old", 60, {{"Surrogate-Key", "a"}}));
  });
  origin.On("/", Fresh("new", 60, {{"Surrogate-Key", "a"}}));
  StartWith();
  std::thread first([&] { EXPECT_EQ(Get("/").body, "old"); });
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  Purge({{"tags", "a"}});
  std::thread second([&] { EXPECT_EQ(Get("/").body, "new"); });
  ASSERT_TRUE(Eventually(
      [&] { return satchel->ReadMetrics().Sum("satchel_requests_in_flight") >= 2; }));
  origin.Release("head");
  first.join();
  second.join();
  EXPECT_EQ(Get("/").body, "new");
}

TEST_F(PurgeTest, AValidationOfWhatIsPurgedMeanwhileIsDoneAgainAsAFetch) {
  origin.On("/", Fresh("old", 0, {{"ETag", "\"1\""}, {"Surrogate-Key", "a"}}));
  StartWith();
  Get("/");
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().fields.Get("If-None-Match").empty()) {
      exchange.Respond(Fresh("new", 60, {{"ETag", "\"2\""}, {"Surrogate-Key", "a"}}));
    } else {
      exchange.Hold("validation");
      exchange.Respond({.status = 304, .fields = {{"ETag", "\"1\""}}});
    }
  });
  std::thread asking([&] { EXPECT_EQ(Get("/").body, "new"); });
  ASSERT_TRUE(origin.WaitUntilHeld("validation"));
  Purge({{"tags", "a"}});
  origin.Release("validation");
  asking.join();
  EXPECT_TRUE(Hit("/"));
}

TEST_F(PurgeTest, CacheGroupsAreInvalidatedByTheirNameWithinTheOrigin) {
  origin.On("/a", Fresh("a", 60, {{"Cache-Groups", R"("scripts", "all")"}}));
  origin.On("/b", Fresh("b", 60, {{"Cache-Groups", R"("styles", "all")"}}));
  origin.On("/change", {.status = 200, .fields = {{"Cache-Group-Invalidation", R"("scripts")"}}});
  StartWith();
  const auto store = [&] {
    for (const char* target : {"/a", "/b"}) {
      Store(target);
      Store(target, {{"Host", "other.test"}});
    }
  };
  store();
  Send("POST", "/change");
  EXPECT_FALSE(Hit("/a"));
  EXPECT_TRUE(Hit("/b"));
  EXPECT_TRUE(Hit("/a", {{"Host", "other.test"}}));
  Get("/change");  // a safe method invalidates nothing
  Store("/a");
  Get("/change");
  EXPECT_TRUE(Hit("/a"));
}

TEST_F(PurgeTest, ARuleSaysWhatASuccessPurges) {
  origin.On("/products/7", [](OriginExchange& exchange) {
    exchange.Respond(exchange.request().method == "GET" ? Fresh("7")
                                                        : Reply{.status = exchange.request().fields.Get("X-Fail").empty() ? 204 : 409});
  });
  origin.On("/list", Fresh("list", 60, {{"Surrogate-Key", "product:7 product:8"}}));
  origin.On("/home", Fresh("home"));
  origin.On("/other", Fresh("other"));
  StartWith(R"(
  - name: write
    match: {path: "/products/{id}", method: [PUT, DELETE]}
    on_success: {purge_tags: ["product:{id}"], purge_urls: ["/home"], mode: hard}
  - name: rest
    match: {}
)");
  for (const char* target : {"/products/7", "/list", "/home", "/other"}) Store(target);
  Send("PUT", "/products/7", {{"X-Fail", "1"}});
  EXPECT_TRUE(Hit("/list"));
  Send("PUT", "/products/7");
  for (const char* target : {"/products/7", "/list", "/home"}) EXPECT_FALSE(Hit(target)) << target;
  EXPECT_TRUE(Hit("/other"));
}

TEST_F(PurgeTest, ThePurgeMethodPurgesItsUrlOrTags) {
  origin.On("/a", Fresh("a", 60, {{"xkey", "t"}}));
  origin.On("/b", Fresh("b", 60, {{"xkey", "t"}}));
  StartWith();
  Store("/a");
  Store("/b");
  Response answer = Send("PURGE", "/a");
  EXPECT_EQ(answer.status, 200) << Describe(answer);
  EXPECT_TRUE(nlohmann::json::parse(answer.body)["shared"].get<bool>());
  EXPECT_FALSE(Hit("/a"));
  EXPECT_TRUE(Hit("/b"));
  EXPECT_EQ(Send("PURGE", "/whatever", {{"xkey", "t"}}).status, 200);
  EXPECT_FALSE(Hit("/a"));
  EXPECT_FALSE(Hit("/b"));
  Store("/a");
  EXPECT_EQ(Send("PURGE", "/", {{"Satchel-Purge", "prefix, soft"}}).status, 200);
  EXPECT_FALSE(Hit("/a"));
  EXPECT_EQ(Send("PURGE", "/", {{"Satchel-Purge", "nonsense"}}).status, 400);
  EXPECT_EQ(origin.RequestCount("/whatever"), 0u);
}

TEST_F(PurgeTest, WhoMayPurgeWhatStandsInTheFile) {
  origin.On("/a", Fresh("a", 60, {{"xkey", "t"}}));
  StartWith("", R"(
purge:
  allow:
    - {from: [192.0.2.0/24]}
    - {token: "sesame", may: [tag]}
)");
  Store("/a");
  EXPECT_EQ(Send("PURGE", "/a").status, 403);
  EXPECT_EQ(Send("PURGE", "/a", {{"Authorization", "Bearer sesame"}}).status, 403);
  EXPECT_EQ(Send("PURGE", "/a", {{"xkey", "t"}, {"Authorization", "Bearer wrong"}}).status, 403);
  EXPECT_TRUE(Hit("/a"));
  EXPECT_EQ(Send("PURGE", "/a", {{"xkey", "t"}, {"Authorization", "Bearer sesame"}}).status, 200);
  EXPECT_FALSE(Hit("/a"));
}

TEST_F(PurgeTest, NonsenseIsRefusedWithWhatToWriteInstead) {
  StartWith();
  for (const auto& [body, status] : std::vector<std::pair<std::string, int>>{
           {"", 400},
           {"[]", 400},
           {"{}", 400},
           {R"({"tag": ["a"]})", 400},
           {R"({"tags": [1]})", 400},
           {R"({"tags": [""]})", 400},
           {R"({"all": "yes"})", 400},
           {R"({"urls": ["/relative"]})", 422},
           {R"({"rules": ["unknown"]})", 422},
           {R"({"prefixes": ["shop.example"]})", 422},
           {R"({"hosts": ["a b"]})", 422}}) {
    const Response answer = Fetch(satchel->admin(), "POST", "/purge", {{"Host", "localhost"}}, body);
    EXPECT_EQ(answer.status, status) << body << Describe(answer);
  }
}

TEST_F(PurgeTest, EachPurgeLeavesAnAuditLineAndIsCounted) {
  StartWith();
  Purge({{"tags", {"product:7", "b"}}, {"soft", true}});
  EXPECT_TRUE(Eventually([&] {
    return satchel->process().err().find("soft purge of tags product:7, b") != std::string::npos;
  }));
  const Metrics metrics = satchel->ReadMetrics();
  EXPECT_EQ(metrics.Sum("satchel_purges_total", {"kind=\"tag\"", "mode=\"soft\""}), 2);
  EXPECT_EQ(metrics.Sum("satchel_purge_table_records"), 2);
}

TEST_F(PurgeTest, TheCommandLineAsksTheRunningProgram) {
  origin.On("/a", Fresh("a", 60, {{"xkey", "t"}}));
  StartWith();
  Store("/a");
  const CommandResult done =
      RunSatchel({"purge", "--admin", satchel->admin(), "--tag", "t", "--soft"});
  EXPECT_EQ(done.status, 0) << done.err;
  EXPECT_NE(done.out.find("\"mode\":\"soft\""), std::string::npos) << done.out;
  EXPECT_FALSE(Hit("/a"));
  const CommandResult nothing = RunSatchel({"purge", "--admin", satchel->admin()});
  EXPECT_EQ(nothing.status, 1);
}

TEST_F(PurgeTest, APostThatIsItsResourcesNewAnswerIsStoredAfterItsOwnPurge) {
  origin.On("/r", [](OriginExchange& exchange) {
    if (exchange.request().method == "POST") {
      exchange.Respond(Fresh("after", 60, {{"Content-Location", "/r"}}));
    } else {
      exchange.Respond(Fresh("before"));
    }
  });
  StartWith();
  Store("/r");
  EXPECT_EQ(Send("POST", "/r", {}, "x").body, "after");
  const Response stored = Get("/r");
  EXPECT_EQ(stored.body, "after");
  EXPECT_TRUE(CacheStatus(stored).hit());
}

}  // namespace
}  // namespace satchel::testing
