#pragma once

// What stands around redis-servers: sentinels, and clusters of masters. Real processes.

#include <memory>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {

// One redis-sentinel that watches one master by the name "main".
class SentinelProcess {
 public:
  SentinelProcess(const std::string& master_address, int quorum,
                  const std::vector<std::string>& more_lines = {});

  std::string address() const { return port_.address(); }
  // The reply as text, like RedisProcess::Command().
  std::string Command(const std::vector<std::string>& arguments);
  std::string MasterAddress();
  void Pause();
  void Continue();
  void Kill();

 private:
  TempDir dir_;
  PortReservation port_;
  std::unique_ptr<ChildProcess> process_;
  RedisContext client_;
};

// A cluster of masters that share the slots evenly. Waits until all of them say "ok".
class RedisCluster {
 public:
  explicit RedisCluster(size_t masters = 3, const std::vector<std::string>& options = {});

  // "redis://a,b,c"
  std::string url() const;
  RedisProcess& node(size_t index) { return *nodes_[index]; }
  size_t size() const { return nodes_.size(); }
  // The node that serves the slot of the key, as the first node that answers knows.
  size_t OwnerOf(const std::string& key);
  long SlotOf(const std::string& key);
  std::string IdOf(size_t index);
  // "satchel:*" on all nodes together.
  std::vector<std::string> Keys(const std::string& pattern = "*");
  std::vector<std::string> Records();
  long Calls(const std::string& command);

  // The steps of a migration: the target imports, the source migrates, keys move, all are told.
  void BeginMigration(long slot, size_t from, size_t to);
  // `meant_to`: anything but success is a test failure.
  void MoveKeys(long slot, size_t from, size_t to, bool meant_to = true);
  void EndMigration(long slot, size_t from, size_t to);

 private:
  std::vector<std::unique_ptr<RedisProcess>> nodes_;
  std::vector<std::string> buses_;  // ports
};

}  // namespace satchel::testing
