#include "cache/http/structured.h"

#include <gtest/gtest.h>

namespace satchel::cache::sf {
namespace {

// What a field means, written again; "refused" if it has no value.
std::string Again(const std::optional<std::string>& text) { return text.value_or("unwritable"); }
std::string ItemOf(std::string_view text) {
  const auto parsed = ParseItem(text);
  return parsed ? Again(Serialize(*parsed)) : "refused";
}
std::string ListOf(std::string_view text) {
  const auto parsed = ParseList(text);
  return parsed ? Again(Serialize(*parsed)) : "refused";
}
std::string DictionaryOf(std::string_view text) {
  const auto parsed = ParseDictionary(text);
  return parsed ? Again(Serialize(*parsed)) : "refused";
}

// RFC 9651 3.3.1, 4.2.4
TEST(StructuredTest, Integers) {
  EXPECT_EQ(ItemOf("42"), "42");
  EXPECT_EQ(ItemOf("-42"), "-42");
  EXPECT_EQ(ItemOf("  00042  "), "42");
  EXPECT_EQ(ItemOf("-0"), "0");
  EXPECT_EQ(ItemOf("999999999999999"), "999999999999999");
  EXPECT_EQ(ItemOf("-999999999999999"), "-999999999999999");
  for (const std::string_view text :
       {"", "-", "--1", "- 1", "+1", "1000000000000000", "1 2", "1,2", "\t1", "1\t", "0x1", "1a"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.3.2, 4.1.5
TEST(StructuredTest, Decimals) {
  EXPECT_EQ(ItemOf("4.5"), "4.5");
  EXPECT_EQ(ItemOf("-4.500"), "-4.5");
  EXPECT_EQ(ItemOf("1.0"), "1.0");
  EXPECT_EQ(ItemOf("0.001"), "0.001");
  EXPECT_EQ(ItemOf("-0.001"), "-0.001");
  EXPECT_EQ(ItemOf("999999999999.999"), "999999999999.999");
  for (const std::string_view text : {"1.", ".1", "1.2345", "1234567890123.1", "1.-1", "1.2.3"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.3.3
TEST(StructuredTest, Strings) {
  EXPECT_EQ(ItemOf(R"("hello world")"), R"("hello world")");
  EXPECT_EQ(ItemOf(R"("a\"b\\c")"), R"("a\"b\\c")");
  EXPECT_EQ(ItemOf(R"("")"), R"("")");
  for (const std::string_view text : {R"("a)", R"("a\")", R"("a\n")", "\"a\tb\"", "\"a\x7f\"",
                                      "\"caf\xc3\xa9\"", "'a'", "\"a\"b"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.3.4
TEST(StructuredTest, Tokens) {
  EXPECT_EQ(ItemOf("foo123/456"), "foo123/456");
  EXPECT_EQ(ItemOf("*a:b"), "*a:b");
  EXPECT_EQ(ItemOf("a!#$%&'*+-.^_`|~"), "a!#$%&'*+-.^_`|~");
  for (const std::string_view text : {"a b", "a(", "a@b", "!a", "/a"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.3.5, 4.2.7
TEST(StructuredTest, ByteSequences) {
  EXPECT_EQ(ItemOf(":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:"),
            ":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:");
  EXPECT_EQ(std::get<ByteSequence>(ParseItem(":aGk=:")->value).bytes, "hi");
  EXPECT_EQ(ItemOf("::"), "::");
  EXPECT_EQ(ItemOf(":aGk:"), ":aGk=:");
  for (const std::string_view text :
       {":", ":aGk=", ":a:", ":aG=k:", ":aGk===:", ":a Gk:", ":_-8=:"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.3.6 to 3.3.8
TEST(StructuredTest, BooleansDatesAndDisplayStrings) {
  EXPECT_EQ(ItemOf("?1"), "?1");
  EXPECT_EQ(ItemOf("?0"), "?0");
  EXPECT_EQ(ItemOf("@1659578233"), "@1659578233");
  EXPECT_EQ(ItemOf("@-1"), "@-1");
  EXPECT_EQ(ItemOf(R"(%"This is intended for display to %c3%bcsers.")"),
            R"(%"This is intended for display to %c3%bcsers.")");
  EXPECT_EQ(ItemOf(R"(%"100%25 %22x%22")"), R"(%"100%25 %22x%22")");
  for (const std::string_view text :
       {"?", "?2", "?true", "@", "@1.5", "@a", "%", "%a", R"(%"a)", R"(%"%C3%BC")", R"(%"%c3")",
        R"(%"%c3%28")", R"(%"%ed%a0%80")", R"(%"%f5%80%80%80")", R"(%"%c0%af")", R"(%"%e0%80%80")",
        R"(%"%2")", R"(%"%)"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
}

// RFC 9651 3.1.2
TEST(StructuredTest, Parameters) {
  EXPECT_EQ(ItemOf("a;b;c=1"), "a;b;c=1");
  EXPECT_EQ(ItemOf("a;  b=?0;c=\"x\""), "a;b=?0;c=\"x\"");
  EXPECT_EQ(ItemOf("a;b=1;c=2;b=3"), "a;b=3;c=2");
  EXPECT_EQ(ItemOf("a;b=?1"), "a;b");
  for (const std::string_view text :
       {"a;", "a ;b", "a;B", "a;b=", "a;b =1", "a;b= 1", "a;1", "a;b=(1)"}) {
    EXPECT_EQ(ItemOf(text), "refused") << text;
  }
  const auto item = ParseItem("a;q=7");
  ASSERT_TRUE(item);
  EXPECT_EQ(std::get<int64_t>(*Find(item->parameters, "q")), 7);
  EXPECT_EQ(Find(item->parameters, "r"), nullptr);
}

// RFC 9651 3.1, 3.1.1
TEST(StructuredTest, ListsAndInnerLists) {
  EXPECT_EQ(ListOf("sugar, tea,rum"), "sugar, tea, rum");
  EXPECT_EQ(ListOf("a\t,\t b"), "a, b");
  EXPECT_EQ(ListOf(""), "");
  EXPECT_EQ(ListOf("   "), "");
  EXPECT_EQ(ListOf(R"(("foo" "bar"), ("baz"), ("bat" "one"), ())"),
            R"(("foo" "bar"), ("baz"), ("bat" "one"), ())");
  EXPECT_EQ(ListOf(R"(("foo";a=1;b=2);lvl=5, ("bar" "baz");lvl=1)"),
            R"(("foo";a=1;b=2);lvl=5, ("bar" "baz");lvl=1)");
  EXPECT_EQ(ListOf("(  1  2  )"), "(1 2)");
  for (const std::string_view text :
       {"a,", ",a", "a,,b", "a b", "(a", "(a,b)", "((a))", "(a)b", "(\ta)", "a;", ")"}) {
    EXPECT_EQ(ListOf(text), "refused") << text;
  }
}

// RFC 9651 3.2
TEST(StructuredTest, Dictionaries) {
  EXPECT_EQ(DictionaryOf(R"(en="Applepie", da=:w4ZibGV0w6ZydGU=:)"),
            R"(en="Applepie", da=:w4ZibGV0w6ZydGU=:)");
  EXPECT_EQ(DictionaryOf("a=?0, b, c; foo=bar"), "a=?0, b, c;foo=bar");
  EXPECT_EQ(DictionaryOf("rating=1.5, feelings=(joy sadness)"),
            "rating=1.5, feelings=(joy sadness)");
  EXPECT_EQ(DictionaryOf("a=1, b=2, a=3"), "a=3, b=2");
  EXPECT_EQ(DictionaryOf("a=?1;x"), "a;x");
  EXPECT_EQ(DictionaryOf(""), "");
  for (const std::string_view text :
       {"a=", "a=,b", "A=1", "a =1", "a= 1", "a=1,", ",a", "a=1 b=2", "1=a", "a==1", "a=1;;b",
        "max-age=1.5.5", "max-age=60, foo=\""}) {
    EXPECT_EQ(DictionaryOf(text), "refused") << text;
  }
  const auto dictionary = ParseDictionary("a=1");
  ASSERT_TRUE(dictionary);
  EXPECT_NE(Find(*dictionary, "a"), nullptr);
  EXPECT_EQ(Find(*dictionary, "b"), nullptr);
}

// "Parsers MUST support Lists containing at least 1024 members" (3.1); 256 for inner lists (3.1.1)
// and parameters (3.1.2).
TEST(StructuredTest, LimitsAreThoseTheRfcObligesTo) {
  const auto repeated = [](size_t count, std::string_view separator, auto member) {
    std::string out;
    for (size_t i = 0; i < count; ++i) {
      if (i != 0) out.append(separator);
      out.append(member(i));
    }
    return out;
  };
  const auto number = [](size_t i) { return std::to_string(i); };
  const auto key = [](size_t i) { return "k" + std::to_string(i); };
  EXPECT_TRUE(ParseList(repeated(1024, ",", number)));
  EXPECT_FALSE(ParseList(repeated(1025, ",", number)));
  EXPECT_TRUE(ParseDictionary(repeated(1024, ",", key)));
  EXPECT_FALSE(ParseDictionary(repeated(1025, ",", key)));
  EXPECT_TRUE(ParseDictionary(repeated(5000, ",", [](size_t) { return "a"; })));
  EXPECT_TRUE(ParseList("(" + repeated(256, " ", number) + ")"));
  EXPECT_FALSE(ParseList("(" + repeated(257, " ", number) + ")"));
  EXPECT_TRUE(ParseItem("a;" + repeated(256, ";", key)));
  EXPECT_FALSE(ParseItem("a;" + repeated(257, ";", key)));
}

// RFC 9651 4.1: "fail serialization"
TEST(StructuredTest, WhatCannotBeWrittenIsRefused) {
  EXPECT_EQ(Serialize(Item{int64_t{1'000'000'000'000'000}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{Decimal{1'000'000'000'000'000}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{std::string("a\nb"), {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{Token{""}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{Token{"a b"}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{Token{"1a"}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{DisplayString{"\xff"}, {}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{true, {{"Upper", true}}}), std::nullopt);
  EXPECT_EQ(Serialize(Dictionary{{"", Item{true, {}}}}), std::nullopt);
  EXPECT_EQ(Serialize(Item{std::string("a"), {{"k", Date{5}}}}), "\"a\";k=@5");
}

}  // namespace
}  // namespace satchel::cache::sf
