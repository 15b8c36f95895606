// Several ranges asked for at once (RFC 9110 14.2, 15.3.7.2).

#include "tests/support/range_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(PartialTest, J6_SeveralRangesComeAsMultipartWithTheirOwnFields) {
  const std::string body = Pattern(0, 100'000);
  origin.On("/", Fresh(body, 60, {{"Content-Type", "text/x-test"}, {"ETag", "\"v1\""}}));
  Start();
  Get("/");
  const Response response = GetRange("0-9,50000-69999,-5");
  ASSERT_EQ(response.status, 206) << Describe(response);
  const std::string type = response.Get("Content-Type");
  ASSERT_TRUE(type.starts_with("multipart/byteranges; boundary=")) << type;
  const std::string boundary = type.substr(type.find('=') + 1);
  std::string expected;
  for (const auto& [first, last] :
       {std::pair<size_t, size_t>{0, 9}, {50000, 69999}, {99995, 99999}}) {
    expected += "\r\n--" + boundary + "\r\nContent-Type: text/x-test\r\nContent-Range: bytes " +
                std::to_string(first) + "-" + std::to_string(last) + "/100000\r\n\r\n" +
                body.substr(first, last - first + 1);
  }
  expected += "\r\n--" + boundary + "--\r\n";
  EXPECT_EQ(response.Get("Content-Length"), std::to_string(expected.size()));
  EXPECT_TRUE(response.body == expected);
  EXPECT_FALSE(response.fields.Has("Content-Range"));
  EXPECT_EQ(response.fields.All("ETag"), std::vector<std::string>{"\"v1\""});
  EXPECT_NE(GetRange("0-9,50000-69999").Get("Content-Type"), type);  // another boundary
}

TEST_F(PartialTest, J6_RangesThatTouchBecomeOneAndTooManyTheWhole) {
  origin.On("/", Fresh(Pattern(0, 100'000), 60));
  Start();
  Get("/");
  EXPECT_EQ(GetRange("0-9,10-19").Get("Content-Range"), "bytes 0-19/100000");
  std::string many = "0-0";
  for (int i = 1; i < 17; ++i) many += "," + std::to_string(i * 10) + "-" + std::to_string(i * 10);
  EXPECT_EQ(GetRange(many).status, 200);
}

TEST_F(PartialTest, J6_PartsThatWouldBeLongerThanTheWholeAreAnsweredWithIt) {
  origin.On("/", Fresh("0123456789"));
  Start();
  Get("/");
  const Response response = GetRange("0-1,4-5");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "0123456789");
}

TEST_F(PartialTest, J6_ASlowReaderOfManyLargePartsGetsEveryByte) {
  const std::string body = Pattern(0, 3'000'000);
  origin.On("/", Fresh(body));
  Start();
  Get("/");
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/", {{"Range", "bytes=0-999999,1500000-2499999,2600000-"}}));
  Response response = client.ReadHead();
  // Only now does it read on: the proxy has long filled the socket and waits.
  ASSERT_TRUE(client.ReadBody(&response));
  EXPECT_EQ(response.body_size, std::stoul(response.Get("Content-Length")));
  EXPECT_THAT(response.body, HasSubstr(body.substr(1'500'000, 64)));
}

TEST_F(PartialTest, J6_WhileTheWholeStillGrowsItIsTheAnswer) {
  const std::string body = Pattern(0, 100'000);
  origin.On("/", [&body](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "100000"}, {"Cache-Control", "max-age=60"}});
    exchange.Send(body.substr(0, 50'000));
    exchange.Hold("rest");
    exchange.Send(body.substr(50'000));
  });
  Start();
  RawClient first = satchel->Connect();
  first.Send(Request("GET", "/"));
  Response whole = first.ReadHead();
  RawClient second = satchel->Connect();
  second.Send(Request("GET", "/", {{"Range", "bytes=0-9,20000-29999"}}));
  Response several = second.ReadHead();
  EXPECT_EQ(several.status, 200) << Describe(several);
  EXPECT_FALSE(several.fields.Has("Content-Type")) << Describe(several);
  origin.Release("rest");
  EXPECT_TRUE(first.ReadBody(&whole));
  EXPECT_TRUE(second.ReadBody(&several));
  EXPECT_TRUE(several.body == body);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

}  // namespace
}  // namespace satchel::testing
