#include "proxy/cli.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "proxy/admin_client.h"
#include "proxy/config_source.h"
#include "proxy/doctor.h"
#include "proxy/purge_request.h"
#include "proxy/limits_command.h"
#include "proxy/server.h"
#include "proxy/warm_command.h"
#include "rules/check.h"
#include "rules/config_parser.h"

namespace satchel::proxy {
namespace {

constexpr int kUsage = 2;
constexpr std::chrono::milliseconds kAdminPatience{2000};

constexpr char kExamples[] = R"(Examples:
  A shared cache before an app, with nothing but defaults:
    satchel run --listen :8080 --upstream 127.0.0.1:3000
  The same, sharing its cache and its rate limits through Redis:
    satchel run --listen :8080 --upstream 127.0.0.1:3000 --redis redis://127.0.0.1:6379/0
  With a file of rules, checked first:
    satchel check rules.yaml && satchel run -c rules.yaml
  Forget what has changed, here and in every instance that shares its Redis:
    satchel purge --tag product:7 --url https://shop.example/products
  Fetch what will be asked for, before it is:
    satchel warm https://shop.example/ --file urls.txt
  Does it live (exit code 0), is it ready, and what does it do?
    satchel healthcheck && satchel healthcheck --ready && satchel status
)";

constexpr char kRunNotes[] = R"(Signals:
  TERM, INT  shut down: stop being ready, finish what is under way, end with 0; again: at once
  HUP        read the configuration again (a change of the files does the same)
  USR1       open the access log's file anew, after it was moved away
)";

void PutLine(FILE* to, const std::string& line) { std::fprintf(to, "%s\n", line.c_str()); }

// How to reach a running program: given, from its file, or the default.
struct AdminOptions {
  std::string address;
  std::string config_file;
  std::string token;

  void AddTo(CLI::App* command) {
    command->add_option("--admin", address, "Admin address [127.0.0.1:9901]");
    command->add_option("-c,--config", config_file,
                        "Take the admin address and token from this file");
    command->add_option("--token", token, "Admin token")->envname("SATCHEL_ADMIN_TOKEN");
  }

  cache::Result<AdminAnswer> Ask(std::string_view method, std::string_view path,
                                 std::string_view body = {}) const {
    rules::AdminConfig admin = rules::DefaultConfig().admin;
    if (!config_file.empty()) {
      RunOptions options;
      options.config_file = config_file;
      LoadedConfig loaded = LoadConfig(options);
      if (!loaded.config) {
        return cache::Fail(cache::ErrorSource::kInternal, loaded.errors.front());
      }
      admin = loaded.config->admin;
    }
    if (!address.empty()) admin.address = rules::ParseListenAddress(address);
    if (!admin.address) {
      return cache::Fail(cache::ErrorSource::kInternal,
                         address.empty() ? "the admin listener is off in " + config_file
                                         : "--admin: \"" + address + "\" is not an address");
    }
    return AskAdmin(*admin.address, method, path, token.empty() ? admin.token : token,
                    kAdminPatience, body);
  }
};

int RunHealthcheck(const AdminOptions& admin, bool ready) {
  const auto answer = admin.Ask("GET", ready ? "/readyz" : "/healthz");
  if (!answer) {
    PutLine(stderr, answer.error().message);
    return 1;
  }
  std::fputs(answer->body.c_str(), answer->status == 200 ? stdout : stderr);
  return answer->status == 200 ? 0 : 1;
}

int RunAsk(const AdminOptions& admin, std::string_view method, std::string_view path,
           std::string_view body = {}) {
  const auto answer = admin.Ask(method, path, body);
  if (!answer) {
    PutLine(stderr, answer.error().message);
    return 1;
  }
  const bool ok = answer->status >= 200 && answer->status < 300;
  std::fputs(answer->body.c_str(), ok ? stdout : stderr);
  return ok ? 0 : 1;
}

struct PurgeOptions {
  PurgeRequest what;
  bool no_wait = false;

  void AddTo(CLI::App* command) {
    const auto add = [&](const char* name, std::vector<std::string>* to, const char* help) {
      command->add_option(name, *to, help)->allow_extra_args(false);
    };
    add("--url", &what.urls, "A URL, https://host/path; may be repeated, as all of these");
    add("--tag", &what.tags, "A tag");
    add("--prefix", &what.prefixes, "Everything whose URL begins so");
    add("--rule", &what.rules, "Everything stored under the rule");
    add("--host", &what.hosts, "Everything of the host");
    command->add_flag("--all", what.all, "Everything");
    command->add_flag("--soft", what.soft, "Make it stale instead of ending it");
    command->add_flag("--refresh", what.refresh, "Fetch the URLs again at once");
    command->add_flag("--no-wait", no_wait, "Do not wait for the other instances");
  }
};

int RunPurge(const AdminOptions& admin, const PurgeOptions& options) {
  const PurgeRequest& what = options.what;
  const nlohmann::ordered_json body = {
      {"urls", what.urls},   {"tags", what.tags},       {"prefixes", what.prefixes},
      {"rules", what.rules}, {"hosts", what.hosts},     {"all", what.all},
      {"soft", what.soft},   {"refresh", what.refresh}, {"wait", !options.no_wait}};
  return RunAsk(admin, "POST", "/purge",
                body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

struct CheckOptions {
  std::string file;
  bool json = false;
  bool effective = false;
};

int RunCheck(const CheckOptions& options) {
  constexpr int kFine = 0;
  constexpr int kErrors = 1;
  constexpr int kUnreadable = 2;
  const FileLoader loader;
  const auto text = loader.ReadFile(options.file, rules::kMaxConfigBytes);
  if (!text) {
    PutLine(stderr, options.file + ": " + text.error().message);
    return kUnreadable;
  }
  rules::ParseResult parsed = rules::ParseConfig(*text, options.file, loader);
  if (parsed.config && parsed.errors.empty()) {
    // What only the compiled form shows: patterns, certificates and keys.
    const auto snapshot = BuildSnapshot(*parsed.config, 1);
    if (!snapshot) {
      rules::Diagnostic diagnostic;
      diagnostic.file = options.file;
      diagnostic.what = snapshot.error().message;
      parsed.errors.push_back(std::move(diagnostic));
    }
  }
  const bool fine = parsed.config.has_value() && parsed.errors.empty();
  if (fine) {
    for (auto& warning : rules::CheckConfig(*parsed.config)) {
      parsed.warnings.push_back(std::move(warning));
    }
  }
  if (options.json) {
    PutLine(stdout, rules::DiagnosticsJson(parsed.errors, parsed.warnings));
    return fine ? kFine : kErrors;
  }
  for (const auto& error : parsed.errors) PutLine(stderr, error.ToString());
  for (const auto& warning : parsed.warnings) PutLine(stderr, "warning: " + warning.ToString());
  if (!fine) {
    PutLine(stderr, options.file + ": " + std::to_string(parsed.errors.size()) + " mistake(s)");
    return kErrors;
  }
  if (options.effective) {
    std::fputs(rules::EffectiveYaml(*parsed.config).c_str(), stdout);
  } else {
    PutLine(stdout, options.file + ": fine, " + std::to_string(parsed.config->rules.size()) +
                        " rule(s), " + std::to_string(parsed.warnings.size()) + " warning(s)");
  }
  return kFine;
}

void AddRun(CLI::App* command, RunOptions* options, std::string* log_level) {
  command->add_option("-c,--config", options->config_file, "The rule file");
  command
      ->add_option("-l,--listen", options->listen,
                   "Address to listen on, may be repeated [:8080]; without a file only")
      ->allow_extra_args(false);
  command->add_option("-u,--upstream", options->upstream,
                      "The app: host:port or unix:/path; without a file only");
  command->add_option("-r,--redis", options->redis,
                      "Shared cache: redis://host:port/db; without a file only");
  command->add_option("--admin", options->admin, "Admin address, or off [127.0.0.1:9901]");
  command->add_option("--workers", options->workers, "Worker threads [the CPUs, at most 4]")
      ->check(CLI::Range(1u, 256u));
  command->add_option("--log-level", *log_level, "[info]")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
  command->footer(kRunNotes);
}

int Run(RunOptions options, const std::string& log_level) {
  static const std::map<std::string, rules::LogLevel> kLevels = {
      {"trace", rules::LogLevel::kTrace},
      {"debug", rules::LogLevel::kDebug},
      {"info", rules::LogLevel::kInfo},
      {"warn", rules::LogLevel::kWarn},
      {"error", rules::LogLevel::kError}};
  const bool fileless =
      !options.listen.empty() || !options.upstream.empty() || !options.redis.empty();
  if (!options.config_file.empty() && fileless) {
    PutLine(stderr,
            "satchel run: --listen, --upstream and --redis stand for a file; with -c write them "
            "into the file");
    return kUsage;
  }
  if (options.config_file.empty() && options.upstream.empty()) {
    PutLine(stderr,
            "satchel run: needs -c FILE, or --upstream HOST:PORT\n\n" + std::string(kExamples));
    return kUsage;
  }
  if (const auto level = kLevels.find(log_level); level != kLevels.end()) {
    options.log_level = level->second;
  }
  return Server(std::move(options)).Run();
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv) {
  CLI::App app("Satchel: a caching reverse proxy beside your app", "satchel");
  app.set_version_flag("--version", "satchel " SATCHEL_VERSION);
  app.footer(kExamples);
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* at, const CLI::Error& error) {
    return std::string(error.what()) + "\nTry: " + at->get_name() + " --help\n";
  });

  RunOptions run_options;
  std::string log_level;
  CLI::App* run = app.add_subcommand("run", "Serve requests");
  AddRun(run, &run_options, &log_level);

  CheckOptions check_options;
  CLI::App* check = app.add_subcommand("check", "Find every mistake in a rule file");
  check->add_option("file,-c,--config", check_options.file, "The rule file")->required();
  CLI::Option* json = check->add_flag("--json", check_options.json, "The findings as JSON");
  check
      ->add_flag("--effective", check_options.effective,
                 "The whole configuration, every default written out")
      ->excludes(json);
  check->footer("Exit code: 0 fine, 1 errors, 2 could not read.");

  AdminOptions admin;
  bool ready = false;
  CLI::App* healthcheck = app.add_subcommand("healthcheck", "Ask a running satchel if it lives");
  admin.AddTo(healthcheck);
  healthcheck->add_flag("--ready", ready, "Ask if it is ready for requests");
  healthcheck->footer("Exit code: 0 yes, 1 no, or not to be reached.");
  CLI::App* status = app.add_subcommand("status", "What a running satchel does, as JSON");
  admin.AddTo(status);
  PurgeOptions purge_options;
  CLI::App* purge = app.add_subcommand("purge", "Let a running satchel, and its fleet, purge");
  purge_options.AddTo(purge);
  admin.AddTo(purge);
  purge->footer("Exit code: 0 it holds (the answer says which instances confirmed), 1 refused.");
  WarmCommand warm_command;
  CLI::App* warm =
      app.add_subcommand("warm", "Let a running satchel fetch before anybody asks");
  warm_command.AddTo(warm);
  admin.AddTo(warm);
  CLI::App* limits = app.add_subcommand("limits", "Rate limits of a running satchel");
  LimitsCommand limits_command;
  limits_command.AddTo(limits, [&admin](CLI::App* command) { admin.AddTo(command); });
  CLI::App* reload = app.add_subcommand("reload", "Let a running satchel read its files again");
  admin.AddTo(reload);

  DoctorOptions doctor_options;
  CLI::App* doctor = app.add_subcommand("doctor", "Examine the Redis of a rule file");
  CLI::Option* doctor_file =
      doctor->add_option("file,-c,--config", doctor_options.config_file, "The rule file");
  doctor->add_option("-r,--redis", doctor_options.redis, "A URL, instead of a file")
      ->excludes(doctor_file);
  doctor->add_option("--prefix", doctor_options.prefix, "What its keys begin with [satchel]");
  doctor->add_option("--admin", doctor_options.admin, "Ask a running satchel as well");
  doctor->add_option("--token", doctor_options.admin_token, "Admin token")
      ->envname("SATCHEL_ADMIN_TOKEN");
  doctor->add_flag("--json", doctor_options.json, "The findings as JSON");
  doctor->footer(
      "Writes one short-lived key of its own. With rights to SCAN, TYPE, STRLEN and INFO it sees "
      "more.\nExit code: 0 nothing to do, 1 warnings, 2 errors.");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (run->parsed()) return Run(std::move(run_options), log_level);
  if (check->parsed()) return RunCheck(check_options);
  if (doctor->parsed()) {
    if (doctor_options.config_file.empty() && doctor_options.redis.empty()) {
      PutLine(stderr, "satchel doctor: needs a rule file, or --redis URL");
      return kUsage;
    }
    return RunDoctor(doctor_options);
  }
  if (healthcheck->parsed()) return RunHealthcheck(admin, ready);
  if (purge->parsed()) return RunPurge(admin, purge_options);
  if (warm->parsed()) {
    return warm_command.Run(
        [&admin](std::string_view method, std::string_view path, std::string_view body) {
          return admin.Ask(method, path, body);
        });
  }
  if (limits->parsed()) {
    return limits_command.Run([&admin](std::string_view method, std::string_view path) {
      return RunAsk(admin, method, path);
    });
  }
  return reload->parsed() ? RunAsk(admin, "POST", "/reload") : RunAsk(admin, "GET", "/status");
}

}  // namespace satchel::proxy
