//! Plots as SVG: small panels side by side, one idea each, in colours that stand on light and on dark paper.

use std::fmt::Write;

/// Of a panel, its margins included.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 240.0;
/// Around the field of a panel: left, right, top, bottom.
const MARGINS: [f64; 4] = [52.0, 18.0, 46.0, 44.0];
/// Between the field's sides and the first and last power of ten, so that what is written there stands apart.
const INSET: f64 = 16.0;
/// Text and axes.
const INK: &str = "#6e7781";
/// Lines across the field.
const GRID: &str = "#6e778133";
/// What was measured.
const LINE: &str = "#2f81f7";

/// How values go up a panel. Sizes always go by powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rise {
    /// From zero, so that how little something grows is seen.
    Even,
    /// By powers of ten.
    Tenfold,
}

/// One line of measurements.
pub(super) struct Panel<'p> {
    /// What is shown, with its unit.
    pub(super) title: &'p str,
    /// What the sizes are of.
    pub(super) sizes: &'p str,
    pub(super) rise: Rise,
    /// Size and value, both above 0.
    pub(super) points: Vec<(f64, f64)>,
}

/// Panels as one picture.
pub(super) fn svg(panels: &[Panel<'_>]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{HEIGHT}\" viewBox=\"0 0 {width} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"{INK}\">\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let at = WIDTH * index as f64;
        writeln!(out, "<g transform=\"translate({at},0)\">").expect("a string takes all");
        draw(&mut out, panel);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel<'_>) {
    let [left, right, top, bottom] = MARGINS;
    let (right, bottom) = (WIDTH - right, HEIGHT - bottom);
    let sizes = panel.points.iter().map(|point| point.0);
    let across = Axis::tenfold(sizes, left + INSET, right - INSET);
    let values = panel.points.iter().map(|point| point.1);
    let up = match panel.rise {
        Rise::Even => Axis::even(values, bottom, top),
        Rise::Tenfold => Axis::tenfold(values, bottom, top),
    };
    text(
        out,
        left,
        18.0,
        "start",
        panel.title,
        " font-size=\"13\" font-weight=\"600\"",
    );
    for tick in up.ticks() {
        let y = up.place(tick);
        line(out, [left, y, right, y], GRID);
        text(out, left - 6.0, y + 4.0, "end", &short(tick), "");
    }
    for tick in across.ticks() {
        let x = across.place(tick);
        line(out, [x, bottom, x, bottom + 4.0], INK);
        text(out, x, bottom + 17.0, "middle", &short(tick), "");
    }
    line(out, [left, bottom, right, bottom], INK);
    text(
        out,
        f64::midpoint(left, right),
        HEIGHT - 8.0,
        "middle",
        panel.sizes,
        "",
    );
    let places = panel.points.iter();
    let places = places.map(|(size, value)| (across.place(*size), up.place(*value), *value));
    let mut path = String::new();
    for (x, y, _) in places.clone() {
        write!(path, "{x:.1},{y:.1} ").expect("a string takes all");
    }
    writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{LINE}\" stroke-width=\"2\"/>",
        path.trim_end()
    )
    .expect("a string takes all");
    for (x, y, value) in places {
        writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{LINE}\"/>"
        )
        .expect("a string takes all");
        text(
            out,
            x + 8.0,
            y - 8.0,
            "end",
            &short(value),
            &format!(" fill=\"{LINE}\""),
        );
    }
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    )
    .expect("a string takes all");
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str, more: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{words}</text>"
    )
    .expect("a string takes all");
}

/// From values to places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    rise: Rise,
}

impl Axis {
    /// From the power of ten below all values to the one above.
    fn tenfold(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = (low.log10().floor(), high.log10().ceil());
        Self {
            low,
            high: high.max(low + 1.0),
            from,
            to,
            rise: Rise::Tenfold,
        }
    }

    /// From zero to a quarter above all values.
    fn even(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let high = values.fold(f64::MIN_POSITIVE, f64::max) * 1.25;
        let step = step(high);
        Self {
            low: 0.0,
            high: (high / step).ceil() * step,
            from,
            to,
            rise: Rise::Even,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let value = match self.rise {
            Rise::Even => value,
            Rise::Tenfold => value.log10(),
        };
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        let step = match self.rise {
            Rise::Even => step(self.high),
            Rise::Tenfold => 1.0,
        };
        let count = ((self.high - self.low) / step).round() as usize;
        let marks = (0..=count).map(|number| self.low + step * number as f64);
        match self.rise {
            Rise::Even => marks.collect(),
            Rise::Tenfold => marks.map(|mark| 10_f64.powf(mark)).collect(),
        }
    }
}

/// A round step, of which three to seven make `high`.
fn step(high: f64) -> f64 {
    let power = 10_f64.powf((high / 3.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| high / step >= 3.0)
        .unwrap_or(power)
}

/// Three figures at most, thousands and millions by a letter.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 999_500.0 => (value / 1e6, "M"),
        value if value >= 9995.0 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.0995 => 2,
        _ => 3,
    };
    let number = format!("{value:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, shown) in [
            (0.0, "0"),
            (0.0312, "0.031"),
            (1.0, "1"),
            (1.26, "1.26"),
            (99.96, "100"),
            (1234.0, "1234"),
            (10_000.0, "10k"),
            (2_500_000.0, "2.5M"),
        ] {
            assert_eq!(short(value), shown);
        }
    }

    #[test]
    fn every_point_lies_in_its_field_and_larger_values_lie_higher() {
        let [left, right, top, bottom] = MARGINS;
        for rise in [Rise::Even, Rise::Tenfold] {
            let values = [0.7, 3.0, 12.0];
            let up = match rise {
                Rise::Even => Axis::even(values.into_iter(), HEIGHT - bottom, top),
                Rise::Tenfold => Axis::tenfold(values.into_iter(), HEIGHT - bottom, top),
            };
            let places = values.map(|value| up.place(value));
            assert!(places.is_sorted_by(|one, next| one > next), "{places:?}");
            assert!(places.iter().all(|y| (top..=HEIGHT - bottom).contains(y)));
            let ticks = up.ticks();
            assert!((2..=8).contains(&ticks.len()), "{ticks:?}");
        }
        let across = Axis::tenfold([10_000.0, 2_500_000.0].into_iter(), left, WIDTH - right);
        assert_eq!(across.ticks().map_short(), ["10k", "100k", "1M", "10M"]);
    }

    trait Shorts {
        fn map_short(&self) -> Vec<String>;
    }

    impl Shorts for Vec<f64> {
        fn map_short(&self) -> Vec<String> {
            self.iter().map(|value| short(*value)).collect()
        }
    }

    #[test]
    fn a_picture_is_well_formed() {
        let panel = || Panel {
            title: "time <us>",
            sizes: "ranges",
            rise: Rise::Even,
            points: vec![(10.0, 1.0), (1000.0, 1.5)],
        };
        let picture = svg(&[panel(), panel()]);
        assert_eq!(picture.matches("<circle").count(), 4);
        assert_eq!(
            picture.matches("<g ").count(),
            picture.matches("</g>").count()
        );
        assert!(picture.contains("time &lt;us>") && picture.ends_with("</svg>\n"));
    }
}
