#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "proxy/file_loader.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/timer_wheel.h"

namespace satchel::proxy {

// Folders whose change may change what `path` reads: that of the file and of every symbolic link
// on the way to it. Where a folder is missing, the nearest one that exists.
std::set<std::string> FoldersBehind(const std::string& path);

// Tells when the content of a set of files has changed, however it was exchanged: written in
// place, renamed over, or by swapping a symbolic link as Kubernetes does with "..data". Watches
// folders (inotify) and compares contents, so that a touch or a foreign file means nothing. Where
// inotify is not to be had it looks every two seconds. Belongs to the loop's thread.
class ConfigWatcher {
 public:
  static constexpr int64_t kQuietMs = 100;   // after the last event, before looking
  static constexpr int64_t kAtMostMs = 1000;  // however long the events go on
  static constexpr int64_t kPollMs = 2000;

  ConfigWatcher(net::EventLoop& loop, std::function<void()> changed);
  ~ConfigWatcher();
  ConfigWatcher(const ConfigWatcher&) = delete;
  ConfigWatcher& operator=(const ConfigWatcher&) = delete;

  // Replaces what is watched. `as_read` is what the configuration was made from, also when it was
  // refused: a change since then is reported as well.
  void Watch(FileFacts as_read);

  bool uses_inotify() const { return inotify_ >= 0; }

 private:
  static void OnReadable(int, short what, void* self);
  void ReadEvents();
  void UpdateFolders();
  void Look();

  net::EventLoop& loop_;
  std::function<void()> changed_;
  int inotify_;
  net::IoWatch readable_;
  net::Timer timer_;
  FileFacts facts_;
  std::vector<int> watches_;
  bool missed_ = false;  // some folder could not be watched
  int64_t first_event_ms_ = -1;
};

}  // namespace satchel::proxy
