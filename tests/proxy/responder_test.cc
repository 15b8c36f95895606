// The heads of answers from what is stored: whatever form an answer takes, it says the same of its
// age, and which part of the body goes with it.
#include "proxy/responder.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "cache/body.h"
#include "tests/cache/messages.h"

namespace satchel::proxy {
namespace {

using cache::test::At;
using cache::test::Get;
using cache::test::Request;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kBody = "0123456789012345678901234567890123456789";
// Longer than several ranges of it with the lines between them.
const std::string kLong(5000, 'x');

// Received at At(0), 5 seconds old by then.
cache::StoredPtr Stored(std::string_view body, uint16_t status = 200) {
  const bool part = status == 206;
  cache::ResponseHead head = cache::test::Response(
      status, {{"Cache-Control", "max-age=60"}, {"ETag", "\"1\""}, {"Age", "5"}});
  if (part) head.fields.Add("Content-Range", "bytes 0-39/100");
  const cache::RequestHead asked = part ? Get({{"Range", "bytes=0-39"}}) : Get();
  cache::StoredResponse::Parts parts;
  parts.key = "k";
  parts.facts = cache::test::Judge(asked, head).facts;
  parts.reason = "OK";
  parts.fields = cache::StoredFields(head, At(0), {});
  if (part) {
    parts.partial_range = {0, 39};
    parts.complete_length = 100;
  }
  parts.body = cache::Body::Copy(body);
  return cache::StoredResponse::Make(std::move(parts));
}

Reply Answer(const cache::RequestHead& request, const cache::StoredPtr& stored) {
  ReplyContext context;
  context.now = At(12);
  return BuildStoredReply(request, *stored, stored->body().size(), context);
}

// RFC 9111 5.1
TEST(ResponderTest, F1_EveryFormOfAnAnswerSaysHowOldItIsNow) {
  const std::pair<cache::RequestHead, uint16_t> forms[] = {
      {Get(), 200},
      {Request("HEAD", "/"), 200},
      {Get({{"If-None-Match", "\"1\""}}), 304},
      {Get({{"If-None-Match", "\"2\""}}), 200},
      {Get({{"Range", "bytes=2-4"}}), 206},
      {Get({{"Range", "bytes=0-1,10-11"}}), 206},
      {Get({{"Range", "bytes=9000-"}}), 416},
      {Get({{"Range", "bytes=2-4"}, {"If-Range", "\"2\""}}), 200},
  };
  for (const auto& [request, status] : forms) {
    const Reply reply = Answer(request, Stored(kLong));
    EXPECT_EQ(reply.status, status);
    EXPECT_THAT(reply.head, HasSubstr("\r\nAge: 17\r\n"));
  }
  const Reply of_a_part = Answer(Get({{"Range", "bytes=2-4"}}), Stored(kBody, 206));
  EXPECT_EQ(of_a_part.status, 206);
  EXPECT_THAT(of_a_part.head, HasSubstr("\r\nAge: 17\r\n"));
  std::string tail;
  ReplyContext context;
  context.now = At(12);
  AppendHitTail(tail, Stored(kBody)->facts(), context);
  EXPECT_THAT(tail, HasSubstr("Age: 17\r\n"));
}

// RFC 9110 9.3.2: no form of an answer to HEAD has a body, and its length is that of the whole.
TEST(ResponderTest, F4_NoAnswerToAHeadHasABody) {
  rules::Rule edits;
  edits.response_headers.set.emplace_back("X-Edited", "1");
  for (const rules::Rule* rule :
       {static_cast<const rules::Rule*>(nullptr), static_cast<const rules::Rule*>(&edits)}) {
    for (const auto& [name, value] :
         {std::pair("X-Plain", "1"), std::pair("If-None-Match", "\"1\""),
          std::pair("If-None-Match", "\"2\""), std::pair("Range", "bytes=2-4"),
          std::pair("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")}) {
      const cache::StoredPtr stored = Stored(kBody);
      ReplyContext context;
      context.now = At(12);
      context.rule = rule;
      const Reply reply = BuildStoredReply(Request("HEAD", "/", {{name, value}}), *stored,
                                           stored->body().size(), context);
      EXPECT_EQ(reply.body_length, 0u) << name << ": " << value;
      EXPECT_EQ(reply.multipart, nullptr);
      if (reply.status == 304) {
        EXPECT_THAT(reply.head, Not(HasSubstr("Content-Length")));
      } else {
        EXPECT_EQ(reply.status, 200) << name;
        EXPECT_THAT(reply.head, HasSubstr("Content-Length: 40\r\n"));
      }
    }
  }
}

}  // namespace
}  // namespace satchel::proxy
