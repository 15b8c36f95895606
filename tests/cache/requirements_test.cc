// The table in cache/README.md promises a test for every requirement: each one has to exist.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

// The lines of the checklist: their letters, and how many each has.
constexpr std::pair<char, int> kLines[] = {{'A', 7}, {'B', 7}, {'C', 9}, {'D', 4}, {'E', 4},
                                           {'F', 6}, {'G', 4}, {'H', 4}, {'I', 2}, {'J', 9}};

// What stands in backquotes.
std::vector<std::string> Quoted(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = text.find('`'); at != std::string::npos; at = text.find('`', at)) {
    const size_t end = text.find('`', at + 1);
    if (end == std::string::npos) break;
    out.push_back(text.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  return out;
}

TEST(RequirementsTest, EveryLineOfTheChecklistHasATestOfItsName) {
  const std::set<std::string> tests = TestsInSources();
  std::map<std::string, std::string> rows;
  std::ifstream table(SATCHEL_SOURCE_DIR "/cache/README.md");
  for (std::string line; std::getline(table, line);) {
    if (line.size() < 8 || !line.starts_with("| ") || line.substr(4, 3) != " | ") continue;
    if (line[2] < 'A' || line[2] > 'J' || line[3] < '1' || line[3] > '9') continue;
    EXPECT_TRUE(rows.emplace(line.substr(2, 2), line).second) << "twice: " << line;
  }
  for (const auto& [letter, count] : kLines) {
    for (int i = 1; i <= count; ++i) {
      const std::string name = letter + std::to_string(i);
      ASSERT_TRUE(rows.contains(name)) << "no row: " << name;
      bool named = false;
      for (const std::string& test : Quoted(rows[name])) {
        EXPECT_TRUE(tests.contains(test)) << "no such test: " << test << ", of " << name;
        named |= test.find("." + name + "_") != std::string::npos;
      }
      EXPECT_TRUE(named) << "no test is named after " << name;
      // The last column: in which the shared tier answers.
      const std::string& row = rows[name];
      EXPECT_FALSE(Quoted(row.substr(row.rfind(" | ", row.size() - 3))).empty()) << row;
      rows.erase(name);
    }
  }
  EXPECT_TRUE(rows.empty()) << "no such line: " << rows.begin()->first;
}

}  // namespace
}  // namespace satchel::cache
