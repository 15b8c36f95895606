#include "proxy/net/address.h"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <string>

namespace satchel::net {
namespace {

TEST(AddressTest, TextSurvivesParsingAndPrinting) {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:65535", "[::1]:8080", "[2001:db8::7]:1",
                           "[::]:0", "unix:/run/app.sock", "unix:@abstract"}) {
    const auto address = Address::Parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->ToString(), text);
    EXPECT_EQ(*address, *Address::Parse(address->ToString()));
  }
}

TEST(AddressTest, RefusesWhatIsNotExactlyAnAddress) {
  for (const char* text :
       {"", "127.0.0.1", "127.0.0.1:", ":80", "localhost:80", "127.1:80", "127.0.0.01:80",
        "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 80", "::1:80", "[::1]",
        "[::1:80", "[127.0.0.1]:80", "[fe80::1%eth0]:80", "unix:", "unix:@"}) {
    EXPECT_FALSE(Address::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(Address::Parse("unix:/" + std::string(107, 'x')).has_value());
  EXPECT_TRUE(Address::Parse("unix:/" + std::string(106, 'x')).has_value());
}

TEST(AddressTest, AMappedClientIsTheSameTextAsItsIpv4Self) {
  EXPECT_EQ(Address::Parse("[::ffff:10.1.2.3]:5")->IpText(), "10.1.2.3");
  EXPECT_EQ(Address::Parse("10.1.2.3:5")->IpText(), "10.1.2.3");
  EXPECT_EQ(Address::Parse("[2001:DB8::0:7]:5")->IpText(), "2001:db8::7");
  EXPECT_EQ(Address::Parse("unix:/a")->IpText(), "unix");
}

TEST(AddressTest, KnowsLoopback) {
  for (const char* text :
       {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/a"}) {
    EXPECT_TRUE(Address::Parse(text)->IsLoopback()) << text;
  }
  for (const char* text : {"126.0.0.1:1", "[::2]:1", "0.0.0.0:1", "[::]:1"}) {
    EXPECT_FALSE(Address::Parse(text)->IsLoopback()) << text;
  }
}

TEST(AddressTest, ChangesItsPortAlone) {
  EXPECT_EQ(Address::Parse("[::1]:8080")->WithPort(9).ToString(), "[::1]:9");
  EXPECT_EQ(Address::Parse("1.2.3.4:8080")->WithPort(9).ToString(), "1.2.3.4:9");
  EXPECT_NE(*Address::Parse("1.2.3.4:1"), *Address::Parse("1.2.3.4:2"));
}

TEST(AddressTest, AnUnnamedUnixPeerHasText) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  const Address peer = Address::From(reinterpret_cast<const sockaddr*>(&un), sizeof un.sun_family);
  EXPECT_EQ(peer.ToString(), "unix:");
  EXPECT_EQ(peer.IpText(), "unix");
}

bool In(const char* block, const char* ip) {
  const auto cidr = Cidr::Parse(block);
  EXPECT_TRUE(cidr.has_value()) << block;
  return cidr && cidr->Contains(*Address::FromIp(ip, 1));
}

TEST(CidrTest, ComparesTheBitsOfThePrefixOnly) {
  EXPECT_TRUE(In("10.0.0.0/8", "10.255.255.255"));
  EXPECT_FALSE(In("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(In("10.20.30.40/12", "10.31.0.1"));
  EXPECT_FALSE(In("10.20.30.40/12", "10.32.0.1"));
  EXPECT_TRUE(In("10.0.0.1", "10.0.0.1"));
  EXPECT_FALSE(In("10.0.0.1", "10.0.0.2"));
  EXPECT_TRUE(In("0.0.0.0/0", "255.1.2.3"));
  EXPECT_TRUE(In("fd00::/8", "fd12::1"));
  EXPECT_FALSE(In("fd00::/8", "fe00::1"));
  EXPECT_TRUE(In("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(In("2001:db8::/33", "2001:db8:8000::1"));
}

TEST(CidrTest, KeepsFamiliesApartButUnwrapsMappedAddresses) {
  EXPECT_FALSE(In("0.0.0.0/0", "::1"));
  EXPECT_FALSE(In("::/0", "1.2.3.4"));
  EXPECT_FALSE(In("::/0", "::ffff:1.2.3.4"));
  EXPECT_TRUE(In("10.0.0.0/8", "::ffff:10.1.1.1"));
  EXPECT_TRUE(In("::ffff:10.0.0.0/104", "10.1.1.1"));
  EXPECT_FALSE(Cidr::Parse("127.0.0.1/8")->Contains(*Address::Parse("unix:/a")));
}

TEST(CidrTest, RefusesWhatIsNotABlock) {
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129",
                           "10.0.0/8", "10.0.0.0/8/8", "[fd00::]/8", "::ffff:10.0.0.0/95"}) {
    EXPECT_FALSE(Cidr::Parse(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace satchel::net
