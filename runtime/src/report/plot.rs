//! Line charts as SVG, for pages that stand alone.

use lrc_dsl::printable;
use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 256.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 8.0;
/// For a line of numbers, and one of what they count.
const BOTTOM: f64 = 44.0;
const TOP: f64 = 12.0;

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008).
pub const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666", "#a0522d"];

/// How every page begins.
pub const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>lrc run</title>\
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:720px;margin:32px auto;padding:0 16px;color:#222}\
h1{font-size:22px}h2{font-size:16px;margin:28px 0 4px}table{border-collapse:collapse}\
th,td{padding:2px 18px 2px 0;vertical-align:top;text-align:left}\
.wide{overflow-x:auto}.wide th,.wide td{white-space:nowrap;font-size:13px}td:first-child{color:#666}svg{width:100%;height:auto}\
table{margin:8px 0}@media(max-width:500px){svg text{font-size:17px}}\
.key{font-size:13px;color:#555}.key i{font-style:normal;display:inline-block;margin-right:14px}.key span{display:inline-block;width:18px;height:3px;margin:0 6px 3px 0}\
</style></head><body>";

/// A measured point.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// What.
    pub y: f64,
    /// Its interval, drawn as a whisker.
    pub interval: Option<[f64; 2]>,
}

impl From<(f64, f64)> for Point {
    fn from((x, y): (f64, f64)) -> Point {
        Point { x, y, interval: None }
    }
}

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name in the key.
    pub name: String,
    /// Its colour.
    pub colour: &'static str,
    /// Drawn with dashes.
    pub dashed: bool,
    /// From left to right.
    pub points: Vec<Point>,
}

impl Curve {
    /// A plain line.
    pub fn line(name: &str, colour: &'static str, points: Vec<(f64, f64)>) -> Curve {
        let points = points.into_iter().map(Point::from).collect();
        Curve { name: name.into(), colour, dashed: false, points }
    }
}

/// A chart; both axes start at 0 or below, unless it is fitted to its points.
#[derive(Clone, Debug)]
pub struct Chart<'c> {
    /// Above it.
    pub title: &'c str,
    /// What the horizontal axis counts.
    pub unit: &'c str,
    /// What is drawn.
    pub curves: &'c [Curve],
}

/// Text that may stand in HTML.
pub fn escape(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A table, the first row as heads; it scrolls by itself where it is wider than the page.
pub fn table(rows: &[Vec<String>]) -> String {
    let mut page = String::from("<div class=\"wide\"><table>");
    for (at, row) in rows.iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<{tag}>{}</{tag}>", escape(cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
    page
}

/// A table as text, columns aligned.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|at| rows.iter().map(|row| length(row, at)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let padded: Vec<String> = cells
            .map(
                |(at, (cell, width))| {
                    if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

/// The next number up that is 1, 2 or 5 times a power of ten.
fn round(x: f64) -> f64 {
    let power = 10_f64.powf(x.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|y| *y >= x * 0.999).unwrap_or(x)
}

/// A multiple of a step, with the digits that tell it from its neighbours.
fn tick(x: f64, step: f64) -> String {
    let digits = |step: f64| (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    match x.abs() {
        0.0 => "0".into(),
        a if a >= 1e6 => format!("{:.*}M", digits(step / 1e6), x / 1e6),
        a if a >= 1e4 => format!("{:.*}k", digits(step / 1e3), x / 1e3),
        a if step < 1e-3 => {
            let more = (a.log10().floor() - step.log10().floor()).clamp(0.0, 9.0) as usize;
            format!("{x:.more$e}")
        }
        _ => format!("{x:.*}", digits(step)),
    }
}

/// At most this many points of a curve are drawn.
const POINTS: usize = 800;
/// Curves of up to this many points show each as a dot.
const DOTS: usize = 40;

/// Where numbers stand on the page.
struct Scale {
    start: f64,
    end: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, x: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (x - self.start) / (self.end - self.start)
    }

    fn y(&self, y: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (self.high - y) / (self.high - self.low)
    }
}

impl Chart<'_> {
    /// The picture with its title and key as HTML; nothing where there is nothing to draw.
    pub fn html(&self) -> String {
        self.page(self.svg())
    }

    /// The same with axes that show the points alone, where they lie far from 0 and close together.
    pub fn html_fitted(&self) -> String {
        self.page(self.drawn(true))
    }

    fn page(&self, svg: Option<String>) -> String {
        let Some(svg) = svg else { return String::new() };
        let mut page = format!("<h2>{}</h2>{svg}<div class=\"key\">", escape(self.title));
        for curve in self.named() {
            let (colour, name) = (curve.colour, escape(&curve.name));
            let _ = write!(page, "<i><span style=\"background:{colour}\"></span>{name}</i> ");
        }
        page.push_str("</div>");
        page
    }

    /// Curves that the key names.
    fn named(&self) -> Vec<&Curve> {
        self.curves.iter().filter(|c| !c.points.is_empty() && !c.name.is_empty()).collect()
    }

    /// The picture with its key, to stand alone.
    pub fn picture(&self) -> Option<String> {
        let named = self.named();
        // Two names in a line.
        let height = HEIGHT + 18.0 * named.len().div_ceil(2) as f64 + 24.0;
        let svg = self.svg()?;
        let mut picture = svg.replacen(
            &format!("viewBox=\"0 0 {WIDTH} {HEIGHT}\""),
            &format!("viewBox=\"0 -24 {WIDTH} {height}\""),
            1,
        );
        picture.truncate(picture.len() - "</svg>".len());
        let title = escape(self.title);
        let _ = write!(
            picture,
            "<rect x=\"0\" y=\"-24\" width=\"{WIDTH}\" height=\"24\" fill=\"none\"/>\
             <text x=\"{LEFT}\" y=\"-6\" font-size=\"14\" fill=\"#222\">{title}</text>"
        );
        for (at, curve) in named.iter().enumerate() {
            let x = LEFT + (at % 2) as f64 * (WIDTH - LEFT) / 2.0;
            let y = HEIGHT + 12.0 + 18.0 * (at / 2) as f64;
            let dash = if curve.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
            let (colour, name) = (curve.colour, escape(&curve.name));
            let _ = write!(
                picture,
                "<line x1=\"{x}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>\
                 <text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"#444\">{name}</text>",
                x + 22.0,
                x + 28.0,
                y + 4.0
            );
        }
        picture.push_str("</svg>");
        Some(picture)
    }

    /// The picture without its key.
    pub fn svg(&self) -> Option<String> {
        self.drawn(false)
    }

    /// Where its points lie, and from where to where its axes reach.
    fn scale(&self, fitted: bool) -> Option<Scale> {
        let finite = |p: &&Point| p.x.is_finite() && p.y.is_finite();
        let all = || self.curves.iter().flat_map(|c| &c.points).filter(finite);
        all().next()?;
        let from = if fitted { [f64::INFINITY, f64::NEG_INFINITY] } else { [0.0; 2] };
        let ends = |p: &Point| p.interval.unwrap_or([p.y, p.y]);
        let (low, high) = all().fold((from[0], from[1]), |(low, high), p| {
            (low.min(ends(p)[0]).min(p.y), high.max(ends(p)[1]).max(p.y))
        });
        let end = all().map(|p| p.x).fold(from[1], f64::max);
        // An axis of nothing but 0 goes to 1.
        let some = |from: f64, to: f64| if to > from { to } else { from + 1.0 };
        let (high, start) =
            (some(low, high), if fitted { all().map(|p| p.x).fold(end, f64::min) } else { 0.0 });
        let end = some(start, end);
        // Points at the ends are seen whole.
        let [x, y] = if fitted { [0.04 * (end - start), 0.08 * (high - low)] } else { [0.0; 2] };
        Some(Scale { start: start - x, end: end + x, low: low - y, high: high + y })
    }

    fn drawn(&self, fitted: bool) -> Option<String> {
        let scale = self.scale(fitted)?;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" font-family=\"system-ui,sans-serif\">",
            escape(self.title)
        );
        self.axes(&mut svg, &scale);
        for curve in self.curves {
            draw(&mut svg, &scale, curve);
        }
        svg.push_str("</svg>");
        Some(svg)
    }

    fn axes(&self, svg: &mut String, scale: &Scale) {
        let step = round((scale.high - scale.low) / 6.0);
        for i in (scale.low / step).ceil() as i64..=(scale.high / step * 1.000_001).floor() as i64 {
            let value = i as f64 * step;
            let at = scale.y(value);
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\" fill=\"#666\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                tick(value, step)
            );
        }
        let step = round((scale.end - scale.start) / 6.0);
        let first = (scale.start / step).ceil() as i64;
        let count = (scale.end / step * 1.000_001).floor() as i64;
        for i in first..=count {
            let value = i as f64 * step;
            let x = scale.x(value);
            let anchor = if x > WIDTH - 30.0 { "end" } else { "middle" };
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{}\" font-size=\"11\" text-anchor=\"{anchor}\" fill=\"#666\">{}</text>",
                HEIGHT - BOTTOM + 20.0,
                tick(value, step)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"11\" text-anchor=\"end\" fill=\"#666\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 6.0,
            escape(self.unit)
        );
    }
}

fn draw(svg: &mut String, scale: &Scale, curve: &Curve) {
    let step = curve.points.len().div_ceil(POINTS).max(1);
    let colour = curve.colour;
    let dots = curve.points.len() <= DOTS;
    let mut path = String::new();
    for point in curve.points.iter().step_by(step).filter(|p| p.y.is_finite()) {
        let (x, y) = (scale.x(point.x), scale.y(point.y));
        let _ = write!(path, "{x:.1},{y:.1} ");
        if dots {
            let _ =
                write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
        if let Some([low, high]) = point.interval {
            let (low, high) = (scale.y(low), scale.y(high));
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\" opacity=\"0.5\"/>"
            );
        }
    }
    let dash = if curve.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
    let _ = write!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash} points=\"{}\"/>",
        path.trim_end()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!([0.3, 1.0, 1.1, 3.0, 40.0, 61.0].map(round), [0.5, 1.0, 2.0, 5.0, 50.0, 100.0]);
        let ticks = [
            (0.5, 0.5),
            (2.0, 1.0),
            (150_000.0, 50_000.0),
            (2.5e6, 5e5),
            (0.004, 0.001),
            (0.0015, 5e-4),
            (0.002, 5e-4),
            (3e-6, 1e-6),
        ];
        let want = ["0.5", "2", "150k", "2.5M", "0.004", "1.5e-3", "2.0e-3", "3e-6"];
        assert_eq!(ticks.map(|(x, step)| tick(x, step)), want);
    }

    #[test]
    fn nothing_is_drawn_of_nothing_and_everything_of_one_point() {
        let chart = |points: Vec<(f64, f64)>| {
            let curves = [Curve::line("a <b>", COLOURS[0], points)];
            Chart { title: "t & u", unit: "steps", curves: &curves }.html()
        };
        assert_eq!(chart(vec![]), "");
        assert_eq!(chart(vec![(1.0, f64::NAN)]), "");
        let page = chart(vec![(3.0, -2.0)]);
        assert!(
            page.contains("t &amp; u") && page.contains("a &lt;b&gt;") && page.contains("circle")
        );
        assert!(chart(vec![(0.0, 0.0)]).contains("circle"));
    }
}
