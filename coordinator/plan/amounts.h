// Amounts as a plan prints them. Pure.
#ifndef PENSTOCK_COORDINATOR_PLAN_AMOUNTS_H_
#define PENSTOCK_COORDINATOR_PLAN_AMOUNTS_H_

#include <cstdint>
#include <string>

namespace penstock {

// "512 B", "3.0 KiB", "1.25 GiB", "2.50 TiB".
std::string BytesAmount(uint64_t bytes);

// "972", "31.1k", "53.6M", "2.10G", "1.50T".
std::string CountAmount(double count);

// "12 us", "1.5 ms", "21 ms", "0.84 s", "2.50 s".
std::string TimeAmount(double us);

// The two largest units: "12 s", "4 min 5 s", "4 h 39 min", "3 d 4 h".
std::string LongTimeAmount(double us);

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_PLAN_AMOUNTS_H_
