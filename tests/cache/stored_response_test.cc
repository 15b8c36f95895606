#include "cache/stored_response.h"

#include <gtest/gtest.h>

#include "cache/cache_key.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::PartsOf;
using testing::Pattern;
using testing::Response;

TEST(StoredResponseTest, TheHeaderBlockIsReadyToBeSent) {
  StoredResponse::Parts parts = PartsOf({.body = "hello"});
  parts.fields.Add("X-Twice", "a");
  parts.fields.Add("X-Twice", "b");
  EXPECT_EQ(StoredResponse::Make(parts)->header_block(),
            "HTTP/1.1 200 OK\r\n"
            "Content-Type: text/plain\r\n"
            "X-Twice: a\r\n"
            "X-Twice: b\r\n"
            "Content-Length: 5\r\n");
}

TEST(StoredResponseTest, ACompleteBodyReplacesAnyContentLength) {
  StoredResponse::Parts parts = PartsOf({.body = "hello"});
  parts.fields.Add("Content-Length", "4711");
  parts.fields.Add("content-length", "12");
  const StoredPtr response = StoredResponse::Make(parts);
  const HeaderMap fields = response->Fields();
  EXPECT_EQ(fields.Count(FieldId::kContentLength), 1u);
  EXPECT_EQ(fields.First(FieldId::kContentLength), "5");
}

TEST(StoredResponseTest, AHeadOfUnknownLengthHasNoContentLength) {
  const StoredPtr head = StoredResponse::Make(PartsOf({}));
  EXPECT_FALSE(head->complete());
  EXPECT_FALSE(head->Fields().Has(FieldId::kContentLength));
}

TEST(StoredResponseTest, AHeadOfKnownLengthKeepsItOnce) {
  StoredResponse::Parts parts = PartsOf({});
  parts.fields.Add("Content-Length", "10");
  parts.fields.Add("Content-Length", "10");
  const HeaderMap fields = StoredResponse::Make(parts)->Fields();
  EXPECT_EQ(fields.Count(FieldId::kContentLength), 1u);
  EXPECT_EQ(fields.First(FieldId::kContentLength), "10");
}

TEST(StoredResponseTest, AnEmptyBodyThatIsCompleteHasLengthZero) {
  StoredResponse::Parts parts = PartsOf({});
  parts.complete = true;
  EXPECT_EQ(StoredResponse::Make(parts)->Fields().First(FieldId::kContentLength), "0");
  const StoredPtr head = StoredResponse::Make(PartsOf({}));
  EXPECT_EQ(StoredResponse::WithBody(*head, Body())->Fields().First(FieldId::kContentLength), "0");
}

TEST(StoredResponseTest, StatusesWithoutBodyHaveNoContentLength) {
  for (const uint16_t status : {101, 204, 304}) {
    StoredResponse::Parts parts = PartsOf({});
    parts.facts.status = status;
    parts.fields.Add("Content-Length", "0");
    parts.complete = true;
    EXPECT_FALSE(StoredResponse::Make(parts)->Fields().Has(FieldId::kContentLength)) << status;
  }
}

TEST(StoredResponseTest, FieldsWrittenAtEverySendingAreLeftOut) {
  StoredResponse::Parts parts = PartsOf({.body = "x"});
  parts.fields.Add("Age", "3");
  parts.fields.Add("Cache-Status", "other; hit");
  parts.fields.Add("Connection", "close");
  EXPECT_EQ(StoredResponse::Make(parts)->header_block(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n");
}

TEST(StoredResponseTest, TheReasonPhraseMayBeEmptyOrLong) {
  for (const std::string reason : {"", "OK", "It worked: for once"}) {
    StoredResponse::Parts parts = PartsOf({.body = "x"});
    parts.reason = reason;
    EXPECT_EQ(StoredResponse::Make(parts)->reason(), reason);
  }
}

TEST(StoredResponseTest, FieldsComeBackAsTheyWentIn) {
  StoredResponse::Parts parts = PartsOf({.body = "x"});
  parts.fields.Add("X-Empty", "");
  parts.fields.Add("X-Colons", "a: b: c");
  parts.fields.Add("ETag", "\"v\"");
  const HeaderMap fields = StoredResponse::Make(parts)->Fields();
  EXPECT_EQ(fields.First("x-empty"), "");
  EXPECT_EQ(fields.First("x-colons"), "a: b: c");
  EXPECT_EQ(fields.First(FieldId::kEtag), "\"v\"");
}

TEST(StoredResponseTest, EverythingGivenIsHeld) {
  StoredResponse::Parts parts = PartsOf({.key = "some key", .body = "body"});
  parts.vary.names = {"accept"};
  parts.vary_values = "accept:text/html";
  parts.tags = {1, 2};
  parts.purge_sequence = 7;
  parts.facts.partial = true;
  parts.partial_range = {5, 8};
  parts.complete_length = 100;
  const StoredPtr made = StoredResponse::Make(parts);
  const StoredPtr changed = StoredResponse::WithFields(*made, parts.fields, made->facts());
  const StoredPtr filled = StoredResponse::WithBody(*made, Body::Copy("body"));
  for (const StoredPtr& response : {made, changed, filled}) {
    EXPECT_EQ(response->key(), "some key");
    EXPECT_EQ(response->key_hash(), CacheKey("some key").hash());
    EXPECT_EQ(response->vary().names, std::vector<std::string>{"accept"});
    EXPECT_EQ(response->vary_values(), "accept:text/html");
    EXPECT_EQ(std::vector<TagId>(response->tags().begin(), response->tags().end()),
              (std::vector<TagId>{1, 2}));
    EXPECT_EQ(response->purge_sequence(), 7u);
    EXPECT_EQ(response->partial_range().first, 5u);
    EXPECT_EQ(response->partial_range().last, 8u);
    EXPECT_EQ(response->complete_length(), 100u);
    EXPECT_EQ(response->body().ToString(), "body");
    EXPECT_TRUE(response->complete());
  }
}

TEST(StoredResponseTest, BodiesOfAllSizesSurviveEveryCopy) {
  for (const size_t size : {1u, 15u, 4096u, 4097u, 300'000u}) {
    const std::string bytes = Pattern(size);
    StoredPtr first = Response({.body = bytes});
    StoredPtr second = StoredResponse::WithFields(*first, first->Fields(), first->facts());
    StoredPtr third = StoredResponse::WithBody(*second, second->body());
    first.reset();
    second.reset();
    EXPECT_EQ(third->body().ToString(), bytes) << size;
  }
}

TEST(StoredResponseTest, NewFieldsAndFactsReplaceTheOld) {
  const StoredPtr old = Response({.body = "same"});
  HeaderMap fields;
  fields.Add("X-New", "1");
  ResponseFacts facts = old->facts();
  facts.lifetime = std::chrono::seconds(5);
  const StoredPtr fresh = StoredResponse::WithFields(*old, fields, facts);
  EXPECT_EQ(fresh->header_block(), "HTTP/1.1 200 OK\r\nX-New: 1\r\nContent-Length: 4\r\n");
  EXPECT_EQ(fresh->facts().lifetime, std::chrono::seconds(5));
  EXPECT_EQ(old->facts().lifetime, std::chrono::seconds(60));
  EXPECT_EQ(fresh->body().ToString(), "same");
}

TEST(StoredResponseTest, TheChargeCoversBodyKeyAndHeader) {
  const StoredPtr small = Response({.body = Pattern(1000)});
  EXPECT_GE(small->charge(), 1000 + small->key().size() + small->header_block().size());
  EXPECT_LE(small->charge(), 1300u);
  const StoredPtr large = Response({.body = Pattern(1'000'000)});
  EXPECT_GE(large->charge(), 1'000'000u);
  EXPECT_LE(large->charge(), 1'000'400u);
}

}  // namespace
}  // namespace satchel::cache
