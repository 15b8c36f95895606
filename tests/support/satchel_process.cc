#include "tests/support/satchel_process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <sstream>

#include "tests/support/concurrency.h"

namespace satchel::testing {
namespace {

void ReplaceAll(std::string* text, const std::string& what, const std::string& with) {
  for (size_t at = 0; (at = text->find(what, at)) != std::string::npos; at += with.size()) {
    text->replace(at, what.size(), with);
  }
}

std::string Tail(const std::string& text, size_t size) {
  return text.size() <= size ? text : "..." + text.substr(text.size() - size);
}

}  // namespace

std::string SatchelBinary() {
  const char* given = std::getenv("SATCHEL_BINARY");
  return given != nullptr ? given : SATCHEL_BINARY;
}

CommandResult RunSatchel(std::vector<std::string> arguments,
                         const std::vector<std::string>& environment, const std::string& folder) {
  arguments.insert(arguments.begin(), SatchelBinary());
  return RunCommand(arguments, environment, folder);
}

Metrics::Metrics(const std::string& text) : text_(text) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
    series_[line.substr(0, space)] = std::strtod(line.c_str() + space + 1, nullptr);
  }
}

double Metrics::Sum(const std::string& name, const std::vector<std::string>& labels) const {
  double sum = 0;
  for (const auto& [series, value] : series_) {
    if (series.substr(0, series.find('{')) != name) continue;
    bool matches = true;
    for (const std::string& label : labels) {
      if (series.find(label) == std::string::npos) matches = false;
    }
    if (matches) sum += value;
  }
  return sum;
}

bool Metrics::Has(const std::string& name) const {
  for (const auto& entry : series_) {
    if (entry.first.substr(0, entry.first.find('{')) == name) return true;
  }
  return false;
}

std::string SatchelConfig::Yaml(const std::string& listen, const std::string& admin) const {
  std::string yaml = "version: 1\nworkers: " + workers + "\n";
  yaml += "listeners: [{name: web, address: \"" + listen + "\"" +
          (listener.empty() ? "" : ", " + listener) + "}" + more_listeners + "]\n";
  yaml += "upstreams:\n  app: {servers: [\"" + upstream + "\"]" + (app.empty() ? "" : ", " + app) +
          "}\n" + more_upstreams;
  yaml += "defaults:\n  timeouts: {" + timeouts + "}\n";
  if (!cache.empty()) yaml += "  cache: {" + cache + "}\n";
  yaml += "stores:\n  l1: {" + l1 + "}\n";
  if (!l2.empty()) yaml += "  l2: {" + l2 + "}\n";
  yaml += stores;
  yaml += "admin: {address: \"" + admin + "\"}\n";
  yaml += "shutdown: {" + shutdown + "}\n";
  if (!rules.empty()) yaml += "rules:\n" + rules;
  return yaml + rest;
}

SatchelProcess::SatchelProcess(SatchelConfig config) {
  Start(config.Yaml("{listen}", "{admin}"), {});
}

SatchelProcess::SatchelProcess(const std::string& yaml,
                               const std::vector<std::string>& environment) {
  Start(yaml, environment);
}

std::string SatchelProcess::Fill(std::string yaml) const {
  ReplaceAll(&yaml, "{listen}", address_);
  ReplaceAll(&yaml, "{admin}", admin_);
  ReplaceAll(&yaml, "{dir}", dir_.path());
  return yaml;
}

void SatchelProcess::Start(const std::string& yaml, const std::vector<std::string>& environment) {
  dir_.Write("satchel.yaml", Fill(yaml));
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{SatchelBinary(), "run", "-c", config_path()}, environment);
  bool ready = Eventually([this] { return !process_->Running() || Ready(); });
  if (!ready || !process_->Running()) {
    ADD_FAILURE() << "satchel did not become ready\nstdout: " << Tail(process_->out(), 4000)
                  << "\nstderr: " << Tail(process_->err(), 8000) << "\nconfiguration:\n"
                  << Fill(yaml);
  }
}

SatchelProcess::~SatchelProcess() {
  if (!clean_exit_expected_) return;
  process_->Signal(SIGCONT);
  std::optional<int> status = process_->Running() ? Stop() : process_->WaitForExit();
  if (status == 0) return;
  ADD_FAILURE() << "satchel ended with "
                << (status ? std::to_string(*status) : "nothing: it still runs after SIGTERM")
                << "\nstderr: " << Tail(process_->err(), 12000);
}

bool SatchelProcess::Ready() { return Admin("/readyz").status == 200; }

Response SatchelProcess::Admin(std::string_view target, Fields fields) const {
  if (!fields.Has("Host")) fields.Add("Host", admin_);
  return Fetch(admin_, target, fields);
}

bool SatchelProcess::WaitForRedis(double connections) const {
  return Eventually(
      [&] { return ReadMetrics().Sum("satchel_redis_connections_up") >= connections; });
}

Metrics SatchelProcess::ReadMetrics() const { return Metrics(Admin("/metrics").body); }

nlohmann::json SatchelProcess::Status() const {
  return nlohmann::json::parse(Admin("/status").body, nullptr, false);
}

std::vector<nlohmann::json> SatchelProcess::AccessLog() const {
  std::vector<nlohmann::json> entries;
  std::istringstream lines(process_->out());
  std::string line;
  while (std::getline(lines, line)) {
    if (lines.eof() || line.empty() || line[0] != '{') continue;
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object()) entries.push_back(entry);
  }
  return entries;
}

std::optional<nlohmann::json> SatchelProcess::WaitForLogEntry(const nlohmann::json& like) {
  std::optional<nlohmann::json> found;
  Eventually([&] {
    for (const nlohmann::json& entry : AccessLog()) {
      bool matches = true;
      for (const auto& [name, value] : like.items()) {
        if (!entry.contains(name) || entry[name] != value) matches = false;
      }
      if (matches) found = entry;
    }
    return found.has_value();
  });
  return found;
}

void SatchelProcess::Reload(const std::string& yaml) {
  ReplaceFile(config_path(), Fill(yaml));
  process_->Signal(SIGHUP);
}

void SatchelProcess::Reload(const SatchelConfig& config) {
  Reload(config.Yaml("{listen}", "{admin}"));
}

std::optional<int> SatchelProcess::Stop(std::chrono::milliseconds patience) {
  process_->Signal(SIGTERM);
  return process_->WaitForExit(patience);
}

}  // namespace satchel::testing
