#include "proxy/warm_json.h"

namespace satchel::proxy {

using nlohmann::ordered_json;

ordered_json RunJson(const WarmProgress& run) {
  ordered_json json = {{"id", run.id},
                       {"name", run.name},
                       {"finished", run.finished},
                       {"requests", run.total},
                       {"done", run.done}};
  for (size_t i = 0; i < run.results.size(); ++i) {
    json[std::string(WarmResultWord(static_cast<WarmResult>(i)))] = run.results[i];
  }
  json["bytes"] = run.bytes;
  json["started_unix_ms"] = run.started_unix_ms;
  json["took_ms"] = run.took_ms;
  if (!run.stopped_by.empty()) json["stopped_by"] = run.stopped_by;
  if (!run.first_error.empty()) json["first_error"] = run.first_error;
  return json;
}

ordered_json WarmJson(const WarmStatus& status) {
  ordered_json json = {{"ready", status.ready},
                       {"queue", status.queue},
                       {"queue_limit", status.queue_limit},
                       {"runs_begun", status.runs_begun},
                       {"runs_passed_over", status.runs_skipped}};
  ordered_json& runs = json["runs"] = ordered_json::array();
  for (const WarmProgress& run : status.runs) runs.push_back(RunJson(run));
  if (status.counting) {
    json["popularity"] = {{"names", status.names},
                          {"names_limit", status.names_limit},
                          {"forgotten", status.names_forgotten},
                          {"told", status.names_told},
                          {"failures", status.tell_failures},
                          {"bad_recipes", status.bad_recipes}};
  }
  return json;
}

}  // namespace satchel::proxy
