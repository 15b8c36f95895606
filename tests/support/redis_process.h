#pragma once

// A private redis-server: own port, own folder, nothing kept on disk.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/tls.h"

struct redisContext;

namespace satchel::testing {

// The program, and one command on a connection that is made when needed; the reply as text:
// integers in decimal, arrays as one item a line, errors as "ERR ...".
std::string RedisProgram();
using RedisContext = std::unique_ptr<redisContext, void (*)(redisContext*)>;
void CloseRedis(redisContext* client);
std::string RedisCommand(uint16_t port, RedisContext* client,
                         const std::vector<std::string>& arguments);

// With these a server or sentinel speaks TLS on a second port, also to its like.
struct TlsFiles {
  Certificate certificate;
  std::string authority;
  // Names and values, as they stand in a redis.conf.
  std::vector<std::pair<std::string, std::string>> Lines(uint16_t port) const;
};

class RedisProcess {
 public:
  // `options` are more arguments, e.g. {"--maxmemory", "4mb"}.
  explicit RedisProcess(std::vector<std::string> options = {}, const TlsFiles* tls = nullptr);
  ~RedisProcess();

  std::string url() const { return "redis://" + port_.address() + "/0"; }
  std::string address() const { return port_.address(); }
  std::string tls_address() const { return tls_port_.address(); }

  std::string Command(const std::vector<std::string>& arguments);
  std::vector<std::string> Keys(const std::string& pattern = "*");
  // The keys of stored responses under the prefix "satchel"; a lock is none.
  std::vector<std::string> Records();
  // Every key, and every value where it can be read as text, for "is this secret in there".
  std::string Dump();
  // Of `info commandstats`: calls of one command so far.
  long Calls(const std::string& command);

  void Pause();  // SIGSTOP: the kernel accepts, nobody answers
  void Continue();
  void Kill();     // connections are refused from here on
  void Restart();  // empty again, same address

 private:
  void Start();

  TempDir dir_;
  PortReservation port_;
  PortReservation tls_port_;
  std::vector<std::string> options_;
  std::unique_ptr<ChildProcess> process_;
  RedisContext client_;
};

}  // namespace satchel::testing
