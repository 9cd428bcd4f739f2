//! What all plots have in common: a page, its colours, axes, a legend.

use std::fmt::Write;

/// Width of the page.
pub const WIDTH: f64 = 860.0;
/// Height of the page.
pub const HEIGHT: f64 = 480.0;
/// Where the picture begins on the left.
pub const LEFT: f64 = 70.0;
/// Where it ends on the right; the legend is beyond.
pub const RIGHT: f64 = 640.0;
/// Its upper end.
pub const TOP: f64 = 46.0;
/// Its lower end.
pub const BOTTOM: f64 = 410.0;

/// Told apart on white and on black, and by most who see fewer colours.
const COLOURS: [&str; 10] =
    ["#2f7ed8", "#d9822b", "#2a9d5c", "#c23b4e", "#8e63ce", "#8c6d46", "#d15fa8", "#7f8c8d", "#a3a11d", "#17a2b8"];
/// Of lines that come round to a colour again.
const DASHES: [&str; 3] = ["", "7 4", "2 3"];

/// Colour and dashes of the line with this number.
pub fn style(number: usize) -> (&'static str, &'static str) {
    (COLOURS[number % COLOURS.len()], DASHES[number / COLOURS.len() % DASHES.len()])
}

/// A page in the making.
pub struct Page {
    text: String,
}

impl Page {
    /// With a title, and a line in small print at the foot.
    pub fn new(title: &str, under: &str) -> Self {
        let mut text = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<style>
  .ground {{ fill: #ffffff }} text {{ fill: #222222 }} .axis {{ stroke: #888888 }} .grid {{ stroke: #dddddd }}
  @media (prefers-color-scheme: dark) {{
    .ground {{ fill: #14171a }} text {{ fill: #e6e6e6 }} .axis {{ stroke: #999999 }} .grid {{ stroke: #333a40 }}
  }}
</style>
<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>
"#
        );
        let _ = writeln!(text, r#"<text x="{LEFT}" y="26" font-size="16" font-weight="bold">{}</text>"#, plain(title));
        let _ = writeln!(text, r#"<text x="{LEFT}" y="468" font-size="10">{}</text>"#, plain(under));
        let _ = writeln!(text, r#"<path class="axis" fill="none" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>"#);
        Self { text }
    }

    /// A line across, with what it means.
    pub fn across(&mut self, y: f64, label: &str) {
        let _ = writeln!(self.text, r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/>"#);
        let (x, y) = (LEFT - 6.0, y + 4.0);
        let _ = writeln!(self.text, r#"<text x="{x}" y="{y:.1}" text-anchor="end">{}</text>"#, plain(label));
    }

    /// A mark at the foot of the picture.
    pub fn below(&mut self, x: f64, label: &str) {
        let y = BOTTOM + 18.0;
        let _ = writeln!(self.text, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{}</text>"#, plain(label));
    }

    /// What the axes are.
    pub fn axes(&mut self, down: &str, across: &str) {
        let (x, y) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 36.0);
        let _ = writeln!(self.text, r#"<text x="{x}" y="{y}" text-anchor="middle">{}</text>"#, plain(across));
        let y = f64::midpoint(TOP, BOTTOM);
        let _ = writeln!(
            self.text,
            r#"<text x="16" y="{y}" text-anchor="middle" transform="rotate(-90 16 {y})">{}</text>"#,
            plain(down)
        );
    }

    /// A line through points.
    pub fn line(&mut self, number: usize, points: &[(f64, f64)]) {
        let (colour, dashes) = style(number);
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.text,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" points="{points}"/>"#
        );
    }

    /// A bar, up from the foot to `y`, with a mark from `low` to `high`.
    pub fn bar(&mut self, number: usize, x: f64, width: f64, y: f64, (low, high): (f64, f64)) {
        let (colour, dashes) = style(number);
        let opacity = if dashes.is_empty() { 1.0 } else { 0.55 };
        let height = (BOTTOM - y).max(0.0);
        let _ = writeln!(
            self.text,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" opacity="{opacity}"/>"#
        );
        let middle = x + width / 2.0;
        let _ = writeln!(self.text, r#"<path class="axis" d="M{middle:.1} {low:.1}V{high:.1}"/>"#);
    }

    /// An entry of the legend.
    pub fn legend(&mut self, number: usize, name: &str) {
        let y = TOP + 8.0 + 18.0 * number as f64;
        let (colour, dashes) = style(number);
        let (from, to, at) = (RIGHT + 16.0, RIGHT + 40.0, RIGHT + 46.0);
        let _ = writeln!(
            self.text,
            r#"<path stroke="{colour}" stroke-width="3" stroke-dasharray="{dashes}" d="M{from} {y}H{to}"/>"#
        );
        let _ = writeln!(self.text, r#"<text x="{at}" y="{}">{}</text>"#, y + 4.0, plain(name));
    }

    /// The whole of it.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
