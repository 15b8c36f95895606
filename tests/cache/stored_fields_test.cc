#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using std::chrono::seconds;
using test::At;
using test::DateAt;
using test::Get;
using test::Judge;
using test::kNow;
using test::kNowText;
using test::Map;
using test::Response;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Lines(const HeaderMap& fields) {
  std::vector<std::string> out;
  for (const HeaderMap::Field field : fields) {
    out.push_back(std::string(field.name) + ": " + std::string(field.value));
  }
  return out;
}

std::vector<std::string> Hop(test::Fields fields, std::vector<std::string> kept = {}) {
  HeaderMap map = Map(fields);
  RemoveHopByHop(map, kept);
  return Lines(map);
}

// RFC 9110 7.6.1
TEST(HopByHopTest, A2_ConnectionAndWhatItNamesGo) {
  EXPECT_THAT(Hop({{"Connection", "close, X-A"},
                   {"x-a", "1"},
                   {"X-B", "2"},
                   {"Connection", "\"\",X-C"},
                   {"X-C", "3"}}),
              ElementsAre("X-B: 2"));
  EXPECT_THAT(Hop({{"Keep-Alive", "timeout=5"},
                   {"Proxy-Connection", "keep-alive"},
                   {"TE", "trailers"},
                   {"Trailer", "X"},
                   {"Transfer-Encoding", "chunked"},
                   {"Upgrade", "h2c"},
                   {"HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"}}),
              IsEmpty());
  EXPECT_THAT(Hop({{"Connection", "Retry-After"}, {"Retry-After", "5"}}), IsEmpty());
}

TEST(HopByHopTest, A2_EverythingElsePassesUnchanged) {
  EXPECT_THAT(Hop({{"X-Odd", " a,,\"b "},
                   {"set-COOKIE", "a"},
                   {"Set-Cookie", "b"},
                   {"X-Odd", ""},
                   {"Warning", "199 - x"}}),
              ElementsAre("X-Odd:  a,,\"b ", "set-COOKIE: a", "Set-Cookie: b",
                          "X-Odd: ", "Warning: 199 - x"));
}

TEST(HopByHopTest, ConnectionCannotRemoveWhatSecurityRestsOn) {
  for (const std::string_view name :
       {"Host", "Content-Length", "Authorization", "Cookie", "Cache-Control", "X-Forwarded-For",
        "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-API-Key", "Set-Cookie", "Vary",
        "Age"}) {
    EXPECT_THAT(Hop({{"Connection", name}, {name, "1"}}), ElementsAre(std::string(name) + ": 1"));
  }
  EXPECT_THAT(Hop({{"Connection", "X-Tenant-Key, X-A"}, {"x-tenant-key", "1"}, {"X-A", "2"}},
                  {"X-Tenant-Key"}),
              ElementsAre("x-tenant-key: 1"));
}

std::vector<std::string> Stored(test::Fields fields) {
  return Lines(StoredFields(Response(200, fields), kNow, {}));
}
const std::string kDateLine = "Date: " + std::string(kNowText);

// RFC 9111 3.1
TEST(StoredFieldsTest, A2_ProxyFieldsHopByHopAndAgeAreNotStored) {
  EXPECT_THAT(Stored({{"Date", kNowText},
                      {"Proxy-Authenticate", "Basic"},
                      {"Proxy-Authentication-Info", "x"},
                      {"Proxy-Authorization", "x"},
                      {"Connection", "X-A"},
                      {"X-A", "1"},
                      {"Transfer-Encoding", "chunked"},
                      {"Age", "5"},
                      {"RateLimit", "x"},
                      {"X-RateLimit-Remaining", "1"},
                      {"X-B", "2"},
                      {"Set-Cookie", "a=b"}}),
              ElementsAre(kDateLine, "X-B: 2", "Set-Cookie: a=b"));
}

// RFC 9111 5.2.2.4, 5.2.2.7
TEST(StoredFieldsTest, C7_FieldsThatQualifiedDirectivesNameAreLeftOut) {
  EXPECT_THAT(
      Stored({{"Date", kNowText},
              {"Cache-Control", "max-age=60, no-cache=\"Set-Cookie\", private=\"X-Secret\""},
              {"Set-Cookie", "a=b"},
              {"x-secret", "1"},
              {"X-B", "2"}}),
      ElementsAre(kDateLine,
                  "Cache-Control: max-age=60, no-cache=\"Set-Cookie\", private=\"X-Secret\"",
                  "X-B: 2"));
}

// RFC 9110 6.6.1
TEST(StoredFieldsTest, A6_DateIsAddedWhereAbsentAndNeverRewritten) {
  EXPECT_THAT(Stored({}), ElementsAre(kDateLine));
  EXPECT_THAT(Stored({{"Date", "nonsense"}}), ElementsAre("Date: nonsense"));
  EXPECT_THAT(Stored({{"Date", DateAt(-500)}}), ElementsAre("Date: " + DateAt(-500)));
}

UpdateResult Update(const StoreVerdict& stored, const HeaderMap& fields, test::Fields update,
                    Time now, const RequestHead& request = Get()) {
  return UpdateStored(request, fields, stored.facts, Response(304, update), now, now, 0.0, {});
}

// RFC 9111 3.2, 4.3.4; 4.2.3 for the clock.
TEST(UpdateTest, D2_TheClockRestartsFromTheTimesOfTheUpdate) {
  const ResponseHead first = Response(
      200, {{"Cache-Control", "max-age=60"}, {"ETag", "\"a\""}, {"Age", "10"}, {"X-A", "1"}});
  const StoreVerdict stored = Judge(Get(), first);
  const HeaderMap fields = StoredFields(first, kNow, {});
  ASSERT_FALSE(stored.facts.IsFreshAt(At(100)));

  const UpdateResult plain = Update(stored, fields, {{"ETag", "\"a\""}}, At(100));
  EXPECT_TRUE(plain.verdict.store);
  EXPECT_EQ(plain.verdict.facts.AgeAt(At(100)), seconds(0));
  EXPECT_TRUE(plain.verdict.facts.IsFreshAt(At(159)));
  EXPECT_FALSE(plain.verdict.facts.IsFreshAt(At(160)));
  EXPECT_EQ(plain.verdict.facts.status, 200);
  EXPECT_EQ(plain.fields.First("Date"), DateAt(100));
  EXPECT_EQ(plain.fields.First("X-A"), "1");

  const UpdateResult aged =
      Update(stored, fields,
             {{"Date", DateAt(80)}, {"Age", "30"}, {"Cache-Control", "max-age=300"}}, At(100));
  EXPECT_EQ(aged.verdict.facts.AgeAt(At(100)), seconds(30));
  EXPECT_EQ(aged.verdict.facts.lifetime, seconds(300));
  EXPECT_EQ(aged.fields.First("Date"), DateAt(80));
  EXPECT_FALSE(aged.fields.Has("Age"));
}

TEST(UpdateTest, H2_AnUpdateMayEndStorability) {
  const ResponseHead first = Response(200, {{"Cache-Control", "max-age=60"}, {"ETag", "\"a\""}});
  const StoreVerdict stored = Judge(Get(), first);
  const HeaderMap fields = StoredFields(first, kNow, {});
  EXPECT_EQ(Update(stored, fields, {{"Cache-Control", "no-store"}}, At(9)).verdict.reason,
            Reason::kNoStore);
  EXPECT_EQ(Update(stored, fields, {{"Cache-Control", "private"}}, At(9)).verdict.reason,
            Reason::kPrivate);
  EXPECT_EQ(Update(stored, fields, {}, At(9), Get({{"Cache-Control", "no-store"}})).verdict.reason,
            Reason::kRequestNoStore);
  const UpdateResult last =
      Update(stored, fields, {{"Cache-Control", "no-store"}, {"Age", "40"}}, At(9));
  EXPECT_EQ(last.verdict.facts.AgeAt(At(9)), seconds(40));
  EXPECT_EQ(last.verdict.facts.status, 200);
  EXPECT_FALSE(last.verdict.facts.IsFreshAt(At(9)));
}

// RFC 9111 5.1: what holds for the Age of a full answer holds for that of a 304.
TEST(UpdateTest, B3_TheAgeOfAnUpdateIsTheFirstMemberOfItsFirstLine) {
  const ResponseHead first = Response(200, {{"Cache-Control", "max-age=60"}, {"ETag", "\"a\""}});
  const StoreVerdict stored = Judge(Get(), first);
  const HeaderMap fields = StoredFields(first, kNow, {});
  const auto age = [&](test::Fields update) {
    return Update(stored, fields, update, At(9)).verdict.facts.AgeAt(At(9));
  };
  EXPECT_EQ(age({{"Age", "40"}, {"Age", "0"}}), seconds(40));
  EXPECT_EQ(age({{"Age", "0"}, {"Age", "40"}}), seconds(0));
  EXPECT_EQ(age({{"Age", "40, 0"}}), seconds(40));
  EXPECT_EQ(age({{"Age", "-40"}}), seconds(0));
}

// RFC 9111 5.2.2.4: from now on, of what was stored before too.
TEST(UpdateTest, C7_FieldsThatAnUpdateQualifiesAreLeftOut) {
  const ResponseHead first =
      Response(200, {{"Cache-Control", "max-age=60"}, {"X-Secret", "1"}, {"X-B", "2"}});
  const StoreVerdict stored = Judge(Get(), first);
  const UpdateResult updated = Update(
      stored, StoredFields(first, kNow, {}),
      {{"Cache-Control", "max-age=60, no-cache=\"X-Secret, X-New\""}, {"X-New", "3"}}, At(9));
  EXPECT_TRUE(updated.verdict.store);
  EXPECT_FALSE(updated.fields.Has("X-Secret"));
  EXPECT_FALSE(updated.fields.Has("X-New"));
  EXPECT_EQ(updated.fields.First("X-B"), "2");
}

// Its Cache-Control takes the place of the one that gave a lifetime (RFC 9111 3.2).
TEST(UpdateTest, D4_AnUpdateThatTakesTheLifetimeAwayLeavesNone) {
  const ResponseHead first = Response(200, {{"Cache-Control", "max-age=60"}, {"ETag", "\"a\""}});
  const StoreVerdict stored = Judge(Get(), first);
  const UpdateResult updated =
      Update(stored, StoredFields(first, kNow, {}), {{"Cache-Control", "public"}}, At(9));
  EXPECT_TRUE(updated.verdict.store);
  EXPECT_EQ(updated.verdict.reason, Reason::kForValidationOnly);
  EXPECT_FALSE(updated.verdict.facts.IsFreshAt(At(9)));
}

TEST(UpdateTest, F6_AStoredPartStaysAPart) {
  const ResponseHead first = Response(206, {{"Cache-Control", "max-age=60"},
                                            {"ETag", "\"a\""},
                                            {"Content-Range", "bytes 2-5/10"},
                                            {"Content-Length", "4"}});
  const RequestHead request = Get({{"Range", "bytes=2-5"}});
  const StoreVerdict stored = Judge(request, first);
  ASSERT_TRUE(stored.store);
  const UpdateResult updated = Update(stored, StoredFields(first, kNow, {}), {{"ETag", "\"a\""}},
                                      At(100), Get({{"Range", "bytes=3-4"}}));
  EXPECT_TRUE(updated.verdict.store);
  EXPECT_TRUE(updated.verdict.facts.partial);
  EXPECT_EQ(updated.fields.First("Content-Range"), "bytes 2-5/10");
}

}  // namespace
}  // namespace satchel::cache
