#include "proxy/cpu_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "tests/support/child_process.h"

namespace satchel::proxy {
namespace {

class CpuLimitTest : public ::testing::Test {
 protected:
  void Write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(dir_.path(file)).parent_path());
    dir_.Write(file, text);
  }
  void Unified(const std::string& path, const std::string& mount_root = "/") {
    Write("proc/self/cgroup", "0::" + path + "\n");
    Write("proc/self/mountinfo",
          "22 1 0:20 / /sys rw shared:7 - sysfs sysfs rw\n30 22 0:26 " + mount_root +
              " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  ResourceLimits Limits() { return ReadResourceLimits(dir_.path()); }

  satchel::testing::TempDir dir_;
};

TEST_F(CpuLimitTest, NoFilesMeanNoLimits) {
  EXPECT_EQ(Limits().cpus, std::nullopt);
  EXPECT_EQ(Limits().memory_bytes, std::nullopt);
}

TEST_F(CpuLimitTest, UnifiedQuotaAndMemoryAreRead) {
  Unified("/");
  Write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  Write("sys/fs/cgroup/memory.max", "536870912\n");
  EXPECT_DOUBLE_EQ(Limits().cpus.value(), 1.5);
  EXPECT_EQ(Limits().memory_bytes.value(), 536870912u);
}

TEST_F(CpuLimitTest, MaxMeansNoLimit) {
  Unified("/");
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(Limits().cpus, std::nullopt);
  EXPECT_EQ(Limits().memory_bytes, std::nullopt);
}

TEST_F(CpuLimitTest, TheTightestAncestorCounts) {
  Unified("/pod/app");
  Write("sys/fs/cgroup/pod/app/cpu.max", "400000 100000\n");
  Write("sys/fs/cgroup/pod/app/memory.max", "1000000000\n");
  Write("sys/fs/cgroup/pod/cpu.max", "200000 100000\n");
  Write("sys/fs/cgroup/pod/memory.max", "800000000\n");
  EXPECT_DOUBLE_EQ(Limits().cpus.value(), 2.0);
  EXPECT_EQ(Limits().memory_bytes.value(), 800000000u);
}

TEST_F(CpuLimitTest, AMountThatShowsOnlyOurPartIsUnderstood) {
  Unified("/docker/abc", "/docker/abc");
  Write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_DOUBLE_EQ(Limits().cpus.value(), 0.5);
}

TEST_F(CpuLimitTest, ACgroupOutsideTheNamespaceFallsBackToTheTop) {
  Unified("/../../other");
  Write("sys/fs/cgroup/memory.max", "123456789\n");
  EXPECT_EQ(Limits().memory_bytes.value(), 123456789u);
}

TEST_F(CpuLimitTest, LegacyHierarchiesAreRead) {
  Write("proc/self/cgroup", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n");
  Write("proc/self/mountinfo",
        "33 32 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "35 32 0:31 /docker/x /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
  EXPECT_DOUBLE_EQ(Limits().cpus.value(), 2.5);
  EXPECT_EQ(Limits().memory_bytes.value(), 268435456u);
}

TEST_F(CpuLimitTest, LegacyNoLimitIsRecognised) {
  Write("proc/self/cgroup", "5:memory:/\n4:cpu:/\n");
  Write("proc/self/mountinfo",
        "33 32 0:29 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
        "35 32 0:31 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limits().cpus, std::nullopt);
  EXPECT_EQ(Limits().memory_bytes, std::nullopt);
}

TEST_F(CpuLimitTest, GarbageSetsNoLimit) {
  Unified("/");
  for (const char* text : {"", "\n", "x y\n", "1 0\n", "-5 100000\n", "99999999999999999999 1\n"}) {
    Write("sys/fs/cgroup/cpu.max", text);
    Write("sys/fs/cgroup/memory.max", "12 monkeys\n");
    EXPECT_EQ(Limits().cpus, std::nullopt) << text;
    EXPECT_EQ(Limits().memory_bytes, std::nullopt) << text;
  }
}

TEST_F(CpuLimitTest, AQuotaIsRoundedUpAndNeverZero) {
  const uint32_t all = UsableCpus({});
  EXPECT_GE(all, 1u);
  EXPECT_EQ(UsableCpus({.cpus = 0.1, .memory_bytes = {}}), 1u);
  EXPECT_EQ(UsableCpus({.cpus = 1e9, .memory_bytes = {}}), all);
  EXPECT_EQ(UsableCpus({.cpus = 1.1, .memory_bytes = {}}), std::min(all, 2u));
}

TEST(DescriptorLimitTest, TheSoftLimitBecomesTheHardOne) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{std::min<rlim_t>(256, before.rlim_max), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(RaiseDescriptorLimit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace satchel::proxy
