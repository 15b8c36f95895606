// Metrics of warming.
#include "proxy/metric_writer.h"

namespace satchel::proxy {

void WriteWarm(MetricWriter& out, const WarmStatus& warm) {
  using prometheus::MetricType;
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  out.Family(MetricType::Counter, "satchel_warm_requests_total",
             "Requests warmed, by what became of them.");
  for (size_t i = 0; i < warm.results.size(); ++i) {
    out.Series(number(warm.results[i]),
               {{"result", std::string(WarmResultWord(static_cast<WarmResult>(i)))}});
  }
  out.Counted("satchel_warm_bytes_total", "Bytes of bodies that warming brought into memory.",
              number(warm.bytes));
  out.Family(MetricType::Counter, "satchel_warm_runs_total",
             "Runs of warm-ups: begun, or passed over because the last was not over.");
  out.Series(number(warm.runs_begun), {{"result", "begun"}});
  out.Series(number(warm.runs_skipped), {{"result", "passed_over"}});
  out.Gauge("satchel_warm_queue", "Requests that wait to be warmed.", number(warm.queue));
  out.Gauge("satchel_warm_queue_limit", "How many of them may wait.", number(warm.queue_limit));
  if (!warm.counting) return;
  out.Gauge("satchel_popularity_names", "Names in the table of what is asked for.",
            number(warm.names));
  out.Gauge("satchel_popularity_names_limit", "How many names it holds at most.",
            number(warm.names_limit));
  out.Counted("satchel_popularity_forgotten_total", "Names forgotten because the table was full.",
              number(warm.names_forgotten));
  out.Counted("satchel_popularity_told_total", "Names told to the shared history.",
              number(warm.names_told));
  out.Counted("satchel_popularity_failures_total",
              "Attempts to tell or to read the history that Redis did not answer.",
              number(warm.tell_failures));
  out.Counted("satchel_popularity_bad_recipes_total",
              "Entries of the shared history that are none of ours.", number(warm.bad_recipes));
}

}  // namespace satchel::proxy
