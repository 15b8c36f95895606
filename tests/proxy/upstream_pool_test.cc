#include "proxy/upstream_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "proxy/upstream_connection.h"

namespace satchel::proxy {
namespace {

class UpstreamServerTest : public ::testing::Test {
 protected:
  // A connection that becomes idle now.
  const UpstreamConnection* Idle() {
    auto connection = std::make_unique<UpstreamConnection>(loop_, server_);
    const UpstreamConnection* const which = connection.get();
    server_->PutIdle(std::move(connection));
    return which;
  }
  const UpstreamConnection* Take() {
    taken_.push_back(server_->TakeIdle());
    return taken_.back().get();
  }
  ~UpstreamServerTest() override { server_->Retire(); }

  net::EventLoop loop_;
  WorkerMetrics metrics_;
  const std::shared_ptr<UpstreamServer> server_ =
      std::make_shared<UpstreamServer>(loop_, metrics_, rules::Endpoint(), 3);
  std::vector<std::unique_ptr<UpstreamConnection>> taken_;
};

TEST_F(UpstreamServerTest, TheLastUsedOfThoseThatWerePolledSinceIsTakenFirst) {
  const auto* const a = Idle();
  const auto* const b = Idle();
  loop_.Turn(false);
  const auto* const c = Idle();
  EXPECT_EQ(Take(), b);
  EXPECT_EQ(Take(), a);
  EXPECT_EQ(Take(), c) << "rather than a new one";
  EXPECT_EQ(Take(), nullptr);
}

TEST_F(UpstreamServerTest, OfMoreThanMayBeKeptTheLongestIdleGoes) {
  Idle();
  const auto* const b = Idle();
  const auto* const c = Idle();
  const auto* const d = Idle();
  loop_.Turn(false);
  EXPECT_EQ(Take(), d);
  EXPECT_EQ(Take(), c);
  EXPECT_EQ(Take(), b);
  EXPECT_EQ(Take(), nullptr);
}

}  // namespace
}  // namespace satchel::proxy
