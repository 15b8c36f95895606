#pragma once

// What stands around redis-servers: sentinels, and clusters of masters. Real processes.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {

// One redis-sentinel that watches one master by the name "main".
class SentinelProcess {
 public:
  SentinelProcess(const std::string& master_address, int quorum,
                  const std::vector<std::string>& more_lines = {}, const TlsFiles* tls = nullptr);

  std::string address() const { return port_.address(); }
  std::string tls_address() const { return tls_port_.address(); }
  // The reply as text, like RedisProcess::Command().
  std::string Command(const std::vector<std::string>& arguments);
  std::string MasterAddress();
  void Pause();
  void Continue();
  void Kill();

 private:
  TempDir dir_;
  PortReservation port_;
  PortReservation tls_port_;
  std::unique_ptr<ChildProcess> process_;
  RedisContext client_;
};

// A master, its replica, and three sentinels that know of all; two of them agree on a fail-over.
class SentinelTopology {
 public:
  explicit SentinelTopology(const TlsFiles* tls = nullptr);

  // "sentinel://a,b,c/main"
  std::string url() const;
  RedisProcess& master() { return master_; }
  RedisProcess& replica() { return replica_; }
  SentinelProcess& sentinel(size_t index) { return *sentinels_[index]; }
  // The replica is the master now, as the second sentinel says.
  bool WaitForFailOver();

 private:
  std::string AddressOf(const RedisProcess& redis) const;

  const bool tls_;
  RedisProcess master_;
  RedisProcess replica_;
  std::vector<std::unique_ptr<SentinelProcess>> sentinels_;
};

// A cluster of masters that share the slots evenly, on request with a replica each: they come
// behind the masters, in the same order. Waits until all of them say "ok" and replicas have caught
// up.
class RedisCluster {
 public:
  explicit RedisCluster(size_t masters = 3, const std::vector<std::string>& options = {},
                        bool replicas = false, const TlsFiles* tls = nullptr);

  // "redis://a,b,c", with `tls` "rediss://"
  std::string url() const;
  RedisProcess& node(size_t index) { return *nodes_[index]; }
  size_t size() const { return nodes_.size(); }
  // The node that serves the slot of the key, as the first node that answers knows.
  size_t OwnerOf(const std::string& key);
  std::optional<size_t> FindOwner(const std::string& key);
  bool IsMaster(size_t index);
  long SlotOf(const std::string& key);
  std::string IdOf(size_t index);
  // "satchel:*" on all nodes together.
  std::vector<std::string> Keys(const std::string& pattern = "*");
  std::vector<std::string> Records();
  long Calls(const std::string& command);

  // The steps of a migration: the target imports, the source migrates, keys move, all are told.
  // False: a node refused, and nothing but its own part has been done.
  bool BeginMigration(long slot, size_t from, size_t to);
  // `meant_to`: anything but success is a test failure.
  void MoveKeys(long slot, size_t from, size_t to, bool meant_to = true);
  bool EndMigration(long slot, size_t from, size_t to);

 private:
  void Start(const std::vector<std::string>& options, const TlsFiles* tls);
  void Meet(size_t index);

  const bool tls_;
  std::vector<std::unique_ptr<RedisProcess>> nodes_;
  std::vector<std::string> buses_;  // ports
};

}  // namespace satchel::testing
