#include "proxy/redis/commander.h"

#include <string>
#include <utility>

#include "proxy/redis/call_errors.h"

namespace satchel::redis {

using cache::ErrorSource;
using cache::Fail;

bool IsDeadline(const cache::Error& error) { return error.message == kDeadline; }
bool IsUnavailable(const cache::Error& error) { return error.message == kUnavailable; }

std::string_view HashTag(std::string_view key) {
  const size_t open = key.find('{');
  if (open == std::string_view::npos) return key;
  const size_t close = key.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

std::shared_ptr<CallState> Commander::MakeCall(Done done) {
  auto call = std::make_shared<CallState>();
  call->started_ns = net::EventLoop::ReadClockNs();
  // Without a function a call would look cancelled.
  call->done = done ? std::move(done) : [](const cache::Result<Reply>&) {};
  return call;
}

PendingReply Commander::Handle(bool sent, std::shared_ptr<CallState> call) {
  if (!sent) {
    loop_.AtTurnEnd([call] { call->Finish(Fail(ErrorSource::kStore, std::string(kUnavailable))); });
  }
  return PendingReply(std::move(call));
}

bool Commander::DispatchScript(const Script& script, ScriptArguments arguments, Lane lane,
                               const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  call->script = &script;
  call->arguments = std::move(arguments);
  // A call sent again because the server did not know its script would come behind calls made
  // after it, and some of those may not have met with that fate: another connection loads scripts
  // as well. Where the order matters the text goes along.
  call->with_text = lane == Lane::kStore || lane == Lane::kBulkWrite;
  return Dispatch(call->arguments.first_key(), lane,
                  call->with_text ? call->arguments.Eval(script) : call->arguments.EvalSha(script),
                  call, deadline_ms);
}

PendingReply Commander::Call(std::string_view key, Command command, int64_t deadline_ms, Done done,
                             Lane lane) {
  auto call = MakeCall(std::move(done));
  const bool sent = Dispatch(key, lane, std::move(command), call, deadline_ms);
  return Handle(sent, std::move(call));
}

PendingReply Commander::CallScript(const Script& script, ScriptArguments arguments,
                                   int64_t deadline_ms, Done done, Lane lane) {
  auto call = MakeCall(std::move(done));
  const bool sent = DispatchScript(script, std::move(arguments), lane, call, deadline_ms);
  return Handle(sent, std::move(call));
}

bool Commander::Send(std::string_view key, Command command, int64_t deadline_ms, Done done,
                     Lane lane) {
  return Dispatch(key, lane, std::move(command), MakeCall(std::move(done)), deadline_ms);
}

bool Commander::SendScript(const Script& script, ScriptArguments arguments, int64_t deadline_ms,
                           Done done, Lane lane) {
  return DispatchScript(script, std::move(arguments), lane, MakeCall(std::move(done)), deadline_ms);
}

}  // namespace satchel::redis
