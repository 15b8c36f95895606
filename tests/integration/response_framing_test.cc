// What a broken or hostile origin sends: never stored, never mixed with another answer.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ResponseFramingTest = ProxyTest;

constexpr char kStorable[] = "Cache-Control: max-age=60\r\n";

struct BadResponse {
  const char* name;
  std::string bytes;  // a whole answer, sent as it stands; then the origin closes
};

std::string Ok(const std::string& fields, const std::string& body = "") {
  return "HTTP/1.1 200 OK\r\n" + std::string(kStorable) + fields + "\r\n" + body;
}

// Before the head is sent on, there is time for an honest 502.
const BadResponse kBadHeads[] = {
    {"GarbageStatusLine", "HELLO WORLD\r\n\r\n"},
    {"NotHttp", "SSH-2.0-OpenSSH\r\n\r\n"},
    {"NoStatusCode", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"},
    {"TwoDigitStatus", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"},
    {"FourDigitStatus", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"},
    {"StatusBelow100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"},
    {"UnknownVersion", "HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n"},
    {"TwoLengths", Ok("Content-Length: 1\r\nContent-Length: 2\r\n", "ab")},
    {"ListOfDifferentLengths", Ok("Content-Length: 1, 2\r\n", "ab")},
    {"NegativeLength", Ok("Content-Length: -1\r\n", "ab")},
    {"LengthNotANumber", Ok("Content-Length: two\r\n", "ab")},
    {"OverflowingLength", Ok("Content-Length: 99999999999999999999999\r\n", "ab")},
    {"LengthAndChunked",
     Ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"NulInAValue", Ok("X-A: a" + std::string(1, '\0') + "b\r\nContent-Length: 0\r\n")},
    {"BareCrInAValue", Ok("X-A: a\rX-B: b\r\nContent-Length: 0\r\n")},
    {"ControlCharacterInAName", Ok("X\x01"
                                   "A: b\r\nContent-Length: 0\r\n")},
    {"SpaceBeforeColon", Ok("Content-Length : 1\r\n", "a")},
    {"EmptyName", Ok(": b\r\nContent-Length: 0\r\n")},
    {"LineWithoutColon", Ok("garbage\r\nContent-Length: 0\r\n")},
    {"EqualLengthsTwice", Ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ab")},
    {"EmptyLength", Ok("Content-Length:\r\n", "ab")},
    {"FoldedLength", Ok("Content-Length:\r\n 2\r\n", "ab")},
    {"FoldBehindTheStatusLine", "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 2\r\n\r\nab"},
    {"GzipBeforeChunked", Ok("Transfer-Encoding: gzip, chunked\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"ChunkedNotLast", Ok("Transfer-Encoding: chunked, gzip\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"ChunkedTwice", Ok("Transfer-Encoding: chunked, chunked\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"ChunkedOnTwoLines",
     Ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
    {"QuotedChunked", Ok("Transfer-Encoding: \"chunked\"\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"ChunkedWithParameter", Ok("Transfer-Encoding: chunked;a=b\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"PrefixedChunked", Ok("Transfer-Encoding: xchunked\r\n", "1\r\na\r\n0\r\n\r\n")},
    {"VerticalTabBeforeChunked", Ok("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n")},
    {"EmptyTransferEncoding", Ok("Transfer-Encoding:\r\n", "ab")},
    {"ChunkedInHttp10", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    {"BareLf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nab"},
    {"BareLfBetweenFields", Ok("X-A: b\nContent-Length: 2\r\n", "ab")},
    {"BareCrInTheReason", "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"},
    {"EmptyLineBefore", "\r\n" + Ok("Content-Length: 2\r\n", "ab")},
    {"Http09", "<html>hello</html>"},
    {"LowerCaseHttp", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
    {"HeadCutShort", "HTTP/1.1 200 OK\r\nContent-Len"},
    {"InterimAlone", "HTTP/1.1 103 Early Hints\r\n\r\n"},
    {"TooManyFields",
     [] {
       std::string lines;
       for (int i = 0; i < 1000; ++i) lines += "X-A: b\r\n";
       return Ok(lines + "Content-Length: 0\r\n");
     }()},
    {"ChunkSizeWithSign", Ok("Transfer-Encoding: chunked\r\n", "+1\r\na\r\n0\r\n\r\n")},
    {"OverflowingChunkSize", Ok("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\na")},
    {"BareLfAfterAChunkSize", Ok("Transfer-Encoding: chunked\r\n", "1\na\n0\n\n")},
    {"HugeHead", Ok("X-A: " + std::string(300'000, 'a') + "\r\nContent-Length: 0\r\n")},
    {"FloodOfInterimAnswers",
     [] {
       std::string flood;
       for (int i = 0; i < 1000; ++i) flood += "HTTP/1.1 103 Early Hints\r\nX-I: 1\r\n\r\n";
       return flood + Ok("Content-Length: 0\r\n");
     }()},
};

TEST_F(ResponseFramingTest, BadHeadsBecome502AndAreNeverStored) {
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  for (const BadResponse& bad : kBadHeads) {
    SCOPED_TRACE(bad.name);
    std::string target = std::string("/") + bad.name;
    origin.Next(target, [&bad](OriginExchange& exchange) {
      exchange.Send(bad.bytes);
      exchange.Close();
    });
    origin.On(target, {.body = "good"});
    RawClient client = satchel->Connect();
    Response response = client.Get(target);
    EXPECT_EQ(response.status, 502) << Describe(response);
    EXPECT_TRUE(Problem(response).is_object()) << Describe(response);
    EXPECT_EQ(Get(target).body, "good");
    EXPECT_EQ(origin.RequestCount(target), 2u);
  }
}

TEST_F(ResponseFramingTest, JunkAfterACompleteAnswerIsGivenToNobody) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Send(Ok("Content-Length: 5\r\n",
                     "hello"
                     "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"));
  });
  origin.On("/next", {.body = "next"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  RawClient client = satchel->Connect();
  Response response = client.Get("/");
  EXPECT_EQ(response.body, "hello") << Describe(response);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.Exchange("POST", "/next").body, "next");
  EXPECT_GE(origin.accepted(), 2u) << "the poisoned connection was used again";
}

TEST_F(ResponseFramingTest, JunkAfterTheLastChunkIsGivenToNobody) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Send(Ok("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\njunk"));
  });
  origin.On("/next", {.body = "next"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  RawClient client = satchel->Connect();
  EXPECT_EQ(client.Get("/").body, "hello");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.Exchange("POST", "/next").body, "next");
  EXPECT_GE(origin.accepted(), 2u);
}

TEST_F(ResponseFramingTest, BodiesOfBodilessAnswersAreIgnoredAndTheConnectionDropped) {
  struct Case {
    const char* target;
    const char* method;
    std::string bytes;
    int status;
  };
  const std::string body = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
  const Case cases[] = {
      {"/204", "GET", "HTTP/1.1 204 No Content\r\n\r\n" + body, 204},
      {"/204l", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204},
      {"/304", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n" + body, 304},
      {"/head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200},
  };
  origin.On("/next", {.body = "next"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  for (const Case& one : cases) {
    SCOPED_TRACE(one.target);
    origin.On(one.target, [&one](OriginExchange& exchange) { exchange.Send(one.bytes); });
    RawClient client = satchel->Connect();
    Response response = client.Exchange(
        one.method, one.target, one.status == 304 ? Fields{{"If-None-Match", "\"a\""}} : Fields{});
    EXPECT_EQ(response.status, one.status) << Describe(response);
    EXPECT_TRUE(response.complete);
    EXPECT_FALSE(one.status == 204 && response.fields.Has("Content-Length"));
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(client.Exchange("POST", "/next").body, "next") << "answers out of step";
    }
    EXPECT_NE(origin.Last("/next").connection, origin.Last(one.target).connection);
  }
}

TEST_F(ResponseFramingTest, ABodyThatA204AnnouncedDoesNotReachTheNextRequest) {
  origin.On("/204", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n");
    exchange.Hold("body");
    exchange.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  origin.On("/next", {.body = "next"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  EXPECT_EQ(Get("/204").status, 204);
  EXPECT_EQ(Get("/next").body, "next");
  EXPECT_EQ(origin.accepted(), 2u);
  origin.Release("body");
}

TEST_F(ResponseFramingTest, AnUnknownTransferCodingIsReadToTheEndAndReframed) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send(Ok("Transfer-Encoding: gibberish\r\n", "as it comes"));
    exchange.Close();
  });
  Start();
  Response response = Get("/");
  if (response.status == 502) return;
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_EQ(response.body, "as it comes");
  EXPECT_NE(response.Get("Transfer-Encoding"), "gibberish");
}

TEST_F(ResponseFramingTest, AnUnframedBodyEndsWithItsConnectionAndMayBeStored) {
  Reply reply = Fresh("to the end");
  reply.framing = Reply::Framing::kUntilClose;
  origin.On("/", reply);
  Start();
  Response response = Get("/");
  EXPECT_EQ(response.body, "to the end");
  EXPECT_TRUE(response.complete);
  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_EQ(hit.body, "to the end");
}

TEST_F(ResponseFramingTest, ChunkExtensionsAreDropped) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send(Ok("Transfer-Encoding: chunked\r\n",
                     "5;secret=1\r\nhello\r\n1;x=\"\\\"\"\r\n!\r\n0;end\r\n\r\n"));
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("POST", "/") + Request("POST", "/", {{"Connection", "close"}}));
  std::string bytes = client.ReadToEnd();
  EXPECT_EQ(bytes.find("secret"), std::string::npos) << bytes;
  EXPECT_NE(bytes.find("hello"), std::string::npos) << bytes;
}

TEST_F(ResponseFramingTest, AnUnaskedFor206IsNeverStoredAsTheWhole) {
  origin.Next("/", {.status = 206,
                    .fields = {{"Content-Range", "bytes 0-3/10"}, {"Cache-Control", "max-age=60"}},
                    .body = "part"});
  origin.On("/", Fresh("the whole"));
  Start();
  Get("/");
  EXPECT_EQ(Get("/").body, "the whole");
}

TEST_F(ResponseFramingTest, An304NobodyAskedForIsNotStored) {
  origin.Next("/", {.status = 304, .fields = {{"ETag", "\"a\""}, {"Cache-Control", "max-age=60"}}});
  origin.On("/", Fresh("the whole"));
  Start();
  Response odd = Get("/");
  EXPECT_TRUE(odd.status == 304 || odd.status == 502) << Describe(odd);
  EXPECT_EQ(Get("/").body, "the whole");
}

TEST_F(ResponseFramingTest, AnswersInSingleBytesAreWhole) {
  std::string bytes =
      Ok("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n");
  origin.On("/", [bytes](OriginExchange& exchange) {
    for (char byte : bytes) exchange.Send(std::string_view(&byte, 1));
  });
  Start();
  EXPECT_EQ(Get("/").body, "abcde");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

TEST_F(ResponseFramingTest, A3_JunkBehindA304ToAValidationEndsTheConnectionOnly) {
  origin.Next("/", StaleSince(5, "stored", "", {{"ETag", "\"1\""}}));
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send(
        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
  });
  origin.On("/next", {.body = "next"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  Get("/");
  EXPECT_EQ(Get("/").body, "stored");
  EXPECT_EQ(Get("/next").body, "next");
  EXPECT_NE(origin.Last("/next").connection, origin.Last("/").connection);
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

}  // namespace
}  // namespace satchel::testing
