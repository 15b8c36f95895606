// Three instances, one Redis or one cluster, Zipf load, purges of every kind, and faults without
// pause: nobody is ever served what may not be served. $SATCHEL_CHAOS_SECONDS sets for how long
// (the long run is 300), $SATCHEL_CHAOS_SEED repeats what was done; how threads interleave is not
// repeated.

#include <optional>

#include "tests/support/chaos_fixture.h"
#include "tests/support/fault_relay.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;

FaultRelay::Faults ErrorFor(const std::string& text) {
  return {.error = [text](const std::string&) { return std::optional(text); }};
}

std::string PortOf(const std::string& address) { return address.substr(address.rfind(':') + 1); }

// What relays before the servers do to connections: one of them, or all.
class Relays {
 public:
  const std::string& Before(const std::string& address) {
    relays_.push_back(std::make_unique<FaultRelay>(address));
    return relays_.back()->address();
  }
  void AddFaults(std::vector<Fault>* faults) {
    for (const char* error :
         {"LOADING Redis is loading the dataset in memory", "OOM command not allowed",
          "READONLY You can't write against a read only replica.",
          "NOAUTH Authentication required.", "BUSY Redis is busy running a script."}) {
      faults->push_back(Of(error, ErrorFor(error)));
    }
    faults->push_back(Of("slow", {.delay = milliseconds(200)}));
    faults->push_back(Of("held", {.hold = true}));
    faults->push_back(Of("refused", {.refuse = true}, true));
    faults->push_back(Of("cut in mid-reply", {.cut_after = 5000}));
    faults->push_back(Of("flipped bits", {.flip_every = 20'011}));
  }

 private:
  Fault Of(const std::string& name, const FaultRelay::Faults& faults, bool reset = false) {
    return {name,
            [this, faults, reset] {
              const size_t only = turn_++ % (relays_.size() + 1);
              for (size_t i = 0; i < relays_.size(); ++i) {
                if (only < relays_.size() && only != i) continue;
                relays_[i]->Set(faults);
                if (reset) relays_[i]->ResetAll();
              }
            },
            [this] {
              for (const auto& relay : relays_) relay->Clear();
            }};
  }

  std::vector<std::unique_ptr<FaultRelay>> relays_;
  size_t turn_ = 0;
};

// What can be done to a server itself.
void AddServerFaults(RedisProcess& server, std::vector<Fault>* faults) {
  faults->push_back({"stopped", [&] { server.Pause(); }, [&] { server.Continue(); }});
  faults->push_back({"killed, empty again", [&] { server.Kill(); }, [&] { server.Restart(); }});
  faults->push_back({"flushed", [&] { server.Command({"FLUSHALL"}); }, [] {}});
  faults->push_back({"scripts flushed", [&] { server.Command({"SCRIPT", "FLUSH"}); }, [] {}});
  faults->push_back({"clients killed",
                     [&] {
                       server.Command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
                       server.Command({"CLIENT", "KILL", "TYPE", "pubsub"});
                     },
                     [] {}});
  faults->push_back({"full", [&] { server.Command({"CONFIG", "SET", "maxmemory", "1"}); },
                     [&] { server.Command({"CONFIG", "SET", "maxmemory", "0"}); }});
}

class ChaosOnOneServer : public ChaosTest {
 protected:
  RedisProcess redis_;
  Relays relays_;
};

TEST_F(ChaosOnOneServer, NothingIsServedThatMayNotBe) {
  std::vector<std::string> urls;
  for (size_t i = 0; i < kInstances; ++i) {
    urls.push_back("redis://" + relays_.Before(redis_.address()) + "/0");
  }
  StartThree(urls);
  std::vector<Fault> faults;
  relays_.AddFaults(&faults);
  AddServerFaults(redis_, &faults);
  Run(faults);
}

class ChaosOnACluster : public ChaosTest {
 protected:
  explicit ChaosOnACluster(bool replicas = false) : cluster_(kMasters, {}, replicas) {}

  // A slot that has keys goes to another master, and stays in between until the fault ends.
  void Migrate() {
    const auto keys = cluster_.node(turn_ % cluster_.size()).Keys("satchel:*");
    if (keys.empty()) return;
    const std::string& key = keys[turn_ % keys.size()];
    const auto from = cluster_.FindOwner(key);
    if (!from) return;  // it came back just now, and serves nothing yet
    size_t to = *from;
    do {
      to = (to + 1) % cluster_.size();
    } while (!cluster_.IsMaster(to));
    const long slot = cluster_.SlotOf(key);
    if (to == *from) return;
    if (!cluster_.BeginMigration(slot, *from, to)) {
      Abandon(slot);
      return;
    }
    moving_ = {slot, *from, to};
    // A node that came back just now may not take them yet: then their loss is one fault more.
    cluster_.MoveKeys(slot, *from, to, false);
  }
  void EndMigration() {
    if (!moving_) return;
    cluster_.MoveKeys(moving_->slot, moving_->from, moving_->to, false);
    // Unless one of the two is no master any more.
    const auto fallen = [&] {
      return !cluster_.IsMaster(moving_->from) || !cluster_.IsMaster(moving_->to);
    };
    EXPECT_TRUE(Eventually([&] {
      return cluster_.EndMigration(moving_->slot, moving_->from, moving_->to) || fallen();
    }));
    if (fallen()) Abandon(moving_->slot);
    moving_.reset();
  }
  void Abandon(long slot) {
    for (size_t i = 0; i < cluster_.size(); ++i) {
      cluster_.node(i).Command({"CLUSTER", "SETSLOT", std::to_string(slot), "STABLE"});
    }
  }
  std::vector<Fault> Faults() {
    std::vector<Fault> faults;
    for (size_t i = 0; i < cluster_.size(); ++i) {
      AddServerFaults(cluster_.node(i), &faults);
      faults.push_back({"a slot moves",
                        [this] {
                          ++turn_;
                          Migrate();
                        },
                        [this] { EndMigration(); }});
    }
    return faults;
  }

  static constexpr size_t kMasters = 3;

  struct Move {
    long slot;
    size_t from;
    size_t to;
  };
  RedisCluster cluster_;
  std::optional<Move> moving_;
  size_t turn_ = 0;
};

// The nodes are known by the relays before them. One that was killed knows no more of it, and is
// told in time or reached directly.
TEST_F(ChaosOnACluster, NothingIsServedThatMayNotBe) {
  Relays relays;
  std::string url = "redis://";
  std::vector<std::string> ports;
  for (size_t i = 0; i < cluster_.size(); ++i) {
    const std::string& address = relays.Before(cluster_.node(i).address());
    ports.push_back(PortOf(address));
    url += (i == 0 ? "" : ",") + address;
  }
  const auto announce = [&] {
    for (size_t i = 0; i < cluster_.size(); ++i) {
      cluster_.node(i).Command({"CONFIG", "SET", "cluster-announce-port", ports[i]});
    }
  };
  announce();
  ASSERT_TRUE(Eventually([&] {
    const std::string slots = cluster_.node(0).Command({"CLUSTER", "SLOTS"});
    return std::all_of(ports.begin(), ports.end(), [&](const std::string& port) {
      return slots.find(port) != std::string::npos;
    });
  }));
  StartThree({url});
  std::vector<Fault> faults = Faults();
  for (Fault& fault : faults) {
    fault.end = [&, end = std::move(fault.end)] {
      end();
      announce();
    };
  }
  relays.AddFaults(&faults);
  relays.AddFaults(&faults);  // about as often as those of the servers
  Run(faults);
}

class ChaosOnAClusterWithReplicas : public ChaosOnACluster {
 protected:
  ChaosOnAClusterWithReplicas() : ChaosOnACluster(true) {}

  // Of the two that began as a master and its replica, the one that is a replica now.
  std::optional<size_t> ReplicaOf(size_t pair) {
    for (const size_t i : {pair, pair + kMasters}) {
      if (!cluster_.IsMaster(i) && cluster_.IsMaster((i + kMasters) % cluster_.size())) return i;
    }
    return std::nullopt;
  }
  void AddFailOvers(std::vector<Fault>* faults) {
    for (size_t pair = 0; pair < kMasters; ++pair) {
      faults->push_back({"failed over",
                         [this, pair] {
                           const auto replica = ReplicaOf(pair);
                           if (replica) cluster_.node(*replica).Command({"CLUSTER", "FAILOVER"});
                         },
                         [] {}});
      faults->push_back(
          {"lost to its replica",
           [this, pair] {
             const auto replica = ReplicaOf(pair);
             if (!replica) return;
             lost_ = (*replica + kMasters) % cluster_.size();
             cluster_.node(*lost_).Kill();
             EXPECT_EQ(cluster_.node(*replica).Command({"CLUSTER", "FAILOVER", "TAKEOVER"}), "OK");
           },
           [this] {
             if (lost_) cluster_.node(*lost_).Restart();
             lost_.reset();
           }});
    }
  }

  std::optional<size_t> lost_;
};

TEST_F(ChaosOnAClusterWithReplicas, NothingIsServedThatMayNotBe) {
  StartThree({cluster_.url()});
  std::vector<Fault> faults = Faults();
  AddFailOvers(&faults);
  AddFailOvers(&faults);
  Run(faults);
}

}  // namespace
}  // namespace satchel::testing
