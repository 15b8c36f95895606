#include "rules/yaml_tree.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <istream>
#include <map>
#include <optional>
#include <streambuf>
#include <utility>

namespace satchel::rules {
namespace {

// Reads from memory without copying the text first.
class TextBuffer : public std::streambuf {
 public:
  explicit TextBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

// Builds the tree from the parser's events. The events of one document nest properly, so a stack
// of open collections is enough.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Make(YamlNode::Kind::kNull, mark), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = Make(YamlNode::Kind::kScalar, mark);
    if (node != nullptr) node->text = value;
    Add(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (mistake_) return;
    const auto at = anchors_.find(anchor);
    if (at == anchors_.end()) {
      Fail(mark, "an alias stands inside its own anchor; write the value out");
      return;
    }
    if (open_.size() + at->second->height > kMaxYamlDepth) {
      Fail(mark, "nested deeper than 32 levels; flatten it");
      return;
    }
    nodes_ += at->second->weight;
    if (nodes_ > kMaxYamlNodes) {
      Fail(mark, "aliases expand to more than 100000 values; write fewer of them");
      return;
    }
    Attach(at->second);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(YamlNode::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(YamlNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { Close(); }

  const std::optional<YamlMistake>& mistake() const { return mistake_; }
  std::shared_ptr<const YamlNode> TakeRoot() { return std::move(root_); }

 private:
  struct OpenNode {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor;
  };

  void Fail(const YAML::Mark& mark, std::string what) {
    if (mistake_) return;
    mistake_ = YamlMistake{static_cast<uint32_t>(mark.line + 1),
                           static_cast<uint32_t>(mark.column + 1), std::move(what)};
  }

  // Null once a limit is passed: the rest of the document is skipped.
  std::shared_ptr<YamlNode> Make(YamlNode::Kind kind, const YAML::Mark& mark) {
    if (!mistake_ && ++nodes_ > kMaxYamlNodes) {
      Fail(mark, "more than 100000 values; split the file");
    }
    if (!mistake_ && open_.size() >= kMaxYamlDepth) {
      Fail(mark, "nested deeper than 32 levels; flatten it");
    }
    if (mistake_) return nullptr;
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->line = static_cast<uint32_t>(mark.line + 1);
    node->column = static_cast<uint32_t>(mark.column + 1);
    return node;
  }

  void Add(std::shared_ptr<const YamlNode> node, YAML::anchor_t anchor) {
    if (node == nullptr) return;
    if (anchor != 0) anchors_[anchor] = node;
    Attach(std::move(node));
  }

  void Attach(std::shared_ptr<const YamlNode> node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    YamlNode& parent = *open_.back().node;
    parent.height = std::max(parent.height, node->height + 1);
    parent.weight += node->weight;
    parent.items.push_back(std::move(node));
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    auto node = Make(kind, mark);
    if (node != nullptr) open_.push_back({std::move(node), anchor});
  }

  void Close() {
    if (mistake_ || open_.empty()) return;
    OpenNode done = std::move(open_.back());
    open_.pop_back();
    Add(std::move(done.node), done.anchor);
  }

  std::vector<OpenNode> open_;
  std::map<YAML::anchor_t, std::shared_ptr<const YamlNode>> anchors_;
  std::shared_ptr<const YamlNode> root_;
  std::optional<YamlMistake> mistake_;
  uint32_t nodes_ = 0;
};

}  // namespace

std::expected<std::shared_ptr<const YamlNode>, YamlMistake> ParseYaml(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    return std::unexpected(YamlMistake{0, 0, "holds a NUL byte; write plain UTF-8 text"});
  }
  TextBuffer buffer(text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return std::make_shared<const YamlNode>();
    if (builder.mistake()) return std::unexpected(*builder.mistake());
    std::shared_ptr<const YamlNode> root = builder.TakeRoot();
    if (root == nullptr) root = std::make_shared<const YamlNode>();
    TreeBuilder rest;
    if (parser.HandleNextDocument(rest)) {
      const std::shared_ptr<const YamlNode> second = rest.TakeRoot();
      return std::unexpected(YamlMistake{second == nullptr ? 0 : second->line,
                                         second == nullptr ? 0 : second->column,
                                         "a second document begins; write one document per file"});
    }
    return root;
  } catch (const YAML::DeepRecursion& error) {
    return std::unexpected(YamlMistake{static_cast<uint32_t>(error.mark.line + 1),
                                       static_cast<uint32_t>(error.mark.column + 1),
                                       "nested deeper than 32 levels; flatten it"});
  } catch (const YAML::Exception& error) {
    const bool placed = !error.mark.is_null();
    return std::unexpected(YamlMistake{placed ? static_cast<uint32_t>(error.mark.line + 1) : 0,
                                       placed ? static_cast<uint32_t>(error.mark.column + 1) : 0,
                                       "not YAML: " + error.msg});
  } catch (const std::exception& error) {
    return std::unexpected(YamlMistake{0, 0, std::string("not YAML: ") + error.what()});
  }
}

}  // namespace satchel::rules
