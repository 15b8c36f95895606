// The table in cache/README.md promises a test for every requirement: each one has to exist.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace satchel::cache {
namespace {

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string NameAt(const std::string& text, size_t& at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == ',')) ++at;
  const size_t start = at;
  while (at < text.size() && IsNameChar(text[at])) ++at;
  return text.substr(start, at - start);
}

// "Suite.Name" of every TEST, TEST_F and TEST_P below tests/.
std::set<std::string> TestsInSources() {
  std::set<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(SATCHEL_SOURCE_DIR "/tests")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string text = Read(entry.path());
    for (const std::string start : {"\nTEST(", "\nTEST_F(", "\nTEST_P("}) {
      for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at)) {
        at += start.size();
        const std::string suite = NameAt(text, at);
        out.insert(suite + "." + NameAt(text, at));
      }
    }
  }
  return out;
}

TEST(RequirementsTest, EveryTestThatTheTableNamesExists) {
  const std::set<std::string> tests = TestsInSources();
  ASSERT_TRUE(tests.contains("RequirementsTest.EveryTestThatTheTableNamesExists"));
  std::ifstream table(SATCHEL_SOURCE_DIR "/cache/README.md");
  size_t rows = 0;
  for (std::string line; std::getline(table, line);) {
    // A row of the table begins with a section number: "| 4.2.1 | ...".
    if (line.size() < 3 || !line.starts_with("| ") || line[2] < '1' || line[2] > '9') continue;
    ++rows;
    const size_t last = line.rfind(" | `");
    ASSERT_NE(last, std::string::npos) << line;
    const std::string name = line.substr(last + 4, line.rfind('`') - last - 4);
    EXPECT_TRUE(tests.contains(name)) << "no such test: " << name << "\nin: " << line;
  }
  EXPECT_GE(rows, 70U);
}

}  // namespace
}  // namespace satchel::cache
