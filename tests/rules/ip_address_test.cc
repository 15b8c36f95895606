#include "rules/ip_address.h"

#include <gtest/gtest.h>

namespace satchel::rules {
namespace {

std::string RoundTrip(std::string_view text) {
  const auto ip = ParseIp(text);
  return ip ? ip->ToString() : "refused";
}

TEST(IpAddressTest, Ipv4IsFourPlainNumbers) {
  EXPECT_EQ(RoundTrip("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(RoundTrip("0.0.0.0"), "0.0.0.0");
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1..2.3",
                           "1.2.3.", "a.b.c.d", "1.2.3.0004"}) {
    EXPECT_EQ(RoundTrip(text), "refused") << text;
  }
}

TEST(IpAddressTest, Ipv6IsWrittenAsRfc5952Wants) {
  EXPECT_EQ(RoundTrip("2001:DB8:0:0:0:0:0:1"), "2001:db8::1");
  EXPECT_EQ(RoundTrip("::"), "::");
  EXPECT_EQ(RoundTrip("::1"), "::1");
  EXPECT_EQ(RoundTrip("1::"), "1::");
  EXPECT_EQ(RoundTrip("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
  EXPECT_EQ(RoundTrip("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
  EXPECT_EQ(RoundTrip("1:0:3:4:5:6:7:8"), "1:0:3:4:5:6:7:8");
  EXPECT_EQ(RoundTrip("64:ff9b::192.0.2.33"), "64:ff9b::c000:221");
  for (const char* text : {":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::",
                           "::g", "1:2:3:4:5:6:7:8::", "fe80::1%eth0", "[::1]", "1:", ":1"}) {
    EXPECT_EQ(RoundTrip(text), "refused") << text;
  }
}

TEST(IpAddressTest, AMappedAddressIsItsIpv4) {
  EXPECT_EQ(RoundTrip("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(*ParseIp("::ffff:c000:201"), *ParseIp("192.0.2.1"));
}

TEST(IpAddressTest, APrefixContainsItsAddressesOnly) {
  const auto prefix = ParseIpPrefix("10.20.0.0/12");
  ASSERT_TRUE(prefix.has_value());
  EXPECT_EQ(prefix->ToString(), "10.16.0.0/12");
  EXPECT_TRUE(prefix->Contains(*ParseIp("10.31.255.255")));
  EXPECT_FALSE(prefix->Contains(*ParseIp("10.32.0.0")));
  EXPECT_FALSE(prefix->Contains(*ParseIp("::1")));
  const auto v6 = ParseIpPrefix("2001:db8::/33");
  EXPECT_TRUE(v6->Contains(*ParseIp("2001:db8:7fff::1")));
  EXPECT_FALSE(v6->Contains(*ParseIp("2001:db8:8000::1")));
  EXPECT_TRUE(ParseIpPrefix("0.0.0.0/0")->Contains(*ParseIp("255.1.2.3")));
  EXPECT_FALSE(ParseIpPrefix("0.0.0.0/0")->Contains(*ParseIp("::1")));
  for (const char* text :
       {"10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0.0/-1", "10.0.0.0/8x", "/8"}) {
    EXPECT_FALSE(ParseIpPrefix(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace satchel::rules
