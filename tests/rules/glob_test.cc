#include "rules/glob.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace satchel::rules {
namespace {

Glob Must(std::string_view pattern, Glob::Kind kind = Glob::Kind::kPath) {
  auto glob = Glob::Compile(pattern, kind);
  EXPECT_TRUE(glob.has_value()) << pattern << " " << (glob ? "" : glob.error());
  return std::move(*glob);
}

bool PathMatches(std::string_view pattern, std::string_view text) {
  return Must(pattern).Matches(text);
}

std::vector<std::string> CapturesOf(std::string_view pattern, std::string_view text) {
  const Glob glob = Must(pattern);
  Glob::Spans spans;
  std::vector<std::string> values;
  if (!glob.Match(text, &spans)) return {"no match"};
  for (size_t i = 0; i < glob.capture_names().size(); ++i) {
    values.push_back(glob.capture_names()[i] + "=" +
                     std::string(text.substr(spans[i].begin, spans[i].size)));
  }
  return values;
}

std::string WrongWith(std::string_view pattern, Glob::Kind kind = Glob::Kind::kPath) {
  const auto glob = Glob::Compile(pattern, kind);
  return glob ? "nothing" : glob.error();
}

using Values = std::vector<std::string>;

TEST(GlobTest, ALiteralMatchesItselfOnly) {
  EXPECT_TRUE(PathMatches("/a/b", "/a/b"));
  EXPECT_FALSE(PathMatches("/a/b", "/a/b/"));
  EXPECT_FALSE(PathMatches("/a/b", "/a/B"));
  EXPECT_FALSE(PathMatches("/a/b", "/a"));
}

TEST(GlobTest, OneStarIsOneSegment) {
  EXPECT_TRUE(PathMatches("/covers/*", "/covers/7.png"));
  EXPECT_FALSE(PathMatches("/covers/*", "/covers/a/b"));
  EXPECT_FALSE(PathMatches("/covers/*", "/covers/"));
  EXPECT_FALSE(PathMatches("/covers/*", "/covers"));
  EXPECT_TRUE(PathMatches("/a/*/c", "/a/b/c"));
  EXPECT_FALSE(PathMatches("/a/*/c", "/a//c"));
}

TEST(GlobTest, AStarBesideOtherTextIsPartOfASegment) {
  EXPECT_TRUE(PathMatches("/*.css", "/main.css"));
  EXPECT_TRUE(PathMatches("/*.css", "/.css"));
  EXPECT_FALSE(PathMatches("/*.css", "/a/main.css"));
  EXPECT_TRUE(PathMatches("/a*b*c", "/a--b--b-c"));
  EXPECT_FALSE(PathMatches("/a*b*c", "/a--b--b-"));
}

TEST(GlobTest, TwoStarsAreAnyRestAndTheFolderItself) {
  EXPECT_TRUE(PathMatches("/api/**", "/api"));
  EXPECT_TRUE(PathMatches("/api/**", "/api/"));
  EXPECT_TRUE(PathMatches("/api/**", "/api/a/b/c"));
  EXPECT_FALSE(PathMatches("/api/**", "/apiary"));
  EXPECT_FALSE(PathMatches("/api/**", "/"));
  EXPECT_TRUE(PathMatches("/**", "/"));
  EXPECT_TRUE(PathMatches("/**", "/x/y"));
  EXPECT_TRUE(PathMatches("/v**", "/v1/x"));
  EXPECT_TRUE(PathMatches("**", "*"));
  EXPECT_FALSE(PathMatches("/**", "*"));
}

TEST(GlobTest, TwoStarsInTheMiddleAreAnyNumberOfSegments) {
  EXPECT_TRUE(PathMatches("/a/**/z", "/a/z"));
  EXPECT_TRUE(PathMatches("/a/**/z", "/a/b/c/z"));
  EXPECT_FALSE(PathMatches("/a/**/z", "/a/bz"));
  EXPECT_TRUE(PathMatches("/**/*.png", "/x/y/z.png"));
  EXPECT_TRUE(PathMatches("/**/*.png", "/z.png"));
  EXPECT_FALSE(PathMatches("/**/*.png", "/z.jpg"));
}

TEST(GlobTest, NamesCaptureASegment) {
  EXPECT_EQ(CapturesOf("/api/products/{id}", "/api/products/7"), Values{"id=7"});
  EXPECT_EQ(CapturesOf("/api/products/{id}", "/api/products/"), Values{"no match"});
  EXPECT_EQ(CapturesOf("/api/products/{id}", "/api/products/7/x"), Values{"no match"});
  EXPECT_EQ(CapturesOf("/{a}/x/{b}.json", "/1/x/2.3.json"), (Values{"a=1", "b=2.3"}));
  EXPECT_EQ(CapturesOf("/{a}-{b}", "/x-y-z"), (Values{"a=x", "b=y-z"}));
}

TEST(GlobTest, NamesWithStarsCaptureTheRest) {
  EXPECT_EQ(CapturesOf("/old/{rest**}", "/old/a/b"), Values{"rest=a/b"});
  EXPECT_EQ(CapturesOf("/old/{rest**}", "/old/"), Values{"rest="});
  EXPECT_EQ(CapturesOf("/old/{rest**}", "/old"), Values{"rest="});
  EXPECT_EQ(CapturesOf("/{lang}/**", "/de/a/b"), Values{"lang=de"});
  EXPECT_EQ(CapturesOf("/{a**}/edit/{b}", "/x/y/edit/9"), (Values{"a=x/y", "b=9"}));
}

TEST(GlobTest, ABackslashMakesTheNextCharacterLiteral) {
  EXPECT_TRUE(PathMatches("/a\\*b", "/a*b"));
  EXPECT_FALSE(PathMatches("/a\\*b", "/axb"));
  EXPECT_TRUE(PathMatches("/\\{x}", "/{x}"));
}

TEST(GlobTest, RegexMustMatchTheWholeText) {
  EXPECT_TRUE(PathMatches("regex:/item/[0-9]+", "/item/42"));
  EXPECT_FALSE(PathMatches("regex:/item/[0-9]+", "/item/42x"));
  EXPECT_EQ(CapturesOf("regex:/item/(?P<id>[0-9]+)", "/item/42"), Values{"id=42"});
}

TEST(GlobTest, HostsIgnoreLetterCaseAndStarIsOneLabel) {
  const Glob one = Must("*.Example.com", Glob::Kind::kHost);
  EXPECT_TRUE(one.Matches("shop.example.com"));
  EXPECT_FALSE(one.Matches("a.shop.example.com"));
  EXPECT_FALSE(one.Matches("example.com"));
  const Glob any = Must("**.example.com", Glob::Kind::kHost);
  EXPECT_TRUE(any.Matches("a.shop.example.com"));
  EXPECT_FALSE(any.Matches("example.com"));
  EXPECT_FALSE(any.Matches(".example.com"));
  EXPECT_FALSE(any.Matches("badexample.com"));
  EXPECT_TRUE(Must("regex:shop[0-9].test", Glob::Kind::kHost).Matches("shop1.test"));
}

TEST(GlobTest, InValuesAStarIsAnyRunOfCharacters) {
  const Glob glob = Must("application/*json", Glob::Kind::kValue);
  EXPECT_TRUE(glob.Matches("application/json"));
  EXPECT_TRUE(glob.Matches("application/problem/x.y+json"));
  EXPECT_FALSE(glob.Matches("application/jsonp"));
  EXPECT_TRUE(Must("*", Glob::Kind::kValue).Matches(""));
  EXPECT_TRUE(Must("{x}", Glob::Kind::kValue).Matches("{x}"));
}

TEST(GlobTest, MistakesSayWhatToWrite) {
  EXPECT_EQ(WrongWith("api/x"), "does not begin with /; write /api/x");
  EXPECT_EQ(WrongWith("*"), "does not begin with /; write /**");
  EXPECT_EQ(WrongWith("/{id"), "has { without }; write {name}, or \\{ for the character");
  EXPECT_EQ(WrongWith("/{a b}"), "has a bad name in {}; write {name} or {name**} with a-z, 0-9, _");
  EXPECT_EQ(WrongWith("/{a}/{a}"), "captures {a} twice; name them apart");
  EXPECT_EQ(WrongWith("/***"), "has more than two stars in a row; write * or **");
  EXPECT_EQ(WrongWith("/a\\"), "ends with a backslash; write \\\\ for one");
  EXPECT_EQ(WrongWith("regex:("), "is not a regular expression: missing ): (; write RE2 syntax");
}

TEST(GlobTest, LongTextsCostLinearTime) {
  // A backtracking matcher would need hours.
  const std::string text = "/" + std::string(8000, 'a');
  EXPECT_FALSE(PathMatches("/*a*a*a*a*a*a*a*a*a*b", text));
  EXPECT_FALSE(PathMatches("/**a**a**a**a**a**a**b", text));
  EXPECT_FALSE(PathMatches("regex:/(a|aa)+b", text));
}

// Every way a pattern could match, tried one after the other.
bool Slow(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.starts_with("**")) {
    for (size_t i = 0; i <= text.size(); ++i) {
      if (Slow(pattern.substr(2), text.substr(i))) return true;
    }
    return false;
  }
  if (pattern[0] == '*') {
    for (size_t i = 0; i <= text.size(); ++i) {
      if (Slow(pattern.substr(1), text.substr(i))) return true;
      if (i < text.size() && text[i] == '/') return false;
    }
    return false;
  }
  return !text.empty() && text[0] == pattern[0] && Slow(pattern.substr(1), text.substr(1));
}

TEST(GlobTest, AgreesWithTryingEveryWay) {
  std::mt19937 random(4);
  const auto word = [&](std::string_view letters, size_t most) {
    std::string text;
    for (size_t i = random() % (most + 1); i > 0; --i) text += letters[random() % letters.size()];
    return text;
  };
  int matched = 0;
  for (int i = 0; i < 40'000; ++i) {
    // A letter before and after each star keeps it from being a whole segment.
    std::string pattern = "/a";
    for (size_t parts = random() % 4; parts > 0; --parts) {
      const size_t kind = random() % 4;
      pattern += kind == 0 ? "**" : kind == 1 ? "*" : "";
      pattern += random() % 2 == 0 ? "a" : "b";
      if (random() % 3 == 0) pattern += "/a";
    }
    const std::string text = "/a" + word("aab/", 10);
    const bool want = Slow(pattern, text);
    matched += want ? 1 : 0;
    ASSERT_EQ(PathMatches(pattern, text), want) << pattern << " on " << text;
  }
  EXPECT_GT(matched, 500);
}

TEST(GlobTest, KnowsWhatAnotherPatternNeedNotBeAskedFor) {
  const auto covers = [](std::string_view a, std::string_view b) {
    return Must(a).Covers(Must(b));
  };
  EXPECT_TRUE(covers("/**", "/a/*"));
  EXPECT_TRUE(covers("/api/**", "/api/x"));
  EXPECT_TRUE(covers("/api/**", "/api/{id}/y"));
  EXPECT_TRUE(covers("/api/**", "/api/x/**"));
  EXPECT_TRUE(covers("/api/*", "/api/{id}"));
  EXPECT_TRUE(covers("/api/{id}", "/api/7"));
  EXPECT_FALSE(covers("/api/*", "/api/**"));
  EXPECT_FALSE(covers("/api/**", "/apix"));
  EXPECT_FALSE(covers("/api/7", "/api/*"));
  EXPECT_FALSE(covers("/a*", "/a/b"));
  EXPECT_FALSE(covers("regex:/.*", "/a"));
  const Glob json = Must("json", Glob::Kind::kValue);
  const Glob any = Must("*", Glob::Kind::kValue);
  const Glob some = Must("js*", Glob::Kind::kValue);
  EXPECT_TRUE(any.Covers(some));
  EXPECT_TRUE(some.Covers(json));
  EXPECT_FALSE(json.Covers(some));
  EXPECT_FALSE(some.Covers(any));
}

}  // namespace
}  // namespace satchel::rules
