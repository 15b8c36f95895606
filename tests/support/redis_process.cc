#include "tests/support/redis_process.h"

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <signal.h>

#include <cstdlib>
#include <sstream>

#include "tests/support/concurrency.h"

namespace satchel::testing {
namespace {

std::string Text(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      return std::to_string(reply.integer);
    case REDIS_REPLY_NIL:
      return "";
    case REDIS_REPLY_ARRAY: {
      std::string text;
      for (size_t i = 0; i < reply.elements; ++i) text += Text(*reply.element[i]) + "\n";
      return text;
    }
    default:
      return std::string(reply.str, reply.len);
  }
}

}  // namespace

std::string RedisProgram() {
  for (const char* path : {"/usr/bin/redis-server", "/usr/local/bin/redis-server"}) {
    if (std::filesystem::exists(path)) return path;
  }
  return "redis-server";
}

void CloseRedis(redisContext* client) { redisFree(client); }

std::string RedisCommand(uint16_t port, RedisContext* shared,
                         const std::vector<std::string>& arguments) {
  RedisContext& client = *shared;
  if (client == nullptr || client->err != 0) {
    timeval patience{5, 0};
    client.reset(redisConnectWithTimeout("127.0.0.1", port, patience));
    if (client == nullptr || client->err != 0) return "ERR not connected";
    redisSetTimeout(client.get(), patience);
  }
  std::vector<const char*> argv;
  std::vector<size_t> sizes;
  for (const std::string& argument : arguments) {
    argv.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  std::unique_ptr<redisReply, void (*)(void*)> reply(
      static_cast<redisReply*>(
          redisCommandArgv(client.get(), static_cast<int>(argv.size()), argv.data(), sizes.data())),
      freeReplyObject);
  return reply == nullptr ? "ERR no reply" : Text(*reply);
}

std::vector<std::pair<std::string, std::string>> TlsFiles::Lines(uint16_t port) const {
  return {{"tls-port", std::to_string(port)}, {"tls-cert-file", certificate.cert},
          {"tls-key-file", certificate.key},  {"tls-ca-cert-file", authority},
          {"tls-auth-clients", "no"},         {"tls-replication", "yes"}};
}

RedisProcess::RedisProcess(std::vector<std::string> options, const TlsFiles* tls)
    : options_(std::move(options)), client_(nullptr, redisFree) {
  if (tls != nullptr) {
    for (const auto& [name, value] : tls->Lines(tls_port_.port())) {
      options_.push_back("--" + name);
      options_.push_back(value);
    }
  }
  Start();
}

RedisProcess::~RedisProcess() = default;

void RedisProcess::Start() {
  std::vector<std::string> argv = {RedisProgram(),
                                   "--port",
                                   std::to_string(port_.port()),
                                   "--bind",
                                   "127.0.0.1",
                                   "--save",
                                   "",
                                   "--appendonly",
                                   "no",
                                   "--dir",
                                   dir_.path(),
                                   "--daemonize",
                                   "no"};
  argv.insert(argv.end(), options_.begin(), options_.end());
  process_ = std::make_unique<ChildProcess>(argv);
  bool up = Eventually([this] {
    if (!process_->Running()) return true;
    std::string reply = Command({"PING"});
    return reply == "PONG" || reply.starts_with("NOAUTH");
  });
  if (!up || !process_->Running()) ADD_FAILURE() << "redis-server: " << process_->out();
}

std::string RedisProcess::Command(const std::vector<std::string>& arguments) {
  return RedisCommand(port_.port(), &client_, arguments);
}

std::vector<std::string> RedisProcess::Keys(const std::string& pattern) {
  std::vector<std::string> keys;
  std::istringstream lines(Command({"KEYS", pattern}));
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.empty()) keys.push_back(line);
  }
  return keys;
}

std::vector<std::string> RedisProcess::Records() {
  std::vector<std::string> keys = Keys("satchel:?:{*");
  std::erase_if(keys, [](const std::string& key) { return key.ends_with(":lock"); });
  return keys;
}

std::string RedisProcess::Dump() {
  std::string dump;
  for (const std::string& key : Keys()) {
    std::string type = Command({"TYPE", key});
    dump += key + "\n";
    if (type == "string") dump += Command({"GET", key}) + "\n";
    if (type == "zset") dump += Command({"ZRANGE", key, "0", "-1", "WITHSCORES"}) + "\n";
    if (type == "hash") dump += Command({"HGETALL", key}) + "\n";
    if (type == "set") dump += Command({"SMEMBERS", key}) + "\n";
    if (type == "list") dump += Command({"LRANGE", key, "0", "-1"}) + "\n";
  }
  return dump;
}

long RedisProcess::Calls(const std::string& command) {
  std::string info = Command({"INFO", "commandstats"});
  std::string name = "cmdstat_" + command + ":calls=";
  size_t at = info.find(name);
  return at == std::string::npos ? 0 : std::strtol(info.c_str() + at + name.size(), nullptr, 10);
}

void RedisProcess::Pause() { process_->Signal(SIGSTOP); }
void RedisProcess::Continue() { process_->Signal(SIGCONT); }

void RedisProcess::Kill() {
  process_->Signal(SIGKILL);
  process_->WaitForExit();
}

void RedisProcess::Restart() {
  if (process_->Running()) Kill();
  client_.reset();
  Start();
}

}  // namespace satchel::testing
