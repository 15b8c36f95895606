#include "cache/invalidation.h"

#include <gmock/gmock.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::Request;
using test::Response;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> By(std::string_view method, uint16_t status, test::Fields fields = {}) {
  std::vector<std::string> out;
  for (const InvalidTarget& target :
       InvalidatedBy(Request(method, "/a/b?c"), Response(status, fields))) {
    out.push_back(target.scheme + "://" + target.authority + target.target);
  }
  return out;
}
constexpr std::string_view kOwn = "http://example.com/a/b?c";

// RFC 9111 4.4: "A cache MUST invalidate the target URI when it receives a non-error status code in
// response to an unsafe request method (including methods whose safety is unknown)."
TEST(InvalidationTest, I1_SuccessOfAnUnsafeMethodInvalidatesItsUri) {
  for (const std::string_view method : {"POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get"}) {
    for (const uint16_t status : {200, 201, 204, 299, 301, 303, 399}) {
      EXPECT_THAT(By(method, status), ElementsAre(kOwn)) << method << status;
    }
  }
}

TEST(InvalidationTest, I1_ErrorsAndSafeMethodsInvalidateNothing) {
  for (const uint16_t status : {100, 103, 400, 404, 412, 500, 503}) {
    EXPECT_THAT(By("POST", status, {{"Location", "/x"}}), IsEmpty()) << status;
  }
  for (const std::string_view method : {"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"}) {
    EXPECT_THAT(By(method, 200, {{"Location", "/x"}}), IsEmpty()) << method;
  }
}

// RFC 9111 4.4: "A cache MUST NOT trigger an invalidation under these conditions if the origin of
// the URI to be invalidated differs from that of the target URI."
TEST(InvalidationTest, I2_LocationAndContentLocationOfTheSameOriginGoToo) {
  EXPECT_THAT(By("POST", 201, {{"Location", "/x"}, {"Content-Location", "y"}}),
              ElementsAre(kOwn, "http://example.com/x", "http://example.com/a/y"));
  EXPECT_THAT(By("POST", 303, {{"Location", "http://EXAMPLE.com:80/x#f"}}),
              ElementsAre(kOwn, "http://example.com/x"));
  EXPECT_THAT(By("POST", 201, {{"Location", "/a/b?c"}, {"Content-Location", "?c"}}),
              ElementsAre(kOwn));
  for (const std::string_view other :
       {"https://example.com/x", "http://example.com:8080/x", "http://other.com/x", "//other.com/x",
        "http://u@example.com/x", "mailto:x", "http://", "/ x"}) {
    EXPECT_THAT(By("POST", 201, {{"Location", other}}), ElementsAre(kOwn)) << other;
  }
}

// RFC 9875 2, 3
TEST(InvalidationTest, J1_GroupsAreStringsAndInvalidatedByUnsafeMethodsOnly) {
  const auto groups = [](std::string_view method, uint16_t status, std::string_view value) {
    return InvalidatedGroups(Request(method, "/"),
                             Response(status, {{"Cache-Group-Invalidation", value}}));
  };
  EXPECT_THAT(groups("POST", 200, R"("a", "b;c";x=1, "a")"), ElementsAre("a", "b;c"));
  EXPECT_THAT(groups("POST", 500, R"("a")"), IsEmpty());
  EXPECT_THAT(groups("GET", 200, R"("a")"), IsEmpty());
  EXPECT_THAT(groups("POST", 200, "a"), IsEmpty());
  EXPECT_THAT(groups("POST", 200, R"("a", )"), IsEmpty());
  EXPECT_THAT(GroupsOf(test::Map({{"Cache-Groups", R"("x")"}, {"Cache-Groups", R"("y")"}})),
              ElementsAre("x", "y"));
  EXPECT_THAT(GroupsOf(test::Map({{"Cache-Groups", R"("x", ("y"))"}})), IsEmpty());
  EXPECT_THAT(GroupsOf(test::Map({})), IsEmpty());
}

}  // namespace
}  // namespace satchel::cache
