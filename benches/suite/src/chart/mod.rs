//! Charts as SVG, written by hand: a page needs nothing from outside, and a file of its own is as readable in the light as
//! in the dark. Colours come from `chart.css`; what they say is also said by text, place, dashes or shapes.
//!
//! Each chart comes in two widths, because an image that is made smaller takes its letters with it.

pub mod bars;
pub mod latency;
pub mod lines;
pub mod memory;
pub mod overview;
pub mod scale;
pub mod scaling;

use std::fmt::{Display, Write as _};

/// Colours and letters, for pages and for files.
pub const STYLE: &str = include_str!("chart.css");

/// For which screens a chart is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Screens, paper.
    Wide,
    /// Telephones.
    Narrow,
}

impl Width {
    pub fn pixels(self) -> f64 {
        match self {
            Width::Wide => 760.0,
            Width::Narrow => 360.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Width::Wide => "chart wide",
            Width::Narrow => "chart narrow",
        }
    }
}

/// A chart that has been drawn.
pub struct Chart {
    /// A file's name, without its end.
    pub name: String,
    title: String,
    /// What it shows, for those who cannot see it.
    description: String,
    width: Width,
    height: f64,
    body: String,
}

impl Chart {
    fn new(name: &str, title: &str, description: String, width: Width) -> Chart {
        Chart { name: name.into(), title: title.into(), description, width, height: 0.0, body: String::new() }
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// As a part of a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        let id = format!("{}-{}", self.name, if self.width == Width::Wide { "w" } else { "n" });
        let (width, height) = (self.width.pixels(), self.height);
        let class = self.width.class();
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" height=\"{height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n{}</svg>\n",
            escape(&self.title),
            escape(&self.description),
            self.body
        )
    }

    /// As a file of its own, with its title drawn and a ground of its own.
    pub fn file(&self) -> String {
        const HEAD: f64 = 34.0;
        let (width, height) = (self.width.pixels(), self.height + HEAD + 8.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" \
             height=\"{height:.0}\" role=\"img\" aria-labelledby=\"t d\">\n<title id=\"t\">{}</title>\n\
             <desc id=\"d\">{}</desc>\n<style>\n{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{height:.0}\"/>\n\
             <text class=\"head\" x=\"8\" y=\"22\">{}</text>\n<g transform=\"translate(0 {HEAD})\">\n{}</g>\n</svg>\n",
            escape(&self.title),
            escape(&self.description),
            escape(&self.title),
            self.body
        )
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: impl Display) {
        let text = escape(&text.to_string());
        let _ = writeln!(self.body, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    fn path(&mut self, class: &str, path: &str) {
        let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// What follows until [`Chart::close`] belongs together, and says this to a pointer that rests on it.
    fn open(&mut self, class: &str, tip: &str) {
        let _ = writeln!(self.body, "<g class=\"{class}\"><title>{}</title>", escape(tip));
    }

    /// The same, of a candidate, which a reader can have stand out.
    fn open_for(&mut self, class: &str, candidate: &str, tip: &str) {
        let candidate = escape(candidate);
        let _ =
            writeln!(self.body, "<g class=\"{class}\" data-candidate=\"{candidate}\"><title>{}</title>", escape(tip));
    }

    fn close(&mut self) {
        self.body.push_str("</g>\n");
    }
}

/// How wide letters of this size are, at most: nobody asks the reader's font.
fn letters(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.6
}

/// What of it fits.
fn fitting(text: &str, size: f64, room: f64) -> String {
    if letters(text, size) <= room {
        return text.to_owned();
    }
    let fits = (room / (size * 0.6)) as usize;
    let mut short: String = text.chars().take(fits.saturating_sub(1)).collect();
    short.truncate(short.trim_end_matches([' ', ',']).len());
    short + "…"
}

/// For text and attributes of XML and HTML.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no place for them, and a crash's message may hold some.
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\">&'\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39; ");
    }

    #[test]
    fn what_does_not_fit_ends_in_dots() {
        assert_eq!(fitting("short", 10.0, 100.0), "short");
        assert_eq!(fitting("a long title, which ends", 10.0, 84.0), "a long title…");
    }
}
