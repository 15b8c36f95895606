// What is ambiguous or malformed in a request is refused, and the origin never hears of it.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

struct BadRequest {
  const char* name;
  std::string bytes;
  std::vector<int> statuses;  // any of these
};

std::string WithFields(const std::string& lines, const std::string& body = "") {
  return "POST /bad HTTP/1.1\r\nHost: test\r\n" + lines + "\r\n" + body;
}

std::string Chunked(const std::string& body) {
  return WithFields("Transfer-Encoding: chunked\r\n", body);
}

std::string WithHost(const std::string& lines) { return "GET /bad HTTP/1.1\r\n" + lines + "\r\n"; }

std::string Line(const std::string& start_line) { return start_line + "\r\nHost: test\r\n\r\n"; }

const std::string kNul(1, '\0');

const BadRequest kBadRequests[] = {
    // Message length (RFC 9112 6.1 to 6.3).
    {"LengthAndChunked",
     WithFields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
     {400}},
    {"ChunkedAndLength",
     WithFields("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
     {400}},
    {"TwoLengths", WithFields("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), {400}},
    {"TwoEqualLengths", WithFields("Content-Length: 1\r\nContent-Length: 1\r\n", "a"), {400}},
    {"ListOfLengths", WithFields("Content-Length: 1, 1\r\n", "a"), {400}},
    {"SignedLength", WithFields("Content-Length: +1\r\n", "a"), {400}},
    {"NegativeLength", WithFields("Content-Length: -1\r\n", "a"), {400}},
    {"HexLength", WithFields("Content-Length: 0x1\r\n", "a"), {400}},
    {"SpaceInsideLength", WithFields("Content-Length: 1 1\r\n", "a"), {400}},
    {"EmptyLength", WithFields("Content-Length:\r\n", "a"), {400}},
    {"OverflowingLength", WithFields("Content-Length: 18446744073709551617\r\n", "a"), {400, 413}},
    {"FractionalLength", WithFields("Content-Length: 1.0\r\n", "a"), {400}},
    {"QuotedLength", WithFields("Content-Length: \"1\"\r\n", "a"), {400}},
    {"UnknownCoding", WithFields("Transfer-Encoding: foo\r\n", "a"), {400, 501}},
    {"IdentityCoding", WithFields("Transfer-Encoding: identity\r\n", "a"), {400, 501}},
    {"GzipBeforeChunked",
     WithFields("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"ChunkedNotLast", WithFields("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), {400, 501}},
    {"ChunkedTwice",
     WithFields("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"ChunkedOnTwoLines",
     WithFields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"ChunkedAndIdentityLines",
     WithFields("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"PrefixedChunked", WithFields("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), {400, 501}},
    {"QuotedChunked", WithFields("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), {400, 501}},
    {"ChunkedWithParameter",
     WithFields("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"VerticalTabBeforeChunked",
     WithFields("Transfer-Encoding:\vchunked\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"EmptyTransferEncoding", WithFields("Transfer-Encoding:\r\n", "0\r\n\r\n"), {400, 501}},
    {"SpaceBeforeColonOfTransferEncoding",
     WithFields("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
     {400}},
    {"ChunkedInHttp10",
     "POST /bad HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     {400, 501}},

    {"ListOfOneLength", WithFields("Content-Length: 1,\r\n", "a"), {400}},
    {"LengthOfTwentyDigits", WithFields("Content-Length: 00000000000000000001\r\n", "a"), {400}},
    {"CommaBeforeChunked", WithFields("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"), {400, 501}},
    {"CommaBehindChunked", WithFields("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), {400, 501}},
    {"FormFeedBehindChunked", WithFields("Transfer-Encoding: chunked\f\r\n", "0\r\n\r\n"), {400, 501}},
    {"NoBreakSpaceBeforeChunked",
     WithFields("Transfer-Encoding: \xa0" "chunked\r\n", "0\r\n\r\n"),
     {400, 501}},
    {"FoldedTransferEncoding", WithFields("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), {400}},
    {"LengthOnAGetWithChunked",
     "GET /bad HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\n",
     {400}},

    // Chunks (RFC 9112 7.1). The head is fine, so the answer may come from a 502 path: 400 wanted.
    {"ChunkSizeWithPrefix", Chunked("0x1\r\na\r\n0\r\n\r\n"), {400}},
    {"ChunkSizeWithSign", Chunked("+1\r\na\r\n0\r\n\r\n"), {400}},
    {"NegativeChunkSize", Chunked("-1\r\na\r\n0\r\n\r\n"), {400}},
    {"OverflowingChunkSize", Chunked("10000000000000001\r\na\r\n0\r\n\r\n"), {400, 413}},
    {"EmptyChunkSize", Chunked("\r\na\r\n0\r\n\r\n"), {400}},
    {"ChunkSizeNotHex", Chunked("g\r\na\r\n0\r\n\r\n"), {400}},
    {"ChunkSizeWithBareLf", Chunked("1\na\r\n0\r\n\r\n"), {400}},
    {"ChunkDataWithoutCrlf", Chunked("1\r\naX0\r\n\r\n"), {400}},
    {"ChunkDataTooLong", Chunked("1\r\nabc\r\n0\r\n\r\n"), {400}},
    {"ChunkDataEndingInBareLf", Chunked("1\r\na\n0\r\n\r\n"), {400}},
    {"BareLfInAChunkExtension", Chunked("1;a\nb\r\na\r\n0\r\n\r\n"), {400}},
    {"EndlessChunkExtension",
     Chunked("1;" + std::string(100'000, 'x') + "\r\na\r\n0\r\n\r\n"),
     {400, 413, 431}},
    {"LeadingSpaceInChunkSize", Chunked(" 1\r\na\r\n0\r\n\r\n"), {400}},
    {"TrailingSpaceInChunkSize", Chunked("1 \r\na\r\n0\r\n\r\n"), {400}},
    {"UnderscoreInChunkSize", Chunked("1_0\r\na\r\n0\r\n\r\n"), {400}},
    {"SixteenDigitsOfChunkSize", Chunked("0000000000000001\r\na\r\n0\r\n\r\n"), {400, 413}},
    {"BareCrInAChunkExtension", Chunked("1;a\rb\r\na\r\n0\r\n\r\n"), {400}},
    {"NulInAChunkExtension", Chunked("1;a" + kNul + "b\r\na\r\n0\r\n\r\n"), {400}},
    {"LineEndInAQuotedChunkExtension", Chunked("1;a=\"\r\n\r\n\"\r\na\r\n0\r\n\r\n"), {400}},
    {"FoldedTrailer", Chunked("1\r\na\r\n0\r\nX: y\r\n z\r\n\r\n"), {400}},
    {"NulInATrailer", Chunked("1\r\na\r\n0\r\nX: " + kNul + "\r\n\r\n"), {400}},
    {"TrailerWithoutColon", Chunked("1\r\na\r\n0\r\nnothing\r\n\r\n"), {400}},
    {"BareLfAsLastLine", Chunked("1\r\na\r\n0\r\n\n"), {400}},
    {"BadTrailerName", Chunked("1\r\na\r\n0\r\nbad name: x\r\n\r\n"), {400}},
    {"BareLfAfterTrailer", Chunked("1\r\na\r\n0\r\nX: y\n\r\n"), {400}},
    {"TooManyTrailers",
     Chunked("1\r\na\r\n0\r\n" +
             [] {
               std::string lines;
               for (int i = 0; i < 5000; ++i)
                 lines += "X-T" + std::to_string(i) + ": 0123456789\r\n";
               return lines;
             }() +
             "\r\n"),
     {400, 413, 431}},

    // Line endings, control characters, field syntax (RFC 9112 2.2, 5; RFC 9110 5.5).
    {"BareCrInAValue", WithFields("X-A: a\rb\r\n"), {400}},
    {"BareCrInTheRequestLine", "GET /bad\rHTTP/1.1\r\nHost: test\r\n\r\n", {400}},
    {"BareCrAsLineEnd", "GET /bad HTTP/1.1\rHost: test\r\r", {400}},
    {"BareLfAsLineEnd", "GET /bad HTTP/1.1\nHost: test\n\n", {400}},
    {"BareLfBetweenFields", "GET /bad HTTP/1.1\r\nHost: test\nX: y\r\n\r\n", {400}},
    {"NulInAValue", WithFields("X-A: a" + kNul + "b\r\n"), {400}},
    {"NulInAName", WithFields("X" + kNul + "A: ab\r\n"), {400}},
    {"ControlCharacterInAValue",
     WithFields("X-A: a\x01"
                "b\r\n"),
     {400}},
    {"DeleteCharacterInAValue",
     WithFields("X-A: a\x7f"
                "b\r\n"),
     {400}},
    {"SpaceBeforeColon", WithFields("X-A : b\r\n"), {400}},
    {"TabBeforeColon", WithFields("X-A\t: b\r\n"), {400}},
    {"FoldedLine", WithFields("X-A: b\r\n c\r\n"), {400}},
    {"FoldedLineWithTab", WithFields("X-A: b\r\n\tc\r\n"), {400}},
    {"LeadingSpaceBeforeFirstField",
     "GET /bad HTTP/1.1\r\n Host: test\r\nHost: test\r\n\r\n",
     {400}},
    {"EmptyName", WithFields(": b\r\n"), {400}},
    {"NameWithSpace", WithFields("X A: b\r\n"), {400}},
    {"NameWithBrackets", WithFields("X(A): b\r\n"), {400}},
    {"NameWithQuote", WithFields("\"X\": b\r\n"), {400}},
    {"NameNotAscii", WithFields("X-\xc3\xa9: b\r\n"), {400}},
    {"LineWithoutColon", WithFields("XA\r\n"), {400}},

    {"BareLfAsEmptyLine", "GET /bad HTTP/1.1\r\nHost: test\r\n\n", {400}},
    {"CrCrLfAsEmptyLine", "GET /bad HTTP/1.1\r\nHost: test\r\r\n\r\n", {400}},
    {"CrAtTheEndOfAValue", WithFields("X-A: b\r\r\n"), {400}},
    {"LineOfASpace", WithFields(" \r\n"), {400}},
    {"LeadingBareLf", "\nGET /bad HTTP/1.1\r\nHost: test\r\n\r\n", {400}},

    // The request line (RFC 9112 3).
    {"TwoSpacesAfterMethod", Line("GET  /bad HTTP/1.1"), {400}},
    {"TwoSpacesAfterTarget", Line("GET /bad  HTTP/1.1"), {400}},
    {"TabBetweenParts", Line("GET\t/bad\tHTTP/1.1"), {400}},
    {"TrailingSpaceInRequestLine", Line("GET /bad HTTP/1.1 "), {400}},
    {"LeadingSpaceInRequestLine", Line(" GET /bad HTTP/1.1"), {400}},
    {"SpaceInTarget", Line("GET /bad thing HTTP/1.1"), {400}},
    {"NulInTarget", Line("GET /bad" + kNul + " HTTP/1.1"), {400}},
    {"RawNonAsciiInTarget",
     Line("GET /b\x80"
          "d HTTP/1.1"),
     {400}},
    {"FragmentInTarget", Line("GET /bad#frag HTTP/1.1"), {400}},
    {"TargetWithoutSlash", Line("GET bad HTTP/1.1"), {400}},
    {"TargetOfAnotherScheme", Line("GET ftp://x/bad HTTP/1.1"), {400}},
    {"TargetWithUserinfo", Line("GET http://a:b@test/bad HTTP/1.1"), {400}},
    {"AsteriskWithGet", Line("GET * HTTP/1.1"), {400}},
    {"MethodWithBadCharacter", Line("G@T /bad HTTP/1.1"), {400, 501}},
    {"NoMethod", Line("/bad HTTP/1.1"), {400}},
    {"Http09", "GET /bad\r\n", {400, 505}},
    {"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}},
    {"Http12", Line("GET /bad HTTP/1.2"), {400, 505}},
    {"Http20", Line("GET /bad HTTP/2.0"), {400, 505}},
    {"Http3Digits", Line("GET /bad HTTP/1.10"), {400, 505}},
    {"LowerCaseHttp", Line("GET /bad http/1.1"), {400, 505}},
    {"VersionWithoutMinor", Line("GET /bad HTTP/1"), {400, 505}},
    {"OtherProtocol", Line("GET /bad ICY/1.1"), {400, 505}},
    {"ConnectIsRefused", "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n", {405, 501, 400}},

    // Host (RFC 9112 3.2).
    {"NoHost", WithHost(""), {400}},
    {"NoHostWithAbsoluteTarget", "GET http://test/bad HTTP/1.1\r\n\r\n", {400}},
    {"AbsoluteTargetOfAnotherScheme", Line("GET https://test/bad HTTP/1.1"), {400}},
    {"AbsoluteTargetWithFragment", Line("GET http://test/bad#x HTTP/1.1"), {400}},
    {"AuthorityAsTarget", Line("GET test:80 HTTP/1.1"), {400}},
    {"QueryAsTarget", Line("GET ?bad HTTP/1.1"), {400}},
    {"HostWithNul", WithHost("Host: te%00st\r\n"), {400}},
    {"HostWithBackslash", WithHost("Host: test\\x\r\n"), {400}},
    {"HostWithQuery", WithHost("Host: test?x\r\n"), {400}},
    {"HostWithFragment", WithHost("Host: test#x\r\n"), {400}},
    {"HostWithBrackets", WithHost("Host: <test>\r\n"), {400}},
    {"HostInQuotes", WithHost("Host: \"test\"\r\n"), {400}},
    {"HostNotAscii", WithHost("Host: t\xc3\xa9st\r\n"), {400}},
    {"HostWithScheme", WithHost("Host: http://test\r\n"), {400}},
    {"HostWithPortZero", WithHost("Host: test:0\r\n"), {400}},
    {"TwoHosts", WithHost("Host: test\r\nHost: test\r\n"), {400}},
    {"TwoDifferentHosts", WithHost("Host: test\r\nHost: evil\r\n"), {400}},
    {"EmptyHost", WithHost("Host:\r\n"), {400}},
    {"HostWithPath", WithHost("Host: test/x\r\n"), {400}},
    {"HostWithUserinfo", WithHost("Host: a@test\r\n"), {400}},
    {"HostWithSpace", WithHost("Host: te st\r\n"), {400}},
    {"HostList", WithHost("Host: test, evil\r\n"), {400}},
    {"HostWithBadPort", WithHost("Host: test:x\r\n"), {400}},
    {"HostWithHugePort", WithHost("Host: test:99999\r\n"), {400}},
    {"HostWithOpenBracket", WithHost("Host: [::1\r\n"), {400}},

    // Limits with clear answers.
    {"TargetTooLong", Line("GET /" + std::string(70'000, 'a') + " HTTP/1.1"), {414, 431}},
    {"FieldTooLong", WithFields("X-A: " + std::string(40'000, 'a') + "\r\n"), {431}},
    {"TooManyFields",
     WithFields([] {
       std::string lines;
       for (int i = 0; i < 200; ++i) lines += "X-" + std::to_string(i) + ": y\r\n";
       return lines;
     }()),
     {431}},
};

using RequestFramingTest = ProxyTest;

TEST_F(RequestFramingTest, BadRequestsAreRefusedClosedAndNeverForwarded) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "leaked"}); });
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  for (const BadRequest& bad : kBadRequests) {
    SCOPED_TRACE(bad.name);
    size_t before = origin.RequestCount("/good");
    RawClient client = satchel->Connect();
    // What follows in the same write must never be taken for a request: that is smuggling.
    const std::string smuggled = std::string("/smuggled/") + bad.name;
    client.Send(bad.bytes + Request("GET", smuggled));
    Response response = client.Read("POST");
    EXPECT_THAT(bad.statuses, ::testing::Contains(response.status)) << Describe(response);
    EXPECT_NE(response.body, "leaked");
    EXPECT_TRUE(client.ClosedByPeer(std::chrono::seconds(3)))
        << "the connection stays open or more follows: "
        << client.ReadBytes(100, std::chrono::milliseconds(10));
    EXPECT_EQ(origin.RequestCount(smuggled), 0u);
    EXPECT_EQ(Get("/good").body, "leaked");  // everybody else is served
    EXPECT_EQ(origin.RequestCount("/good"), before + 1);
  }
  // Chunked bodies may have begun to stream before they proved bad; nothing else may have.
  for (const OriginRequest& request : origin.requests()) {
    if (request.target == "/good") continue;
    EXPECT_EQ(request.target, "/bad");
    EXPECT_EQ(request.fields.Get("Transfer-Encoding"), "chunked") << request.raw_head;
    EXPECT_FALSE(request.body_complete)
        << "a broken body was made whole for the origin: " << request.raw_head << request.body;
  }
}

TEST_F(RequestFramingTest, ValidRequestsOfAPipelineAreAnsweredBeforeTheInvalidOne) {
  origin.On("/1", {.body = "one"});
  origin.On("/2", {.body = "two"});
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/1") + Request("POST", "/2", {}, "x") +
              "GET /3 HTTP/1.1\r\nHost: test\r\nX Y: z\r\n\r\n" + Request("GET", "/4"));
  EXPECT_EQ(client.Read().body, "one");
  EXPECT_EQ(client.Read().body, "two");
  EXPECT_EQ(client.Read().status, 400);
  EXPECT_TRUE(client.ClosedByPeer());
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(RequestFramingTest, WhatIsForwardedIsWrittenAnew) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  client.Send(
      "POST / HTTP/1.1\r\nhOsT:test\r\nX-A:   padded \t \r\nTransfer-Encoding: Chunked\r\n\r\n"
      "00005;name=\"va;lue\"\r\nhello\r\n000\r\n\r\n");
  EXPECT_EQ(client.Read("POST").status, 200);
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.fields.Get("X-A"), "padded");
  EXPECT_NE(request.raw_head.find("\r\nX-A: padded\r\n"), std::string::npos) << request.raw_head;
  EXPECT_EQ(request.fields.Joined("Transfer-Encoding"), "chunked");
  EXPECT_EQ(request.body, "hello");
  EXPECT_TRUE(request.body_complete);
}

TEST_F(RequestFramingTest, TraceIsRefusedAndNeverForwarded) {
  Start();
  Response response = Send("TRACE", "/");
  EXPECT_TRUE(response.status == 405 || response.status == 501) << Describe(response);
  EXPECT_EQ(origin.RequestCount(), 0u);
}

TEST_F(RequestFramingTest, LeadingEmptyLinesAreIgnored) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  client.Send("\r\n" + Request("GET", "/"));  // RFC 9112 2.2: at least one
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(RequestFramingTest, ARequestInSingleBytesIsARequest) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  std::string bytes =
      "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (char byte : bytes) ASSERT_TRUE(client.Send(std::string_view(&byte, 1)));
  EXPECT_EQ(client.Read("POST").status, 200);
  EXPECT_EQ(origin.Last("/").body, "abc");
}

TEST_F(RequestFramingTest, AGetWithABodyIsNeverAnsweredFromOrIntoTheCacheByIt) {
  origin.On("/", [](OriginExchange& exchange) {
    std::string body = exchange.ReadBody();
    exchange.Respond(Fresh("for body: " + body));
  });
  Start();
  Response poisoned = Send("GET", "/", {}, "evil");
  EXPECT_TRUE(poisoned.status == 400 || poisoned.status == 200) << Describe(poisoned);
  EXPECT_EQ(Get("/").body, "for body: ");
}

TEST_F(RequestFramingTest, AHeadThatDripsIsAnsweredWith408) {
  SatchelConfig config = Config();
  config.listener = "header_timeout: 500ms";
  Start(config);
  RawClient client = satchel->Connect();
  client.Send("GET / HTTP/1.1\r\nHost: te");
  Response response = client.Read();
  EXPECT_EQ(response.status, 408) << Describe(response);
  EXPECT_TRUE(client.ClosedByPeer());
}

TEST_F(RequestFramingTest, AnIdleConnectionIsClosedAfterKeepalive) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.listener = "keepalive: 500ms";
  Start(config);
  RawClient client = satchel->Connect();
  EXPECT_EQ(client.Get("/").status, 200);
  EXPECT_TRUE(client.ClosedByPeer());  // without a 408 nobody asked for
}

TEST_F(RequestFramingTest, ABodyAboveMaxBodyIsRefusedByLengthAndByCount) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.listener = "max_body: 10KiB";
  Start(config);
  EXPECT_EQ(Send("POST", "/", {}, std::string(10 * 1024, 'x')).status, 200);
  RawClient by_length = satchel->Connect();
  by_length.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10241\r\n\r\n");
  EXPECT_EQ(by_length.Read("POST").status, 413);
  RawClient by_count = satchel->Connect();
  by_count.Send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) by_count.Send("400\r\n" + std::string(1024, 'x') + "\r\n");
  EXPECT_EQ(by_count.Read("POST").status, 413);
}

TEST_F(RequestFramingTest, MaxHeaderOfTheListenerIsObeyed) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.listener = "max_header: 2KiB";
  Start(config);
  EXPECT_EQ(Get("/", {{"X-A", std::string(1000, 'a')}}).status, 200);
  EXPECT_EQ(Get("/", {{"X-A", std::string(3000, 'a')}}).status, 431);
}

}  // namespace
}  // namespace satchel::testing
