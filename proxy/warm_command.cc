#include "proxy/warm_command.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "cache/http/message.h"

namespace satchel::proxy {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kFine = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr size_t kMostBytes = 48 << 10;  // of one body; the listener takes 64 KiB
constexpr std::chrono::milliseconds kLookAgain{200};
constexpr std::chrono::seconds kFullAgain{1};
constexpr const char* kResults[] = {"shared", "fetched", "fresh", "uncacheable",
                                    "busy",   "failed",  "no_rule", "skipped"};

void Say(const std::string& text) { std::fprintf(stderr, "satchel warm: %s\n", text.c_str()); }

// One URL a line; "#" begins a comment.
void ReadLines(std::istream& in, std::vector<std::string>* urls) {
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && std::string_view(" \t\r").find(line.back()) != std::string_view::npos) {
      line.pop_back();
    }
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string::npos || line[first] == '#') continue;
    urls->push_back(line.substr(first));
  }
}

std::string MessageOf(const AdminAnswer& answer) {
  const json body = json::parse(answer.body, nullptr, false);
  if (body.is_object() && body.contains("detail") && body["detail"].is_string()) {
    return body["detail"].get<std::string>();
  }
  return "status " + std::to_string(answer.status);
}

uint64_t NumberOf(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number_unsigned() ? at->get<uint64_t>() : 0;
}

// What all runs came to.
struct Sum {
  uint64_t requests = 0;
  uint64_t done = 0;
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> results;
  std::string first_error;

  void Add(const json& run) {
    requests += NumberOf(run, "requests");
    done += NumberOf(run, "done");
    bytes += NumberOf(run, "bytes");
    for (const char* result : kResults) results[result] += NumberOf(run, result);
    if (first_error.empty() && run.contains("first_error") && run["first_error"].is_string()) {
      first_error = run["first_error"].get<std::string>();
    }
  }
  bool well() const {
    return results.at("failed") + results.at("skipped") + results.at("no_rule") == 0;
  }
  std::string Text() const {
    std::string text = std::to_string(requests) + " request(s), " + std::to_string(bytes) + " bytes";
    for (const char* result : kResults) {
      if (results.at(result) > 0) text += ", " + std::to_string(results.at(result)) + " " + result;
    }
    return text;
  }
};

}  // namespace

void WarmCommand::AddTo(CLI::App* command) {
  command->add_option("url", urls_, "URLs, https://host/path");
  const auto add = [&](const char* name, std::vector<std::string>* to, const char* help) {
    command->add_option(name, *to, help)->allow_extra_args(false);
  };
  add("-f,--file", &files_, "A file with one URL a line, - for standard input; may be repeated, as all of these");
  add("--entry", &entries_, "What this entry of warmup names");
  add("--rule", &rules_, "What the fleet is asked for most under this rule");
  add("-H,--header", &headers_, "\"Name: value\"; several values of one name are combined with all others");
  command->add_flag("--all-variants", all_variants_, "Each combination that cache.normalize lists");
  command->add_option("--rate", rate_, "Requests a second that may reach the origin [20]");
  command->add_option("--concurrency", concurrency_, "Requests at once [4]");
  command->add_flag("--no-wait", no_wait_, "Do not wait until all are done");
  command->add_flag("-q,--quiet", quiet_, "No progress on standard error");
  command->footer("Exit code: 0 all are warm, or may not be stored; 1 some failed, or were skipped; 2 usage.");
}

bool WarmCommand::ReadUrls(std::vector<std::string>* urls) const {
  *urls = urls_;
  for (const std::string& name : files_) {
    if (name == "-") {
      ReadLines(std::cin, urls);
      continue;
    }
    std::ifstream file(name);
    if (!file) {
      Say("cannot read " + name);
      return false;
    }
    ReadLines(file, urls);
  }
  return true;
}

std::vector<std::string> WarmCommand::Bodies(const std::vector<std::string>& urls) const {
  ordered_json common;
  ordered_json headers = ordered_json::object();
  for (const std::string& header : headers_) {
    const size_t colon = std::min(header.find(':'), header.size());
    const std::string name = header.substr(0, colon);
    const std::string_view value = cache::TrimOws(std::string_view(header).substr(std::min(colon + 1, header.size())));
    if (!headers.contains(name)) headers[name] = ordered_json::array();
    headers[name].push_back(value);
  }
  if (!headers.empty()) common["headers"] = headers;
  if (all_variants_) common["all_variants"] = true;
  common["rate"] = rate_;
  common["concurrency"] = concurrency_;
  std::vector<std::string> bodies;
  const auto dump = [&](const ordered_json& body) {
    bodies.push_back(body.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
  };
  if (!entries_.empty() || !rules_.empty()) {
    ordered_json body = common;
    if (!entries_.empty()) body["entries"] = entries_;
    if (!rules_.empty()) body["rules"] = rules_;
    dump(body);
  }
  std::vector<std::string> part;
  size_t bytes = 0;
  const auto flush = [&] {
    if (part.empty()) return;
    ordered_json body = common;
    body["urls"] = std::exchange(part, {});
    bytes = 0;
    dump(body);
  };
  for (const std::string& url : urls) {
    if (bytes + url.size() > kMostBytes) flush();
    part.push_back(url);
    bytes += url.size() + 4;
  }
  flush();
  return bodies;
}

int WarmCommand::Run(const Ask& ask) const {
  std::vector<std::string> urls;
  if (!ReadUrls(&urls)) return kUsage;
  const std::vector<std::string> bodies = Bodies(urls);
  if (bodies.empty()) {
    Say("nothing to warm; name URLs, --file, --entry or --rule");
    return kUsage;
  }
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  Sum sum;
  for (const char* result : kResults) sum.results[result] = 0;
  for (size_t i = 0; i < bodies.size(); ++i) {
    uint64_t id = 0;
    for (;;) {
      const auto answer = ask("POST", "/warm", bodies[i]);
      if (!answer) {
        Say(answer.error().message);
        return kFailed;
      }
      if (answer->status == 202) {
        id = NumberOf(json::parse(answer->body, nullptr, false), "id");
        break;
      }
      if (answer->status != 429 || no_wait_) {
        Say(MessageOf(*answer));
        return kFailed;
      }
      std::this_thread::sleep_for(kFullAgain);
    }
    if (no_wait_) continue;
    // One part after the other: the rate is that of all of them.
    for (;;) {
      const auto answer = ask("GET", "/warm?id=" + std::to_string(id), "");
      if (!answer || answer->status != 200) {
        Say(answer ? MessageOf(*answer) : answer.error().message);
        return kFailed;
      }
      const json run = json::parse(answer->body, nullptr, false);
      if (!run.is_object()) {
        Say("the answer is no JSON object");
        return kFailed;
      }
      Sum so_far = sum;
      so_far.Add(run);
      const bool finished = run.value("finished", false);
      if (!quiet_ && (terminal || finished)) {
        std::fprintf(stderr, "%s%llu of %llu done%s%s", terminal ? "\r" : "",
                     static_cast<unsigned long long>(so_far.done),
                     static_cast<unsigned long long>(so_far.requests),
                     bodies.size() > 1
                         ? (", part " + std::to_string(i + 1) + " of " + std::to_string(bodies.size())).c_str()
                         : "",
                     terminal && !finished ? "" : "\n");
      }
      if (finished) {
        sum = std::move(so_far);
        break;
      }
      std::this_thread::sleep_for(kLookAgain);
    }
  }
  if (no_wait_) return kFine;
  std::printf("%s\n", sum.Text().c_str());
  if (!sum.first_error.empty()) Say("first failure: " + sum.first_error);
  return sum.well() ? kFine : kFailed;
}

}  // namespace satchel::proxy
