#include "rules/config_parser.h"

#include <algorithm>
#include <deque>
#include <tuple>
#include <utility>

#include "rules/check.h"
#include "rules/config_parser_blocks.h"

namespace satchel::rules {
namespace {

constexpr size_t kMaxFiles = 64;
constexpr size_t kMaxListItems = 10'000;

// One file and its tree; both must outlive the cursors.
struct Document {
  std::string file;
  std::shared_ptr<const YamlNode> root;
};

// A whole parse: the file, what it includes, then block after block in an order in which names
// are known before they are used.
class Parser {
 public:
  explicit Parser(const Loader& loader) { context_.loader = &loader; }

  ParseResult Parse(std::string_view text, const std::string& file_name) {
    if (AddDocument(text, file_name)) Read();
    return Finish();
  }

 private:
  bool AddDocument(std::string_view text, const std::string& file_name) {
    if (text.size() > kMaxConfigBytes) {
      AddError(file_name, 0, 0, "is larger than 1MiB; split it with include");
      return false;
    }
    auto tree = ParseYaml(text);
    if (!tree) {
      AddError(file_name, tree.error().line, tree.error().column, tree.error().what);
      return false;
    }
    documents_.push_back({file_name, std::move(*tree)});
    return true;
  }

  void AddError(const std::string& file, uint32_t line, uint32_t column, std::string what) {
    context_.errors.push_back({file, line, column, "", std::move(what)});
  }

  Cursor RootOf(const Document& document) {
    return {&context_, &document.file, document.root.get(), ""};
  }

  // Reads the main file's include list and the files it names.
  void Include(const Cursor& include) {
    const auto patterns = include.Texts();
    if (!patterns) return;
    for (const std::string& pattern : *patterns) {
      const std::string joined = JoinToFolderOf(include.file(), pattern);
      const auto files = include.loader().ListFiles(joined);
      if (!files) {
        include.Error("cannot list \"" + pattern + "\": " + files.error().message +
                      "; name files that the process may read");
        continue;
      }
      if (files->empty() && pattern.find('*') == std::string::npos) {
        include.Error("\"" + pattern + "\" does not exist; name a file that is there");
      }
      for (const std::string& file : *files) {
        if (documents_.size() >= kMaxFiles) {
          include.Error("names more than 63 files; join some of them");
          return;
        }
        const auto text = include.loader().ReadFile(file, kMaxConfigBytes);
        if (text) {
          AddDocument(*text, file);
        } else {
          include.Error("cannot read \"" + file + "\": " + text.error().message +
                        "; name files that the process may read");
        }
      }
    }
  }

  void Read() {
    const Cursor root = RootOf(documents_[0]);
    if (root.node().kind == YamlNode::Kind::kNull) {
      root.Error("is empty; write at least version, listeners and upstreams");
      return;
    }
    maps_.emplace_back(root, "a configuration");
    if (!maps_[0].ok()) return;
    if (const auto version = maps_[0].Require("version", "version: 1")) {
      const auto number = version->Scalar("1");
      if (number && number->text != "1") {
        version->BadValue(*number, "is an unknown version; write version: 1");
      }
    }
    if (const auto include = maps_[0].Take("include")) Include(*include);
    for (size_t i = 1; i < documents_.size(); ++i) {
      const Cursor cursor = RootOf(documents_[i]);
      if (cursor.node().kind == YamlNode::Kind::kNull) continue;
      maps_.emplace_back(cursor, "a configuration");
      maps_.back().Take("version");
      if (const auto include = maps_.back().Take("include")) {
        include->Error("stands in an included file; name all files in the main one");
      }
    }
    ReadBlocks();
    for (MapReader& map : maps_) map.Finish();
    CheckWhole(root);
  }

  void ReadBlocks() {
    if (const auto workers = Single("workers")) ReadWorkers(*workers);
    if (const auto defaults = Single("defaults")) ParseDefaults(*defaults, &defaults_);
    empty_listeners_ =
        ForEachItem("listeners", [&](const Cursor& item) { ParseListener(item, &config_); });
    empty_upstreams_ = ForEachNamed("upstreams", [&](const std::string& name, const Cursor& item) {
      ParseUpstream(name, item, &config_);
    });
    if (const auto stores = Single("stores")) ParseStores(*stores, &config_);
    empty_rules_ =
        ForEachItem("rules", [&](const Cursor& item) { ParseRule(item, defaults_, &config_); });
    ForEachNamed("plans", [&](const std::string& name, const Cursor& item) {
      ParsePlan(name, item, &config_);
    });
    ForEachItem("rate_limits", [&](const Cursor& item) { ParseRateLimit(item, &config_); });
    if (const auto admin = Single("admin")) ParseAdmin(*admin, &config_.admin);
    if (const auto purge = Single("purge")) ParsePurge(*purge, &config_);
    ForEachItem("warmup", [&](const Cursor& item) { ParseWarmup(item, &config_); });
    if (const auto log = Single("log")) ParseLog(*log, &config_.log);
    if (const auto shutdown = Single("shutdown")) ParseShutdown(*shutdown, &config_.shutdown);
  }

  void ReadWorkers(const Cursor& cursor) {
    const auto text = cursor.Scalar("auto or a number");
    if (!text || text->text == "auto") return;
    const auto number = ParseNumber(text->text, 1, 256);
    if (number) {
      config_.workers = static_cast<uint32_t>(*number);
    } else {
      cursor.BadValue(*text, "is not a number of threads; write auto or 1 to 256");
    }
  }

  // A block that only one file may hold.
  std::optional<Cursor> Single(std::string_view key) {
    std::optional<Cursor> found;
    for (MapReader& map : maps_) {
      const auto value = map.Take(key);
      if (value && found) {
        value->Error("stands in " + found->file() + " already; keep one of them");
      } else if (value) {
        found.emplace(*value);
      }
    }
    return found;
  }

  // Both return a block that is there and holds nothing.
  template <typename Use>
  std::optional<Cursor> ForEachItem(std::string_view key, Use use) {
    std::optional<Cursor> empty;
    size_t count = 0;
    for (MapReader& map : maps_) {
      const auto list = map.Take(key);
      if (!list) continue;
      if (!list->IsList()) {
        list->Error("is no list; write entries that begin with \"- \"");
        continue;
      }
      if (list->node().items.empty()) empty.emplace(*list);
      for (size_t i = 0; i < list->node().items.size(); ++i) {
        if (++count > kMaxListItems) {
          list->Error("has more than 10000 entries; write fewer");
          return empty;
        }
        use(list->Item(i));
      }
    }
    return empty;
  }

  template <typename Use>
  std::optional<Cursor> ForEachNamed(std::string_view key, Use use) {
    std::optional<Cursor> empty;
    std::vector<std::string> seen;
    for (MapReader& outer : maps_) {
      const auto value = outer.Take(key);
      if (!value) continue;
      MapReader map(*value, "a map of " + std::string(key));
      if (map.ok() && value->node().items.empty()) empty.emplace(*value);
      for (const auto& [name, item] : map.All()) {
        if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
          item.Error("stands in another file already; keep one of them");
          continue;
        }
        seen.push_back(name);
        use(name, item);
      }
    }
    return empty;
  }

  void CheckWhole(const Cursor& root) {
    const auto written = [&](std::string_view key) {
      return std::any_of(maps_.begin(), maps_.end(), [&](MapReader& map) { return map.Has(key); });
    };
    // Where a block is written and holds something, what is wrong there is said already.
    if (!written("listeners")) {
      root.Error(
          "\"listeners\" is missing; write listeners: [{name: web, address: \"0.0.0.0:8080\"}]");
    } else if (config_.listeners.empty() && empty_listeners_) {
      empty_listeners_->Error("is empty; write [{name: web, address: \"0.0.0.0:8080\"}]");
    }
    if (!written("upstreams")) {
      root.Error(
          "\"upstreams\" is missing; write upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}");
    } else if (config_.upstreams.empty() && empty_upstreams_) {
      empty_upstreams_->Error("is empty; write {app: {servers: [\"127.0.0.1:3000\"]}}");
    }
    if (!config_.rules.empty()) return;
    if (written("rules")) {
      if (empty_rules_) empty_rules_->Error("is empty; write at least one, or remove the key");
    } else if (config_.upstreams.size() > 1) {
      root.Error(
          "\"rules\" is missing and there are several upstreams; write rules: [{name: all, match: "
          "{}, upstream: " +
          config_.upstreams[0].name + "}]");
    } else if (!config_.upstreams.empty()) {
      config_.rules.push_back(ImplicitRule(config_, defaults_));
    }
  }

 public:
  static Rule ImplicitRule(const Config& config, const RuleDefaults& defaults) {
    Rule rule;
    rule.name = "default";
    rule.upstream = config.upstreams[0].name;
    rule.timeouts = defaults.timeouts;
    rule.cache = defaults.cache;
    rule.key = defaults.key;
    rule.client_cache_control = defaults.client_cache_control;
    rule.tags = defaults.tags;
    rule.tags_from_json = defaults.tags_from_json;
    return rule;
  }

 private:
  // Also of what the defaults said.
  void CheckEncryption() {
    if (!config_.l2 || !config_.l2->encrypt_keys.empty()) return;
    for (const Rule& rule : config_.rules) {
      if (!rule.cache.encrypt) continue;
      context_.errors.push_back(
          {rule.file.empty() ? documents_[0].file : rule.file, rule.line, 0,
           "rules[" + std::to_string(rule.index) + "].cache.encrypt",
           "there is no key to encrypt with; write stores.l2.encrypt_keys: [FILE]"});
    }
  }

  ParseResult Finish() {
    CheckEncryption();
    // In the order of the files, then of their lines.
    const auto rank = [&](const Diagnostic& diagnostic) {
      size_t document = 0;
      while (document < documents_.size() && documents_[document].file != diagnostic.file) {
        ++document;
      }
      return std::make_tuple(document, diagnostic.line, diagnostic.column);
    };
    const auto before = [&](const Diagnostic& a, const Diagnostic& b) { return rank(a) < rank(b); };
    std::stable_sort(context_.errors.begin(), context_.errors.end(), before);
    std::stable_sort(context_.warnings.begin(), context_.warnings.end(), before);
    // One place can be looked at twice.
    const auto same = [](const Diagnostic& a, const Diagnostic& b) {
      return a.ToString() == b.ToString();
    };
    auto& errors = context_.errors;
    errors.erase(std::unique(errors.begin(), errors.end(), same), errors.end());
    ParseResult result;
    result.errors = std::move(errors);
    result.warnings = std::move(context_.warnings);
    if (result.errors.empty()) {
      config_.file = documents_[0].file;
      for (Diagnostic& warning : CheckConfig(config_)) {
        result.warnings.push_back(std::move(warning));
      }
      result.config = std::move(config_);
    }
    return result;
  }

  ParseContext context_;
  std::deque<Document> documents_;  // a deque: cursors point into it
  std::deque<MapReader> maps_;
  Config config_ = DefaultConfig();
  RuleDefaults defaults_;
  std::optional<Cursor> empty_listeners_;
  std::optional<Cursor> empty_upstreams_;
  std::optional<Cursor> empty_rules_;
};

}  // namespace

std::string Diagnostic::ToString() const {
  std::string text = file;
  if (line > 0) text += ":" + std::to_string(line);
  if (line > 0 && column > 0) text += ":" + std::to_string(column);
  text += ": ";
  if (!path.empty()) text += path + ": ";
  return text + what;
}

ParseResult ParseConfig(std::string_view text, const std::string& file_name, const Loader& loader) {
  return Parser(loader).Parse(text, file_name);
}

ParseResult MakeSimpleConfig(std::string_view listen, std::string_view upstream,
                             std::string_view redis) {
  ParseResult result;
  Config config = DefaultConfig();
  Listener listener;
  listener.name = "web";
  if (auto address = ParseListenAddress(listen)) {
    listener.address = std::move(*address);
  } else {
    result.errors.push_back({"--listen", 0, 0, "",
                             "\"" + std::string(listen) +
                                 "\" is not an address to listen on; write 0.0.0.0:8080, "
                                 "[::]:8080, :8080 or unix:/path"});
  }
  Upstream app;
  app.name = "app";
  if (auto server = ParseServerAddress(upstream)) {
    app.servers.push_back(std::move(*server));
  } else {
    result.errors.push_back({"--upstream", 0, 0, "",
                             "\"" + std::string(upstream) +
                                 "\" is not a server; write 127.0.0.1:3000, [::1]:3000, name:3000, "
                                 "dns:name:3000 or unix:/path"});
  }
  if (!redis.empty()) {
    L2Config l2;
    if (const auto wrong = ParseRedisUrl(redis, &l2)) {
      result.errors.push_back({"--redis", 0, 0, "", *wrong});
    }
    config.l2 = std::move(l2);
  }
  config.listeners.push_back(std::move(listener));
  config.upstreams.push_back(std::move(app));
  config.rules.push_back(Parser::ImplicitRule(config, RuleDefaults()));
  if (result.errors.empty()) result.config = std::move(config);
  return result;
}

}  // namespace satchel::rules
