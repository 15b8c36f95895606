// What people's own clients get through Satchel must be what the origin alone would have given.

#include <filesystem>
#include <fstream>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

constexpr size_t kSize = 300'000;

// A file as a plain web server offers it: ranges, If-Range, If-None-Match, If-Modified-Since.
class FileOrigin {
 public:
  FileOrigin(std::string body, std::string etag) : body_(std::move(body)), etag_(std::move(etag)) {}

  void operator()(OriginExchange& exchange) const {
    const Fields& fields = exchange.request().fields;
    Fields common = {{"ETag", etag_},
                     {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"},
                     {"Accept-Ranges", "bytes"},
                     {"Cache-Control", "max-age=60"}};
    if (fields.Get("If-None-Match") == etag_) {
      exchange.Respond({.status = 304, .fields = common});
      return;
    }
    const std::optional<OneRange> range = ParseOneRange(fields.Get("Range"), body_.size());
    if (!range || (fields.Has("If-Range") && fields.Get("If-Range") != etag_)) {
      exchange.Respond({.fields = common, .body = body_});
      return;
    }
    const auto [first, last] = *range;
    const std::string size = std::to_string(body_.size());
    if (first >= body_.size()) {
      common.Add("Content-Range", "bytes */" + size);
      exchange.Respond({.status = 416, .fields = common});
      return;
    }
    common.Add("Content-Range",
               "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + size);
    exchange.Respond(
        {.status = 206, .fields = common, .body = body_.substr(first, last - first + 1)});
  }

 private:
  std::string body_;
  std::string etag_;
};

class RealClientsTest : public ProxyTest {
 protected:
  void SetUp() override { Offer(Pattern(0, kSize), "\"v1\""); }
  void Offer(const std::string& body, const std::string& etag) {
    body_ = body;
    origin.On("/file", FileOrigin(body, etag));
  }
  std::string Url() const { return "http://" + satchel->address() + "/file"; }
  std::string Read(const std::string& file) const {
    std::ifstream in(dir.path(file), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  CommandResult Curl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"/usr/bin/curl", "-sS", "--max-time", "20"});
    arguments.push_back(Url());
    return RunCommand(arguments, {}, dir.path());
  }

  TempDir dir;
  std::string body_;
};

TEST_F(RealClientsTest, CurlKeepsItsCopyByEntityTag) {
  Start();
  ASSERT_EQ(Curl({"--etag-save", "tag", "-o", "first"}).status, 0);
  EXPECT_TRUE(Read("first") == body_);
  EXPECT_EQ(Read("tag"), "\"v1\"\n");
  const CommandResult same =
      Curl({"--etag-compare", "tag", "-o", "second", "-w", "%{http_code} %{size_download}"});
  EXPECT_EQ(same.out, "304 0") << same.err;
  Offer("another body", "\"v2\"");
  const CommandResult reload =
      Curl({"-H", "Cache-Control: no-cache", "--etag-compare", "tag", "-o", "third", "-w",
            "%{http_code}"});
  EXPECT_EQ(reload.out, "200") << reload.err;
  EXPECT_EQ(Read("third"), "another body");
}

TEST_F(RealClientsTest, CurlGetsRangesOfAColdAndOfAWarmFile) {
  Start();
  for (int turn = 0; turn < 2; ++turn) {
    for (const auto& [range, from, size] :
         {std::tuple<const char*, size_t, size_t>{"0-99", 0, 100},
          {"1000-1999", 1000, 1000},
          {"299990-", 299990, 10},
          {"0-", 0, kSize}}) {
      const CommandResult result = Curl({"-r", range, "-o", "part", "-w", "%{http_code}"});
      EXPECT_EQ(result.out, "206") << range << result.err;
      EXPECT_TRUE(Read("part") == body_.substr(from, size)) << range;
    }
    ASSERT_EQ(Curl({"-o", "whole"}).status, 0);
    EXPECT_TRUE(Read("whole") == body_);
  }
}

TEST_F(RealClientsTest, CurlResumesWhereItStopped) {
  Start();
  for (const size_t had : {size_t{1}, size_t{100'000}, kSize - 1}) {
    dir.Write("resumed", body_.substr(0, had));
    const CommandResult result = Curl({"-C", "-", "-o", "resumed", "-w", "%{http_code}"});
    EXPECT_EQ(result.out, "206") << result.err;
    EXPECT_TRUE(Read("resumed") == body_) << had;
  }
}

TEST_F(RealClientsTest, WgetResumesWhereItStoppedAndLeavesAWholeFileAlone) {
  Start();
  const auto wget = [&] {
    return RunCommand({"/usr/bin/wget", "-q", "-c", "--tries=1", "--timeout=20", "-O", "file", Url()}, {},
                      dir.path());
  };
  dir.Write("file", body_.substr(0, 123'456));
  EXPECT_EQ(wget().status, 0);
  EXPECT_TRUE(Read("file") == body_);
  EXPECT_EQ(wget().status, 0);  // 416: there is nothing behind the end
  EXPECT_TRUE(Read("file") == body_);
}

TEST_F(RealClientsTest, WgetAndCurlShareOneFetch) {
  Start();
  ASSERT_EQ(Curl({"-o", "a"}).status, 0);
  EXPECT_EQ(RunCommand({"/usr/bin/wget", "-q", "-O", "b", Url()}, {}, dir.path()).status, 0);
  EXPECT_TRUE(Read("a") == Read("b"));
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(RealClientsTest, AReloadAsBrowsersSendItRefreshesWhatIsStored) {
  Start();
  ASSERT_EQ(Curl({"-o", "a"}).status, 0);
  // What Firefox and Chromium send on reload; a forced reload also says no-cache.
  const CommandResult reload = Curl({"-H", "Cache-Control: max-age=0", "-H",
                                     "If-None-Match: \"v1\"", "-o", "b", "-w", "%{http_code}"});
  EXPECT_EQ(reload.out, "304") << reload.err;
  Offer("changed", "\"v2\"");
  const CommandResult changed =
      Curl({"-H", "Cache-Control: no-cache", "-H", "Pragma: no-cache", "-o", "c"});
  EXPECT_EQ(changed.status, 0) << changed.err;
  EXPECT_EQ(Read("c"), "changed");
  ASSERT_EQ(Curl({"-o", "d"}).status, 0);
  EXPECT_EQ(Read("d"), "changed");
}

}  // namespace
}  // namespace satchel::testing
