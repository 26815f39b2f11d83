//! Documentation whose figures come from a run: what stands between two comments is written anew from a result.
//!
//! ```text
//! <!-- bench:summary -->
//! anything
//! <!-- /bench:summary -->
//! ```
//!
//! `bench:machine`, `summary`, `candidates`, `overview`, `rows`, `losses`, `limits`, `sizes` are text; `bench:chart NAME` is a chart, by the name of its
//! file (`--svg` shows which there are), or `chart scaling`, `chart memory`, `chart latency`, `chart rows` for all of a kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::chart::Chart;
use crate::report::Report;
use crate::{losses, markdown, output, sizes};

const OPEN: &str = "<!-- bench:";
const END: &str = " -->";

/// Writes the parts of the file anew, and the charts that they show into a folder beside it that is named like it.
pub fn renew(path: &Path, report: &Report) -> Result<(), String> {
    let failed = |error: String| format!("{}: {error}", path.display());
    let old = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let folder = path.with_extension("");
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let renewed = replace(&old, report, &name).map_err(failed)?;
    if !renewed.charts.is_empty() {
        fs::create_dir_all(&folder).map_err(|error| failed(error.to_string()))?;
    }
    // Charts that nobody shows any longer go.
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let file = entry.path();
        let known = file.file_stem().is_some_and(|stem| renewed.charts.contains_key(&*stem.to_string_lossy()));
        if file.extension().is_some_and(|extension| extension == "svg") && !known {
            fs::remove_file(&file).map_err(|error| failed(error.to_string()))?;
        }
    }
    for (name, text) in &renewed.charts {
        output::write(&folder.join(format!("{name}.svg")), text)?;
    }
    output::write(path, &renewed.text)
}

struct Renewed {
    text: String,
    /// Name to file.
    charts: BTreeMap<String, String>,
}

fn replace(old: &str, report: &Report, folder: &str) -> Result<Renewed, String> {
    let mut renewed = Renewed { text: String::with_capacity(old.len()), charts: BTreeMap::new() };
    let mut rest = old;
    while let Some(start) = mark(rest) {
        let (before, part) = rest.split_at(start);
        let (name, inside) = part[OPEN.len()..].split_once(END).ok_or("a comment `<!-- bench:` that does not end")?;
        let close = format!("<!-- /bench:{name}{END}");
        let Some((_, after)) = inside.split_once(&close) else {
            return Err(format!("there is a `{OPEN}{name}{END}`, but no `{close}` after it"));
        };
        let content = content(name, report, folder, &mut renewed.charts)?;
        renewed.text.push_str(&format!("{before}{OPEN}{name}{END}\n{}\n{close}", content.trim_matches('\n')));
        rest = after;
    }
    if rest.len() == old.len() {
        return Err(format!("there is no `{OPEN}NAME{END}` in it"));
    }
    renewed.text.push_str(rest);
    Ok(renewed)
}

/// Where the next mark begins. In the middle of a line it is only spoken of.
fn mark(text: &str) -> Option<usize> {
    text.match_indices(OPEN).map(|(at, _)| at).find(|&at| at == 0 || text[..at].ends_with('\n'))
}

fn content(name: &str, report: &Report, folder: &str, shown: &mut BTreeMap<String, String>) -> Result<String, String> {
    let mut text = String::new();
    match name {
        "machine" => text = markdown::machine(report),
        "summary" => text = markdown::standing(report),
        "candidates" => text = markdown::candidates(report),
        "overview" => text = markdown::overview(report),
        "losses" => text = losses::table(report),
        "limits" => text = losses::limits(report),
        "sizes" => text = sizes::table(report),
        "rows" => report.rows.iter().for_each(|row| text.push_str(&markdown::row(report, row))),
        _ => {
            let wanted = name.strip_prefix("chart ").ok_or_else(|| format!("what is bench:{name}?"))?;
            let kind = match wanted {
                "rows" => "row-".into(),
                "scaling" | "memory" | "latency" => format!("{wanted}-"),
                _ => String::new(),
            };
            let charts: Vec<Chart> = output::charts(report)
                .into_iter()
                .filter(|chart| chart.name == wanted || (!kind.is_empty() && chart.name.starts_with(&kind)))
                .collect();
            if charts.is_empty() {
                return Err(format!("the result has no chart {wanted}"));
            }
            for chart in charts {
                text.push_str(&format!(
                    "![{}]({folder}/{}.svg)\n\n",
                    chart.title().replace(['[', ']'], ""),
                    chart.name
                ));
                shown.insert(chart.name.clone(), chart.file());
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_renewed_and_the_rest_is_kept() {
        let old = "# Title\n<!-- bench:summary -->\nold\n<!-- /bench:summary -->\nmine\n<!-- bench:chart nop -->\n<!-- /bench:chart nop -->\nend\n";
        assert!(replace(old, &Report::example(), "b").is_err_and(|error| error == "the result has no chart nop"));
        let old = old.replace("chart nop", "chart scaling-nop");
        let renewed = replace(&old, &Report::example(), "b").unwrap();
        assert!(renewed.text.starts_with("# Title\n<!-- bench:summary -->\n") && renewed.text.ends_with("-->\nend\n"));
        assert!(renewed.text.contains("\nmine\n") && !renewed.text.contains("old"));
        assert!(renewed.text.contains("](b/scaling-nop.svg)"));
        assert!(renewed.charts["scaling-nop"].starts_with("<svg xmlns"));
        let again = replace(&renewed.text, &Report::example(), "b").unwrap();
        assert_eq!(again.text, renewed.text, "a second time changes nothing");
    }

    #[test]
    fn the_documentation_can_be_written_from_a_result() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
        let renewed = replace(&fs::read_to_string(path).unwrap(), &Report::example(), "benchmarks").unwrap();
        for part in [
            "made up for this file",
            "of 19 rows",
            "](benchmarks/scaling-nop.svg)",
            "](benchmarks/overview.svg)",
            "rows another runtime is better",
            "| row | ringtoss | limit |",
            "Not measured: `--sizes",
        ] {
            assert!(renewed.text.contains(part), "{part}");
        }
        assert!(renewed.charts.len() > 20);
    }

    #[test]
    fn slips_are_named() {
        let error = |text: &str| replace(text, &Report::example(), "b").err().unwrap();
        assert!(error("nothing").contains("there is no"));
        assert!(error("<!-- bench:summary -->").contains("no `<!-- /bench:summary -->` after it"));
        assert!(error("<!-- bench:x --><!-- /bench:x -->").contains("what is bench:x?"));
        assert!(error("it is `<!-- bench:x -->`, they say").contains("there is no"));
    }

    #[test]
    fn charts_that_nobody_shows_are_removed() {
        let folder = std::env::temp_dir().join(format!("ringtoss-bench-docs-{}", std::process::id()));
        fs::create_dir_all(folder.join("page")).unwrap();
        fs::write(folder.join("page/row-gone.svg"), "x").unwrap();
        fs::write(folder.join("page/photo.png"), "x").unwrap();
        let page = folder.join("page.md");
        fs::write(&page, "<!-- bench:chart overview -->\n<!-- /bench:chart overview -->\n").unwrap();
        renew(&page, &Report::example()).unwrap();
        let mut left: Vec<String> = fs::read_dir(folder.join("page"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["overview.svg", "photo.png"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
