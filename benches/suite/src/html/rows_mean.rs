//! What is done in each row, as the documentation says it: its table, read from there.

use std::fmt::Write as _;

use crate::chart::escape;

const DOCUMENTATION: &str = include_str!("../../../../docs/benchmarks.md");
const TITLE: &str = "## What the rows mean";

pub fn table(text: &mut String) {
    let mut rows = rows(DOCUMENTATION);
    let Some(heads) = rows.next() else { return };
    let _ = write!(text, "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"words prose\">\n<thead><tr>");
    for head in heads {
        let _ = write!(text, "<th scope=\"col\">{}</th>", inline(head));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for cells in rows {
        text.push_str("<tr>");
        for (at, cell) in cells.into_iter().enumerate() {
            let (open, close) = if at == 0 { ("<th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
            let _ = write!(text, "{open}{}{close}", inline(cell));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table>\n</div>\n");
}

/// The cells of the first table under the title, without the line that says it is one.
fn rows(documentation: &str) -> impl Iterator<Item = Vec<&str>> {
    let (_, section) = documentation.split_once(TITLE).unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    cells.filter(|cells: &Vec<&str>| cells.iter().any(|cell| cell.chars().any(|letter| !"-: ".contains(letter))))
}

/// Between backticks is code.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        html.push_str(&if at % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_table_that_can_be_shown() {
        let mut text = String::new();
        table(&mut text);
        assert!(text.matches("<tr>").count() > 15, "{text}");
        assert!(text.contains("<code>recvmmsg</code>") && text.contains("<th scope=\"row\">NOP</th>"), "{text}");
        assert!(rows(DOCUMENTATION).all(|cells| cells.len() == 3), "a cell with a bar in it");
    }
}
