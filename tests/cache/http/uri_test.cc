#include "cache/http/uri.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

std::string Normal(std::string_view host_port, std::string_view scheme = "http") {
  std::string out;
  const bool ok = NormalizeAuthorityInto(host_port, scheme, out);
  const std::optional<Authority> whole = NormalizeAuthority(host_port, scheme);
  EXPECT_EQ(ok, whole.has_value()) << host_port;
  if (!ok) return "refused";
  EXPECT_EQ(whole->Text(scheme), out);
  return out;
}

// RFC 9110 4.2.3, RFC 3986 6.2.2.1, 6.2.3: one origin, one spelling.
TEST(AuthorityTest, C9_CaseDefaultPortAndTrailingDotGo) {
  EXPECT_EQ(Normal("Example.COM"), "example.com");
  EXPECT_EQ(Normal("example.com:80"), "example.com");
  EXPECT_EQ(Normal("example.com:0080"), "example.com");
  EXPECT_EQ(Normal("example.com:443"), "example.com:443");
  EXPECT_EQ(Normal("example.com:443", "https"), "example.com");
  EXPECT_EQ(Normal("example.com:80", "https"), "example.com:80");
  EXPECT_EQ(Normal("example.com:"), "example.com");
  EXPECT_EQ(Normal("example.com."), "example.com");
  EXPECT_EQ(Normal("example.com.:8080"), "example.com:8080");
  EXPECT_EQ(Normal("localhost"), "localhost");
  EXPECT_EQ(Normal("127.0.0.1:3000"), "127.0.0.1:3000");
  EXPECT_EQ(Normal("a_b.example"), "a_b.example");
  EXPECT_EQ(Normal("[::1]:8080"), "[::1]:8080");
  EXPECT_EQ(Normal("[2001:DB8::1]:80"), "[2001:db8::1]");
  EXPECT_EQ(Normal("[::]"), "[::]");
  EXPECT_EQ(Normal("[1:2:3:4:5:6:7:8]"), "[1:2:3:4:5:6:7:8]");
  EXPECT_EQ(Normal("[1::8]"), "[1::8]");
  EXPECT_EQ(Normal("[::ffff:10.0.0.1]"), "[::ffff:10.0.0.1]");
  EXPECT_EQ(Normal("[1::]"), "[1::]");
}

TEST(AuthorityTest, MalformedHostsAreRefused) {
  for (const std::string_view text : {"",
                                      ".",
                                      "..",
                                      ":80",
                                      ".example.com",
                                      "a..b",
                                      "example.com..",
                                      "user@example.com",
                                      "user:pass@example.com",
                                      "example.com:80:80",
                                      "example.com:0",
                                      "example.com:65536",
                                      "example.com:99999999999999999999",
                                      "example.com:+80",
                                      "example.com:8a",
                                      "exa mple.com",
                                      " example.com",
                                      "example.com ",
                                      "example.com\t",
                                      "exam\x01ple.com",
                                      "exam\x7fple.com",
                                      "example.com/",
                                      "example.com?x",
                                      "example.com#x",
                                      "example.com\\",
                                      "example.com,evil.com",
                                      "ex%61mple.com",
                                      "[::1",
                                      "::1]",
                                      "::1",
                                      "[::1]x",
                                      "[::1]:x",
                                      "[]",
                                      "[:]",
                                      "[:::]",
                                      "[1:2:3:4:5:6:7]",
                                      "[1:2:3:4:5:6:7:8:9]",
                                      "[1:2:3:4:5:6:7::8]",
                                      "[1::2::3]",
                                      "[12345::]",
                                      "[fe80::1%25eth0]",
                                      "[v1.x]",
                                      "[::256.0.0.1]",
                                      "[::1.2.3]",
                                      "[1:]",
                                      "[:1]",
                                      "[g::]",
                                      "[[::1]]",
                                      "caf\xc3\xa9.example",
                                      "a*b",
                                      "a'b",
                                      "a\"b",
                                      "<a>"}) {
    EXPECT_EQ(Normal(text), "refused") << text;
  }
  EXPECT_EQ(Normal(std::string_view("a\0b", 3)), "refused");
  EXPECT_EQ(Normal(std::string(254, 'a')), "refused");
  EXPECT_EQ(Normal(std::string(253, 'a')), std::string(253, 'a'));
  EXPECT_EQ(Normal("example.com", "ftp"), "refused");
}

std::string Text(const std::optional<HttpUri>& uri) {
  return uri ? uri->scheme + " " + uri->authority + " " + uri->target : "refused";
}

// RFC 9112 3.2.2, RFC 9110 4.2
TEST(UriTest, AbsoluteUrisAreSplit) {
  EXPECT_EQ(Text(ParseHttpUri("http://example.com/a?b=c")), "http example.com /a?b=c");
  EXPECT_EQ(Text(ParseHttpUri("HTTPS://Example.com:443/A#frag")), "https example.com /A");
  EXPECT_EQ(Text(ParseHttpUri("http://example.com")), "http example.com /");
  EXPECT_EQ(Text(ParseHttpUri("http://example.com?q")), "http example.com /?q");
  EXPECT_EQ(Text(ParseHttpUri("http://[::1]:8080/")), "http [::1]:8080 /");
  // Byte for byte: nothing in the target is decoded or resolved.
  EXPECT_EQ(Text(ParseHttpUri("http://h/a/../%2e/b//c")), "http h /a/../%2e/b//c");
  for (const std::string_view text :
       {"", "/", "example.com", "ftp://example.com/", "http:", "http:/", "http:/a", "http://",
        "http:///a", "http://u@h/", "http://h:x/", "http://h /", "http://h/a b", "http://h/\x7f",
        "://h/", "1http://h/", "http//h/", "mailto:a@b"}) {
    EXPECT_EQ(Text(ParseHttpUri(text)), "refused") << text;
  }
}

// The examples of RFC 3986 5.4, those that stay on HTTP.
TEST(UriTest, C8_RelativeReferencesResolveAgainstTheRequest) {
  const HttpUri base{"http", "a", "/b/c/d;p?q"};
  const auto resolve = [&](std::string_view reference) {
    const std::optional<HttpUri> uri = ResolveReference(base, reference);
    return uri ? uri->authority + uri->target : "refused";
  };
  EXPECT_EQ(resolve("g"), "a/b/c/g");
  EXPECT_EQ(resolve("./g"), "a/b/c/g");
  EXPECT_EQ(resolve("g/"), "a/b/c/g/");
  EXPECT_EQ(resolve("/g"), "a/g");
  EXPECT_EQ(resolve("//g"), "g/");
  EXPECT_EQ(resolve("?y"), "a/b/c/d;p?y");
  EXPECT_EQ(resolve("g?y"), "a/b/c/g?y");
  EXPECT_EQ(resolve("#s"), "a/b/c/d;p?q");
  EXPECT_EQ(resolve("g#s"), "a/b/c/g");
  EXPECT_EQ(resolve("g;x?y#s"), "a/b/c/g;x?y");
  EXPECT_EQ(resolve(""), "a/b/c/d;p?q");
  EXPECT_EQ(resolve("."), "a/b/c/");
  EXPECT_EQ(resolve("./"), "a/b/c/");
  EXPECT_EQ(resolve(".."), "a/b/");
  EXPECT_EQ(resolve("../g"), "a/b/g");
  EXPECT_EQ(resolve("../.."), "a/");
  EXPECT_EQ(resolve("../../g"), "a/g");
  EXPECT_EQ(resolve("../../../g"), "a/g");
  EXPECT_EQ(resolve("/./g"), "a/g");
  EXPECT_EQ(resolve("/../g"), "a/g");
  EXPECT_EQ(resolve("g."), "a/b/c/g.");
  EXPECT_EQ(resolve("..g"), "a/b/c/..g");
  EXPECT_EQ(resolve("./g/."), "a/b/c/g/");
  EXPECT_EQ(resolve("g;x=1/../y"), "a/b/c/y");
  EXPECT_EQ(resolve("g?y/../x"), "a/b/c/g?y/../x");
  EXPECT_EQ(resolve("http://B:80/x"), "b/x");
  EXPECT_EQ(resolve("mailto:x"), "refused");
  EXPECT_EQ(resolve("a b"), "refused");
  EXPECT_EQ(resolve("http://u@h/"), "refused");
}

// RFC 9110 4.3.1
TEST(UriTest, SameOriginNeedsSchemeHostAndPort) {
  const HttpUri own{"http", "a", "/x"};
  EXPECT_TRUE(SameOrigin(own, *ParseHttpUri("http://A:80/y")));
  EXPECT_FALSE(SameOrigin(own, *ParseHttpUri("https://a/y")));
  EXPECT_FALSE(SameOrigin(own, *ParseHttpUri("http://a:81/y")));
  EXPECT_FALSE(SameOrigin(own, *ParseHttpUri("http://b/y")));
}

}  // namespace
}  // namespace satchel::cache
