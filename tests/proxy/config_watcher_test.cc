#include "proxy/config_watcher.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "rules/config_parser.h"
#include "tests/support/child_process.h"

namespace satchel::proxy {
namespace {

namespace fs = std::filesystem;
using satchel::testing::ReplaceFile;
using satchel::testing::TempDir;

class ConfigWatcherTest : public ::testing::Test {
 protected:
  // Reads the files as a configuration would and watches what was read.
  void Watch(const std::vector<std::string>& files, const std::vector<std::string>& patterns = {}) {
    FileLoader loader;
    for (const std::string& file : files) {
      static_cast<void>(loader.ReadFile(file, rules::kMaxConfigBytes));
    }
    for (const std::string& pattern : patterns) {
      const auto found = loader.ListFiles(pattern);
      ASSERT_TRUE(found) << found.error().message;
      for (const std::string& file : *found) {
        static_cast<void>(loader.ReadFile(file, rules::kMaxConfigBytes));
      }
    }
    watcher_.Watch(loader.facts());
  }

  // Turns the loop until that many changes were told, or for that long.
  int Changes(int wanted, int64_t ms = 10'000) {
    const int64_t end = net::EventLoop::ReadClockMs() + ms;
    net::Timer limit([] {});
    while (changes_ < wanted && net::EventLoop::ReadClockMs() < end) {
      loop_.SetTimer(limit, std::max<int64_t>(1, end - net::EventLoop::ReadClockMs()));
      loop_.Turn(true);
    }
    return std::exchange(changes_, 0);
  }
  // Long enough for any event to have been looked at.
  int ChangesInAWhile() { return Changes(1, 4 * ConfigWatcher::kQuietMs); }

  TempDir dir_;
  net::EventLoop loop_;
  int changes_ = 0;
  ConfigWatcher watcher_{loop_, [this] { ++changes_; }};
};

TEST_F(ConfigWatcherTest, InotifyIsThere) { EXPECT_TRUE(watcher_.uses_inotify()); }

TEST_F(ConfigWatcherTest, AWriteInPlaceIsSeen) {
  const std::string file = dir_.Write("rules.yaml", "a");
  Watch({file});
  EXPECT_EQ(ChangesInAWhile(), 0);
  dir_.Write("rules.yaml", "b");
  EXPECT_EQ(Changes(1), 1);
  EXPECT_EQ(ChangesInAWhile(), 0) << "told once";
}

TEST_F(ConfigWatcherTest, ARenameOverTheFileIsSeenEachTime) {
  const std::string file = dir_.Write("rules.yaml", "a");
  Watch({file});
  for (const char* text : {"b", "c", "d"}) {
    ReplaceFile(file, text);
    EXPECT_EQ(Changes(1), 1) << text;
  }
}

TEST_F(ConfigWatcherTest, ATouchAndAForeignFileMeanNothing) {
  const std::string file = dir_.Write("rules.yaml", "a");
  Watch({file});
  dir_.Write("other.yaml", "x");
  fs::last_write_time(file, fs::file_time_type::clock::now());
  ReplaceFile(file, "a");
  EXPECT_EQ(ChangesInAWhile(), 0);
}

TEST_F(ConfigWatcherTest, ManyWritesAreOneChange) {
  const std::string file = dir_.Write("rules.yaml", "a");
  Watch({file});
  for (int i = 0; i < 50; ++i) dir_.Write("rules.yaml", "version " + std::to_string(i));
  EXPECT_EQ(Changes(1), 1);
  EXPECT_EQ(ChangesInAWhile(), 0);
}

TEST_F(ConfigWatcherTest, RemovalAndReturnAreSeen) {
  const std::string file = dir_.Write("rules.yaml", "a");
  Watch({file});
  fs::remove(file);
  EXPECT_EQ(Changes(1), 1);
  dir_.Write("rules.yaml", "a");
  EXPECT_EQ(Changes(1), 1);
}

// A ConfigMap: rules.yaml -> ..data/rules.yaml, ..data -> ..1; an update makes ..2 and renames a
// new link over ..data.
TEST_F(ConfigWatcherTest, TheSwapOfAKubernetesLinkIsSeen) {
  fs::create_directory(dir_.path("..1"));
  dir_.Write("..1/rules.yaml", "a");
  fs::create_symlink("..1", dir_.path("..data"));
  fs::create_symlink("..data/rules.yaml", dir_.path("rules.yaml"));
  Watch({dir_.path("rules.yaml")});
  const auto swap = [&](const std::string& folder, const std::string& text) {
    fs::create_directory(dir_.path(folder));
    dir_.Write(folder + "/rules.yaml", text);
    fs::create_symlink(folder, dir_.path("..data_tmp"));
    fs::rename(dir_.path("..data_tmp"), dir_.path("..data"));
  };
  swap("..2", "b");
  EXPECT_EQ(Changes(1), 1);
  fs::remove_all(dir_.path("..1"));
  EXPECT_EQ(ChangesInAWhile(), 0);
  swap("..3", "c");
  EXPECT_EQ(Changes(1), 1);
  swap("..4", "c");
  EXPECT_EQ(ChangesInAWhile(), 0) << "the same content";
}

TEST_F(ConfigWatcherTest, ALinkIntoAnotherFolderIsFollowed) {
  fs::create_directory(dir_.path("etc"));
  fs::create_directory(dir_.path("shared"));
  dir_.Write("shared/real.yaml", "a");
  fs::create_symlink(dir_.path("shared/real.yaml"), dir_.path("etc/rules.yaml"));
  Watch({dir_.path("etc/rules.yaml")});
  ReplaceFile(dir_.path("shared/real.yaml"), "b");
  EXPECT_EQ(Changes(1), 1);
}

TEST_F(ConfigWatcherTest, FilesThatAPatternFindsComeAndGo) {
  fs::create_directory(dir_.path("rules.d"));
  dir_.Write("rules.d/1.yaml", "a");
  Watch({}, {dir_.path("rules.d/*.yaml")});
  dir_.Write("rules.d/2.yaml", "b");
  EXPECT_EQ(Changes(1), 1);
  fs::remove(dir_.path("rules.d/1.yaml"));
  EXPECT_EQ(Changes(1), 1);
  dir_.Write("rules.d/2.txt", "b");
  EXPECT_EQ(ChangesInAWhile(), 0);
}

TEST_F(ConfigWatcherTest, AFolderThatComesLaterIsFound) {
  Watch({}, {dir_.path("rules.d/*.yaml")});
  EXPECT_EQ(ChangesInAWhile(), 0);
  fs::create_directory(dir_.path("staged"));
  dir_.Write("staged/1.yaml", "a");
  fs::rename(dir_.path("staged"), dir_.path("rules.d"));
  EXPECT_EQ(Changes(1), 1);
}

// Between reading and watching: no event tells of it.
TEST_F(ConfigWatcherTest, AChangeBeforeTheWatchBeganIsSeen) {
  const std::string file = dir_.Write("rules.yaml", "a");
  FileLoader loader;
  ASSERT_TRUE(loader.ReadFile(file, rules::kMaxConfigBytes));
  dir_.Write("rules.yaml", "b");
  watcher_.Watch(loader.facts());
  EXPECT_EQ(Changes(1), 1);
}

TEST_F(ConfigWatcherTest, LoopsOfLinksEnd) {
  fs::create_symlink("b", dir_.path("a"));
  fs::create_symlink("a", dir_.path("b"));
  EXPECT_EQ(FoldersBehind(dir_.path("a")).count(dir_.path()), 1u);
  EXPECT_FALSE(FoldersBehind(dir_.path("no/such/folder/file")).empty());
}

TEST(FileLoaderTest, ReadsWithinALimitAndSaysWhyNot) {
  const TempDir dir;
  const std::string file = dir.Write("x", std::string(100, 'x'));
  EXPECT_EQ(ReadWholeFile(file, 100)->size(), 100u);
  EXPECT_EQ(ReadWholeFile(file, 99).error().message, "longer than 99 bytes");
  EXPECT_EQ(ReadWholeFile(dir.path("none"), 99).error().message, "no such file");
  EXPECT_EQ(ReadWholeFile(dir.path(), 99).error().message, "is a directory");
  ASSERT_EQ(::mkfifo(dir.path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(ReadWholeFile(dir.path("fifo"), 99).error().message, "not a regular file");
}

TEST(FileLoaderTest, PatternsMatchInOrderOfName) {
  const TempDir dir;
  for (const char* name : {"b.yaml", "a.yaml", "c.yml", ".hidden.yaml"}) dir.Write(name, "x");
  fs::create_directory(dir.path("d.yaml"));
  const auto found = ListMatching(dir.path("*.yaml"));
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, (std::vector<std::string>{dir.path("a.yaml"), dir.path("b.yaml")}));
  EXPECT_TRUE(ListMatching(dir.path("none/*.yaml"))->empty());
}

}  // namespace
}  // namespace satchel::proxy
