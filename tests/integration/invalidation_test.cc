// Unsafe methods make stored answers go (RFC 9111 4.4).

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class InvalidationTest : public ProxyTest {
 protected:
  // Stores /thing, sends the request, and tells whether /thing has to be fetched again.
  bool Invalidates(std::string_view method, const Reply& reply,
                   const std::string& target = "/thing", const Fields& fields = {}) {
    origin.On("/thing", [reply, this](OriginExchange& exchange) {
      if (exchange.request().method == "GET") {
        exchange.Respond(Fresh("thing"));
      } else {
        exchange.Respond(reply);
      }
    });
    origin.On("/other", reply);
    Get("/thing");
    EXPECT_TRUE(CacheStatus(Get("/thing")).hit());
    Response response = Send(method, target, fields, "x");
    EXPECT_EQ(response.status, reply.status) << Describe(response);
    return !CacheStatus(Get("/thing")).hit();
  }
};

TEST_F(InvalidationTest, SuccessfulUnsafeMethodsInvalidateTheirTarget) {
  Start();
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FROB"}) {
    EXPECT_TRUE(Invalidates(method, {.status = 200})) << method;
  }
  EXPECT_TRUE(Invalidates("POST", {.status = 302, .fields = {{"Location", "/x"}}}));
  EXPECT_TRUE(Invalidates("DELETE", {.status = 204}));
}

TEST_F(InvalidationTest, FailuresInvalidateNothing) {
  Start();
  for (int status : {400, 404, 409, 500, 503}) {
    EXPECT_FALSE(Invalidates("POST", {.status = status})) << status;
  }
}

TEST_F(InvalidationTest, SafeMethodsInvalidateNothing) {
  Start();
  for (const char* method : {"OPTIONS", "PROPFIND", "REPORT"}) {
    EXPECT_FALSE(Invalidates(method, {.status = 200})) << method;
  }
}

TEST_F(InvalidationTest, LocationAndContentLocationOfTheSameOriginGoToo) {
  Start();
  for (const char* field : {"Location", "Content-Location"}) {
    EXPECT_TRUE(Invalidates("POST", {.status = 201, .fields = {{field, "/thing"}}}, "/other"))
        << field;
    EXPECT_TRUE(Invalidates("POST", {.status = 201, .fields = {{field, "thing"}}}, "/other"))
        << field;
    EXPECT_TRUE(
        Invalidates("POST", {.status = 201, .fields = {{field, "http://test/thing"}}}, "/other"))
        << field;
    EXPECT_FALSE(
        Invalidates("POST", {.status = 201, .fields = {{field, "http://evil/thing"}}}, "/other"))
        << field;
  }
}

TEST_F(InvalidationTest, AllVariantsGo) {
  origin.On("/",
            [](OriginExchange& exchange) { exchange.Respond(Fresh("x", 60, {{"Vary", "X-V"}})); });
  Start();
  for (const char* value : {"a", "b"}) Get("/", {{"X-V", value}});
  for (const char* value : {"a", "b"}) {
    EXPECT_TRUE(CacheStatus(Get("/", {{"X-V", value}})).hit()) << value;
  }
  Send("POST", "/");
  for (const char* value : {"a", "b"}) {
    EXPECT_FALSE(CacheStatus(Get("/", {{"X-V", value}})).hit()) << value;
  }
}

TEST_F(InvalidationTest, AFillThatBeganBeforeDoesNotOutliveTheInvalidation) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("old");
    exchange.Respond(Fresh("old"));
  });
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(exchange.request().method == "GET" ? Fresh("new") : Reply{.body = "done"});
  });
  Start();
  RawClient reader = satchel->Connect();
  reader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("old"));
  EXPECT_EQ(Send("POST", "/").body, "done");
  origin.Release("old");
  reader.Read();
  EXPECT_EQ(Get("/").body, "new");
}

TEST_F(InvalidationTest, C8_APostIsStoredForGetWhateverElseIsInvalidatedMeanwhile) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.ReadBody();
    exchange.Respond(Fresh("other"));
  });
  origin.On("/page", [](OriginExchange& exchange) {
    exchange.ReadBody();
    exchange.Hold("posted");
    exchange.Respond(Fresh("posted", 60, {{"Content-Location", "/page"}}));
  });
  Start();
  for (const bool same : {false, true}) {
    origin.HoldAgain("posted");
    RawClient poster = satchel->Connect();
    poster.Send(Request("POST", "/page", {}, "change"));
    ASSERT_TRUE(origin.WaitUntilHeld("posted"));
    if (!same) {
      Send("PUT", "/another", {}, "change");
    } else {
      // It may be older than what this one has done.
      origin.Next("/page", Fresh("put"));
      EXPECT_EQ(Send("PUT", "/page", {}, "change").body, "put");
    }
    origin.Release("posted");
    EXPECT_EQ(poster.Read("POST").body, "posted");
    if (same) origin.Next("/page", Fresh("fetched"));
    EXPECT_EQ(Get("/page").body, same ? "fetched" : "posted");
  }
}

TEST_F(InvalidationTest, APostWithItsOwnContentLocationIsStoredForGet) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(Fresh("by " + exchange.request().method, 60, {{"Content-Location", "/"}}));
  });
  Start();
  Get("/");
  Send("POST", "/", {}, "x");
  EXPECT_EQ(Get("/").body, "by POST");  // RFC 9110 9.3.3
}

// What is not cached itself may still change what is.
TEST_F(InvalidationTest, I1_AMethodWhoseRuleCachesNothingInvalidatesAllTheSame) {
  SatchelConfig config = Config();
  config.rules =
      "  - {name: write, match: {path: \"/**\", method: [PUT]}, upstream: app, cache: false}\n"
      "  - {name: read, upstream: app}\n";
  Start(config);
  EXPECT_TRUE(Invalidates("PUT", {.status = 204}));
}

TEST_F(InvalidationTest, I2_WhatIsNamedIsFoundByTheKeyOfItsOwnRule) {
  SatchelConfig config = Config();
  config.rules =
      "  - {name: write, match: {path: /other}, upstream: app}\n"
      "  - {name: read, match: {path: /thing}, upstream: app,\n"
      "     cache: {key: {query: {deny: [\"utm_*\"]}}}}\n";
  Start(config);
  for (const char* field : {"Location", "Content-Location"}) {
    EXPECT_TRUE(
        Invalidates("POST", {.status = 201, .fields = {{field, "/thing?utm_source=x"}}}, "/other"))
        << field;
  }
}

// RFC 9875 2: in a group by what it says now, whichever answer said it.
TEST_F(InvalidationTest, J1_GroupsThatAnUpdateNamesCountFromThenOn) {
  origin.On("/change", {.fields = {{"Cache-Group-Invalidation", "\"g\""}}});
  for (const std::string method : {"GET", "HEAD"}) {
    const std::string target = "/" + method;
    origin.On(target, [](OriginExchange& exchange) {
      const OriginRequest& request = exchange.request();
      Reply reply = Fresh("body", 60, {{"ETag", "\"1\""}});
      if (request.method == "HEAD" || request.fields.Has("If-None-Match")) {
        reply.fields.Add("Cache-Groups", "\"g\"");
      }
      if (request.fields.Has("If-None-Match")) {
        reply.status = 304;
        reply.body.clear();
      }
      exchange.Respond(reply);
    });
    if (!satchel) Start();
    Get(target);
    EXPECT_EQ(Send(method, target, {{"Cache-Control", "no-cache"}}).status, 200);
    const Response hit = Get(target);
    EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
    EXPECT_EQ(hit.Get("Cache-Groups"), "\"g\"") << method;
    Send("POST", "/change");
    EXPECT_FALSE(CacheStatus(Get(target)).hit()) << method;
  }
}

}  // namespace
}  // namespace satchel::testing
