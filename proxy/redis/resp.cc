#include "proxy/redis/resp.h"

#include <hiredis/read.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace satchel::redis {
namespace {

// Pieces up to this size are worth copying together: one buffer costs less than one more iovec.
constexpr size_t kCopyBelow = 16 << 10;
constexpr size_t kJoinUpTo = 64 << 10;

// Of a line: the kind, a number, CR LF.
constexpr size_t kMaxHeader = 24;

char* WriteHeader(char* to, char kind, size_t number) {
  *to++ = kind;
  if (number < 10) {
    *to++ = static_cast<char>('0' + number);
  } else {
    to = std::to_chars(to, to + 20, number).ptr;
  }
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

void AppendHeader(std::string& out, char kind, size_t number) {
  std::array<char, kMaxHeader> header;
  out.append(header.data(), WriteHeader(header.data(), kind, number));
}

// A check of a limit has more than ten of these: one growth each, no call for two characters.
void AppendBulk(std::string& out, std::string_view bytes) {
  const size_t before = out.size();
  out.resize_and_overwrite(before + kMaxHeader + bytes.size() + 2,
                           [bytes, before](char* text, size_t) {
                             char* to = WriteHeader(text + before, '$', bytes.size());
                             to = std::copy(bytes.begin(), bytes.end(), to);
                             *to++ = '\r';
                             *to++ = '\n';
                             return to - text;
                           });
}

std::string_view NumberText(int64_t number, char (&digits)[20]) {
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  return {digits, end};
}

}  // namespace

std::string_view Reply::ErrorCode() const {
  if (!IsError()) return {};
  return std::string_view(text).substr(0, text.find(' '));
}

Command::Command(std::initializer_list<std::string_view> arguments) {
  for (const std::string_view argument : arguments) Arg(argument);
}

std::string& Command::tail() {
  if (pieces_.empty() || pieces_.back().size() >= kCopyBelow) pieces_.emplace_back();
  return pieces_.back();
}

Command& Command::Arg(std::string_view argument) {
  std::string& out = tail();
  const size_t before = out.size();
  AppendBulk(out, argument);
  bytes_ += out.size() - before;
  ++arguments_;
  return *this;
}

Command& Command::Arg(int64_t number) {
  char digits[20];
  return Arg(NumberText(number, digits));
}

Command& Command::Payload(std::string&& bytes) {
  if (bytes.size() < kCopyBelow) return Arg(bytes);
  std::string& out = tail();
  const size_t before = out.size();
  AppendHeader(out, '$', bytes.size());
  bytes_ += out.size() - before + bytes.size() + 2;
  pieces_.push_back(std::move(bytes));
  pieces_.emplace_back("\r\n");
  ++arguments_;
  return *this;
}

void Command::AppendRaw(std::string_view wire, size_t arguments) {
  tail() += wire;
  bytes_ += wire.size();
  arguments_ += arguments;
}

void Command::WriteTo(std::vector<std::string>& out) && {
  if (out.empty() || out.back().size() >= kJoinUpTo) out.emplace_back();
  AppendHeader(out.back(), '*', arguments_);
  for (std::string& piece : pieces_) {
    if (piece.size() < kCopyBelow && out.back().size() < kJoinUpTo) {
      out.back() += piece;
    } else {
      out.push_back(std::move(piece));
    }
  }
  pieces_.clear();
}

std::string Command::ToString() && {
  std::vector<std::string> out;
  std::move(*this).WriteTo(out);
  std::string text;
  for (const std::string& piece : out) text += piece;
  return text;
}

Script::Script(std::string_view text) : text_(text), sha_{} {
  unsigned char digest[EVP_MAX_MD_SIZE] = {};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
  for (size_t i = 0; i < 20; ++i) {
    constexpr std::string_view kHex = "0123456789abcdef";
    sha_[2 * i] = kHex[digest[i] >> 4];
    sha_[2 * i + 1] = kHex[digest[i] & 15];
  }
}

ScriptArguments& ScriptArguments::Reserve(size_t bytes) {
  wire_.reserve(bytes);
  return *this;
}

ScriptArguments& ScriptArguments::Key(std::string_view key) {
  AppendBulk(wire_, key);
  if (keys_++ == 0) {
    first_size_ = key.size();
    first_ = wire_.size() - key.size() - 2;  // before the line's end
  }
  return *this;
}

ScriptArguments& ScriptArguments::Arg(std::string_view argument) {
  ++arguments_;
  AppendBulk(wire_, argument);
  return *this;
}

ScriptArguments& ScriptArguments::Arg(int64_t number) {
  char digits[20];
  return Arg(NumberText(number, digits));
}

Command ScriptArguments::With(std::string_view verb, std::string_view script) const {
  Command command;
  command.pieces_.emplace_back().reserve(wire_.size() + script.size() + 64);
  command.Arg(verb).Arg(script).Arg(static_cast<int64_t>(keys_));
  command.AppendRaw(wire_, keys_ + arguments_);
  return command;
}

Command ScriptArguments::EvalSha(const Script& script) const {
  return With("EVALSHA", script.sha());
}

Command ScriptArguments::Eval(const Script& script) const { return With("EVAL", script.text()); }

// Called by hiredis while it parses. A null result makes it stop with an error. The objects it
// hands around are Reply: the root lives in the reader, the others in their parents.
struct ReplyReader::Functions {
  static Reply* Place(const redisReadTask* task) {
    auto* reader = static_cast<ReplyReader*>(task->privdata);
    if (task->parent == nullptr) {
      reader->root_ = Reply();
      reader->bytes_ = 0;
      reader->elements_ = 0;
      return &reader->root_;
    }
    return &static_cast<Reply*>(task->parent->obj)->items[static_cast<size_t>(task->idx)];
  }
  static bool Take(const redisReadTask* task, size_t bytes, size_t elements) {
    return static_cast<ReplyReader*>(task->privdata)->Take(bytes, elements);
  }

  static void* CreateString(const redisReadTask* task, char* text, size_t size) {
    Reply* reply = Place(task);
    if (!Take(task, size, 0)) return nullptr;
    reply->type = task->type == REDIS_REPLY_ERROR    ? Reply::Type::kError
                  : task->type == REDIS_REPLY_STATUS ? Reply::Type::kStatus
                                                     : Reply::Type::kString;
    reply->text.assign(text, size);
    return reply;
  }
  static void* CreateArray(const redisReadTask* task, int size) {
    Reply* reply = Place(task);
    if (size < 0 || !Take(task, 0, static_cast<size_t>(size))) return nullptr;
    reply->type = Reply::Type::kArray;
    reply->items.resize(static_cast<size_t>(size));
    return reply;
  }
  static void* CreateInteger(const redisReadTask* task, long long value) {
    Reply* reply = Place(task);
    reply->type = Reply::Type::kInteger;
    reply->integer = value;
    return reply;
  }
  static void* CreateNil(const redisReadTask* task) { return Place(task); }
  static void Free(void*) {}  // the root belongs to the reader

  static inline redisReplyObjectFunctions table = {&CreateString, &CreateArray, &CreateInteger,
                                                   &CreateNil, &Free};
};

ReplyReader::ReplyReader(Limits limits)
    : limits_(limits), reader_(redisReaderCreateWithFunctions(&Functions::table)) {
  if (reader_ == nullptr) {
    error_ = "out of memory";
    return;
  }
  reader_->privdata = this;  // the macro for this is broken in 0.14
}

ReplyReader::~ReplyReader() {
  if (reader_ != nullptr) redisReaderFree(reader_);
}

bool ReplyReader::Take(size_t bytes, size_t elements) {
  bytes_ += bytes;
  elements_ += elements;
  if (bytes_ <= limits_.max_bytes && elements_ <= limits_.max_elements) return true;
  error_ = "reply larger than allowed";
  return false;
}

size_t ReplyReader::buffered() const {
  return reader_ == nullptr ? 0 : reader_->len - reader_->pos;
}

bool ReplyReader::Feed(std::string_view bytes) {
  if (!error_.empty()) return false;
  if (redisReaderFeed(reader_, bytes.data(), bytes.size()) != REDIS_OK) {
    error_ = redisReaderGetError(reader_);
  }
  return error_.empty();
}

ReplyReader::Next ReplyReader::Read(Reply& reply) {
  if (!error_.empty()) return Next::kError;
  void* object = nullptr;
  if (redisReaderGetReply(reader_, &object) != REDIS_OK) {
    if (error_.empty()) error_ = redisReaderGetError(reader_);
    if (error_.empty()) error_ = "protocol error";
    return Next::kError;
  }
  if (object == nullptr) {
    // All that is kept belongs to one reply: a bulk string is not taken out before it is whole.
    if (buffered() > limits_.max_bytes + kCopyBelow) {
      error_ = "reply larger than allowed";
      return Next::kError;
    }
    return Next::kNeedMore;
  }
  reply = std::move(root_);
  root_ = Reply();
  return Next::kReply;
}

}  // namespace satchel::redis
