#include "proxy/warm_admin.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "proxy/warm_command.h"

namespace satchel::proxy {
namespace {

std::string Mistake(const std::string& body) {
  const auto order = WarmAdmin::OrderOf(body);
  return order ? "none" : order.error().message;
}

TEST(WarmAdminTest, EveryMemberIsRead) {
  const auto order = WarmAdmin::OrderOf(
      R"({"urls": ["https://a.test/", "https://a.test/b"], "headers": {"Accept-Language": ["en", "de"]},
          "entries": "plans", "rules": ["product"], "rate": 0.5, "concurrency": 8})");
  ASSERT_TRUE(order) << order.error().message;
  EXPECT_EQ(order->urls.size(), 2u);
  ASSERT_EQ(order->headers.size(), 1u);
  EXPECT_EQ(order->headers[0].second.size(), 2u);
  EXPECT_EQ(order->entries, std::vector<std::string>{"plans"});
  EXPECT_EQ(order->rules, std::vector<std::string>{"product"});
  EXPECT_EQ(order->rate, 0.5);
  EXPECT_EQ(order->concurrency, 8u);
  const auto plain = WarmAdmin::OrderOf(R"({"urls": "https://a.test/", "all_variants": true})");
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->all_variants);
  EXPECT_EQ(plain->rate, 20);
  EXPECT_EQ(plain->concurrency, 4u);
}

TEST(WarmAdminTest, MistakesSayWhatToWriteInstead) {
  const auto says = [](const std::string& body, const std::string& what) {
    EXPECT_NE(Mistake(body).find(what), std::string::npos) << body << "\n" << Mistake(body);
  };
  says("", "write a JSON object");
  says("[]", "write a JSON object");
  says("{}", "write urls, entries or rules");
  says(R"({"urls": []})", "write urls, entries or rules");
  says(R"({"urls": [""]})", "none empty");
  says(R"({"urls": [7]})", "a list of texts");
  says(R"({"url": "https://a.test/"})", "\"url\" is not known; write urls, headers");
  says(R"({"urls": "https://a.test/", "headers": []})", "write {\"Accept-Language\"");
  says(R"({"urls": "https://a.test/", "headers": {"Cookie": "a=b"}})", "may not be sent to warm by");
  says(R"({"urls": "https://a.test/", "headers": {"Accept": "a\r\nb"}})", "control characters");
  says(R"({"urls": "https://a.test/", "headers": {"Accept": "a"}, "all_variants": true})", "keep one");
  says(R"({"urls": "https://a.test/", "rate": 0})", "more than 0");
  says(R"({"urls": "https://a.test/", "rate": 1e999})", "JSON object");
  says(R"({"urls": "https://a.test/", "rate": 10001})", "at most 10000");
  says(R"({"urls": "https://a.test/", "concurrency": 0})", "1 to 256");
  says(R"({"urls": "https://a.test/", "concurrency": 257})", "1 to 256");
  says(R"({"urls": "https://a.test/", "concurrency": 1.5})", "1 to 256");
  says(R"({"urls": "https://a.test/", "all_variants": 1})", "true or false");
}

TEST(WarmAdminTest, ItHasBounds) {
  nlohmann::json body;
  for (size_t i = 0; i < WarmAdmin::kMaxUrls; ++i) body["urls"].push_back("https://a.test/");
  EXPECT_EQ(Mistake(body.dump()), "none");
  body["urls"].push_back("https://a.test/");
  EXPECT_NE(Mistake(body.dump()).find("more than 10000"), std::string::npos);
  nlohmann::json many = {{"urls", "https://a.test/"}};
  for (int i = 0; i < 8; ++i) many["headers"]["A"].push_back("v");
  for (int i = 0; i < 8; ++i) many["headers"]["B"].push_back("v");
  EXPECT_EQ(Mistake(many.dump()), "none");
  many["headers"]["B"].push_back("v");
  EXPECT_NE(Mistake(many.dump()).find("more than 64"), std::string::npos);
}

TEST(WarmCommandTest, ManyUrlsAreSentInPartsThatTheListenerTakes) {
  CLI::App app;
  WarmCommand command;
  command.AddTo(&app);
  app.parse("--rate 5 -H \"Accept-Language: en\" -H \"Accept-Language: de\" --entry plans");
  std::vector<std::string> urls;
  for (int i = 0; i < 2000; ++i) {
    urls.push_back("https://shop.test/" + std::string(60, 'a') + "/" + std::to_string(i));
  }
  const auto bodies = command.Bodies(urls);
  ASSERT_GT(bodies.size(), 2u);
  size_t sent = 0;
  for (const std::string& body : bodies) {
    EXPECT_LE(body.size(), AdminListener::kMaxBody);
    const auto order = WarmAdmin::OrderOf(body);
    ASSERT_TRUE(order) << order.error().message;
    EXPECT_EQ(order->rate, 5);
    ASSERT_EQ(order->headers.size(), 1u);
    EXPECT_EQ(order->headers[0].second, (std::vector<std::string>{"en", "de"}));
    sent += order->urls.size();
  }
  EXPECT_EQ(sent, urls.size());
  EXPECT_EQ(WarmAdmin::OrderOf(bodies[0])->entries, std::vector<std::string>{"plans"});
}

}  // namespace
}  // namespace satchel::proxy
