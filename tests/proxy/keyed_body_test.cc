#include "proxy/keyed_body.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "proxy/canonical_json.h"

namespace satchel::proxy {
namespace {

cache::RequestHead Query(std::string_view type) {
  cache::RequestHead head;
  head.method = cache::Method::kQuery;
  head.method_text = "QUERY";
  if (!type.empty()) head.fields.Add("Content-Type", type);
  return head;
}

cache::BodyIdentity Identify(std::string_view body, bool json = true,
                             std::string_view type = "application/json") {
  Counter held{0};
  KeyedBody kept(held, 4096);
  EXPECT_TRUE(kept.Append(body));
  return kept.Identify(Query(type), json);
}

TEST(CanonicalJsonTest, J3_WhatMeansTheSameIsTheSame) {
  const auto text = CanonicalJson(R"({"a":1,"b":[true,null,"x"]})");
  ASSERT_TRUE(text);
  EXPECT_EQ(CanonicalJson(" { \"b\" : [ true , null,\n\"\\u0078\" ] , \"a\" : 1 } "), text);
  EXPECT_EQ(CanonicalJson("{}"), CanonicalJson(" { } "));
}

TEST(CanonicalJsonTest, J3_WhatMeansAnotherThingIsNotTheSame) {
  const char* texts[] = {"{\"a\":1}",
                         "{\"a\":\"1\"}",
                         "{\"a\":[1]}",
                         "{\"a\":null}",
                         "{\"a\":true}",
                         "[\"a\",1]",
                         "[1,2]",
                         "[2,1]",
                         "[12]",
                         "[[1],2]",
                         "[[1,2]]",
                         "{}",
                         "[]",
                         "\"\"",
                         "\"{}\"",
                         "{\"a\":{\"b\":1}}",
                         "{\"a\":\"b\",\"c\":1}",
                         "{\"b\":\"a\",\"c\":1}",
                         // More digits than a double holds.
                         "18446744073709551617",
                         "18446744073709551618",
                         "0.12345678901234567891",
                         "0.12345678901234567892"};
  std::set<std::string> seen;
  for (const char* text : texts) {
    const auto canonical = CanonicalJson(text);
    ASSERT_TRUE(canonical) << text;
    EXPECT_TRUE(seen.insert(*canonical).second) << text;
  }
}

TEST(CanonicalJsonTest, J3_WhatReadersDisagreeAboutHasNoCanonicalForm) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("{\"a\":1,\"a\":2}"),
        std::string("{\"a\":1,\"\\u0061\":1}"), std::string("\xEF\xBB\xBF{}"), std::string("{} x"),
        std::string("[1,]"), std::string("'a'"), std::string("1e999"), std::string("\"\xff\""),
        std::string("\"\\ud800\""), std::string(65, '[') + std::string(65, ']')}) {
    EXPECT_FALSE(CanonicalJson(text)) << text;
  }
  EXPECT_TRUE(CanonicalJson(std::string(64, '[') + std::string(64, ']')));
  EXPECT_FALSE(CanonicalJson(std::string(1 << 20, '[')));
}

TEST(KeyedBodyTest, J3_ABodyIsTheSameByItsBytesOrWhereAskedByItsMeaning) {
  EXPECT_EQ(Identify("{\"a\":1}").digest, Identify("{ \"a\": 1 }").digest);
  EXPECT_TRUE(Identify("{\"a\":1}").canonical);
  EXPECT_EQ(Identify("{}", true, "application/ld+json; charset=utf-8").digest,
            Identify("{ }", true, "application/ld+json; charset=utf-8").digest);
  EXPECT_NE(Identify("{\"a\":1}", false).digest, Identify("{ \"a\": 1 }", false).digest);
  EXPECT_NE(Identify("{}", true, "text/plain").digest, Identify("{ }", true, "text/plain").digest);
  EXPECT_NE(Identify("{}", true, "").digest, Identify("{ }", true, "").digest);
  EXPECT_FALSE(Identify("{\"a\":1,\"a\":2}").canonical);
  EXPECT_EQ(Identify("abc", false).length, 3u);
}

TEST(KeyedBodyTest, ACompressedBodyIsNoJson) {
  cache::RequestHead head = Query("application/json");
  head.fields.Add("Content-Encoding", "gzip");
  Counter held{0};
  KeyedBody body(held, 100);
  body.Append("{}");
  EXPECT_FALSE(body.Identify(head, true).canonical);
}

TEST(KeyedBodyTest, NothingIsTakenBeyondTheLimitOfTheRuleOrTheBudgetOfTheWorker) {
  Counter held{0};
  {
    KeyedBody body(held, 10);
    EXPECT_TRUE(body.Append("12345"));
    EXPECT_TRUE(body.Append("67890"));
    EXPECT_FALSE(body.Append("1"));
    EXPECT_EQ(body.bytes(), "1234567890");
    EXPECT_EQ(Read(held), 10u);
    Add(held, KeyedBody::kBudget - 15);
    KeyedBody other(held, 10);
    EXPECT_TRUE(other.Append("12345"));
    EXPECT_FALSE(other.Append("6"));
    Subtract(held, KeyedBody::kBudget - 15);
  }
  EXPECT_EQ(Read(held), 0u);
}

}  // namespace
}  // namespace satchel::proxy
