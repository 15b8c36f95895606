#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace satchel::redis {

// One reply of RESP2.
struct Reply {
  enum class Type : uint8_t { kNil, kStatus, kError, kInteger, kString, kArray };
  Type type = Type::kNil;
  int64_t integer = 0;
  std::string text;          // status, error, string
  std::vector<Reply> items;  // array

  bool IsNil() const { return type == Type::kNil; }
  bool IsError() const { return type == Type::kError; }
  bool IsString() const { return type == Type::kString; }
  bool IsInteger() const { return type == Type::kInteger; }
  bool IsArray() const { return type == Type::kArray; }
  // The first word of an error: "OOM", "NOSCRIPT".
  std::string_view ErrorCode() const;
};

// A command in wire form: an array of bulk strings. Grows argument by argument; the count is put
// in front when it is sent. Large arguments are moved, not copied.
class Command {
 public:
  Command() = default;
  Command(std::initializer_list<std::string_view> arguments);

  Command& Arg(std::string_view argument);
  Command& Arg(int64_t number);
  Command& Payload(std::string&& bytes);  // moved if large

  size_t arguments() const { return arguments_; }
  size_t bytes() const { return bytes_; }  // on the wire, the count line not included

  // Appends the wire form to `out`: into its last string while that is small, else as new strings.
  void WriteTo(std::vector<std::string>& out) &&;
  std::string ToString() &&;  // for tests

 private:
  friend class ScriptArguments;
  std::string& tail();
  void AppendRaw(std::string_view wire, size_t arguments);

  size_t arguments_ = 0;
  size_t bytes_ = 0;
  std::vector<std::string> pieces_;
};

// A Lua script with its SHA-1. Make it once, keep it for the life of the clients that use it.
class Script {
 public:
  explicit Script(std::string_view text);
  std::string_view text() const { return text_; }
  std::string_view sha() const { return {sha_.data(), sha_.size()}; }

 private:
  std::string_view text_;  // a constant of the program
  std::array<char, 40> sha_;
};

// Keys and arguments of one script call. Kept until the reply, should the call have to be sent
// again with the text of the script.
class ScriptArguments {
 public:
  ScriptArguments& Reserve(size_t bytes);      // of wire form
  ScriptArguments& Key(std::string_view key);  // keys first
  ScriptArguments& Arg(std::string_view argument);
  ScriptArguments& Arg(int64_t number);

  Command EvalSha(const Script& script) const;
  Command Eval(const Script& script) const;
  // Empty without keys. Valid until the next key or argument.
  std::string_view first_key() const { return std::string_view(wire_).substr(first_, first_size_); }

 private:
  Command With(std::string_view verb, std::string_view script) const;
  size_t keys_ = 0;
  size_t arguments_ = 0;
  size_t first_ = 0;
  size_t first_size_ = 0;
  std::string wire_;
};

// Bytes to replies. Built on hiredis' reader with object functions of our own, because those of
// the library allocate whatever a length in the stream asks for. After an error it is useless:
// the stream has lost its place.
class ReplyReader {
 public:
  struct Limits {
    size_t max_bytes = 64 << 20;    // of one reply with everything in it
    size_t max_elements = 1 << 20;  // of one reply, nested arrays together
  };

  ReplyReader() : ReplyReader(Limits()) {}
  explicit ReplyReader(Limits limits);
  ~ReplyReader();
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  // False after an error.
  bool Feed(std::string_view bytes);
  enum class Next : uint8_t { kReply, kNeedMore, kError };
  Next Read(Reply& reply);
  const std::string& error() const { return error_; }
  // Bytes kept for a reply that is not complete.
  size_t buffered() const;

 private:
  struct Functions;
  bool Take(size_t bytes, size_t elements);

  const Limits limits_;
  redisReader* reader_;
  Reply root_;        // being built
  size_t bytes_ = 0;  // used by it
  size_t elements_ = 0;
  std::string error_;
};

}  // namespace satchel::redis
