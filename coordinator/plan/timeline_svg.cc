#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "coordinator/plan/critical_path.h"
#include "coordinator/plan/timeline.h"
#include "coordinator/plan/timeline_shape.h"

namespace penstock {
namespace {

// Pixels. The shortest action gets kActionWidth where the whole then keeps within the bounds.
constexpr double kActionWidth = 18, kMinWidth = 640, kMaxWidth = 2400;
constexpr double kLeft = 72, kRight = 24, kTop = 64, kBottom = 34;
constexpr double kBar = 24, kMemory = 16, kGap = 6;
// Width of a character of the labels' font, of 10 px.
constexpr double kCharacter = 6.1;
// Narrower cells are drawn as one where they are of one kind.
constexpr double kNarrow = 1;
constexpr int kTicks = 8;

// Letters differ in lightness as well as in hue, and carry dark text on light and dark pages alike.
constexpr char kStyle[] =
    ".penstock-timeline .page{fill:#ffffff}.penstock-timeline text{fill:#1d1f24}"
    ".penstock-timeline .idle{fill:#e4e6ea}.penstock-timeline .axis{stroke:#8a8f99}"
    ".penstock-timeline .F{fill:#7fc0f2}.penstock-timeline .B{fill:#5fc48d}.penstock-timeline .I{fill:#f2de5b}"
    ".penstock-timeline .W{fill:#f5a35c}.penstock-timeline .R{fill:#d79be0}"
    ".penstock-timeline .later{fill-opacity:.6}.penstock-timeline .cell{fill:#101114}"
    ".penstock-timeline .kept{fill:#8a8f99;fill-opacity:.55}"
    ".penstock-timeline .pair{stroke:#101114;stroke-width:1.5}"
    ".penstock-timeline .critical{fill:none;stroke:#c0182b;stroke-width:1.5}"
    "@media (prefers-color-scheme:dark){.penstock-timeline .page{fill:#15171c}.penstock-timeline text{fill:#e7e9ee}"
    ".penstock-timeline .idle{fill:#30343d}.penstock-timeline .cell{fill:#101114}"
    ".penstock-timeline .critical{stroke:#ff6b78}.penstock-timeline .later{fill-opacity:.72}}";

std::string Escape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// A coordinate: two digits behind the point are finer than any screen.
std::string N(double value) {
  std::string text = absl::StrFormat("%.2f", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

class Drawing {
 public:
  Drawing(const Simulation& simulation, const TimelineOptions& options)
      : simulation_(simulation), options_(options), shown_(timeline::Show(simulation)) {
    const double shortest = timeline::ShortestAction(simulation), makespan = simulation.makespan_us;
    const double width = shortest > 0 ? makespan / shortest * kActionWidth : kMinWidth;
    width_ = std::clamp(width, kMinWidth, kMaxWidth);
    scale_ = makespan > 0 ? width_ / makespan : 0;
    row_ = kBar + kGap + (options.memory_text ? kMemory : 0);
    rows_ = static_cast<int>(shown_.ranks.size()) + (shown_.left_out > 0 ? 1 : 0);
    narrow_ = shortest * scale_ < kNarrow;
  }

  // 1. Head: names and colours. 2. Legend. 3. A row for each rank. 4. CriticalPath. 5. Axis.
  std::string Render() {
    Head();
    Legend();
    for (size_t i = 0; i < shown_.ranks.size(); ++i) {
      if (i == shown_.gap_after && shown_.left_out > 0) {
        Text(kLeft, Top(i) + kBar / 2 + 4, absl::StrCat(shown_.left_out, " ranks more"));
      }
      RankRow(shown_.ranks[i], TopOf(i));
    }
    if (options_.critical_path && !narrow_) Critical();
    Axis();
    svg_ += "</svg>\n";
    return std::move(svg_);
  }

 private:
  double Top(size_t row) const { return kTop + row_ * static_cast<double>(row); }
  // Of the i-th shown rank: the line about those left out takes a row too.
  double TopOf(size_t i) const { return Top(i + (shown_.left_out > 0 && i >= shown_.gap_after ? 1 : 0)); }
  double X(double us) const { return kLeft + us * scale_; }
  double Bottom() const { return Top(rows_); }

  void Head() {
    const std::string title = Escape(options_.title.empty() ? "Timeline of a pipeline step" : options_.title);
    const double width = kLeft + width_ + kRight + (options_.memory_text ? 110 : 0), height = Bottom() + kBottom;
    absl::StrAppend(&svg_, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"penstock-timeline\" role=\"img\" ",
                    "aria-label=\"", title, "\" viewBox=\"0 0 ", N(width), " ", N(height), "\" width=\"", N(width),
                    "\" height=\"", N(height), "\" font-family=\"monospace\" font-size=\"12\">\n");
    absl::StrAppend(&svg_, "<title>", title, "</title>\n<desc>", Escape(Description()), "</desc>\n");
    absl::StrAppend(&svg_, "<style>", kStyle, "</style>\n");
    absl::StrAppend(&svg_, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n");
    absl::StrAppend(&svg_, "<text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"bold\">", title, "</text>\n");
  }

  std::string Description() const {
    std::string text = absl::StrCat(
        simulation_.actions.size(), simulation_.actions.size() == 1 ? " rank" : " ranks", "; the step takes ",
        Time(simulation_.makespan_us),
        ". Idle share of all ranks' time: ", absl::StrFormat("%.1f %%", 100 * simulation_.bubbles.gpipe), ".");
    for (const int rank : shown_.ranks) {
      absl::StrAppend(&text, " Rank ", rank, " computes for ", Time(simulation_.busy_us[rank]), ".");
    }
    return text;
  }

  std::string Time(double us) const { return timeline::TimeText(us, options_.unit, options_.unit_us); }

  void Text(double x, double y, const std::string& text, const std::string& attributes = "") {
    absl::StrAppend(&svg_, "<text x=\"", N(x), "\" y=\"", N(y), "\"", attributes, ">", Escape(text), "</text>\n");
  }

  void Legend() {
    double x = 8;
    const auto entry = [&](const std::string& classes, const std::string& text) {
      absl::StrAppend(&svg_, "<rect class=\"", classes, "\" x=\"", N(x), "\" y=\"32\" width=\"14\" height=\"14\"/>\n");
      Text(x + 19, 43, text);
      x += 19 + 7.4 * static_cast<double>(text.size()) + 14;
    };
    for (const timeline::Kind& kind : timeline::KindsIn(simulation_)) {
      entry(std::string(1, kind.letter), absl::StrCat(std::string(1, kind.letter), " ", kind.meaning));
    }
    entry("idle", "idle");
    if (timeline::HasLaterStages(simulation_)) entry("F later", "muted, small: a rank's later stages");
    if (options_.memory_text) entry("kept", "activations kept");
    if (options_.critical_path && !narrow_) entry("critical", "critical path");
  }

  void RankRow(int rank, double top) {
    Text(8, top + kBar / 2 + 4, absl::StrCat("rank ", rank));
    absl::StrAppend(&svg_, "<rect class=\"idle\" x=\"", N(kLeft), "\" y=\"", N(top), "\" width=\"", N(width_),
                    "\" height=\"", N(kBar), "\"/>\n");
    if (narrow_) {
      SampledCells(simulation_.actions[rank], top);
    } else {
      Cells(simulation_.actions[rank], top);
    }
    if (options_.memory_text) MemoryBand(rank, top + kBar + 2);
  }

  void Cells(const std::vector<TimedAction>& list, double top) {
    const int first_stage = timeline::FirstStage(list);
    for (const TimedAction& timed : list) {
      const double x = X(timed.start_us), width = X(timed.end_us) - x;
      if (width <= 0) continue;
      const char letter = timeline::KindOf(timed.action.kind).letter;
      const bool later = timed.action.stage != first_stage;
      // A hair less than its time, so that neighbours of one kind can be told apart.
      absl::StrAppend(&svg_, "<rect class=\"", std::string(1, letter), later ? " later" : "", "\" x=\"", N(x),
                      "\" y=\"", N(top), "\" width=\"", N(std::max(0.5, width - 0.7)), "\" height=\"", N(kBar),
                      "\"><title>", ToText(timed.action), ": ", Time(timed.start_us), " to ", Time(timed.end_us),
                      "</title></rect>\n");
      const std::string name = timeline::Name(timed.action, first_stage);
      if (static_cast<double>(name.size()) * kCharacter <= width) {
        Text(x + width / 2, top + kBar / 2 + 3.5, name,
             " class=\"cell\" font-size=\"10\" text-anchor=\"middle\" pointer-events=\"none\"");
      }
      if (timed.action.fused) {
        absl::StrAppend(&svg_, "<path class=\"pair\" d=\"M", N(x + width - 5), " ", N(top + kBar - 2), "h10\"/>\n");
      }
    }
  }

  // The kind at the middle of each pixel; a run of one kind is one rectangle.
  void SampledCells(const std::vector<TimedAction>& list, double top) {
    const auto flush = [&](char letter, int begin, int end) {
      if (letter == ' ' || end <= begin) return;
      absl::StrAppend(&svg_, "<rect class=\"", std::string(1, letter), "\" x=\"", N(kLeft + begin), "\" y=\"", N(top),
                      "\" width=\"", end - begin, "\" height=\"", N(kBar), "\"/>\n");
    };
    size_t at = 0;
    int begin = 0;
    char current = ' ';
    const int pixels = static_cast<int>(width_);
    for (int pixel = 0; pixel < pixels; ++pixel) {
      const double us = (pixel + 0.5) / scale_;
      while (at < list.size() && list[at].end_us <= us) ++at;
      const bool busy = at < list.size() && list[at].start_us <= us;
      const char letter = busy ? timeline::KindOf(list[at].action.kind).letter : ' ';
      if (letter == current) continue;
      flush(current, begin, pixel);
      current = letter;
      begin = pixel;
    }
    flush(current, begin, pixels);
  }

  void MemoryBand(int rank, double top) {
    const auto& peaks = simulation_.rank_peak_activation_bytes;
    const double most = static_cast<double>(*std::max_element(peaks.begin(), peaks.end()));
    const double height = kMemory - 4, base = top + height;
    Text(kLeft + width_ + 6, base, absl::StrCat("peak ", options_.memory_text(rank, peaks[rank])), " font-size=\"10\"");
    if (most <= 0 || narrow_) return;
    // What an action needs is there from its start; what it frees goes at its end.
    std::string path = absl::StrCat("M", N(kLeft), " ", N(base));
    int64_t before = 0;
    for (const TimedAction& timed : simulation_.actions[rank]) {
      const double during = static_cast<double>(std::max(before, timed.kept_bytes));
      absl::StrAppend(&path, "H", N(X(timed.start_us)), "V", N(base - height * during / most), "H", N(X(timed.end_us)),
                      "V", N(base - height * static_cast<double>(timed.kept_bytes) / most));
      before = timed.kept_bytes;
    }
    absl::StrAppend(&svg_, "<path class=\"kept\" d=\"", path, "V", N(base), "Z\"/>\n");
  }

  void Critical() {
    std::vector<double> top_of_rank(simulation_.actions.size(), -1);
    for (size_t i = 0; i < shown_.ranks.size(); ++i) top_of_rank[shown_.ranks[i]] = TopOf(i);
    std::string path;
    const CriticalPath critical = FindCriticalPath(simulation_);
    double from_x = 0, from_y = -1;
    for (const CriticalPath::Step& step : critical.steps) {
      const TimedAction& timed = simulation_.actions[step.rank][step.index];
      const double top = top_of_rank[step.rank];
      if (top < 0) {
        from_y = -1;
        continue;
      }
      const double x = X(timed.start_us), end = X(timed.end_us), middle = top + kBar / 2;
      if (from_y >= 0 && from_y != middle) {
        const double down = middle > from_y ? kBar / 2 : -kBar / 2;
        absl::StrAppend(&path, "M", N(from_x), " ", N(from_y + down), "L", N(x), " ", N(middle - down));
      }
      absl::StrAppend(&path, "M", N(x), " ", N(top), "H", N(end), "V", N(top + kBar), "H", N(x), "Z");
      from_x = end;
      from_y = middle;
    }
    absl::StrAppend(&svg_, "<path class=\"critical\" d=\"", path, "\"/>\n");
  }

  void Axis() {
    const double y = Bottom() + 4;
    absl::StrAppend(&svg_, "<path class=\"axis\" d=\"M", N(kLeft), " ", N(y), "h", N(width_), "\"/>\n");
    const double makespan = simulation_.makespan_us / options_.unit_us;
    if (makespan <= 0) return;
    // 1, 2 or 5 times a power of ten.
    double step = std::pow(10, std::floor(std::log10(makespan / kTicks)));
    for (const double factor : {2.0, 2.5, 2.0}) {
      if (makespan / step > kTicks) step *= factor;
    }
    for (double at = 0; at <= makespan * (1 + 1e-9); at += step) {
      const double x = X(at * options_.unit_us);
      const std::string anchor = at == 0 ? "start" : "middle";
      absl::StrAppend(&svg_, "<path class=\"axis\" d=\"M", N(x), " ", N(y), "v4\"/>\n");
      const bool last = at + step > makespan * (1 + 1e-9);
      Text(x, y + 17,
           last ? Time(at * options_.unit_us) : timeline::TimeText(at * options_.unit_us, "", options_.unit_us),
           absl::StrCat(" font-size=\"10\" text-anchor=\"", anchor, "\""));
    }
  }

  const Simulation& simulation_;
  const TimelineOptions& options_;
  const timeline::ShownRanks shown_;
  double width_ = 0, scale_ = 0, row_ = 0;
  int rows_ = 0;
  bool narrow_ = false;
  std::string svg_;
};

}  // namespace

std::string TimelineSvg(const Simulation& simulation, const TimelineOptions& options) {
  return Drawing(simulation, options).Render();
}

}  // namespace penstock
