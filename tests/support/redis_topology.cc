#include "tests/support/redis_topology.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <sstream>

#include "tests/support/concurrency.h"

namespace satchel::testing {
namespace {

constexpr long kSlots = 16384;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }
std::string PortOf(const std::string& address) { return address.substr(address.rfind(':') + 1); }

}  // namespace

SentinelProcess::SentinelProcess(const std::string& master_address, int quorum,
                                 const std::vector<std::string>& more_lines, const TlsFiles* tls)
    : client_(nullptr, CloseRedis) {
  std::string config = "port " + PortOf(port_.address()) + "\nbind 127.0.0.1\ndir " + dir_.path() +
                       "\nsentinel monitor main " + HostOf(master_address) + " " +
                       PortOf(master_address) + " " + std::to_string(quorum) +
                       "\nsentinel down-after-milliseconds main 500\n"
                       "sentinel failover-timeout main 3000\n";
  if (tls != nullptr) {
    for (const auto& [name, value] : tls->Lines(tls_port_.port())) {
      config += name + " " + value + "\n";
    }
  }
  for (const std::string& line : more_lines) config += line + "\n";
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{RedisProgram(), dir_.Write("sentinel.conf", config), "--sentinel"});
  const bool up = Eventually([&] {
    const std::string answer = Command({"PING"});
    return answer == "PONG" || answer.starts_with("NOAUTH");
  });
  if (!up) ADD_FAILURE() << "redis-sentinel: " << process_->out();
}

std::string SentinelProcess::Command(const std::vector<std::string>& arguments) {
  return RedisCommand(port_.port(), &client_, arguments);
}

std::string SentinelProcess::MasterAddress() {
  const auto lines = Lines(Command({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"}));
  return lines.size() == 2 ? lines[0] + ":" + lines[1] : "";
}

void SentinelProcess::Pause() { process_->Signal(SIGSTOP); }
void SentinelProcess::Continue() { process_->Signal(SIGCONT); }

void SentinelProcess::Kill() {
  process_->Signal(SIGKILL);
  process_->WaitForExit();
}

SentinelTopology::SentinelTopology(const TlsFiles* tls)
    : tls_(tls != nullptr),
      master_({}, tls),
      replica_({"--replicaof", "127.0.0.1 " + PortOf(AddressOf(master_))}, tls) {
  for (int i = 0; i < 3; ++i) {
    sentinels_.push_back(
        std::make_unique<SentinelProcess>(AddressOf(master_), 2, std::vector<std::string>{}, tls));
  }
  EXPECT_TRUE(Eventually([&] {
    return master_.Command({"INFO", "replication"}).find("state=online") != std::string::npos;
  }));
  for (const auto& sentinel : sentinels_) {
    EXPECT_TRUE(Eventually([&] {
      const std::string info = sentinel->Command({"INFO", "sentinel"});
      return info.find("slaves=1") != std::string::npos &&
             info.find("sentinels=3") != std::string::npos;
    })) << sentinel->Command({"INFO", "sentinel"});
  }
}

std::string SentinelTopology::AddressOf(const RedisProcess& redis) const {
  return tls_ ? redis.tls_address() : redis.address();
}

std::string SentinelTopology::url() const {
  std::string hosts;
  for (const auto& sentinel : sentinels_) {
    hosts += (hosts.empty() ? "" : ",") + (tls_ ? sentinel->tls_address() : sentinel->address());
  }
  return (tls_ ? "sentinels://" : "sentinel://") + hosts + "/main";
}

bool SentinelTopology::WaitForFailOver() {
  return Eventually([&] { return sentinel(1).MasterAddress() == AddressOf(replica_); },
                    std::chrono::milliseconds(40'000));
}

void RedisCluster::Start(const std::vector<std::string>& options, const TlsFiles* tls) {
  // The bus wants a port of its own; by default it is 10000 above, which may not exist.
  const PortReservation bus;
  std::vector<std::string> all = {"--cluster-enabled",
                                  "yes",
                                  "--cluster-port",
                                  std::to_string(bus.port()),
                                  "--cluster-node-timeout",
                                  "2000",
                                  "--cluster-require-full-coverage",
                                  "no"};
  all.insert(all.end(), options.begin(), options.end());
  if (tls != nullptr) all.insert(all.end(), {"--tls-cluster", "yes"});
  nodes_.push_back(std::make_unique<RedisProcess>(all, tls));
  buses_.push_back(std::to_string(bus.port()));
}

void RedisCluster::Meet(size_t index) {
  const std::string address = node(0).address();
  EXPECT_EQ(node(index).Command({"CLUSTER", "MEET", HostOf(address), PortOf(address), buses_[0]}),
            "OK");
}

RedisCluster::RedisCluster(size_t masters, const std::vector<std::string>& options, bool replicas,
                           const TlsFiles* tls)
    : tls_(tls != nullptr) {
  for (size_t i = 0; i < masters * (replicas ? 2 : 1); ++i) Start(options, tls);
  for (size_t i = 0; i < masters; ++i) {
    const long first = kSlots * static_cast<long>(i) / static_cast<long>(masters);
    const long last = kSlots * static_cast<long>(i + 1) / static_cast<long>(masters) - 1;
    EXPECT_EQ(
        node(i).Command({"CLUSTER", "ADDSLOTSRANGE", std::to_string(first), std::to_string(last)}),
        "OK");
    EXPECT_EQ(node(i).Command({"CLUSTER", "SET-CONFIG-EPOCH", std::to_string(i + 1)}), "OK");
  }
  for (size_t i = 1; i < size(); ++i) Meet(i);
  for (size_t i = masters; i < size(); ++i) {
    const std::string master = IdOf(i - masters);
    // Once it has heard of it.
    EXPECT_TRUE(
        Eventually([&] { return node(i).Command({"CLUSTER", "REPLICATE", master}) == "OK"; }));
  }
  for (size_t i = 0; i < size(); ++i) {
    const bool ok = Eventually([&] {
      const std::string info = node(i).Command({"CLUSTER", "INFO"});
      return info.find("cluster_state:ok") != std::string::npos &&
             info.find("cluster_slots_assigned:16384") != std::string::npos &&
             info.find("cluster_known_nodes:" + std::to_string(size())) != std::string::npos &&
             (i < masters ||
              node(i).Command({"INFO", "replication"}).find("master_link_status:up") !=
                  std::string::npos);
    });
    if (!ok) ADD_FAILURE() << node(i).Command({"CLUSTER", "INFO"});
  }
}

std::string RedisCluster::url() const {
  std::string url = tls_ ? "rediss://" : "redis://";
  for (const auto& one : nodes_) {
    url += (url.ends_with('/') ? "" : ",") + (tls_ ? one->tls_address() : one->address());
  }
  return url;
}

long RedisCluster::SlotOf(const std::string& key) {
  return std::stol(node(0).Command({"CLUSTER", "KEYSLOT", key}));
}

std::string RedisCluster::IdOf(size_t index) { return node(index).Command({"CLUSTER", "MYID"}); }

std::optional<size_t> RedisCluster::FindOwner(const std::string& key) {
  for (size_t i = 0; i < size(); ++i) {
    const std::string reply = node(i).Command({"EXISTS", key});
    if (reply == "0" || reply == "1") return i;
  }
  return std::nullopt;
}

size_t RedisCluster::OwnerOf(const std::string& key) {
  const auto owner = FindOwner(key);
  if (!owner) ADD_FAILURE() << "nobody serves " << key;
  return owner.value_or(0);
}

bool RedisCluster::IsMaster(size_t index) {
  return node(index).Command({"ROLE"}).starts_with("master");
}

std::vector<std::string> RedisCluster::Keys(const std::string& pattern) {
  std::vector<std::string> all;
  for (const auto& one : nodes_) {
    const auto keys = one->Keys(pattern);
    all.insert(all.end(), keys.begin(), keys.end());
  }
  return all;
}

std::vector<std::string> RedisCluster::Records() {
  std::vector<std::string> all;
  for (const auto& one : nodes_) {
    const auto keys = one->Records();
    all.insert(all.end(), keys.begin(), keys.end());
  }
  return all;
}

long RedisCluster::Calls(const std::string& command) {
  long calls = 0;
  for (const auto& one : nodes_) calls += one->Calls(command);
  return calls;
}

bool RedisCluster::BeginMigration(long slot, size_t from, size_t to) {
  const std::string text = std::to_string(slot);
  return node(to).Command({"CLUSTER", "SETSLOT", text, "IMPORTING", IdOf(from)}) == "OK" &&
         node(from).Command({"CLUSTER", "SETSLOT", text, "MIGRATING", IdOf(to)}) == "OK";
}

void RedisCluster::MoveKeys(long slot, size_t from, size_t to, bool meant_to) {
  const std::string address = node(to).address();
  const auto keys =
      Lines(node(from).Command({"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), "1000"}));
  for (const std::string& key : keys) {
    if (key.empty()) continue;
    const std::string moved = node(from).Command(
        {"MIGRATE", HostOf(address), PortOf(address), key, "0", "5000", "REPLACE"});
    if (meant_to) EXPECT_TRUE(moved == "OK" || moved == "NOKEY") << moved;
  }
}

bool RedisCluster::EndMigration(long slot, size_t, size_t to) {
  const std::string id = IdOf(to);
  if (node(to).Command({"CLUSTER", "SETSLOT", std::to_string(slot), "NODE", id}) != "OK") {
    return false;
  }
  for (size_t i = 0; i < size(); ++i) {
    if (i != to) node(i).Command({"CLUSTER", "SETSLOT", std::to_string(slot), "NODE", id});
  }
  return true;
}

}  // namespace satchel::testing
