#include "rules/units.h"

#include <gtest/gtest.h>

namespace satchel::rules {
namespace {

using std::chrono::milliseconds;

TEST(UnitsTest, DurationsNeedAUnitExceptZero) {
  EXPECT_EQ(ParseDuration("250ms").value(), milliseconds(250));
  EXPECT_EQ(ParseDuration("30s").value(), milliseconds(30'000));
  EXPECT_EQ(ParseDuration("5m").value(), milliseconds(300'000));
  EXPECT_EQ(ParseDuration("1.5h").value(), milliseconds(5'400'000));
  EXPECT_EQ(ParseDuration("2d").value(), milliseconds(172'800'000));
  EXPECT_EQ(ParseDuration("0").value(), milliseconds(0));
  EXPECT_EQ(ParseDuration("30").error(),
            "has no unit; write ms, s, m, h or d behind it, as in 30s");
  for (const char* text :
       {"", "s", "-5s", "5 s", "1h30m", "5S", "1e3s", ".5s", "5.s", "0x5s", "5ss"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
  EXPECT_EQ(ParseDuration("3651d").error(), "is too long; write at most 3650d");
  EXPECT_EQ(ParseDuration("0.5ms").error(),
            "is finer than a millisecond; write whole milliseconds");
  EXPECT_FALSE(ParseDuration(std::string(400, '9') + "s").has_value());
}

TEST(UnitsTest, SizesAreBinary) {
  EXPECT_EQ(ParseSize("64KiB").value(), 65'536U);
  EXPECT_EQ(ParseSize("1.5GiB").value(), 1'610'612'736U);
  EXPECT_EQ(ParseSize("10B").value(), 10U);
  EXPECT_EQ(ParseSize("0").value(), 0U);
  EXPECT_EQ(ParseSize("64").error(),
            "has no unit; write B, KiB, MiB or GiB behind it, as in 64MiB");
  EXPECT_EQ(ParseSize("64KB").error(), "is not a size; units are B, KiB, MiB and GiB, as in 64KiB");
  EXPECT_EQ(ParseSize("1g").error(), "is not a size; units are B, KiB, MiB and GiB, as in 1GiB");
  EXPECT_EQ(ParseSize("0.3B").error(), "is not a whole number of bytes; write a smaller unit");
  EXPECT_FALSE(ParseSize("99999999GiB").has_value());
}

TEST(UnitsTest, RatiosArePercentOrZeroToOne) {
  EXPECT_DOUBLE_EQ(ParseRatio("10%").value(), 0.1);
  EXPECT_DOUBLE_EQ(ParseRatio("0.25").value(), 0.25);
  EXPECT_DOUBLE_EQ(ParseRatio("1").value(), 1.0);
  EXPECT_EQ(ParseRatio("10").error(), "is above 1; write 10% or a number from 0 to 1");
  EXPECT_EQ(ParseRatio("101%").error(), "is above 100%; write 0% to 100%");
  EXPECT_FALSE(ParseRatio("x").has_value());
}

TEST(UnitsTest, RatesAreACountAndATime) {
  EXPECT_EQ(ParseRate("1000/1h").value(),
            (std::pair<uint64_t, std::chrono::microseconds>(1000, std::chrono::hours(1))));
  EXPECT_EQ(ParseRate("20/100ms").value().second, milliseconds(100));
  EXPECT_EQ(ParseRate("10/s").error(), "has no number of s; write 10/1s");
  EXPECT_EQ(ParseRate("10/1ms").error(), "has a window out of range; write 100ms to 366d");
  EXPECT_FALSE(ParseRate("10/0").has_value());
  EXPECT_FALSE(ParseRate("/1s").has_value());
  EXPECT_FALSE(ParseRate("1/1/1s").has_value());
}

TEST(UnitsTest, TextsParseToTheSameValue) {
  for (const int64_t millis :
       {0L, 1L, 999L, 1000L, 90'000L, 3'600'000L, 86'400'000L, 86'400'001L}) {
    EXPECT_EQ(ParseDuration(DurationText(milliseconds(millis))).value(), milliseconds(millis));
  }
  EXPECT_EQ(DurationText(milliseconds(90'000)), "90s");
  EXPECT_EQ(DurationText(milliseconds(7'200'000)), "2h");
  for (const uint64_t bytes : {0UL, 1UL, 1024UL, 1025UL, 64UL << 20, 3UL << 30}) {
    EXPECT_EQ(ParseSize(SizeText(bytes)).value(), bytes);
  }
  EXPECT_EQ(RatioText(0.07), "7%");
  EXPECT_EQ(RatioText(0.125), "12.5%");
  EXPECT_EQ(RatioText(0), "0%");
}

}  // namespace
}  // namespace satchel::rules
