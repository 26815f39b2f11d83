use super::*;
use crate::report::LeftOut;

#[test]
fn a_page_has_everything_and_needs_nothing() {
    let report = Report::example();
    let page = page(&report, None);
    for row in &report.rows {
        assert!(page.contains(&format!("<article id=\"{}\">", row.id)), "{}", row.id);
        for width in ["w", "n"] {
            assert!(page.contains(&format!("id=\"row-{}-{width}-t\"", row.id)), "a chart of {}", row.id);
        }
    }
    for outside in ["src=", "<link", "@import", "url(", "http://", "https://"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn changes_stand_in_it_when_there_is_something_to_compare_with() {
    let (old, mut new) = (Report::example(), Report::example());
    let row = new.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
    let runtimes = row.entries.iter_mut().filter(|entry| entry.candidate != "raw ring");
    runtimes.for_each(|entry| entry.cpu_ns = entry.cpu_ns.map(|figure| figure.times(0.5)));
    let page = page(&new, Some(&Comparison::new(&old, &new)));
    assert!(page.contains("<section id=\"changes\">") && page.contains("-50.0 % better"));
}

#[test]
fn what_strangers_wrote_is_text() {
    let mut report = Report::example();
    report.machine.cpu = "<script>alert(1)</script>".into();
    report.machine.warnings.push("<b>".into());
    report.left_out.push(LeftOut { id: "x".into(), title: "<i>".into(), reason: "<u>".into() });
    report.rows[0].entries[0].failure = Some("crashed: <img>".into());
    let page = page(&report, None);
    assert_eq!(page.matches("<script>").count(), 1);
    for markup in ["<b>", "<i>", "<u>", "<img>"] {
        assert!(!page.contains(markup), "{markup}");
    }
}

#[test]
fn an_empty_result_is_a_page_too() {
    let report = Report { rows: Vec::new(), ..Report::example() };
    assert!(page(&report, None).contains("nobody to be first among"));
}
