#include "coordinator/plan/amounts.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace penstock {

std::string BytesAmount(uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 50) return absl::StrFormat("%.2f PiB", value / static_cast<double>(uint64_t{1} << 50));
  if (bytes >= uint64_t{1} << 40) return absl::StrFormat("%.2f TiB", value / static_cast<double>(uint64_t{1} << 40));
  if (bytes >= uint64_t{1} << 30) return absl::StrFormat("%.2f GiB", value / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return absl::StrFormat("%.1f MiB", value / (1 << 20));
  if (bytes >= uint64_t{1} << 10) return absl::StrFormat("%.1f KiB", value / (1 << 10));
  return absl::StrCat(bytes, " B");
}

std::string CountAmount(double count) {
  if (count >= 1e12) return absl::StrFormat("%.2fT", count / 1e12);
  if (count >= 1e9) return absl::StrFormat("%.2fG", count / 1e9);
  if (count >= 1e6) return absl::StrFormat("%.1fM", count / 1e6);
  if (count >= 1e3) return absl::StrFormat("%.1fk", count / 1e3);
  return absl::StrFormat("%.0f", count);
}

std::string TimeAmount(double us) {
  if (us >= 1e6) return absl::StrFormat("%.2f s", us / 1e6);
  if (us >= 1e4) return absl::StrFormat("%.0f ms", us / 1e3);
  if (us >= 1e3) return absl::StrFormat("%.1f ms", us / 1e3);
  return absl::StrFormat("%.0f us", us);
}

std::string LongTimeAmount(double us) {
  const int64_t seconds = static_cast<int64_t>(us / 1e6 + 0.5);
  if (seconds >= 86400) return absl::StrCat(seconds / 86400, " d ", seconds % 86400 / 3600, " h");
  if (seconds >= 3600) return absl::StrCat(seconds / 3600, " h ", seconds % 3600 / 60, " min");
  if (seconds >= 60) return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
  return absl::StrCat(seconds, " s");
}

}  // namespace penstock
