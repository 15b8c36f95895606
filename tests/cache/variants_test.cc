#include "cache/variants.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::At;
using test::Get;
using test::Map;

StoredPtr Variant(test::Fields fields, std::string_view body, int date = 0) {
  const ResponseHead head = test::Response(200, fields);
  StoredResponse::Parts parts;
  parts.key = "k";
  parts.vary = ParseVary(head.fields);
  parts.facts = test::Judge(Get(), head).facts;
  parts.facts.date = At(date);
  parts.fields = head.fields;
  parts.body = Body::Copy(body);
  return StoredResponse::Make(std::move(parts));
}

std::string Named(const RequestHead& request, std::vector<StoredPtr> stored) {
  RequestHead asked = request;
  NameVariants(asked, NameableVariants(request, std::move(stored)));
  return asked.fields.Joined("If-None-Match").value_or("");
}

TEST(AcceptsCodingsTest, OnlyWhatTheClientTakes) {
  const auto takes = [](std::string_view accept, std::string_view coding) {
    return AcceptsCodings(Get({{"Accept-Encoding", accept}}), coding);
  };
  EXPECT_TRUE(takes("gzip, br", "br"));
  EXPECT_TRUE(takes("GZIP;q=0.1", "x-gzip"));
  EXPECT_TRUE(takes("*", "br"));
  EXPECT_TRUE(takes("gzip", ""));
  EXPECT_TRUE(takes("gzip", "identity"));
  EXPECT_TRUE(takes("gzip, br", "gzip, br"));
  EXPECT_FALSE(takes("gzip", "br"));
  EXPECT_FALSE(takes("gzip, br;q=0", "br"));
  EXPECT_FALSE(takes("*;q=0, gzip", "br"));
  EXPECT_FALSE(takes("gzip", "gzip, br"));
  EXPECT_FALSE(takes("gzip, identity;q=0", ""));
  EXPECT_FALSE(takes("gzip, *;q=0", ""));
  EXPECT_TRUE(takes("*;q=0, identity;q=0.5", ""));
  EXPECT_FALSE(takes("gzip;q=x", "gzip"));
  EXPECT_FALSE(takes("", "gzip"));
  EXPECT_TRUE(AcceptsCodings(Get(), ""));
  EXPECT_FALSE(AcceptsCodings(Get(), "gzip"));
}

TEST(VariantsTest, E4_TheEntityTagsOfOtherVariantsAreNamedOnce) {
  const StoredPtr de = Variant({{"Vary", "Accept-Language"}, {"ETag", "\"de\""}}, "de");
  const StoredPtr en = Variant({{"Vary", "Accept-Language"}, {"ETag", "\"en\""}}, "en");
  EXPECT_EQ(Named(Get(), {en, de, en}), "\"de\", \"en\"");
  EXPECT_EQ(Named(Get(), {}), "");
}

TEST(VariantsTest, E4_ARequestWithItsOwnConditionsNamesNone) {
  const StoredPtr en = Variant({{"Vary", "Accept-Language"}, {"ETag", "\"en\""}}, "en");
  for (const char* field :
       {"If-None-Match", "If-Modified-Since", "If-Match", "Range", "If-Range"}) {
    EXPECT_TRUE(NameableVariants(Get({{field, "x"}}), {en}).empty()) << field;
  }
  EXPECT_TRUE(NameableVariants(test::Request("POST", "/"), {en}).empty());
}

TEST(VariantsTest, E4_AnotherContentCodingIsNeverNamed) {
  const StoredPtr gzip =
      Variant({{"Vary", "Accept-Encoding"}, {"ETag", "\"1\""}, {"Content-Encoding", "gzip"}}, "zz");
  const StoredPtr plain = Variant({{"Vary", "Accept-Encoding"}, {"ETag", "\"2\""}}, "aa");
  EXPECT_EQ(Named(Get(), {gzip, plain}), "\"2\"");
  EXPECT_EQ(Named(Get({{"Accept-Encoding", "br"}}), {gzip, plain}), "\"2\"");
  EXPECT_EQ(Named(Get({{"Accept-Encoding", "br, gzip"}}), {gzip, plain}), "\"1\", \"2\"");
  EXPECT_EQ(Named(Get({{"Accept-Encoding", "gzip, identity;q=0"}}), {gzip, plain}), "\"1\"");
}

TEST(VariantsTest, E4_WhatMayBelongToOneUserOrIsWeakIsNotNamed) {
  for (const char* vary : {"Cookie", "Accept, authorization"}) {
    EXPECT_EQ(Named(Get(), {Variant({{"Vary", vary}, {"ETag", "\"1\""}}, "a")}), "") << vary;
  }
  EXPECT_EQ(Named(Get(), {Variant({{"Vary", "Accept"}, {"ETag", "W/\"1\""}}, "a")}), "");
  EXPECT_EQ(Named(Get(), {Variant({{"Vary", "Accept-Encoding"}, {"ETag", "W/\"1\""}}, "a")}),
            "W/\"1\"");
  EXPECT_EQ(Named(Get(), {Variant({{"Vary", "Accept"}, {"ETag", "unquoted"}}, "a")}), "");
  EXPECT_EQ(Named(Get(), {Variant({{"Vary", "Accept"}, {"Last-Modified", test::kNowText}}, "a")}),
            "");
}

// A 304 to its tag would answer a request for the whole with the part.
TEST(VariantsTest, E4_APartIsNotNamedForTheWhole) {
  const ResponseHead head = test::Response(206, {{"Vary", "Accept"},
                                                 {"ETag", "\"1\""},
                                                 {"Cache-Control", "max-age=60"},
                                                 {"Content-Range", "bytes 0-0/2"}});
  StoredResponse::Parts parts;
  parts.key = "k";
  parts.vary = ParseVary(head.fields);
  parts.facts = test::Judge(Get({{"Range", "bytes=0-0"}}), head).facts;
  parts.fields = head.fields;
  parts.partial_range = {0, 0};
  parts.complete_length = 2;
  parts.body = Body::Copy("a");
  const StoredPtr part = StoredResponse::Make(std::move(parts));
  ASSERT_TRUE(part->facts().partial);
  EXPECT_EQ(Named(Get(), {part}), "");
}

TEST(VariantsTest, E4_AtMostSixteenAreNamed) {
  std::vector<StoredPtr> many;
  for (int i = 0; i < 20; ++i) {
    many.push_back(Variant({{"Vary", "Accept"}, {"ETag", "\"" + std::to_string(i) + "\""}}, "a"));
  }
  EXPECT_EQ(NameableVariants(Get(), many).size(), 16U);
  const std::string longer = "\"" + std::string(127, 'x') + "\"";
  EXPECT_EQ(Named(Get(), {Variant({{"Vary", "Accept"}, {"ETag", longer}}, "a")}), "");
}

TEST(VariantsTest, E4_A304SelectsTheVariantWithItsTag) {
  const StoredPtr one = Variant({{"Vary", "Accept"}, {"ETag", "\"1\""}}, "a");
  const StoredPtr two = Variant({{"Vary", "Accept"}, {"ETag", "\"2\""}}, "b");
  const StoredPtr newer = Variant({{"Vary", "Accept"}, {"ETag", "\"2\""}}, "b", 5);
  EXPECT_EQ(VariantNamedBy(Map({{"ETag", "\"2\""}}), {one, two}), two);
  EXPECT_EQ(VariantNamedBy(Map({{"ETag", "\"2\""}}), {newer, one, two}), newer);
  EXPECT_EQ(VariantNamedBy(Map({{"ETag", "\"3\""}}), {one, two}), nullptr);
  EXPECT_EQ(VariantNamedBy(Map({}), {one, two}), nullptr);
  EXPECT_EQ(VariantNamedBy(Map({}), {one}), one);
}

TEST(VariantsTest, H2_A304ThatNamesOtherFieldsInVaryChangesWhatSelectsTheResponse) {
  const StoredPtr old = Variant({{"ETag", "\"1\""}, {"Cache-Control", "max-age=5"}}, "a");
  const RequestHead request = Get({{"X-A", "1"}});
  UpdateResult update;
  update.fields = Map({{"ETag", "\"1\""}, {"Vary", "X-A"}});
  update.verdict.facts = old->facts();
  const StoredPtr now = WithUpdate(*old, update, request, {}, {});
  EXPECT_EQ(now->vary(), ParseVary(update.fields));
  EXPECT_EQ(now->vary_values(), VaryValues(now->vary(), request, {}));
  EXPECT_EQ(now->body().size(), 1U);
  // Unchanged, it stays with the request it was stored for.
  EXPECT_EQ(WithUpdate(*now, update, Get(), {}, {})->vary_values(), now->vary_values());
  EXPECT_NE(WithUpdate(*now, update, Get(), {}, {}, true)->vary_values(), now->vary_values());
}

}  // namespace
}  // namespace satchel::cache
